"""Native: operations on arrays and control flow against XLA, with their derivatives."""

import functools
import logging

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, compilation
from dolfinx_admat.kernels import BatchKernel

TABLE = jnp.array([0.0, 1.0, 4.0, 9.0, 16.0, 25.0])


def matrix(x, n=3):
    """A regular matrix (n, n), nonsymmetric."""
    return jnp.eye(n) * 3.0 + jnp.sin(jnp.outer(jnp.arange(1.0, n + 1), jnp.resize(x, n)))


def _while_bounded(x):
    return jax.lax.fori_loop(0, 5, lambda k, a: a + jnp.sin(a) * x[0] / (k + 1.0), x)


def _scan(x):
    carry, rows = jax.lax.scan(lambda c, y: (c * 0.5 + y, c * y), x[0], x, reverse=True)
    return jnp.concatenate([carry[None], rows])


def _scan_tree(x):
    def body(carry, k):
        a, (b, c) = carry
        return (a + b * k, (c, a * x[1])), {"a": a, "ab": jnp.stack([a, b])}

    carry, out = jax.lax.scan(body, (x[0], (x[1], x[2])), jnp.arange(4.0))
    return jnp.concatenate([jnp.stack([carry[0], *carry[1]]), out["a"], out["ab"].ravel()])


@jax.custom_jvp
def _own(x):
    return x**2


_own.defjvp(lambda primals, tangents: (_own(primals[0]), 3.0 * primals[0] * tangents[0]))


@jax.custom_vjp
def _own_reverse(x):
    return jnp.sin(x)


_own_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2.0 * g * x,))

