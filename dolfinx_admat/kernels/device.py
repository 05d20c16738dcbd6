"""Batches that stay on a device: JAX arrays in, JAX arrays out, nothing through the host."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalResult, Strategy
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, named_leaves, require_float64

from ._point import PointFunctions
from ._xla import XlaFunction


class DeviceResult(NamedTuple):
    """What one update of a batch gives; JAX arrays with the points first.

    Attributes:
        outputs: Declared outputs by name; (points, *shape).
        state: State at t_{n+1}; a pytree like the law's, (points, *shape).
        status: ``LocalResult`` of (points,); read its ``code`` before using the others.
        tangent: ``tangent[output][input]``, (points, *output shape, *input shape); empty without.
    """

    outputs: dict[str, jax.Array]
    state: Any
    status: LocalResult
    tangent: dict[str, dict[str, jax.Array]]


class DeviceKernel:
    """A law for whole batches of JAX arrays, on a GPU if JAX sees one (backend ``xla``).

    In a loop over steps, pass ``result.state`` on: it never leaves the device. Each size of the
    batch is compiled once. On a CPU ``BatchKernel`` is faster.

    Args:
        material: The law.
        tangent: ``"implicit"``, ``"unrolled"``, ``"finite_difference"``; None: as the law says.

    Raises:
        MaterialError: float64 is switched off.
    """

    def __init__(self, material: Material, *, tangent: Strategy | None = None) -> None:
        require_float64()
        self.material = material
        arrays, static = eqx.partition(material, eqx.is_array)
        self._arrays = jax.device_put(arrays)
        functions = PointFunctions(static, (), tangent)
        self._functions = {task: XlaFunction(functions, task) for task in ("update", "tangent")}

    def initial_state(self, points: int) -> Any:
        """The law's initial state at each point: a pytree of (points, *shape)."""
        state = as_numbers(self.material.initial_state())
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (points, *jnp.shape(leaf))), state)

    def update(
        self, inputs: dict[str, jax.Array], state: Any, dt: float = 0.0, *, tangent: bool = True
    ) -> DeviceResult:
        """Advance all points from t_n to t_{n+1}; returns before the device is done.

        Args:
            inputs: Declared inputs at t_{n+1}; (points, *shape), float64.
            state: State at t_n, a pytree of (points, *shape).
            dt: Step, units of time.
            tangent: Compute d(output)/d(input) as well.

        Raises:
            MaterialError: Wrong names or shapes; a mistake in the law.
        """
        law = self.material
        name = type(law).__name__
        points = next((len(array) for array in inputs.values()), 0)
        expected = {key: (points, *shape) for key, shape in law.inputs.items()}
        initial = as_numbers(law.initial_state())
        shapes = {key: (points, *jnp.shape(leaf)) for key, leaf in named_leaves(initial).items()}
        for what, given, wanted in (
            ("inputs", inputs, expected),
            ("state", named_leaves(state), shapes),
        ):
            got = {key: jnp.shape(array) for key, array in given.items()}
            if got != wanted:
                raise MaterialError(f"{name}: {what} have the shapes {got}, expected {wanted}")
        run = self._functions["tangent" if tangent else "update"].batched
        return DeviceResult(*run(self._arrays, {}, inputs, state, jnp.asarray(dt, float)))
