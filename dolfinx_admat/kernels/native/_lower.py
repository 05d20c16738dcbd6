"""What each JAX primitive means for arrays of expressions.

An array of a law becomes a NumPy array of ``dtype=object`` that holds numbers and nodes, so
whatever is known at compile time (seeds of AD, zeros, identity matrices) folds away component by
component. Integers are carried as real numbers: exact up to 2^53.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ._graph import FUNCTIONS, Graph, known
from ._program import Operation, Unsupported

Array = Any  # a NumPy array of objects
Rule = Callable[[Graph, Operation, list[Array]], Any]
RULES: dict[str, Rule] = {}


def constant(value: Any) -> Array:
    """A constant as an array of Python numbers."""
    value = np.asarray(value)
    if value.dtype.kind not in "biuf":
        raise Unsupported(f"a constant of type {value.dtype}")
    kind: Callable[[Any], Any] = bool if value.dtype == bool else float
    result = np.empty(value.shape, object)
    for index in np.ndindex(value.shape):
        result[index] = kind(value[index])
    return result


def each(function: Callable[..., Any], *arrays: Array) -> Array:
    """Apply to each component of arrays of one shape (or of shape ())."""
    arrays = np.broadcast_arrays(*arrays) if len(arrays) > 1 else arrays  # type: ignore[assignment]
    result = np.empty(arrays[0].shape, object)
    for index in np.ndindex(result.shape):
        result[index] = function(*(a[index] for a in arrays))
    return result


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of some primitives."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def apply(graph: Graph, operation: Operation, inputs: list[Array]) -> list[Array]:
    """The outputs of an operation.

    Raises:
        Unsupported: No rule for it, or not for this use of it.
    """
    found = RULES.get(operation.name)
    if found is None:
        raise Unsupported(f"the JAX operation '{operation.name}'")
    for aval in operation.avals:
        if str(aval.dtype) not in ("float64", "bool", "int32", "int64", "uint32", "uint64"):
            raise Unsupported(f"numbers of type {aval.dtype} in '{operation.name}'")
    result = found(graph, operation, inputs)
    return list(result) if isinstance(result, list) else [as_array(result)]


def as_array(value: Any) -> Array:
    """The array itself, or a single value as an array of shape ()."""
    if isinstance(value, np.ndarray):
        return value
    result = np.empty((), object)
    result[()] = value
    return result


def is_real(operation: Operation) -> bool:
    return str(operation.avals[0].dtype) in ("float64", "int32", "int64")


# -- component by component ----------------------------------------------------------------


_PER_LN2 = 1.4426950408889634


def _horner(graph: Graph, x: Any, coefficients: tuple[Any, ...]) -> Any:
    total: Any = 0.0
    for c in reversed(coefficients):
        total = graph.add(graph.mul(total, x), c)
    return total


def _elementwise(name: str, method: Callable[..., Any]) -> None:
    def lowered(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
        return each(lambda *values: method(graph, *values), *inputs)

    RULES[name] = lowered


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": Graph.add, "add_any": Graph.add, "sub": Graph.sub, "mul": Graph.mul, "neg": Graph.neg,
    "pow": Graph.pow, "is_finite": Graph.finite,
    "square": lambda g, a: g.mul(a, a),
    "one_minus_square": lambda g, a: g.mul(g.add(1.0, a), g.sub(1.0, a)),
    "log2": lambda g, a: g.mul(g.function("log", a), _PER_LN2),
    "polynomial": lambda g, x, *c: _horner(g, x, c),
    "rsqrt": lambda g, a: g.div(1.0, g.function("sqrt", a)),
    "logistic": lambda g, a: g.div(1.0, g.add(1.0, g.function("exp", g.neg(a)))),
    "max": lambda g, a, b: g.binary("max", a, b) if not _truth(a, b) else g.either(a, b),
    "min": lambda g, a, b: g.binary("min", a, b) if not _truth(a, b) else g.both(a, b),
    "atan2": lambda g, a, b: g.binary("atan2", a, b),
    "clamp": lambda g, low, a, high: g.binary("min", g.binary("max", a, low), high),
    "copy": lambda g, a: a, "name": lambda g, a: a, "stop_gradient": lambda g, a: a,
    "admat_elastic_test": lambda g, a: a,
}  # fmt: skip

for _name, _method in _ELEMENTWISE.items():
    _elementwise(_name, _method)

for _name in FUNCTIONS:
    _elementwise(_name, lambda g, a, _name=_name: g.function(_name, a))

for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _elementwise(_name, lambda g, a, b, _name=_name: g.compare(_name, a, b))


def _beyond(graph: Graph, a: Any, b: Any) -> Any:
    """Whether b is NaN, the largest in the total order of numbers, and a is not."""
    return graph.both(graph.compare("ne", b, b), graph.compare("eq", a, a))


for _name, _method in {
    "lt_to": lambda g, a, b: g.either(g.compare("lt", a, b), _beyond(g, a, b)),
    "le_to": lambda g, a, b: g.either(g.compare("le", a, b), g.compare("ne", b, b)),
}.items():
    _elementwise(_name, _method)


def _truth(*values: Any) -> bool:
    return any(isinstance(v, bool) or getattr(v, "boolean", False) for v in values)


@rule("div")
def _div(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    if str(operation.avals[0].dtype) == "float64":
        return each(graph.div, *inputs)

    def towards_zero(a: Any, b: Any) -> float:
        if not (known(a) and known(b) and b):
            raise Unsupported("a division of integers that are not constants")
        return float(int(a) // int(b) if (a < 0) == (b < 0) else -(-int(a) // int(b)))

    return each(towards_zero, *inputs)


@rule("round")
def _round(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    if int(operation.params["rounding_method"]) != 1:
        raise Unsupported("rounding of halves away from zero")
    return each(lambda a: graph.function("round", a), inputs[0])


@rule("reduce_precision")
def _reduce_precision(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    if (operation.params["exponent_bits"], operation.params["mantissa_bits"]) != (11, 52):
        raise Unsupported("numbers of reduced precision")
    return inputs[0]


@rule("rem")
def _rem(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return each(lambda a, b: graph.binary("rem", a, b), *inputs)


@rule("and", "or", "not", "xor")
def _logic(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    if str(operation.avals[0].dtype) != "bool":
        raise Unsupported(f"'{operation.name}' of integers")
    if operation.name == "not":
        return each(graph.negation, *inputs)
    if operation.name == "xor":
        return each(lambda a, b: graph.compare("ne", a, b), *inputs)
    return each(graph.both if operation.name == "and" else graph.either, *inputs)


@rule("integer_pow")
def _integer_pow(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return each(lambda a: graph.power(a, operation.params["y"]), *inputs)


@rule("select_n")
def _select_n(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    which, *cases = inputs
    if len(cases) == 2 and all(_truth(w) for w in which.ravel()):
        return each(lambda c, no, yes: graph.select(c, yes, no), which, *cases)

    def choose(index: Any, *values: Any) -> Any:
        if known(index):
            return values[int(index)]
        result = values[0]
        for k, value in enumerate(values[1:], 1):
            result = graph.select(graph.compare("ge", index, float(k)), value, result)
        return result

    return each(choose, which, *cases)


@rule("convert_element_type")
def _convert(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    target = operation.avals[0].dtype.kind

    def convert(a: Any) -> Any:
        if _truth(a):
            return a if target == "b" else graph.select(a, 1.0, 0.0)
        if target == "b":
            return graph.compare("ne", a, 0.0)
        if target in "iu":  # towards zero
            down, up = graph.function("floor", a), graph.function("ceil", a)
            return graph.select(graph.compare("ge", a, 0.0), down, up)
        return a

    return each(convert, inputs[0])


@rule("optimization_barrier")
def _barrier(graph: Graph, operation: Operation, inputs: list[Array]) -> list[Array]:
    return inputs


# -- sums and products -----------------------------------------------------------------------


def _reduced(combine: Callable[[Any, Any], Any], array: Array, axes: Iterable[int]) -> Array:
    axes = tuple(axes)
    kept = [k for k in range(array.ndim) if k not in axes]
    along = int(np.prod([array.shape[k] for k in axes]))
    rows = np.transpose(array, (*kept, *axes)).reshape([*(array.shape[k] for k in kept), along])
    result = np.empty(rows.shape[:-1], object)
    for index in np.ndindex(result.shape):
        values = list(rows[index])
        while len(values) > 1:  # in pairs: a short chain of dependent operations
            pairs = [combine(*pair) for pair in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(values) - len(values) % 2 :]
        result[index] = values[0]
    return result


@rule("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or")
def _reduce(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    empty = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf, "and": True, "or": False}
    kind = operation.name.removeprefix("reduce_")
    axes = operation.params["axes"]
    if any(inputs[0].shape[a] == 0 for a in axes):
        return constant(np.full(operation.avals[0].shape, empty[kind]))
    combine = {
        "sum": graph.add,
        "prod": graph.mul,
        "max": lambda a, b: graph.binary("max", a, b),
        "min": lambda a, b: graph.binary("min", a, b),
        "and": graph.both,
        "or": graph.either,
    }
    if operation.avals[0].dtype == bool:
        combine |= {"max": graph.either, "min": graph.both}
    return _reduced(combine[kind], inputs[0], axes)


@rule("cumsum", "cumprod", "cummax", "cummin")
def _cumulative(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    combine: dict[str, Callable[[Any, Any], Any]] = {
        "cumsum": graph.add,
        "cumprod": graph.mul,
        "cummax": lambda a, b: graph.binary("max", a, b),
        "cummin": lambda a, b: graph.binary("min", a, b),
    }
    rows = np.moveaxis(inputs[0], operation.params["axis"], 0).copy()
    if operation.params["reverse"]:
        rows = rows[::-1]
    for k in range(1, len(rows)):
        rows[k : k + 1] = each(combine[operation.name], rows[k - 1 : k], rows[k : k + 1])
    if operation.params["reverse"]:
        rows = rows[::-1]
    return np.moveaxis(rows, 0, operation.params["axis"])
