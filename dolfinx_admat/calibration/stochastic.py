"""Stochastic fits: an optax optimiser on minibatches of experiments."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.materials import Material

from .experiment import Experiment
from .fit import Iterate, Search, finished
from .free import Free
from .residuals import Refused, Residuals
from .result import FitResult
from .statistics import Loss


def fit_stochastic(
    law: Material,
    experiments: Experiment | Sequence[Experiment],
    parameters: Mapping[str, Free | tuple[Any, Any]],
    *,
    optimiser: Any = None,
    epochs: int = 200,
    batch: int | None = None,
    seed: int = 0,
    noise: str = "estimated",
    progress: bool | Callable[[Iterate], Any] = False,
) -> FitResult:
    """Fit parameters by a stochastic gradient method: for many experiments, or for networks.

    Each update takes one minibatch and its gradient by one reverse sweep; the variables are scaled,
    so that a learning rate is relative to the size of a parameter. Bounds are kept by projection.
    An update whose experiments fail is skipped. After each epoch the loss of all experiments is
    computed, and the best iterate is what is returned, also after an interrupt (Ctrl-C). Not
    collective; needs optax.

    Args:
        law: The law.
        experiments: One or several; see ``Residuals`` for the residuals.
        parameters: As in ``fit``.
        optimiser: Of optax; None: ``optax.adam(1e-2)``.
        epochs: How often all experiments are seen.
        batch: Experiments per update; None: all that can be computed together.
        seed: Of the order of the experiments.
        noise: As in ``fit``.
        progress: True prints each improvement; a function gets it as an ``Iterate``.

    Returns:
        As ``fit``; ``converged`` says that all epochs were done. Statistics assume a minimum:
        where many parameters are free, read the warnings.

    Raises:
        MaterialError: As ``fit``; optax is not installed.
        ConvergenceError: The law fails at the first values, or in all updates of an epoch.

    Source: D.P. Kingma, J. Ba, Adam, ICLR 2015.
    """
    try:
        import optax
    except ImportError as error:
        raise MaterialError("fit_stochastic: optax is missing; pip install optax") from error
    began = time.perf_counter()
    problem = Residuals(law, experiments, parameters)
    free, most = problem.free, len(problem.experiments)
    for name, value in (("epochs", epochs), ("batch", most if batch is None else batch)):
        if not (isinstance(value, int) and value >= 1):
            raise MaterialError(f"fit_stochastic: {name} must be a number >= 1; got {value!r}")
    if noise not in ("estimated", "known") or (noise == "known" and not problem.sigma_known):
        raise MaterialError(
            f"fit_stochastic: noise must be 'estimated', or 'known' where all sigmas are given; "
            f"got {noise!r}"
        )
    search, rng = Search(problem, Loss(), progress), np.random.default_rng(seed)
    x, method = free.inside(free.start), optimiser or optax.adam(1e-2)
    try:
        search.note(x, search.loss.cost(problem.evaluate(x)))
    except Refused as error:
        try:
            problem.refine(x)
        except Refused:
            raise ConvergenceError(f"fit_stochastic: at the first values: {error}") from error
        search.note(x, search.loss.cost(problem.evaluate(x)))
    z = free.to_z(x)
    memory = method.init(jnp.asarray(z))
    interrupted = False
    try:
        for _ in range(epochs):
            done = 0
            for minibatch in problem.minibatches(batch or most, rng):
                search.evaluations += 1
                try:
                    _, gradient = problem.loss(free.to_x(z), minibatch)
                except Refused as error:
                    search.refused, search.why = search.refused + 1, str(error)
                    continue
                change, memory = method.update(jnp.asarray(gradient), memory, jnp.asarray(z))
                z = free.to_z(free.inside(free.to_x(z + np.asarray(change))))
                done += 1
            if not done:
                raise ConvergenceError(
                    f"fit_stochastic: no update of an epoch succeeded: {search.why}; take a "
                    "smaller learning rate, or narrower bounds"
                )
            x = free.to_x(z)
            try:
                search.note(x, search.loss.cost(problem.evaluate(x)))
            except Refused as error:
                search.refused, search.why = search.refused + 1, str(error)
    except KeyboardInterrupt:
        interrupted = True
    assert search.best is not None
    return finished(
        search,
        search.best.x,
        (not interrupted, "interrupted" if interrupted else f"{epochs} epochs"),
        noise=noise,
        costs=(search.best.cost,),
        interrupted=interrupted,
        seconds=time.perf_counter() - began,
    )
