"""The material-point driver: paths with mixed control, many specimens, failures."""

import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import dolfinx_admat as admat
from dolfinx_admat import ConvergenceError, MaterialError, Path, drive
from dolfinx_admat.laboratory import Controlled, path_response, read_csv, recorded_steps

E, NU, SIGMA_Y, H = 200e3, 0.3, 250.0, 10e3
AXES = ("xx", "yy", "zz", "xy", "xz", "yz")


def j2(sigma_y=SIGMA_Y, H=H):
    return admat.J2Plasticity(E, NU, admat.LinearHardening(sigma_y, H))


def tension(to=0.01, steps=20, **more):
    return Path().ramp({"strain_xx": to}, steps=steps, **more)


class Timid(admat.ImplicitSmallStrain):
    """Elastic, but inadmissible where the strain changes by more than ``largest`` at once."""

    E: float
    largest: float

    def initial_state(self):
        return {"last": jnp.zeros(6), "count": jnp.zeros(())}

    def guess(self, prepared):
        return jnp.zeros(6)

    def residual(self, x, prepared):
        return x - self.E * prepared.given

    def finish(self, x, prepared):
        return x, {"last": prepared.given, "count": prepared.state["count"] + 1.0}

    def admissible(self, outputs, state, prepared):
        return jnp.max(jnp.abs(prepared.given - prepared.state["last"])) <= self.largest * (
            1 + 1e-9
        )


# -- Closed forms ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_j2_in_tension_and_back(backend):
    """Linear hardening: stress = (sigma_y + H strain) / (1 + H / E) while it flows."""
    result = drive(j2(), tension(0.01, 7).ramp({"strain_xx": 0.0}, steps=9), backend=backend)
    flow = lambda strain: (SIGMA_Y + H * strain) / (1 + H / E)  # noqa: E731
    strain, top = result["strain_xx"], flow(0.01)
    expected = np.minimum(E * strain, flow(strain))
    p = 0.01 - top / E  # where it turns; the yield stress is `top` from now on
    down = top - E * (0.01 - strain[8:])
    # Reverse flow: stress = -(sigma_y + H (p + dp)) where the plastic strain is p - dp.
    reverse = -(SIGMA_Y + 2 * H * p - H * strain[8:]) / (1 + H / E)
    expected[8:] = np.maximum(down, reverse)
    np.testing.assert_allclose(result["stress_xx"], expected, rtol=1e-12, atol=1e-9)
    assert (down < reverse).any()
    for axes in AXES[1:]:
        assert np.abs(result[f"stress_{axes}"]).max() < 1e-9
    lateral = -NU * expected / E - 0.5 * (strain - expected / E)
    np.testing.assert_allclose(result["strain_yy"], lateral, atol=1e-15)
    np.testing.assert_allclose(result["strain_zz"], lateral, atol=1e-15)
    np.testing.assert_allclose(result.time, [*np.linspace(0, 1, 8), *np.linspace(1, 2, 10)[1:]])
    assert result["stress_xx"].shape == (17,) and result.outputs["stress"].shape == (1, 17, 6)


def test_shear_components_are_those_of_the_tensor():
    law = admat.LinearElastic(E, NU)
    result = drive(law, Path().ramp({"strain_xy": 1e-3, "stress_zy": 5.0, "strain_zz": 1e-3}))
    mu = E / (2 * (1 + NU))
    assert result["stress_xy"][-1] == pytest.approx(2 * mu * 1e-3, rel=1e-13)
    assert result["strain_yz"][-1] == pytest.approx(5.0 / (2 * mu), rel=1e-13)
    assert result.inputs["strain"][0, -1, 3] == pytest.approx(np.sqrt(2) * 1e-3, rel=1e-14)
    assert result["stress_zz"][-1] == pytest.approx(E * 1e-3, rel=1e-12)
    np.testing.assert_array_equal(result["stress_yx"], result["stress_xy"])


PERZYNA = dict(K=300.0, n=4.0)


def perzyna(H=H):
    hardening, flow = admat.LinearHardening(SIGMA_Y, H), admat.NortonFlow(**PERZYNA)
    elasticity = admat.IsotropicElasticity(E, NU)
    return admat.Elastoviscoplastic(elasticity, admat.VonMises(), hardening, viscosity=flow)


