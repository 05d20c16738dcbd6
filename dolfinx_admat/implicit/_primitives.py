"""The three operations of a local solve that a code generator must recognise in a jaxpr.

XLA sees what they are made of; the ``native`` backend replaces them by its own code.

- ``local_newton``: the whole iteration r(x) = 0, on values only, never differentiated.
- ``linear_solve``: A x = b for one or several right-hand sides, one factorisation for all. It is
  linear in b and differentiable in A.
- ``elastic_test``: marks the law's elastic test, so that code may be specialised on it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# Up to this size our own elimination is faster than LAPACK on a batch.
_ELIMINATED = 8

linear_solve_p = Primitive("admat_linear_solve")
elastic_test_p = Primitive("admat_elastic_test")
local_newton_p = Primitive("admat_local_newton")
local_newton_p.multiple_results = True


# -- linear_solve: (..., n, n), (..., n, k) -> (..., n, k) -----------------------------------


def linear_solve(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    """Solve ``matrix @ x = rhs`` for a vector (n,) or for columns (n, k).

    A singular matrix gives infinities or NaN.
    """
    if rhs.ndim == 1:
        return linear_solve_p.bind(matrix, rhs[:, None])[:, 0]
    return linear_solve_p.bind(matrix, rhs)


def _solve_now(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    n = matrix.shape[-1]
    if n == 1:
        return rhs / matrix
    if matrix.ndim == 2 or n > _ELIMINATED:
        return jnp.linalg.solve(matrix, rhs)
    batch_last = lambda a: jnp.moveaxis(a.reshape(-1, *a.shape[-2:]), 0, -1)  # noqa: E731
    x = _eliminate(batch_last(matrix), batch_last(rhs))
    return jnp.moveaxis(x, -1, 0).reshape(rhs.shape)


def _eliminate(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    """Gauss elimination with partial pivoting: (n, n, batch), (n, k, batch) -> (n, k, batch).

    The batch comes last, so that all operations run over it in SIMD lanes; the pivot row of each
    system is picked by a one-hot sum. LAPACK, matrix by matrix, takes 2-3 times as long for n < 9.
    """
    n = matrix.shape[0]
    work = jnp.concatenate([matrix, rhs], axis=1)
    rows = []  # of the unit upper triangle without its diagonal, with the right-hand sides
    for left in range(n, 0, -1):
        row = work[0]
        if left > 1:
            best = jnp.argmax(jnp.abs(work[:, 0]), axis=0)
            here = jax.lax.broadcasted_iota(best.dtype, (left, *best.shape), 0) == best
            row = jnp.sum(jnp.where(here[:, None], work, 0.0), axis=0)
            work = jnp.where(here[:, None], work[0], work)[1:]
        row = row[1:] / row[0]
        work = work[:, 1:] - work[:, :1] * row if left > 1 else work
        # Without the barrier XLA would compute each step again in all those after it.
        row, work = jax.lax.optimization_barrier((row, work))
        rows.append(row)
    x: list[Any] = [None] * n
    for i in reversed(range(n)):
        x[i] = rows[i][n - 1 - i :]
        for j in range(i + 1, n):
            x[i] = x[i] - rows[i][j - i - 1] * x[j]
    return jnp.stack(x)


def _solve_batched(args: tuple, axes: tuple) -> tuple[jax.Array, int]:
    (matrix, rhs), (matrix_axis, rhs_axis) = args, axes
    if matrix_axis is None and matrix.ndim == 2 and rhs.ndim == 3:
        # One matrix: the batch is a set of right-hand sides.
        rhs = jnp.moveaxis(rhs, rhs_axis, 1)
        n, batch, columns = rhs.shape
        x = linear_solve_p.bind(matrix, rhs.reshape(n, batch * columns))
        return x.reshape(n, batch, columns), 1
    size = rhs.shape[rhs_axis] if matrix_axis is None else matrix.shape[matrix_axis]

    def leading(array: jax.Array, axis: int | None) -> jax.Array:
        if axis is None:
            return jnp.broadcast_to(array, (size, *array.shape))
        return jnp.moveaxis(array, axis, 0)

    return linear_solve_p.bind(leading(matrix, matrix_axis), leading(rhs, rhs_axis)), 0


def _solve_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, Any]:
    (matrix, rhs), (matrix_dot, rhs_dot) = primals, tangents
    x = linear_solve_p.bind(matrix, rhs)
    if isinstance(matrix_dot, ad.Zero):
        return x, linear_solve_p.bind(matrix, rhs_dot)
    right = -(matrix_dot @ x)
    if not isinstance(rhs_dot, ad.Zero):
        right = rhs_dot + right
    return x, linear_solve_p.bind(matrix, right)


def _solve_transpose(cotangent: Any, matrix: jax.Array, rhs: Any) -> tuple:
    if isinstance(cotangent, ad.Zero):
        return None, ad.Zero(rhs.aval)
    return None, linear_solve_p.bind(jnp.swapaxes(matrix, -1, -2), cotangent)


linear_solve_p.def_impl(jax.jit(_solve_now))
linear_solve_p.def_abstract_eval(lambda matrix, rhs: rhs.update(weak_type=False))
mlir.register_lowering(linear_solve_p, mlir.lower_fun(_solve_now, multiple_results=False))
batching.primitive_batchers[linear_solve_p] = _solve_batched
ad.primitive_jvps[linear_solve_p] = _solve_jvp
ad.primitive_transposes[linear_solve_p] = _solve_transpose


# -- elastic_test: () bool -> () bool --------------------------------------------------------


def elastic_test(value: jax.Array) -> jax.Array:
    """The same value, marked."""
    return elastic_test_p.bind(value)


elastic_test_p.def_impl(lambda value: value)
elastic_test_p.def_abstract_eval(lambda value: value)
mlir.register_lowering(elastic_test_p, lambda ctx, value: [value])
batching.defvectorized(elastic_test_p)


# -- local_newton: x0, arguments of the equations -> x, code, iterations, scaled residual ------


def local_newton(
    equations: Callable, iterate: Callable, x0: jax.Array, packed: Any, options: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Bind the iteration ``iterate(equations, x0, packed, options)`` as one operation.

    ``equations(x, packed)`` is traced once, here. It must not be differentiated through: the
    caller stops gradients.
    """
    leaves, tree = jax.tree.flatten(packed)
    traced = jax.make_jaxpr(lambda x, *flat: equations(x, jax.tree.unflatten(tree, flat)))(
        x0, *leaves
    )
    # What the equations close over becomes an argument like all others.
    constants = [jax.lax.stop_gradient(jnp.asarray(c)) for c in traced.consts]
    return local_newton_p.bind(
        x0, *constants, *leaves, jaxpr=traced.jaxpr, iterate=iterate, options=options
    )


def _newton_now(
    x0: jax.Array, *operands: Any, jaxpr: Any, iterate: Callable, options: Any
) -> tuple:
    n = len(jaxpr.constvars)

    def equations(x: jax.Array, operands: Any) -> jax.Array:
        return jax.core.eval_jaxpr(jaxpr, operands[:n], x, *operands[n:])[0]

    return iterate(equations, x0, operands, options)


def _newton_batched(args: tuple, axes: tuple, **parameters: Any) -> tuple[list, list]:
    batched = jax.vmap(lambda *operands: _newton_now(*operands, **parameters), in_axes=axes)
    out = batched(*args)
    return list(out), [0] * len(out)


def _newton_abstract(x0: Any, *operands: Any, **parameters: Any) -> list:
    number = jax.core.ShapedArray((), jnp.int32)
    return [
        jax.core.ShapedArray(x0.shape, x0.dtype),
        number,
        number,
        jax.core.ShapedArray((), x0.dtype),
    ]


local_newton_p.def_impl(_newton_now)
local_newton_p.def_abstract_eval(_newton_abstract)
mlir.register_lowering(local_newton_p, mlir.lower_fun(_newton_now, multiple_results=True))
batching.primitive_batchers[local_newton_p] = _newton_batched
