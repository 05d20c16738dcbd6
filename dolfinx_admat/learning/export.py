"""Laws for others: one file with a StableHLO program that runs without this library.

The file is a zip of two: ``description.json`` says what goes in and comes out, ``program.bin`` is
the law as ``jax.export`` writes it. With nothing but jax and numpy::

    import json, zipfile
    import jax, numpy as np
    jax.config.update("jax_enable_x64", True)
    with zipfile.ZipFile("law.zip") as file:
        description = json.loads(file.read("description.json"))
        program = jax.export.deserialize(bytearray(file.read("program.bin")))
    n = 1000  # points: any number, and each number is compiled once
    rest = description["initial_state"].items()
    state = {name: np.tile(value, (n,) + np.ndim(value) * (1,)) for name, value in rest}
    found = program.call({"strain": np.zeros((n, 6))}, state, np.float64(dt))
    found["outputs"]["stress"], found["state"], found["status"], found["tangent"]["stress/strain"]

``program.mlir_module()`` is the text of the StableHLO module, for other compilers than XLA.

A checksum finds damage; it is no signature. What is loaded is checked against its description, and
a program that calls anything outside itself, except LAPACK's LU factorisation, is refused.
"""

import datetime
import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalStatus
from dolfinx_admat.kernels._point import PointFunctions
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import SYMMETRIC, as_numbers, named_leaves, require_float64

from ._arguments import check_flag, check_law, check_whole, is_number
from ._export_file import FORMAT, VERSION, bounds_of, checksum, read, write
from .training_range import TrainingRange

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
#: What a program may call: checks of its own shapes, and the LU factorisation of local solves.
ALLOWED_CALLS = frozenset(
    {"shape_assertion", "lapack_dgetrf_ffi", "lapack_dtrsm_ffi"}
    | {"cusolver_getrf_ffi", "cu_lu_pivots_to_permutation"}
    | {"hipsolver_getrf_ffi", "hip_lu_pivots_to_permutation"}
)
#: Operations that reach out of a program.
_OUTSIDE = ("infeed", "outfeed", "send", "recv")
_CONVENTIONS = {
    "points": "All arrays but dt have one row per point; any number of points >= 1.",
    "symmetric tensor": "Mandel: [xx, yy, zz, sqrt(2) xy, sqrt(2) xz, sqrt(2) yz].",
    "step": "Inputs are at the end of the step dt, the state is at its beginning.",
    "tangent": "tangent['output/input'] = d(output)/d(input), the consistent one.",
    "status": {str(int(s)): f"{s.name}: {s.message}" for s in LocalStatus},
}


