"""How far a material point is from what a law was trained on."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.calibration import Experiment
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory import DriveResult, Path
from dolfinx_admat.materials import Material

from ._arguments import check_law, is_number
from ._features import Feature, core, feature_list
from ._range_data import at_rest_features, driven, evaluate, histories

Floats = npt.NDArray[np.float64]

#: A tensor smaller than this part of the largest seen has no direction that matters, and no
#: interval is narrower than it.
SMALL = 0.1
#: Least widths of intervals: of cosines, of rates in decades, and of numbers, relative to them.
LEAST_COSINE, LEAST_DECADES, LEAST_SCALAR = 0.2, 1.0, 0.01
#: Relative difference of distances that is round-off.
TIE = 1e-9
#: Rates slower than the fastest one by this factor are as good as none.
SLOWEST = 1e-6


class Distances(NamedTuple):
    """What a ``TrainingRange`` says about points.

    Attributes:
        value: How far outside, in widths of the worst feature's interval; 0: inside; infinite
            where a feature is NaN. (points,)
        worst: Number of the feature that is farthest outside (or nearest to its limits); (points,).
        features: All features, as they are compared; (points, features). A rate that is not known
            is NaN, and counts as inside.
        strains: Strains that rates are made of, for ``TrainingRange.rates``; (points, n) each.
    """

    value: Floats
    worst: npt.NDArray[np.int64]
    features: Floats
    strains: dict[str, Floats]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingRange:
    """Intervals of features that a law has seen in training; made by ``of`` or ``from_mapping``.

    Features of an isotropic law are joint invariants of its strain and of the tensors in its
    state, with names such as ``strain.trace``, ``strain.size`` (norm of the deviator),
    ``strain.lode`` (3 sqrt(6) det of the unit deviator: 1 in uniaxial tension, 0 in shear, -1 in
    compression) and ``strain:plastic_strain`` (cosine of the angle between the two deviators);
    those of another law are components, ``strain.xy``. A deformation gradient is seen as its
    logarithmic strain 1/2 ln(F^T F), and tensors of the state as their change from the initial
    state; at finite strain they are taken to be of the reference configuration. Numbers (a
    temperature, an equivalent plastic strain) are what they are. Laws that are rate-dependent also
    have ``strain.rate``, log10 of the size of the strain rate.

    Wrappers are looked through: the range of a 3D law is also that of the law in ``PlaneStress``,
    ``Rotated``, ``LogarithmicStrain``, ``Incompressible`` and so on, see ``for_law``.

    Directions and slow rates count less and less where the tensors are smaller than a tenth of the
    largest ones seen: a point that is hardly strained is no extrapolation in any direction.

    It is a box around the data: outside it a law extrapolates for sure; a hole inside the box is
    not noticed.

    Attributes:
        law: The law.
        features: What is compared.
        low: Least values; (features,).
        high: Largest values; (features,).
        widths: Widths of the intervals, none smaller than a tenth of the largest value of its
            tensor (a cosine: 0.2, a rate: one decade, a number: a hundredth of it); (features,).
        tolerance: What is outside by less than this many widths counts as inside.

    Raises:
        MaterialError: The bounds do not fit the law, are crossed or not finite.
    """

    law: Material
    low: Floats
    high: Floats
    tolerance: float = 0.01
    features: tuple[Feature, ...] = dataclasses.field(init=False)
    widths: Floats = dataclasses.field(init=False, repr=False)
    _scales: dict[str, float] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_law("TrainingRange", self.law)
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("features", tuple(feature_list(self.law)))
        for side in ("low", "high"):
            array = np.array(getattr(self, side), float)
            if array.shape != (len(self.features),):
                raise MaterialError(
                    f"TrainingRange: {side} must have shape ({len(self.features)},), one value for "
                    f"each of {', '.join(self.names)}; got {array.shape}"
                )
            array.flags.writeable = False
            put(side, array)
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (np.isfinite(low) and np.isfinite(high) and low <= high):
                raise MaterialError(
                    f"TrainingRange: '{name}' must have finite bounds low <= high; got "
                    f"({float(low)}, {float(high)})"
                )
        _check_tolerance(self.tolerance)
        put("_scales", self._find_scales())
        put("widths", self._find_widths())

    # -- making one -----------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        law: Material,
        experiments: Iterable[Experiment | Path | DriveResult],
        *,
        tolerance: float = 0.01,
        backend: str = "auto",
    ) -> "TrainingRange":
        """What a law goes through in some experiments.

        The law is driven along their paths, so that its state is known as well, which nobody
        measures, and its strains where stresses were imposed. A body at rest is always inside.

        Args:
            law: The trained law.
            experiments: What it was trained on. Of one in which the law fails, all before the
                failure counts.
            tolerance: What is outside by less than this many widths counts as inside.
            backend: Of the kernel that drives the law, see ``BatchKernel``.

        Raises:
            MaterialError: No experiments, one does not fit the law, or the law fails in all of
                them.
        """
        check_law("TrainingRange", law)
        _check_tolerance(tolerance)
        one = isinstance(experiments, Experiment | Path | DriveResult)
        experiments = [experiments] if one else list(experiments)  # type: ignore[list-item]
        features = feature_list(law)
        rates = [f for f in features if f.kind == "rate"]
        values, speeds = [at_rest_features(law, features)], {f.of[0]: [np.zeros(0)] for f in rates}
        seen = 0
        for number, experiment in enumerate(experiments):
            result = driven(law, experiment, number, backend)
            for raw, strains, times in histories(law, result):
                values.append(raw)
                seen += max(0, len(raw) - 1)
                for name in speeds:
                    step = np.diff(times)
                    moved = np.linalg.norm(np.diff(strains[name], axis=0), axis=1)
                    speeds[name].append(moved[step > 0.0] / step[step > 0.0])
        if not seen:
            raise MaterialError(
                f"TrainingRange: {type(law).__name__} converges in none of the "
                f"{len(experiments)} experiments; give those that it was trained on"
            )
        found = np.concatenate(values)
        bounds = []
        for name in speeds:
            speed = np.concatenate(speeds[name])
            fastest = max(float(speed.max(initial=0.0)), 1e-300)
            logs = np.log10(np.maximum(speed, SLOWEST * fastest))
            bounds.append((logs.min(initial=np.log10(fastest)), np.log10(fastest)))
        box = np.array(bounds, float).reshape(-1, 2)
        low = np.concatenate([np.nanmin(found, axis=0), box[:, 0]])
        high = np.concatenate([np.nanmax(found, axis=0), box[:, 1]])
        # Directions are weighted by sizes, whose bounds are known only now.
        first = cls(law, low, high, tolerance)
        weighted = first._weighted(found)
        count = found.shape[1]
        low[:count], high[:count] = np.nanmin(weighted, axis=0), np.nanmax(weighted, axis=0)
        return cls(law, low, high, tolerance)

    @classmethod
    def from_mapping(
        cls, law: Material, mapping: Mapping[str, Any], *, tolerance: float = 0.01
    ) -> "TrainingRange":
        """The range that stands in a law file: ``read_law_file(path).training_range``.

        Args:
            law: The law of the file, perhaps in wrappers.
            mapping: Least and largest value by feature.
            tolerance: What is outside by less than this many widths counts as inside.

        Raises:
            MaterialError: Features are missing or not of this law, or the bounds are wrong.
        """
        check_law("TrainingRange", law)
        if not isinstance(mapping, Mapping):
            raise MaterialError(
                "TrainingRange.from_mapping: expected a dict of (low, high) by feature; got "
                f"{type(mapping).__name__}"
                + ("; the file has no training range" if mapping is None else "")
            )
        names = [f.name for f in feature_list(law)]
        _check_names(law, names, mapping)
        bounds = []
        for name in names:
            try:
                pair = np.asarray(mapping[name], float)
            except (TypeError, ValueError):
                pair = np.zeros(0)
            if pair.shape != (2,):
                raise MaterialError(
                    f"TrainingRange: '{name}' must be (low, high), two numbers; got "
                    f"{mapping[name]!r}"
                )
            bounds.append(pair)
        box = np.array(bounds).reshape(-1, 2)
        return cls(law, box[:, 0], box[:, 1], tolerance)

    def to_mapping(self) -> dict[str, tuple[float, float]]:
        """For ``save_law(training_range=...)``: least and largest value by feature."""
        pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return dict(zip(self.names, pairs, strict=True))

    def for_law(self, law: Material) -> "TrainingRange":
        """The same range for the law with other parameters, or in other wrappers.

        Raises:
            MaterialError: It is another law.
        """
        check_law("TrainingRange", law)
        mine, other = type(core(self.law)), type(core(law))
        if mine is not other:
            raise MaterialError(
                f"TrainingRange: made for {mine.__name__}, but the law is {other.__name__}; "
                "make the range with this law"
            )
        return self.from_mapping(law, self.to_mapping(), tolerance=self.tolerance)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(f.name for f in self.features)

    # -- using it -------------------------------------------------------------------------

    def __call__(
        self,
        inputs: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        rates: Mapping[str, Any] | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
    ) -> Distances:
        """How far points are outside.

        Args:
            inputs: The law's inputs, in its components (Mandel); (points, *shape) each.
            state: Its state variables by name, likewise; None: as at the beginning.
            rates: Sizes of strain rates by strain, as ``rates`` returns them; (points,) each.
                None: not known, and not looked at.
            parameters: Values of parameters that vary from point to point (of wrappers: an
                orientation); (points, *shape).

        Raises:
            MaterialError: Names or shapes are not those of the law.
        """
        raw, strains = evaluate(self.law, inputs, state, parameters or {})
        unknown = np.full((len(raw), len(self.features) - raw.shape[1]), np.nan)
        values = np.concatenate([self._weighted(raw), unknown], axis=1)
        found = Distances(*self.distance(values), values, strains)
        return found if rates is None else self.with_rates(found, rates)

    def with_rates(self, found: Distances, rates: Mapping[str, Any]) -> Distances:
        """The same points, now that their rates are known.

        Args:
            found: What was found without.
            rates: As for the call.

        Raises:
            MaterialError: Not one rate for each strain and point.
        """
        values = found.features.copy()
        for k, feature in enumerate(self.features):
            if feature.kind == "rate":
                name = feature.of[0]
                speed = np.asarray(rates.get(name, np.zeros(0)), float)
                if speed.shape != (len(values),):
                    raise MaterialError(
                        f"TrainingRange: rates must have {[*found.strains]}, ({len(values)},) "
                        f"each, as `rates` returns them; got {[*rates]}, {speed.shape}"
                    )
                size = np.linalg.norm(found.strains[name], axis=1)
                values[:, k] = self._rate(k, speed, size)
        return Distances(*self.distance(values), values, found.strains)

    def distance(self, features: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
        """How far features are outside, and the number of the worst one.

        Args:
            features: As in ``Distances.features``; (points, features).

        Returns:
            Both (points,).
        """
        given = np.asarray(features, float)
        if given.ndim != 2 or given.shape[1] != len(self.features):
            raise MaterialError(
                f"TrainingRange: features must have shape (points, {len(self.features)}); got "
                f"{given.shape}"
            )
        excess = np.maximum(self.low - given, given - self.high) / self.widths
        known = np.array([f.kind != "rate" for f in self.features], bool)
        excess = np.where(np.isnan(excess), np.where(known, np.inf, -np.inf), excess)
        largest = excess.max(axis=1)
        # Of features that are equal but for round-off, the first one on any machine.
        least = largest * (1.0 - TIE * np.sign(largest))
        worst = np.argmax(excess >= least[:, None], axis=1)
        return np.where(largest > self.tolerance, largest, 0.0), worst

    def rates(
        self, before: Mapping[str, Floats], after: Mapping[str, Floats], dt: float
    ) -> dict[str, Floats]:
        """Sizes of the strain rates in a step, from ``Distances.strains``; (points,) each.

        Args:
            before: Strains at the beginning.
            after: Strains at the end.
            dt: Step (> 0), units of time.
        """
        if not dt > 0.0:
            raise MaterialError(f"TrainingRange: a rate needs a step dt > 0; got {dt!r}")
        return {n: np.linalg.norm(after[n] - before[n], axis=1) / dt for n in after}

    # -- internal -------------------------------------------------------------------------

    def _find_scales(self) -> dict[str, float]:  # the largest amount of each tensor or array
        scales: dict[str, float] = {}
        for f, low, high in zip(self.features, self.low, self.high, strict=True):
            if f.kind == "amount":
                largest = max(abs(float(low)), abs(float(high)))
                scales[f.of[0]] = max(scales.get(f.of[0], 0.0), largest)
        return scales

    def _find_widths(self) -> Floats:
        # A variable that was never seen to move is measured by the strain.
        inputs = [
            self._scales[f.of[0]] for f in self.features if f.kind == "amount" and not f.state
        ]
        fallback = max(inputs, default=0.0) or 1.0
        widths = []
        for f, low, high in zip(self.features, self.low, self.high, strict=True):
            largest = max(abs(float(low)), abs(float(high)))
            least = {
                "amount": SMALL * (self._scales.get(f.of[0], 0.0) or fallback),
                "scalar": LEAST_SCALAR * largest or SMALL * (fallback if f.state else 1.0),
                "rate": LEAST_DECADES,
            }.get(f.kind, LEAST_COSINE)
            widths.append(max(float(high - low), least))
        return np.array(widths, float)

    def _weight(self, size: Floats, name: str) -> Floats:  # 1, falling to 0 with the tensor
        small = SMALL * self._scales.get(name, 0.0)
        if small == 0.0:
            return np.where(size > 0.0, 1.0, 0.0)
        return np.minimum(1.0, size / small) ** 2

    def _weighted(self, raw: Floats) -> Floats:
        """Features without rates; directions count as much as the tensors are there."""
        place = {f.name: k for k, f in enumerate(self.features)}
        values = raw.copy()
        for k, f in enumerate(self.features[: raw.shape[1]]):
            if f.kind in ("lode", "angle"):
                for name in f.of:
                    values[:, k] *= self._weight(raw[:, place[f"{name}.size"]], name)
        return values

    def _rate(self, k: int, speed: Floats, size: Floats) -> Floats:
        low, high = self.low[k], self.high[k]
        # In logarithms, since a rate that is as good as none may be the smallest of all numbers.
        with np.errstate(divide="ignore"):
            value = np.maximum(np.log10(speed), high + np.log10(SLOWEST))
        slow = low + self._weight(size, self.features[k].of[0]) * (value - low)
        return np.where(value < low, slow, value)


def _check_tolerance(value: Any) -> None:
    if not (is_number(value) and 0.0 <= value < np.inf):
        raise MaterialError(f"TrainingRange: tolerance must be a finite number >= 0; got {value!r}")


def _check_names(law: Material, names: Sequence[str], given: Mapping[str, Any]) -> None:
    missing = [n for n in names if n not in given]
    unknown = [str(n) for n in given if n not in names]
    if missing or unknown:
        raise MaterialError(
            f"TrainingRange: the range is not one of {type(core(law)).__name__}: "
            + (f"missing {', '.join(missing)}" if missing else "")
            + (" and " if missing and unknown else "")
            + (f"unknown {', '.join(unknown)}" if unknown else "")
            + "; it belongs to another law, or to one with another state"
        )
