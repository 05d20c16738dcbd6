"""Newton's method with line search for one point, and its derivative.

The iteration itself is never differentiated (except by ``tangent="unrolled"``): its result is
re-attached to the equations it solves, r(x(a), a) = 0, whose differential gives
dx = -(dr/dx)^-1 (dr/da) da. Being a ``custom_jvp`` written in differentiable operations, this
works in forward and reverse mode and to any order.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ._primitives import elastic_test, linear_solve, local_newton
from ._result import LocalResult, LocalStatus

#: How a solution is differentiated; see ``LocalNewton.tangent``.
Strategy = Literal["implicit", "unrolled", "finite_difference"]
STRATEGIES = ("implicit", "unrolled", "finite_difference")

# Step of central differences that balances truncation and round-off: eps^(1/3).
CENTRAL_STEP = 6e-6
# J dx that is so small beside |J| |dx| has lost its digits: J is singular for practical purposes.
CANCELLATION = 1e-12


@dataclasses.dataclass(frozen=True)
class LocalNewton:
    """Settings of the local solve; hashable, so they are compile-time constants.

    A point has converged when the residual is what a change of each unknown x by at most
    ``atol + rtol |x|`` could make of it: |r_i| <= sum_j |dr_i/dx_j| (atol + rtol |x_j|). So
    equations may be written in any units, and a bad guess does not loosen the test. A Newton
    correction of at most ``atol + xtol |x|`` is accepted as well, because the round-off in a
    residual (large terms that cancel) may exceed that bound.

    Attributes:
        rtol: Relative tolerance.
        atol: Absolute tolerance, in the units of the unknowns (usually strains); lower it for
            unknowns that are tiny by their units.
        xtol: Relative size of a correction that counts as round-off.
        max_iterations: Bound on Newton iterations.
        max_halvings: Bound on the halvings of one Newton step by the line search.
        tangent: How the solution is differentiated: ``"implicit"`` (implicit function theorem),
            ``"unrolled"`` (through the iterations, for comparison), or ``"finite_difference"``
            (central differences of the solve; forward mode only).

    Raises:
        ValueError: A setting is out of range.
    """

    rtol: float = 1e-12
    atol: float = 1e-14
    xtol: float = 1e-12
    max_iterations: int = 30
    max_halvings: int = 10
    tangent: Strategy = "implicit"

    def __post_init__(self) -> None:
        if self.tangent not in STRATEGIES:
            raise ValueError(
                f"LocalNewton: tangent must be one of {', '.join(STRATEGIES)}; got {self.tangent!r}"
            )
        for name in ("rtol", "atol", "xtol"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"LocalNewton: {name} must be at least 0; got {getattr(self, name)}"
                )
        for name in ("max_iterations", "max_halvings"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"LocalNewton: {name} must be an integer >= 1; got {value!r}")


def solve(
    residual: Callable[[Any, Any], Any],
    guess: Any,
    args: Any,
    *,
    elastic: jax.Array | bool | None = None,
    options: LocalNewton = LocalNewton(),
) -> tuple[Any, LocalResult]:
    """Solve ``residual(x, args) = 0`` for ``x`` at one point.

    Everything that ``x`` depends on must be in ``args``: values that ``residual`` closes over
    are not differentiated. The derivative does not depend on ``guess``, except where
    ``elastic`` holds: there the answer *is* the guess.

    Args:
        residual: Function of ``(x, args)`` that returns as many numbers as ``x`` has.
        guess: First iterate; a pytree of float64 arrays.
        args: Pytree of arrays (and static leaves), differentiable.
        elastic: True where the guess already is the answer, so that the solve is skipped; ().
        options: Tolerances, bounds and the way of differentiation.

    Returns:
        The solution, a pytree like ``guess``, and a ``LocalResult``. A point that did not
        converge returns its last iterate: read the status before using it.

    Raises:
        ValueError: ``residual`` does not return as many numbers as ``x`` has (at trace time).

    Source: the derivative is the implicit function theorem; the line search is Armijo's rule
    with halving (Nocedal and Wright, Numerical Optimization, 2006, section 3.1).
    """
    guess = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), guess)
    x0, unravel = ravel_pytree(guess)
    # Only arrays may be traced; a law can hold functions or strings as well.
    arrays, static = eqx.partition(args, eqx.is_array_like)
    arrays = jax.tree.map(jnp.asarray, arrays)
    always_solved = elastic is None
    elastic = elastic_test(jnp.asarray(elastic)) if elastic is not None else jnp.asarray(False)

    def equations(x: jax.Array, packed: tuple) -> jax.Array:
        arrays, x_guess, elastic = packed
        r = ravel_pytree(residual(unravel(x), eqx.combine(arrays, static)))[0]
        if r.shape != x.shape:
            raise ValueError(
                f"residual: got {r.size} equations for {x.size} unknowns; "
                "return one number per unknown"
            )
        # Where the guess is the answer, x = guess is the equation: regular whatever r is.
        return jnp.where(elastic, x - x_guess, r)

    def differentiable_equations(x: jax.Array, packed: tuple) -> jax.Array:
        if always_solved:
            return equations(x, packed)
        # In reverse mode the residual gets the cotangent 0 where it was not used, and 0 * nan is
        # nan. There it is a function of constants, and `where` drops what comes back.
        arrays, x_guess, elastic = packed
        constant = lambda v: jnp.where(elastic, jax.lax.stop_gradient(v), v)  # noqa: E731
        unused = (jax.tree.map(constant, arrays), constant(x_guess), elastic)
        return jnp.where(elastic, x - x_guess, equations(constant(x), unused))

    packed = (arrays, x0, elastic)
    if options.tangent == "unrolled":
        x, result = _iterate_unrolled(differentiable_equations, x0, packed, options)
    else:
        frozen = jax.lax.stop_gradient(packed)
        x, result = _iterate(equations, frozen[1], frozen, options)
        if options.tangent == "implicit":
            x = _attach(differentiable_equations, x, packed)
        else:
            x = _attach_difference((equations, options), x, packed)
    return unravel(x), result


class _Iterate(NamedTuple):
    x: jax.Array
    r: jax.Array
    scaled: jax.Array  # largest row-scaled residual
    iterations: jax.Array
    done: jax.Array
    code: jax.Array


def _start(residual: Callable, x: jax.Array, packed: tuple) -> _Iterate:
    r = residual(x, packed)
    exact = jnp.all(r == 0)  # the elastic case, and a guess that happens to be right
    finite = jnp.all(jnp.isfinite(r))
    code = jnp.where(
        exact,
        LocalStatus.CONVERGED,
        jnp.where(finite, LocalStatus.MAX_ITERATIONS, LocalStatus.NOT_FINITE),
    )
    return _Iterate(x, r, jnp.zeros(()), jnp.int32(0), exact | ~finite, code.astype(jnp.int32))


def _newton_step(residual: Callable, it: _Iterate, packed: tuple, options: LocalNewton) -> _Iterate:
    jacobian = jax.jacfwd(residual)(it.x, packed)
    row_norm = jnp.sum(jnp.abs(jacobian), axis=1)
    row_norm = jnp.where(row_norm > 0, row_norm, 1.0)
    scaled_before = jnp.max(jnp.abs(it.r) / row_norm)
    dx = -linear_solve(jacobian, it.r)

    def merit(r: jax.Array) -> jax.Array:
        return jnp.sum((r / row_norm) ** 2)

    # Only values decide about the step length; under "unrolled" they carry derivatives.
    x_, dx_, r_, packed_ = jax.lax.stop_gradient((it.x, dx, it.r, packed))
    m0 = merit(r_)

    def too_long(carry: tuple) -> jax.Array:
        t, halvings, r = carry
        decreased = merit(r) <= (1.0 - 2e-4 * t) * m0  # NaN compares false
        return ~decreased & (halvings < options.max_halvings)

    def halve(carry: tuple) -> tuple:
        t, halvings, _ = carry
        return 0.5 * t, halvings + 1, residual(x_ + 0.5 * t * dx_, packed_)

    roundoff = jnp.all(jnp.abs(dx_) <= options.atol + options.xtol * jnp.abs(x_))
    r_full = residual(x_ + dx_, packed_)
    t, _, r_trial = jax.lax.while_loop(
        too_long, halve, (jnp.ones(()), jnp.int32(0), jnp.where(roundoff, 0.0 * r_, r_full))
    )
    t = jax.lax.stop_gradient(t)
    x = it.x + t * dx
    r = jnp.where(roundoff, r_full, r_trial)
    scaled = jnp.max(jnp.abs(r) / jax.lax.stop_gradient(row_norm))

    spread = jnp.max(jnp.abs(jacobian) @ jnp.abs(dx) / row_norm)
    singular = scaled_before < CANCELLATION * spread
    finite = jnp.all(jnp.isfinite(r)) & jnp.all(jnp.isfinite(x)) & ~singular
    tolerance = jnp.abs(jacobian) @ (options.atol + options.rtol * jnp.abs(x))
    converged = finite & (jnp.all(jnp.abs(r) <= tolerance) | roundoff)
    code = jnp.where(
        converged,
        LocalStatus.CONVERGED,
        jnp.where(finite, LocalStatus.MAX_ITERATIONS, LocalStatus.NOT_FINITE),
    ).astype(jnp.int32)
    # A step into NaN is not taken: the last finite iterate is more useful to the reader.
    keep = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
    return _Iterate(
        keep(x, it.x),
        keep(r, it.r),
        keep(scaled, scaled_before),
        it.iterations + 1,
        converged | ~finite,
        code,
    )


def _iterate(
    residual: Callable, x: jax.Array, packed: tuple, options: LocalNewton
) -> tuple[jax.Array, LocalResult]:
    if jax.config.jax_disable_jit:  # a debugger wants numbers, not a traced residual
        out = _iterate_now(residual, x, packed, options)
    else:
        out = local_newton(residual, _iterate_now, x, packed, options)
    x, code, iterations, scaled = out
    return x, LocalResult(code, iterations, scaled, ~packed[2])


def _iterate_now(residual: Callable, x: jax.Array, packed: tuple, options: LocalNewton) -> tuple:
    it = jax.lax.while_loop(
        lambda it: ~it.done & (it.iterations < options.max_iterations),
        lambda it: _newton_step(residual, it, packed, options),
        _start(residual, x, packed),
    )
    return it.x, it.code, it.iterations, it.scaled


def _iterate_unrolled(
    residual: Callable, x: jax.Array, packed: tuple, options: LocalNewton
) -> tuple[jax.Array, LocalResult]:
    # A bounded scan, because a while loop has no reverse mode. The derivative lags the value by
    # one iteration, so one more step is taken after convergence.
    def body(carry: tuple, _: None) -> tuple:
        it, polished = carry
        # The line search works on values only: evaluate the residual again, to differentiate it.
        it = it._replace(r=residual(it.x, packed))
        new = _newton_step(residual, it, packed, options)
        take = ~it.done | (~polished & (it.code == LocalStatus.CONVERGED))
        value = jax.tree.map(lambda a, b: jnp.where(take, a, b), new, it)
        value = value._replace(
            done=it.done | new.done,
            code=jnp.where(it.done, it.code, new.code),
            iterations=jnp.where(it.done, it.iterations, new.iterations),
        )
        return (value, polished | it.done), None

    start = _start(residual, x, packed)
    (it, _), _ = jax.lax.scan(
        body, (start, jnp.asarray(False)), None, length=options.max_iterations + 1
    )
    summary = LocalResult(it.code, it.iterations, it.scaled, ~packed[2])
    return it.x, jax.tree.map(jax.lax.stop_gradient, summary)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _attach(residual: Callable, x: jax.Array, packed: tuple) -> jax.Array:
    """Return ``x``, known to solve ``residual(x, packed) = 0``, with its derivative."""
    return x


@_attach.defjvp
def _attach_jvp(residual: Callable, primals: tuple, tangents: tuple) -> tuple:
    x_solved, packed = primals
    x = _attach(residual, x_solved, packed)  # so that the rule itself can be differentiated
    jacobian = jax.jacfwd(residual)(x, packed)
    _, r_dot = jax.jvp(lambda p: residual(x, p), (packed,), (tangents[1],))
    return x, -linear_solve(jacobian, r_dot)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _attach_difference(problem: tuple, x: jax.Array, packed: tuple) -> jax.Array:
    """Return ``x`` with a derivative by central differences of the whole solve."""
    return x


@_attach_difference.defjvp
def _attach_difference_jvp(problem: tuple, primals: tuple, tangents: tuple) -> tuple:
    residual, options = problem
    x, packed = primals
    direction = tangents[1]
    floating = lambda leaf: jnp.issubdtype(jnp.result_type(leaf), jnp.floating)  # noqa: E731
    pairs = [
        (value, dot)
        for value, dot in zip(jax.tree.leaves(packed), jax.tree.leaves(direction), strict=True)
        if floating(value)
    ]

    # The step is relative to the smallest leaf that the direction moves and that is not zero.
    def room(value: jax.Array, dot: jax.Array) -> jax.Array:
        size, speed = jnp.max(jnp.abs(value), initial=0.0), jnp.max(jnp.abs(dot), initial=0.0)
        return jnp.where((size > 0) & (speed > 0), size / jnp.where(speed > 0, speed, 1.0), jnp.inf)

    h = jnp.min(jnp.stack([room(value, dot) for value, dot in pairs]))
    h = CENTRAL_STEP * jnp.where(jnp.isfinite(h), h, 1e-4)

    def moved(sign: float) -> jax.Array:
        shifted = jax.tree.map(
            lambda v, d: v + sign * h * d if floating(v) else v, packed, direction
        )
        return _iterate(residual, shifted[1], shifted, options)[0]

    return x, (moved(1.0) - moved(-1.0)) / (2.0 * h)
