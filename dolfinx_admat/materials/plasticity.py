"""Rate-independent J2 plasticity (von Mises), associated, isotropic hardening.

The same law twice, backward Euler: ``J2Plasticity`` reduces it to one scalar equation by
radial return; ``J2PlasticityGeneral`` states the equations as they stand in a textbook, seven
unknowns, which is the pattern for laws that have no such reduction.

Equations: stress = C : (strain - plastic_strain), f = s_eq - R(p) <= 0, d(plastic_strain) =
dp n, n = 3/2 dev(stress) / s_eq, dp >= 0, f dp = 0.
Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, boxes 3.1 and 3.2.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import deviator, equivalent_stress

from .base import ImplicitSmallStrain
from .elasticity import IsotropicElasticity
from .parameters import parameter
from .parts import check_part


class Trial(NamedTuple):
    """Elastic predictor: the state that a step without plastic flow would reach.

    Attributes:
        stress: Trial stress; Mandel (6,).
        equivalent: Its von Mises stress; ().
        direction: Flow direction n of the trial stress; Mandel (6,).
        yield_function: Trial value of f; ().
        strain: Strain at t_{n+1}; Mandel (6,).
        plastic_strain: At t_n; Mandel (6,).
        p: Equivalent plastic strain at t_n; ().
        dt: Step; ().
        bound: Upper bound of the overstress, in viscoplastic laws; ().
    """

    stress: jax.Array
    equivalent: jax.Array
    direction: jax.Array
    yield_function: jax.Array
    strain: jax.Array
    plastic_strain: jax.Array
    p: jax.Array
    dt: jax.Array
    bound: jax.Array


def flow_direction(stress: jax.Array, equivalent: jax.Array) -> jax.Array:
    """Normal n = 3/2 dev(stress) / s_eq; Mandel (6,); zero where the stress has no deviator."""
    return 1.5 * deviator(stress) / jnp.where(equivalent > 0.0, equivalent, 1.0)


class _J2(ImplicitSmallStrain):
    """What all laws with a von Mises yield function and isotropic hardening share."""

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    hardening: Callable[[jax.Array], jax.Array]
    isotropic: ClassVar[bool] = True
    linear_when_elastic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not callable(self.hardening):  # other mistakes are reported with their line, when run
            check_part(type(self).__name__, "hardening", self.hardening, ((),), ())

    @property
    def elasticity(self) -> IsotropicElasticity:
        """The elastic part."""
        return IsotropicElasticity(self.E, self.nu)

    def initial_state(self) -> dict[str, jax.Array]:
        """plastic_strain, Mandel (6,); equivalent_plastic_strain, ()."""
        return {"plastic_strain": jnp.zeros(6), "equivalent_plastic_strain": jnp.zeros(())}

    def free_energy(self, strain: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """Elastic energy, and what the hardening stores (``hardening.stored_energy``); ()."""
        energy = self.elasticity.energy(strain - state["plastic_strain"])
        if hasattr(self.hardening, "stored_energy"):
            energy = energy + self.hardening.stored_energy(state["equivalent_plastic_strain"])
        return energy

    def prepare(self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array) -> Trial:
        """Elastic predictor."""
        plastic_strain, p = state["plastic_strain"], state["equivalent_plastic_strain"]
        stress = self.elasticity.stress(strain - plastic_strain)
        equivalent = equivalent_stress(stress)
        return Trial(
            stress,
            equivalent,
            flow_direction(stress, equivalent),
            equivalent - self.hardening(p),
            strain,
            plastic_strain,
            p,
            dt,
            jnp.zeros(()),
        )

    def elastic(self, trial: Trial) -> jax.Array:
        """No flow while f(trial) <= 0, up to round-off.

        A point that flowed in the last step starts the next one with f = 0 up to round-off;
        it must count as elastic, so that the first tangent after a load reversal is elastic.
        """
        return trial.yield_function <= 1e-10 * self.hardening(trial.p)

    def admissible(
        self, outputs: dict[str, jax.Array], state: dict[str, jax.Array], trial: Trial
    ) -> jax.Array:
        """No negative flow, and a yield stress that softening has not used up."""
        p = state["equivalent_plastic_strain"]
        return (p >= trial.p - 1e-12) & (self.hardening(p) >= 0.0)


class _RadialReturn(_J2):
    """One equation for the increment dp, as the flow direction is that of the trial stress."""

    def guess(self, trial: Trial) -> jax.Array:
        """No plastic flow; ()."""
        return jnp.zeros(())

    def finish(self, dp: jax.Array, trial: Trial) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Return the stress to the yield surface."""
        flow = dp * trial.direction
        return trial.stress - 2.0 * self.elasticity.mu * flow, {
            "plastic_strain": trial.plastic_strain + flow,
            "equivalent_plastic_strain": trial.p + dp,
        }


class J2Plasticity(_RadialReturn):
    """J2 plasticity by radial return: one scalar equation f(dp) = 0.

    stress = C : (strain - plastic_strain), f = s_eq - R(p) <= 0, d(plastic_strain) = dp n,
    n = 3/2 dev(stress) / s_eq, dp >= 0, f dp = 0, by backward Euler.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).
        hardening: Yield stress R(p) as a function of the equivalent plastic strain p.

    Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, boxes 3.1 and 3.2.
    """

    symmetric_tangent: ClassVar[bool] = True

    def residual(self, dp: jax.Array, trial: Trial) -> jax.Array:
        """Yield function at t_{n+1}; ()."""
        return trial.equivalent - 3.0 * self.elasticity.mu * dp - self.hardening(trial.p + dp)


class J2PlasticityGeneral(_J2):
    """J2 plasticity as a general residual: unknowns are the flow (6,) and dp ().

    stress = C : (strain - plastic_strain), f = s_eq - R(p) <= 0, d(plastic_strain) = dp n,
    n = 3/2 dev(stress) / s_eq, dp >= 0, f dp = 0, by backward Euler.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).
        hardening: Yield stress R(p) as a function of the equivalent plastic strain p.

    Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, boxes 3.1 and 3.2.
    """

    symmetric_tangent: ClassVar[bool] = True

    def guess(self, trial: Trial) -> dict[str, jax.Array]:
        """No plastic flow."""
        return {"flow": jnp.zeros(6), "dp": jnp.zeros(())}

    def residual(self, x: dict[str, jax.Array], trial: Trial) -> dict[str, jax.Array]:
        """Flow rule (6,) and yield condition ()."""
        stress = self.elasticity.stress(trial.strain - trial.plastic_strain - x["flow"])
        equivalent = equivalent_stress(stress)
        return {
            "flow": x["flow"] - x["dp"] * flow_direction(stress, equivalent),
            "dp": equivalent - self.hardening(trial.p + x["dp"]),
        }

    def finish(self, x: dict[str, jax.Array], trial: Trial) -> tuple[jax.Array, dict[str, Any]]:
        """Stress and state at t_{n+1}."""
        plastic_strain = trial.plastic_strain + x["flow"]
        return self.elasticity.stress(trial.strain - plastic_strain), {
            "plastic_strain": plastic_strain,
            "equivalent_plastic_strain": trial.p + x["dp"],
        }
