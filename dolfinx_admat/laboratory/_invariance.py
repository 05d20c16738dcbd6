"""Symmetry of the tangent; what rotations of the body or of the observer change."""

from typing import Any

import numpy as np

from dolfinx_admat.materials import SCALAR, SYMMETRIC, TENSOR, VECTOR, Material
from dolfinx_admat.tensors.mandel import PAIRS, ROOT2

from ._report import Finding, Outcome
from ._samples import (
    CONJUGATE,
    Answer,
    Bench,
    Floats,
    Inputs,
    Range,
    directions,
    rotations,
    where,
)

# Two runs of one path, whose local solves end within rtol = 1e-12 of their solutions. Four steps
# and the amplification by the tangents of stiff, nearly perfectly plastic laws leave a margin.
SAME = 1e-8


def symmetry(bench: Bench, inputs: Inputs, state: Inputs, dt: float, answer: Answer) -> Finding:
    """d(output)/d(input) is symmetric where declared."""
    name, law = "symmetric_tangent", bench.law
    good = np.flatnonzero(answer.good)
    pairs = _conjugate_pairs(law)
    if not pairs or not len(good):
        reason = "no converged point" if pairs else "no inputs and outputs that belong together"
        outcome = Outcome.NOT_CHECKABLE if law.symmetric_tangent else Outcome.NOT_APPLICABLE
        return Finding(name, outcome, reason)
    worst, where_ = 0.0, int(good[0])
    for i, out in pairs:
        for j, other in pairs:
            n = len(good)
            rows = int(np.prod(law.outputs[out], dtype=int))
            a = answer.tangent[out, j][good].reshape(n, rows, -1)
            b = answer.tangent[other, i][good].reshape(n, a.shape[2], rows)
            size = np.maximum(np.abs(a).max(axis=(1, 2)), np.abs(b).max(axis=(1, 2)))
            size = np.maximum(size, 1e-6 * size.max())
            gap = np.abs(a - np.swapaxes(b, 1, 2)).max(axis=(1, 2)) / np.where(size > 0, size, 1.0)
            if gap.max() > worst:
                worst, where_ = float(gap.max()), int(good[gap.argmax()])
    holds = worst <= SAME
    figures = f"largest asymmetry {worst:.1e} at {len(good)} points"
    if law.symmetric_tangent:
        outcome = Outcome.PASSED if holds else Outcome.FAILED
        return Finding(name, outcome, figures, bench.point(inputs, state, dt, where_))
    whole = len(pairs) == len(law.inputs) == len(law.outputs)
    hint = "; it holds: if it always does, declare it, and CG may be used" if holds else ""
    hint = hint if whole else " (conjugate pairs only)"
    return Finding(name, Outcome.NOT_APPLICABLE, f"not declared; {figures}{hint}")


def _conjugate_pairs(law: Material) -> list[tuple[str, str]]:
    """Inputs with the outputs that belong to them."""
    shapes = [tuple(s) for s in law.inputs.values()], [tuple(s) for s in law.outputs.values()]
    if shapes[0] == shapes[1]:
        return list(zip(law.inputs, law.outputs, strict=True))
    return [
        (i, o)
        for i, o in CONJUGATE.items()
        if i in law.inputs and o in law.outputs and tuple(law.inputs[i]) == tuple(law.outputs[o])
    ]


def random_path(
    bench: Bench, at: Range, points: int, rng: np.random.Generator
) -> list[tuple[Inputs, float]]:
    """Loading, more loading another way, unloading, reverse loading; inputs and step sizes."""
    first = {n: at.scale[n] * d for n, d in directions(bench.law, points, rng).items()}
    second = {n: at.scale[n] * d for n, d in directions(bench.law, points, rng).items()}
    path = []
    for k, (a, b) in enumerate([(0.6, 0.0), (2.0, 0.5), (1.2, 1.5), (-1.0, 0.5)]):
        moves = {n: a * first[n] + b * second[n] for n in first}
        path.append((at.inputs(moves), at.dt * (1.0, 2.0, 0.5, 1.0)[k]))
    return path


def follow(bench: Bench, path: list[tuple[Inputs, float]]) -> tuple[list[Answer], list[Inputs]]:
    """Answers along a path, and the states that they start from; a failed point stays failed."""
    state = bench.initial_state(len(next(iter(path[0][0].values()))))
    good: Any = True
    answers, states = [], []
    for inputs, dt in path:
        states.append(state)
        answer = bench(inputs, state, dt)
        good = good & answer.good
        answers.append(
            answer._replace(code=np.where(good, answer.code, np.maximum(answer.code, 1)))
        )
        state = where(good, answer.state, state)
    return answers, states


