"""What is observed of a solution at the end of each step: forces, integrals."""

import dataclasses
from typing import Any, Protocol

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ...errors import MaterialError
from .._collective import collectively
from .._reaction import facet_dofs
from ..problem import MaterialProblem
from ._slopes import DataSlope, PointSlopes, along, assembled, compiled, depends

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass
class Cotangents:
    """Derivatives of a number with respect to what a step brings; observers add to them.

    Attributes:
        u: For each unknown, with respect to its owned values.
        rows: For each unknown, with respect to its owned rows of the residual without
            Dirichlet conditions: what reactions are sums of.
        outputs: For each material, with respect to its outputs; (points, *shape) by name.
        states: The same for its state at the end of the step.
        data: With respect to Functions (their owned values) and Constants, by control.
    """

    u: list[Floats]
    rows: list[Floats]
    outputs: list[dict[str, Floats]]
    states: list[dict[str, Floats]]
    data: dict[str, Floats]


@dataclasses.dataclass
class Tangents:
    """Derivatives, along a direction, of what a step brings.

    Attributes:
        u: Of the unknowns, as Functions.
        rows: Of the residuals without Dirichlet conditions; owned rows.
        outputs: Of outputs and of those state variables that forms read: pairs of coefficient
            and direction, as Functions.
        data: Of Functions and Constants: pairs of coefficient and direction.
    """

    u: list[Any]
    rows: list[Floats]
    outputs: list[tuple[Any, Any]]
    data: list[tuple[Any, Any]]


class Observer(Protocol):
    """Something that is observed. All methods are collective.

    Attributes:
        shape: Of one observation.
    """

    shape: tuple[int, ...]

    def attach(self, problem: MaterialProblem, data: dict[str, Any]) -> None:
        """Prepare for a problem.

        Args:
            problem: The problem.
            data: Functions and Constants that are controls, by name.
        """

    def symbols(self) -> list[Any]:
        """UFL forms whose coefficients it reads."""

    def observe(self) -> Floats:
        """The observation at the present solution; the same on all ranks."""

    def pull(self, cotangent: Floats, bars: Cotangents) -> None:
        """Add what a cotangent of the observation is in terms of the solution."""

    def push(self, tangents: Tangents) -> Floats:
        """Derivative of the observation; the same on all ranks."""


class Reaction:
    """Resultant force on some facets, as ``MaterialProblem.reaction`` gives it.

    Args:
        facets: Local facet indices, or ``(MeshTags, tag)``.
        block: Number of the unknown.
    """

    def __init__(self, facets: Any, block: int = 0) -> None:
        self._facets, self._block = facets, block

    def attach(self, problem: MaterialProblem, data: dict[str, Any]) -> None:
        """Find the rows. Collective: yes."""
        self._problem = problem
        V = problem.functions[self._block].function_space
        self._comm = V.mesh.comm
        self.shape = (V.dofmap.bs,)
        self._dofs = facet_dofs(V, self._facets)

    def symbols(self) -> list[Any]:
        """None but the problem's own."""
        return []

    def observe(self) -> Floats:
        """The force. Collective: yes."""
        return self._problem.reaction(self._facets, self._block)

    def pull(self, cotangent: Floats, bars: Cotangents) -> None:
        """Add the cotangent to the rows."""
        rows = bars.rows[self._block].reshape(-1, self.shape[0])
        rows[self._dofs] += cotangent

    def push(self, tangents: Tangents) -> Floats:
        """Sum of the rows' derivatives. Collective: yes."""
        rows = tangents.rows[self._block].reshape(-1, self.shape[0])
        return self._comm.allreduce(rows[self._dofs].sum(axis=0))


class Integral:
    """A scalar UFL form of the unknowns, the outputs and states of materials, and data.

    For example a misfit ``inner(u - measured, u - measured) * ds(3)``, a mean stress
    ``law["stress"][0, 0] * law.dx``, or a regularisation ``inner(grad(E), grad(E)) * dx`` of a
    parameter field.

    Args:
        form: The form, of rank 0.

    Raises:
        MaterialError: Not a form of rank 0.
    """

    shape: tuple[int, ...] = ()

    def __init__(self, form: ufl.Form) -> None:
        if not isinstance(form, ufl.Form) or form.arguments():
            raise MaterialError(
                "Integral: expected a UFL form without test or trial functions; got "
                f"{type(form).__name__}"
                + (f" of rank {len(form.arguments())}" if isinstance(form, ufl.Form) else "")
            )
        self._form = form

    def attach(self, problem: MaterialProblem, data: dict[str, Any]) -> None:
        """Compile the form and its derivatives. Collective: yes."""
        form = self._form
        with collectively(problem.comm):
            for f in form.coefficients():
                known = any(f in m.functions() for m in problem.materials)
                if getattr(f, "_admat_output", False) and not known:
                    raise MaterialError(
                        f"Integral: '{f.name}' belongs to a material that is not the problem's"
                    )
        self._comm = problem.comm
        self._value = dolfinx.fem.form(form)
        self._spaces = [u.function_space for u in problem.functions]
        self._by_u = [
            compiled(ufl.derivative(form, u, ufl.TestFunction(u.function_space)))
            if depends(form, u)
            else None
            for u in problem.functions
        ]
        self._by_point = [PointSlopes(form, m) for m in problem.materials]
        self._by_data = {n: DataSlope(form, d) for n, d in data.items() if depends(form, d)}
        self._problem = problem
        self._push: tuple[Any] | None = None

    def symbols(self) -> list[Any]:
        """The form."""
        return [self._form]

    def observe(self) -> Floats:
        """The integral. Collective: yes."""
        return np.asarray(self._comm.allreduce(dolfinx.fem.assemble_scalar(self._value)))

    def pull(self, cotangent: Floats, bars: Cotangents) -> None:
        """Add the derivatives of the form. Collective: yes."""
        factor = float(cotangent)
        for k, form in enumerate(self._by_u):
            if form is not None:
                bars.u[k] += factor * assembled(form, self._spaces[k])
        for slopes, outputs, states in zip(self._by_point, bars.outputs, bars.states, strict=True):
            slopes.add({**outputs, **states}, factor)
        for name, slope in self._by_data.items():
            bars.data[name] += factor * slope.values()

    def push(self, tangents: Tangents) -> Floats:
        """Derivative of the form along the tangents. Collective: yes."""
        if self._push is None:
            pairs = [*zip(self._problem.functions, tangents.u, strict=True), *tangents.outputs]
            pairs += tangents.data
            self._push = (compiled(along(self._form, pairs)),)
        form = self._push[0]
        local = 0.0 if form is None else dolfinx.fem.assemble_scalar(form)
        return np.asarray(self._comm.allreduce(local))
