"""Pictures of a fit by one call. Needs matplotlib, which is imported here only."""

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from dolfinx_admat.errors import MaterialError

if TYPE_CHECKING:
    from .result import FitResult

#: More curves than that go without a legend, more entries without numbers.
_LEGEND, _NUMBERS = 8, 12


def plot(result: "FitResult", file: str | FilePath | None = None) -> Any:
    """Measured and fitted curves, their differences, and the correlations of the parameters.

    Args:
        result: From ``fit``.
        file: Where to save the picture (.png, .pdf, .svg); None: do not.

    Returns:
        The matplotlib figure.

    Raises:
        MaterialError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MaterialError("plot: matplotlib is not installed; pip install matplotlib") from error
    names = list(dict.fromkeys(n for e in result.experiments for n in e.data))
    figure = Figure(figsize=(5.0 * len(names) + 4.5, 6.4), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment says
    widths = [5.0] * len(names) + [4.5]
    grid = figure.add_gridspec(2, len(names) + 1, height_ratios=[3, 1], width_ratios=widths)
    units = {k: v for e in result.experiments for k, v in e.units.items()}
    for number, name in enumerate(names):
        curves = figure.add_subplot(grid[0, number])
        differences = figure.add_subplot(grid[1, number], sharex=curves)
        _curves(result, name, curves, differences)
        unit = f" [{units[name]}]" if name in units else ""
        curves.set_ylabel(name.replace("_", " ") + unit)
        differences.set_ylabel("model - data")
        abscissas = dict.fromkeys(e.abscissa for e in result.experiments if name in e.data)
        differences.set_xlabel(" / ".join(a.replace("_", " ") for a in abscissas))
        for axes in (curves, differences):
            axes.grid(alpha=0.3)
    curves_with_legend = figure.axes[0]
    if len(result.experiments) <= _LEGEND:
        curves_with_legend.legend()
    curves_with_legend.set_title(f"{type(result.law).__name__}: points measured, lines fitted")
    _correlations(result, figure, figure.add_subplot(grid[:, -1]))
    if file is not None:
        FilePath(file).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    return figure


def _curves(result: "FitResult", name: str, curves: Any, differences: Any) -> None:
    for k, (e, found) in enumerate(zip(result.experiments, result.predictions, strict=True)):
        if name not in e.data:
            continue
        x, fitted, color = found["x"], found[name], f"C{k % 10}"
        data = e.data[name][-len(fitted) :]
        curves.plot(x, data, "o", ms=3.5, mfc="none", color=color, label=e.name)
        curves.plot(x, fitted, "-", lw=1.4, color=color)
        differences.plot(x, fitted - data, ".-", lw=0.6, ms=3, color=color)


def _correlations(result: "FitResult", figure: Any, axes: Any) -> None:
    c, n = result.correlations, len(result.names)
    image = axes.imshow(c, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    axes.set_title("correlations")
    figure.colorbar(image, ax=axes, shrink=0.6)
    if n > _NUMBERS:
        return
    axes.set_xticks(range(n), result.names, rotation=60, ha="right")
    axes.set_yticks(range(n), result.names)
    for i, j in np.ndindex(n, n):
        if np.isfinite(c[i, j]):
            shade = "white" if abs(c[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{c[i, j]:.2f}", ha="center", va="center", color=shade, fontsize=8)