class ExportedLaw:
    """A law from a file of ``export_law``: ``law(inputs, state, dt)``.

    Args:
        program: What ``jax.export`` reads.
        description: What the file says about it.

    Attributes:
        description: What the file says about the law, as plain data.
    """

    def __init__(self, program: Any, description: dict[str, Any]) -> None:
        self.description = description
        self._call = jax.jit(program.call)

    def initial_state(self, points: int) -> dict[str, np.ndarray]:
        """State of virgin points by name; (points, *shape) each.

        Raises:
            MaterialError: ``points`` is no whole number >= 0.
        """
        check_whole(f"{self._name}: initial_state", 0, points=points)
        values = {k: np.asarray(v, float) for k, v in self.description["initial_state"].items()}
        return {k: np.tile(v, (points,) + v.ndim * (1,)) for k, v in values.items()}

    def __call__(
        self, inputs: Mapping[str, Any], state: Mapping[str, Any], dt: float = 0.0
    ) -> dict[str, Any]:
        """Advance points by a step. Each new number of points is compiled.

        Args:
            inputs: At the end of the step, by name; (points, *shape).
            state: At its beginning, by name; (points, *shape).
            dt: Step, units of time.

        Returns:
            ``outputs`` and ``state`` by name, ``status`` (points,), 0 where the step succeeded,
            and ``tangent`` by "output/input" if it was exported.

        Raises:
            MaterialError: Names or shapes are not those of the description, or the step is
                negative or NaN.
        """
        given: dict[str, dict[str, Any]] = {}
        for group, values in (("inputs", inputs), ("state", state)):
            if not isinstance(values, Mapping):
                raise MaterialError(
                    f"{self._name}: {group} must be arrays by name, {self._names(group)}; got "
                    f"{type(values).__name__}"
                    + ("; initial_state(points) makes a first state" if group == "state" else "")
                )
            given[group] = dict(values)
        dt = self._step(dt)
        points: int | None = None
        arguments: dict[str, dict[str, Any]] = {"inputs": {}, "state": {}}
        for entry in self.description["arguments"]:
            if entry["group"] == "dt":
                continue
            group, name, shape = entry["group"], entry["name"], tuple(entry["shape"][1:])
            if name not in given[group]:
                raise MaterialError(f"{self._name}: {group} lack '{name}'; got {[*given[group]]}")
            try:
                array = np.asarray(given[group].pop(name), float)
            except ValueError as error:
                raise MaterialError(f"{self._name}: {group} '{name}': {error}") from None
            points = len(array) if points is None and array.ndim else points
            if array.shape != (points, *shape):
                raise MaterialError(
                    f"{self._name}: {group} '{name}' must have shape "
                    f"{('points' if points is None else points, *shape)}; got {array.shape}"
                )
            arguments[group][name] = array
        if left := [*given["inputs"], *given["state"]]:
            raise MaterialError(f"{self._name}: unknown inputs or state variables {left}")
        if points == 0:  # which a program of symbolic shapes does not know
            found: dict[str, Any] = {}
            for e in self.description["results"]:
                value = np.zeros((0, *e["shape"][1:]), e["dtype"])
                _put(found, e["group"], e["name"], value)
            return found
        return dict(self._call(arguments["inputs"], arguments["state"], dt))

    def _names(self, group: str) -> list[str]:
        return [e["name"] for e in self.description["arguments"] if e["group"] == group]

    def _step(self, dt: Any) -> Any:
        if isinstance(dt, jax.core.Tracer):
            return dt
        number = dt.item() if getattr(dt, "shape", None) == () else dt
        if not (is_number(number) and 0.0 <= number < np.inf):
            raise MaterialError(
                f"{self._name}: the step dt must be a finite number >= 0; got {dt!r}"
            )
        return np.float64(number)

    @property
    def _name(self) -> str:
        return f"exported {self.description['law']}"


