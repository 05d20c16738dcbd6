"""Viscous flow: the rate of plastic flow that goes with an overstress; part of a law."""

import jax

from .parameters import Parameters, check_numbers, parameter


class ViscousFlow(Parameters):
    """Rate dp/dt as a function of the overstress: write ``rate``, and ``overstress`` if known.

    The rate grows with the overstress from zero at zero; it is asked for positive ones only.
    """

    def rate(self, overstress: jax.Array) -> jax.Array:
        """Rate dp/dt of an overstress f > 0; () -> (), 1/time."""
        raise NotImplementedError


class NortonFlow(ViscousFlow):
    """Power law dp/dt = (<f> / K)^n.

    Without hardening it is Norton's creep, dp/dt = (s_eq / K)^n; with it, f = s_eq - R(p) is
    Perzyna's overstress above a threshold.

    Attributes:
        K: Viscous resistance (> 0), units of stress x time^(1/n).
        n: Rate exponent (>= 1).

    Source: F.H. Norton, The Creep of Steel at High Temperatures, 1929; P. Perzyna, Fundamental
    problems in viscoplasticity, Adv. Appl. Mech. 9 (1966).
    """

    K: jax.Array | float = parameter(above=0.0)
    n: jax.Array | float = parameter(at_least=1.0)

    @classmethod
    def from_creep(cls, A: float, n: float) -> "NortonFlow":
        """The flow dp/dt = A f^n, with A (> 0) in stress^-n / time."""
        check_numbers("NortonFlow.from_creep", (0.0, {"A": A, "n": n}))
        return cls(A ** (-1.0 / n), n)

    def rate(self, overstress: jax.Array) -> jax.Array:
        """(overstress / K)^n; () -> ()."""
        return (overstress / self.K) ** self.n

    def overstress(self, rate: jax.Array) -> jax.Array:
        """The inverse, K rate^(1/n); () -> ()."""
        return self.K * rate ** (1.0 / self.n)
