"""Functions on quadrature elements, and where the values of a material's points lie in them."""

from typing import Any

import basix.ufl
import dolfinx
import numpy as np
import numpy.typing as npt


class QuadratureSpace:
    """Functions of any shape at the quadrature points of a mesh.

    Args:
        mesh: The mesh.
        degree: Degree of the rule.
        scheme: Scheme of the rule.
        cells: Owned cells whose points are of interest; local indices.

    Attributes:
        points: Quadrature points on the reference cell; (points, tdim).
        weights: Their weights; (points,).
        rows: Row of each point of interest in a function's array, as an index: a slice where
            they come first and in order (ghosts behind them), otherwise integers.
    """

    def __init__(
        self, mesh: dolfinx.mesh.Mesh, degree: int, scheme: str, cells: npt.NDArray[np.int32]
    ) -> None:
        self._mesh, self._degree, self._scheme = mesh, degree, scheme
        self._cells = len(cells)
        scalar = self._element(())
        self.points, self.weights = scalar.custom_quadrature()
        rows = dolfinx.fem.functionspace(mesh, scalar).dofmap.list[cells].ravel()
        in_order = np.array_equal(rows, np.arange(len(rows)))
        self.rows: Any = slice(0, len(rows)) if in_order else rows

    def _element(self, shape: tuple[int, ...]) -> Any:
        return basix.ufl.quadrature_element(
            self._mesh.basix_cell(), value_shape=shape, degree=self._degree, scheme=self._scheme
        )

    def function(self, name: str, shape: tuple[int, ...]) -> dolfinx.fem.Function:
        """A new function, zero everywhere. Collective: yes."""
        space = dolfinx.fem.functionspace(self._mesh, self._element(shape))
        function = dolfinx.fem.Function(space, name=name)
        function._admat_output = True  # lets MaterialProblem notice a forgotten material
        return function

    def write(self, function: dolfinx.fem.Function, values: npt.NDArray[np.float64]) -> None:
        """Set a function of this space at the points of interest; (points, *shape). Local."""
        size = function.function_space.dofmap.index_map_bs  # also where there are no points
        function.x.array.reshape(-1, size)[self.rows] = values.reshape(-1, size)

    def per_cell(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """View of (cells * points, *shape) as (cells, points, *shape). Local."""
        return values.reshape(self._cells, len(self.weights), *values.shape[1:])
