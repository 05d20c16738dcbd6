"""Parameters of a law: numbers with an admissible range, checked when the law is made."""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from dolfinx_admat.errors import MaterialError

from ._declare import as_parameter, named_leaves

_RANGE = "admissible range"


@dataclasses.dataclass(frozen=True)
class Range:
    """Admissible values of a parameter; ends that are not closed do not belong to it.

    ``accept``, if given, decides for arrays of values (points, ...) -> (points,), in place of the
    limits, and ``expected`` says what it wants.
    """

    lower: float = -math.inf
    upper: float = math.inf
    closed_below: bool = False
    closed_above: bool = False
    accept: Callable[[np.ndarray], np.ndarray] | None = None
    expected: str = ""

    def contains(self, values: Any) -> np.ndarray:
        """Where values are finite and in the range."""
        v = np.asarray(values)
        return np.asarray(self.accept(v) if self.accept is not None else self.within(v))

    def within(self, v: Any) -> Any:
        """Where values are within the limits; also under JAX's transformations."""
        above = v >= self.lower if self.closed_below else v > self.lower
        below = v <= self.upper if self.closed_above else v < self.upper
        return above & below & (abs(v) < math.inf)

    def __str__(self) -> str:
        """The range as an inequality, e.g. ``-1 < value < 0.5``."""
        if self.expected:
            return self.expected
        left = (
            f"{self.lower:g} {'<=' if self.closed_below else '<'} " if self.lower > -1e300 else ""
        )
        right = (
            f" {'<=' if self.closed_above else '<'} {self.upper:g}" if self.upper < 1e300 else ""
        )
        return f"{left}value{right}" if left or right else "a finite number"


if TYPE_CHECKING:  # so that a type checker takes it for what it is, a field
    from equinox import field as parameter
else:

    def parameter(
        *,
        above: float | None = None,
        below: float | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        accept: Callable[[np.ndarray], np.ndarray] | None = None,
        expected: str = "",
        **field: Any,
    ) -> Any:
        """A field of a law or of a part of it, with the range of its values.

        ``E: float = parameter(above=0)``. A value outside is refused when the law is made, or given
        to a kernel. Values under JAX's transformations are not known and not checked.

        Args:
            above: The values are larger.
            below: The values are smaller.
            at_least: The values are not smaller.
            at_most: The values are not larger.
            accept: Test of values that are no plain numbers, (..., *shape) -> (...).
            expected: What ``accept`` wants, in words.
            field: Arguments of ``equinox.field``, e.g. ``default=0.0``.
        """
        limits = Range(
            next((v for v in (above, at_least) if v is not None), -math.inf),
            next((v for v in (below, at_most) if v is not None), math.inf),
            at_least is not None,
            at_most is not None,
            accept,
            expected,
        )
        return eqx.field(metadata={_RANGE: limits}, **field)


class Parameters(eqx.Module):
    """A group of parameters with behaviour, e.g. a hardening law; part of a material.

    Fields that are numbers, arrays or lists of numbers become float64 arrays; so do those inside
    other containers. Fields declared with ``equinox.field(static=True)`` stay as they are, and
    those declared with ``parameter(...)`` have an admissible range.

    Raises:
        MaterialError: A parameter is NaN, or outside its range, or they do not fit together.
    """

    def conditions(self) -> dict[str, Any]:
        """What several parameters must fulfil: numbers that must be positive, by the condition.

        Written such that it also works for one more axis of points in front, as
        ``{"C10 + C01 > 0": self.C10 + self.C01}`` does.
        """
        return {}

    def __check_init__(self) -> None:
        # Equinox freezes the instance before this hook; it runs for every subclass, also for
        # those with an __init__ of their own, which is why the conversion lives here.
        for field in dataclasses.fields(self):
            name = field.name
            if not field.metadata.get("static", False) and hasattr(self, name):
                object.__setattr__(self, name, as_parameter(getattr(self, name)))
                if _RANGE in field.metadata:
                    _check_kind(f"{type(self).__name__}: parameter '{name}'", field, self)
        check_parameters(self)


