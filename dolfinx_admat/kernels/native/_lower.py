"""What each JAX primitive means for arrays of expressions.

An array of a law becomes a NumPy array of ``dtype=object`` that holds numbers and nodes, so
whatever is known at compile time (seeds of AD, zeros, identity matrices) folds away component by
component. Integers are carried as real numbers: exact up to 2^53.
"""

import itertools
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
    return list(result) if isinstance(result, list) else [_array(result)]


def _array(value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    result = np.empty((), object)
    result[()] = value
    return result


def _real(operation: Operation) -> bool:
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


@rule("dot_general")
def _dot_general(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    (left, right), (left_batch, right_batch) = operation.params["dimension_numbers"]
    a, b = inputs

    def ordered(array: Array, batch: Any, contract: Any) -> tuple[Array, list[int]]:
        free = [k for k in range(array.ndim) if k not in (*batch, *contract)]
        array = np.transpose(array, (*batch, *free, *contract))
        shape = array.shape
        nb, nf = len(batch), len(free)
        size = [int(np.prod(s)) for s in (shape[:nb], shape[nb : nb + nf], shape[nb + nf :])]
        return array.reshape(size), list(shape[nb : nb + nf])

    batch_shape = [a.shape[k] for k in left_batch]
    a, a_free = ordered(a, left_batch, left)
    b, b_free = ordered(b, right_batch, right)
    result = np.empty((a.shape[0], a.shape[1], b.shape[1]), object)
    for k, i, j in np.ndindex(result.shape):
        total: Any = 0.0
        for x, y in zip(a[k, i], b[k, j], strict=True):
            total = graph.add(total, graph.mul(x, y))
        result[k, i, j] = total
    return result.reshape([*batch_shape, *a_free, *b_free])


# -- moving components around ------------------------------------------------------------------


@rule("broadcast_in_dim")
def _broadcast(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    shape = [1] * len(operation.params["shape"])
    for k, axis in enumerate(operation.params["broadcast_dimensions"]):
        shape[int(axis)] = inputs[0].shape[k]
    return np.broadcast_to(inputs[0].reshape(shape), operation.params["shape"])


@rule("reshape", "squeeze", "expand_dims")
def _reshape(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.reshape(inputs[0], operation.avals[0].shape)


@rule("transpose")
def _transpose(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.transpose(inputs[0], operation.params["permutation"])


@rule("tile")
def _tile(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.tile(inputs[0], operation.params["reps"])


@rule("stack")
def _stack(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.stack(inputs, axis=operation.params["axis"])


@rule("unstack")
def _unstack(graph: Graph, operation: Operation, inputs: list[Array]) -> list[Array]:
    return [_array(part) for part in np.moveaxis(inputs[0], operation.params["axis"], 0)]


@rule("concatenate")
def _concatenate(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.concatenate(inputs, axis=operation.params["dimension"])


@rule("split")
def _split(graph: Graph, operation: Operation, inputs: list[Array]) -> list[Array]:
    ends = np.cumsum([int(size) for size in operation.params["sizes"]])[:-1]
    return list(np.split(inputs[0], ends, axis=operation.params["axis"]))


@rule("slice")
def _slice(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    p = operation.params
    strides = p["strides"] or [1] * inputs[0].ndim
    bounds = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
    return inputs[0][tuple(slice(a, b, s) for a, b, s in bounds)]


@rule("rev")
def _rev(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    return np.flip(inputs[0], operation.params["dimensions"])


@rule("iota")
def _iota(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    shape, axis = operation.params["shape"], operation.params["dimension"]
    along = np.arange(shape[axis]).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return constant(np.broadcast_to(along, shape))


@rule("pad")
def _pad(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    array, value = inputs
    result = np.empty(operation.avals[0].shape, object)
    result[...] = value.item()
    for index in np.ndindex(array.shape):
        config = operation.params["padding_config"]
        place = [low + k * (inner + 1) for k, (low, _, inner) in zip(index, config, strict=True)]
        if all(0 <= k < n for k, n in zip(place, result.shape, strict=True)):
            result[tuple(place)] = array[index]
    return result


#: Items among which one is chosen at run time, by as many selections.
_CHOICES = 64


def _indices(values: Iterable[Any], what: str) -> list[int]:
    values = list(values)
    if not all(known(v) for v in values):
        raise Unsupported(f"{what} at a place that depends on values")
    return [int(v) for v in values]


@rule("dynamic_slice")
def _dynamic_slice(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    array = inputs[0]
    for axis, size in enumerate(operation.params["slice_sizes"]):
        rows, start = np.moveaxis(array, axis, 0), inputs[1 + axis].item()
        last = len(rows) - size
        array = np.moveaxis(
            _read(graph, [rows[k : k + size] for k in range(last + 1)], start), 0, axis
        )
    return array


def _read(graph: Graph, items: list[Array], place: Any) -> Array:
    """The item at a place that may be known at run time only; the nearest one outside."""
    if known(place):
        return items[min(max(int(place), 0), len(items) - 1)]
    if len(items) > _CHOICES:
        raise Unsupported(f"reading one of {len(items)} items at a place that depends on values")
    result = items[0]
    for k, item in enumerate(items[1:], 1):
        here = graph.compare("ge", place, float(k))
        result = each(lambda new, old, here=here: graph.select(here, new, old), item, result)
    return result


@rule("dynamic_update_slice")
def _dynamic_update_slice(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    array, update = inputs[0].copy(), inputs[1]
    starts = _indices((s.item() for s in inputs[2:]), "an update")
    starts = [
        min(max(s, 0), n - size)
        for s, n, size in zip(starts, array.shape, update.shape, strict=True)
    ]
    place = tuple(slice(s, s + n) for s, n in zip(starts, update.shape, strict=True))
    array[place] = update
    return array


@rule("gather")
def _gather(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    array, indices = inputs
    p, d = operation.params, operation.params["dimension_numbers"]
    sizes, mode = p["slice_sizes"], str(p["mode"])
    shape = operation.avals[0].shape
    batch_axes = [k for k in range(len(shape)) if k not in d.offset_dims]
    collapsed = (*d.collapsed_slice_dims, *d.operand_batching_dims)
    window = [k for k in range(array.ndim) if k not in collapsed]
    result = np.empty(shape, object)
    for place in np.ndindex(*shape):
        batch = tuple(place[k] for k in batch_axes)
        offsets = [0] * array.ndim
        for axis, offset in zip(window, d.offset_dims, strict=True):
            offsets[axis] = place[offset]
        for axis, index_axis in zip(
            d.operand_batching_dims, d.start_indices_batching_dims, strict=True
        ):
            offsets[axis] = batch[index_axis]
        source, outside = array, False
        for axis in reversed(range(array.ndim)):
            rows = np.moveaxis(source, axis, 0)[offsets[axis] :]
            if axis not in d.start_index_map:
                source = _array(rows[0])
                continue
            first = indices[batch][d.start_index_map.index(axis)]
            last = array.shape[axis] - sizes[axis]
            beyond = [graph.compare("lt", first, 0.0), graph.compare("gt", first, float(last))]
            outside = graph.either(outside, graph.either(*beyond))
            source = _read(graph, [_array(row) for row in rows[: last + 1]], first)
        value = source.item()
        if outside is not False and "FILL" in mode.upper():
            if p["fill_value"] is None and not _real(operation):
                raise Unsupported("reading an array of truth values out of bounds")
            fill = float("nan") if p["fill_value"] is None else float(p["fill_value"])
            value = graph.select(outside, fill, value)
        result[place] = value
    return result


@rule("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
def _scatter(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    array, indices, updates = inputs
    array = array.copy()
    d, mode = operation.params["dimension_numbers"], str(operation.params["mode"])
    scattered = [k for k in range(updates.ndim) if k not in d.update_window_dims]
    collapsed = (*d.inserted_window_dims, *d.operand_batching_dims)
    window = [k for k in range(array.ndim) if k not in collapsed]
    clip, size = "CLIP" in mode.upper(), [1] * array.ndim
    for axis, k in zip(window, d.update_window_dims, strict=True):
        size[axis] = updates.shape[k]
    combine: Callable[[Any, Any], Any] = {
        "scatter": lambda old, new: new,
        "scatter-add": graph.add,
        "scatter-sub": graph.sub,
        "scatter-mul": graph.mul,
        "scatter-min": lambda old, new: graph.binary("min", old, new),
        "scatter-max": lambda old, new: graph.binary("max", old, new),
    }[operation.name]
    if operation.name == "scatter" and operation.params["update_jaxpr"] is not None:
        raise Unsupported("x.at[...].apply(...)")
    for place in np.ndindex(updates.shape):
        batch = tuple(place[k] for k in scattered)
        start = _indices(indices[batch], "writing to an array")
        target, offset = [0] * array.ndim, [0] * array.ndim
        for axis, k in zip(window, d.update_window_dims, strict=True):
            offset[axis] = place[k]
        for axis, first in zip(d.scatter_dims_to_operand_dims, start, strict=True):
            target[axis] = min(max(first, 0), array.shape[axis] - size[axis]) if clip else first
        for axis, k in zip(d.operand_batching_dims, d.scatter_indices_batching_dims, strict=True):
            target[axis] = batch[k]
        spot = tuple(t + o for t, o in zip(target, offset, strict=True))
        if all(0 <= k < n for k, n in zip(spot, array.shape, strict=True)):
            array[spot] = combine(array[spot], updates[place])
    return array


@rule("sort")
def _sort(graph: Graph, operation: Operation, inputs: list[Array]) -> list[Array]:
    if operation.params["num_keys"] != 1:
        raise Unsupported("sorting by several keys")
    axis = operation.params["dimension"]
    rows = [np.moveaxis(a, axis, -1).copy() for a in inputs]
    n = rows[0].shape[-1]
    for index in np.ndindex(rows[0].shape[:-1]):
        # A bubble sort: stable, and every exchange is a selection.
        for end, k in itertools.product(range(n - 1, 0, -1), range(n - 1)):
            if k >= end:
                continue
            here, there = (*index, k), (*index, k + 1)
            swap = graph.compare("gt", rows[0][here], rows[0][there])
            for row in rows:
                a, b = row[here], row[there]
                row[here], row[there] = graph.select(swap, b, a), graph.select(swap, a, b)
    return [np.moveaxis(row, -1, axis) for row in rows]


@rule("argmax", "argmin")
def _argument(graph: Graph, operation: Operation, inputs: list[Array]) -> Array:
    (axis,) = operation.params["axes"]
    rows = np.moveaxis(inputs[0], axis, -1)
    better = "gt" if operation.name == "argmax" else "lt"
    result = np.empty(rows.shape[:-1], object)
    for index in np.ndindex(result.shape):
        best, place = rows[index][0], 0.0
        for k, value in enumerate(list(rows[index])[1:], 1):
            test = graph.compare(better, value, best)
            best = graph.select(test, value, best)
            place = graph.select(test, float(k), place)
        result[index] = place
    return result
