"""Local work that may fail on some ranks only, made to fail on all of them alike."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpi4py import MPI

from ..compilation import BuildError
from ..errors import AdmatError, ConvergenceError, MaterialError

_KINDS = {
    kind.__name__: kind
    for kind in (
        MaterialError,
        ConvergenceError,
        ValueError,
        TypeError,
        OSError,
        FileNotFoundError,
        PermissionError,
        ImportError,
        BuildError,
    )
}


@contextmanager
def collectively(comm: MPI.Comm) -> Iterator[None]:
    """Raise the first rank's exception on all ranks. Collective: yes, also without an error.

    The body must not communicate: a rank that fails would leave the others waiting.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    mine = None if error is None else (type(error).__name__, str(error))
    first = next((e for e in comm.allgather(mine) if e is not None), None)
    if first is None:
        return
    if first == mine and error is not None:
        raise error
    name, text = first
    if name in _KINDS:
        raise _KINDS[name](text) from error
    raise AdmatError(f"{name}: {text}") from error
