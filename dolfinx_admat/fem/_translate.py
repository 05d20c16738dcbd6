"""Ordinary tensors in UFL and files <-> flat (Mandel) vectors inside laws."""

import dataclasses
import math
from typing import Any

import numpy as np
import ufl

from ..errors import MaterialError
from ..materials import (
    AXISYMMETRIC,
    AXISYMMETRIC_TENSOR,
    PLANE_SYMMETRIC,
    PLANE_TENSOR,
    SYMMETRIC,
    TENSOR,
)

_R2 = math.sqrt(2.0)
_REDUCTIONS = (
    ". A 2D tensor does not define a 3D law's input; choose the reduction: a wrapped law, "
    "PlaneStress(law), PlaneStrain(law) or Axisymmetry(law), or a 3x3 tensor: "
    "fem.plane_strain(u), fem.plane_deformation_gradient(u), fem.axisymmetric_strain(u) or "
    "fem.axisymmetric_deformation_gradient(u)"
)
_IN_THE_PLANE = (
    ". The law is reduced to the plane: give the 2x2 tensor of a 2D displacement, e.g. "
    "fem.strain(u) or fem.deformation_gradient(u)"
)
_AROUND_AN_AXIS = (
    ". The law is reduced to axisymmetry: give the 3x3 tensor on the axes (r, z, theta), "
    "fem.axisymmetric_strain(u) or fem.axisymmetric_deformation_gradient(u)"
)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How the components of a law are the entries of an ordinary tensor.

    Attributes:
        shape: Of the ordinary tensor.
        entries: One index pair per component; other entries are zero, or follow from symmetry.
        symmetric: Components off the diagonal are sqrt(2) times the entries (Mandel).
        hint: What to give instead of a tensor of another shape.
    """

    shape: tuple[int, int]
    entries: tuple[tuple[int, int], ...]
    symmetric: bool
    hint: str

    @property
    def absent(self) -> list[tuple[int, int]]:
        """Entries that the law takes for zero."""
        known = {*self.entries, *((j, i) for i, j in self.entries if self.symmetric)}
        return [index for index in np.ndindex(self.shape) if index not in known]

    def factor(self, index: tuple[int, int]) -> float:
        """Component over entry."""
        return _R2 if self.symmetric and index[0] != index[1] else 1.0


_KINDS = {
    SYMMETRIC.kind: _Kind(
        (3, 3), ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), True, _REDUCTIONS
    ),
    TENSOR.kind: _Kind((3, 3), tuple(np.ndindex(3, 3)), False, _REDUCTIONS),
    PLANE_SYMMETRIC.kind: _Kind((2, 2), ((0, 0), (1, 1), (0, 1)), True, _IN_THE_PLANE),
    PLANE_TENSOR.kind: _Kind((2, 2), tuple(np.ndindex(2, 2)), False, _IN_THE_PLANE),
    # Axes (r, z, theta).
    AXISYMMETRIC.kind: _Kind((3, 3), ((0, 0), (1, 1), (2, 2), (0, 1)), True, _AROUND_AN_AXIS),
    AXISYMMETRIC_TENSOR.kind: _Kind(
        (3, 3), ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2)), False, _AROUND_AN_AXIS
    ),
}
#: What shapes without a declared kind are taken for.
_UNDECLARED = {tuple(shape): shape.kind for shape in (SYMMETRIC, TENSOR, PLANE_TENSOR)}


def _kind(shape: tuple[int, ...]) -> _Kind | None:
    """The kind of tensor; None where components and values are the same numbers."""
    return _KINDS.get(getattr(shape, "kind", _UNDECLARED.get(tuple(shape), "")))


def is_symmetric(shape: tuple[int, ...]) -> bool:
    """Whether values of this declared shape are Mandel vectors of symmetric tensors."""
    kind = _kind(shape)
    return kind is not None and kind.symmetric


def ordinary_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape outside laws, e.g. (3, 3) for a symmetric tensor."""
    kind = _kind(shape)
    return tuple(shape) if kind is None else kind.shape


def flatten_ufl(expression: Any, shape: tuple[int, ...], what: str) -> Any:
    """A UFL expression as a UFL vector of the law's components.

    Raises:
        MaterialError: The expression has not the shape that the law declares, or entries that
            the law cannot take.
    """
    e, kind = ufl.as_ufl(expression), _kind(shape)
    expected = ordinary_shape(shape)
    if e.ufl_shape != expected:
        hint = ""
        if kind is not None and e.ufl_shape in ((2, 2), (3, 3)):
            hint = kind.hint
        elif kind is not None and kind.symmetric and e.ufl_shape == tuple(shape):
            hint = ". Give the ordinary symmetric tensor; Mandel vectors stay inside laws"
        elif (e.ufl_shape, expected) == ((2,), (3,)):
            hint = ". In a plane the third component is zero: ufl.as_vector([a[0], a[1], 0])"
        raise MaterialError(f"{what}: got UFL shape {e.ufl_shape}, expected {expected}{hint}")
    if kind is None:
        return ufl.as_vector([e[index] for index in np.ndindex(*expected)] if expected else [e])
    for index in kind.absent:
        if not _is_zero(e[index]):
            raise MaterialError(
                f"{what}: entry {index} is not seen to be zero, and the law has none there"
                f"{kind.hint}"
            )
    return ufl.as_vector(
        [
            e[i, j] if kind.factor((i, j)) == 1.0 else (e[i, j] + e[j, i]) * (_R2 / 2.0)
            for i, j in kind.entries
        ]
    )


def _is_zero(scalar: Any) -> bool:
    simple = ufl.algorithms.expand_derivatives(scalar)
    return isinstance(ufl.algorithms.expand_indices(simple), ufl.constantvalue.Zero)


def unflatten_ufl(vector: Any, shape: tuple[int, ...]) -> Any:
    """A UFL vector of the law's components as an ordinary UFL tensor."""
    kind = _kind(shape)
    if kind is not None:
        rows: list[list[Any]] = [[ufl.as_ufl(0.0)] * kind.shape[1] for _ in range(kind.shape[0])]
        for k, (i, j) in enumerate(kind.entries):
            factor = kind.factor((i, j))
            rows[i][j] = vector[k] if factor == 1.0 else vector[k] / factor
            if kind.symmetric:
                rows[j][i] = rows[i][j]
        return ufl.as_matrix(rows)
    if tuple(shape) == ():
        return vector[0]
    return ufl.as_tensor(
        np.array([vector[i] for i in range(int(np.prod(shape)))], dtype=object)
        .reshape(shape)
        .tolist()
    )


def to_ordinary(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values (..., *shape) as ordinary tensors; e.g. Mandel vectors (..., 6) as (..., 3, 3)."""
    kind = _kind(shape)
    if kind is None or kind.shape == tuple(shape):
        return values.copy()
    tensor = np.zeros((*values.shape[:-1], *kind.shape))
    for k, (i, j) in enumerate(kind.entries):
        tensor[..., i, j] = values[..., k] / kind.factor((i, j))
        if kind.symmetric:
            tensor[..., j, i] = tensor[..., i, j]
    return tensor


def from_ordinary(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``to_ordinary``; takes the symmetric part where that is meant."""
    kind = _kind(shape)
    if kind is None or kind.shape == tuple(shape):
        return values
    columns = [
        values[..., i, j]
        if kind.factor((i, j)) == 1.0
        else (values[..., i, j] + values[..., j, i]) * (_R2 / 2.0)
        for i, j in kind.entries
    ]
    return np.stack(columns, axis=-1)