FUNCTIONS = {
    "index": lambda x: x[jnp.array([5, 0, -2])],
    "index_2d": lambda x: matrix(x)[jnp.array([0, 1, 2]), jnp.array([1, 2, 0])],
    "index_grid": lambda x: matrix(x)[jnp.ix_(jnp.array([0, 2]), jnp.array([2, 1]))],
    "index_row": lambda x: matrix(x)[1],
    "strided": lambda x: x[4:0:-2],
    "mask_constant": lambda x: x[np.array([True, False] * 3)],
    "take": lambda x: jnp.take(x, jnp.array([1, 1, 3])),
    "take_along": lambda x: jnp.take_along_axis(
        x.reshape(2, 3), jnp.array([[0, 2], [1, 1]]), axis=1
    ),
    "set": lambda x: x.at[2].set(x[0] * x[1]),
    "set_many": lambda x: x.at[jnp.array([1, 4])].set(x[:2] ** 2),
    "set_slice": lambda x: x.at[1:3].set(0.0),
    "add_twice": lambda x: x.at[jnp.array([1, 1, 2])].add(x[3:] * 2),
    "add_matrix": lambda x: matrix(x).at[1].add(x[:3]).at[:, 2].multiply(x[3:]),
    "set_block": lambda x: jnp.zeros((4, 4)).at[1:3, 2:].set(matrix(x, 2)),
    "subtract": lambda x: x.at[0].subtract(x[1]),
    "at_min": lambda x: x.at[jnp.array([0, 1])].min(0.1).at[3].max(0.2),
    "divide": lambda x: x.at[0].divide(3.0),
    "concatenate": lambda x: jnp.concatenate([x, x[:2] * 2]),
    "stack": lambda x: jnp.stack([x[:3], x[3:]], axis=1),
    "blocks": lambda x: jnp.block([[matrix(x), x[:3, None]], [x[None, 3:], jnp.ones((1, 1))]]),
    "split": lambda x: sum(jnp.split(x, 3)),
    "pad": lambda x: jnp.pad(x, (1, 2), constant_values=7.0),
    "pad_lax": lambda x: jax.lax.pad(x, 1.5, [(-1, 2, 1)]),
    "pad_edge": lambda x: jnp.pad(x, 1, mode="edge"),
    "reverse": lambda x: x[::-1],
    "roll": lambda x: jnp.roll(x, 2),
    "tile": lambda x: jnp.tile(x[:2], (2, 2)),
    "repeat": lambda x: jnp.repeat(x[:2], 3),
    "transpose": lambda x: jnp.transpose(x.reshape(1, 2, 3), (2, 0, 1)),
    "dynamic_slice": lambda x: jax.lax.dynamic_slice(x, (jnp.int32(4),), (3,)),
    "dynamic_update": lambda x: jax.lax.dynamic_update_slice(x, x[:2] * 3, (jnp.int32(1),)),
    "dot_batch": lambda x: jax.lax.dot_general(
        x.reshape(2, 3, 1), x.reshape(2, 1, 3), (((2,), (1,)), ((0,), (0,)))
    ),
    "dot_transposed": lambda x: jax.lax.dot_general(
        x.reshape(3, 2), x.reshape(3, 2), (((0,), (0,)), ((), ()))
    ),
    "einsum": lambda x: jnp.einsum("ij,jk,ki->i", matrix(x), matrix(x), matrix(x)),
    "einsum_4": lambda x: jnp.einsum("ij,kl->ikjl", matrix(x, 2), matrix(x, 2)),
    "tensordot": lambda x: jnp.tensordot(matrix(x), jnp.outer(x[:3], x[3:]), axes=2),
    "sum_axis": lambda x: jnp.sum(x.reshape(2, 3), axis=0) + jnp.prod(x.reshape(2, 3), axis=0),
    "max_axis": lambda x: jnp.max(x.reshape(2, 3), axis=1),
    "min_all": lambda x: jnp.min(x),
    "mean_var": lambda x: jnp.stack([jnp.mean(x), jnp.var(x), jnp.std(x)]),
    "any_all": lambda x: jnp.stack([jnp.any(x > 0.5), jnp.all(x > -0.5)]) * x[:2],
    "max_of_truth": lambda x: jnp.max(x > 0.2) * x[0] + jnp.min(x > -0.2) * x[1],
    "count": lambda x: jnp.sum(x > 0) * x[0],
    "cumsum": lambda x: jnp.cumsum(x.reshape(2, 3), axis=1),
    "cumprod": lambda x: jnp.cumprod(x),
    "cummax": lambda x: jax.lax.cummax(x, reverse=True),
    "sort": lambda x: jnp.sort(x),
    "sort_down": lambda x: jnp.sort(x, descending=True),
    "argsort": lambda x: jnp.argsort(x) * x,
    "median": lambda x: jnp.median(x),
    "argmax": lambda x: jnp.argmax(x) * x[0] + jnp.argmin(x),
    "first_true": lambda x: jnp.argmax(x > 0.2) * x[0],
    "one_hot": lambda x: jnp.where(jnp.arange(6) == jnp.argmax(x), x, 0.0),
    "for": _while_bounded,
    "scan": _scan,
    "scan_tree": _scan_tree,
    "cond": lambda x: jax.lax.cond(x[0] > 0, lambda a: jnp.sin(a), lambda a: a**2, x),
    "cond_constant": lambda x: jax.lax.cond(True, lambda a: jnp.sin(a), lambda a: a**2, x),
    "cond_tree": lambda x: sum(
        jax.lax.cond(x[1] > 0, lambda a: (a, a[0]), lambda a: (-a, a[1] * 2), x)
    ),
    "switch": lambda x: jax.lax.switch(
        jnp.clip((x[0] * 2 + 1).astype(int), 0, 2), [jnp.sin, jnp.cos, lambda a: a * a], x
    ),
    "select": lambda x: jnp.select([x > 0.5, x > 0.0], [x, x**2], -1.0),
    "piecewise": lambda x: jnp.piecewise(x, [x < 0, x >= 0.5], [lambda a: -a, lambda a: a**2, 1.0]),
    "vmap": lambda x: jax.vmap(lambda a, b: a * jnp.dot(b, b), in_axes=(0, 1))(x[:3], matrix(x)),
    "vmap_nested": lambda x: jax.vmap(lambda a: jax.vmap(lambda b: jnp.sin(a * b))(x[:2]))(x[2:4]),
    "vmap_det": lambda x: jax.vmap(jnp.linalg.det)(jnp.stack([matrix(x), matrix(x).T * 2])),
    "vmap_cond": lambda x: jax.vmap(lambda a: jax.lax.cond(a > 0, lambda b: b, lambda b: b * b, a))(
        x
    ),
    "grad": lambda x: jax.grad(lambda a: jnp.sum(jnp.sin(a) * a[0]))(x),
    "hessian": lambda x: jax.hessian(lambda a: jnp.prod(jnp.cosh(a)))(x[:3]),
    "jvp": lambda x: jax.jvp(jnp.tanh, (x,), (x**2,))[1],
    "jit": lambda x: jax.jit(lambda a: a * 2)(x),
    "checkpoint": lambda x: jax.checkpoint(lambda a: jnp.exp(jnp.sin(a)))(x),
    "custom_jvp": _own,
    "stop_gradient": lambda x: jax.lax.stop_gradient(x) * x,
    "solve_2": lambda x: jnp.linalg.solve(matrix(x, 2), x[:2]),
    "solve_3": lambda x: jnp.linalg.solve(matrix(x), x[:3]),
    "solve_columns": lambda x: jnp.linalg.solve(matrix(x), x.reshape(3, 2)),
    "solve_6": lambda x: jnp.linalg.solve(matrix(x, 6), x),
    "inv_2": lambda x: jnp.linalg.inv(matrix(x, 2)),
    "inv_3": lambda x: jnp.linalg.inv(matrix(x)),
    "inv_4": lambda x: jnp.linalg.inv(matrix(x, 4)),
    "det_2": lambda x: jnp.linalg.det(matrix(x, 2)),
    "det_3": lambda x: jnp.linalg.det(matrix(x)),
    "matrix_power": lambda x: jnp.linalg.matrix_power(matrix(x), 3),
    "norm": lambda x: jnp.linalg.norm(x) + jnp.linalg.norm(matrix(x)),
    "multi_dot": lambda x: jnp.linalg.multi_dot([matrix(x), matrix(x).T, x[:3]]),
    "trace": lambda x: jnp.trace(matrix(x)) * jnp.diag(matrix(x)),
    "diag": lambda x: jnp.diag(x[:3]) + jnp.diag(x[:2], k=1),
    "kron": lambda x: jnp.kron(matrix(x, 2), jnp.eye(2)),
    "cross": lambda x: jnp.cross(x[:3], x[3:]),
    "triangles": lambda x: jnp.tril(matrix(x)) - 2 * jnp.triu(matrix(x), 1),
    "meshgrid": lambda x: sum(jnp.meshgrid(x[:2], x[2:5])),
    "interp": lambda x: jnp.interp(x * 6, jnp.arange(6.0) * 0.7, TABLE),
    "interp_of_values": lambda x: jnp.interp(0.3, TABLE, x * x),
    "read_at": lambda x: x[jnp.clip((x[0] * 4).astype(int), 0, 5)] * TABLE[jnp.argmax(x)],
    "read_row_at": lambda x: matrix(x)[jnp.argmin(x[:3])],
    "searchsorted": lambda x: jnp.searchsorted(TABLE, x * 5, side="right") * x,
    "interp_constant": lambda x: jnp.interp(1.5, jnp.arange(6.0), x),
    "integers": lambda x: x[jnp.arange(6) // 2] * (jnp.arange(6) % 3),
    "negative_integers": lambda x: (jnp.arange(-3, 3) // 2) * x + jnp.arange(-3, 3) % 2,
    "polyval": lambda x: jnp.polyval(jnp.array([1.0, 2.0, 3.0]), x),
    "round_2": lambda x: jnp.round(x, 2) * 1.0 + x,
    "gelu_softplus": lambda x: jax.nn.gelu(x) + jax.nn.softplus(x) + jax.nn.elu(x),
    "softmax": lambda x: jax.nn.softmax(x) * jax.nn.logsumexp(x),
    "nan_to_num": lambda x: jnp.nan_to_num(jnp.where(x > 0, x, jnp.nan), nan=3.0),
    "huge_constant": lambda x: jnp.minimum(x, jnp.inf) + jnp.maximum(x, -1e308),
    "where_nan": lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), x),
    "empty": lambda x: jnp.concatenate([x[:0], x]) + jnp.sum(x[:0]) + jnp.ones((0, 3)).sum(1).sum(),
    "empty_loop": lambda x: jax.lax.fori_loop(0, 0, lambda k, a: a * 2, x),
    "empty_scan": lambda x: jax.lax.scan(lambda c, y: (c + y, y), x[0], x[:0])[0],
    "unpacked": lambda x: (lambda a, b, *c: a * b + sum(c))(*x),
    "trapezoid": lambda x: jnp.trapezoid(x, dx=0.5),
    "digitize_constant": lambda x: x * jnp.searchsorted(TABLE, 5.0),
}
SHAPES = {
    name: jax.eval_shape(f, jax.ShapeDtypeStruct((6,), jnp.float64)).shape
    for name, f in FUNCTIONS.items()
}

