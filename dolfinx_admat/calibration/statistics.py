"""What the Jacobian at the minimum says about the fitted parameters."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError

from .free import FreeVector

Floats = npt.NDArray[np.float64]
#: A combination whose singular value is smaller, relative to the largest, has no effect at all.
NO_EFFECT = 1e-9
#: Relative standard deviation of a combination from which on the data do not determine it.
UNDETERMINED = 1.0
#: A parameter closer to a bound than that, relative to its scale, stands on it.
ON_BOUND = 1e-6
#: How many combinations are named.
NAMED = 5

# Of z = (residual / scale)^2: rho and its two derivatives, as in scipy.optimize.least_squares.
_LOSSES: dict[str, Callable[[Floats], tuple[Floats, Floats, Floats]]] = {
    "linear": lambda z: (z, np.ones_like(z), np.zeros_like(z)),
    "soft_l1": lambda z: (
        2.0 * (np.sqrt(1.0 + z) - 1.0),
        (1.0 + z) ** -0.5,
        -0.5 * (1.0 + z) ** -1.5,
    ),
    "huber": lambda z: (
        np.where(z <= 1.0, z, 2.0 * np.sqrt(z) - 1.0),
        np.maximum(z, 1.0) ** -0.5,
        np.where(z <= 1.0, 0.0, -0.5 * np.maximum(z, 1.0) ** -1.5),
    ),
    "cauchy": lambda z: (np.log1p(z), 1.0 / (1.0 + z), -((1.0 + z) ** -2)),
    "arctan": lambda z: (np.arctan(z), 1.0 / (1.0 + z * z), -2.0 * z / (1.0 + z * z) ** 2),
}


class Loss:
    """A loss of ``scipy.optimize.least_squares``: the cost is sum(scale^2 rho((r/scale)^2)) / 2.

    Args:
        rho: "linear", "soft_l1", "huber", "cauchy" or "arctan"; or a function of z = (r/scale)^2,
            (size,), that returns rho, rho' and rho'', (3, size).
        scale: Residuals larger than that count less; in units of sigma.

    Raises:
        MaterialError: Unknown name, or a scale that is not positive.
    """

    def __init__(self, rho: Any = "linear", scale: float = 1.0) -> None:
        if not callable(rho) and not (isinstance(rho, str) and rho in _LOSSES):
            raise MaterialError(
                f"fit: loss={rho!r}: expected one of {', '.join(_LOSSES)}, or a function"
            )
        if not (np.ndim(scale) == 0 and 0.0 < scale < np.inf):
            raise MaterialError(f"fit: loss_scale must be a number > 0; got {scale!r}")
        self.rho, self.scale, self.linear = rho, float(scale), rho == "linear"

    def _evaluate(self, residuals: Floats) -> tuple[Floats, Floats, Floats]:
        z = (residuals / self.scale) ** 2
        found = np.asarray(self.rho(z)) if callable(self.rho) else _LOSSES[self.rho](z)
        return found[0], found[1], found[2]

    def cost(self, residuals: Floats) -> float:
        """The number that is minimised."""
        return float(0.5 * self.scale**2 * np.sum(self._evaluate(residuals)[0]))

    def derivatives(self, residuals: Floats) -> tuple[Floats, Floats]:
        """Of the cost, in each residual: first, and second where positive, else 0; (size,)."""
        _, first, second = self._evaluate(residuals)
        z = (residuals / self.scale) ** 2
        return first * residuals, np.maximum(first + 2.0 * z * second, 0.0)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Gauss-Newton statistics at a minimum. Entries that stand on a bound are left out as known.

    Attributes:
        covariance: Of the parameters in units of the law; (entries, entries): NaN where an entry is
            on a bound, infinite on the diagonal where the data say nothing.
        deviations: Standard deviation of what the optimiser sees (the logarithm, where ``log``),
            in units of x (relative, where ``log``); (entries,).
        correlations: (entries, entries).
        singular_values: Of the Jacobian with respect to relative changes of the parameters, largest
            first; (determined entries,). sigma over them is the relative standard deviation.
        noise: Standard deviation of the residuals that the covariance is based on, in units of
            sigma: estimated, or 1 where sigma is known and trusted.
        degrees_of_freedom: Residuals minus determined entries.
        on_bound: Which entries stand on a bound; (entries,).
        warnings: What the data do not determine, in words.
    """

    covariance: Floats
    deviations: Floats
    correlations: Floats
    singular_values: Floats
    noise: float
    degrees_of_freedom: int
    on_bound: npt.NDArray[np.bool_]
    warnings: tuple[str, ...]


