"""Calibration at a point: residuals, their derivatives, fits, statistics, and what goes wrong.

Laws of a bar, with one strain, keep the compilations short.
"""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import t as student

import dolfinx_admat as admat
from dolfinx_admat import Path, drive
from dolfinx_admat.calibration import (
    Experiment,
    FitResult,
    Free,
    Loss,
    Residuals,
    data_hash,
    fit,
    fit_stochastic,
)
from dolfinx_admat.calibration._response import respond
from dolfinx_admat.calibration._schedule import make_schedule
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.materials import SCALAR, parameter


class ElasticBar(admat.ExplicitLaw):
    """stress = E strain + a b strain^2."""

    E: float = parameter(above=0.0)
    a: float = parameter(default=0.0)
    b: float = parameter(default=1.0)
    inputs: ClassVar = {"strain": SCALAR}
    outputs: ClassVar = {"stress": SCALAR}

    def update(self, inputs, state, dt):
        e = inputs["strain"]
        return {"stress": self.E * e + self.a * self.b * e**2}, state


class PlasticBar(admat.ImplicitLaw):
    """Plasticity with any isotropic hardening: one unknown."""

    E: float = parameter(above=0.0)
    hardening: object
    inputs: ClassVar = {"strain": SCALAR}
    outputs: ClassVar = {"stress": SCALAR}

    def initial_state(self):
        return {"plastic_strain": 0.0, "equivalent_plastic_strain": 0.0}

    def _trial(self, step):
        stress = self.E * (step.given["strain"] - step.state["plastic_strain"])
        return stress, jnp.sign(stress)

    def guess(self, step):
        return jnp.zeros(())

    def elastic(self, step):
        stress, side = self._trial(step)
        return side * stress <= self.hardening(step.state["equivalent_plastic_strain"])

    def residual(self, dp, step):
        stress, side = self._trial(step)
        p = step.state["equivalent_plastic_strain"] + dp
        return (side * stress - self.E * dp - self.hardening(p)) / self.E

    def finish(self, dp, step):
        stress, side = self._trial(step)
        state = {
            "plastic_strain": step.state["plastic_strain"] + side * dp,
            "equivalent_plastic_strain": step.state["equivalent_plastic_strain"] + dp,
        }
        return {"stress": stress - side * self.E * dp}, state


class Network(admat.Parameters):
    """Yield stress by a network."""

    sigma_y: float = parameter(above=0.0)
    network: eqx.nn.MLP

    def __call__(self, p):
        at = lambda p: self.network(jnp.reshape(50.0 * p, (1,)))[0]  # noqa: E731
        return self.sigma_y * (1.0 + 0.5 * (at(p) - at(jnp.zeros(()))))


VOCE = {"sigma_y": 250.0, "Q": 100.0, "b": 40.0}
FREE = {
    "E": Free(1e5, 4e5),
    "hardening.sigma_y": (100.0, 500.0),
    "hardening.Q": (1.0, 500.0),
    "hardening.b": Free(1.0, 400.0, log=True),
}
#: Control changes in the middle: from a strain to a stress that was reached, and back.
SWITCHES = (
    Path()
    .ramp({"strain_xx": 0.02}, steps=6)
    .ramp({"stress_xx": -50.0}, steps=4)
    .hold("strain_xx", steps=2)
    .ramp({"strain_xx": 0.03}, steps=3)
)


def bar(**changed):
    return PlasticBar(210e3, admat.VoceHardening(**VOCE | changed))


def strains(size=12, largest=0.03):
    return Path().ramp({"strain_xx": largest}, steps=size)


def experiment(law, path=None, columns=("stress_xx",), noise=0.0, rng=None, **more):
    path = strains() if path is None else path
    result = drive(law, path, backend="xla")
    data = {name: result[name].copy() for name in columns}
    if noise:
        for values in data.values():
            values += noise * rng.standard_normal(values.size)
    return Experiment(path, data, **more)


def linear(noise=0.0, seed=0, size=12, **more):
    """Data of ElasticBar(100) at strains 1/size, ..., 1."""
    strain = np.arange(1.0, size + 1.0) / size
    data = 100.0 * strain + noise * np.random.default_rng(seed).standard_normal(size)
    path = Path().table(np.arange(1.0, size + 1.0), {"strain_xx": strain})
    return strain, data, Experiment(path, {"stress_xx": data}, **more)


