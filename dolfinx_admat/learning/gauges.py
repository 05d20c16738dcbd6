"""Learned yield functions: convex and of degree one by construction.

A sum with positive factors of convex functions of degree one is another one. So these can stand
in place of ``VonMises`` in any elastoplastic law of the library. Both are one for a stress of one
in tension along x, so that the yield stress of a law keeps its meaning. Neither computes principal
stresses: all are smooth functions of invariants or components, also where principal stresses
coincide.

Source: convex functions of principal values: C. Davis, All convex invariant functions of Hermitian
matrices, Arch. Math. 8 (1957); norms of linear forms: F. Barlat et al., Linear
transformation-based anisotropic yield functions, Int. J. Plasticity 21 (2005).
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Polynomial

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import YieldFunction
from dolfinx_admat.materials.yield_functions import _normalised
from dolfinx_admat.tensors import determinant, trace

from ._arguments import check_flag, check_seed, check_whole
from ._part import LearnedPart, check_shape, inverse_positive, positive

_TENSION = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
_TENSION_DEVIATOR = np.array([2.0, -1.0, -1.0, 0.0, 0.0, 0.0]) / 3.0
# Exponents of the norms that IsotropicGauge adds up.
_DIFFERENCES, _SHIFTED = (6, 12), (8, 16)
# c + s_i >= 0 and c - s_i >= 0 for all principal deviatoric stresses of a state with q = 1.
_SHIFT = 2.0 / 3.0


class _Gauge(LearnedPart, YieldFunction):
    """Common to both: write ``_of_deviator``."""

    convex: ClassVar[bool] = True

    def _of_deviator(self, s: jax.Array) -> jax.Array:
        """Value for a deviator whose von Mises stress is one; (6,) -> (), > 0."""
        raise NotImplementedError

    def _cone(self, stress: jax.Array) -> jax.Array:
        q, s = _normalised(stress)
        s = jnp.where(q > 0.0, s, jnp.asarray(_TENSION_DEVIATOR))  # anything but 0
        friction = getattr(self, "friction", None)
        value = q * self._of_deviator(s)
        return value if friction is None else value + positive(friction) / 3.0 * trace(stress)

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        return self._cone(stress) / self._cone(jnp.asarray(_TENSION))


class IsotropicGauge(_Gauge):
    """Isotropic: a sum of norms of principal stresses, between and beyond von Mises and Tresca.

    With the principal deviatoric stresses s_i, von Mises' stress q and positive factors:

    - q itself;
    - Hosford's (sum |s_i - s_j|^a)^(1/a) for a = 6 and 12: the same in tension and compression;
    - (sum (2/3 q + s_i)^a)^(1/a) and (sum (2/3 q - s_i)^a)^(1/a) for a = 8 and 16: these tell
      tension from compression (by at most a quarter).

    Attributes:
        factors: Raw factors, (7,), in this order.
        friction: Raw slope of an added multiple of the mean stress: a cone. None: the function
            does not depend on the mean stress. The apex is no admissible state: it ends as a
            failed point.
    """

    factors: jax.Array
    friction: jax.Array | None = None
    isotropic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        count = 1 + len(_DIFFERENCES) + 2 * len(_SHIFTED)
        check_shape("IsotropicGauge: factors", self.factors, (count,))
        if self.friction is not None:
            check_shape("IsotropicGauge: friction", self.friction, ())

    @classmethod
    def create(cls, *, pressure: bool = False, seed: int = 0) -> "IsotropicGauge":
        """A function near von Mises'.

        Args:
            pressure: Add a learned multiple of the mean stress.
            seed: Of the random factors.

        Raises:
            MaterialError: ``pressure`` is no bool, or the seed no whole number >= 0.
        """
        check_flag("IsotropicGauge.create", pressure=pressure)
        check_seed("IsotropicGauge.create", seed)
        rng = np.random.default_rng(seed)
        parts = 0.1 * np.exp(rng.normal(0.0, 0.3, 1 + len(_DIFFERENCES) + 2 * len(_SHIFTED)))
        parts[0] = 0.5
        slope = jnp.asarray(inverse_positive(0.1)) if pressure else None
        return cls(jnp.asarray(inverse_positive(parts)), slope)

    def _of_deviator(self, s: jax.Array) -> jax.Array:
        J3 = determinant(s)
        square = J3 * J3
        values = [jnp.ones(())]
        values += [_at(c, square) ** (1.0 / a) for a, c in _OF_DIFFERENCES.items()]
        for x in (J3, -J3):
            values += [_at(c, x) ** (1.0 / a) for a, c in _OF_SHIFTED.items()]
        return positive(self.factors) @ jnp.stack(values)


def _at(coefficients: np.ndarray, x: jax.Array) -> jax.Array:
    """Polynomial, lowest power first, by Horner's rule."""
    value: Any = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * x + c
    return jnp.asarray(value)