def flow_rate(stress, p):
    return (max(stress - SIGMA_Y - H * p, 0.0) / PERZYNA["K"]) ** PERZYNA["n"]


@pytest.mark.parametrize("what", ["relaxation", "creep"])
def test_relaxation_and_creep_against_a_scalar_integration(what):
    """Uniaxial: dp/dt = (<s - R(p)> / K)^n, s = E (strain - p); RK of order 8, rtol 1e-11."""
    held = "strain_xx" if what == "relaxation" else "stress_xx"
    strain_rate, wait = 0.02, 2.0
    exact = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-14}
    loading = solve_ivp(
        lambda t, y: [flow_rate(E * (strain_rate * t - y[0]), y[0])], (0, 0.5), [0.0], **exact
    )
    p = loading.y[0, -1]
    strain = 0.5 * strain_rate
    stress = E * (strain - p)
    if what == "relaxation":
        then = solve_ivp(
            lambda t, y: [flow_rate(E * (strain - y[0]), y[0])], (0, wait), [p], **exact
        )
        expected = E * (strain - then.y[0, -1])
        result_name = "stress_xx"
    else:
        then = solve_ivp(lambda t, y: [flow_rate(stress, y[0])], (0, wait), [p], **exact)
        expected = stress / E + then.y[0, -1]
        result_name = "strain_xx"
    errors = []
    for steps in (100, 200):
        path = tension(strain, steps, time=0.5).hold(held, time=wait, steps=2 * steps)
        result = drive(perzyna(), path)
        np.testing.assert_allclose(result[held][steps:], result[held][steps], rtol=1e-11)
        errors.append(abs(result[result_name][-1] / expected - 1))
    # Backward Euler: first order, so that the extrapolated value is far better.
    assert errors[1] < 3e-3
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.1)


def test_unloading_after_viscous_flow():
    """The step from the flowing to the elastic range keeps what is free of stress."""
    law = admat.PerzynaViscoplasticity(E, NU, admat.LinearHardening(SIGMA_Y, H), **PERZYNA)
    path = tension(0.02, 20, time=1.0).ramp({"stress_xx": 0.0}, time=1.0, steps=5)
    result = drive(law, path)
    for axes in AXES[1:]:
        assert np.abs(result[f"stress_{axes}"]).max() < 1e-8, axes
    plastic = result["plastic_strain_yy"][-1]
    assert result["strain_yy"][-1] == pytest.approx(plastic, abs=1e-14)


def test_rates_and_durations_per_specimen():
    """At a constant rate without hardening, stress tends to sigma_y + K rate^(1/n)."""
    law = perzyna(H=0.0)
    rates = np.array([1e-4, 1e-2, 1.0])
    by_rate = drive(law, Path().ramp({"strain_xx": 0.05}, rate=rates, steps=50))
    expected = SIGMA_Y + PERZYNA["K"] * rates ** (1 / PERZYNA["n"])
    np.testing.assert_allclose(by_rate["stress_xx"][:, -1], expected, rtol=1e-6)
    np.testing.assert_allclose(by_rate.time[:, -1], 0.05 / rates)
    by_time = drive(law, Path().ramp({"strain_xx": 0.05}, time=0.05 / rates, steps=50))
    np.testing.assert_array_equal(by_time["stress_xx"], by_rate["stress_xx"])
    with pytest.raises(MaterialError, match=r"segment 1: .* is rate-dependent; give time="):
        drive(law, tension())


def test_nonuniform_steps_and_tables():
    fractions = [0.05, 0.1, 0.5, 1.0]
    one = drive(j2(), Path().ramp({"strain_xx": 0.01}, time=2.0, steps=fractions))
    np.testing.assert_allclose(one.time, [0.0, 0.1, 0.2, 1.0, 2.0])
    two = drive(j2(), Path().table(one.time, {"strain_xx": one["strain_xx"]}))
    np.testing.assert_allclose(two["stress_xx"], one["stress_xx"], rtol=1e-12, atol=1e-10)
    both = np.stack([one["strain_xx"], 0.5 * one["strain_xx"]])
    three = drive(j2(), Path().table(one.time[1:], {"strain_xx": both[:, 1:]}))
    np.testing.assert_allclose(three["stress_xx"][0], one["stress_xx"], rtol=1e-12, atol=1e-10)
    assert three["strain_xx"][1, -1] == 0.005


