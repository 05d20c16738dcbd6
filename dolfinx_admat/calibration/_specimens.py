"""Experiments as arrays that a law is taken through, those of about the same length together."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat import _jax_cache
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.laboratory.driver import drive
from dolfinx_admat.laboratory.response import recorded_steps
from dolfinx_admat.materials import Material

from ._groups import grouped
from ._schedule import Parts, make_schedule
from .experiment import Experiment

Floats = npt.NDArray[np.float64]


class Refused(Exception):
    """The law has no answer at these values; says why."""


class Specimens:
    """All experiments as arrays; never changed.

    Args:
        law: The law; only its structure matters.
        experiments: One or several.
        parts: In which parts the steps of each are taken; None: whole.

    Attributes:
        law: The law.
        experiments: The experiments.
        parts: As given.
        rows: How many rows are compared.
        times: Their times; (rows,) each.
        data: What was measured there; (rows, columns) each, NaN at gaps.
        groups: The arrays.

    Raises:
        MaterialError: No experiments, or one does not fit the law.
    """

    def __init__(
        self, law: Material, experiments: Any, parts: "list[Parts | None] | None" = None
    ) -> None:
        _jax_cache.enable()  # what is compiled for a fit is kept for the next one
        self.law, self.experiments = law, checked(experiments)
        self.parts: list[Parts | None] = parts or [None] * len(self.experiments)
        pairs = zip(self.experiments, self.parts, strict=True)
        schedules = [make_schedule(law, e, p) for e, p in pairs]
        self.rows = [len(s.ends) for s in schedules]
        self.times = [np.cumsum(s.inputs["time_increment"])[s.ends] for s in schedules]
        self.data = [
            np.stack([v[-n:] for v in e.data.values()], axis=-1)
            for e, n in zip(self.experiments, self.rows, strict=True)
        ]
        self.groups = grouped(schedules)

    def divided(self, law: Material, numbers: Collection[int] | None = None) -> "Specimens":
        """The same with steps divided as the driver needs it for a law.

        Args:
            law: The law with values where steps fail.
            numbers: Which experiments; of these, one that the driver cannot take either stays as
                it is. None: all, and all must succeed.

        Raises:
            Refused: The driver fails as well, or needs no finer steps.
        """
        parts = list(self.parts)
        for k, experiment in enumerate(self.experiments):
            if numbers is not None and k not in numbers:
                continue
            try:
                result = drive(
                    law,
                    experiment.path,
                    parameters=experiment.parameters,
                    initial_state=experiment.initial_state,
                )
            except ConvergenceError as error:
                if numbers is not None:
                    continue
                raise Refused(f"experiment '{experiment.name}': {error}") from error
            if result.substeps.max() > 1:
                parts[k] = _finer(parts[k], _parts(result))
        if parts == self.parts:
            raise Refused("the driver needs no finer steps")
        return Specimens(self.law, self.experiments, parts)


def factors(experiment: Experiment, rows: int, sigma: dict[str, float]) -> Floats:
    """sqrt(weight) / sigma, 0 at gaps; (rows, columns)."""
    columns = []
    for name, values in experiment.data.items():
        noise = (experiment.sigma or {}).get(name, sigma[name])
        weight = (experiment.weights or {}).get(name, 1.0)
        factor = np.broadcast_to(np.sqrt(weight) / noise, values.shape)
        columns.append(np.where(np.isnan(values), 0.0, factor)[-rows:])
    found = np.stack(columns, axis=-1)
    if not (found > 0.0).any():
        raise MaterialError(
            f"Experiment '{experiment.name}': nothing to compare: all data are gaps, have "
            "the weight 0, or stand at time zero, where the specimen is at rest"
        )
    return found


def checked(experiments: Any) -> tuple[Experiment, ...]:
    """One or several experiments as a tuple, or a MaterialError."""
    several = isinstance(experiments, Iterable)
    given = list(experiments) if several else [experiments]
    for item in given:
        if not isinstance(item, Experiment):
            raise MaterialError(f"expected Experiments; got {type(item).__name__}")
    if not given:
        raise MaterialError("no experiments; give at least one")
    return tuple(given)


def _parts(result: Any) -> Parts:
    """In which parts the driver took each step."""
    steps = recorded_steps(result)
    dt, ends = np.asarray(steps.inputs["time_increment"]), np.asarray(steps.ends)
    found = []
    for last, count in zip(ends, np.diff(ends, prepend=-1), strict=True):
        sums = np.cumsum(dt[last - count + 1 : last + 1])
        found.append((*(float(f) for f in sums[:-1] / sums[-1]), 1.0))
    return tuple(found)


def _finer(old: Parts | None, new: Parts) -> Parts:
    """Both divisions together."""
    if old is None:
        return new
    return tuple(
        tuple(sorted({round(f, 12) for f in (*a, *b)})) for a, b in zip(old, new, strict=True)
    )
