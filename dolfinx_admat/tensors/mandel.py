"""Mandel vectors: symmetric 3x3 tensors as orthonormal coordinates.

A symmetric tensor a is stored as [xx, yy, zz, sqrt(2) xy, sqrt(2) xz, sqrt(2) yz]. The basis is
orthonormal, so that `a : b` is the dot product, the norm is the Euclidean norm, a fourth-order
tensor with minor symmetries is an ordinary 6x6 matrix, and stresses and strains need no different
factors (as they do in Voigt's notation).

Source: Mandel, Int. J. Solids Struct. 1 (1965) 273-295.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

# Index pair (i, j) and weight of each Mandel component.
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
ROOT2 = float(np.sqrt(2.0))

# Numpy, not JAX: a module constant must not start a JAX backend at import.
#: Second-order unit tensor; Mandel (6,).
IDENTITY = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
#: Projection of a tensor onto its spherical part, 1/3 1 x 1; (6, 6).
SPHERICAL = np.outer(IDENTITY, IDENTITY) / 3.0
#: Projection of a tensor onto its deviator; (6, 6).
DEVIATORIC = np.eye(6) - SPHERICAL


def to_mandel(matrix: ArrayLike) -> Float[Array, "6"]:
    """Mandel vector of the symmetric part of a 3x3 matrix.

    Args:
        matrix: Tensor components; (3, 3), any units.

    Returns:
        Mandel vector; (6,), units of `matrix`.
    """
    m = jnp.asarray(matrix)
    if m.shape != (3, 3):
        raise ValueError(f"to_mandel: matrix should have shape (3, 3), got {m.shape}.")
    shear = [(m[i, j] + m[j, i]) / ROOT2 for i, j in PAIRS[3:]]
    return jnp.stack([m[0, 0], m[1, 1], m[2, 2], *shear])


def from_mandel(a: ArrayLike) -> Float[Array, "3 3"]:
    """Symmetric 3x3 matrix of a Mandel vector; the inverse of `to_mandel`.

    Args:
        a: Mandel vector; (6,), any units.

    Returns:
        Tensor components; (3, 3), units of `a`.
    """
    a = jnp.asarray(a)
    if a.shape != (6,):
        raise ValueError(f"from_mandel: a should be a Mandel vector of shape (6,), got {a.shape}.")
    xx, yy, zz = a[0], a[1], a[2]
    xy, xz, yz = a[3] / ROOT2, a[4] / ROOT2, a[5] / ROOT2
    return jnp.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).reshape(3, 3)


def mandel_rotation(rotation: ArrayLike) -> Float[Array, "6 6"]:
    """Matrix R that rotates Mandel vectors: `R @ to_mandel(A) == to_mandel(Q @ A @ Q.T)`.

    R is orthogonal when Q is; a fourth-order tensor C in Mandel notation rotates as `R @ C @ R.T`.

    Args:
        rotation: Q; (3, 3), dimensionless. Any matrix is accepted (push-forward by Q).

    Returns:
        R; (6, 6), dimensionless.
    """
    q = jnp.asarray(rotation)
    if q.shape != (3, 3):
        raise ValueError(f"mandel_rotation: rotation should have shape (3, 3), got {q.shape}.")

    def entry(i: int, j: int, k: int, m: int) -> Float[Array, ""]:
        if k == m:
            return q[i, k] * q[j, k] * (1.0 if i == j else ROOT2)
        if i == j:
            return q[i, k] * q[i, m] * ROOT2
        return q[i, k] * q[j, m] + q[i, m] * q[j, k]

    return jnp.stack([entry(*row, *column) for row in PAIRS for column in PAIRS]).reshape(6, 6)
