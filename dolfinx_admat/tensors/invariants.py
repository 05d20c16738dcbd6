"""Invariants of symmetric tensors in Mandel notation, with derivatives that exist at zero."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .mandel import IDENTITY, ROOT2


def trace(a: ArrayLike) -> Float[Array, ""]:
    """Trace of a Mandel vector (6,); units of `a`."""
    a = jnp.asarray(a)
    return a[0] + a[1] + a[2]


def deviator(a: ArrayLike) -> Float[Array, "6"]:
    """Traceless part of a Mandel vector (6,); units of `a`."""
    a = jnp.asarray(a)
    return a - (trace(a) / 3.0) * IDENTITY


@jax.custom_jvp
def norm(a: ArrayLike) -> Float[Array, ""]:
    """Euclidean (Frobenius) norm that can be differentiated at zero, any number of times.

    At zero the value is 0 and all derivatives are set to 0, the smallest subgradient, in forward
    and in reverse mode; elsewhere value and derivatives are the exact ones, whatever the size of
    `a` (no epsilon is added, squares neither underflow nor overflow).

    Args:
        a: Array of any shape, also of shape (). For a Mandel vector (6,) this is sqrt(a : a).

    Returns:
        Norm; (), units of `a`.
    """
    a = jnp.asarray(a)
    size = jnp.max(jnp.abs(a), initial=0.0)
    scaled = a / jnp.where(size == 0.0, 1.0, size)
    return size * jnp.sqrt(jnp.sum(scaled * scaled))


@jax.custom_jvp
def _direction(a: Array) -> Array:
    """Unit array a / |a|; zero at zero."""
    size = norm(a)
    return a / jnp.where(size == 0.0, 1.0, size)


# The derivatives are written down, since XLA merges the divisions that AD would stack up:
# x / |a| / |a| becomes x / |a|^2, which overflows for a tiny a.


@norm.defjvp
def _norm_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a = jnp.asarray(primals[0])
    return norm(a), jnp.sum(_direction(a) * tangents[0])


@_direction.defjvp
def _direction_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (a,), (h,) = primals, tangents
    size, n = norm(a), _direction(a)
    inverse = jnp.where(size == 0.0, 0.0, 1.0 / jnp.where(size == 0.0, 1.0, size))
    return n, inverse * (h - n * jnp.sum(n * h))


def equivalent_stress(stress: ArrayLike) -> Float[Array, ""]:
    """Von Mises stress sqrt(3/2) |dev stress| of a Mandel vector (6,); units of `stress`.

    Uniaxial stress s gives |s|. Derivatives at zero: see `norm`.
    """
    return jnp.sqrt(1.5) * norm(deviator(stress))


def equivalent_strain(strain: ArrayLike) -> Float[Array, ""]:
    """Von Mises strain sqrt(2/3) |dev strain| of a Mandel vector (6,); dimensionless.

    Isochoric uniaxial strain e gives |e|: the work-conjugate of `equivalent_stress`.
    Derivatives at zero: see `norm`.
    """
    return jnp.sqrt(2.0 / 3.0) * norm(deviator(strain))


def determinant(a: ArrayLike) -> Float[Array, ""]:
    """Determinant of the tensor of a Mandel vector (6,); units of `a` cubed."""
    a = jnp.asarray(a)
    xx, yy, zz, xy, xz, yz = (a[i] for i in range(6))  # shear components carry sqrt(2)
    return xx * yy * zz + xy * xz * yz / ROOT2 - 0.5 * (xx * yz * yz + yy * xz * xz + zz * xy * xy)


def I1(a: ArrayLike) -> Float[Array, ""]:
    """First principal invariant tr a of a Mandel vector (6,); units of `a`."""
    return trace(a)


def I2(a: ArrayLike) -> Float[Array, ""]:
    """Second principal invariant (tr(a)^2 - a : a) / 2 of a Mandel vector (6,)."""
    a = jnp.asarray(a)
    xx, yy, zz, xy, xz, yz = (a[i] for i in range(6))
    # Minors rather than the difference of two large numbers.
    return xx * yy + yy * zz + zz * xx - 0.5 * (xy * xy + xz * xz + yz * yz)


def I3(a: ArrayLike) -> Float[Array, ""]:
    """Third principal invariant det a of a Mandel vector (6,); units of `a` cubed."""
    return determinant(a)


def J2(a: ArrayLike) -> Float[Array, ""]:
    """Second invariant of the deviator, dev(a) : dev(a) / 2, of a Mandel vector (6,)."""
    s = deviator(a)
    return 0.5 * jnp.sum(s * s)


def J3(a: ArrayLike) -> Float[Array, ""]:
    """Third invariant of the deviator, det dev(a), of a Mandel vector (6,)."""
    return determinant(deviator(a))
