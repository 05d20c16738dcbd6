"""Rate-dependent plasticity with an overstress."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .parameters import parameter
from .plasticity import Trial, _RadialReturn

# Plastic strain whose overstress is the unit of the unknown: its tolerances are relative to that.
_SMALL_FLOW = 1e-6


class PerzynaViscoplasticity(_RadialReturn):
    """J2 viscoplasticity, dp/dt = (<f> / K)^n with f = s_eq - R(p); backward Euler.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).
        hardening: Yield stress as a function of the equivalent plastic strain.
        K: Viscous resistance (> 0), units of stress x time^(1/n).
        n: Rate exponent (>= 1).

    Source: P. Perzyna, Fundamental problems in viscoplasticity, Adv. Appl. Mech. 9 (1966).
    """

    K: jax.Array | float = parameter(above=0.0)
    n: jax.Array | float = parameter(at_least=1.0)
    rate_dependent: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True

    # The unknown is the overstress, in a unit of its own: unlike dp, it keeps its digits when
    # dt -> infinity (where f -> 0 is a difference of large numbers) and for large n; and Newton's
    # method converges from an upper bound of it monotonically, in a few iterations. The unit does
    # not depend on the strain, which may be unknown as well (in plane stress, say).

    def prepare(self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array) -> Trial:
        """Elastic predictor, with an upper bound of the overstress.

        The overstress is at most f_trial, and at most that of the flow 3 mu dp <= f_trial. The
        bound is a mere start value, so it is a constant to all derivatives.
        """
        trial = super().prepare(strain, state, dt)
        f = jnp.maximum(trial.yield_function, 0.0)
        rate = f / (3.0 * self.elasticity.mu * jnp.maximum(dt, 1e-300))
        bound = jnp.minimum(f, self.K * rate ** (1.0 / self.n))
        return trial._replace(bound=jax.lax.stop_gradient(bound))

    def _unit(self, trial: Trial) -> jax.Array:
        """Overstress of a small flow in this step, constant to all derivatives; ()."""
        rate = _SMALL_FLOW / jnp.maximum(trial.dt, 1e-300)
        return jax.lax.stop_gradient(self.K * rate ** (1.0 / self.n))

    def _increment(self, x: jax.Array, trial: Trial) -> jax.Array:
        """Plastic increment dp = dt (<f> / K)^n; ()."""
        f = self._unit(trial) * x
        return trial.dt * (jnp.where(f > 0.0, f, 0.0) / self.K) ** self.n

    def guess(self, trial: Trial) -> jax.Array:
        """No overstress, or its bound; ()."""
        return jnp.where(self.elastic(trial), 0.0, trial.bound / self._unit(trial))

    def without_flow(self, trial: Trial) -> jax.Array:
        """No overstress; ()."""
        return jnp.zeros(())

    def residual(self, x: jax.Array, trial: Trial) -> jax.Array:
        """f - (s_eq - R) with the stress at t_{n+1}; ()."""
        dp = self._increment(x, trial)
        equivalent = trial.equivalent - 3.0 * self.elasticity.mu * dp
        return self._unit(trial) * x - (equivalent - self.hardening(trial.p + dp))

    def finish(self, x: jax.Array, trial: Trial) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Stress and state at t_{n+1}."""
        return super().finish(self._increment(x, trial), trial)