def _check_kind(what: str, field: dataclasses.Field, group: Any) -> None:
    """A parameter with a range is a number (or a part), not text, nor None unless it may be."""
    value = getattr(group, field.name)
    bad = isinstance(value, str | bool | complex) or (value is None and field.default is not None)
    if bad or (hasattr(value, "dtype") and np.dtype(value.dtype).kind not in "fiu"):
        raise MaterialError(f"{what} must be a number; got {value!r}")


def check_numbers(what: str, *groups: tuple[float, dict[str, Any]]) -> None:
    """Check arguments that parameters are computed from.

    Args:
        what: Name of the function in messages.
        groups: A lower bound, which does not belong to the range, and the numbers by name.

    Raises:
        MaterialError: A number is not larger than its bound.
    """
    for bound, numbers in groups:
        for name, value in numbers.items():
            if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) > bound):
                raise MaterialError(f"{what}: expected {name} > {bound:g}; got {value}")


def parameter_ranges(law: Any) -> dict[str, Range]:
    """The declared ranges by the dotted names of the parameters, e.g. ``"hardening.sigma_y"``."""
    return dict(_ranges(law, ""))


def _ranges(tree: Any, prefix: str) -> Iterator[tuple[str, Range]]:
    if isinstance(tree, eqx.Module):
        for field in dataclasses.fields(tree):
            value = getattr(tree, field.name, None)
            limits = field.metadata.get(_RANGE)
            if isinstance(value, eqx.Module | dict | list | tuple):
                yield from _ranges(value, f"{prefix}{field.name}.")
            elif limits is not None:
                yield f"{prefix}{field.name}", limits
    elif isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from _ranges(value, f"{prefix}{key}.")


def replace_parameters(law: Any, values: dict[str, Any]) -> Any:
    """The law with the parameters named by dotted paths replaced; nothing is checked."""
    names = list(named_leaves(law))
    leaves, tree = jax.tree.flatten(law)
    for name, value in values.items():
        leaves[names.index(name)] = value
    return jax.tree.unflatten(tree, leaves)


def check_parameters(law: Any, given: dict[str, Any] | None = None, name: str = "") -> None:
    """Check the values of parameters, as far as they are known.

    Args:
        law: A law or a part of one.
        given: Values by dotted name, any number of them each; None: those of the law.
        name: Name in messages; default: the law's class.

    Raises:
        MaterialError: A value is NaN or outside its range, or values do not fit together.
    """
    name, ranges = name or type(law).__name__, parameter_ranges(law)
    for path, value in (named_leaves(law) if given is None else given).items():
        if isinstance(value, jax.core.Tracer) or not isinstance(value, jax.Array | np.ndarray):
            continue
        numbers = np.asarray(value)
        if numbers.dtype.kind == "f" and np.isnan(numbers).any():
            raise MaterialError(f"{name}: parameter '{path}' is NaN; give a finite number")
        if path in ranges:
            bad = numbers[~ranges[path].contains(numbers)]
            if len(bad):
                got = np.array2string(bad[0], separator=", ", precision=6).replace("\n", "")
                raise MaterialError(
                    f"{name}: parameter '{path}' is out of range: got {got}, "
                    f"expected {ranges[path]}"
                )
    for what, value in _conditions(law, "", given or {}):
        if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) > 0.0):
            raise MaterialError(f"{name}: parameters do not fit together: expected {what}")


def _conditions(tree: Any, prefix: str, given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Parameters):
        part = copy.copy(tree)
        for field in dataclasses.fields(tree):
            path = f"{prefix}{field.name}"
            if path in given:
                object.__setattr__(part, field.name, given[path])
            yield from _conditions(getattr(tree, field.name, None), f"{path}.", given)
        yield from part.conditions().items()
    elif isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from _conditions(value, f"{prefix}{key}.", given)
