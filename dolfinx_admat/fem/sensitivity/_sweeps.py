"""Sweeps over the recorded steps, backwards with the adjoint and forwards with tangents."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConvergenceError
from ..problem import MaterialProblem
from ._adjoint import AdjointStep
from ._boundary import Boundary
from ._linear import LinearSolver
from ._slopes import owned
from ._state import ProblemState
from ._tangent import TangentStep
from ._tape import State, Tape
from ._world import World
from .controls import Coefficient, LawParameter
from .observations import Cotangents, Observer

Floats = npt.NDArray[np.float64]
Arrays = dict[str, Floats]

#: Begin of the names of unknowns at the start of a step, among the data.
PREVIOUS = "previous unknown"


def data_of(
    controls: Mapping[str, LawParameter | Coefficient], previous: Sequence[tuple[Any, int]]
) -> dict[str, Any]:
    """Functions and Constants that derivatives go through, by name. Local."""
    of_controls = {n: c.data for n, c in controls.items() if isinstance(c, Coefficient)}
    return of_controls | {f"{PREVIOUS} {i}": f for i, (f, _) in enumerate(previous)}


class Sweeps:
    """Takes a problem through its recorded steps again. Collective: yes, all methods.

    Args:
        problem: The problem.
        tape: The recorded steps.
        state: Reads and writes the state.
        world: Reads and writes loads and coefficients.
        observers: By name; attached.
        controls: By name.
        previous: Functions that hold an unknown at the start of the step, and its number.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        tape: Tape,
        state: ProblemState,
        world: World,
        observers: Mapping[str, Observer],
        controls: Mapping[str, LawParameter | Coefficient],
        previous: Sequence[tuple[Any, int]],
    ) -> None:
        self._problem, self._tape, self._state, self._world = problem, tape, state, world
        self._observers, self._controls = dict(observers), dict(controls)
        self._previous = {f"{PREVIOUS} {i}": k for i, (_, k) in enumerate(previous)}
        self._data = data_of(controls, previous)
        self._laws = {n: c for n, c in controls.items() if isinstance(c, LawParameter)}
        self._shared: list[set[str]] = [set() for _ in problem.materials]
        for control in self._laws.values():
            for material in control.materials:
                self._shared[problem.materials.index(material)] |= set(control.names)
        self._boundaries = [Boundary(u.function_space, problem.bcs) for u in problem.functions]
        self.solver = LinearSolver(problem)
        self._adjoint: AdjointStep | None = None
        self._tangent: TangentStep | None = None

    def reverse(self, cotangents: Mapping[str, Floats], own: dict[str, bool]) -> dict[str, Floats]:
        """Derivatives with respect to all controls.

        Args:
            cotangents: (steps, *shape) by observation.
            own: State variables that begin as the law's own initial state.
        """
        problem, steps = self._problem, len(self._tape.steps)
        if self._adjoint is None:
            self._adjoint = AdjointStep(
                problem, self._data, self._shared, self.solver, self._boundaries
            )
        materials = problem.materials
        states = [{n: np.zeros_like(v) for n, v in m.history.state_n.items()} for m in materials]
        carried: list[Arrays] = [{} for _ in materials]
        sums: list[Arrays] = [{} for _ in materials]
        of_data: dict[str, list[Floats]] = {name: [] for name in self._data}
        later = [np.zeros(owned(u.function_space)) for u in problem.functions]
        with self._elsewhere():
            for n in range(steps, 0, -1):
                state_n, dt = self._visit(n)
                self.solver.assemble()
                bars = self._no_cotangents(later, states)
                for name, values in cotangents.items():
                    if values[n - 1].any():
                        self._observers[name].pull(values[n - 1], bars)
                states, carried, parameters, data = self._adjoint.pull(bars, carried, state_n, dt)
                for known, found in zip(sums, parameters, strict=True):
                    for name, value in found.items():
                        known[name] = known.get(name, 0.0) + value
                later = [np.zeros_like(value) for value in later]
                for name, value in data.items():
                    if name in self._previous:
                        later[self._previous[name]] += value
                    of_data[name].append(value)
        for k in range(len(materials)):
            for name, value in self._state.pull_initial(k, states[k], own, self._shared[k]).items():
                sums[k][name] = sums[k][name] + value
        result = {}
        for name, control in self._controls.items():
            if isinstance(control, LawParameter):
                shares: Any = [sums[materials.index(m)] for m in control.materials]
                total = control.join({k: sum(s[k] for s in shares) for k in control.names})
                result[name] = problem.comm.allreduce(np.asarray(total))
            else:
                result[name] = self._of_steps(control, of_data[name][::-1])
        return result

    def forward(
        self, cases: Sequence[Mapping[str, Any]], own: dict[str, bool]
    ) -> list[dict[str, Floats]]:
        """Derivatives of all observations along several directions of the controls."""
        problem, steps = self._problem, len(self._tape.steps)
        if self._tangent is None:
            self._tangent = TangentStep(problem, self._data, self.solver, self._boundaries)
        numbers = range(len(problem.materials))
        parameters, states, inputs = [], [], []
        for case in cases:
            along: list[Arrays] = [{} for _ in numbers]
            for name, control in self._laws.items():
                for material in control.materials if name in case else []:
                    change = along[problem.materials.index(material)]
                    for leaf, value in control.split(case[name]).items():
                        change[leaf] = change.get(leaf, 0.0) + value
            parameters.append(along)
            states.append([self._state.push_initial(k, own, along[k]) for k in numbers])
            inputs.append([dict[str, Floats]() for _ in numbers])
        ends = [[np.zeros_like(u.x.array) for u in problem.functions] for _ in cases]
        results: list[dict[str, list[Floats]]] = [{n: [] for n in self._observers} for _ in cases]
        with self._elsewhere():
            for n in range(1, steps + 1):
                state_n, dt = self._visit(n)
                self.solver.assemble()
                for c, case in enumerate(cases):
                    for name, direction in self._tangent.directions.items():
                        if name in self._previous:
                            direction.x.array[:] = ends[c][self._previous[name]]
                        else:
                            self._set_direction(name, direction, case, n)
                    tangents, states[c], inputs[c] = self._tangent.push(
                        parameters[c], states[c], inputs[c], state_n, dt
                    )
                    for name, observer in self._observers.items():
                        results[c][name].append(observer.push(tangents))
                    if self._previous:
                        ends[c] = [du.x.array.copy() for du in self._tangent.du]
        return [{name: np.array(rows) for name, rows in found.items()} for found in results]

    # -- internal -------------------------------------------------------------------------

    def _visit(self, n: int) -> tuple[list[Arrays], float]:
        """Stand at the end of step n, with all tangents; the state at its start, and its size."""
        state = self._tape.state(n - 1, self._advance)
        dt = self._update(n, state, tangent=True)
        return self._state.by_material(state), dt

    def _advance(self, n: int, state: State) -> State:
        """State at the end of step n, from that at its start."""
        self._update(n, state, tangent=False)
        return {name: value.copy() for name, value in self._state.read(trial=True).items()}

    def _update(self, n: int, state: State, *, tangent: bool) -> float:
        problem, step = self._problem, self._tape.steps[n - 1]
        self._world.restore(step.world)
        for f, value in zip(problem.functions, step.u, strict=True):
            f.x.array[:] = value
        self._state.write(state)
        for material in problem.materials:
            report = material.update(step.dt, tangent=tangent, on_failure="report")
            if report.failed:
                raise ConvergenceError(f"Recording: step {n} again: {report.message}", {})
        return float("nan") if step.dt is None else float(step.dt)

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Come back to where the problem stands, whatever happens."""
        problem = self._problem
        u = [f.x.array.copy() for f in problem.functions]
        state = {name: value.copy() for name, value in self._state.read().items()}
        trial, world = self._state.trial(), self._world.save()
        try:
            yield
        finally:
            self._world.restore(world)
            for f, value in zip(problem.functions, u, strict=True):
                f.x.array[:] = value
            self._state.write(state)
            self._state.write_trial(trial)
            self.solver.finish()

    def _no_cotangents(self, u: list[Floats], states: list[Arrays]) -> Cotangents:
        """Those of later steps, and zero."""
        problem = self._problem
        return Cotangents(
            u,
            [np.zeros_like(values) for values in u],
            [
                {n: np.zeros_like(b) for n, b in m.history.buffers.items()}
                for m in problem.materials
            ],
            states,
            {
                name: np.zeros(np.shape(d.value))
                if hasattr(d, "value")
                else np.zeros(owned(d.function_space))
                for name, d in self._data.items()
            },
        )

    def _of_steps(self, control: Coefficient, values: list[Floats]) -> Floats:
        if not control.per_step:
            values = [np.asarray(sum(values[1:], values[0]))]
        rows = [value if control.constant else control.gather(value) for value in values]
        return np.array(rows) if control.per_step else rows[0]

    def _set_direction(self, name: str, direction: Any, case: Mapping[str, Any], n: int) -> None:
        control: Any = self._controls[name]
        if name not in case:
            value = np.zeros(control.shape)
        else:
            value = np.asarray(case[name], float)
            value = value[n - 1] if control.per_step else value
        control.write(value, direction)
