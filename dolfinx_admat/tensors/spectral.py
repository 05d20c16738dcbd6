"""Eigenvalues and isotropic functions of a symmetric tensor, with derivatives at coalescence.

With a = V diag(x) V^T, an isotropic tensor function is F(a) = V diag(f(x)) V^T. In the frame of
the eigenvectors its derivatives need divided differences only (Daleckii-Krein):

    DF[h]_ij      = f[x_i, x_j] h_ij
    D2F[h, k]_ij  = sum_m f[x_i, x_m, x_j] (h_im k_mj + k_im h_mj)

Divided differences are smooth where eigenvalues coalesce; the eigenvectors, whose derivatives are
not, are never differentiated: they stand behind `stop_gradient`, and each formula above is the
`custom_jvp` rule of the one before it. The third derivative would need one more such formula;
asking for it is an error, not a wrong number.

Sources: Higham, Functions of Matrices (2008), section 3.2; Bhatia, Matrix Analysis (1997), V.3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from . import _divided
from ._eigen import eigen
from .mandel import ROOT2, mandel_rotation

ScalarFunction = Callable[[Float[Array, ""]], Float[Array, ""]]
# Divided differences of order 0, 1, 2, ordered as in `_differences`: (3,), (6,), (10,).
Differences = tuple[Float[Array, "3"], Float[Array, "6"], Float[Array, "10"]]


def isotropic_function(f: ScalarFunction, a: ArrayLike) -> Float[Array, "6"]:
    """Apply a scalar function to the eigenvalues of a symmetric tensor.

    First and second derivatives, forward and reverse, are exact also for double and triple
    eigenvalues; the third derivative raises NotImplementedError. f may close over parameters and
    is differentiated with respect to them as well. `trace(isotropic_function(w, a))` is thus a
    safe way to write an energy sum_i w(x_i).

    Near the identity, `isotropic_function(jnp.log1p, 2 * E)` is log(I + 2 E) without the loss of
    digits that forming I + 2 E costs; the same holds for `jnp.expm1`.

    Args:
        f: Smooth scalar function of a scalar, in jnp; twice differentiable. Where it has a kink
            (e.g. the positive part), derivatives are right away from the kink.
        a: Mandel vector; (6,).

    Returns:
        Mandel vector of F(a); (6,).
    """
    a, R, c = _spectral(f, _divided.general(f), a)
    # What follows is zero, and carries the derivatives with respect to parameters inside f: c
    # depends on them, linearly, in the Taylor polynomial of F about a.
    da, (c0, c1, c2) = R.T @ _increment(a), _increment(c)
    change = c1 * da + 0.5 * (_second(c2, da) @ da)
    return _value(a, R, lax.stop_gradient(c)) + R[:, :3] @ c0 + R @ change


def log(a: ArrayLike) -> Float[Array, "6"]:
    """Logarithm of a symmetric positive definite tensor; Mandel (6,) -> (6,), dimensionless.

    Derivatives as for `isotropic_function`. An eigenvalue below about 1e-15 of the largest one is
    not represented by a Mandel vector: the result is then inaccurate, or nan if it is negative.
    """
    return _value(*_spectral(jnp.log, _divided.log, a))


def exp(a: ArrayLike) -> Float[Array, "6"]:
    """Exponential of a symmetric tensor; Mandel (6,) -> (6,), dimensionless.

    Derivatives as for `isotropic_function`.
    """
    return _value(*_spectral(jnp.exp, _divided.exp, a))


def sqrt(a: ArrayLike) -> Float[Array, "6"]:
    """Square root of a symmetric positive (semi-)definite tensor; Mandel (6,) -> (6,).

    Derivatives as for `isotropic_function`; they are infinite at a zero eigenvalue.
    """
    return _value(*_spectral(jnp.sqrt, _divided.sqrt, a))


def eigenvalues(a: ArrayLike) -> Float[Array, "3"]:
    """Eigenvalues of a symmetric tensor, in descending order.

    Each derivative is the dyad v v^T of a unit eigenvector. Where eigenvalues coalesce they are
    not differentiable; what is returned then belongs to one of the orthonormal frames of the
    eigenspace: finite, an element of Clarke's generalised gradient, and right for every symmetric
    smooth function of all three (for which `isotropic_function` is the better basis). Second
    derivatives grow like 1 / gap, as they must; at exactly equal eigenvalues the infinite terms
    are left out. The third derivative raises NotImplementedError.

    Args:
        a: Mandel vector; (6,), any units.

    Returns:
        Eigenvalues; (3,), units of `a`.
    """
    a = jnp.asarray(a)
    values, vectors = eigen(lax.stop_gradient(a))
    return _eigenvalues(a, mandel_rotation(vectors), values)


principal_values = eigenvalues


def _spectral(
    f: ScalarFunction, rule: _divided.Rule, a: ArrayLike
) -> tuple[Float[Array, "6"], Float[Array, "6 6"], Differences]:
    """The arguments of `_value`."""
    a = jnp.asarray(a)
    values, vectors = eigen(lax.stop_gradient(a))
    return a, mandel_rotation(vectors), _differences(f, rule, values)


def _differences(f: ScalarFunction, rule: _divided.Rule, x: Float[Array, "3"]) -> Differences:
    """Divided differences up to second order; those that nobody uses are dead code under jit.

    Order of the first ones: 11 22 33 12 13 23, as in a Mandel vector; of the second ones:
    111 222 333, 112 113 223, 122 133 233, 123.
    """
    first = _divided.derivative(f)
    fx = jax.vmap(f)(x)
    pair, single, double = rule(
        jnp.stack([x[0], x[0], x[1]]),
        jnp.stack([x[1], x[2], x[2]]),
        jnp.stack([fx[0], fx[0], fx[1]]),
        jnp.stack([fx[1], fx[2], fx[2]]),
    )
    # f[x, y, z] is a mean of f[x, y, y] and f[y, y, z] if y lies between x and z (knot insertion).
    span = x[0] - x[2]
    weight = jnp.where(span == 0.0, 0.5, (x[1] - x[2]) / jnp.where(span == 0.0, 1.0, span))
    mixed = weight * single[2] + (1.0 - weight) * double[0]
    curvature = 0.5 * jax.vmap(_divided.derivative(first))(x)
    return (
        fx,
        jnp.concatenate([jax.vmap(first)(x), pair]),
        jnp.concatenate([curvature, single, double, mixed[None]]),
    )


# `a` enters the custom_jvp functions below only as that with respect to which one differentiates:
# R, c and x come from `stop_gradient(a)`. None of them has a direction among its arguments, since
# partial evaluation (in reverse mode) inlines a call with a direction and thus forgets its rule.


@jax.custom_jvp
def _value(a: Array, R: Array, c: Differences) -> Array:
    """F(a); R is the Mandel rotation from the eigenframe to the global frame."""
    return R[:, :3] @ c[0]


@_value.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a, R, c = primals
    return _value(a, R, c), R @ (_first(a, R, c) @ (R.T @ tangents[0]))


@jax.custom_jvp
def _first(a: Array, R: Array, c: Differences) -> Array:
    """DF(a) as a 6x6 matrix in the frozen eigenframe, where it is diagonal."""
    return jnp.asarray(np.eye(6)) * c[1][None, :]


@_first.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a, R, c = primals
    return _first(a, R, c), _second(_last(a, c[2]), R.T @ tangents[0])


def _second(c: Float[Array, "10"], k: Float[Array, "6"]) -> Float[Array, "6 6"]:
    """D2F(a)[., k] as a symmetric 6x6 matrix; it and k are in the eigenframe."""
    c111, c222, c333, c112, c113, c223, c122, c133, c233, c123 = (c[i] for i in range(10))
    # In tensor components the shear entries would have no factor; sqrt(2) is Mandel's.
    p12, p13, p23 = (c123 / ROOT2 * k[i] for i in (3, 4, 5))
    o = jnp.zeros_like(c111)
    rows = [
        [2.0 * c111 * k[0], o, o, c112 * k[3], c113 * k[4], o],
        [o, 2.0 * c222 * k[1], o, c122 * k[3], o, c223 * k[5]],
        [o, o, 2.0 * c333 * k[2], o, c133 * k[4], c233 * k[5]],
        [c112 * k[3], c122 * k[3], o, c112 * k[0] + c122 * k[1], p23, p13],
        [c113 * k[4], o, c133 * k[4], p23, c113 * k[0] + c133 * k[2], p12],
        [o, c223 * k[5], c233 * k[5], p13, p12, c223 * k[1] + c233 * k[2]],
    ]
    return jnp.stack([entry for row in rows for entry in row]).reshape(6, 6)


@jax.custom_jvp
def _eigenvalues(a: Array, R: Array, x: Array) -> Array:
    return x


@_eigenvalues.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a, R, x = primals
    # Not `x`: differentiated again, this value must have its derivative.
    return _eigenvalues(*primals), _eigenvalues_first(a, R, x) @ (R.T @ tangents[0])


@jax.custom_jvp
def _eigenvalues_first(a: Array, R: Array, x: Array) -> Array:
    """The derivative as a 3x6 matrix in the frozen eigenframe: picks the normal components."""
    return jnp.asarray(np.eye(3, 6))


@_eigenvalues_first.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a, R, x = primals
    x = _last(a, x)
    gap = jnp.stack([x[0] - x[1], x[0] - x[2], x[1] - x[2]])
    inverse = jnp.where(gap == 0.0, 0.0, 1.0 / jnp.where(gap == 0.0, 1.0, gap))
    p = inverse * (R.T @ tangents[0])[3:]
    o = jnp.zeros_like(p[0])
    rows = [[o, o, o, p[0], p[1], o], [o, o, o, -p[0], o, p[2]], [o, o, o, o, -p[1], -p[2]]]
    return _eigenvalues_first(*primals), jnp.stack([e for row in rows for e in row]).reshape(3, 6)


@jax.custom_jvp
def _last(a: Array, data: Array) -> Array:
    """The data of the last derivative that is provided."""
    return data


@_last.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    raise NotImplementedError(
        "Spectral functions (log, exp, sqrt, isotropic_function, eigenvalues) have first and "
        "second derivatives; a third one was asked for. Differentiate once less, or write the "
        "function as a power series."
    )


@jax.custom_jvp
def _increment(x: Any) -> Any:
    """The zero x - stop_gradient(x), written such that code generators see a constant."""
    return jax.tree.map(jnp.zeros_like, x)


@_increment.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    return _increment(*primals), tangents[0]