UNSUPPORTED = {
    "convolve": lambda x: jnp.convolve(x, jnp.ones(2)),
    "write_at": lambda x: x.at[jnp.argmax(x)].set(0.0),
    "while": lambda x: jax.lax.while_loop(lambda a: a[0] < 1.0, lambda a: a + 1.0, x),
    "long_loop": lambda x: jax.lax.fori_loop(0, 1000, lambda k, a: 0.5 * (a + jnp.cos(a)), x),
    "apply": lambda x: x.at[1].apply(jnp.exp),
    "half_away": lambda x: jax.lax.round(x) * x,
    "eigh": lambda x: jnp.linalg.eigh(matrix(x) + matrix(x).T)[0],
    "svd": lambda x: jnp.linalg.svd(matrix(x), compute_uv=False),
    "cholesky": lambda x: jnp.linalg.cholesky(matrix(x) @ matrix(x).T),
    "det_6": lambda x: jnp.linalg.det(matrix(x, 6)),
    "single": lambda x: (x.astype(jnp.float32) * 2).astype(float),
    "complex": lambda x: jnp.abs(x + 1j * x),
    "random": lambda x: x + jax.random.normal(jax.random.key(1), (6,)),
    "low_precision": lambda x: jax.lax.reduce_precision(x, 8, 7),
    "gamma": lambda x: jax.scipy.special.gammaln(x + 3.0),
}


