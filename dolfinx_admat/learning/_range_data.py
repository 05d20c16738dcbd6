"""Points of experiments and of meshes, brought to features."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dolfinx_admat.calibration import Experiment
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory import DriveResult, Path, drive
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, at_rest, named_leaves
from dolfinx_admat.materials.parameters import replace_parameters

from ._features import Feature, batch, core, feature_list

Floats = npt.NDArray[np.float64]
Strains = dict[str, Floats]

#: Points per compiled call.
CHUNK = 2048


def driven(law: Material, experiment: Any, number: int, backend: str) -> DriveResult:
    """The law in an experiment, as far as it goes."""
    if isinstance(experiment, DriveResult):
        return experiment
    if isinstance(experiment, Path):
        return drive(law, experiment, on_failure="keep", backend=backend)
    if not isinstance(experiment, Experiment):
        raise MaterialError(
            f"TrainingRange: experiment {number} must be an Experiment, a Path or a DriveResult; "
            f"got {type(experiment).__name__}"
        )
    given: dict[str, Any] = dict(
        parameters=experiment.parameters, initial_state=experiment.initial_state
    )
    return drive(law, experiment.path, on_failure="keep", backend=backend, **given)


def histories(law: Material, result: DriveResult) -> Iterator[tuple[Floats, Strains, Floats]]:
    """(features without rates, strains, times) of each specimen, as far as it went."""
    for k in range(result.specimens):
        one = {n: v[k] if np.ndim(v) > np.ndim(named_leaves(law)[n]) else v
               for n, v in result.parameters.items()}  # fmt: skip
        here = replace_parameters(law, one) if one else law
        failed = result.status[k] != 0
        end = int(np.argmax(failed)) if failed.any() else len(failed)
        inputs = {n: v[k, :end] for n, v in result.inputs.items()}
        state = {n: v[k, :end] for n, v in result.states.items()}
        raw, strains = evaluate(here, inputs, state, {})
        yield raw, strains, result.times[k, :end]


def at_rest_features(law: Material, features: Sequence[Feature]) -> Floats:
    """Features (1, n), without rates, of a body at rest; NaN for what has none (a temperature)."""
    inner = core(law)
    inputs = {n: at_rest(n, s)[None] for n, s in inner.inputs.items()}
    raw, _ = evaluate(inner, inputs, None, {})
    own = [f for f in feature_list(inner) if f.kind != "rate"]
    known = {f.name: v for f, v in zip(own, raw[0], strict=True) if f.kind != "scalar" or f.state}
    return np.array([[known.get(f.name, np.nan) for f in features if f.kind != "rate"]])


def evaluate(
    law: Material,
    inputs: Mapping[str, Any],
    state: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
) -> tuple[Floats, Strains]:
    """Features without rates, not weighted, and strains of many points."""
    initial = as_numbers(law.initial_state())
    shapes = {n: tuple(np.shape(v)) for n, v in named_leaves(initial).items()}
    inputs = _checked(law, "inputs", inputs, {n: tuple(s) for n, s in law.inputs.items()})
    points = next((len(v) for v in inputs.values()), 0)
    if state is None:
        state = {
            n: np.broadcast_to(np.asarray(v), (points, *np.shape(v)))
            for n, v in named_leaves(initial).items()
        }
    state = _checked(law, "state", state, shapes, points)
    known = named_leaves(law)
    shapes = {n: tuple(np.shape(known[n])) for n in parameters if n in known}
    parameters = _checked(law, "parameters", parameters, shapes, points)
    tree = jax.tree.structure(initial)
    size = min(CHUNK, 1 << max(points - 1, 0).bit_length())
    values, strains = [], []
    for start in range(0, max(points, 1), size):
        piece = [
            jax.tree.map(lambda a, start=start: _part(a, start, size), group)
            for group in (parameters, inputs, [state[n] for n in named_leaves(initial)])
        ]
        found, own = batch(law, *piece, tree)
        count = min(size, points - start)
        values.append(np.asarray(found)[:count])
        strains.append({n: np.asarray(v)[:count] for n, v in own.items()})
    return np.concatenate(values), {n: np.concatenate([s[n] for s in strains]) for n in strains[0]}


def _part(array: Any, start: int, size: int) -> Any:
    """Rows from ``start``, filled up to ``size``: one shape, one compilation."""
    part = np.asarray(array[start : start + size])
    fill = np.zeros((size - len(part), *part.shape[1:]))
    return np.concatenate([part, fill]) if len(fill) else part


def _checked(
    law: Material,
    what: str,
    given: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    points: int | None = None,
) -> dict[str, Floats]:
    name = type(law).__name__
    if not isinstance(given, Mapping) or set(given) != set(shapes):
        got = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        raise MaterialError(f"TrainingRange: {what} of {name} are {sorted(shapes)}; got {got}")
    found = {}
    for key, shape in shapes.items():
        array = np.asarray(given[key], float)
        points = len(array) if points is None and array.ndim else points
        if array.shape != (points, *shape):
            raise MaterialError(
                f"TrainingRange: {what} '{key}' of {name} must have shape "
                f"{('points' if points is None else points, *shape)}; got {array.shape}"
            )
        found[key] = array
    return found
