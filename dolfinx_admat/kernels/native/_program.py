"""A jaxpr as a flat list of operations, without what does not matter for code.

Calls are inlined, dead operations dropped; control flow keeps its bodies as programs of their own.
The fingerprint is the same in every process, unlike a printed jaxpr with its addresses.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from dolfinx_admat.errors import AdmatError

#: Primitives that only call a jaxpr.
CALLS = {
    "jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call",
    "custom_vjp_call", "custom_vjp_call_jaxpr", "remat2",
}  # fmt: skip


class Unsupported(AdmatError):
    """The law contains something that the generator does not translate; the text says what."""


class Traced(NamedTuple):
    """A jaxpr as JAX made it, beside its program; the same in every fingerprint."""

    jaxpr: Any
    avals: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One primitive applied to values.

    Attributes:
        name: Name of the primitive.
        params: Its static parameters; jaxprs among them are programs.
        inputs: Slot numbers, or constant arrays.
        outputs: Slot numbers.
        avals: Shape and dtype of each output.
    """

    name: str
    params: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]
    avals: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A flat jaxpr: ``arguments`` and ``results`` are slots (results may be constants)."""

    arguments: tuple[int, ...]
    operations: tuple[Operation, ...]
    results: tuple[Any, ...]

    def fingerprint(self) -> str:
        """Digest of everything that code generated from the program depends on."""
        digest = hashlib.sha256()
        _feed(digest, self)
        return digest.hexdigest()


class _Flattener:
    def __init__(self) -> None:
        self.slots = 0
        self.operations: list[Operation] = []

    def new(self) -> int:
        self.slots += 1
        return self.slots - 1

    def run(self, jaxpr: Jaxpr, constants: Iterable[Any], arguments: Iterable[Any]) -> list[Any]:
        known: dict[Any, Any] = {}

        def read(variable: Any) -> Any:
            if isinstance(variable, Literal):
                return np.asarray(variable.val)
            return known[variable]

        for variable, value in zip(jaxpr.constvars, constants, strict=True):
            if isinstance(value, jax.core.Tracer):
                raise _leak(jaxpr, variable)
            known[variable] = value if isinstance(value, int) else np.asarray(value)
        for variable, value in zip(jaxpr.invars, arguments, strict=True):
            known[variable] = value
        for equation in jaxpr.eqns:
            name, params = equation.primitive.name, equation.params
            if equation.effects:  # jax.debug.print and the like
                raise Unsupported(f"the JAX operation '{name}', which has side effects")
            inputs = [read(v) for v in equation.invars]
            if name in CALLS:
                inner, constants_ = _called(params)
                results = self.run(inner, constants_, inputs)
                known.update(zip(equation.outvars, results, strict=True))
                continue
            if name == "custom_linear_solve":
                name, params, inputs = _matrix_free(params, inputs)
            elif name == "platform_index":
                platforms = [on is None or "cpu" in on for on in params["platforms"]]
                known[equation.outvars[0]] = np.asarray(platforms.index(True))
                continue
            elif name == "call_hi_primitive":
                expanded = _expanded(params["_prim"])
                results = self.run(expanded.jaxpr, expanded.consts, inputs)
                known.update(zip(equation.outvars, results, strict=True))
                continue
            elif name == "scan" and "ft_in" in params:
                sizes = [len(list(part)) for part in params["ft_in"].unpack()]
                params = {key: params[key] for key in ("jaxpr", "length", "reverse")}
                params |= {"num_consts": sizes[0], "num_carry": sizes[1]}
            outputs = tuple(self.new() for _ in equation.outvars)
            known.update(zip(equation.outvars, outputs, strict=True))
            avals = tuple(v.aval for v in equation.outvars)
            original = Traced(params.get("jaxpr"), tuple(v.aval for v in equation.invars))
            newton = name == "admat_local_newton"
            params = {
                key: _flatten(value) if newton and key == "jaxpr" else _converted(value)
                for key, value in params.items()
            } | ({"traced": original} if newton else {})
            self.operations.append(Operation(name, params, tuple(inputs), outputs, avals))
        return [read(v) for v in jaxpr.outvars]


def flatten(closed: ClosedJaxpr) -> Program:
    """The program of a closed jaxpr."""
    return _flatten(closed.jaxpr, closed.consts)


def _flatten(jaxpr: Jaxpr, constants: Iterable[Any] | None = None) -> Program:
    """Without ``constants`` they are the first arguments."""
    flattener = _Flattener()
    arguments: list[int] = []
    if constants is None:
        constants = arguments = [flattener.new() for _ in jaxpr.constvars]
    inputs = [flattener.new() for _ in jaxpr.invars]
    results = flattener.run(jaxpr, constants, inputs)
    needed = {r for r in results if isinstance(r, int)}
    live = []
    for operation in reversed(flattener.operations):
        if needed.intersection(operation.outputs):
            live.append(operation)
            needed.update(i for i in operation.inputs if isinstance(i, int))
    return Program((*arguments, *inputs), tuple(reversed(live)), tuple(results))


def _leak(jaxpr: Jaxpr, variable: Any) -> jax.errors.UnexpectedTracerError:
    """The error of a law that kept a traced value from another call, where it uses it."""
    error = jax.errors.UnexpectedTracerError("a traced value was kept from another call")
    for equation in jaxpr.eqns:
        traceback = equation.source_info.traceback
        if variable in [v for v in equation.invars if not isinstance(v, Literal)] and traceback:
            return error.with_traceback(traceback.as_python_traceback())
    return error


def _called(params: dict[str, Any]) -> tuple[Jaxpr, list[Any]]:
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = params.get(key)
        if isinstance(inner, ClosedJaxpr | Jaxpr):  # one class in recent versions of JAX
            return getattr(inner, "jaxpr", inner), getattr(inner, "consts", [])
    raise Unsupported("a call without a jaxpr")


def _expanded(primitive: Any) -> ClosedJaxpr:
    """What a composite primitive of JAX (0.12 and later) is made of."""
    if type(primitive).__name__ == "SearchSorted":  # a search without reading at found places
        given = {"method": "compare_all", "out_dtype": primitive.out_aval.dtype}
        primitive = type(primitive)(*primitive.in_avals, **primitive.params | given)

    def call(*flat: Any) -> list[Any]:
        arguments = jax.tree.unflatten(jax.tree.structure(primitive.in_avals), flat)
        return jax.tree.leaves(primitive.expand(*arguments))

    return jax.make_jaxpr(call)(*jax.tree.leaves(primitive.in_avals))


def _matrix_free(params: dict[str, Any], inputs: list[Any]) -> tuple[str, dict, list[Any]]:
    """A custom linear solve, of which only the product with the matrix is of interest."""
    lengths, jaxprs = params["const_lengths"], params["jaxprs"]
    rhs = inputs[sum(lengths) :]
    if len(rhs) != 1:
        raise Unsupported("custom_linear_solve with several right-hand sides as a tree")
    return (
        "matrix_free_solve",
        {"matvec": jaxprs.matvec},
        [*inputs[: lengths.matvec], *rhs],
    )


def _converted(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr | Jaxpr):
        return _flatten(getattr(value, "jaxpr", value), getattr(value, "consts", []))
    if isinstance(value, tuple | list) and any(isinstance(v, ClosedJaxpr | Jaxpr) for v in value):
        return tuple(_converted(v) for v in value)
    return value


def _feed(digest: Any, value: Any) -> None:
    """Add a value to a digest, by content."""
    if isinstance(value, Program):
        digest.update(b"program")
        _feed(digest, (value.arguments, value.results))
        for operation in value.operations:
            digest.update(operation.name.encode())
            _feed(digest, (operation.inputs, operation.outputs))
            _feed(digest, [(a.shape, str(a.dtype)) for a in operation.avals])
            for key in sorted(operation.params):
                digest.update(key.encode())
                _feed(digest, operation.params[key])
    elif isinstance(value, Traced):
        pass  # its program is in the digest
    elif isinstance(value, np.ndarray | jax.Array):
        array = np.asarray(value)
        digest.update(f"array{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    elif isinstance(value, tuple | list):
        digest.update(f"sequence{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    elif callable(value) and not isinstance(value, type):
        digest.update(b"function")  # what it does is in the operations around it
    else:
        text = repr(value)
        digest.update((type(value).__name__ if " at 0x" in text else text).encode())
