"""The Makefile and its setup: one clear sentence for everything that can be missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture
def clone(tmp_path):
    """What setup needs of a clone, in a folder with spaces and without a .venv."""
    folder = tmp_path / "my clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    return folder


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH with what a minimal system has, without Python and compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = "sh env make sed grep cat cksum dirname flock timeout rm find echo printf".split()
    for name in names:
        if shutil.which(name):
            (folder / name).symlink_to(shutil.which(name))
    return folder


def make(clone, *arguments, **variables):
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        ["make", *arguments],
        capture_output=True,
        text=True,
        cwd=clone,
        env=kept | variables,
        timeout=120,
    )
    messages = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    return done, "\n".join(messages)


def fake_python(folder, version, verdict="ok"):
    """An interpreter that answers the probe of setup.sh with this verdict."""
    program = folder / f"python{version}"
    program.write_text(f"#!/bin/sh\necho {verdict}\n")
    program.chmod(0o755)
    return program


def test_bare_make_lists_the_targets(clone):
    done, _ = make(clone)
    for target in (
        "demo",
        "test",
        "test-full",
        "bench",
        "docs",
        "verify",
        "setup",
        "lint",
        "clean",
    ):
        assert f"make {target} " in done.stdout


def test_every_listed_target_exists(clone):
    for target in ("demo", "test", "docs", "verify", "lint", "clean"):
        done, _ = make(clone, "-n", target)
        assert done.returncode == 0, done.stderr


def test_number_of_ranks_of_the_demo(clone):
    done, _ = make(clone, "-n", "demo", NP="5")
    assert "mpiexec -n 5 .venv/bin/python demos/demo_" in done.stdout


def test_demo_of_the_makefile_exists():
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "DEMO :=" in line)
    assert (ROOT / line.partition(":=")[2].strip()).exists()


def elsewhere(tmp_path, tools):
    return {"PATH": str(tools), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}


def test_no_interpreter(clone, tools, tmp_path):
    if list(Path("/").glob("usr/bin/python3.1[2-9]")) or list(Path("/opt").glob("*/bin/python3")):
        pytest.skip("this machine has interpreters where setup looks besides PATH")
    fake_python(tools, "3", verdict="old")
    done, message = make(clone, "setup", **elsewhere(tmp_path, tools))
    assert done.returncode != 0
    assert message.startswith("setup: no suitable Python found: dolfinx_admat needs CPython 3.12")
    assert message.count("\n") == 0
    assert not (clone / ".venv").exists()


def test_interpreter_without_venv(clone, tools, tmp_path):
    program = fake_python(tools, "3", verdict="no-venv")
    _, message = make(clone, "setup", PYTHON=str(program), **elsewhere(tmp_path, tools))
    assert message == (
        f"setup: {program} cannot make virtual environments: install its venv package (Debian and "
        "Ubuntu: apt install python3-venv python3-dev) and run make setup again."
    )


def test_named_interpreter_that_does_not_exist(clone):
    _, message = make(clone, "setup", PYTHON="/no/such/python")
    assert message == "setup: PYTHON=/no/such/python is not a program."


def test_no_compiler(clone):
    done, message = make(clone, "setup", PYTHON=sys.executable, DOLFINX="wheel", CC="no-such-cc")
    if "no dolfinx wheel" in message:
        pytest.skip("no wheel for this platform")
    assert done.returncode != 0
    assert message.startswith("setup: no C compiler (no-such-cc) found")
    assert message.count("\n") == 0
    assert not (clone / ".venv").exists()


def test_no_network(clone):
    """Nothing listens on the discard port."""
    _, message = make(
        clone,
        "setup",
        PYTHON=sys.executable,
        DOLFINX="wheel",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_CONFIG_FILE=os.devnull,
    )
    if "no dolfinx wheel" in message or "Python.h" in message or "C compiler" in message:
        pytest.skip(message)
    assert message.startswith("setup: no network: pip could not reach its package index")
    assert message.count("\n") == 0
    assert not (clone / ".venv" / "admat-stamp").exists()


def test_host_without_dolfinx(clone, tools, tmp_path):
    fake_python(tools, "3", verdict="no-dolfinx")
    if list(Path("/opt").glob("*/bin/python3")) or Path("/dolfinx-env").exists():
        pytest.skip("this machine may have a dolfinx where setup looks besides PATH")
    _, message = make(clone, "setup", DOLFINX="host", **elsewhere(tmp_path, tools))
    assert message.startswith("setup: no Python >= 3.12 here can import dolfinx: activate")
    assert "conda install -c conda-forge" in message


def test_unknown_kind_of_dolfinx(clone):
    _, message = make(clone, "setup", DOLFINX="conda")
    assert message.startswith("setup: DOLFINX=conda is unknown: say DOLFINX=wheel")


def test_a_venv_that_is_not_ours_is_left_alone(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "precious").touch()
    _, message = make(clone, "setup", PYTHON=sys.executable, DOLFINX="wheel")
    if "no dolfinx wheel" in message or "Python.h" in message or "C compiler" in message:
        pytest.skip(message)
    assert message.startswith("setup: the folder .venv was not made by make setup")
    make(clone, "clean")
    assert (clone / ".venv" / "precious").exists()


def test_top_level_is_as_designed():
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    visible = {name.split("/")[0] for name in done.stdout.split("\n") if not name.startswith(".")}
    assert visible - {""} <= {
        "CITATION.cff",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks",
        "demos",
        "docker",
        "docs",
        "dolfinx_admat",
        "meshes",
        "pyproject.toml",
        "tests",
    }
