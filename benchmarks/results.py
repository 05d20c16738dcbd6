"""benchmarks/results.json: a flat object of numbers, sorted by key."""

import fcntl
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FILE = Path(__file__).with_name("results.json")


def read(file: Path = FILE) -> dict[str, float]:
    return json.loads(file.read_text()) if file.exists() else {}


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait for whoever reads, changes and writes files of this folder at the same time."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def update(numbers: dict[str, float], owns: Callable[[str], bool], file: Path = FILE) -> None:
    """Replace the keys for which ``owns`` holds by new ones; keep all others."""
    with locked(file):
        kept = {key: value for key, value in read(file).items() if not owns(key)}
        for key, value in numbers.items():
            if not math.isfinite(value):
                raise ValueError(f"{key} is {value}")
            kept[key] = float(f"{value:.5g}")
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
        temporary.replace(file)


def machine() -> str:
    """The processor, the compiler and the versions, in one sentence."""
    try:
        names = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(n.split(":")[1].strip() for n in names if n.startswith("model name"))
        flags = next(n for n in names if n.startswith("flags"))
        processor += " with AVX-512" if " avx512f " in flags else " with AVX2" * ("avx2" in flags)
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    try:
        said = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False)
        compiler = said.stdout.splitlines()[0]
    except (OSError, IndexError):
        compiler = "no C compiler"
    parts = [processor, compiler, f"Python {platform.python_version()}"]
    for name in ("jax", "numpy", "fenics-dolfinx", "dolfinx-solver-real", "jaxmat"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts) + "."
