"""What a training returns, and how large the errors of a law are."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dolfinx_admat.calibration import Experiment
from dolfinx_admat.calibration._response import values_and_status
from dolfinx_admat.calibration._specimens import Refused, Specimens
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.law_file import save_law
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import require_float64

from ._arguments import check_law
from ._objective import pieces, quantity_sizes, some
from .training_range import TrainingRange


class Epoch(NamedTuple):
    """All training paths once.

    Attributes:
        number: From 1; 0 is before the first update.
        training: Mean loss in the updates of the epoch; without validation paths, at its end.
        validation: Loss of the validation paths at its end; NaN: there are none.
        failed: How many training paths failed, and were left out.
        skipped: How many updates were left out, as all of their paths failed.
        seconds: Since the training began.
    """

    number: int
    training: float
    validation: float
    failed: int
    skipped: int
    seconds: float


class NormalisedError(NamedTuple):
    """How far the answers of a law are from data.

    Attributes:
        value: Root mean square of (law - data) over that of the data, of all paths in which the
            law converges; NaN: it does in none.
        failed: Number of paths in which it does not, also with divided steps.
        paths: Number of all.
        each: Of each path, over the root mean square of the data of all; NaN where it failed.
    """

    value: float
    failed: int
    paths: int
    each: tuple[float, ...]

    def __str__(self) -> str:
        """In percent."""
        failed = f", {self.failed} of {self.paths} paths failed" if self.failed else ""
        return f"{100.0 * self.value:.3g} %{failed}"


def normalised_error(
    law: Material, experiments: Experiment | Sequence[Experiment]
) -> NormalisedError:
    """Root-mean-square error of a law along paths, over the root mean square of the data.

    Components of several quantities (a stress, a strain) are each measured by the root mean square
    of their quantity. Weights and sigmas do not count; gaps are left out.

    Args:
        law: The law.
        experiments: What it is compared with.

    Raises:
        MaterialError: The experiments do not fit the law, or it is none.
    """
    require_float64()
    check_law("normalised_error", law)
    specimens = Specimens(law, experiments)
    each = _squares(law, specimens)
    if failed := [k for k, square in enumerate(each) if np.isnan(square[0])]:
        try:
            each = _squares(law, specimens.divided(law, failed))
        except Refused:
            pass
    good = [e for e in each if not np.isnan(e[0])]
    square, zero = sum(e[0] for e in good), sum(e[1] for e in good)
    size = np.sqrt(sum(e[1] for e in each) / sum(e[2] for e in each)) or 1.0
    value = float(np.sqrt(square / zero)) if zero > 0.0 else float("nan")
    errors = tuple(float(np.sqrt(e[0] / e[2]) / size) for e in each)
    return NormalisedError(value, len(each) - len(good), len(each), errors)


def _squares(law: Material, specimens: Specimens) -> list[tuple[float, float, int]]:
    """Of each path: sums of squares of the error (NaN: it failed) and the data, and how many."""
    sizes = quantity_sizes(specimens.experiments, specimens.experiments)
    found: list[Any] = [None] * len(specimens.experiments)
    nothing = jnp.zeros(0)
    for group in specimens.groups:
        done = [
            values_and_status(law, (), nothing, nothing, some(group.schedules, piece))
            for piece in pieces(range(len(group.members)))
        ]
        values, codes = (np.concatenate(each) for each in zip(*done, strict=True))
        for k, member in enumerate(group.members):
            data = specimens.data[member]
            scale = np.array([sizes[n] for n in specimens.experiments[member].data])
            seen = ~np.isnan(data)
            error = ((values[k][: len(data), :-1] - data) / scale)[seen]
            failed = codes[k] != 0 or not np.isfinite(error).all()
            square = np.nan if failed else float(error @ error)
            known = (data / scale)[seen]
            found[member] = (square, float(known @ known), int(seen.sum()))
    return found


@dataclasses.dataclass(frozen=True)
class Training:
    """A trained law, and everything about its training. ``print(training)`` is a report.

    Attributes:
        law: The law at its best epoch.
        best_epoch: Which one that was: of the least loss of the validation paths (without any:
            of the training paths).
        best_loss: That loss.
        history: All epochs, number 0 first.
        stopped: Why it ended.
        interrupted: By Ctrl-C.
        epochs: Number of epochs that were done.
        updates: Number of updates.
        skipped: Updates that were left out, as all of their paths failed.
        failed: How often a path failed, and was left out of an update.
        refinements: How often steps of paths were divided.
        seconds: Duration, also of earlier parts of a training that was resumed.
        weights: Number of weights that were trained.
        parameters: Number of physical parameters that were trained.
        training_paths: Numbers of the experiments that were trained on.
        validation_paths: And validated on; those given separately are numbered after the others.
        steps: Number of steps of all paths.
        data_hash: sha256 of the data, in order.
        settings: What the training was told.
        training_error: See ``normalised_error``.
        validation_error: None: there are no validation paths.
        versions: Of the software.
        experiments: What the law was trained on.
    """

    law: Material = dataclasses.field(repr=False)
    best_epoch: int
    best_loss: float
    history: tuple[Epoch, ...] = dataclasses.field(repr=False)
    stopped: str
    interrupted: bool
    epochs: int
    updates: int
    skipped: int
    failed: int
    refinements: int
    seconds: float
    weights: int
    parameters: int
    training_paths: tuple[int, ...]
    validation_paths: tuple[int, ...]
    steps: int
    data_hash: str
    settings: Mapping[str, Any] = dataclasses.field(repr=False)
    training_error: NormalisedError
    validation_error: NormalisedError | None
    versions: Mapping[str, str] = dataclasses.field(repr=False)
    experiments: tuple[Experiment, ...] = dataclasses.field(repr=False)

    @functools.cached_property
    def training_range(self) -> TrainingRange:
        """What the law went through in its training; it is driven along the paths for that.

        Raises:
            MaterialError: The law has no features to compare, see ``TrainingRange``.
        """
        return TrainingRange.of(self.law, self.experiments)

    def report(self) -> str:
        """Data, errors, size and duration as text."""
        paths = f"{len(self.training_paths)} training paths"
        if self.validation_paths:
            paths += f", {len(self.validation_paths)} validation paths"
        time = 1e3 * self.seconds / max(1, self.updates)
        lines = [
            f"train: {type(self.law).__name__}, {self.weights} weights and {self.parameters} "
            f"physical parameters",
            f"  {paths}, {self.steps} steps; data sha256 {self.data_hash}",
            f"  {self.stopped}; {self.epochs} epochs, {self.updates} updates in "
            f"{self.seconds:.1f} s ({time:.3g} ms each, all included)",
            f"  best at epoch {self.best_epoch}: loss {self.best_loss:.4e} "
            f"(at first {_watched(self.history[0]):.4e})",
            f"  normalised error: training {self.training_error}"
            + (f", validation {self.validation_error}" if self.validation_error else ""),
        ]
        if self.failed or self.skipped or self.refinements:
            lines.append(
                f"  {self.failed} times a path failed and was left out, {self.skipped} updates "
                f"were skipped, steps were divided {self.refinements} times"
            )
        told = ", ".join(f"{k} {v}" for k, v in self.settings.items())
        lines += [f"  {told}", "  " + ", ".join(f"{k} {v}" for k, v in self.versions.items())]
        return "\n".join(lines)

    def __str__(self) -> str:
        """The report."""
        return self.report()

    def plot(self, path: str | FilePath | None = None) -> Any:
        """Curves of the losses.

        Args:
            path: Where to save the picture (.png, .pdf, .svg); None: do not.

        Returns:
            The matplotlib figure.

        Raises:
            MaterialError: matplotlib is not installed.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MaterialError(
                "plot: matplotlib is not installed; pip install matplotlib"
            ) from error
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasAgg(figure)  # no window, whatever the environment says
        axes = figure.add_subplot()
        numbers = [epoch.number for epoch in self.history]
        axes.semilogy(numbers, [e.training for e in self.history], lw=1.2, label="training")
        if self.validation_paths:
            axes.semilogy(numbers, [e.validation for e in self.history], lw=1.2, label="validation")
        axes.plot([self.best_epoch], [self.best_loss], "ko", ms=5, mfc="none", label="best")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (1: a law that answers zero)")
        axes.set_title(type(self.law).__name__)
        axes.grid(alpha=0.3)
        axes.legend()
        if path is not None:
            FilePath(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150)
        return figure

    def save(
        self,
        path: str | FilePath,
        *,
        units: Mapping[str, str] | None = None,
        training_range: Any = None,
        notes: Any = None,
    ) -> FilePath:
        """Write the law with its training range, data hash, errors and settings into one file.

        It holds data only; ``load_law`` reads it; see ``save_law``.

        Args:
            path: The file, by custom ``NAME.json``.
            units: Units by quantity; None: those that the experiments give.
            training_range: A ``TrainingRange``, or (low, high) by name; None: that of the training,
                if the law has one.
            notes: Anything else; they are put under "notes" beside the settings.

        Returns:
            The file.

        Raises:
            MaterialError: The law holds what is no data.
        """
        if units is None:
            units = {k: v for e in self.experiments for k, v in e.units.items()} or None
        if training_range is None:
            try:
                training_range = self.training_range
            except MaterialError:  # a law without features
                training_range = None
        if hasattr(training_range, "to_mapping"):
            training_range = training_range.to_mapping()
        errors: dict[str, Any] = {}
        for name in ("training", "validation"):
            error = getattr(self, f"{name}_error")
            if error is not None:
                errors[f"{name} error"] = error.value
                errors[f"{name} paths failed"] = error.failed
        about = {
            "settings": dict(self.settings),
            "epochs": self.epochs,
            "best epoch": self.best_epoch,
            "best loss": self.best_loss,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "training paths": list(self.training_paths),
            "validation paths": list(self.validation_paths),
            "steps": self.steps,
            "versions": dict(self.versions),
        }
        return save_law(
            path,
            self.law,
            units=units,
            training_range=training_range,
            data_hash=self.data_hash,
            errors=errors,
            notes={"training": about} if notes is None else {"training": about, "notes": notes},
        )


def _watched(epoch: Epoch) -> float:
    return epoch.training if np.isnan(epoch.validation) else epoch.validation
