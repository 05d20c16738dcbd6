"""C source to a loaded library, by the system's C compiler, through a cache on disk.

A library is found by what it was made from: the caller's key, the version of this package, the
flags and the instruction set of this CPU, so a home shared by different machines misses instead
of crashing. The compiler's identity is part of the file name too, but where no compiler is (or
none that works) a library made by any other is taken: a hit needs no compiler.

``_trust`` says from where code is loaded. A folder that is read-only serves hits, and one that is
mounted noexec serves them through memory; what is built goes to the first folder that takes it.
"""

import ctypes
import fcntl
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from . import _trust
from ._compiler import FLAGS, machine, sha256
from ._compiler import Compiler as Compiler
from ._compiler import compiler as compiler
from .errors import AdmatError

_log = logging.getLogger(__name__)

_DIGEST = 64  # characters of a sha256, which end every library: they tell a truncated one
_LOCK_SECONDS = 180.0  # waiting longer than any compilation helps nobody

_libraries: dict[str, ctypes.CDLL] = {}
_locks: dict[str, threading.Lock] = {}
_memory_files: list[int] = []  # stay open: the loader knows libraries by /proc/self/fd/N


class BuildError(AdmatError):
    """A library could not be built or loaded.

    Attributes:
        reason: What is wrong: there is no compiler, it failed, or no folder can hold the result.
    """

    def __init__(
        self,
        message: str,
        reason: Literal["no compiler", "compiler failed", "cache"] = "compiler failed",
    ) -> None:
        super().__init__(message)
        self.reason = reason


def cache_directory() -> Path:
    """The folder where compiled code is kept; it exists and is trusted.

    Raises:
        BuildError: There is none; the message says for each what is wrong.
    """
    problems: list[str] = []
    folder = next(_trust.folders(problems, create=True), None)
    if folder is None:
        raise _no_folder(problems)
    return folder


def _no_folder(problems: list[str]) -> BuildError:
    return BuildError(
        f"no folder can keep compiled code: {'; '.join(problems)}. Set DOLFINX_ADMAT_CACHE (or "
        "TMPDIR) to a folder that belongs to you, that nobody else can write, with free space.",
        "cache",
    )


def load(
    name: str, key: str, source: Callable[[], str], *, flags: Sequence[str] = ()
) -> ctypes.CDLL:
    """Library for a key: the one loaded already, the one on disk, or one built now.

    Processes and threads that ask for the same at once wait for the first one.

    Args:
        name: Short name for the files, e.g. of the law; letters, digits, ``_`` and ``-``.
        key: Describes everything that ``source()`` depends on.
        source: Makes the C source; called only if the library must be built.
        flags: Further compiler flags, after ours.

    Raises:
        BuildError: The library is not there and cannot be built, or cannot be loaded.
    """
    stem = _stem(name, key, flags)
    if stem in _libraries:
        return _libraries[stem]
    with _locks.setdefault(stem, threading.Lock()):
        if stem not in _libraries:
            _libraries[stem] = _find(stem) or _build(name, stem, source, flags)
        return _libraries[stem]


def cached(name: str, key: str, flags: Sequence[str] = ()) -> bool:
    """Whether ``load`` with these arguments needs no compiler."""
    stem = _stem(name, key, flags)
    return stem in _libraries or any(_intact(path) for path in _matches(stem, _pattern()))


def _stem(name: str, key: str, flags: Sequence[str]) -> str:
    from . import __version__  # not set yet while the package is imported

    parts = (key, __version__, machine(), "\n".join(FLAGS), "\n".join(flags))
    lengths = ",".join(str(len(part)) for part in parts)
    return f"{name}-{sha256('|'.join((lengths, *parts)))[:32]}"


# -- finding and loading ------------------------------------------------------------------------


def _pattern() -> str:
    """Which compilers' libraries serve: ours; any, where there is none."""
    found = compiler()
    return "*" if found is None else found.identity


def _matches(stem: str, identity: str) -> Iterator[Path]:
    for folder in _trust.folders():
        yield from sorted(folder.glob(f"{stem}-{identity}.so"))


def _find(stem: str, identity: str | None = None) -> ctypes.CDLL | None:
    paths = _matches(stem, identity or _pattern())
    return next(filter(None, map(_open, paths)), None)


def _intact(path: Path) -> bool:
    return _read(path) is not None


def _read(path: Path) -> bytes | None:
    """A library as it was built, or None: absent, damaged, or writable for others."""
    try:
        with open(path, "rb") as file:
            status, data = os.fstat(file.fileno()), file.read()
    except OSError:
        return None
    if not _trust.file_is_trusted(status):
        _trust.say_once(f"{path} is not loaded: others own it or can write it")
        return None
    # Before the loader sees it: code missing at the end of a file would crash the process.
    return data if data[-_DIGEST:] == sha256(data[:-_DIGEST]).encode() else None