def central(function, x):
    """Richardson's extrapolation of central differences."""
    columns = []
    for k in range(len(x)):
        h = 1e-3 * abs(x[k]) * (np.arange(len(x)) == k)
        coarse, fine = (
            (function(x + s * h) - function(x - s * h)) / (2.0 * s * h[k]) for s in (1.0, 0.5)
        )
        columns.append((4.0 * fine - coarse) / 3.0)
    return np.stack(columns, axis=-1)


# -- Derivatives -------------------------------------------------------------------------------


def test_derivatives_through_changes_of_control():
    """Values that were reached depend on the parameters: the derivative must know."""
    law = bar(sigma_y=240.0)
    data = experiment(bar(), SWITCHES, ("stress_xx", "strain_xx", "equivalent_plastic_strain"))
    problem = Residuals(law, data, FREE)
    x = problem.free.start
    driven = drive(law, SWITCHES, backend="xla")
    found = problem.predictions(x)[0]
    for name in data.data:
        np.testing.assert_allclose(found[name], driven[name][1:], rtol=1e-10, atol=1e-13)
    J = problem.jacobian(x)
    scale = np.abs(J).max(axis=0)
    assert (scale > 0.0).all()
    unrolled = problem.jacobian(x, tangent="unrolled")
    assert np.abs((J - unrolled) / scale).max() < 1e-10
    # The differences' own error: local tolerance over step, h^4.
    assert np.abs((J - central(problem.residuals, x)) / scale).max() < 1e-6
    value, gradient = problem.value_and_gradient(x)
    r = problem.residuals(x)
    assert value == pytest.approx(0.5 * r @ r, rel=1e-12)
    np.testing.assert_allclose(gradient, J.T @ r, rtol=1e-9)


def test_network_in_forward_and_reverse():
    """Array parameters of a part, named at once; activation functions are left alone."""
    network = eqx.nn.MLP(1, 1, 3, 1, activation=jnp.tanh, key=jax.random.PRNGKey(3))
    law = PlasticBar(210e3, Network(240.0, network))
    data = [experiment(bar(), strains(5, e)) for e in (0.02, 0.03)]
    free = {"hardening.network": Free(scale=1.0), "hardening.sigma_y": (100.0, 500.0)}
    problem = Residuals(law, data, free)
    assert problem.size == 10 and problem.free.size == 11 and problem.reverse  # 10 weights + 1
    assert "hardening.network.layers.0.weight[2, 0]" in problem.free.names
    x = problem.free.start
    J = problem.jacobian(x)
    scale = np.abs(J).max()
    assert np.abs(J - central(problem.residuals, x)).max() < 1e-6 * scale
    np.testing.assert_allclose(
        problem.value_and_gradient(x)[1], J.T @ problem.residuals(x), rtol=0, atol=1e-9 * scale
    )
    result = fit_stochastic(law, data, free, epochs=40, batch=2, seed=2)
    assert result.cost < 0.2 * result.history[0].cost
    assert any("no more data than" in w for w in result.warnings)
    assert isinstance(result.law.hardening.network, eqx.nn.MLP)
    assert np.isnan(list(result.confidence_intervals().values())).all()


def test_strain_is_compared_where_stress_is_imposed():
    truth = bar()
    path = Path().ramp({"stress_xx": 330.0}, steps=8)
    data = experiment(truth, path, ("strain_xx",))
    result = fit(bar(sigma_y=230.0, Q=150.0), data, {k: FREE[k] for k in list(FREE)[:3]})
    assert result.converged
    assert result.values == pytest.approx(
        {"E": 210e3, "hardening.sigma_y": 250, "hardening.Q": 100}
    )


# -- Fits --------------------------------------------------------------------------------------


def test_recovers_parameters_from_several_experiments_at_once():
    truth, guess = bar(), PlasticBar(150e3, admat.VoceHardening(sigma_y=350.0, Q=200.0, b=10.0))
    paths = [strains(12), strains(9, -0.02), strains(10, 0.004), SWITCHES]
    seen = []
    result = fit(guess, [experiment(truth, p) for p in paths], FREE, progress=seen.append)
    assert result.converged and isinstance(result.law, PlasticBar)
    assert result.values == pytest.approx(
        {"E": 210e3, "hardening.sigma_y": 250.0, "hardening.Q": 100.0, "hardening.b": 40.0},
        rel=1e-7,
    )
    assert float(result.law.hardening.b) == pytest.approx(40.0, rel=1e-7)
    assert max(rms["stress_xx"] for rms in result.rms) < 1e-5
    assert [i.cost for i in seen] == sorted((i.cost for i in seen), reverse=True)
    assert len(seen) == len(result.history) <= result.evaluations


