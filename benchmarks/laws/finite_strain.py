"""Finite-strain plasticity by a multiplicative split, as a general residual."""

import jax.numpy as jnp

import dolfinx_admat as admat
from dolfinx_admat.tensors import IDENTITY, determinant, deviator, equivalent_stress, trace


class FeFpJ2(admat.FeFpJ2):
    """The library's law without its reduction to two unknowns: 7 unknowns.

    The flow rule dev(b) = dev(b_trial) - 2/3 tr(b) dp n with det(b) = 1 as it stands, for all six
    components of b.
    """

    # The unknown is the change of b, not b itself, so that tolerances are relative to a strain.

    def guess(self, trial):
        return {"change": jnp.zeros(6), "dp": jnp.zeros(())}

    def residual(self, x, trial):
        b, dp = trial.b + x["change"], x["dp"]
        s = self.elasticity.mu * deviator(b)
        equivalent = equivalent_stress(s)
        n = 1.5 * s / jnp.where(equivalent > 0.0, equivalent, 1.0)
        flow = deviator(x["change"]) + (2.0 / 3.0) * trace(b) * dp * n
        return {
            "change": flow + (determinant(b) - 1.0) * IDENTITY,
            "dp": (equivalent - self.hardening(trial.p + dp)) / self.elasticity.E,
        }

    def finish(self, x, trial):
        return self.stress_and_state(x["change"], x["dp"], trial)
