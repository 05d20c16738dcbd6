"""Section ``learning``: all models on one truth, and its numbers by key."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Outcome

from ..results import locked
from . import cycles, data, models, plate, truths
from .protocol import Budget, Trained, median_errors, retrained, tuned

#: Curves of one unseen path of each truth, for the picture.
CURVES = FilePath(__file__).with_name("curves.json")
#: Truths that are also learned from fewer and from more paths.
MORE_PATHS = {"j2_mixed": (5, 50), "chaboche": (5, 50)}
CYCLES, CYCLE_SEED = 200, 11
#: Updates of black boxes in the row of their own, times those of all.
LONGER = 4

Say = Callable[[str], Any]


class Options(NamedTuple):
    """How much of it is done; the test of the repository does less.

    Attributes:
        budget: Of each training.
        paths: Training paths.
        test_paths: In each test set.
        more_paths: Other numbers of training paths.
        cycles: Closed cycles.
        longer: Factor for the long trainings of black boxes; 1: none.
        turned: Turned copies of each path for black boxes in a row of their own; 0: none.
        plate: Run the plate.
        only: Models.
    """

    budget: Budget = Budget()
    paths: int = 20
    test_paths: int = data.PATHS
    more_paths: Sequence[int] = ()
    cycles: int = CYCLES
    longer: int = LONGER
    turned: int = 0
    plate: bool = True
    only: Sequence[str] = models.MODELS


class Results:
    """Numbers by key of one truth."""

    def __init__(self, truth: str, say: Say) -> None:
        self.truth, self.say = truth, say
        self.numbers: dict[str, float] = {}

    def put(self, model: str, name: str, value: float) -> None:
        self.numbers[f"learning.{self.truth}.{model}.{name}"] = float(value)

    def errors(self, model: str, by_set: Mapping[str, float], prefix: str = "") -> None:
        for name, value in by_set.items():
            self.put(model, f"{prefix}{name}.error", value)


def measure(say: Say, only: Sequence[str]) -> dict[str, float]:
    """Numbers by key of these truths; curves go into a file beside."""
    numbers: dict[str, float] = {}
    for name in only or (*truths.NAMES, "treloar"):

        def told(text: str, name: str = name) -> None:
            say(f"{name:15s}{text}")

        if name == "treloar":
            from . import rubber

            numbers |= rubber.measure(told)
        else:
            more = MORE_PATHS.get(name, ())
            options = Options(more_paths=more, turned=LONGER if more else 0)
            found, curves = measure_truth(name, options, told)
            numbers |= found
            keep_curves(name, curves)
    return numbers


def measure_truth(
    name: str, options: Options, say: Say = lambda text: None
) -> tuple[dict[str, float], dict[str, Any]]:
    """All models on one truth: numbers by key, and curves of one path."""
    truth, results = truths.truth(name), Results(name, say)
    began = time.monotonic()
    say(f"{truth.what}; wrong family: {truth.wrong_what}")
    sets = data.tests(truth, options.test_paths)
    clean = data.training(truth, options.paths)
    noisy = data.training(truth, options.paths, data.NOISE)
    more = {n: data.training(truth, n) for n in options.more_paths}
    say(f"  data: {time.monotonic() - began:.0f} s")
    shown = Shown(sets, options.cycles)
    frame = Plate.of(truth, say) if options.plate else None
    for model, configurations in models.configurations(truth).items():
        if model not in options.only:
            continue
        say(f"  {model}")
        found = tuned(configurations, clean, options.budget, say)
        by_set, failed = median_errors(found, sets)
        results.errors(model, by_set)
        results.put(model, "failed_paths", failed)
        first = found.trainings[0]
        results.put(model, "weights", first.weights + first.parameters)
        results.put(model, "train_seconds", float(np.median(found.seconds)))
        say(f"    {found.configuration.label}: " + listed(by_set) + f"; {failed:g} paths failed")
        _thermodynamics(results, model, found, truth, options)
        shown.add(model, found.best)
        if frame is not None:
            frame.add(results, model, found.best)
        again = retrained(found.configuration, noisy, options.budget)
        by_set, _ = median_errors(again, {"noisy": sets["seen"]})
        results.errors(model, by_set)
        say(f"    {listed(by_set)}")
        for count, paths in more.items():
            again = retrained(found.configuration, paths, options.budget)
            by_set, _ = median_errors(again, sets)
            results.errors(model, by_set, f"paths_{count}.")
            say(f"    {count} paths: {listed(by_set)}")
        if model in models.BLACK_BOXES and options.longer > 1:
            budget = options.budget._replace(updates=options.longer * options.budget.updates)
            again = retrained(found.configuration, clean, budget)
            by_set, _ = median_errors(again, sets)
            results.errors(model, by_set, f"updates_{options.longer}x.")
            say(f"    {options.longer} times the updates: {listed(by_set)}")
        if model in models.BLACK_BOXES and options.turned:
            kept = max(1, round(options.budget.validation * len(clean)))
            copies = data.turned(clean[:-kept], options.turned, seed=13)
            budget = options.budget._replace(updates=(1 + options.turned) * options.budget.updates)
            again = retrained(found.configuration, copies, budget, clean[-kept:])
            by_set, _ = median_errors(again, sets)
            results.errors(model, by_set, "turned.")
            say(f"    with {options.turned} turned copies of each path: {listed(by_set)}")
        say(f"    {time.monotonic() - began:.0f} s so far")
    return results.numbers, shown.curves


def listed(by_set: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in by_set.items())


def _thermodynamics(
    results: Results, model: str, found: Trained, truth: truths.Truth, options: Options
) -> None:
    """Closed cycles for all models, and the audit's dissipation where there is a free energy."""
    closed = cycles.random_cycles(
        truth.amplitude,
        options.cycles,
        active=data.ACTIVE,
        volume=truth.volume,
        rates=truth.rates,
        seed=CYCLE_SEED,
    )
    each = [cycles.gains(t.law, closed) for t in found.trainings]
    share, lost, settled = (float(np.median(column)) for column in zip(*each, strict=True))
    results.put(model, "violations", share)
    text = f"    {100.0 * share:.1f} % of closed cycles give work ({100.0 * settled:.0f} % settled)"
    if lost:
        results.put(model, "failed_cycles", lost)
        text += f", {100.0 * lost:.0f} % failed"
    if found.best.has_free_energy:
        dt = None
        if truth.rates is not None:
            dt = truth.amplitude / truth.steps / math.sqrt(truth.rates[0] * truth.rates[1])
        report = admat.audit(
            found.best, scale=0.5 * truth.amplitude, dt=dt, points=8, both_backends=False,
            pullback=False,
        )  # fmt: skip
        fails = report["dissipation"].outcome is not Outcome.PASSED
        results.put(model, "audit_violations", float(fails))
        text += f"; audit, dissipation: {report['dissipation'].reason}"
    results.say(text)


