"""One line per solve on rank 0."""

import os
import sys
import time
from typing import Any, TextIO

from mpi4py import MPI


class Progress:
    """Prints what a run does while it does it; silent with ``ADMAT_QUIET=1``.

    Args:
        comm: Communicator; only its rank 0 prints.
        enabled: False: print nothing.
        stream: Where to print; default: standard output at the time of printing.
    """

    def __init__(self, comm: MPI.Comm, enabled: bool = True, stream: TextIO | None = None) -> None:
        self.enabled = (
            enabled and comm.rank == 0 and os.environ.get("ADMAT_QUIET", "0") in ("", "0")
        )
        self._stream = stream
        self._header = False
        self._count = 0
        self._start = time.perf_counter()

    def say(self, text: str) -> None:
        """Print a line."""
        if self.enabled:
            print(text, file=self._stream or sys.stdout, flush=True)

    def step(self, row: dict[str, Any]) -> None:
        """Print one solve: time or load, iterations, residual, plastic points, seconds."""
        if not self.enabled:
            return
        if not self._header:
            self.say("  step       time         dt  newton     |F|  plastic points  seconds")
            self._header = True
        self._count += 1
        when = f"{row['time']:10.4g}" if row["time"] is not None else f"{'-':>10}"
        dt = f"{row['dt']:10.3g}" if row["dt"] is not None else f"{'-':>10}"
        share = 100.0 * row["active"] / max(row["points"], 1)
        self.say(
            f"{self._count:6d} {when} {dt} {row['iterations']:7d} {row['residual']:7.1e} "
            f"{row['active']:8d} {share:5.1f}% {time.perf_counter() - self._start:8.1f}"
        )
