"""A program becomes the C source of a batched kernel.

The kernel runs over blocks of a few points. A law's elastic test splits the code: what follows it
is written twice, with the test known to hold and known to fail, so that blocks of elastic points
skip the solve and all that belongs to it.
"""

import dataclasses
from importlib import resources
from typing import Any

import numpy as np

from . import _arrays, _product  # noqa: F401  (they register their rules)
from ._eliminate import pivot_order, shape_key, solve_dense
from ._graph import REAL, UNIFORM, Graph, Node, Region, Statement, known
from ._local import NewtonLoop, jacobian_program
from ._lower import Array, apply, as_array, constant, each
from ._program import Operation, Program, Unsupported
from ._sample import evaluate, jacobian_samples
from ._write import Writer

#: Lines of C above which compiling takes longer (5 s and more) than users want to wait, and
#: operations above which the generator does not even try.
LINES, BUDGET = 24_000, 80_000
#: What every kernel begins with.
HEADERS = ("lanes.h", "rows.h", "dense.h")
#: Lines below which the compiler takes more trouble.
SHORT = 2_500
#: Uses of exp, log, ... above which they are functions that are called.
INLINED = 24
#: Iterations of a scan that are written out.
UNROLLED_SCAN = 64


@dataclasses.dataclass(frozen=True)
class Argument:
    """A leaf of the arguments: its shape, and whether it varies from point to point.

    ``samples`` are plausible values, (s, *shape), by which pivots are chosen.
    """

    shape: tuple[int, ...]
    per_point: bool
    samples: Any = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True)
class Result:
    """A leaf of the results: its shape, and where it goes.

    ``kind`` is "row" (points of the caller's choice), "point", "sum" (over all points), or one of
    the status fields "code", "iterations", "residual", "active".
    """

    shape: tuple[int, ...]
    kind: str


class _Assign(Statement):
    """The results of a block; in lanes where ``keep`` holds they are there already."""

    def __init__(self, values: list[Any], names: list[str], keep: Any) -> None:
        super().__init__([*values, keep])
        self.values, self.names, self.keep = values, names, keep

    def write(self, writer: Writer) -> None:
        """Emit C."""
        for name, value in zip(self.names, self.values, strict=True):
            text = writer.real(value)
            if isinstance(self.keep, Node):
                text = f"SEL({writer.mask(self.keep)}, {name}, {text})"
            writer.line(f"{name} = {text};")


class _Branch(Statement):
    """Code for the lanes where a test holds, and for those where it fails."""

    def __init__(self, graph: Graph, test: Node) -> None:
        super().__init__([test])
        self.test = test
        self.holds, self.fails = Region(graph.here), Region(graph.here)

    def write(self, writer: Writer) -> None:
        """Emit C."""
        test = writer.mask(self.test)
        with writer.braces(f"if (ANY({test}))"):
            writer.region(self.holds)
        with writer.braces(f"if (ANY(NOT({test})))"):
            writer.region(self.fails)


