"""A law as plain data and back: numbers, text, and names of classes that the reader knows.

What JSON has stands for itself. Everything else is a table with a key that says what it is:

- ``{"class": NAME, "from": WHERE, "fields": {...}}``: an object. WHERE is ``dolfinx_admat``,
  ``equinox.nn``, or the module of a class of the user's own.
- ``{"function": NAME}``: a function of a fixed list; with ``"from"`` one of the user's own.
- ``{"array": DTYPE, "shape": [...], "values": [...], "of": "jax" | "numpy" | "numpy scalar"}``.
- ``{"tuple": [...]}``, ``{"list": [...]}``, ``{"dict": {...}}``, ``{"float": "inf"}``.

Nothing here imports anything by a name that it reads.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.materials._declare import same_structure
from dolfinx_admat.materials.registry import library_classes, library_functions, network_classes

LIBRARY, NETWORKS = "dolfinx_admat", "equinox.nn"
_NUMBERS = {
    "float64": float, "float32": float, "int64": int, "int32": int, "uint32": int, "bool": bool,
}  # fmt: skip
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_NOT_USERS = ("dolfinx_admat", "equinox", "jax")
_LARGEST = 2**31  # an axis beyond it is damage, also in an array without numbers


def own_classes() -> dict[tuple[str, str], type]:
    """Classes that need not be given by the caller, by where they are from and their name."""
    own: dict[tuple[str, str], type] = {(LIBRARY, n): c for n, c in library_classes().items()}
    own |= {(NETWORKS, n): c for n, c in network_classes().items()}
    own[LIBRARY, "LocalNewton"] = LocalNewton
    return own


# -- Writing ---------------------------------------------------------------------------------


class Description:
    """Makes plain data of a law.

    Args:
        objects: False: only numbers, text and arrays may come.

    Attributes:
        needed: Classes and functions of the user's own that came, by name.
    """

    def __init__(self, *, objects: bool = True):
        self.needed: dict[str, Any] = {}
        self._objects = objects
        self._classes = {c: name for name, c in own_classes().items()}
        self._functions = [(f, name) for name, f in library_functions().items()]

    def of(self, value: Any, where: str) -> Any:
        """The value as what JSON can hold.

        Raises:
            MaterialError: It is nothing that can be stored as data.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) in (tuple, list):
            items = [self.of(item, f"{where}[{k}]") for k, item in enumerate(value)]
            return {type(value).__name__: items}
        if type(value) is dict:
            for key in value:
                if type(key) is not str:
                    raise MaterialError(f"{where}: keys must be text to be saved; got {key!r}")
            return {"dict": {key: self.of(item, f"{where}.{key}") for key, item in value.items()}}
        if isinstance(value, jax.core.Tracer):
            raise MaterialError(
                f"{where}: its value is not known inside a JAX transformation; save outside"
            )
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return _array(value, where)
        if self._objects:
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                return self._object(value, where)
            if callable(value):
                return self._function(value, where)
        raise MaterialError(
            f"{where}: a {type(value).__name__} cannot be saved; expected numbers, text, arrays"
            + (", laws and parts of laws" if self._objects else ", and lists or dicts of them")
        )

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        kind = type(value)
        place, name = self._classes.get(kind, (kind.__module__, kind.__name__))
        if kind not in self._classes:
            if not isinstance(value, eqx.Module) or place.split(".")[0] in _NOT_USERS:
                raise MaterialError(
                    f"{where}: a {name} of {place} cannot be saved; expected a part of the "
                    f"library, a layer ({', '.join(network_classes())}), or a class of your own "
                    "that derives from dolfinx_admat.Parameters or equinox.Module"
                )
            self._need(name, kind, where)
        fields = {}
        for field in dataclasses.fields(value):
            fields[field.name] = self.of(getattr(value, field.name), f"{where}.{field.name}")
        return {"class": name, "from": place, "fields": fields}

    def _function(self, function: Any, where: str) -> dict[str, str]:
        for known, name in self._functions:
            if known is function:
                return {"function": name}
        name = getattr(function, "__qualname__", "")
        if not isinstance(function, types.FunctionType) or not name.isidentifier():
            raise MaterialError(
                f"{where}: {function!r} is code, which a law file does not hold. Write it as a "
                "class with parameters (class Mine(dolfinx_admat.Parameters) with __call__), take "
                "a part of the library (Table, Polynomial, TabulatedHardening), or define it by "
                "`def` at the top of a module; the last is saved by its name"
            )
        self._need(name, function, where)
        return {"function": name, "from": function.__module__}

    def _need(self, name: str, thing: Any, where: str) -> None:
        if self.needed.setdefault(name, thing) is not thing:
            raise MaterialError(f"{where}: the law has two classes named {name}; rename one")


