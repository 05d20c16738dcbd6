"""Check the tangents of any law, and what the law declares about them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Material

from ._differences import Slopes, slopes
from ._invariance import isotropy, symmetry
from ._report import Finding, Outcome, TangentReport, TangentRow
from ._samples import (
    Answer,
    Bench,
    Floats,
    Inputs,
    Range,
    directions,
    explore,
    has_unknowns,
    moved,
    picked,
    reach,
    where,
)

# The local solve leaves an error of its rtol (1e-12) in the unknowns. The tangent at such a point
# is wrong by that times the second derivative of the law in units of its scale, which nonlinear
# hardening and powers of stresses make large: a factor of 1e4 is allowed.
AMPLIFICATION = 1e4
# Differences that are worse than this, relative to the block, say nothing.
RESOLUTION = 1e-4
# Fraction of points that may fail to converge (or be inadmissible) after a large random step.
MAY_FAIL = 0.1
# Distance from the transition, relative to the step that reaches it, of points near it.
NEAR = 1e-3


class _Transition(NamedTuple):
    """Rays from reached points, and where on them the elastic test changes its answer.

    Attributes:
        moves: The rays.
        elastic: Factor on the elastic side, next to ``plastic``; (points,).
        plastic: Factor on the other side.
        found: Which points have a transition.
    """

    moves: Inputs
    elastic: Floats
    plastic: Floats
    found: Any


def check_tangent(
    law: Material,
    *,
    scale: float | Mapping[str, float] | None = None,
    rest: Mapping[str, Any] | None = None,
    dt: float | None = None,
    points: int = 16,
    seed: int = 0,
    backend: str = "auto",
    unrolled: bool = True,
) -> TangentReport:
    """Check all blocks of a law's tangent, and what the law declares, at random points.

    Points are reached by random steps, some of them large; from there a random ray is followed to
    where the law starts to flow, and points are taken half-way, just before, just after and well
    beyond. At each the tangent is compared with extrapolated central differences, whose own error
    is estimated and decides what is allowed, and with the derivative through the iterations of
    the local solve (``tangent="unrolled"``).

    Then: ``symmetric_tangent``, ``isotropic`` and ``linear_when_elastic`` hold where declared, and
    it is said where they hold without being declared; outputs and state do not jump where the
    elastic test changes its answer (so the equations from just outside lead to the guess).

    Args:
        law: The law.
        scale: Size of the deformation around which points are sampled, or sizes of inputs by
            name; None: the law is deformed until it flows or is nonlinear.
        rest: Inputs of a body at rest where they are not zero (or the identity), e.g.
            ``{"temperature": 293.0}``.
        dt: Step, units of time; None: one that matters, for a rate-dependent law.
        points: How many random points; each gives up to four.
        seed: Of the random numbers.
        backend: Backend whose tangent is checked, as in ``BatchKernel``.
        unrolled: Compare with the derivative through the iterations (compiles another kernel).

    Returns:
        A report; ``print(report)``, ``report.passed``.

    Raises:
        MaterialError: A mistake in the law, or arguments that do not fit it.
    """
    rng = np.random.default_rng(seed)
    bench = Bench(law, backend)
    at = explore(bench, rng, scale=scale, rest=rest, dt=dt)
    reached = reach(bench, at, points, rng)
    transition = _transition(bench, at, reached.inputs, reached.state, rng)
    inputs, state, regimes = _chosen(bench, at, reached, transition, rng)
    answer = bench(inputs, state, at.dt)
    regimes = _regimes(regimes, answer)
    findings = [_convergence(bench, inputs, state, at, answer, regimes, reached.failed)]
    through, note = (None, None)
    if unrolled:
        through, note = _through(law, at, inputs, state)
    if note is not None:
        findings.append(note)
    solves = has_unknowns(law, at)
    rows, kinks = [], np.zeros(len(regimes), bool)
    for name in law.inputs:
        by_output = slopes(bench, inputs, state, at.dt, name, at.scale[name], answer, solves)
        for output, differences in by_output.items():
            kinks |= differences.kink.any(axis=1) & answer.good
            rows += _rows(
                bench, at, inputs, state, answer, regimes, through, output, name, differences
            )
    if kinks.any():
        k = int(kinks.argmax())
        findings.append(
            Finding(
                "kinks", Outcome.INFORMATION,
                f"slopes differ on both sides at {int(kinks.sum())} points ({regimes[k]}, ...): "
                "there the tangent is not judged",
                bench.point(inputs, state, at.dt, k),
            )
        )  # fmt: skip
    findings.append(symmetry(bench, inputs, state, at.dt, answer))
    findings.append(_elastic_test(bench, at, reached.inputs, reached.state, transition))
    findings.append(_linear(bench, at, reached.inputs, reached.state, transition))
    findings.append(isotropy(bench, at, max(4, points // 2), rng))
    return TangentReport(
        type(law).__name__, bench.backend, at.scale, at.dt, tuple(rows), tuple(findings)
    )


def _transition(
    bench: Bench, at: Range, inputs: Inputs, state: Inputs, rng: np.random.Generator
) -> _Transition:
    """Follow a ray from each point until the elastic test changes its answer; then bisect.

    A point that flows without any load (viscous laws) goes back towards rest.
    """
    n = len(next(iter(inputs.values())))
    moves = {name: at.scale[name] * d for name, d in directions(bench.law, n, rng).items()}
    flowing = bench(inputs, state, at.dt).active
    back = {name: 0.1 * m + (at.rest[name] - inputs[name]) for name, m in moves.items()}
    moves = where(flowing, back, moves)
    factors = np.concatenate([[0.0], 10.0 ** np.linspace(-2.0, 1.2, 24)])
    rows, many = np.repeat(np.arange(n), len(factors)), np.tile(factors, n)
    target = moved(picked(inputs, rows), picked(moves, rows), many)
    active = bench(target, picked(state, rows), at.dt).active.reshape(n, -1)
    flips = active[:, 1:] != active[:, :-1]
    first, found = flips.argmax(axis=1), flips.any(axis=1)
    low, high = factors[first], factors[first + 1]
    starts = active[np.arange(n), first]  # whether it flows at the lower end
    for _ in range(60):
        middle = 0.5 * (low + high)
        same = bench(moved(inputs, moves, middle), state, at.dt).active == starts
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return _Transition(moves, np.where(starts, high, low), np.where(starts, low, high), found)


def _chosen(
    bench: Bench, at: Range, reached: Any, transition: _Transition, rng: np.random.Generator
) -> tuple[Inputs, Inputs, Any]:
    """Points to check: inputs, state, and the regime that they were chosen for."""
    n = len(transition.elastic)
    # A point on the yield surface that is loaded further has no elastic part worth the name.
    clear = transition.found & (transition.plastic > 10.0 * NEAR)
    found, other = np.flatnonzero(clear), np.flatnonzero(~clear)
    border = transition.plastic
    loading = transition.plastic >= transition.elastic
    near = np.where(loading, NEAR, -NEAR) * border
    beyond = border * rng.uniform(1.2, 3.0, n)
    choices = [
        ("elastic", found, np.where(loading, 0.5, 1.05) * border),
        ("just before yield", found, border - near),
        ("just after yield", found, border + near),
        ("plastic", found, np.where(loading, beyond, 0.5 * border)),
        ("", other, rng.uniform(0.3, 1.5, n)),
    ]
    rest = {name: value[None] for name, value in at.rest.items()}
    pieces = [(rest, bench.initial_state(1))]
    names = ["at rest"]
    for name, rows, factor in choices:
        target = moved(picked(reached.inputs, rows), picked(transition.moves, rows), factor[rows])
        pieces.append((target, picked(reached.state, rows)))
        names += [name] * len(rows)
    inputs = {k: np.concatenate([piece[0][k] for piece in pieces]) for k in at.rest}
    state = {k: np.concatenate([piece[1][k] for piece in pieces]) for k in reached.state}
    return inputs, state, np.array(names)


def _regimes(chosen: Any, answer: Answer) -> Any:
    """Points without a transition on their ray are what their status says."""
    both = answer.active.any() and not answer.active.all()
    found = np.where(answer.active, "plastic", "elastic") if both else np.full(len(chosen), "all")
    chosen = np.where(chosen == "", found, chosen)
    # The elastic domain may be so thin that a point half-way through it is beyond it.
    return np.where((chosen == "elastic") & answer.active, "plastic", chosen)


def _convergence(
    bench: Bench, inputs: Inputs, state: Inputs, at: Range, answer: Answer, regimes: Any, lost: int
) -> Finding:
    bad = ~answer.good
    large = np.isin(regimes, ("plastic", "all"))
    small = int(np.sum(bad & ~large))
    failed = small > 0 or np.sum(bad) > MAY_FAIL * len(bad)
    text = "all points converged"
    worst = None
    if bad.any():
        codes = ", ".join(
            f"{count} {meaning}"
            for meaning, code in (("not converged", 1), ("not finite", 2), ("inadmissible", 3))
            if (count := int(np.sum(answer.code == code)))
        )
        where_ = ", ".join(
            f"{r} {int(np.sum(bad & (regimes == r)))}" for r in np.unique(regimes[bad])
        )
        text = f"{int(np.sum(bad))} of {len(bad)} points failed: {codes} ({where_})"
        pick = np.flatnonzero(bad & ~large) if small else np.flatnonzero(bad)
        worst = bench.point(inputs, state, at.dt, int(pick[0]))
    if lost:
        text += f"; {lost} random steps before were not taken because they failed"
    return Finding("convergence", Outcome.FAILED if failed else Outcome.PASSED, text, worst)


def _through(law: Material, at: Range, inputs: Inputs, state: Inputs) -> tuple:
    """Answer with the derivative through the iterations, or a finding that says why not."""
    if not has_unknowns(law, at):
        reason = "nothing to unroll: the law is in closed form"
        return None, Finding("unrolled AD", Outcome.NOT_APPLICABLE, reason)
    try:
        return Bench(law, "xla", "unrolled")(inputs, state, at.dt), None
    except MaterialError as error:
        if "third one was asked for" not in str(error):
            raise
        reason = "needs third derivatives of a spectral function; differences were compared"
        return None, Finding("unrolled AD", Outcome.NOT_CHECKABLE, reason)


def _rows(
    bench: Bench,
    at: Range,
    inputs: Inputs,
    state: Inputs,
    answer: Answer,
    regimes: Any,
    through: Answer | None,
    output: str,
    name: str,
    differences: Slopes,
) -> list[TangentRow]:
    n = len(regimes)
    block = answer.tangent[output, name].reshape(n, *differences.value.shape[1:])
    good = answer.good
    if not good.any():
        return []
    # Size of the block: at the point, but not less than what matters to this output at all.
    own = np.maximum(np.abs(block), np.abs(differences.value)).max(axis=(1, 2))
    own = np.where(good & np.isfinite(own), own, 0.0)
    value = answer.outputs[output].reshape(n, -1)
    typical = np.abs(value[good]).max(initial=0.0) / at.scale[name]
    size = np.maximum(own, max(1e-3 * np.median(own[good]), 1e-5 * typical))
    size = np.where(size > 0.0, size, 1.0)
    gap = np.abs(block - differences.value).max(axis=1)  # per column
    solver = AMPLIFICATION * max(bench.law._solver.rtol, 1e-14)
    resolved_column = (differences.error <= RESOLUTION * size[:, None]) & ~differences.kink
    resolved_column |= gap == 0.0  # blocks that vanish
    allowed_column = 10.0 * differences.error + solver * size[:, None]
    ratio_column = np.where(resolved_column, gap / allowed_column, 0.0)
    column = ratio_column.argmax(axis=1)
    each, smooth = np.arange(n), ~differences.kink.any(axis=1)
    error, allowed = gap[each, column] / size, allowed_column[each, column] / size
    ratio, resolved = ratio_column[each, column], resolved_column.all(axis=1)
    if through is not None:
        other = through.tangent[output, name].reshape(block.shape)
        away = np.abs(other - block).max(axis=(1, 2)) / size
        both = good & through.good
    rows = []
    for regime in dict.fromkeys(regimes):
        mine = np.flatnonzero((regimes == regime) & good)
        if not len(mine):
            continue
        k = int(mine[ratio[mine].argmax()])
        difference = None
        enough = 4 * int(resolved[mine].sum()) >= int(smooth[mine].sum())
        passed = bool(ratio[k] <= 1.0) and (enough or len(mine) < 4)
        if through is not None and both[mine].any():
            there = mine[both[mine]]
            difference = float(away[there].max())
            if difference > solver + np.max(allowed[mine]):
                passed, k = False, int(there[away[there].argmax()])
        rows.append(
            TangentRow(
                output, name, str(regime), len(mine), int(resolved[mine].sum()),
                float(error[k]), float(allowed[k]), difference, passed,
                bench.point(inputs, state, at.dt, k),
            )
        )  # fmt: skip
    return rows


def _elastic_test(
    bench: Bench, at: Range, inputs: Inputs, state: Inputs, transition: _Transition
) -> Finding:
    """Outputs and state do not jump between the last elastic and the first plastic point."""
    name, found = "elastic test", transition.found
    if not found.any():
        return Finding(name, Outcome.NOT_APPLICABLE, "no transition was found on any ray")
    inside = bench(moved(inputs, transition.moves, transition.elastic), state, at.dt)
    outside = moved(inputs, transition.moves, transition.plastic)
    flows = bench(outside, state, at.dt)
    usable = found & inside.good & flows.good
    if not usable.any():
        k = int(np.flatnonzero(found)[0])
        return Finding(
            name, Outcome.FAILED, f"just outside, none of {int(found.sum())} points converges",
            bench.point(outside, state, at.dt, k),
        )  # fmt: skip
    # The test may leave out round-off (1e-10 of a yield stress), and two neighbouring numbers are
    # apart by that of the inputs; both are small beside what twice the step would change.
    far = bench(moved(inputs, transition.moves, 2.0 * transition.plastic), state, at.dt)
    worst, where_, what = 0.0, 0, "none"
    for kind in ("outputs", "state"):
        for key, a in getattr(inside, kind).items():
            b, beyond = getattr(flows, kind)[key], getattr(far, kind)[key]
            size = np.abs(beyond - a).reshape(len(a), -1)[usable & far.good].max(initial=0.0)
            if kind == "outputs":
                size = max(size, np.abs(a[usable]).max())
            jump = np.abs(a - b).reshape(len(a), -1).max(axis=1)
            relative = np.where(usable, jump, 0.0) / (size if size > 0.0 else 1.0)
            if relative.max() > worst:
                worst, where_, what = float(relative.max()), int(relative.argmax()), key
    # A rounded F moves strains by eps, which is eps / scale of the step.
    smallest = min(at.scale.values())
    allowed = 1e-8 + 100.0 * np.finfo(float).eps / min(smallest, 1.0)
    reason = f"{int(usable.sum())} transitions; largest jump {worst:.1e} ({what})"
    if worst <= allowed:
        return Finding(name, Outcome.PASSED, reason)
    return Finding(
        name, Outcome.FAILED, reason + f", allowed {allowed:.0e}",
        bench.point(outside, state, at.dt, where_),
    )  # fmt: skip


def _linear(
    bench: Bench, at: Range, inputs: Inputs, state: Inputs, transition: _Transition
) -> Finding:
    """Two elastic tangents of the same state agree."""
    name, declared = "linear_when_elastic", bench.law.linear_when_elastic
    loading = transition.plastic >= transition.elastic
    ends = np.where(loading, transition.elastic, 1.0)
    reach_ = np.where(transition.found, ends, 1.0)
    here = moved(inputs, transition.moves, 0.3 * reach_)
    a = bench(here, state, at.dt)
    b = bench(moved(inputs, transition.moves, 0.9 * reach_), state, at.dt)
    usable = a.good & b.good & ~a.active & ~b.active
    if not usable.any():
        outcome = Outcome.NOT_CHECKABLE if declared else Outcome.NOT_APPLICABLE
        return Finding(name, outcome, "no elastic point was found")
    error = np.zeros(len(usable))
    for key, first in a.tangent.items():
        flat = first.reshape(len(first), -1)
        size = np.abs(flat[usable]).max(initial=0.0)
        gap = np.abs(flat - b.tangent[key].reshape(flat.shape)).max(axis=1)
        error = np.maximum(error, gap / (size if size > 0.0 else 1.0))
    error = np.where(usable, error, 0.0)
    k, worst = int(error.argmax()), float(error.max())
    figures = f"tangents at {int(usable.sum())} elastic states differ by {worst:.1e}"
    if declared:
        good = worst <= 1e-9
        outcome = Outcome.PASSED if good else Outcome.FAILED
        return Finding(name, outcome, figures, bench.point(here, state, at.dt, k))
    hint = "; it holds: declare it, and reductions are faster" if worst <= 1e-9 else ""
    return Finding(name, Outcome.NOT_APPLICABLE, f"not declared; {figures}{hint}")
