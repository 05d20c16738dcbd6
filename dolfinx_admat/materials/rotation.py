"""Laws whose axes are not those of the mesh."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.tensors import mandel_rotation

from ._declare import SCALAR, SYMMETRIC, TENSOR, VECTOR
from .parameters import Parameters, parameter
from .wrapper import Transform


def bunge_rotation(phi_1: Any, Phi: Any, phi_2: Any) -> jax.Array:
    """Rotation by Bunge's Euler angles (z, x', z''); columns are the crystal's axes.

    Args:
        phi_1: First angle, radians; any shape.
        Phi: Second angle, radians; the same shape.
        phi_2: Third angle, radians; the same shape.

    Returns:
        Q with a_specimen = Q a_crystal; (..., 3, 3).

    Source: H.-J. Bunge, Texture Analysis in Materials Science, 1982, eq. 2.50 (whose g is the
    transpose).
    """
    c1, s1 = jnp.cos(phi_1), jnp.sin(phi_1)
    c, s = jnp.cos(Phi), jnp.sin(Phi)
    c2, s2 = jnp.cos(phi_2), jnp.sin(phi_2)
    rows = [
        [c1 * c2 - s1 * s2 * c, -c1 * s2 - s1 * c2 * c, s1 * s],
        [s1 * c2 + c1 * s2 * c, -s1 * s2 + c1 * c2 * c, -c1 * s],
        [s2 * s, c2 * s, c],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


class BungeAngles(Parameters):
    """An orientation given by Bunge's Euler angles (z, x', z''), for ``Rotated``.

    Attributes:
        phi_1: First angle, radians.
        Phi: Second angle, radians.
        phi_2: Third angle, radians.

    Source: as ``bunge_rotation``.
    """

    phi_1: jax.Array | float = parameter()
    Phi: jax.Array | float = parameter()
    phi_2: jax.Array | float = parameter()

    def __call__(self) -> jax.Array:
        """The rotation; (3, 3)."""
        return bunge_rotation(self.phi_1, self.Phi, self.phi_2)


def _is_rotation(values: np.ndarray) -> np.ndarray:
    if values.shape[-2:] != (3, 3):
        return np.zeros(values.shape[:1] or (1,), dtype=bool)
    gram = np.einsum("...ki,...kj->...ij", values, values)
    orthonormal = np.abs(gram - np.eye(3)).max(axis=(-1, -2)) < 1e-6
    return orthonormal & (np.linalg.det(values) > 0.0)


class Rotated(Transform):
    """A law whose axes are the columns of ``rotation``: inputs go there, outputs come back.

    a = Q a' Q^T for second-order tensors, a = Q a' for vectors, where a' is what the law sees;
    scalars are unchanged. At finite strain the axes belong to the reference configuration. The
    law's state is in the law's axes.

    Attributes:
        law: The law in its own axes.
        rotation: Q, (3, 3), orthonormal with det Q = 1; constant, or one per cell or point (the
            parameter ``"rotation"``); or a callable part such as ``BungeAngles``.

    Raises:
        MaterialError: ``rotation`` is no rotation, or the law has an input or output of a kind
            that does not say how it rotates.
    """

    rotation: jax.Array | Callable[[], jax.Array] = parameter(
        accept=_is_rotation, expected="a rotation matrix: (3, 3), orthonormal columns, det = 1"
    )

    def __check_init__(self) -> None:
        self._check_law()
        for name, shape in {**self.law.inputs, **self.law.outputs}.items():
            _rotate(np.zeros(tuple(shape)), shape, np.eye(3), name)

    def _matrix(self) -> jax.Array:
        return self.rotation() if callable(self.rotation) else self.rotation

    def to_law(self, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Components on the law's axes."""
        back = self._matrix().T
        return {n: _rotate(v, self.law.inputs[n], back, n) for n, v in inputs.items()}

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Components on the axes of the inputs."""
        Q = self._matrix()
        return {n: _rotate(v, self.law.outputs[n], Q, n) for n, v in outputs.items()}


def _rotate(value: Any, shape: tuple[int, ...], Q: Any, name: str) -> Any:
    kind = getattr(shape, "kind", None)
    if kind == SYMMETRIC.kind or (kind is None and tuple(shape) == (6,)):
        return mandel_rotation(Q) @ value
    if kind == TENSOR.kind or (kind is None and tuple(shape) == (3, 3)):
        return Q @ value @ Q.T
    if kind == VECTOR.kind or (kind is None and tuple(shape) == (3,)):
        return Q @ value
    if kind == SCALAR.kind or tuple(shape) == ():
        return value
    raise MaterialError(
        f"Rotated: '{name}' {tuple(shape)} ({kind or 'no kind'}) does not rotate; wrap the 3D law, "
        "and reduce it afterwards: PlaneStress(Rotated(law, Q))"
    )
