"""An experiment: what was imposed on a specimen, and what was measured."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory._components import unknown
from dolfinx_admat.laboratory._csv import read_csv
from dolfinx_admat.laboratory._plan import path_sizes
from dolfinx_admat.laboratory.path import Path

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One specimen: the path that it was taken along, and measured components on the way.

    ``Experiment(Path().table(time, {"strain_xx": strain}), {"stress_xx": stress})``

    Components are named as in ``Path`` and ``DriveResult``. NaN is a gap: nothing was measured.

    Attributes:
        path: What was imposed, of one specimen. One step from each measurement to the next.
        data: Measured components by name, at the ends of the steps, (steps,), or with time zero
            in front, (steps + 1,). The value at time zero is compared only if the path begins away
            from rest; at rest it says nothing about the law.
        sigma: Standard deviation of the noise, in the unit of the component: one number for all,
            or by component, each one number or as many as there are data. None: not known; each
            component is then measured by its largest value in all experiments.
        weights: Factors (>= 0) of the squared residuals, in the same form as ``sigma``.
        name: For messages, reports and plots.
        units: Units by component or parameter, for reports and plots.
        parameters: Known parameters of this specimen that differ from the law's, by dotted name.
        initial_state: State variables that differ from the law's initial state, by name.
        x: Abscissa of plots, a component or "time"; None: the first component that the path moves.

    Raises:
        MaterialError: There are no data, lengths differ, or something is no number.
    """

    path: Path
    data: Mapping[str, Any]
    _: dataclasses.KW_ONLY
    sigma: Any = None
    weights: Any = None
    name: str = "experiment"
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    initial_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    x: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, Path) or not self.path.segments:
            raise self._wrong(f"expected a Path with segments; got {self.path!r}")
        if sizes := path_sizes(self.path):
            raise self._wrong(
                f"is one specimen; the path has several values of {', '.join(sizes)}: make one "
                "experiment of each"
            )
        if not isinstance(self.data, Mapping) or not self.data:
            raise self._wrong(f"no data; give measured components by name; got {self.data!r}")
        steps = self.path.steps
        data = {str(name): self._numbers(f"data '{name}'", v) for name, v in self.data.items()}
        for name, values in data.items():
            if values.ndim != 1 or values.size not in (steps, steps + 1):
                raise self._wrong(
                    f"data '{name}' have shape {values.shape}, but the path has {steps} steps; "
                    f"expected ({steps},), or ({steps + 1},) with time zero"
                )
            if np.isinf(values).any():
                raise self._wrong(
                    f"data '{name}' are infinite at row {np.argmax(np.isinf(values))}"
                )
        if len({values.size for values in data.values()}) > 1:
            raise self._wrong("all data should have time zero, or none; fill with NaN")
        if all(np.isnan(values).all() for values in data.values()):
            raise self._wrong("no data: all are NaN")
        object.__setattr__(self, "data", data)
        for what in ("sigma", "weights"):
            if getattr(self, what) is not None:
                object.__setattr__(self, what, self._by_column(what))

    def _wrong(self, what: str) -> MaterialError:
        return MaterialError(f"Experiment '{self.name}': {what}")

    def _numbers(self, what: str, value: Any) -> Floats:
        try:
            return np.array(value, float)
        except (TypeError, ValueError) as error:
            raise self._wrong(f"{what}: expected numbers; got {value!r}") from error

    def _by_column(self, what: str) -> dict[str, Floats]:
        """``sigma`` or ``weights`` for each component; (), or as the data."""
        given = getattr(self, what)
        if isinstance(given, Mapping):
            for name in given:
                if name not in self.data:
                    raise MaterialError(
                        unknown(f"Experiment '{self.name}': {what}", name, self.data)
                    )
        else:
            given = dict.fromkeys(self.data, given)
        found = {}
        for name, value in given.items():
            array = self._numbers(f"{what} '{name}'", value)
            if array.shape not in ((), self.data[name].shape):
                raise self._wrong(
                    f"{what} '{name}' has shape {array.shape}, expected one number, or "
                    f"{self.data[name].shape} as the data"
                )
            good = array > 0 if what == "sigma" else array >= 0
            if not (good & np.isfinite(array)).all():
                limit = "> 0" if what == "sigma" else ">= 0"
                raise self._wrong(f"{what} '{name}' must be finite numbers {limit}; got {value!r}")
            found[name] = array
        return found

    @classmethod
    def from_csv(
        cls,
        file: str | FilePath,
        *,
        imposed: Mapping[str, str] | Sequence[str],
        compared: Mapping[str, str] | Sequence[str],
        time: str | None = None,
        factors: Mapping[str, float] | None = None,
        rows: Mapping[str, float] | slice | None = None,
        start: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> "Experiment":
        """Read an experiment from a csv file: names, then numbers; lines with # are skipped.

        Args:
            file: The file. An empty cell (or nan) of a compared column is a gap.
            imposed: What controls the specimen, strains or stresses: column of the file by
                component, ``{"strain_xx": "e"}``, or a list where the names are the same.
            compared: What is measured, in the same form.
            time: Column of the time; None: the rows are one unit of time apart, for laws that are
                not rate-dependent. If the first time is 0 (or there is no time), the first row is
                where the path starts.
            factors: Column times factor is the component, e.g. ``{"strain_xy": 0.5}`` of an
                engineering shear.
            rows: Which rows to take: those where a column has a value, ``{"mode": 0}``, or a slice.
            start: Further values at time zero, as ``Path(start=...)``; they stay.
            more: Further arguments of ``Experiment``.

        Raises:
            MaterialError: Missing file or column, gaps in what is imposed, times that do not
                increase, or what ``Experiment`` says.
        """
        for label, names in (("imposed", imposed), ("compared", compared)):
            if isinstance(names, str):
                raise MaterialError(
                    f"{file}: {label}={names!r}: expected columns by component, or a list of names"
                )
        table = read_csv(file, gaps=True)
        imposed, compared = (
            dict(g) if isinstance(g, Mapping) else {n: n for n in g} for g in (imposed, compared)
        )
        wanted = [*imposed.values(), *compared.values(), *([] if time is None else [time])]
        wanted += [] if rows is None or isinstance(rows, slice) else list(rows)
        for column in wanted:
            if column not in table:
                raise MaterialError(unknown(f"{file}: columns", column, table))
        if not imposed or not compared:
            raise MaterialError(f"{file}: name at least one imposed and one compared component")
        factors = dict(factors or {})
        for name in factors:
            if name not in (*imposed, *compared):
                raise MaterialError(unknown(f"{file}: factors", name, (*imposed, *compared)))
        count = len(table[wanted[0]])
        chosen: Any = np.arange(count)
        if isinstance(rows, slice):
            chosen = chosen[rows]
        elif rows is not None:
            chosen = chosen[np.all([table[n] == value for n, value in rows.items()], axis=0)]
        if len(chosen) == 0:
            raise MaterialError(f"{file}: no row is left of {count} by rows={rows!r}")
        pick = lambda n, c: factors.get(n, 1.0) * table[c][chosen]  # noqa: E731
        given = {name: pick(name, column) for name, column in imposed.items()}
        for name, values in given.items():
            if not np.isfinite(values).all():
                raise MaterialError(
                    f"{file}: the imposed column '{imposed[name]}' has a gap at row "
                    f"{1 + chosen[np.argmax(~np.isfinite(values))]}; only compared ones may"
                )
        times = np.arange(float(len(chosen))) if time is None else table[time][chosen]
        try:
            path = Path(start=dict(start or {})).table(times.tolist(), given)
            data = {name: pick(name, column) for name, column in compared.items()}
            return cls(path, data, **{"name": FilePath(file).stem, **more})
        except MaterialError as error:
            raise MaterialError(f"{file}: {error}") from error

    @property
    def abscissa(self) -> str:
        """Name of the abscissa of plots."""
        segment = self.path.segments[0]
        moved = [*segment.to, *segment.table, *self.path.names()]
        return self.x or next(iter(moved), "time")

    def digest(self) -> str:
        """sha256 of what was imposed and measured, weights included; not of names and units."""
        text = hashlib.sha256()
        path = self.path
        known = [path.start, *(dataclasses.asdict(s) for s in path.segments)]
        for part in (known, self.data, self.sigma, self.weights, self.parameters):
            text.update(_canonical(part).encode())
        text.update(_canonical(self.initial_state).encode())
        return text.hexdigest()


def data_hash(experiments: Sequence[Experiment]) -> str:
    """sha256 of several experiments, in order."""
    return hashlib.sha256("".join(e.digest() for e in experiments).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """Text that is the same for the same numbers, on any machine."""
    if value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list | tuple) and any(isinstance(v, Mapping | str) for v in value):
        return "[" + ",".join(_canonical(v) for v in value) + "]"
    array = np.asarray(value, float)
    numbers = ",".join(float(v).hex() for v in array.ravel())
    return f"{array.shape}:{numbers}"
