"""Ordinary tensors in UFL and files <-> flat (Mandel) vectors inside laws."""

import math
from typing import Any

import numpy as np
import ufl

from ..errors import MaterialError
from ..materials import SYMMETRIC

_R2 = math.sqrt(2.0)
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def is_symmetric(shape: tuple[int, ...]) -> bool:
    """Whether values of this declared shape are Mandel vectors of symmetric tensors."""
    # A shape without a declared kind and with six components is taken for a Mandel vector.
    return tuple(shape) == (6,) and getattr(shape, "kind", SYMMETRIC.kind) == SYMMETRIC.kind


def ordinary_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape outside laws: (3, 3) for a symmetric tensor, otherwise unchanged."""
    return (3, 3) if is_symmetric(shape) else tuple(shape)


def flatten_ufl(expression: Any, shape: tuple[int, ...], what: str) -> Any:
    """A UFL expression as a UFL vector of the law's components.

    Raises:
        MaterialError: The expression has not the shape that the law declares.
    """
    e = ufl.as_ufl(expression)
    expected = ordinary_shape(shape)
    if e.ufl_shape != expected:
        hint = ""
        if e.ufl_shape == (2, 2) and expected == (3, 3):
            hint = (
                ". A 2D tensor does not define a 3D law's input; choose the reduction: plane "
                "strain (fem.plane_strain(u), fem.plane_deformation_gradient(u)), plane stress "
                "or axisymmetry (write the 3x3 tensor in UFL)"
            )
        elif e.ufl_shape == (6,) and is_symmetric(shape):
            hint = ". Give the ordinary symmetric tensor; Mandel vectors stay inside laws"
        raise MaterialError(f"{what}: got UFL shape {e.ufl_shape}, expected {expected}{hint}")
    if is_symmetric(shape):
        return ufl.as_vector(
            [e[i, j] if i == j else (e[i, j] + e[j, i]) * (_R2 / 2.0) for i, j in _PAIRS]
        )
    return ufl.as_vector([e[index] for index in np.ndindex(*expected)] if expected else [e])


def unflatten_ufl(vector: Any, shape: tuple[int, ...]) -> Any:
    """A UFL vector of the law's components as an ordinary UFL tensor."""
    if is_symmetric(shape):
        s = vector
        return ufl.as_matrix(
            [
                [s[0], s[3] / _R2, s[4] / _R2],
                [s[3] / _R2, s[1], s[5] / _R2],
                [s[4] / _R2, s[5] / _R2, s[2]],
            ]
        )
    if tuple(shape) == ():
        return vector[0]
    return ufl.as_tensor(
        np.array([vector[i] for i in range(int(np.prod(shape)))], dtype=object)
        .reshape(shape)
        .tolist()
    )


def to_ordinary(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values (..., *shape) as ordinary tensors; Mandel vectors (..., 6) become (..., 3, 3)."""
    if not is_symmetric(shape):
        return values.copy()
    tensor = np.empty((*values.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(_PAIRS):
        tensor[..., i, j] = tensor[..., j, i] = values[..., k] / (1.0 if i == j else _R2)
    return tensor


def from_ordinary(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``to_ordinary``; takes the symmetric part."""
    if not is_symmetric(shape):
        return values
    columns = [
        values[..., i, j] if i == j else (values[..., i, j] + values[..., j, i]) * (_R2 / 2.0)
        for i, j in _PAIRS
    ]
    return np.stack(columns, axis=-1)