class _Translation:
    def __init__(self, arguments: list[Argument], results: list[Result]) -> None:
        self.graph = Graph()
        self.arguments, self.results = arguments, results
        self.roots: list[Statement] = []
        self.names = [
            [f"o{k}[{i}]" for i in range(int(np.prod(result.shape)))]
            for k, result in enumerate(results)
        ]

    def load(self) -> list[Array]:
        """Variables of the arguments."""
        values, offset, place = [], 0, 0
        for argument in self.arguments:
            array = np.empty(argument.shape, object)
            for i, index in enumerate(np.ndindex(argument.shape)):
                if argument.per_point:
                    node = self.graph.variable(REAL, f"a{place}[{i}]")
                else:
                    node = self.graph.variable(UNIFORM, f"p[{offset + i}]")
                array[index] = node
                if argument.samples is not None:
                    self.graph.samples[node] = np.asarray(argument.samples)[(slice(None), *index)]
            offset += 0 if argument.per_point else array.size
            place += argument.per_point
            values.append(array)
        return values

    # -- operations, in order ---------------------------------------------------------------

    def run(
        self, program: Program, values: dict[int, Array], first: int = 0, keep: Any = False
    ) -> None:
        """Translate from operation ``first`` on, and assign the results."""
        graph = self.graph
        for k in range(first, len(program.operations)):
            operation = program.operations[k]
            inputs = [self._read(values, i) for i in operation.inputs]
            if operation.name == "admat_elastic_test" and keep is False:
                test = inputs[0].item()
                if not known(test) and not test.uniform:
                    self._split(program, values, k, operation, test)
                    return
            if operation.name == "admat_local_newton":
                self._newton(program, values, k, operation, inputs, keep)
                return
            values.update(zip(operation.outputs, self._apply(operation, inputs), strict=True))
        leaves = [self._read(values, slot) for slot in program.results]
        flat = [value for leaf in leaves for value in leaf.ravel()]
        names = [name for group in self.names for name in group]
        statement = _Assign(flat, names, keep)
        graph.add_statement(statement)
        self.roots.append(statement)

    def _read(self, values: dict[int, Array], slot: Any) -> Array:
        return values[slot] if isinstance(slot, int) else constant(slot)

    def _split(
        self, program: Program, values: dict, k: int, operation: Operation, test: Node
    ) -> None:
        graph = self.graph
        branch, otherwise = _Branch(graph, test), graph.negation(test)
        graph.add_statement(branch)
        self.roots.append(branch)
        (slot,) = operation.outputs
        with graph.inside(branch.holds, test):
            self.run(program, {**values, slot: constant(True)}, k + 1, keep=True)
        with graph.inside(branch.fails, otherwise):
            self.run(program, {**values, slot: constant(False)}, k + 1, keep=test)

    def _newton(
        self,
        program: Program,
        values: dict,
        k: int,
        operation: Operation,
        inputs: list[Array],
        keep: Any,
    ) -> None:
        graph = self.graph
        start, *operands = inputs

        def finish(x: list[Any], code: Any, iterations: Any, scaled: Any) -> None:
            outputs = [_vector(x), *(as_array(v) for v in (code, iterations, scaled))]
            self.run(
                program, {**values, **dict(zip(operation.outputs, outputs, strict=True))},
                k + 1, keep,
            )  # fmt: skip

        traced = operation.params["traced"]
        constants = len(traced.jaxpr.constvars)
        # Where the guess is the answer whatever the numbers are, e.g. in the elastic branch.
        residual = self._call(
            operation.params["jaxpr"], [*operands[:constants], start, *operands[constants:]]
        )[0]
        if all(known(r) and r == 0 for r in residual):
            finish(list(start), 0.0, 0.0, 0.0)
            return
        both = jacobian_program(traced.jaxpr, list(traced.avals))
        loop = NewtonLoop(graph, list(start), operation.params["options"])
        self.roots.append(loop)

        def evaluated(x: list[Any]) -> tuple[Array, Array]:
            r, jacobian = self._call(both, [_vector(x), *operands])
            return r, jacobian

        def order(r: Array, jacobian: Array) -> tuple[list, int]:
            numbers = jacobian_samples(list(r), jacobian, loop.x, list(start), self.graph.samples)
            if numbers is None:
                return pivot_order(jacobian)
            self.graph.samples.update(
                zip(loop.x, evaluate(list(start), self.graph.samples), strict=True)
            )
            return pivot_order(jacobian, numbers)

        loop.build(
            graph,
            evaluated,
            order,
            lambda: finish(list(loop.x), loop.code, loop.iterations, loop.scaled),
        )

    def _apply(self, operation: Operation, inputs: list[Array]) -> list[Array]:
        graph, params = self.graph, operation.params
        if graph.count > BUDGET:
            raise Unsupported(f"more than {BUDGET} operations per point")
        if operation.name == "admat_linear_solve":
            matrix, rhs = inputs
            result = np.empty(rhs.shape, object)
            for index in np.ndindex(rhs.shape[:-2]):
                result[index] = solve_dense(graph, matrix[index], rhs[index])
            return [result]
        if operation.name == "matrix_free_solve":
            return [self._matrix_free(params["matvec"], inputs)]
        if operation.name == "cond":
            return self._cond(params["branches"], inputs)
        if operation.name == "scan":
            return self._scan(operation, inputs)
        if operation.name == "admat_local_newton":
            raise Unsupported("a local solve inside a local solve, a loop or a branch")
        return apply(graph, operation, inputs)

    def _call(self, program: Program, arguments: list[Array]) -> list[Array]:
        """The results of a program whose operations can stand in one place."""
        values = dict(zip(program.arguments, arguments, strict=True))
        for operation in program.operations:
            inputs = [self._read(values, i) for i in operation.inputs]
            values.update(zip(operation.outputs, self._apply(operation, inputs), strict=True))
        return [self._read(values, slot) for slot in program.results]

    def _matrix_free(self, matvec: Program, inputs: list[Array]) -> Array:
        *operands, rhs = inputs
        images = np.empty(rhs.shape, object)
        reached: set[int] = set()  # axes along which a unit vector spreads
        for place in np.ndindex(rhs.shape):
            unit = constant(np.zeros(rhs.shape))
            unit[place] = 1.0
            images[place] = image = self._call(matvec, [*operands, unit])[0]
            for spot in np.ndindex(image.shape):
                if not (known(image[spot]) and image[spot] == 0):
                    reached.update(a for a in range(rhs.ndim) if spot[a] != place[a])
        if len(reached) > 1:
            raise Unsupported("a linear solve for unknowns along several axes")
        axis = reached.pop() if reached else 0
        # Systems with the same matrix are solved together.
        systems: dict[tuple, tuple[Any, list[Any]]] = {}
        for line in np.ndindex(*(1 if a == axis else size for a, size in enumerate(rhs.shape))):
            where = (*line[:axis], slice(None), *line[axis + 1 :])
            matrix = np.stack([image[where] for image in images[where]], axis=1)
            systems.setdefault(shape_key(matrix), (matrix, []))[1].append(where)
        result = np.empty(rhs.shape, object)
        for matrix, places in systems.values():
            found = solve_dense(self.graph, matrix, np.stack([rhs[w] for w in places], axis=1))
            for k, where in enumerate(places):
                result[where] = found[:, k]
        return result

    def _cond(self, branches: Any, inputs: list[Array]) -> list[Array]:
        which, *operands = inputs
        index = which.item()
        if known(index):
            place = min(max(int(index), 0), len(branches) - 1)
            return self._call(branches[place], operands)
        results = [self._call(branch, operands) for branch in branches]
        chosen = results[0]
        for k, other in enumerate(results[1:], 1):
            truth = getattr(index, "boolean", False)
            test = index if truth else self.graph.compare("ge", index, float(k))
            chosen = [
                each(lambda a, b, test=test: self.graph.select(test, b, a), old, new)
                for old, new in zip(chosen, other, strict=True)
            ]
        return chosen

    def _scan(self, operation: Operation, inputs: list[Array]) -> list[Array]:
        p = operation.params
        consts, carry, length = p["num_consts"], p["num_carry"], p["length"]
        if length > UNROLLED_SCAN:
            raise Unsupported(f"a loop of {length} iterations")
        fixed, state = inputs[:consts], list(inputs[consts : consts + carry])
        stacked = inputs[consts + carry :]
        steps: list[list[Array]] = []
        order = range(length - 1, -1, -1) if p["reverse"] else range(length)
        for k in order:
            rows = [as_array(a[k]) for a in stacked]
            out = self._call(p["jaxpr"], [*fixed, *state, *rows])
            state = out[:carry]
            steps.append(out[carry:])
        if p["reverse"]:
            steps.reverse()
        if not steps:
            return [*state, *(constant(np.zeros(a.shape)) for a in operation.avals[carry:])]
        return [*state, *(np.stack(column) for column in zip(*steps, strict=True))]


