"""Where a law is looked at: scales of its inputs, random states that it reaches, batches."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalStatus
from dolfinx_admat.kernels import BatchKernel, StatusBuffers
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, at_rest, named_leaves

#: Points per call of the xla backend: a batch of an audit is several.
CHUNK = 64

Floats = npt.NDArray[np.float64]
Inputs = dict[str, Floats]

#: Inputs that deform; the first one that a law has sets the pace of the others.
MECHANICAL = ("strain", "deformation_gradient")
#: The output that does work with each.
CONJUGATE = {"strain": "stress", "deformation_gradient": "first_piola_stress"}
#: Steps larger than the scale stay below this deformation.
MANY = 0.15
#: Largest random deformation of a law that shows neither flow nor nonlinearity before.
_LARGEST = {"strain": 1e-2, "deformation_gradient": 0.2}


class SamplePoint(NamedTuple):
    """One point to look at again: ``evaluate_point(law, *point)``.

    Attributes:
        inputs: Inputs at t_{n+1}.
        state: State at t_n.
        dt: Step, units of time.
    """

    inputs: dict[str, Any]
    state: Any
    dt: float


class Answer(NamedTuple):
    """What a batch gave; arrays (points, ...)."""

    outputs: Inputs
    state: Inputs
    tangent: dict[tuple[str, str], Floats]
    code: npt.NDArray[np.int32]
    active: npt.NDArray[np.bool_]

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Where the update converged."""
        return np.asarray(self.code == LocalStatus.CONVERGED)


class Bench:
    """A law on which batches are run; always with the tangent, so that one kernel serves all.

    Args:
        law: The law.
        backend: As in ``BatchKernel``.
        tangent: Way of differentiation, as in ``BatchKernel``.
    """

    def __init__(self, law: Material, backend: str = "auto", tangent: str | None = None) -> None:
        self.law = law
        self._kernel = BatchKernel(law, backend=backend, tangent=tangent, chunk_size=CHUNK)

    @property
    def backend(self) -> str:
        """The backend that serves."""
        return self._kernel.prepare("tangent")

    def initial_state(self, points: int) -> Inputs:
        """State of virgin points."""
        return self._kernel.initial_state(points)

    def point(self, inputs: Inputs, state: Inputs, dt: float, k: int) -> SamplePoint:
        """Point k of a batch."""
        row = {name: np.array(value[k]) for name, value in state.items()}
        given = {name: np.array(value[k]) for name, value in inputs.items()}
        return SamplePoint(given, self._kernel._tree(row), float(dt))

    def state_tree(self, state: Inputs) -> Any:
        """The state of a batch in the law's own structure."""
        return self._kernel._tree(state)

    def __call__(self, inputs: Inputs, state: Inputs, dt: float) -> Answer:
        """Advance all points by one step."""
        law, n = self.law, len(next(iter(inputs.values())))
        status = StatusBuffers(
            np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n), np.zeros(n, bool)
        )
        answer = Answer(
            {name: np.zeros((n, *shape)) for name, shape in law.outputs.items()},
            {name: np.zeros_like(value) for name, value in state.items()},
            {
                (o, i): np.zeros((n, *left, *right))
                for o, left in law.outputs.items()
                for i, right in law.inputs.items()
            },
            status.code,
            status.active,
        )
        self._kernel.update(
            inputs, state, dt, outputs=answer.outputs, new_state=answer.state, status=status,
            tangent=answer.tangent,
        )  # fmt: skip
        return answer


@dataclasses.dataclass(frozen=True)
class Range:
    """Where inputs are sampled: around ``rest``, in steps of ``scale`` and of ``dt``."""

    rest: Inputs
    scale: dict[str, float]
    dt: float

    def inputs(self, moves: Inputs, factor: Any = 1.0) -> Inputs:
        """Rest plus ``factor`` times ``moves`` (points, ...)."""
        return {n: self.rest[n] + _column(factor, m) * m for n, m in moves.items()}


