"""Results for ParaView, and cell means of values at quadrature points."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx.fem import Expression, Function, functionspace
from dolfinx.mesh import Mesh

from dolfinx_admat.fem._collective import collectively
from dolfinx_admat.fem._root import on_root

_log = logging.getLogger(__name__)


class ResultWriter:
    """Write several functions over time to files for ParaView. Collective: every method.

    The functions are read whenever `write` is called, and never changed. One file takes point-wise
    fields of one element (e.g. a P2 displacement) and any number of cell-wise (DG0) fields, so that
    a deformed body can be coloured by its stress. Point-wise fields of other elements go to further
    files: "plate_temperature.bp" beside "plate.bp".

    Attributes:
        paths: The files; the first one holds the cell-wise fields.

    Example:
        >>> with ResultWriter("results/plate.bp", {"displacement": u, "stress": s}) as writer:
        ...     for time in times:
        ...         writer.write(time)
    """

    def __init__(self, path: str | Path, fields: Mapping[str, Function]) -> None:
        """Open the files.

        Args:
            path: Where to write; folders are made, older files replaced. The suffix .bp (or none)
                means VTX, or VTK where dolfinx was built without ADIOS2; .pvd means VTK.
            fields: Functions by the names that the files will show: Lagrange, discontinuous
                Lagrange or DG0, of any shape, all on one mesh.

        Raises:
            ValueError: No fields, several meshes, a field that is not Lagrange, a wrong suffix.
            OSError: The folder cannot be made.
        """
        path = Path(path)
        if path.suffix not in ("", ".bp", ".pvd"):
            raise ValueError(f"ResultWriter: path must end in .bp (VTX) or .pvd (VTK), got {path}.")
        _check_fields(fields)
        comm = next(iter(fields.values())).function_space.mesh.comm
        on_root(comm, lambda: path.parent.mkdir(parents=True, exist_ok=True))
        use_vtx = path.suffix != ".pvd" and dolfinx.has_adios2
        if path.suffix != ".pvd" and not use_vtx and comm.rank == 0:
            _log.warning("dolfinx was built without ADIOS2: %s becomes VTK (.pvd).", path)

        self.paths: list[Path] = []
        self._writers: list[_Writer] = []
        for name, group in _files(fields):
            suffix = ".bp" if use_vtx else ".pvd"
            self.paths.append(path.with_name(f"{path.stem}{'_' * bool(name)}{name}{suffix}"))
            writer = _vtx_writer if use_vtx else _VtkSeries
            self._writers.append(writer(comm, self.paths[-1], group))

    def write(self, time: float) -> None:
        """Write the present values of all fields as the results at `time`."""
        if not self._writers:
            raise ValueError(f"ResultWriter: {self.paths[0]} is closed.")
        for writer in self._writers:
            writer.write(float(time))

    def close(self) -> None:
        """Close the files; nothing can be written afterwards."""
        for writer in self._writers:
            writer.close()
        self._writers = []

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()


def cell_average(
    mesh: Mesh,
    values: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    *,
    cells: npt.NDArray[np.int32] | None = None,
    out: Function | None = None,
    name: str = "cell_average",
) -> Function:
    """Average values at quadrature points over each cell. Collective: yes.

    The mean is weighted by volume (weights times det J, which varies in a distorted hexahedron), so
    its integral over the mesh is the quadrature sum of the values.

    Args:
        mesh: The mesh.
        values: Values at the points of each cell, (num_cells, num_points, *shape), for the owned
            cells in their order, or for `cells`.
        points: Quadrature points on the reference cell, (num_points, tdim).
        weights: Quadrature weights, (num_points,).
        cells: Local indices of owned cells, (num_cells,). Default: all owned cells.
        out: A DG0 function of that shape to write into; other cells keep their values.
        name: Name of a new function.

    Returns:
        A DG0 function of the given shape (`out` if given); zero in cells without values.

    Raises:
        ValueError: Wrong shapes, cells that are not owned, `out` that does not fit.
    """
    num_owned = mesh.topology.index_map(mesh.topology.dim).size_local
    all_cells = np.arange(num_owned, dtype=np.int32)
    cells = all_cells if cells is None else np.asarray(cells, dtype=np.int32)
    with collectively(mesh.comm):
        _check_average(mesh, values, points, weights, cells, out)

    if out is None:
        out = Function(functionspace(mesh, ("DG", 0, values.shape[2:])), name=name)
    measure = np.broadcast_to(weights, values.shape[:2])
    if not mesh.ufl_domain().is_piecewise_linear_simplex_domain():
        detj = Expression(abs(ufl.JacobianDeterminant(mesh)), points)
        measure = weights * detj.eval(mesh, cells).reshape(values.shape[:2])
    mean = np.einsum("cq,cq...->c...", measure, values)
    mean /= measure.sum(axis=1).reshape(-1, *(1,) * (mean.ndim - 1))

    block = out.function_space.dofmap.bs
    dofs = out.function_space.dofmap.list[cells, 0]
    out.x.array.reshape(-1, block)[dofs] = mean.reshape(-1, block)
    out.x.scatter_forward()
    return out


def is_cellwise(function: Function) -> bool:
    """Tell whether a function is constant in each cell (DG0). Collective: no."""
    element = function.function_space.ufl_element()
    return element.family_name == "P" and element.embedded_superdegree == 0


class _Writer(Protocol):
    def write(self, t: float) -> None: ...

    def close(self) -> None: ...


def _vtx_writer(comm: MPI.Comm, path: Path, functions: list[Function]) -> _Writer:
    from dolfinx.io import VTXMeshPolicy, VTXWriter  # missing where dolfinx has no ADIOS2

    return VTXWriter(comm, path, functions, mesh_policy=VTXMeshPolicy.reuse)


class _VtkSeries:
    def __init__(self, comm: MPI.Comm, path: Path, functions: list[Function]) -> None:
        self._file = dolfinx.io.VTKFile(comm, str(path), "w")
        self._functions = functions

    def write(self, t: float) -> None:
        self._file.write_function(self._functions, t)

    def close(self) -> None:
        self._file.close()


def _check_fields(fields: Mapping[str, Function]) -> None:
    if not fields:
        raise ValueError("ResultWriter: fields is empty; give at least one function.")
    mesh = next(iter(fields.values())).function_space.mesh
    for name, function in fields.items():
        space = function.function_space
        element = space.ufl_element()
        if element.family_name != "P":
            raise ValueError(
                f"ResultWriter: field '{name}' should be Lagrange, discontinuous Lagrange or DG0, "
                f"got {element}. Values at quadrature points: use cell_average first; other "
                "elements: interpolate to a Lagrange space."
            )
        if space.component() or space.dofmap.bs != math.prod(space.value_shape):
            raise ValueError(
                f"ResultWriter: field '{name}' is a part of another function, or a symmetric "
                "tensor; give u.sub(i).collapse(), or a tensor space without symmetry."
            )
        if space.mesh is not mesh:
            raise ValueError(f"ResultWriter: field '{name}' lives on another mesh than the first.")


def _check_average(
    mesh: Mesh,
    values: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    cells: npt.NDArray[np.int32],
    out: Function | None,
) -> None:
    num_owned = mesh.topology.index_map(mesh.topology.dim).size_local
    if len(points) != len(weights):
        raise ValueError(f"cell_average: {len(points)} points, but {len(weights)} weights.")
    if values.ndim < 2 or values.shape[:2] != (len(cells), len(weights)):
        raise ValueError(
            f"cell_average: values should have shape ({len(cells)}, {len(weights)}, ...) for "
            f"{len(cells)} cells with {len(weights)} points, got {values.shape}."
        )
    if len(cells) and not 0 <= cells.min() <= cells.max() < num_owned:
        raise ValueError(
            f"cell_average: cells should be owned, 0 to {num_owned - 1}, "
            f"got {cells.min()} to {cells.max()}."
        )
    if out is None:
        return
    space = out.function_space
    if not is_cellwise(out) or space.mesh is not mesh or space.value_shape != values.shape[2:]:
        raise ValueError(
            f"cell_average: out should be a DG0 function of shape {values.shape[2:]} on this mesh, "
            f"got {space.ufl_element()}."
        )


def _files(fields: Mapping[str, Function]) -> list[tuple[str, list[Function]]]:
    """Group fields by file, as (addition to the file name, functions that share the values)."""
    views = {
        name: Function(function.function_space, function.x, name=name)
        for name, function in fields.items()
    }
    cellwise = [view for view in views.values() if is_cellwise(view)]
    groups: dict[object, tuple[str, list[Function]]] = {}
    for name, view in views.items():
        if not is_cellwise(view):
            element = view.function_space.ufl_element()
            groups.setdefault(element, (name if groups else "", []))[1].append(view)
    files = list(groups.values()) or [("", [])]
    files[0][1].extend(cellwise)
    return files
