"""Native: functions of numbers against NumPy, over all kinds of numbers."""

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat

UNARY = {
    # Function of JAX, of NumPy in extended precision, ulp where the result is a normal number.
    "exp": (jnp.exp, np.exp, 2),
    "expm1": (jnp.expm1, np.expm1, 4),
    "exp2": (jnp.exp2, np.exp2, 2),
    "log": (jnp.log, np.log, 2),
    "log1p": (jnp.log1p, np.log1p, 3),
    "log2": (jnp.log2, np.log2, 4),
    "sqrt": (jnp.sqrt, np.sqrt, 0.6),
    "cbrt": (jnp.cbrt, np.cbrt, 4),  # of the C library
    "tanh": (jnp.tanh, np.tanh, 4),
    "sinh": (jnp.sinh, np.sinh, 3),
    "cosh": (jnp.cosh, np.cosh, 3),
    "sin": (jnp.sin, np.sin, 1),
    "cos": (jnp.cos, np.cos, 1),
    "tan": (jnp.tan, np.tan, 2),
    "arcsin": (jnp.arcsin, np.arcsin, 2),
    "arccos": (jnp.arccos, np.arccos, 2),
    "arctan": (jnp.arctan, np.arctan, 2),
    "arcsinh": (jnp.arcsinh, np.arcsinh, 3),
    "arccosh": (jnp.arccosh, np.arccosh, 3),
    "arctanh": (jnp.arctanh, np.arctanh, 3),
    "abs": (jnp.abs, np.abs, 0),
    "sign": (jnp.sign, np.sign, 0),
    "floor": (jnp.floor, np.floor, 0),
    "ceil": (jnp.ceil, np.ceil, 0),
    "round": (jnp.round, np.round, 0),
    "trunc": (jnp.trunc, np.trunc, 0),
    "square": (jnp.square, np.square, 0.6),
    "cube": (lambda x: x**3, lambda x: x**3, 2),
    "inverse_square": (lambda x: x**-2, lambda x: 1 / (x * x), 3),
    "reciprocal": (lambda x: 1.0 / x, lambda x: 1 / x, 0.6),
    "rsqrt": (jax.lax.rsqrt, lambda x: 1 / np.sqrt(x), 2),
    "third": (lambda x: x / 3.0, lambda x: x / 3, 2),
    "sqrt_by_power": (lambda x: jnp.abs(x) ** 0.5, lambda x: np.sqrt(np.abs(x)), 1),
    "power_1.5": (lambda x: x**1.5, lambda x: x ** np.longdouble(1.5), None),
    "logistic": (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 4),
    "clip": (lambda x: jnp.clip(x, -0.5, 2.0), lambda x: np.clip(x, -0.5, 2.0), 0),
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0), 0),
    "finite": (lambda x: jnp.isfinite(x) * 1.0, lambda x: np.isfinite(x) * 1.0, 0),
    "nan": (lambda x: jnp.isnan(x) * 1.0, lambda x: np.isnan(x) * 1.0, 0),
    "plus_inf": (lambda x: x + jnp.inf, lambda x: x + np.inf, 0),
    "not_less": (lambda x: ~(x < 1.0) * 1.0, lambda x: ~(x < 1) * 1.0, 0),
    "truncated": (
        lambda x: jnp.clip(x, -1e9, 1e9).astype(int) * 1.0,
        lambda x: np.trunc(np.clip(x, -1e9, 1e9)),
        0,
    ),
}
BINARY = {
    "max": (jnp.maximum, np.maximum, 0),
    "min": (jnp.minimum, np.minimum, 0),
    "rem": (jax.lax.rem, np.fmod, 0),
    "mod": (jnp.mod, None, None),
    "atan2": (jnp.arctan2, np.arctan2, 2),
    "hypot": (jnp.hypot, np.hypot, 2),
    "div": (lambda x, y: x / y, lambda x, y: x / y, 0.6),
    "add": (lambda x, y: x + y, lambda x, y: x + y, 0.6),
    "mul": (lambda x, y: x * y, lambda x, y: x * y, 0.6),
    "sub": (lambda x, y: x - y, lambda x, y: x - y, 0.6),
    "pow": (jnp.power, np.power, None),
    "logaddexp": (jnp.logaddexp, None, None),
    **{
        name: (lambda x, y, f=f: f(x, y) * 1.0, lambda x, y, g=g: g(x, y) * 1.0, 0)
        for name, f, g in (
            ("lt", jnp.less, np.less),
            ("le", jnp.less_equal, np.less_equal),
            ("gt", jnp.greater, np.greater),
            ("ge", jnp.greater_equal, np.greater_equal),
            ("eq", jnp.equal, np.equal),
            ("ne", jnp.not_equal, np.not_equal),
        )
    },
    "where": (lambda x, y: jnp.where(x > y, x, y + 1), lambda x, y: np.where(x > y, x, y + 1), 0.6),
    "and_or": (
        lambda x, y: ((x > 0) & (y > 0) | (x < -1)) * 1.0,
        lambda x, y: ((x > 0) & (y > 0) | (x < -1)) * 1.0,
        0,
    ),
    "xor": (lambda x, y: ((x > 0) ^ (y > 0)) * 1.0, lambda x, y: ((x > 0) ^ (y > 0)) * 1.0, 0),
    "bool_lt": (lambda x, y: ((x > 0) < (y > 0)) * 1.0, lambda x, y: ((x > 0) < (y > 0)) * 1.0, 0),
    "bool_ge": (
        lambda x, y: ((x > 0) >= (y > 0)) * 1.0,
        lambda x, y: ((x > 0) >= (y > 0)) * 1.0,
        0,
    ),
}


