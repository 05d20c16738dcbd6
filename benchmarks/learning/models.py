"""The four models of a truth, each in some sizes, all with the same learning rates."""

from collections.abc import Callable, Mapping, Sequence
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


#: First learning rates, for every model.
RATES = (0.1, 0.03, 0.01)


def configurations(truth: Truth) -> dict[str, tuple[Configuration, ...]]:
    """One or two sizes of each model, each with all learning rates.

    Black boxes have two sizes; a second one of a learned law costs a long compilation, so only
    one truth has it, and a classical law has none: the black boxes are tuned the most.
    """
    rates = truth.rates is not None

    def implicit(size: int) -> Callable[[Sequence[Experiment], int], Any]:
        return lambda data, seed: truth.implicit[size](scales(truth, data), seed)

    def box(kind: Any, **size: int) -> Callable[[Sequence[Experiment], int], Any]:
        def make(data: Sequence[Experiment], seed: int) -> Any:
            known = histories(data)
            sizes, linear = blackbox.Sizes.of(known, rates), blackbox.Linear.of(known)
            return kind.create(sizes, linear, seed=seed, **size)

        return make

    sizes = {
        "implicit_gsm": {f"size {k + 1}": implicit(k) for k in range(len(truth.implicit))},
        "feedforward": {
            f"{window} steps, {width} wide": box(blackbox.FeedForward, window=window, width=width)
            for window, width in ((8, 32), (20, 64))
        },
        "lstm": {f"{width} wide": box(blackbox.Lstm, width=width) for width in (48, 96)},
        "wrong_family": {"": lambda data, seed: truth.wrong},
    }
    return grid(sizes)


def grid(sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Configuration, ...]]:
    """All sizes of each model with all learning rates."""
    return {
        model: tuple(
            Configuration(f"{label}, rate {rate:g}".removeprefix(", "), make, rate)
            for label, make in made.items()
            for rate in RATES
        )
        for model, made in sizes.items()
    }
