"""All laws that tests go through: name -> law. New laws are added here, and nowhere else.

Units: MPa, s, K.
"""

import jax.numpy as jnp
import numpy as np

import dolfinx_admat as admat
from dolfinx_admat.laboratory._examples import EXAMPLES

STEEL = admat.VoceHardening(sigma_y=250.0, Q=100.0, b=20.0, H=1000.0)
LINEAR = admat.LinearHardening(250.0, 2000.0)
ELASTICITY = admat.IsotropicElasticity(210e3, 0.3)


class PragerByEnergies(admat.GeneralisedStandard):
    """Linear kinematic and isotropic hardening, as a generalised standard law."""

    mu: float = 80e3
    kappa: float = 170e3
    limit: float = 250.0
    C: float = 5e3

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6)}

    def free_energy(self, strain, state):
        e = strain - state["plastic_strain"]
        volume, flow = admat.tensors.trace(e), state["plastic_strain"]
        s = admat.tensors.deviator(e)
        return 0.5 * self.kappa * volume**2 + self.mu * s @ s + self.C / 3.0 * flow @ flow

    def yield_function(self, forces, state):
        return admat.tensors.equivalent_stress(forces["plastic_strain"]) - self.limit


def composed(yield_function, hardening=STEEL, kinematic=(), **more):
    return admat.Elastoviscoplastic(ELASTICITY, yield_function, hardening, kinematic, **more)


LAWS = {name: make() for name, make in EXAMPLES.items()}
LAWS |= {
    "transversely isotropic": admat.Elastic(
        admat.TransverselyIsotropicElasticity(150e3, 10e3, 0.3, 0.4, 5e3)
    ),
    "von Mises, Swift": composed(admat.VonMises(), admat.SwiftHardening(800.0, 1e-3, 0.2)),
    "von Mises, table": composed(
        admat.VonMises(), admat.TabulatedHardening([0.0, 0.01, 0.1], [250.0, 300.0, 400.0])
    ),
    "Hosford": composed(admat.Hosford(8)),
    "Drucker-Prager": composed(admat.DruckerPrager(0.2), LINEAR),
    "Drucker-Prager, not associated": composed(
        admat.DruckerPrager(0.2), LINEAR, flow=admat.DruckerPrager(0.05)
    ),
    "Norton": composed(admat.VonMises(), None, viscosity=admat.NortonFlow(500.0, 5.0)),
    "Perzyna, mid-point": composed(
        admat.VonMises(), LINEAR, viscosity=admat.NortonFlow(80.0, 5.0), theta=0.5
    ),
    "Chaboche": composed(
        admat.VonMises(),
        STEEL,
        (
            admat.ArmstrongFrederick(2e4, 100.0, recovery=admat.StaticRecovery(200.0, 4.0)),
            admat.ArmstrongFrederick(5e3, 50.0),
        ),
        viscosity=admat.NortonFlow(80.0, 5.0),
    ),
    "generalised standard": PragerByEnergies(),
}

ROTATION = np.asarray(admat.bunge_rotation(0.4, 0.7, -0.3))
#: Name of a wrapper -> a function that wraps a law; MaterialError where it does not fit.
WRAPPERS = {
    "plane stress": admat.PlaneStress,
    "plane strain": admat.PlaneStrain,
    "uniaxial stress": admat.UniaxialStress,
    "axisymmetry": admat.Axisymmetry,
    "rotated": lambda law: admat.Rotated(law, ROTATION),
    "logarithmic strain": admat.LogarithmicStrain,
    "with energies": admat.WithEnergies,
    "thermal expansion": lambda law: admat.ThermalExpansion(law, 1.2e-5, 293.0),
    "temperature": lambda law: admat.TemperatureDependent(law, {first_modulus(law): cooler(law)}),
}


def first_modulus(law):
    from dolfinx_admat.materials._declare import named_leaves

    names = [name for name, leaf in named_leaves(law).items() if hasattr(leaf, "shape")]
    return names[0]


def cooler(law):
    """The parameter loses a tenth of its value at each 100 K."""
    from dolfinx_admat.materials._declare import named_leaves

    value = named_leaves(law)[first_modulus(law)]
    return lambda T: value * jnp.exp(-1e-3 * (T - 293.0))
