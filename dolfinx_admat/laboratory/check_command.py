"""`python -m dolfinx_admat check LAW`: both reports of a law from the command line."""

import argparse
import dataclasses
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp

from dolfinx_admat import materials
from dolfinx_admat.errors import AdmatError, MaterialError
from dolfinx_admat.law_file import load_law
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves
from dolfinx_admat.materials.parameters import check_parameters, replace_parameters

from ._examples import EXAMPLES
from .audit import audit
from .tangent import check_tangent

_LAW = """\
a law of the library by its name, with sample parameters (J2Plasticity); or MODULE:NAME or
FILE.py:NAME, where NAME is a law, a function without arguments that returns one, or a class (with
--set, unless all its fields have defaults); FILE.py alone if it has one law; FILE.toml, a case
file (or its table `law` only); or FILE.json, which save_law wrote"""
_SET = """\
a parameter: of a class a field, VALUE being a Python expression in which everything of
dolfinx_admat is known (hardening="LinearHardening(250, 1000)"); of a law that is there already a
number by its dotted name (hardening.sigma_y=300). May be repeated"""


class LawNotFound(AdmatError):
    """The command line names no law that could be made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``check``."""
    parser.add_argument("law", help=_LAW)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=_SET)
    parser.add_argument("--scale", type=float, help="size of the deformation; default: found")
    parser.add_argument("--dt", type=float, help="step, units of time; default: found")
    parser.add_argument(
        "--rest", action="append", default=[], metavar="NAME=VALUE",
        help="value of an input at rest that is not zero, e.g. temperature=293",
    )  # fmt: skip
    parser.add_argument("--points", type=int, default=16, help="how many random points")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--backend", default="auto", choices=("auto", "native", "xla"))
    parser.add_argument(
        "--quick", action="store_true",
        help="compile one kernel only: no derivatives through the iterations, no reverse mode, "
        "no other backend",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print both reports; 0 if both passed, 1 if not, 2 if there is no such law."""
    try:
        law = find_law(options.law, options.set)
        common = {
            "scale": options.scale, "dt": options.dt, "seed": options.seed,
            "points": options.points, "backend": options.backend,
            "rest": {name: float(value) for name, value in map(_pair, options.rest)},
        }  # fmt: skip
        tangent = check_tangent(law, unrolled=not options.quick, **common)
        print(tangent, flush=True)
        more = not options.quick
        found = audit(law, both_backends=more, pullback=more, **common)
        print(found, flush=True)
    except LawNotFound as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    except (AdmatError, ValueError) as error:
        print(f"check: {options.law}: {error}", file=sys.stderr)
        return 1
    return 0 if tangent.passed and found.passed else 1


def find_law(name: str, settings: list[str] = []) -> Material:  # noqa: B006 - read only
    """The law that a command line means.

    Args:
        name: Library name, ``MODULE:NAME``, ``FILE.py:NAME``, ``FILE.toml`` or ``FILE.json``.
        settings: ``NAME=VALUE`` each.

    Raises:
        LawNotFound: There is no such thing, or it is no law, or it cannot be made.
    """
    pairs = [_pair(text) for text in settings]
    if name.endswith((".toml", ".json")):
        return _adjusted(_from_file(name), pairs)
    place, _, attribute = name.partition(":")
    if not attribute and not place.endswith(".py"):
        if place not in EXAMPLES:
            raise LawNotFound(
                f"no law '{name}' in the library; there are {', '.join(sorted(EXAMPLES))}; or give "
                "MODULE:NAME or FILE.py:NAME"
            )
        return _adjusted(EXAMPLES[place](), pairs)
    module = load_module(place)
    if attribute and not hasattr(module, attribute):
        known = [n for n, v in vars(module).items() if _is_law(v)]
        raise LawNotFound(f"{place} has no '{attribute}'; its laws are {known}")
    thing = getattr(module, attribute) if attribute else _only_law(module, place)
    if isinstance(thing, type) and issubclass(thing, Material):
        from_library = getattr(materials, thing.__name__, None) == thing
        if from_library and not pairs and thing.__name__ in EXAMPLES:
            return EXAMPLES[thing.__name__]()
        return _made(thing, {key: _value(key, text, module) for key, text in pairs})
    if callable(thing) and not isinstance(thing, Material):
        try:
            thing = thing()
        except TypeError as error:
            raise LawNotFound(
                f"{name}: a function without arguments is expected; {error}"
            ) from error
    if not isinstance(thing, Material):
        raise LawNotFound(f"{name} is no law but {type(thing).__name__}")
    return _adjusted(thing, pairs)


def _from_file(name: str) -> Material:
    """The law of a law file, or of a case file; that may have nothing but it."""
    from .case_file import read_law  # which needs this module

    try:
        return load_law(name) if name.endswith(".json") else read_law(name)
    except MaterialError as error:
        raise LawNotFound(str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise LawNotFound(f"expected NAME=VALUE; got '{text}'")
    return name.strip(), value


def load_module(place: str) -> ModuleType:
    """A module by its name or its file (.py), or LawNotFound."""
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).resolve()
        if not path.is_file():
            raise LawNotFound(f"there is no file {place}")
        sys.path.insert(0, str(path.parent))  # for what it imports from beside itself
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise LawNotFound(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # so that equinox finds annotations
        spec.loader.exec_module(module)
        return module
    except ModuleNotFoundError as error:
        raise LawNotFound(f"cannot import {place}: {error}") from error


def _is_law(thing: Any) -> bool:
    return isinstance(thing, Material) or (isinstance(thing, type) and issubclass(thing, Material))


def _only_law(module: ModuleType, place: str) -> Any:
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Material)
        or (_is_law(value) and getattr(value, "__module__", None) == module.__name__)
    }
    if len(own) != 1:
        raise LawNotFound(f"{place} has {len(own)} laws, {sorted(own)}; say which: {place}:NAME")
    return next(iter(own.values()))


def _value(name: str, text: str, module: ModuleType) -> Any:
    """A Python expression, as the user would write it in a script of their own."""
    known = {**vars(materials), **vars(module)}
    try:
        return eval(text, known)
    except Exception as error:
        raise LawNotFound(f"--set {name}={text}: {type(error).__name__}: {error}") from error


def _made(law: type[Material], fields: dict[str, Any]) -> Material:
    try:
        return law(**fields)
    except MaterialError as error:
        raise LawNotFound(str(error)) from error
    except TypeError as error:
        names = [field.name for field in dataclasses.fields(law) if field.name != "solver"]
        raise LawNotFound(
            f"{law.__name__}: {error}; give its fields {names} by --set NAME=VALUE, or name a "
            "function that returns the law"
        ) from error


def _adjusted(law: Material, pairs: list[tuple[str, str]]) -> Material:
    """A law with some of its numbers replaced."""
    known = {n: v for n, v in named_leaves(law).items() if hasattr(v, "shape")}
    values = {}
    for name, text in pairs:
        if name not in known:
            raise LawNotFound(
                f"{type(law).__name__} has no parameter '{name}'; it has {sorted(known)}"
            )
        try:
            numbers = [float(number) for number in text.strip("[] ").split(",")]
            values[name] = jnp.asarray(numbers).reshape(jnp.shape(known[name]))
        except (ValueError, TypeError) as error:
            raise LawNotFound(f"--set {name}={text}: expected numbers") from error
    law = replace_parameters(law, values)
    try:
        check_parameters(law)
    except MaterialError as error:
        raise LawNotFound(str(error)) from error
    return law
