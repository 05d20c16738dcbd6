"""Plots of results by one call. Needs matplotlib, which is imported here only."""

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from dolfinx_admat.errors import MaterialError

if TYPE_CHECKING:
    from .result import DriveResult

#: More specimens than that get no legend.
_LEGEND = 12


def plot(
    result: "DriveResult",
    x: str | None = None,
    y: str | None = None,
    file: str | FilePath | None = None,
    *,
    units: dict[str, str] | None = None,
    labels: list[str] | None = None,
    title: str | None = None,
) -> Any:
    """Plot one component against another, one line per specimen.

    Args:
        result: From the driver.
        x: Name of a component or "time"; None: the first component that changes.
        y: Name of a component; None: the output that belongs to it.
        file: Where to save the picture (.png, .pdf, .svg); None: do not.
        units: Units for the labels of the axes, by component.
        labels: One per specimen, for the legend.
        title: Default: the law.

    Returns:
        The matplotlib figure.

    Raises:
        MaterialError: matplotlib is not installed; unknown name.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MaterialError("plot: matplotlib is not installed; pip install matplotlib") from error
    x0, y0 = default_axes(result)
    x, y = x or x0, y or y0
    units = units or {}
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment says
    axes = figure.add_subplot()
    lines = zip(np.atleast_2d(result[x]), np.atleast_2d(result[y]), strict=True)
    for number, (across, up) in enumerate(lines):
        label = labels[number] if labels else f"specimen {number}"
        axes.plot(across, up, label=label, marker="." if len(up) < 40 else None)
    for name, put in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
        put(name.replace("_", " ") + (f" [{units[name]}]" if name in units else ""))
    axes.set_title(type(result.law).__name__ if title is None else title)
    axes.grid(alpha=0.3)
    if 1 < result.specimens <= _LEGEND or labels:
        axes.legend()
    if file is not None:
        FilePath(file).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    return figure


def default_axes(result: "DriveResult") -> tuple[str, str]:
    """The input component that changes most, and the output that does work with it."""
    from ._control import control_pairs

    for name, output in control_pairs(result.law).items():
        inputs = [n for n in result.names if n.rpartition("_")[0] == name or n == name]
        if inputs:
            best = max(inputs, key=lambda n: _change(np.atleast_2d(result[n])))
            return best, output + best.removeprefix(name)
    return "time", next(n for n in result.names if n != "time")


def _change(values: np.ndarray) -> float:
    return float(np.nanmax(np.abs(values - values[:, :1])))