def test_a_table_may_begin_with_a_load():
    law = admat.LinearElastic(E, NU)
    result = drive(law, Path().table([0.0, 1.0], {"stress_xx": [10.0, 20.0]}))
    np.testing.assert_allclose(result["strain_xx"], [10 / E, 20 / E], rtol=1e-12)


# -- Mixed control ---------------------------------------------------------------------------


def test_any_mix_agrees_with_the_strain_path_that_it_finds(rng):
    """A path under mixed control, driven again by all its strains, gives the same stresses."""
    path = (
        Path()
        .ramp({"strain_xx": 6e-3, "stress_yy": 120.0, "strain_xy": 2e-3}, steps=15)
        .hold("stress_xx", steps=2)
        .ramp({"stress_xx": -100.0, "strain_yy": 0.0}, steps=15)
        .cycles([{"strain_xy": -2e-3}, {"strain_xy": 2e-3}], 2, steps=10)
    )
    law = j2()
    mixed = drive(law, path)
    assert mixed["stress_yy"][15] == pytest.approx(120.0, abs=1e-9)
    assert np.ptp(mixed["stress_xx"][15:18]) < 1e-9
    assert mixed["strain_yy"][32] == 0.0
    assert mixed["stress_xx"][-1] == pytest.approx(-100.0, abs=1e-9)
    assert mixed["equivalent_plastic_strain"][-1] > 0.01
    imposed = {f"strain_{axes}": mixed[f"strain_{axes}"] for axes in AXES}
    again = drive(law, Path().table(mixed.time, imposed))
    for axes in AXES:
        gap = np.abs(again[f"stress_{axes}"] - mixed[f"stress_{axes}"]).max()
        assert gap < 1e-8, f"{axes}: {gap:.1e}"  # stresses of hundreds


def test_reduced_laws():
    path = Path().ramp({"strain_xx": 0.01, "strain_xy": 0.002}, steps=10)
    solid = drive(j2(), path)
    sheet = drive(admat.PlaneStress(j2()), path)
    for name in ("stress_xx", "stress_xy", "strain_yy", "equivalent_plastic_strain"):
        np.testing.assert_allclose(sheet[name], solid[name], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sheet["strain_zz"], solid["strain_zz"], atol=1e-13)  # a state
    path = Path().ramp({"strain_zz": 0.01, "strain_zr": 0.002}, steps=10)
    ring = drive(admat.Axisymmetry(j2()), path)
    for ours, theirs in (("stress_zz", "stress_xx"), ("stress_rz", "stress_xy")):
        np.testing.assert_allclose(ring[ours], solid[theirs], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ring["strain_tt"], solid["strain_zz"], atol=1e-13)
    solid = drive(j2(), tension(0.01, 10))
    bar = drive(admat.UniaxialStress(j2()), tension(0.01, 10))
    np.testing.assert_allclose(bar["stress"], solid["stress_xx"], rtol=1e-12, atol=1e-10)
    again = drive(admat.UniaxialStress(j2()), Path().ramp({"stress": bar["stress"][-1]}, steps=5))
    assert again["strain_xx"][-1] == pytest.approx(0.01, rel=1e-9)


MU, LMBDA = 1.0, 1.5


def neo_hookean():
    return admat.NeoHookean(E=MU * (3 * LMBDA + 2 * MU) / (LMBDA + MU), nu=LMBDA / 2 / (LMBDA + MU))


def piola(F):
    return np.asarray(admat.evaluate_point(neo_hookean(), F).outputs["first_piola_stress"])


