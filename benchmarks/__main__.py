"""Run sections of the benchmarks: ``python -m benchmarks [SECTION ...] [--table] [--only NAME]``.

Each section runs in a process of its own, pinned to one core unless it says otherwise, and
replaces its own keys in benchmarks/results.json. ``make bench`` sets up an environment with the
peers and runs all sections there. ``--table`` writes the tables of README.md from the file.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Section(NamedTuple):
    """What a section is: ``module.function(say, only)`` returns its numbers.

    Attributes:
        prefix: Of its keys.
        parts: Each is measured in a process of its own, and is the second word of its keys.
        cpu: On one core, JAX on the CPU.
    """

    module: str
    function: str
    prefix: str
    parts: tuple[str, ...] = ()
    cpu: bool = True


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


def run_section(name: str, only: list[str]) -> int:
    """In a child process: measure and store."""
    section = SECTIONS[name]
    if section.cpu:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
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
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if options.child:
        return run_section(options.sections[0], options.only)
    failed: list[str] = []
    if not options.table:
        wanted = options.sections or list(SECTIONS)
        if "kernels" in wanted and "gpu" not in wanted:
            wanted.insert(wanted.index("kernels") + 1, "gpu")
        for name in wanted:
            start = time.monotonic()
            print(f"\n== {name} " + "=" * 60, flush=True)
            for part in parts_of(name, options.only):
                command = [sys.executable, "-m", __package__, name, "--child", "--only", *part]
                environ = os.environ | (ONE_CORE if SECTIONS[name].cpu else {})
                if subprocess.run(command, env=environ).returncode != 0:
                    failed.append(" ".join([name, *part]))
                    print(f"{failed[-1]} failed", flush=True)
            print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    from . import tables

    tables.write()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def parts_of(name: str, only: list[str]) -> list[list[str]]:
    """The ``--only`` of each child process."""
    if SECTIONS[name].parts:
        return [[part] for part in SECTIONS[name].parts if not only or part in only]
    return [only]


if __name__ == "__main__":
    raise SystemExit(main())