def _column(factor: Any, like: Floats) -> Any:
    factor = np.asarray(factor)
    return factor.reshape(-1, *([1] * (like.ndim - 1))) if factor.ndim else factor


def moved(inputs: Inputs, moves: Inputs, factor: Any = 1.0) -> Inputs:
    """Inputs plus ``factor`` (a number, or one per point) times ``moves``."""
    return {n: inputs[n] + _column(factor, m) * m for n, m in moves.items()}


def picked(tree: Inputs, rows: Any) -> Inputs:
    """Rows of all arrays."""
    return {name: value[rows] for name, value in tree.items()}


def where(mask: Any, new: Inputs, old: Inputs) -> Inputs:
    """New values where ``mask`` (points,) holds."""
    return {name: np.where(_column(mask, new[name]), new[name], old[name]) for name in old}


def deformation(law: Material) -> str | None:
    """The input that deforms."""
    return next((name for name in MECHANICAL if name in law.inputs), None)


def rest_inputs(law: Material, rest: Mapping[str, Any] | None = None) -> Inputs:
    """Inputs of a body at rest: zeros, the identity for a deformation gradient, or as given.

    A temperature rests at the law's ``reference_temperature``.
    """
    values: Inputs = {name: at_rest(name, shape) for name, shape in law.inputs.items()}
    if "temperature" in values and values["temperature"].shape == ():
        values["temperature"] = np.asarray(_reference_temperature(law))
    for name, given in (rest or {}).items():
        if name not in values or np.shape(given) != values[name].shape:
            known = {n: v.shape for n, v in values.items()}
            raise MaterialError(
                f"rest: '{name}' {np.shape(given)} is no input of {type(law).__name__}, which has "
                f"{known}"
            )
        values[name] = np.asarray(given, float)
    return values


def _reference_temperature(law: Material) -> float:
    """Of a parameter of this name anywhere in the law; else the middle of its tables; else 0."""
    leaves = named_leaves(law)
    for name, value in leaves.items():
        if name.split(".")[-1] == "reference_temperature":
            return float(value)
    ends = [np.mean(v) for n, v in leaves.items() if n.startswith("parameters.") and n[-2:] == ".x"]
    return float(np.mean(ends)) if ends else 0.0


def directions(law: Material, points: int, rng: np.random.Generator) -> Inputs:
    """Random directions of norm one."""
    moves = {}
    for name, shape in law.inputs.items():
        d = rng.normal(size=(points, *shape))
        size = np.sqrt(np.sum(d.reshape(points, -1) ** 2, axis=1))
        moves[name] = d / _column(size, d)
    return moves


def explore(
    bench: Bench,
    rng: np.random.Generator,
    *,
    scale: float | Mapping[str, float] | None = None,
    rest: Mapping[str, Any] | None = None,
    dt: float | None = None,
) -> Range:
    """Find how far inputs must go, and how long a step must be, before the law shows itself.

    A random deformation grows until the law flows (``status.active`` changes) or its outputs
    leave proportionality by 5 %; the other inputs grow until they change the outputs of a
    deformed point by 10 %. The step of a rate-dependent law grows until it matters by 5 %.

    Args:
        bench: The law.
        rng: Random numbers.
        scale: Amplitude of the deformation, or amplitudes by name; replaces what is found.
        rest: Inputs at rest that are not zero, e.g. ``{"temperature": 293.0}``.
        dt: Step, units of time; None: 1, or what is found for a rate-dependent law.

    Raises:
        MaterialError: An unknown name, or a size that is not positive.
    """
    law, resting = bench.law, rest_inputs(bench.law, rest)
    law.check_step(1.0 if dt is None else dt)
    first = deformation(law)
    given: dict[str, float] = {}
    if scale is not None:
        if not isinstance(scale, Mapping):
            scale = {first or next(iter(law.inputs)): scale}
        given = {name: float(value) for name, value in scale.items()}
        for name, value in given.items():
            if name not in law.inputs or not value > 0.0:
                raise MaterialError(
                    f"scale: {name} = {value} for {type(law).__name__}; give positive sizes of "
                    f"{sorted(law.inputs)}"
                )
    step = 1.0 if dt is None else dt
    found = {name: given.get(name, 0.0) for name in law.inputs}
    if first is not None and first not in given:
        found[first] = _onset(bench, resting, first, step, rng)
    if dt is None and law.rate_dependent:
        step = _duration(bench, Range(resting, found, 1.0), rng)
    for name in law.inputs:
        if found[name] == 0.0:
            found[name] = _influence(bench, Range(resting, found, step), name, first, rng)
    return Range(resting, found, float(step))


