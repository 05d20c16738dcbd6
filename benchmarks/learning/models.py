"""The four models of a truth, each in three configurations: the tuning budget is the same."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dolfinx_admat.calibration import Experiment

from . import blackbox
from .data import histories, scales
from .truths import Truth

MODELS = ("implicit_gsm", "feedforward", "lstm", "wrong_family")
BLACK_BOXES = ("feedforward", "lstm")


class Configuration(NamedTuple):
    """What is tuned.

    Attributes:
        label: In words.
        make: (training data, seed) -> law.
        learning_rate: The first one.
    """

    label: str
    make: Callable[[Sequence[Experiment], int], Any]
    learning_rate: float


def configurations(truth: Truth) -> dict[str, tuple[Configuration, ...]]:
    """Three for each model, sizes and learning rates."""
    rates = truth.rates is not None

    def implicit(size: int) -> Callable[[Sequence[Experiment], int], Any]:
        return lambda data, seed: truth.implicit[size](scales(truth, data), seed)

    def box(kind: Any, **size: int) -> Callable[[Sequence[Experiment], int], Any]:
        def make(data: Sequence[Experiment], seed: int) -> Any:
            known = histories(data)
            sizes, linear = blackbox.Sizes.of(known, rates), blackbox.Linear.of(known)
            return kind.create(sizes, linear, seed=seed, **size)

        return make

    feedforward, lstm = blackbox.FeedForward, blackbox.Lstm
    return {
        "implicit_gsm": (
            Configuration("first size", implicit(0), 0.03),
            Configuration("first size, slower", implicit(0), 0.01),
            # A second size costs a compilation; only one truth is given it.
            Configuration("second size", implicit(1), 0.03)
            if len(truth.implicit) > 1
            else Configuration("first size, faster", implicit(0), 0.1),
        ),
        "feedforward": (
            Configuration("8 steps, 32 wide", box(feedforward, window=8, width=32), 1e-2),
            Configuration("20 steps, 64 wide", box(feedforward, window=20, width=64), 1e-2),
            Configuration("20 steps, 64 wide, slower", box(feedforward, window=20, width=64), 3e-3),
        ),
        "lstm": (
            Configuration("24 wide", box(lstm, width=24), 1e-2),
            Configuration("48 wide", box(lstm, width=48), 1e-2),
            Configuration("48 wide, slower", box(lstm, width=48), 3e-3),
        ),
        "wrong_family": tuple(
            Configuration(f"rate {rate:g}", lambda data, seed: truth.wrong, rate)
            for rate in (0.1, 0.03, 0.01)
        ),
    }
