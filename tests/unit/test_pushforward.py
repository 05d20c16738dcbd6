"""Tangents pushed forward by a kernel: both backends, pullback, differences, jax.jvp.

Batches have elastic and flowing points. Of a central difference with step h the error is h^2 times
the third derivative plus round-off 1e-16 / h: with h = 1e-6 (parameters: relative) about 1e-9 of
the scale, if no point crosses its yield surface within h, which random points do not.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError
from dolfinx_admat.kernels import BatchKernel, StatusBuffers
from dolfinx_admat.materials._declare import named_leaves
from dolfinx_admat.materials.parameters import replace_parameters

POINTS, DT = 21, 0.5
STEEL = laws.LAWS["J2Plasticity"]
VISCOUS = admat.Elastoviscoplastic(
    laws.ELASTICITY,
    admat.VonMises(),
    laws.STEEL,
    (admat.ArmstrongFrederick(2e4, 100.0),),
    viscosity=admat.NortonFlow(80.0, 5.0),
)
#: Law, size of its deformation, and what varies from point to point.
CASES = {
    "J2": (STEEL, 2e-3, ("E", "hardening.Q")),
    "Chaboche": (VISCOUS, 2e-3, ("kinematic.0.C",)),
    "Neo-Hooke": (laws.LAWS["NeoHookean"], 0.1, ()),
    "FeFp": (laws.LAWS["FeFpJ2"], 2e-3, ("hardening.sigma_y",)),
    "plane stress": (admat.PlaneStress(STEEL), 2e-3, ("law.E",)),
}


class Batch:
    """Inputs, states that were reached in one random step, parameters, and tangents of all."""

    def __init__(self, law, size, names, seed=3):
        rng = np.random.default_rng(seed)
        self.law, self.names = law, names
        arrays = named_leaves(eqx.filter(law, eqx.is_array))
        self.shared = {k: np.array(v) for k, v in arrays.items() if k not in names}
        self.parameters = {
            k: np.array(arrays[k]) * rng.uniform(0.95, 1.05, (POINTS, *np.shape(arrays[k])))
            for k in names
        }
        self.inputs = {}
        for name, shape in law.inputs.items():
            rest = np.eye(3) if shape == (3, 3) else np.zeros(shape)
            self.inputs[name] = rest + size * rng.normal(size=(POINTS, *shape))
            self.inputs[name][::3] = rest + 0.01 * (self.inputs[name][::3] - rest)
        kernel = self.kernel("xla")
        self.state = kernel.initial_state(POINTS)
        before = {k: (v + np.roll(v, 1, axis=0)) / 2 for k, v in self.inputs.items()}
        self.state = self.update(kernel, before)[1]
        noise = lambda v, scale: scale * rng.normal(size=np.shape(v))  # noqa: E731
        self.tangents = {
            "input_tangents": {k: noise(v, size) for k, v in self.inputs.items()},
            "state_tangents": {k: noise(v, size / 10) for k, v in self.state.items()},
            "parameter_tangents": {
                k: np.asarray(v * noise(v, 0.1)) for k, v in (self.shared | self.parameters).items()
            },
        }

    def kernel(self, backend):
        return BatchKernel(self.law, point_parameters=self.names, backend=backend, chunk_size=8)

    def update(self, kernel, inputs=None, state=None, parameters=None):
        """(outputs, new state, active); all points must converge."""
        inputs = self.inputs if inputs is None else inputs
        outputs = {k: np.empty((POINTS, *s)) for k, s in self.law.outputs.items()}
        new = {k: np.empty_like(v) for k, v in self.state.items()}
        status = StatusBuffers.allocate(POINTS)
        kernel.update(
            inputs, self.state if state is None else state, DT, outputs=outputs, new_state=new,
            status=status, parameters=self.parameters if parameters is None else parameters,
        )  # fmt: skip
        assert not status.code.any()
        return outputs, new, status.active

    def push(self, kernel, **tangents):
        """(tangents of outputs, of the new state, active)."""
        outputs = {k: np.full((POINTS, *s), np.nan) for k, s in self.law.outputs.items()}
        new = {k: np.full_like(v, np.nan) for k, v in self.state.items()}
        status = StatusBuffers.allocate(POINTS)
        kernel.pushforward(
            self.inputs, self.state, DT, output_tangents=outputs, new_state_tangents=new,
            status=status, parameters=self.parameters, **(tangents or self.tangents),
        )  # fmt: skip
        assert not status.code.any()
        return outputs, new, status.active

    def moved(self, kernel, h):
        """Outputs and new state, with everything moved by h times its tangent."""
        add = lambda values, which: {  # noqa: E731
            k: v + h * self.tangents[which][k] for k, v in values.items()
        }
        kernel.material = replace_parameters(
            self.law, {k: jnp.asarray(v) for k, v in add(self.shared, "parameter_tangents").items()}
        )
        found = self.update(
            kernel, add(self.inputs, "input_tangents"), add(self.state, "state_tangents"),
            add(self.parameters, "parameter_tangents"),
        )  # fmt: skip
        kernel.material = self.law
        return found


@functools.cache
def batch_of(name):
    return Batch(*CASES[name])


def agree(found, expected, tol):
    """Both parts; relative to the largest number of each array."""
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            scale = np.abs(value).max(initial=0.0)
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=tol * scale, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_against_differences(name):
    batch = batch_of(name)
    kernel = batch.kernel("xla")
    found = batch.push(kernel)
    plus, minus = batch.moved(kernel, 1e-6), batch.moved(kernel, -1e-6)
    np.testing.assert_array_equal(plus[2], minus[2])
    slopes = [
        {k: (a - b) / 2e-6 for (k, a), b in zip(p.items(), m.values(), strict=True)}
        for p, m in zip(plus[:2], minus[:2], strict=True)
    ]
    agree(found, slopes, 1e-7)
    if name != "Neo-Hooke":
        assert 0.1 < found[2].mean() < 0.9


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_transpose_of_pullback(name):
    """<w, J v> = <J^T w, v>; round-off relative to the sum of the terms' sizes."""
    batch = batch_of(name)
    kernel, rng = batch.kernel("xla"), np.random.default_rng(5)
    pushed = batch.push(kernel)
    weights = [
        {k: rng.normal(size=v.shape) / np.abs(v).max() for k, v in part.items()}
        for part in pushed[:2]
    ]
    bars = {
        "input_bars": {k: np.empty_like(v) for k, v in batch.inputs.items()},
        "state_bars": {k: np.empty_like(v) for k, v in batch.state.items()},
        "parameter_bars": {
            k: np.zeros_like(v) for k, v in (batch.shared | batch.parameters).items()
        },
    }
    kernel.pullback(
        batch.inputs, batch.state, DT, output_cotangents=weights[0], state_cotangents=weights[1],
        status=StatusBuffers.allocate(POINTS), parameters=batch.parameters, **bars,
    )  # fmt: skip
    left = [weights[i][k] * pushed[i][k] for i in (0, 1) for k in weights[i]]
    right = [
        bars[f"{what}_bars"][k] * v
        for what in ("input", "state", "parameter")
        for k, v in batch.tangents[f"{what}_tangents"].items()
    ]
    size = sum(np.abs(terms).sum() for terms in (*left, *right))
    assert size > 1.0
    assert abs(sum(t.sum() for t in left) - sum(t.sum() for t in right)) <= 1e-12 * size