def export_law(
    law: Material,
    path: str | Path,
    *,
    platforms: Sequence[str] = ("cpu",),
    tangent: bool = True,
    units: Mapping[str, str] | None = None,
    training_range: TrainingRange | Mapping[str, tuple[Any, Any]] | None = None,
    notes: str = "",
) -> Path:
    """Write a law as a program that others can run; see the module's description of the file.

    The parameters and weights are constants of the program. The file appears whole or not at all.

    Args:
        law: Any law whose local solves run in XLA.
        path: The file, by custom ``NAME.zip``.
        platforms: Where it shall run: "cpu", "cuda", "rocm", "tpu".
        tangent: With d(output)/d(input).
        units: Units by quantity, e.g. ``{"stress": "MPa", "time": "s"}``, for the reader.
        training_range: What the law was trained on, or (low, high) by name, for the reader.
        notes: Text for the reader.

    Returns:
        The file.

    Raises:
        MaterialError: No law, an unknown platform, a law that needs what programs may not call (a
            Python callback, ...), another argument that is not as described, or flatbuffers, which
            jax writes with, is missing.
    """
    require_float64()
    path = Path(path)
    check_law("export_law", law)
    check_flag("export_law", tangent=tangent)
    if units is not None and not isinstance(units, Mapping):
        raise MaterialError(f"export_law: units must be units by quantity; got {units!r}")
    bounds = bounds_of(training_range)
    several = isinstance(platforms, Collection) and not isinstance(platforms, str)
    if not several or not platforms or not all(p in _PLATFORMS for p in platforms):
        raise MaterialError(
            f"export_law: platforms must be some of {', '.join(_PLATFORMS)}; got {platforms!r}"
        )
    _require_flatbuffers("export_law")
    law = as_numbers(law)
    program = _program(law, tuple(platforms), tangent)
    _check_calls(program, f"export_law: {type(law).__name__}")
    data = bytes(program.serialize())
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "law": type(law).__name__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions() | {"calling convention": str(program.calling_convention_version)},
        "platforms": list(platforms),
        "rate_dependent": bool(law.rate_dependent),
        "arguments": _table(program.in_tree, program.in_avals, ("inputs", "state", "dt"), law),
        "results": _table(program.out_tree, program.out_avals, None, law),
        "initial_state": {
            name: np.asarray(v).tolist()
            for name, v in named_leaves(as_numbers(law.initial_state())).items()
        },
        "conventions": _CONVENTIONS,
        "units": None if units is None else {str(k): str(v) for k, v in units.items()},
        "training_range": bounds,
        "notes": str(notes),
        "program": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
    }
    description["checksum"] = checksum(description)
    write(path, description, data)
    return path


def load_exported(path: str | Path) -> tuple[ExportedLaw, dict[str, Any]]:
    """Read a file of ``export_law``.

    Args:
        path: The file.

    Returns:
        The law, to be called, and the file's description.

    Raises:
        MaterialError: The file cannot be read, is damaged, of another kind or newer; its program
            is not what the description says, or calls something that it must not; flatbuffers is
            missing.
    """
    require_float64()
    path = Path(path)
    _require_flatbuffers("load_exported")
    description, data = read(path)
    try:
        program = jax.export.deserialize(bytearray(data))
        program.mlir_module()
    except Exception as error:  # whatever a parser says about bytes that are no program
        raise MaterialError(
            f"{path}: the program cannot be read by jax {jax.__version__} "
            f"({type(error).__name__}: {str(error)[:200]}); it was written by "
            f"{description['versions'].get('jax', 'another version')}"
        ) from error
    _check_calls(program, str(path))
    _check_tables(program, description, path)
    return ExportedLaw(program, description), description


# -- The program -------------------------------------------------------------------------------


def _program(law: Material, platforms: tuple[str, ...], tangent: bool) -> Any:
    arrays, static = eqx.partition(law, eqx.is_array)
    functions = PointFunctions(static, (), None)
    initial = as_numbers(law.initial_state())
    names, tree = [*named_leaves(initial)], jax.tree.structure(initial)

    def one(inputs: dict, state: dict, dt: jax.Array) -> dict[str, Any]:
        inside = jax.tree.unflatten(tree, [state[n] for n in names])
        task = functions.tangent if tangent else functions.update
        outputs, new, status, slopes = task(arrays, {}, inputs, inside, dt)
        found = {"outputs": outputs, "state": named_leaves(new), "status": status.code}
        if tangent:
            pairs = slopes.items()
            found["tangent"] = {f"{o}/{i}": v for o, row in pairs for i, v in row.items()}
        return found

    (points,) = jax.export.symbolic_shape("points")
    of = lambda shape: jax.ShapeDtypeStruct((points, *shape), jnp.float64)  # noqa: E731
    inputs = {name: of(tuple(shape)) for name, shape in law.inputs.items()}
    state = {name: of(jnp.shape(v)) for name, v in named_leaves(initial).items()}
    batch = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    step = jax.ShapeDtypeStruct((), jnp.float64)
    try:
        return jax.export.export(batch, platforms=platforms)(inputs, state, step)
    except MaterialError:
        raise
    except (ValueError, NotImplementedError, RuntimeError) as error:  # a callback, an odd shape
        raise MaterialError(
            f"export_law: {type(law).__name__} cannot be exported: {str(error)[:400]}"
        ) from error


