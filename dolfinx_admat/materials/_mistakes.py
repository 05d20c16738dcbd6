"""Turn what JAX says about a mistake in a user's law into a message about that law's line."""

import inspect
import linecache
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import equinox
import jax
import numpy as np

from ..errors import AdmatError, MaterialError

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_LIBRARY_LAWS = os.path.dirname(__file__)
_FOREIGN = tuple(os.path.dirname(m.__file__) + os.sep for m in (jax, np, equinox))

_NUMPY = (
    "a numpy (or math) function met a traced value; use the function of the same name in "
    "jax.numpy: `import jax.numpy as jnp`"
)
_REMEDIES: list[tuple[type, str, str]] = [
    (
        jax.errors.TracerBoolConversionError,
        "",
        "Python's `if`, `while`, `and`, `or`, `not`, `min`, `max` cannot branch on a traced "
        "value; use jnp.where(condition, a, b), jnp.minimum/maximum, or jax.lax.cond",
    ),
    (jax.errors.TracerArrayConversionError, "", _NUMPY),
    (
        jax.errors.TracerIntegerConversionError,
        "",
        "a traced value cannot be a Python index or size; use a constant, or jnp.take",
    ),
    (
        jax.errors.ConcretizationTypeError,
        "",
        "float(), int(), bool(), math.* or a shape need a known number, not a traced value; keep "
        "it an array and use jax.numpy",
    ),
    (
        TypeError,
        "item assignment",
        "JAX arrays do not change in place; write `a = a.at[i].set(value)` (or .add)",
    ),
    (TypeError, "only length-1 arrays", _NUMPY),
    (
        jax.errors.UnexpectedTracerError,
        "",
        "a traced value was kept outside the function (self, a global, a list); return it instead",
    ),
    (KeyError, "", "no such name; see the names that initial_state() and `inputs` declare"),
    (
        equinox.__dict__.get("FrozenInstanceError", ()) or AttributeError,
        "cannot assign to field",
        "a law cannot change itself; return new state from the update instead",
    ),
]


def _is_law_frame(filename: str) -> bool:
    if filename.startswith(_LIBRARY_LAWS):
        return not os.path.basename(filename).startswith("_")
    return not filename.startswith((_PACKAGE, *_FOREIGN)) and not filename.startswith("<frozen")


def where_defined(law: Any, method: str) -> str:
    """``(MyLaw.update at law.py:12)``: where a method of the law is written."""
    function = getattr(type(law), method)
    try:
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (OSError, TypeError):  # typed into an interactive session
        return f"({type(law).__name__}.{method})"
    return f"({type(law).__name__}.{method} at {file}:{line})"


@contextmanager
def explained(law: Any, method: str) -> Iterator[None]:
    """Report an exception of the law's own code at its file and line, with the remedy.

    Raises:
        MaterialError: Instead of any other exception, which is kept as its cause.
    """
    try:
        yield
    except AdmatError:
        raise
    except Exception as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if _is_law_frame(f.filename)
        ]
        if frames:
            f = frames[-1]
            source = (f.line or linecache.getline(f.filename, f.lineno or 0)).strip()
            place = f"{f.filename}:{f.lineno} in {f.name}: `{source}`"
        else:
            place = where_defined(law, method)
        remedy = next(
            (
                text
                for kind, part, text in _REMEDIES
                if isinstance(error, kind) and part in str(error)
            ),
            "",
        )
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise MaterialError(
            f"{type(law).__name__}.{method}: mistake at {place}\n"
            f"  {type(error).__name__}: {first_line}\n"
            + (f"  Remedy: {remedy}\n" if remedy else "")
            + "  One point runs unjitted under a debugger with "
            "dolfinx_admat.evaluate_point(law, ..., jit=False)."
        ) from error
