"""Threads, devices and what a launcher says."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dolfinx_admat import _runtime

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER_WORDS = ("PMI", "OMPI_", "MV2_", "JSM_", "FLUX_", "SLURM_", "MPI_LOCAL", "HYDI")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


@pytest.fixture
def environ(monkeypatch):
    """The environment without a launcher and without anybody's choices."""
    for name in list(os.environ):
        if name.startswith(LAUNCHER_WORDS) or name in (*THREADS, "JAX_PLATFORMS"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "size", "rank", "local"),
    [
        ({}, None, 0, 0),
        ({"PMI_RANK": "3", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"}, 8, 3, 1),
        (
            {
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "2",
                "PMIX_RANK": "2",
            },
            4,
            2,
            2,
        ),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1"}, 6, 5, 1),
        # A plain program in a batch script of an 8-task job, and an interactive srun shell.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None, 0, 0),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PTY_PORT": "1"}, None, 0, 0),
        # mpiexec inside a Slurm step: the inner launcher counts.
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_STEP_NUM_TASKS": "1",
                "PMI_RANK": "1",
                "PMI_SIZE": "2",
            },
            2,
            1,
            0,
        ),
        ({"PMIX_RANK": "1"}, None, 1, 0),
        ({"PMI_RANK": "x", "PMI_SIZE": "y"}, None, 0, 0),
    ],
)
def test_what_the_launcher_says(environ, variables, size, rank, local):
    for name, value in variables.items():
        environ.setenv(name, value)
    assert _runtime.launched_by_mpi() == any("RANK" in v or "STEP" in v for v in variables) & (
        "SLURM_PTY_PORT" not in variables
    )
    assert _runtime.launcher_size() == size
    assert _runtime.launcher_rank() == rank
    assert _runtime.local_rank() == local


def configured(environ, **given):
    given = dict(given)
    _runtime.configure(given)
    return given


def test_nothing_changes_outside_mpi(environ):
    assert configured(environ) == {}


def test_a_rank_gets_one_thread_and_the_cpu(environ):
    environ.setenv("PMI_RANK", "0")
    environ.setenv("PMI_SIZE", "2")
    environ.delitem(sys.modules, "jax", raising=False)
    found = configured(environ)
    assert {name: found[name] for name in THREADS} == dict.fromkeys(THREADS, "1")
    assert found["JAX_PLATFORMS"] == "cpu"


@pytest.mark.parametrize(
    "given",
    [
        {"OMP_NUM_THREADS": "4,2"},
        {"OPENBLAS_NUM_THREADS": "2"},
        {"NPROC": "3"},
        {"JAX_PLATFORMS": "cuda"},
    ],
)
def test_the_user_wins(environ, given):
    environ.setenv("PMI_RANK", "0")
    environ.setenv("PMI_SIZE", "2")
    environ.delitem(sys.modules, "jax", raising=False)
    found = configured(environ, **given)
    assert {name: found[name] for name in given} == given
    if "OMP_NUM_THREADS" in given:  # speaks for all pools
        assert found["NPROC"] == "4"
        assert "OPENBLAS_NUM_THREADS" not in found


COUNT = """
import os
{first}
import dolfinx_admat
import jax.numpy as jnp
from dolfinx_admat import _runtime
(jnp.ones((300, 300)) @ jnp.ones((300, 300))).block_until_ready()
line = f"{{_runtime.xla_pool_size()}} {{dolfinx_admat.jax.devices()[0].platform}}\\n"
os.write(1, line.encode())  # one write: an unbuffered print would mix with the other rank's
"""


