"""Threads and devices of this process, settled before JAX and BLAS start their pools.

`configure()` runs first when `dolfinx_admat` is imported. Started by an MPI launcher, a
process gets one thread and the CPU, or one GPU if the user has asked for GPUs; what the user has
set in the environment wins. Outside MPI nothing is changed, so laws alone run where JAX puts them;
`prefer_cpu()` is for FE runs, which have their matrices on the CPU.

XLA sizes its pool by the variable `NPROC` (else by the CPU affinity) when JAX first computes;
importing JAX earlier does no harm, computing with it earlier does, and is warned about.
"""

import ctypes
import os
import sys
import warnings
from collections.abc import MutableMapping
from typing import NamedTuple

#: Set by `python -m dolfinx_admat warm`, read when `dolfinx_admat.fem` is imported.
stop_at_second_solve = False


class SecondSolve(SystemExit):
    """Ends a script that runs only to fill the caches; `except Exception` lets it pass."""


class _Launcher(NamedTuple):
    """The environment variables by which a launcher tells a process about itself."""

    rank: str
    size: str | None
    local_rank: str | None


# Innermost first: inside a batch job the variables of mpiexec and of Slurm are both present.
_LAUNCHERS = (
    _Launcher("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH, Intel MPI
    _Launcher("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    _Launcher("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"),
    _Launcher("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    _Launcher("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID"),
    # srun sets the number of tasks of the step; a plain batch script does not have it.
    _Launcher("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    _Launcher("PMIX_RANK", None, "PMIX_LOCAL_RANK"),
)


def _launcher() -> _Launcher | None:
    for launcher in _LAUNCHERS:
        if launcher.rank not in os.environ:
            continue
        if launcher.size is not None and launcher.size not in os.environ:
            continue
        if launcher.rank == "SLURM_PROCID" and "SLURM_PTY_PORT" in os.environ:
            continue  # an interactive shell, not a rank
        return launcher
    return None


def _integer(name: str | None) -> int | None:
    try:
        return int(os.environ[name]) if name is not None else None
    except (KeyError, ValueError):
        return None


def launched_by_mpi() -> bool:
    """Whether an MPI launcher (mpiexec, srun, ...) started this process."""
    return _launcher() is not None


def launcher_size() -> int | None:
    """Number of tasks that the launcher says it started; None if it does not say."""
    launcher = _launcher()
    return None if launcher is None else _integer(launcher.size)


def launcher_rank() -> int:
    """Rank of this process as the launcher says; 0 outside MPI."""
    launcher = _launcher()
    return 0 if launcher is None else _integer(launcher.rank) or 0


def local_rank() -> int:
    """Rank of this process among those on its node; 0 outside MPI or if unknown."""
    launcher = _launcher()
    return 0 if launcher is None else _integer(launcher.local_rank) or 0


def abort_other_ranks() -> None:
    """End the run if MPI has started with several ranks: the others may wait for this one."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and mpi.COMM_WORLD.size > 1:
        mpi.COMM_WORLD.Abort(1)


def configure(environ: MutableMapping[str, str] = os.environ) -> None:
    """Give a rank one thread and the CPU, except where the user has chosen otherwise.

    `OMP_NUM_THREADS` speaks for all pools; `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `NPROC`
    (XLA's pool) and `JAX_PLATFORMS` speak for one each. A BLAS that is loaded already (whoever
    imports numpy or dolfinx first) is told by a call instead of by the environment.
    """
    if not launched_by_mpi():
        return
    chosen = set(environ)
    if "OMP_NUM_THREADS" not in chosen:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environ.setdefault(name, "1")
    environ.setdefault("NPROC", environ["OMP_NUM_THREADS"].split(",")[0].strip() or "1")
    # Ranks that share a GPU must not each take most of its memory.
    environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    platforms = environ.get("JAX_PLATFORMS") or environ.get("JAX_PLATFORM_NAME", "")
    if not {"JAX_PLATFORMS", "JAX_PLATFORM_NAME"} & chosen:
        _select_cpu(environ)
    elif "JAX_CUDA_VISIBLE_DEVICES" not in chosen and {"cuda", "gpu"} & set(platforms.split(",")):
        _select_gpu(environ)
    if environ is not os.environ:
        return
    _limit_loaded_blas(chosen)
    if "NPROC" not in chosen and launcher_rank() == 0:
        started, wanted = xla_pool_size(), int(environ["NPROC"])
        if started is not None and started > wanted:
            warnings.warn(
                f"JAX computed before dolfinx_admat was imported: each rank runs {started} XLA "
                f"threads instead of {wanted}. Import dolfinx_admat first, or set NPROC={wanted}.",
                stacklevel=2,
            )


def _select_cpu(environ: MutableMapping[str, str]) -> None:
    jax = sys.modules.get("jax")
    if jax is None:
        environ["JAX_PLATFORMS"] = "cpu"
    elif jax.config.jax_platforms is None:  # imported before us, nothing chosen in code
        environ["JAX_PLATFORMS"] = "cpu"
        jax.config.update("jax_platforms", "cpu")


def _select_gpu(environ: MutableMapping[str, str]) -> None:
    """Give the ranks of a node its GPUs in turn; otherwise all would take the first."""
    gpus = _count_gpus(environ)
    if gpus == 0:
        return  # unknown; JAX will see
    launcher = _launcher()
    local = None if launcher is None else _integer(launcher.local_rank)
    device = str((launcher_rank() if local is None else local) % gpus)
    environ["JAX_CUDA_VISIBLE_DEVICES"] = device
    jax = sys.modules.get("jax")
    if jax is not None and environ is os.environ:  # imported before us: it has read its variables
        jax.config.update("jax_cuda_visible_devices", device)


def _count_gpus(environ: MutableMapping[str, str]) -> int:
    """GPUs that CUDA will show to this process, counted without starting CUDA."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")  # a batch system may give each rank its own
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip()])
    try:
        return len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        return 0


def prefer_cpu() -> None:
    """Let JAX compute on the CPU, unless the user has chosen a platform or a device.

    JAX that has not computed yet will not even look for a GPU; if it has, what is on the GPU
    stays there and new arrays are made on the CPU.
    """
    import jax

    if os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME"):
        return
    if jax.config.jax_platforms or jax.config.jax_default_device is not None:
        return
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_device", "cpu")


def device() -> str:
    """Where JAX puts new arrays, e.g. ``cpu`` or ``gpu 0 (NVIDIA H100)``; starts JAX."""
    import jax

    (found,) = jax.numpy.zeros(1).devices()
    return "cpu" if found.platform == "cpu" else f"gpu {found.id} ({found.device_kind})"


def threads(backend: str = "xla") -> str:
    """How many threads are used, e.g. ``1 thread``, or ``threads: XLA 8, OpenMP 1``.

    Args:
        backend: "native" kernels run in the calling thread, "xla" ones in XLA's pool.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    native = backend == "native"
    kernels = 1 if native else xla_pool_size() or _integer("NPROC") or cores or 1
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    openmp = int(given) if given.isdigit() else cores or 1
    if kernels == openmp:
        return f"{kernels} thread{'s' if kernels > 1 else ''}"
    return f"threads: {'kernels' if native else 'XLA'} {kernels}, OpenMP {openmp}"


def _limit_loaded_blas(chosen: set[str]) -> None:
    """Set one thread in every BLAS and OpenMP library that this process has loaded already."""
    if "OMP_NUM_THREADS" in chosen:
        return
    setters = {
        "openblas": (
            "OPENBLAS_NUM_THREADS",
            (
                "openblas_set_num_threads",
                "openblas_set_num_threads64_",
                "scipy_openblas_set_num_threads",
                "scipy_openblas_set_num_threads64_",
            ),
        ),
        "libmkl_rt": ("MKL_NUM_THREADS", ("MKL_Set_Num_Threads",)),
        "libgomp": ("OMP_NUM_THREADS", ("omp_set_num_threads",)),
        "libomp": ("OMP_NUM_THREADS", ("omp_set_num_threads",)),
        "libiomp": ("OMP_NUM_THREADS", ("omp_set_num_threads",)),
    }
    for path in _loaded_libraries():
        for part, (variable, names) in setters.items():
            if part not in os.path.basename(path) or variable in chosen:
                continue
            try:
                library = ctypes.CDLL(path)
            except OSError:
                continue
            for name in names:
                if hasattr(library, name):
                    getattr(library, name)(1)


def _loaded_libraries() -> set[str]:
    try:
        with open("/proc/self/maps") as maps:
            fields = (line.split(maxsplit=5) for line in maps)
            return {f[5].strip() for f in fields if len(f) == 6 and ".so" in f[5]}
    except OSError:
        return set()


def xla_pool_size() -> int | None:
    """Number of XLA worker threads of this process; None if none has started or unknown."""
    try:
        names = []
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(comm.read().strip())
    except OSError:
        return None
    return names.count("tf_XLAEigen") or None
