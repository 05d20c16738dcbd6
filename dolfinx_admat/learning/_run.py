"""The epochs of a training, and its state between two of them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.calibration._schedule import Parts
from dolfinx_admat.calibration._specimens import Refused, Specimens
from dolfinx_admat.calibration.free import insert
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.materials import Material

from . import _checkpoint
from ._objective import Objective
from .training import Epoch

#: How often the steps of paths that fail may be divided: each time costs a compilation.
REFINEMENTS = 3
#: From which part of the paths of an epoch on that fail they are divided.
MANY = 0.1


@dataclasses.dataclass(frozen=True)
class State:
    """A training between two epochs; never changed."""

    epoch: int
    z: Any
    memory: Any
    rng: dict[str, Any]
    best_z: Any
    best_loss: float
    best_epoch: int
    history: tuple[Epoch, ...]
    parts: "list[Parts | None]"
    updates: int = 0
    skipped: int = 0
    failed: int = 0
    refinements: int = 0
    seconds: float = 0.0


_COUNTS = (
    "epoch", "best_loss", "best_epoch", "updates", "skipped", "failed", "refinements", "seconds",
)  # fmt: skip


class Run:
    """Epochs of a training."""

    def __init__(
        self, objective: Objective, method: Any, batch: int, seed: int, updates: int
    ) -> None:
        self.objective, self.free = objective, objective.free
        self._method, self._batch, self._seed, self._updates = method, batch, seed, updates
        all_x = np.full(self.free.size, np.inf)
        low, high = (self.free.to_z(self.free.inside(side * all_x)) for side in (-1.0, 1.0))

        @jax.jit
        def step(z: Any, memory: Any, slope: Any) -> Any:
            change, memory = method.update(slope, memory, z)
            return jnp.clip(z + change, low, high), memory

        self._step = step

    def law_at(self, z: Any) -> Material:
        """The law with these values."""
        free = self.free
        found: Material = insert(free.law, free.places, free.scale, jnp.asarray(z))
        return found

    def begin(self, file: FilePath | None, identity: Mapping[str, Any]) -> tuple[State, bool]:
        """The state before the first epoch, or that of a checkpoint, and which it is."""
        free = self.free
        z = jnp.asarray(free.to_z(free.inside(free.start)))
        memory = self._method.init(z)
        if file is not None and file.exists():
            return self._load(file, identity, memory), True
        everything = {*self.objective.training, *self.objective.validation}
        failed = self.objective.losses(z, everything).failed
        refinements = int(bool(failed) and self._divide(z, failed))
        trained = self.objective.losses(z, self.objective.training)
        if len(trained.failed) == len(self.objective.training):
            raise ConvergenceError(
                f"train: {type(free.law).__name__} fails in all {len(trained.failed)} training "
                "paths with the first values; try `drive` along one of them, other first values, "
                "or smaller steps"
            )
        validation = self._validation(z)
        best = trained.value if np.isnan(validation) else validation
        first = Epoch(0, trained.value, validation, len(trained.failed), 0, 0.0)
        rng = np.random.default_rng([self._seed, 1]).bit_generator.state
        parts = self.objective.specimens.parts
        return State(
            0, z, memory, dict(rng), z, best, 0, (first,), parts, refinements=refinements
        ), False

    def epoch(self, state: State, clock: Callable[[], float]) -> State | None:
        """One epoch; None: all paths failed, though the law was better before.

        Raises:
            ConvergenceError: They failed, and the law was never better than at first.
        """
        rng = np.random.default_rng()
        rng.bit_generator.state = state.rng
        z, memory, done, skipped = state.z, state.memory, 0, 0
        failed: list[int] = []
        losses = []
        for minibatch in self.objective.minibatches(self._batch, rng):
            value, slope, wrong = self.objective.gradient(z, minibatch)
            failed += wrong
            if np.isnan(value):
                skipped += 1
                continue
            losses.append(value)
            z, memory = self._step(z, memory, slope)
            done += 1
        refinements = state.refinements
        if failed and refinements < REFINEMENTS:
            if len(failed) > MANY * len(self.objective.training) or not done:
                refinements += self._divide(z, set(failed))
        if not done and refinements == state.refinements:
            if state.best_epoch == 0:
                raise ConvergenceError(
                    f"train: {type(self.free.law).__name__} fails in all training paths in epoch "
                    f"{state.epoch + 1}; take a smaller learning rate or clip, or fix parameters"
                )
            return None
        validation = self._validation(z)
        if np.isnan(validation):
            mean = watched = self.objective.losses(z, self.objective.training).value
        else:
            watched, mean = validation, float(np.mean(losses)) if losses else float("nan")
        number, seconds = state.epoch + 1, clock()
        best = (state.best_z, state.best_loss, state.best_epoch)
        if watched < state.best_loss and self._admitted(z):
            best = (z, watched, number)
        return State(
            number, z, memory, dict(rng.bit_generator.state), *best,
            (*state.history, Epoch(number, mean, validation, len(failed), skipped, seconds)),
            self.objective.specimens.parts, state.updates + done, state.skipped + skipped,
            state.failed + len(failed), refinements, seconds,
        )  # fmt: skip

    def _validation(self, z: Any) -> float:
        kept = self.objective.validation
        return self.objective.losses(z, kept).value if kept else float("nan")

    def _admitted(self, z: Any) -> bool:
        """Whether the law may have these values; only the best ones must."""
        try:
            self.free.check(self.free.to_x(np.asarray(z)))
        except MaterialError:
            return False
        return True

    def _divide(self, z: Any, numbers: Any) -> bool:
        """Finer steps for paths that fail; False: the driver does not help."""
        try:
            divided = self.objective.specimens.divided(self.law_at(z), numbers)
        except Refused:
            return False
        self.objective.take(divided)
        return True

    # -- Checkpoints ---------------------------------------------------------------------------

    def save(self, file: FilePath, identity: Mapping[str, Any], state: State) -> None:
        """Write the state."""
        leaves = jax.tree.leaves(state.memory)
        arrays = {f"memory {k}": np.asarray(leaf) for k, leaf in enumerate(leaves)}
        arrays |= {"z": np.asarray(state.z), "best": np.asarray(state.best_z)}
        arrays["history"] = np.array(state.history, float)
        about = {name: getattr(state, name) for name in _COUNTS}
        about |= {"identity": dict(identity), "rng": state.rng, "parts": state.parts}
        _checkpoint.write(file, about, arrays)

    def _load(self, file: FilePath, identity: Mapping[str, Any], memory: Any) -> State:
        about, arrays = _checkpoint.read(file)
        try:
            _checkpoint.check_same(file, about["identity"], dict(identity))
            leaves, tree = jax.tree.flatten(memory)
            found = [arrays[f"memory {k}"] for k in range(len(leaves))]
            for mine, read in zip(leaves, found, strict=True):
                if np.shape(mine) != read.shape or np.asarray(mine).dtype != read.dtype:
                    raise ValueError("another optimiser")
            if arrays["z"].shape != (self.free.size,) or arrays["best"].shape != arrays["z"].shape:
                raise ValueError("another number of free parameters")
            parts = [
                None if p is None else tuple(tuple(map(float, step)) for step in p)
                for p in about["parts"]
            ]
            np.random.default_rng().bit_generator.state = about["rng"]
            history = tuple(
                Epoch(int(n), a, b, int(f), int(s), t)
                for n, a, b, f, s, t in arrays["history"].tolist()
            )
            counts: dict[str, Any] = {name: about[name] for name in _COUNTS}
            if not all(isinstance(value, int | float) for value in counts.values()):
                raise ValueError("a count is no number")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise MaterialError(
                f"{file}: a checkpoint that does not fit ({error}); give another file, or "
                "resume=False to begin anew and replace it"
            ) from error
        if parts != self.objective.specimens.parts:
            specimens = self.objective.specimens
            self.objective.take(Specimens(specimens.law, specimens.experiments, parts))
        return State(
            z=jnp.asarray(arrays["z"]),
            best_z=jnp.asarray(arrays["best"]),
            memory=jax.tree.unflatten(tree, [jnp.asarray(a) for a in found]),
            rng=about["rng"],
            history=history,
            parts=self.objective.specimens.parts,
            **counts,
        )
