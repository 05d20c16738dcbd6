"""A recorded run as a function of its controls, for any optimiser: value, gradient, residuals."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ...calibration import Free, Loss, Statistics, confidence_intervals
from ...calibration.statistics import statistics
from ...errors import AdmatError, ConvergenceError, MaterialError
from .._collective import collectively
from .._progress import Progress
from ._free import FreeControls
from .recording import Recording

Floats = npt.NDArray[np.float64]

#: A run that fails counts so many times the largest value so far: an optimiser turns back.
REFUSED = 10.0
#: Parameters up to so many are printed with each new best point.
SHOWN = 8

#: A resumed fit has the value that it was left with, but for round-off and the solver's tolerance.
RESUMED = 1e-3
#: A value that is zero but for such, relative to the first one.
ZERO = 1e-9


class Objective:
    """What is to be minimised, of a vector z of controls that are about 1 in size.

    It can be given to ``scipy.optimize.minimize(objective, objective.z0, jac=True,
    bounds=objective.bounds)``, to ``scipy.optimize.least_squares(objective.residuals, objective.z0,
    objective.jacobian, bounds=objective.bounds.T)``, to PETSc TAO (``attach_tao``), or be called
    in a loop with optax. All ranks run the same optimiser and get the same numbers.

    The best point so far is kept, also if a run fails or the user interrupts: ``best``, and in
    ``file``, from which the next objective goes on.

    Args:
        recording: Record of the run.
        simulate: Called without arguments to run the load steps; the objective has set the
            controls, gone back to the start, and records.
        free: The controls to be varied, by name, with bounds and scales.
        loss: JAX function of ``recording.observed`` (arrays by name) that returns a scalar.
        residual: Instead of ``loss``: it returns an array, and half its sum of squares is
            minimised; needed for ``residuals``, ``jacobian`` and ``statistics``.
        penalty: JAX function of the controls' values by name, added to the loss: a prior.
        file: Where the best point is kept (``.npz``); an existing file is the start.
        progress: Print a line for each new best point, on rank 0.

    Attributes:
        z0: Start; (entries,).
        bounds: Of z; (entries, 2).
        best: The best (value, z); None before the first evaluation.
        history: Value of each evaluation; infinite where the run failed.

    Raises:
        MaterialError: Unknown controls, bounds that cross, a start outside them; a file that
            belongs to other controls. Collective: yes, as is everything here.
    """

    def __init__(
        self,
        recording: Recording,
        simulate: Callable[[], Any],
        free: Mapping[str, Free | tuple[Any, Any]],
        *,
        loss: Callable[[Any], Any] | None = None,
        residual: Callable[[Any], Any] | None = None,
        penalty: Callable[[Any], Any] | None = None,
        file: str | Path | None = None,
        progress: bool = True,
    ) -> None:
        self.recording, self._simulate = recording, simulate
        self.comm = recording.comm
        self._residual, self._penalty = residual, penalty
        with collectively(self.comm):
            if (loss is None) == (residual is None):
                raise MaterialError("Objective: give either loss or residual")
        self._loss = loss if loss is not None else self._half_square
        # Value of the point in the file, and the first value of the fit that wrote it.
        self._promised: tuple[float, float] | None = None
        self.free = FreeControls(recording, free)
        self._file = None if file is None else Path(file)
        with collectively(self.comm):
            if self._file is not None and not self._file.parent.is_dir():
                raise MaterialError(f"Objective: there is no folder for file={str(self._file)!r}")
        # Its own, since a problem that is solved so often is told to be silent.
        self._progress = Progress(self.comm, progress)
        self.z0 = self.free.to_z(self._start())
        self.bounds = np.stack(
            [self.free.to_z(self.free.lower), self.free.to_z(self.free.upper)], 1
        )
        self.best: tuple[float, Floats] | None = None
        self.history: list[float] = []
        self._at: Floats | None = None  # z of the present recording
        self._known: tuple[float, Floats | None] = (np.inf, None)

    def __call__(self, z: Any) -> tuple[float, Floats]:
        """Value and gradient; (entries,)."""
        value = self.value(z)
        return value, self.gradient(z)

    def value(self, z: Any) -> float:
        """The value; ten times the largest so far where the run fails or a law refuses z.

        Raises:
            ConvergenceError: The very first run failed.
            MaterialError: A law does not admit the first values, or the loss is of no use.
        """
        self._run(z)
        return self._known[0]

    def gradient(self, z: Any) -> Floats:
        """The gradient, by one adjoint sweep; zero where the run failed."""
        self._run(z)
        value, gradient = self._known
        if gradient is None:
            assert self._at is not None
            by_name = self.recording.gradient(self._loss)[1]
            by_name = {n: by_name[n] + g for n, g in self._of_penalty(self._at)[1].items()}
            gradient = self.free.join(by_name) * self.free.slope(self.free.to_x(self._at))
            self._known = value, gradient
        return gradient.copy()

    def hessp(self, z: Any, direction: Any) -> Floats:
        """Product of the Gauss-Newton matrix with a direction; (entries,)."""
        self._run(z)
        self._check_answer()
        assert self._at is not None
        slope = self.free.slope(self.free.to_x(self._at))
        along = self.free.values(slope * np.asarray(direction, float))
        product = self.recording.gauss_newton(self._loss, along)
        if self._penalty is not None:
            values = {n: jnp.asarray(v) for n, v in self.values(self._at).items()}
            tangent = {n: jnp.asarray(v) for n, v in along.items()}
            curved = jax.jvp(jax.grad(self._penalty), (values,), (tangent,))[1]
            product = {n: product[n] + np.asarray(c) for n, c in curved.items()}
        return self.free.join(product) * slope

    def residuals(self, z: Any) -> Floats:
        """The residuals, flat; infinite where the run failed, so that a trust region shrinks."""
        self._run(z)
        if not np.isfinite(self.history[-1]):
            return np.full(self._size, np.inf)
        return self._residuals()

    def jacobian(self, z: Any) -> Floats:
        """d(residuals)/dz by forward sweeps, one linear solve per step and entry.

        Returns:
            (residuals, entries).
        """
        self._run(z)
        self._check_answer()
        assert self._at is not None
        observed, residual = self._observed(), self._residual
        if residual is None:
            raise MaterialError("Objective: jacobian needs an objective with residual=...")
        rows = self.recording.jacobian(self.free.parameters)
        slope = self.free.slope(self.free.to_x(self._at))
        columns = []
        for name in self.free.parameters:
            sizes = {k: v.shape for k, v in observed.items()}
            changes = {k: v.reshape(-1, *sizes[k]) for k, v in rows[name].items()}
            for k in range(len(next(iter(changes.values())))):
                tangent = {key: jnp.asarray(value[k]) for key, value in changes.items()}
                change = jax.jvp(residual, (observed,), (tangent,))[1]
                columns.append(np.ravel(change))
        return np.stack(columns, axis=1) * slope

    def statistics(self, z: Any, *, known_noise: bool = False) -> Statistics:
        """Covariance, correlations and what the data do not determine, at a minimum.

        Args:
            z: The minimum.
            known_noise: The residuals are divided by a standard deviation that is known.
        """
        residuals, jacobian = self.residuals(z), self.jacobian(z)
        x = self.free.to_x(np.asarray(z, float))
        jacobian = jacobian / self.free.slope(x)
        return statistics(self.free, x, residuals, jacobian, Loss(), known_noise)

    def confidence_intervals(
        self, z: Any, level: float = 0.95, *, known_noise: bool = False
    ) -> dict[str, tuple[float, float]]:
        """Interval of each entry, by name; see ``calibration.confidence_intervals``."""
        found = self.statistics(z, known_noise=known_noise)
        x = self.free.to_x(np.asarray(z, float))
        return confidence_intervals(self.free, x, found, level, known_noise)

    def values(self, z: Any) -> dict[str, Floats]:
        """Values of the controls, in the units of the problem, by name. Local."""
        return self.free.values(self.free.to_x(np.asarray(z, float)))

    def attach_tao(self, tao: Any) -> None:
        """Give a PETSc TAO solver this objective, its bounds and its start.

        The vector is distributed over the ranks as PETSc likes; take the result with
        ``objective.best``.
        """
        from petsc4py import PETSc

        vector = PETSc.Vec().createMPI(len(self.z0), comm=self.comm)
        low, high = vector.duplicate(), vector.duplicate()
        begin, end = vector.getOwnershipRange()
        bounds = np.nan_to_num(self.bounds, posinf=PETSc.INFINITY, neginf=PETSc.NINFINITY)
        for target, values in ((vector, self.z0), (low, bounds[:, 0]), (high, bounds[:, 1])):
            target.array[:] = values[begin:end]

        def evaluate(tao: Any, z: Any, slope: Any) -> float:
            value, gradient = self(np.concatenate(self.comm.allgather(z.array_r)))
            slope.array[:] = gradient[begin:end]
            return value

        tao.setObjectiveGradient(evaluate, vector.duplicate())
        tao.setVariableBounds((low, high))
        tao.setSolution(vector)

    # -- internal -------------------------------------------------------------------------

    def _run(self, z: Any) -> None:
        """Run the load steps with the controls z, unless that is what was done last."""
        z = self.comm.bcast(np.array(z, float))
        if self._at is not None and np.array_equal(z, self._at):
            return
        self._at = None
        with collectively(self.comm):
            if z.shape != self.z0.shape or not np.isfinite(z).all():
                raise MaterialError(f"Objective: expected {len(self.z0)} finite numbers; got {z!r}")
        recording = self.recording
        try:
            self._set(z)
        except MaterialError as error:
            self._refuse(z, error)
            return
        try:
            with recording:
                self._simulate()
            with collectively(self.comm):
                if recording.steps == 0:
                    raise MaterialError("Objective: simulate has solved no step of the problem")
                total = float(self._loss(self._observed())) + self._of_penalty(z)[0]
                if not np.isfinite(total):
                    raise ConvergenceError(
                        f"Objective: the loss is {total}, though the run succeeded; leave gaps of "
                        "the data (NaN) out of it, e.g. by weights of zero",
                        {},
                    )
                self._size = 0 if self._residual is None else self._residuals().size
        except ConvergenceError as error:
            self._refuse(z, error)
            return
        self._check_resumed(z, total)
        self._at, self._known = z, (total, None)
        self.history.append(total)
        if self.best is None or total < self.best[0]:
            self.best = total, z.copy()
            self._keep()

    def _set(self, z: Floats) -> None:
        """Go back to the beginning with the controls z; an error if a law does not admit them."""
        for name, value in self.values(z).items():
            self.recording.controls[name].set(value)
        if self.recording.started:
            self.recording.restart()
        with collectively(self.comm):
            for material in self.recording.problem.materials:
                material.evaluation.parameters()  # fields as well

    def _check_resumed(self, z: Floats, value: float) -> None:
        """Whether the first value is the one that the file promised."""
        if self._promised is None or not np.array_equal(z, self.z0):
            return
        promised, first = self._promised
        self._promised = None
        if abs(value - promised) > RESUMED * abs(promised) + ZERO * abs(first):
            raise MaterialError(
                f"Objective: {self._file} was written for another problem: its loss there was "
                f"{promised:.8g}, here it is {value:.8g} (other data, mesh, steps or loss); delete "
                "it to start anew, or name another file"
            )

    def _check_answer(self) -> None:
        """Whether there is a run to differentiate."""
        if not np.isfinite(self.history[-1]):
            raise MaterialError(
                "Objective: the run at these values was refused or failed, and has no derivative"
            )

    def _refuse(self, z: Floats, error: AdmatError) -> None:
        if self.best is None:
            raise error
        known = [abs(v) for v in self.history if np.isfinite(v)]
        self.history.append(np.inf)
        self._at, self._known = z, (REFUSED * max(known) or 1.0, np.zeros_like(z))
        self._progress.say(f"objective: evaluation {len(self.history)} refused: {str(error)[:120]}")

    def _observed(self) -> dict[str, Any]:
        return {name: jnp.asarray(value) for name, value in self.recording.observed.items()}

    def _residuals(self) -> Floats:
        if self._residual is None:
            raise MaterialError("Objective: residuals need an objective with residual=...")
        return np.ravel(np.asarray(self._residual(self._observed()), float))

    def _half_square(self, observed: Any) -> Any:
        assert self._residual is not None
        return 0.5 * jnp.sum(jnp.ravel(self._residual(observed)) ** 2)

    def _of_penalty(self, z: Floats) -> tuple[float, dict[str, Floats]]:
        values = {n: jnp.asarray(v) for n, v in self.values(z).items()}
        if self._penalty is None:
            return 0.0, {n: np.zeros(v.shape) for n, v in values.items()}
        value, slope = jax.value_and_grad(self._penalty)(values)
        return float(value), {n: np.asarray(s) for n, s in slope.items()}

    def _keep(self) -> None:
        assert self.best is not None
        value, z = self.best
        x = self.free.to_x(z)
        few = len(x) <= SHOWN  # of a field, single entries say nothing
        shown = [f"{n} {v:.6g}" for n, v in zip(self.free.names if few else [], x, strict=few)]
        self._progress.say(
            f"objective: evaluation {len(self.history)}: {value:.6e}  {', '.join(shown)}"
        )
        with collectively(self.comm):
            if self._file is None or self.comm.rank:
                return
            # Complete or not at all, whenever the run is interrupted.
            handle, temporary = tempfile.mkstemp(suffix=".npz", dir=self._file.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    names = np.array(self.free.names)
                    np.savez(file, x=x, value=value, first=self.history[0], names=names)
                os.replace(temporary, self._file)
            finally:
                Path(temporary).unlink(missing_ok=True)

    def _start(self) -> Floats:
        """Values to begin with: those of the file, if it is there."""
        kept = None
        with collectively(self.comm):
            if self.comm.rank == 0 and self._file is not None and self._file.exists():
                try:
                    with open(self._file, "rb") as stream:
                        file = np.load(stream, allow_pickle=False)
                        names, kept = file["names"].tolist(), np.array(file["x"], float)
                        self._promised = float(file["value"]), float(file["first"])
                except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
                    raise MaterialError(
                        f"Objective: {self._file} cannot be read ({error}); delete it to start anew"
                    ) from error
                if names != self.free.names or kept.shape != self.free.start.shape:
                    raise MaterialError(
                        f"Objective: {self._file} was written for other controls ({names[:6]}); "
                        "delete it to start anew, or name another file"
                    )
        kept, self._promised = self.comm.bcast((kept, self._promised))
        return self.free.start if kept is None else self.free.inside(kept)
