"""Measured fields of displacements, as image correlation gives them: tables of points and steps."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError

from ._csv import read_csv

Floats = npt.NDArray[np.float64]
_AXES, _VALUES, _TIMES = ("x", "y", "z"), ("ux", "uy", "uz"), ("time", "step")


@dataclasses.dataclass(frozen=True)
class FieldData:
    """Displacements measured at points, at one or several times.

    A sum of squares, ``sum(weights * (computed - values)**2)``, leaves out the gaps: these have
    the weight 0, and the value 0.

    Attributes:
        points: Points; (points, axes), units of length.
        times: Times, or numbers of steps; (steps,). One 0 if the file has neither.
        values: Displacements; (steps, points, components).
        weights: Weights (>= 0); (steps, points, components).
        components: Which components were measured, e.g. (0, 1).
    """

    points: Floats
    times: Floats
    values: Floats
    weights: Floats
    components: tuple[int, ...]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Where there are data; (steps, points, components)."""
        return self.weights > 0.0


def read_field_data(
    file: str | Path, columns: Mapping[str, str] | None = None, *, scale: float = 1.0
) -> FieldData:
    """Read a csv file with a row for each point, or for each time and point.

    Columns: ``x``, ``y`` (and ``z``), at least one of ``ux``, ``uy``, ``uz``; optional ``weight``,
    and ``time`` or ``step``. Rows are in the order of time. Gaps are empty cells, ``nan``, or rows
    that are not there at some times. A point is known by its coordinates.

    Args:
        file: The file.
        columns: Names in the file, where they are others: ``{"x": "X [mm]", "ux": "U"}``.
        scale: Factor for coordinates and displacements, e.g. 1e-3 from mm to m.

    Raises:
        MaterialError: A column is missing, something is no number, a coordinate or a time is
            missing, times decrease, a point comes twice at one time, or a weight is negative.
    """
    file = Path(file)
    table = _renamed(file, read_csv(file, gaps=True), dict(columns or {}))
    axes = [name for name in _AXES if name in table]
    measured = [name for name in _VALUES if name in table]
    if axes not in (["x", "y"], ["x", "y", "z"]) or not measured:
        raise MaterialError(
            f"{file}: got columns {', '.join(table)}; expected x, y (and z), at least one of ux, "
            "uy, uz, and perhaps weight, and time or step; give `columns` if yours have other names"
        )
    if set(measured) - set(_VALUES[: len(axes)]):
        raise MaterialError(f"{file}: there is a column uz but no z")
    clocks = [name for name in _TIMES if name in table]
    if len(clocks) > 1:
        raise MaterialError(f"{file}: got both time and step; expected one of them")
    rows = len(table["x"])
    time = table[clocks[0]] if clocks else np.zeros(rows)
    weight = table.get("weight", np.ones(rows))
    places = np.stack([table[name] for name in axes], axis=1)
    _check_rows(file, ~np.isfinite(places).all(axis=1), "a coordinate is missing or not finite")
    _check_rows(file, ~np.isfinite(time), f"{clocks[0] if clocks else ''} is missing or not finite")
    _check_rows(file, np.diff(time, prepend=time[0]) < 0.0, "time decreases; sort rows by time")
    _check_rows(file, (weight < 0.0) | np.isinf(weight), "the weight is negative or infinite")
    given = np.stack([table[name] for name in measured], axis=1)
    _check_rows(file, np.isinf(given).any(axis=1), "a displacement is infinite")

    times, step = np.unique(time, return_inverse=True)
    points, point = _in_order_of_appearance(places)
    _, first = np.unique(np.stack([step, point]), axis=1, return_index=True)
    again = np.ones(rows, bool)
    again[first] = False
    _check_rows(file, again, "the point was there already, at the same time")
    shape = (len(times), len(points), len(measured))
    values, weights = np.zeros(shape), np.zeros(shape)
    weights[step, point] = np.where(np.isnan(given), 0.0, np.nan_to_num(weight)[:, None])
    values[step, point] = np.where(weights[step, point] > 0.0, given * scale, 0.0)
    _check_rows(file, np.full(1, not (weights > 0.0).any()), "there is nothing but gaps")
    components = tuple(_VALUES.index(name) for name in measured)
    return FieldData(points * scale, times, values, weights, components)


def _renamed(file: Path, table: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    known = (*_AXES, *_VALUES, *_TIMES, "weight")
    for ours, theirs in names.items():
        if ours not in known:
            raise MaterialError(f"{file}: columns are for {', '.join(known)}; got '{ours}'")
        if theirs not in table:
            raise MaterialError(f"{file}: has no column '{theirs}'; it has {', '.join(table)}")
    wanted = {name: name for name in known if name in table} | names
    return {ours: table[theirs] for ours, theirs in wanted.items()}


def _check_rows(file: Path, bad: npt.NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise MaterialError(f"{file}: row {int(np.argmax(bad)) + 1}: {what}")


def _in_order_of_appearance(places: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Different points, and for each row the number of its point."""
    _, first, index = np.unique(places, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return places[np.sort(first)], number[index.ravel()]
