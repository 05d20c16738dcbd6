"""Pictures of a mesh and a field on it, on machines without a display or OpenGL libraries.

The boundary is gathered on rank 0 as triangles and drawn there by `_raster` with a depth buffer;
matplotlib adds the colour bar and writes the file.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from dolfinx.fem import Function, functionspace
from dolfinx.la import InsertMode
from dolfinx.mesh import Mesh, entities_to_geometry, exterior_facet_indices

from dolfinx_admat.fem._raster import Surface, shade, write_picture
from dolfinx_admat.fem._root import on_root
from dolfinx_admat.fem.output import is_cellwise

_VERTICES = {"triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8}
# Triangles of a facet with 3 or 4 vertices (dolfinx order), and which of the edges opposite to
# their corners are edges of the facet.
_TRIANGLES = {3: [(0, 1, 2)], 4: [(0, 1, 3), (3, 2, 0)]}
_REAL_EDGES = {3: [(True, True, True)], 4: [(True, False, True), (True, False, True)]}


def render(
    path: str | Path,
    mesh: Mesh,
    values: Function | None = None,
    *,
    displacement: Function | None = None,
    scale: float = 1.0,
    smooth: bool = False,
    mirror: str = "",
    title: str = "",
    label: str = "",
    view: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    edges: bool = True,
    width: int = 1600,
) -> None:
    """Write a PNG picture of the (deformed) body, coloured by a field. Collective: yes.

    Shown are the boundary facets of a 3D mesh, or the cells of a 2D mesh, with straight edges.

    Args:
        path: The .png file; folders are made.
        mesh: The mesh, of topological dimension 2 or 3.
        values: A scalar function: cell-wise (DG0) or continuous Lagrange. Default: plain grey.
        displacement: A continuous Lagrange vector function that deforms the body.
        scale: Factor on the displacement.
        smooth: Average a cell-wise field to the vertices, for the eye only.
        mirror: Coordinate planes through the origin that are symmetry planes, e.g. "xy": the
            picture shows the whole body.
        title: A line above the picture.
        label: Text of the colour bar.
        view: Elevation and azimuth of the eye in degrees, z being up (as in matplotlib).
            Default: (30, -60), and from above for 2D meshes.
        limits: Lowest and highest value of the colour bar. Default: the range that is shown.
        cmap: Name of a matplotlib colour map.
        edges: Draw the edges of the mesh as thin lines; outlines of the body are always drawn.
        width: Width of the picture in pixels.

    Raises:
        ValueError: A field that does not fit, a wrong mesh, suffix, plane or colour map.
        ImportError: matplotlib is missing.
        OSError: The file cannot be written.
    """
    path = Path(path)
    _check(path, mesh, values, displacement, mirror)
    view = (
        view if view is not None else ((30.0, -60.0) if mesh.topology.dim == 3 else (90.0, -90.0))
    )
    if values is not None:
        values.x.scatter_forward()
        if smooth and is_cellwise(values):
            values = _vertex_average(values)
    if displacement is not None:
        displacement.x.scatter_forward()
    parts = mesh.comm.gather(_surface(mesh, values, displacement, scale))

    def draw() -> None:
        assert parts is not None
        surface = Surface.join(parts)
        for axis in range(3):
            if "xyz"[axis] in mirror:
                surface = surface.mirrored(axis)
        picture = shade(surface, view, limits, cmap, edges=edges, width=width)
        write_picture(path, picture, title, label if values is not None else None)

    on_root(mesh.comm, draw)


def _check(
    path: Path,
    mesh: Mesh,
    values: Function | None,
    displacement: Function | None,
    mirror: str,
) -> None:
    if path.suffix.lower() != ".png":
        raise ValueError(f"render: path must end in .png, got '{path}'.")
    if mesh.topology.dim not in (2, 3):
        raise ValueError(f"render: the mesh should be 2D or 3D, got {mesh.topology.dim}D.")
    if not set(mirror) <= set("xyz"[: mesh.geometry.dim]):
        raise ValueError(f"render: mirror should be made of the letters x, y, z, got {mirror!r}.")
    for name, field, shape in (
        ("values", values, ()),
        ("displacement", displacement, (mesh.geometry.dim,)),
    ):
        if field is None:
            continue
        element = field.function_space.ufl_element()
        continuous = element.family_name == "P" and not element.discontinuous
        if not (continuous or (name == "values" and is_cellwise(field))):
            raise ValueError(
                f"render: {name} should be continuous Lagrange{' or DG0' * (not shape)}, "
                f"got {element}. Values at quadrature points: use cell_average first."
            )
        if field.function_space.value_shape != shape or field.function_space.component():
            raise ValueError(
                f"render: {name} should have the shape {shape} and be collapsed, "
                f"got {field.function_space.value_shape}."
            )
        if field.function_space.mesh is not mesh:
            raise ValueError(f"render: {name} lives on another mesh.")


def _surface(
    mesh: Mesh, values: Function | None, displacement: Function | None, scale: float
) -> Surface:
    """The triangles that this rank contributes. Collective: no."""
    tdim, topology = mesh.topology.dim, mesh.topology
    dim = 2  # of the facets of a 3D mesh, of the cells of a 2D mesh
    topology.create_connectivity(dim, tdim)
    topology.create_connectivity(tdim, dim)
    topology.create_connectivity(tdim, 0)
    if tdim == 3:
        facets = exterior_facet_indices(topology)
        cells = topology.connectivity(dim, tdim).array[
            topology.connectivity(dim, tdim).offsets[facets]
        ]
    else:
        facets = cells = np.arange(topology.index_map(2).size_local, dtype=np.int32)
    num_vertices = 3 if topology.cell_name() in ("triangle", "tetrahedron") else 4
    nodes = entities_to_geometry(mesh, dim, facets)[:, :num_vertices]
    points = mesh.geometry.x
    corners = points[nodes]
    field = np.full(nodes.shape, np.nan)
    if values is not None and is_cellwise(values):
        field[:] = values.x.array[values.function_space.dofmap.list[cells, 0], None]
    elif values is not None:
        field = _at_vertices(values, len(points))[nodes][..., 0]
    moved = corners.copy()
    if displacement is not None:
        moved[..., : mesh.geometry.dim] += scale * _at_vertices(displacement, len(points))[nodes]

    middle = points[mesh.geometry.dofmaps[0][cells]].mean(axis=1)
    if tdim == 2:
        middle = middle - [0.0, 0.0, 1.0]
    pick = np.array(_TRIANGLES[nodes.shape[1]])
    real = np.tile(np.array(_REAL_EDGES[nodes.shape[1]]), (len(facets), 1))
    surface = Surface(
        corners[:, pick].reshape(-1, 3, 3),
        moved[:, pick].reshape(-1, 3, 3),
        field[:, pick].reshape(-1, 3),
        real,
    )
    return surface.turned_away_from(np.repeat(middle, len(pick), axis=0))


def _at_vertices(function: Function, num_nodes: int) -> npt.NDArray[np.float64]:
    """Values of a continuous Lagrange function by geometry node, (n, block); 0 off vertices."""
    space = function.function_space
    num_vertices = _VERTICES[space.mesh.topology.cell_name()]
    nodes = space.mesh.geometry.dofmaps[0][
        :, :num_vertices
    ]  # vertices come first in Lagrange elements
    dofs = space.dofmap.list[:, :num_vertices]
    values = np.zeros((num_nodes, space.dofmap.bs))
    values[nodes] = function.x.array.reshape(-1, space.dofmap.bs)[dofs]
    return values


def _vertex_average(function: Function) -> Function:
    """The mean over the cells around each vertex, as a P1 function. Collective: yes."""
    mesh = function.function_space.mesh
    total, count = (Function(functionspace(mesh, ("Lagrange", 1))) for _ in range(2))
    num_owned = mesh.topology.index_map(mesh.topology.dim).size_local
    dofs = total.function_space.dofmap.list[:num_owned]
    means = function.x.array[function.function_space.dofmap.list[:num_owned]]
    np.add.at(total.x.array, dofs, means)
    np.add.at(count.x.array, dofs, 1.0)
    for vector in (total.x, count.x):
        vector.scatter_reverse(InsertMode.add)
        vector.scatter_forward()
    total.x.array[:] /= np.maximum(count.x.array, 1.0)
    return total
