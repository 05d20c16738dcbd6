"""Parameters and parts that make no sense are refused when the law is made."""

import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.materials.parameters import check_parameters

STEEL = admat.IsotropicElasticity(200e3, 0.3)
LIMIT = admat.LinearHardening(100.0, 10.0)
FIBRES = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: admat.LinearElastic("210e3", 0.3), "'E' must be a number; got '210e3'"),
        (lambda: admat.LinearElastic(None, 0.3), "'E' must be a number; got None"),
        (lambda: admat.LinearElastic(True, 0.3), "'E' must be a number; got True"),
        (lambda: admat.LinearElastic(1j, 0.3), "'E' must be a number"),
        (lambda: admat.LinearHardening(1.0, np.inf), "'H' is out of range"),
        (lambda: admat.J2Plasticity(200e3, 0.3, 250.0), "hardening is missing or not callable"),
        (lambda: admat.Hill48.from_r_values(1.0, 1.0, 0.0), "from_r_values: expected r90 > 0"),
        (lambda: admat.Hill48.from_r_values(1.0, -0.5, 1.0), "expected r45 > -0.5; got -0.5"),
        (lambda: admat.Hill48.from_stress_ratios(xx=-1.0), "expected xx > 0; got -1"),
        (lambda: admat.DruckerPrager.yield_stress(-1.0, 0.5), "expected cohesion > 0"),
        (lambda: admat.NortonFlow.from_creep(-1e-10, 3.0), "from_creep: expected A > 0"),
        (lambda: admat.ArmstrongFrederick(1.0, 1.0, recovery=3.0), "recovery is missing or not"),
        (lambda: admat.Zener(1000.0, STEEL, 1.0), "Zener: elasticity.stress is missing"),
        (lambda: admat.GeneralisedMaxwell(1, 1, [1.0], [1.0], bulk_tau=[2.0]), "branch_kappa"),
        (
            lambda: admat.HolzapfelGasserOgden(1.0, [1.0, 2.0, 3.0], 1.0, FIBRES),
            r"k1 should be one number, or one for each of the 2 families; got shape \(3,\)",
        ),
        (lambda: admat.Polynomial(3.0), "coefficients must be a list of numbers"),
        (lambda: admat.WithEnergies(5), "WithEnergies: wraps a law; got int"),
        (lambda: admat.Rotated(5, np.eye(3)), "Rotated: wraps a law; got int"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(admat.MaterialError, match=message):
        make()


def test_convexity_of_values_per_point():
    law = admat.Elastoviscoplastic(STEEL, admat.Hill48(0.5, 0.5, 0.5), LIMIT)
    check_parameters(law, {"yield_function.F": np.array([0.4, 0.5])})
    with pytest.raises(admat.MaterialError, match=r"F \+ G > 0 .*not convex"):
        check_parameters(law, {"yield_function.F": np.array([-3.0, 0.5])})
