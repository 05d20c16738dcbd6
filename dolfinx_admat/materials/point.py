"""Evaluate a law at one point: the smallest laboratory, and the way into a debugger."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalResult

from ._declare import as_numbers, as_parameter, check_state, require_float64
from .base import Material


class PointResult(NamedTuple):
    """What one update gives.

    Attributes:
        outputs: Declared outputs by name.
        state: State at t_{n+1}.
        status: ``LocalResult`` of the local solve.
    """

    outputs: dict[str, jax.Array]
    state: Any
    status: LocalResult


def evaluate_point(
    material: Material,
    inputs: dict[str, Any] | Any,
    state: Any = None,
    dt: float | None = None,
    *,
    jit: bool = True,
) -> PointResult:
    """Advance one point by one step.

    With ``jit=False`` every line of the law runs on concrete numbers, so that ``print``,
    ``breakpoint()`` and a debugger see values, and mistakes are raised as they are. (A residual
    is called with numbers first; Newton's method then differentiates it by calling it again.)

    Args:
        material: The law.
        inputs: Dict of the declared inputs, or the bare array of a law with one input.
        state: State at t_n; None is the law's initial state.
        dt: Step, units of time; None only for laws that do not read it.
        jit: Compile the update.

    Returns:
        Outputs, state at t_{n+1} and status.

    Raises:
        MaterialError: Wrong names or shapes, negative or missing dt, float64 switched off, or a
            mistake in the law (with ``jit=True``).
    """
    require_float64()
    material.check_step(dt)
    if not isinstance(inputs, dict):
        if len(material.inputs) != 1:
            raise MaterialError(
                f"{type(material).__name__}: inputs must be a dict with {sorted(material.inputs)}"
            )
        inputs = {next(iter(material.inputs)): inputs}
    inputs = {name: as_parameter(value) for name, value in inputs.items()}  # lists as well
    inputs = check_inputs(material, inputs)
    initial = as_numbers(material.initial_state())
    law = type(material).__name__
    if state is None:
        state = initial
    else:
        state = check_state(law, "(argument `state`)", _arrays(state), initial)
    # Without a step, a law that reads it after all gets NaN: a failure, not a guess.
    step = jnp.asarray(jnp.nan if dt is None else dt, dtype=float)
    if jit:
        return _integrate(material, inputs, state, step)
    with jax.disable_jit():
        return PointResult(*material.integrate(inputs, state, step))


def _arrays(state: Any) -> Any:
    """Lists as arrays, as they stand in ``error.report["worst"]``."""
    if isinstance(state, dict):
        return {name: _arrays(value) for name, value in state.items()}
    return as_parameter(state)


@eqx.filter_jit
def _integrate(material: Material, inputs: dict, state: Any, dt: jax.Array) -> PointResult:
    return PointResult(*material.integrate(inputs, state, dt))


def check_inputs(material: Material, inputs: dict[str, Any]) -> dict[str, jax.Array]:
    """Inputs as float64 arrays in declared order; MaterialError when they do not fit."""
    law = type(material).__name__
    if set(inputs) != set(material.inputs):
        raise MaterialError(
            f"{law}: inputs are {sorted(inputs)}, expected {sorted(material.inputs)}"
        )
    for name, shape in material.inputs.items():
        if jnp.shape(inputs[name]) != tuple(shape):
            raise MaterialError(
                f"{law}: input '{name}' has shape {jnp.shape(inputs[name])}, "
                f"expected {tuple(shape)}"
            )
    return {name: jnp.asarray(inputs[name], dtype=float) for name in material.inputs}
