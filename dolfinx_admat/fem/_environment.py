"""Checks that this Python, MPI, PETSc and dolfinx belong together; run when `fem` is imported.

Everything found here would otherwise show much later: as a wrong answer (complex or single
precision scalars), as n silent copies of a serial run (an mpiexec that belongs to another MPI),
or as an AttributeError deep in a solve (another dolfinx).
"""

import os
import sys
import warnings
from importlib import import_module
from types import ModuleType

import numpy as np

from dolfinx_admat import _runtime
from dolfinx_admat.errors import AdmatError

#: The dolfinx that this version was written for and is tested with.
SUPPORTED = (0, 11)

_CONDA = 'conda install -c conda-forge "fenics-dolfinx=0.11" mpich "petsc=*=real*" c-compiler'
_INSTALL = (
    f"Install it with `pip install 'dolfinx_admat[fenicsx]'` (Linux x86_64) or `{_CONDA}`; "
    "the laws and kernels of `import dolfinx_admat` work without it."
)


class InstallationError(AdmatError, ImportError):
    """FEniCSx is missing here, or is a build that this package cannot use."""


def check_environment() -> None:
    """Import MPI, PETSc and dolfinx and check them; raise before any work is done.

    Collective: no. Every rank finds the same, so every rank raises the same.

    Raises:
        InstallationError: FEniCSx is missing, too old, or built for complex or single precision
            scalars, or this mpiexec belongs to another MPI. The message names the remedy.

    Warns:
        UserWarning: dolfinx is newer than the version that this package was tested with; once
            per run, on rank 0.
    """
    mpi = _start_mpi()
    _check_launcher(_runtime.launcher_size(), mpi.COMM_WORLD.size, mpi.Get_library_version())
    petsc = _import("petsc4py.PETSc")
    _check_scalar(petsc.ScalarType, petsc.RealType)
    dolfinx = _import("dolfinx")
    if not dolfinx.has_petsc4py:
        raise InstallationError(
            f"dolfinx {dolfinx.__version__} was built without petsc4py, which this package needs. "
            f"{_INSTALL}"
        )
    _check_version(dolfinx.__version__, mpi.COMM_WORLD.rank)


def _start_mpi() -> ModuleType:
    """Import mpi4py.MPI; look who launched us before MPI starts, where that is still possible.

    MPICH under Open MPI's mpiexec ends the process while it starts, in words of its own.
    """
    mpi4py = _import("mpi4py")
    if (
        "mpi4py.MPI" in sys.modules
        or not mpi4py.rc.initialize
        or "OMPI_COMM_WORLD_SIZE" not in os.environ
    ):
        return _import("mpi4py.MPI")
    before = mpi4py.rc.initialize, mpi4py.rc.finalize
    mpi4py.rc.initialize, mpi4py.rc.finalize = False, before[1] is not False
    try:
        mpi = _import("mpi4py.MPI")
    finally:
        mpi4py.rc.initialize, mpi4py.rc.finalize = before
    if not mpi.Is_initialized():
        library = mpi.Get_library_version()
        if "MPICH" in library:
            _check_launcher(_runtime.launcher_size(), 1, library)
        mpi.Init_thread()
    return mpi


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise InstallationError(
            f"dolfinx_admat.fem needs {name.partition('.')[0]}, which is not installed. {_INSTALL}"
        ) from error


def _check_launcher(launched: int | None, size: int, library: str) -> None:
    if launched is None or launched == 1 or size != 1:
        return
    if os.environ.get("ADMAT_ALLOW_SINGLETON", "0") not in ("", "0"):
        return
    raise InstallationError(
        f"the MPI launcher started {launched} tasks, but mpi4py sees only one: this mpiexec "
        f"belongs to another MPI than mpi4py ({library.splitlines()[0].strip()}), and {launched} "
        "serial copies would run. Use the mpiexec of that MPI: .venv/bin/mpiexec for the wheels "
        "(also after `make setup DOLFINX=host`), $CONDA_PREFIX/bin/mpiexec for conda; with srun, "
        "see `srun --mpi=list`. If this is a serial child process of a rank, set "
        "ADMAT_ALLOW_SINGLETON=1."
    )


def _check_scalar(scalar: type, real: type) -> None:
    if np.issubdtype(scalar, np.complexfloating):
        raise InstallationError(
            "this PETSc has complex scalars; dolfinx_admat needs the real build. pip: uninstall "
            "dolfinx-solver and dolfinx-solver-complex, install dolfinx-solver-real==0.11.*; "
            'conda: conda install -c conda-forge "petsc=*=real*" "fenics-dolfinx=0.11"; FEniCS '
            "container: `source dolfinx-real-mode`; Debian and Ubuntu: install "
            "python3-dolfinx-real and unset PETSC_DIR and PETSC_ARCH (or point them to the real "
            "PETSc)."
        )
    if np.dtype(real) != np.float64:
        raise InstallationError(
            f"this PETSc computes in {np.dtype(real).name}; dolfinx_admat needs float64. Use a "
            "PETSc configured with --with-precision=double, as all packaged ones are."
        )


def _check_version(version: str, rank: int) -> None:
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
    except ValueError:
        return  # a development version that does not say what it is
    supported = ".".join(map(str, SUPPORTED))
    if (major, minor) < SUPPORTED:
        raise InstallationError(
            f"dolfinx {version} is too old: dolfinx_admat needs dolfinx {supported}. {_INSTALL}"
        )
    if (major, minor) > SUPPORTED and rank == 0:
        warnings.warn(
            f"dolfinx {version} is newer than {supported}, with which this dolfinx_admat was "
            "tested; run `python -m dolfinx_admat selftest` before you rely on it.",
            UserWarning,
            stacklevel=3,
        )
