"""Plasticity of a face-centred cubic single crystal at small strain.

Slip on the 12 systems {111}<110>, with unit normals n_i, directions s_i and Schmid tensors
m_i = sym(s_i x n_i); axes along the lattice (``Rotated`` turns them):

    stress = C : (strain - sum_i slip_i m_i),            tau_i = m_i : stress,
    d(slip_i)/dt = rate(|tau_i - x_i|, r_i) sign(tau_i - x_i)          (``flow``)
    r_i = r_i(p), d(p_i)/dt = |d(slip_i)/dt|                           (``hardening``)
    x_i = c a_i, d(a_i)/dt = d(slip_i)/dt - d a_i |d(slip_i)/dt|       (kinematic)

by backward Euler.

Source: L. Meric, P. Poubanne, G. Cailletaud, Single crystal modeling for structural
calculations, J. Eng. Mater. Technol. 113 (1991).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.tensors import IDENTITY, norm
from dolfinx_admat.tensors.mandel import PAIRS, ROOT2

from ._declare import Shape
from ._flow_root import flow_root
from .base import ImplicitSmallStrain
from .elasticity import Elasticity
from .parameters import Parameters, parameter
from .parts import check_part

_NORMALS = ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))
_DIRECTIONS = ((0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0))
_SYSTEMS = [(n, s) for n in _NORMALS for s in _DIRECTIONS if np.dot(n, s) == 0]

#: Unit normals of the slip planes, and unit slip directions; (12, 3).
FCC_NORMALS = np.array([n for n, _ in _SYSTEMS]) / np.sqrt(3.0)
FCC_DIRECTIONS = np.array([s for _, s in _SYSTEMS]) / np.sqrt(2.0)


def _schmid(n: np.ndarray, s: np.ndarray) -> list[float]:
    m = 0.5 * (np.outer(s, n) + np.outer(n, s))
    return [m[i, j] * (1.0 if i == j else ROOT2) for i, j in PAIRS]


#: Symmetric Schmid tensors; Mandel, (12, 6).
FCC_SCHMID = np.array([_schmid(n, s) for n, s in zip(FCC_NORMALS, FCC_DIRECTIONS, strict=True)])


def _kinds() -> np.ndarray:
    """Kind of each pair of systems, as a place in the fields of ``FccInteraction``; (12, 12)."""
    kinds = np.zeros((12, 12), dtype=int)
    for i, (n, s) in enumerate(_SYSTEMS):
        for j, (m, t) in enumerate(_SYSTEMS):
            # The dislocation that two of them join to, where their directions are not at 90
            # degrees; glissile if it lies in one of the two planes.
            joined = np.subtract(s, t) if np.dot(s, t) > 0 else np.add(s, t)
            glides = np.dot(joined, n) == 0 or np.dot(joined, m) == 0
            if n == m:
                kinds[i, j] = 0 if s == t else 1
            elif np.dot(s, t) == 0:
                kinds[i, j] = 2
            elif s == t:
                kinds[i, j] = 3
            else:
                kinds[i, j] = 4 if glides else 5
    return kinds


_KINDS = _kinds()


class FccInteraction(Parameters):
    """Interaction matrix of the 12 systems by its six coefficients (each >= 0), dimensionless.

    Attributes:
        itself: Of a system with itself.
        coplanar: Same plane, another direction.
        hirth: Perpendicular directions (Hirth locks).
        collinear: Same direction, another plane.
        glissile: Junctions that glide in one of the two planes.
        lomer: Junctions that glide in neither (Lomer-Cottrell locks).

    Source: P. Franciosi, A. Zaoui, Multislip in f.c.c. crystals, Acta Metall. 30 (1982); B.
    Devincre, T. Hoc, L. Kubin, Dislocation mean free paths and strain hardening of crystals,
    Science 320 (2008), for the names.
    """

    itself: jax.Array | float = parameter(at_least=0.0, default=1.0)
    coplanar: jax.Array | float = parameter(at_least=0.0, default=1.0)
    hirth: jax.Array | float = parameter(at_least=0.0, default=1.0)
    collinear: jax.Array | float = parameter(at_least=0.0, default=1.0)
    glissile: jax.Array | float = parameter(at_least=0.0, default=1.0)
    lomer: jax.Array | float = parameter(at_least=0.0, default=1.0)

    def __call__(self) -> jax.Array:
        """The matrix; (12, 12)."""
        values = (
            self.itself, self.coplanar, self.hirth, self.collinear, self.glissile, self.lomer
        )  # fmt: skip
        matrix = jnp.zeros((12, 12))
        for kind, value in enumerate(values):
            matrix = matrix + value * (_KINDS == kind)
        return matrix


class SlipHardening(Parameters):
    """Saturating slip resistance r_i = r_0 + Q sum_j h_ij (1 - exp(-b p_j)).

    Attributes:
        r_0: Initial slip resistance (>= 0; > 0 for ``PowerLawSlip``), units of stress.
        Q: Saturation stress (finite; < 0 softens), units of stress.
        b: Rate of saturation (>= 0), dimensionless.
        interaction: h_ij: an ``FccInteraction`` or any (12, 12), row i for the resistance of i.

    Source: as the module.
    """

    r_0: jax.Array | float = parameter(at_least=0.0)
    Q: jax.Array | float = parameter(default=0.0)
    b: jax.Array | float = parameter(at_least=0.0, default=0.0)
    interaction: Callable[[], jax.Array] | jax.Array = eqx.field(default_factory=FccInteraction)

    def __call__(self, cumulated_slip: jax.Array) -> jax.Array:
        """Slip resistances; p (12,) -> (12,)."""
        h = self.interaction() if callable(self.interaction) else self.interaction
        return self.r_0 - self.Q * (h @ jnp.expm1(-self.b * cumulated_slip))


class SlipFlow(Parameters):
    """How fast a system slips, a part of ``FccCrystal``: write ``rate``.

    Attributes:
        threshold: There is no flow where the stress is not larger than the resistance.
    """

    threshold: ClassVar[bool] = False

    @property
    def exponent(self) -> jax.Array | float:
        """Exponent of a power law: a hint that makes the solve faster, not another result."""
        return 1.0

    def rate(self, stress: jax.Array, resistance: jax.Array) -> jax.Array:
        """Slip rate (>= 0) of |tau - x| and r; (), () -> (), 1 / time."""
        raise NotImplementedError


def _power(x: jax.Array, n: jax.Array | float) -> jax.Array:
    """<x>^n; its derivative needs no second power."""
    positive = x > 0.0
    return jnp.where(positive, jnp.exp(n * jnp.log(jnp.where(positive, x, 1.0))), 0.0)


class OverstressSlip(SlipFlow):
    """Slip above a threshold, rate = (<stress - r> / K)^n.

    Attributes:
        K: Viscous resistance (> 0), units of stress x time^(1/n).
        n: Rate exponent (>= 1).

    Source: as the module.
    """

    K: jax.Array | float = parameter(above=0.0)
    n: jax.Array | float = parameter(at_least=1.0)
    threshold: ClassVar[bool] = True

    @property
    def exponent(self) -> jax.Array | float:
        """The rate exponent."""
        return self.n

    def rate(self, stress: jax.Array, resistance: jax.Array) -> jax.Array:
        """Slip rate."""
        return _power((stress - resistance) / self.K, self.n)


class PowerLawSlip(SlipFlow):
    """Slip without threshold, rate = rate_0 (stress / r)^n.

    Attributes:
        rate_0: Reference rate (> 0), 1 / time.
        n: Rate exponent (>= 1).

    Source: D. Peirce, R.J. Asaro, A. Needleman, Material rate dependence and localized
    deformation in crystalline solids, Acta Metall. 31 (1983).
    """

    rate_0: jax.Array | float = parameter(above=0.0)
    n: jax.Array | float = parameter(at_least=1.0)

    @property
    def exponent(self) -> jax.Array | float:
        """The rate exponent."""
        return self.n

    def rate(self, stress: jax.Array, resistance: jax.Array) -> jax.Array:
        """Slip rate."""
        return self.rate_0 * _power(stress / resistance, self.n)


class CubicElasticity(Elasticity):
    """Elasticity of a cubic crystal; stress_xx = C11 e_xx + C12 (e_yy + e_zz), ...

    Attributes:
        C11: Units of stress; C11 > |C12|.
        C12: Units of stress; C11 + 2 C12 > 0.
        C44: Shear modulus of the cube axes (> 0), stress_xy = 2 C44 e_xy.

    Source: J.F. Nye, Physical Properties of Crystals, 1957, chapter VIII.
    """

    C11: jax.Array | float = parameter(above=0.0)
    C12: jax.Array | float = parameter()
    C44: jax.Array | float = parameter(above=0.0)

    def conditions(self) -> dict[str, Any]:
        """The elastic energy is positive."""
        return {"C11 > C12": self.C11 - self.C12, "C11 + 2 C12 > 0": self.C11 + 2.0 * self.C12}

    def stress(self, elastic_strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        dilatation = jnp.sum(elastic_strain[:3])
        moduli = jnp.stack([self.C11 - self.C12] * 3 + [2.0 * self.C44] * 3)
        return moduli * elastic_strain + self.C12 * dilatation * IDENTITY


class _Trial(NamedTuple):
    """What is fixed during the solve.

    Attributes:
        elastic_strain: Of a step without slip; Mandel (6,).
        state: State at t_n.
        dt: Step.
    """

    elastic_strain: jax.Array
    state: dict[str, jax.Array]
    dt: jax.Array


class FccCrystal(ImplicitSmallStrain):
    """Crystal plasticity of a face-centred cubic crystal; see the module for the equations.

    Unknowns are the 12 increments of slip. State: slip (signed), cumulated_slip p and back_slip
    a; (12,) each. The free energy counts the kinematic hardening as stored, and the isotropic
    hardening as dissipated.

    Attributes:
        elasticity: Elastic part, on the axes of the lattice.
        flow: Rate of slip: ``OverstressSlip``, ``PowerLawSlip``, or a ``SlipFlow`` of your own.
        hardening: Slip resistances of the cumulated slips, (12,) -> (12,); ``SlipHardening``.
        c: Kinematic modulus (>= 0), units of stress.
        d: Dynamic recovery (>= 0), dimensionless.

    Source: as the module.
    """

    elasticity: Elasticity
    flow: SlipFlow
    hardening: Callable[[jax.Array], jax.Array]
    c: jax.Array | float = parameter(at_least=0.0, default=0.0)
    d: jax.Array | float = parameter(at_least=0.0, default=0.0)
    solver: LocalNewton = eqx.field(
        static=True, default=LocalNewton(max_iterations=100), kw_only=True
    )
    rate_dependent: ClassVar[bool] = True
    state_kinds: ClassVar[dict[str, Shape]] = {
        name: Shape((12,), "slip systems") for name in ("slip", "cumulated_slip", "back_slip")
    }

    def __check_init__(self) -> None:
        check_part("FccCrystal", "hardening", self.hardening, ((12,),), (12,))
        stress = getattr(self.elasticity, "stress", None)
        check_part("FccCrystal", "elasticity.stress", stress, ((6,),), (6,))
        check_part("FccCrystal", "flow.rate", getattr(self.flow, "rate", None), ((), ()), ())
        known = not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(self.hardening))
        if isinstance(self.flow, PowerLawSlip) and known:
            least = float(jnp.min(self.hardening(jnp.zeros(12))))
            if not least > 0.0:
                raise MaterialError(
                    "FccCrystal: PowerLawSlip divides by the slip resistance, which must be "
                    f"positive; at rest it is {least:g}: give r_0 > 0, or take OverstressSlip"
                )

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """As the elastic part."""
        return self.elasticity.linear

    def initial_state(self) -> dict[str, jax.Array]:
        """slip, cumulated_slip, back_slip; (12,) each."""
        return {name: jnp.zeros(12) for name in self.state_kinds}

    def free_energy(self, strain: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """Elastic energy and c / 2 sum_i a_i^2."""
        elastic = self.elasticity.energy(strain - FCC_SCHMID.T @ state["slip"])
        return elastic + 0.5 * self.c * jnp.sum(state["back_slip"] ** 2)

    def prepare(self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array) -> _Trial:
        """Elastic predictor."""
        return _Trial(strain - FCC_SCHMID.T @ state["slip"], state, dt)

    def _after(self, slip: jax.Array, trial: _Trial) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Stress and state after increments of slip."""
        stress = self.elasticity.stress(trial.elastic_strain - FCC_SCHMID.T @ slip)
        old, amount = trial.state, jnp.abs(slip)
        return stress, {
            "slip": old["slip"] + slip,
            "cumulated_slip": old["cumulated_slip"] + amount,
            "back_slip": (old["back_slip"] + slip) / (1.0 + self.d * amount),
        }

    def _rates(self, slip: jax.Array, trial: _Trial) -> jax.Array:
        stress, state = self._after(slip, trial)
        effective = FCC_SCHMID @ stress - self.c * state["back_slip"]
        sign = jnp.where(effective < 0.0, -1.0, 1.0)
        resistance = self.hardening(state["cumulated_slip"])
        return sign * jax.vmap(self.flow.rate)(sign * effective, resistance)

    def guess(self, trial: _Trial) -> jax.Array:
        """No slip."""
        return jnp.zeros(12)

    def elastic(self, trial: _Trial) -> jax.Array | None:
        """No system is above its threshold, where there is one."""
        if not self.flow.threshold:
            return None
        return jnp.all(self._rates(jnp.zeros(12), trial) == 0.0)

    def residual(self, slip: jax.Array, trial: _Trial) -> jax.Array:
        """Flow rule of each system; (12,)."""
        # Redundant systems compete: a slip may change its sign on the way to the solution. With a
        # smaller unit the kink of the root at zero costs iterations, with a larger one its power.
        unit = 0.1 * norm(trial.elastic_strain) + 1e-12
        root = jax.vmap(lambda flow: flow_root(flow, self.flow.exponent, unit))
        return root(slip) - root(trial.dt * self._rates(slip, trial))

    def finish(self, slip: jax.Array, trial: _Trial) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Stress and state at t_{n+1}."""
        return self._after(slip, trial)
