"""What is installed here and how it is set up, as text for people and bug reports."""

import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from dolfinx_admat import __version__, _jax_cache, _runtime, compilation


def describe() -> dict[str, str]:
    """Versions, scalar types, threads, devices and caches; never fails on a missing piece.

    Imports what is installed, FEniCSx and MPI included, and starts JAX.
    """
    rows: dict[str, Callable[[], str]] = {
        "dolfinx_admat": lambda: f"{__version__} ({os.path.dirname(os.path.abspath(__file__))})",
        "python": lambda: f"{platform.python_version()} ({sys.executable})",
        "machine": lambda: f"{platform.system()} {platform.machine()}, {_cores()} cores for us",
        "numpy": lambda: metadata.version("numpy"),
        "jax": lambda: f"{metadata.version('jax')}, jaxlib {metadata.version('jaxlib')}",
        "equinox": lambda: metadata.version("equinox"),
        "precision": _precision,
        "devices": _devices,
        "MPI": _mpi,
        "PETSc": _petsc,
        "dolfinx": _dolfinx,
        "C compiler": _compiler,
        "FE runs on": _fe_device,
        "threads": _threads,
        "XLA pool": _xla_pool,
        "FFCx cache": _ffcx_cache,
        "JAX cache": _jax_cache_folder,
        "kernel cache": lambda: str(compilation.cache_directory()),
    }
    return {label: _tolerant(row) for label, row in rows.items()}


def _tolerant(row: Callable[[], str]) -> str:
    try:
        return row()
    except (ModuleNotFoundError, metadata.PackageNotFoundError) as error:
        return f"not installed ({error.name})"
    except Exception as error:  # whatever is broken here is what the reader wants to see
        return f"not usable: {type(error).__name__}: {str(error).strip().splitlines()[:1]}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _precision() -> str:
    import jax

    enabled = jax.config.jax_enable_x64
    return "float64 (jax_enable_x64 on)" if enabled else "float32: jax_enable_x64 was switched OFF"


def _devices() -> str:
    import jax

    devices = jax.devices()
    return f"{devices[0].platform} x {len(devices)} ({devices[0].device_kind})"


def _mpi() -> str:
    mpi = import_module("mpi4py.MPI")
    library = " ".join(mpi.Get_library_version().splitlines()[0].split()).rstrip("\x00")
    text = f"{library}, mpi4py {metadata.version('mpi4py')}, ranks: {mpi.COMM_WORLD.size}"
    launched = _runtime.launcher_size()
    if launched is not None and launched != mpi.COMM_WORLD.size:
        text += f" BUT the launcher started {launched}: it belongs to another MPI"
    return text


def _petsc() -> str:
    petsc: Any = import_module("petsc4py.PETSc")
    version = ".".join(map(str, petsc.Sys.getVersion()))
    scalar, integer = petsc.ScalarType.__name__, 8 * petsc.IntType().itemsize
    text = f"{version}, scalars {scalar}, integers of {integer} bits"
    return text if scalar == "float64" else f"{text}: NOT usable, float64 is needed"


def _dolfinx() -> str:
    dolfinx: Any = import_module("dolfinx")
    others = (f"{name} {import_module(name).__version__}" for name in ("ufl", "basix", "ffcx"))
    return f"{dolfinx.__version__}, {', '.join(others)}"


def _compiler() -> str:
    found = compilation.compiler()
    if found is not None:
        return f"{' '.join(found.command)}: {found.version}, {' '.join(found.machine)}"
    chosen = os.environ.get("CC")
    return (f"CC={chosen} is not there" if chosen else "none found") + (
        ": only what is in the caches can be used (Debian: apt install gcc libc6-dev)"
    )


def _fe_device() -> str:
    import_module("dolfinx_admat.fem")  # it prefers the CPU
    return f"{_runtime.device()}, {_runtime.threads()}"


def _ffcx_cache() -> str:
    import_module("dolfinx_admat.fem")  # it may choose another folder
    return str(import_module("dolfinx.jit").get_options()["cache_dir"])


def _jax_cache_folder() -> str:
    import jax

    _jax_cache.enable()
    return jax.config.jax_compilation_cache_dir or "off"


def _threads() -> str:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return ", ".join(f"{name}={os.environ.get(name, 'unset')}" for name in names)


def _xla_pool() -> str:
    import jax.numpy as jnp

    jnp.ones(1).block_until_ready()  # the pool starts with the first computation
    size = _runtime.xla_pool_size()
    return "unknown on this system" if size is None else f"{size} threads"
