"""Which parameters of a law are free, within which bounds; the vector that an optimiser sees."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory._components import unknown
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves
from dolfinx_admat.materials.parameters import check_parameters, parameter_ranges

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Free:
    """A parameter to be fitted.

    Attributes:
        lower: Lower bound, one number or one per entry of the parameter; None: the end of the
            range that the law admits.
        upper: Upper bound, likewise.
        start: First value; None: that of the law.
        scale: Size of a typical change; None: the size of the first value (or of the
            range, where that is 0).
        log: The optimiser sees the logarithm; for a positive parameter of unknown magnitude.
    """

    lower: Any = None
    upper: Any = None
    _: dataclasses.KW_ONLY
    start: Any = None
    scale: Any = None
    log: bool = False


class Place(NamedTuple):
    """Where the entries of one parameter are.

    Attributes:
        leaf: Its position among the leaves of the law.
        first: Position of its first entry in the vector.
        shape: Its shape.
        log: The vector has the logarithm.
    """

    leaf: int
    first: int
    shape: tuple[int, ...]
    log: bool


class FreeVector:
    """Free parameters as one vector z, about 1 in size, and back.

    Attributes:
        parameters: Their names.
        names: Name of each entry, e.g. ``hardening.Q`` or ``hardening.Q[1]``.
        start: First values, in the units of the law; (entries,).
        lower: Bounds; (entries,).
        upper: Bounds; (entries,).
        scale: x = scale * z, or exp(z) where ``log``; (entries,).
        log: Which entries are seen as logarithms; (entries,).
    """

    def set_up(
        self,
        what: str,
        free: Mapping[str, Free | tuple[Any, Any]],
        values: Mapping[str, Any],
        ranges: Mapping[str, Any],
    ) -> None:
        """Collect all entries.

        Args:
            what: Who says so, in messages.
            free: By name; a pair ``(lower, upper)`` is ``Free(lower, upper)``.
            values: Present values.
            ranges: Ranges that the law admits, where there are any.

        Raises:
            MaterialError: Bounds crossed or not admissible, start outside them.
        """
        self.names: list[str] = []
        self.parameters: list[str] = []
        self._shapes: list[tuple[int, ...]] = []
        parts: dict[str, list[Floats]] = {k: [] for k in ("start", "lower", "upper", "scale")}
        log: list[bool] = []
        for name, item in free.items():
            given = _as_free(what, name, item)
            shape = np.shape(values[name])
            entries = _entries(f"{what}: '{name}'", given, values[name], ranges.get(name))
            self.parameters.append(name)
            self._shapes.append(shape)
            self.names += [name + _index(i) for i in np.ndindex(*shape)]
            for key, value in zip(parts, entries, strict=True):
                parts[key].append(value)
            log += [given.log] * int(np.prod(shape))
        self.start, self.lower, self.upper, self.scale = (np.concatenate(p) for p in parts.values())
        self.log = np.array(log, bool)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.names)

    def to_z(self, x: Floats) -> Floats:
        """Values in the units of the law -> what the optimiser sees; (entries,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.log, np.log(np.where(self.log, x, 1.0)), x / self.scale)

    def to_x(self, z: Floats) -> Floats:
        """And back; (entries,)."""
        return np.where(self.log, np.exp(np.where(self.log, z, 0.0)), self.scale * z)

    def slope(self, x: Floats) -> Floats:
        """dx/dz; (entries,)."""
        return np.where(self.log, x, self.scale)

    def values(self, x: Floats) -> dict[str, Floats]:
        """By parameter, in its shape."""
        found, first = {}, 0
        for name, shape in zip(self.parameters, self._shapes, strict=True):
            size = int(np.prod(shape))
            found[name] = x[first : first + size].reshape(shape)
            first += size
        return found

    def sample(self, rng: np.random.Generator) -> Floats:
        """Random values within the bounds; where a bound is missing, around the start."""
        low, high = self.to_z(self.lower), self.to_z(self.upper)
        middle = self.to_z(self.start)
        spread = np.where(self.log, 1.0, np.maximum(np.abs(middle), 1.0))
        around = middle + spread * rng.uniform(-1.0, 1.0, self.size)
        bounded = np.isfinite(low) & np.isfinite(high)
        inside = np.where(bounded, low, 0.0) + rng.uniform(size=self.size) * np.where(
            bounded, high - low, 0.0
        )
        z = np.where(bounded, inside, np.clip(around, low, high))
        return self.inside(self.to_x(z))

    def inside(self, x: Floats) -> Floats:
        """The values, moved off the bounds by a little: an end may be no value of the range."""
        low, high = self.lower, self.upper
        width = np.where(np.isfinite(high - low), high - low, self.scale)
        margin = 1e-9 * np.minimum(width, self.scale)
        return np.clip(x, low + margin, high - margin)


