"""The loss of a training and its gradient, of experiments that stay on the device."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dolfinx_admat.calibration import Experiment, FreeParameters
from dolfinx_admat.calibration._groups import filled
from dolfinx_admat.calibration._response import respond
from dolfinx_admat.calibration._specimens import Specimens, factors
from dolfinx_admat.calibration.free import insert

Floats = npt.NDArray[np.float64]


#: Paths per call of a program without derivatives, if there are not many.
FEW = 8


class Batch(NamedTuple):
    """Paths of one update.

    Attributes:
        group: Number of the group that they are in.
        chosen: Positions in it; repeated ones fill up.
        real: False where it only fills up.
    """

    group: int
    chosen: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]


class Losses(NamedTuple):
    """Losses of paths; those that failed are NaN.

    Attributes:
        value: Mean, where a failed one counts as the worst of the others, and at least as 1, as
            much as a law that answers zero; infinite if all failed.
        failed: Numbers of experiments that failed.
    """

    value: float
    failed: tuple[int, ...]


def _of_path(
    law: Any, places: Any, scale: Any, z: jax.Array, schedule: Any, data: Any, factor: Any
) -> tuple[jax.Array, jax.Array]:
    """Loss of a path, and whether it is one; () each."""
    values, code = respond(insert(law, places, scale, z), schedule)
    residual = jnp.where(factor > 0.0, (values[:, :-1] - data) * factor, 0.0)
    loss = jnp.sum(residual**2)
    return loss, (code == 0) & jnp.isfinite(loss)


def pieces(numbers: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Numbers of paths in pieces of one size, the last one filled up by repeated ones.

    Programs know sizes, so they then serve any number of paths.
    """
    size = FEW if len(numbers) <= 4 * FEW else 8 * FEW
    return [np.resize(numbers[k : k + size], size) for k in range(0, len(numbers), size)]


#: Rows of arrays, a program of its own: those that compile slowly do not know how many there are.
some: Any = jax.jit(lambda arrays, chosen: jax.tree.map(lambda a: a[chosen], arrays))


def _losses_of(law: Any, places: Any, scale: Any, z: Any, paths: Any) -> Any:
    def one(each: Any) -> Any:
        return _of_path(law, places, scale, z, *each)

    return jax.vmap(one)(paths)


def _gradient_of(law: Any, places: Any, scale: Any, z: Any, paths: Any, real: Any) -> Any:
    """Mean loss of paths, its gradient, and whether all is well; one sweep for all paths."""

    def total(z: jax.Array) -> Any:
        losses, good = _losses_of(law, places, scale, z, paths)
        value = jnp.sum(jnp.where(real, losses, 0.0)) / jnp.sum(real)
        return value, jnp.all(good | ~real)

    (value, good), slope = jax.value_and_grad(total, has_aux=True)(z)
    return value, slope, good & jnp.all(jnp.isfinite(slope))


def _gradient_of_good(law: Any, places: Any, scale: Any, z: Any, paths: Any, real: Any) -> Any:
    """The same of those paths that do not fail, and which these are; one sweep for each path."""

    def one(each: Any) -> Any:
        function = lambda z: _of_path(law, places, scale, z, *each)  # noqa: E731
        (loss, good), slope = jax.value_and_grad(function, has_aux=True)(z)
        good = good & jnp.all(jnp.isfinite(slope))
        return jnp.where(good, loss, 0.0), jnp.where(good, slope, 0.0), good

    losses, slopes, good = jax.vmap(one)(paths)
    count = jnp.maximum(jnp.sum(good & real), 1)
    value = jnp.sum(jnp.where(real, losses, 0.0)) / count
    return value, jnp.sum(jnp.where(real[:, None], slopes, 0.0), axis=0) / count, good


# Compiled once for each structure of law, free numbers and shapes, whatever the numbers.
_losses: Any = eqx.filter_jit(_losses_of)
_gradient: Any = eqx.filter_jit(_gradient_of)
_gradient_without_failed: Any = eqx.filter_jit(_gradient_of_good)


