"""JAX's and FFCx's caches are where nobody else can write; `warm` fills all of them."""

import logging
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest

from dolfinx_admat import _jax_cache, _trust
from dolfinx_admat.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
needs_dolfinx = pytest.mark.skipif(find_spec("dolfinx") is None, reason="needs dolfinx")
OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(tmp_path / "cache"))
    _trust.say_once.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def jax_cache(monkeypatch):
    """JAX without a cache folder; call it to enable ours and get (folder, least seconds)."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)

    def enable():
        _jax_cache.enable()
        return tuple(getattr(jax.config, name) for name in OPTIONS)

    yield enable
    for name, value in before.items():
        jax.config.update(name, value)


def test_jax_keeps_programs_beside_ours(folder, jax_cache):
    place, seconds = jax_cache()
    assert Path(place).parent == folder
    assert jax.__version__ in place
    assert seconds == 0.1


def test_another_cpu_has_another_folder(jax_cache, monkeypatch):
    one = jax_cache()[0]
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(_jax_cache, "machine_digest", lambda: "another")
    assert jax_cache()[0] != one


def test_the_users_jax_cache_is_left_alone(jax_cache, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", "/chosen/in/code")
    assert jax_cache()[0] == "/chosen/in/code"
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # switched off
    assert jax_cache()[0] is None


def test_jax_takes_nothing_from_a_folder_that_others_can_write(folder, jax_cache, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    assert Path(jax_cache()[0]).parent == _trust.temporary()
    assert "no code is loaded" in caplog.text


def test_jax_takes_nothing_from_a_prepared_subfolder(jax_cache):
    place = Path(jax_cache()[0])
    jax.config.update("jax_compilation_cache_dir", None)
    place.chmod(0o777)
    assert Path(jax_cache()[0]).parent == _trust.temporary()


def test_jax_does_not_write_to_a_read_only_cache(jax_cache, monkeypatch):
    place, _ = jax_cache()
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert jax_cache() == (place, _jax_cache._NEVER)


@pytest.fixture
def ffcx(tmp_path, monkeypatch):
    """dolfinx's own default folder, in the test's folder; call it to have ours look at it."""
    pytest.importorskip("mpi4py.MPI")
    jit = pytest.importorskip("dolfinx.jit")
    from dolfinx_admat.fem import _ffcx_cache

    default = tmp_path / "home" / "fenics"
    monkeypatch.setitem(jit.DOLFINX_DEFAULT_JIT_OPTIONS, "cache_dir", (default, "text"))

    def configure():
        _ffcx_cache.configure()
        return jit.get_options()["cache_dir"]

    configure.default, configure.module = default, _ffcx_cache
    return configure


def test_ffcx_keeps_its_folder_where_that_is_safe(ffcx):
    assert ffcx() == ffcx.default


@pytest.mark.parametrize("case", ["open", "shared", "no folder", "read-only", "noexec"])
def test_ffcx_moves_where_its_folder_will_not_do(ffcx, folder, case, monkeypatch, caplog):
    parent = ffcx.default.parent
    parent.mkdir()
    if case == "open":
        ffcx.default.mkdir()
        ffcx.default.chmod(0o777)
    elif case == "shared":
        parent.chmod(0o1777)
    elif case == "no folder":
        ffcx.default.touch()
    elif case == "read-only":
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: p != ffcx.default and real(p, mode))
    elif case == "noexec":
        real_statvfs = os.statvfs

        class Noexec:
            f_flag = os.ST_NOEXEC

        monkeypatch.setattr(
            os, "statvfs", lambda p: Noexec() if p == ffcx.default else real_statvfs(p)
        )
    with caplog.at_level(logging.INFO):
        assert ffcx() == folder / "fenics"
    assert f"FFCx keeps compiled forms in {folder}" in caplog.text


def test_what_is_compiled_already_serves_nodes_without_a_compiler(ffcx, monkeypatch):
    ffcx.default.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(ffcx.module, "compiler", lambda: None)
    assert ffcx() == ffcx.default


def test_a_users_ffcx_cache_is_left_alone(ffcx, monkeypatch):
    ffcx.default.mkdir(parents=True)
    ffcx.default.chmod(0o777)
    jit = sys.modules["dolfinx.jit"]
    chosen = Path("/chosen/by/json")
    monkeypatch.setattr(jit, "_load_options", lambda: ({}, {"cache_dir": chosen}))
    assert ffcx() == chosen


SCRIPT = """
import sys
import jax.numpy as jnp
print("arguments", sys.argv[1:], __name__)
import dolfinx_admat as admat
from mpi4py import MPI
import ufl
import numpy as np
from dolfinx import fem, mesh
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain
domain = mesh.create_box(MPI.COMM_WORLD, [[0, 0, 0], [1, 1, 1]], [2, 1, 1])
V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
u, v = fem.Function(V), ufl.TestFunction(V)
steel = admat.LinearElastic(E=1.0, nu=0.3)
law = QuadratureMaterial(domain, steel, {"strain": strain(u)}, degree=1)
F = ufl.inner(law["stress"], strain(v)) * law.dx
facets = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[0], 0.0))
bcs = [fem.dirichletbc(np.zeros(3), fem.locate_dofs_topological(V, 2, facets), V)]
problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="warm_")
for n in range(3):
    problem.solve()
    if MPI.COMM_WORLD.rank == 0:
        print("solved", n, flush=True)
sys.exit(3)
"""


def warm(tmp_path, *arguments, script=SCRIPT, prefix=()):
    path = tmp_path / "script.py"
    path.write_text(script)
    environ = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "xdg"), "ADMAT_QUIET": "1"}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "dolfinx_admat", "warm", *arguments, str(path), "--x", "1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=200,
    )


@needs_dolfinx
def test_warm_stops_at_the_second_solve_and_says_what_was_built(tmp_path):
    done = warm(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "arguments ['--x', '1'] __main__" in done.stdout
    assert "solved 0" in done.stdout
    assert "solved 1" not in done.stdout
    assert "was stopped where it began to solve a problem for the second time" in done.stdout
    (forms,) = [line for line in done.stdout.splitlines() if "forms of FFCx in" in line]
    assert forms.split()[1] == forms.split()[4] != "0"
    assert str(tmp_path / "xdg" / "fenics") in forms
    assert "kernels in " + str(tmp_path / "cache") in done.stdout


@needs_dolfinx
def test_warm_runs_all_of_it_if_asked_and_under_mpiexec(tmp_path, mpiexec):
    done = warm(tmp_path, "--full", prefix=(mpiexec, "-n", "2"))
    assert "solved 2" in done.stdout, done.stderr
    assert done.stdout.count("script.py ended with status 3") == 1
    assert done.returncode == 3


def test_warm_passes_errors_on(tmp_path):
    done = warm(tmp_path, script="raise RuntimeError('mine')")
    assert done.returncode == 1
    assert "RuntimeError: mine" in done.stderr
    assert "FAILED; what it compiled before that is kept" in done.stdout


def test_warm_without_a_script(capsys):
    assert main(["warm", "no_such.py"]) == 2
    assert "there is no script no_such.py" in capsys.readouterr().err
