"""`python -m dolfinx_admat`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dolfinx_admat import _describe, _selftest
from dolfinx_admat.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
needs_dolfinx = pytest.mark.skipif(find_spec("dolfinx") is None, reason="needs dolfinx")


def command(*arguments, prefix=()):
    return subprocess.run(
        [*prefix, sys.executable, "-m", "dolfinx_admat", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


def rows(text):
    return {line[:14].strip(): line[14:].strip() for line in text.splitlines()}


@needs_dolfinx
def test_table(capsys):
    assert main([]) == 0
    table = rows(capsys.readouterr().out)
    assert (
        table["PETSc"].endswith("scalars float64, integers of 32 bits")
        or "64 bits" in table["PETSc"]
    )
    assert table["precision"].startswith("float64")
    assert table["dolfinx"].startswith("0.")
    assert table["devices"].startswith("cpu")
    assert not [label for label, value in table.items() if value.startswith("not ")]


def test_table_without_fenicsx(monkeypatch):
    for name in ("mpi4py", "petsc4py", "dolfinx", "mpi4py.MPI", "petsc4py.PETSc", "dolfinx.jit"):
        monkeypatch.setitem(sys.modules, name, None)
    table = _describe.describe()
    for label in ("MPI", "PETSc", "dolfinx", "FFCx cache"):
        assert table[label].startswith("not installed"), table[label]
    assert table["precision"].startswith("float64")


@needs_dolfinx
def test_table_is_printed_once_by_two_ranks(mpiexec):
    done = command(prefix=(mpiexec, "-n", "2"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("numpy") == 1
    assert "ranks: 2" in done.stdout
    assert "XLA pool       1 threads" in done.stdout


def test_unknown_command_shows_the_usage():
    done = command("no-such-command")
    assert done.returncode == 2
    assert "usage: python -m dolfinx_admat" in done.stderr
    assert "selftest" in done.stderr


def test_selftest_of_the_jax_part():
    assert _selftest.run().startswith("the JAX part passed")


def test_selftest_says_in_one_line_what_failed(monkeypatch, capsys):
    monkeypatch.setattr(_selftest, "SIGMA_Y", 250.0)
    monkeypatch.setattr(_selftest, "_expect", lambda what, *_: fail(what))

    def fail(what):
        raise RuntimeError(f"{what}\nis wrong")

    assert main(["selftest"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("selftest: FAILED in the JAX part on rank 0: RuntimeError: J2 stress")
    assert error.count("\n") == 1


@needs_dolfinx
def test_selftest_passes_on_two_ranks(mpiexec):
    done = command("selftest", prefix=(mpiexec, "-n", "2"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("selftest: passed") == 1
