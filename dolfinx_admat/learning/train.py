"""Training: an optax optimiser on minibatches of paths, with validation, checkpoints and resume."""

import dataclasses
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from dolfinx_admat.calibration import Experiment, Free, data_hash
from dolfinx_admat.calibration._specimens import Specimens, checked
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.law_file import _versions
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import require_float64

from . import _checkpoint
from ._arguments import check_seed, check_whole
from ._objective import Objective
from ._part import weight_names
from ._progress import Progress
from ._run import Run, State
from ._weights import free_of
from .training import Epoch, Training, normalised_error

#: The learning rate that is left at the end, relative to the first one.
LEFT = 0.01


def train(
    law: Material,
    experiments: Sequence[Experiment],
    *,
    validation: float | Sequence[Experiment] = 0.2,
    parameters: Sequence[str] | Mapping[str, Free | tuple[Any, Any] | None] | None = None,
    fixed: Sequence[str] = (),
    epochs: int = 500,
    batch: int = 8,
    learning_rate: float = 1e-2,
    decay: str | None = "cosine",
    clip: float | None = 1.0,
    optimiser: Any = None,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: str | FilePath | None = None,
    every: int = 20,
    resume: bool = True,
    progress: bool | Callable[[Epoch], Any] = True,
) -> Training:
    """Train the weights and the physical parameters of a law on experiments at a point.

    The loss of a path is the mean of its squared residuals, whatever its length, so that long paths
    do not count more than short ones; that of several paths is their mean. Residuals are measured
    by the root mean square of their quantity in all training data (all components of the stress
    together), or by sigma if every experiment gives it. All is divided by the loss of a law that
    answers zero: the square root of a loss is about the normalised error.

    Gradients are exact: one reverse sweep through all steps, by the implicit function theorem at
    each local solve. Weights are seen as they are, positive physical parameters as logarithms.

    A path in which the law fails is left out of the update and counted; if many fail, their steps
    are divided as the driver needs it. In the validation loss a failed path counts as the worst of
    the others, at least as 1. The law of the best epoch is what is returned, also after an
    interrupt (Ctrl-C). On one machine, results are the same for the same arguments, whether or not
    the training was interrupted and resumed. Not collective; needs optax.

    Args:
        law: The law: any ``Material``.
        experiments: What it is trained on.
        validation: Part of the experiments that are kept for validation, chosen by the seed; or
            further experiments. 0 or []: none, the training loss decides.
        parameters: What is trained: None: all weights and physical parameters; or dotted names, of
            parts as well; or ``Free`` (or None) by name.
        fixed: Names, of parts as well, of what stays as it is.
        epochs: How often all training paths are seen.
        batch: Largest number of paths in an update.
        learning_rate: The first one, relative to weights of size one.
        decay: "cosine" or "exponential": the rate falls to a hundredth until the last epoch; None:
            it stays.
        clip: Largest norm of a gradient; None: any.
        optimiser: Of optax, in place of Adam with the three above.
        patience: Epochs without a better validation loss after which to stop; None: never.
        seed: Of the validation paths and of the order.
        checkpoint: File for the state of the training, written now and then and at the end. The
            file of another training is refused, as far as that can be seen: of an ``optimiser``
            only the structure of its memory is, so one with other settings (another learning rate,
            say) goes on from it without a word.
        every: Epochs between two checkpoints.
        resume: Go on from the checkpoint if there is one; False: begin anew, and replace it.
        progress: True: a bar (lines without tqdm); False: quiet; a function gets each ``Epoch``.

    Returns:
        The trained law, and everything about the training.

    Raises:
        MaterialError: An argument or an experiment does not fit the law, the checkpoint belongs to
            another training, or optax is not installed.
        ConvergenceError: The law fails in all training paths, at first or in the first epochs.

    Source: D.P. Kingma, J. Ba, Adam, ICLR 2015; I. Loshchilov, F. Hutter, SGDR, ICLR 2017 (cosine).
    """
    require_float64()
    check_whole("train", epochs=epochs, batch=batch, every=every)
    if patience is not None:
        check_whole("train", patience=patience)
    check_seed("train", seed)
    epochs, batch, seed = int(epochs), int(batch), int(seed)  # of numpy, perhaps
    _check_functions(optimiser, progress)
    free = free_of(law, parameters, fixed)
    experiments, training, kept = _split(experiments, validation, seed)
    for experiment in experiments:
        for name in set(experiment.parameters) & set(free.parameters):
            raise MaterialError(
                f"train: experiment '{experiment.name}' gives '{name}', which is trained as well; "
                f"add it to fixed"
            )
    objective = Objective(Specimens(law, experiments), free, training, kept)
    updates = len(objective.minibatches(batch, np.random.default_rng(0)))
    given = optimiser is not None
    settings = {
        "epochs": epochs, "batch": batch, "learning_rate": learning_rate, "decay": decay,
        "clip": clip, "optimiser": "given" if given else "adam", "seed": seed,
    }  # fmt: skip
    method = optimiser if given else _adam(learning_rate, decay, clip, epochs * updates)
    if given:
        settings = {
            k: v for k, v in settings.items() if k not in ("learning_rate", "decay", "clip")
        }
    run = Run(objective, method, batch, seed, updates)
    data = data_hash(experiments)
    identity = {
        "law": _checkpoint.law_hash(law), "data": data, "validation": list(kept),
        "trained": _checkpoint.text_hash(free.names, free.lower, free.upper, free.scale, free.log),
        **settings,
    }  # fmt: skip
    if decay is None or given:
        identity.pop("epochs")  # nothing before the last epoch depends on it
    file = None if checkpoint is None else FilePath(checkpoint)
    state, resumed = run.begin(file if resume else None, identity)

    def save() -> None:
        if file is not None:
            run.save(file, identity, state)

    bar = Progress(progress, state.epoch, epochs)
    began, before = time.perf_counter(), state.seconds
    stopped = f"all {epochs} epochs done"
    interrupted = False
    try:
        if not resumed:
            bar.start(state.history[0])
        while state.epoch < epochs:
            if patience is not None and state.epoch - state.best_epoch >= patience:
                stopped = f"no better for {patience} epochs"
                break
            new = run.epoch(state, lambda: before + time.perf_counter() - began)
            if new is None:
                stopped = "all paths failed in an epoch; a smaller learning rate may help"
                break
            state = new
            if state.epoch % every == 0:
                save()
            bar.show(state.history[-1], state.best_loss)
    except KeyboardInterrupt:
        interrupted, stopped = True, "interrupted"
    finally:
        bar.close()
    state = dataclasses.replace(state, seconds=before + time.perf_counter() - began)
    save()
    return _result(run, state, data, settings, stopped, interrupted)


