"""Thermo-mechanics: any small-strain law with thermal expansion, and heat conduction."""

import jax
import jax.numpy as jnp
import numpy as np

from ._declare import VECTOR
from .parameters import parameter
from .temperature import ThermalExpansion

_GRADIENT = "temperature_gradient"


def _conducts(values: np.ndarray) -> np.ndarray:
    """Positive numbers, or symmetric positive definite (3, 3)."""
    if values.shape[-2:] != (3, 3):
        return np.isfinite(values) & (values > 0.0)
    symmetric = np.abs(values - np.swapaxes(values, -1, -2)).max(axis=(-1, -2))
    symmetric = symmetric <= 1e-12 * np.abs(values).max(axis=(-1, -2))
    return symmetric & (np.linalg.eigvalsh(values).min(axis=-1) > 0.0)


class ThermoMechanical(ThermalExpansion):
    """strain, temperature, temperature_gradient -> stress, heat_flux.

    stress = law(strain - alpha (temperature - reference_temperature)),
    heat_flux = -conductivity . temperature_gradient (Fourier). Parameters of the law, alpha and
    conductivity may depend on the temperature: ``TemperatureDependent(ThermoMechanical(...),
    {"conductivity": Table(...), "law.E": ...})``.

    The temperature gradient and the heat flux have three components also where the strain has
    fewer: on a 2D mesh give ``ufl.as_vector([T.dx(0), T.dx(1), 0])``, for ``PlaneStrain(law)`` and
    ``PlaneStress(law)`` alike.

    The tangent is not symmetric: the stress depends on the temperature, the heat flux not on the
    strain.

    Attributes:
        law: The mechanical law; small strain.
        alpha: Mean coefficient of expansion, 1 / temperature: a number, or Mandel (6,).
        reference_temperature: Temperature of no expansion.
        conductivity: Heat conductivity (> 0), power / (length x temperature): a number, or a
            symmetric positive definite (3, 3).

    Source: B.A. Boley, J.H. Weiner, Theory of Thermal Stresses, 1960, sections 1.12 and 1.6.
    """

    conductivity: jax.Array | float = parameter(
        accept=_conducts, expected="a number > 0 or a symmetric positive definite (3, 3)"
    )

    @property
    def symmetric_tangent(self) -> bool:  # type: ignore[override]
        """False."""
        return False

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, the temperature and its gradient."""
        return {**super().inputs, _GRADIENT: VECTOR}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, and the heat flux."""
        return {**self.law.outputs, "heat_flux": VECTOR}

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """The law's outputs with the heat flux."""
        gradient = inputs[_GRADIENT]
        if jnp.ndim(self.conductivity) == 0:
            return {**outputs, "heat_flux": -self.conductivity * gradient}
        return {**outputs, "heat_flux": -self.conductivity @ gradient}
