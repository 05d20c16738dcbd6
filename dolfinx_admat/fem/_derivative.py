"""The derivative of a form through the outputs of a material, in UFL."""

from collections.abc import Callable, Mapping
from typing import Any

import ufl


def derivative(
    F: ufl.Form,
    u: Any,
    du: Any,
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any],
    tangent: Callable[[tuple[str, str]], Any],
) -> ufl.Form:
    """The sum over outputs and inputs of dF/d(output) : tangent : d(input)/du[du].

    Args:
        F: The form.
        u: Function to differentiate with respect to.
        du: Direction.
        outputs: Coefficient (a vector) of each output.
        inputs: UFL vector of each input.
        tangent: Coefficient (a matrix) of d(output)/d(input).

    Collective: yes, where ``tangent`` is.
    """
    parts = []
    for output, function in outputs.items():
        direction = None
        for key, vector in inputs.items():
            change = ufl.algorithms.expand_derivatives(ufl.derivative(vector, u, du))
            if isinstance(change, ufl.constantvalue.Zero):
                continue
            term = ufl.dot(tangent((output, key)), change)
            direction = term if direction is None else direction + term
        if direction is not None and function in F.coefficients():
            parts.append(ufl.derivative(F, function, direction))
    return sum(parts[1:], parts[0]) if parts else ufl.Form([])
