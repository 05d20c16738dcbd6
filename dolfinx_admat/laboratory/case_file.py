"""Case files: a law, a path and what to write, in TOML, without a line of Python.

``python -m dolfinx_admat drive FILE`` runs one and writes its result as csv and PNG. TOML is read
by Python itself, so nothing needs to be installed. A complete file:

```toml
title = "Cyclic tension of a steel, two yield stresses"

[law]                               # a class of the library, with its parameters
class = "Elastoviscoplastic"
elasticity = { class = "IsotropicElasticity", E = 200e3, nu = 0.3 }
yield_function = { class = "VonMises" }
hardening = { class = "VoceHardening", sigma_y = 150.0, Q = 60.0, b = 10.0 }
kinematic = [{ class = "ArmstrongFrederick", C = 40e3, g = 300.0 }]

[parameters]                        # other values of parameters; a list: one per specimen
"hardening.sigma_y" = [150.0, 200.0]

[[path]]                            # segments, one after the other
ramp = { strain_xx = 0.01 }         # linear in time; what is not named has no stress
time = 1.0                          # duration, or rate = 0.01
steps = 20

[[path]]
cycles = [{ strain_xx = -0.01 }, { strain_xx = 0.01 }]
count = 3
steps = 40

[[path]]
hold = ["strain_xx"]                # relaxation; ["stress_xx"] is creep, [] just waits
time = 10.0
steps = [0.1, 0.3, 1.0]             # ends of the steps, as fractions of the duration

[output]
time_unit = "s"
units = { stress_xx = "MPa" }
plots = [["strain_xx", "stress_xx"], ["time", "stress_xx"]]
labels = ["150 MPa", "200 MPa"]
```

Keys:

- ``law``: a table with ``class``, the name of a class of the library, of one of its class methods
  (``Hill48.from_r_values``), or your own as ``"module:Class"`` or ``"file.py:Class"`` (the file is
  looked for beside the case file), and its arguments by name, which may be such tables again.
  Wrappers are laws with a law: ``{ class = "PlaneStress", law = { class = ... } }``. Or a string,
  ``"file.py:name"`` of a law or of a function that returns one, ``"file.json"`` that ``save_law``
  wrote, or the name of a library law, which then has sample parameters.
- ``parameters``, ``initial_state``, ``initial_stress``: as the arguments of ``drive``.
- ``start``: values at time zero, such as ``temperature = 293.0``.
- ``path``: segments with ``ramp``, ``hold``, ``cycles`` (and ``count``) as the methods of ``Path``,
  each with ``time`` or ``rate`` and ``steps``; or ``table = "data.csv"`` beside the case file, with
  ``time = "t"`` (the name of its column) and ``columns = { strain_xx = "exx" }``.
- ``driver``: ``specimens``, ``max_bisections``, ``on_failure``, ``backend`` of ``drive``.
- ``output``: ``time_unit``, ``units``, ``plots``, ``labels``, and ``plot = false`` for no picture.

Components are ordinary tensor components; see ``Path`` for their names and for what holds where
nothing is said.
"""

import dataclasses
import inspect
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import Any

import equinox as eqx

from dolfinx_admat.errors import AdmatError, MaterialError
from dolfinx_admat.materials import Material
from dolfinx_admat.materials.registry import library_classes

from ._components import unknown
from ._csv import read_csv
from .check_command import find_law, load_module
from .driver import drive
from .path import Path
from .result import DriveResult

_TOP = ("title", "law", "parameters", "initial_state", "initial_stress", "start", "path",
        "driver", "output")  # fmt: skip