def _repeated(value: Floats, points: int) -> Floats:
    return np.array(np.broadcast_to(value, (points, *value.shape)))


def _flat(outputs: Inputs) -> list[Floats]:
    return [value.reshape(len(value), -1) for value in outputs.values()]


def _stresses(answer: Answer) -> list[Floats]:
    """The output that does work; others, energies say, are not proportional from the start."""
    work = [name for name in CONJUGATE.values() if name in answer.outputs]
    return _flat({name: answer.outputs[name] for name in work or answer.outputs})


def _onset(bench: Bench, rest: Inputs, name: str, dt: float, rng: np.random.Generator) -> float:
    """Amplitude of a deformation at which the law starts to flow or to be nonlinear."""
    rays, per_decade = 5, 8
    amplitudes = 10.0 ** (np.arange(-9 * per_decade, 1) / per_decade)
    count = len(amplitudes)
    d = directions(bench.law, rays, rng)[name]
    inputs = {n: _repeated(v, rays * count) for n, v in rest.items()}
    inputs[name] = inputs[name] + _column(np.tile(amplitudes, rays), inputs[name]) * np.repeat(
        d, count, axis=0
    )
    answer = bench(inputs, bench.initial_state(rays * count), dt)
    still = bench({n: v[None] for n, v in rest.items()}, bench.initial_state(1), dt)
    active = answer.active.reshape(rays, count)
    shows = active != active[:, :1]
    for value, zero in zip(_stresses(answer), _stresses(still), strict=True):
        change = (value - zero).reshape(rays, count, -1)
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(change[:, per_decade:] - 10.0 * change[:, :-per_decade]).max(axis=2)
            size = np.abs(change[:, per_decade:]).max(axis=2)
            # Below 1e-6 a deformation gradient's round-off is what is seen.
            clear = amplitudes[per_decade:] > 1e-6 if name == "deformation_gradient" else True
            shows[:, per_decade:] |= ~(gap <= 0.05 * size) & clear
    largest = _LARGEST[name]
    onset = [amplitudes[row.argmax()] if row.any() else largest for row in shows]
    return float(min(np.median(onset), largest))


def _duration(bench: Bench, at: Range, rng: np.random.Generator) -> float:
    """Smallest power of ten that changes the outputs of a step by 5 %; else one."""
    moves = directions(bench.law, 8, rng)
    inputs = at.inputs({n: at.scale[n] * m for n, m in moves.items()}, 1.5)
    first = None
    for dt in 10.0 ** np.arange(-9.0, 10.0):
        outputs = _stresses(bench(inputs, bench.initial_state(8), dt))
        first = outputs if first is None else first
        for a, b in zip(outputs, first, strict=True):
            if np.nanmedian(np.abs(a - b).max(axis=1)) > 0.05 * np.nanmax(np.abs(b), initial=0.0):
                return float(dt)
    return 1.0


