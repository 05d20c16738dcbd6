"""What a declared free energy promises, and the heat flux; convexity."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Hyperelastic, Material
from dolfinx_admat.materials.parts import flag

from ._balance import NAME as BALANCE
from ._balance import energy_balance
from ._report import Finding, Outcome
from ._samples import CONJUGATE, Answer, Bench, Floats, Inputs, Range, directions, picked

# Stress and slopes of the energy at the same state are the same formula written twice.
CONSISTENT = 1e-8
# Round-off, and what the tolerance of the local solve leaves, relative to the largest power.
NEGATIVE = 1e-8
# Round-off of the rank-one stiffness, relative to the tangent at the point.
ROUNDING = 1e-10


def cycles(
    bench: Bench, at: Range, points: int, rng: np.random.Generator
) -> list[tuple[Inputs, float]]:
    """Random paths with unloading, reverse loading, a turn, a rest and a second cycle."""
    first = {n: at.scale[n] * d for n, d in directions(bench.law, points, rng).items()}
    second = {n: at.scale[n] * d for n, d in directions(bench.law, points, rng).items()}
    legs = [
        (0.5, 0.0), (1.0, 0.0), (1.5, 0.2), (2.0, 0.4), (1.0, 0.4), (0.0, 0.4), (-1.0, 0.6),
        (-2.0, 1.0), (-2.0, 1.0), (-1.0, 1.6), (0.5, 1.2), (2.5, 0.4), (0.0, 0.0), (-2.5, 0.0),
    ]  # fmt: skip
    factors = (1.0, 0.5, 2.0, 1.0, 5.0, 1.0, 0.2, 1.0, 20.0, 1.0, 1.0, 3.0, 1.0, 1.0)
    return [
        (at.inputs({n: a * first[n] + b * second[n] for n in first}), at.dt * factor)
        for (a, b), factor in zip(legs, factors, strict=True)
    ]


def energy_findings(
    bench: Bench,
    at: Range,
    path: list,
    answers: list[Answer],
    states: list[Inputs],
    rng: np.random.Generator,
) -> list[Finding]:
    """stress = d(psi)/d(strain), and dissipation >= 0, along a path; the balance of energy."""
    law = bench.law
    names = "stress from energy", "dissipation", BALANCE
    if not law.has_free_energy:
        reason = "the law declares no free energy"
        return [Finding(name, Outcome.NOT_CHECKABLE, reason) for name in names]

    if isinstance(law, Hyperelastic):
        made = "the stress is its slope by construction"
        reasons = made, "no state, so nothing is dissipated", made
        pairs = zip(names, reasons, strict=True)
        return [Finding(name, Outcome.PASSED, reason) for name, reason in pairs]

    @jax.jit
    @jax.vmap
    def evaluate(inputs: Any, old: Any, new: Any, dt: Any) -> Any:
        energy = jax.value_and_grad(law._free_energy, argnums=(0, 1))(inputs, new)
        return energy, law._dissipated(inputs, old, new, dt)

    pieces: list[tuple] = []
    for (inputs, _), answer, old in zip(path, answers, states, strict=True):
        pieces.append((inputs, answer.state, old, answer.outputs, answer.good))
    inputs, new, old, outputs = (
        {k: np.concatenate([p[i][k] for p in pieces]) for k in pieces[0][i]} for i in range(4)
    )
    good = np.concatenate([p[4] for p in pieces])
    if not good.any():
        return [Finding(n, Outcome.NOT_CHECKABLE, "no step of the paths converged") for n in names]
    n = len(good)
    dt = np.concatenate([np.full(n // len(path), float(step)) for _, step in path])
    (psi, (by_input, by_state)), lost = evaluate(
        inputs, bench.state_tree(old), bench.state_tree(new), dt
    )
    slope = [np.asarray(leaf).reshape(n, -1) for leaf in jax.tree.leaves(by_state)]
    change = [(new[k] - old[k]).reshape(n, -1) for k in new]
    power = [-(s * c).sum(axis=1) for s, c in zip(slope, change, strict=True)]
    dissipation = np.asarray(lost)
    size = np.sum(np.abs(power), axis=0) if power else np.zeros(n)

    def point(k: int) -> Any:
        step, row = divmod(int(k), n // len(path))
        return bench.point(path[step][0], states[step], path[step][1], row)

    def energies(inputs: Inputs, old: Inputs, new: Inputs, dt: Floats) -> tuple[Floats, Floats]:
        # In pieces of n points, for which the function is compiled already.
        found = []
        for start in range(0, len(dt), n):
            rows = np.minimum(np.arange(start, start + n), len(dt) - 1)
            trees = bench.state_tree(picked(old, rows)), bench.state_tree(picked(new, rows))
            (psi, _), lost = evaluate(picked(inputs, rows), *trees, dt[rows])
            found.append((np.asarray(psi), np.asarray(lost)))
        psi, lost = (np.concatenate(parts)[: len(dt)] for parts in zip(*found, strict=True))
        return psi, lost

    return [
        _consistency(law, names[0], by_input, outputs, good, point),
        _dissipation(names[1], dissipation, size, np.asarray(psi), good, point, bool(power)),
        energy_balance(bench, at, n // len(path), rng, energies),
    ]


def _consistency(
    law: Material, name: str, by_input: dict, outputs: Inputs, good: Any, point: Any
) -> Finding:
    if "pressure" in law.inputs:
        reason = "the pressure is a reaction, which the free energy does not know"
        return Finding(name, Outcome.NOT_APPLICABLE, reason)
    worst, where_, compared = 0.0, 0, []
    for given, out in CONJUGATE.items():
        if given not in law.inputs or out not in law.outputs:
            continue
        compared.append(out)
        a = outputs[out].reshape(len(good), -1)
        b = np.asarray(by_input[given]).reshape(len(good), -1)
        size = np.abs(a[good]).max()
        gap = np.where(good, np.abs(a - b).max(axis=1), 0.0) / (size if size > 0.0 else 1.0)
        gap = np.where(np.isnan(gap), np.inf, gap)
        if gap.max() > worst:
            worst, where_ = float(gap.max()), int(gap.argmax())
    if not compared:
        return Finding(name, Outcome.NOT_APPLICABLE, "no stress")
    reason = f"{', '.join(compared)} and the slope of the free energy differ by {worst:.1e}"
    holds = worst <= CONSISTENT
    return Finding(name, Outcome.PASSED if holds else Outcome.FAILED, reason, point(where_))


def _dissipation(
    name: str, value: Floats, size: Floats, psi: Floats, good: Any, point: Any, has_state: bool
) -> Finding:
    if not has_state:
        return Finding(name, Outcome.PASSED, "no state, so nothing is dissipated")
    value, size = np.where(good, value, 0.0), np.where(good, size, 0.0)
    if np.isnan(value).any():
        k = int(np.isnan(value).argmax())
        return Finding(name, Outcome.FAILED, "the free energy's slope is NaN", point(k))
    # Rounding of what is stored leaves a trace as well.
    allowed = NEGATIVE * size.max() + 1e-13 * np.abs(psi[good]).max()
    k = int(value.argmin())
    steps = f"in {int(good.sum())} steps with unloading and reversal"
    if value[k] >= -allowed:
        return Finding(
            name, Outcome.PASSED,
            f"at least {value[k]:.1e}, at most {value.max():.1e} {steps}", point(k),
        )  # fmt: skip
    negative = int(np.sum(value < -allowed))
    reason = f"{value[k]:.1e} (largest {value.max():.1e}), negative {negative} times {steps}"
    return Finding(name, Outcome.FAILED, reason, point(k))


def heat_conduction(law: Material, path: list, answers: list[Answer]) -> Finding | None:
    """Heat flows from hot to cold: heat_flux . temperature_gradient <= 0."""
    if "temperature_gradient" not in law.inputs or "heat_flux" not in law.outputs:
        return None
    product = [
        np.where(a.good, np.sum(a.outputs["heat_flux"] * i["temperature_gradient"], axis=1), 0.0)
        for (i, _), a in zip(path, answers, strict=True)
    ]
    largest, size = np.max(product), np.max(np.abs(product))
    holds = largest <= 1e-12 * size
    reason = f"heat_flux . temperature_gradient is at most {largest:.1e}"
    return Finding("heat conduction", Outcome.PASSED if holds else Outcome.FAILED, reason)


def ellipticity(
    bench: Bench, path: list, answers: list[Answer], states: list[Inputs], rng: np.random.Generator
) -> Finding:
    """Whether (m x n) : tangent : (m x n) > 0: as information, since materials may lose it.

    A law that declares ``polyconvex = True`` must not.
    """
    name, law = "ellipticity", bench.law
    key = next((k for k in ((o, i) for i, o in CONJUGATE.items()) if k in answers[0].tangent), None)
    if key is None or tuple(law.inputs[key[1]]) not in ((3, 3), (6,)):
        return Finding(name, Outcome.NOT_APPLICABLE, "no tangent of a 3D stress and deformation")
    m, n = (v / np.linalg.norm(v, axis=1)[:, None] for v in rng.normal(size=(2, 200, 3)))
    dyads = np.einsum("ki,kj->kij", m, n)
    if key[1] == "strain":
        xx, yy, zz, yx, zx, zy = (
            dyads[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1))
        )
        shears = [(dyads[:, i, j] + s) / np.sqrt(2) for (i, j), s in
                  (((0, 1), yx), ((0, 2), zx), ((1, 2), zy))]  # fmt: skip
        flat = np.stack([xx, yy, zz, *shears], axis=1)
    else:
        flat = dyads.reshape(200, 9)
    lowest, point, size, count, lost = np.inf, None, 0.0, 0, 0
    for k, answer in enumerate(answers):
        rows = np.flatnonzero(answer.good)
        if not len(rows):
            continue
        count += len(rows)
        tangent = answer.tangent[key].reshape(len(answer.code), flat.shape[1], flat.shape[1])
        values = np.einsum("ka,pab,kb->pk", flat, tangent[rows], flat).min(axis=1)
        sizes = np.abs(tangent[rows]).max(axis=(1, 2))
        size, lost = max(size, float(sizes.max())), lost + int(np.sum(values < -ROUNDING * sizes))
        if values.min() < lowest:
            lowest = float(values.min())
            point = bench.point(path[k][0], states[k], path[k][1], int(rows[values.argmin()]))
    if not count:
        return Finding(name, Outcome.NOT_CHECKABLE, "no step of the paths converged")
    declared = flag(law, "polyconvex")
    word = "kept" if lowest > 0.0 or (declared and not lost) else "lost"
    reason = f"{word}: smallest rank-one stiffness {lowest:.1e} of {size:.1e} at {count} points"
    if not declared:
        return Finding(name, Outcome.INFORMATION, reason, point)
    reason += "; the law declares `polyconvex`"
    return Finding(name, Outcome.FAILED if lost else Outcome.PASSED, reason, point)


def convexity(law: Material, rng: np.random.Generator) -> Finding:
    """Parts that claim ``convex = True``: along random chords f lies below the chord.

    A part is a module with this attribute that is callable, (6,) -> (), or has ``energy``; of a
    hardening it is the ``stored_energy``, () -> (). Arguments are about as large as the part's
    ``x_unit``, where it or a part of it has one: networks and curves are straight far beyond.
    """
    claims = list(_claims(law))
    if not claims:
        return Finding("convexity", Outcome.NOT_APPLICABLE, "nothing claims `convex = True`")
    a, b = (rng.normal(size=(400, 6)) * 10.0 ** rng.uniform(-1, 1, (400, 1)) for _ in range(2))
    b[::4] = a[::4] + 1e-2 * b[::4]  # short chords as well
    t = rng.uniform(0.0, 1.0, 400)
    worst, said = 0.0, []
    for path, function, unit in claims:
        try:
            f = jax.jit(jax.vmap(function))
            ends = np.asarray(f(unit * a)), np.asarray(f(unit * b))
            middle = np.asarray(f(unit * ((1 - t)[:, None] * a + t[:, None] * b)))
        except (TypeError, ValueError, MaterialError):
            reason = f"{path} claims `convex`, but is no function of six components"
            return Finding("convexity", Outcome.NOT_CHECKABLE, reason)
        chord = (1 - t) * ends[0] + t * ends[1]
        excess = (middle - chord) / (np.abs(ends[0]) + np.abs(ends[1]) + 1e-300)
        worst = max(worst, float(np.where(np.isnan(excess), np.inf, excess).max()))
        said.append(path)
    reason = f"{', '.join(said)}: largest excess over 400 chords {worst:.1e}"
    # Rounding of terms that cancel in a function of the size of its ends.
    holds = worst <= 1e-12
    return Finding("convexity", Outcome.PASSED if holds else Outcome.FAILED, reason)


def _claims(part: Any, path: str = "") -> Iterator[tuple[str, Any, float]]:
    """Name, function (6,) -> (), and size of its argument."""
    if isinstance(part, eqx.Module):
        if getattr(part, "convex", False) is True:
            function = part if callable(part) else getattr(part, "energy", None)
            if (stored := getattr(part, "stored_energy", None)) is not None:
                function = lambda x: stored(jnp.abs(x[0]))  # noqa: E731
            if function is not None:
                name = f"{path}: {type(part).__name__}" if path else type(part).__name__
                yield name, function, _unit(part) or 1.0
        for field, value in vars(part).items():
            yield from _claims(value, f"{path}.{field}" if path else field)
    elif isinstance(part, list | tuple):
        for k, value in enumerate(part):
            yield from _claims(value, f"{path}[{k}]")
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _claims(value, f"{path}.{key}")


def _unit(part: Any) -> float:
    """The largest ``x_unit`` of a part and its parts; 0 without."""
    own = getattr(part, "x_unit", 0.0)
    return max([own, *(_unit(v) for v in vars(part).values() if isinstance(v, eqx.Module))])
