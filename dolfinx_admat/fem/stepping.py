"""Adaptive load stepping, as a plain for-loop."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ConvergenceError, MaterialError
from .problem import MaterialProblem, SolveReport


@dataclasses.dataclass(frozen=True)
class LoadStep:
    """One accepted step.

    Attributes:
        index: Number of the step, from 1.
        time: Time (or load parameter) at its end.
        dt: Its size.
        report: What the solve did.
        prescribed: Whether ``time`` is one of the prescribed times.
        halvings: How often the step was halved before it converged.
    """

    index: int
    time: float
    dt: float
    report: SolveReport
    prescribed: bool
    halvings: int


class LoadStepper:
    """Solve at prescribed times, cutting steps where Newton fails.

    It is used in a plain for-loop::

        for step in LoadStepper(problem, [0.5, 1.0], load=set_load):
            print(step.time, problem.reaction(facets))

    Every prescribed time is hit exactly. A failed step is rolled back (by ``solve``) and
    halved; after an easy one the size grows again. The loop body runs after each accepted
    step; breaking out of it leaves a consistent state.

    Args:
        problem: The problem; its ``solve(dt=...)`` is called.
        times: Prescribed times, increasing, after ``start``.
        load: Called as ``load(t)`` before each attempt, to set loads and boundary values.
        start: Time of the present state.
        initial_dt: First step; default: up to the first prescribed time.
        min_dt: Smallest step; default 1e-4 of the smallest prescribed interval.
        max_dt: Largest step; default: none.
        growth: Factor on the step after an easy solve.
        easy_iterations: A solve with at most this many Newton iterations is easy.

    Raises:
        MaterialError: Times do not increase, or a size is not positive. Collective: no, but
            iterating is.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        times: Sequence[float],
        *,
        load: Callable[[float], Any] | None = None,
        start: float = 0.0,
        initial_dt: float | None = None,
        min_dt: float | None = None,
        max_dt: float | None = None,
        growth: float = 2.0,
        easy_iterations: int = 8,
    ) -> None:
        try:
            grid = np.concatenate([[start], np.atleast_1d(np.asarray(times, dtype=float))])
            gaps = np.diff(grid)
        except (TypeError, ValueError):
            gaps = np.zeros(0)
        if len(gaps) == 0 or not (np.isfinite(gaps) & (gaps > 0)).all():
            raise MaterialError(
                f"LoadStepper: times must increase and lie after start={start!r}, a finite number "
                f"or a list of them; got {times!r}"
            )
        for name, size in (("initial_dt", initial_dt), ("min_dt", min_dt), ("max_dt", max_dt)):
            if size is not None and not (isinstance(size, float | int | np.number) and size > 0):
                raise MaterialError(f"LoadStepper: {name} must be positive; got {size!r}")
        if not growth >= 1:
            raise MaterialError(f"LoadStepper: growth must be at least 1; got {growth}")
        self.problem = problem
        self.time = float(start)
        self._times = grid[1:].tolist()
        self._load = load if load is not None else lambda t: None
        self._max = max_dt if max_dt is not None else float("inf")
        self._min = min_dt if min_dt is not None else 1e-4 * float(gaps.min())
        self._dt = min(initial_dt if initial_dt is not None else float(gaps[0]), self._max)
        self._growth, self._easy = growth, easy_iterations
        self._adapted = initial_dt is not None or max_dt is not None

    def __iter__(self) -> Iterator[LoadStep]:
        """Solve step by step. Collective: yes.

        Raises:
            ConvergenceError: A step of the smallest size failed; displacement, state and load
                are those of the last accepted step, at ``error.report["time"]``.
        """
        index = 0
        for target in self._times:
            if not self._adapted:
                self._dt = max(self._dt, target - self.time)
            while self.time < target:
                index += 1
                yield self._advance(target, index)

    def _advance(self, target: float, index: int) -> LoadStep:
        halvings = 0
        while True:
            remaining = target - self.time
            # No sliver at the end: stretch the step to the target or split the rest in two.
            dt = remaining if self._dt >= 0.999 * remaining else min(self._dt, 0.5 * remaining)
            hit = dt == remaining
            time = target if hit else self.time + dt
            self._load(time)
            try:
                report = self.problem.solve(dt=dt, time=time)
            except ConvergenceError as error:
                self._load(self.time)
                if 0.5 * dt < self._min:
                    raise ConvergenceError(
                        f"LoadStepper: step from t={self.time:.6g} failed at the smallest size "
                        f"dt={dt:.3g} (min_dt={self._min:.3g}): {error}",
                        {**error.report, "time": self.time, "dt": dt},
                    ) from error
                self._dt, self._adapted = 0.5 * dt, True
                halvings += 1
                continue
            self.time = time
            if halvings == 0 and report.iterations <= self._easy:
                self._dt = min(max(self._dt, dt) * self._growth, self._max)
            return LoadStep(index, time, dt, report, hit, halvings)
