"""Finite strain from small strain: the framework of logarithmic strains."""

from typing import Any

import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import log, to_mandel

from ._declare import TENSOR
from .wrapper import Transform


def logarithmic_strain(deformation_gradient: jax.Array) -> jax.Array:
    """Hencky's strain 1/2 ln(F^T F); (3, 3) -> Mandel (6,)."""
    F = deformation_gradient
    return 0.5 * log(to_mandel(F.T @ F))


class LogarithmicStrain(Transform):
    """A small-strain law at finite strain: it sees E = 1/2 ln(F^T F) and returns T.

    T does work with E, so the first Piola-Kirchhoff stress is P = T : dE/dF, and the Kirchhoff
    stress is that of the law wherever F does not rotate the principal axes. The state variables
    are those of the law. With an isotropic law the result is objective and isotropic; with an
    anisotropic one the axes belong to the reference configuration.

    Attributes:
        law: A law with ``strain`` (6,) -> ``stress`` (6,); other inputs and outputs are kept.

    Raises:
        MaterialError: The law has no strain or stress.

    Source: C. Miehe, N. Apel, M. Lambrecht, Anisotropic additive plasticity in the logarithmic
    strain space, CMAME 191 (2002), section 2.
    """

    def __check_init__(self) -> None:
        self._mechanical_input("strain")

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """``deformation_gradient`` in place of ``strain``."""
        return {("deformation_gradient" if n == "strain" else n): s for n, s in self._inputs()}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """``first_piola_stress`` in place of ``stress``."""
        return {
            ("first_piola_stress" if n == "stress" else n): (TENSOR if n == "stress" else s)
            for n, s in self.law.outputs.items()
        }

    def _inputs(self) -> list[tuple[str, Any]]:
        return [(n, TENSOR if n == "strain" else s) for n, s in self.law.inputs.items()]

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """No: the logarithm is not."""
        return False

    def to_law(self, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Deformation gradient -> logarithmic strain."""
        others = {n: v for n, v in inputs.items() if n != "deformation_gradient"}
        return {**others, "strain": logarithmic_strain(inputs["deformation_gradient"])}

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """T -> P = T : dE/dF."""
        _, pull = jax.vjp(logarithmic_strain, inputs["deformation_gradient"])
        others = {n: v for n, v in outputs.items() if n != "stress"}
        return {**others, "first_piola_stress": jnp.asarray(pull(outputs["stress"])[0])}
