"""Audit a law: what must hold for any law, and what this one claims."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.kernels import BatchKernel, StatusBuffers
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves

from ._energy import convexity, cycles, ellipticity, energy_findings, heat_conduction
from ._invariance import follow, isotropy, objectivity, symmetry
from ._report import AuditReport, Finding, Outcome
from ._samples import CHUNK, Answer, Bench, Inputs, Range, explore, picked

# Both backends evaluate the same formulas in another order (DESIGN.md, section 3).
BACKENDS_AGREE = 1e-10
# XLA may round a point differently in another place of its vectors; otherwise it is the same code.
SAME_POINT = 1e-12


def audit(
    law: Material,
    *,
    scale: float | Mapping[str, float] | None = None,
    rest: Mapping[str, Any] | None = None,
    dt: float | None = None,
    points: int = 12,
    seed: int = 0,
    backend: str = "auto",
    both_backends: bool = True,
    pullback: bool = True,
) -> AuditReport:
    """Audit a law along random paths with unloading and reverse loading.

    Objectivity (finite strain); isotropy and symmetry of the tangent where declared; dissipation
    >= 0 and stress = d(free energy)/d(strain) where the law declares a free energy; convexity of
    parts with the attribute ``convex = True`` (callable, with ``energy`` or ``stored_energy``);
    ellipticity, which a law with the attribute ``polyconvex = True`` must keep; no stress at rest;
    derivatives without NaN at rest; steps of no length and of enormous length; the same result
    again, alone and in another place of the batch, and on the other backend.

    Args:
        law: The law.
        scale: Size of the deformation, or sizes of inputs by name; None: found, as in
            ``check_tangent``.
        rest: Inputs of a body at rest where they are not zero (or the identity).
        dt: Step, units of time; None: one that matters, for a rate-dependent law.
        points: How many random paths.
        seed: Of the random numbers.
        backend: Backend that is audited, as in ``BatchKernel``.
        both_backends: Compare with the other backend (compiles another kernel).
        pullback: Look at reverse-mode derivatives as well (compiles another kernel).

    Returns:
        A report; ``print(report)``, ``report.passed``, ``report["objectivity"]``.

    Raises:
        MaterialError: A mistake in the law, or arguments that do not fit it.
    """
    rng = np.random.default_rng(seed)
    bench = Bench(law, backend)
    at = explore(bench, rng, scale=scale, rest=rest, dt=dt)
    path = cycles(bench, at, points, rng)
    answers, states = follow(bench, path)
    inputs = {n: np.concatenate([i[n] for i, _ in path]) for n in law.inputs}
    state = {n: np.concatenate([s[n] for s in states]) for n in states[0]}
    # One step from each point of the paths, all with the same dt.
    whole = bench(inputs, state, at.dt)
    findings = [
        _convergence(bench, path, answers, states),
        _at_rest(bench, at, whole),
        _derivatives_at_rest(bench, at, pullback),
        objectivity(bench, at, points, rng),
        isotropy(bench, at, points, rng),
        symmetry(bench, inputs, state, at.dt, whole),
        *energy_findings(bench, at, path, answers, states, rng),
        convexity(law, rng),
        ellipticity(bench, path, answers, states, rng),
        _step_sizes(bench, at, path, inputs, state, whole),
        *_batches(bench, inputs, state, at.dt, whole),
    ]
    if (found := heat_conduction(law, path, answers)) is not None:
        findings.append(found)
    if both_backends:
        findings.append(_other_backend(bench, inputs, state, at.dt, whole))
    return AuditReport(type(law).__name__, tuple(findings))


def _finding(name: str, holds: bool, reason: str, point: Any = None) -> Finding:
    return Finding(name, Outcome.PASSED if holds else Outcome.FAILED, reason, point)


def _convergence(bench: Bench, path: list, answers: list[Answer], states: list[Inputs]) -> Finding:
    """Points that fail are left out of everything else; here they are counted."""
    name = "convergence"
    n = len(answers[0].code)
    lost = ~answers[-1].good
    if not lost.any():
        return _finding(name, True, f"all {n} paths of {len(path)} steps")
    k = next(k for k, answer in enumerate(answers) if not answer.good.all())
    row = int(np.flatnonzero(~answers[k].good)[0])
    point = bench.point(path[k][0], states[k], path[k][1], row)
    reason = f"{int(lost.sum())} of {n} paths ended early (first in step {k + 1})"
    return _finding(name, bool(lost.sum() <= n // 2), reason, point)


def _at_rest(bench: Bench, at: Range, whole: Answer) -> Finding:
    """No stress, no flux, and a state that stays."""
    rest = {name: value[None] for name, value in at.rest.items()}
    state = bench.initial_state(1)
    answer = bench(rest, state, at.dt)
    point = bench.point(rest, state, at.dt, 0)
    if not answer.good[0]:
        return _finding("rest", False, "a virgin point at rest does not converge", point)
    stresses = [n for n in bench.law.outputs if "stress" in n or "flux" in n]
    worst, what = 0.0, "nothing"
    for name in stresses or list(bench.law.outputs):
        size = np.abs(whole.outputs[name][whole.good]).max(initial=0.0)
        value = np.abs(answer.outputs[name]).max() / (size if size > 0.0 else 1.0)
        if value > worst:
            worst, what = float(value), name
    # eps of the stiffness is eps / scale of the stresses.
    allowed = 1e-10 + 100.0 * np.finfo(float).eps / min(1.0, *at.scale.values())
    reason = f"largest output at rest {worst:.1e} of its size ({what})"
    return _finding("rest", bool(worst <= allowed), reason, point)


def _derivatives_at_rest(bench: Bench, at: Range, pullback: bool) -> Finding:
    """No NaN, for any input, state variable and parameter."""
    law = bench.law
    rest = {key: value[None] for key, value in at.rest.items()}
    state = bench.initial_state(1)
    point = bench.point(rest, state, at.dt, 0)
    answer = bench(rest, state, at.dt)
    bad = [f"d({o})/d({i})" for (o, i), t in answer.tangent.items() if not np.isfinite(t).all()]
    if pullback:
        kernel = BatchKernel(law, backend=bench.backend, chunk_size=CHUNK)
        bars = {k: np.zeros_like(v) for k, v in rest.items()}
        of_state = {k: np.zeros_like(v) for k, v in state.items()}
        leaves = named_leaves(eqx.filter(law, eqx.is_inexact_array))
        of_law = {k: np.zeros(np.shape(v)) for k, v in leaves.items()}
        status = StatusBuffers(
            np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1), np.zeros(1, bool)
        )
        kernel.pullback(
            rest, state, at.dt,
            output_cotangents={k: np.ones((1, *shape)) for k, shape in law.outputs.items()},
            state_cotangents={k: np.ones_like(v) for k, v in state.items()},
            status=status, input_bars=bars, state_bars=of_state, parameter_bars=of_law,
        )  # fmt: skip
        for kind, group in (("input", bars), ("state", of_state), ("parameter", of_law)):
            bad += [f"{kind} {k}" for k, v in group.items() if not np.isfinite(v).all()]
    which = "inputs, state and parameters" if pullback else "inputs"
    reason = f"not finite: {', '.join(bad)}" if bad else f"finite with respect to {which}"
    return _finding("derivatives at rest", not bad, reason, point)


def _step_sizes(
    bench: Bench, at: Range, path: list, inputs: Inputs, state: Inputs, whole: Answer
) -> Finding:
    """No step at all, and one that is longer than anything in the law; or dt is not read."""
    name = "dt = 0 and dt huge"
    if not bench.law.rate_dependent:
        gap = _gap(bench(inputs, state, 3.0 * at.dt), whole, whole)
        if gap.max() > SAME_POINT:
            reason = "the law reads dt, and does not declare `rate_dependent = True`"
            point = bench.point(inputs, state, at.dt, int(gap.argmax()))
            return Finding(name, Outcome.FAILED, reason, point)
        return Finding(name, Outcome.NOT_APPLICABLE, "the law does not read dt")
    inputs = path[1][0]
    n = len(next(iter(inputs.values())))
    said, worst = [], None
    for dt in (0.0, 1e12 * at.dt):
        answer = bench(inputs, bench.initial_state(n), dt)
        if not answer.good.all():
            k = int(np.flatnonzero(~answer.good)[0])
            said.append(f"{int(np.sum(~answer.good))} of {n} points fail with dt = {dt:g}")
            worst = bench.point(inputs, bench.initial_state(n), dt, k)
    reason = "; ".join(said) if said else f"{n} points converge with dt = 0 and {1e12 * at.dt:g}"
    return _finding(name, not said, reason, worst)


def _batches(
    bench: Bench, inputs: Inputs, state: Inputs, dt: float, whole: Answer
) -> list[Finding]:
    """The same again, alone, and in another place."""
    n = len(whole.code)
    every, back = np.arange(n), np.arange(n)[::-1]
    few = np.unique(np.linspace(0, n - 1, 8).astype(int))
    alone = [bench(picked(inputs, [k]), picked(state, [k]), dt) for k in few]
    findings = []
    for name, rows, answers, what in (
        ("determinism", every, [bench(inputs, state, dt)], f"{n} points computed twice"),
        ("batch and single point", few, alone, f"{len(few)} points alone and in a batch of {n}"),
        (
            "chunks", back, [bench(picked(inputs, back), picked(state, back), dt)],
            f"{n} points in another order, so in other chunks",
        ),
    ):  # fmt: skip
        pieces = np.split(rows, len(answers))
        gap = np.concatenate(
            [_gap(a, _rows(whole, r), whole) for a, r in zip(answers, pieces, strict=True)]
        )
        k = int(gap.argmax())
        says = f"differ by {gap[k]:.1e} of the size" if gap[k] > 0.0 else "bitwise equal"
        point = bench.point(inputs, state, dt, int(rows[k]))
        findings.append(_finding(name, bool(gap[k] <= SAME_POINT), f"{what}: {says}", point))
    return findings


def _rows(answer: Answer, rows: Any) -> Answer:
    return Answer(
        picked(answer.outputs, rows), picked(answer.state, rows),
        {key: value[rows] for key, value in answer.tangent.items()},
        answer.code[rows], answer.active[rows],
    )  # fmt: skip


def _groups(answer: Answer) -> dict[str, Any]:
    """All arrays by a name for messages."""
    parts = {f"output {key}": value for key, value in answer.outputs.items()}
    parts |= {f"state {key}": value for key, value in answer.state.items()}
    return parts | {f"tangent {o}/{i}": value for (o, i), value in answer.tangent.items()}


def _gap(a: Answer, b: Answer, whole: Answer) -> Any:
    """Largest difference of each point, relative to the size of the array in ``whole``."""
    worst = np.where(a.code == b.code, 0.0, np.inf)
    use = (a.code == b.code) & a.good
    sizes = _groups(whole)
    for key, mine in _groups(a).items():
        if not mine.size:
            continue
        size = np.abs(sizes[key][whole.good]).max(initial=0.0)
        difference = np.abs(mine - _groups(b)[key]).reshape(len(worst), -1).max(axis=1)
        difference = np.where(np.isnan(difference), np.inf, difference)
        relative = np.where(use, difference, 0.0) / (size if size > 0.0 else 1.0)
        worst = np.maximum(worst, relative)
    return worst


def _other_backend(
    bench: Bench, inputs: Inputs, state: Inputs, dt: float, whole: Answer
) -> Finding:
    """Outputs, state and tangent agree to 1e-10 of their size on both backends."""
    name = "both backends"
    other = "xla" if bench.backend == "native" else "native"
    try:
        answer = Bench(bench.law, other)(inputs, state, dt)
    except MaterialError as error:
        return Finding(name, Outcome.NOT_CHECKABLE, " ".join(str(error).split())[:200])
    # Points within round-off of a branch may take either side: they are counted, not compared.
    same = (answer.code == whole.code) & (answer.active == whole.active)
    use = np.flatnonzero(same & whole.good)
    worst, what, where_ = 0.0, "nothing", 0
    theirs = _groups(answer)
    for key, value in _groups(whole).items():
        a = value[use].reshape(len(use), -1)
        if not a.size:
            continue
        gap = np.abs(theirs[key][use].reshape(a.shape) - a).max(axis=1)
        size = np.abs(a).max()
        gap = np.where(np.isnan(gap), np.inf, gap) / (size if size > 0.0 else 1.0)
        if gap.max() > worst:
            worst, where_, what = float(gap.max()), int(use[gap.argmax()]), key
    others = int(np.sum(~same))
    holds = worst <= BACKENDS_AGREE and others <= max(1, len(same) // 50)
    reason = f"differ by {worst:.1e} of the size ({what}) at {len(use)} points"
    reason += f"; {others} points with another status" if others else ""
    return _finding(name, holds, reason, bench.point(inputs, state, dt, where_))
