"""The arrays that a caller hands to a batch kernel, and what is wrong with them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError

Floats = npt.NDArray[np.float64]


def aligned_zeros(shape: tuple[int, ...]) -> Floats:
    """Zeros that begin at a cache line, where kernels may write past the caches."""
    size = int(np.prod(shape))
    raw = np.zeros(size + 8)
    first = (-raw.__array_interface__["data"][0] // 8) % 8
    return raw[first : first + size].reshape(shape)


class StatusBuffers(NamedTuple):
    """Per-point status of a batch; see ``LocalResult``.

    Attributes:
        code: int32 (points,).
        iterations: int32 (points,).
        residual: float64 (points,).
        active: bool (points,).
    """

    code: npt.NDArray[np.int32]
    iterations: npt.NDArray[np.int32]
    residual: Floats
    active: npt.NDArray[np.bool_]

    @classmethod
    def allocate(cls, points: int) -> "StatusBuffers":
        """Buffers that say "converged" for ``points`` points."""
        return cls(*(np.zeros(points, kind) for kind in _STATUS_KINDS))


_STATUS_KINDS: tuple[type, ...] = (np.int32, np.int32, np.float64, np.bool_)


def check_status(law: str, status: StatusBuffers, points: int) -> tuple[npt.NDArray[Any], ...]:
    """The buffers of the status, after a check of their shapes and types.

    Raises:
        MaterialError: They do not fit.
    """
    reports: tuple[npt.NDArray[Any], ...] = status
    for field, array, kind in zip(status._fields, reports, _STATUS_KINDS, strict=True):
        if array.shape != (points,) or array.dtype != kind or not array.flags.c_contiguous:
            raise MaterialError(
                f"{law}: status '{field}' must be a contiguous {kind.__name__} array of shape "
                f"{(points,)}; got {array.dtype} of shape {array.shape}"
            )
    return reports


def check_arrays(
    law: str,
    what: str,
    given: dict,
    shapes: dict,
    points: int | None,
    *,
    all_of_them: bool,
    points_first: bool = True,
) -> None:
    """Check names, dtype and shapes of ``given``.

    Args:
        law: Name of the law.
        what: What the arrays are, for the message.
        given: Arrays by name.
        shapes: Expected shapes of one point.
        points: Number of points; None leaves the number of rows open.
        all_of_them: Every name must be there.
        points_first: The arrays have a row for each point.

    Raises:
        MaterialError: They do not fit.
    """
    if set(given) - set(shapes) or (all_of_them and set(given) != set(shapes)):
        raise MaterialError(f"{law}: {what} are {sorted(given)}, expected {sorted(shapes)}")
    for name, array in given.items():
        dtype, shape = getattr(array, "dtype", type(array).__name__), np.shape(array)
        full = shapes[name]
        if points_first:
            full = (shape[0] if points is None and shape else points, *full)
        if dtype != np.float64 or shape != full:
            raise MaterialError(
                f"{law}: {what} '{name}' must be a float64 array of shape {full}; "
                f"got {dtype} of shape {shape}"
            )
