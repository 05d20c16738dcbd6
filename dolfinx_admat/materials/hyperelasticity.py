"""Hyperelastic laws, given by their stored energy per reference volume."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .base import Hyperelastic
from .elasticity import IsotropicElasticity
from .parameters import parameter


class NeoHookean(Hyperelastic):
    """Compressible neo-Hookean solid, W = mu/2 (J^(-2/3) tr(F^T F) - 3) + kappa/2 (J - 1)^2.

    Attributes:
        E: Young's modulus at small strain (> 0), units of stress.
        nu: Poisson's ratio at small strain (-1 < nu < 0.5).

    Source: J.C. Simo, R.L. Taylor, K.S. Pister, Variational and projection methods for the
    volume constraint in finite deformation elasto-plasticity, CMAME 51 (1985): the split; the
    volumetric function is that of reference case ST-S08.
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    isotropic: ClassVar[bool] = True

    def energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Deformation gradient (3, 3) -> stored energy ()."""
        F = deformation_gradient
        elasticity = IsotropicElasticity(self.E, self.nu)
        J = jnp.linalg.det(F)
        # J <= 0 is reported as inadmissible; the power needs a number all the same.
        safe_J = jnp.where(J > 0.0, J, 1.0)
        isochoric = safe_J ** (-2.0 / 3.0) * jnp.sum(F * F) - 3.0
        return 0.5 * elasticity.mu * isochoric + 0.5 * elasticity.kappa * (J - 1.0) ** 2