def _array(value: Any, where: str) -> dict[str, Any]:
    numbers = None if jnp.issubdtype(value.dtype, jax.dtypes.extended) else np.asarray(value)
    if numbers is None or str(numbers.dtype) not in _NUMBERS:
        raise MaterialError(
            f"{where}: an array of {value.dtype} cannot be saved; expected {', '.join(_NUMBERS)}"
        )
    flat: list[Any] = numbers.ravel().tolist()
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        flat = [v if math.isfinite(v) else str(v) for v in flat]
    kinds = {np.ndarray: "numpy", np.generic: "numpy scalar", jax.Array: "jax"}
    of = next(name for kind, name in kinds.items() if isinstance(value, kind))
    return {"array": str(numbers.dtype), "shape": list(numbers.shape), "values": flat, "of": of}


# -- Reading ---------------------------------------------------------------------------------


class Reader:
    """Makes a law of plain data.

    Args:
        known: Classes and functions of the caller's own.

    Raises:
        MaterialError: ``known`` has something else, or two things of one name.
    """

    def __init__(self, known: Iterable[Any] = ()):
        self._known: dict[str, Any] = {}
        for thing in known:
            is_class = isinstance(thing, type) and issubclass(thing, eqx.Module)
            if not (is_class or isinstance(thing, types.FunctionType)):
                raise MaterialError(
                    f"known: expected classes of laws or parts, and functions; got {thing!r}"
                )
            if self._known.setdefault(thing.__name__, thing) is not thing:
                raise MaterialError(f"known: two things are named {thing.__name__}; rename one")
        self._classes = own_classes()
        self._functions = library_functions()

    def value(self, data: Any, where: str) -> Any:
        """What the data stand for.

        Raises:
            MaterialError: They stand for nothing, or a law's own checks refuse them.
        """
        if data is None or type(data) in (bool, int, str, float):
            return data
        kind = kind_of(data, where)
        if kind == "class":
            return self._object(data, where)
        if kind == "function":
            return self._found(data, "function", where)
        if kind == "array":
            return _restored_array(data, where)
        if kind == "float":
            return _NOT_FINITE[_expect(data["float"], str, where, _NOT_FINITE)]
        if kind == "dict":
            items = _expect(data["dict"], dict, where)
            return {key: self.value(item, f"{where}.{key}") for key, item in items.items()}
        make: Callable[..., Any] = tuple if kind == "tuple" else list
        return make(
            self.value(item, f"{where}[{k}]")
            for k, item in enumerate(_expect(data[kind], list, where))
        )

    def _found(self, data: dict[str, Any], kind: str, where: str) -> Any:
        """A class or function by its name: of the library, or given by the caller."""
        name = _expect(data[kind], str, where)
        if kind == "function" and "from" not in data:
            if name not in self._functions:
                raise MaterialError(
                    f"{where}: '{name}' is none of the functions that a law file may name: "
                    f"{', '.join(self._functions)}"
                )
            return self._functions[name]
        place = _expect(data["from"], str, where)
        if kind == "class" and place in (LIBRARY, NETWORKS):
            if (place, name) not in self._classes:
                raise MaterialError(
                    f"{where}: {place} has no class '{name}' that a law file may name; was the "
                    "file written by another version?"
                )
            return self._classes[place, name]
        thing = self._known.get(name)
        if thing is None or isinstance(thing, type) != (kind == "class"):
            raise MaterialError(
                f"{where}: the {kind} '{name}' (of module '{place}') is not of this library, and "
                f"nothing is imported by a name in a file; import it and give it: "
                f"load_law(path, known=[{name}])"
            )
        return thing

    def _object(self, data: dict[str, Any], where: str) -> Any:
        kind = self._found(data, "class", where)
        given = _expect(data["fields"], dict, where)
        names = [field.name for field in dataclasses.fields(kind)]
        missing, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
        if missing or unknown:
            raise MaterialError(
                f"{where}: the fields do not fit class {kind.__name__}: "
                f"missing {missing}, unknown {unknown}; expected {names}. Has the class changed "
                "since the file was written?"
            )
        fields = {name: self.value(given[name], f"{where}.{name}") for name in names}
        try:
            return kind(**fields) if kind is LocalNewton else _as_it_was(kind, fields)
        except MaterialError as error:
            text = str(error)  # which begins with the class
            raise MaterialError(text if where == kind.__name__ else f"{where}: {text}") from error
        except Exception as error:  # a check that met what it did not expect
            reason = f"{type(error).__name__}: {error}"
            raise MaterialError(f"{where}: no {kind.__name__} can have these: {reason}") from error


