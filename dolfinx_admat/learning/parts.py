"""Learned hardening and viscosity: parts of hybrid laws, beside classical ones."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError

from ._arguments import check_seed, check_unit, positive_number, positive_pair
from ._part import LearnedPart, check_shape, inverse_positive, positive
from .curves import MonotoneCurve, check_range


def _check_curve(what: str, curve: Any) -> None:
    if not isinstance(curve, MonotoneCurve):
        raise MaterialError(f"{what}: expected a MonotoneCurve; got {type(curve).__name__}")


class LearnedHardening(LearnedPart):
    """Yield stress R(p) = sigma_y + curve(p), a part in place of ``VoceHardening``.

    The curve rises, ever more slowly, and saturates beyond its data unless it is made with
    ``linear=True``: metals do, and a line that a fit bends upwards at the end of its data is what
    makes learned hardening fail at larger strains.

    Attributes:
        yield_stress: Raw sigma_y, (); sigma_y = stress_unit * positive(yield_stress).
        curve: Hardening, of the equivalent plastic strain.
        stress_unit: Size of sigma_y; static.
        convex: The stored energy is.
    """

    convex: ClassVar[bool] = True
    yield_stress: jax.Array
    curve: MonotoneCurve
    stress_unit: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_unit("LearnedHardening", stress_unit=self.stress_unit)
        check_shape("LearnedHardening: yield_stress", self.yield_stress, ())
        _check_curve("LearnedHardening: curve", self.curve)

    @classmethod
    def create(
        cls,
        *,
        yield_stress: float,
        strain: float | tuple[float, float],
        hardening: float | None = None,
        terms: int = 4,
        linear: bool = False,
        seed: int | Sequence[int] | None = None,
    ) -> "LearnedHardening":
        """A first guess, about right in size.

        Args:
            yield_stress: Initial yield stress, units of stress.
            strain: Largest equivalent plastic strain of the data, or the range that matters.
            hardening: Increase of the yield stress until there; None: a third of it.
            terms: Number of sigmoids of the curve.
            linear: With a linear part, without which hardening saturates.
            seed: Of random deviations of the curve; None: none.

        Raises:
            MaterialError: A number is not positive, or the seed is none.
        """
        what = "LearnedHardening.create"
        unit = positive_number(what, "yield_stress", yield_stress)
        check_range(what, "strain", strain)
        rise = unit / 3.0 if hardening is None else positive_number(what, "hardening", hardening)
        check_seed(what, seed, parts=True)
        curve = MonotoneCurve.create(x=strain, y=rise, terms=terms, linear=linear, seed=seed)
        return cls(jnp.asarray(inverse_positive(1.0)), curve, unit)

    def __call__(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Yield stress; () -> ()."""
        return self.stress_unit * positive(self.yield_stress) + self.curve(
            equivalent_plastic_strain
        )

    def stored_energy(self, equivalent_plastic_strain: jax.Array) -> jax.Array:
        """Integral of R(p) - R(0), convex; () -> ()."""
        return self.curve.integral(equivalent_plastic_strain)


class LearnedViscosity(LearnedPart):
    """Overstress as a function of the rate of plastic flow, over many decades; zero at zero.

    A part of ``LearnedElastoviscoplastic``. Rates far below the smallest scale of the curve flow
    at nearly no overstress: the rate-independent limit.

    Attributes:
        curve: Overstress, of the rate dp/dt.
    """

    curve: MonotoneCurve

    def __check_init__(self) -> None:
        _check_curve("LearnedViscosity: curve", self.curve)

    @classmethod
    def create(
        cls,
        *,
        rates: tuple[float, float],
        overstress: float,
        terms: int = 4,
        linear: bool = True,
        seed: int | Sequence[int] | None = None,
    ) -> "LearnedViscosity":
        """A first guess, about right in size.

        Args:
            rates: Least and largest rate of plastic flow in the data, 1/time.
            overstress: Overstress at the largest one, units of stress.
            terms: Number of sigmoids; one or two per decade are enough.
            linear: With a linear part, without which the overstress is bounded.
            seed: Of random deviations of the curve; None: none.

        Raises:
            MaterialError: A number is not positive, the range is empty, or the seed is none.
        """
        what = "LearnedViscosity.create"
        span = positive_pair(what, "rates", rates)
        size = positive_number(what, "overstress", overstress)
        check_seed(what, seed, parts=True)
        return cls(MonotoneCurve.create(x=span, y=size, terms=terms, linear=linear, seed=seed))

    def overstress(self, rate: jax.Array) -> jax.Array:
        """Overstress of a rate; () -> (), odd."""
        return self.curve(rate)
