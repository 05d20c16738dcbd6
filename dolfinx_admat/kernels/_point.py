"""What a kernel computes at one point, as functions of arrays only: both backends compile these."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.implicit import LocalResult, LocalStatus, Strategy
from dolfinx_admat.implicit._newton import CENTRAL_STEP
from dolfinx_admat.materials.parameters import replace_parameters

#: What a kernel may be asked for.
TASKS = ("update", "tangent", "pullback", "pushforward")
#: Places of arguments that are the same for all points: the law's arrays, the step, and tangents
#: of the arrays.
UNIFORM = (0, 4, 6)


class PointFunctions:
    """The update of a law's structure, with its derivatives.

    Args:
        static: The law without its arrays.
        point_names: Parameters (dotted paths) that vary from point to point.
        strategy: Way to differentiate; None leaves it to the law.
    """

    def __init__(
        self, static: Any, point_names: tuple[str, ...], strategy: Strategy | None
    ) -> None:
        self._static, self._names, self._strategy = static, point_names, strategy

    def update(self, arrays: Any, point: dict, inputs: dict, state: Any, dt: Any) -> tuple:
        """(outputs, new state, status, {})."""
        law = eqx.combine(arrays, self._static)
        if self._names:
            law = replace_parameters(law, point)
        strategy = None if self._strategy == "finite_difference" else self._strategy
        outputs, new_state, status = law.integrate(inputs, state, dt, strategy)
        return outputs, new_state, status, {}

    def tangent(self, arrays: Any, point: dict, inputs: dict, state: Any, dt: Any) -> tuple:
        """(outputs, new state, status, {output: {input: d(output)/d(input)}})."""

        def outputs_of(inputs: dict) -> tuple:
            outputs, new_state, status, _ = self.update(arrays, point, inputs, state, dt)
            return outputs, (outputs, new_state, status)

        if self._strategy == "finite_difference":
            _, values = outputs_of(inputs)
            tangent = central_differences(lambda i: outputs_of(i)[0], inputs)
        else:
            tangent, values = jax.jacfwd(outputs_of, has_aux=True)(inputs)
        outputs, new_state, status = values
        return outputs, new_state, _finite(status, tangent), tangent

    def pullback(
        self,
        arrays: Any,
        point: dict,
        inputs: dict,
        state: Any,
        dt: Any,
        cotangents: tuple[dict, Any],
    ) -> tuple:
        """(inputs, state, point parameters, arrays: the cotangents of each; status)."""
        values = self._of_values(dt)
        _, pull, status = jax.vjp(values, arrays, point, inputs, state, has_aux=True)
        arrays_bar, point_bar, inputs_bar, state_bar = pull(cotangents)
        bars = (inputs_bar, state_bar, point_bar, arrays_bar)
        return *bars, _finite(status, bars)

    def pushforward(
        self,
        arrays: Any,
        point: dict,
        inputs: dict,
        state: Any,
        dt: Any,
        directions: tuple[dict, dict, Any],
        arrays_dot: Any,
    ) -> tuple:
        """(outputs, new state: the tangent of each; status).

        ``directions`` are the tangents of point parameters, inputs and state.
        """
        given = (arrays, point, inputs, state)
        along = (arrays_dot, *directions)
        _, pushed, status = jax.jvp(self._of_values(dt), given, along, has_aux=True)
        return *pushed, _finite(status, pushed)

    def _of_values(self, dt: Any) -> Any:
        """The update in all that can be differentiated: -> ((outputs, new state), status)."""

        def values(arrays: Any, point: dict, inputs: dict, state: Any) -> Any:
            outputs, new_state, status, _ = self.update(arrays, point, inputs, state, dt)
            return (outputs, new_state), status

        return values


def _finite(status: LocalResult, derivatives: Any) -> LocalResult:
    # E.g. a solve that started at its solution, where the Jacobian is singular.
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(derivatives)]
    finite = functools.reduce(jnp.logical_and, leaves, jnp.asarray(True))
    return status.downgraded(~finite, LocalStatus.NOT_FINITE)


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
