"""Isotropic hardening: yield stress as a function of the equivalent plastic strain p.

A hardening law is any ``Parameters`` that maps p () to the yield stress (); subclass it.
"""

import jax
import jax.numpy as jnp

from .parameters import Parameters, parameter


class LinearHardening(Parameters):
    """R(p) = sigma_y + H p.

    Attributes:
        sigma_y: Initial yield stress (> 0), units of stress.
        H: Hardening modulus, units of stress; 0 is perfect plasticity.
    """

    sigma_y: jax.Array | float = parameter(above=0.0)
    H: jax.Array | float = 0.0

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        return self.sigma_y + self.H * equivalent_plastic_strain


class VoceHardening(Parameters):
    """R(p) = sigma_y + Q (1 - exp(-b p)) + H p.

    Attributes:
        sigma_y: Initial yield stress (> 0), units of stress.
        Q: Saturation stress, units of stress.
        b: Rate of saturation (>= 0), dimensionless.
        H: Additional linear modulus, units of stress.

    Source: E. Voce, The relationship between stress and strain for homogeneous deformation,
    J. Inst. Metals 74 (1948).
    """

    sigma_y: jax.Array | float = parameter(above=0.0)
    Q: jax.Array | float
    b: jax.Array | float = parameter(at_least=0.0)
    H: jax.Array | float = 0.0

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        p = equivalent_plastic_strain
        return self.sigma_y - self.Q * jnp.expm1(-self.b * p) + self.H * p
