"""What the adjoint and the tangent-linear step share: a linear problem, solved to its residual."""

from collections.abc import Callable, Iterable
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ...errors import ConvergenceError
from ...kernels import StatusBuffers
from .._collective import collectively
from ..problem import MaterialProblem
from ..quadrature import QuadratureMaterial
from ._boundary import Boundary
from ._linear import LinearSolver
from ._slopes import depends

Floats = npt.NDArray[np.float64]
Arrays = dict[str, Floats]

#: A residual, relative to the right-hand side, that counts as solved.
SOLVED = 1e-9
#: A residual that is round-off, relative to all rows of it, those of Dirichlet conditions included.
ROUND_OFF = 1e-13
#: Corrections with the assembled matrix, which need not be the derivative that kernels compute.
CORRECTIONS = 20


class LinearStep:
    """A linear problem of one step, for Functions that are zero where rows have conditions.

    All methods are collective.

    Args:
        problem: The problem.
        solver: Linear solver.
        boundaries: Rows with Dirichlet conditions of each unknown.

    Attributes:
        corrections: Solves beyond the first of each step, so far.
    """

    def __init__(
        self, problem: MaterialProblem, solver: LinearSolver, boundaries: list[Boundary]
    ) -> None:
        self._problem, self._solver, self._boundaries = problem, solver, boundaries
        self._spaces = [u.function_space for u in problem.functions]
        self._right = [dolfinx.fem.Function(V) for V in self._spaces]
        self._update = [dolfinx.fem.Function(V) for V in self._spaces]
        self._status = [StatusBuffers.allocate(m.number_of_points) for m in problem.materials]
        self.corrections = 0

    def _solve(
        self,
        name: str,
        unknowns: list[Any],
        first: list[Floats],
        residual: Callable[[], list[Floats]],
        *,
        sign: float,
        transposed: bool,
    ) -> int:
        """Change the unknowns until the residual vanishes in free rows.

        Args:
            name: Of the equation, in messages.
            unknowns: Functions.
            first: Residual, all rows.
            residual: Computes it again.
            sign: Of the change in terms of the linear solver's solution.
            transposed: Solve with the transpose.

        Returns:
            Number of solves; the residual was computed after each of them.

        Raises:
            ConvergenceError: The linear solver failed, or the matrix is not the derivative.
        """
        rows = first
        begin = self._norm(self._free(first))
        enough = max(SOLVED * begin, ROUND_OFF * self._norm(first))
        corrections = 0
        while (norm := self._norm(self._free(rows))) > enough:
            if corrections == CORRECTIONS:
                raise ConvergenceError(
                    f"Recording: the {name} was not solved: its residual stays at "
                    f"{norm / begin:.1e} of the right-hand side. The Jacobian that the problem "
                    "assembles differs from the derivative of its residual (a J of your own, or a "
                    "form that reads a state variable)",
                    {},
                )
            for right, values in zip(self._right, self._free(rows), strict=True):
                write(right, values)
            self._solver.solve(self._right, self._update, transposed=transposed)
            for unknown, change in zip(unknowns, self._update, strict=True):
                unknown.x.array[:] += sign * change.x.array
            corrections += 1
            rows = residual()
        self.corrections += max(corrections - 1, 0)
        return corrections

    def _free(self, rows: list[Floats]) -> list[Floats]:
        return [np.where(b.free, r, 0.0) for b, r in zip(self._boundaries, rows, strict=True)]

    def _norm(self, rows: list[Floats]) -> float:
        return float(np.sqrt(self._problem.comm.allreduce(sum(float(r @ r) for r in rows))))

    def _check_points(self, k: int) -> None:
        code = self._status[k].code
        with collectively(self._problem.comm):
            if code.any():
                raise ConvergenceError(
                    f"{self._problem.materials[k].name}: the derivatives failed at "
                    f"{int((code != 0).sum())} points of a rank",
                    {},
                )


def read_by(material: QuadratureMaterial, moving: Iterable[Any]) -> dict[str, Any]:
    """UFL vectors that a material reads: its inputs, and parameters with something that moves."""
    symbols: dict[str, Any] = dict(material.input_vectors)
    moving = list(moving)
    for name, field in material.evaluation.parameter_fields.items():
        if field.symbol is not None and any(depends(field.symbol, thing) for thing in moving):
            symbols[f"parameter {name}"] = flat(field.symbol)
    return symbols


def flat(symbol: Any) -> Any:
    """A UFL expression of any shape as a vector."""
    shape = symbol.ufl_shape
    return ufl.as_vector([symbol[i] for i in np.ndindex(*shape)] if shape else [symbol])


def write(function: Any, values: Floats) -> None:
    """Set the owned values of a Function, and its ghosts. Collective: yes."""
    function.x.array[: len(values)] = values
    function.x.scatter_forward()
