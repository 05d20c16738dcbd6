"""Make meshes/polycrystal.xdmf: a unit cube of hexahedra, divided into grains as by Voronoi.

A grain is the set of the cells whose midpoints are closer to its seed than to any other; seeds are
random points that keep a distance from each other. Run it serially:

    python meshes/polycrystal.py [--cells 8] [--grains 20] [--output FILE.xdmf]

Physical groups: `grain_1`, `grain_2`, ... (cells); facets `bottom`, `top` (z = 0 and 1),
`symmetry_x`, `symmetry_y` (x = 0, y = 0).
"""

import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import numpy as np
from dolfinx import mesh

from dolfinx_admat.fem.mesh_io import MeshData, write_mesh


def seeds(count: int, rng: np.random.Generator) -> np.ndarray:
    """Points in the unit cube; each new one is the loneliest of ten candidates."""
    points = rng.random((1, 3))
    while len(points) < count:
        candidates = rng.random((10, 3))
        distances = np.linalg.norm(candidates[:, None] - points, axis=2).min(axis=1)
        points = np.vstack([points, candidates[distances.argmax()]])
    return points


def make_mesh(cells: int, grains: int) -> MeshData:
    """Mesh the cube and divide it, on the only rank of COMM_SELF."""
    domain = mesh.create_unit_cube(MPI.COMM_SELF, cells, cells, cells, mesh.CellType.hexahedron)
    indices = np.arange(domain.topology.index_map(3).size_local, dtype=np.int32)
    midpoints = mesh.compute_midpoints(domain, 3, indices)
    points = seeds(grains, np.random.default_rng(1))
    nearest = np.linalg.norm(midpoints[:, None] - points, axis=2).argmin(axis=1)
    grain = mesh.meshtags(domain, 3, indices, (nearest + 1).astype(np.int32))

    planes = {"bottom": (2, 0.0), "top": (2, 1.0), "symmetry_x": (0, 0.0), "symmetry_y": (1, 0.0)}
    found = [
        mesh.locate_entities_boundary(domain, 2, lambda x, a=axis, v=value: np.isclose(x[a], v))
        for axis, value in planes.values()
    ]
    facets = np.concatenate(found)
    values = np.repeat(np.arange(1, 5, dtype=np.int32), [len(f) for f in found])
    order = np.argsort(facets)
    return MeshData(
        domain,
        grain,
        mesh.meshtags(domain, 2, facets[order], values[order]),
        {f"grain_{k}": k for k in range(1, grains + 1)},
        {name: k for k, name in enumerate(planes, start=1)},
    )


def main() -> None:
    """Make the mesh, write it, print its figures."""
    parser = argparse.ArgumentParser(description="Mesh a polycrystal.")
    parser.add_argument("--cells", type=int, default=8, help="cells along an edge")
    parser.add_argument("--grains", type=int, default=20)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".xdmf"), help="XDMF file"
    )
    arguments = parser.parse_args()
    data = make_mesh(arguments.cells, arguments.grains)
    write_mesh(arguments.output, data, ascii=True)

    assert data.cell_tags is not None
    sizes = np.bincount(data.cell_tags.values)[1:]
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")
    print(f"grains of {sizes.min()} to {sizes.max()} of the {sizes.sum()} cells")


if __name__ == "__main__":
    main()
