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
    """What a section is: ``module.function(say, only)`` returns its numbers."""

    module: str
    function: str
    owns: Callable[[str], bool]  # which keys it replaces
    cpu: bool = True  # one core, JAX on the CPU


def begins(prefix: str) -> Callable[[str], bool]:
    return lambda key: key.startswith(prefix)


def on_gpu(key: str) -> bool:
    return ".xla_gpu" in key


SECTIONS = {
    "kernels": Section(
        "kernels", "measure", lambda key: key.startswith("kernel.") and not on_gpu(key)
    ),
    "gpu": Section("kernels", "measure_gpu", on_gpu, cpu=False),
    "tangent": Section("tangents", "measure", begins("tangent.")),
    "compile": Section("compile_time", "measure", begins("compile.")),
    "fe": Section("fe", "measure", begins("fe.")),
    "mpi": Section("fe", "measure_parallel", begins("mpi."), cpu=False),
    "solver": Section("solvers", "measure", begins("solver.")),
}
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
    # With --only, the keys that were not measured again stay.
    results.update(numbers, (lambda key: False) if only else section.owns)
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
    if not options.table:
        wanted = options.sections or list(SECTIONS)
        if "kernels" in wanted and "gpu" not in wanted:
            wanted.insert(wanted.index("kernels") + 1, "gpu")
        for name in wanted:
            start = time.monotonic()
            print(f"\n== {name} " + "=" * 60, flush=True)
            command = [sys.executable, "-m", __package__, name, "--child"]
            command += ["--only", *options.only] if options.only else []
            environ = os.environ | (ONE_CORE if SECTIONS[name].cpu else {})
            if subprocess.run(command, env=environ).returncode != 0:
                print(f"section {name} failed", file=sys.stderr)
                return 1
            print(f"== {name}: {time.monotonic() - start:.0f} s")
    from . import tables

    tables.write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