def _power_sums(e1: float, e2: float, e3: tuple[float, float], most: int) -> list[Polynomial]:
    """Sums of the powers 0 to ``most`` of the roots of y^3 - e1 y^2 + e2 y - e3 = 0.

    By Newton's identities, as polynomials of the x in e3 = e3[0] + e3[1] x.
    """
    last = Polynomial(e3)
    sums = [Polynomial([v]) for v in (3.0, e1, e1 * e1 - 2.0 * e2)]
    for _ in range(3, most + 1):
        sums.append(sums[-1] * e1 - sums[-2] * e2 + last * sums[-3])
    return sums


# The principal values of a deviator with q = 1 are the roots of y^3 - y/3 - J3 = 0. The squares of
# their differences are those of a cubic with e3 = 4/27 - 27 J3^2; half of their powers' sum is 1
# for tension. The shifted ones have e3 = c^3 - c/3 + J3.
_SUMS = _power_sums(2.0, 1.0, (4.0 / 27.0, -27.0), _DIFFERENCES[-1] // 2)
_OF_DIFFERENCES = {a: np.asarray(_SUMS[a // 2].coef, float) / 2.0 for a in _DIFFERENCES}
_SUMS = _power_sums(
    3.0 * _SHIFT, 3.0 * _SHIFT**2 - 1.0 / 3.0, (_SHIFT**3 - _SHIFT / 3.0, 1.0), _SHIFTED[-1]
)
_OF_SHIFTED = {a: _SUMS[a].coef for a in _SHIFTED}


class AnisotropicGauge(_Gauge):
    """Anisotropic, the same in tension and compression: an a-norm of forms of six components.

    f = (u_0 q^a + sum_j |w_j . s|^a)^(1/a) with u_0 > 0. With exponent 2 it is Hill's function
    of 1948 (in any axes), given five units.

    Attributes:
        units: Mandel vectors w_j, (n, 6); only their deviatoric parts matter.
        round: Raw factor u_0, ().
        exponent: The exponent a, an even number; static.
    """

    units: jax.Array
    round: jax.Array
    exponent: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        what = "AnisotropicGauge"
        if np.ndim(self.units) != 2:
            raise MaterialError(f"{what}: expected units (n, 6); got {np.shape(self.units)}")
        check_shape(f"{what}: units", self.units, (np.shape(self.units)[0], 6))
        check_shape(f"{what}: round", self.round, ())
        if not (isinstance(self.exponent, int) and self.exponent in range(2, 31, 2)):
            raise MaterialError(
                f"{what}: exponent must be an even number from 2 to 30; got {self.exponent!r}"
            )

    @classmethod
    def create(cls, *, units: int = 8, exponent: int = 8, seed: int = 0) -> "AnisotropicGauge":
        """A function near von Mises', with random units.

        Args:
            units: Number of forms.
            exponent: Even; large ones can make sharper corners.
            seed: Of the random units.

        Raises:
            MaterialError: ``units`` is no whole number >= 1, the seed none >= 0, or the exponent
                is not even.
        """
        check_whole("AnisotropicGauge.create", units=units)
        check_seed("AnisotropicGauge.create", seed)
        vectors = np.random.default_rng(seed).normal(size=(units, 6))
        vectors[:, :3] -= vectors[:, :3].mean(axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(jnp.asarray(vectors), jnp.asarray(inverse_positive(0.5)), exponent)

    def _of_deviator(self, s: jax.Array) -> jax.Array:
        powers: Any = (self.units @ s) ** self.exponent
        return (positive(self.round) + jnp.sum(powers)) ** (1.0 / self.exponent)
