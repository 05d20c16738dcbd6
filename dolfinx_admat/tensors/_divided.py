"""Divided differences f[x, y], f[x, x, y], f[x, y, y] of a scalar function, at any gap x - y.

They are the derivatives of isotropic tensor functions. The textbook quotient
(f(x) - f(y)) / (x - y) loses all digits as x -> y. There the integral form

    f[x, y] = int_0^1 f'(t(u)) du,   f[x, x, y] = int_0^1 u f''(t(u)) du,   t = y + u (x - y)

(Hermite-Genocchi; f[x, y, y] has the weight 1 - u) has no cancellation, and Gauss quadrature of it
converges exponentially. `general` chooses between the two; `exp`, `log` and `sqrt` have series or
closed forms that cost less.

Every rule maps x, y, f(x), f(y) (all of shape (n,)) to the three divided differences (n,). The
rules may be differentiated with respect to parameters inside f: nothing divides by zero.

Sources: de Boor, Surv. Approx. Theory 1 (2005) 46-69; Higham, Functions of Matrices (2008), B.16.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Values = Float[Array, "n"]
Scalar = Float[Array, ""]
ScalarFunction = Callable[[Scalar], Scalar]
Rule = Callable[[Values, Values, Values, Values], tuple[Values, Values, Values]]

_nodes, _weights = np.polynomial.legendre.leggauss(5)
NODES, WEIGHTS = 0.5 * (_nodes + 1.0), 0.5 * _weights
# Coefficients of the Legendre polynomials of degree 3 and 4 from the values at the nodes.
_DEGREE = np.array([3, 4])
TAIL = np.array(
    [(2 * k + 1) * WEIGHTS * np.polynomial.legendre.Legendre.basis(k)(_nodes) for k in _DEGREE]
)
RESOLVED = 3e-5


def derivative(f: ScalarFunction) -> ScalarFunction:
    """The derivative of a scalar function, by forward mode."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def general(f: ScalarFunction) -> Rule:
    """Rule for any smooth f: quadrature where it resolves f', the quotient elsewhere.

    f' is resolved if its third and fourth Legendre coefficients on [y, x] are below 3e-5 of it.
    They fall like r^k, so the quadrature error, of order r^10, is then below 1e-14; and when
    they are larger, r > 0.03, so that the quotients lose a factor 1/r, resp. 1/r^2, of the
    machine precision. The test adapts to the scale on which f varies, be it 1 (exp), x (log) or a
    parameter. A kink inside [y, x] (e.g. the positive part) is not resolved: the quotient is right.
    """
    first, second = derivative(f), derivative(derivative(f))

    def rule(x: Values, y: Values, fx: Values, fy: Values) -> tuple[Values, Values, Values]:
        gap = x - y
        t = y[None, :] + NODES[:, None] * gap[None, :]
        d1 = jax.vmap(jax.vmap(first))(t)
        d2 = jax.vmap(jax.vmap(second))(t)
        tail = jnp.max(jnp.abs(TAIL @ d1), axis=0)
        resolved = (gap == 0.0) | (tail <= RESOLVED * jnp.max(jnp.abs(d1), axis=0))

        divisor = jnp.where(gap == 0.0, 1.0, gap)
        ends = jax.vmap(first)
        xy = jnp.where(resolved, WEIGHTS @ d1, (fx - fy) / divisor)
        xxy = jnp.where(resolved, (WEIGHTS * NODES) @ d2, (ends(x) - xy) / divisor)
        xyy = jnp.where(resolved, (WEIGHTS * (1.0 - NODES)) @ d2, (xy - ends(y)) / divisor)
        return xy, xxy, xyy

    return rule


def _horner(coefficients: np.ndarray, x: Values) -> Values:
    """Sum of coefficients[k] x^k."""
    return reduce(lambda total, c: total * x + float(c), coefficients[::-1], jnp.zeros_like(x))


_k = np.arange(10)
_odd_factorial = np.cumprod(np.maximum(1.0, (2 * _k) * (2 * _k + 1.0)))  # (2 k + 1)!
_SINHC = 1.0 / _odd_factorial  # sinh(d) / d
_COSHC = (2 * _k[1:]) / _odd_factorial[1:]  # (cosh(d) - sinh(d) / d) / d^2


def exp(x: Values, y: Values, fx: Values, fy: Values) -> tuple[Values, Values, Values]:
    """Rule for the exponential: exp(mean) times functions of the half gap d, series if |d| < 1."""
    half = 0.5 * (x - y)
    near = jnp.abs(half) < 1.0
    d = jnp.where(near, half, 0.0)
    middle = jnp.exp(0.5 * (x + y))
    even, odd = 0.5 * middle * _horner(_SINHC, d * d), 0.5 * middle * d * _horner(_COSHC, d * d)

    divisor = jnp.where(near, 1.0, x - y)
    xy = jnp.where(near, 2.0 * even, (fx - fy) / divisor)
    xxy = jnp.where(near, even + odd, (fx - xy) / divisor)
    xyy = jnp.where(near, even - odd, (xy - fy) / divisor)
    return xy, xxy, xyy


_ATANHC = 1.0 / (2 * _k + 1.0)  # atanh(z) / z
_ATANHC_TAIL = (2 * _k[1:]) / (2 * _k[1:] + 1.0)  # (1 / (1 - z^2) - atanh(z) / z) / z^2


def log(x: Values, y: Values, fx: Values, fy: Values) -> tuple[Values, Values, Values]:
    """Rule for log: powers of the sum times functions of z = (x - y) / (x + y), |z| < 0.15."""
    total = x + y
    ratio = (x - y) / total
    near = jnp.abs(ratio) < 0.15
    z = jnp.where(near, ratio, 0.0)
    even, odd = 1.0 / (1.0 - z * z), z * _horner(_ATANHC_TAIL, z * z)

    divisor = jnp.where(near, 1.0, x - y)
    xy = jnp.where(near, 2.0 * _horner(_ATANHC, z * z) / total, (fx - fy) / divisor)
    square = 2.0 / (total * total)
    xxy = jnp.where(near, square * (odd - even), (1.0 / x - xy) / divisor)
    xyy = jnp.where(near, -square * (odd + even), (xy - 1.0 / y) / divisor)
    return xy, xxy, xyy


def sqrt(x: Values, y: Values, fx: Values, fy: Values) -> tuple[Values, Values, Values]:
    """Rule for sqrt: closed forms without any difference."""
    xy = 1.0 / (fx + fy)
    return xy, -0.5 * xy * xy / fx, -0.5 * xy * xy / fy
