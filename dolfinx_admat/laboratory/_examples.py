"""Library laws with sample parameters (MPa, s, K), for ``python -m dolfinx_admat check NAME``."""

from collections.abc import Callable

from dolfinx_admat import materials as m
from dolfinx_admat.materials import Material


def _steel() -> m.VoceHardening:
    return m.VoceHardening(sigma_y=250.0, Q=100.0, b=20.0, H=1000.0)


def _elasticity() -> m.IsotropicElasticity:
    return m.IsotropicElasticity(210e3, 0.3)


def _crystal() -> Material:
    hardening = m.SlipHardening(40.0, 10.0, 3.0, m.FccInteraction(lomer=1.4, collinear=2.0))
    slip = m.OverstressSlip(K=10.0, n=8.0)
    return m.FccCrystal(m.CubicElasticity(168e3, 121e3, 75e3), slip, hardening, c=500.0, d=10.0)


#: Name of a law -> a function that makes one.
EXAMPLES: dict[str, Callable[[], Material]] = {
    "LinearElastic": lambda: m.LinearElastic(210e3, 0.3),
    "Elastic": lambda: m.Elastic(
        m.OrthotropicElasticity(150e3, 20e3, 10e3, 0.3, 0.25, 0.4, 5e3, 4e3, 3e3)
    ),
    "NeoHookean": lambda: m.NeoHookean(10.0, 0.3),
    "MooneyRivlin": lambda: m.MooneyRivlin(0.3, 0.1, kappa=20.0),
    "Ogden": lambda: m.Ogden([0.6, -0.05], [1.8, -2.5], kappa=20.0),
    "HolzapfelGasserOgden": lambda: m.HolzapfelGasserOgden(
        0.05, 0.4, 3.0, [[0.8, 0.6, 0.0], [0.8, -0.6, 0.0]], 0.1, kappa=2.0
    ),
    "Incompressible": lambda: m.Incompressible(m.MooneyRivlin(0.3, 0.1)),
    "J2Plasticity": lambda: m.J2Plasticity(210e3, 0.3, _steel()),
    "J2PlasticityGeneral": lambda: m.J2PlasticityGeneral(210e3, 0.3, _steel()),
    "PerzynaViscoplasticity": lambda: m.PerzynaViscoplasticity(
        210e3, 0.3, m.LinearHardening(250.0, 1000.0), K=80.0, n=5.0
    ),
    "Elastoviscoplastic": lambda: m.Elastoviscoplastic(
        _elasticity(),
        m.Hill48.from_r_values(1.5, 1.2, 2.0),
        _steel(),
        m.ArmstrongFrederick(2e4, 100.0),
    ),
    "Zener": lambda: m.Zener(_elasticity(), m.IsotropicElasticity(80e3, 0.3), 3.0),
    "GeneralisedMaxwell": lambda: m.GeneralisedMaxwell(2e3, 500.0, [300.0, 200.0], [0.1, 10.0]),
    "FccCrystal": _crystal,
    "FeFpJ2": lambda: m.FeFpJ2(210e3, 0.3, _steel()),
    "ThermoMechanical": lambda: m.ThermoMechanical(
        m.J2Plasticity(210e3, 0.3, _steel()), 1.2e-5, 293.0, 50.0
    ),
}
