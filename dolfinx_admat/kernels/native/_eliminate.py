"""Small dense systems: elimination written out, structural zeros skipped, checked at run time.

The order of the pivots is fixed when the code is made: by samples of the matrix where it has them,
and for the least fill-in (Markowitz, 1957, with a threshold). It is only a guess; so every result
is verified, and lanes where it fails are solved again with pivoting.
"""

from typing import Any, NamedTuple

import numpy as np

from ._graph import REAL, Graph, Node, Region, Statement, identity, known
from ._sample import matrix_samples, solution_samples

#: Operations of a written-out elimination above which loops are used instead.
UNROLLED = 2600
#: A pivot must reach this part of the largest candidate of its column.
THRESHOLD = 0.1


def _zero(value: Any) -> bool:
    return known(value) and value == 0


def shape_key(matrix: Any) -> tuple:
    """Equal for matrices of the same expressions."""
    return tuple(identity(a) for a in matrix.ravel())


def pivot_order(matrix: Any, samples: Any = None) -> tuple[list[tuple[int, int]], int]:
    """Pivots (row, column) in order, and the operations of the elimination.

    Args:
        matrix: (n, n) array of values; known zeros count.
        samples: (n, n, s) numbers the matrix may have, or None.
    """
    n = len(matrix)
    filled = np.array([[not _zero(a) for a in row] for row in matrix])
    numbers = None
    if samples is not None:
        size = np.abs(samples).max(axis=1, keepdims=True)
        numbers = samples / np.where(size > 0, size, 1.0)
    rows, columns = list(range(n)), list(range(n))
    order: list[tuple[int, int]] = []
    count = 0
    for _ in range(n):
        in_row = {i: sum(filled[i, j] for j in columns) for i in rows}
        in_column = {j: sum(filled[i, j] for i in rows) for j in columns}
        best: tuple[Any, ...] | None = None
        for i in rows:
            for j in columns:
                if not filled[i, j]:
                    continue
                strength = 1.0
                if numbers is not None:
                    largest = np.abs(numbers[rows, j]).max(axis=0)
                    with np.errstate(all="ignore"):
                        ratio = np.where(largest > 0, np.abs(numbers[i, j]) / largest, 0.0)
                    strength = float(np.min(ratio))
                unit = known(matrix[i, j]) or (isinstance(matrix[i, j], Node) and i == j)
                weak = strength < THRESHOLD
                cost = (in_row[i] - 1) * (in_column[j] - 1)
                rank = (weak, -strength if weak else cost, not unit, -strength, i, j)
                if best is None or rank < best:
                    best = rank
        if best is None:  # structurally singular: any order will do
            order += list(zip(rows, columns, strict=True))
            break
        i, j = best[-2:]
        order.append((i, j))
        rows.remove(i)
        columns.remove(j)
        for r in rows:
            if filled[r, j]:
                count += 1
                if numbers is not None:
                    with np.errstate(all="ignore"):
                        factor = numbers[r, j] / numbers[i, j]
                    factor = np.where(np.isfinite(factor), factor, 0.0)
                    numbers[r, columns] -= factor * numbers[i, columns]
                for c in columns:
                    if filled[i, c]:
                        filled[r, c] = True
                        count += 1
    return order, count


class Factor:
    """L U of a matrix in a given order of pivots, as expressions of the current region."""

    def __init__(self, graph: Graph, matrix: Any, order: list[tuple[int, int]]) -> None:
        self.order = order
        n = len(matrix)
        rows, columns = [i for i, _ in order], [j for _, j in order]
        lu = matrix[np.ix_(rows, columns)].copy()
        self.inverse = [None] * n
        for k in range(n):
            self.inverse[k] = graph.div(1.0, lu[k, k])
            for i in range(k + 1, n):
                if _zero(lu[i, k]):
                    continue
                lu[i, k] = graph.mul(lu[i, k], self.inverse[k])
                for j in range(k + 1, n):
                    if not _zero(lu[k, j]):
                        lu[i, j] = graph.sub(lu[i, j], graph.mul(lu[i, k], lu[k, j]))
        self.lu = lu

    def solve(self, graph: Graph, rhs: list[Any], *, transposed: bool = False) -> list[Any]:
        """Solve for one right-hand side."""
        n, lu = len(rhs), self.lu
        before = [j if transposed else i for i, j in self.order]
        after = [i if transposed else j for i, j in self.order]
        y = [rhs[k] for k in before]
        if transposed:
            for i in range(n):
                for j in range(i):
                    y[i] = graph.sub(y[i], graph.mul(lu[j, i], y[j]))
                y[i] = graph.mul(y[i], self.inverse[i])
            for i in reversed(range(n)):
                for j in range(i + 1, n):
                    y[i] = graph.sub(y[i], graph.mul(lu[j, i], y[j]))
        else:
            for i in range(n):
                for j in range(i):
                    y[i] = graph.sub(y[i], graph.mul(lu[i, j], y[j]))
            for i in reversed(range(n)):
                for j in range(i + 1, n):
                    y[i] = graph.sub(y[i], graph.mul(lu[i, j], y[j]))
                y[i] = graph.mul(y[i], self.inverse[i])
        x: list[Any] = [None] * n
        for k, value in zip(after, y, strict=True):
            x[k] = value
        return x


