"""Fit the controls of a recorded run by scipy's L-BFGS-B, and say what was done."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MaterialError
from .._collective import collectively
from .objective import Objective

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class StructureFit:
    """The best controls that were found, and how. ``print(fit)`` is a report.

    Attributes:
        z: The best point of the objective; (entries,).
        values: Values of the controls there, in the units of the problem, by name.
        value: The objective there.
        first_value: The objective at the start.
        data: Shape of what was observed, by name: (load steps, ...).
        residuals: Number of residuals; None: the objective has a loss.
        iterations: Of the optimiser.
        evaluations: Runs of all load steps, with an adjoint sweep each.
        refused: How many of them failed, or were refused by a law.
        seconds: Duration.
        stopped: Why it ended.
    """

    z: Floats = dataclasses.field(repr=False)
    values: Mapping[str, Floats] = dataclasses.field(repr=False)
    value: float
    first_value: float
    data: Mapping[str, tuple[int, ...]]
    residuals: int | None
    iterations: int
    evaluations: int
    refused: int
    seconds: float
    stopped: str

    def report(self) -> str:
        """Data, parameters, result and duration as text."""
        sizes = ", ".join(f"{name} {shape}" for name, shape in self.data.items())
        compared = "" if self.residuals is None else f"; {self.residuals} residuals"
        numbers = ", ".join(f"{name} {np.size(v)}" for name, v in self.values.items())
        each = self.seconds / max(1, self.evaluations)
        return "\n".join(
            [
                f"fit_structure: {len(self.z)} parameters ({numbers})",
                f"  observed: {sizes}{compared}",
                f"  value {self.value:.4e} (at first {self.first_value:.4e})",
                f"  {self.stopped}; {self.iterations} iterations, {self.evaluations} runs with "
                f"adjoint ({self.refused} refused) in {self.seconds:.1f} s, {each:.2g} s each",
            ]
        )

    def __str__(self) -> str:
        """The report."""
        return self.report()


def fit_structure(
    objective: Objective, *, iterations: int = 100, tolerance: float = 1e-6
) -> StructureFit:
    """Minimise an objective from its start within its bounds, whatever the number of entries is.

    Quasi-Newton: an evaluation is one run and one adjoint sweep, so that weights of networks and
    fields of parameters cost no more than a single number. For a few parameters,
    ``scipy.optimize.least_squares`` with ``objective.jacobian`` needs fewer runs. Runs that fail
    are refused and the optimiser turns back. The objective prints progress, and keeps the best
    point in its ``file``, from which a fit that was interrupted goes on. Afterwards the problem,
    its materials and the recording are those of the best point. Collective; needs scipy.

    Args:
        objective: What is minimised.
        iterations: Largest number of iterations.
        tolerance: It ends when an iteration lowers the value by less than that part of it.

    Returns:
        The best controls and how they were found, the same on all ranks.

    Raises:
        MaterialError: An argument is of no use, or scipy is not installed.
        ConvergenceError: The very first run fails.

    Source: R.H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995) 1190-1208.
    """
    with collectively(objective.comm):
        if not (isinstance(iterations, int) and iterations >= 1):
            raise MaterialError(
                f"fit_structure: iterations must be a whole number >= 1; got {iterations!r}"
            )
        if not (isinstance(tolerance, int | float) and 0.0 <= tolerance < 1.0):
            raise MaterialError(f"fit_structure: tolerance must be in [0, 1); got {tolerance!r}")
        try:
            from scipy.optimize import minimize
        except ImportError as error:
            raise MaterialError("fit_structure: scipy is missing; pip install scipy") from error
    began, before = time.perf_counter(), len(objective.history)
    first = objective.value(objective.z0)
    found = minimize(
        objective,
        objective.z0,
        jac=True,
        bounds=objective.bounds,
        method="L-BFGS-B",
        options={"maxiter": iterations, "ftol": tolerance},
    )
    assert objective.best is not None  # the first run was no failure
    value, z = objective.best
    objective.value(z)
    done: list[Any] = objective.history[before:]
    observed = objective.recording.observed
    size = objective._size if objective._residual is not None else None
    message = found.message.decode() if isinstance(found.message, bytes) else str(found.message)
    return StructureFit(
        z=z.copy(),
        values=objective.values(z),
        value=value,
        first_value=first,
        data={name: np.shape(values) for name, values in observed.items()},
        residuals=size,
        iterations=int(found.nit),
        evaluations=len(done),
        refused=sum(not np.isfinite(v) for v in done),
        seconds=objective.comm.bcast(time.perf_counter() - began),
        stopped=message.lower().rstrip(". "),
    )
