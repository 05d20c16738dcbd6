"""Eigenvalues and eigenvectors of one symmetric 3x3 tensor, without iteration and without trig.

1. Shift and scale to B with tr B = 0 and |B|^2 = 6: then x^3 - 3 x = det B. Flip the sign of B so
   that det B >= 0: the largest root lies in [sqrt(3), 2], at least 1.7 away from the two
   others, and is found to the last digit by three Newton steps.
2. Its eigenvector is a column of adj(B - x I), which has rank one.
3. What is left is a 2x2 problem, solved by one Jacobi rotation: exact however close its two
   eigenvalues are.

The result is backward stable (orthonormal vectors, values to a few ulp of |A|); the usual
closed form with cosines loses half of the digits when two eigenvalues are close. Only + - * /
sqrt and selections are used, about 250 operations: no loop, no LAPACK call, any code generator
can emit it.

Source: the order of steps follows Eberly, "A robust eigensolver for 3x3 symmetric matrices"
(2014); the frame in step 3 is that of Duff et al., J. Comput. Graph. Tech. 6 (2017) 1-8.
"""

import math

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .mandel import ROOT2

Scalar = Float[Array, ""]
Vector = tuple[Scalar, Scalar, Scalar]
Components = tuple[Scalar, Scalar, Scalar, Scalar, Scalar, Scalar]  # xx yy zz xy xz yz


def _dot(u: Vector, v: Vector) -> Scalar:
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _times(b: Components, v: Vector) -> Vector:
    xx, yy, zz, xy, xz, yz = b
    return (
        xx * v[0] + xy * v[1] + xz * v[2],
        xy * v[0] + yy * v[1] + yz * v[2],
        xz * v[0] + yz * v[1] + zz * v[2],
    )


def _combine(c: Scalar, u: Vector, s: Scalar, v: Vector) -> Vector:
    return (c * u[0] + s * v[0], c * u[1] + s * v[1], c * u[2] + s * v[2])


def _choose(test: Array, u: Vector, v: Vector) -> Vector:
    return (
        jnp.where(test, u[0], v[0]),
        jnp.where(test, u[1], v[1]),
        jnp.where(test, u[2], v[2]),
    )


def _or_one(x: Scalar) -> Scalar:
    """X, or 1 where x is zero: a divisor."""
    return jnp.where(x == 0.0, 1.0, x)


def _once[T](values: T) -> T:
    """Keep XLA from computing these numbers twice.

    Its fusions repeat work, each with its own fused multiply-adds. Where rounding decides, e.g.
    which of two equal eigenvalues comes first, the copies could decide differently, and the
    components of a vector would come from two different frames.
    """
    return lax.optimization_barrier(values)


def _normalised(a: Components) -> Components:
    """B of step 1, up to its sign; zero for a spherical tensor."""
    xx, yy, zz, xy, xz, yz = a
    mean = (xx + yy + zz) / 3.0
    b = (xx - mean, yy - mean, zz - mean, xy, xz, yz)
    size = jnp.abs(b[0])
    for component in b[1:]:
        size = jnp.maximum(size, jnp.abs(component))
    scale = 1.0 / _or_one(size)
    xx, yy, zz, xy, xz, yz = (component * scale for component in b)
    square = xx * xx + yy * yy + zz * zz + 2.0 * (xy * xy + xz * xz + yz * yz)
    scale = math.sqrt(6.0) / jnp.sqrt(_or_one(square))
    return (xx * scale, yy * scale, zz * scale, xy * scale, xz * scale, yz * scale)


