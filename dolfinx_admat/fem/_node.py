"""One rank of each node compiles, then the others load what it has put into the cache."""

import time
from collections.abc import Callable, Iterable

from mpi4py import MPI

import numpy as np

from ..kernels import BatchKernel
from ._collective import collectively


def first_per_node[Result](comm: MPI.Comm, work: Callable[[], Result]) -> Result:
    """Run `work` on all ranks, on the first rank of each node before the others.

    Where it fails on a first rank, the others of that node do not try. Collective: yes.

    Args:
        comm: The ranks.
        work: What fills a cache, and is quick once that is full; must not communicate.

    Returns:
        The rank's own result.

    Raises:
        Exception: That of the first rank that failed, on all ranks.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        with collectively(comm):
            return _first(work, node) if node.rank == 0 else _other(work, node)
    finally:
        node.Free()
    raise AssertionError("collectively() has swallowed an exception")


def _first[Result](work: Callable[[], Result], node: MPI.Comm) -> Result:
    done = np.zeros(1, dtype=np.int8)
    try:
        result = work()
        done[0] = 1
        return result
    finally:
        node.Ibcast(done, root=0).Wait()


def _other[Result](work: Callable[[], Result], node: MPI.Comm) -> Result:
    done, pause = np.zeros(1, dtype=np.int8), 1e-4
    request = node.Ibcast(done, root=0)
    while not request.Test():  # MPI's own waiting would take a core from the compiler
        time.sleep(pause)
        pause = min(2.0 * pause, 0.05)
    if not done[0]:
        raise _FirstFailedError("the first rank of this node failed")
    return work()


def compiled_backends(comm: MPI.Comm, kernels: Iterable[BatchKernel]) -> list[str]:
    """Compile kernels with their tangents; the backends that serve them, on any rank.

    Collective: yes.
    """
    mine = {first_per_node(comm, kernel.prepare) for kernel in kernels}
    return sorted(set[str]().union(*comm.allgather(mine)))


class _FirstFailedError(Exception):
    """Stands for the failure of another rank, which `collectively` reports."""