def _table(tree: Any, avals: Sequence[Any], groups: Any, law: Material | None) -> list[dict]:
    """Arguments or results in order, as the description has them."""
    filled = jax.tree.unflatten(tree, range(len(avals)))
    if groups is not None:
        filled = dict(zip(groups, filled[0], strict=True))
    table = []
    kinds = {} if law is None else {**law.state_kinds, **law.inputs, **law.outputs}
    for group, value in filled.items():
        for name, number in value.items() if isinstance(value, dict) else [("", value)]:
            aval = avals[number]
            shape = [d if isinstance(d, int) else str(d) for d in aval.shape]
            entry = {"group": group, "name": name, "shape": shape, "dtype": str(aval.dtype)}
            if law is not None and group in ("inputs", "state", "outputs"):
                declared = getattr(kinds.get(name), "kind", None)
                mandel = SYMMETRIC.kind if shape[1:] and shape[-1] == 6 else "array"
                entry["kind"] = declared or ("scalar" if not shape[1:] else mandel)
            table.append((number, entry))
    return [entry for _, entry in sorted(table, key=lambda pair: pair[0])]


def _put(found: dict[str, Any], group: str, name: str, value: Any) -> None:
    if name:
        found.setdefault(group, {})[name] = value
    else:
        found[group] = value


def _check_calls(program: Any, what: str) -> None:
    """Refuse a program that reaches out of itself."""
    text = program.mlir_module()
    calls = re.findall(r"custom_call( @\w+\(|.{0,40})", text)
    wrong = sorted({c for c in calls if c.strip(" @(") not in ALLOWED_CALLS or c[:2] != " @"})
    wrong += [name for name in _OUTSIDE if f"stablehlo.{name}" in text]
    if wrong or program.ordered_effects or program.unordered_effects:
        raise MaterialError(
            f"{what}: the program calls what it must not: {', '.join(wrong) or 'effects'}; only "
            f"{', '.join(sorted(ALLOWED_CALLS))} are allowed"
        )


def _check_tables(program: Any, description: dict[str, Any], path: Path) -> None:
    """The program takes and returns what the description says."""
    problem = ""
    try:
        kept = ("group", "name", "shape", "dtype")
        for key, tree, avals, groups in (
            ("arguments", program.in_tree, program.in_avals, ("inputs", "state", "dt")),
            ("results", program.out_tree, program.out_avals, None),
        ):
            said = [{k: entry[k] for k in kept} for entry in description[key]]
            does = _table(tree, avals, groups, None)
            if said != does:
                pairs = [*zip(said, does, strict=False), (len(said), len(does))]
                first = next((a, b) for a, b in pairs if a != b)
                problem = f"{key}: the description says {first[0]}, the program has {first[1]}"
                break
        states = {e["name"]: e["shape"] for e in description["arguments"] if e["group"] == "state"}
        initial = {k: np.asarray(v, float) for k, v in description["initial_state"].items()}
        if not problem and {k: ["points", *v.shape] for k, v in initial.items()} != states:
            problem = "initial_state does not fit the state"
        if not problem and list(program.platforms) != description["platforms"]:
            problem = f"platforms: {description['platforms']}, the program's {program.platforms}"
        if not problem and program.nr_devices != 1:
            problem = f"the program is for {program.nr_devices} devices"
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        problem = f"malformed ({type(error).__name__}: {error})"
    if problem:
        raise MaterialError(f"{path}: description and program disagree: {problem}")


def _require_flatbuffers(what: str) -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise MaterialError(
            f"{what}: jax.export needs flatbuffers for files; pip install flatbuffers"
        )


def _versions() -> dict[str, str]:
    from dolfinx_admat import __version__

    others = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {"dolfinx_admat": __version__, **others}
