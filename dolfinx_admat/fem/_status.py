"""Per-point status of a material, reduced over the communicator and put into words."""

import dataclasses
from typing import Any

from mpi4py import MPI

import numpy as np

from ..implicit import LocalStatus
from ..kernels import StatusBuffers


@dataclasses.dataclass(frozen=True)
class UpdateReport:
    """What one update of a material did, summed over all ranks; the same on all ranks.

    Attributes:
        material: Name of the quadrature material.
        points: Number of points.
        failed: Number of points whose local update failed.
        active: Number of points where the local solve was needed (plastic points).
        iterations: Largest number of local Newton iterations.
        worst: The worst failed point: rank, cell, point, coordinates, code, residual,
            iterations, and its law, parameters, inputs, state and dt as plain lists. None if no
            point failed.
    """

    material: str
    points: int
    failed: int
    active: int
    iterations: int
    worst: dict[str, Any] | None = None

    @property
    def message(self) -> str:
        """The failure in words."""
        if self.worst is None:
            return f"{self.material}: all {self.points} points converged"
        w = self.worst
        place = ", ".join(f"{x:.6g}" for x in w["coordinates"])
        return (
            f"{self.material}: local update failed at {self.failed} of {self.points} points. "
            f"Worst: rank {w['rank']}, global cell {w['cell']}, point {w['point']} at ({place}): "
            f"{LocalStatus(w['code']).name}, |r| = {w['residual']:.2e} after "
            f"{w['iterations']} iterations: {LocalStatus(w['code']).message}"
        )


def reduce_status(comm: MPI.Comm, name: str, status: StatusBuffers, describe: Any) -> UpdateReport:
    """Sum a status over ranks. Collective: yes.

    Args:
        comm: Communicator.
        name: Name of the material.
        status: This rank's status.
        describe: Function of a local point index that gives the data of ``UpdateReport.worst``;
            called on one rank, and only if a point failed.
    """
    failed = np.flatnonzero(status.code != LocalStatus.CONVERGED)
    counts = np.array([len(status.code), len(failed), np.count_nonzero(status.active)])
    total = np.zeros_like(counts)
    comm.Allreduce(counts, total)
    most = comm.allreduce(int(status.iterations.max(initial=0)), op=MPI.MAX)
    worst = None
    if total[1] > 0:
        # NaN is the worst residual of all.
        size = np.nan_to_num(np.abs(status.residual[failed]), nan=np.inf)
        mine = float(size.max()) if len(failed) else -1.0
        sizes = comm.allgather(mine)
        rank = int(np.argmax(sizes))
        if comm.rank == rank:  # alone: nothing here may leave the others waiting
            worst = {"rank": rank, **describe(int(failed[int(np.argmax(size))]))}
        worst = comm.bcast(worst, root=rank)
    return UpdateReport(name, int(total[0]), int(total[1]), int(total[2]), most, worst)
