"""Fixtures and manners of all tests, with and without MPI.

Under mpiexec every rank runs the same tests in the same order. Rank 0 reports as usual; the
others are silent unless a test fails there, and a failure is printed by its rank at once, since
the ranks that wait for it may never reach the end.
"""

import gc
import json
import os
import sys
import tempfile
from pathlib import Path

# Tests compile many programs and run each for a moment: without XLA's costly passes they take
# a third less time. Demos, and `make test-full`, run what users run. Before JAX is imported.
if not os.environ.get("ADMAT_TEST_OPTIMISED"):
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import numpy as np
import pytest

from dolfinx_admat import _runtime  # first: it settles threads and float64

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT.parent / "shared" / "cases"
RANKS = _runtime.launcher_size() or 1
if RANKS > 1:
    # Ranks that tidy up one folder at once get into each other's way: pytest then fails at its end.
    TEMPORARY = Path(tempfile.gettempdir(), f"pytest-{os.getuid()}-rank-{_runtime.launcher_rank()}")
    TEMPORARY.mkdir(mode=0o700, exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(TEMPORARY)
FAILED = pytest.StashKey[bool]()
VERIFICATION = os.environ.get("ADMAT_VERIFICATION")


class _FailuresAtOnce:
    """Print a failure when it happens, with the rank."""

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._print(report.nodeid, report.longreprtext)

    def pytest_collectreport(self, report):
        if report.failed:
            self._print(report.nodeid, report.longreprtext)

    @staticmethod
    def _print(nodeid, text):
        head = f"[rank {_runtime.launcher_rank()}] FAILED {nodeid}"
        sys.__stderr__.write(f"\n{head}\n{text}\n")
        sys.__stderr__.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if RANKS == 1:
        return
    config.pluginmanager.register(_FailuresAtOnce())
    if _runtime.launcher_rank() > 0:
        config.pluginmanager.unregister(name="terminalreporter")


def pytest_collection_modifyitems(items):
    if VERIFICATION:  # docs/verify.py wants the measured errors and nothing else
        items[:] = [item for item in items if "verified" in getattr(item, "fixturenames", ())]
    for item in items:
        if "cases" in getattr(item, "fixturenames", ()) and not item.get_closest_marker(
            "reference"
        ):
            raise pytest.UsageError(f"{item.nodeid} uses ../shared/cases: mark it as reference")


@pytest.fixture
def cases():
    """Folder of the reference cases, beside the clone."""
    if not CASES.is_dir():
        pytest.skip("no reference cases: ../shared/cases is not there")
    return CASES


@pytest.fixture
def verified(request):
    """Assert an error against a published result; it also goes into the table of the docs.

    Call it as ``verified(law=, hypotheses=, against=, error=, tolerance=)``: strings, and numbers
    that are relative to the size of the quantity. Several calls in one test with the same strings
    are one row, with the largest error.
    """

    def check(*, law, hypotheses, against, error, tolerance):
        error, tolerance = float(error), float(tolerance)
        assert 0.0 <= error <= tolerance, f"{law}, {against}: error {error:.3g} > {tolerance:.3g}"
        if VERIFICATION and _runtime.launcher_rank() == 0:
            file, *_, test = request.node.nodeid.partition("[")[0].split("::")
            row = {
                "law": law,
                "hypotheses": hypotheses,
                "against": against,
                "error": error,
                "tolerance": tolerance,
                "test": f"{file}::{test}",
            }
            with open(VERIFICATION, "a") as rows:
                rows.write(json.dumps(row) + "\n")

    return check


@pytest.fixture
def mpiexec(monkeypatch):
    """The mpiexec of this environment, for tests that start ranks of their own."""
    # As in the Makefile: no cross-memory attach, and a rank that waits leaves the core to others.
    monkeypatch.setenv("MPIR_CVAR_CH4_CMA_ENABLE", "0")
    monkeypatch.setenv("MPIR_CVAR_CH4_PROGRESS_THROTTLE", "1")
    monkeypatch.setenv("MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT", "64")
    program = Path(sys.executable).parent / "mpiexec"
    if RANKS > 1:
        pytest.skip("already under mpiexec")
    if not program.exists():
        pytest.skip(f"no {program}")
    return str(program)


@pytest.fixture
def optimised():
    """All of XLA's passes, for tests that run their programs for long."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def rng():
    """Random numbers that are the same in every run and on every rank."""
    return np.random.default_rng(20240607)


@pytest.fixture(autouse=True, scope="module")
def _modules_leave_little_behind():
    """Drop compiled programs when they are many, and spare ranks the garbage of earlier modules.

    XLA maps some 24 pieces of memory for a small program, and Linux allows a process 65530 of
    them by default (``vm.max_map_count``); beyond that, XLA's compiler ends in a fault, in any
    test. A module of tests adds 10000 at most. Ranks look for garbage after each test (below):
    frozen, what was there before the module is passed over.
    """
    if RANKS > 1:
        gc.freeze()
    yield
    pieces = Path("/proc/self/maps")
    many = pieces.exists() and pieces.read_bytes().count(b"\n") > 20_000
    if many and "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    if many or RANKS > 1:  # on all ranks at this place, whatever each of them has compiled
        gc.unfreeze()
        gc.collect()


@pytest.fixture(autouse=True)
def _serial_children_of_a_rank(monkeypatch):
    """A Python that a test starts on a rank is no rank."""
    if RANKS > 1:
        monkeypatch.setitem(os.environ, "ADMAT_ALLOW_SINGLETON", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def _ranks_stay_together(request):
    """Keep the ranks in step, and let rank 0 count a failure of any of them.

    PETSc and MPI objects are destroyed at the same place on all ranks: their end is collective.
    """
    yield
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or mpi.COMM_WORLD.size == 1:
        return
    gc.collect()
    failed = mpi.COMM_WORLD.allgather(request.node.stash.get(FAILED, False))
    if any(failed) and not failed[0] and mpi.COMM_WORLD.rank == 0:
        pytest.fail(f"failed on ranks {[r for r, f in enumerate(failed) if f]}", pytrace=False)
