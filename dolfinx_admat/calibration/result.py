"""What a fit returns."""

import dataclasses
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.law_file import save_law
from dolfinx_admat.materials import Material

from .experiment import Experiment
from .free import FreeParameters
from .statistics import Statistics, confidence_intervals

if TYPE_CHECKING:
    from .fit import Iterate

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A fitted law, and everything about the fit. ``print(result)`` is a report.

    Attributes:
        law: The fitted law, of the structure of the first one.
        free: The free parameters as a vector: names, bounds, scales.
        x: Their values; (entries,).
        cost: The loss: for least squares half the sum of squares of the residuals.
        converged: The optimiser ended by itself.
        message: Why it ended.
        interrupted: By Ctrl-C; the best iterate until then is here.
        statistics: Covariance, correlations, singular values, warnings.
        noise: What the covariance is based on: "estimated" or "known".
        experiments: The experiments.
        predictions: Of each experiment: compared components by name, at the rows of the data.
        rms: Of each experiment: root mean square of (model - data) by component, in its unit,
            without weights.
        residuals: (model - data) sqrt(weight) / sigma, of all; (size,).
        history: Improvements, in order.
        costs: Loss that each start ended with, those that failed left out.
        evaluations: Number of evaluations.
        refused: How many of them the law did not admit, or failed at.
        refinements: How often steps of experiments were divided.
        seconds: Duration of the fit.
        times: Seconds of one evaluation, of the Jacobian, and of central differences instead.
        data_hash: sha256 of the data.
    """

    law: Material
    free: FreeParameters = dataclasses.field(repr=False)
    x: Floats
    cost: float
    converged: bool
    message: str
    interrupted: bool
    statistics: Statistics = dataclasses.field(repr=False)
    noise: str
    experiments: tuple[Experiment, ...] = dataclasses.field(repr=False)
    predictions: tuple[dict[str, Floats], ...] = dataclasses.field(repr=False)
    rms: tuple[dict[str, float], ...]
    residuals: Floats = dataclasses.field(repr=False)
    history: "tuple[Iterate, ...]" = dataclasses.field(repr=False)
    costs: tuple[float, ...]
    evaluations: int
    refused: int
    refinements: int
    seconds: float
    times: dict[str, float]
    data_hash: str

    @property
    def names(self) -> list[str]:
        """Name of each entry, e.g. ``hardening.Q[0]``."""
        return self.free.names

    @property
    def values(self) -> dict[str, Any]:
        """Fitted values by parameter: a number, or an array of its shape."""
        found = self.free.values(self.x)
        return {name: v if v.ndim else float(v) for name, v in found.items()}

    @property
    def covariance(self) -> Floats:
        """Of the entries; (entries, entries); see ``Statistics``."""
        return self.statistics.covariance

    @property
    def correlations(self) -> Floats:
        """(entries, entries)."""
        return self.statistics.correlations

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard deviation of each entry, by name; NaN on a bound, infinite if undetermined."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the data do not determine; parameters that stand on a bound."""
        return self.statistics.warnings

    def confidence_intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Interval of each entry, by name; see ``calibration.confidence_intervals``.

        Args:
            level: Confidence level, between 0 and 1.
        """
        known = self.noise == "known"
        return confidence_intervals(self.free, self.x, self.statistics, level, known)

    def report(self, level: float = 0.95) -> str:
        """A table of the fit as text."""
        from ._report import report

        return report(self, level)

    def __str__(self) -> str:
        """The report."""
        return self.report()

    def save(self, file: str | FilePath, **more: Any) -> FilePath:
        """Write the law with covariance, units, data hash and errors into one file: data only.

        ``load_law`` reads it; see ``save_law``.

        Args:
            file: The file, by custom ``NAME.json``.
            more: Further arguments of ``save_law``, such as ``notes``; they come first.

        Returns:
            The file.

        Raises:
            MaterialError: The law holds what is no data.
        """
        units = {k: v for e in self.experiments for k, v in e.units.items()}
        ranges: dict[str, tuple[float, float]] = {}
        for experiment in self.experiments:
            for name, values in experiment.data.items():
                low, high = ranges.get(name, (np.inf, -np.inf))
                if not np.isnan(values).all():
                    low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
                    ranges[name] = float(low), float(high)
        known = {
            "units": units or None,
            "fitted": self.names,
            "covariance": self.covariance,
            "training_range": ranges,
            "data_hash": self.data_hash,
            "errors": {
                f"{k} {e.name}": rms
                for k, (e, rms) in enumerate(zip(self.experiments, self.rms, strict=True))
            },
        }
        return save_law(file, self.law, **{**known, **more})

    def plot(self, file: str | FilePath | None = None) -> Any:
        """Curves, residuals and correlations in one figure; see ``calibration.plot``."""
        from .plot import plot

        return plot(self, file)