class _Planned(NamedTuple):
    """A factorisation that nobody needed so far, in the region where it would stand."""

    region: Region
    matrix: Any
    order: list[tuple[int, int]]


def plan(graph: Graph, matrix: Any, order: list[tuple[int, int]]) -> None:
    """Fix the pivots of a matrix; it is factorised here when somebody inside needs it."""
    graph.here.solves[shape_key(matrix)] = _Planned(graph.here, matrix, order)


def find_factor(graph: Graph, matrix: Any, *, here: bool = False) -> tuple[Factor | None, bool]:
    """The factorisation of a matrix or of its transpose, and whether it is the latter.

    Args:
        graph: The graph.
        matrix: (n, n) array of values.
        here: Put a planned factorisation here rather than where it was planned.
    """
    for key, transposed in ((shape_key(matrix), False), (shape_key(matrix.T), True)):
        for region in graph.here.chain():
            found = region.solves.get(key)
            if isinstance(found, _Planned):
                with graph.inside(graph.here if here else found.region) as home:
                    found = Factor(graph, found.matrix, found.order)
                home.solves[key] = found
            if found is not None:
                return found, transposed
    return None, False


def eliminate(order: list[tuple[int, int]], k: int) -> str:
    """The beginning ``ELIMINATE(..., `` of a call that solves by loops, pivots in this order."""
    rows = ", ".join(str(i) for i, _ in order)
    columns = ", ".join(str(j) for _, j in order)
    arguments = f"{len(order)}, {k}, (const int[]){{{rows}}}, (const int[]){{{columns}}}"
    return f"ELIMINATE({arguments}, "


class DenseSolve(Statement):
    """X with A X = B: verified values of an elimination, or (without any) pivoting at once."""

    def __init__(
        self, graph: Graph, matrix: Any, rhs: Any, quick: Any, order: list[tuple[int, int]]
    ) -> None:
        super().__init__([*matrix.ravel(), *rhs.ravel(), *([] if quick is None else quick.ravel())])
        self.matrix, self.rhs, self.quick = matrix, rhs, quick
        self.lanes, self.order = graph.lanes, order
        if isinstance(self.lanes, Node):
            self.reads.append(self.lanes)
        self.result = np.empty(rhs.shape, object)
        for index in np.ndindex(rhs.shape):
            self.result[index] = graph.variable(REAL, owner=self)
        solutions = solution_samples(matrix, rhs, graph.samples)
        if solutions is not None:  # for pivots of what depends on this solution
            graph.samples.update(zip(self.result.ravel(), solutions, strict=True))
        graph.add_statement(self)

    def write(self, writer: Any) -> None:
        """Emit C."""
        n, k = self.rhs.shape
        names = [r.text for r in self.result.ravel()]
        writer.line("v " + ", ".join(names) + ";")
        with writer.braces():
            writer.array("A", self.matrix)
            writer.array("B", self.rhs)
            if self.quick is None:
                writer.line(f"v X[{n * k}]; memcpy(X, B, sizeof B);")
                writer.line(f"{eliminate(self.order, k)}A, X);")
            else:
                writer.array("X", self.quick)
            lanes = writer.mask(self.lanes)
            writer.line(f"const m bad = AND(NOT(SOLVED({n}, {k}, A, X, B)), {lanes});")
            writer.line("if (ANY(bad)) {")
            writer.line(f"PIVOTED({n}, {k}, A, B);")
            writer.line(f"for (int i = 0; i < {n * k}; ++i) X[i] = SEL(bad, B[i], X[i]);")
            writer.line("}")
            for i, name in enumerate(names):
                writer.line(f"{name} = X[{i}];")


def solve_dense(graph: Graph, matrix: Any, rhs: Any) -> Any:
    """Solve A X = B for arrays of values (n, n) and (n, k)."""
    n = len(matrix)
    result = np.empty(rhs.shape, object)
    if n == 1:
        for k in range(rhs.shape[1]):
            result[0, k] = graph.div(rhs[0, k], matrix[0, 0])
        return result
    factor, transposed = find_factor(graph, matrix)
    if factor is None:
        order, count = pivot_order(matrix, matrix_samples(matrix, graph.samples))
        if count > UNROLLED:
            return DenseSolve(graph, matrix, rhs, None, order).result
        factor = Factor(graph, matrix, order)
        graph.here.solves[shape_key(matrix)] = factor
    for k in range(rhs.shape[1]):
        result[:, k] = factor.solve(graph, list(rhs[:, k]), transposed=transposed)
    if all(known(value) for value in (*matrix.ravel(), *result.ravel())):
        return result
    if all(known(matrix[i, j]) and matrix[i, j] == (i == j) for i, j in np.ndindex(n, n)):
        return result
    return DenseSolve(graph, matrix, rhs, result, []).result
