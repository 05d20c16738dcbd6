"""A driven path once more, as one differentiable JAX function of the law's parameters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.implicit import LocalStatus, Strategy
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, named_leaves
from dolfinx_admat.materials.parameters import replace_parameters

from ._components import unknown
from ._control import Controlled
from .result import DriveResult


class RecordedSteps(NamedTuple):
    """The steps that the driver took, sub-steps included; arrays only, so that JAX can map it.

    Attributes:
        inputs: Inputs of the ``Controlled`` law; (sub-steps, *shape).
        state: What is not the law's own initial state, by name.
        ends: Which sub-step ends each step; (steps,).
    """

    inputs: dict[str, jax.Array]
    state: dict[str, jax.Array]
    ends: jax.Array


class PathResponse(NamedTuple):
    """What a law does along recorded steps; (steps, *shape), without time zero.

    Attributes:
        inputs: The law's inputs, also those that were solved for.
        outputs: Its outputs.
        states: Its state variables, by dotted name.
        status: ``LocalStatus`` of each step, the first that is not 0 of its sub-steps.
    """

    inputs: dict[str, jax.Array]
    outputs: dict[str, jax.Array]
    states: dict[str, jax.Array]
    status: jax.Array


def recorded_steps(result: DriveResult, specimen: int | None = None) -> RecordedSteps:
    """The steps of one specimen, or of all of them with one more axis in front.

    Args:
        result: From ``drive``.
        specimen: Its number; None: all, which must have taken the same number of sub-steps (of
            a result without an axis of specimens: the one that there is).

    Returns:
        Steps for ``path_response``; with ``jax.vmap`` for all specimens.

    Raises:
        MaterialError: A specimen failed, or the numbers of sub-steps differ.
    """
    if specimen is None and not result.single:
        each = [recorded_steps(result, number) for number in range(result.specimens)]
        if any(not np.array_equal(steps.ends, each[0].ends) for steps in each):
            raise MaterialError(
                "recorded_steps: the specimens took different sub-steps; ask for one at a time"
            )
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    number = 0 if specimen is None else specimen
    if not result.converged[number]:
        raise MaterialError(f"recorded_steps: specimen {number} failed")
    inputs: list[dict[str, Any]] = []
    ends = []
    for pieces in result.taken:
        for rows, given in pieces:
            at = np.flatnonzero(rows == number)
            inputs += [{name: value[k] for name, value in given.items()} for k in at]
        ends.append(len(inputs) - 1)
    return RecordedSteps(
        {name: jnp.asarray(np.stack([i[name] for i in inputs])) for name in inputs[0]},
        {name: jnp.asarray(value[number]) for name, value in result.start_state.items()},
        jnp.asarray(ends),
    )


def path_response(
    law: Material, steps: RecordedSteps, tangent: Strategy | None = None
) -> PathResponse:
    """Take a law along recorded steps of one specimen.

    It can be jitted, mapped over specimens or laws, and differentiated in the law's parameters,
    forward and reverse, by the implicit function theorem at each step. The sequence of steps and
    the targets are constants, also a target that was reached before (``hold``) and the strain of
    an initial stress.

    Args:
        law: A law of the structure of the one that was driven.
        steps: From ``recorded_steps``.
        tangent: Way to differentiate the local solves; None leaves it to the law.

    Returns:
        Inputs, outputs, states and status.
    """
    controlled = Controlled(law)
    initial = as_numbers(controlled.initial_state())
    leaves = {**named_leaves(initial), **steps.state}
    start = jax.tree.unflatten(
        jax.tree.structure(initial), [leaves[n] for n in named_leaves(initial)]
    )

    def step(state: Any, inputs: dict[str, jax.Array]) -> tuple:
        outputs, new, status = controlled.integrate(inputs, state, jnp.zeros(()), tangent)
        law_state, y = controlled._part(new)
        return new, (controlled.to_law(inputs, y), outputs, law_state, status.code)

    found: Any = jax.lax.scan(step, start, steps.inputs)[1]
    inputs, outputs, states, code = found
    at_ends = lambda values: jax.tree.map(lambda v: v[steps.ends], values)  # noqa: E731
    failed = jnp.cumsum(code != 0) > 0
    first = code[jnp.argmax(code != 0)]
    return PathResponse(
        at_ends(inputs),
        at_ends(outputs),
        named_leaves(at_ends(states)),
        jnp.where(failed, first, 0)[steps.ends],
    )


def path_sensitivities(
    law: Material,
    steps: RecordedSteps,
    parameters: str | Sequence[str] | None = None,
    tangent: Strategy | None = None,
) -> dict[str, PathResponse]:
    """Derivatives of all that ``path_response`` returns with respect to parameters.

    In forward mode, for all parameters at once, by the implicit function theorem at each step;
    compiled once for a structure of law and path. For the gradient of one number with respect to
    many parameters, take ``jax.grad`` of a function of ``path_response`` instead.

    Args:
        law: A law of the structure of the one that was driven.
        steps: From ``recorded_steps``, of one specimen.
        parameters: Dotted names, e.g. ``["E", "hardening.sigma_y"]``; None: all.
        tangent: As in ``path_response``.

    Returns:
        By parameter: derivatives (steps, *shape, *parameter shape), units of the quantity over
        units of the parameter. Those of an input that is imposed are zero.

    Raises:
        MaterialError: The law has no such parameter.
        ConvergenceError: The law fails on these steps.
    """
    known = named_leaves(eqx.filter(law, eqx.is_array))
    names = [parameters] if isinstance(parameters, str) else list(parameters or known)
    label = type(law).__name__
    for name in names:
        if name not in known:
            raise MaterialError(unknown(f"path_sensitivities: parameters of {label}", name, known))
    values = {name: known[name] for name in names}
    derivatives, status = _sensitivities(law, values, steps, tangent)
    failed = np.flatnonzero(np.asarray(status))
    if failed.size:
        step, code = int(failed[0]), LocalStatus(int(status[failed[0]]))
        raise ConvergenceError(
            f"path_sensitivities: {label} fails at step {step + 1} of {len(status)}: {code.name}: "
            f"{code.message}. Drive this law to find steps that it can take",
            {"step": step + 1, "code": int(code)},
        )
    return {name: PathResponse(i, o, s, status) for name, (i, o, s) in derivatives.items()}


@eqx.filter_jit
def _sensitivities(law: Material, values: dict, steps: RecordedSteps, tangent: Any) -> tuple:
    """({parameter: derivatives of inputs, outputs and states}, status)."""

    def response(values: dict) -> tuple:
        found = path_response(replace_parameters(law, values), steps, tangent)
        return found[:3], found.status

    slopes, status = jax.jacfwd(response, has_aux=True)(values)
    quantities = jax.eval_shape(response, values)[0]
    tree, names = jax.tree.structure(quantities), jax.tree.structure(values)
    return jax.tree.transpose(tree, names, slopes), status