def test_finite_strain_tension_and_shear():
    result = drive(neo_hookean(), Path().ramp({"deformation_gradient_xx": 2.0}, steps=8))
    lateral = brentq(lambda s: piola(np.diag([2.0, s, s]))[1, 1], 0.5, 1.0, xtol=1e-15)
    F = result.inputs["deformation_gradient"][0, -1]
    np.testing.assert_allclose(F, np.diag([2.0, lateral, lateral]), atol=1e-12)
    cauchy = piola(F)[0, 0] / lateral**2
    assert result["cauchy_stress_xx"][-1] == pytest.approx(cauchy, rel=1e-12)
    back = drive(neo_hookean(), Path().ramp({"cauchy_stress_xx": cauchy}, steps=8))
    np.testing.assert_allclose(back.inputs["deformation_gradient"][0, -1], F, atol=1e-11)
    names = [f"deformation_gradient_{a}" for a in ("xx", "yy", "zz")]
    shear = Path().ramp({"deformation_gradient_xy": 0.5, **dict.fromkeys(names, 1.0)})
    result = drive(neo_hookean(), shear)
    F = np.eye(3)
    F[0, 1] = 0.5
    np.testing.assert_allclose(result.inputs["deformation_gradient"][0, -1], F, atol=1e-14)
    other = Path().ramp({"deformation_gradient_yx": 0.5, **dict.fromkeys(names, 1.0)})
    result = drive(neo_hookean(), other)
    np.testing.assert_allclose(result.inputs["deformation_gradient"][0, -1], F.T, atol=1e-14)


def test_control_by_true_stresses():
    law = neo_hookean()
    to = {"cauchy_stress_xx": 0.6, "cauchy_stress_yx": 0.2, "kirchhoff_stress_zz": -0.3}
    result = drive(law, Path().ramp(to, steps=5))
    assert result["cauchy_stress_xx"][-1] == pytest.approx(0.6, rel=1e-11)
    assert result["cauchy_stress_xy"][-1] == pytest.approx(0.2, rel=1e-11)
    assert result["cauchy_stress_yx"][-1] == pytest.approx(0.2, rel=1e-11)
    assert result["kirchhoff_stress_zz"][-1] == pytest.approx(-0.3, rel=1e-11)
    F = result.inputs["deformation_gradient"][0, -1]
    np.testing.assert_array_equal(np.tril(F, -1), 0.0)
    assert abs(result["cauchy_stress_yy"][-1]) < 1e-11
    assert abs(result["cauchy_stress_xz"][-1]) < 1e-12
    both = {"first_piola_stress_xy": 0.1, "first_piola_stress_yx": 0.1}
    with pytest.raises(MaterialError, match="the rotation is then not determined"):
        drive(law, Path().ramp(both))


class Conductor(admat.ExplicitLaw):
    """Thermo-elastic bar with conduction: three inputs, two of them with a partner."""

    inputs: ClassVar = {
        "strain": admat.SCALAR,
        "temperature": admat.SCALAR,
        "temperature_gradient": admat.VECTOR,
    }
    outputs: ClassVar = {"stress": admat.SCALAR, "heat_flux": admat.VECTOR}
    alpha: float = 1e-5
    k: float = 2.0

    def update(self, inputs, state, dt):
        stress = E * (inputs["strain"] - self.alpha * (inputs["temperature"] - 300.0))
        return {"stress": stress, "heat_flux": -self.k * inputs["temperature_gradient"]}, state


def test_several_inputs():
    law = Conductor()
    path = Path(start={"temperature": 300.0}).ramp({"temperature": 400.0}, steps=4)
    result = drive(law, path.ramp({"heat_flux_x": 3.0, "strain": 0.0}))
    np.testing.assert_allclose(result["strain"][:5], 1e-5 * np.linspace(0, 100, 5), atol=1e-17)
    assert result["stress"][-1] == pytest.approx(-E * 1e-3)
    assert result["temperature_gradient_x"][-1] == pytest.approx(-1.5)
    assert result["temperature_gradient_y"][-1] == 0.0
    with pytest.raises(
        MaterialError, match=r"Conductor has the input 'temperature', which .*start="
    ):
        drive(law, Path().ramp({"strain": 0.01}))


# -- Many specimens --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_a_batch_is_what_its_specimens_are(backend):
    moduli, yields = np.array([180e3, 200e3, 220e3]), np.array([200.0, 250.0, 300.0])
    to = np.array([0.004, 0.008, 0.02])
    path = Path().ramp({"strain_xx": to, "strain_xy": 1e-3}, steps=6).ramp({"stress_xx": 0.0})
    parameters = {"E": moduli, "hardening.sigma_y": yields, "nu": 0.25}
    batch = drive(j2(), path, parameters=parameters, backend=backend)
    assert batch["stress_xx"].shape == (3, 8) and batch.specimens == 3 and not batch.single
    for k in range(3):
        law = admat.J2Plasticity(moduli[k], 0.25, admat.LinearHardening(yields[k], H))
        path = Path().ramp({"strain_xx": to[k], "strain_xy": 1e-3}, steps=6).ramp({"stress_xx": 0})
        one = drive(law, path, backend=backend)
        for name in one.names:
            atol = 1e-12 if "stress" in name else 1e-17
            found = np.broadcast_to(batch[name], (3, 8))[k]
            np.testing.assert_allclose(found, one[name], rtol=1e-13, atol=atol, err_msg=name)


