"""A function of one point as compiled C over a batch."""

import ctypes
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dolfinx_admat import compilation
from dolfinx_admat.errors import AdmatError

from ._closed import closed_forms
from ._generate import LINES, Argument, Result, c_source
from ._program import Program, Unsupported, flatten

Floats = npt.NDArray[np.float64]
_POINTER = ctypes.c_void_p
# A call of C is not interrupted: Ctrl-C waits for as many points at most.
_PIECE = 65536
# Long straight code: scheduling before registers are given out is worth 5 % (7 unknowns).
_FLAGS = ("-fschedule-insns", "-fsched-pressure")


class NativeFunction:
    """C code of ``function(*arguments) -> results``, leaf by leaf.

    Args:
        name: Short name for files and messages.
        function: Of one point; takes and returns pytrees.
        arguments: Example of the arguments (shapes matter).
        per_point: For each leaf of the arguments, whether it varies from point to point.
        kinds: For each leaf of the results, where it goes; see ``Result``.
        samples: For each leaf of the arguments, plausible values (s, *shape), by which the order
            of pivots is chosen; asked for only when code is generated.
        patient: Accept code that takes long to compile.

    Raises:
        Unsupported: Something is not translated; found here as far as it can be cheaply.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        arguments: tuple,
        per_point: Sequence[bool],
        kinds: Callable[[Any], list[str]],
        samples: Callable[[], list[Any]],
        *,
        patient: bool = False,
    ) -> None:
        self.name = name
        self.traces = 1
        with closed_forms():
            traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        with _of_the_generator():
            self._program: Program | None = flatten(traced)
        self._arguments = [
            Argument(tuple(np.shape(leaf)), varies)
            for leaf, varies in zip(jax.tree.leaves(arguments), per_point, strict=True)
        ]
        leaves = jax.tree.leaves(shapes)
        self._results = [
            Result(tuple(leaf.shape), kind)
            for leaf, kind in zip(leaves, kinds(shapes), strict=True)
        ]
        self._samples, self.patient = samples, patient
        self.key = "\n".join(
            (self._program.fingerprint(), repr(self._arguments), repr(self._results), _generator())
        )
        self._kernel: Any = None
        self._pointers = len(self._arguments), len(self._results)

    @property
    def cached(self) -> bool:
        """Whether loading needs no compiler."""
        return compilation.cached(self.name, self.key, _FLAGS)

    def source(self) -> str:
        """The C source.

        Raises:
            Unsupported: Something is not translated, or the code would be too long.
        """
        assert self._program is not None
        given = [
            Argument(argument.shape, argument.per_point, samples)
            for argument, samples in zip(self._arguments, self._samples(), strict=True)
        ]
        with _of_the_generator():
            lines = LINES * (5 if self.patient else 1)
            return c_source(self._program, given, self._results, lines)

    def load(self) -> None:
        """Build or load the code now.

        Raises:
            Unsupported: Something is not translated.
            BuildError: No compiler, and not in the cache.
        """
        if self._kernel is None:
            library = compilation.load(self.name, self.key, self.source, flags=_FLAGS)
            self._kernel = library.admat_kernel
            self._kernel.restype = None
            self._kernel.argtypes = [ctypes.c_long, *[_POINTER] * 8]
            self._program = None  # large, and of no more use

    def __call__(
        self,
        points: int,
        uniform: Floats,
        inputs: list[Floats],
        results: list[Floats | None],
        rows: npt.NDArray[np.int64] | None,
        status: Sequence[npt.NDArray[Any] | None],
    ) -> None:
        """Run over a batch; all arrays are C-contiguous and of the right size (not checked).

        Args:
            points: Number of points.
            uniform: Values of all leaves that do not vary, one after the other.
            inputs: Arrays of the leaves that vary; (points, *shape).
            results: Buffer of each leaf of the results, None where it is not wanted.
            rows: Row of each point in the results of kind "row"; None: the same.
            status: Buffers of code, iterations, residual, active.
        """
        self.load()
        varying = [argument.shape for argument in self._arguments if argument.per_point]
        for start in range(0, points, _PIECE):
            given = [_address(a, start, shape) for a, shape in zip(inputs, varying, strict=True)]
            wanted = [
                _address(array, self._offset(result, start, rows), result.shape)
                for array, result in zip(results, self._results, strict=True)
            ]
            self._kernel(
                min(_PIECE, points - start),
                (_POINTER * max(1, len(given)))(*given),
                (_POINTER * max(1, len(wanted)))(*wanted),
                _address(uniform),
                _address(rows, start),
                *(_address(array, start) for array in status),
            )

    @staticmethod
    def _offset(result: Result, start: int, rows: Any) -> int:
        anywhere = result.kind == "sum" or (result.kind == "row" and rows is not None)
        return 0 if anywhere else start


@contextmanager
def _of_the_generator() -> Iterator[None]:
    """Here a mistake is ours, e.g. about a primitive that JAX has changed: no C, but no crash."""
    try:
        yield
    except (AdmatError, jax.errors.UnexpectedTracerError):
        raise
    except Exception as error:
        raise Unsupported(
            f"this law: the code generator failed ({type(error).__name__}: {error})"
        ) from error


def _address(
    array: npt.NDArray[Any] | None, first: int = 0, shape: tuple[int, ...] = ()
) -> int | None:
    """Address of row ``first`` of an array of rows of a shape."""
    if array is None:
        return None
    # Several times faster than array.ctypes.data.
    address = array.__array_interface__["data"][0]
    return address + first * array.itemsize * math.prod(shape)


@functools.cache
def _generator() -> str:
    """Digest of the generator itself: its code decides what it generates."""
    digest = hashlib.sha256()
    for item in sorted(resources.files(__package__).iterdir(), key=lambda item: item.name):
        if item.name.endswith((".py", ".h")):
            digest.update(item.read_bytes())
    return digest.hexdigest()
