"""Ends a script that only runs to fill the caches, where nothing new would be compiled."""

import functools
import weakref
from typing import Any

from .. import _runtime
from .problem import MaterialProblem


def stop_at_second_solve() -> None:
    """From now on, solving any problem for the second time ends the script. Collective: no."""
    original, solved = MaterialProblem.solve, weakref.WeakSet[MaterialProblem]()

    @functools.wraps(original)
    def solve(problem: MaterialProblem, *args: Any, **options: Any) -> Any:
        if problem in solved:
            raise _runtime.SecondSolve
        report = original(problem, *args, **options)
        solved.add(problem)
        return report

    MaterialProblem.solve = solve  # type: ignore[method-assign, assignment]
