"""Meshes with named regions from XDMF files (dolfinx alone) and from users' own gmsh files.

Everything about a file that can be wrong is found on rank 0, before the first collective call, and
raised as the same exception on all ranks.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx.graph import adjacencylist
from dolfinx.io import XDMFFile, distribute_entity_data
from dolfinx.io.gmsh import cell_perm_array, ufl_mesh
from dolfinx.mesh import (
    CellType,
    GhostMode,
    Mesh,
    MeshTags,
    create_cell_partitioner,
    create_mesh,
    meshtags_from_entities,
)

from dolfinx_admat.fem._msh import MshContent, read_msh
from dolfinx_admat.fem._root import on_root

_DIMENSION_OF_TOPOLOGY = {"poly": 1, "edge": 1, "tri": 2, "quad": 2, "tet": 3, "hex": 3}
_NAMES = "dolfinx_admat:names"  # <Information> element in which write_mesh keeps the names


@dataclass(frozen=True)
class MeshData:
    """A mesh, its tags, and the names of the tags.

    Attributes:
        mesh: The distributed mesh.
        cell_tags: Tags of cells, or None if the file has none.
        facet_tags: Tags of facets, or None if the file has none.
        cell_names: Tag of each named group of cells (empty if the file keeps no names).
        facet_names: Tag of each named group of facets.
    """

    mesh: Mesh
    cell_tags: MeshTags | None = None
    facet_tags: MeshTags | None = None
    cell_names: dict[str, int] = field(default_factory=dict)
    facet_names: dict[str, int] = field(default_factory=dict)

    def cells(self, name: str | int) -> npt.NDArray[np.int32]:
        """Cells of a group given by name or tag: local indices with ghosts. Collective: no."""
        return _find("cell", self.cell_tags, self.cell_names, name)

    def facets(self, name: str | int) -> npt.NDArray[np.int32]:
        """Facets of a group given by name or tag: local indices with ghosts. Collective: no."""
        return _find("facet", self.facet_tags, self.facet_names, name)


def read_mesh(
    path: str | Path, comm: MPI.Comm, *, ghost_mode: GhostMode = GhostMode.shared_facet
) -> MeshData:
    """Read a mesh with its cell and facet tags. Collective: yes.

    An .xdmf file needs dolfinx only. Its mesh is the grid called "mesh", "Grid", or the first one;
    tags are the other grids with an attribute, told apart by the dimension of their entities, and
    by the names "cell_tags" and "facet_tags" where several fit. A .msh file is read on rank 0 by
    gmsh or, where gmsh or its system libraries are missing, by meshio. Every cell must belong to
    exactly one physical group, every facet to at most one.

    Args:
        path: An .xdmf or .msh file.
        comm: The communicator over which the mesh is distributed.
        ghost_mode: Which cells of neighbouring ranks are kept as ghosts.

    Returns:
        The mesh and its tags; flat meshes have as many coordinates as dimensions.

    Raises:
        FileNotFoundError: There is no such file, or the HDF5 file of an XDMF file is missing.
        ValueError: The file is not of a known kind, is damaged, or holds no usable mesh.
        ImportError: A .msh file is given, and neither gmsh nor meshio can be imported.
    """
    path = Path(path)
    readers: dict[str, Callable[..., MeshData]] = {".xdmf": _read_xdmf, ".msh": _read_gmsh}

    def check() -> None:
        if path.suffix.lower() not in readers:
            raise ValueError(
                f"read_mesh: path must end in .xdmf or .msh, got '{path}'. Convert other formats "
                "to .msh (gmsh) or .xdmf (meshio)."
            )
        if not path.is_file():
            raise FileNotFoundError(f"read_mesh: there is no file '{path}'.")

    on_root(comm, check)
    return readers[path.suffix.lower()](path, comm, ghost_mode)


def write_mesh(path: str | Path, data: MeshData, *, ascii: bool = False) -> None:
    """Write a mesh with its tags and names to an .xdmf file for `read_mesh`. Collective: yes.

    Args:
        path: The .xdmf file; folders are made. An .h5 file is put beside it unless `ascii`.
        data: The mesh; its tags are written under the names "cell_tags" and "facet_tags".
        ascii: Put all numbers into the XDMF file itself (small meshes; one rank only).

    Raises:
        ValueError: The path does not end in .xdmf, or `ascii` on several ranks.
    """
    path, mesh = Path(path), data.mesh
    if path.suffix != ".xdmf":
        raise ValueError(f"write_mesh: path must end in .xdmf, got '{path}'.")
    if ascii and mesh.comm.size > 1:
        raise ValueError(f"write_mesh: ascii=True needs one rank, got {mesh.comm.size}.")
    on_root(mesh.comm, lambda: path.parent.mkdir(parents=True, exist_ok=True))

    encoding = XDMFFile.Encoding.ASCII if ascii else XDMFFile.Encoding.HDF5
    with XDMFFile(mesh.comm, str(path), "w", encoding) as file:
        mesh.name = "mesh"
        file.write_mesh(mesh)
        for name, tags in (("cell_tags", data.cell_tags), ("facet_tags", data.facet_tags)):
            if tags is not None:
                tags.name = name
                mesh.topology.create_connectivity(tags.dim, mesh.topology.dim)
                file.write_meshtags(tags, mesh.geometry)
        names = {"cell_names": data.cell_names, "facet_names": data.facet_names}
        file.write_information(_NAMES, json.dumps(names))


@dataclass(frozen=True)
class _XdmfContent:
    """What an XDMF file holds: its mesh grid, tag grids as codim: (grid, attribute), names."""

    mesh: str
    tags: dict[int, tuple[str, str]]
    names: dict[str, dict[str, int]]
    is_ascii: bool


def _read_xdmf(path: Path, comm: MPI.Comm, ghost_mode: GhostMode) -> MeshData:
    content: _XdmfContent = on_root(comm, lambda: _scan_xdmf(path))
    encoding = XDMFFile.Encoding.ASCII if content.is_ascii else XDMFFile.Encoding.HDF5
    with XDMFFile(comm, str(path), "r", encoding) as file:
        mesh = file.read_mesh(ghost_mode, content.mesh)
        tags: dict[int, MeshTags] = {}
        for codim, (grid, attribute) in content.tags.items():
            mesh.topology.create_connectivity(mesh.topology.dim - codim, mesh.topology.dim)
            tags[codim] = file.read_meshtags(mesh, grid, attribute)
    return MeshData(mesh, tags.get(0), tags.get(1), **content.names)


def _scan_xdmf(path: Path) -> _XdmfContent:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"read_mesh: '{path}' is not an XDMF file: {error}.") from error
    heavy = {
        (item.text or "").partition(":")[0].strip()
        for item in root.iter("DataItem")
        if item.get("Format") == "HDF"
    }
    for name in heavy:
        if not (path.parent / name).is_file():
            raise FileNotFoundError(
                f"read_mesh: '{path}' keeps its numbers in '{name}', which is not beside it."
            )
    grids = {
        grid.get("Name", ""): grid
        for grid in root.findall("Domain/Grid")
        if grid.find("Topology") is not None
    }
    meshes = [name for name, grid in grids.items() if grid.find("Geometry/DataItem") is not None]
    if not meshes:
        raise ValueError(f"read_mesh: '{path}' has no grid with a topology and a geometry.")
    mesh = next((name for name in ("mesh", "Grid") if name in meshes), meshes[0])

    tdim = _topology_dimension(path, grids[mesh])
    shape = grids[mesh].findall("Geometry/DataItem")[0].get("Dimensions", "")
    gdim = int(shape.split()[-1])
    if gdim != tdim:
        raise ValueError(
            f"read_mesh: the mesh in '{path}' has cells of dimension {tdim} and {gdim} coordinates "
            f"per point; write the points with {tdim} coordinates (points[:, :{tdim}] in meshio)."
        )
    tags: dict[int, tuple[str, str]] = {}
    for name, grid in grids.items():
        attribute = grid.find("Attribute")
        codim = tdim - _topology_dimension(path, grid)
        if attribute is None or codim > 1:
            continue
        if codim not in tags or name == ("cell_tags", "facet_tags")[codim]:
            tags[codim] = (name, attribute.get("Name", ""))
    stored = [i.get("Value", "{}") for i in root.iter("Information") if i.get("Name") == _NAMES]
    return _XdmfContent(mesh, tags, json.loads(stored[0]) if stored else {}, not heavy)


def _topology_dimension(path: Path, grid: ElementTree.Element) -> int:
    kind = grid.findall("Topology")[0].get("TopologyType", "")
    if kind.lower() == "polyvertex":
        return 0
    for prefix, dimension in _DIMENSION_OF_TOPOLOGY.items():
        if kind.lower().startswith(prefix):
            return dimension
    raise ValueError(f"read_mesh: '{path}' has cells of type '{kind}', which are not supported.")


def _read_gmsh(path: Path, comm: MPI.Comm, ghost_mode: GhostMode) -> MeshData:
    content: MshContent | None = None

    def read() -> tuple[Any, ...]:
        nonlocal content
        content = read_msh(path)
        kinds = [(group.dim, group.gmsh_type, group.nodes.shape[1]) for group in content.groups]
        return content.tdim, kinds, content.names(0), content.names(1)

    tdim, kinds, cell_names, facet_names = on_root(comm, read)
    points = np.zeros((0, tdim)) if content is None else content.points
    tags: dict[int, MeshTags] = {}
    for index, (dim, gmsh_type, num_nodes) in enumerate(kinds):  # cells come first
        entities, values = np.zeros((0, num_nodes), np.int64), np.zeros(0, np.int32)
        if content is not None:
            entities, values = content.groups[index].nodes, content.groups[index].tags
        if dim == tdim:
            domain = ufl_mesh(gmsh_type, tdim, np.float64)
            order = cell_perm_array(getattr(CellType, domain.ufl_cell().cellname), num_nodes)
            mesh = create_mesh(
                comm,
                np.ascontiguousarray(entities[:, order]),
                domain,
                points,
                create_cell_partitioner(ghost_mode, 2),
            )
            mesh.name = "mesh"
        local, local_values = distribute_entity_data(mesh, dim, entities, values)
        mesh.topology.create_connectivity(dim, tdim)
        tags[tdim - dim] = meshtags_from_entities(
            mesh, dim, adjacencylist(local), local_values.astype(np.int32, copy=False)
        )
        tags[tdim - dim].name = ("cell_tags", "facet_tags")[tdim - dim]
    return MeshData(mesh, tags.get(0), tags.get(1), cell_names, facet_names)


def _find(
    kind: str, tags: MeshTags | None, names: dict[str, int], name: str | int
) -> npt.NDArray[np.int32]:
    if tags is None:
        raise ValueError(f"The mesh has no {kind} tags, so there is no {kind} group {name!r}.")
    if isinstance(name, str) and name not in names:
        known = ", ".join(repr(known) for known in names) or "none: use the integer tags"
        raise ValueError(f"There is no {kind} group named {name!r}; known names are {known}.")
    return tags.find(names[name] if isinstance(name, str) else name)