def test_one_compilation_serves_all_paths():
    law = Timid(E, 1.0)
    first = drive(law, tension(steps=2), backend="xla")
    from dolfinx_admat.kernels import BatchKernel

    kernel = BatchKernel(Controlled(law), backend="xla", chunk_size=1)
    traces = kernel.traces
    assert traces >= 1
    drive(law, Path().ramp({"stress_xx": 10.0, "strain_xy": 1e-3}).hold("strain_xx"), backend="xla")
    drive(Timid(2 * E, 1.0), tension(steps=9), backend="xla")
    assert kernel.traces == traces
    assert first["stress_xx"][-1] == pytest.approx(E * 0.01)


def test_initial_state_and_stress():
    law = j2()
    state = {"equivalent_plastic_strain": [0.0, 0.01]}
    result = drive(law, tension(), initial_state=state)
    flow = SIGMA_Y + H * 0.01 + H * (0.01 - result["stress_xx"][1, -1] / E)
    assert result["stress_xx"][1, -1] == pytest.approx(flow, rel=1e-12)
    assert result["equivalent_plastic_strain"][1, 0] == 0.01
    stress = {"stress_xx": -100.0, "stress_yy": -50.0, "stress_xy": 20.0}
    result = drive(law, tension(-1e-4, 4), initial_stress=stress)
    np.testing.assert_allclose(result["stress_xx"], -100 - E * np.linspace(0, 1e-4, 5), rtol=1e-12)
    np.testing.assert_allclose(result["stress_yy"], -50.0, rtol=1e-12)
    np.testing.assert_allclose(result["stress_xy"], 20.0, rtol=1e-12)
    np.testing.assert_allclose(result["strain_yy"], NU * np.linspace(0, 1e-4, 5), atol=1e-15)
    np.testing.assert_allclose(result["strain_xx"][-1], -1e-4, atol=1e-18)
    with pytest.raises(MaterialError, match="initial_stress is not admissible for specimen 0"):
        drive(law, tension(), initial_stress={"stress_xx": 2 * SIGMA_Y})


# -- Failures --------------------------------------------------------------------------------


def test_only_failing_specimens_are_divided():
    law = Timid(E, 0.01)
    to = np.array([0.01, 0.03, 0.01])
    result = drive(law, Path().ramp({"strain_xx": to}, steps=1))
    np.testing.assert_array_equal(result.substeps[:, 1], [1, 4, 1])
    np.testing.assert_array_equal(result["count"][:, -1], [1, 4, 1])
    np.testing.assert_allclose(result["stress_xx"][:, -1], E * to, rtol=1e-13)
    assert result.converged.all()
    steps = recorded_steps(result, 1)
    np.testing.assert_allclose(steps.inputs["strain_target"][:, 0], 0.03 * np.arange(1, 5) / 4)
    np.testing.assert_allclose(steps.inputs["time_increment"], 0.25)
    response = path_response(law, steps)
    np.testing.assert_allclose(response.outputs["stress"][:, 0], [E * 0.03])
    with pytest.raises(MaterialError, match="different sub-steps"):
        recorded_steps(result)


