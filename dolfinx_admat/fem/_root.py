"""Serial work, done on rank 0 for all ranks."""

from collections.abc import Callable

from mpi4py import MPI


def on_root[Result](comm: MPI.Comm, function: Callable[[], Result]) -> Result:
    """Run `function` on rank 0; return its result, or raise its error, on all ranks.

    Collective: yes. The function must not communicate. Only file, value and import errors are
    passed on; others are bugs.
    """
    result: Result | None = None
    error: tuple[type[Exception], str] | None = None
    if comm.rank == 0:
        try:
            result = function()
        except (OSError, ValueError, ImportError) as failure:
            error = (type(failure), str(failure))
    result, error = comm.bcast((result, error))
    if error is not None:
        raise error[0](error[1])
    return result  # type: ignore[return-value]