_DRIVER = ("specimens", "max_bisections", "on_failure", "backend")
_OUTPUT = ("time_unit", "units", "plots", "labels", "plot")
_SEGMENTS = {
    "ramp": ("time", "rate", "steps"),
    "hold": ("time", "steps"),
    "cycles": ("count", "time", "rate", "steps"),
    "table": ("time", "columns"),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A case file that has been read.

    Attributes:
        file: Where it was.
        title: For the picture.
        law: The law.
        path: The path.
        options: Further arguments of ``drive``.
        output: What to write.
    """

    file: FilePath
    title: str
    law: Material
    path: Path
    options: dict[str, Any]
    output: dict[str, Any]

    def run(self) -> DriveResult:
        """Drive the law along the path."""
        try:
            return drive(self.law, self.path, **self.options)
        except MaterialError as error:
            raise MaterialError(f"{self.file}: {error}") from error

    def write(self, result: DriveResult, folder: str | FilePath | None = None) -> list[FilePath]:
        """Write FILE's stem .csv and .png (_2.png, ... for further plots).

        Args:
            result: What ``run`` returned.
            folder: Where to; None: beside the case file.

        Returns:
            The files.
        """
        stem = (self.file.parent if folder is None else FilePath(folder)) / self.file.stem
        written = [stem.with_name(stem.name + ".csv")]
        result.to_csv(written[0], time_unit=self.output.get("time_unit", ""))
        if not self.output.get("plot", True):
            return written
        units = dict(self.output.get("units", {}))
        if "time_unit" in self.output:
            units.setdefault("time", self.output["time_unit"])
        for number, (x, y) in enumerate(self.output.get("plots", [(None, None)]), start=1):
            name = stem.name + (f"_{number}" if number > 1 else "") + ".png"
            labels, title = self.output.get("labels"), self.title or None
            try:
                result.plot(x, y, stem.with_name(name), units=units, labels=labels, title=title)
            except MaterialError as error:
                raise _wrong(self.file, "output", error) from error
            written.append(stem.with_name(name))
        return written


def read_case(file: str | FilePath) -> Case:
    """Read a case file.

    Raises:
        MaterialError: It is wrong; the message has the file and the key.
    """
    file = FilePath(file)
    data = _read(file)
    _check_keys(file, "the case file", data, _TOP)
    for key in ("law", "path"):
        if key not in data:
            raise _wrong(file, key, "it is missing")
    tables = {}
    for key in ("parameters", "initial_state", "initial_stress", "start", "driver", "output"):
        tables[key] = data.get(key, {})
        if not isinstance(tables[key], dict):
            raise _wrong(file, key, f"expected a table; got {tables[key]!r}")
    _check_keys(file, "driver", tables["driver"], _DRIVER)
    _check_keys(file, "output", tables["output"], _OUTPUT)
    _check_plots(file, tables["output"])
    options = {k: tables[k] for k in ("parameters", "initial_state", "initial_stress")}
    law = _law(file, data["law"])
    path = _path(file, data["path"], tables["start"])
    output = tables["output"]
    return Case(file, data.get("title", ""), law, path, {**options, **tables["driver"]}, output)


def read_law(file: str | FilePath) -> Material:
    """Read the law of a case file, which may have nothing else.

    Raises:
        MaterialError: It is wrong; the message has the file and the key.
    """
    file = FilePath(file)
    data = _read(file)
    if "law" not in data:
        raise _wrong(file, "law", "it is missing")
    return _law(file, data["law"])


def _read(file: FilePath) -> dict[str, Any]:
    try:
        with open(file, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise MaterialError(f"{file}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise MaterialError(f"{file}: is no TOML: {error}") from error


def run_case(
    file: str | FilePath, folder: str | FilePath | None = None
) -> tuple[DriveResult, list[FilePath]]:
    """Read a case file, run it, and write csv and PNG.

    Args:
        file: The case file.
        folder: Where to write; None: beside the case file.

    Returns:
        The result, and the files that were written.

    Raises:
        MaterialError: The case file is wrong.
        ConvergenceError: A specimen failed.
    """
    case = read_case(file)
    result = case.run()
    return result, case.write(result, folder)


def _wrong(file: FilePath, key: str, what: Any) -> MaterialError:
    return MaterialError(f"{file}: {key}: {what}")


def _check_keys(file: FilePath, where: str, given: dict, known: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            raise MaterialError(unknown(f"{file}: {where}", key, known))


def _check_plots(file: FilePath, output: dict) -> None:
    for pair in output.get("plots", []):
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is str for n in pair)):
            raise _wrong(file, "output.plots", f'expected pairs ["x", "y"]; got {pair!r}')


# -- The law ---------------------------------------------------------------------------------


def _law(file: FilePath, given: Any) -> Material:
    if isinstance(given, str):
        try:
            return find_law(_beside(file, given))
        except AdmatError as error:
            raise _wrong(file, "law", error) from error
    law = _built(file, "law", given)
    if not isinstance(law, Material):
        raise _wrong(file, "law", f"expected a table with a law's class; got {given!r}")
    return law


def _beside(file: FilePath, name: str) -> str:
    """A name whose file, if it has one, is looked for beside the case file."""
    place, colon, attribute = name.partition(":")
    a_file = place.endswith((".py", ".json"))
    return f"{file.parent / place}{colon}{attribute}" if a_file else name


def _built(file: FilePath, key: str, value: Any) -> Any:
    """What a value of the case file stands for: tables with a class are objects."""
    if isinstance(value, list):
        items = [_built(file, f"{key}[{k}]", item) for k, item in enumerate(value)]
        return tuple(items) if any(isinstance(item, eqx.Module) for item in items) else items
    if not isinstance(value, dict):
        return value
    fields = {name: _built(file, f"{key}.{name}", item) for name, item in value.items()}
    if "class" not in fields:
        if key == "law":
            raise _wrong(file, key, "the table has no key 'class'")
        return fields
    name = fields.pop("class")
    make = _class(file, key, name)
    _check_arguments(file, key, name, make, fields)
    try:
        return make(**fields)
    except (AdmatError, TypeError, ValueError) as error:
        raise _wrong(file, key, error) from error


def _class(file: FilePath, key: str, name: Any) -> Callable[..., Any]:
    if not isinstance(name, str):
        raise _wrong(file, f"{key}.class", f"expected a name; got {name!r}")
    place, _, own = name.partition(":")
    if own:
        try:
            found = vars(load_module(_beside(file, place))).items()
        except AdmatError as error:
            raise _wrong(file, f"{key}.class", error) from error
        classes = {n: v for n, v in found if isinstance(v, type) and issubclass(v, eqx.Module)}
    else:
        classes, own = library_classes(), name
    head, _, method = own.partition(".")
    if head not in classes:
        public = [n for n in classes if not n.startswith("_")]
        raise MaterialError(unknown(f"{file}: {key}.class", head, sorted(public)))
    make = getattr(classes[head], method, None) if method else classes[head]
    if not callable(make):
        raise _wrong(file, f"{key}.class", f"{head} has no '{method}'")
    return make


def _check_arguments(file: FilePath, key: str, name: str, make: Any, fields: dict) -> None:
    """Say what is wrong in the words of the file, before Python says it in its own."""
    known = {n: p for n, p in inspect.signature(make).parameters.items() if n != "solver"}
    for field in fields:
        if field not in known:
            raise MaterialError(unknown(f"{file}: {key}: {name}", field, known))
    needed = [n for n, p in known.items() if p.default is p.empty and n not in fields]
    if needed:
        raise _wrong(file, key, f"{name} needs {', '.join(needed)} as well")


# -- The path --------------------------------------------------------------------------------


def _path(file: FilePath, given: Any, start: dict[str, Any]) -> Path:
    if not (isinstance(given, list) and given and all(isinstance(s, dict) for s in given)):
        raise _wrong(file, "path", "expected segments, each below a line [[path]]")
    path = Path(start=start)
    for number, segment in enumerate(given, start=1):
        where = f"path, segment {number}"
        kinds = [kind for kind in _SEGMENTS if kind in segment]
        if len(kinds) != 1:
            what = " and ".join(kinds) or ", ".join(segment) or "nothing"
            raise _wrong(file, where, f"expected one of {', '.join(_SEGMENTS)}; got {what}")
        kind = kinds[0]
        more = {name: value for name, value in segment.items() if name != kind}
        _check_keys(file, f"{where}: {kind}", more, _SEGMENTS[kind])
        try:
            path = _longer(path, file, kind, segment[kind], more)
        except MaterialError as error:
            raise _wrong(file, where, error) from error
        except (TypeError, ValueError) as error:
            raise _wrong(file, where, f"{kind} = {segment[kind]!r}: {error}") from error
    return path


def _longer(path: Path, file: FilePath, kind: str, value: Any, more: dict[str, Any]) -> Path:
    if kind == "table":
        columns = read_csv(file.parent / value)
        names = more.get("columns", {n: n for n in columns if n != more.get("time", "time")})
        for name in (time := more.get("time", "time"), *names.values()):
            if name not in columns:
                raise MaterialError(unknown(f"{value}", name, columns))
        return path.table(columns[time], {ours: columns[n] for ours, n in names.items()})
    if kind == "hold":
        if not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
            raise MaterialError(f"hold: expected a list of components; got {value!r}")
        return path.hold(*value, **more)
    targets = value if kind == "cycles" else [value]
    if not (isinstance(targets, list) and all(isinstance(t, dict) for t in targets)):
        raise MaterialError(f"{kind}: expected values by component; got {value!r}")
    if kind == "ramp":
        return path.ramp(value, **more)
    return path.cycles(value, more.pop("count", 1), **more)