def test_failure_of_one_specimen_for_good():
    law = Timid(E, 0.01)
    path = Path().ramp({"strain_xx": [0.01, 0.02]}, steps=2, time=2.0)
    path = path.ramp({"strain_xx": [0.0, 5.0]}, steps=1).ramp({"strain_xx": 0.0}, steps=1)
    with pytest.raises(ConvergenceError) as caught:
        drive(law, path, max_bisections=3)
    text, report = str(caught.value), caught.value.report
    assert re.search(r"Timid failed at 1 of 2 specimens. First: specimen 1, step 3 to time 3", text)
    assert "0.12 of the step" in text and "INADMISSIBLE" in text and "strain_xx = 0.6425" in text
    assert (report["specimen"], report["step"], report["time"]) == (1, 3, 3.0)
    # The report is enough to evaluate the failed sub-step again.
    worst = report["worst"]
    again = Timid(**worst["parameters"])
    state = {name: np.array(value) for name, value in worst["state"].items()}
    point = admat.evaluate_point(Controlled(again), worst["inputs"], state)
    assert int(point.status.code) == worst["code"] == admat.LocalStatus.INADMISSIBLE
    kept = drive(law, path, max_bisections=3, on_failure="keep")
    np.testing.assert_array_equal(kept.converged, [True, False])
    np.testing.assert_array_equal(kept.status[1], [0, 0, 0, 3, 3])
    assert np.isnan(kept["stress_xx"][1, 3:]).all() and np.isfinite(kept["stress_xx"][0]).all()
    assert kept["stress_xx"][1, 2] == pytest.approx(E * 0.02)
    with pytest.raises(MaterialError, match="specimen 1 failed"):
        recorded_steps(kept, 1)


def stretched():
    return Path().ramp({"deformation_gradient_xx": 1.1})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: drive(j2(), Path().ramp({"stres_xx": 1.0})),
            r"no 'stres_xx' \(did you mean stress",
        ),
        (
            lambda: drive(j2(), Path().ramp({"strain_xx": 1.0, "stress_xx": 1.0})),
            "segment 1: 'strain_xx' and 'stress_xx' cannot both be controlled",
        ),
        (
            lambda: drive(j2(), tension([0.1, 0.2]), parameters={"E": [1.0, 2.0, 3.0]}),
            "numbers of specimens differ; got E: 3, strain_xx: 2",
        ),
        (
            lambda: drive(j2(), tension(), parameters={"hardening.sigmay": 1.0}),
            r"no 'hardening.sigmay' \(did you mean hardening.sigma_y",
        ),
        (
            lambda: drive(j2(), tension(), parameters={"nu": [0.3, 0.6]}),
            "'nu' is out of range: got 0.6",
        ),
        (lambda: drive(j2(), tension(), initial_state={"p": 1.0}), "initial_state: no 'p'"),
        (lambda: drive(j2(), tension(np.nan)), "segment 1: 'strain_xx' must be a finite number"),
        (lambda: drive(j2(), tension("a")), "'strain_xx': expected a number or numbers; got 'a'"),
        (lambda: tension(time="a"), "expected a number or numbers; got 'a'"),
        (lambda: Path().table([0, 1], {"strain_xx": [0, "a"]}), "table: 'strain_xx': expected"),
        (lambda: drive(j2(), Path()), "the path has no segments"),
        (lambda: drive(j2(), tension(), on_failure="stop"), "on_failure must be 'raise' or"),
        (
            lambda: drive(neo_hookean(), stretched(), initial_stress={"stress_xx": 1.0}),
            "with strain",
        ),
        (lambda: tension(steps=0), "steps must be a number of steps >= 1"),
        (lambda: tension(steps=[0.5, 0.4, 1.0]), "or increasing fractions"),
        (lambda: tension(time=-1.0), "a number > 0 .*; got -1.0"),
        (lambda: tension(time=1.0, rate=1.0), "rate stands in place of time"),
        (lambda: drive(j2(), tension(0.0, rate=1.0)), "'strain_xx' is there already"),
        (lambda: Path().table([0, 2, 1], {"strain_xx": [0, 1, 2]}), r"got 1 after 2 \(row 3\)"),
        (lambda: Path().table([0, 1], {"strain_xx": [0.0]}), r"has shape \(1,\), expected \(2,\)"),
        (lambda: drive(j2(), tension())["stress_x"], "no 'stress_x' .did you mean stress_x"),
    ],
)
def test_messages(call, message):
    with pytest.raises(MaterialError, match=message):
        call()


# -- Derivatives -----------------------------------------------------------------------------


