"""Mixed control as a material: each component is imposed, or solved for so that a stress is met."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.materials import SCALAR, TENSOR, Material, Reduction
from dolfinx_admat.materials._declare import at_rest

#: What a component's target is: the input itself, the output that does work with it, or (for a
#: deformation gradient) the Cauchy or Kirchhoff stress. Numbers, as they are run-time values.
IMPOSED, CONJUGATE, CAUCHY, KIRCHHOFF = 0.0, 1.0, 2.0, 3.0

_CONJUGATE = {
    "strain": "stress",
    "deformation_gradient": "first_piola_stress",
    "pressure": "volume_constraint",
    "temperature_gradient": "heat_flux",
}


def control_pairs(law: Material) -> dict[str, str]:
    """Inputs of a law that may be unknown, with the output that is controlled instead."""
    pairs = dict(_CONJUGATE)
    if len(law.inputs) == len(law.outputs) == 1:  # e.g. displacement jump -> traction
        pairs |= dict(zip(law.inputs, law.outputs, strict=True))
    return {
        name: output
        for name, output in pairs.items()
        if name in law.inputs and law.inputs[name] == law.outputs.get(output)
    }


def spatial_stresses(
    deformation_gradient: jax.Array, first_piola_stress: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cauchy and Kirchhoff stress; (3, 3) each."""
    kirchhoff = first_piola_stress @ deformation_gradient.T
    return kirchhoff / jnp.linalg.det(deformation_gradient), kirchhoff


class Controlled(Reduction):
    """A law under mixed control; all components of its controlled inputs are unknowns.

    For each pair of a law's input and the output that does work with it (see
    ``control_pairs``), the inputs are ``<name>_target`` and ``<name>_control``, arrays of the
    same shape: components whose control is 0 are imposed at their target; the others are solved
    for, such that the conjugate output (1), the Cauchy stress (2) or the Kirchhoff stress (3) has
    the value of the target. What is controlled is data, so one compilation serves all paths. The
    step is an input as well, ``time_increment``, so that each point may have its own.

    Attributes:
        law: The law that is wrapped.
        solver: Tolerances of the local Newton solve; None: those of the law.
    """

    pairs: dict[str, str] = eqx.field(static=True, init=False)

    def __init__(self, law: Material, solver: Any = None) -> None:
        self.law, self.solver = law, solver
        self.pairs = control_pairs(law) if isinstance(law, Material) else {}

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """Targets and controls in place of the controlled inputs; the other inputs; the step."""
        declared: dict[str, tuple[int, ...]] = {}
        for name, shape in self.law.inputs.items():
            if name in self.pairs:
                declared |= {f"{name}_target": shape, f"{name}_control": shape}
            else:
                declared[name] = shape
        return {**declared, "time_increment": SCALAR}

    def unknowns(self) -> dict[str, jax.Array]:
        """The controlled inputs. Their names in the state are no name that a law could use."""
        shapes = self.law.inputs
        return {f"{n} (controlled)": jnp.asarray(at_rest(n, shapes[n])) for n in self.pairs}

    def to_law(self, inputs: dict[str, jax.Array], y: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Imposed components at their targets, exactly; the others from the unknowns."""
        given = {name: value for name, value in inputs.items() if name in self.law.inputs}
        for name in self.pairs:
            imposed = inputs[f"{name}_control"] < 0.5
            given[name] = jnp.where(imposed, inputs[f"{name}_target"], y[f"{name} (controlled)"])
        return {name: given[name] for name in self.law.inputs}

    def equations(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array], y: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Reached minus target; for imposed components the unknown itself is reached."""
        found = {}
        law_inputs = self.to_law(inputs, y)
        for name, output in self.pairs.items():
            target, control = inputs[f"{name}_target"], inputs[f"{name}_control"]
            own, stress = y[f"{name} (controlled)"], outputs[output]
            if name == "deformation_gradient" and self.law.inputs[name] == TENSOR:
                cauchy, kirchhoff = spatial_stresses(law_inputs[name], stress)
                stress = jnp.where(control > 1.5, cauchy, stress)
                stress = jnp.where(control > 2.5, kirchhoff, stress)
            found[f"{name} (controlled)"] = jnp.where(control < 0.5, own, stress) - target
        return found

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array], y: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """The law's outputs."""
        return outputs

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> Any:
        # The first iterate has the imposed components right already.
        law_state, y = self._part(state)
        for name in self.pairs:
            imposed = inputs[f"{name}_control"] < 0.5
            last = y[f"{name} (controlled)"]
            y[f"{name} (controlled)"] = jnp.where(imposed, inputs[f"{name}_target"], last)
        return super()._prepare(inputs, self._join(law_state, y), inputs["time_increment"])
