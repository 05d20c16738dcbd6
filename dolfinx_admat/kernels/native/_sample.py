"""Numbers for expressions, to learn from samples how large the entries of a matrix are."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._graph import FUNCTIONS, Node, known

_ITERATIONS = 6

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "pow": np.power,
    "rcp": lambda a: 1.0 / a, "max": np.maximum, "min": np.minimum, "rem": np.fmod,
    "atan2": np.arctan2, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and,
    "or": np.logical_or, "not": np.logical_not, "select": np.where, "nil": lambda a: 0.0 * a,
    "is_zero": lambda a: a == 0.0, "exp_s": np.exp, "exp_p": np.zeros_like,
    "exp_of": lambda s, p: s, "expm1_of": lambda s, p: s - 1.0,
    **{name: getattr(np, alias) for name, alias in {
        "log": "log", "log1p": "log1p", "sqrt": "sqrt", "abs": "abs", "exp": "exp",
        "expm1": "expm1", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh",
        "sinh": "sinh", "cosh": "cosh", "cbrt": "cbrt", "floor": "floor", "ceil": "ceil",
        "round": "rint", "sign": "sign", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
        "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "exp2": "exp2",
    }.items()},
}  # fmt: skip


def jacobian_samples(
    r: list[Any], jacobian: Any, x: list[Node], start: list[Any], samples: dict[Node, Any]
) -> Any:
    """Jacobians (n, n, s) that a local Newton iteration meets on its way, as far as it gets.

    Args:
        r: Residual, as values of the unknowns ``x``.
        jacobian: Its Jacobian, (n, n).
        x: The unknowns.
        start: The guess, as values.
        samples: Samples of all other variables.

    Returns:
        None where the values cannot be computed here.
    """
    n = len(r)
    first = evaluate(start, samples)
    if first is None:
        return None
    unknowns, collected = first, []
    for _ in range(_ITERATIONS):
        found = evaluate([*r, *jacobian.ravel()], samples | dict(zip(x, unknowns, strict=True)))
        if found is None:
            return None
        numbers, matrices = found[:n], found[n:].reshape(n, n, -1)
        good = np.isfinite(found).all(axis=0)
        collected.append(matrices[:, :, good])
        step = np.zeros_like(unknowns)
        for k in np.flatnonzero(good):
            step[:, k] = np.linalg.lstsq(matrices[:, :, k], -numbers[:, k], rcond=1e-14)[0]
        unknowns = unknowns + step
    result = np.concatenate(collected, axis=2)
    return result if result.shape[2] else None


def matrix_samples(matrix: Any, samples: dict[Node, Any]) -> Any:
    """Values (n, n, s) of a matrix at the samples where they are finite; None without any."""
    found = evaluate(list(matrix.ravel()), samples)
    if found is None:
        return None
    found = found[:, np.isfinite(found).all(axis=0)].reshape(*matrix.shape, -1)
    return found if found.shape[2] else None


def solution_samples(matrix: Any, rhs: Any, samples: dict[Node, Any]) -> Any:
    """Values (n k, s) of the solution of a dense system; None where they cannot be computed."""
    found = evaluate([*matrix.ravel(), *rhs.ravel()], samples)
    if found is None:
        return None
    n, k = rhs.shape
    systems = np.moveaxis(found, 1, 0)
    solutions = np.full((len(systems), n, k), np.nan)
    for s in np.flatnonzero(np.isfinite(systems).all(axis=1)):
        A, B = systems[s, : n * n].reshape(n, n), systems[s, n * n :].reshape(n, k)
        solutions[s] = np.linalg.lstsq(A, B, rcond=1e-14)[0]
    return solutions.reshape(len(systems), -1).T


def evaluate(values: list[Any], samples: dict[Node, Any]) -> Any:
    """Values at the samples, (len(values), s); None where that cannot be done."""
    if not samples:
        return None
    count = len(next(iter(samples.values())))
    found: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in sorted(_reachable(values), key=lambda node: node.number):
            if node.operation is None:
                if node not in samples:
                    return None
                found[node] = np.broadcast_to(samples[node], (count,))
                continue
            if node.operation not in _OPERATIONS:
                return None
            operands = [float(a) if known(a) else found[a] for a in node.arguments]
            found[node] = np.broadcast_to(_OPERATIONS[node.operation](*operands), (count,))
    rows = [np.full(count, float(v)) if known(v) else found[v].astype(float) for v in values]
    return np.stack(rows)


def _reachable(values: list[Any]) -> set[Node]:
    seen: set[Node] = set()
    pending = [v for v in values if isinstance(v, Node)]
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += [a for a in node.arguments if isinstance(a, Node)]
    return seen


assert set(FUNCTIONS) - {"erf", "erfc"} <= set(_OPERATIONS)
