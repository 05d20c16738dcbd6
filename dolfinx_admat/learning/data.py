"""Training data made by a law: random strain paths, and what the law answers along them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.calibration import Experiment
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory import Path, drive
from dolfinx_admat.laboratory._components import components_of
from dolfinx_admat.materials import Material

from ._arguments import check_law, check_seed, check_whole, is_number, is_whole
from ._objective import quantity_of

Floats = npt.NDArray[np.float64]

AXES = ("xx", "yy", "zz", "xy", "xz", "yz")
#: Where both halves of a symmetric tensor are.
_PLACES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
#: A corner is at least that part of the amplitude away from rest.
LEAST = 0.3
#: The longest step of a segment is about that many times the shortest one.
UNEVEN = 4.0


def random_strain_paths(
    count: int,
    *,
    amplitude: float | tuple[float, float],
    steps: tuple[int, int] = (20, 60),
    segments: tuple[int, int] = (1, 4),
    rate: tuple[float, float] | None = None,
    directions: Any = "any",
    volume: float = 0.1,
    seed: int = 0,
) -> list[Path]:
    """Random strain paths from rest, straight from corner to corner; all six strains are imposed.

    A path has a random number of segments, and of steps of unequal size. The first corner is
    random; each further one is another random one, or unloads part of the way to rest, or reverses
    beyond it, so that some segments are proportional and others not. The same seed gives the same
    paths, and more of them begin with the same ones.

    Args:
        count: Number of paths.
        amplitude: Size (Frobenius norm) of the strain at corners: the largest one, or (least,
            largest); unloading goes below.
        steps: Least and largest number of steps of a path.
        segments: Least and largest number of segments.
        rate: Least and largest size of the strain rate, 1/time: each segment has its own, log-
            uniformly distributed. None: every step takes one unit of time.
        directions: Of corners: "any"; "proportional": each path stays on one random line through
            rest; or an array of symmetric tensors, (n, 3, 3), to choose from, either way along.
        volume: Factor of the mean strain of random directions; 0: paths keep the volume. It is
            small, since in stiff materials the stress would be mostly pressure otherwise, and
            hide from a fit what plastic or viscous flow does.
        seed: Of the random numbers.

    Raises:
        MaterialError: An argument is not as described.
    """
    check_whole("random_strain_paths", count=count)
    check_seed("random_strain_paths", seed)
    sizes: Any = amplitude
    if is_number(sizes):
        sizes = (LEAST * sizes, float(sizes))
    _check_pair("amplitude", sizes, 0.0)
    _check_pair("steps", steps, 0.5, whole=True)
    _check_pair("segments", segments, 0.5, whole=True)
    if rate is not None:
        _check_pair("rate", rate, 0.0)
    if not (is_number(volume) and 0.0 <= volume <= 1.0):
        raise MaterialError(f"random_strain_paths: volume must be between 0 and 1; got {volume!r}")
    if steps[1] < segments[1]:
        raise MaterialError(
            f"random_strain_paths: {segments[1]} segments need as many steps; got steps={steps}"
        )
    given = _directions(directions)
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        pieces = int(rng.integers(segments[0], segments[1] + 1))
        corners = _corners(rng, pieces, sizes, volume, given)
        size = max(pieces, int(rng.integers(steps[0], steps[1] + 1)))
        found.append(_path(rng, corners, size, rate))
    return found


def _corners(
    rng: np.random.Generator, count: int, sizes: tuple[float, float], volume: float, given: Any
) -> list[Floats]:
    """Strains at rest and at the ends of the segments; (3, 3) each."""

    def direction() -> Floats:
        if isinstance(given, str):
            tensor = rng.normal(size=(3, 3))
            tensor = tensor + tensor.T
            tensor += (volume - 1.0) * np.trace(tensor) / 3.0 * np.eye(3)
            return np.asarray(tensor / np.linalg.norm(tensor))
        return np.asarray(given[rng.integers(len(given))] * rng.choice([-1.0, 1.0]))

    line = direction()
    corners = [np.zeros((3, 3)), rng.uniform(*sizes) * line]
    while len(corners) <= count:
        last, kind = corners[-1], rng.uniform()
        if kind < 0.25 and np.linalg.norm(last) >= sizes[0]:  # unloads
            corners.append(rng.uniform(0.0, 0.8) * last)
        elif kind < 0.5 or (isinstance(given, str) and given == "proportional"):
            size = max(np.linalg.norm(last), 1e-3 * sizes[1])
            corners.append(-rng.uniform(*sizes) / size * last)
        else:
            corners.append(rng.uniform(*sizes) * direction())
    return corners


def _path(rng: np.random.Generator, corners: Sequence[Floats], steps: int, rate: Any) -> Path:
    """A table through the corners, in steps of unequal size."""
    lengths = np.array([np.linalg.norm(b - a) for a, b in itertools.pairwise(corners)])
    share = rng.uniform(0.5, 1.0, len(lengths)) * lengths
    counts = np.maximum(1, np.floor(steps * share / share.sum()).astype(int))
    while counts.sum() != steps:
        counts[np.argmax(share / counts) if counts.sum() < steps else np.argmax(counts)] += (
            1 if counts.sum() < steps else -1
        )
    strains, times = [], [0.0]
    for begin, end, n, length in zip(corners, corners[1:], counts, lengths, strict=False):
        parts = np.cumsum(np.exp(rng.uniform(0.0, np.log(UNEVEN), n)))
        parts /= parts[-1]
        strains += [(1.0 - p) * begin + p * end for p in parts]
        if rate is None:
            times += (times[-1] + np.arange(1.0, n + 1.0)).tolist()
        else:
            speed = np.exp(rng.uniform(*np.log(rate)))
            times += (times[-1] + parts * length / speed).tolist()
    columns = {
        f"strain_{a}": [float(e[p]) for e in strains] for a, p in zip(AXES, _PLACES, strict=True)
    }
    return Path().table(times[1:], columns)


def random_deformation_paths(
    count: int,
    *,
    amplitude: float | tuple[float, float],
    steps: tuple[int, int] = (20, 60),
    segments: tuple[int, int] = (1, 4),
    rate: tuple[float, float] | None = None,
    volume: float = 0.1,
    seed: int = 0,
) -> list[Path]:
    """Random paths of the deformation gradient: exp of the strains of ``random_strain_paths``.

    All nine components are imposed; without rotation. Amplitude, rate and volume are those of the
    logarithmic strain, so that ``volume=0`` keeps det F = 1.

    Args:
        count: Number of paths.
        amplitude: As for ``random_strain_paths``; so are all others.
        steps: Least and largest number of steps.
        segments: Least and largest number of segments.
        rate: Least and largest size of the strain rate.
        volume: Factor of the mean strain.
        seed: Of the random numbers.

    Raises:
        MaterialError: An argument is not as described.
    """
    check_seed("random_deformation_paths", seed)
    found = []
    for path in random_strain_paths(
        count, amplitude=amplitude, steps=steps, segments=segments, rate=rate, volume=volume,
        seed=seed,
    ):  # fmt: skip
        (segment,) = path.segments
        strain = np.zeros((len(segment.fractions), 3, 3))
        for axes, (i, j) in zip(AXES, _PLACES, strict=True):
            strain[:, i, j] = strain[:, j, i] = segment.table[f"strain_{axes}"]
        values, vectors = np.linalg.eigh(strain)
        F = np.einsum("nik,nk,njk->nij", vectors, np.exp(values), vectors)
        names = {(i, j): f"deformation_gradient_{'xyz'[i]}{'xyz'[j]}" for i, j in np.ndindex(3, 3)}
        times = segment.time * np.array(segment.fractions)
        found.append(Path().table(times, {n: F[:, i, j] for (i, j), n in names.items()}))
    return found


def simulate(
    law: Material,
    paths: Path | Sequence[Path],
    *,
    noise: float = 0.0,
    seed: int = 0,
    compared: Sequence[str] | None = None,
) -> list[Experiment]:
    """What a law answers along paths, as experiments; with Gaussian noise if wanted.

    Args:
        law: The law that is the truth.
        paths: One or several, of one specimen each.
        noise: Standard deviation, relative to the root mean square of each quantity (all
            components of the stress together, of all paths). It is then given as ``sigma`` of the
            experiments.
        seed: Of the noise.
        compared: Components to measure; None: all of the stress.

    Raises:
        MaterialError: A path does not fit the law, or an argument is not as described.
        ConvergenceError: The law fails.
    """
    check_law("simulate", law)
    if not (is_number(noise) and 0.0 <= noise < np.inf):
        raise MaterialError(f"simulate: noise must be a number >= 0; got {noise!r}")
    check_seed("simulate", seed)
    paths = [paths] if isinstance(paths, Path) or not isinstance(paths, Iterable) else [*paths]
    for path in paths:
        if not isinstance(path, Path):
            raise MaterialError(f"simulate: expected Paths; got {type(path).__name__}")
    named = compared is None or (isinstance(compared, Iterable) and not isinstance(compared, str))
    if not named or not paths:
        raise MaterialError(
            "simulate: expected a list of paths, and of components to compare; got "
            f"{len(paths)} paths and compared={compared!r}"
        )
    names = list(compared) if compared is not None else _stresses(law)
    results = [drive(law, path, backend="xla") for path in paths]
    data = [{name: np.asarray(r[name])[1:].copy() for name in names} for r in results]
    quantity = {name: quantity_of(name) for name in names}
    sizes = {
        q: float(np.sqrt(np.mean(np.concatenate([d[n] for d in data for n in names
                                                 if quantity[n] == q]) ** 2)))
        for q in dict.fromkeys(quantity.values())
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    found = []
    for number, (path, values) in enumerate(zip(paths, data, strict=True)):
        sigma = None
        if noise > 0.0:
            sigma = {n: noise * (sizes[quantity[n]] or 1.0) for n in names}
            values = {n: v + sigma[n] * rng.standard_normal(v.size) for n, v in values.items()}
        found.append(Experiment(path, values, sigma=sigma, name=f"path {number}"))
    return found


def _stresses(law: Material) -> list[str]:
    for name, shape in law.outputs.items():
        if name.endswith("stress"):
            return list(components_of(name, shape))
    raise MaterialError(
        f"simulate: {type(law).__name__} has no stress among its outputs {list(law.outputs)}; give "
        "compared=[...]"
    )


def _directions(given: Any) -> Any:
    if isinstance(given, str):
        if given not in ("any", "proportional"):
            raise MaterialError(
                "random_strain_paths: directions must be 'any', 'proportional', or tensors "
                f"(n, 3, 3); got {given!r}"
            )
        return given
    try:
        tensors = np.asarray(given, float)
    except (TypeError, ValueError) as error:  # ragged, or no numbers
        raise MaterialError(
            f"random_strain_paths: directions must be tensors (n, 3, 3): {error}"
        ) from None
    if tensors.ndim != 3 or tensors.shape[1:] != (3, 3) or not len(tensors):
        raise MaterialError(
            f"random_strain_paths: directions must have shape (n, 3, 3); got {tensors.shape}"
        )
    sizes = np.linalg.norm(tensors, axis=(1, 2))
    if not (np.isfinite(sizes) & (sizes > 0.0)).all() or not np.allclose(
        tensors, tensors.transpose(0, 2, 1), rtol=0.0, atol=1e-12 * sizes.max()
    ):
        raise MaterialError("random_strain_paths: directions must be symmetric, and not zero")
    return tensors / sizes[:, None, None]


def _check_pair(name: str, given: Any, above: float, *, whole: bool = False) -> None:
    try:
        low, high = given
        kind = all(is_whole(n, 1) if whole else is_number(n) for n in (low, high))
        good = kind and above < low <= high < np.inf
    except (TypeError, ValueError):
        good = False
    if not good:
        raise MaterialError(
            f"random_strain_paths: {name} must be (least, largest), "
            f"{'whole numbers >= 1' if whole else 'numbers > 0'}; got {given!r}"
        )