def _as_it_was(kind: type[eqx.Module], fields: dict[str, Any]) -> eqx.Module:
    """The object with these fields, as Equinox makes it in a pytree, and then its checks.

    A constructor would rather make a new one: that of a network draws new weights.
    """
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    for base in kind.__mro__:
        if "__check_init__" in vars(base):
            vars(base)["__check_init__"](made)
    return made


def kind_of(data: Any, where: str) -> str:
    """Which table of the module's list the data are, with all keys that it needs."""
    needed = {
        "class": {"from", "fields"}, "function": set(), "array": {"shape", "values", "of"},
        "tuple": set(), "list": set(), "dict": set(), "float": set(),
    }  # fmt: skip
    keys = set(data) if isinstance(data, dict) else set()
    for kind, more in needed.items():
        allowed = {kind, *more} | ({"from"} if kind == "function" else set())
        if kind in keys and keys >= more and keys <= allowed:
            return kind
    raise MaterialError(
        f"{where}: expected a number, text, or a table with one of {', '.join(needed)}; "
        f"got {str(data)[:80]}"
    )


def _expect(value: Any, kind: type, where: str, among: Collection[str] | None = None) -> Any:
    if type(value) is not kind or (among is not None and value not in among):
        what = kind.__name__ if among is None else f"one of {', '.join(among)}"
        raise MaterialError(f"{where}: expected {what}; got {str(value)[:80]}")
    return value


def _restored_array(data: dict[str, Any], where: str) -> Any:
    kind = _NUMBERS[_expect(data["array"], str, where, _NUMBERS)]
    of = _expect(data["of"], str, where, ("jax", "numpy", "numpy scalar"))
    shape, values = _expect(data["shape"], list, where), _expect(data["values"], list, where)
    good = all(type(n) is int and 0 <= n < _LARGEST for n in shape)
    if not good or math.prod(shape) != len(values) or (of == "numpy scalar" and shape):
        raise MaterialError(
            f"{where}: the shape {str(shape)[:80]} does not fit its {len(values)} numbers"
        )
    if not all(type(v) is kind for v in values):
        if kind is float:
            values = [_NOT_FINITE.get(v, v) if type(v) is str else v for v in values]
        if bad := [v for v in values if type(v) is not kind]:
            raise MaterialError(f"{where}: expected {data['array']}; got {str(bad[0])[:80]}")
    try:
        numbers = np.array(values, dtype=data["array"]).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise MaterialError(f"{where}: no array of {data['array']}: {error}") from error
    if of == "jax":
        return jnp.asarray(numbers)
    return numbers[()] if of == "numpy scalar" else numbers


def same(a: Any, b: Any) -> bool:
    """Whether two trees agree in structure, kinds, and every bit of their numbers."""
    first, second = jax.tree.leaves(a), jax.tree.leaves(b)
    return same_structure(a, b) and all(map(_same_leaf, first, second))


def _same_leaf(a: Any, b: Any) -> bool:
    if not hasattr(a, "dtype"):
        return type(a) is type(b) and bool(a == b)
    x, y = np.asarray(a), np.asarray(b)
    alike = (x.dtype, x.shape) == (y.dtype, y.shape)
    return alike and isinstance(a, jax.Array) == isinstance(b, jax.Array) and (
        x.tobytes() == y.tobytes()
    )  # fmt: skip
