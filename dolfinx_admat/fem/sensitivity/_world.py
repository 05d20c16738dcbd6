"""What a step reads besides the unknowns and the state: loads, boundary values, coefficients."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ufl.algorithms import extract_coefficients
from ufl.algorithms.analysis import extract_constants

Floats = npt.NDArray[np.float64]
Saved = tuple[Floats, ...]


class World:
    """Values that forms, inputs, parameters and Dirichlet conditions read. All methods are local.

    Args:
        symbols: UFL forms and expressions.
        bcs: Dirichlet conditions.
        unknowns: Functions that are no part of it: unknowns, outputs, state, tangents.
    """

    def __init__(self, symbols: Iterable[Any], bcs: Sequence[Any], unknowns: Iterable[Any]) -> None:
        self._things: list[Any] = []  # C++ objects, each once
        own = {id(f._cpp_object) for f in unknowns}
        found = []
        for symbol in symbols:
            found += [f._cpp_object for f in extract_coefficients(symbol)]
            found += [c._cpp_object for c in extract_constants(symbol)]
        found += [bc.g for bc in bcs]
        for thing in found:
            if id(thing) not in own:
                own.add(id(thing))
                self._things.append(thing)

    def functions(self) -> list[Any]:
        """C++ objects of all Functions, but not of Constants."""
        return [thing for thing in self._things if hasattr(thing, "x")]

    def index(self, thing: Any) -> int | None:
        """Where the values of a Function or Constant are in what ``save`` returns."""
        same = [k for k, known in enumerate(self._things) if known is thing._cpp_object]
        return same[0] if same else None

    def _arrays(self) -> list[Floats]:
        return [thing.x.array if hasattr(thing, "x") else thing.value for thing in self._things]

    def save(self, last: Saved | None = None) -> Saved:
        """Values now; those that have not changed since ``last`` are kept only once."""
        now = self._arrays()
        if last is None:
            return tuple(np.array(array) for array in now)
        return tuple(
            old if np.array_equal(old, array) else np.array(array)
            for old, array in zip(last, now, strict=True)
        )

    def restore(self, saved: Saved) -> None:
        """Put values back."""
        for array, value in zip(self._arrays(), saved, strict=True):
            np.copyto(array, value)