class FreeParameters(FreeVector):
    """The free parameters of a law.

    Args:
        law: The law; parameters that are not named keep its values.
        free: By dotted name, ``{"hardening.Q": Free(0, 500)}``; a pair ``(lower, upper)`` is the
            same. The name of a part, such as a network, frees all parameters in it.

    Raises:
        MaterialError: Unknown name, bounds crossed or not admissible, start outside them.
    """

    def __init__(self, law: Material, free: Mapping[str, Any]) -> None:
        if not isinstance(law, Material):
            raise MaterialError(f"fit: expected a law; got {type(law).__name__}")
        if not isinstance(free, Mapping) or not free:
            raise MaterialError(
                f'fit: expected free parameters by name, e.g. {{"E": Free(1e3, 1e6)}}; got {free!r}'
            )
        self.law = law
        leaves = named_leaves(law)
        known = {n: v for n, v in leaves.items() if _is_number(v)}
        found = _expanded(law, free, known)
        self.set_up(f"fit: {type(law).__name__}", found, known, parameter_ranges(law))
        first = 0
        places = []
        for name, given in found.items():
            shape = np.shape(known[name])
            places.append(Place(list(leaves).index(name), first, shape, given.log))
            first += int(np.prod(shape))
        self.places = tuple(places)
        self.check(self.start)

    def check(self, x: Floats) -> None:
        """Whether the law admits these values, also together; else a MaterialError."""
        check_parameters(self.law, self.values(x))

    def law_at(self, x: Floats) -> Material:
        """The law with these values."""
        found: Material = insert(self.law, self.places, self.scale, self.to_z(x))
        return found


def insert(law: Any, places: tuple[Place, ...], scale: Any, z: Any) -> Any:
    """The law with its free parameters from z; differentiable."""
    leaves, tree = jax.tree.flatten(law)
    for leaf, first, shape, log in places:
        part = slice(first, first + int(np.prod(shape)))
        value = jnp.exp(z[part]) if log else scale[part] * z[part]
        leaves[leaf] = jnp.reshape(jnp.asarray(value), shape)
    return jax.tree.unflatten(tree, leaves)


def _is_number(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and np.dtype(leaf.dtype).kind == "f"


def _index(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]" if index else ""


def _as_free(what: str, name: str, given: Any) -> Free:
    if isinstance(given, tuple | list) and len(given) == 2:
        given = Free(*given)
    if not isinstance(given, Free):
        raise MaterialError(
            f"{what}: '{name}': expected Free(lower, upper) or a pair of bounds; got {given!r}"
        )
    return given


def _expanded(law: Any, free: Mapping[str, Any], known: dict[str, Any]) -> dict[str, Free]:
    """Each parameter with what was said about it, also where a part was named."""
    found: dict[str, Free] = {}
    for name, given in free.items():
        given = _as_free("fit", name, given)
        inside = [name] if name in known else [k for k in known if k.startswith(f"{name}.")]
        if not inside:
            raise MaterialError(unknown(f"fit: parameters of {type(law).__name__}", name, known))
        for key in inside:
            if key in found:
                raise MaterialError(f"fit: parameter '{key}' is named twice")
            found[key] = given
    return found


def _entries(what: str, given: Free, value: Any, limits: Any) -> tuple[Floats, ...]:
    """start, lower, upper, scale of a parameter; (entries,) each."""
    shape = np.shape(value)

    def full(label: str, item: Any, default: Any) -> Floats:
        try:
            array = np.array(default if item is None else item, float)
            array = np.broadcast_to(array, shape).ravel()
        except (TypeError, ValueError) as error:
            raise MaterialError(
                f"{what}: {label}={item!r}: expected a number, or numbers of shape {shape}"
            ) from error
        if np.isnan(array).any():
            raise MaterialError(f"{what}: {label} is NaN")
        return array

    plain = limits is not None and limits.accept is None
    start = full("start", given.start, np.asarray(value))
    if not np.isfinite(start).all():
        raise MaterialError(f"{what}: start must be finite; got {given.start!r}")
    lower = full("lower", given.lower, limits.lower if plain else -np.inf)
    upper = full("upper", given.upper, limits.upper if plain else np.inf)
    if given.log:
        lower = np.where(np.isneginf(lower), 0.0, lower) if given.lower is None else lower
        if (lower < 0.0).any() or (start <= 0.0).any():
            raise MaterialError(
                f"{what}: log=True is for positive parameters; got lower={lower.min():g}, "
                f"start={start.min():g}"
            )
    if bad := np.flatnonzero(lower >= upper).tolist():
        k = bad[0]
        raise MaterialError(
            f"{what}: the bounds cross: lower={lower[k]:g} >= upper={upper[k]:g}; leave a "
            "parameter out to keep it fixed"
        )
    if plain:
        for label, bound, wrong in (
            ("lower", lower, lower < limits.lower),
            ("upper", upper, upper > limits.upper),
        ):
            if wrong.any():
                raise MaterialError(
                    f"{what}: {label}={bound[np.argmax(wrong)]:g} is outside of what the law "
                    f"admits: {limits}"
                )
    outside = (start < lower) | (start > upper)
    if outside.any():
        k = int(np.argmax(outside))
        source = "the law's value" if given.start is None else "start"
        raise MaterialError(
            f"{what}: {source} {start[k]:g} is outside the bounds [{lower[k]:g}, {upper[k]:g}]; "
            "give start=... within them"
        )
    width = np.where(np.isfinite(upper - lower), upper - lower, 0.0)
    sizes = np.abs(start)
    typical = float(np.sqrt(np.mean(sizes**2)))  # of an array with some zeros, e.g. a network
    default = np.where(sizes > 0.0, sizes, np.where(width > 0.0, width, typical or 1.0))
    if len(sizes) > 1 and typical > 0.0:
        default = np.maximum(default, 1e-3 * typical)
    scale = full("scale", given.scale, default.reshape(shape))
    if not ((scale > 0.0) & np.isfinite(scale)).all():
        raise MaterialError(f"{what}: scale must be a number > 0; got {given.scale!r}")
    return start, lower, upper, scale