@pytest.mark.parametrize("name", CASES)
def test_native(name):
    batch = batch_of(name)
    agree(batch.push(batch.kernel("native")), batch.push(batch.kernel("xla")), 1e-10)


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_missing_tangents_are_zero(backend):
    """None, a missing name and zeros are the same; the parts add up to the whole."""
    batch = batch_of("J2")
    kernel = batch.kernel(backend)
    assert kernel.prepare("pushforward") == backend
    whole = batch.push(kernel)
    parts = [
        batch.push(kernel, **{what: {name: value}})
        for what, values in batch.tangents.items()
        for name, value in values.items()
    ]
    total = [{k: sum(p[i][k] for p in parts) for k in whole[i]} for i in (0, 1)]
    agree(total, whole, 1e-12)
    silent = batch.push(kernel, input_tangents=None)
    assert all((v == 0).all() for part in silent[:2] for v in part.values())


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_buffers(backend):
    """Some of the results only, strided, and the new tangents of the state over the old ones."""
    batch = batch_of("J2")
    kernel, expected = batch.kernel(backend), batch.push(batch.kernel(backend))
    stress = np.full((POINTS, 2, 6), 7.0)
    state = {k: v.copy() for k, v in batch.tangents["state_tangents"].items()}
    kernel.pushforward(
        batch.inputs, batch.state, DT, output_tangents={"stress": stress[:, 1]},
        new_state_tangents=state, status=StatusBuffers.allocate(POINTS),
        parameters=batch.parameters, **{**batch.tangents, "state_tangents": state},
    )  # fmt: skip
    np.testing.assert_array_equal(stress[:, 1], expected[0]["stress"])
    assert (stress[:, 0] == 7.0).all()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(state[name], value)


