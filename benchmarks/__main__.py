"""Run sections of the benchmarks: ``python -m benchmarks [SECTION ...] [--table] [--only NAME]``.

Each section runs in a process of its own, pinned to one core unless it says otherwise (the parts of
some run side by side, on a core each), and replaces its own keys in benchmarks/results.json.
``make bench`` sets up an environment with the peers and runs all sections there. ``--table`` writes
the tables of README.md from the file.
"""

import argparse
import concurrent.futures
import importlib
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Section(NamedTuple):
    """What a section is: ``module.function(say, only)`` returns its numbers.

    Attributes:
        prefix: Of its keys.
        parts: Each is measured in a process of its own, and is the second word of its keys.
        cpu: On one core, JAX on the CPU.
        together: Parts that run at the same time, if there are as many cores.
        environ: Further environment of its processes.
    """

    module: str
    function: str
    prefix: str
    parts: tuple[str, ...] = ()
    cpu: bool = True
    together: int = 1
    environ: Mapping[str, str] = {}


LAWS = (
    "j2_scalar",
    "j2_general",
    "j2_plane_stress",
    "j2_plane_stress_scalar",
    "fefp_j2_random",
    "hosford",
    "fcc12",
    "chaboche2",
)
# The longest ones first.
TRUTHS = (
    "chaboche",
    "j2_mixed",
    "maxwell",
    "swift_norton",
    "drucker_prager",
    "hosford",
    "treloar",
)
SECTIONS = {
    # jaxmat refuses to trace one of its classes for two laws in one process.
    "kernels": Section("kernels", "measure", "kernel", (*LAWS, "fefp_j2")),
    "gpu": Section("kernels", "measure_gpu", "kernel", cpu=False),
    "tangent": Section("tangents", "measure", "tangent", LAWS),
    "wrappers": Section("wrappers", "measure", "wrapper"),
    "learned": Section("learned_kernels", "measure", "learned"),
    "compile": Section("compile_time", "measure", "compile"),
    "fe": Section("fe", "measure", "fe"),
    "mpi": Section("fe", "measure_parallel", "mpi", cpu=False),
    "solver": Section("solvers", "measure", "solver"),
    "sensitivity": Section("sensitivity", "measure", "sensitivity"),
    # Most of its time XLA compiles gradients; less optimised ones are as fast.
    "learning": Section(
        "learning.section",
        "measure",
        "learning",
        TRUTHS,
        together=2,
        environ={"XLA_FLAGS": "--xla_backend_optimization_level=1"},
    ),
}


def owned(name: str, only: list[str]) -> Callable[[str], bool]:
    """Which keys of the file a run of (a part of) a section replaces."""
    section = SECTIONS[name]
    parts = only if section.parts else ["*"] if not only else []

    def owns(key: str) -> bool:
        prefix, part, *_ = key.split(".")
        mine = (name == "gpu") == (".xla_gpu" in key)
        return prefix == section.prefix and mine and (part in parts or "*" in parts)

    return owns


# One thread everywhere; memory that was freed is kept, so that no code pays for page faults.
ONE_CORE = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}


def run_section(name: str, only: list[str], core: int = 0) -> int:
    """In a child process: measure and store."""
    section = SECTIONS[name]
    if section.cpu:
        cores = sorted(os.sched_getaffinity(0), reverse=True)
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    from . import results

    try:
        module = importlib.import_module(f"{__package__}.{section.module}")
    except ModuleNotFoundError as error:
        if error.name not in ("dolfinx", "mpi4py", "petsc4py", "ufl", "basix"):
            raise
        print(f"nothing measured: {error.name} is not installed here")
        return 0
    numbers = getattr(module, section.function)(lambda text: print(text, flush=True), only)
    results.update(numbers, owned(name, only))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--only", nargs="*", default=[], help="laws, elements, ... of a section")
    parser.add_argument("--table", action="store_true", help="write the tables and do no more")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if options.child:
        return run_section(options.sections[0], options.only, options.core)
    failed: list[str] = []
    wanted = options.sections or list(SECTIONS)
    if not options.table:
        if "kernels" in wanted and "gpu" not in wanted:
            wanted.insert(wanted.index("kernels") + 1, "gpu")
        for name in wanted:
            start = time.monotonic()
            print(f"\n== {name} " + "=" * 60, flush=True)
            for part in run_parts(name, parts_of(name, options.only)):
                failed.append(" ".join([name, *part]))
                print(f"{failed[-1]} failed", flush=True)
            print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    from . import tables

    tables.write()
    if options.table or "learning" in wanted:
        from . import results
        from .learning import plots

        plots.write(results.read())
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_parts(name: str, parts: list[list[str]]) -> list[list[str]]:
    """Run parts in processes of their own; which of them failed."""
    section = SECTIONS[name]
    environ = os.environ | (ONE_CORE if section.cpu else {}) | section.environ
    together = min(section.together, len(os.sched_getaffinity(0)), len(parts)) or 1
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in range(together):
        free.put(core)

    def run(part: list[str]) -> bool:
        core = free.get()
        command = [
            sys.executable,
            "-m",
            __package__,
            name,
            "--child",
            "--core",
            str(core),
            "--only",
        ]
        try:
            return subprocess.run([*command, *part], env=environ).returncode == 0
        finally:
            free.put(core)

    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        good = list(pool.map(run, parts))
    return [part for part, fine in zip(parts, good, strict=True) if not fine]


def parts_of(name: str, only: list[str]) -> list[list[str]]:
    """The ``--only`` of each child process."""
    if SECTIONS[name].parts:
        return [[part] for part in SECTIONS[name].parts if not only or part in only]
    return [only]


if __name__ == "__main__":
    raise SystemExit(main())
