"""Arguments of learned laws and of their training: what they must be, said alike everywhere."""

from typing import Any

import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.materials import Material


def is_number(value: Any) -> bool:
    """Whether it is a plain number or one of numpy; True and False are none."""
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number, at least that large; True and False are none."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(value >= least)


def check_whole(what: str, least: int = 1, **numbers: Any) -> None:
    """Numbers of things.

    Raises:
        MaterialError: One is no whole number, or too small.
    """
    for name, value in numbers.items():
        if not is_whole(value, least):
            raise MaterialError(f"{what}: {name} must be a whole number >= {least}; got {value!r}")


def check_flag(what: str, **flags: Any) -> None:
    """Switches.

    Raises:
        MaterialError: One is neither True nor False.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise MaterialError(f"{what}: {name} must be True or False; got {value!r}")


def check_seed(what: str, seed: Any, *, parts: bool = False) -> None:
    """Seeds of random numbers; with ``parts`` also None, or several.

    Raises:
        MaterialError: It is no whole number >= 0.
    """
    several = parts and isinstance(seed, tuple | list) and len(seed) > 0
    good = all(is_whole(s, 0) for s in seed) if several else is_whole(seed, 0)
    if not (good or (parts and seed is None)):
        more = ", a tuple of such, or None" if parts else ""
        raise MaterialError(f"{what}: seed must be a whole number >= 0{more}; got {seed!r}")


def positive_number(what: str, name: str, value: Any) -> float:
    """A size that is given, as a plain number; one of numpy will do.

    Raises:
        MaterialError: It is no finite number > 0.
    """
    try:
        good = not isinstance(value, bool | str | bytes) and np.ndim(value) == 0
        found = float(value) if good else np.nan
    except (TypeError, ValueError, OverflowError):
        found = np.nan
    if not 0.0 < found < np.inf:
        raise MaterialError(f"{what}: {name} must be a number > 0; got {value!r}")
    return found


def positive_pair(what: str, name: str, value: Any) -> tuple[float, float]:
    """Two sizes, (least, largest), as plain numbers; whether they are in order is not checked.

    Raises:
        MaterialError: They are not two finite numbers > 0.
    """
    try:
        low, high = (positive_number(what, name, v) for v in value)
    except (TypeError, ValueError, MaterialError):
        raise MaterialError(
            f"{what}: {name} must be (least, largest), two numbers > 0; got {value!r}"
        ) from None
    return low, high


def check_law(what: str, law: Any) -> None:
    """Laws are ``Material``.

    Raises:
        MaterialError: It is none.
    """
    if not isinstance(law, Material):
        raise MaterialError(f"{what}: expected a law; got {type(law).__name__}")


def check_solver(what: str, solver: Any) -> None:
    """Settings of local solves are a ``LocalNewton``, also in a file that was edited.

    Raises:
        MaterialError: They are something else.
    """
    if not isinstance(solver, LocalNewton):
        raise MaterialError(f"{what}: solver must be a LocalNewton; got {solver!r}")


def check_unit(what: str, **units: Any) -> None:
    """Units are positive, finite, plain numbers.

    Raises:
        MaterialError: One is not.
    """
    for name, value in units.items():
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not (good and 0.0 < value < np.inf):
            raise MaterialError(f"{what}: {name} must be a number > 0; got {value!r}")
