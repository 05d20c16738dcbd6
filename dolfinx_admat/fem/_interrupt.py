"""Ctrl-C during a solve: noticed where Python may stop, not in the middle of PETSc."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from mpi4py import MPI


class Interrupt:
    """Context that keeps a SIGINT until ``check`` or its end; a second one acts at once.

    Raised inside a callback of PETSc, KeyboardInterrupt would come out as an error of PETSc. Only
    for one rank (an ``mpiexec`` that is interrupted ends its ranks itself) and in the main thread;
    elsewhere it does nothing.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        main = threading.current_thread() is threading.main_thread()
        self._applies = comm.size == 1 and main
        self._before: Any = None
        self._seen = False

    def __enter__(self) -> "Interrupt":
        if self._applies:
            self._before = signal.signal(signal.SIGINT, self._remember)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._seen and callable(self._before):
            self._before(number, frame)
        self._seen = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was a SIGINT."""
        if self._seen:
            self._seen = False
            raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._applies:
            # None: somebody else's handler, not installed from Python.
            signal.signal(signal.SIGINT, self._before or signal.SIG_DFL)
            if kind is None:
                self.check()
