"""Displacements at points, such as a camera or a gauge measures: u_points = H u."""

from collections.abc import Sequence
from typing import Any

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt
from dolfinx import geometry

from ...errors import MaterialError
from .._collective import collectively
from ..problem import MaterialProblem
from ._slopes import summed
from .observations import Cotangents, Tangents

Floats = npt.NDArray[np.float64]
#: So much of the mesh's diagonal a point may lie outside of it: coordinates in files are rounded.
ROUNDED = 1e-6


class PointMatrix:
    """The matrix H of the values of a Function at points, and its transpose.

    A point on a border between cells belongs to one cell of one rank; a point outside the mesh by
    less than the tolerance counts where it is nearest on the mesh. Collective: yes, all methods.

    Args:
        V: A space of nodal values, scalar or with components (Lagrange, DG).
        points: Points, the same on all ranks; (points, axes of the mesh), units of the mesh.
        components: Components of the Function, e.g. ``(0, 1)``; None: all.
        tolerance: How far outside a point may be, units of the mesh; None: 1e-6 of the mesh's
            diagonal.

    Attributes:
        shape: Of the values; (points, components).

    Raises:
        MaterialError: Points outside the mesh, or different ones on the ranks; another kind of
            space; components that do not exist.
    """

    def __init__(
        self,
        V: dolfinx.fem.FunctionSpace,
        points: npt.ArrayLike,
        components: Sequence[int] | None = None,
        tolerance: float | None = None,
    ) -> None:
        self._V, self._comm = V, V.mesh.comm
        with collectively(self._comm):
            self._components = _checked_components(V, components)
            array = _checked_points(V.mesh, points)
        first = self._comm.bcast(array)
        with collectively(self._comm):
            if not np.array_equal(array, first):
                raise MaterialError("PointMatrix: the points must be the same on all ranks")
        self.shape = (len(array), len(self._components))
        low, high = _extent(V.mesh)
        if tolerance is None:
            tolerance = ROUNDED * float(np.linalg.norm(high - low))
        with collectively(self._comm):
            cells, reference, distance = _located(V.mesh, array, tolerance)
        least = _least(self._comm, distance)
        if (outside := np.flatnonzero(least > tolerance)).size:
            raise MaterialError(_message(array, outside, low, high, tolerance))
        # Of the ranks that are equally near, the first one.
        mine = np.where(distance == least, self._comm.rank, self._comm.size)
        self._here = np.flatnonzero(_least(self._comm, mine) == self._comm.rank)
        basis = V.element.basix_element.tabulate(0, reference[self._here])[0, :, :, 0]
        dofs = V.dofmap.list[cells[self._here]].astype(np.int64) * V.dofmap.bs
        #: Columns and weights of the rows of H that are here; (here, basis functions).
        self._columns, self._weights = dofs, basis

    def values(self, u: Any) -> Floats:
        """H u: values of a Function whose ghosts are up to date; (points, components).

        The same on all ranks.
        """
        result = np.zeros(self.shape)
        for k, component in enumerate(self._components):
            nodal = u.x.array[self._columns + component]
            result[self._here, k] = np.sum(self._weights * nodal, axis=1)
        self._comm.Allreduce(MPI.IN_PLACE, result)
        return result

    def transposed(self, w: npt.ArrayLike) -> Floats:
        """H^T w: what numbers at the points, the same on all ranks, are for the unknowns.

        Args:
            w: Numbers; (points, components).

        Returns:
            (owned unknowns,); contributions of other ranks are in it.
        """
        numbers = np.asarray(w, float).reshape(self.shape)[self._here]
        entries = self._columns[..., None] + np.array(self._components)
        return summed(self._V, entries, self._weights[..., None] * numbers[:, None, :])


class PointDisplacements:
    """Values of an unknown at points of the body.

    Args:
        points: Points in the mesh, the same on all ranks; (points, axes of the mesh).
        components: Components, e.g. ``(0, 1)`` for what one camera sees; None: all.
        block: Number of the unknown.
        tolerance: How far outside the mesh a point may be, units of the mesh; it then counts
            where it is nearest. None: 1e-6 of the mesh's diagonal.

    Attributes:
        shape: (points, components).

    Raises:
        MaterialError: As ``PointMatrix``, when the recording begins.
    """

    def __init__(
        self,
        points: npt.ArrayLike,
        components: Sequence[int] | None = None,
        *,
        block: int = 0,
        tolerance: float | None = None,
    ) -> None:
        self._points, self._components = points, components
        self._block, self._tolerance = block, tolerance

    def attach(self, problem: MaterialProblem, data: dict[str, Any]) -> None:
        """Find the cells of the points. Collective: yes."""
        self._u = problem.functions[self._block]
        V = self._u.function_space
        self._matrix = PointMatrix(V, self._points, self._components, self._tolerance)
        self.shape = self._matrix.shape

    def symbols(self) -> list[Any]:
        """None but the problem's own."""
        return []

    def observe(self) -> Floats:
        """The values. Collective: yes."""
        return self._matrix.values(self._u)

    def pull(self, cotangent: Floats, bars: Cotangents) -> None:
        """Add H^T times the cotangent. Collective: yes."""
        bars.u[self._block] += self._matrix.transposed(cotangent)

    def push(self, tangents: Tangents) -> Floats:
        """H times the derivative of the unknown. Collective: yes."""
        return self._matrix.values(tangents.u[self._block])


def _least(comm: MPI.Comm, numbers: npt.NDArray) -> npt.NDArray:
    """Smallest of all ranks, one by one. Collective: yes."""
    result = np.array(numbers)
    comm.Allreduce(MPI.IN_PLACE, result, MPI.MIN)
    return result


