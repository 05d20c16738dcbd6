"""Plane stress of any small-strain law with linear elasticity, by one appended unknown."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dolfinx_admat import ImplicitLaw, ImplicitSmallStrain, Shape


class PlaneStress(ImplicitLaw):
    """A 3D law of which strain_zz is an unknown, and stress_zz = 0 its equation.

    There is one residual and one Newton iteration for all unknowns. In-plane Mandel vectors are
    [xx, yy, sqrt(2) xy]; the law must be isotropic in that no in-plane strain shears xz or yz.

    Attributes:
        law: The 3D law, linear elastic where it does not flow.
        modulus: A stress that makes the appended equation dimensionless.
    """

    law: ImplicitSmallStrain
    modulus: float
    inputs: ClassVar[dict[str, tuple[int, ...]]] = {"strain": Shape((3,), "in-plane tensor")}
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {"stress": Shape((3,), "in-plane tensor")}

    def initial_state(self):
        return self.law.initial_state()

    def _at(self, strain_zz, step):
        """What the 3D law prepares at this strain_zz."""
        xx, yy, xy = step.given["strain"]
        strain = jnp.stack([xx, yy, strain_zz, xy, 0.0 * xy, 0.0 * xy])
        return self.law.prepare(strain, step.state, step.dt)

    def _stress_zz(self, x, strain_zz, step):
        return self.law.finish(x, self._at(strain_zz, step))[0][2]

    def guess(self, step):
        """Exact where the law does not flow, since stress_zz is then linear in strain_zz."""
        zero = jnp.zeros(())
        x = self.law.guess(self._at(zero, step))
        trial = lambda strain_zz: self._stress_zz(x, strain_zz, step)  # noqa: E731
        stress, stiffness = jax.jvp(trial, (zero,), (jnp.ones(()),))
        strain_zz = -stress / stiffness
        return {"law": self.law.guess(self._at(strain_zz, step)), "strain_zz": strain_zz}

    def elastic(self, step):
        return self.law.elastic(self._at(self.guess(step)["strain_zz"], step))

    def residual(self, x, step):
        trial = self._at(x["strain_zz"], step)
        stress_zz = self._stress_zz(x["law"], x["strain_zz"], step)
        return {"law": self.law.residual(x["law"], trial), "strain_zz": stress_zz / self.modulus}

    def finish(self, x, step) -> tuple[Any, Any]:
        stress, state = self.law.finish(x["law"], self._at(x["strain_zz"], step))
        return {"stress": jnp.stack([stress[0], stress[1], stress[3]])}, state
