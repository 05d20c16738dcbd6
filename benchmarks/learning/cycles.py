"""Closed strain cycles: whoever gets work out of one violates the second law.

Two kinds, for any model, with a free energy or without. A cycle of a virgin body that begins and
ends without strain does the work W = (psi_end - psi_rest) + dissipation; both are >= 0 in a
material that rests at its least free energy. A small loop about a large strain, repeated until the
stress at its end is that at its begin, has W = dissipation >= 0. (A loop that has not settled says
nothing, since stored energy may come out; it counts as no violation.)
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.materials._declare import as_numbers

#: Work gained counts beyond this part of the work that goes back and forth: the trapezoidal rule.
TOLERANCE = 0.01
#: A loop has settled if the stress at its end is that at its begin to this part of its changes.
SETTLED = 0.02
#: Legs of a virgin cycle and steps in each; steps to the place of a loop, times round it, legs and
#: steps: as many in all.
LEGS, STEPS = 4, 10
AWAY, TURNS, LOOP = 8, 4, (4, 2)


@eqx.filter_jit
def respond(law: Any, strain: jax.Array, dt: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Stresses and status codes of many paths, step by step, never divided.

    Args:
        law: Law strain -> stress.
        strain: (paths, steps, 6), Mandel, from the first step on.
        dt: (paths, steps).

    Returns:
        (paths, steps, 6) and (paths, steps).
    """

    def one(strain: jax.Array, dt: jax.Array) -> Any:
        def step(state: Any, given: Any) -> Any:
            outputs, state, status = law.integrate({"strain": given[0]}, state, given[1])
            return state, (outputs["stress"], status.code)

        return jax.lax.scan(step, as_numbers(law.initial_state()), (strain, dt))[1]

    return jax.vmap(one)(strain, dt)


class Cycles(NamedTuple):
    """Closed cycles.

    Attributes:
        strain: Mandel (cycles, steps + 1, 6), rest in front.
        dt: (cycles, steps).
        begin: Step at which each closes the cycle whose work counts begins; (cycles,).
    """

    strain: np.ndarray
    dt: np.ndarray
    begin: np.ndarray


def random_cycles(
    amplitude: float, count: int, *, active: Any, volume: float, rates: Any, seed: int
) -> Cycles:
    """Half of them cycles of virgin bodies through three corners, half loops at a large strain.

    Args:
        amplitude: Largest strain. Virgin cycles have a twentieth of it to all of it, loops a
            twentieth to a third.
        count: Number of cycles, even.
        active: Which of the six components move, (6,) of 0 and 1.
        volume: Part of the mean strain that is kept.
        rates: Strain rates (least, largest); None: steps of one.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)

    def corners(number: int, most: float) -> np.ndarray:
        """(count / 2, number, 6)."""
        found = rng.normal(size=(count // 2, number, 6)) * np.asarray(active)
        found[..., :3] -= (1.0 - volume) * found[..., :3].mean(axis=-1, keepdims=True)
        found /= np.linalg.norm(found, axis=-1, keepdims=True)
        size = most * np.exp(rng.uniform(np.log(0.05), 0.0, (count // 2, 1, 1)))
        return np.asarray(amplitude * size * found)

    rest = np.zeros((count // 2, 1, 6))
    virgin = _straight(np.concatenate([rest, corners(LEGS - 1, 1.0), rest], axis=1), STEPS)
    place = corners(1, 1.0)
    place *= (
        amplitude
        * rng.uniform(0.3, 1.0, (count // 2, 1, 1))
        / np.linalg.norm(place, axis=-1, keepdims=True)
    )
    ends = np.concatenate([rest, corners(LOOP[0] - 1, 1.0 / 3.0), rest], axis=1)
    once = _straight(ends, LOOP[1])
    loops = place + np.concatenate([once] * TURNS, axis=1)
    strain = np.concatenate(
        [virgin, np.concatenate([_straight(np.concatenate([rest, place], 1), AWAY), loops], 1)]
    )
    steps = LEGS * STEPS
    begin = np.repeat([0, steps - LOOP[0] * LOOP[1]], count // 2)
    strain = np.concatenate([np.zeros((count, 1, 6)), strain], axis=1)
    dt = np.ones((count, steps))
    if rates is not None:
        speed = np.exp(rng.uniform(*np.log(rates), (count, 1)))
        dt = np.linalg.norm(np.diff(strain, axis=1), axis=-1) / speed
    return Cycles(strain, dt, begin)


def _straight(corners: np.ndarray, steps: int) -> np.ndarray:
    """Equal steps from corner to corner, without the first one; (n, legs * steps, 6)."""
    part = np.linspace(0.0, 1.0, steps + 1)[1:, None]
    legs = corners[:, :-1, None] + part * (corners[:, 1:, None] - corners[:, :-1, None])
    return np.asarray(legs.reshape(len(corners), -1, 6))


class Gains(NamedTuple):
    """Shares of cycles.

    Attributes:
        violated: Work was gained.
        failed: The law could not follow.
        settled: The stress closed; only these are judged.
    """

    violated: float
    failed: float
    settled: float


def gains(law: Any, cycles: Cycles) -> Gains:
    """What a law says to closed cycles."""
    stress, code = respond(law, jnp.asarray(cycles.strain[:, 1:]), jnp.asarray(cycles.dt))
    stress = np.concatenate([np.zeros((len(stress), 1, 6)), np.asarray(stress)], axis=1)
    failed = (np.asarray(code) != 0).any(axis=1)
    violated, settled = [], []
    for strain, answer, begin in zip(cycles.strain, stress, cycles.begin, strict=True):
        strain, answer = strain[begin:], answer[begin:]
        middle = 0.5 * (answer[1:] + answer[:-1])
        # A constant stress does no work in a closed cycle.
        work = np.sum((middle - middle.mean(axis=0)) * np.diff(strain, axis=0), axis=1)
        violated.append(work.sum() < -TOLERANCE * np.abs(work).sum())
        gap = np.linalg.norm(answer[-1] - answer[0])
        change = np.linalg.norm(answer - answer.mean(axis=0), axis=1).max()
        settled.append(begin == 0 or gap < SETTLED * change)
    good = np.array(settled) & ~failed
    return Gains(
        float(np.mean(np.array(violated) & good)), float(failed.mean()), float(good.mean())
    )