def law(functions, shapes):
    """An explicit law with an output for each function."""

    class Zoo(admat.ExplicitLaw):
        inputs = {"x": (6,)}  # noqa: RUF012
        outputs = shapes

        def update(self, inputs, state, dt):
            return {name: f(inputs["x"]) for name, f in functions.items()}, state

    return Zoo()


POINTS = np.random.default_rng(3).uniform(-1.2, 1.2, (27, 6))


@functools.cache
def native(part):
    """Values and derivatives by C: laws of moderate size, for the compiler's sake."""
    names = [name for k, name in enumerate(FUNCTIONS) if k // 24 == part]
    one = law({n: FUNCTIONS[n] for n in names}, {n: SHAPES[n] for n in names})
    with pytest.MonkeyPatch.context() as patch:
        # The meaning of the code is tested, not its speed.
        patch.setattr(compilation, "FLAGS", ("-O0", *compilation.FLAGS[1:]))
        return batches.run(BatchKernel(one, backend="native"), POINTS)


@functools.cache
def expected():
    """The same by XLA, which need not optimise."""

    def values(x):
        return {name: (f(x), jax.jacfwd(f)(x)) for name, f in FUNCTIONS.items()}

    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(jax.vmap(values)).lower(POINTS).compile(options)(POINTS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_structure(name):
    ours, (value, slope) = native(list(FUNCTIONS).index(name) // 24), expected()[name]
    np.testing.assert_allclose(ours.outputs[name], value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.tangent[name, "x"], slope, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_translated_falls_back(name, caplog):
    """With one warning and right numbers; who insists on native gets a clear error."""
    f = UNSUPPORTED[name]
    one = law({"y": f}, {"y": jax.eval_shape(f, jnp.zeros(6)).shape})
    with pytest.raises(MaterialError, match=r'backend="native" is impossible.*use backend="auto"'):
        BatchKernel(one, backend="native").prepare("update")
    with caplog.at_level(logging.WARNING):
        kernel = BatchKernel(one, chunk_size=4)
        x = np.random.default_rng(3).uniform(0.1, 0.9, (4, 6))
        out = batches.run(kernel, x, tangent=False).outputs["y"]
        batches.run(kernel, x, tangent=False)
        batches.run(BatchKernel(one, chunk_size=4), x, tangent=False)
    assert kernel.backend == "xla"
    assert sum("xla" in r.getMessage() for r in caplog.records) <= 1
    np.testing.assert_allclose(out, jax.vmap(f)(x), rtol=1e-13)