def ranks(mpiexec, first, **variables):
    clean = {k: v for k, v in os.environ.items() if k not in (*THREADS, "JAX_PLATFORMS")}
    return subprocess.run(
        [mpiexec, "-n", "2", sys.executable, "-c", COUNT.format(first=first)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | variables,
        timeout=120,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("first", ["", "import numpy, jax"])
def test_xla_pool_of_a_rank_has_one_thread(mpiexec, first):
    done = ranks(mpiexec, first)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "cpu"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_xla_pool_follows_the_user(mpiexec):
    assert ranks(mpiexec, "", NPROC="2").stdout.split() == ["2", "cpu"] * 2


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: one thread anyway")
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_pool_that_started_too_early_is_warned_about_once(mpiexec):
    done = ranks(mpiexec, "import jax; jax.numpy.ones(1).block_until_ready()")
    assert done.stderr.count("Import dolfinx_admat first, or set NPROC=1") == 1


def asked_for_gpus(environ, rank, local=None, **given):
    environ.setenv("PMI_RANK", str(rank))
    environ.setenv("PMI_SIZE", "8")
    if local is not None:
        environ.setenv("MPI_LOCALRANKID", str(local))
    environ.delitem(sys.modules, "jax", raising=False)
    return configured(environ, **({"JAX_PLATFORMS": "cuda,cpu"} | given))


@pytest.mark.parametrize(
    ("rank", "local", "visible", "device"),
    [
        (5, 1, "0,1,2,3", "1"),
        (5, 5, "0,1,2,3", "1"),  # more ranks than GPUs: in turn
        (5, None, "0,1,2,3", "1"),  # a launcher that does not say: as if nodes were alike
        (5, 1, "3", "0"),  # the batch system has given this rank its GPU
    ],
)
def test_ranks_take_the_gpus_of_their_node_in_turn(environ, rank, local, visible, device):
    found = asked_for_gpus(environ, rank, local, CUDA_VISIBLE_DEVICES=visible)
    assert found["JAX_CUDA_VISIBLE_DEVICES"] == device
    assert found["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert found["JAX_PLATFORMS"] == "cuda,cpu"


def test_the_users_choice_of_gpus_wins(environ):
    given = {"JAX_CUDA_VISIBLE_DEVICES": "2", "XLA_PYTHON_CLIENT_PREALLOCATE": "true"}
    found = asked_for_gpus(environ, 1, 1, CUDA_VISIBLE_DEVICES="0,1,2", **given)
    assert {name: found[name] for name in given} == given


def test_no_gpu_is_chosen_where_none_is_asked_for_or_known(environ):
    found = asked_for_gpus(environ, 1, 1, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="0,1")
    assert "JAX_CUDA_VISIBLE_DEVICES" not in found
    found = asked_for_gpus(environ, 1, 1, CUDA_VISIBLE_DEVICES="")
    assert "JAX_CUDA_VISIBLE_DEVICES" not in found


PLATFORMS = """
import jax
{before}
import dolfinx_admat{part}
print(jax.config.jax_platforms, jax.config.jax_default_device)
"""


@pytest.mark.parametrize(
    ("part", "before", "variables", "expected"),
    [
        ("", "", {}, "None None"),  # laws alone run where JAX likes, a GPU if there is one
        (".fem", "", {}, "cpu cpu"),
        (".fem", "jax.numpy.ones(1)", {}, "cpu cpu"),
        (".fem", "", {"JAX_PLATFORMS": "cpu,"}, "cpu, None"),
        (".fem", "jax.config.update('jax_platforms', 'cuda')", {}, "cuda None"),
        (".fem", "jax.config.update('jax_default_device', 'gpu')", {}, "None gpu"),
    ],
)
def test_fe_runs_are_on_the_cpu_unless_a_device_was_chosen(part, before, variables, expected):
    if part and find_spec("dolfinx") is None:
        pytest.skip("needs dolfinx")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_PLAT", *LAUNCHER_WORDS))}
    done = subprocess.run(
        [sys.executable, "-c", PLATFORMS.format(before=before, part=part)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | variables,
        timeout=120,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_threads_in_words(environ):
    environ.setattr(_runtime, "xla_pool_size", lambda: 1)
    environ.setenv("OMP_NUM_THREADS", "1,2")
    assert _runtime.threads() == "1 thread"
    environ.setattr(_runtime, "xla_pool_size", lambda: 4)
    assert _runtime.threads() == "threads: XLA 4, OpenMP 1"
    environ.setenv("OMP_NUM_THREADS", "4")
    assert _runtime.threads() == "4 threads"


def test_device_in_words():
    assert _runtime.device() == "cpu"