def _checked_components(V: Any, components: Sequence[int] | None) -> tuple[int, ...]:
    bs = V.dofmap.bs
    try:
        nodal = V.num_sub_spaces in (0, bs) and V.element.basix_element.value_size == 1
    except RuntimeError:  # no element of basix, e.g. of quadrature points
        nodal = False
    if not nodal or V.element.needs_dof_transformations:
        raise MaterialError(
            "PointMatrix: expected a space of nodal values (Lagrange, DG); got "
            f"{V.ufl_element()}. Of a mixed-element space give the unknowns as a list of blocks"
        )
    wanted = tuple(range(bs) if components is None else components)
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(range(bs)):
        raise MaterialError(f"PointMatrix: components are 0 to {bs - 1}, each once; got {wanted}")
    return wanted


def _checked_points(mesh: Any, points: npt.ArrayLike) -> Floats:
    axes = mesh.geometry.dim
    if mesh.topology.dim != axes:
        raise MaterialError(
            f"PointMatrix: cells of dimension {mesh.topology.dim} in {axes} dimensions have no "
            "inside; points on shells and bars are not found"
        )
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] != axes or not len(array):
        raise MaterialError(
            f"PointMatrix: got points of shape {array.shape}, expected (points, {axes})"
        )
    if bad := np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
        raise MaterialError(f"PointMatrix: coordinates of points {bad[:5]} are not finite numbers")
    return np.ascontiguousarray(array)


def _extent(mesh: Any) -> tuple[Floats, Floats]:
    """Corners of a box around the mesh. Collective: yes."""
    x, nothing = mesh.geometry.x[:, : mesh.geometry.dim], np.full(mesh.geometry.dim, np.inf)
    low = _least(mesh.comm, x.min(axis=0) if len(x) else nothing)
    high = -_least(mesh.comm, (-x).min(axis=0) if len(x) else nothing)
    return low, high


def _message(points: Floats, outside: Any, low: Floats, high: Floats, tolerance: float) -> str:
    some = "; ".join(f"point {k} at {points[k].tolist()}" for k in outside[:5])
    return (
        f"PointMatrix: {len(outside)} of {len(points)} points lie outside the mesh by more than "
        f"{tolerance:.3g}: {some}{'; ...' if len(outside) > 5 else ''}. The mesh is within "
        f"{low.tolist()} and {high.tolist()}: check units and origin, drop these points, or give a "
        "larger tolerance"
    )


def _located(
    mesh: Any, points: Floats, tolerance: float
) -> tuple[npt.NDArray[np.int32], Floats, Floats]:
    """The best cell of this rank for each point. Local.

    Returns:
        Cells, coordinates of the points in their reference cells, and how far the points are from
        there; (points,), (points, axes), (points,). Where no cell is near the distance is inf.
    """
    count, axes = len(points), mesh.geometry.dim
    cells, reference = np.zeros(count, np.int32), np.zeros((count, axes))
    distance = np.full(count, np.inf)
    own = np.arange(mesh.topology.index_map(axes).size_local, dtype=np.int32)
    if not len(own):
        return cells, reference, distance
    padded = np.zeros((count, 3))
    padded[:, :axes] = points
    tree = geometry.bb_tree(mesh, axes, padding=tolerance, entities=own)
    found = geometry.compute_collisions_points(tree, padded)
    near = found.array.astype(np.int32)
    of = np.repeat(np.arange(count), np.diff(found.offsets))
    if len(near):
        close = geometry.squared_distance(mesh, axes, near, padded[of]) <= 1.01 * tolerance**2
        near, of = near[close], of[close]
    order = np.argsort(near, kind="stable")
    near, of = near[order], of[order]
    for cell, start in zip(*np.unique(near, return_index=True), strict=True):
        here = of[start : np.searchsorted(near, cell, side="right")]
        inside, away = _nearest_inside(mesh, cell, padded[here])
        better = away < distance[here]
        cells[here[better]], distance[here[better]] = cell, away[better]
        reference[here[better]] = inside[better]
    return cells, reference, distance


def _nearest_inside(mesh: Any, cell: int, points: Floats) -> tuple[Floats, Floats]:
    """Nearest points in one cell, in its reference coordinates, and their distances. Local."""
    axes, coordinates = mesh.geometry.dim, mesh.geometry.cmaps[0]
    nodes = mesh.geometry.x[mesh.geometry.dofmaps[0][cell]]
    # Onto the convex hull of the nodes, which is the cell itself if its faces are flat ...
    hulled = points + np.array([geometry.compute_distance_gjk(nodes, p[None]) for p in points])
    frame = np.ascontiguousarray(nodes[:, :axes])
    try:
        X = coordinates.pull_back(np.ascontiguousarray(hulled[:, :axes]), frame, tol=1e-10)
    except RuntimeError:  # Newton's method for a curved cell failed at one of them
        if len(points) == 1:
            return np.zeros((1, axes)), np.full(1, np.inf)
        single = [_nearest_inside(mesh, cell, p[None]) for p in points]
        return np.concatenate([X for X, _ in single]), np.concatenate([d for _, d in single])
    # ... and into it, if they are not.
    X = np.clip(X, 0.0, 1.0)
    if mesh.topology.cell_name() in ("interval", "triangle", "tetrahedron"):
        X /= np.maximum(X.sum(axis=1, keepdims=True), 1.0)
    away = np.linalg.norm(coordinates.push_forward(X, frame) - points[:, :axes], axis=1)
    return X, away