class Plate:
    """The truth in the plate, and what others are compared with."""

    def __init__(self, truth: truths.Truth, reference: plate.Run, rate: float | None) -> None:
        self.truth, self.reference, self.rate = truth, reference, rate

    @classmethod
    def of(cls, truth: truths.Truth, say: Say) -> "Plate | None":
        rate = None if truth.rates is None else math.sqrt(truth.rates[0] * truth.rates[1])
        try:
            return cls(truth, plate.run(truth.law, truth.amplitude, rate), rate)
        except ModuleNotFoundError as error:
            say(f"  no plate: {error.name} is not installed here")
            return None

    def add(self, results: Results, model: str, law: Any) -> None:
        found = plate.run(law, self.truth.amplitude, self.rate)
        wrong = plate.force_error(found, self.reference)
        results.put(model, "fe_steps", found.converged / found.steps)
        results.put(model, "fe_iterations", found.iterations)
        results.put(model, "fe_force_error", wrong)
        results.say(
            f"    plate: {found.converged} of {found.steps} load steps, {found.iterations} "
            f"iterations (the truth {self.reference.iterations}), force {100.0 * wrong:.2g} % off"
        )


class Shown:
    """Shear stresses along two paths that no model has seen: as in training, and turned."""

    def __init__(self, sets: Mapping[str, Sequence[Any]], copies: int) -> None:
        self.curves: dict[str, Any] = {}
        chosen = []
        for name, axes in (("seen", "xy"), ("unseen_direction", "xz")):
            stresses = [e.data[f"stress_{axes}"] for e in sets[name]]
            experiment = sets[name][int(np.argmax([np.std(s) for s in stresses]))]
            chosen.append(experiment)
            self.curves[name] = {
                "component": axes,
                "strain": _digits([0.0, *experiment.path.segments[0].table[f"strain_{axes}"]]),
                "truth": _digits([0.0, *experiment.data[f"stress_{axes}"]]),
            }
        known = data.histories(chosen)
        # As many as there are cycles: the same program.
        self.strain = np.resize(known.strain[:, 1:], (copies, *known.strain[0, 1:].shape))
        self.dt = np.resize(np.diff(known.times, axis=1), (copies, known.times.shape[1] - 1))

    def add(self, model: str, law: Any) -> None:
        stress, code = cycles.respond(law, self.strain, self.dt)
        stress = np.where(np.asarray(code)[..., None] == 0, stress, np.nan)
        for k, curve in enumerate(self.curves.values()):
            axes = {"xy": 3, "xz": 4}[curve["component"]]
            curve[model] = _digits([0.0, *(stress[k, :, axes] / math.sqrt(2.0))])


def _digits(values: Any) -> list[float | None]:
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in np.asarray(values, float)]


def keep_curves(name: str, curves: Mapping[str, Any]) -> None:
    """Write them beside those of other truths."""
    with locked(CURVES):
        known = json.loads(CURVES.read_text()) if CURVES.exists() else {}
        known[name] = curves
        CURVES.write_text(json.dumps(dict(sorted(known.items())), separators=(",", ":")) + "\n")
