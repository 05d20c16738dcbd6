"""The batched kernel: chunks, padding, traces, statuses, checks of what it is given."""

import subprocess
import sys

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import LocalStatus, MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel, StatusBuffers, _select

CHUNK = 8
HARDENING = admat.VoceHardening(sigma_y=250.0, Q=120.0, b=25.0)
J2 = admat.J2Plasticity(210e3, 0.3, HARDENING)


class Creep(admat.ImplicitSmallStrain):
    """A law with everything: implicit, rate-dependent, state, parameters, cheap to compile."""

    E: float = 100.0
    rate: float = 2.0
    weights: object = (1.0, 2.0)

    rate_dependent = True

    def initial_state(self):
        return {"flow": jnp.zeros(6), "time": 0.0}

    def guess(self, step):
        return step.state["flow"]

    def residual(self, flow, step):
        stress = step.given - flow
        rate = self.rate * self.weights @ jnp.array([1.0, 0.5]) * stress**3
        return flow - step.state["flow"] - step.dt * rate

    def finish(self, flow, step):
        return self.E * (step.given - flow), {
            "flow": flow,
            "time": step.state["time"] + step.dt,
        }


def buffers(n, rows=None, tangent=True):
    rows = n if rows is None else rows
    return {
        "outputs": {"stress": np.full((rows, 6), np.nan)},
        "status": StatusBuffers(
            np.full(n, 9, np.int32), np.full(n, -1, np.int32), np.full(n, np.nan), np.zeros(n, bool)
        ),
        "tangent": {("stress", "strain"): np.full((rows, 6, 6), np.nan)} if tangent else None,
    }


def update(kernel, strain, state=None, dt=0.5, *, rows=None, size=None, tangent=True, **more):
    n = len(strain)
    state = kernel.initial_state(n) if state is None else state
    new = {k: np.full_like(v, np.nan) for k, v in state.items()}
    b = buffers(n, size, tangent)
    kernel.update({"strain": strain}, state, dt, new_state=new, rows=rows, **b, **more)
    return (
        b["outputs"]["stress"],
        new,
        b["status"],
        b["tangent"] and b["tangent"]["stress", "strain"],
    )


@pytest.fixture
def strain(rng):
    return rng.normal(size=(3 * CHUNK + 3, 6))


def same(a, b, tol=0.0):
    for x, y in zip(a, b, strict=True):
        if isinstance(x, dict):
            same(x.values(), y.values(), tol)
        elif isinstance(x, tuple):
            same(x, y, tol)
        else:
            assert np.isfinite(x).all()
            np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


@pytest.mark.parametrize("points", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 3])
def test_any_number_of_points(points, strain):
    """Bitwise what the whole batch gives: neither padding nor neighbours matter."""
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    stress, new, status, tangent = update(kernel, strain)
    some = update(kernel, strain[:points].copy())
    same(some, (stress[:points], {k: v[:points] for k, v in new.items()},
                StatusBuffers(*(s[:points] for s in status)), tangent[:points]))  # fmt: skip


def test_chunk_size_does_not_matter(strain):
    expected = update(BatchKernel(Creep(), chunk_size=CHUNK), strain)
    for chunk in (1, 5, 64):
        same(update(BatchKernel(Creep(), chunk_size=chunk), strain), expected, 1e-14)


def test_points_equal_single_evaluations(strain):
    law = Creep()
    stress, new, status, _ = update(BatchKernel(law, chunk_size=CHUNK), strain)
    for i in (0, CHUNK, 3 * CHUNK + 2):
        one = evaluate_point(law, strain[i], dt=0.5)
        np.testing.assert_allclose(stress[i], one.outputs["stress"], rtol=1e-13)
        np.testing.assert_allclose(new["flow"][i], one.state["flow"], rtol=1e-13)
        assert one.status.iterations == status.iterations[i]


