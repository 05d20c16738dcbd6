"""The ``xla`` backend: ``jit(vmap(...))`` in chunks of one fixed size.

A chunk stays in the processor's cache, and one chunk shape means one compilation for all meshes,
ranks and steps; the last chunk is padded with copies of its last point.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ._point import UNIFORM, PointFunctions


class XlaFunction:
    """One task of a law's structure; counts how often it was traced.

    Parameter values, step size and batch arrays are run-time arguments. Only the structure of
    the law (its classes, static fields and parameter shapes) and the chunk size are compiled
    in.

    Attributes:
        batched: The compiled function of whole arrays, also of arrays on a GPU.
    """

    def __init__(self, functions: PointFunctions, task: str) -> None:
        self.traces = 0
        one = getattr(functions, task)

        def batch(*arguments: Any) -> Any:
            self.traces += 1
            axes = tuple(None if k in UNIFORM else 0 for k in range(len(arguments)))
            return jax.vmap(one, in_axes=axes)(*arguments)

        self.batched = jax.jit(batch)

    def chunks(
        self, points: int, size: int, arrays: Any, batch: tuple, dt: Any, *uniform: Any
    ) -> Iterator[tuple[slice, Any]]:
        """Results piece by piece: (points of the piece, arrays of at least their number).

        Args:
            points: Number of points.
            size: Points per compiled call.
            arrays: Values that are the same for all points.
            batch: (point parameters, inputs, state, then others): pytrees of (points, *shape).
            dt: Step.
            uniform: What else is the same for all points.
        """
        for start in range(0, points, size):
            piece = slice(start, min(start + size, points))
            part = jax.tree.map(lambda array, piece=piece: _padded(array, piece, size), batch)
            point, inputs, state, *others = part
            yield piece, self.batched(arrays, point, inputs, state, dt, *others, *uniform)


def _padded(array: Any, piece: slice, size: int) -> Any:
    part = array[piece]
    missing = size - len(part)
    if missing == 0:
        return part
    return np.concatenate([part, np.broadcast_to(part[-1], (missing, *part.shape[1:]))])