def _isolated_vector(b: Components) -> tuple[Array, Vector]:
    """Whether the isolated eigenvalue of B is the largest one, and its unit eigenvector."""
    xx, yy, zz, xy, xz, yz = b
    det = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    det = _once(det)
    largest = det >= 0.0
    det = jnp.minimum(jnp.abs(det), 2.0)
    # Quadratic fit on [0, 2], error below 2e-3; each Newton step squares it (factor < 1).
    x = math.sqrt(3.0) + det * (1.0 / 6.0 - 0.01635 * det)
    for _ in range(3):
        x = x - (x * (x * x - 3.0) - det) / (3.0 * (x * x - 1.0))
    x = jnp.where(largest, x, -x)

    xx, yy, zz = xx - x, yy - x, zz - x
    adj_xx, adj_yy, adj_zz = yy * zz - yz * yz, xx * zz - xz * xz, xx * yy - xy * xy
    adj_xy, adj_xz, adj_yz = xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - xx * yz
    adj_xx, adj_yy, adj_zz, adj_xy, adj_xz, adj_yz = _once(
        (adj_xx, adj_yy, adj_zz, adj_xy, adj_xz, adj_yz)
    )
    # adj = c v v^T with c >= 3: the column with the largest diagonal entry has length > 1.
    v = _choose(adj_xx >= adj_yy, (adj_xx, adj_xy, adj_xz), (adj_xy, adj_yy, adj_yz))
    last = adj_zz > jnp.maximum(adj_xx, adj_yy)
    v = _choose(last, (adj_xz, adj_yz, adj_zz), v)
    length = jnp.sqrt(_dot(v, v))
    return largest, (v[0] / length, v[1] / length, v[2] / length)


def _normal_frame(v: Vector) -> tuple[Vector, Vector]:
    """Two unit vectors that complete the unit vector v to an orthonormal frame."""
    x, y, z = v
    sign = jnp.where(z >= 0.0, 1.0, -1.0)
    c = -1.0 / (sign + z)
    d = x * y * c
    return (1.0 + sign * x * x * c, sign * d, -sign * x), (d, sign + y * y * c, -y)


def eigen(a: ArrayLike) -> tuple[Float[Array, "3"], Float[Array, "3 3"]]:
    """Eigenvalues and eigenvectors of a symmetric tensor. Not meant to be differentiated.

    Args:
        a: Mandel vector; (6,), any units and size.

    Returns:
        values: Eigenvalues in descending order; (3,), units of `a`.
        vectors: Orthonormal eigenvectors as columns; (3, 3), dimensionless.
    """
    a = jnp.asarray(a)
    tensor = (a[0], a[1], a[2], a[3] / ROOT2, a[4] / ROOT2, a[5] / ROOT2)
    b = _normalised(tensor)
    b = _once(b)
    largest, v = _once(_isolated_vector(b))
    s, t = _normal_frame(v)

    bt = _times(b, t)
    half, off = _once((0.5 * (_dot(s, _times(b, s)) - _dot(t, bt)), _dot(s, bt)))
    # Below 1e-100 of B there is nothing to rotate, and the squares would underflow.
    nil = jnp.maximum(jnp.abs(half), jnp.abs(off)) < 1e-100
    radius = jnp.sqrt(jnp.where(nil, 1.0, half * half + off * off))
    cos = jnp.sqrt(jnp.where(nil, 1.0, 0.5 * (1.0 + jnp.abs(half) / radius)))
    sin = jnp.where(nil, 0.0, 0.5 * off / (radius * cos))  # the smaller angle: cos > 0.7
    sin = jnp.where(half >= 0.0, sin, -sin)
    p, q = _combine(cos, s, sin, t), _combine(cos, t, -sin, s)
    p, q = _choose(half >= 0.0, p, q), _choose(half >= 0.0, q, p)

    v1, v2, v3 = _choose(largest, v, p), _choose(largest, p, q), _choose(largest, q, v)
    # Rayleigh quotients of the tensor itself: exact for uncoupled components, e.g. out of plane.
    x1, x2, x3 = (_dot(u, _times(tensor, u)) for u in (v1, v2, v3))
    # Equal ones may be out of order by an ulp.
    x2, x3 = jnp.maximum(x2, x3), jnp.minimum(x2, x3)
    x1, x2 = jnp.maximum(x1, x2), jnp.minimum(x1, x2)
    x2, x3 = jnp.maximum(x2, x3), jnp.minimum(x2, x3)
    vectors = jnp.stack([*v1, *v2, *v3]).reshape(3, 3).T
    return _once((jnp.stack([x1, x2, x3]), vectors))
