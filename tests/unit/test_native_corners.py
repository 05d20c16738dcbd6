"""Native: unusual shapes of laws, and local solves where the generator does not expect them."""

import batches
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError
from dolfinx_admat.implicit import solve
from dolfinx_admat.kernels import BatchKernel, StatusBuffers


class Odd(admat.ExplicitLaw):
    """Constants, parameters and nothing at all as results; static fields of all kinds."""

    inputs = {"x": (2,), "nothing": (0,)}  # noqa: RUF012
    outputs = {"constant": (2,), "parameter": (), "copy": (2,), "empty": (0, 3)}  # noqa: RUF012
    k: float = 3.0
    flag: bool = eqx.field(static=True, default=True)
    power: int = eqx.field(static=True, default=3)
    name: str = eqx.field(static=True, default="a*/b")

    def initial_state(self):
        return {"none": jnp.zeros(0), "same": 2.0, "table": jnp.ones((2, 2, 2))}

    def update(self, inputs, state, dt):
        x = inputs["x"] if self.flag else -inputs["x"]
        outputs = {
            "constant": jnp.array([1.0, -0.0]),
            "parameter": self.k**self.power,
            "copy": x,
            "empty": jnp.zeros((0, 3)),
        }
        return outputs, {**state, "table": state["table"] * x[0]}


def test_constant_and_empty_results():
    rng = np.random.default_rng(1)
    inputs = {"x": rng.normal(size=(11, 2)), "nothing": np.zeros((11, 0))}
    native, xla = batches.both(Odd(), inputs)
    for what in ("outputs", "state", "tangent"):
        for name, value in getattr(xla, what).items():
            np.testing.assert_array_equal(getattr(native, what)[name], value, err_msg=name)
    assert (native.outputs["parameter"] == 27.0).all()


def newton(a):
    return solve(lambda y, p: y**3 + y - p, 1.0, a)[0]


INSIDE = {
    "cond": lambda x: jax.lax.cond(x[0] > 0, newton, lambda a: a, x[1]),
    "vmap": lambda x: jnp.sum(jax.vmap(newton)(x)),
    "residual": lambda x: solve(lambda y, p: y - p - 0.1 * newton(y), 1.0, x[0])[0],
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda k, a: newton(a), x[0]),
}


@pytest.mark.parametrize("name", INSIDE)
def test_solves_inside_something_fall_back(name):
    """Nothing is translated wrongly: native refuses, and auto gives XLA's numbers."""
    f = INSIDE[name]

    class Inside(admat.ExplicitLaw):
        inputs = {"x": (2,)}  # noqa: RUF012
        outputs = {"y": ()}  # noqa: RUF012

        def update(self, inputs, state, dt):
            return {"y": f(inputs["x"])}, state

    x = np.random.default_rng(2).normal(size=(5, 2))
    with pytest.raises(MaterialError, match="native"):
        BatchKernel(Inside(), backend="native").prepare("update")
    kernel = BatchKernel(Inside(), chunk_size=8)
    found = batches.run(kernel, x, tangent=False)
    assert kernel.backend == "xla"
    np.testing.assert_allclose(found.outputs["y"], [f(jnp.asarray(row)) for row in x], rtol=1e-12)


class Line(admat.ExplicitLaw):
    """As cheap as can be, for many points."""

    inputs = {"x": ()}  # noqa: RUF012
    outputs = {"y": ()}  # noqa: RUF012
    k: float = 2.0

    def initial_state(self):
        return {"z": 0.0}

    def update(self, inputs, state, dt):
        return {"y": self.k * inputs["x"]}, {"z": state["z"] + inputs["x"]}


@pytest.mark.parametrize("n", [65535, 65536, 65537, 150001])
def test_long_batches_go_in_pieces(n):
    """With rows, in place, and with sums over all points."""
    rng = np.random.default_rng(n)
    x, rows, kernel = rng.normal(size=n), rng.permutation(n), BatchKernel(Line(), backend="native")
    y, z, status = np.empty(n), np.ones(n), StatusBuffers.allocate(n)
    kernel.update(
        {"x": x}, {"z": z}, 0.0, outputs={"y": y}, new_state={"z": z}, status=status, rows=rows
    )
    np.testing.assert_array_equal(y[rows], 2.0 * x)
    np.testing.assert_array_equal(z, 1.0 + x)
    total, bar = np.zeros(()), np.empty(n)
    kernel.pullback(
        {"x": x}, {"z": z}, 0.0, output_cotangents={"y": np.ones(n)},
        state_cotangents={"z": x}, status=status, input_bars={"x": bar},
        parameter_bars={"k": total},
    )  # fmt: skip
    np.testing.assert_allclose(total, x.sum(), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(bar, 2.0 + x)