def confidence_intervals(
    free: FreeVector, x: Floats, found: Statistics, level: float, known_noise: bool
) -> dict[str, tuple[float, float]]:
    """Interval of each entry, by name; NaN where an entry stands on a bound.

    With estimated noise from Student's t, with known noise from the normal distribution. For
    ``Free(log=True)`` the interval of the logarithm. Linear theory: good while the model is
    nearly linear in its parameters over the interval.

    Args:
        free: The free parameters.
        x: Their values at the minimum; (entries,).
        found: Statistics there.
        level: Confidence level, between 0 and 1.
        known_noise: As for ``statistics``.

    Raises:
        MaterialError: A level that is none.
    """
    if not 0.0 < level < 1.0:
        raise MaterialError(f"confidence_intervals: level must be in (0, 1); got {level!r}")
    from scipy.stats import norm, t

    tail, freedom = 0.5 + 0.5 * level, found.degrees_of_freedom
    if known_noise:
        factor = norm.ppf(tail)
    else:
        factor = t.ppf(tail, freedom) if freedom > 0 else np.nan
    half = factor * found.deviations
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.where(free.log, x * np.exp(-half), x - half)
        high = np.where(free.log, x * np.exp(half), x + half)
    return {name: (float(a), float(b)) for name, a, b in zip(free.names, low, high, strict=True)}


def statistics(
    free: FreeVector,
    x: Floats,
    residuals: Floats,
    jacobian: Floats,
    loss: Loss,
    known_noise: bool,
) -> Statistics:
    """Statistics from the residuals and their Jacobian at the minimum.

    Without outliers in mind (linear loss) the covariance is s^2 (J^T J)^-1, with s^2 the mean
    square of the residuals, or 1 for a known noise; with a robust loss that of an M-estimator,
    (J^T D J)^-1 J^T W^2 J (J^T D J)^-1, with the first (W) and second (D) derivatives of the cost
    in each residual.

    Args:
        free: The free parameters.
        x: Their values; (entries,).
        residuals: (size,).
        jacobian: d(residuals)/dx; (size, entries).
        loss: The loss.
        known_noise: Sigma is known and trusted.

    Source: G.A.F. Seber, C.J. Wild, Nonlinear Regression, 1989, chapters 2 and 3; P.J. Huber,
    Robust Statistics, 1981, section 7.6.
    """
    n, m = free.size, len(residuals)
    size = np.where(x != 0.0, np.abs(x), free.scale)  # of a relative change
    scores, curvature = loss.derivatives(residuals)
    on_bound = _on_bound(free, x, jacobian, scores, curvature)
    inner = np.flatnonzero(~on_bound)
    freedom = m - len(inner)
    J = jacobian[:, inner] * size[inner]
    _, values, V = np.linalg.svd(np.sqrt(curvature)[:, None] * J, full_matrices=False)
    V = V if len(values) == len(inner) else np.linalg.svd(J)[2]  # more entries than data
    values = np.concatenate([values, np.zeros(len(inner) - len(values))])
    seen = values > NO_EFFECT * values[0] if len(values) and values[0] > 0 else values > 0
    noise = 1.0
    if not known_noise:
        noise = np.sqrt(float(scores @ residuals) / freedom) if freedom > 0 else np.nan
    inverse = V[: len(seen)][seen].T / values[seen]  # (inner, seen): covariance = inverse inverse^T
    if loss.linear:
        relative = noise**2 * inverse @ inverse.T
    else:
        each = scores[:, None] * (J @ inverse)
        middle = each.T @ each * (m / freedom if freedom > 0 else np.nan)
        relative = inverse @ middle @ inverse.T
    blind = (V[: len(seen)][~seen] ** 2).sum(axis=0) > 1e-12
    relative[blind, :] = relative[:, blind] = np.nan
    relative[blind, blind] = np.inf
    covariance = np.full((n, n), np.nan)
    covariance[np.ix_(inner, inner)] = relative * np.outer(size[inner], size[inner])
    deviations = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlations = covariance / np.outer(deviations, deviations)
    correlations[np.isinf(covariance)] = 1.0
    exact = noise < 1e-7 * max(values[0], 1.0) if len(values) else True
    spread = np.where(seen, noise / np.where(seen, values, 1.0), np.inf)
    names = [free.names[k] for k in inner]
    warnings = _warnings(free, x, on_bound, freedom)
    vague = [k for k in range(len(values)) if spread[k] > UNDETERMINED and not (exact and seen[k])]
    for k in vague[::-1][:NAMED]:
        warnings.append(_combination(names, V[k], spread[k]))
    if len(vague) > NAMED:
        warnings.append(f"... and {len(vague) - NAMED} further combinations")
    return Statistics(
        covariance,
        np.where(free.log, deviations / np.where(x != 0.0, x, 1.0), deviations),
        correlations,
        values,
        float(noise),
        freedom,
        on_bound,
        tuple(warnings),
    )