def test_linear_regression_has_its_textbook_statistics(tmp_path):
    strain, data, one = linear(3.0, units={"stress_xx": "MPa", "E": "MPa"})
    result = fit(ElasticBar(50.0), one, {"E": Free()})
    E = strain @ data / (strain @ strain)
    s2 = np.sum((data - E * strain) ** 2) / (len(data) - 1)
    error = np.sqrt(s2 / (strain @ strain))
    assert result.values["E"] == pytest.approx(E, rel=1e-8)
    assert result.standard_errors["E"] == pytest.approx(error, rel=1e-6)
    half = student.ppf(0.95, len(data) - 1) * error
    assert result.confidence_intervals(0.9)["E"] == pytest.approx((E - half, E + half), rel=1e-7)
    assert result.rms[0]["stress_xx"] == pytest.approx(np.sqrt(s2 * (len(data) - 1) / len(data)))
    known = fit(ElasticBar(50.0), linear(3.0, sigma=3.0)[2], {"E": Free()}, noise="known")
    assert known.standard_errors["E"] == pytest.approx(3.0 / np.sqrt(strain @ strain), rel=1e-7)
    logarithm = fit(ElasticBar(50.0), one, {"E": Free(log=True)})
    assert logarithm.values["E"] == pytest.approx(E, rel=1e-7)
    low, high = logarithm.confidence_intervals(0.9)["E"]
    assert low * high == pytest.approx(E**2, rel=1e-6) and low > 0.0
    text = result.report(0.9)
    for part in ("ElasticBar", "90 % interval", "MPa", "converged", "central differences",
                 result.data_hash):  # fmt: skip
        assert part in text, part
    figure = result.plot(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").stat().st_size > 10_000 and len(figure.axes) == 4
    with pytest.raises(MaterialError, match="level must be in"):
        result.confidence_intervals(95)


def test_gaps_and_weights():
    strain, data, _ = linear(3.0)
    path = Path().table(np.arange(1.0, 13.0), {"strain_xx": strain})
    gaps, weights = data.copy(), np.ones(12)
    gaps[[2, 7]] = np.nan
    weights[[2, 7]] = 0.0
    seen = ~np.isnan(gaps)
    expected = strain[seen] @ data[seen] / (strain[seen] @ strain[seen])
    for one in (
        Experiment(path, {"stress_xx": gaps}),
        Experiment(path, {"stress_xx": data}, weights=weights),
        Experiment(path, {"stress_xx": data}, weights={"stress_xx": 2.0 * weights}),
    ):
        result = fit(ElasticBar(50.0), one, {"E": Free()})
        assert result.residuals.size == 10
        assert result.values["E"] == pytest.approx(expected, rel=1e-8)
    # sigma of each value: as weights 1/sigma^2.
    sigma = np.linspace(1.0, 3.0, 12)
    w = sigma**-2
    result = fit(
        ElasticBar(50.0), Experiment(path, {"stress_xx": data}, sigma=sigma), {"E": Free()}
    )
    assert result.values["E"] == pytest.approx((w * strain) @ data / ((w * strain) @ strain))


def test_bounds_hold_and_are_reported():
    _, _, one = linear()
    result = fit(ElasticBar(50.0), one, {"E": (10.0, 80.0)})
    assert 79.99 < result.values["E"] <= 80.0
    assert any("E stands on its upper bound, 80" in w for w in result.warnings)
    assert np.isnan(result.standard_errors["E"]) and "none" in str(result)
    result = fit_stochastic(ElasticBar(50.0), one, {"E": (10.0, 80.0)}, epochs=100)
    assert 79.9 < result.values["E"] <= 80.0


def test_an_optimum_on_a_bound_is_said_to_be_one(tmp_path):
    """The data want Q < 0; a trust region within the bounds ends close to Q = 0, not at it."""
    law = admat.J2Plasticity(210e3, 0.3, admat.VoceHardening(350.0, 50.0, 20.0))
    rows = [("t", "e", "s"), (0, 0, 0), (1, 0.001, 200), (2, 0.01, 330), (3, 0.02, 360)]
    file = tmp_path / "bar.csv"
    file.write_text("\n".join(",".join(map(str, row)) for row in rows))
    bar = Experiment.from_csv(
        file, time="t", imposed={"strain_xx": "e"}, compared={"stress_xx": "s"}
    )
    result = fit(law, bar, {"hardening.Q": (0.0, 200.0)})
    assert result.x < 1.0 and result.statistics.on_bound.tolist() == [True]
    assert any("hardening.Q stands on its lower bound" in w for w in result.warnings)
    assert np.isnan(result.standard_errors["hardening.Q"])


def test_what_the_data_do_not_determine_is_named():
    path = Path().ramp({"strain_xx": 0.5}, steps=6)
    rng = np.random.default_rng(0)
    law = ElasticBar(100.0, 30.0, 2.0)
    one = experiment(law, path, noise=0.5, rng=rng)
    result = fit(ElasticBar(90.0, 20.0, 2.5), one, {"E": Free(), "a": Free(), "b": Free()})
    (warning,) = [w for w in result.warnings if "do not determine" in w]
    assert "+0.71 a -0.71 b" in warning or "+0.71 b -0.71 a" in warning
    assert "cannot be told apart" in warning
    assert np.isinf(result.standard_errors["a"]) and np.isfinite(result.standard_errors["E"])
    assert result.statistics.singular_values[-1] < 1e-9 * result.statistics.singular_values[0]
    # Determined, but by data that are too noisy.
    weak = experiment(ElasticBar(100.0, 30.0), Path().ramp({"strain_xx": 0.01}, steps=6), noise=0.1,
                      rng=rng)  # fmt: skip
    result = fit(ElasticBar(90.0, 20.0), weak, {"E": Free(), "a": Free()})
    assert any(" a " in w and "standard deviation" in w for w in result.warnings), result.warnings


def test_many_starts_find_the_better_minimum():
    class Wave(admat.ExplicitLaw):
        w: float
        inputs: ClassVar = {"strain": SCALAR}
        outputs: ClassVar = {"stress": SCALAR}

        def update(self, inputs, state, dt):
            return {"stress": jnp.sin(self.w * inputs["strain"])}, state

    path = Path().ramp({"strain_xx": 1.0}, steps=30)
    data = experiment(Wave(17.0), path)
    free = {"w": Free(1.0, 40.0)}
    single = fit(Wave(3.0), data, free)
    assert single.cost > 1.0
    results = [fit(Wave(3.0), data, free, starts=12, seed=4) for _ in range(2)]
    assert results[0].values["w"] == pytest.approx(17.0, rel=1e-6)
    assert results[0].costs == results[1].costs and len(results[0].costs) == 12
    assert results[0].costs[0] == pytest.approx(single.cost)
    assert " of 12 starts ended at the best loss" in str(results[0])


@pytest.mark.parametrize("rho", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
def test_losses_are_those_of_scipy(rho, rng):
    r = rng.normal(size=20) * 3.0
    found = least_squares(lambda x: x - r, np.zeros(20), loss=rho, f_scale=0.7, max_nfev=1)
    assert Loss(rho, 0.7).cost(r) == pytest.approx(found.cost, rel=1e-12)
    first, second = Loss(rho, 0.7).derivatives(r)
    one = lambda v: Loss(rho, 0.7).cost(np.array([v]))  # noqa: E731
    for k in range(20):
        slope = (one(r[k] + 1e-5) - one(r[k] - 1e-5)) / 2e-5
        assert first[k] == pytest.approx(slope, rel=1e-6, abs=1e-8)
    h = 1e-6
    plus, minus = (Loss(rho, 0.7).derivatives(r + s)[0] for s in (h, -h))
    np.testing.assert_allclose(second, np.maximum((plus - minus) / (2 * h), 0.0), atol=1e-6)


def test_outliers_count_less_with_a_robust_loss():
    strain, data, _ = linear(1.0, size=20)
    data[[15, 17]] += 60.0
    path = Path().table(np.arange(1.0, 21.0), {"strain_xx": strain})
    one = Experiment(path, {"stress_xx": data}, sigma=1.0)
    plain = fit(ElasticBar(80.0), one, {"E": Free()})
    robust = fit(ElasticBar(80.0), one, {"E": Free()}, loss="soft_l1")
    own = fit(ElasticBar(80.0), one, {"E": Free()}, loss=lambda z: np.stack(
        [2 * ((1 + z) ** 0.5 - 1), (1 + z) ** -0.5, -0.5 * (1 + z) ** -1.5]))  # fmt: skip
    assert abs(plain.values["E"] - 100.0) > 5.0 > 5.0 * abs(robust.values["E"] - 100.0)
    assert own.values["E"] == pytest.approx(robust.values["E"], rel=1e-6)
    assert robust.standard_errors["E"] < plain.standard_errors["E"]


def test_an_interrupt_keeps_the_best_iterate():
    truth = experiment(bar())

    def stop(iterate):
        if iterate.evaluation >= 4:
            raise KeyboardInterrupt

    guess = bar(sigma_y=400.0, Q=20.0)
    result = fit(guess, truth, FREE, progress=stop, starts=3)
    assert result.interrupted and not result.converged and result.message == "interrupted"
    assert result.cost == pytest.approx(min(i.cost for i in result.history))
    assert result.cost < result.history[0].cost and "NOT CONVERGED" in str(result)
    resumed = fit(result.law, truth, FREE)
    assert resumed.history[0].cost == pytest.approx(result.cost, rel=1e-6)
    assert resumed.converged and resumed.values["hardening.Q"] == pytest.approx(100.0)
    seen = []

    def later(iterate):
        seen.append(iterate)
        if len(seen) == 3:
            raise KeyboardInterrupt

    result = fit_stochastic(ElasticBar(50.0), linear()[2], {"E": Free()}, progress=later)
    assert result.interrupted and result.cost == seen[-1].cost

    def at_once(iterate):
        raise KeyboardInterrupt

    result = fit(guess, truth, FREE, progress=at_once)
    assert result.interrupted and result.values["hardening.sigma_y"] == pytest.approx(400.0)


def test_progress_is_printed(capsys):
    fit(ElasticBar(50.0), linear()[2], {"E": Free()}, progress=True)
    assert capsys.readouterr().out.startswith("fit: start 0, evaluation 1: loss ")


# -- Where the law fails -----------------------------------------------------------------------


class Fragile(admat.ExplicitLaw):
    """Elastic; no answer where E > most, or for a step of the strain above ``largest / E``."""

    E: float = parameter(above=0.0)
    most: float = 1e9
    largest: float = 1e9
    inputs: ClassVar = {"strain": SCALAR}
    outputs: ClassVar = {"stress": SCALAR}

    def initial_state(self):
        return {"last": 0.0}

    def update(self, inputs, state, dt):
        e = inputs["strain"]
        fails = (self.E > self.most) | (self.E * jnp.abs(e - state["last"]) > self.largest)
        return {"stress": jnp.where(fails, jnp.nan, self.E * e)}, {"last": e}


def test_a_trial_where_the_law_fails_is_refused():
    """The first step, to 100, is too long; then it goes on from closer by."""
    _, _, one = linear()
    result = fit(Fragile(50.0, most=95.0), one, {"E": Free()})
    assert result.refused > 0 and np.isfinite(result.residuals).all()
    assert 85.0 < result.values["E"] <= 95.0  # as near as it gets
    with pytest.raises(ConvergenceError, match=r"the law fails at the first values: .*NaN or inf"):
        fit(Fragile(96.0, most=95.0), one, {"E": Free()})
    with pytest.raises(ConvergenceError, match="fit_stochastic: at the first values"):
        fit_stochastic(Fragile(96.0, most=95.0), one, {"E": Free()}, epochs=1)


def test_steps_are_divided_where_the_law_needs_it():
    """At E = 50 a step of 0.2 can be taken at once, at E = 100 in two halves."""
    path = Path().ramp({"strain_xx": 1.0}, steps=5)
    one = Experiment(path, {"stress_xx": 100.0 * np.linspace(0.2, 1.0, 5)})
    result = fit(Fragile(50.0, largest=11.0), one, {"E": Free()})
    assert result.refinements >= 1 and result.converged
    assert result.values["E"] == pytest.approx(100.0, rel=1e-8)
    assert fit(Fragile(80.0, largest=11.0), one, {"E": Free()}).values["E"] == pytest.approx(100.0)


def test_parameters_that_do_not_fit_together_are_refused():
    class Sum(ElasticBar):
        def conditions(self):
            return {"E + a < 90": 90.0 - self.E - self.a}

    result = fit(Sum(50.0), linear()[2], {"E": Free()})
    assert result.refused > 0 and 80.0 < result.values["E"] < 90.0


# -- Experiments -------------------------------------------------------------------------------


def test_known_differences_between_specimens():
    """Each specimen has its own known parameter and initial state."""
    truth = bar()
    each = []
    for sigma_y, p in ((250.0, 0.0), (300.0, 0.01)):
        driven = drive(
            truth,
            strains(),
            parameters={"hardening.sigma_y": sigma_y},
            initial_state={"equivalent_plastic_strain": p},
            backend="xla",
        )
        each.append(
            Experiment(
                strains(),
                {"stress_xx": driven["stress_xx"][1:]},
                parameters={"hardening.sigma_y": sigma_y},
                initial_state={"equivalent_plastic_strain": p},
            )
        )
    result = fit(bar(Q=50.0), each, {"hardening.Q": (0.0, 500.0)})
    assert result.values["hardening.Q"] == pytest.approx(100.0, rel=1e-8)
    with pytest.raises(MaterialError, match=r"'hardening\.sigma_y' is given, and free as well"):
        fit(truth, each, {"hardening.sigma_y": Free()})


def test_time_zero_counts_only_away_from_rest():
    away = Path(start={"strain_xx": 0.5}).ramp({"strain_xx": 1.0}, steps=2)
    result = fit(ElasticBar(50.0), Experiment(away, {"stress_xx": [50, 75, 100]}), {"E": Free()})
    assert result.residuals.size == 3 and result.values["E"] == pytest.approx(100.0)
    rest = Path(start={"strain_xx": 0.0}).ramp({"strain_xx": 1.0}, steps=2)
    result = fit(ElasticBar(50.0), Experiment(rest, {"stress_xx": [7, 50, 100]}), {"E": Free()})
    assert result.residuals.size == 2 and result.values["E"] == pytest.approx(100.0)


def test_csv(tmp_path):
    file = tmp_path / "test.csv"
    file.write_text("# a comment\nt,e,s,mode\n0,0,0,1\n1,1,50,1\n2,2,,1\n4,3,150,1\n9,9,9,2\n")
    one = Experiment.from_csv(
        file, imposed={"strain_xx": "e"}, compared={"stress_xx": "s"}, time="t", rows={"mode": 1},
        factors={"strain_xx": 0.01, "stress_xx": 2.0},
    )  # fmt: skip
    assert one.name == "test" and one.path.steps == 3
    result = fit(ElasticBar(50.0), one, {"E": Free()})
    assert result.residuals.size == 2 and result.values["E"] == pytest.approx(1e4)
    np.testing.assert_allclose(result.predictions[0]["x"], [0.01, 0.02, 0.03])
    timed = dataclasses.replace(one, x="time")
    np.testing.assert_allclose(
        Residuals(ElasticBar(1.0), timed, {"E": Free()}).predictions(np.ones(1))[0]["x"], [1, 2, 4]
    )
    columns = {"imposed": {"strain_xx": "e"}, "compared": {"stress_xx": "s"}}
    for more, message in (
        ({"time": "tt"}, "columns: no 'tt'"),
        ({"imposed": ["strain_xx"]}, "columns: no 'strain_xx'"),
        ({"compared": {"stress_xx": "f"}}, "columns: no 'f'"),
        ({"compared": []}, "name at least one imposed and one compared"),
        ({"imposed": {"stress_xx": "s"}}, "imposed column 's' has a gap at row 3"),
        ({"time": "mode"}, "times must increase"),
        ({"rows": {"mode": 3}}, "no row is left of 5"),
        ({"rows": slice(1, 1)}, "no row is left"),
        ({"factors": {"e": 2.0}}, "factors: no 'e'"),
        ({"imposed": "e"}, "imposed='e': expected columns by component, or a list"),
    ):
        with pytest.raises(MaterialError, match=message):
            Experiment.from_csv(file, **{**columns, **more})
    for content, message in (
        (b"e,s\n0,a\n", "expected numbers below the names"),
        (b"e,s,s\n0,1,2\n", "the column 's' stands there twice"),
        (b"e;s\n0;0,5\n", "separate values by commas"),
        (b"e,s,\xb0C\n0,1,2\n", "save it as UTF-8 text"),
    ):
        file.write_bytes(content)
        with pytest.raises(MaterialError, match=message):
            Experiment.from_csv(file, **columns)


def test_data_hash():
    one = linear()[2]
    assert one.digest() == linear(name="other", units={"E": "Pa"})[2].digest()
    assert one.digest() != linear(size=11)[2].digest()
    assert one.digest() != linear(sigma=2.0)[2].digest()
    assert data_hash([one]) != data_hash([one, one])
    result = fit(ElasticBar(50.0), one, {"E": Free()})
    assert isinstance(result, FitResult) and result.data_hash == data_hash([one])


def test_a_fitted_law_is_saved(tmp_path):
    """With what is known about it; also where something is not determined."""
    _, _, one = linear(3.0, units={"stress_xx": "MPa"})
    result = fit(ElasticBar(50.0, 0.0), one, {"E": Free(), "b": Free()})
    file = result.save(tmp_path / "bar.json", notes="a test")
    again = admat.load_law(file, known=[ElasticBar])
    assert float(again.E) == float(result.law.E)
    found = admat.read_law_file(file)
    assert found.data_hash == result.data_hash and tuple(found.fitted) == ("E", "b")
    np.testing.assert_array_equal(found.covariance, result.covariance)
    assert found.notes == "a test" and found.units["stress_xx"] == "MPa"
    assert found.training_range["stress_xx"][1] == one.data["stress_xx"].max()
    assert found.errors["0 experiment"] == result.rms[0]


PATH = Path().ramp({"strain_xx": 1.0}, steps=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Experiment("path", {"stress_xx": [1]}), "expected a Path with segments"),
        (lambda: Experiment(Path(), {"stress_xx": [1]}), "expected a Path with segments"),
        (lambda: Experiment(PATH, {}), "no data; give measured components"),
        (lambda: Experiment(PATH, [1, 2, 3]), "no data; give measured components"),
        (
            lambda: Experiment(PATH, {"stress_xx": [1, 2]}),
            r"shape \(2,\), but the path has 3 steps",
        ),
        (lambda: Experiment(PATH, {"stress_xx": ["a", 1, 2]}), "expected numbers"),
        (lambda: Experiment(PATH, {"stress_xx": [1, np.inf, 2]}), "are infinite at row 1"),
        (lambda: Experiment(PATH, {"stress_xx": [np.nan] * 3}), "no data: all are NaN"),
        (
            lambda: Experiment(PATH, {"stress_xx": [1, 2, 3], "strain_yy": [0, 1, 2, 3]}),
            "all data should have time zero, or none",
        ),
        (
            lambda: Experiment(Path().ramp({"strain_xx": [1.0, 2.0]}, steps=1), {"s": [1]}),
            "the path has several values of strain_xx",
        ),
        (lambda: Experiment(PATH, {"s": [1, 2, 3]}, sigma=0.0), "finite numbers > 0"),
        (lambda: Experiment(PATH, {"s": [1, 2, 3]}, weights=-1.0), "finite numbers >= 0"),
        (lambda: Experiment(PATH, {"s": [1, 2, 3]}, weights=[1, 2]), r"shape \(2,\), expected one"),
        (lambda: Experiment(PATH, {"s": [1, 2, 3]}, sigma={"t": 1.0}), "sigma: no 't'"),
    ],
)
def test_wrong_experiments(make, message):
    with pytest.raises(MaterialError, match=message):
        make()