class Elementwise(admat.ExplicitLaw):
    """All functions at once."""

    inputs = {"x": (), "y": ()}  # noqa: RUF012
    outputs = {name: () for name in (*UNARY, *BINARY)}  # noqa: RUF012

    def update(self, inputs, state, dt):
        x, y = inputs["x"], inputs["y"]
        values = {name: f(x) for name, (f, _, _) in UNARY.items()}
        values |= {name: f(x, y) for name, (f, _, _) in BINARY.items()}
        return values, state


def numbers():
    """(x, y): special values in all pairs, then random ones of all sizes."""
    rng = np.random.default_rng(5)
    special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 1e-9, -1e-9, 1e-300,
               1e300, -1e300, 1e154, np.inf, -np.inf, np.nan, 700.0, -700.0, 709.0, 800.0, -800.0,
               -0.99999, 2.0**52 + 1, 4.0, -7.0, 1e17]  # fmt: skip
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    sizes = 10.0 ** rng.uniform(-12, 3, (2, 3000))
    near = [1 + 1e-3 * rng.standard_normal(500), rng.uniform(0.5, 2.0, 500)]
    random = rng.choice([-1, 1], sizes.shape) * sizes
    x = np.concatenate([x, random[0], near[0]])
    return x, np.concatenate([y, random[1], near[1]])


@pytest.fixture(scope="module")
def values():
    x, y = numbers()
    kernel = batches.BatchKernel(Elementwise(), backend="native")
    return x, y, batches.run(kernel, {"x": x, "y": y}, tangent=False)


def ulps(found, exact):
    """Error in ulp where the exact result is a normal number or zero; the rest must be equal."""
    exact = np.asarray(exact, np.longdouble)
    rounded = exact.astype(float)
    normal = np.isfinite(rounded) & (np.abs(rounded) >= 1e-300)
    with np.errstate(all="ignore"):
        gap = np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(rounded))
        small = np.abs(found) <= 1e-299
    special = np.isnan(rounded) & np.isnan(found) | (rounded == found)
    special |= (np.abs(rounded) < 1e-300) & small
    return np.where(normal, gap, np.where(special, 0.0, np.inf)).astype(float)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name", [n for n, (_, _, limit) in (UNARY | BINARY).items() if limit is not None]
)
def test_against_numpy(name, values):
    x, y, native = values
    _, function, limit = (UNARY | BINARY)[name]
    arguments = [x.astype(np.longdouble), y.astype(np.longdouble)][: 1 + (name in BINARY)]
    error = ulps(native.outputs[name], function(*arguments))
    worst = int(np.argmax(error))
    assert error[worst] <= limit, (
        f"{name}({x[worst]}, {y[worst]}) = {native.outputs[name][worst]}: {error[worst]:.3g} ulp"
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_power(values):
    """All pairs of special numbers; the error grows with the exponent: |y log2 x| ulp."""
    x, y, native = values
    exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    size = np.abs(y * np.log2(np.abs(x)))
    error = ulps(native.outputs["pow"], exact) / (3.0 + np.where(np.isfinite(size), size, 0.0))
    # C has numbers for (-1)**inf and (-inf)**0.5.
    error[(x == -1) & np.isinf(y) | np.isneginf(x)] = 0.0
    # The sign of zero is lost.
    error[(x == 0) & (np.abs(native.outputs["pow"]) == np.abs(exact))] = 0.0
    worst = int(np.argmax(error))
    assert error[worst] <= 1, f"{x[worst]} ** {y[worst]} = {native.outputs['pow'][worst]}"


def test_derivatives_against_xla():
    """Also of those that have no simple counterpart in NumPy."""
    rng = np.random.default_rng(1)
    law = Elementwise()
    inputs = {"x": rng.uniform(-3, 3, 403), "y": rng.uniform(-2, 2, 403)}
    native, xla = batches.both(law, inputs)
    for name in law.outputs:
        np.testing.assert_allclose(
            native.outputs[name], xla.outputs[name], rtol=1e-13, atol=1e-14, err_msg=name
        )
        for i in "x" if name in UNARY else "xy":
            np.testing.assert_allclose(
                native.tangent[name, i], xla.tangent[name, i], rtol=1e-11, atol=1e-13, err_msg=name
            )
