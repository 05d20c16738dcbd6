"""The material-point driver: any law along a path with mixed control, many specimens at once."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.implicit import LocalStatus
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, at_rest, named_leaves, require_float64
from dolfinx_admat.materials.parameters import check_parameters, replace_parameters

from ._batch import Batch, pick, put
from ._components import components_of, unknown
from ._control import CAUCHY, CONJUGATE, IMPOSED, Controlled
from ._plan import Handle, Plan, count_specimens, path_sizes
from .path import Path
from .result import DriveResult

Floats = npt.NDArray[np.float64]
#: Duration of what happens at once, relative to the first step.
AT_ONCE = 1e-9


def drive(
    law: Material,
    path: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    initial_state: Mapping[str, Any] | None = None,
    initial_stress: Mapping[str, Any] | None = None,
    specimens: int | None = None,
    max_bisections: int = 8,
    on_failure: Literal["raise", "keep"] = "raise",
    backend: str = "auto",
) -> DriveResult:
    """Take specimens of a law along a path.

    A step that fails is divided in halves, again and again up to ``max_bisections`` times, for
    the specimens that need it only; a step that fails all the same never advances the state. The
    result of a specimen does not depend on the others.

    Args:
        law: Any law, also a wrapped one.
        path: What is imposed; values may be arrays, one per specimen.
        parameters: Other values of the law's parameters, by dotted name, e.g.
            ``{"E": [200e3, 210e3], "hardening.sigma_y": 250.0}``; an array with one more axis is
            one value per specimen.
        initial_state: State variables that differ from the law's initial state, by name; with
            one more axis: one value per specimen.
        initial_stress: Components of the stress at zero strain, e.g. ``{"stress_xx": -100.0}``,
            for laws with a strain; components that the path does not name keep it.
        specimens: Number of specimens; None: as many as there are values.
        max_bisections: How often a step may be halved.
        on_failure: "raise", or "keep" the other specimens: the one that failed is NaN from there
            on, and ``DriveResult.status`` says why.
        backend: Of the kernel, see ``BatchKernel``.

    Returns:
        Everything at time zero and after each step.

    Raises:
        MaterialError: The path, a parameter or a state does not fit the law.
        ConvergenceError: A specimen failed; ``report`` has its number, step, time and targets,
            and under "worst" what is needed to evaluate that one step again.
    """
    require_float64()
    if on_failure not in ("raise", "keep"):
        raise MaterialError(f"drive: on_failure must be 'raise' or 'keep'; got {on_failure!r}")
    if not path.segments:
        raise MaterialError("drive: the path has no segments; add one, e.g. Path().ramp(...)")
    run = _Run(law, path, parameters or {}, initial_state or {}, initial_stress or {}, specimens)
    return run.execute(max_bisections, on_failure, backend)


class _Run:
    """A path being driven: arrays of all specimens at t_n, and the record."""

    def __init__(
        self,
        law: Material,
        path: Path,
        parameters: Mapping[str, Any],
        initial_state: Mapping[str, Any],
        initial_stress: Mapping[str, Any],
        specimens: int | None,
    ) -> None:
        self.law, self.path, self.label = law, path, type(law).__name__
        known = named_leaves(eqx.filter(law, eqx.is_array))
        # A state that is no dict is put under "law" by the controlled law.
        initial = as_numbers(law.initial_state())
        prefix = "" if isinstance(initial, dict) else "law"
        self.kept = {name: ".".join(filter(None, (prefix, name))) for name in named_leaves(initial)}
        states = named_leaves(initial)
        sizes = path_sizes(path)
        values = _per_specimen(f"{self.label}: parameters", parameters, known, sizes)
        first = _per_specimen(f"{self.label}: initial_state", initial_state, states, sizes)
        sizes |= {k: len(v) for k, v in initial_stress.items() if np.ndim(v) == 1}
        if specimens is not None:
            sizes["specimens"] = specimens
        count = count_specimens(sizes)
        self.n, self.single = count or 1, count is None
        check_parameters(law, values)
        self.parameters = {
            f"law.{k}": _spread(v, np.shape(known[k]), self.n) for k, v in values.items()
        }
        self.given_parameters = values
        self.controlled = Controlled(law)
        self.first_state = {
            self.kept[k]: _spread(v, np.shape(states[k]), self.n) for k, v in first.items()
        }
        free = self._stress(initial_stress)
        self.initial_stress = free
        self.plan = Plan(law, path, self.n, {"strain": free} if initial_stress else {})

    def _stress(self, given: Mapping[str, Any]) -> Floats:
        """initial_stress as the law stores it; (specimens, size)."""
        if not given:
            return np.zeros((self.n, 0))
        if "strain" not in self.law.inputs or "stress" not in self.law.outputs:
            raise MaterialError(f"{self.label}: initial_stress needs a law with strain and stress")
        shape = self.law.outputs["stress"]
        known = components_of("stress", shape)
        stress = np.zeros((self.n, int(np.prod(shape))))
        for name, value in given.items():
            if name not in known:
                raise MaterialError(unknown(f"{self.label}: initial_stress", name, known))
            stress[:, known[name].position] = np.asarray(value, float) * known[name].factor
        return stress

    def execute(self, bisections: int, on_failure: str, backend: str) -> DriveResult:
        """Drive all segments."""
        kernel = BatchKernel(
            self.controlled,
            point_parameters=tuple(self.parameters),
            chunk_size=min(2048, 1 << (self.n - 1).bit_length()),
            backend=backend,
        )
        self.batch = Batch(kernel, self.parameters, bisections)
        self.state = self._initial_state(kernel) | self.first_state
        self.alive = np.arange(self.n)
        self._allocate()
        self._begin(on_failure)
        step = 0
        for number, segment in enumerate(self.path.segments, start=1):
            at = step
            sequence = self.plan.steps(segment, number, lambda h, at=at: self._reached(h, at))
            durations = np.diff(np.array([0.0, *segment.fractions]))
            start = self.times[:, step].copy()
            total = self.plan.duration(segment, number, sequence)
            for k, fraction in enumerate(durations):
                step += 1
                self.times[:, step] = start + segment.fractions[k] * total
                self._step(step, sequence[k], sequence[k + 1], fraction * total, on_failure)
        return DriveResult(
            law=self.law,
            times=self.times,
            inputs=self.inputs,
            outputs=self.outputs,
            states=self.states,
            status=self.status,
            iterations=self.iterations,
            substeps=self.substeps,
            parameters=self.given_parameters,
            single=self.single,
            taken=tuple(self.taken),
            start_state=self.start_state,
        )

    def _initial_state(self, kernel: BatchKernel) -> dict[str, Floats]:
        """Of each specimen, as it may depend on parameters."""
        if not self.parameters:
            return kernel.initial_state(self.n)

        def of_one(values: dict[str, jax.Array]) -> dict[str, jax.Array]:
            law = replace_parameters(self.controlled, values)
            return named_leaves(as_numbers(law.initial_state()))

        found = jax.vmap(of_one)({k: jnp.asarray(v) for k, v in self.parameters.items()})
        return {name: np.array(value, order="C") for name, value in found.items()}

    def _allocate(self) -> None:
        n, steps = self.n, self.path.steps + 1
        nan = lambda shape: np.full((n, steps, *shape), np.nan)  # noqa: E731
        self.times = np.zeros((n, steps))
        self.inputs = {k: nan(tuple(s)) for k, s in self.law.inputs.items()}
        self.outputs = {k: nan(tuple(s)) for k, s in self.law.outputs.items()}
        shapes = {k: np.shape(self.state[v])[1:] for k, v in self.kept.items()}
        self.states = {k: nan(s) for k, s in shapes.items()}
        self.status = np.zeros((n, steps), np.int32)
        self.iterations = np.zeros((n, steps), np.int32)
        self.substeps = np.zeros((n, steps), np.int32)
        self.taken: list[Any] = []

    def _begin(self, on_failure: str) -> None:
        """Time zero: the initial stress and the start values, at once."""
        plan, rows = self.plan, np.arange(self.n)
        first = self.path.segments[0]
        scale = 1.0 if first.time is None else first.time
        dt = np.array(np.broadcast_to(AT_ONCE * first.fractions[0] * scale, (self.n,)), float)
        rest = {k: v.copy() for k, v in plan.targets.items()}
        for name in plan.pairs:
            rest[name][:] = np.ravel(at_rest(name, self.law.inputs[name]))
        if self.initial_stress.size:
            self._reach_initial_stress(rows, rest, dt)
        moves = plan.begin()
        if moves:
            controls, targets = plan.controls, plan.targets
        else:  # evaluated without consequences, for the record
            controls = {k: np.full_like(v, IMPOSED) for k, v in plan.controls.items()}
            targets = {**plan.targets, **{name: rest[name] for name in plan.pairs}}
        targets = {k: v.copy() for k, v in targets.items()}
        found = self.batch.attempt(rows, self.state, targets, controls, dt)
        failed = found["code"] != 0
        if moves:
            if failed.any() and on_failure == "raise":
                raise self._error(0, rows[failed].tolist(), pick(found, failed))
            self.state = found["state"]
            self.alive, self.status[:, 0] = rows[~failed], found["code"]
        for value in found["outputs"].values():
            value[failed] = np.nan
        # What is not the law's own initial state, which may depend on its parameters.
        kept = self.state if moves or plan.offset else self.first_state
        self.start_state = {k: self.state[k].copy() for k in kept}
        self._record(0, rows, {**found, "state": self.state}, targets, controls)

    def _reach_initial_stress(self, rows: Any, rest: dict[str, Floats], dt: Floats) -> None:
        """The strain at which the law returns the initial stress is where strains begin."""
        plan = self.plan
        controls = {k: np.full_like(v, IMPOSED) for k, v in plan.controls.items()}
        controls["strain"][:] = CONJUGATE
        targets = {**rest, "strain": self.initial_stress}
        found = self.batch.attempt(rows, self.state, targets, controls, dt)
        self._check_initial_stress(found)
        offset = found["state"]["strain (controlled)"]
        self.state["strain (controlled)"] = offset.copy()
        rest["strain"] = offset.reshape(self.n, -1)
        plan.set_offset("strain", rest["strain"])

    def _check_initial_stress(self, found: Any) -> None:
        wrong = found["code"] != 0
        for name in self.kept.values():
            change = np.abs(found["state"][name] - self.state[name]).reshape(self.n, -1)
            wrong = wrong | ~(change.max(axis=1, initial=0.0) <= 1e-12)
        if wrong.any():
            raise MaterialError(
                f"{self.label}: initial_stress is not admissible for specimen "
                f"{int(np.argmax(wrong))}: it is not reached without a change of the state "
                "(it lies outside the yield surface, or the state follows the strain: then use "
                "initial_state)"
            )

    def _step(self, step: int, begin: dict, end: dict, dt: Floats, on_failure: str) -> None:
        if not self.alive.size:
            self.status[:, step] = self.status[:, step - 1]
            return
        rows, controls = self.alive, self.plan.controls
        self.batch.taken = []
        found = self.batch.step(
            rows, pick(self.state, rows), pick(begin, rows), pick(end, rows), controls, dt[rows]
        )
        failed = found["code"] != 0
        if failed.any() and on_failure == "raise":
            raise self._error(step, rows[failed].tolist(), pick(found, failed))
        good = rows[~failed]
        won = pick(found, ~failed)
        put(self.state, good, won["state"])
        self.status[:, step] = self.status[:, step - 1]  # of those that failed before
        self.status[rows, step] = found["code"]
        self._record(step, good, won, pick(end, good), controls)
        self.iterations[rows, step] = found["iterations"]
        self.substeps[rows, step] = found["substeps"]
        self.taken.append(self.batch.taken)
        self.alive = good

    def _record(self, step: int, rows: Any, found: Any, targets: Any, controls: Any) -> None:
        for name, record in self.inputs.items():
            value = targets[name]
            if name in self.plan.pairs:
                solved = found["state"][f"{name} (controlled)"].reshape(value.shape)
                value = np.where(controls[name] > 0, solved, value)
            if name in self.plan.offset:
                value = value - self.plan.offset[name][rows]
            record[rows, step] = value.reshape(len(rows), *record.shape[2:])
        for name, record in self.outputs.items():
            record[rows, step] = found["outputs"][name]
        for name, own in self.kept.items():
            self.states[name][rows, step] = found["state"][own]

    def _reached(self, handle: Handle, step: int) -> Floats:
        """Value of a controlled quantity after a step; (specimens,), as the law stores it."""
        name = handle.variable
        if handle.control == IMPOSED:
            value = self.inputs[name][:, step].reshape(self.n, -1)
            if name in self.plan.offset:
                value = value + self.plan.offset[name]
        else:
            value = self.outputs[self.plan.pairs[name]][:, step]
            if handle.control >= CAUCHY:
                F = self.inputs[name][:, step]
                value = value @ F.transpose(0, 2, 1)
                if handle.control == CAUCHY:
                    value = value / np.linalg.det(F)[:, None, None]
            value = value.reshape(self.n, -1)
        return cast(Floats, np.nan_to_num(value[:, handle.position]))

    def _error(self, step: int, failed: list, found: Any) -> ConvergenceError:
        specimen, tried = failed[0], pick(found["tried"], slice(0, 1))
        code, time = LocalStatus(int(found["code"][0])), float(self.times[specimen, step])
        targets = self.plan.describe(tried["targets"], 0)
        values = {k: np.asarray(v) for k, v in named_leaves(self.law).items() if eqx.is_array(v)}
        values |= {k.removeprefix("law."): v[specimen] for k, v in self.parameters.items()}
        size = np.nan_to_num(found["residual"][0], nan=np.inf)
        worst = {
            "code": int(code),
            "residual": float(size),
            "iterations": int(found["iterations"][0]),
            "law": self.label,
            "parameters": {k: v.tolist() for k, v in values.items()},
            "inputs": {k: v[0].tolist() for k, v in tried["inputs"].items()},
            "state": {k: v[0].tolist() for k, v in tried["state"].items()},
            "dt": float(tried["inputs"]["time_increment"][0]),
        }
        whole = self.times[specimen, step] - self.times[specimen, max(step - 1, 0)]
        part = worst["dt"] / whole if step else 1.0
        named = set(self.path.names())
        shown = {k: v for k, v in targets.items() if k in named or v != 0.0}
        text = ", ".join(f"{k} = {v:.6g}" for k, v in shown.items())
        return ConvergenceError(
            f"drive: {self.label} failed at {len(failed)} of {self.n} specimens. First: specimen "
            f"{specimen}, step {step} to time {time:g}, also with {part:.2g} of the step: "
            f"{code.name}, |r| = {size:.2e} after {worst['iterations']} iterations: "
            f'{code.message}. Targets there: {text}. on_failure="keep" goes on with the others',
            {
                "specimen": specimen,
                "specimens": failed,
                "step": step,
                "time": time,
                "targets": targets,
                "worst": worst,
            },
        )


def _per_specimen(
    what: str, given: Mapping[str, Any], known: Mapping[str, Any], sizes: dict[str, int]
) -> dict[str, Floats]:
    """Values as arrays; the lengths of those with one more axis than the law has go to sizes."""
    found = {}
    for name, value in given.items():
        if name not in known:
            raise MaterialError(unknown(what, name, known))
        array, shape = np.asarray(value, float), np.shape(known[name])
        if array.shape != shape:
            if array.shape[1:] != shape or not array.ndim:
                raise MaterialError(
                    f"{what}: '{name}' has shape {array.shape}, expected {shape}, or "
                    f"{('specimens', *shape)}"
                )
            sizes[name] = len(array)
        found[name] = array
    return found


def _spread(value: Floats, shape: tuple[int, ...], n: int) -> Floats:
    lead = value if value.ndim > len(shape) else np.broadcast_to(value, (n, *shape))
    return np.array(lead, order="C")
