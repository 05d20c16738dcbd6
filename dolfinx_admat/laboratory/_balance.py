"""Work, stored and dissipated energy add up, in the limit of small steps."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._report import Finding, Outcome
from ._samples import CONJUGATE, Bench, Floats, Inputs, Range, deformation, directions

NAME = "energy balance"
# Steps up, and as many down again: what is wrong stays when they are halved.
COARSE, FINE = 16, 32
# Of the first order in the step at least: the gap falls to one half, or is small anyway.
FALLS, SMALL = 0.75, 1e-3

#: (inputs, state at t_n, state, dt) of many points -> (energy, dissipated energy), (points,) each.
Evaluate = Callable[..., tuple[Floats, Floats]]


def energy_balance(
    bench: Bench, at: Range, points: int, rng: np.random.Generator, evaluate: Evaluate
) -> Finding:
    """work = stored + dissipated energy along a loading and unloading, as steps get smaller."""
    law, name = bench.law, deformation(bench.law)
    output = CONJUGATE.get(name or "")
    if name is None or output not in law.outputs or "pressure" in law.inputs:
        return Finding(NAME, Outcome.NOT_APPLICABLE, "no work of a stress alone")
    # Only what deforms moves: heat is no work.
    moves = directions(law, points, rng)
    moves = {n: d if n == name else np.zeros_like(d) for n, d in moves.items()}
    moves[name] = at.scale[name] * moves[name]
    gaps, good = [], np.ones(points, dtype=bool)
    for steps in (COARSE, FINE):
        gap, size, converged = _gap(bench, at, moves, name, output, steps, evaluate)
        gaps.append(gap)
        good &= converged
    if not good.any():
        return Finding(NAME, Outcome.NOT_CHECKABLE, "the paths did not converge")
    ratio = np.where(good, gaps[1] / np.where(size > 0.0, size, 1.0), 0.0)
    wrong = good & ~(gaps[1] <= np.maximum(FALLS * gaps[0], SMALL * size))
    k = int(np.argmax(np.where(wrong, ratio, -1.0) if wrong.any() else ratio))
    reason = f"stored + dissipated energy and work differ by {ratio[k]:.1e} of the work"
    point = bench.point(at.inputs(moves), bench.initial_state(points), at.dt, k)
    if not wrong.any():
        return Finding(NAME, Outcome.PASSED, f"{reason} in {2 * FINE} steps", point)
    reason += f", also with smaller steps, at {int(wrong.sum())} of {int(good.sum())} points"
    return Finding(NAME, Outcome.FAILED, reason, point)


def _gap(
    bench: Bench,
    at: Range,
    moves: Inputs,
    name: str,
    output: str,
    steps: int,
    evaluate: Evaluate,
) -> tuple[Floats, Floats, Any]:
    """|work - change of the energy - dissipated|, the sum of |work|, where all converged."""
    points = len(moves[name])
    state, dt = bench.initial_state(points), 2.0 * at.dt / steps
    start = before = at.inputs(moves, 0.0)
    rest = bench(before, state, dt)
    stress, good = rest.outputs[output], rest.good
    work = size = np.zeros(points)
    taken: list[tuple[Inputs, Inputs, Inputs]] = []
    for k in range(1, 2 * steps + 1):
        inputs = at.inputs(moves, 1.5 * (1.0 - abs(k / steps - 1.0)))
        answer = bench(inputs, state, dt)
        part = 0.5 * (stress + answer.outputs[output]) * (inputs[name] - before[name])
        part = part.reshape(points, -1).sum(axis=1)
        work, size = work + part, size + np.abs(part)
        taken.append((inputs, state, answer.state))
        before, stress, state = inputs, answer.outputs[output], answer.state
        good = good & answer.good
    psi, lost = evaluate(*map(_joined, zip(*taken, strict=True)), np.full(2 * steps * points, dt))
    virgin = bench.initial_state(points)
    first, _ = evaluate(start, virgin, virgin, np.full(points, dt))
    psi, lost = psi.reshape(2 * steps, points), lost.reshape(2 * steps, points)
    return np.abs(work - (psi[-1] - first) - lost.sum(axis=0)), size, good


def _joined(parts: tuple[Inputs, ...]) -> Inputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