def test_against_jvp():
    """The same by jax.jvp of a vmapped ``integrate``, with the parameters of the law."""
    batch = Batch(STEEL, 2e-3, ())

    def update(parameters, inputs, state):
        law = replace_parameters(STEEL, parameters)
        one = lambda i, s: law.integrate(i, s, jnp.asarray(DT))[:2]  # noqa: E731
        return jax.vmap(one)(inputs, state)

    t = batch.tangents
    given = (batch.shared, batch.inputs, batch.state)
    dots = (t["parameter_tangents"], t["input_tangents"], t["state_tangents"])
    expected = jax.jit(lambda a, b: jax.jvp(update, a, b)[1])(given, dots)
    agree(batch.push(batch.kernel("xla")), expected, 1e-12)


def test_a_failed_point_is_reported():
    batch = batch_of("J2")
    for backend in ("native", "xla"):
        status = StatusBuffers.allocate(POINTS)
        inputs = {"strain": batch.inputs["strain"].copy()}
        inputs["strain"][4] = np.nan
        stress = np.empty((POINTS, 6))
        batch.kernel(backend).pushforward(
            inputs, batch.state, DT, output_tangents={"stress": stress}, new_state_tangents={},
            status=status, parameters=batch.parameters, **batch.tangents,
        )  # fmt: skip
        assert (status.code != 0).tolist() == [k == 4 for k in range(POINTS)]
        np.testing.assert_array_equal(
            np.delete(stress, 4, 0),
            np.delete(batch.push(batch.kernel(backend))[0]["stress"], 4, 0),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_tangents": {"strian": np.zeros((POINTS, 6))}}, r"input_tangents are \['strian'\]"),
        ({"state_tangents": {"p": np.zeros(POINTS)}}, "state_tangents are"),
        ({"parameter_tangents": {"G": np.zeros(())}}, r"parameter_tangents are \['G'\]"),
        (
            {"parameter_tangents": {"nu": np.zeros(POINTS)}},
            r"parameter_tangents 'nu' must be a float64 array of shape \(\)",
        ),
        (
            {"parameter_tangents": {"E": np.zeros(())}},
            rf"parameter_tangents 'E' must be a float64 array of shape \({POINTS},\)",
        ),
        ({"input_tangents": {"strain": np.zeros((3, 6))}}, r"of shape \(3, 6\)"),
        ({"output_tangents": {"stress": np.zeros(6)}}, "output_tangents 'stress' must be"),
        ({"new_state_tangents": {"q": np.zeros(POINTS)}}, "new_state_tangents are"),
    ],
)
def test_messages(change, message):
    batch = batch_of("J2")
    given = {
        "output_tangents": {}, "new_state_tangents": {}, "status": StatusBuffers.allocate(POINTS),
        "parameters": batch.parameters, **change,
    }  # fmt: skip
    with pytest.raises(MaterialError, match=message):
        batch.kernel("xla").pushforward(batch.inputs, batch.state, DT, **given)
