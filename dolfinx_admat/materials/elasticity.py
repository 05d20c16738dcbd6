"""Linear elasticity."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .base import ExplicitSmallStrain
from .parameters import Parameters, parameter


class IsotropicElasticity(Parameters):
    """Hooke's law of an isotropic solid, a part of other laws: stress = C : strain.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)

    @property
    def mu(self) -> jax.Array | float:
        """Shear modulus."""
        return self.E / (2.0 * (1.0 + self.nu))

    @property
    def kappa(self) -> jax.Array | float:
        """Bulk modulus."""
        return self.E / (3.0 * (1.0 - 2.0 * self.nu))

    @property
    def lmbda(self) -> jax.Array | float:
        """First Lame parameter."""
        return self.kappa - 2.0 / 3.0 * self.mu

    def stress(self, strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        pressure_part = self.lmbda * (strain[0] + strain[1] + strain[2])
        return 2.0 * self.mu * strain + pressure_part * jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


class LinearElastic(ExplicitSmallStrain):
    """Isotropic linear elasticity, stress = lambda tr(strain) 1 + 2 mu strain.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    symmetric_tangent: ClassVar[bool] = True
    isotropic: ClassVar[bool] = True
    linear_when_elastic: ClassVar[bool] = True

    def update(self, strain: jax.Array, state: Any, dt: jax.Array) -> tuple[jax.Array, Any]:
        """Strain (6,) -> stress (6,); no state."""
        return IsotropicElasticity(self.E, self.nu).stress(strain), state