def _result(
    run: Run, state: State, data: str, settings: Any, stopped: str, interrupted: bool
) -> Training:
    objective, free, law = run.objective, run.free, run.law_at(state.best_z)
    experiments, weights = objective.specimens.experiments, weight_names(free.law)
    values = free.values(free.start)
    count = sum(v.size for name, v in values.items() if name in weights)
    some = lambda numbers: [experiments[k] for k in numbers]  # noqa: E731
    kept = objective.validation
    versions = _versions() | {"optax": importlib.metadata.version("optax")}
    return Training(
        law=law,
        best_epoch=state.best_epoch,
        best_loss=state.best_loss,
        history=state.history,
        stopped=stopped,
        interrupted=interrupted,
        epochs=state.epoch,
        updates=state.updates,
        skipped=state.skipped,
        failed=state.failed,
        refinements=state.refinements,
        seconds=state.seconds,
        weights=count,
        parameters=free.size - count,
        training_paths=objective.training,
        validation_paths=kept,
        steps=sum(e.path.steps for e in experiments),
        data_hash=data,
        settings=settings,
        training_error=normalised_error(law, some(objective.training)),
        validation_error=normalised_error(law, some(kept)) if kept else None,
        versions=versions,
        experiments=tuple(some(objective.training)),
    )


def _adam(rate: Any, decay: str | None, clip: float | None, updates: int) -> Any:
    try:
        import optax
    except ImportError as error:
        raise MaterialError("train: optax is missing; pip install optax") from error
    for name, value in (("learning_rate", rate), ("clip", 1.0 if clip is None else clip)):
        if not (isinstance(value, int | float) and 0.0 < value < np.inf):
            raise MaterialError(f"train: {name} must be a number > 0; got {value!r}")
    if decay == "cosine":
        rate = optax.cosine_decay_schedule(rate, updates, LEFT)
    elif decay == "exponential":
        rate = optax.exponential_decay(rate, updates, LEFT)
    elif decay is not None:
        raise MaterialError(f"train: decay must be 'cosine', 'exponential' or None; got {decay!r}")
    limit = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
    return optax.chain(limit, optax.adam(rate))


def _check_functions(optimiser: Any, progress: Any) -> None:
    methods = [callable(getattr(optimiser, name, None)) for name in ("init", "update")]
    if optimiser is not None and not all(methods):
        raise MaterialError(
            "train: optimiser must be one of optax, with init and update, such as "
            f"optax.adam(1e-3); got {optimiser!r}"
        )
    if not (isinstance(progress, bool) or callable(progress)):
        raise MaterialError(
            f"train: progress must be True, False or a function of an Epoch; got {progress!r}"
        )


def _split(
    experiments: Any, validation: Any, seed: int
) -> tuple[list[Experiment], list[int], list[int]]:
    """All experiments, and the numbers of those for training and for validation."""
    given = list(checked(experiments))
    if not isinstance(validation, int | float):
        more = list(checked(validation)) if validation else []
        first = len(given)
        return [*given, *more], list(range(first)), list(range(first, first + len(more)))
    if not 0.0 <= validation < 1.0:
        raise MaterialError(
            f"train: validation must be a fraction in [0, 1), or experiments; got {validation!r}"
        )
    count = max(1, round(validation * len(given))) if validation > 0.0 else 0
    if count >= len(given):
        raise MaterialError(
            f"train: {len(given)} experiments are too few to keep some for validation; give more, "
            "or validation=0"
        )
    order = np.random.default_rng([seed, 0]).permutation(len(given))
    return given, sorted(order[count:].tolist()), sorted(order[:count].tolist())
