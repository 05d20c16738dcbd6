"""Laws with the temperature as an input: parameters that depend on it, and thermal expansion."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.tensors import IDENTITY

from ._declare import SCALAR, named_leaves
from .parameters import (
    Parameters,
    check_parameters,
    parameter,
    parameter_ranges,
    replace_parameters,
)
from .wrapper import Transform

TEMPERATURE = "temperature"


class Table(Parameters):
    """A piecewise linear function of one variable, constant beyond its ends.

    Attributes:
        x: Abscissae, increasing; (n,), e.g. temperatures.
        y: Values; (n,), units of what the table stands for. Differentiable parameters.

    Raises:
        MaterialError: The abscissae do not increase, or are not as many as the values.
    """

    x: jax.Array = parameter()
    y: jax.Array = parameter()

    def __check_init__(self) -> None:
        shapes = np.shape(self.x), np.shape(self.y)
        if len(shapes[0]) != 1 or shapes[0] != shapes[1]:
            raise MaterialError(
                f"Table: x and y must be two lists of equal length; got {shapes[0]} and {shapes[1]}"
            )
        known = not isinstance(self.x, jax.core.Tracer)
        if known and not (np.diff(np.asarray(self.x)) > 0.0).all():
            raise MaterialError(f"Table: x must increase; got {np.asarray(self.x)}")

    def __call__(self, x: jax.Array) -> jax.Array:
        """Value at x; () -> ()."""
        return jnp.interp(x, self.x, self.y)


class Polynomial(Parameters):
    """c_0 + c_1 (x - x_0) + c_2 (x - x_0)^2 + ...

    Attributes:
        coefficients: c_0, c_1, ...; (n,). Differentiable parameters.
        reference: x_0, e.g. a temperature.
    """

    coefficients: jax.Array = parameter()
    reference: jax.Array | float = parameter(default=0.0)

    def __check_init__(self) -> None:
        if np.ndim(self.coefficients) != 1:
            raise MaterialError(
                "Polynomial: coefficients must be a list of numbers; "
                f"got shape {np.shape(self.coefficients)}"
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Value at x; () -> ()."""
        value = jnp.zeros(())
        for k in reversed(range(len(self.coefficients))):
            value = self.coefficients[k] + value * (x - self.reference)
        return value


class TemperatureDependent(Transform):
    """A law, some parameters of which are functions of the additional input ``temperature``.

    The parameters are those at t_{n+1}; what the law itself has for them is not used. The values
    of a ``Table`` are checked against their admissible ranges when the law is made; a temperature
    at which a function leaves its range makes the point inadmissible.

    ``symmetric_tangent`` is the law's, for a temperature that is given.

    Attributes:
        law: The law.
        parameters: Dotted name of a parameter to its function, () -> () or the parameter's
            shape: a ``Table``, a ``Polynomial``, any function of jax.numpy, or a module with
            parameters of its own. E.g. ``{"E": Table(x, y), "hardening.sigma_y": f}``.

    Raises:
        MaterialError: Unknown names, something that is no function, or a table whose values are
            out of range.
    """

    parameters: dict[str, Callable[[jax.Array], jax.Array]]

    def __check_init__(self) -> None:
        law, known = type(self.law).__name__, named_leaves(self.law)
        for name, function in self.parameters.items():
            if name not in known:
                raise MaterialError(
                    f"TemperatureDependent: {law} has no parameter '{name}'; it has {sorted(known)}"
                )
            if not callable(function):
                raise MaterialError(
                    f"TemperatureDependent: '{name}' must be a function of the temperature; "
                    f"got {function!r}"
                )
            if isinstance(function, Table):
                check_parameters(self.law, {name: function.y}, law)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, and the temperature."""
        return {**self.law.inputs, TEMPERATURE: SCALAR}

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """False, for the product of modulus and strain.

        Reductions are faster the other way round: ``TemperatureDependent(PlaneStress(law), ...)``.
        """
        return False

    def law_at(self, inputs: dict[str, jax.Array]) -> Any:
        """The law with the parameters of this temperature."""
        known = named_leaves(self.law)
        values = {}
        for name, function in self.parameters.items():
            value = jnp.asarray(function(inputs[TEMPERATURE]), dtype=float)
            if value.shape != jnp.shape(known[name]):
                raise MaterialError(
                    f"TemperatureDependent: the function for '{name}' returns shape "
                    f"{value.shape}; expected {jnp.shape(known[name])}"
                )
            values[name] = value
        return replace_parameters(self.law, values)

    def _inputs_admissible(self, inputs: dict[str, jax.Array]) -> jax.Array:
        law, fine = self.law_at(inputs), super()._inputs_admissible(inputs)
        values, ranges = named_leaves(law), parameter_ranges(law)
        for name in self.parameters:
            if name in ranges and ranges[name].accept is None:
                fine = fine & jnp.all(ranges[name].within(values[name]))
        return fine

    def to_law(self, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Without the temperature, unless the law reads it as well."""
        return {name: inputs[name] for name in self.law.inputs}


class ThermalExpansion(Transform):
    """A small-strain law that sees strain - alpha (temperature - reference_temperature).

    ``symmetric_tangent`` is the law's, for a temperature that is given.

    Attributes:
        law: The law; small strain.
        alpha: Mean coefficient of expansion between the two temperatures, 1 / temperature: a
            number (times the unit tensor), or a Mandel vector (6,) where it is anisotropic.
        reference_temperature: Temperature of no expansion.

    Raises:
        MaterialError: The law has no strain, or alpha has another shape.

    Source: B.A. Boley, J.H. Weiner, Theory of Thermal Stresses, 1960, section 1.12.
    """

    alpha: jax.Array | float = parameter()
    reference_temperature: jax.Array | float = parameter()

    def __check_init__(self) -> None:
        self._mechanical_input("strain")
        if np.shape(self.alpha) not in ((), (6,)):
            raise MaterialError(
                f"{type(self).__name__}: alpha must be a number or a Mandel vector (6,); "
                f"got shape {np.shape(self.alpha)}"
            )

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, and the temperature."""
        return {**self.law.inputs, TEMPERATURE: SCALAR}

    def to_law(self, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The strain without the thermal strain."""
        change = inputs[TEMPERATURE] - self.reference_temperature
        alpha = self.alpha * IDENTITY if jnp.ndim(self.alpha) == 0 else self.alpha
        given = {name: inputs[name] for name in self.law.inputs}
        return {**given, "strain": inputs["strain"] - alpha * change}
