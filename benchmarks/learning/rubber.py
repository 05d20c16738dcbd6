"""Treloar's rubber: learned from uniaxial and equibiaxial tension, asked for pure shear.

The data are published (L.R.G. Treloar, Trans. Faraday Soc. 40, 1944), 53 points of three tests.
There is no second specimen: ``seen`` is the error of what the models were trained on. The other
sets: ``unseen_direction`` is pure shear; ``unseen_amplitude`` is what models that were trained up
to a stretch of 4 (uniaxial) and 2.5 (equibiaxial) say beyond; ``unseen_rate`` takes the same tests
in steps of a third (rubber at rest knows no rates); ``noisy`` trains with noise added. With so few
points nothing is kept for validation: the training loss chooses, for all models.

A specimen is a thin sheet under principal stretches, so the third stretch and the pressure are
known, and no model needs a local solve: ``Sheet`` makes a law of two stretches of any law of an
incompressible solid. Uniaxial tension then says that the other stress is zero.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

import dolfinx_admat as admat
from dolfinx_admat import learning
from dolfinx_admat.calibration import Experiment
from dolfinx_admat.materials import SCALAR

from .blackbox import RubberFeedForward, RubberLstm
from .data import NOISE
from .models import Configuration, grid
from .protocol import Budget, median_errors, retrained, tuned
from .section import Results, listed

FILE = FilePath(__file__).resolve().parents[3] / "shared" / "cases" / "MP-S13_treloar_ogden.csv"
MODES = ("uniaxial", "biaxial", "shear")  # the column ``mode`` of the file
MOST = {0: 4.0, 1: 2.5}
BUDGET = Budget(updates=1000, batch=2, validation=0.0)
STRESS, STRETCH = 1.0, 7.0  # MPa; rough sizes


class Sheet(admat.ExplicitLaw):
    """A thin sheet of an incompressible solid under two principal stretches.

    Attributes:
        law: Deformation gradient and pressure -> first Piola-Kirchhoff stress, and a state.
    """

    law: Any
    inputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "first_stretch": SCALAR,
        "second_stretch": SCALAR,
    }
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "first_stress": SCALAR,
        "second_stress": SCALAR,
    }

    def initial_state(self) -> Any:
        return self.law.initial_state()

    def update(self, inputs: Any, state: Any, dt: Any) -> tuple[dict[str, Any], Any]:
        a, b = inputs["first_stretch"], inputs["second_stretch"]
        stretches = jnp.stack([a, b, 1.0 / (a * b)])
        given = {"deformation_gradient": jnp.diag(stretches), "pressure": jnp.zeros(())}
        outputs, state = self.law.update(given, state, dt)
        stress = jnp.diag(outputs["first_piola_stress"])
        # The pressure that leaves the faces of the sheet free.
        stress = stress - stress[2] * stretches[2] / stretches
        return {"first_stress": stress[0], "second_stress": stress[1]}, state


def table(file: FilePath = FILE) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Stretches and nominal stresses by mode, the point at rest left out."""
    with open(file) as lines:
        rows = [(int(r["mode"]), float(r["stretch"]), float(r["data_nominal_stress"]))
                for r in csv.DictReader(lines)]  # fmt: skip
    found = {}
    for mode in range(3):
        some = np.array([(x, y) for m, x, y in rows if m == mode and x > 1.0])
        found[mode] = some[:, 0], some[:, 1]
    return found


def experiment(mode: int, stretch: np.ndarray, stress: np.ndarray, parts: int = 1) -> Experiment:
    """One test; ``parts``: each step is taken in so many, and what lies between is a gap."""
    ends = np.concatenate([[1.0], stretch])
    part = np.linspace(0.0, 1.0, parts + 1)[1:]
    first = (ends[:-1, None] + part * np.diff(ends)[:, None]).ravel()
    second = (first**-0.5, first, np.ones_like(first))[mode]
    values = np.full((len(stretch), parts), np.nan)
    values[:, -1] = stress
    found = {"first_stress": values.ravel()}
    if mode < 2:  # in pure shear, nobody measured it
        found["second_stress"] = mode * values.ravel()
    path = admat.Path(start={"first_stretch": 1.0, "second_stretch": 1.0}).table(
        np.arange(1.0, len(first) + 1.0).tolist(),
        {"first_stretch": first, "second_stretch": second},
    )
    return Experiment(path, found, name=MODES[mode])


def configurations() -> dict[str, tuple[Configuration, ...]]:
    """As for the other truths."""
    strain = 0.5 * (STRETCH**2 - 1.0)

    def implicit(width: int, depth: int) -> Callable[[Sequence[Experiment], int], Any]:
        create = learning.LearnedHyperelastic.create
        return lambda data, seed: Sheet(
            admat.Incompressible(
                create(stress=STRESS, stretch=STRETCH, width=width, depth=depth, seed=seed)
            )
        )

    def box(kind: Any, **size: int) -> Callable[[Sequence[Experiment], int], Any]:
        return lambda data, seed: Sheet(
            kind.create(stress=STRESS, strain=strain, seed=seed, **size)
        )

    wrong = Sheet(admat.Incompressible(admat.NeoHookean(1.0, 0.49)))
    return grid(
        {
            "implicit_gsm": {f"{width} wide": implicit(width, 2) for width in (8, 16)},
            "feedforward": {f"{n} wide": box(RubberFeedForward, width=n) for n in (16, 32)},
            "lstm": {f"{n} wide": box(RubberLstm, width=n) for n in (12, 24)},
            "wrong_family": {"": lambda data, seed: wrong},
        }
    )


def measure(say: Any, budget: Budget = BUDGET) -> dict[str, float]:
    """Numbers by key; none where the data are not there."""
    if not FILE.is_file():
        say("treloar: no reference data (../shared/cases), nothing measured")
        return {}
    points = table()
    rng = np.random.default_rng(7)
    root = np.sqrt(np.mean(np.concatenate([points[m][1] for m in (0, 1)]) ** 2))
    training = [experiment(m, *points[m]) for m in (0, 1)]
    noisy = [
        experiment(
            m, points[m][0], points[m][1] + NOISE * root * rng.standard_normal(points[m][1].size)
        )
        for m in (0, 1)
    ]
    low = {m: points[m][0] <= MOST[m] for m in (0, 1)}
    lower = [experiment(m, *(v[low[m]] for v in points[m])) for m in (0, 1)]
    beyond = [experiment(m, points[m][0], np.where(low[m], np.nan, points[m][1])) for m in (0, 1)]
    tests = {
        "seen": training,
        "unseen_direction": [experiment(2, *points[2])],
        "unseen_rate": [experiment(m, *points[m], parts=3) for m in (0, 1)],
    }
    results = Results("treloar", say)
    say("treloar: rubber, published data; wrong family: neo-Hookean")
    for model, choices in configurations().items():
        say(f"  {model}")
        found = tuned(choices, training, budget, say)
        by_set, failed = median_errors(found, tests)
        for data, name, tested in ((lower, "unseen_amplitude", beyond), (noisy, "noisy", training)):
            again = retrained(found.configuration, data, budget)
            by_set |= median_errors(again, {name: tested})[0]
        results.errors(model, by_set)
        results.put(model, "failed_paths", failed)
        first = found.trainings[0]
        results.put(model, "weights", first.weights + first.parameters)
        results.put(model, "train_seconds", float(np.median(found.seconds)))
        say(f"    {found.configuration.label}: {listed(by_set)}; {failed:g} paths failed")
    return results.numbers
