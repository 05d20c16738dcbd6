"""Least squares: Gauss-Newton with trust regions on the residuals of all experiments."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.materials import Material

from .experiment import Experiment, data_hash
from .free import Free, FreeParameters
from .residuals import Refused, Residuals
from .result import FitResult
from .statistics import Loss, statistics

Floats = npt.NDArray[np.float64]
#: How often the steps of experiments may be divided anew.
REFINEMENTS = 20
#: How many random starts are tried for one that the law admits.
TRIES = 20


class Iterate(NamedTuple):
    """A point that was better than all before.

    Attributes:
        start: Number of the start.
        evaluation: Number of the evaluation.
        cost: The loss there.
        x: Values in the units of the law; (entries,).
    """

    start: int
    evaluation: int
    cost: float
    x: Floats


class _Restart(Exception):
    """Steps were divided, so that the residuals are now a slightly different function."""


class Search:
    """Evaluations of a fit: counted, the best one kept, progress shown.

    Args:
        problem: The residuals.
        loss: The loss.
        progress: Print (True), or call with each new best ``Iterate``.
    """

    def __init__(self, problem: Residuals, loss: Loss, progress: Any) -> None:
        self.problem, self.loss, self.progress = problem, loss, progress
        self.history: list[Iterate] = []
        self.evaluations = self.refused = self.refinements = self.start = 0
        self.why = ""
        self.best: Iterate | None = None  # of this start

    def begin(self, number: int) -> None:
        """A new start."""
        self.start, self.best = number, None

    def note(self, x: Floats, cost: float) -> None:
        """Keep it if it is the best of this start."""
        if self.best is not None and not cost < self.best.cost:
            return
        self.best = Iterate(self.start, self.evaluations, cost, x.copy())
        self.history.append(self.best)
        if callable(self.progress):
            self.progress(self.best)
        elif self.progress:
            shown = ", ".join(
                f"{n} {v:.6g}" for n, v in zip(self.problem.free.names[:6], x, strict=False)
            )
            print(
                f"fit: start {self.start}, evaluation {self.evaluations}: loss {cost:.6e}; {shown}",
                flush=True,
            )

    def residuals(self, x: Floats) -> Floats:
        """The residuals, infinite where the law has no answer: the optimiser shortens its step.

        Raises:
            _Restart: Steps had to be divided.
        """
        self.evaluations += 1
        try:
            found = self.problem.evaluate(x)
        except Refused as error:
            self._divide(x, error)
            return np.full(self.problem.size, np.inf)
        self.note(x, self.loss.cost(found))
        return found

    def _divide(self, x: Floats, error: Refused) -> None:
        """Try finer steps; without success the point is refused."""
        if self.refinements < REFINEMENTS:
            try:
                self.problem.refine(x, None if self.best is None else self.best.x)
            except Refused as failure:
                error = failure
            else:
                self.refinements += 1
                if self.best is not None:  # its loss with the finer steps
                    x = self.best.x
                    self.best = None
                    self.note(x, self.loss.cost(self.problem.evaluate(x)))
                raise _Restart
        self.refused += 1
        self.why = str(error)


def fit(
    law: Material,
    experiments: Experiment | Sequence[Experiment],
    parameters: Mapping[str, Free | tuple[Any, Any]],
    *,
    loss: str | Callable[[Floats], Any] = "linear",
    loss_scale: float = 1.0,
    starts: int = 1,
    seed: int = 0,
    noise: str = "estimated",
    tolerance: float = 1e-10,
    max_evaluations: int = 200,
    progress: bool | Callable[[Iterate], Any] = False,
) -> FitResult:
    """Fit parameters of a law to experiments at a point by least squares.

    The residuals (model - data) sqrt(weight) / sigma of all experiments are minimised together, by
    ``scipy.optimize.least_squares`` (trust regions, bounds) with the exact Jacobian. Where the law
    fails at trial values, the driver is asked for finer steps, which stay; where it fails as well,
    or the law does not admit the values, the trial is refused and the next one is closer. The best
    iterate is never lost: an interrupt (Ctrl-C) ends the fit with it, and
    ``fit(result.law, ...)`` goes on from there. Not collective; needs scipy.

    Args:
        law: The law; its own parameters are the first start, and stay where not named.
        experiments: One or several.
        parameters: What to fit, by dotted name: ``{"hardening.Q": Free(0, 500)}``, or pairs of
            bounds.
        loss: "linear" is least squares; "soft_l1", "huber", "cauchy", "arctan" and functions as in
            scipy count large residuals less.
        loss_scale: From which size of a residual on, in units of sigma (of the largest value of
            the component, where sigma is not known).
        starts: Number of starts; all but the first are random within the bounds.
        seed: Of the random starts.
        noise: What intervals are based on: "estimated" from the residuals, or "known": sigma is
            trusted, which each experiment must give then.
        tolerance: Relative change of loss, parameters and gradient at which to stop.
        max_evaluations: Per start.
        progress: True prints each improvement; a function gets it as an ``Iterate``.

    Returns:
        The fitted law, with everything about the fit; ``converged``: it ended by itself.

    Raises:
        MaterialError: A parameter, a bound or an experiment does not fit the law.
        ConvergenceError: The law fails at the first start of all.

    Source: M.A. Branch, T.F. Coleman, Y. Li, SIAM J. Sci. Comput. 21 (1999): the method.
    """
    began = time.perf_counter()
    problem = Residuals(law, experiments, parameters)
    free = problem.free
    chosen = Loss(loss, loss_scale)
    _check_options(problem, noise, starts, tolerance, max_evaluations)
    search = Search(problem, chosen, progress)
    rng = np.random.default_rng(seed)
    ends: list[Iterate] = []
    reasons: list[tuple[bool, str]] = []
    interrupted = False
    try:
        for number in range(starts):
            search.begin(number)
            x = free.inside(free.start) if number == 0 else _random_start(search, rng)
            reason = _minimise(search, x, tolerance, max_evaluations)
            if search.best is not None:
                ends.append(search.best)
                reasons.append(reason)
    except KeyboardInterrupt:
        interrupted = True
        if search.best is not None and search.best not in ends:
            ends.append(search.best)
            reasons.append((False, "interrupted"))
    if not ends:
        if interrupted:
            raise KeyboardInterrupt
        raise ConvergenceError(f"fit: the law fails at the first values: {search.why}")
    number = int(np.argmin([end.cost for end in ends]))
    return finished(
        search,
        ends[number].x,
        reasons[number],
        noise=noise,
        costs=tuple(end.cost for end in ends),
        interrupted=interrupted,
        seconds=time.perf_counter() - began,
    )


def _check_options(
    problem: Residuals, noise: str, starts: int, tolerance: float, most: int
) -> None:
    if noise not in ("estimated", "known"):
        raise MaterialError(f"fit: noise must be 'estimated' or 'known'; got {noise!r}")
    if noise == "known" and not problem.sigma_known:
        raise MaterialError("fit: noise='known' needs sigma=... of every component")
    for name, value in (("starts", starts), ("max_evaluations", most)):
        if not (isinstance(value, int | np.integer) and value >= 1):
            raise MaterialError(f"fit: {name} must be a number >= 1; got {value!r}")
    if not (isinstance(tolerance, int | float) and 0.0 < tolerance < 1.0):
        raise MaterialError(f"fit: tolerance must be between 0 and 1; got {tolerance!r}")


def _random_start(search: Search, rng: np.random.Generator) -> Floats:
    """Values that the law admits, as far as a few tries find some."""
    free: FreeParameters = search.problem.free
    for _ in range(TRIES):
        x = free.sample(rng)
        try:
            free.check(x)
        except MaterialError:
            continue
        break
    return x


def _minimise(search: Search, x: Floats, tolerance: float, most: int) -> tuple[bool, str]:
    """One start; ``search.best`` has the result. Returns whether it converged, and why it ended."""
    try:
        from scipy.optimize import least_squares
    except ImportError as error:
        raise MaterialError("fit: scipy is not installed; pip install scipy") from error
    problem, free, first = search.problem, search.problem.free, search.evaluations
    bounds = free.to_z(free.lower), free.to_z(free.upper)
    while True:
        left = most - (search.evaluations - first)
        if left < 1:
            return False, f"{most} evaluations were not enough"
        try:
            begin = x if search.best is None else search.best.x
            if not np.isfinite(search.residuals(begin)).all():
                return False, search.why
            found = least_squares(
                lambda z: search.residuals(free.to_x(z)),
                free.to_z(begin),
                lambda z: problem.jacobian(free.to_x(z), unit=True),
                bounds,
                x_scale="jac",
                loss=search.loss.rho,
                f_scale=search.loss.scale,
                ftol=tolerance,
                xtol=tolerance,
                gtol=tolerance,
                max_nfev=left,
            )
        except _Restart:
            continue
        return bool(found.status > 0), str(found.message).replace("`", "")


def finished(
    search: Search,
    x: Floats,
    reason: tuple[bool, str],
    *,
    noise: str,
    costs: tuple[float, ...],
    interrupted: bool,
    seconds: float,
) -> FitResult:
    """Everything about the best point."""
    problem, free = search.problem, search.problem.free
    residuals = problem.evaluate(x)
    jacobian = problem.jacobian(x)
    found = statistics(free, x, residuals, jacobian, search.loss, noise == "known")
    return FitResult(
        law=free.law_at(x),
        free=free,
        x=x,
        cost=search.loss.cost(residuals),
        converged=reason[0] and not interrupted,
        message=reason[1],
        interrupted=interrupted,
        statistics=found,
        noise=noise,
        experiments=problem.experiments,
        predictions=tuple(problem.predictions(x)),
        rms=problem.root_mean_squares(x),
        residuals=residuals,
        history=tuple(search.history),
        costs=costs,
        evaluations=search.evaluations,
        refused=search.refused,
        refinements=search.refinements,
        seconds=seconds,
        times=problem.measured_times(x),
        data_hash=data_hash(problem.experiments),
    )
