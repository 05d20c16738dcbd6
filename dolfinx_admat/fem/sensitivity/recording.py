"""A recorded run of load steps, and its derivatives: forward and reverse."""

from collections.abc import Mapping
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from ...errors import MaterialError
from .._collective import collectively
from ..problem import MaterialProblem
from ._derivatives import Derivatives
from ._state import ProblemState
from ._sweeps import Sweeps, data_of
from ._tape import Step, Tape
from ._watch import Watch
from ._world import World
from .controls import Coefficient, LawParameter
from .observations import Observer

Floats = npt.NDArray[np.float64]


class Recording(Derivatives):
    """Records the committed steps of a problem and differentiates what was observed of them.

    It is used around the loop of load steps, from the state in which the problem stands then::

        recording = Recording(problem, observe={"force": Reaction(facets)},
                              controls={"Q": LawParameter(law, "hardening.Q")})
        with recording:
            for step in LoadStepper(problem, times, load=load):
                pass
        value, gradient = recording.gradient(lambda o: jnp.sum((o["force"] - measured) ** 2))

    The sequence of steps, sub-steps included, is frozen: derivatives are those of the discrete
    problem with these steps (discrete adjoint; e.g. Michaleris, Tortorelli and Vidal, 1994).
    Loads and coefficients may change from step to step. Points that are elastic or plastic stay
    so: at a change of branch the derivative is one-sided.

    Args:
        problem: The problem.
        observe: What is observed at the end of each step, by name.
        controls: What can be differentiated with respect to, by name.
        store: Where states at the start of the steps are kept: ``"memory"``, ``"disk"``, or
            ``"checkpoints"``: every so many steps in memory, those between are computed again
            (local updates only, no solves).
        previous: ``{u_old: u}``: Functions that hold an unknown at the start of the step, as your
            loop copies it after each step (the temperature in a rate, say). Other quantities that
            the loop computes from the solution and that the next step reads (velocities and
            accelerations of a time integration, fields of a staggered scheme) cannot be
            followed: derivatives take them as given.
        every: Distance of checkpoints, in steps.
        folder: Where ``"disk"`` keeps its files; they are deleted with the recording.
        progress: Print what it needs, on rank 0.

    Attributes:
        steps: Number of recorded steps.
        observed: Observations, (steps, *shape) by name; the same on all ranks.
        times: Time at the end of each step; NaN where ``solve`` was not told.
        solver: Linear solver, with counts of its solves and factorisations.

    Raises:
        MaterialError: Unknown observers, controls or store. Collective: yes, as is everything
            here unless it says no.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        *,
        observe: Mapping[str, Observer],
        controls: Mapping[str, LawParameter | Coefficient],
        previous: Mapping[Any, Any] | None = None,
        store: str = "memory",
        every: int = 10,
        folder: str | None = None,
        progress: bool = True,
    ) -> None:
        self.problem, self.observers, self.controls = problem, dict(observe), dict(controls)
        self.comm = problem.comm
        self._progress = progress
        with collectively(self.comm):
            if problem.solver.getKSP().getType() is None:
                raise MaterialError("Recording: the problem has no linear solver")
            if not self.observers:
                raise MaterialError("Recording: observe is empty; name at least one observation")
            for name, observer in self.observers.items():
                if not hasattr(observer, "attach"):
                    raise MaterialError(
                        f"Recording: '{name}' in observe must be a Reaction, an Integral or "
                        f"PointDisplacements; got {type(observer).__name__}"
                    )
            self._tape = Tape(store, every, folder, self.comm.rank)
            self._check_controls()
        previous = dict(previous or {})
        of_controls = data_of(self.controls, ())
        numbered = [(f, k) for k, f in enumerate(previous)]
        for observer in self.observers.values():
            observer.attach(problem, data_of(self.controls, numbered))
        self._world = self._everything_read()
        with collectively(self.comm):
            for name, data in of_controls.items():
                if self._world.index(data) is None:
                    raise MaterialError(
                        f"Recording: the control '{name}' is not read: it stands in no form, "
                        "input, parameter, observation or Dirichlet condition of the problem"
                    )
        self._state = ProblemState(problem)
        given = [*of_controls.values()]
        self._watch = Watch(problem, self._state, self._world, previous, given)
        self._sweeps = Sweeps(
            problem,
            self._tape,
            self._state,
            self._world,
            self.observers,
            self.controls,
            self._watch.previous,
        )
        self.solver = self._sweeps.solver
        self._start: tuple[Any, ...] | None = None
        self._running, self._failed = False, ""
        self._values: dict[str, list[Floats]] = {name: [] for name in self.observers}
        self._say_memory()

    # -- recording ------------------------------------------------------------------------

    def __enter__(self) -> "Recording":
        """Begin to record from the present state; what was recorded before is forgotten."""
        problem = self.problem
        with collectively(self.comm):
            if self._running:
                raise MaterialError("Recording: it is recording already")
        state = {name: value.copy() for name, value in self._state.read().items()}
        own = {
            name: self.comm.allreduce(int(np.array_equal(value, state[name]))) == self.comm.size
            for name, value in self._state.of_laws().items()
        }
        u = [f.x.array.copy() for f in problem.functions]
        outputs = [{n: b.copy() for n, b in m.history.outputs_n.items()} for m in problem.materials]
        self._laws = [m.material for m in problem.materials]
        self._start = u, state, own, outputs, self._world.save()
        self._values = {name: [] for name in self.observers}
        self._watch.begin(state)
        with collectively(self.comm):
            self._tape.begin(state)
        problem.newton.forget()  # so that ``restart`` gives the same run again
        self._running, self._failed = True, ""
        problem.listeners.append(self._record)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Stop recording. After an exception the recorded steps cannot be differentiated."""
        self.problem.listeners.remove(self._record)
        self._running = False
        if kind is not None:
            self._failed = kind.__name__

    def restart(self) -> None:
        """Go back to where the recording began; parameters keep their present values.

        State variables that were the law's own ``initial_state()`` are so again, for the
        present parameters. Loads and boundary values are those of the beginning, except
        controls.

        Raises:
            MaterialError: Nothing was recorded yet.
        """
        with collectively(self.comm):
            if self._start is None or self._running:
                raise MaterialError("Recording: restart needs a recording that is finished")
        u, state, own, outputs, world = self._start
        kept = {
            name: control.get()
            for name, control in self.controls.items()
            if isinstance(control, Coefficient) and not control.per_step
        }
        self._world.restore(world)
        for name, value in kept.items():
            self.controls[name].set(value)
        of_laws = self._state.of_laws()
        self._state.write({n: of_laws[n] if own.get(n) else v for n, v in state.items()})
        for f, value in zip(self.problem.functions, u, strict=True):
            f.x.array[:] = value
        for material, buffers in zip(self.problem.materials, outputs, strict=True):
            material.history.outputs_n = {name: value.copy() for name, value in buffers.items()}
        self.problem.revert()
        self.problem.newton.forget()

    @property
    def started(self) -> bool:
        """Whether something was recorded, be it a failure. Local."""
        return self._start is not None

    @property
    def times(self) -> Floats:
        """Time at the end of each step; NaN where ``solve`` was not told. Local."""
        return np.array([np.nan if s.time is None else s.time for s in self._tape.steps])

    def rows(self, times: Any) -> npt.NDArray[np.int64]:
        """Numbers of the steps that end at given times. Local.

        Raises:
            MaterialError: No step ends there.
        """
        wanted, known = np.atleast_1d(np.asarray(times, float)), self.times
        scale = np.nanmax(np.abs(known), initial=0.0)
        hits = np.abs(known[None, :] - wanted[:, None]) <= 1e-12 * scale
        if not hits.any(axis=1).all():
            raise MaterialError(
                f"Recording: no step ends at t={wanted[~hits.any(axis=1)].tolist()}; steps end at "
                f"{known.tolist()}"
            )
        return hits.argmax(axis=1)

    def memory(self, steps: int) -> float:
        """Megabytes that a number of steps needs on this rank, in memory or on disk. Local."""
        states = sum(v.nbytes for v in self._state.read().values())
        kept = 1 + steps // self._tape.every
        u = sum(f.x.array.nbytes for f in self.problem.functions)
        return (states * kept + u * steps) / 1e6

    # -- internal -------------------------------------------------------------------------

    def _record(self) -> None:
        """Called before each commit, at the converged step."""
        problem = self.problem
        state = self._watch.step()
        seen = {name: np.asarray(o.observe(), float) for name, o in self.observers.items()}
        last = self._tape.steps[-1] if self._tape.steps else None
        world = self._world.save(None if last is None else last.world)
        u = [f.x.array.copy() for f in problem.functions]
        with collectively(self.comm):
            self._tape.add(Step(problem.materials[0].dt, problem.time, u, world))
            if self._tape.wants_state():
                self._tape.add_state(state)
        for name, value in seen.items():
            self._values[name].append(value)

    def _everything_read(self) -> World:
        problem = self.problem
        symbols: list[Any] = list(problem.forms)
        unknowns: list[Any] = list(problem.functions)
        for material in problem.materials:
            symbols += material.input_vectors.values()
            fields = material.evaluation.parameter_fields.values()
            symbols += [field.symbol for field in fields if field.symbol is not None]
            unknowns += [*material.functions(), *material.tangents.functions()]
        for observer in self.observers.values():
            symbols += observer.symbols()
        return World(symbols, problem.bcs, unknowns)

    def _check_controls(self) -> None:
        for name, control in self.controls.items():
            if not isinstance(control, LawParameter | Coefficient):
                raise MaterialError(
                    f"Recording: control '{name}' must be a LawParameter, a Coefficient or "
                    f"RegionValues; got {type(control).__name__}"
                )
            for material in getattr(control, "materials", []):
                if material not in self.problem.materials:
                    raise MaterialError(
                        f"Recording: the control '{name}' belongs to {material.name}, which is no "
                        "material of the problem"
                    )

    def _say_memory(self) -> None:
        most = self.comm.allreduce(self.memory(100), op=MPI.MAX)
        if self._progress:
            where = "on disk" if self._tape.store == "disk" else "in memory"
            self.problem.progress.say(
                f"admat: recording for sensitivities: {most:.1f} MB {where} per 100 steps and rank"
            )
