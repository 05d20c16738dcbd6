"""Increasing curves of one variable whose integral is known: hardening, viscosity, dashpots.

One layer of sigmoids with positive weights and centres at zero, each with a scale of its own:

    y(x) = sum_i w_i x / sqrt(x^2 + s_i^2) + c x,   w_i, s_i, c > 0.

It is odd, increasing, concave for x > 0, and its integral

    Y(x) = sum_i w_i (sqrt(x^2 + s_i^2) - s_i) + c x^2 / 2

is convex and zero at zero: a potential. With scales over many decades it follows curves of many
decades (rates), and with s_i -> 0 it becomes w_i |x|, the rate-independent limit.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError

from ._arguments import check_flag, check_seed, check_unit, is_whole, positive_number, positive_pair
from ._part import LearnedPart, check_shape, inverse_positive, positive

#: Of random first guesses: standard deviation of the logarithms of heights, and the range of scales
#: over their distance.
DEVIATION, SPREAD = 0.3, 1.0


def check_range(what: str, name: str, value: Any) -> tuple[float, float]:
    """The range of a variable, that of one number being a hundredth of it to it.

    Raises:
        MaterialError: It is neither a number > 0 nor two of them.
    """
    try:
        if np.ndim(value) == 0:
            high = positive_number(what, name, value)
            return 0.01 * high, high
        return positive_pair(what, name, value)
    except (ValueError, MaterialError):
        raise MaterialError(
            f"{what}: {name} must be a number > 0, or two of them, (least, largest); got {value!r}"
        ) from None


class MonotoneCurve(LearnedPart):
    """Odd, increasing curve of one variable, concave for x > 0; see the module.

    Attributes:
        weights: Raw weights, (n,); w_i = y_unit * positive(weights).
        scales: Logarithms, (n,); s_i = x_unit * exp(scales).
        slope: Raw slope, (); c = y_unit / x_unit * positive(slope). None: the curve saturates.
        x_unit: Size of x; static.
        y_unit: Size of y; static.
    """

    weights: jax.Array
    scales: jax.Array
    slope: jax.Array | None
    x_unit: float = eqx.field(static=True)
    y_unit: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_unit("MonotoneCurve", x_unit=self.x_unit, y_unit=self.y_unit)
        if np.ndim(self.weights) != 1:
            raise MaterialError(
                f"MonotoneCurve: expected weights (n,); got shape {np.shape(self.weights)}"
            )
        for name in ("weights", "scales"):
            check_shape(f"MonotoneCurve: {name}", getattr(self, name), np.shape(self.weights))
        if self.slope is not None:
            check_shape("MonotoneCurve: slope", self.slope, ())

    @classmethod
    def create(
        cls,
        *,
        x: float | tuple[float, float],
        y: float,
        terms: int = 4,
        linear: bool = False,
        seed: int | Sequence[int] | None = None,
    ) -> "MonotoneCurve":
        """A curve that rises to about y, with scales spread over the logarithms of x.

        Args:
            x: Range of the variable, (least, largest) > 0; one number: a hundredth of it to it.
            y: Value that it should reach, about.
            terms: Number of sigmoids.
            linear: With a linear part, without which the curve saturates.
            seed: Of random deviations: a third of each height, and half of the distance between
                scales. None: equal heights, even scales.

        Raises:
            MaterialError: A number is not positive, the range is empty, or the seed is none.
        """
        what = "MonotoneCurve.create"
        low, high = check_range(what, "x", x)
        y = positive_number(what, "y", y)
        check_flag(what, linear=linear)
        check_seed(what, seed, parts=True)
        if not (low < high or terms == 1) or not is_whole(terms, 1):
            raise MaterialError(
                f"MonotoneCurve.create: expected least < largest and terms >= 1; got x={x!r}, "
                f"terms={terms!r}"
            )
        spread = np.linspace(math.log(low / high), 0.0, terms) if terms > 1 else np.array([-1.0])
        heights, slope = np.full(terms, 1.0 / (terms + linear)), 0.5
        if seed is not None:
            rng = np.random.default_rng(seed)
            distance = math.log(high / low) / max(1, terms - 1)
            spread = spread + SPREAD * distance * rng.uniform(-0.5, 0.5, terms)
            factors = np.exp(DEVIATION * rng.standard_normal(terms + 1))
            heights, slope = heights * factors[:-1], slope * factors[-1]
        return cls(
            jnp.asarray(inverse_positive(heights)),
            jnp.asarray(spread),
            jnp.asarray(inverse_positive(slope)) if linear else None,
            high,
            y,
        )

    def _terms(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        w, s = self.y_unit * positive(self.weights), self.x_unit * jnp.exp(self.scales)
        c = 0.0 if self.slope is None else self.y_unit / self.x_unit * positive(self.slope)
        return w, s, jnp.asarray(c)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Value; () -> (), units of y."""
        w, s, c = self._terms()
        return jnp.sum(w * x / jnp.sqrt(x * x + s * s)) + c * x

    def integral(self, x: jax.Array) -> jax.Array:
        """The integral from 0, convex, >= 0; () -> (), units of x y."""
        return self.integral_of_square(x * x)

    def integral_of_square(self, square: jax.Array) -> jax.Array:
        """The integral as a function of x^2, so that x may be a norm: smooth at zero; () -> ()."""
        w, s, c = self._terms()
        return jnp.sum(w * square / (jnp.sqrt(square + s * s) + s)) + 0.5 * c * square
