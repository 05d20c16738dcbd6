"""One rank of a node works first; nobody hangs if it fails."""

import shutil
import tempfile
import time

from mpi4py import MPI

import pytest

from dolfinx_admat import compilation
from dolfinx_admat.compilation import BuildError
from dolfinx_admat.fem._node import compiled_backends, first_per_node

COMM = MPI.COMM_WORLD


def test_the_first_rank_is_done_before_the_others_begin():
    begin, end = 0.0, 0.0

    def work():
        nonlocal begin, end
        begin = time.time()
        time.sleep(0.2 if COMM.rank == 0 else 0.0)
        end = time.time()
        return COMM.rank

    assert first_per_node(COMM, work) == COMM.rank
    times = COMM.allgather((begin, end))
    assert all(other > times[0][1] for other, _ in times[1:])


def test_the_first_ranks_failure_is_everybodys_and_nobody_else_tries():
    tried = False

    def work():
        nonlocal tried
        tried = True
        raise BuildError(f"rank {COMM.rank} has no compiler", "no compiler")

    with pytest.raises(BuildError, match=r"^rank 0 has no compiler$"):
        first_per_node(COMM, work)
    assert COMM.allgather(tried) == [True] + [False] * (COMM.size - 1)


def test_a_later_ranks_failure_is_everybodys():
    def work():
        if COMM.rank == COMM.size - 1:
            raise OSError(f"rank {COMM.rank} cannot load it")

    with pytest.raises(OSError, match=f"^rank {COMM.size - 1} cannot load it$"):
        first_per_node(COMM, work)


@pytest.mark.skipif(compilation.compiler() is None, reason="needs a C compiler")
def test_a_library_is_built_by_one_rank(monkeypatch):
    folder = COMM.bcast(tempfile.mkdtemp() if COMM.rank == 0 else None)
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", folder)
    built = False

    def source():
        nonlocal built
        built = True
        return "int number(void) { return 3; }"

    library = first_per_node(COMM, lambda: compilation.load("law", "node", source))
    assert library.number() == 3
    assert COMM.allgather(built) == [True] + [False] * (COMM.size - 1)
    COMM.Barrier()
    if COMM.rank == 0:
        shutil.rmtree(folder)


def test_the_backends_of_all_ranks_are_named():
    class Kernel:
        def prepare(self):
            return "xla" if COMM.rank == COMM.size - 1 else "native"

    expected = ["native", "xla"] if COMM.size > 1 else ["xla"]
    assert compiled_backends(COMM, [Kernel()]) == expected
