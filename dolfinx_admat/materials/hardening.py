"""Isotropic hardening: yield stress as a function of the equivalent plastic strain p.

A hardening law is any callable that maps p () to the yield stress (); subclass ``Parameters``
to give it parameters. With ``stored_energy(p)`` it says how much of the plastic work is stored.
The classes here store R(p) - R(0) all the way, as a generalised standard material does, if the
law hardens everywhere; nothing if it softens somewhere, so that the rest always dissipates.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError

from .parameters import Parameters, parameter


class LinearHardening(Parameters):
    """R(p) = sigma_y + H p.

    Attributes:
        sigma_y: Initial yield stress (> 0), units of stress.
        H: Hardening modulus (finite), units of stress; 0 is perfect plasticity, < 0 softens.

    Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, chapter 1.
    """

    sigma_y: jax.Array | float = parameter(above=0.0)
    H: jax.Array | float = parameter(default=0.0)

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        return self.sigma_y + self.H * equivalent_plastic_strain

    def stored_energy(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """H p^2 / 2; 0 where H < 0; () -> ()."""
        return 0.5 * jnp.maximum(self.H, 0.0) * equivalent_plastic_strain**2


class VoceHardening(Parameters):
    """R(p) = sigma_y + sum_i Q_i (1 - exp(-b_i p)) + H p.

    Attributes:
        sigma_y: Initial yield stress (> 0), units of stress.
        Q: Saturation stress (finite; < 0 softens), units of stress; one number, or an array of one
            per term.
        b: Rate of saturation (>= 0), dimensionless; as many as Q.
        H: Additional linear modulus (finite; < 0 softens), units of stress.

    Source: E. Voce, The relationship between stress and strain for homogeneous deformation,
    J. Inst. Metals 74 (1948).
    """

    sigma_y: jax.Array | float = parameter(above=0.0)
    Q: jax.Array | float = parameter()
    b: jax.Array | float = parameter(at_least=0.0)
    H: jax.Array | float = parameter(default=0.0)

    def __check_init__(self) -> None:
        if np.shape(self.Q) != np.shape(self.b):
            raise MaterialError(
                f"VoceHardening: Q and b need one number per term each; got shapes "
                f"{np.shape(self.Q)} and {np.shape(self.b)}"
            )

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        p = equivalent_plastic_strain
        return self.sigma_y - jnp.sum(self.Q * jnp.expm1(-self.b * p)) + self.H * p

    def stored_energy(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """sum_i Q_i (p - (1 - exp(-b_i p)) / b_i) + H p^2 / 2; 0 where a term softens; ()."""
        p, b = equivalent_plastic_strain, jnp.asarray(self.b)
        mean = p + jnp.expm1(-b * p) / jnp.where(b > 0.0, b, 1.0)
        stored = jnp.sum(self.Q * jnp.where(b > 0.0, mean, 0.0)) + 0.5 * self.H * p * p
        hardens = jnp.all(jnp.asarray(self.Q) >= 0.0) & (self.H >= 0.0)
        return jnp.where(hardens, stored, 0.0)


class SwiftHardening(Parameters):
    """R(p) = K (eps_0 + p)^n, so the initial yield stress is K eps_0^n.

    Attributes:
        K: Strength (> 0), units of stress.
        eps_0: Prestrain (> 0), dimensionless.
        n: Hardening exponent (0 <= n <= 1).

    Source: H.W. Swift, Plastic instability under plane stress, J. Mech. Phys. Solids 1 (1952).
    """

    K: jax.Array | float = parameter(above=0.0)
    eps_0: jax.Array | float = parameter(above=0.0)
    n: jax.Array | float = parameter(at_least=0.0, at_most=1.0)

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        # An iterate of Newton's method may be negative: there, the tangent of p = 0.
        p = equivalent_plastic_strain
        power = (self.eps_0 + jnp.maximum(p, 0.0)) ** self.n
        slope = self.n * self.eps_0 ** (self.n - 1.0)
        return self.K * (power + slope * jnp.minimum(p, 0.0))

    def stored_energy(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Integral of R(p) - R(0); () -> ()."""
        p, n, start = equivalent_plastic_strain, self.n, self.eps_0
        integral = ((start + p) ** (n + 1.0) - start ** (n + 1.0)) / (n + 1.0)
        return self.K * (integral - start**n * p)


class TabulatedHardening(Parameters):
    """R(p) by straight lines between given points; constant beyond the last one.

    Attributes:
        equivalent_plastic_strain: Abscissae, from 0 on and increasing; (points,).
        yield_stress: R there (> 0), units of stress; (points,).

    Source: none but the user's measurements.
    """

    equivalent_plastic_strain: Any = parameter(
        accept=lambda v: (v[..., 0] == 0.0) & np.all(np.diff(v) > 0.0, axis=-1),
        expected="numbers that start at 0 and increase",
    )
    yield_stress: Any = parameter(above=0.0)

    def __check_init__(self) -> None:
        shapes = np.shape(self.equivalent_plastic_strain), np.shape(self.yield_stress)
        if len(shapes[0]) != 1 or shapes[0] != shapes[1] or shapes[0][0] < 2:
            raise MaterialError(
                "TabulatedHardening: expected two arrays of the same length, at least 2; got "
                f"shapes {shapes[0]} and {shapes[1]}"
            )

    def _within(self, p: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of each interval: slope, length, and how much of it lies below p; (points - 1,)."""
        knots, R = self.equivalent_plastic_strain, self.yield_stress
        length = knots[1:] - knots[:-1]
        # At a knot the slope is that of the interval which begins there.
        covered = jnp.where(p < knots[1:], p - knots[:-1], length)
        return (R[1:] - R[:-1]) / length, length, jnp.where(p < knots[:-1], 0.0, covered)

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        slope, _, covered = self._within(equivalent_plastic_strain)
        return self.yield_stress[0] + jnp.sum(slope * covered)

    def stored_energy(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Integral of R(p) - R(0); 0 where the table decreases somewhere; () -> ()."""
        p = equivalent_plastic_strain
        slope, length, covered = self._within(p)
        beyond = jnp.maximum(p - self.equivalent_plastic_strain[1:], 0.0)
        stored = jnp.sum(slope * (0.5 * covered**2 + length * beyond))
        return jnp.where(jnp.all(slope >= 0.0), stored, 0.0)
