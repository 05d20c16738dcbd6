"""Make meshes/perforated_plate.xdmf: one eighth of a steel plate with a hole (unit: mm).

The whole plate is 100 x 40 x 8 with a hole of radius 8 through its middle, centred at the origin,
and is pulled along x. Three symmetry planes leave 0 <= x <= 50, 0 <= y <= 20, 0 <= z <= 4.

Only this script needs gmsh; the mesh that it writes is read by dolfinx alone. Run it serially:

    python meshes/perforated_plate.py [--size 1.1] [--output FILE.xdmf]

Physical groups: `steel` (cells); facets `symmetry_x`, `symmetry_y`, `symmetry_z` (on the planes
x = 0, y = 0, z = 0), `pulled` (x = 50), `hole`, `free` (the rest).
"""

import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import gmsh
from dolfinx.io import gmsh as gmshio

from dolfinx_admat.fem.mesh_io import MeshData, write_mesh

HALF_LENGTH, HALF_WIDTH, HALF_THICKNESS, HOLE_RADIUS = 50.0, 20.0, 4.0, 8.0


def build_geometry() -> None:
    """Build the solid and its physical groups in the current gmsh model."""
    box = gmsh.model.occ.addBox(0, 0, 0, HALF_LENGTH, HALF_WIDTH, HALF_THICKNESS)
    hole = gmsh.model.occ.addCylinder(0, 0, -1, 0, 0, HALF_THICKNESS + 2, HOLE_RADIUS)
    gmsh.model.occ.cut([(3, box)], [(3, hole)])
    gmsh.model.occ.synchronize()

    facets: dict[str, list[int]] = {}
    for _, surface in gmsh.model.getEntities(2):
        facets.setdefault(_name_of_surface(surface), []).append(surface)
    names = ("symmetry_x", "symmetry_y", "symmetry_z", "pulled", "hole", "free")
    for tag, name in enumerate(names, start=1):
        gmsh.model.addPhysicalGroup(2, facets[name], tag, name)
    gmsh.model.addPhysicalGroup(3, [v for _, v in gmsh.model.getEntities(3)], 1, "steel")


def _name_of_surface(surface: int) -> str:
    if gmsh.model.getType(2, surface) == "Cylinder":
        return "hole"
    low = gmsh.model.getBoundingBox(2, surface)[:3]
    high = gmsh.model.getBoundingBox(2, surface)[3:]
    for axis, name in enumerate(("symmetry_x", "symmetry_y", "symmetry_z")):
        if high[axis] < 1e-3:
            return name
    return "pulled" if low[0] > HALF_LENGTH - 1e-3 else "free"


def set_sizes(size: float) -> None:
    """Prescribe `size` at the hole, growing linearly to three times as much far away."""
    hole = [s for _, s in gmsh.model.getEntities(2) if _name_of_surface(s) == "hole"]
    distance = gmsh.model.mesh.field.add("Distance")
    gmsh.model.mesh.field.setNumbers(distance, "SurfacesList", hole)
    gmsh.model.mesh.field.setNumber(distance, "Sampling", 100)
    growth = gmsh.model.mesh.field.add("Threshold")
    for option, value in {
        "InField": distance,
        "SizeMin": size,
        "SizeMax": 3.0 * size,
        "DistMin": 0.25 * HOLE_RADIUS,
        "DistMax": 3.0 * HOLE_RADIUS,
    }.items():
        gmsh.model.mesh.field.setNumber(growth, option, value)
    gmsh.model.mesh.field.setAsBackgroundMesh(growth)
    for option in ("MeshSizeExtendFromBoundary", "MeshSizeFromPoints", "MeshSizeFromCurvature"):
        gmsh.option.setNumber(f"Mesh.{option}", 0)


def make_mesh(size: float) -> MeshData:
    """Mesh the plate with linear tetrahedra, on the only rank of COMM_SELF."""
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Verbosity", 2)
        gmsh.option.setNumber("General.NumThreads", 1)
        gmsh.model.add("perforated_plate")
        build_geometry()
        set_sizes(size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        data = gmshio.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=3)
    finally:
        gmsh.finalize()
    names: tuple[dict[str, int], ...] = ({}, {})  # cells, facets
    for name, group in data.physical_groups.items():
        names[3 - group.dim][name] = group.tag
    return MeshData(data.mesh, data.cell_tags, data.facet_tags, *names)


def main() -> None:
    """Make the mesh, write it, print its figures."""
    parser = argparse.ArgumentParser(description="Mesh one eighth of a perforated plate.")
    parser.add_argument("--size", type=float, default=1.1, help="cell size at the hole in mm")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".xdmf"), help="XDMF file"
    )
    arguments = parser.parse_args()

    data = make_mesh(arguments.size)
    write_mesh(arguments.output, data, ascii=True)

    topology = data.mesh.topology
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")
    print(f"cells     {topology.index_map(3).size_global}")
    print(f"vertices  {topology.index_map(0).size_global}")
    for name in data.cell_names:
        print(f"{name:<10} {data.cells(name).size} cells")
    for name in data.facet_names:
        print(f"{name:<10} {data.facets(name).size} facets")


if __name__ == "__main__":
    main()
