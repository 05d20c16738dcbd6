"""The C compiler of this machine, and what its code may rely on; found without running it."""

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from contextlib import suppress
from typing import NamedTuple

#: -ffp-contract and the two -fno let the compiler use SIMD and FMA; none changes what NaN means.
FLAGS = (
    "-O2",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-w",
)


class Compiler(NamedTuple):
    """A C compiler.

    Attributes:
        command: Program and arguments, e.g. ``("/usr/bin/ccache", "gcc")``.
    """

    command: tuple[str, ...]

    @property
    def machine(self) -> tuple[str, ...]:
        """Flags for the instruction set of this machine."""
        return (machine_flag(),)

    @property
    def version(self) -> str:
        """First line of what ``--version`` prints; runs the compiler."""
        return _version(self.command)

    @property
    def identity(self) -> str:
        """Changes when the compiler does; cheap, as the compiler is not run."""
        parts = []
        for word in self.command:
            path = os.path.realpath(shutil.which(word) or word)
            with suppress(OSError):
                status = os.stat(path)
                word = f"{path} {status.st_size} {int(status.st_mtime)}"
            parts.append(word)
        return sha256("\n".join(parts))[:8]


def compiler() -> Compiler | None:
    """The C compiler: ``$CC`` (arguments allowed), else Python's own, cc, gcc or clang.

    Returns:
        None where there is none, also if ``$CC`` names a program that is not there.
    """
    return _compiler(os.environ.get("CC", ""), os.environ.get("PATH", ""))


@functools.cache
def _compiler(chosen: str, path: str) -> Compiler | None:
    if chosen.strip():
        candidates = [shlex.split(chosen)]
    else:
        # Of Python's own only the program: its flags belong to the machine that built Python.
        own = (sysconfig.get_config_var("CC") or "").split()[:1]
        candidates = [own, ["cc"], ["gcc"], ["clang"]]
    for words in candidates:
        program = shutil.which(words[0], path=path) if words else None
        if program is not None:
            return Compiler((program, *words[1:]))
    return None


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def machine_flag() -> str:
    """The flag that lets a compiler use this CPU: native, or what DOLFINX_ADMAT_MARCH says."""
    # Compilers for POWER (and clang on Apple's ARM) know the machine by -mcpu only.
    option = "-mcpu" if platform.machine() in ("ppc64le", "ppc64", "arm64") else "-march"
    return f"{option}={_march() or 'native'}"


def machine() -> str:
    """What code for this machine may rely on: system, architecture, instruction set, libc."""
    chosen = _march()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        libc = ""
    cpu = f"march {chosen}" if chosen else _cpu()
    return "\n".join((platform.system(), platform.machine(), libc, cpu))


#: Instructions (as /proc/cpuinfo calls them) that tell the levels of x86-64 apart.
_LEVELS = {
    "x86-64-v2": {"sse4_2", "ssse3", "popcnt", "cx16"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
    "x86-64-v4": {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def _march() -> str:
    """What the user wants instead of native; nothing if this CPU lacks it, for it would crash."""
    chosen = os.environ.get("DOLFINX_ADMAT_MARCH", "")
    return chosen if _LEVELS.get(chosen, set()) <= set(_cpu().split()) else ""


@functools.cache
def _cpu() -> str:
    """The instruction set; names the machine where it is not known."""
    wanted = (b"flags", b"features", b"isa", b"uarch", b"cpu", b"cpu part", b"cpu implementer")
    found = []
    try:
        # Only the first processor, and in one read: the whole file is slow on large machines.
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            first = file.read(16384).partition(b"\n\n")[0]
        for line in first.splitlines():
            label, _, value = line.partition(b":")
            if label.strip().lower() in wanted:
                found.append(b" ".join(sorted(value.split())).decode(errors="replace"))
    except OSError:
        pass
    return "\n".join(found or (platform.processor(), platform.node()))


def machine_digest() -> str:
    """Short name of ``machine()``, for folders of code that only such machines may run."""
    return sha256(machine())[:12]


def sha256(text: str | bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()