GOOD = Experiment(PATH, {"stress_xx": [1.0, 2.0, 3.0]}, name="one")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"law": "steel"}, "expected a law; got str"),
        ({"experiments": []}, "no experiments"),
        ({"experiments": [PATH]}, "expected Experiments; got Path"),
        (
            {"experiments": Experiment(PATH, {"stres_xx": [1, 2, 3]})},
            r"Experiment 'experiment': .*no 'stres_xx' \(did you mean stress",
        ),
        (
            {"experiments": Experiment(PATH, {"strain_xx": [1, 2, 3]})},
            "'strain_xx' is imposed by the path .* nothing to compare",
        ),
        (
            {"experiments": Experiment(Path().ramp({"e": 1.0}), {"stress_xx": [1]})},
            "no 'e'",
        ),
        (
            {"experiments": Experiment(PATH, {"stress_xx": [1, 2, 3]}, weights=0.0)},
            "nothing to compare: all data are gaps",
        ),
        (
            {"experiments": Experiment(PATH, {"stress_xx": [1, 2, 3]}, parameters={"F": 1.0})},
            "parameters: no 'F'",
        ),
        (
            {"experiments": Experiment(PATH, {"stress_xx": [1, 2, 3]}, parameters={"a": [1.0]})},
            r"'a' has shape \(1,\), expected \(\)",
        ),
        (
            {"experiments": Experiment(PATH, {"stress_xx": [1, 2, 3]}, initial_state={"p": 1.0})},
            "initial_state: no 'p'",
        ),
        (
            {
                "experiments": Experiment(
                    PATH.ramp({"stress_xx": 0.0}, rate=1.0), {"strain_xx": [1, 2, 3, 4]}
                )
            },
            "depends on a value that the law has reached; give time",
        ),
        ({"parameters": {}}, "expected free parameters by name"),
        ({"parameters": {"Em": Free()}}, "no 'Em'.*there is E, a, b"),
        ({"parameters": {"E": 3.0}}, r"expected Free\(lower, upper\) or a pair"),
        ({"parameters": {"E": Free(20.0, 10.0)}}, "the bounds cross: lower=20 >= upper=10"),
        ({"parameters": {"E": Free(10.0, 10.0)}}, "the bounds cross"),
        ({"parameters": {"E": Free(-1.0, 100.0)}}, "lower=-1 is outside of what the law admits"),
        ({"parameters": {"E": Free(60.0, 100.0)}}, "the law's value 50 is outside the bounds"),
        ({"parameters": {"E": Free(start=-3.0)}}, "start -3 is outside the bounds"),
        ({"parameters": {"E": Free("a", 1.0)}}, "lower='a': expected a number"),
        ({"parameters": {"E": Free(np.nan, 1.0)}}, "lower is NaN"),
        ({"parameters": {"E": Free([1.0, 2.0])}}, "expected a number, or numbers of shape"),
        ({"parameters": {"E": Free(scale=0.0)}}, "scale must be a number > 0"),
        ({"parameters": {"a": Free(log=True)}}, "log=True is for positive parameters"),
        ({"loss": "l1"}, "loss='l1': expected one of linear"),
        ({"loss_scale": 0.0}, "loss_scale must be a number > 0"),
        ({"noise": "no"}, "noise must be 'estimated' or 'known'"),
        ({"noise": "known"}, "noise='known' needs sigma"),
        ({"starts": 0}, "starts must be a number >= 1"),
        ({"max_evaluations": 0.5}, "max_evaluations must be a number >= 1"),
        ({"tolerance": 2.0}, "tolerance must be between 0 and 1"),
        ({"tolerance": "fine"}, "tolerance must be between 0 and 1"),
        ({"experiments": None}, "expected Experiments; got NoneType"),
        ({"parameters": {"E": Free(start=np.inf)}}, "start must be finite"),
        ({"loss": ["linear"]}, r"loss=\['linear'\]: expected one of linear"),
    ],
)
def test_wrong_fits(changed, message):
    given = {"law": ElasticBar(50.0), "experiments": GOOD, "parameters": {"E": Free()}} | changed
    law, experiments, parameters = (given.pop(k) for k in ("law", "experiments", "parameters"))
    with pytest.raises(MaterialError, match=message):
        fit(law, experiments, parameters, **given)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epochs": 0}, "epochs must be a number >= 1"),
        ({"batch": 0}, "batch must be a number >= 1"),
        ({"noise": "known"}, "noise must be 'estimated', or 'known'"),
    ],
)
def test_wrong_stochastic_fits(more, message):
    with pytest.raises(MaterialError, match=message):
        fit_stochastic(ElasticBar(50.0), GOOD, {"E": Free()}, **more)


