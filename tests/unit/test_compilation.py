"""C to loaded libraries, through a cache on disk that others cannot poison."""

import ctypes
import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from dolfinx_admat import __version__, _compiler, _trust, compilation
from dolfinx_admat.compilation import BuildError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(compilation.compiler() is None, reason="needs a C compiler")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache of our own, a temporary folder beside it, and nothing said or loaded yet."""
    for name in ("CC", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(tmp_path / "cache"))
    forget()
    return tmp_path / "cache"


def forget():
    """As in a new process."""
    compilation._libraries.clear()
    _trust.say_once.cache_clear()


class Source:
    """C source of a function that returns a number, and how often it was asked for."""

    def __init__(self, number=1, text="int number(void) {{ return {}; }}"):
        self.text, self.calls = text.format(number), 0

    def __call__(self):
        self.calls += 1
        return self.text


def answer(key="key", number=1, **options):
    """What the library says, and whether it was built for this."""
    forget()
    source = Source(number)
    return compilation.load("law", key, source, **options).number(), source.calls == 1


def libraries(folder):
    return sorted(path.name for path in folder.glob("law-*.so"))


def without_compiler(monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc -m64")


# -- hits and misses ----------------------------------------------------------------------------


def test_built_once_then_found(folder):
    assert not compilation.cached("law", "key")
    assert answer() == (1, True)
    assert compilation.cached("law", "key")
    assert answer() == (1, False)
    assert len(libraries(folder)) == 1
    assert "return 1" in next(folder.glob("law-*.c")).read_text()
    assert sorted(p.suffix for p in folder.iterdir()) == [".c", ".so"]  # no locks, no leftovers


def test_a_process_loads_a_library_once():
    first, again = Source(), Source()
    one = compilation.load("law", "key", first)
    assert compilation.load("law", "key", again) is one
    assert (first.calls, again.calls) == (1, 0)


def test_what_it_is_made_from_tells_libraries_apart(folder, monkeypatch):
    assert answer() == (1, True)
    assert answer(key="other", number=2) == (2, True)
    assert answer(number=3, flags=["-DX=1"]) == (3, True)
    monkeypatch.setattr("dolfinx_admat.__version__", "99")
    assert answer(number=4) == (4, True)
    assert len(libraries(folder)) == 4


def test_another_cpu_misses(monkeypatch):
    assert answer() == (1, True)
    before = compilation.machine()
    monkeypatch.setattr(compilation, "machine", lambda: before + " avx1024")
    assert answer(number=2) == (2, True)


def test_the_instruction_set_is_part_of_the_machine():
    text = compilation.machine()
    assert os.uname().machine in text
    if "x86" in os.uname().machine:
        assert "sse2" in text
    assert len(text.splitlines()) < 15  # one processor, not all of them


def test_one_build_for_different_cpus(monkeypatch):
    """DOLFINX_ADMAT_MARCH stands for the instruction set, where this CPU has it."""
    native = compilation.machine()
    monkeypatch.setattr(_compiler, "_cpu", lambda: "abm avx2 bmi1 bmi2 f16c fma movbe sse4_2")
    monkeypatch.setenv("DOLFINX_ADMAT_MARCH", "x86-64-v3")
    one = compilation.machine()
    assert _compiler.machine_flag().endswith("=x86-64-v3")
    monkeypatch.setattr(_compiler, "_cpu", lambda: "abm avx2 avx512f bmi1 bmi2 f16c fma movbe")
    assert compilation.machine() == one != native
    monkeypatch.setattr(_compiler, "_cpu", lambda: "sse4_2")
    assert compilation.machine() != one
    assert _compiler.machine_flag().endswith("=native")


def test_another_compiler_builds_its_own(folder, monkeypatch, tmp_path):
    assert answer() == (1, True)
    wrapper = tmp_path / "my cc"
    wrapper.write_text(f'#!/bin/sh\nexec {compilation.compiler().command[0]} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CC", f"'{wrapper}' -DANSWER=7")
    source = Source(text="int number(void) {{ return ANSWER; }}")
    forget()
    assert compilation.load("law", "key", source).number() == 7
    assert len(libraries(folder)) == 2


def test_flags_reach_the_compiler_after_ours():
    source = Source(text="int number(void) {{ return LEVEL; }}")
    assert compilation.load("law", "k", source, flags=["-DLEVEL=3"]).number() == 3


def test_the_math_library_is_linked():
    source = Source(text="#include <math.h>\ndouble g(double x) {{ return pow(x, x); }}")
    function = compilation.load("law", "k", source).g
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    assert function(2.0) == 4.0


def test_a_warm_start_does_not_run_the_compiler(monkeypatch):
    assert answer() == (1, True)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("ran a program"))
    _compiler._compiler.cache_clear()
    assert answer() == (1, False)


# -- compilers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["CC", "PATH"])
def test_no_compiler(monkeypatch, absent):
    if absent == "CC":
        without_compiler(monkeypatch)
    else:
        monkeypatch.setenv("PATH", "")
    source = Source()
    with pytest.raises(
        BuildError, match=r"'law' is not in the cache.*no C compiler.*warm"
    ) as caught:
        compilation.load("law", "key", source)
    assert caught.value.reason == "no compiler"
    assert source.calls == 0


def test_a_hit_needs_no_compiler(monkeypatch):
    assert answer() == (1, True)
    without_compiler(monkeypatch)
    assert compilation.cached("law", "key")
    assert answer(number=2) == (1, False)
    assert not compilation.cached("law", "other")


def test_a_broken_compiler_takes_what_another_built(monkeypatch):
    assert answer() == (1, True)
    monkeypatch.setenv("CC", shutil.which("false"))
    assert answer(number=2)[0] == 1
    forget()
    with pytest.raises(BuildError, match="failed on 'law'"):
        compilation.load("law", "other", Source())


def test_a_failed_compilation_says_what_and_keeps_the_source(folder):
    with pytest.raises(
        BuildError, match=r"failed on 'law' .*error.*Source: .*failed\.c.*Command: "
    ):
        compilation.load("law", "key", Source(text="int number(void) {{ return nonsense; }}"))
    assert libraries(folder) == []
    assert "nonsense" in next(folder.glob("*.failed.c")).read_text()
    assert not list(folder.glob(".build-*"))


# -- damage and interruption --------------------------------------------------------------------


CHILD = """
import sys
from dolfinx_admat import compilation
def source():
    print("building", flush=True)
    return {text!r}