def objectivity(bench: Bench, at: Range, points: int, rng: np.random.Generator) -> Finding:
    """P(Q F) = Q P(F), with another Q in each step."""
    law, name = bench.law, "objectivity"
    size = tuple(law.inputs.get("deformation_gradient", ()))
    if size not in ((3, 3), (2, 2)) or "first_piola_stress" not in law.outputs:
        reason = "no deformation gradient (3, 3): small strains are objective to first order only"
        if "deformation_gradient" in law.inputs:
            reason = "this reduction has no tensor that could be rotated; audit its 3D law"
        return Finding(name, Outcome.NOT_APPLICABLE, reason)
    path = random_path(bench, at, points, rng)
    turns = [_turns(size[0], points, rng) for _ in path]
    turned = [
        ({**i, "deformation_gradient": Q @ i["deformation_gradient"]}, dt)
        for (i, dt), Q in zip(path, turns, strict=True)
    ]

    def expected(outputs: Inputs, k: int) -> Inputs:
        return {**outputs, "first_piola_stress": turns[k] @ outputs["first_piola_stress"]}

    return _compared(bench, name, path, turned, expected, "P(QF) and Q P(F)", at)


def _turns(size: int, points: int, rng: np.random.Generator) -> Floats:
    if size == 3:
        return rotations(points, rng)
    angle = rng.uniform(0.0, 2.0 * np.pi, points)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def isotropy(bench: Bench, at: Range, points: int, rng: np.random.Generator) -> Finding:
    """A rotated path gives rotated outputs, where the law declares to be isotropic."""
    law, name = bench.law, "isotropic"
    if not all(_kind(s) for s in (*law.inputs.values(), *law.outputs.values())):
        return Finding(name, Outcome.NOT_APPLICABLE, "inputs or outputs are not those of a 3D law")
    path = random_path(bench, at, points, rng)
    Q = rotations(points, rng)
    turned = [
        ({n: _rotated(v, law.inputs[n], Q) for n, v in inputs.items()}, dt) for inputs, dt in path
    ]

    def expected(outputs: Inputs, k: int) -> Inputs:
        return {n: _rotated(v, law.outputs[n], Q) for n, v in outputs.items()}

    found = _compared(bench, name, path, turned, expected, "rotated paths and outputs", at)
    if law.isotropic:
        return found
    hint = ""
    if found.outcome == Outcome.PASSED:
        hint = "; it holds here: if it always does, declare it, and plane stress is cheaper"
    return Finding(name, Outcome.NOT_APPLICABLE, f"not declared; {found.reason}{hint}")


def _kind(shape: tuple[int, ...]) -> str | None:
    kind = getattr(shape, "kind", None)
    if kind in (SYMMETRIC.kind, TENSOR.kind, VECTOR.kind, SCALAR.kind):
        return str(kind)
    by_shape = {(6,): SYMMETRIC.kind, (3, 3): TENSOR.kind, (3,): VECTOR.kind, (): SCALAR.kind}
    return by_shape.get(tuple(shape)) if kind is None else None


def _rotated(value: Floats, shape: tuple[int, ...], Q: Floats) -> Floats:
    kind = _kind(shape)
    if kind == SCALAR.kind:
        return value
    if kind == VECTOR.kind:
        return np.einsum("pij,pj->pi", Q, value)
    if kind == TENSOR.kind:
        return Q @ value @ np.swapaxes(Q, 1, 2)
    i, j = np.array(PAIRS).T
    weight = np.where(i == j, 1.0, 1.0 / ROOT2)
    full = np.zeros((len(value), 3, 3))
    full[:, i, j] = full[:, j, i] = weight * value
    return np.asarray((Q @ full @ np.swapaxes(Q, 1, 2))[:, i, j] / weight)


def _compared(
    bench: Bench, name: str, path: list, turned: list, expected: Any, what: str, at: Range
) -> Finding:
    answers, _ = follow(bench, path)
    others, states = follow(bench, turned)
    worst, point, count = 0.0, None, 0
    for output in bench.law.outputs:
        biggest = 0.0
        for k, (a, b) in enumerate(zip(answers, others, strict=True)):
            good = a.good & b.good
            count = max(count, int(good.sum()))
            right = expected(a.outputs, k)[output]
            gap = np.abs(b.outputs[output] - right).reshape(len(good), -1).max(axis=1)
            biggest = max(biggest, float(np.abs(right[good]).max(initial=0.0)))
            gap = np.where(good, gap, 0.0) / (biggest if biggest > 0.0 else 1.0)
            if gap.max() > worst:
                worst = float(gap.max())
                point = bench.point(turned[k][0], states[k], turned[k][1], int(gap.argmax()))
    if not count:
        return Finding(name, Outcome.NOT_CHECKABLE, "no point converged along the random paths")
    # Rotating rounds the inputs, by eps beside a scale.
    smallest = min(at.scale.values())
    allowed = SAME + 100.0 * np.finfo(float).eps / min(smallest, 1.0)
    holds = worst <= allowed
    reason = f"{what} differ by {worst:.1e} along {count} paths of {len(path)} steps"
    return Finding(name, Outcome.PASSED if holds else Outcome.FAILED, reason, point)
