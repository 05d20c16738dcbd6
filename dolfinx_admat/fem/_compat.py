"""Calls that may change with the version of dolfinx, PETSc or petsc4py; all of them are here."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from petsc4py import PETSc

import dolfinx.fem.petsc
import dolfinx.la.petsc
import numpy as np

ghost_update = dolfinx.la.petsc._ghost_update
assemble_residual = dolfinx.fem.petsc.assemble_residual
assemble_jacobian = dolfinx.fem.petsc.assemble_jacobian


@cache
def _petsc_library() -> Any:
    try:
        library = ctypes.CDLL(str(dolfinx.fem.petsc.get_petsc_lib()))
        library.SNESSetFunctionDomainError.argtypes = [ctypes.c_void_p]
        return library
    except (OSError, AttributeError, RuntimeError):
        return None


def set_domain_error(snes: PETSc.SNES, b: PETSc.Vec) -> None:
    """Tell SNES that the residual does not exist at this point. Collective: yes.

    petsc4py has no such call before 3.26; where the library cannot be reached either, a NaN
    in the residual has the same effect.
    """
    b.set(0.0)
    if hasattr(snes, "setFunctionDomainError"):
        snes.setFunctionDomainError()
    elif (library := _petsc_library()) is not None:
        library.SNESSetFunctionDomainError(snes.handle)
    else:
        b.set(float("nan"))


#: Name of the line search that solves F.dx = 0 by the secant method.
SECANT = "secant" if PETSc.Sys.getVersion() >= (3, 24, 0) else "l2"


@cache
def direct_solver() -> str | None:
    """The best parallel LU package that this PETSc has; None: only PETSc's own, serial."""
    for package in ("mumps", "superlu_dist"):
        if PETSc.Sys.hasExternalPackage(package):
            return package
    return None


class ScopedOptions:
    """PETSc options under a prefix, in the global database only while they are needed.

    dolfinx leaves its options there (``Options.delValue`` ignores a pushed prefix in petsc4py
    3.25), so a second problem of the same prefix would inherit them; and multigrid reads its
    options when it is set up, so deleting them earlier would lose them.

    Args:
        prefix: Options prefix.
        defaults: Options that give way to what the database (the command line) has.
        chosen: Options that win over it.
    """

    def __init__(self, prefix: str, defaults: dict[str, Any], chosen: dict[str, Any]) -> None:
        self._database = PETSc.Options()
        self._values = {prefix + key: value for key, value in chosen.items()}
        for key, value in defaults.items():
            if not self._database.hasName(prefix + key):
                self._values.setdefault(prefix + key, value)
        self._before: dict[str, str] = {}

    def __enter__(self) -> None:
        """Put the options into the database."""
        for name, value in self._values.items():
            if self._database.hasName(name):
                self._before[name] = self._database.getString(name)
            self._database.setValue(name, value)

    def __exit__(self, *_: object) -> None:
        """Leave the database as it was."""
        for name in self._values:
            self._database.delValue(name)
        for name, value in self._before.items():
            self._database.setValue(name, value)
        self._before = {}


@cache
def _matrix_library() -> Any:
    library = ctypes.CDLL(str(dolfinx.fem.petsc.get_petsc_lib()))
    pointer = ctypes.c_void_p
    for name in ("MatSeqAIJGetArray", "MatSeqAIJRestoreArray"):
        getattr(library, name).argtypes = [pointer, ctypes.POINTER(pointer)]
    library.MatMPIAIJGetSeqAIJ.argtypes = [pointer, *[ctypes.POINTER(pointer)] * 3]
    return library


def has_aij_arrays() -> bool:
    """Whether ``aij_arrays`` works here: PETSc's library can be reached."""
    try:
        return _matrix_library() is not None and np.dtype(PETSc.ScalarType) == np.float64
    except (OSError, AttributeError, RuntimeError):
        return False


@contextmanager
def aij_arrays(A: PETSc.Mat, sizes: tuple[int, int]) -> Iterator[list[Any]]:
    """The values of an assembled AIJ matrix: of its diagonal and of its off-diagonal part.

    petsc4py has no such call. The arrays are PETSc's own memory, valid within the context.

    Args:
        A: Matrix of type ``seqaij`` or ``mpiaij``.
        sizes: Number of entries of the two parts.
    """
    library, pointer = _matrix_library(), ctypes.c_void_p
    parts = [pointer(A.handle)]
    if A.getType() == "mpiaij":
        parts = [pointer(), pointer()]
        columns = pointer()
        _checked(library.MatMPIAIJGetSeqAIJ(A.handle, *map(ctypes.byref, (*parts, columns))))
    data = [pointer() for _ in parts]
    for part, place in zip(parts, data, strict=True):
        _checked(library.MatSeqAIJGetArray(part, ctypes.byref(place)))
    arrays = [np.zeros(0), np.zeros(0)]
    for n, place in enumerate(data):
        if sizes[n]:
            numbers = ctypes.cast(place, ctypes.POINTER(ctypes.c_double))
            arrays[n] = np.ctypeslib.as_array(numbers, (sizes[n],))
    try:
        yield arrays
    finally:
        for part, place in zip(parts, data, strict=True):
            _checked(library.MatSeqAIJRestoreArray(part, ctypes.byref(place)))


def _checked(code: int) -> None:
    if code:
        raise RuntimeError(f"PETSc error {code}")