def _influence(
    bench: Bench, at: Range, name: str, first: str | None, rng: np.random.Generator
) -> float:
    """Size of another input that changes the outputs of a deformed point by 10 %; else one."""
    rays = 5
    amplitudes = 10.0 ** (np.arange(-32, 17) / 4.0)
    count = len(amplitudes)
    moves = directions(bench.law, rays, rng)
    inputs = {n: _repeated(v, rays) for n, v in at.rest.items()}
    if first is not None and first != name:
        inputs[first] = inputs[first] + 0.5 * at.scale[first] * moves[first]
    base = bench(inputs, bench.initial_state(rays), at.dt)
    many = {n: np.repeat(v, count, axis=0) for n, v in inputs.items()}
    grown = _column(np.tile(amplitudes, rays), many[name])
    many[name] = many[name] + grown * np.repeat(moves[name], count, axis=0)
    answer = bench(many, bench.initial_state(rays * count), at.dt)
    shows = np.zeros((rays, count), bool)
    for value, old in zip(_flat(answer.outputs), _flat(base.outputs), strict=True):
        change = np.abs(value.reshape(rays, count, -1) - old[:, None]).max(axis=2)
        size = np.abs(old).max(axis=1)[:, None]
        shows |= (change > 0.1 * size) & (size > 0)
    onset = [amplitudes[row.argmax()] for row in shows if row.any()]
    return float(np.median(onset)) if onset else 1.0


class Reached(NamedTuple):
    """Points after some random steps, ready for one more.

    Attributes:
        inputs: Inputs of the last step that converged.
        state: State there.
        failed: How many random steps did not converge (they were not taken).
    """

    inputs: Inputs
    state: Inputs
    failed: int


def reach(
    bench: Bench, at: Range, points: int, rng: np.random.Generator, steps: int = 3
) -> Reached:
    """Random steps from rest; those of a quarter of the points are up to ten times as large.

    Half of the points of a finite-strain law are rotated as well. A step that fails is not taken.
    """
    law = bench.law
    inputs = {n: _repeated(v, points) for n, v in at.rest.items()}
    state, failed = bench.initial_state(points), 0
    turns = None
    if tuple(law.inputs.get("deformation_gradient", ())) == (3, 3):
        turns = rotations(points, rng)
        turns[::2] = np.eye(3)
    # As far as such a deformation is still one (det F > 0) and no exponential overflows.
    first = deformation(law)
    times = 10.0 if first is None else np.clip(MANY / at.scale[first], 1.0, 10.0)
    large = np.where(np.arange(points) % 4 == 3, times, 1.0)
    for k in range(steps):
        moves = {n: at.scale[n] * d for n, d in directions(law, points, rng).items()}
        factor = large * rng.uniform(0.3, 1.5, points)
        target = moved(inputs, moves, factor)
        if turns is not None and k == 0:
            F = turns @ target["deformation_gradient"]
            target["deformation_gradient"] = F
        # Steps of different lengths, so that nothing depends on one of them.
        answer = bench(target, state, at.dt * (1.0, 3.0, 0.3)[k % 3])
        good = answer.good
        failed += int(np.sum(~good))
        inputs, state = where(good, target, inputs), where(good, answer.state, state)
    return Reached(inputs, state, failed)


def rotations(points: int, rng: np.random.Generator) -> Floats:
    """Random rotations; (points, 3, 3)."""
    q, r = np.linalg.qr(rng.normal(size=(points, 3, 3)))
    q = q * np.sign(np.einsum("pii->pi", r))[:, None, :]
    return np.asarray(q * np.sign(np.linalg.det(q))[:, None, None])


def has_unknowns(law: Material, at: Range) -> bool:
    """Whether the law solves equations."""
    inputs = {name: jax.numpy.asarray(value) for name, value in at.rest.items()}
    guess = jax.eval_shape(
        lambda i, dt: law._guess(law._prepare(i, as_numbers(law.initial_state()), dt)),
        inputs,
        jax.numpy.zeros(()),
    )
    return bool(jax.tree.leaves(guess))
