"""Plasticity with Hosford's yield function, by principal stresses."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat import ImplicitSmallStrain, IsotropicElasticity
from dolfinx_admat.tensors import eigenvalues


class HosfordPlasticity(ImplicitSmallStrain):
    """Associated plasticity, s_eq = ((|s1-s2|^a + |s2-s3|^a + |s1-s3|^a) / 2)^(1/a): 7 unknowns.

    The flow direction is the gradient of the yield function, by automatic differentiation.

    Attributes:
        E: Young's modulus.
        nu: Poisson's ratio.
        hardening: Yield stress R(p).
        a: Exponent, an even integer (2 is von Mises).

    Source: W.F. Hosford, J. Appl. Mech. 39 (1972) 607-609.
    """

    E: float
    nu: float
    hardening: Any
    a: int = eqx.field(static=True, default=8)
    symmetric_tangent: ClassVar[bool] = True

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6), "equivalent_plastic_strain": jnp.zeros(())}

    def equivalent(self, stress):
        s = eigenvalues(stress)
        largest = jnp.where(s[0] > s[2], s[0] - s[2], 1.0)  # powers of numbers of order one
        ratios = (s[0] - s[1]) / largest, (s[1] - s[2]) / largest, (s[0] - s[2]) / largest
        mean = 0.5 * (ratios[0] ** self.a + ratios[1] ** self.a + ratios[2] ** self.a)
        return jnp.where(s[0] > s[2], largest * mean ** (1.0 / self.a), 0.0)

    def stress(self, elastic_strain):
        return IsotropicElasticity(self.E, self.nu).stress(elastic_strain)

    def elastic(self, step):
        trial = self.stress(step.given - step.state["plastic_strain"])
        limit = self.hardening(step.state["equivalent_plastic_strain"])
        return self.equivalent(trial) - limit <= 1e-10 * limit

    def guess(self, step):
        return {"flow": jnp.zeros(6), "dp": jnp.zeros(())}

    def residual(self, x, step):
        stress = self.stress(step.given - step.state["plastic_strain"] - x["flow"])
        equivalent, direction = jax.value_and_grad(self.equivalent)(stress)
        limit = self.hardening(step.state["equivalent_plastic_strain"] + x["dp"])
        return {"flow": x["flow"] - x["dp"] * direction, "dp": (equivalent - limit) / self.E}

    def admissible(self, outputs, state, step):
        old = step.state["equivalent_plastic_strain"]
        return state["equivalent_plastic_strain"] >= old - 1e-12

    def finish(self, x, step):
        plastic_strain = step.state["plastic_strain"] + x["flow"]
        return self.stress(step.given - plastic_strain), {
            "plastic_strain": plastic_strain,
            "equivalent_plastic_strain": step.state["equivalent_plastic_strain"] + x["dp"],
        }
