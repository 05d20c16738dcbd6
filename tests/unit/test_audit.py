"""audit accepts what is right, and finds what is wrong."""

from typing import ClassVar

import jax.numpy as jnp
import pytest
from laws import ELASTICITY, LAWS, STEEL, composed

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Outcome
from dolfinx_admat.tensors import norm


def outcomes(report):
    return {f.name: f.outcome for f in report.findings}


def failures(report):
    return {f.name for f in report.failures}


def test_a_right_law():
    """Reverse mode and both backends as well."""
    report = admat.audit(LAWS["J2Plasticity"], points=6)
    assert report.passed, report
    found = outcomes(report)
    for name in (
        "convergence", "rest", "derivatives at rest", "isotropic", "dissipation",
        "stress from energy", "determinism", "batch and single point", "chunks", "both backends",
    ):  # fmt: skip
        assert found[name] == Outcome.PASSED, report
    for name in ("objectivity", "dt = 0 and dt huge", "convexity"):
        assert found[name] == Outcome.NOT_APPLICABLE
    assert "passed" in str(report)


def quick(law, **more):
    return admat.audit(law, points=6, both_backends=False, pullback=False, **more)


class HookeOfDisplacements(admat.ExplicitFiniteStrain):
    """Small-strain stress of F - 1: a rotation strains it."""

    def update(self, F, state, dt):
        strain = admat.tensors.to_mandel(F - jnp.eye(3))
        return admat.tensors.from_mandel(ELASTICITY.stress(strain)), state


def test_not_objective():
    report = quick(HookeOfDisplacements())
    assert failures(report) == {"objectivity"}
    assert report["objectivity"].worst is not None


class Prestressed(admat.ExplicitSmallStrain):
    def update(self, strain, state, dt):
        return ELASTICITY.stress(strain + 1e-8), state


def test_stress_at_rest():
    assert failures(quick(Prestressed())) == {"rest"}


class RootAtZero(admat.ExplicitSmallStrain):
    def update(self, strain, state, dt):
        return ELASTICITY.stress(strain) * (1.0 + jnp.sqrt(strain @ strain)), state


def test_nan_at_rest():
    report = quick(RootAtZero(), scale=1e-3)
    assert "derivatives at rest" in failures(report)
    assert "d(stress)/d(strain)" in report["derivatives at rest"].reason


class Maxwell(admat.ExplicitSmallStrain):
    """One relaxing spring, and beside it an elastic one; the rest says what may be wrong."""

    sign: float = 1.0
    stored: float = 1.0
    rate_dependent: ClassVar[bool] = True

    def initial_state(self):
        return {"viscous_strain": jnp.zeros(6)}

    def update(self, strain, state, dt):
        old = state["viscous_strain"]
        step = self.sign * dt / (1.0 + dt)
        new = old + step * (strain - old)
        return ELASTICITY.stress(2.0 * strain - new), {"viscous_strain": new}

    def free_energy(self, strain, state):
        relaxing = ELASTICITY.energy(strain - state["viscous_strain"])
        return self.stored * (ELASTICITY.energy(strain) + relaxing)


def test_dissipation():
    assert quick(Maxwell()).passed
    wrong = quick(Maxwell(sign=-1.0))
    # Energy that grows without bound does not balance in so few steps either.
    assert {"dissipation"} <= failures(wrong) <= {"dissipation", "energy balance"}
    assert "negative" in wrong["dissipation"].reason


class Boasting(Maxwell):
    """Makes energy, and says that it dissipates."""

    def dissipated_energy(self, strain, old_state, state, dt):
        return 1e-3 * jnp.sum((state["viscous_strain"] - old_state["viscous_strain"]) ** 2)


def test_declared_dissipation_must_balance_the_work():
    wrong = quick(Boasting(sign=-1.0))
    assert failures(wrong) == {"energy balance"}
    assert "also with smaller steps" in wrong["energy balance"].reason


def test_stress_is_not_the_slope_of_the_energy():
    assert failures(quick(Maxwell(stored=1.001))) == {"stress from energy"}


def test_no_free_energy_is_not_checkable():
    found = outcomes(quick(Prestressed()))
    names = "dissipation", "stress from energy", "energy balance"
    assert {found[name] for name in names} == {Outcome.NOT_CHECKABLE}


class Undeclared(Maxwell):
    """Reads dt, and does not say so."""

    rate_dependent: ClassVar[bool] = False


def test_dt_is_read_in_secret():
    report = quick(Undeclared())
    assert failures(report) == {"dt = 0 and dt huge"}
    assert "rate_dependent" in report["dt = 0 and dt huge"].reason


class Divides(Maxwell):
    """Not a number without time."""

    def update(self, strain, state, dt):
        stress, new = super().update(strain, state, dt)
        return stress + 1e-9 * (new["viscous_strain"] - state["viscous_strain"]) / dt, new


def test_no_time_step():
    report = quick(Divides(), dt=1.0)
    assert "dt = 0 and dt huge" in failures(report)
    assert "dt = 0" in report["dt = 0 and dt huge"].reason


class Lemniscate(admat.VonMises):
    """Bulges where shears and normal stresses are equal, and claims to be convex."""

    def __call__(self, stress):
        q = super().__call__(stress)
        ratio = norm(stress[3:]) ** 2 / (norm(stress) ** 2 + 1e-30)
        return q * (1.0 - 0.8 * ratio * (1.0 - ratio))


@pytest.mark.parametrize(("part", "holds"), [(admat.VonMises(), True), (Lemniscate(), False)])
def test_convexity(part, holds):
    report = quick(composed(part, STEEL))
    expected = Outcome.PASSED if holds else Outcome.FAILED
    assert report["convexity"].outcome == expected
    assert "yield_function" in report["convexity"].reason


class FromColdToHot(admat.ThermoMechanical):
    def from_law(self, outputs, inputs):
        outputs = super().from_law(outputs, inputs)
        return {**outputs, "heat_flux": -outputs["heat_flux"]}


def test_heat_flows_uphill():
    elastic = admat.LinearElastic(210e3, 0.3)
    report = quick(FromColdToHot(elastic, 1e-5, 293.0, 50.0))
    assert failures(report) == {"heat conduction"}


class FalselyIsotropic(admat.Elastic):
    isotropic: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True


def test_declarations():
    part = admat.TransverselyIsotropicElasticity(150e3, 10e3, 0.3, 0.4, 5e3)
    assert failures(quick(FalselyIsotropic(part))) == {"isotropic"}


def test_a_finding_by_name():
    with pytest.raises(KeyError, match="no finding 'beauty'"):
        quick(Prestressed())["beauty"]
