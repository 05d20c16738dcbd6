"""Closed strain cycles of a virgin material: whoever gets work out of one violates the second law.

A cycle that begins and ends without strain does the work W = (psi_end - psi_rest) + dissipation.
Both are >= 0 in any material that rests at its least free energy, so W >= 0 is a test for any
model, with a free energy or without.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.materials._declare import as_numbers

#: Work gained counts beyond this part of the work that goes back and forth: the trapezoidal rule.
TOLERANCE = 0.01
LEGS, STEPS = 4, 10


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
    """Closed cycles: strain (cycles, steps + 1, 6) with rest in front, dt (cycles, steps)."""

    strain: np.ndarray
    dt: np.ndarray


def random_cycles(
    amplitude: float, count: int, *, active: Any, volume: float, rates: Any, seed: int
) -> Cycles:
    """Cycles through three random corners; sizes from a twentieth of ``amplitude`` to all of it.

    Args:
        amplitude: Largest corner.
        count: Number of cycles.
        active: Which of the six components move, (6,) of 0 and 1.
        volume: Part of the mean strain that is kept.
        rates: Strain rates (least, largest); None: steps of one.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    corner = rng.normal(size=(count, LEGS - 1, 6)) * np.asarray(active)
    corner[..., :3] -= (1.0 - volume) * corner[..., :3].mean(axis=-1, keepdims=True)
    corner /= np.linalg.norm(corner, axis=-1, keepdims=True)
    size = amplitude * np.exp(rng.uniform(np.log(0.05), 0.0, (count, 1, 1)))
    rest = np.zeros((count, 1, 6))
    ends = np.concatenate([rest, size * corner, rest], axis=1)
    part = np.linspace(0.0, 1.0, STEPS + 1)[1:, None]
    legs = ends[:, :-1, None] + part * (ends[:, 1:, None] - ends[:, :-1, None])
    strain = np.concatenate([rest, legs.reshape(count, LEGS * STEPS, 6)], axis=1)
    dt = np.ones((count, LEGS * STEPS))
    if rates is not None:
        speed = np.exp(rng.uniform(*np.log(rates), (count, 1)))
        dt = np.linalg.norm(np.diff(strain, axis=1), axis=-1) / speed
    return Cycles(strain, dt)


def gains(law: Any, cycles: Cycles) -> tuple[float, float]:
    """Share of cycles that give work, and share of cycles that the law could not follow."""
    stress, code = respond(law, jnp.asarray(cycles.strain[:, 1:]), jnp.asarray(cycles.dt))
    stress = np.concatenate([np.zeros((len(stress), 1, 6)), np.asarray(stress)], axis=1)
    middle = 0.5 * (stress[:, 1:] + stress[:, :-1])
    work = np.sum(middle * np.diff(cycles.strain, axis=1), axis=-1)
    lost = (np.asarray(code) != 0).any(axis=1)
    gained = work.sum(axis=1) < -TOLERANCE * np.abs(work).sum(axis=1)
    return float(np.mean(gained & ~lost)), float(np.mean(lost))
