"""The linear operators around a material's tangent, read from UFL component by component.

The Jacobian of a form through a material's outputs is the integral of L(v) : T : R(du), where T is
the tangent d(output)/d(input), R(du) the variation of the inputs, and L(v) the derivative of the
form with respect to the outputs. L and R are linear in (components of) the basis functions and
their gradients. Here they become tables of coefficients, with the structural zeros left out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import ufl
from ufl.algorithms import expand_derivatives, expand_indices

#: A direction of an unknown: (component, derivative); derivative ``gdim`` stands for the value.
Direction = tuple[int, int]
#: A coefficient: a number, or a UFL scalar that varies from point to point.
Coefficient = Any
#: Coefficients of a linear expression by the components of its arguments.
Linear = dict[tuple[tuple[int, Direction], ...], Coefficient]


class NotLinear(ValueError):
    """An expression is not a combination of values and gradients of its arguments."""


@dataclasses.dataclass(frozen=True)
class Operators:
    """L and R of one material in one form.

    Attributes:
        left: By direction of the test function: coefficient by (output, component).
        right: By direction of the unknown: coefficient by (input, component).
        blocks: The tangents that take part, as (output, input).
    """

    left: dict[Direction, dict[tuple[str, int], Coefficient]]
    right: dict[Direction, dict[tuple[str, int], Coefficient]]
    blocks: tuple[tuple[str, str], ...]

    def variables(self) -> list[Any]:
        """The distinct coefficients that are no numbers."""
        found: dict[Any, None] = {}
        for side in (self.left, self.right):
            for row in side.values():
                found |= {c: None for c in row.values() if not isinstance(c, float)}
        return list(found)


def operators(
    integrands: list[Any],
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any],
    u: Any,
    v: Any,
) -> Operators:
    """Find L and R.

    Args:
        integrands: UFL scalars, linear in ``v``; their sum is integrated over the material.
        outputs: Coefficient (a vector) of each output.
        inputs: UFL vector of each input, an expression of ``u``.
        u: The unknown.
        v: Test function on the same space.

    Raises:
        NotLinear: Something else than values and first gradients of ``u`` and ``v`` occurs.
    """
    du = ufl.TrialFunction(u.ufl_function_space())
    gdim = v.ufl_function_space().mesh.geometry.dim
    left: dict[Direction, dict[tuple[str, int], Coefficient]] = {}
    right: dict[Direction, dict[tuple[str, int], Coefficient]] = {}
    for name, function in outputs.items():
        w = ufl.TrialFunction(function.ufl_function_space())
        walk = _Walk({v: gdim, w: gdim})
        for integrand in integrands:
            change = expand_derivatives(ufl.derivative(integrand, function, w))
            for key, coefficient in walk(expand_indices(change)).items():
                slots = dict(key)
                row = left.setdefault(slots[v.number()], {})
                component, derivative = slots[w.number()]
                if derivative != gdim:
                    raise NotLinear("the gradient of an output")
                _add(row, (name, component), coefficient)
    for name, vector in inputs.items():
        walk = _Walk({du: gdim})
        change = expand_derivatives(ufl.derivative(vector, u, du))
        if isinstance(change, ufl.constantvalue.Zero):
            continue
        for component in range(vector.ufl_shape[0]):
            for key, coefficient in walk(expand_indices(change[component])).items():
                row = right.setdefault(dict(key)[du.number()], {})
                _add(row, (name, component), coefficient)
    used_outputs = dict.fromkeys(name for row in left.values() for name, _ in row)
    used_inputs = dict.fromkeys(name for row in right.values() for name, _ in row)
    blocks = tuple((o, i) for o in used_outputs for i in used_inputs)
    return Operators(left, right, blocks)


def _add(row: dict, key: Any, coefficient: Coefficient) -> None:
    row[key] = row[key] + coefficient if key in row else coefficient


class _Walk:
    """Collects the coefficients of a scalar expression that is linear in its arguments.

    The expression has its indices expanded: arguments occur as ``v[i]`` or ``grad(v)[i, j]``.
    """

    def __init__(self, arguments: Mapping[Any, int]) -> None:
        self._arguments = arguments
        self._known: dict[Any, Linear] = {}

    def __call__(self, expression: Any) -> Linear:
        if expression not in self._known:
            self._known[expression] = self._split(expression)
        return self._known[expression]

    def _split(self, e: Any) -> Linear:
        if isinstance(e, ufl.constantvalue.Zero):
            return {}
        if not any(a in self._arguments for a in ufl.algorithms.extract_arguments(e)):
            value = float(e) if isinstance(e, ufl.constantvalue.ScalarValue) else e
            return {(): value}
        parts = e.ufl_operands
        if isinstance(e, ufl.classes.Sum):
            return _sum(self(parts[0]), self(parts[1]))
        if isinstance(e, ufl.classes.Product):
            return _product(self(parts[0]), self(parts[1]))
        if isinstance(e, ufl.classes.Division):
            return {key: c / _only(self(parts[1])) for key, c in self(parts[0]).items()}
        if isinstance(e, ufl.classes.Conj | ufl.classes.Real | ufl.classes.Variable):
            return self(parts[0])
        if isinstance(e, ufl.classes.Conditional):
            yes, no = self(parts[1]), self(parts[2])
            zero = ufl.as_ufl(0.0)
            return {
                key: ufl.conditional(parts[0], yes.get(key, zero), no.get(key, zero))
                for key in {**yes, **no}
            }
        return self._leaf(e)

    def _leaf(self, e: Any) -> Linear:
        """``v[i]``, ``grad(v)[i, j]``, or a scalar argument and its gradient."""
        indices: tuple[int, ...] = ()
        if isinstance(e, ufl.classes.Indexed):
            e, index = e.ufl_operands
            indices = tuple(int(i) for i in index)
        derived = isinstance(e, ufl.classes.Grad)
        argument = e.ufl_operands[0] if derived else e
        if argument not in self._arguments or argument.ufl_shape not in ((), (_size(argument),)):
            raise NotLinear(f"'{type(e).__name__}' of a trial or test function")
        derivative = indices[-1] if derived else self._arguments[argument]
        component = indices[0] if argument.ufl_shape else 0
        return {((argument.number(), (component, derivative)),): 1.0}


def _size(argument: Any) -> int:
    return int(np.prod(argument.ufl_shape, dtype=int))


def _sum(a: Linear, b: Linear) -> Linear:
    total = dict(a)
    for key, coefficient in b.items():
        total[key] = total[key] + coefficient if key in total else coefficient
    return {key: c for key, c in total.items() if not (isinstance(c, float) and c == 0.0)}


def _product(a: Linear, b: Linear) -> Linear:
    # An argument stands in one factor only, or the product would not be linear in it.
    return {
        tuple(sorted((*left, *right))): c * d for left, c in a.items() for right, d in b.items()
    }


def _only(linear: Linear) -> Coefficient:
    if set(linear) - {()}:
        raise NotLinear("a division by a trial or test function")
    return linear.get((), 0.0)
