"""Kinematic hardening: parts of ``Elastoviscoplastic``, which takes any number of them.

Each part owns a back strain a, Mandel (6,), from which its back stress follows; Chaboche's model
is several ``ArmstrongFrederick`` side by side.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import deviator, norm

from .parameters import Parameters, parameter
from .parts import check_part


class KinematicHardening(Parameters):
    """One back stress: write ``back_stress`` and ``increment``.

    Attributes:
        isotropic: The part has no directions of its own, but for those of its back strain.
        symmetric_tangent: The back strain follows the flow, da = d(plastic_strain), and the back
            stress is the gradient of an energy.
        recovers: The back strain changes without plastic flow as well.
    """

    isotropic: ClassVar[bool] = False
    symmetric_tangent: ClassVar[bool] = False
    recovers: ClassVar[bool] = False

    def back_stress(self, back_strain: jax.Array) -> jax.Array:
        """Back stress of a back strain; Mandel (6,) -> (6,)."""
        raise NotImplementedError

    def increment(
        self, back_strain: jax.Array, flow: jax.Array, dp: jax.Array, dt: jax.Array
    ) -> jax.Array:
        """Increment of the back strain in a step; Mandel (6,).

        Args:
            back_strain: At t_n + theta dt, so at the end of the step for backward Euler; (6,).
            flow: Increment of the plastic strain; (6,).
            dp: Increment of the equivalent plastic strain; ().
            dt: Step; ().
        """
        raise NotImplementedError


class Prager(KinematicHardening):
    """Linear kinematic hardening, X = 2/3 C dev(a), a = plastic strain.

    Attributes:
        C: Modulus (>= 0), units of stress: slope of stress over plastic strain in tension.

    Source: W. Prager, The theory of plasticity: a survey of recent achievements, Proc. Inst.
    Mech. Eng. 169 (1955).
    """

    C: jax.Array | float = parameter(at_least=0.0)
    isotropic: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True

    def back_stress(self, back_strain: jax.Array) -> jax.Array:
        """Back stress of a back strain; Mandel (6,) -> (6,)."""
        return 2.0 / 3.0 * self.C * deviator(back_strain)

    def increment(
        self, back_strain: jax.Array, flow: jax.Array, dp: jax.Array, dt: jax.Array
    ) -> jax.Array:
        """The flow; Mandel (6,)."""
        return flow

    def stored_energy(self, back_strain: jax.Array) -> jax.Array:
        """C/3 dev(a) : dev(a), the energy whose gradient is the back stress; ()."""
        a = deviator(back_strain)
        return self.C / 3.0 * jnp.sum(a * a)


class StaticRecovery(Parameters):
    """Thermal recovery of a back stress, dX/dt = - A |X|^(m-1) X, |X| = sqrt(X : X).

    With von Mises' measure J(X) = sqrt(3/2) |X| in place of |X|, A is larger by (3/2)^((m-1)/2).

    Attributes:
        A: Factor (>= 0), stress^(1-m) / time.
        m: Exponent (>= 1).

    Source: J.-L. Chaboche, Constitutive equations for cyclic plasticity and cyclic
    viscoplasticity, Int. J. Plasticity 5 (1989); with this norm: reference case MP-S04.
    """

    A: jax.Array | float = parameter(at_least=0.0)
    m: jax.Array | float = parameter(at_least=1.0)

    def __call__(self, back_stress: jax.Array) -> jax.Array:
        """Rate of relative recovery A |X|^(m-1), 1/time; Mandel (6,) -> ()."""
        size = norm(back_stress)
        power = jnp.where(size > 0.0, size, 1.0) ** (self.m - 1.0)
        return self.A * jnp.where((size > 0.0) | (self.m == 1.0), power, 0.0)


class ArmstrongFrederick(KinematicHardening):
    """X = 2/3 C dev(a), da = d(plastic_strain) - g a dp - r(X) a dt: dX = 2/3 C n dp - g X dp ...

    The back stress saturates at C/g in tension. With ``recovery`` it relaxes in time, also where
    the law is elastic.

    Attributes:
        C: Initial modulus (>= 0), units of stress.
        g: Rate of dynamic recovery (>= 0), dimensionless.
        recovery: Rate r(X) of static recovery, e.g. ``StaticRecovery``; None: none.

    Source: P.J. Armstrong, C.O. Frederick, A mathematical representation of the multiaxial
    Bauschinger effect, CEGB report RD/B/N731 (1966); several of them: J.-L. Chaboche, Int. J.
    Plasticity 5 (1989).
    """

    C: jax.Array | float = parameter(at_least=0.0)
    g: jax.Array | float = parameter(at_least=0.0)
    recovery: StaticRecovery | None = None
    isotropic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if self.recovery is not None:
            check_part("ArmstrongFrederick", "recovery", self.recovery, ((6,),), ())

    @property
    def recovers(self) -> bool:  # type: ignore[override]
        """Whether there is static recovery."""
        return self.recovery is not None

    def back_stress(self, back_strain: jax.Array) -> jax.Array:
        """Back stress of a back strain; Mandel (6,) -> (6,)."""
        return 2.0 / 3.0 * self.C * deviator(back_strain)

    def increment(
        self, back_strain: jax.Array, flow: jax.Array, dp: jax.Array, dt: jax.Array
    ) -> jax.Array:
        """Increment of the back strain; Mandel (6,)."""
        recalled = self.g * dp
        if self.recovery is not None:
            recalled = recalled + dt * self.recovery(self.back_stress(back_strain))
        return flow - recalled * back_strain

    def stored_energy(self, back_strain: jax.Array) -> jax.Array:
        """C/3 dev(a) : dev(a), the energy whose gradient is the back stress; ()."""
        a = deviator(back_strain)
        return self.C / 3.0 * jnp.sum(a * a)
