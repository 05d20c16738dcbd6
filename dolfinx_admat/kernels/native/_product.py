"""Products of arrays: written out where most of it folds away, as loops where it does not.

A law with a network has products of dense matrices, of which nothing folds: written out they would
soon be too long to compile.
"""

from typing import Any

import numpy as np

from ._graph import REAL, UNIFORM, Graph, Statement, identity, known
from ._lower import Array, rule
from ._program import Operation, Unsupported

#: Multiplications above which a dense product becomes a loop: of parameters, all different, so
#: that written out nothing would be shared; and of anything.
UNROLLED_WEIGHTS, UNROLLED_PRODUCT = 400, 3000
#: Multiplications in such loops above which XLA's matrix products are faster.
MOST = 30_000


class _UniformArray(Statement):
    """An array of numbers that are the same for all points, filled once per call."""

    def __init__(self, graph: Graph, values: list[Any]) -> None:
        super().__init__(values)
        self.values = values
        self.node = graph.variable(UNIFORM, owner=self)
        graph.prologue.items.append(self)

    def write(self, writer: Any) -> None:
        """Emit C."""
        items = ", ".join(writer.scalar(value) for value in self.values)
        writer.line(f"const double {self.node.text}[] = {{{items}}};")


class _Factor:
    """One factor: lanes in an array, or uniform values, read from the parameters if they can be."""

    def __init__(self, graph: Graph, values: Array, indices: str, name: str) -> None:
        flat = list(values.ravel())
        first, second = indices[0], indices[1]
        self.name, self.place = name, f"{first} * {values.shape[1]} + {second}"
        self.lanes, self.reads = not all(known(v) or v.uniform for v in flat), flat
        if self.lanes:
            return
        step = _parameter_steps(values)
        if step is None:
            array = _UniformArray(graph, flat).node
            self.name, self.reads = array.text, [array]
        else:
            start, down, across = step
            self.name, self.place = "p", f"{start} + {first} * {down} + {second} * {across}"

    def write(self, writer: Any) -> str:
        """Emit what it needs; the C text of an element."""
        if not self.lanes:
            return f"BC({self.name}[{self.place}])"
        writer.line(f"v {self.name}[] = {{{', '.join(writer.real(v) for v in self.reads)}}};")
        return f"{self.name}[{self.place}]"


def _parameter_steps(values: Array) -> tuple[int, int, int] | None:
    """(first, step down, step across) of a matrix of parameters that stand at regular places."""
    places = np.empty(values.shape, int)
    for index in np.ndindex(values.shape):
        text = getattr(values[index], "text", "")
        if not (text.startswith("p[") and text.endswith("]")):
            return None
        places[index] = int(text[2:-1])
    down = places[1, 0] - places[0, 0] if len(places) > 1 else 0
    across = places[0, 1] - places[0, 0] if places.shape[1] > 1 else 0
    rows, columns = np.indices(values.shape)
    if not (places == places[0, 0] + rows * down + columns * across).all():
        return None
    return int(places[0, 0]), int(down), int(across)


class Product(Statement):
    """The product of two matrices of values, (rows, inner) and (inner, columns), by loops."""

    def __init__(self, graph: Graph, left: Array, right: Array) -> None:
        self.shape = (*left.shape, right.shape[1])
        graph.products += left.size * right.shape[1]
        if graph.products > MOST:
            raise Unsupported(f"matrix products of more than {MOST} terms per point")
        self.factors = [_Factor(graph, left, "ik", "A"), _Factor(graph, right, "kj", "B")]
        super().__init__([value for factor in self.factors for value in factor.reads])
        self.name = f"product{graph.count}"
        self.result = np.empty((left.shape[0], right.shape[1]), object)
        for place, index in enumerate(np.ndindex(self.result.shape)):
            self.result[index] = graph.variable(REAL, f"{self.name}[{place}]", self)
        graph.add_statement(self)

    def write(self, writer: Any) -> None:
        """Emit C."""
        rows, inner, columns = self.shape
        writer.line(f"v {self.name}[{rows * columns}];")
        with writer.braces():
            text = [factor.write(writer) for factor in self.factors]
            with writer.braces(f"for (int i = 0; i < {rows}; ++i)"):
                writer.line(f"v c[{columns}];")
                writer.line(f"for (int j = 0; j < {columns}; ++j) c[j] = BC(0.0);")
                writer.line(f"for (int k = 0; k < {inner}; ++k)")
                writer.line(f"for (int j = 0; j < {columns}; ++j) c[j] += {text[0]} * {text[1]};")
                line = f"for (int j = 0; j < {columns}; ++j) {self.name}[i * {columns} + j] = c[j];"
                writer.line(line)


def _worth_a_loop(a: Array, b: Array) -> bool:
    """Whether a product is long, and written out would neither fold nor share much."""
    terms = a.shape[0] * a.shape[1] * b.shape[1]
    uniform = [all(known(v) or v.uniform for v in m.ravel()) for m in (a, b)]
    if terms <= UNROLLED_WEIGHTS or all(uniform):
        return False
    filled = [np.mean([not (known(v) and v == 0) for v in m.ravel()]) for m in (a, b)]
    if filled[0] * filled[1] < 0.9:
        return False
    weights = a if uniform[0] else b
    different = len({identity(v) for v in weights.ravel()}) > weights.size / 2
    return terms > UNROLLED_PRODUCT or (any(uniform) and different)


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
    for batch in range(a.shape[0]):
        if _worth_a_loop(a[batch], b[batch].T):
            result[batch] = Product(graph, a[batch], b[batch].T).result
            continue
        for i, j in np.ndindex(result.shape[1:]):
            total: Any = 0.0
            for x, y in zip(a[batch, i], b[batch, j], strict=True):
                total = graph.add(total, graph.mul(x, y))
            result[batch, i, j] = total
    return result.reshape([*batch_shape, *a_free, *b_free])
