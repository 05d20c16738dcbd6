"""The report of a fit as text."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .result import FitResult

#: Correlations from here on are named.
STRONG = 0.95
#: No more rows than these; a network has thousands.
ROWS = 30


def report(result: "FitResult", level: float) -> str:
    """Values with intervals, residuals, what is not determined, and what it cost."""
    s, law = result.statistics, type(result.law).__name__
    how = "converged" if result.converged else "NOT CONVERGED"
    lines = [
        f"fit: {law}, {len(result.names)} parameters, {len(result.experiments)} experiments, "
        f"{result.residuals.size} data: {how}",
        f"  {result.message}; {result.evaluations} evaluations, {result.refused} refused, "
        f"{result.refinements} times finer steps; {result.seconds:.1f} s",
    ]
    if len(result.costs) > 1:
        best = min(result.costs)
        same = sum(cost <= best * (1.0 + 1e-6) + 1e-300 for cost in result.costs)
        lines.append(f"  {same} of {len(result.costs)} starts ended at the best loss")
    scale = "sigma" if all(e.sigma for e in result.experiments) else "the largest value"
    freedom = f"{s.degrees_of_freedom} degrees of freedom"
    lines.append(
        f"  loss {result.cost:.6e}; standard deviation of a residual {s.noise:.4g} of {scale} "
        f"({result.noise}, {freedom})"
    )
    lines += _parameters(result, level)
    lines += ["", "  root mean square of (model - data):"]
    wide = max(len(e.name) for e in result.experiments)
    for experiment, rms in zip(result.experiments[:ROWS], result.rms, strict=False):
        parts = [f"{n} {v:.4g} {experiment.units.get(n, '')}".rstrip() for n, v in rms.items()]
        lines.append(f"    {experiment.name:<{wide}}  {', '.join(parts)}")
    if len(result.experiments) > ROWS:
        lines.append(f"    ... and {len(result.experiments) - ROWS} more")
    lines += _relations(result)
    t = result.times
    ratio = t["central differences"] / t["jacobian"]
    lines += [
        "",
        f"  derivatives of all residuals in {1e3 * t['jacobian']:.3g} ms; central differences "
        f"{1e3 * t['central differences']:.3g} ms ({ratio:.1f} times); one evaluation "
        f"{1e3 * t['evaluation']:.3g} ms",
        f"  data sha256 {result.data_hash}",
    ]
    return "\n".join(lines)


def _parameters(result: "FitResult", level: float) -> list[str]:
    units = {k: v for e in result.experiments for k, v in e.units.items()}
    wide = max(len(name) for name in result.names[:ROWS])
    intervals = result.confidence_intervals(level)
    errors = result.standard_errors
    percent = f"{100 * level:g} % interval"
    lines = ["", f"  {'parameter':<{wide}}  {'value':>12}  {'std. error':>10}  {percent}"]
    for name, value in list(zip(result.names, result.x, strict=True))[:ROWS]:
        low, high = intervals[name]
        interval = f"[{low:.6g}, {high:.6g}]" if np.isfinite([low, high]).all() else "none"
        unit = units.get(name, units.get(name.partition("[")[0], ""))
        line = f"  {name:<{wide}}  {value:>12.6g}  {errors[name]:>10.3g}  {interval} {unit}"
        lines.append(line.rstrip())
    if len(result.names) > ROWS:
        lines.append(f"  ... and {len(result.names) - ROWS} more")
    return lines


def _relations(result: "FitResult") -> list[str]:
    lines = []
    c, names = np.nan_to_num(result.correlations), result.names
    rows, columns = np.nonzero(np.triu(np.abs(c) > STRONG, 1))
    strong = sorted(zip(rows, columns, strict=True), key=lambda ij: -abs(c[ij]))
    if strong:
        text = [f"{names[i]} and {names[j]} {c[i, j]:+.4f}" for i, j in strong[:10]]
        lines += ["", f"  strongly correlated: {', '.join(text)}"]
    values = result.statistics.singular_values
    if len(values):
        low, high = values[-1], values[0]
        condition = f"{high / low:.3g}" if low > 0 else "infinite"
        lines += [
            "",
            f"  singular values (relative changes of parameters) {high:.3g} ... {low:.3g}, "
            f"condition {condition}",
        ]
    lines += [f"  WARNING: {warning}" for warning in result.warnings]
    return lines