class Objective:
    """Losses of paths: mean squares of residuals, 1 if the law answered zero everywhere.

    Args:
        specimens: All experiments.
        free: The free parameters.
        training: Numbers of those that are trained on.
        validation: Numbers of those that are validated on.
    """

    def __init__(
        self,
        specimens: Specimens,
        free: FreeParameters,
        training: Sequence[int],
        validation: Sequence[int],
    ) -> None:
        self.free, self.training, self.validation = free, tuple(training), tuple(validation)
        self._factors = loss_factors(specimens, training)
        self._scale = jnp.asarray(free.scale)
        self.take(specimens)

    def take(self, specimens: Specimens) -> None:
        """Work with these arrays: the steps may have been divided."""
        self.specimens = specimens
        self._arrays = []
        for group in specimens.groups:
            rows = group.schedules.ends.shape[1]
            data = np.stack([filled(np.nan_to_num(specimens.data[m]), rows) for m in group.members])
            factor = np.stack([filled(self._factors[m], rows, 0.0) for m in group.members])
            arrays = (group.schedules, data, factor)
            self._arrays.append(jax.tree.map(jnp.asarray, arrays))

    def _at(self, z: Any) -> tuple:
        return self.specimens.law, self.free.places, self._scale, z

    def minibatches(self, size: int, rng: np.random.Generator) -> list[Batch]:
        """All training paths in random order, in batches of about equal size, at most ``size``."""
        batches, training = [], set(self.training)
        for number, group in enumerate(self.specimens.groups):
            own = [k for k, m in enumerate(group.members) if m in training]
            if not own:
                continue
            order = rng.permutation(own)
            pieces = np.array_split(order, -(-len(order) // size))
            width = len(pieces[0])
            for piece in pieces:
                real = np.arange(width) < len(piece)
                batches.append(Batch(number, np.resize(piece, width), real))
        return [batches[k] for k in rng.permutation(len(batches))]

    def gradient(self, z: Any, batch: Batch) -> tuple[float, jax.Array, tuple[int, ...]]:
        """Mean loss of a batch, its gradient in z, and which experiments failed and are left out.

        All of them may have failed: then there is no loss, NaN.
        """
        chosen, real = batch.chosen, batch.real
        paths = some(self._arrays[batch.group], chosen)
        value, slope, good = _gradient(*self._at(z), paths, real)
        if good:
            return float(value), slope, ()
        value, slope, fine = _gradient_without_failed(*self._at(z), paths, real)
        fine = np.asarray(fine)
        members = self.specimens.groups[batch.group].members
        failed = tuple(members[k] for k in chosen[real & ~fine])
        return (float(value) if fine[real].any() else float("nan")), slope, failed

    def losses(self, z: Any, numbers: Collection[int]) -> Losses:
        """Mean loss of some experiments."""
        found: list[float] = []
        failed: list[int] = []
        for group, arrays in zip(self.specimens.groups, self._arrays, strict=True):
            own = [k for k, m in enumerate(group.members) if m in numbers]
            done = [_losses(*self._at(z), some(arrays, piece)) for piece in pieces(own)]
            if not done:
                continue
            losses, good = (np.concatenate(each)[: len(own)] for each in zip(*done, strict=True))
            found += losses[good].tolist()
            failed += [group.members[own[k]] for k in np.flatnonzero(~good)]
        worst = max([1.0, *found]) if found else np.inf
        return Losses(float(np.mean([*found, *[worst] * len(failed)])), tuple(sorted(failed)))


def loss_factors(specimens: Specimens, training: Sequence[int]) -> list[Floats]:
    """What residuals are multiplied by, so that their sum of squares is the loss of a path.

    Residuals are measured by sigma if all experiments give it, else by the root mean square of all
    components of a quantity in the training data; then divided by the number of residuals of the
    path, and by the mean of the same for a law that answers zero.
    """
    experiments = specimens.experiments
    known = all(e.sigma is not None and set(e.sigma) == set(e.data) for e in experiments)
    sizes = dict.fromkeys((n for e in experiments for n in e.data), 1.0) if known else {}
    sizes = sizes or quantity_sizes([experiments[k] for k in training], experiments)
    found, zero = [], []
    for number, (experiment, rows) in enumerate(zip(experiments, specimens.rows, strict=True)):
        measured = experiment if known else _without_sigma(experiment)
        factor = factors(measured, rows, sizes)
        factor = factor / np.sqrt((factor > 0.0).sum())
        found.append(factor)
        if number in set(training):
            zero.append(np.sum((factor * np.nan_to_num(specimens.data[number])) ** 2))
    return [f / np.sqrt(np.mean(zero) or 1.0) for f in found]


def quantity_of(name: str) -> str:
    """``stress`` of ``stress_xy``."""
    head, _, tail = name.rpartition("_")
    return head if head and set(tail) <= set("xyzrt") else name


def quantity_sizes(
    experiments: Sequence[Experiment], named: Sequence[Experiment]
) -> dict[str, float]:
    """Root mean square of the quantity that a component belongs to, by component."""
    squares: dict[str, list[Floats]] = {}
    for experiment in experiments:
        for name, values in experiment.data.items():
            squares.setdefault(quantity_of(name), []).append(values[~np.isnan(values)] ** 2)
    sizes = {q: float(np.sqrt(np.mean(np.concatenate(s)))) for q, s in squares.items()}
    return {n: sizes.get(quantity_of(n), 0.0) or 1.0 for e in named for n in e.data}


def _without_sigma(experiment: Experiment) -> Experiment:
    return experiment if experiment.sigma is None else dataclasses.replace(experiment, sigma=None)
