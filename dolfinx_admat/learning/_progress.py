"""Progress of a training: a bar by tqdm where it is installed, else plain lines."""

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .training import Epoch

#: Plain lines come no faster than that; seconds.
EVERY = 2.0


class Progress:
    """Shows epochs.

    Args:
        shown: False: nothing; True: a bar; a function: it gets each ``Epoch``.
        first: Number of epochs that are done.
        last: Number of epochs that are wanted.
    """

    def __init__(self, shown: Any, first: int, last: int) -> None:
        self._bar, self._call = None, shown if callable(shown) else None
        self._lines = bool(shown) and self._call is None
        self._last, self._time = last, 0.0
        if self._lines:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=last, initial=first, unit="epoch", desc="train", file=sys.stderr)

    def start(self, epoch: "Epoch") -> None:
        """Before the first update."""
        if self._call is not None:
            self._call(epoch)

    def show(self, epoch: "Epoch", best: float) -> None:
        """An epoch is done; ``best`` is the best loss until now."""
        if self._call is not None:
            self._call(epoch)
        elif self._bar is not None:
            self._bar.set_postfix_str(self._text(epoch, best), refresh=False)
            self._bar.update()
        elif self._lines and (time.monotonic() - self._time > EVERY or epoch.number == self._last):
            self._time = time.monotonic()
            print(f"train: epoch {epoch.number}/{self._last}: {self._text(epoch, best)}",
                  file=sys.stderr, flush=True)  # fmt: skip

    @staticmethod
    def _text(epoch: "Epoch", best: float) -> str:
        failed = f", {epoch.failed} paths failed" if epoch.failed else ""
        return (
            f"loss {epoch.training:.3e}, validation {epoch.validation:.3e}, best {best:.3e}{failed}"
        )

    def close(self) -> None:
        """The end."""
        if self._bar is not None:
            self._bar.close()