def _vector(values: list[Any]) -> Array:
    result = np.empty(len(values), object)
    result[:] = values
    return result


def c_source(
    program: Program, arguments: list[Argument], results: list[Result], lines: int = LINES
) -> str:
    """The C source of the kernel ``admat_kernel``, of so many lines at most.

    Raises:
        Unsupported: The program contains something that is not translated, or too much.
    """
    translation = _Translation(arguments, results)
    graph = translation.graph
    translation.run(program, dict(zip(program.arguments, translation.load(), strict=True)))
    writer = Writer(translation.roots)
    line = writer.line
    line(
        "void admat_kernel(long n, const double *const *in, double *const *out, const double *p, "
        "const long *rows, int *code, int *iterations, double *residual, unsigned char *active)"
    )
    with writer.braces():
        writer.region(graph.prologue)
        sums = [k for k, result in enumerate(results) if result.kind == "sum"]
        for k in sums:
            line(f"v s{k}[{max(1, len(translation.names[k]))}]; memset(s{k}, 0, sizeof s{k});")
        for k, result in enumerate(results):
            size = len(translation.names[k])
            if result.kind == "row" and size >= 16:
                line(f"const int far{k} = out[{k}] && STREAMS(out[{k}], {size}L, n, rows);")
        with writer.braces("for (long first = 0; first < n; first += W)"):
            line("const int count = n - first < W ? (int)(n - first) : W;")
            per_point = [a for a in arguments if a.per_point]
            for k, argument in enumerate(per_point):
                size = int(np.prod(argument.shape))
                line(f"v a{k}[{max(1, size)}]; LOAD(a{k}, in[{k}], {size}, first, count);")
            for k, group in enumerate(translation.names):
                line(f"v o{k}[{max(1, len(group))}];")
            writer.region(graph.block)
            _store(writer, results, translation.names)
        line("STREAMED;")
        for k in sums:
            size = len(translation.names[k])
            with writer.braces(f"for (int i = 0; out[{k}] && i < {size}; ++i)"):
                line(f"double t = 0; for (int l = 0; l < W; ++l) t += ((double *)&s{k}[i])[l];")
                line(f"out[{k}][i] += t;")
    loops = [root for root in translation.roots if isinstance(root, NewtonLoop)]
    short = "#define ADMAT_SCALAR\n" if all(len(loop.x) == 1 for loop in loops) else ""
    if len(writer.lines) > lines:
        count = len(writer.lines)
        raise Unsupported(f"a law of {count} operations per point, more than {lines}")
    body = "\n".join(writer.lines)
    functions = sum(body.count(f"{name}(") for name in ("EXP_P", "LOG", "LOG1P", "POW", "TANH"))
    short += "#define ADMAT_CALLS\n" if functions > INLINED else ""
    short += "#define ADMAT_SHORT\n" if len(writer.lines) < SHORT else ""
    folder = resources.files(__package__)
    header = short + "\n".join(folder.joinpath(name).read_text() for name in HEADERS)
    return f"{header}\n{body}\n"


def _store(writer: Writer, results: list[Result], names: list[list[str]]) -> None:
    for k, result in enumerate(results):
        size = len(names[k])
        if result.kind == "row" and size >= 16:
            writer.line(f"if (far{k}) STREAM(out[{k}], o{k}, {size}, first, count);")
            otherwise = f"STORE(out[{k}], o{k}, {size}, first, count, rows)"
            writer.line(f"else if (out[{k}]) {otherwise};")
        elif result.kind in ("row", "point"):
            rows = "rows" if result.kind == "row" else "0"
            writer.line(f"if (out[{k}]) STORE(out[{k}], o{k}, {size}, first, count, {rows});")
        elif result.kind == "sum":
            writer.line("for (int l = 0; l < count; ++l)")
            writer.line(
                f"for (int i = 0; i < {size}; ++i) "
                f"((double *)&s{k}[i])[l] += ((double *)&o{k}[i])[l];"
            )
        elif result.kind == "residual":
            writer.line(f"STORE(residual, o{k}, 1, first, count, 0);")
        else:
            store = "FLAGS" if result.kind == "active" else "STATUS"
            writer.line(f"{store}({result.kind} + first, o{k}[0], count);")
