"""Loading paths: what is imposed on a specimen, when, and in which steps."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dolfinx_admat.errors import MaterialError


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a path between two times.

    Attributes:
        time: Duration; a number or one per specimen; None: not given.
        fractions: Ends of the steps, as fractions of the duration, the last one is 1.
        to: Values at the end of the segment by component; reached linearly in time.
        rate: In place of the duration: speed of the only component of ``to``.
        hold: Components kept at the value that they have when the segment begins.
        table: Values at the ends of all steps by component, (..., steps); in place of ``to``.
    """

    time: Any
    fractions: tuple[float, ...]
    to: dict[str, Any]
    rate: Any = None
    hold: tuple[str, ...] = ()
    table: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Path:
    """A loading path, built segment by segment; each method returns a longer path.

    ``Path().ramp(to={"strain_xx": 0.01}, time=1.0, steps=20).hold("strain_xx", time=9, steps=30)``

    Components are named by the law's inputs and outputs, as ordinary tensor components:
    ``strain_xy`` (the tensor's, half of the engineering shear), ``stress_xx``,
    ``deformation_gradient_xx``, ``first_piola_stress_xx``, ``cauchy_stress_xx``,
    ``kirchhoff_stress_xx``, ``pressure``, ``temperature``, ``temperature_gradient_x``. Naming a
    stress makes the strain that does work with it unknown; naming that strain again imposes it.
    A value that is an array is one value per specimen.

    What is not named in a segment stays under the control of the segment before, at the value
    that it had at its end. What is named nowhere in the path:

    - a strain component is free: its stress is zero (or the initial stress);
    - of a deformation gradient, the components on and above the diagonal are free, those below
      it are zero, which excludes rotations. If a component is named (or its stress), its mirror
      image is imposed at zero: naming ``deformation_gradient_xy`` alone is simple shear;
    - a pressure is what makes ``volume_constraint`` zero, a temperature gradient is zero;
    - any other input, such as a temperature, must be given: ``Path(start={"temperature": 293})``.

    Attributes:
        start: Values at time zero, at once. What is not given is at rest.
        segments: The parts of the path.
    """

    start: dict[str, Any] = dataclasses.field(default_factory=dict)
    segments: tuple[Segment, ...] = ()

    def ramp(
        self,
        to: Mapping[str, Any],
        *,
        time: Any = None,
        rate: Any = None,
        steps: int | Sequence[float] = 1,
    ) -> "Path":
        """Change components linearly in time.

        A component that was controlled otherwise before starts from the value it has reached.

        Args:
            to: Values at the end, by component.
            time: Duration, units of time; an array: one per specimen. None: 1, for laws that are
                not rate-dependent.
            rate: In place of the duration: speed (> 0) of the component, if it is only one; an
                array: one per specimen.
            steps: Number of equal steps, or the ends of the steps as fractions of the duration.

        Returns:
            The longer path.
        """
        if rate is not None and (time is not None or len(to) != 1):
            raise MaterialError(
                "Path.ramp: rate stands in place of time, and belongs to one component; got "
                f"time={time!r} and the components {', '.join(to)}"
            )
        speed = _duration(rate, "rate is the speed of a component")
        return self._with(Segment(_duration(time), _fractions(steps), dict(to), speed))

    def hold(self, *components: str, time: Any = None, steps: int | Sequence[float] = 1) -> "Path":
        """Wait. Relaxation: ``hold("strain_xx", ...)``; creep: ``hold("stress_xx", ...)``.

        Args:
            components: Kept at the value that they have now, whatever controlled them before.
                Everything else stays under its control as well.
            time: Duration, as in ``ramp``.
            steps: Number of equal steps, or the ends of the steps as fractions of the duration.

        Returns:
            The longer path.
        """
        return self._with(Segment(_duration(time), _fractions(steps), {}, None, components))

    def cycles(
        self,
        turning_points: Sequence[Mapping[str, Any]],
        count: int,
        *,
        time: Any = None,
        rate: Any = None,
        steps: int | Sequence[float] = 1,
    ) -> "Path":
        """Ramp from one turning point to the next, again and again.

        Args:
            turning_points: Values by component, e.g. ``[{"strain_xx": 1e-2}, {"strain_xx": 0}]``.
            count: How often all of them are visited.
            time: Duration of each ramp, as in ``ramp``.
            rate: Speed in each ramp.
            steps: Steps of each ramp.

        Returns:
            The longer path.
        """
        path = self
        for _ in range(count):
            for point in turning_points:
                path = path.ramp(point, time=time, rate=rate, steps=steps)
        return path

    def table(self, time: Sequence[float], columns: Mapping[str, Any]) -> "Path":
        """Follow a table, e.g. an experiment; one step from each row to the next.

        Args:
            time: Increasing times, counted from the end of the path so far; (rows,). If the
                first one is 0 on an empty path, the first row holds at the start.
            columns: Values at these times by component; (rows,) or (specimens, rows).

        Returns:
            The longer path.
        """
        times = as_floats(time, "table: time")
        if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all():
            raise MaterialError(f"Path.table: time must be a list of finite numbers; got {time!r}")
        values = {n: as_floats(column, f"table: '{n}'") for n, column in columns.items()}
        for name, column in values.items():
            if column.ndim not in (1, 2) or column.shape[-1] != times.size:
                raise MaterialError(
                    f"Path.table: column '{name}' has shape {column.shape}, expected "
                    f"({times.size},) as the times, or (specimens, {times.size})"
                )
        path = self
        if times[0] == 0.0:
            if not self.segments:
                first = {name: column[..., 0] for name, column in values.items()}
                path = dataclasses.replace(self, start={**self.start, **first})
            times = times[1:]
            values = {name: column[..., 1:] for name, column in values.items()}
        ends = np.concatenate([[0.0], times])
        late = np.flatnonzero(np.diff(ends) <= 0)
        if late.size:
            raise MaterialError(
                f"Path.table: times must increase; got {ends[late[0] + 1]:g} after "
                f"{ends[late[0]]:g} (row {late[0] + 2})"
            )
        if times.size == 0:
            return path
        fractions = tuple(float(t) for t in times / times[-1])
        segment = Segment(float(times[-1]), fractions, {}, None, (), values)
        return path._with(segment)

    def _with(self, segment: Segment) -> "Path":
        return dataclasses.replace(self, segments=(*self.segments, segment))

    @property
    def steps(self) -> int:
        """Number of steps of the whole path."""
        return sum(len(segment.fractions) for segment in self.segments)

    def names(self) -> list[str]:
        """All components that the path names, in order."""
        found = dict.fromkeys(self.start)
        for segment in self.segments:
            found |= dict.fromkeys((*segment.to, *segment.hold, *segment.table))
        return list(found)


def as_floats(value: Any, what: str) -> np.ndarray[Any, Any]:
    """A number, or an array of numbers; what is neither is a MaterialError."""
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise MaterialError(f"Path: {what}: expected a number or numbers; got {value!r}") from error


def _duration(time: Any, what: str = "time is the duration of a segment") -> Any:
    if time is None:
        return None
    value = as_floats(time, what)
    if value.ndim > 1 or not (np.isfinite(value) & (value > 0)).all():
        raise MaterialError(f"Path: {what}, a number > 0 (or one per specimen); got {time!r}")
    return value


def _fractions(steps: int | Sequence[float]) -> tuple[float, ...]:
    if isinstance(steps, int | np.integer) and not isinstance(steps, bool) and steps >= 1:
        return tuple(k / int(steps) for k in range(1, int(steps) + 1))
    try:
        ends = np.asarray(steps, float)
        good = ends.ndim == 1 and ends[0] > 0 and (np.diff(ends) > 0).all() and ends[-1] == 1.0
    except (TypeError, ValueError, IndexError):
        good = False
    if not good:
        raise MaterialError(
            "Path: steps must be a number of steps >= 1, or increasing fractions of the duration "
            f"that end with 1; got {steps!r}"
        )
    return tuple(ends.tolist())
