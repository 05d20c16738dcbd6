"""C text from regions of nodes: only what a result needs is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._graph import FLAG, MASK, REAL, UNIFORM, Node, Region, Statement, known

_VECTOR = {
    "exp_p": "EXP_P", "exp_s": "EXP_S", "log": "LOG", "log1p": "LOG1P", "pow": "POW",
    "tanh": "TANH", "sqrt": "SQRT", "abs": "ABS", "max": "MAX", "min": "MIN", "floor": "FLOOR",
    "ceil": "CEIL", "round": "RINT", "sign": "SIGN", "rcp": "RCP", "sin": "SIN", "cos": "COS",
    "tan": "TAN", "asin": "ASIN", "acos": "ACOS", "atan": "ATAN", "sinh": "SINH", "cosh": "COSH",
    "asinh": "ASINH", "acosh": "ACOSH", "atanh": "ATANH", "cbrt": "CBRT", "exp2": "EXP2",
    "erf": "ERF", "erfc": "ERFC", "rem": "REM", "atan2": "ATAN2", "select": "SEL",
    "exp_of": "EXP_OF", "expm1_of": "EXPM1_OF",
    "lt": "LT", "le": "LE", "gt": "GT", "ge": "GE", "eq": "EQ", "ne": "NE",
    "and": "AND", "or": "OR", "not": "NOT",
}  # fmt: skip
_SCALAR = {
    "abs": "fabs", "max": "fmax_nan", "min": "fmin_nan", "round": "rint", "sign": "sign1",
    "rem": "fmod",
}  # fmt: skip
_INFIX = {"add": "+", "sub": "-", "mul": "*"}
_RELATION = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


class Writer:
    """Writes the text of a function.

    Args:
        roots: Statements whose effect is wanted.
    """

    def __init__(self, roots: list[Statement]) -> None:
        self.lines: list[str] = []
        self.uses: dict[Node, int] = {}
        self._reader: dict[Node, Any] = {}
        self._statements: set[Statement] = set()
        self._mark(roots)

    # -- what is needed -----------------------------------------------------------------------

    def _mark(self, roots: list[Statement]) -> None:
        pending: list[Any] = list(roots)
        while pending:
            item = pending.pop()
            if isinstance(item, Statement):
                if item not in self._statements:
                    self._statements.add(item)
                    pending += self._counted(item, item.reads)
            elif item.operation is None:
                if item.owner is not None:
                    pending.append(item.owner)
            else:
                pending += self._counted(item, item.arguments)

    def _counted(self, reader: Any, values: Any) -> Iterator[Node]:
        for value in values:
            if isinstance(value, Node):
                self._reader[value] = reader
                first = value not in self.uses
                self.uses[value] = self.uses.get(value, 0) + 1
                if first:
                    yield value

    def live(self, item: Any) -> bool:
        """Whether the text needs a node or statement."""
        return item in self._statements if isinstance(item, Statement) else item in self.uses

    # -- text ---------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """One line."""
        self.lines.append(text)

    @contextmanager
    def braces(self, head: str = "") -> Iterator[None]:
        """A block."""
        self.line(head + " {" if head else "{")
        yield
        self.line("}")

    def region(self, region: Region) -> None:
        """All live items of a region, in order."""
        for item in region.items:
            if not self.live(item):
                continue
            if isinstance(item, Statement):
                item.write(self)
            elif not self._inlined(item):
                kind = {REAL: "v", MASK: "m", UNIFORM: "double", FLAG: "int"}[item.type]
                self.line(f"const {kind} {self.name(item)} = {self._expression(item)};")

    def _inlined(self, node: Node) -> bool:
        return self._divisor(self._reader.get(node)) is node

    def _divisor(self, product: Any) -> Node | None:
        """The reciprocal in a product that nobody else needs: the product is a quotient."""
        if isinstance(product, Node) and product.operation == "mul" and not product.uniform:
            for factor in product.arguments:
                if isinstance(factor, Node) and factor.operation == "rcp" and not factor.uniform:
                    if self.uses[factor] == 1:
                        return factor
        return None

    def name(self, node: Node) -> str:
        """C name of a node."""
        return node.text or f"t{node.number}"

    def real(self, value: Any) -> str:
        """A value as real lanes."""
        if known(value):
            return f"BC({number(value)})"
        text = self.name(value)
        if value.type == UNIFORM:
            return f"BC({text})"
        return text if value.type == REAL else f"SEL({self.mask(value)}, BC(1.0), BC(0.0))"

    def mask(self, value: Any) -> str:
        """A value as truth lanes."""
        if known(value):
            return "ALL" if value else "NONE"
        return f"BCM({self.name(value)})" if value.type == FLAG else self.name(value)

    def scalar(self, value: Any) -> str:
        """A number or a uniform value; also lanes, for operators that take both."""
        return number(value) if known(value) else self.name(value)

    def array(self, name: str, values: Any) -> None:
        """Declare an array of real lanes."""
        items = ", ".join(self.real(value) for value in values.ravel())
        self.line(f"v {name}[] = {{{items}}};")

    def _expression(self, node: Node) -> str:
        op, a = str(node.operation), node.arguments
        if node.uniform:
            return self._uniform(node)
        divisor = self._divisor(node)
        if divisor is not None:
            dividend = a[1] if a[0] is divisor else a[0]
            return f"{self.real(dividend)} / {self.real(divisor.arguments[0])}"
        if op in _INFIX:
            return f"{self.scalar(a[0])} {_INFIX[op]} {self.scalar(a[1])}"
        if op == "neg":
            return f"-{self.name(a[0])}"
        if op == "nil":
            return f"{self.name(a[0])} * 0.0"
        if op == "is_zero":
            return f"EQ({self.real(a[0])}, BC(0.0))"
        if op == "select" and isinstance(a[0], Node) and a[0].type == FLAG:
            return f"{self.name(a[0])} ? {self.real(a[1])} : {self.real(a[2])}"
        if op == "select":
            return f"SEL({self.mask(a[0])}, {self.real(a[1])}, {self.real(a[2])})"
        convert = self.mask if op in ("and", "or", "not") else self.real
        return f"{_VECTOR[op]}({', '.join(convert(x) for x in a)})"

    def _uniform(self, node: Node) -> str:
        op, a = str(node.operation), [self.scalar(x) for x in node.arguments]
        if op in _INFIX:
            return f"{a[0]} {_INFIX[op]} {a[1]}"
        if op in _RELATION:
            return f"{a[0]} {_RELATION[op]} {a[1]}"
        special = {
            "neg": "-{0}",
            "rcp": "1.0 / {0}",
            "nil": "{0} * 0.0",
            "is_zero": "{0} == 0.0",
            "select": "{0} ? {1} : {2}",
            "and": "{0} & {1}",
            "or": "{0} | {1}",
            "not": "!{0}",
        }
        if op in special:
            return special[op].format(*a)
        return f"{_SCALAR.get(op, op)}({', '.join(a)})"


def number(value: Any) -> str:
    """A C literal."""
    if isinstance(value, bool):
        return "1" if value else "0"
    value = float(value)
    if value != value:
        return "NAN"
    if value in (float("inf"), float("-inf")):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({value!r})" if value < 0 else repr(value)