def _on_bound(
    free: FreeVector, x: Floats, jacobian: Floats, scores: Floats, curvature: Floats
) -> npt.NDArray[np.bool_]:
    """Which entries stand on a bound, or were on their way to it when the optimiser stopped.

    Trust regions that stay inside the bounds come ever slower to one: an entry counts as on it if
    the loss falls towards it, and its own Gauss-Newton step would cross it.
    """
    slope = jacobian.T @ scores
    stiffness = np.einsum("mk,m,mk->k", jacobian, curvature, jacobian)
    with np.errstate(invalid="ignore"):
        margin = ON_BOUND * np.where(free.log, x, free.scale)
        step = -np.divide(slope, stiffness, out=np.zeros_like(x), where=stiffness > 0.0)
        on = (x - free.lower <= margin) | (free.upper - x <= margin)
        return on | (x + step < free.lower) | (x + step > free.upper)


def _warnings(free: FreeVector, x: Floats, on_bound: Any, freedom: int) -> list[str]:
    found = []
    for k in np.flatnonzero(on_bound)[:NAMED]:
        side = "lower" if x[k] - free.lower[k] <= free.upper[k] - x[k] else "upper"
        found.append(
            f"{free.names[k]} stands on its {side} bound, {x[k]:.6g}: no interval; move the bound "
            "or fix the parameter"
        )
    if freedom <= 0:
        found.append(
            "there are no more data than free parameters: no noise can be estimated, and so "
            "there are no intervals"
        )
    return found


def _combination(names: list[str], direction: Floats, spread: float) -> str:
    """'+0.7 a -0.7 b is not determined'."""
    largest = np.argsort(-np.abs(direction)).tolist()
    order = [k for k in largest if abs(direction[k]) > 0.03 * abs(direction[largest[0]])][:6]
    sign = np.sign(direction[order[0]])
    text = " ".join(f"{sign * direction[k]:+.2f} {names[k]}" for k in order)
    size = f"standard deviation {100 * spread:.3g} %"
    if np.isinf(spread):
        size = "no effect at all" if len(order) == 1 else "they cannot be told apart"
    return f"the data do not determine the relative change {text} ({size})"
