"""Invariants of symmetric tensors in Mandel notation, with derivatives that exist at zero."""

import jax.numpy as jnp
from jax import lax
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


def norm(a: ArrayLike) -> Float[Array, ""]:
    """Euclidean (Frobenius) norm that can be differentiated at zero.

    At zero the value is 0 and all derivatives are set to 0, the smallest subgradient, in forward
    and in reverse mode; elsewhere value and derivatives are the exact ones, whatever the size of
    `a` (no epsilon is added, squares neither underflow nor overflow).

    Args:
        a: Array of any shape, also of shape (). For a Mandel vector (6,) this is sqrt(a : a).

    Returns:
        Norm; (), units of `a`.
    """
    a = jnp.asarray(a)
    size = jnp.max(jnp.abs(lax.stop_gradient(a)), initial=0.0)
    zero = size == 0.0
    # sqrt has no derivative at zero, and a `where` after it would still give 0 * inf = nan.
    # So the argument, too, is replaced: by a constant, and therefore with derivative 0.
    scaled = jnp.where(zero, 1.0, a) / jnp.where(zero, 1.0, size)
    return size * jnp.sqrt(jnp.sum(scaled * scaled))


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
