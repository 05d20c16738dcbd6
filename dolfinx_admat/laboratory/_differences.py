"""Derivatives by differences, each with an estimate of its own error."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.materials import Reduction

from ._samples import Answer, Bench, Floats, Inputs, deformation

#: Steps relative to the scale of the input: 1e-2, then each a quarter of the one before.
FIRST_STEP, RATIO, LEVELS = 1e-2, 4.0, 8
_EPS = float(np.finfo(float).eps)


class Slopes(NamedTuple):
    """d(output)/d(input) at many points; columns are components of the input.

    Attributes:
        value: Extrapolated central differences; (points, output size, columns).
        error: Estimated error of each column; (points, columns); infinite where no two steps
            stayed on the side of the transition on which the point is.
        kink: Where the slopes on both sides differ; (points, columns).
    """

    value: Floats
    error: Floats
    kink: npt.NDArray[np.bool_]


def slopes(
    bench: Bench,
    inputs: Inputs,
    state: Inputs,
    dt: float,
    name: str,
    scale: float,
    here: Answer,
    has_solve: bool = True,
) -> dict[str, Slopes]:
    """Differences of all outputs with respect to one input.

    Central differences at ``LEVELS`` steps are extrapolated (Richardson: their error is a series
    in h^2). As in Ridders' method the error of each entry of the scheme is taken from the entries
    that it was made of, where truncation and round-off both show; the round-off of the outputs
    themselves (eps |f| / h, what the local solve leaves, and what changes at the smallest steps)
    is added. The smallest sum is taken.

    Args:
        bench: The law.
        inputs: Points; (points, ...).
        state: State at t_n; (points, ...).
        dt: Step.
        name: The input.
        scale: Its scale.
        here: The answer at the points.
        has_solve: The law solves equations.

    Source: C.J.F. Ridders, Advances in Engineering Software 4 (1982) 75-76.
    """
    # The local solve leaves an error in its unknowns: increments of strains, or what a reduction
    # appends, which is as large as the inputs.
    first, solver = deformation(bench.law) or name, bench.law._solver
    largest = np.abs(inputs[first]).max() if isinstance(bench.law, Reduction) else 0.0
    left = 2.0 * (solver.atol + solver.rtol * largest) if has_solve else 0.0
    n, size = len(inputs[name]), int(np.prod(inputs[name].shape[1:], dtype=int))
    flat = inputs[name].reshape(n, size)
    many = n * size
    rows = np.repeat(np.arange(n), size)
    columns = np.tile(np.arange(size), n)
    repeated_state = {key: value[rows] for key, value in state.items()}
    values: list[dict[str, tuple[Floats, Floats]]] = []
    distances, good, sides_active = [], [], []
    for level in range(LEVELS):
        h = FIRST_STEP * scale / RATIO**level
        sides, fine, ends, flows = [], np.ones(many, bool), [], []
        for sign in (1.0, -1.0):
            shifted = flat[rows]
            shifted[np.arange(many), columns] += sign * h
            ends.append(shifted[np.arange(many), columns])
            given = {key: value[rows] for key, value in inputs.items()}
            given[name] = shifted.reshape(many, *inputs[name].shape[1:])
            answer = bench(given, repeated_state, dt)
            fine &= answer.good
            flows.append(answer.active)
            sides.append(answer.outputs)
        middle = flat[rows, columns]
        distances.append((ends[0] - middle, middle - ends[1]))  # as they are after rounding
        good.append(fine)
        sides_active.append(flows)
        values.append({o: (sides[0][o], sides[1][o]) for o in bench.law.outputs})
    # Both sides must be where the point is; or both on the other side, if the point is on the
    # border itself (a law without elastic domain at rest).
    now = here.active[rows]
    inside = [(a == now) & (b == now) for a, b in sides_active]
    across = [(a != now) & (b != now) for a, b in sides_active]
    valid = [g & np.where(across[-1], o, i) for g, i, o in zip(good, inside, across, strict=True)]
    result = {}
    for output in bench.law.outputs:
        centre = here.outputs[output].reshape(n, -1)
        f = [tuple(side.reshape(many, -1) for side in v[output]) for v in values]
        stiffness = np.abs(here.tangent[output, first].reshape(n, -1)).max(axis=1)
        parts = _extrapolated(f, centre[rows], distances, valid, (left * stiffness)[rows])
        result[output] = Slopes(*(_columns_last(part, n, size) for part in parts))
    return result


def _columns_last(part: npt.NDArray, n: int, size: int) -> npt.NDArray:
    part = part.reshape(n, size, *part.shape[1:])
    return part if part.ndim == 2 else np.moveaxis(part, 1, 2)


def _extrapolated(f: list, centre: Floats, distances: list, valid: list, unsolved: Floats) -> tuple:
    """Value (rows, output size), error and kink (rows,)."""
    rows, width = centre.shape
    best = np.zeros((rows, width))
    best_error = np.full(rows, np.inf)
    previous: list[Floats] = []
    run = np.zeros(rows, int)  # how many valid steps in a row end here
    with np.errstate(invalid="ignore", over="ignore"):
        plain = [
            (plus - minus) / (a + b)[:, None]
            for (plus, minus), (a, b) in zip(f, distances, strict=True)
        ]
        # What still changes at the smallest steps is round-off, of terms that may cancel.
        jitter = unsolved.copy()
        for k in (LEVELS - 2, LEVELS - 1):
            seen = np.abs(plain[k] - plain[k - 1]).max(axis=1) * sum(distances[k])
            jitter = np.maximum(jitter, np.where(valid[k] & valid[k - 1], seen, 0.0))
        for level, ((plus, minus), (a, b), ok) in enumerate(zip(f, distances, valid, strict=True)):
            run = np.where(ok, run + 1, 0)
            current = [plain[level]]
            magnitude = np.maximum(np.abs(plus).max(axis=1), np.abs(minus).max(axis=1))
            noise = (4.0 * _EPS * magnitude + jitter) / (a + b)
            for order in range(1, min(len(previous), 3) + 1):
                factor = RATIO ** (2 * order)
                new = current[-1] + (current[-1] - previous[order - 1]) / (factor - 1.0)
                error = noise + np.maximum(
                    np.abs(new - current[-1]).max(axis=1),
                    np.abs(new - previous[order - 1]).max(axis=1),
                )
                current.append(new)
                better = (run > order) & (error < best_error)
                best = np.where(better[:, None], new, best)
                best_error = np.where(better, error, best_error)
            previous = current
    return best, best_error, _kinks(f, centre, distances, valid)


def _kinks(f: list, centre: Floats, distances: list, valid: list) -> npt.NDArray[np.bool_]:
    """Where one-sided slopes do not approach each other as the step shrinks."""
    coarse, fine = LEVELS - 5, LEVELS - 4  # far above round-off
    gaps, size = [], np.zeros(len(centre))
    with np.errstate(invalid="ignore", over="ignore"):
        for k in (coarse, fine):
            (plus, minus), (a, b) = f[k], distances[k]
            right, left = (plus - centre) / a[:, None], (centre - minus) / b[:, None]
            gaps.append(np.abs(right - left).max(axis=1))
            size = np.maximum(np.abs(right), np.abs(left)).max(axis=1)
        # Smooth: the gap shrinks with the step, by RATIO.
        kink = (gaps[1] > 0.6 * gaps[0]) & (gaps[1] > 1e-6 * size)
    return np.asarray(kink & valid[coarse] & valid[fine])
