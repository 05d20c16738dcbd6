"""Training and test data of a truth, and sizes of data.

Training paths move the axial strains and one shear only, as a test of thin tubes or crosses does;
one set of paths serves all test sets. Of each training set a fifth is kept for validation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import dolfinx_admat as admat
from dolfinx_admat import learning
from dolfinx_admat.calibration import Experiment

from .truths import Truth

#: Components that training paths move: xx, yy, zz, xy; Mandel.
ACTIVE = (1, 1, 1, 1, 0, 0)
#: Test sets, and paths in each.
SETS = ("seen", "unseen_amplitude", "unseen_direction", "unseen_rate", "unseen_length")
PATHS = 20
NOISE = 0.03
TRAINING, SEGMENTS = 1, (2, 5)  # seed and corners
_AXES = ("xx", "yy", "zz", "xy", "xz", "yz")
_MANDEL = np.array([1.0, 1.0, 1.0, *[np.sqrt(2.0)] * 3])


def directions(volume: float, seed: int, count: int = 1000) -> np.ndarray:
    """Random strain directions of the training paths, (count, 3, 3)."""
    tensors = np.random.default_rng(seed).normal(size=(count, 3, 3))
    tensors = tensors + tensors.transpose(0, 2, 1)
    tensors[:, :2, 2] = tensors[:, 2, :2] = 0.0
    mean = np.trace(tensors, axis1=1, axis2=2) / 3.0
    return tensors + (volume - 1.0) * mean[:, None, None] * np.eye(3)


def _paths(truth: Truth, count: int, seed: int, **changes: Any) -> list[Any]:
    steps = truth.steps
    options = {
        "amplitude": truth.amplitude,
        "steps": (steps, steps),
        "segments": SEGMENTS,
        "rate": truth.rates,
        "directions": directions(truth.volume, seed),
        "volume": truth.volume,
    }
    return learning.random_strain_paths(count, seed=seed, **(options | changes))


def training(truth: Truth, count: int, noise: float = 0.0) -> list[Experiment]:
    """The first ``count`` training paths: more of them begin with the same ones."""
    paths = _paths(truth, count, TRAINING)
    return learning.simulate(truth.law, paths, noise=noise, seed=7)


def tests(truth: Truth, count: int = PATHS) -> dict[str, list[Experiment]]:
    """All test sets; steps are about as large as in training, unless a set is about steps."""
    n, half = truth.steps, count // 2
    long, short = (2 * n, 2 * n), (n // 2, n // 2)
    if truth.rates is None:  # rates say nothing: other step sizes
        changed = [{"steps": long}, {"steps": short}]
    else:
        low, high = truth.rates
        changed = [{"rate": (3.0 * high, 10.0 * high)}, {"rate": (low / 10.0, low / 3.0)}]
    paths = {
        "seen": _paths(truth, count, 2),
        "unseen_amplitude": _paths(
            truth, count, 3, amplitude=(truth.amplitude, 2.0 * truth.amplitude), steps=long
        ),
        "unseen_direction": _paths(truth, count, 4, directions="any"),
        "unseen_rate": [p for k, c in enumerate(changed) for p in _paths(truth, half, 5 + k, **c)],
        "unseen_length": _paths(
            truth, count, 8, steps=long, segments=(2 * SEGMENTS[0], 2 * SEGMENTS[1])
        ),
    }
    return {name: learning.simulate(truth.law, some) for name, some in paths.items()}


def turned(experiments: Sequence[Experiment], copies: int, seed: int) -> list[Experiment]:
    """The experiments, and copies in random directions: what an isotropic material would answer."""
    known, found = histories(experiments), list(experiments)
    for rotation in _rotations(copies * len(experiments), seed).reshape(copies, -1, 3, 3):
        for k, Q in enumerate(rotation):
            strain, stress = (_turn(v[k, 1:] / _MANDEL, Q) for v in (known.strain, known.stress))
            path = admat.Path().table(
                known.times[k, 1:].tolist(),
                {f"strain_{a}": strain[:, i] for i, a in enumerate(_AXES)},
            )
            found.append(
                Experiment(path, {f"stress_{a}": stress[:, i] for i, a in enumerate(_AXES)})
            )
    return found


def _turn(components: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Symmetric tensors as components (n, 6), rotated."""
    rows, columns = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]).T
    tensors = np.zeros((len(components), 3, 3))
    tensors[:, rows, columns] = tensors[:, columns, rows] = components
    return np.asarray((Q @ tensors @ Q.T)[:, rows, columns])


def _rotations(count: int, seed: int) -> np.ndarray:
    """Uniformly distributed, (count, 3, 3), from quaternions."""
    q = np.random.default_rng(seed).normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


class Histories(NamedTuple):
    """Experiments as arrays with time zero: Mandel (paths, steps + 1, 6); (paths, steps + 1)."""

    strain: np.ndarray
    stress: np.ndarray
    times: np.ndarray


def histories(experiments: Sequence[Experiment]) -> Histories:
    """Of experiments along random strain paths, all of one length."""
    found: list[list[Any]] = [[], [], []]
    for experiment in experiments:
        (segment,) = experiment.path.segments
        strain = np.stack([segment.table[f"strain_{a}"] for a in _AXES], axis=1) * _MANDEL
        stress = np.stack([experiment.data[f"stress_{a}"] for a in _AXES], axis=1) * _MANDEL
        found[0].append(np.vstack([np.zeros(6), strain]))
        found[1].append(np.vstack([np.zeros(6), stress]))
        found[2].append(np.concatenate([[0.0], float(segment.time) * np.array(segment.fractions)]))
    return Histories(*(np.stack(each) for each in found))


def rough(value: float, digits: int = 1) -> float:
    """Rounded: sizes of data sets that are alike are then the same, and so are programs."""
    return float(f"{value:.{digits}g}")


def scales(truth: Truth, experiments: Sequence[Experiment]) -> learning.Scales:
    """Rough sizes for the learned laws."""
    found = learning.Scales.of(experiments, rates=truth.rates is not None)
    rates = None if found.rates is None else (rough(found.rates[0]), rough(found.rates[1]))
    nu = min(max(rough(found.nu), 0.1), 0.4)
    return learning.Scales(rough(found.E), nu, rough(found.stress), rough(found.strain), rates)