def test_a_vector_of_the_wrong_size_or_no_answer():
    problem = Residuals(ElasticBar(50.0), GOOD, {"E": Free()})
    with pytest.raises(MaterialError, match=r"expected 1 values \(E\); got shape \(2,\)"):
        problem.residuals([1.0, 2.0])
    for function in (problem.residuals, problem.value_and_gradient):
        with pytest.raises(ConvergenceError, match="out of range"):
            function([-1.0])


def test_what_is_imposed_all_the_way_needs_no_control():
    """The law alone, without unknown inputs: values and derivatives of the controlled law."""
    law = bar(sigma_y=240.0)
    path = strains(6).ramp({"strain_xx": -0.01}, steps=5)
    one = experiment(bar(), path, ("stress_xx", "plastic_strain"))
    direct = make_schedule(law, one)
    assert direct.direct(law) and set(direct.inputs) == {"strain", "time_increment"}
    others = {k: v for k, v in direct.inputs.items() if k != "strain"}
    target = direct.inputs["strain"]
    controlled = direct._replace(
        inputs={**others, "strain_target": target, "strain_control": np.zeros_like(target)}
    )
    assert not controlled.direct(law)
    assert not make_schedule(law, experiment(bar(), SWITCHES)).direct(law)

    @jax.jit
    def both(sigma_y):
        changed = eqx.tree_at(lambda law: law.hardening.sigma_y, law, sigma_y)
        return [respond(changed, s)[0] for s in (direct, controlled)]

    for found in (both(jnp.asarray(240.0)), jax.jit(jax.jacrev(both))(jnp.asarray(240.0))):
        scale = np.abs(found[1]).max(axis=0)
        # The local solves end within 1e-12 or so of the same solution.
        assert (np.abs(found[0] - found[1]) <= 1e-10 * scale).all() and scale[0] > 0.0
