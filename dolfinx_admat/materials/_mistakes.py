"""Turn what JAX says about a mistake in a user's law into a message about that law's line."""

import dataclasses
import inspect
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from dolfinx_admat.errors import AdmatError, MaterialError

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_LIBRARY_LAWS = os.path.dirname(__file__)
_NO_LAWS = ("base.py", "generalised_standard.py", "parameters.py", "point.py", "wrapper.py")
_STDLIB = sysconfig.get_path("stdlib") + os.sep

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
        "an array cannot be a Python index, size or range; use a constant (an integer parameter "
        "stays one when its field is equinox.field(static=True)), or jnp.take",
    ),
    (
        TypeError,
        "integer",
        "an array cannot be a Python index, size or range; use a constant (an integer parameter "
        "stays one when its field is equinox.field(static=True)), or jnp.take",
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
        ValueError,
        "setting an array element",
        "a numpy array cannot hold traced values; use jax.numpy: jnp.array([...]), or "
        "`a = a.at[i].set(value)` with a = jnp.zeros(...)",
    ),
    (
        jax.errors.UnexpectedTracerError,
        "",
        "a traced value was kept outside the function (self, a global, a list); return it instead",
    ),
    (KeyError, "", "no such name; see the names that initial_state() and `inputs` declare"),
    (
        dataclasses.FrozenInstanceError,
        "",
        "a law cannot change itself; return new state from the update instead",
    ),
]


def _is_law_frame(filename: str, law: Any) -> bool:
    """Whether the line is the law's, not of a library that it calls."""
    folder, file = os.path.split(filename)
    if folder == _LIBRARY_LAWS:
        return not file.startswith("_") and file not in _NO_LAWS
    if filename.startswith((_PACKAGE + os.sep, "<frozen")):
        return False
    installed = "site-packages" in filename or "dist-packages" in filename
    if installed or filename.startswith(_STDLIB):
        own = getattr(sys.modules.get(type(law).__module__), "__file__", None)
        return own is not None and folder == os.path.dirname(own)
    return True


def where_defined(law: Any, method: str) -> str:
    """``(MyLaw.update at law.py:12)``: where a method of the law is written."""
    function: Any = getattr(type(law), method, None)  # a wrapper may have none
    try:
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (OSError, TypeError):  # typed into an interactive session
        return f"({type(law).__name__}.{method})"
    return f"({type(law).__name__}.{method} at {file}:{line})"


@contextmanager
def explained(law: Any, method: str) -> Iterator[None]:
    """Report an exception of the law's own code at its file and line, with the remedy.

    Under ``jax.disable_jit()``, where one looks for a mistake, exceptions pass unchanged: a
    post-mortem debugger then stops at the line itself.

    Raises:
        MaterialError: Instead of any other exception, which is kept as its cause.
    """
    try:
        yield
    except AdmatError:
        raise
    except Exception as error:
        if jax.config.jax_disable_jit:
            raise
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if _is_law_frame(f.filename, law)
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
