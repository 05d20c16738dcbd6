"""Rate-dependent plasticity with an overstress."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .plasticity import Trial, _RadialReturn


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

    K: jax.Array | float
    n: jax.Array | float
    rate_dependent: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True

    def _overstress(self, dp: jax.Array, trial: Trial) -> jax.Array:
        mu = self.elasticity.mu
        return trial.equivalent - 3.0 * mu * dp - self.hardening(trial.p + dp)

    def guess(self, trial: Trial) -> jax.Array:
        """Lower bound of dp, from which Newton converges monotonically; ().

        dp <= f_trial / (3 mu) for non-softening laws, so the overstress is at most
        K (f_trial / (3 mu dt))^(1/n).
        """
        slope = 3.0 * self.elasticity.mu
        f = jnp.maximum(trial.yield_function, 0.0)
        dt = jnp.maximum(trial.dt, 1e-300)
        bound = self.K * (f / (slope * dt)) ** (1.0 / self.n)
        softest = slope + jnp.maximum(jax.grad(self.hardening)(trial.p), 0.0)
        guess = jnp.maximum(f - bound, 0.0) / softest
        # Where no flow occurs, the guess is the answer, and its derivative is that of dp = 0.
        return jax.lax.stop_gradient(guess)

    def residual(self, dp: jax.Array, trial: Trial) -> jax.Array:
        """Backward Euler, dp - dt (<f> / K)^n; ()."""
        f = self._overstress(dp, trial)
        rate = (jnp.where(f > 0.0, f, 0.0) / self.K) ** self.n
        return dp - trial.dt * rate
