"""The codes that are compared: each makes ``Run`` objects for a law and a batch of points."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """A prepared computation.

    Attributes:
        call: Do it once, from inputs in memory to results in memory.
        results: What the last call computed: (outputs, tangents), each a dict of arrays;
            outputs by name, tangents by (output, input).
        updates: Point updates per call.
    """

    call: Callable[[], Any]
    results: Callable[[], tuple[dict, dict]]
    updates: int


class Failed(Exception):
    """A code cannot do what is asked of it, with the reason."""


def aligned(shape, dtype=np.float64):
    """A zeroed array on a 64-byte boundary, its pages touched."""
    size = int(np.prod(shape))
    buffer = np.zeros(size * 8 + 64, np.uint8)
    buffer[:] = 0
    start = -buffer.ctypes.data % 64
    return buffer[start : start + 8 * size].view(dtype).reshape(shape)
