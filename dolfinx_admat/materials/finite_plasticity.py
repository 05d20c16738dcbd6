"""Finite-strain plasticity by a multiplicative split of the deformation gradient."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import (
    IDENTITY,
    J2,
    J3,
    deviator,
    equivalent_stress,
    from_mandel,
    to_mandel,
    trace,
)

from .base import ImplicitFiniteStrain
from .elasticity import IsotropicElasticity
from .hyperelasticity import simo_miehe_volume
from .parameters import parameter
from .parts import check_part


class MultiplicativeTrial(NamedTuple):
    """Elastic predictor of a multiplicative law.

    Attributes:
        F: Deformation gradient at t_{n+1}; (3, 3).
        inverse_F: Its inverse; (3, 3).
        J: Its determinant; ().
        metric: Inverse plastic metric Cp^-1 at t_n; Mandel (6,).
        p: Equivalent plastic strain at t_n; ().
        b: Trial value of the isochoric elastic left Cauchy-Green tensor; Mandel (6,).
        equivalent: Its von Mises stress (Kirchhoff); ().
    """

    F: jax.Array
    inverse_F: jax.Array
    J: jax.Array
    metric: jax.Array
    p: jax.Array
    b: jax.Array
    equivalent: jax.Array


class FeFpJ2(ImplicitFiniteStrain):
    """J2 plasticity with F = Fe Fp and neo-Hookean elasticity; isotropic hardening.

    W = mu/2 (tr b - 3) + kappa/2 ((J^2 - 1)/2 - ln J), where b is the isochoric part of Fe Fe^T,
    gives the Kirchhoff stress tau = mu dev(b) + kappa/2 (J^2 - 1) 1. Yield function
    f = tau_eq - R(p) <= 0, plastic flow isochoric and associated: Lv(b) = -2/3 tr(b) dp n with
    n = 3/2 dev(tau) / tau_eq, dp >= 0, f dp = 0. The state is the inverse plastic metric
    Cp^-1 = Fp^-1 Fp^-T, so b of a trial step is J^(-2/3) F Cp^-1 F^T: objective, isotropic, and
    free of the oscillations in shear of hypoelastic laws.

    Backward Euler: dev(b) = dev(b_trial) - 2/3 tr(b_trial) dp n with det(b) = 1. The direction of
    dev(b) is that of the trial step, which leaves two unknowns, dp and tr(b).

    Attributes:
        E: Young's modulus at small strain (> 0), units of stress.
        nu: Poisson's ratio at small strain (-1 < nu < 0.5).
        hardening: Yield stress (Kirchhoff) R(p) as a function of the equivalent plastic strain.
        trial_trace: False puts tr(b) at t_{n+1} in the place of tr(b_trial); both are equally
            accurate, and differ by the order of the step.

    Source: J.C. Simo, C. Miehe, Associative coupled thermoplasticity at finite strains, CMAME 98
    (1992) 41-104; with the new trace and det(b) = 1: D.T. Seidl, B.N. Granzow, Calibration of
    elastoplastic constitutive model parameters from full-field data, IJNME 123 (2022).
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    hardening: Callable[[jax.Array], jax.Array]
    trial_trace: bool = eqx.field(static=True, default=True, kw_only=True)
    isotropic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_part(type(self).__name__, "hardening", self.hardening, ((),), ())

    @property
    def elasticity(self) -> IsotropicElasticity:
        """Moduli at small strain."""
        return IsotropicElasticity(self.E, self.nu)

    def initial_state(self) -> dict[str, jax.Array]:
        """inverse_plastic_metric, Mandel (6,), and equivalent_plastic_strain, ()."""
        return {
            "inverse_plastic_metric": jnp.asarray(IDENTITY),
            "equivalent_plastic_strain": jnp.zeros(()),
        }

    def prepare(
        self, F: jax.Array, state: dict[str, jax.Array], dt: jax.Array
    ) -> MultiplicativeTrial:
        """Elastic predictor."""
        cofactors = _cofactors(F)
        J = jnp.dot(F[0], cofactors[0])
        metric = state["inverse_plastic_metric"]
        # J <= 0 is reported as inadmissible; divisions need a number all the same.
        J = jnp.where(J > 0.0, J, 1.0)
        b = J ** (-2.0 / 3.0) * to_mandel(F @ from_mandel(metric) @ F.T)
        return MultiplicativeTrial(
            F,
            cofactors.T / J,
            J,
            metric,
            state["equivalent_plastic_strain"],
            b,
            equivalent_stress(self.elasticity.mu * b),
        )

    def elastic(self, trial: MultiplicativeTrial) -> jax.Array:
        """No flow while f(trial) <= 0, up to round-off."""
        limit = self.hardening(trial.p)
        return trial.equivalent - limit <= 1e-10 * limit

    def guess(self, trial: MultiplicativeTrial) -> dict[str, jax.Array]:
        """No plastic flow."""
        return {"dp": jnp.zeros(()), "change_of_mean": jnp.zeros(())}

    def _return(
        self, x: dict[str, jax.Array], trial: MultiplicativeTrial
    ) -> tuple[jax.Array, jax.Array]:
        """Von Mises stress at t_{n+1}, and its ratio to the trial value; () each."""
        mean = trace(trial.b) / 3.0
        if not self.trial_trace:
            mean = mean + x["change_of_mean"]
        drop = 3.0 * self.elasticity.mu * mean * x["dp"]
        safe = jnp.where(trial.equivalent > 0.0, trial.equivalent, 1.0)
        return trial.equivalent - drop, 1.0 - drop / safe

    def residual(self, x: dict[str, jax.Array], trial: MultiplicativeTrial) -> dict[str, jax.Array]:
        """Yield condition (), and det(b) = 1 ()."""
        equivalent, ratio = self._return(x, trial)
        mean = trace(trial.b) / 3.0 + x["change_of_mean"]
        determinant = mean**3 - ratio**2 * J2(trial.b) * mean + ratio**3 * J3(trial.b)
        limit = self.hardening(trial.p + x["dp"])
        return {
            "dp": (equivalent - limit) / self.E,
            "change_of_mean": determinant - 1.0,
        }

    def finish(
        self, x: dict[str, jax.Array], trial: MultiplicativeTrial
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Stress and state at t_{n+1}."""
        _, ratio = self._return(x, trial)
        change = (ratio - 1.0) * deviator(trial.b) + x["change_of_mean"] * IDENTITY
        return self.stress_and_state(change, x["dp"], trial)

    def stress_and_state(
        self, change: jax.Array, dp: jax.Array, trial: MultiplicativeTrial
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """First Piola-Kirchhoff stress and state from b - b_trial, Mandel (6,), and dp, ()."""
        # As a change, so that an elastic step leaves the metric as it is, to the last digit.
        pulled_back = to_mandel(trial.inverse_F @ from_mandel(change) @ trial.inverse_F.T)
        pressure = 0.5 * self.elasticity.kappa * (trial.J**2 - 1.0)
        tau = self.elasticity.mu * deviator(trial.b + change) + pressure * IDENTITY
        return from_mandel(tau) @ trial.inverse_F.T, {
            "inverse_plastic_metric": trial.metric + trial.J ** (2.0 / 3.0) * pulled_back,
            "equivalent_plastic_strain": trial.p + dp,
        }

    def admissible(
        self,
        outputs: jax.Array,
        state: dict[str, jax.Array],
        trial: MultiplicativeTrial,
    ) -> jax.Array:
        """No negative flow, and a yield stress that softening has not used up."""
        p = state["equivalent_plastic_strain"]
        return (p >= trial.p - 1e-12) & (self.hardening(p) >= 0.0)

    def free_energy(self, F: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """W, and what the hardening stores if it says so; ()."""
        J = jnp.dot(F[0], _cofactors(F)[0])
        J = jnp.where(J > 0.0, J, 1.0)
        stretch = F @ from_mandel(state["inverse_plastic_metric"])
        isochoric = 0.5 * self.elasticity.mu * (J ** (-2.0 / 3.0) * jnp.sum(stretch * F) - 3.0)
        energy = isochoric + self.elasticity.kappa * simo_miehe_volume(J)
        if hasattr(self.hardening, "stored_energy"):
            energy = energy + self.hardening.stored_energy(state["equivalent_plastic_strain"])
        return energy

    def dissipated_energy(
        self,
        F: jax.Array,
        old_state: dict[str, jax.Array],
        state: dict[str, jax.Array],
        dt: jax.Array,
    ) -> jax.Array:
        """Plastic work R dp, less what the hardening stores; ()."""
        p = state["equivalent_plastic_strain"]
        force = self.hardening(p)
        if hasattr(self.hardening, "stored_energy"):
            force = force - jax.grad(self.hardening.stored_energy)(p)
        return force * (p - old_state["equivalent_plastic_strain"])


def _cofactors(F: jax.Array) -> jax.Array:
    """Cofactor matrix of a 3x3 matrix, det(F) F^-T."""
    (a, b, c), (d, e, f), (g, h, i) = F
    rows = [e * i - f * h, f * g - d * i, d * h - e * g]
    rows += [c * h - b * i, a * i - c * g, b * g - a * h]
    rows += [b * f - c * e, c * d - a * f, a * e - b * d]
    return jnp.stack(rows).reshape(3, 3)
