"""audit accepts what is right, and finds what is wrong."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from laws import ELASTICITY, LAWS, STEEL, composed
from learned import disturbed

import dolfinx_admat as admat
from dolfinx_admat import learning
from dolfinx_admat.laboratory import Outcome
from dolfinx_admat.laboratory._energy import convexity
from dolfinx_admat.materials.hyperelasticity import isochoric_part
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


@pytest.mark.parametrize(("sign", "holds"), [(1.0, True), (-1.0, False)])
def test_convexity_of_what_hardening_stores(sign, holds):
    """At the size of its curve, far below one."""

    class Stores(learning.LearnedHardening):
        def stored_energy(self, equivalent_plastic_strain):
            return sign * super().stored_energy(equivalent_plastic_strain)

    part = Stores.create(yield_stress=250.0, strain=1e-3)
    found = convexity(composed(admat.VonMises(), part), np.random.default_rng(0))
    assert found.outcome == (Outcome.PASSED if holds else Outcome.FAILED), found
    assert "hardening: Stores" in found.reason


class Bent(learning.NetworkPotential):
    """A spring that is not convex at the size of its data, and is far beyond."""

    def energy(self, tensor):
        x = tensor / self.x_unit
        dent = 1.0 / (1.0 + x @ x)
        return super().energy(tensor) + self.x_unit * self.y_unit * 3.0 * (dent - 1.0)


@pytest.mark.parametrize(("kind", "holds"), [(learning.NetworkPotential, True), (Bent, False)])
def test_convexity_of_a_learned_spring(kind, holds):
    spring = kind.create(x_unit=1e-3, y_unit=200.0)
    found = convexity(admat.Elastic(spring), np.random.default_rng(0))
    assert found.outcome == (Outcome.PASSED if holds else Outcome.FAILED), found


class Folds(admat.Parameters):
    """An energy of F that loses ellipticity in moderate shears."""

    polyconvex: bool = eqx.field(static=True)

    def __call__(self, F):
        first = jnp.sum(isochoric_part(F) ** 2) - 3.0
        return 0.5 * first - 2.0 * first**2


@pytest.mark.parametrize("claims", [False, True])
def test_lost_ellipticity_fails_where_a_law_says_that_it_is_polyconvex(claims):
    report = quick(learning.LearnedHyperelastic(Folds(claims), 20.0))
    assert failures(report) == ({"ellipticity"} if claims else set()), report
    assert "lost: smallest" in report["ellipticity"].reason
    if not claims:
        assert report["ellipticity"].outcome == Outcome.INFORMATION


def test_polyconvex_energies_keep_ellipticity():
    rubber = learning.LearnedHyperelastic.create(stress=0.4, kappa=20.0, width=3, depth=1)
    report = quick(disturbed(rubber, 1, 0.7))
    assert report["ellipticity"].outcome == Outcome.PASSED and report.passed, report
    assert admat.Incompressible(rubber).polyconvex and admat.Rotated(rubber, np.eye(3)).polyconvex
    # ln(J)^2 is not convex.
    assert not learning.LearnedHyperelastic(
        rubber.isochoric, 20.0, volumetric=admat.materials.logarithmic_volume
    ).polyconvex
    assert not admat.NeoHookean(1.0, 0.3).polyconvex


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
