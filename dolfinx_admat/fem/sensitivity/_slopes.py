"""Derivatives of scalar forms: at quadrature points, with respect to data, along directions."""

from collections.abc import Sequence
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from ufl.algorithms import expand_derivatives, extract_coefficients
from ufl.algorithms.analysis import extract_constants

from ...errors import MaterialError
from ..quadrature import QuadratureMaterial

Floats = npt.NDArray[np.float64]


def owned(V: Any) -> int:
    """Number of unknowns of a space that this rank owns."""
    return V.dofmap.index_map.size_local * V.dofmap.index_map_bs


def assembled(form: dolfinx.fem.Form | None, V: Any) -> Floats:
    """A linear form as an array of this rank's unknowns. Collective: yes."""
    if form is None:
        return np.zeros(owned(V))
    vector = dolfinx.fem.assemble_vector(form)
    vector.scatter_reverse(dolfinx.la.InsertMode.add)
    return vector.array[: owned(V)]


def summed(V: Any, entries: npt.NDArray[np.integer], values: Floats) -> Floats:
    """Sums of values at local unknowns, ghosts as well, for this rank's. Collective: yes.

    Args:
        V: Space.
        entries: Local unknowns, in any order and number.
        values: One for each.
    """
    vector = dolfinx.la.vector(V.dofmap.index_map, V.dofmap.index_map_bs)
    np.add.at(vector.array, entries, values)
    vector.scatter_reverse(dolfinx.la.InsertMode.add)
    return vector.array[: owned(V)].copy()


def compiled(form: ufl.Form | None) -> dolfinx.fem.Form | None:
    """A form compiled by FFCx; None if it is empty. Collective: yes."""
    if form is None or form.empty():
        return None
    form = expand_derivatives(form)
    return None if form.empty() else dolfinx.fem.form(form)


class PointSlopes:
    """d(form)/d(output or state) at the points of one material: cotangents for its kernel.

    Args:
        form: Scalar form.
        material: The material.

    Attributes:
        names: Outputs and state variables that the form contains.

    Raises:
        MaterialError: The form integrates them over a part of the material's cells, or over a
            boundary. Collective: yes, as is ``add``.
    """

    def __init__(self, form: ufl.Form, material: QuadratureMaterial) -> None:
        self._material = material
        history, present = material.history, set(extract_coefficients(form))
        known = {**history.outputs, **history.state_functions}
        self.names = [name for name, function in known.items() if function in present]
        if self.names:
            material.check_form(form)
        self._fields = {}
        for name in self.names:
            function = known[name]
            size = function.ufl_shape[0]
            components = []
            for k in range(size):
                unit = ufl.as_vector([float(i == k) for i in range(size)])
                change = expand_derivatives(ufl.derivative(form, function, unit))
                components.append(_integrand(change, material))
            self._fields[name] = material.field(
                ufl.as_vector(components), (size,), f"derivative with respect to '{name}'"
            )

    def add(self, bars: dict[str, Floats], factor: float) -> None:
        """Add ``factor`` times the derivatives to arrays (points, *shape) by name."""
        volumes = self._material.point_volumes()[:, None] * factor
        for name, field in self._fields.items():
            bars[name] += (field.values() * volumes).reshape(bars[name].shape)


def _integrand(form: ufl.Form, material: QuadratureMaterial) -> Any:
    total = ufl.as_ufl(0.0)
    for integral in form.integrals():
        if not material.fills(integral):
            raise MaterialError(
                f"{material.name}: an integral of its outputs over a part of its cells cannot be "
                "differentiated; give that part a material of its own"
            )
        total = total + integral.integrand()
    return total


def data_derivative(symbol: Any, data: Any, direction: Any) -> Any:
    """Derivative of a form or a UFL vector with respect to a Function or a Constant.

    Args:
        symbol: Form or expression.
        data: Function or Constant.
        direction: A test function or Function (of a Function), or a Constant of its shape.
    """
    if not isinstance(data, dolfinx.fem.Constant):
        return ufl.derivative(symbol, data, direction)
    variable = ufl.variable(data)
    replaced = ufl.replace(symbol, {data: variable})

    def slope(e: Any) -> Any:
        if e.ufl_shape == ():
            d = ufl.diff(e, variable)
            return ufl.inner(d, direction) if d.ufl_shape else d * direction
        return ufl.as_vector([slope(e[i]) for i in range(e.ufl_shape[0])])

    if isinstance(symbol, ufl.Form):
        return ufl.Form(
            [i.reconstruct(integrand=slope(i.integrand())) for i in replaced.integrals()]
        )
    return slope(replaced)


def along(symbol: Any, pairs: Sequence[tuple[Any, Any]]) -> Any:
    """Derivative of a form or a UFL vector where several things move; None if it reads none.

    Args:
        symbol: Form or expression.
        pairs: Functions and Constants, each with its direction.
    """
    parts = [data_derivative(symbol, *pair) for pair in pairs if depends(symbol, pair[0])]
    return sum(parts[1:], parts[0]) if parts else None


def depends(symbol: Any, data: Any) -> bool:
    """Whether a form or an expression contains a Function or a Constant."""
    found: Sequence[Any] = extract_coefficients(symbol)
    if isinstance(data, dolfinx.fem.Constant):
        found = extract_constants(symbol)
    return data in found


class DataSlope:
    """d(scalar form)/d(data) of a Function or a Constant. Collective: yes.

    Args:
        form: Scalar form that contains the data.
        data: Function or Constant.
    """

    def __init__(self, form: ufl.Form, data: Any) -> None:
        self._data, self._unit = data, None
        if isinstance(data, dolfinx.fem.Constant):
            domain = form.ufl_domain()
            self._comm = domain.ufl_cargo().comm
            self._unit = dolfinx.fem.Constant(domain, np.zeros(data.value.shape))
            self._form = compiled(data_derivative(form, data, self._unit))
        else:
            test = ufl.TestFunction(data.function_space)
            self._form = compiled(data_derivative(form, data, test))

    def values(self) -> Floats:
        """Of a Function: (owned unknowns,). Of a Constant: its shape, the sum over all ranks."""
        if self._unit is None:
            return assembled(self._form, self._data.function_space)
        result = np.zeros(self._data.value.shape)
        if self._form is not None:
            for index in np.ndindex(result.shape):
                self._unit.value[...] = 0.0
                self._unit.value[index] = 1.0
                result[index] = dolfinx.fem.assemble_scalar(self._form)
        return self._comm.allreduce(result)
