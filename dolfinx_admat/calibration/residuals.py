"""The residuals of all experiments as one vector, a function of the free parameters."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.implicit import LocalStatus, Strategy
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import require_float64

from ._groups import Group, filled
from ._response import jacobian, loss_and_gradient, values_and_status
from ._specimens import Refused as Refused
from ._specimens import Specimens, factors
from .experiment import Experiment
from .free import Free, FreeParameters

Floats = npt.NDArray[np.float64]


class Residuals:
    """(model - data) sqrt(weight) / sigma of all experiments, without gaps, one after the other.

    A function of the parameters that any optimiser can call: ``residuals(x)``, ``jacobian(x)``,
    ``value_and_gradient(x)``, with x in the units of the law; (entries,). Not collective.

    Args:
        law: The law.
        experiments: One or several.
        free: Free parameters by dotted name, see ``FreeParameters``.

    Attributes:
        free: The free parameters as a vector.
        experiments: The experiments.
        sigma: By component: standard deviation of the noise, or the largest value where it is not
            known; what the residuals of that component are measured in.
        sigma_known: All sigmas were given.
        size: Number of residuals.

    Raises:
        MaterialError: Something does not fit, see ``Experiment`` and ``FreeParameters``.
    """

    def __init__(
        self,
        law: Material,
        experiments: Experiment | Sequence[Experiment],
        free: Mapping[str, Free | tuple[Any, Any]],
    ) -> None:
        require_float64()
        self.free = FreeParameters(law, free)
        self._specimens = Specimens(law, experiments)
        self.experiments = self._specimens.experiments
        for experiment in self.experiments:
            for name in set(experiment.parameters) & set(self.free.parameters):
                raise MaterialError(
                    f"Experiment '{experiment.name}': parameter '{name}' is given, and free as well"
                )
        self._law, self._data = law, self._specimens.data
        self.sigma, self.sigma_known = _sigmas(self.experiments)
        self._factors = [
            factors(e, n, self.sigma)
            for e, n in zip(self.experiments, self._specimens.rows, strict=True)
        ]
        self.size = sum(int((f > 0).sum()) for f in self._factors)
        #: Reverse differentiation costs about one sweep per residual, forward one per parameter.
        self.reverse = self.free.size > self.size

    # -- Evaluation --------------------------------------------------------------------------

    def residuals(self, x: Any) -> Floats:
        """All residuals; (size,).

        Raises:
            ConvergenceError: The law does not admit these values, or a local solve fails.
        """
        try:
            return self.evaluate(self._vector(x))
        except Refused as error:
            raise ConvergenceError(f"calibration: {error}") from error

    def evaluate(self, x: Floats) -> Floats:
        """As ``residuals``, but ``Refused`` where there is no answer; never NaN."""
        values = self.predict(x)
        parts = [
            ((v[:, :-1] - d) * f)[f > 0]
            for v, d, f in zip(values, self._data, self._factors, strict=True)
        ]
        found = np.concatenate(parts)
        if not np.isfinite(found).all():
            raise Refused("a residual is not finite")
        return found

    def predict(self, x: Floats) -> list[Floats]:
        """Compared components and the abscissa of each experiment; (rows, columns + 1)."""
        self._admit(x)
        values: list[Any] = [None] * len(self.experiments)
        for group in self._specimens.groups:
            found, codes = values_and_status(*self._arguments(x), group.schedules)
            for k, code in enumerate(np.asarray(codes)):
                if code != 0:
                    name = self.experiments[group.members[k]].name
                    raise Refused(f"experiment '{name}': {LocalStatus(int(code)).message}")
            for k, member in enumerate(group.members):
                values[member] = np.asarray(found[k])[: len(self._data[member])]
        return values

    def predictions(self, x: Floats) -> list[dict[str, Floats]]:
        """Compared components of each experiment by name, "x" is the abscissa; (rows,)."""
        found = []
        for e, v, at in zip(self.experiments, self.predict(x), self._specimens.times, strict=True):
            curves = dict(zip((*e.data, "x"), v.T, strict=True))
            found.append(curves | {"x": at} if e.abscissa == "time" else curves)
        return found

    def root_mean_squares(self, x: Floats) -> tuple[dict[str, float], ...]:
        """Of (model - data) by component, in its unit, without weights; one dict per experiment."""
        found = []
        for values, data, e in zip(self.predict(x), self._data, self.experiments, strict=True):
            error = values[:, :-1] - data
            seen = [c[~np.isnan(c)] for c in error.T]
            rms = [float(np.sqrt(np.mean(c**2))) if c.size else np.nan for c in seen]
            found.append(dict(zip(e.data, rms, strict=True)))
        return tuple(found)

    def jacobian(self, x: Any, *, tangent: Strategy | None = None, unit: bool = False) -> Floats:
        """d(residuals)/dx, by the implicit function theorem; (size, entries).

        Args:
            x: Values; (entries,).
            tangent: Way to differentiate local solves; None leaves it to the law.
            unit: Derivative in the scaled variable z instead.
        """
        x = self._vector(x)
        blocks: list[Any] = [None] * len(self.experiments)
        for group in self._specimens.groups:
            found = np.asarray(
                jacobian(self.reverse, tangent)(*self._arguments(x), group.schedules)
            )
            for k, member in enumerate(group.members):
                f = self._factors[member]
                blocks[member] = (found[k][: len(f)] * f[..., None])[f > 0]
        J = np.concatenate(blocks)
        if not np.isfinite(J).all():
            bad = [self.free.names[k] for k in np.flatnonzero(~np.isfinite(J).all(axis=0))]
            raise ConvergenceError(
                f"calibration: the derivative with respect to {', '.join(bad[:5])} is not finite; "
                "look for sqrt, log or powers at zero in the law (check_tangent, audit)"
            )
        return J if unit else J / self.free.slope(x)

    def value_and_gradient(self, x: Any) -> tuple[float, Floats]:
        """Half the sum of squares and its gradient, by one reverse sweep; () and (entries,).

        Raises:
            ConvergenceError: The law does not admit these values, or a local solve fails.
        """
        x = self._vector(x)
        try:
            self._admit(x)
            value, gradient = 0.0, np.zeros(self.free.size)
            for group in self._specimens.groups:
                one, slope = self.loss(x, group)
                value, gradient = value + one, gradient + slope
        except Refused as error:
            raise ConvergenceError(f"calibration: {error}") from error
        return value, gradient / self.free.slope(x)

    def loss(self, x: Floats, group: Group) -> tuple[float, Floats]:
        """Half the sum of squares of a group, and its gradient in z; () and (entries,)."""
        rows = group.schedules.ends.shape[1]
        data = np.stack([filled(np.nan_to_num(self._data[m]), rows) for m in group.members])
        factors = np.stack([filled(self._factors[m], rows, 0.0) for m in group.members])
        (values, codes), slopes = loss_and_gradient(
            *self._arguments(x), group.schedules, data, factors
        )
        value, gradient = float(values.sum()), np.asarray(slopes).sum(axis=0)
        if np.any(np.asarray(codes) != 0) or not np.isfinite([value, *gradient]).all():
            raise Refused("a local solve failed, or its derivative is not finite")
        return value, gradient

    def minibatches(self, size: int, rng: np.random.Generator) -> list[Group]:
        """All experiments in random order, in groups of ``size`` as far as there are so many.

        The last one is filled up with some that were there before: one shape, one compilation.
        """
        batches = []
        for group in self._specimens.groups:
            order = rng.permutation(len(group.members))
            for first in range(0, len(order), size):
                chosen = np.resize(order, max(first + size, len(order)))[first : first + size]
                chosen = chosen[: len(order)]
                schedules = jax.tree.map(lambda a, c=chosen: a[c], group.schedules)
                batches.append(Group(tuple(group.members[k] for k in chosen), schedules))
        return [batches[k] for k in rng.permutation(len(batches))]

    # -- Steps that fail ---------------------------------------------------------------------

    def refine(self, x: Floats, needed: Floats | None = None) -> None:
        """Divide steps as the driver needs it at these values; the division stays.

        Args:
            x: Values where steps fail.
            needed: Values where the finer steps must work as well.

        Raises:
            Refused: The driver fails too; nothing has changed.
        """
        self._admit(x)
        before = self._specimens
        self._specimens = before.divided(self.free.law_at(x))
        try:
            for values in (x, *([] if needed is None else [needed])):
                self.evaluate(values)
        except Refused:
            self._specimens = before
            raise

    # -- Details -----------------------------------------------------------------------------

    def _arguments(self, x: Floats) -> tuple:
        free = self.free
        return self._law, free.places, free.scale, free.to_z(x)

    def _admit(self, x: Floats) -> None:
        if not np.isfinite(x).all():
            raise Refused("a parameter is not finite")
        try:
            self.free.check(x)
        except MaterialError as error:
            raise Refused(str(error)) from error

    def _vector(self, x: Any) -> Floats:
        array = np.array(x, float)
        if array.shape != (self.free.size,):
            raise MaterialError(
                f"calibration: expected {self.free.size} values ({', '.join(self.free.names[:8])}"
                f"{', ...' if self.free.size > 8 else ''}); got shape {array.shape}"
            )
        return array

    def measured_times(self, x: Floats) -> dict[str, float]:
        """Seconds of one evaluation, of the Jacobian, and of central differences instead.

        Compiled before; the shortest of three. For more than 20 entries the differences are the
        time of an evaluation times their number.
        """
        self.jacobian(x)
        n = self.free.size
        evaluation = _seconds(lambda: self.evaluate(x))
        h = 1e-6 * self.free.scale

        def differences() -> None:
            for k in range(n):
                for sign in (1.0, -1.0):
                    self.predict(x + sign * h * (np.arange(n) == k))

        try:
            central = _seconds(differences, 1) if n <= 20 else 2 * n * evaluation
        except Refused:  # a neighbour that the law does not admit
            central = 2 * n * evaluation
        return {
            "evaluation": evaluation,
            "jacobian": _seconds(lambda: self.jacobian(x)),
            "central differences": central,
        }


def _seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def _sigmas(experiments: Sequence[Experiment]) -> tuple[dict[str, float], bool]:
    """By component, for those experiments that give none; and whether all give them."""
    largest: dict[str, float] = {}
    known = True
    for experiment in experiments:
        for name, values in experiment.data.items():
            size = float(np.nanmax(np.abs(values), initial=0.0))
            largest[name] = max(largest.get(name, 0.0), size)
            known &= experiment.sigma is not None and name in experiment.sigma
    return {name: size or 1.0 for name, size in largest.items()}, known