def test_gradients_of_a_path_under_mixed_control():
    law = j2()
    path = Path().ramp({"strain_xx": 0.006, "stress_yy": 60.0}, steps=5).ramp({"stress_xx": 0.0})
    steps = recorded_steps(drive(law, path))
    names = ("E", "nu", "hardening.sigma_y", "hardening.H")

    def build(values):
        E, nu, sigma_y, H = values
        return admat.J2Plasticity(E, nu, admat.LinearHardening(sigma_y, H))

    def measured(values, tangent=None):
        found = path_response(build(values), steps, tangent)
        stress, strain = found.outputs["stress"][:, 0] / 250.0, found.inputs["strain"][:, 1] / 0.01
        return jnp.concatenate([stress, strain, found.states["plastic_strain"][:, 0] / 0.01])

    values = jnp.array([E, NU, SIGMA_Y, H])
    plain = jax.jit(measured)
    value = plain(values)
    forward = jax.jit(jax.jacfwd(measured))(values) * values
    reverse = jax.jit(jax.jacrev(measured))(values) * values
    unrolled = jax.jit(lambda v: jax.jacfwd(measured)(v, "unrolled"))(values) * values
    np.testing.assert_allclose(reverse, forward, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(unrolled, forward, rtol=1e-10, atol=1e-10)
    for k, name in enumerate(names):
        step = 1e-5 * values[k]
        change = jnp.zeros(4).at[k].set(step)
        slope = (plain(values + change) - plain(values - change)) / 2e-5
        np.testing.assert_allclose(forward[:, k], slope, rtol=1e-6, atol=1e-7, err_msg=name)
        assert np.abs(slope).max() > 1e-3, name
    again = drive(build(values), path)
    np.testing.assert_allclose(value[:6] * 250.0, again["stress_xx"][1:], rtol=1e-11, atol=1e-10)


def test_gradients_of_a_batch():
    law = j2()
    result = drive(law, tension([0.004, 0.008], 4))
    steps = recorded_steps(result)
    found = jax.vmap(lambda s: path_response(law, s))(steps)
    np.testing.assert_allclose(found.outputs["stress"], result.outputs["stress"][:, 1:], atol=1e-9)
    assert not found.status.any()


# -- Output ----------------------------------------------------------------------------------


def test_csv_there_and_back(tmp_path):
    path = Path().ramp({"strain_xx": [0.01, 0.02], "strain_xy": 1e-3}, steps=3)
    result = drive(j2(), path, parameters={"hardening.H": [1e3, 2e3]})
    file = tmp_path / "new" / "result.csv"
    result.to_csv(file, time_unit="s")
    head = file.read_text().splitlines()[:7]
    assert head[0] == "# law: J2Plasticity"
    assert (
        "# parameter E = 200000.0" in head and "# parameter hardening.H = [1000.0, 2000.0]" in head
    )
    assert "# time in s" in head
    columns = read_csv(file)
    assert list(columns)[:3] == ["specimen", "time", "strain_xx"]
    for name in ("time", "strain_xy", "stress_xx", "plastic_strain_xy"):
        np.testing.assert_array_equal(columns[name], np.broadcast_to(result[name], (2, 4)).ravel())
    first = {k: v[columns["specimen"] == 0] for k, v in columns.items()}
    imposed = {f"strain_{a}": first[f"strain_{a}"] for a in AXES}
    again = drive(j2(H=1e3), Path().table(first["time"], imposed))
    np.testing.assert_allclose(again["stress_xx"], result["stress_xx"][0], rtol=1e-9)


def test_read_csv_messages(tmp_path):
    file = tmp_path / "data.csv"
    with pytest.raises(MaterialError, match="no such file"):
        read_csv(file)
    file.write_text("# only a comment\ntime,strain\n0,0\n1\n")
    with pytest.raises(MaterialError, match=r"row 2 has 1 values, expected 2 \(time, strain\)"):
        read_csv(file)
    file.write_text("time,strain\n0,x\n")
    with pytest.raises(MaterialError, match="expected numbers below the names"):
        read_csv(file)


def test_plot(tmp_path):
    result = drive(j2(), tension([0.01, 0.02]))
    figure = result.plot(file=tmp_path / "a" / "plot.png", units={"stress_xx": "MPa"})
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("strain xx", "stress xx [MPa]")
    assert len(axes.lines) == 2 and axes.get_legend() is not None
    picture = matplotlib.image.imread(tmp_path / "a" / "plot.png")
    assert picture.shape[0] > 300 and np.ptp(picture[..., :3]) > 0.5
    figure = result.plot("time", "equivalent_plastic_strain")
    assert figure.axes[0].get_ylabel() == "equivalent plastic strain"
