"""Sizes of data: what a law needs to begin about right, in the units of the data."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.calibration import Experiment
from dolfinx_admat.calibration._specimens import checked
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory import drive
from dolfinx_admat.materials import LinearElastic
from dolfinx_admat.tensors import DEVIATORIC

from ._arguments import check_flag, is_number, positive_number, positive_pair

_COMPONENTS = ("xx", "yy", "zz", "xy", "xz", "yz")
_MANDEL = np.array([1.0, 1.0, 1.0, *[math.sqrt(2.0)] * 3])


@dataclasses.dataclass(frozen=True)
class Scales:
    """Sizes of small-strain data, for the ``create`` of learned laws. Rough values will do.

    Attributes:
        E: Young's modulus, units of stress.
        nu: Poisson's ratio.
        stress: Size of the deviatoric stress (its von Mises stress, say), units of stress.
        strain: Largest size of the strain.
        rates: Least and largest size of the strain rate, 1/time; None: rates do not matter.

    Raises:
        MaterialError: A number is not positive, nu is not in (-1, 0.5), or the range is empty.
    """

    E: float
    nu: float
    stress: float
    strain: float
    rates: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("E", "stress", "strain"):
            value = positive_number("Scales", name, getattr(self, name))
            object.__setattr__(self, name, value)
        if self.rates is not None:
            rates = positive_pair("Scales", "rates", self.rates)
            if not rates[0] < rates[1]:
                raise MaterialError(f"Scales: expected rates (least < largest); got {self.rates!r}")
            object.__setattr__(self, "rates", rates)
        if not (is_number(self.nu) and -1.0 < self.nu < 0.5):
            raise MaterialError(f"Scales: nu must be a number in (-1, 0.5); got {self.nu!r}")
        object.__setattr__(self, "nu", float(self.nu))

    @classmethod
    def of(cls, experiments: Experiment | Sequence[Experiment], *, rates: bool = False) -> "Scales":
        """From strain-driven experiments that measure all six stresses.

        Moduli are those of the stiffest increments, whether loading or unloading.

        Args:
            experiments: One or several.
            rates: The material depends on rates.

        Raises:
            MaterialError: There is no experiment, or one does not impose all strains or measure all
                stresses; give ``Scales(E=..., ...)`` by hand then.
        """
        check_flag("Scales.of", rates=rates)
        try:
            experiments = checked(experiments)
        except MaterialError as error:
            raise MaterialError(f"Scales.of: {error}") from None
        bulk, shear, stresses, strains, speeds = [], [], [], [], []
        for experiment in experiments:
            strain, stress, dt = _histories(experiment)
            change, answer = np.diff(strain, axis=0), np.diff(stress, axis=0)
            dev, s = change @ np.asarray(DEVIATORIC), answer @ np.asarray(DEVIATORIC)
            tr, p = change[:, :3].sum(axis=1), answer[:, :3].sum(axis=1) / 3.0
            size = np.sum(dev**2, axis=1)
            large = size >= 0.1 * size.max()
            with np.errstate(divide="ignore", invalid="ignore"):
                shear += list(np.sum(s * dev, axis=1)[large] / (2.0 * size[large]))
            if np.any(tr != 0.0):
                wide = np.abs(tr) >= 0.3 * np.abs(tr).max()
                bulk += list(p[wide] / tr[wide])
            dev_stress = stress @ np.asarray(DEVIATORIC)
            stresses.append(np.sqrt(1.5 * np.nanmax(np.sum(dev_stress**2, axis=1))))
            strains.append(np.sqrt(np.sum(strain**2, axis=1)).max())
            moved = size > 0.0
            speeds += list(np.sqrt(size[moved]) / dt[moved])
        mu = float(np.nanpercentile(shear, 90)) if shear else math.nan
        kappa = float(np.nanmedian(bulk)) if bulk else 2.0 * mu
        if not (mu > 0.0 and kappa > 0.0):
            raise MaterialError(
                f"Scales.of: the data show no elastic stiffness (shear {mu:g}, bulk {kappa:g}); "
                "give Scales(E=..., nu=..., stress=..., strain=...) by hand"
            )
        nu = (3.0 * kappa - 2.0 * mu) / (2.0 * (3.0 * kappa + mu))
        span = None
        if rates:
            low, high = (float(np.percentile(speeds, q)) for q in (5, 95))
            span = (low, max(high, 1.01 * low))
        return cls(2.0 * mu * (1.0 + nu), nu, float(np.median(stresses)), float(max(strains)), span)


def check_scales(what: str, scales: Any) -> None:
    """What ``create`` of a learned law is given.

    Raises:
        MaterialError: It is something else.
    """
    if not isinstance(scales, Scales):
        raise MaterialError(
            f"{what}: scales must be Scales, e.g. Scales.of(experiments); got {scales!r}"
        )


def _histories(experiment: Experiment) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Strains and stresses, Mandel (steps + 1, 6), and time steps (steps,)."""
    missing = [c for c in _COMPONENTS if f"stress_{c}" not in experiment.data]
    unsaid = [c for c in _COMPONENTS if f"strain_{c}" not in experiment.path.names()]
    if missing or unsaid:
        raise MaterialError(
            f"Scales.of: experiment '{experiment.name}' "
            + (f"measures no stress_{missing[0]}" if missing else f"imposes no strain_{unsaid[0]}")
            + "; give Scales(E=..., nu=..., stress=..., strain=...) by hand"
        )
    result = drive(LinearElastic(1.0, 0.3), experiment.path)
    strain = result.inputs["strain"][0]
    steps = len(strain) - 1
    stress = np.stack([experiment.data[f"stress_{c}"][-steps:] for c in _COMPONENTS], axis=1)
    return strain, np.vstack([np.zeros(6), stress * _MANDEL]), np.diff(result.times[0])
