"""The recorded steps: displacements and loads of all of them, states in memory, on disk, or few."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MaterialError
from ._world import Saved

Floats = npt.NDArray[np.float64]
#: Everything that a commit moves, by a unique name.
State = dict[str, Floats]

STORES = ("memory", "disk", "checkpoints")


@dataclasses.dataclass(frozen=True)
class Step:
    """One committed step.

    Attributes:
        dt: Its size.
        time: At its end, where it was given.
        u: Values of the unknowns at its end, ghosts included.
        world: Loads and coefficients during it.
    """

    dt: float | None
    time: float | None
    u: list[Floats]
    world: Saved


class Tape:
    """Steps and the states between them. All methods are local.

    Args:
        store: ``"memory"``, ``"disk"`` or ``"checkpoints"``.
        every: Distance of checkpoints, in steps.
        folder: Where ``"disk"`` keeps its files; default: the system's temporary folder.
        rank: Of this process.

    Raises:
        MaterialError: Unknown ``store`` or a distance below 1.
    """

    def __init__(self, store: str, every: int, folder: str | None, rank: int) -> None:
        if store not in STORES:
            raise MaterialError(
                f"Recording: store must be one of {', '.join(STORES)}; got {store!r}"
            )
        if not isinstance(every, int | np.integer) or isinstance(every, bool) or every < 1:
            raise MaterialError(f"Recording: every must be a positive integer; got {every!r}")
        self.store, self.every = store, int(every) if store == "checkpoints" else 1
        self._where, self._rank = folder, rank
        self._folder: str | None = None
        self.steps: list[Step] = []
        self._states: dict[int, State | str] = {}
        self._recent: dict[int, State] = {}  # recomputed states of one segment

    def begin(self, state: State) -> None:
        """Forget all steps; ``state``, not to be changed any more, is the one before the first."""
        self.close()
        self.steps, self._states, self._recent = [], {}, {}
        self._keep(0, state)

    def add(self, step: Step) -> None:
        """Add a step; its state is given by ``add_state``, if ``wants_state`` says so."""
        self.steps.append(step)

    def wants_state(self) -> bool:
        """Whether the state at the end of the last step is to be kept."""
        return len(self.steps) % self.every == 0

    def add_state(self, state: State) -> None:
        """Keep the state at the end of the last step, which is not to be changed any more."""
        self._keep(len(self.steps), state)

    def state(self, n: int, advance: Callable[[int, State], State]) -> State:
        """State at the end of step n (0: before the first).

        Args:
            n: Number of the step.
            advance: Called as ``advance(k, state before step k)`` to compute the state after
                it; steps count from 1.
        """
        if n in self._states:
            return self._read(n)
        if n not in self._recent:
            known = max(k for k in self._states if k < n)
            self._recent, state = {}, self._read(known)
            for k in range(known + 1, n + 1):
                state = advance(k, state)
                self._recent[k] = state
        return self._recent[n]

    def close(self) -> None:
        """Delete the files, if there are any."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __del__(self) -> None:
        """Leave no files behind."""
        if getattr(self, "_folder", None) is not None:
            self.close()

    def _keep(self, n: int, state: State) -> None:
        if self.store != "disk":
            self._states[n] = state
            return
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix=f"admat-history-{self._rank}-", dir=self._where)
        path = os.path.join(self._folder, f"{n}.npz")
        values: dict[str, Any] = {f"v{k}": value for k, value in enumerate(state.values())}
        np.savez(path, **values)
        self._states[n] = path
        self._names = list(state)

    def _read(self, n: int) -> State:
        kept: Any = self._states[n]
        if not isinstance(kept, str):
            return kept
        with np.load(kept, allow_pickle=False) as file:
            return {name: file[f"v{k}"] for k, name in enumerate(self._names)}
