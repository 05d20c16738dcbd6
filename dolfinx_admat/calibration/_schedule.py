"""An experiment as arrays: what one differentiable scan over its sub-steps needs.

Targets of a path are numbers, except where a component comes under control in the middle of a path:
it starts from the value that it has reached, which depends on the law. Targets are affine in such
values, so they are stored as ``base + weight @ reached``.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory._components import Component, Names, unknown
from dolfinx_admat.laboratory._control import CAUCHY, CONJUGATE, IMPOSED, KIRCHHOFF, control_pairs
from dolfinx_admat.laboratory._plan import Handle, Plan
from dolfinx_admat.laboratory.driver import AT_ONCE
from dolfinx_admat.laboratory.path import Path
from dolfinx_admat.materials import TENSOR, Material
from dolfinx_admat.materials._declare import as_numbers, at_rest, named_leaves
from dolfinx_admat.materials.parameters import check_parameters

from .experiment import Experiment

Floats = npt.NDArray[np.float64]
#: Ends of the sub-steps of each step, as fractions of the step.
Parts = tuple[tuple[float, ...], ...]


class Schedule(NamedTuple):
    """Arrays only, so that experiments of the same shapes can be stacked and mapped.

    Attributes:
        inputs: Inputs of the ``Controlled`` law without reached values; (sub-steps, *shape). Those
            of the law itself, and ``time_increment``, where all is imposed: see ``direct``.
        weights: By target, what the reached values add; (sub-steps, *shape, reached).
        capture: Which reached values are taken after a sub-step; (sub-steps, reached).
        source: What they are, positions among all quantities; (reached,).
        advance: False: the sub-step is evaluated without consequences; (sub-steps,).
        ends: Sub-steps after which something is compared; (rows,).
        columns: What is compared, positions among all quantities; the last one is the abscissa.
        factors: Stored value / ordinary tensor component; (columns,).
        state: What is not the law's own initial state, by name.
        parameters: Parameters of this specimen, by dotted name.
    """

    inputs: dict[str, Floats]
    weights: dict[str, Floats]
    capture: npt.NDArray[np.bool_]
    source: npt.NDArray[np.int64]
    advance: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    factors: Floats
    state: dict[str, Floats]
    parameters: dict[str, Floats]

    def direct(self, law: Material) -> bool:
        """Everything is imposed all the way, so that there is nothing to solve for but the law."""
        return all(name in self.inputs for name in law.inputs)


class Quantities:
    """All components of inputs, outputs and states in one vector, found by name.

    Args:
        law: The law.
    """

    def __init__(self, law: Material) -> None:
        self.spatial = (
            law.inputs.get("deformation_gradient") == TENSOR
            and law.outputs.get("first_piola_stress") == TENSOR
        )
        states = {n: np.shape(v) for n, v in named_leaves(as_numbers(law.initial_state())).items()}
        shapes: dict[str, Any] = {n: law.state_kinds.get(n, s) for n, s in states.items()}
        shapes |= {**law.outputs, **law.inputs}
        if self.spatial:
            for name in ("kirchhoff_stress", "cauchy_stress"):
                shapes.setdefault(name, TENSOR)
        self.shapes = dict(reversed(shapes.items()))
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        self.first = dict(zip(self.shapes, starts, strict=True))
        self.names = Names(self.shapes)

    def position(self, component: Component) -> int:
        """Position of a component in the vector."""
        return int(self.first[component.variable] + component.position)


@dataclasses.dataclass
class _Step:
    """A step between two targets; a row for the numbers, then one for each reached value."""

    begin: dict[str, Floats]
    end: dict[str, Floats]
    controls: dict[str, Floats]
    dt: float
    advance: bool = True


class _Planned:
    """The steps of a path; ``reached`` lists what is taken over, and after which step."""

    def __init__(self, law: Material, path: Path) -> None:
        self.reached: list[tuple[Handle, int]] = []
        self._make(law, path, 1)
        if self.reached:  # again, with one specimen more for each: its value is 1 there
            count, self.reached = len(self.reached), []
            self._make(law, path, 1 + count)

    def _make(self, law: Material, path: Path, n: int) -> None:
        plan = Plan(law, path, n, {})
        rest = {name: np.ravel(at_rest(name, shape)) for name, shape in law.inputs.items()}
        first = path.segments[0]
        dt = AT_ONCE * first.fractions[0] * (1.0 if first.time is None else float(first.time))
        plan.begin()
        moved = [
            np.where(plan.controls[k] == IMPOSED, plan.targets[k] - rest[k], plan.targets[k])
            for k in plan.pairs
        ]
        self.moves = any(np.any(m != 0.0) for m in moved)
        targets = {k: v.copy() for k, v in plan.targets.items()}
        controls = {k: v.copy() for k, v in plan.controls.items()}
        if not self.moves:
            controls = {k: np.full_like(v, IMPOSED) for k, v in controls.items()}
            targets |= {k: np.tile(rest[k], (n, 1)) for k in plan.pairs}
        self.start = _Step(targets, targets, controls, dt, self.moves)
        self.steps: list[_Step] = []
        for number, segment in enumerate(path.segments, start=1):
            before, at = len(self.reached), len(self.steps)

            def reached(handle: Handle, at: int = at) -> Floats:
                if at == 0 and not self.moves and handle.control == IMPOSED:
                    return np.full(n, rest[handle.variable][handle.position])
                self.reached.append((handle, at))
                value = np.zeros(n)
                if n > 1:
                    value[len(self.reached)] = 1.0
                return value

            sequence = plan.steps(segment, number, reached)
            now = {name: controls.copy() for name, controls in plan.controls.items()}
            by_rate = segment.rate is not None
            total = np.zeros(n) if by_rate and len(self.reached) > before else None
            if total is None:
                total = plan.duration(segment, number, sequence)
            if not total[0] > 0.0 or not (total == total[0]).all():
                raise MaterialError(
                    f"segment {number}: with rate=... the duration depends on a value that the "
                    "law has reached; give time=... instead"
                )
            for k, part in enumerate(np.diff(np.array([0.0, *segment.fractions]))):
                dt = float(part * total[0])
                self.steps.append(_Step(sequence[k], sequence[k + 1], now, dt))


def make_schedule(law: Material, experiment: Experiment, parts: Parts | None = None) -> Schedule:
    """An experiment as arrays.

    Args:
        law: The law; only its structure matters.
        experiment: The experiment.
        parts: In which parts each step is taken; None: whole.

    Raises:
        MaterialError: A name is not the law's, or what is compared is imposed.
    """
    try:
        return _make_schedule(law, experiment, parts)
    except MaterialError as error:
        raise MaterialError(f"Experiment '{experiment.name}': {error}") from error


def _make_schedule(law: Material, experiment: Experiment, parts: Parts | None) -> Schedule:
    quantities = Quantities(law)
    columns = [quantities.names.find(n, f"data of {type(law).__name__}") for n in experiment.data]
    planned = _Planned(law, experiment.path)
    steps, count, pairs = planned.steps, len(planned.reached), control_pairs(law)
    for name, column in zip(experiment.data, columns, strict=True):
        _check_informative(law, name, column, planned)
    captured = [at for _, at in planned.reached]
    rows = steps if not planned.moves and 0 not in captured else [planned.start, *steps]
    first = len(rows) - len(steps)  # sub-steps before the first step
    divided = [(1.0,)] * first + list(parts or [(1.0,)] * len(steps))
    inputs: dict[str, list[Floats]] = {}
    weights: dict[str, list[Floats]] = {}
    capture, ends, advance = [], [], []
    for number, (step, fractions) in enumerate(zip(rows, divided, strict=True), start=1 - first):
        for before, after in zip((0.0, *fractions), fractions, strict=False):
            dt = step.dt * (after - before)
            inputs.setdefault("time_increment", []).append(np.asarray(dt))
            for name, shape in law.inputs.items():
                begin, end = step.begin[name], step.end[name]
                target = end if after == 1.0 else begin + after * (end - begin)
                controlled = name in step.controls
                label = f"{name}_target" if controlled and name in pairs else name
                inputs.setdefault(label, []).append(target[0].reshape(shape))
                if label != name:
                    control = step.controls[name].reshape(shape)
                    inputs.setdefault(f"{name}_control", []).append(control)
                    if count:
                        add = (target[1:] - target[0]).T.reshape(*shape, count)
                        weights.setdefault(label, []).append(add)
            advance.append(step.advance)
            capture.append([after == 1.0 and number == at for at in captured])
        ends.append(len(advance) - 1)
    direct = not count and not any(np.any(s.controls[k]) for s in rows for k in pairs)
    if direct:
        inputs = {name: inputs.get(f"{name}_target", inputs.get(name, []))
                  for name in (*law.inputs, "time_increment")}  # fmt: skip
    compared = next(iter(experiment.data.values())).size > len(steps) and planned.moves
    source = [quantities.position(_component(law, h)) for h, _ in planned.reached]
    columns.append(_abscissa(quantities, experiment))
    return Schedule(
        {name: np.stack(values).astype(float) for name, values in inputs.items()},
        {name: np.stack(values) for name, values in weights.items()},
        np.array(capture, bool).reshape(len(advance), count),
        np.array(source, int),
        np.array(advance, bool),
        np.array(ends[first - compared :], int),
        np.array([quantities.position(c) for c in columns], int),
        np.array([c.factor for c in columns]),
        _own_state(law, experiment, direct),
        _own_parameters(law, experiment),
    )


def _component(law: Material, handle: Handle) -> Component:
    """The quantity that a handle controls."""
    pairs = control_pairs(law)
    names = {
        IMPOSED: handle.variable,
        CONJUGATE: pairs.get(handle.variable, ""),
        CAUCHY: "cauchy_stress",
        KIRCHHOFF: "kirchhoff_stress",
    }
    return Component(names[handle.control], handle.position, handle.factor)


def _check_informative(law: Material, name: str, column: Component, planned: _Planned) -> None:
    """What is imposed all the way says nothing about the law."""
    pairs = control_pairs(law)
    for variable, output in pairs.items():
        for control, owner in ((IMPOSED, variable), (CONJUGATE, output)):
            if column.variable == owner and all(
                step.controls[variable][column.position] == control for step in planned.steps
            ):
                raise MaterialError(
                    f"'{name}' is imposed by the path (or free of stress) all the way, so there "
                    "is nothing to compare"
                )


def _abscissa(quantities: Quantities, experiment: Experiment) -> Component:
    """Of plots; time is no quantity of the law, and put there afterwards."""
    if experiment.abscissa == "time":
        return next(iter(quantities.names.components.values()))
    return quantities.names.find(experiment.abscissa, "x")


def _own_state(law: Material, experiment: Experiment, direct: bool) -> dict[str, Floats]:
    initial = as_numbers(law.initial_state())
    # The controlled law puts a state that is no dict under "law".
    prefix = "" if direct or isinstance(initial, dict) else "law."
    known = {n: np.shape(v) for n, v in named_leaves(initial).items()}
    return {
        prefix + name: _shaped("initial_state", name, value, known)
        for name, value in experiment.initial_state.items()
    }


def _own_parameters(law: Material, experiment: Experiment) -> dict[str, Floats]:
    known = {n: np.shape(v) for n, v in named_leaves(law).items() if hasattr(v, "dtype")}
    found = {
        name: _shaped("parameters", name, value, known)
        for name, value in experiment.parameters.items()
    }
    check_parameters(law, found)
    return found


def _shaped(what: str, name: str, value: Any, known: dict[str, tuple[int, ...]]) -> Floats:
    if name not in known:
        raise MaterialError(unknown(what, name, known))
    array = np.array(value, float)
    if array.shape != known[name]:
        raise MaterialError(f"{what}: '{name}' has shape {array.shape}, expected {known[name]}")
    return array
