"""A FEniCSx that does not fit is refused in words, before any work is done."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py.MPI")  # before dolfinx, whose wheel finds its MPI library this way
pytest.importorskip("dolfinx")

from dolfinx_admat.fem import _environment
from dolfinx_admat.fem._environment import InstallationError

ROOT = Path(__file__).resolve().parents[2]


def test_this_installation_fits():
    _environment.check_environment()


def test_complex_scalars():
    with pytest.raises(InstallationError, match=r"complex.*dolfinx-solver-real.*real-mode"):
        _environment._check_scalar(np.complex128, np.float64)


def test_single_precision():
    with pytest.raises(InstallationError, match="computes in float32; dolfinx_admat needs float64"):
        _environment._check_scalar(np.float32, np.float32)


def test_old_dolfinx():
    with pytest.raises(InstallationError, match=r"dolfinx 0\.10\.0 is too old.*conda"):
        _environment._check_version("0.10.0", rank=0)


def test_new_dolfinx_is_warned_about_on_rank_0_only():
    with pytest.warns(UserWarning, match=r"dolfinx 0\.12\.0\.dev0 is newer than 0\.11"):
        _environment._check_version("0.12.0.dev0", rank=0)
    _environment._check_version("0.12.0.dev0", rank=1)


@pytest.mark.parametrize("version", ["0.11.0", "0.11.0.post0", "0.11.3"])
def test_supported_dolfinx(version):
    _environment._check_version(version, rank=0)


def test_missing_package_names_the_extra_and_conda():
    with pytest.raises(InstallationError, match=r"no_such_fenics.*dolfinx_admat\[fenicsx\].*conda"):
        _environment._import("no_such_fenics.module")


def test_mpiexec_of_another_mpi(monkeypatch):
    monkeypatch.delenv("ADMAT_ALLOW_SINGLETON", raising=False)
    with pytest.raises(InstallationError, match=r"started 4 tasks.*belongs to another MPI.*MPICH"):
        _environment._check_launcher(4, 1, "MPICH Version: 5\nmore")
    _environment._check_launcher(4, 4, "")
    _environment._check_launcher(1, 1, "")
    _environment._check_launcher(None, 1, "")
    monkeypatch.setenv("ADMAT_ALLOW_SINGLETON", "1")
    _environment._check_launcher(4, 1, "")


def test_mpiexec_of_another_mpi_for_real():
    """The variables of Open MPI's launcher around an MPICH process, or the other way round."""
    from mpi4py import MPI

    other = "OMPI_COMM_WORLD" if "MPICH" in MPI.Get_library_version() else "MV2_COMM_WORLD"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "ADMAT"))}
    environ |= {f"{other}_SIZE": "2", f"{other}_RANK": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "import dolfinx_admat.fem"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=120,
    )
    assert done.returncode != 0
    assert "belongs to another MPI" in done.stderr