def _open(path: Path, problems: list[str] | None = None) -> ctypes.CDLL | None:
    """Load a library; None if it must be built again, or in another folder."""
    data = _read(path)
    if data is None:
        return None
    try:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            if not _is_noexec(path.parent, error):
                raise
        _trust.say_once(
            f"the cache {path.parent} is on a file system mounted noexec; code is loaded through "
            "memory. DOLFINX_ADMAT_CACHE can name a folder elsewhere."
        )
        return _open_from_memory(path.stem, data)
    except (OSError, AttributeError) as error:
        _log.info("%s cannot be loaded: %s", path, error)
        if problems is not None:
            problems.append(f"{path} cannot be loaded: {error}")
        return None


def _is_noexec(folder: Path, error: OSError) -> bool:
    with suppress(OSError, AttributeError):
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            return True
    return "failed to map segment" in str(error)


def _open_from_memory(name: str, data: bytes) -> ctypes.CDLL:
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    library = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    _memory_files.append(descriptor)
    return library


# -- building -----------------------------------------------------------------------------------


def _build(name: str, stem: str, source: Callable[[], str], flags: Sequence[str]) -> ctypes.CDLL:
    found = compiler()
    if found is None:
        chosen = os.environ.get("CC", "").strip()
        raise BuildError(
            f"'{name}' is not in the cache, and there is no C compiler to build it: "
            + (f"CC={chosen} is not there." if chosen else "no cc, gcc or clang in PATH.")
            + " Install one (Debian: apt install gcc libc6-dev; conda: c-compiler), or fill the "
            "cache where there is one: `python -m dolfinx_admat warm SCRIPT`.",
            "no compiler",
        )
    text: str | None = None
    unusable: list[str] = []
    full: list[str] = []
    for folder in _trust.folders(unusable, create=True):
        path = folder / f"{stem}-{found.identity}.so"
        try:
            with _locked(folder / f"{stem}.lock"):
                library = _open(path)  # by the process that had the lock before us
                if library is None:
                    text = source() if text is None else text
                    _compile(name, found, text, flags, path)
                    library = _open(path, full)
        except OSError as error:  # read-only, full, ...
            full.append(f"{folder}: {error.strerror or error}")
            continue
        except BuildError:
            library = _find(stem, "*")  # e.g. a compiler without the C library's headers
            if library is None:
                raise
        if library is None:
            continue
        if full:
            _trust.say_once(f"compiled code is kept in {folder}, because {'; '.join(full)}")
        return library
    raise _no_folder([*unusable, *full])


def _compile(name: str, found: Compiler, text: str, flags: Sequence[str], path: Path) -> None:
    """Put a library and its source at a path, whole or not at all."""
    _remove_leftovers(path.parent)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as place:
        c, so = Path(place, f"{path.stem}.c"), Path(place, path.name)
        options = [*found.command, *found.machine, *FLAGS, *flags]
        c.write_text(
            f"/* {name}: {found.version}\n   {shlex.join(options)} -lm */\n{text}", "utf-8"
        )
        done = subprocess.run(
            [*options, "-o", str(so), str(c), "-lm"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": place},  # a killed compiler leaves nothing elsewhere
        )
        if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
            raise OSError(None, "no space left")
        if done.returncode != 0:
            kept = path.with_suffix(".failed.c")
            os.replace(c, kept)
            lines = done.stderr.strip().splitlines()
            raise BuildError(
                f"the C compiler failed on '{name}' (status {done.returncode}): "
                f"{next((line for line in lines if 'error' in line), ''.join(lines[:1]))}. "
                f"Source: {kept}. Command: {shlex.join(options)} -lm. Compiler: {found.version}.",
                "compiler failed",
            )
        code = so.read_bytes()
        so.write_bytes(code + sha256(code).encode())
        so.chmod(0o755 & ~_trust.OTHERS_WRITE)
        os.replace(c, path.with_suffix(".c"))
        os.replace(so, path)


def _remove_leftovers(folder: Path) -> None:
    """Remove the folders of compilations that were killed long ago."""
    for place in folder.glob(".build-*"):
        with suppress(OSError):
            if time.time() - place.stat().st_mtime > 86400.0:
                shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of all nodes; go on without it where locks do not work.

    The lock only saves work: files are put in place whole, so two builders do no harm.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # whoever takes a new lock looks for the library first
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    end, pause = time.monotonic() + _LOCK_SECONDS, 0.01
    while True:
        try:
            # Asked again and again: a blocking call can hang for ever on a network file system.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                return
            time.sleep(pause)
            pause = min(2.0 * pause, 0.2)
        except OSError:  # no locks here (ENOLCK, ENOSYS)
            return