print(compilation.load("law", "key", source).number())
"""
PLAIN = "int number(void) { return 5; }"


def child(text=PLAIN, **variables):
    """Another process that loads the library."""
    return subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-c",
            BARE.replace("VERSION", __version__) + CHILD.format(text=text),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": tempfile.tempdir} | variables,
    )


# The modules alone, without the package's import of JAX: a dozen processes must start quickly.
BARE = """
import sys, types
package = types.ModuleType("dolfinx_admat")
package.__path__, package.__version__ = ["dolfinx_admat"], "VERSION"
sys.modules["dolfinx_admat"] = package
"""


def built_by_another(number):
    """Build in a process of its own: the loader gives one that has it the library it knows."""
    out, err = child(f"int number(void) {{ return {number}; }}").communicate(timeout=60)
    assert out.split() == ["building", str(number)], err


@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "not a library"])
def test_a_damaged_library_is_built_again(folder, damage):
    built_by_another(1)
    path = next(folder.glob("*.so"))
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncated": data[: len(data) // 2],
            "empty": b"",
            "changed": data[:5000] + b"\xff" + data[5001:],
            "not a library": b"hello" + compilation.sha256(b"hello").encode(),
        }[damage]
    )
    assert damage == "not a library" or not compilation.cached("law", "key")
    assert answer(number=2) == (2, True)
    assert answer(number=3) == (2, False)


def test_an_interrupt_leaves_nothing_behind(folder, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compilation.load("law", "key", Source())
    assert list(folder.iterdir()) == []
    assert answer() == (1, True)


def slow_compiler(tmp_path, seconds):
    """A compiler that takes a while, and counts how often it ran."""
    script = tmp_path / "slowcc"
    command = compilation.compiler().command[0]
    script.write_text(
        f'#!/bin/sh\necho x >> {tmp_path}/count\nsleep {seconds}\nexec {command} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def test_processes_that_start_at_once_build_once(tmp_path, folder):
    compiler = slow_compiler(tmp_path, 0.5)
    done = [p.communicate(timeout=60) for p in [child(CC=compiler) for _ in range(8)]]
    assert [out.split()[-1] for out, _ in done] == ["5"] * 8, done
    assert sum("building" in out for out, _ in done) == 1
    assert not "".join(err for _, err in done)
    assert (tmp_path / "count").read_text().count("x") <= 2  # and once for --version
    assert len(libraries(folder)) == 1


def test_a_killed_process_does_not_block_the_next(tmp_path, folder):
    victim = child(CC=slow_compiler(tmp_path, 30))
    assert victim.stdout.readline() == "building\n"
    deadline = time.monotonic() + 20
    while not list(folder.glob(".build-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=20)
    assert answer(number=6) == (6, True)
    os.utime(next(folder.glob(".build-*")), (0, 0))
    answer(key="other")
    assert not list(folder.glob(".build-*"))  # long dead: removed by the next compilation


def test_without_file_locks_everybody_builds(monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    assert answer() == (1, True)


def test_a_lock_that_is_never_released_is_waited_for_only_so_long(monkeypatch, folder):
    def held(*_):
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", held)
    monkeypatch.setattr(compilation, "_LOCK_SECONDS", 0.05)
    assert answer() == (1, True)


# -- trust --------------------------------------------------------------------------------------


def poisoned(path):
    """A library in a cache that answers 666, where ours would say 1."""
    path.mkdir(mode=0o700)
    built_by_another(666)
    return path


def refused(caplog, folder, reason):
    """The library there is not taken, ours is built elsewhere, and the log says why, once."""
    with caplog.at_level(logging.WARNING):
        assert answer() == (1, True)
        compilation.load("law", "another", Source())
    said = [r.getMessage() for r in caplog.records if "no code is loaded" in r.getMessage()]
    assert len(said) == 1, caplog.text
    assert str(folder) in said[0]
    assert reason in said[0]
    assert libraries(_trust.temporary())
    assert _trust.temporary().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o775])
def test_a_folder_that_others_can_write_is_refused(folder, caplog, mode):
    poisoned(folder).chmod(mode)
    refused(caplog, folder, f"others can write into {folder} (mode {mode:04o})")


@as_root
def test_a_folder_of_somebody_else_is_refused(folder, caplog):
    os.chown(poisoned(folder), 12345, 12345)
    refused(caplog, folder, "belongs to user 12345, not to root (0)")


@as_root
def test_a_link_of_somebody_else_is_refused(folder, caplog, tmp_path):
    poisoned(folder).rename(tmp_path / "theirs")
    folder.symlink_to(tmp_path / "theirs")
    os.lchown(folder, 12345, 12345)
    refused(caplog, folder, "belongs to user 12345")


def test_a_link_to_a_folder_that_others_can_write_is_refused(folder, caplog, tmp_path):
    poisoned(folder).rename(tmp_path / "theirs")
    (tmp_path / "theirs").chmod(0o777)
    folder.symlink_to(tmp_path / "theirs")
    refused(caplog, folder, f"others can write into {tmp_path / 'theirs'}")


def test_a_folder_whose_parent_others_can_write_is_refused(monkeypatch, caplog, tmp_path):
    parent = tmp_path / "open"
    parent.mkdir()
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(parent / "cache"))
    poisoned(parent / "cache")
    parent.chmod(0o777)
    refused(caplog, parent / "cache", f"others can rename what is in {parent}")


@as_root
def test_a_file_of_somebody_else_is_not_loaded(folder, caplog):
    poisoned(folder)
    os.chown(next(folder.glob("*.so")), 12345, 12345)
    assert answer() == (1, True)
    assert "is not loaded: others own it" in caplog.text


def test_a_file_that_others_can_write_is_not_loaded(folder, caplog):
    poisoned(folder)
    next(folder.glob("*.so")).chmod(0o777)
    assert answer() == (1, True)
    assert "is not loaded: others own it or can write it" in caplog.text


@as_root
def test_a_temporary_folder_that_somebody_prepared_is_refused(monkeypatch, folder, tmp_path):
    folder.mkdir()
    folder.chmod(0o777)
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "theirs").mkdir()
    _trust.temporary().symlink_to(tmp_path / "theirs")
    os.lchown(_trust.temporary(), 12345, 12345)
    with pytest.raises(
        BuildError, match=r"no folder can keep.*others can write.*belongs to user 12345"
    ) as e:
        compilation.load("law", "key", Source())
    assert e.value.reason == "cache"
    with pytest.raises(BuildError, match="no folder can keep"):
        compilation.cache_directory()


def test_a_shared_sticky_folder_gets_one_folder_per_user(monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    mine = shared / f"dolfinx_admat-{os.geteuid()}"
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(shared))
    assert compilation.cache_directory() == mine
    monkeypatch.delenv("DOLFINX_ADMAT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    assert compilation.cache_directory() == mine
    assert mine.stat().st_mode & 0o777 == 0o700


def test_folders_are_made_for_this_user_only(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        compilation.cache_directory()
    finally:
        os.umask(before)
    assert [(tmp_path / p).stat().st_mode & 0o777 for p in ("a", "a/b")] == [0o700] * 2


def test_where_the_cache_is(monkeypatch, tmp_path):
    home, xdg = tmp_path / "home", tmp_path / "xdg"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("DOLFINX_ADMAT_CACHE")
    assert compilation.cache_directory() == home / ".cache" / "dolfinx_admat"
    monkeypatch.setenv("XDG_CACHE_HOME", str(xdg))
    assert compilation.cache_directory() == xdg / "dolfinx_admat"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert compilation.cache_directory() == home / ".cache" / "dolfinx_admat"
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", "~/mine")
    assert compilation.cache_directory() == home / "mine"


def test_a_user_without_home(monkeypatch):
    monkeypatch.delenv("DOLFINX_ADMAT_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # HOME unset, unknown uid
    assert compilation.cache_directory() == _trust.temporary()
    assert answer() == (1, True)


# -- folders that do not take or run code ---------------------------------------------------------


@pytest.fixture
def read_only(folder, monkeypatch):
    """Call it to make the cache read-only (root ignores permissions)."""

    def make():
        real = os.open

        def refuse(path, flags, *rest, **more):
            if str(path).startswith(str(folder)) and flags & os.O_CREAT:
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refuse)

    return make


def test_a_read_only_cache_serves_hits(read_only):
    assert answer() == (1, True)
    read_only()
    assert answer(number=2) == (1, False)


def test_a_miss_of_a_read_only_cache_is_built_elsewhere(folder, read_only, caplog):
    assert answer() == (1, True)
    read_only()
    assert answer(key="other", number=2) == (2, True)
    assert answer(key="other", number=3) == (2, False)
    assert len(libraries(folder)) == len(libraries(_trust.temporary())) == 1
    assert f"kept in {_trust.temporary()}, because {folder}: Read-only" in caplog.text


def test_a_full_disk_is_explained(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(
        BuildError, match=r"no folder.*No space left.*DOLFINX_ADMAT_CACHE"
    ) as caught:
        compilation.load("law", "key", Source())
    assert caught.value.reason == "cache"


class Noexec:
    """ctypes.CDLL where some folders are mounted noexec."""

    def __init__(self, monkeypatch, *folders):
        self.real, self.folders = ctypes.CDLL, tuple(map(str, folders))
        monkeypatch.setattr(ctypes, "CDLL", self)

    def __call__(self, path):
        if path.startswith(self.folders):
            raise OSError(f"{path}: failed to map segment from shared object")
        return self.real(path)


def test_a_noexec_cache_is_loaded_through_memory(folder, monkeypatch, caplog):
    Noexec(monkeypatch, folder)
    assert answer() == (1, True)
    assert "mounted noexec; code is loaded through memory" in caplog.text
    assert answer(key="other", number=2) == (2, True)
    assert answer(number=3) == (1, False)
    assert not _trust.temporary().exists()


def test_a_noexec_cache_without_memory_files_moves(folder, monkeypatch, caplog):
    Noexec(monkeypatch, folder, "/proc")
    assert answer() == (1, True)
    assert answer(number=2) == (1, False)
    assert libraries(_trust.temporary())
    assert "failed to map segment" in caplog.text
    monkeypatch.undo()


def test_nowhere_to_run_code(folder, monkeypatch):
    Noexec(monkeypatch, folder.parent, "/proc")
    with pytest.raises(BuildError, match=r"no folder.*failed to map segment.*DOLFINX_ADMAT_CACHE"):
        compilation.load("law", "key", Source())
