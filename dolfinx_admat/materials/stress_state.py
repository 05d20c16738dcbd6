"""Laws with less than three dimensions: plane stress, plane strain, uniaxial stress, axisymmetry.

Each is a material made of a 3D law, at small strain (``strain -> stress``) or finite strain
(``deformation_gradient -> first_piola_stress``). Components that are neither given nor zero are
unknowns of the local solve, beside the law's own; their stresses vanish.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.tensors.mandel import ROOT2

from ._declare import (
    AXISYMMETRIC,
    AXISYMMETRIC_TENSOR,
    PLANE_SYMMETRIC,
    PLANE_TENSOR,
    SCALAR,
    Shape,
)
from .wrapper import Reduction, conjugate

# Flat components of a Mandel vector and of a 3x3 tensor, by the names of axes.
_MANDEL = {"xx": 0, "yy": 1, "zz": 2, "xy": 3, "xz": 4, "yz": 5}
_TENSOR = {a + b: 3 * i + j for i, a in enumerate("xyz") for j, b in enumerate("xyz")}


class _StressState(Reduction):
    """Some components given, some unknown (without stress), the others those of a body at rest."""

    #: Shape and components of the given part, at small and at finite strain.
    _given_small: ClassVar[tuple[Shape, tuple[str, ...]]]
    _given_finite: ClassVar[tuple[Shape, tuple[str, ...]]]
    #: Components without stress; the second half only for laws that are not isotropic. Of the
    #: shears of a deformation gradient only those above the diagonal: the others are a rotation.
    _free: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())

    def __check_init__(self) -> None:
        self._mechanical_input("strain", "deformation_gradient")

    @property
    def _name(self) -> str:
        return self._mechanical_input("strain", "deformation_gradient")

    @property
    def _components(self) -> tuple[Shape, tuple[str, ...], dict[str, int]]:
        if self._name == "strain":
            return *self._given_small, _MANDEL
        return *self._given_finite, _TENSOR

    @property
    def _unknown(self) -> tuple[str, ...]:
        always, if_anisotropic = self._free
        return always if self.law.isotropic else (*always, *if_anisotropic)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, with the given components of the strain or deformation gradient only."""
        return {**self.law.inputs, self._name: self._components[0]}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, with the stresses of the given components only."""
        return {**self.law.outputs, conjugate(self._name): self._components[0]}

    def unknowns(self) -> dict[str, jax.Array]:
        """E.g. ``strain_zz``; ordinary tensor components; ()."""
        diagonal = 0.0 if self._name == "strain" else 1.0
        return {
            f"{self._name}_{axes}": jnp.asarray(diagonal if axes[0] == axes[1] else 0.0)
            for axes in self._unknown
        }

    def to_law(self, inputs: dict[str, jax.Array], y: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """All components of the strain (6,) or deformation gradient (3, 3)."""
        name, (_, given, positions) = self._name, self._components
        small = name == "strain"
        rest = np.zeros(6) if small else np.eye(3).ravel()
        full = [jnp.asarray(value) for value in rest]
        flat = jnp.ravel(inputs[name])
        for k, axes in enumerate(given):
            full[positions[axes]] = flat[k]
        for axes in self._unknown:
            factor = ROOT2 if small and axes[0] != axes[1] else 1.0
            full[positions[axes]] = factor * y[f"{name}_{axes}"]
        tensor = jnp.stack(full)
        return {**inputs, name: tensor if small else tensor.reshape(3, 3)}

    def equations(
        self,
        outputs: dict[str, jax.Array],
        inputs: dict[str, jax.Array],
        y: dict[str, jax.Array],
    ) -> dict[str, jax.Array]:
        """No stress in the directions of the unknowns."""
        name, (_, _, positions) = self._name, self._components
        stress = jnp.ravel(outputs[conjugate(name)])
        return {f"{name}_{axes}": stress[positions[axes]] for axes in self._unknown}

    def from_law(
        self,
        outputs: dict[str, jax.Array],
        inputs: dict[str, jax.Array],
        y: dict[str, jax.Array],
    ) -> dict[str, jax.Array]:
        """The stresses of the given components."""
        name, (shape, given, positions) = self._name, self._components
        stress = jnp.ravel(outputs[conjugate(name)])
        kept = jnp.stack([stress[positions[axes]] for axes in given]).reshape(tuple(shape))
        return {**outputs, conjugate(name): kept}


class PlaneStress(_StressState):
    """A law in plane stress, stress_zz = stress_xz = stress_yz = 0.

    Inputs and outputs are ``PLANE_SYMMETRIC`` (3,) or ``PLANE_TENSOR`` (2, 2). The strain (or
    deformation gradient) in the direction of the thickness is a state variable, ``strain_zz`` or
    ``deformation_gradient_zz``; laws that are not declared ``isotropic`` also have its shears.

    Attributes:
        law: A 3D law, at small or finite strain.
        solver: Tolerances of the local Newton solve; None: those of the law.

    Raises:
        MaterialError: The law has no 3D strain or deformation gradient.

    Source: R. de Borst, The zero-normal-stress condition in plane-stress and shell
    elastoplasticity, Commun. Appl. Numer. Methods 7 (1991); here its equations are the law's own.
    """

    _given_small = (PLANE_SYMMETRIC, ("xx", "yy", "xy"))
    _given_finite = (PLANE_TENSOR, ("xx", "xy", "yx", "yy"))
    _free = (("zz",), ("xz", "yz"))


class PlaneStrain(_StressState):
    """A law in plane strain, strain_zz = strain_xz = strain_yz = 0.

    Inputs and outputs are ``PLANE_SYMMETRIC`` (3,) or ``PLANE_TENSOR`` (2, 2).

    Attributes:
        law: A 3D law, at small or finite strain.

    Raises:
        MaterialError: The law has no 3D strain or deformation gradient.

    Source: S.P. Timoshenko, J.N. Goodier, Theory of Elasticity, 1951.
    """

    _given_small = (PLANE_SYMMETRIC, ("xx", "yy", "xy"))
    _given_finite = (PLANE_TENSOR, ("xx", "xy", "yx", "yy"))


class Axisymmetry(_StressState):
    """A law under axisymmetry without torsion: axes (r, z, theta), strain_rt = strain_zt = 0.

    Inputs and outputs are ``AXISYMMETRIC`` (4,) or ``AXISYMMETRIC_TENSOR`` (5,).

    Attributes:
        law: A 3D law, at small or finite strain.

    Raises:
        MaterialError: The law has no 3D strain or deformation gradient.

    Source: S.P. Timoshenko, J.N. Goodier, Theory of Elasticity, 1951.
    """

    _given_small = (AXISYMMETRIC, ("xx", "yy", "zz", "xy"))
    _given_finite = (AXISYMMETRIC_TENSOR, ("xx", "xy", "yx", "yy", "zz"))


class UniaxialStress(_StressState):
    """A law under uniaxial stress along x, for bars and trusses: scalar in, scalar out.

    Input ``strain`` () gives ``stress`` (), or stretch ``deformation_gradient`` () gives nominal
    stress ``first_piola_stress`` (). The lateral strains are state variables, ``strain_yy`` and
    so on; laws that are not declared ``isotropic`` also have the shears.

    Attributes:
        law: A 3D law, at small or finite strain.
        solver: Tolerances of the local Newton solve; None: those of the law.

    Raises:
        MaterialError: The law has no 3D strain or deformation gradient.

    Source: R. de Borst, The zero-normal-stress condition in plane-stress and shell
    elastoplasticity, Commun. Appl. Numer. Methods 7 (1991); here its equations are the law's own.
    """

    _given_small = (SCALAR, ("xx",))
    _given_finite = (SCALAR, ("xx",))
    _free = (("yy", "zz"), ("xy", "xz", "yz"))
