"""The jitted function behind a batch kernel, shared by all laws of the same structure."""

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.implicit import LocalStatus, Strategy
from dolfinx_admat.implicit._newton import CENTRAL_STEP
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves


class Compiled:
    """``jit(vmap(...))`` of one law structure; counts how often it was traced.

    Parameter values, step size and batch arrays are run-time arguments. Only the structure of
    the law (its classes, static fields and parameter shapes) and the chunk size are compiled
    in.
    """

    def __init__(
        self,
        static: Any,
        point_names: tuple[str, ...],
        strategy: Strategy | None,
        with_tangent: bool,
    ) -> None:
        self.traces = 0
        self._static = static
        self._names = point_names
        self._strategy = strategy
        self._with_tangent = with_tangent
        self._jitted = jax.jit(self._batch)

    def __call__(self, *args: Any) -> tuple:
        """(arrays, point_parameters, inputs, state, dt) -> (outputs, state, status, tangent)."""
        return self._jitted(*args)

    def _batch(self, arrays: Any, point_parameters: dict, inputs: dict, state: Any, dt: Any) -> Any:
        self.traces += 1
        one = self._with_derivative if self._with_tangent else self._one
        over_points = jax.vmap(one, in_axes=(None, 0, 0, 0, None))
        return over_points(arrays, point_parameters, inputs, state, dt)

    def _law(self, arrays: Any, point_parameters: dict) -> Material:
        law = eqx.combine(arrays, self._static)
        if self._names:
            law = replace_parameters(law, point_parameters)
        return law

    def _one(self, arrays: Any, point: dict, inputs: dict, state: Any, dt: Any) -> tuple:
        law = self._law(arrays, point)
        strategy = None if self._strategy == "finite_difference" else self._strategy
        outputs, new_state, status = law.integrate(inputs, state, dt, strategy)
        return outputs, new_state, status, {}

    def _with_derivative(
        self, arrays: Any, point: dict, inputs: dict, state: Any, dt: Any
    ) -> tuple:
        def outputs_of(inputs: dict) -> tuple:
            outputs, new_state, status, _ = self._one(arrays, point, inputs, state, dt)
            return outputs, (outputs, new_state, status)

        if self._strategy == "finite_difference":
            _, values = outputs_of(inputs)
            tangent = central_differences(lambda i: outputs_of(i)[0], inputs)
        else:
            tangent, values = jax.jacfwd(outputs_of, has_aux=True)(inputs)
        outputs, new_state, status = values
        # E.g. a solve that started at its solution, where the Jacobian is singular.
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(b)) for b in jax.tree.leaves(tangent)]))
        return outputs, new_state, status.downgraded(~finite, LocalStatus.NOT_FINITE), tangent


def central_differences(function: Any, inputs: dict) -> dict:
    """d(output)/d(input) by central differences, ``{output: {input: array}}``.

    The step is eps^(1/3) of the largest component of each input, at least of 1e-4.
    """
    blocks: dict[str, dict] = {}
    for name, value in inputs.items():
        h = CENTRAL_STEP * jnp.maximum(jnp.max(jnp.abs(value)), 1e-4)
        basis = jnp.eye(value.size).reshape(value.size, *value.shape)

        def slope(direction: jax.Array, name: str = name, h: jax.Array = h) -> dict:
            plus = function({**inputs, name: inputs[name] + h * direction})
            minus = function({**inputs, name: inputs[name] - h * direction})
            return jax.tree.map(lambda a, b: (a - b) / (2.0 * h), plus, minus)

        for output, rows in jax.vmap(slope, out_axes=-1)(basis).items():
            shape = rows.shape[:-1] + value.shape
            blocks.setdefault(output, {})[name] = rows.reshape(shape)
    return blocks


def replace_parameters(law: Material, values: dict[str, jax.Array]) -> Material:
    """The law with the parameters named by dotted paths replaced."""
    names = list(named_leaves(law))
    leaves, tree = jax.tree.flatten(law)
    for name, value in values.items():
        leaves[names.index(name)] = value
    return jax.tree.unflatten(tree, leaves)


_CACHE: dict[Hashable, Compiled] = {}


def compiled(
    static: Any, point_names: tuple[str, ...], strategy: Strategy | None, with_tangent: bool
) -> Compiled:
    """The shared compiled function for a law structure."""
    leaves, tree = jax.tree.flatten(static)
    # The types as well: 1, 1.0 and True are equal, but a law may treat them differently.
    key = (tree, tuple((type(x), x) for x in leaves), point_names, strategy, with_tangent)
    try:
        found = _CACHE.get(key)
    except TypeError:  # an unhashable static leaf: a function of its own
        return Compiled(static, point_names, strategy, with_tangent)
    if found is None:
        found = _CACHE[key] = Compiled(static, point_names, strategy, with_tangent)
    return found
