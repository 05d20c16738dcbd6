"""Finite-strain plasticity by a multiplicative split."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat import ImplicitFiniteStrain, IsotropicElasticity
from dolfinx_admat.tensors import (
    IDENTITY,
    determinant,
    deviator,
    equivalent_stress,
    from_mandel,
    to_mandel,
    trace,
)


def cofactors(F):
    """Cofactor matrix of a 3x3 matrix, det(F) F^-T."""
    (a, b, c), (d, e, f), (g, h, i) = F
    rows = [e * i - f * h, f * g - d * i, d * h - e * g]
    rows += [c * h - b * i, a * i - c * g, b * g - a * h]
    rows += [b * f - c * e, c * d - a * f, a * e - b * d]
    return jnp.stack(rows).reshape(3, 3)


class FeFpJ2(ImplicitFiniteStrain):
    """J2 plasticity with F = Fe Fp, neo-Hookean elasticity: 7 unknowns.

    The state is the inverse plastic metric Cp^-1 = Fp^-1 Fp^-T (isochoric), so that the elastic
    left Cauchy-Green tensor of a trial step is F Cp^-1 F^T: objective, and isotropic by
    construction. With b its isochoric part, the Kirchhoff stress is
    tau = mu dev(b) + kappa/2 (J^2 - 1) 1, and the flow rule is
    dev(b) = dev(b_trial) - 2/3 tr(b) dp n with det(b) = 1, n = 3/2 dev(tau) / s_eq.

    Attributes:
        E: Young's modulus at small strain.
        nu: Poisson's ratio at small strain.
        hardening: Yield stress (Kirchhoff) R(p).

    Source: J.C. Simo, C. Miehe, CMAME 98 (1992) 41-104; the discrete flow rule with the new
    tr(b), and det(b) = 1, as in D.T. Seidl, B.N. Granzow, IJNME 123 (2022).
    """

    E: float
    nu: float
    hardening: Any

    def initial_state(self):
        return {
            "inverse_plastic_metric": jnp.asarray(IDENTITY),
            "equivalent_plastic_strain": jnp.zeros(()),
        }

    @property
    def mu(self):
        return IsotropicElasticity(self.E, self.nu).mu

    def prepare(self, F, state, dt):
        J = jnp.dot(F[0], cofactors(F)[0])
        scale = jnp.where(J > 0.0, J, 1.0) ** (-2.0 / 3.0)
        metric = from_mandel(state["inverse_plastic_metric"])
        p = state["equivalent_plastic_strain"]
        b_trial = scale * to_mandel(F @ metric @ F.T)
        return {"F": F, "J": J, "scale": scale, "b_trial": b_trial, "p": p}

    def elastic(self, trial):
        limit = self.hardening(trial["p"])
        return equivalent_stress(self.mu * trial["b_trial"]) - limit <= 1e-10 * limit

    # The unknown is the change of b, not b itself, so that tolerances are relative to a strain.

    def guess(self, trial):
        return {"change": jnp.zeros(6), "dp": jnp.zeros(())}

    def residual(self, x, trial):
        b, dp = trial["b_trial"] + x["change"], x["dp"]
        s = self.mu * deviator(b)
        equivalent = equivalent_stress(s)
        n = 1.5 * s / jnp.where(equivalent > 0.0, equivalent, 1.0)
        flow = deviator(x["change"]) + (2.0 / 3.0) * trace(b) * dp * n
        return {
            "change": flow + (determinant(b) - 1.0) * IDENTITY,
            "dp": (equivalent - self.hardening(trial["p"] + dp)) / self.E,
        }

    def admissible(self, outputs, state, trial):
        return state["equivalent_plastic_strain"] >= trial["p"] - 1e-12

    def finish(self, x, trial) -> tuple[jax.Array, Any]:
        J, b = trial["J"], trial["b_trial"] + x["change"]
        inverse_F = cofactors(trial["F"]).T / jnp.where(J != 0.0, J, 1.0)
        kappa = IsotropicElasticity(self.E, self.nu).kappa
        pressure = 0.5 * kappa * (J**2 - 1.0)
        tau = from_mandel(self.mu * deviator(b)) + pressure * np.eye(3)
        metric = to_mandel(inverse_F @ from_mandel(b) @ inverse_F.T) / trial["scale"]
        return tau @ inverse_F.T, {
            "inverse_plastic_metric": metric,
            "equivalent_plastic_strain": trial["p"] + x["dp"],
        }
