"""Viscoplasticity with two backstresses."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dolfinx_admat import ImplicitSmallStrain, IsotropicElasticity
from dolfinx_admat.tensors import deviator, equivalent_stress


class Chaboche(ImplicitSmallStrain):
    """Norton flow, isotropic hardening, Armstrong-Frederick backstresses: 19 unknowns.

    d(plastic_strain) = dp n, n = 3/2 dev(stress - X) / s_eq(stress - X), X = X1 + X2,
    s_eq(stress - X) - R(p) = K (dp/dt)^(1/m), X_i = 2/3 C_i a_i, da_i = dp n - g_i a_i dp.

    Attributes:
        E: Young's modulus.
        nu: Poisson's ratio.
        hardening: Yield stress R(p).
        C: Moduli of the two backstresses; (2,).
        g: Their recall rates; (2,).
        K: Viscous resistance (0: rate-independent).
        m: Rate exponent.

    Source: J.-L. Chaboche, Constitutive equations for cyclic plasticity and cyclic
    viscoplasticity, Int. J. Plasticity 5 (1989).
    """

    E: float
    nu: float
    hardening: Any
    C: jax.Array
    g: jax.Array
    K: float
    m: float
    rate_dependent: ClassVar[bool] = True

    def initial_state(self):
        return {
            "plastic_strain": jnp.zeros(6),
            "equivalent_plastic_strain": jnp.zeros(()),
            "back_strain_1": jnp.zeros(6),
            "back_strain_2": jnp.zeros(6),
        }

    def _relative(self, elastic_strain, back_1, back_2):
        """Stress minus backstresses, its equivalent stress, flow direction."""
        stress = IsotropicElasticity(self.E, self.nu).stress(elastic_strain)
        relative = stress - 2.0 / 3.0 * (self.C[0] * back_1 + self.C[1] * back_2)
        equivalent = equivalent_stress(relative)
        return equivalent, 1.5 * deviator(relative) / jnp.where(equivalent > 0, equivalent, 1.0)

    def prepare(self, strain, state, dt):
        old = state["plastic_strain"], state["back_strain_1"], state["back_strain_2"]
        equivalent, direction = self._relative(strain - old[0], *old[1:])
        overstress = equivalent - self.hardening(state["equivalent_plastic_strain"])
        return {
            "strain": strain,
            "state": state,
            "dt": dt,
            "overstress": overstress,
            "direction": direction,
        }

    def elastic(self, trial):
        limit = self.hardening(trial["state"]["equivalent_plastic_strain"])
        return trial["overstress"] <= 1e-10 * limit

    def guess(self, trial):
        # Half of what would bring a perfectly plastic solid back to the yield surface: the flow
        # rule has an infinite slope at dp = 0.
        stiffness = 3.0 * IsotropicElasticity(self.E, self.nu).mu + self.C[0] + self.C[1]
        dp = jnp.where(self.elastic(trial), 0.0, 0.5 * trial["overstress"] / stiffness)
        flow = dp * trial["direction"]
        return {"flow": flow, "dp": dp, "back_1": flow, "back_2": flow}

    def residual(self, x, trial):
        state, dp = trial["state"], x["dp"]
        back_1 = state["back_strain_1"] + x["back_1"]
        back_2 = state["back_strain_2"] + x["back_2"]
        elastic_strain = trial["strain"] - state["plastic_strain"] - x["flow"]
        equivalent, direction = self._relative(elastic_strain, back_1, back_2)
        rate = jnp.maximum(dp / jnp.where(trial["dt"] > 0, trial["dt"], 1.0), 1e-30)
        limit = self.hardening(state["equivalent_plastic_strain"] + dp)
        return {
            "flow": x["flow"] - dp * direction,
            "dp": (equivalent - limit - self.K * rate ** (1.0 / self.m)) / self.E,
            "back_1": x["back_1"] - x["flow"] + self.g[0] * dp * back_1,
            "back_2": x["back_2"] - x["flow"] + self.g[1] * dp * back_2,
        }

    def admissible(self, outputs, state, trial):
        p = trial["state"]["equivalent_plastic_strain"]
        return state["equivalent_plastic_strain"] >= p - 1e-12

    def finish(self, x, trial):
        state = trial["state"]
        plastic_strain = state["plastic_strain"] + x["flow"]
        stress = IsotropicElasticity(self.E, self.nu).stress(trial["strain"] - plastic_strain)
        return stress, {
            "plastic_strain": plastic_strain,
            "equivalent_plastic_strain": state["equivalent_plastic_strain"] + x["dp"],
            "back_strain_1": state["back_strain_1"] + x["back_1"],
            "back_strain_2": state["back_strain_2"] + x["back_2"],
        }
