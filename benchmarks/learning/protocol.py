"""The same procedure for every model: tune, train with several seeds, test.

Tuning: each configuration is trained once with the first seed, and the least validation loss
decides; test data are never looked at. Then the chosen one is trained with all seeds, each with its
own weights to begin with (but for classical laws), order of paths and validation paths. The median
over seeds is reported.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dolfinx_admat import learning
from dolfinx_admat.calibration import Experiment
from dolfinx_admat.errors import ConvergenceError

from .models import Configuration

Say = Any


class Budget(NamedTuple):
    """What every model gets.

    Attributes:
        updates: Of its weights, in each training.
        batch: Paths in each update.
        seeds: Number of seeds.
        validation: Part of the training paths that are kept for validation.
    """

    updates: int = 400
    batch: int = 4
    seeds: int = 3
    validation: float = 0.2

    def epochs(self, paths: int, keep: bool = True) -> int:
        """That many updates in epochs of so many paths, some of which are kept for validation."""
        kept = max(1, round(self.validation * paths)) if keep and self.validation else 0
        return max(1, round(self.updates / -(-(paths - kept) // self.batch)))


class Trained(NamedTuple):
    """A model after training with all seeds.

    Attributes:
        configuration: The chosen one.
        trainings: One for each seed.
        seconds: CPU time of each; the first one compiles.
    """

    configuration: Configuration
    trainings: tuple[learning.Training, ...]
    seconds: tuple[float, ...]

    @property
    def best(self) -> Any:
        """The law of the seed with the least validation loss."""
        return min(self.trainings, key=lambda t: t.best_loss).law


def train_once(
    configuration: Configuration,
    data: Sequence[Experiment],
    budget: Budget,
    seed: int,
    validation: Sequence[Experiment] | None = None,
) -> tuple[learning.Training, float]:
    """One training by ``learning.train`` of whatever model, and its CPU time.

    Without ``validation`` some of the data serve for that.
    """
    began = time.process_time()
    done = learning.train(
        configuration.make(data, seed),
        data,
        validation=budget.validation if validation is None else validation,
        epochs=budget.epochs(len(data), validation is None),
        batch=budget.batch,
        learning_rate=configuration.learning_rate,
        seed=seed,
        progress=False,
    )
    return done, time.process_time() - began


def tuned(
    configurations: Sequence[Configuration],
    data: Sequence[Experiment],
    budget: Budget,
    say: Say = lambda text: None,
) -> Trained:
    """Choose a configuration, and train it with all seeds; its first training is the first."""
    tried = []
    for configuration in configurations:
        try:
            found, seconds = train_once(configuration, data, budget, seed=0)
        except ConvergenceError as error:
            say(f"    {configuration.label}: failed ({error})")
            continue
        tried.append((found.best_loss, len(tried), configuration, (found, seconds)))
        say(
            f"    {configuration.label}: validation {found.best_loss**0.5:.4f}, "
            f"{seconds:.1f} s of CPU time"
        )
    if not tried:
        raise ConvergenceError("all configurations failed")
    _, _, chosen, first = min(tried)
    others = [train_once(chosen, data, budget, seed) for seed in range(1, budget.seeds)]
    return Trained(chosen, *zip(first, *others, strict=True))


def retrained(
    configuration: Configuration,
    data: Sequence[Experiment],
    budget: Budget,
    validation: Sequence[Experiment] | None = None,
) -> Trained:
    """Train a configuration that was chosen before with all seeds on other data."""
    seeds = range(budget.seeds)
    each = [train_once(configuration, data, budget, seed, validation) for seed in seeds]
    return Trained(configuration, *zip(*each, strict=True))


class Errors(NamedTuple):
    """Of one law: root-mean-square error over that of the data by test set, and failed paths."""

    by_set: dict[str, float]
    failed: int


def errors(law: Any, tests: Mapping[str, Sequence[Experiment]]) -> Errors:
    """All test sets at once, since that is one program. A failed path counts as zero stress."""
    every = [e for some in tests.values() for e in some]
    found = learning.normalised_error(law, every)
    squares = [sum(float(np.nansum(v**2)) for v in e.data.values()) for e in every]
    counts = [sum(int(np.sum(~np.isnan(v))) for v in e.data.values()) for e in every]
    unit = sum(squares) / sum(counts)
    wrong = [
        square if np.isnan(each) else each**2 * unit * count
        for each, square, count in zip(found.each, squares, counts, strict=True)
    ]
    by_set, at = {}, 0
    for name, some in tests.items():
        rows = slice(at, at + len(some))
        by_set[name] = float(np.sqrt(sum(wrong[rows]) / sum(squares[rows])))
        at += len(some)
    return Errors(by_set, found.failed)


def median_errors(
    trained: Trained, tests: Mapping[str, Sequence[Experiment]]
) -> tuple[dict[str, float], float]:
    """By test set, the median over seeds; and the median number of failed paths."""
    each = [errors(t.law, tests) for t in trained.trainings]
    names = list(tests)
    return (
        {n: float(np.median([e.by_set[n] for e in each])) for n in names},
        float(np.median([e.failed for e in each])),
    )
