"""check_tangent accepts what is right, and finds what is wrong."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import ELASTICITY, LAWS, STEEL

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Outcome
from dolfinx_admat.tensors import IDENTITY

C = jnp.asarray(ELASTICITY.lmbda * np.outer(IDENTITY, IDENTITY) + 2 * ELASTICITY.mu * np.eye(6))


def test_a_right_law_in_all_regimes():
    """Differences, iterations and declarations; the J2 law has everything."""
    report = admat.check_tangent(LAWS["J2Plasticity"])
    assert report.passed, report
    regimes = {row.regime: row for row in report.rows}
    assert set(regimes) == {
        "at rest", "elastic", "just before yield", "just after yield", "plastic",
    }  # fmt: skip
    for row in report.rows:
        # The differences are judged everywhere, and sharply.
        assert row.resolved == row.points
        assert row.error <= row.tolerance < 1e-5
        assert row.unrolled < 1e-10
    for name in ("symmetric_tangent", "isotropic", "linear_when_elastic", "elastic test"):
        assert report[name].outcome == Outcome.PASSED
    # sigma_y / (2 mu sqrt(3/2)) is the strain that yields in shear; volume takes some of it.
    onset = 250.0 / (2.0 * ELASTICITY.mu * np.sqrt(1.5))
    assert onset <= report.scale["strain"] <= 3.0 * onset
    assert "d(stress)/d(strain)" in str(report) and "passed" in str(report)


def test_worst_point_can_be_evaluated_again():
    law = LAWS["J2Plasticity"]
    report = admat.check_tangent(law, unrolled=False, points=4)
    plastic = next(row for row in report.rows if row.regime == "plastic")
    again = admat.evaluate_point(law, *plastic.worst)
    assert bool(again.status.active) and int(again.status.code) == 0


def test_several_inputs_and_outputs():
    report = admat.check_tangent(LAWS["ThermoMechanical"], unrolled=False, points=6)
    assert report.passed, report
    assert {(r.output, r.input) for r in report.rows} == {
        (o, i)
        for o in ("stress", "heat_flux")
        for i in ("strain", "temperature", "temperature_gradient")
    }


class ForgetsHardening(admat.J2Plasticity):
    """The tangent does not see the strain's way into the yield function."""

    def residual(self, dp, trial):
        return super().residual(
            dp, trial._replace(equivalent=jax.lax.stop_gradient(trial.equivalent))
        )


def test_wrong_tangent():
    report = admat.check_tangent(ForgetsHardening(210e3, 0.3, STEEL), unrolled=False)
    assert not report.passed
    failed = {row.regime for row in report.rows if not row.passed}
    assert failed == {"just after yield", "plastic"}
    row = next(r for r in report.rows if r.regime == "plastic")
    assert row.error > 0.1 and row.worst is not None
    assert "FAILED" in str(report) and "evaluate_point(law," in str(report)


class Skew(admat.ExplicitSmallStrain):
    """A stress without a potential that says it had one."""

    skew: float = 1e-6
    symmetric_tangent: ClassVar[bool] = True
    isotropic: ClassVar[bool] = True
    linear_when_elastic: ClassVar[bool] = True

    def update(self, strain, state, dt):
        turned = self.skew * jnp.roll(strain, 1)
        return C @ (strain + turned), state


def test_falsely_symmetric_and_falsely_isotropic():
    report = admat.check_tangent(Skew())
    assert all(row.passed for row in report.rows)
    assert report["symmetric_tangent"].outcome == Outcome.FAILED
    assert report["isotropic"].outcome == Outcome.FAILED
    assert report["linear_when_elastic"].outcome == Outcome.PASSED
    tangent = np.asarray(C @ (np.eye(6) + 1e-6 * np.roll(np.eye(6), 1, axis=0)))
    expected = np.abs(tangent - tangent.T).max() / np.abs(tangent).max()
    assert f"{expected:.1e}" in report["symmetric_tangent"].reason
    assert admat.check_tangent(Skew(0.0)).passed


class Cubic(admat.ExplicitSmallStrain):
    """Nonlinear, but declared linear."""

    linear_when_elastic: ClassVar[bool] = True

    def update(self, strain, state, dt):
        return C @ strain * (1.0 + 1e4 * strain @ strain), state


def test_falsely_linear():
    report = admat.check_tangent(Cubic())
    assert {f.name for f in report.failures} == {"linear_when_elastic"}
    # Symmetric though not declared (C : strain (x) strain is not, so it is not a potential law).
    assert report["symmetric_tangent"].outcome == Outcome.NOT_APPLICABLE


class Undeclared(admat.ExplicitSmallStrain):
    def update(self, strain, state, dt):
        return C @ strain, state


def test_hints_where_more_could_be_declared():
    report = admat.check_tangent(Undeclared())
    assert report.passed
    for name in ("symmetric_tangent", "isotropic", "linear_when_elastic"):
        assert report[name].outcome == Outcome.NOT_APPLICABLE
        assert "declare it" in report[name].reason


class Late(admat.J2Plasticity):
    """Elastic beyond the yield stress, and then the stress falls back to it."""

    factor: float = eqx.field(static=True, default=1.01, kw_only=True)

    def elastic(self, trial):
        return trial.equivalent <= self.factor * self.hardening(trial.p)


@pytest.mark.parametrize("factor", [1.01, 0.97])
def test_discontinuous_elastic_test(factor):
    """Too late, the stress jumps back; too early, the equations ask for negative flow."""
    report = admat.check_tangent(Late(210e3, 0.3, STEEL, factor=factor), unrolled=False)
    assert report["elastic test"].outcome == Outcome.FAILED, report


class Lost(admat.J2PlasticityGeneral):
    """Its equations have no solution at large flow."""

    def residual(self, x, trial):
        r = super().residual(x, trial)
        return {**r, "dp": r["dp"] + jnp.where(x["dp"] > 1e-4, 1e6, 0.0)}


def test_points_that_fail_are_counted():
    report = admat.check_tangent(Lost(210e3, 0.3, STEEL), unrolled=False)
    finding = report["convergence"]
    assert finding.outcome == Outcome.FAILED and not report.passed
    assert "not converged" in finding.reason and "plastic" in finding.reason
    assert "random steps" in finding.reason and finding.worst is not None


def test_kinks_are_not_judged():
    report = admat.check_tangent(LAWS["HolzapfelGasserOgden"], points=4)
    assert report.passed, report
    assert report["kinks"].outcome == Outcome.INFORMATION


def test_arguments():
    law = admat.LinearElastic(1.0, 0.3)
    assert admat.check_tangent(law, scale=0.5, points=2).scale == {"strain": 0.5}
    with pytest.raises(admat.MaterialError, match="stretch = 1"):
        admat.check_tangent(law, scale={"stretch": 1.0})
    with pytest.raises(admat.MaterialError, match="'heat'"):
        admat.check_tangent(law, rest={"heat": 1.0})
    with pytest.raises(admat.MaterialError, match="dt must be"):
        admat.check_tangent(law, dt=-1.0)
