"""What can be wrong with the use of a material, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl

from ..errors import MaterialError
from ..materials import Material
from ._regions import Region
from ._translate import is_symmetric


def check_arguments(name: str, mesh: Any, material: Any, inputs: Any, degree: Any) -> None:
    """Check what a QuadratureMaterial is made of. Local.

    Raises:
        MaterialError: A single-precision mesh, no law, inputs that do not match the declared
            ones, or a wrong degree.
    """
    if mesh.geometry.x.dtype != np.float64:
        raise MaterialError(
            f"{name}: the mesh has {mesh.geometry.x.dtype} coordinates, which would make all "
            "results single precision; create it with dtype=np.float64"
        )
    if not isinstance(material, Material):
        raise MaterialError(
            f"QuadratureMaterial: material must be an instance of a Material; got {material!r}"
            + (" (a class: call it)" if isinstance(material, type) else "")
        )
    integer = isinstance(degree, int | np.integer) and not isinstance(degree, bool)
    if not integer or not 0 <= degree <= 30:
        raise MaterialError(f"{name}: degree must be an integer from 0 to 30; got {degree!r}")
    kept = {f"{key}_n" for key in material.inputs}  # inputs at t_n are known if not given
    if not isinstance(inputs, Mapping) or not (
        set(material.inputs) - kept <= set(inputs) <= set(material.inputs)
    ):
        got = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise MaterialError(
            f"{name}: inputs are {got}, the law declares {sorted(material.inputs)}; "
            "give one UFL expression per declared input"
        )


def check_inputs(name: str, inputs: Mapping[str, Any]) -> None:
    """Check that the inputs are UFL expressions of functions. Local.

    Raises:
        MaterialError: Something else, or a test or trial function.
    """
    for key, value in inputs.items():
        what = f"{name}: input '{key}'"
        if not isinstance(value, ufl.core.expr.Expr | float | int):
            raise MaterialError(
                f"{what} must be a UFL expression of the unknown; got {type(value).__name__}"
            )
        if isinstance(value, float | int):
            continue
        if ufl.algorithms.extract_arguments(value):
            raise MaterialError(
                f"{what} contains a test or trial function; give the expression of the unknown, a "
                "dolfinx Function"
            )


def stress_shape(name: str, law: Material) -> tuple[int, ...]:
    """Declared shape of the stress, where an initial one has a meaning. Local.

    Raises:
        MaterialError: The law has no strain and stress that are symmetric tensors alike.
    """
    strain, stress = law.inputs.get("strain"), law.outputs.get("stress")
    if strain is None or strain != stress or not is_symmetric(strain):
        raise MaterialError(
            f"{name}: initial_stress is defined for laws strain -> stress; this one is "
            f"{sorted(law.inputs)} -> {sorted(law.outputs)}. Use initial_state instead"
        )
    return stress


def check_names(name: str, given: Any, known: Any, what: str) -> None:
    """Raise a MaterialError that lists the known names if a given one is not among them."""
    for key in given:
        if key not in known:
            raise MaterialError(f"{name}: {what} '{key}'; there are {sorted(known)}")


def check_form(
    name: str, F: ufl.Form, functions: set[Any], metadata: Mapping[str, Any], region: Region
) -> None:
    """Check that a form integrates some quadrature functions with their material's measure.

    Args:
        name: Name of the material.
        F: The form.
        functions: The material's outputs and state functions.
        metadata: Its quadrature rule.
        region: Its cells.

    Raises:
        MaterialError: A boundary or interior-facet integral, another quadrature rule, or other
            cells than the material's. Local.
    """
    for integral in F.integrals():
        used = functions & set(ufl.algorithms.extract_coefficients(integral.integrand()))
        if not used:
            continue
        what = f"{name}: '{min(f.name for f in used)}'"
        if integral.integral_type() != "cell":
            raise MaterialError(
                f"{what} is used in a boundary integral ({integral.integral_type()}); values at "
                "quadrature points exist inside cells only: integrate with the material's own dx"
            )
        given = integral.metadata()
        for key, expected in metadata.items():
            default = "default" if key == "quadrature_rule" else None
            if given.get(key, default) != expected:
                raise MaterialError(
                    f"{what} is integrated with {key}={given.get(key)!r}, the material has "
                    f"{expected!r}; integrate with the material's own measure dx"
                )
        if not region.covers(integral):
            raise MaterialError(
                f"{what} is integrated over subdomain {integral.subdomain_id()!r}, but the "
                "material lives on other cells; integrate with its own measure dx"
            )


class Names(Mapping[str, npt.NDArray[np.float64]]):
    """A read-only dict of arrays whose KeyError lists the names."""

    def __init__(self, values: dict[str, npt.NDArray[np.float64]], what: str) -> None:
        self._values, self._what = values, what

    def __getitem__(self, key: str) -> npt.NDArray[np.float64]:
        if key not in self._values:
            raise MaterialError(f"{self._what} '{key}'; there are {sorted(self._values)}")
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
