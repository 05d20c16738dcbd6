"""What JAX primitives mean that move components around: slices, gathers, sorts, ..."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ._graph import Graph, known
from ._lower import Array, as_array, constant, each, is_real, rule
from ._program import Operation, Unsupported


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
    return [as_array(part) for part in np.moveaxis(inputs[0], operation.params["axis"], 0)]


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
                source = as_array(rows[0])
                continue
            first = indices[batch][d.start_index_map.index(axis)]
            last = array.shape[axis] - sizes[axis]
            beyond = [graph.compare("lt", first, 0.0), graph.compare("gt", first, float(last))]
            outside = graph.either(outside, graph.either(*beyond))
            source = _read(graph, [as_array(row) for row in rows[: last + 1]], first)
        value = source.item()
        if outside is not False and "FILL" in mode.upper():
            if p["fill_value"] is None and not is_real(operation):
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
