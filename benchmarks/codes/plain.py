"""What a good JAX user writes without a library: ``jit(vmap(jacfwd(update)))``.

The equations are those of the law; what is compared is how they are solved, differentiated and
compiled: Newton with ``jax.jacfwd`` and ``jnp.linalg.solve`` in a ``while_loop``, and the
implicit function theorem as a ``custom_jvp``. The whole batch is one call.

``reference`` polishes with full Newton steps a solution found by the library's damped iteration;
its derivative is the same implicit rule. All codes are checked against it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from dolfinx_admat.implicit import solve

from . import Failed, Run

TOLERANCE = 1e-8  # of the last correction; Newton's error after it is about its square
MOST = 40


def linear_solve(matrix, rhs):
    return rhs / matrix[0] if rhs.shape[0] == 1 else jnp.linalg.solve(matrix, rhs)


def make_update(law, start=None):
    """``update(inputs, state, dt) -> (outputs, (outputs, new state, whether it converged))``."""

    def problem(inputs, state, dt):
        prepared = law._prepare(inputs, state, dt)
        guess, unravel = ravel_pytree(law._guess(prepared))
        elastic = law._elastic(prepared)
        elastic = jnp.asarray(False if elastic is None else elastic)
        residual = lambda x: ravel_pytree(law._residual(unravel(x), prepared))[0]  # noqa: E731
        return residual, guess, elastic, prepared, unravel

    def iterate(inputs, state, dt):
        residual, guess, elastic, prepared, unravel = problem(inputs, state, dt)
        if guess.size == 0:  # a law without unknowns
            return guess

        def body(carry):
            x, _, count = carry
            dx = linear_solve(jax.jacfwd(residual)(x), residual(x))
            return x - dx, jnp.max(jnp.abs(dx)) > TOLERANCE * jnp.max(jnp.abs(x - dx)), count + 1

        if start == "damped":
            equations = lambda x, args: law._residual(x, args)  # noqa: E731
            x = ravel_pytree(solve(equations, unravel(guess), prepared, elastic=elastic)[0])[0]
            for _ in range(3):
                x = jnp.where(elastic, x, body((x, True, 0))[0])
            return x
        more = lambda carry: carry[1] & (carry[2] < MOST)  # noqa: E731
        x, unfinished, _ = jax.lax.while_loop(more, body, (guess, ~elastic, 0))
        return jnp.where(unfinished, jnp.nan, x)

    @jax.custom_jvp
    def unknowns(inputs, state, dt):
        return iterate(inputs, state, dt)

    @unknowns.defjvp
    def _(primals, tangents):
        x = unknowns(*primals)
        residual, _, elastic, *_ = problem(*primals)
        at_x = lambda *given: problem(*given)[0](x)  # noqa: E731
        slope = jax.jvp(at_x, primals, tangents)[1]
        guess_slope = jax.jvp(lambda *given: problem(*given)[1], primals, tangents)[1]
        if x.size == 0:
            return x, guess_slope
        return x, jnp.where(elastic, guess_slope, -linear_solve(jax.jacfwd(residual)(x), slope))

    def update(inputs, state, dt):
        *_, prepared, unravel = problem(inputs, state, dt)
        outputs, new_state, _ = law._finish(unravel(unknowns(inputs, state, dt)), prepared)
        return outputs, (outputs, new_state)

    return update


def batched(law, tangent, start=None):
    """The compiled function of (inputs, state, dt)."""
    update = make_update(law, start)
    if tangent:
        one = partial(jax.jacfwd(update, has_aux=True))
    else:
        one = lambda *given: ({}, update(*given)[1])  # noqa: E731
    return jax.jit(jax.vmap(one, in_axes=(0, 0, None)))


def prepare(law, points, tangent, start=None):
    function = batched(law, tangent, start)
    given = jax.tree.map(jnp.asarray, (points.inputs, points.state))
    last = []

    def call():
        last[:] = [jax.block_until_ready(function(*given, points.dt))]

    def results():
        tangents, (outputs, _) = last[0]
        if any(not np.isfinite(a).all() for a in outputs.values()):
            bad = sum(~np.isfinite(a).reshape(len(a), -1).all(axis=1) for a in outputs.values())
            raise Failed(f"{np.count_nonzero(bad)} of {points.size} points did not converge")
        flat = {(o, i): np.asarray(t) for o, row in tangents.items() for i, t in row.items()}
        return {name: np.asarray(a) for name, a in outputs.items()}, flat

    return Run(call, results, points.size)


def prepare_path(law, inputs, dt, tangent):
    """All steps of a path from the virgin state."""
    function = batched(law, tangent)
    given = jax.tree.map(jnp.asarray, inputs)
    n = len(next(iter(inputs[0].values())))
    virgin = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, *jnp.shape(a))), law.initial_state())
    last = []

    def call():
        state = virgin
        for step in given:
            tangents, (outputs, state) = function(step, state, dt)
        last[:] = [jax.block_until_ready((tangents, outputs))]

    def results():
        tangents, outputs = last[0]
        flat = {(o, i): np.asarray(t) for o, row in tangents.items() for i, t in row.items()}
        return {name: np.asarray(a) for name, a in outputs.items()}, flat

    return Run(call, results, n * len(inputs))


def reference(law, points, tangent=True):
    """Outputs and tangents, converged to round-off, in chunks."""
    function, size, parts = batched(law, tangent, "damped"), 2000, []
    for start in range(0, points.size, size):
        rows = np.arange(start, start + size) % points.size
        given = jax.tree.map(lambda a, rows=rows: jnp.asarray(a[rows]), points[:2])
        tangents, (outputs, _) = function(*given, points.dt)
        flat = {(o, i): t for o, row in tangents.items() for i, t in row.items()}
        parts.append(jax.tree.map(np.asarray, (outputs, flat)))
    return jax.tree.map(lambda *a: np.concatenate(a)[: points.size], *parts)
