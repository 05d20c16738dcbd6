"""The content of a gmsh .msh file, read in serial by gmsh or by meshio and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx.io.gmsh import cell_perm_array as cell_perm_gmsh
from dolfinx.io.utils import cell_perm_vtk
from dolfinx.mesh import CellType

# gmsh type: (meshio name, dolfinx cell type, dimension)
_TYPES = {
    1: ("line", "interval", 1),
    2: ("triangle", "triangle", 2),
    3: ("quad", "quadrilateral", 2),
    4: ("tetra", "tetrahedron", 3),
    5: ("hexahedron", "hexahedron", 3),
    8: ("line3", "interval", 1),
    9: ("triangle6", "triangle", 2),
    10: ("quad9", "quadrilateral", 2),
    11: ("tetra10", "tetrahedron", 3),
    12: ("hexahedron27", "hexahedron", 3),
}
_MISSING = """read_mesh: '{path}' needs the Python package gmsh or meshio, and neither can be \
imported ({reason}). Run `pip install gmsh` (on Debian also `apt-get install libgl1 libglu1-mesa \
libxrender1 libxcursor1 libxft2 libxinerama1`) or `pip install meshio`."""


@dataclass(frozen=True)
class Group:
    """All entities of one gmsh element type: nodes (n, k) in gmsh's order, tags (n,)."""

    gmsh_type: int
    nodes: npt.NDArray[np.int64]
    tags: npt.NDArray[np.int32]

    @property
    def dim(self) -> int:
        """Dimension of the entities."""
        return _TYPES[self.gmsh_type][2]


@dataclass(frozen=True)
class MshContent:
    """Points (n, tdim), tagged entities with the cells first, names by (dim, tag)."""

    points: npt.NDArray[np.float64]
    groups: list[Group]
    physical_names: dict[tuple[int, int], str]

    @property
    def tdim(self) -> int:
        """Dimension of the cells."""
        return self.groups[0].dim

    def names(self, codim: int) -> dict[str, int]:
        """Tags of the named groups of cells (codim 0) or facets (codim 1)."""
        return {
            name: tag
            for (dim, tag), name in self.physical_names.items()
            if dim == self.tdim - codim and name
        }


def read_msh(path: Path) -> MshContent:
    """Read a .msh file with gmsh, or with meshio if gmsh cannot be imported. Collective: no."""
    try:
        import gmsh
    except (ImportError, OSError) as no_gmsh:  # OSError: its system libraries are missing
        try:
            import meshio
        except ImportError as no_meshio:
            reason = f"{no_gmsh}; {no_meshio}"
            raise ImportError(_MISSING.format(path=path, reason=reason)) from None
        return _check(path, *_read_with_meshio(meshio, path))
    return _check(path, *_read_with_gmsh(gmsh, path))


def _read_with_gmsh(gmsh: Any, path: Path) -> tuple[Any, ...]:
    ours = not gmsh.isInitialized()
    if ours:
        gmsh.initialize(interruptible=False)
        gmsh.option.setNumber("General.Verbosity", 1)
    else:
        current = gmsh.model.getCurrent()
    gmsh.model.add("dolfinx_admat.read_mesh")
    try:
        gmsh.merge(str(path))
        labels, points, _ = gmsh.model.mesh.getNodes()
        order = np.argsort(labels)
        blocks = []
        for dim, tag in [*gmsh.model.getPhysicalGroups(), *((d, 0) for d in range(1, 4))]:
            entities = gmsh.model.getEntitiesForPhysicalGroup(dim, tag) if tag else [-1]
            for entity in entities:
                for kind, _, flat in zip(*gmsh.model.mesh.getElements(dim, entity), strict=True):
                    num_nodes = gmsh.model.mesh.getElementProperties(kind)[3]
                    nodes = order[np.searchsorted(labels[order], flat)].reshape(-1, num_nodes)
                    blocks.append((int(kind), nodes, np.full(len(nodes), tag)))
        names = {key: gmsh.model.getPhysicalName(*key) for key in gmsh.model.getPhysicalGroups()}
    except Exception as error:  # gmsh raises nothing more specific
        raise ValueError(f"read_mesh: gmsh cannot read '{path}': {error}.") from error
    finally:
        if ours:
            gmsh.finalize()
        else:
            gmsh.model.remove()
            gmsh.model.setCurrent(current)
    return points.reshape(-1, 3), blocks, names


