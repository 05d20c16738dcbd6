"""A face-centred cubic single crystal at small strain."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dolfinx_admat import ImplicitSmallStrain, Shape

PLANES = ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))
DIRECTIONS = ((0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0))


def schmid_tensors():
    """Symmetric parts of s (x) n of the 12 systems {111}<110>; Mandel, (12, 6)."""
    rows = []
    for n in PLANES:
        for s in DIRECTIONS:
            if np.dot(n, s) == 0:
                m = np.outer(s, n) / np.sqrt(6.0)
                m = 0.5 * (m + m.T)
                rows.append([*np.diag(m), *(np.sqrt(2.0) * m[[0, 0, 1], [1, 2, 2]])])
    return np.array(rows)


SCHMID = schmid_tensors()
SAME_PLANE = np.kron(np.eye(4), np.ones((3, 3)))


class FccCrystal(ImplicitSmallStrain):
    """Power-law slip on 12 systems with saturating self and latent hardening: 18 unknowns.

    d(plastic_strain) = sum_i dg_i m_i, dg_i = dt g0 |tau_i / r_i|^n sign(tau_i), tau_i =
    m_i : stress, dr_i = h0 (1 - r_i / r_s) sum_j q_ij |dg_j|; axes along the lattice.

    Attributes:
        C11, C12, C44: Cubic elasticity (C44 as in tau_xy = 2 C44 eps_xy).
        g0: Reference slip rate.
        n: Rate exponent, an odd integer.
        h0: Initial hardening modulus.
        r_0: Initial slip resistance.
        r_s: Saturated slip resistance.
        latent: q_ij of systems on different planes (1 on the same plane).

    Source: D. Peirce, R.J. Asaro, A. Needleman, Acta Metall. 31 (1983), for the flow and
    hardening rules.
    """

    C11: float
    C12: float
    C44: float
    g0: float
    h0: float
    r_0: float
    r_s: float
    latent: float
    n: int = eqx.field(static=True, default=5)
    rate_dependent: ClassVar[bool] = True
    state_kinds: ClassVar[dict[str, Shape]] = {"resistance": Shape((12,), "slip systems")}

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6), "resistance": jnp.full(12, self.r_0)}

    def stress(self, elastic_strain):
        spherical = self.C12 * jnp.sum(elastic_strain[:3]) * np.array([1.0, 1, 1, 0, 0, 0])
        normal, shear = self.C11 - self.C12, 2.0 * self.C44
        return spherical + elastic_strain * jnp.array([normal] * 3 + [shear] * 3)

    def resistance(self, slip, old):
        hardening = self.latent + (1.0 - self.latent) * SAME_PLANE
        amount = self.h0 * (hardening @ jnp.abs(slip))
        return (old + amount) / (1.0 + amount / self.r_s)

    def guess(self, step):
        return {
            "elastic_strain": step.given - step.state["plastic_strain"],
            "slip": jnp.zeros(12),
        }

    def residual(self, x, step):
        total = step.given - step.state["plastic_strain"]
        ratio = (SCHMID @ self.stress(x["elastic_strain"])) / self.resistance(
            x["slip"], step.state["resistance"]
        )
        return {
            "elastic_strain": x["elastic_strain"] + SCHMID.T @ x["slip"] - total,
            "slip": x["slip"] - step.dt * self.g0 * ratio**self.n,
        }

    def finish(self, x, step) -> tuple[Any, Any]:
        return self.stress(x["elastic_strain"]), {
            "plastic_strain": step.given - x["elastic_strain"],
            "resistance": self.resistance(x["slip"], step.state["resistance"]),
        }
