"""Expressions over SIMD lanes: a graph with folded constants, in nested regions of C code.

A value is a Python number (known now), or a ``Node``: uniform (the same for all points: made of
parameters and dt, computed once per call) or lane-wise (one value per point of a block). Equal
expressions are one node. Nodes inside a loop that do not depend on it land before it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

#: Types: real and boolean, per lane and uniform.
REAL, MASK, UNIFORM, FLAG = "v", "m", "double", "int"


class Node:
    """One operation; ``operation`` is None for a variable, whose C name is ``text``."""

    __slots__ = ("arguments", "number", "operation", "owner", "region", "text", "type")

    def __init__(
        self,
        operation: str | None,
        arguments: tuple[Any, ...],
        type_: str,
        region: "Region",
        number: int,
        text: str = "",
        owner: "Statement | None" = None,
    ) -> None:
        self.operation, self.arguments, self.type = operation, arguments, type_
        self.region, self.number, self.text, self.owner = region, number, text, owner

    @property
    def uniform(self) -> bool:
        """The same for all points."""
        return self.type in (UNIFORM, FLAG)

    @property
    def boolean(self) -> bool:
        """A truth value."""
        return self.type in (MASK, FLAG)


class Statement:
    """Something with variables of its own: a loop, a branch, a dense solve.

    Attributes:
        reads: Nodes whose values it needs.
    """

    def __init__(self, reads: list[Any]) -> None:
        self.reads = [r for r in reads if isinstance(r, Node)]

    def write(self, writer: Any) -> None:
        """Emit C."""
        raise NotImplementedError


class Region:
    """A block of C code: nodes and statements in order. A loop lets invariant nodes out."""

    def __init__(self, parent: "Region | None", *, loop: bool = False) -> None:
        self.parent, self.loop = parent, loop
        self.items: list[Node | Statement] = []
        self.table: dict[tuple, Node] = {}
        self.solves: dict[tuple, Any] = {}

    def chain(self) -> Iterator["Region"]:
        """This region and those around it."""
        region: Region | None = self
        while region is not None:
            yield region
            region = region.parent


def known(value: Any) -> bool:
    """Whether a value is a number, not a node."""
    return not isinstance(value, Node)


_COMMUTATIVE = {"add", "mul", "and", "or", "eq", "ne", "xor"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


def _nan_safe(function: Callable[..., float]) -> Callable[..., float]:
    def call(*values: float) -> float:
        with np.errstate(all="ignore"):
            return float(function(*values))

    return call


_NUMPY: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "expm1": np.expm1, "log1p": np.log1p, "sqrt": np.sqrt,
    "abs": np.abs, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "cbrt": np.cbrt,
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "sign": np.sign,
    "exp2": np.exp2, "erf": np.vectorize(math.erf), "erfc": np.vectorize(math.erfc),
}  # fmt: skip

#: Functions of one number: how a constant argument is folded.
FUNCTIONS = {name: _nan_safe(function) for name, function in _NUMPY.items()}


class Graph:
    """Builds nodes in the current region."""

    def __init__(self) -> None:
        self.prologue = Region(None)
        self.block = Region(self.prologue)
        self.here = self.block
        self.count = 0
        self.lanes: Any = True  # mask of the lanes that matter here
        self.samples: dict[Node, Any] = {}  # plausible values of variables
        self.products = 0  # multiplications in loops

    @contextmanager
    def inside(self, region: Region, lanes: Any = None) -> Iterator[Region]:
        """Build in a region of the current one."""
        before = self.here, self.lanes
        self.here = region
        if lanes is not None:
            self.lanes = lanes
        yield region
        self.here, self.lanes = before

    def variable(self, type_: str, text: str = "", owner: Statement | None = None) -> Node:
        """A C variable that somebody else declares and sets."""
        self.count += 1
        region = self.prologue if type_ in (UNIFORM, FLAG) else self.here
        return Node(None, (), type_, region, self.count, text or f"x{self.count}", owner)

    def add_statement(self, statement: Statement) -> None:
        """Append a statement to the current region."""
        self.here.items.append(statement)

    def node(self, operation: str, *arguments: Any, boolean: bool = False) -> Node:
        """The node of an operation: an existing one, or a new one in the region it belongs to."""
        if operation in _COMMUTATIVE:
            arguments = tuple(sorted(arguments, key=_order))
        key = (operation, *(identity(a) for a in arguments))
        regions = [a.region for a in arguments if isinstance(a, Node)]
        if all(a.uniform for a in arguments if isinstance(a, Node)):
            home = self.prologue
        else:
            home = self.here
            while home.loop and home not in regions and home.parent is not None:
                home = home.parent
        for region in home.chain():
            found = region.table.get(key)
            if found is not None:
                return found
        uniform = home is self.prologue
        type_ = (FLAG if boolean else UNIFORM) if uniform else (MASK if boolean else REAL)
        self.count += 1
        new = Node(operation, arguments, type_, home, self.count)
        home.table[key] = new
        home.items.append(new)
        return new

    # -- arithmetic with folding: 0 + a, 1 * a, 0 * a, a - a, ... ------------------------------

    def add(self, a: Any, b: Any) -> Any:
        """Sum."""
        if known(a) and known(b):
            return a + b
        if known(a):
            a, b = b, a
        if known(b) and b == 0:
            return a
        if _is(b, "neg"):
            return self.sub(a, b.arguments[0])
        if _is(a, "neg"):
            return self.sub(b, a.arguments[0])
        return self.node("add", a, b)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference."""
        if known(a) and known(b):
            return a - b
        if a is b:
            return 0.0
        if known(b) and b == 0:
            return a
        if known(a) and a == 0:
            return self.neg(b)
        if _is(b, "neg"):
            return self.add(a, b.arguments[0])
        return self.node("sub", a, b)

    def neg(self, a: Any) -> Any:
        """Opposite."""
        if known(a):
            return -a
        if a.operation == "neg":
            return a.arguments[0]
        if a.operation == "sub":
            return self.node("sub", a.arguments[1], a.arguments[0])
        return self.node("neg", a)

    def mul(self, a: Any, b: Any) -> Any:
        """Product; a structural zero wins over everything."""
        if known(a) and known(b):
            return a * b
        if known(a):
            a, b = b, a
        if known(b):
            if b == 0:
                return 0.0
            if b == 1:
                return a
            if b == -1:
                return self.neg(a)
            if _is(a, "mul") and known(a.arguments[0]):  # known factors come first
                return self.mul(a.arguments[1], a.arguments[0] * b)
        if _is(a, "neg") and _is(b, "neg"):
            return self.mul(a.arguments[0], b.arguments[0])
        if _is(a, "neg"):
            return self.neg(self.mul(a.arguments[0], b))
        if _is(b, "neg"):
            return self.neg(self.mul(a, b.arguments[0]))
        return self.node("mul", a, b)

    def div(self, a: Any, b: Any) -> Any:
        """Quotient: by a product with the reciprocal, which others may share."""
        if known(a) and known(b):
            return _quotient(a, b)
        if known(a) and a == 0:
            return 0.0
        if known(b):
            return self.mul(a, _quotient(1.0, b))
        if a is b:
            return 1.0
        if _is(b, "neg"):
            return self.neg(self.div(a, b.arguments[0]))
        return self.mul(a, self.node("rcp", b))

    def power(self, a: Any, n: int) -> Any:
        """Integer power."""
        if known(a):
            return _nan_safe(np.power)(float(a), n)
        if n < 0:
            return self.div(1.0, self.power(a, -n))
        result: Any = 1.0
        square = a
        while n:
            if n & 1:
                result = self.mul(result, square)
            n >>= 1
            if n:
                square = self.mul(square, square)
        return result

    def pow(self, a: Any, b: Any) -> Any:
        """Real power."""
        if known(b):
            if float(b).is_integer() and abs(b) <= 32:
                return self.power(a, int(b))
            if known(a):
                return _nan_safe(np.power)(float(a), float(b))
            if b == 0.5:
                return self.function("sqrt", a)
        return self.node("pow", a, b)

    def function(self, name: str, a: Any) -> Any:
        """A function of one number."""
        if known(a):
            return FUNCTIONS[name](float(a))
        if name in ("exp", "expm1") and not a.uniform:
            # Both from the same halves: exp(a) = s (1 + p) with s = 2^k, so they share the work.
            s, p = self.node("exp_s", a), self.node("exp_p", a)
            return self.node(f"{name}_of", s, p)
        if name == "abs" and a.operation in ("abs", "sqrt"):
            return a
        if name == "abs" and a.operation == "neg":
            return self.function("abs", a.arguments[0])
        return self.node(name, a)

    def binary(self, name: str, a: Any, b: Any) -> Any:
        """max, min (NaN wins), rem, atan2."""
        if known(a) and known(b):
            fold = {"max": np.maximum, "min": np.minimum, "rem": np.fmod, "atan2": np.arctan2}
            return _nan_safe(fold[name])(a, b)
        if a is b and name in ("max", "min"):
            return a
        return self.node(name, a, b)

    # -- truth -----------------------------------------------------------------------------

    def compare(self, name: str, a: Any, b: Any) -> Any:
        """A comparison."""
        if known(a) and known(b):
            return bool(_COMPARE[name](a, b))
        if _bool(a) or _bool(b):
            above, below = self.both(a, self.negation(b)), self.both(self.negation(a), b)
            different = self.either(above, below)
            found = {"gt": above, "lt": below, "ge": self.negation(below), "ne": different}
            found |= {"le": self.negation(above), "eq": self.negation(different)}
            return found[name]
        return self.node(name, a, b, boolean=True)

    def finite(self, a: Any) -> Any:
        """Whether a number is finite; a conjunction of them becomes one test of a sum."""
        if known(a):
            return math.isfinite(a)
        return self.node("is_zero", self.node("nil", a), boolean=True)

    def both(self, a: Any, b: Any) -> Any:
        """And."""
        for x, y in ((a, b), (b, a)):
            if known(x):
                return y if x else False
        if a is b:
            return a
        if _is(a, "is_zero") and _is(b, "is_zero") and a.uniform == b.uniform:
            total = self.node("add", a.arguments[0], b.arguments[0])
            return self.node("is_zero", total, boolean=True)
        return self.node("and", a, b, boolean=True)

    def either(self, a: Any, b: Any) -> Any:
        """Or."""
        for x, y in ((a, b), (b, a)):
            if known(x):
                return True if x else y
        return a if a is b else self.node("or", a, b, boolean=True)

    def negation(self, a: Any) -> Any:
        """Not."""
        if known(a):
            return not a
        return a.arguments[0] if a.operation == "not" else self.node("not", a, boolean=True)

    def select(self, test: Any, yes: Any, no: Any) -> Any:
        """The first where the test holds, else the second."""
        if known(test):
            return yes if test else no
        if yes is no or (known(yes) and known(no) and _same(yes, no)):
            return yes
        if isinstance(yes, bool) or isinstance(no, bool) or _bool(yes) or _bool(no):
            return self.either(self.both(test, yes), self.both(self.negation(test), no))
        if test.operation == "not":
            return self.select(test.arguments[0], no, yes)
        # A test in the test of the same thing: where(c, where(c, a, b), d) = where(c, a, d).
        if _is(yes, "select") and yes.arguments[0] is test:
            yes = yes.arguments[1]
        if _is(no, "select") and no.arguments[0] is test:
            no = no.arguments[2]
        return self.node("select", test, yes, no)


def _is(value: Any, operation: str) -> bool:
    return isinstance(value, Node) and value.operation == operation


def _bool(value: Any) -> bool:
    return isinstance(value, Node) and value.boolean


def _same(a: Any, b: Any) -> bool:
    return identity(a) == identity(b)


def _order(value: Any) -> tuple:
    return (0, str(value)) if known(value) else (1, value.number)


def identity(value: Any) -> Any:
    """Key of a value: -0.0 and 0.0, True and 1.0 differ; NaN equals itself."""
    return value if isinstance(value, Node) else (type(value).__name__[0], repr(value))


def _quotient(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))