def _read_with_meshio(meshio: Any, path: Path) -> tuple[Any, ...]:
    try:
        content = meshio.read(path, file_format="gmsh")
    except (meshio.ReadError, KeyError, IndexError, TypeError, ValueError, SystemExit) as error:
        raise ValueError(f"read_mesh: meshio cannot read '{path}': {error}.") from error
    gmsh_type = {name: kind for kind, (name, _, _) in _TYPES.items()}
    tags = content.cell_data.get("gmsh:physical", [np.zeros(len(c), int) for c in content.cells])
    blocks = []
    for block, block_tags in zip(content.cells, tags, strict=True):
        if block.type not in gmsh_type:
            blocks.append((block.type, block.data, block_tags))
            continue
        kind, nodes = gmsh_type[block.type], block.data
        if nodes.shape[1] > 4:  # meshio keeps VTK's order
            cell = getattr(CellType, _TYPES[kind][1])
            nodes = np.empty_like(block.data)
            nodes[:, cell_perm_gmsh(cell, nodes.shape[1])] = block.data[
                :, cell_perm_vtk(cell, nodes.shape[1])
            ]
        blocks.append((kind, nodes, block_tags))
    names = {(int(dim), int(tag)): name for name, (tag, dim) in content.field_data.items()}
    return content.points, blocks, names


def _check(
    path: Path,
    points: npt.NDArray[np.float64],
    blocks: list[tuple[Any, npt.NDArray[np.integer], npt.NDArray[np.integer]]],
    names: dict[tuple[int, int], str],
) -> MshContent:
    """Merge blocks (element type, nodes, tags; tag 0: no group); refuse what dolfinx cannot use."""
    kinds = {kind for kind, nodes, _ in blocks if len(nodes)} - {15, "vertex"}
    unknown = sorted(str(kind) for kind in kinds - set(_TYPES))
    if unknown:
        known = ", ".join(name for name, _, _ in _TYPES.values())
        raise ValueError(
            f"read_mesh: '{path}' has elements of type {', '.join(unknown)}; supported are {known}."
        )
    tdim = max((_TYPES[kind][2] for kind in kinds), default=0)
    cell_kinds = [kind for kind in kinds if _TYPES[kind][2] == tdim]
    if len(cell_kinds) != 1:
        found = ", ".join(_TYPES[kind][0] for kind in cell_kinds) or "no cells"
        raise ValueError(f"read_mesh: '{path}' must have cells of one type, it has {found}.")
    extent = np.ptp(points, axis=0)
    if np.any(extent[tdim:] > 1e-10 * extent.max()):
        raise ValueError(
            f"read_mesh: '{path}' has cells of dimension {tdim} in {points.shape[1]}D space. Put "
            "a flat mesh into a plane z = const; if the body is solid, give it a physical group "
            '(Physical Volume("steel") = {1};), because gmsh saves only cells that are in one.'
        )
    groups = []
    for kind in [*cell_kinds, *(k for k in kinds if _TYPES[k][2] == tdim - 1)]:
        nodes = np.concatenate([n for k, n, _ in blocks if k == kind]).astype(np.int64)
        tags = np.concatenate([t for k, _, t in blocks if k == kind]).astype(np.int32)
        group = _merge(path, kind, nodes, tags, is_cell=kind in cell_kinds)
        if len(group.tags):
            groups.append(group)
    return MshContent(np.ascontiguousarray(points[:, :tdim], np.float64), groups, names)


def _merge(
    path: Path,
    kind: int,
    nodes: npt.NDArray[np.int64],
    tags: npt.NDArray[np.int32],
    *,
    is_cell: bool,
) -> Group:
    """Keep each entity once, with its tag; entities may be listed again without one (0)."""
    _, entity = np.unique(np.sort(nodes, axis=1), axis=0, return_inverse=True)
    tagged = np.flatnonzero(tags)
    _, first = np.unique(entity[tagged], return_index=True)
    chosen = np.zeros(entity.max() + 1, np.int32)
    chosen[entity[tagged]] = tags[tagged]
    twice = np.count_nonzero(chosen[entity[tagged]] != tags[tagged])
    if twice:
        what = "cells" if is_cell else "facets"
        raise ValueError(
            f"read_mesh: {twice} {what} in '{path}' belong to two physical groups; tags allow one."
        )
    if is_cell and np.any(chosen == 0):
        name = {1: "Curve", 2: "Surface", 3: "Volume"}[_TYPES[kind][2]]
        raise ValueError(
            f"read_mesh: {np.count_nonzero(chosen == 0)} of {len(chosen)} cells in '{path}' belong "
            "to no physical group. Put every cell into one before meshing, e.g. "
            f'Physical {name}("steel") = {{1}};.'
        )
    keep = tagged[np.sort(first)]
    return Group(kind, nodes[keep], tags[keep])