def test_stress_without_tangent_is_the_same(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    with_tangent, without = update(kernel, strain), update(kernel, strain, tangent=False)
    same(without[:3], with_tangent[:3], 1e-14)


def test_step_size_is_passed(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    for dt in (0.0, 0.25, 3.0):
        stress, new, _, _ = update(kernel, strain, dt=dt)
        np.testing.assert_array_equal(new["time"], dt)
        flow = new["flow"]
        np.testing.assert_allclose(flow, dt * 4.0 * (strain - flow) ** 3, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(stress, 100.0 * (strain - flow), rtol=1e-12, atol=1e-12)


def test_state_is_never_modified_and_may_be_updated_in_place(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    state = kernel.initial_state(len(strain))
    for value in state.values():
        value.setflags(write=False)
    _, new, _, _ = update(kernel, strain, state)
    assert (state["flow"] == 0).all()
    expected = update(kernel, strain, new)
    b = buffers(len(strain))
    kernel.update({"strain": strain}, new, 0.5, new_state=new, **b)
    np.testing.assert_array_equal(new["flow"], expected[1]["flow"])


# ------------------------------------------------------------------ traces


def test_nothing_is_traced_again(strain, monkeypatch):
    """A new step size, number of points, parameter value or kernel of the same structure."""
    monkeypatch.setattr(_select, "_CACHE", {})
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    assert kernel.traces == 0
    update(kernel, strain)
    assert kernel.traces == 1
    for dt in (0.0, 1, 2.5, np.float64(3.0), np.float32(0.1)):
        update(kernel, strain, dt=dt)
    for points in (0, 1, CHUNK, 2 * CHUNK + 1):
        update(kernel, strain[:points])
        update(kernel, np.asfortranarray(strain[:points]))
    kernel.material = Creep(E=50, rate=np.float32(0.5), weights=[3, 4])
    update(kernel, strain)
    other = BatchKernel(Creep(E=1.0), chunk_size=CHUNK)
    update(other, strain)
    assert kernel.traces == other.traces == 1
    update(kernel, strain, tangent=False)  # the stress alone: compiled when first asked for
    update(other, strain, tangent=False)
    assert kernel.traces == 2
    unrolled = BatchKernel(Creep(solver=admat.LocalNewton(rtol=1e-9)), chunk_size=CHUNK)
    assert unrolled.traces == 0  # compile-time settings are another structure


def test_new_parameter_values_are_used(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    update(kernel, strain)
    changed = Creep(E=50.0, rate=0.7, weights=(3.0, 4.0))
    kernel.material = changed
    assert kernel.material is changed
    same(update(kernel, strain), update(BatchKernel(changed, chunk_size=CHUNK), strain))


class Functional(admat.ExplicitSmallStrain):
    function: object
    E: float = 1.0

    def update(self, strain, state, dt):
        return self.E * self.function(strain), state


def test_material_of_another_structure_is_refused(strain):
    kernel = BatchKernel(J2)
    for law in (
        admat.J2PlasticityGeneral(210e3, 0.3, HARDENING),
        admat.J2Plasticity(210e3, 0.3, admat.LinearHardening(250.0)),
        admat.J2Plasticity(210e3, 0.3, HARDENING, solver=admat.LocalNewton(rtol=1e-8)),
    ):
        with pytest.raises(MaterialError, match="must have the structure of the old one"):
            kernel.material = law
        assert kernel.material is J2
    kernel = BatchKernel(Functional(jnp.tanh), chunk_size=CHUNK)
    with pytest.raises(MaterialError, match="differ in the values of numbers and arrays only"):
        kernel.material = Functional(jnp.sin)
    kernel.material = Functional(jnp.tanh, E=3.0)
    np.testing.assert_allclose(update(kernel, strain)[0], 3.0 * np.tanh(strain), rtol=1e-14)


def test_laws_with_different_functions_do_not_share_code(strain):
    for function in (jnp.tanh, jnp.sin, jnp.tanh):
        kernel = BatchKernel(Functional(function), chunk_size=CHUNK)
        np.testing.assert_allclose(update(kernel, strain)[0], function(strain), rtol=1e-14)


class Tabulated(admat.ExplicitSmallStrain):
    """Static fields that cannot be hashed: compiled for this kernel alone."""

    table: object = eqx.field(static=True)

    def update(self, strain, state, dt):
        return self.table["E"] * strain, state


def test_unhashable_static_fields(strain):
    for value in (1.0, 2.0):
        kernel = BatchKernel(Tabulated({"E": value}), chunk_size=CHUNK)
        np.testing.assert_array_equal(update(kernel, strain)[0], value * strain)


# ------------------------------------------------------------------ per point


def test_parameters_per_point(strain, rng):
    names = ("E", "weights")
    kernel = BatchKernel(Creep(), chunk_size=CHUNK, point_parameters=names)
    n = len(strain)
    values = {"E": rng.uniform(1.0, 100.0, n), "weights": rng.uniform(0.1, 2.0, (n, 2))}
    stress, _, _, tangent = update(kernel, strain, parameters=values)
    traces = kernel.traces
    for i in (0, CHUNK - 1, CHUNK, n - 1):
        law = Creep(E=values["E"][i], weights=values["weights"][i])
        one = update(BatchKernel(law, chunk_size=CHUNK), strain[i : i + 1])
        np.testing.assert_allclose(stress[i], one[0][0], rtol=1e-12)
        np.testing.assert_allclose(tangent[i], one[3][0], rtol=1e-11, atol=1e-11)
    update(kernel, strain, parameters={"E": values["E"] + 1.0, "weights": values["weights"]})
    assert kernel.traces == traces


def test_nested_parameter_per_point():
    kernel = BatchKernel(J2, chunk_size=CHUNK, point_parameters=("hardening.sigma_y",))
    strain = np.zeros((3, 6))
    strain[:, 3] = 0.05
    sigma_y = np.array([100.0, 250.0, 1e6])
    stress, new, _, _ = update(
        kernel, strain, tangent=False, parameters={"hardening.sigma_y": sigma_y}
    )
    p = new["equivalent_plastic_strain"]
    yields = sigma_y + 120.0 * (1 - np.exp(-25.0 * p))
    np.testing.assert_allclose(np.sqrt(1.5) * stress[:2, 3], yields[:2], rtol=1e-10)
    assert p[2] == 0.0


def test_rows_scatter_outputs_and_tangent(strain, rng):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    n = len(strain)
    stress, new, status, tangent = update(kernel, strain)
    rows = rng.permutation(2 * n)[:n].astype(np.int32)
    scattered = update(kernel, strain, rows=rows, size=2 * n)
    np.testing.assert_array_equal(scattered[0][rows], stress)
    np.testing.assert_array_equal(scattered[3][rows], tangent)
    assert np.isnan(scattered[0][np.setdiff1d(np.arange(2 * n), rows)]).all()
    same((scattered[1], scattered[2]), (new, status))  # state and status belong to points


def test_one_bad_point_among_good(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    good = update(kernel, strain)
    for bad in (0, CHUNK - 1, CHUNK, len(strain) - 1):  # the last one is what padding copies
        worse = strain.copy()
        worse[bad, 2] = np.nan
        stress, new, status, tangent = update(kernel, worse)
        expected = np.zeros(len(strain), np.int32)
        expected[bad] = LocalStatus.NOT_FINITE
        np.testing.assert_array_equal(status.code, expected)
        rest = np.arange(len(strain)) != bad
        np.testing.assert_array_equal(stress[rest], good[0][rest])
        np.testing.assert_array_equal(new["flow"][rest], good[1]["flow"][rest])
        np.testing.assert_array_equal(tangent[rest], good[3][rest])


class Cusp(admat.ExplicitSmallStrain):
    """Finite stress, infinite slope at zero."""

    def update(self, strain, state, dt):
        return jnp.sqrt(jnp.abs(strain)), state


def test_tangent_that_is_not_finite_is_a_status():
    strain = np.ones((3, 6))
    strain[1] = 0.0
    kernel = BatchKernel(Cusp(), chunk_size=CHUNK)
    assert not update(kernel, strain, tangent=False)[2].code.any()
    np.testing.assert_array_equal(update(kernel, strain)[2].code, [0, LocalStatus.NOT_FINITE, 0])


def test_status_of_an_elastic_and_a_plastic_point():
    strain = np.zeros((2, 6))
    strain[:, 3] = 1e-5, 1e-1
    _, _, status, _ = update(BatchKernel(J2, chunk_size=CHUNK), strain, tangent=False)
    np.testing.assert_array_equal(status.active, [False, True])
    assert status.iterations[0] == 0 < status.iterations[1]
    assert (status.code == 0).all()


def test_only_the_requested_outputs_and_blocks_are_written(strain):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    n = len(strain)
    kernel.update(
        {"strain": strain},
        kernel.initial_state(n),
        0.5,
        outputs={},
        new_state=kernel.initial_state(n),
        status=StatusBuffers.allocate(n),
        tangent={},
    )


def test_initial_state_is_the_callers_own():
    kernel = BatchKernel(Creep())
    a, b = kernel.initial_state(4), kernel.initial_state(4)
    assert a["flow"].shape == (4, 6)
    assert a["time"].shape == (4,)
    a["flow"][0] = 1.0
    assert (a["flow"][1:] == 0).all() and (b["flow"] == 0).all()


# ------------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tangent": "exact"}, "one of implicit, unrolled, finite_difference; got 'exact'"),
        ({"chunk_size": 0}, "chunk_size must be at least 1; got 0"),
        (
            {"point_parameters": ("sigma_y",)},
            r"no parameter 'sigma_y'; it has \['E', 'hardening.H'",
        ),
    ],
)
def test_wrong_construction(arguments, message):
    with pytest.raises(MaterialError, match=message):
        BatchKernel(J2, **arguments)


def test_functions_are_not_point_parameters():
    with pytest.raises(MaterialError, match=r"no parameter 'function'; it has \['E'\]"):
        BatchKernel(Functional(jnp.tanh), point_parameters=("function",))


N = 4
WRONG = {
    "misspelt input": (
        {"inputs": {"strian": np.zeros((N, 6))}},
        r"inputs are \['strian'\], expected \['strain'\]",
    ),
    "no input": ({"inputs": {}}, r"inputs are \[\], expected \['strain'\]"),
    "2D strain": (
        {"inputs": {"strain": np.zeros((N, 3))}},
        r"inputs 'strain' must be a float64 array of shape \(4, 6\); got float64 of shape \(4, 3\)",
    ),
    "float32": (
        {"inputs": {"strain": np.zeros((N, 6), np.float32)}},
        r"inputs 'strain' must be a float64 .* got float32",
    ),
    "a list": ({"inputs": {"strain": [[0.0] * 6] * N}}, r"got list of shape \(4, 6\)"),
    "misspelt state": (
        {"state": {"flow": np.zeros((N, 6)), "tiem": np.zeros(N)}},
        r"state are \['flow', 'tiem'\], expected \['flow', 'time'\]",
    ),
    "too few states": (
        {"state": {"flow": np.zeros((N - 1, 6)), "time": np.zeros(N)}},
        r"state 'flow' must be a float64 array of shape \(4, 6\)",
    ),
    "parameter not declared": (
        {"parameters": {"E": np.zeros(N)}},
        r"parameters are \['E'\], expected \[\]",
    ),
    "wrong new state": (
        {"new_state": {"flow": np.zeros((N, 6)), "time": np.zeros((N, 1))}},
        r"new_state 'time' must be a float64 array of shape \(4,\); got .*\(4, 1\)",
    ),
    "wrong output": (
        {"outputs": {"stres": np.zeros((N, 6))}},
        r"outputs are \['stres'\], expected \['stress'\]",
    ),
    "wrong output shape": (
        {"outputs": {"stress": np.zeros((N, 3, 3))}},
        r"outputs 'stress' must be a float64 array of shape \(4, 6\)",
    ),
    "wrong block": (
        {"tangent": {("strain", "stress"): np.zeros((N, 6, 6))}},
        r"tangent are \[\('strain', 'stress'\)\], expected \[\('stress', 'strain'\)\]",
    ),
    "wrong block shape": (
        {"tangent": {("stress", "strain"): np.zeros((N, 36))}},
        r"must be a float64 array of shape \(4, 6, 6\); got float64 of shape \(4, 36\)",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_buffers(changes, message):
    kernel = BatchKernel(Creep(), chunk_size=CHUNK)
    arguments = {
        "inputs": {"strain": np.zeros((N, 6))},
        "state": kernel.initial_state(N),
        "dt": 0.1,
        "new_state": kernel.initial_state(N),
        **buffers(N),
    }
    kernel.update(**arguments)
    with pytest.raises(MaterialError, match=message):
        kernel.update(**(arguments | changes))


def test_wrong_shape_of_a_point_parameter():
    kernel = BatchKernel(Creep(), chunk_size=CHUNK, point_parameters=("weights",))
    with pytest.raises(MaterialError, match=r"parameters 'weights' must .* \(4, 2\); got .*\(4,\)"):
        update(kernel, np.zeros((N, 6)), parameters={"weights": np.ones(N)})


def test_float64_switched_off_is_an_error():
    code = """
import dolfinx_admat as admat, jax, numpy as np
from dolfinx_admat.kernels import BatchKernel, StatusBuffers
kernel = BatchKernel(admat.LinearElastic(1.0, 0.3))
jax.config.update("jax_enable_x64", False)
def make():
    BatchKernel(kernel.material)
def update():
    kernel.update(
        {"strain": np.zeros((1, 6))}, {}, 0.0, outputs={"stress": np.zeros((1, 6))},
        new_state={}, status=StatusBuffers.allocate(1),
    )
for act in (make, update):
    try:
        act()
    except admat.MaterialError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message = "JAX's float64 is switched off, so results would be float32; remove "
    message += 'jax.config.update("jax_enable_x64", False)'
    assert done.stdout.splitlines() == [message, message]
