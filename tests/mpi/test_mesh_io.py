"""Meshes from files: the same regions, volumes and errors on any number of ranks."""

import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx.fem import assemble_scalar, form
from dolfinx.mesh import CellType, GhostMode, create_unit_cube, create_unit_square

from dolfinx_admat.fem import mesh_io

COMM = MPI.COMM_WORLD
PLATE = Path(__file__).parents[2] / "meshes" / "perforated_plate.xdmf"


@pytest.fixture
def folder():
    """A new folder that all ranks share (tmp_path differs from rank to rank)."""
    path = COMM.bcast(Path(tempfile.mkdtemp()) if COMM.rank == 0 else None)
    yield path
    COMM.barrier()
    if COMM.rank == 0:
        shutil.rmtree(path)


def integrate(integrand_measure):
    return COMM.allreduce(assemble_scalar(form(integrand_measure)))


def volume(data, name):
    dx = ufl.Measure("dx", domain=data.mesh, subdomain_data=data.cell_tags)
    return integrate(1.0 * dx(data.cell_names[name]))


def area(data, name):
    ds = ufl.Measure("ds", domain=data.mesh, subdomain_data=data.facet_tags)
    return integrate(1.0 * ds(data.facet_names[name]))


def owned(data, entities, dim):
    size = data.mesh.topology.index_map(dim).size_local
    return COMM.allreduce(int(np.count_nonzero(entities < size)))


@pytest.mark.parametrize("ghost_mode", [GhostMode.none, GhostMode.shared_facet])
def test_plate_matches_closed_form_areas_and_counts(ghost_mode):
    data = mesh_io.read_mesh(PLATE, COMM, ghost_mode=ghost_mode)
    assert data.mesh.topology.index_map(3).size_global == 3154
    assert owned(data, data.cells("steel"), 3) == 3154
    counts = {"symmetry_x": 70, "symmetry_y": 108, "symmetry_z": 513}
    counts |= {"pulled": 30, "hole": 104, "free": 589}
    assert set(data.facet_names) == set(counts)
    for name, count in counts.items():
        assert owned(data, data.facets(name), 2) == count

    quarter_disc = 0.25 * np.pi * 8.0**2
    flat = {"symmetry_x": 12 * 4, "symmetry_y": 42 * 4, "pulled": 20 * 4}
    for name, exact in flat.items():
        assert area(data, name) == pytest.approx(exact, rel=1e-12)
    # Straight edges cut the corners of the hole: a chord h of a circle r loses (h/r)^2 / 24.
    assert area(data, "hole") == pytest.approx(0.5 * np.pi * 8.0 * 4.0, rel=2e-3)
    assert area(data, "symmetry_z") == pytest.approx(1000.0 - quarter_disc, rel=2e-4)
    assert volume(data, "steel") == pytest.approx(4.0 * (1000.0 - quarter_disc), rel=2e-4)


def test_integer_tags_and_unknown_names():
    data = mesh_io.read_mesh(PLATE, COMM)
    np.testing.assert_array_equal(data.facets(4), data.facets("pulled"))
    with pytest.raises(ValueError, match=r"no facet group named 'pulld'; known .*'pulled"):
        data.facets("pulld")


def test_write_and_read_back_hdf5(folder):
    data = mesh_io.read_mesh(PLATE, COMM)
    mesh_io.write_mesh(folder / "new" / "copy.xdmf", data)
    assert (folder / "new" / "copy.h5").is_file()
    copy = mesh_io.read_mesh(folder / "new" / "copy.xdmf", COMM)
    assert copy.facet_names == data.facet_names
    assert volume(copy, "steel") == pytest.approx(volume(data, "steel"), rel=1e-12)
    assert area(copy, "hole") == pytest.approx(area(data, "hole"), rel=1e-12)


@pytest.mark.parametrize("cell", [CellType.tetrahedron, CellType.hexahedron])
def test_xdmf_without_tags(folder, cell):
    mesh_io.write_mesh(
        folder / "plain.xdmf", mesh_io.MeshData(create_unit_cube(COMM, 2, 2, 2, cell))
    )
    data = mesh_io.read_mesh(folder / "plain.xdmf", COMM)
    assert data.cell_tags is None and data.facet_tags is None
    assert integrate(1.0 * ufl.dx(data.mesh)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no cell tags"):
        data.cells("steel")


def test_2d_mesh_keeps_two_coordinates(folder):
    mesh_io.write_mesh(folder / "square.xdmf", mesh_io.MeshData(create_unit_square(COMM, 3, 3)))
    assert mesh_io.read_mesh(folder / "square.xdmf", COMM).mesh.geometry.dim == 2


def write_text(path, text):
    if COMM.rank == 0:
        path.write_text(text)
    COMM.barrier()
    return path


@pytest.mark.parametrize(
    ("name", "text", "error", "match"),
    [
        ("no.xdmf", None, FileNotFoundError, "no file"),
        ("body.stl", "", ValueError, r"must end in \.xdmf or \.msh"),
        ("bad.xdmf", "<Xdmf>", ValueError, "not an XDMF file"),
        ("empty.xdmf", "<Xdmf><Domain/></Xdmf>", ValueError, "no grid"),
        (
            "lost.xdmf",
            '<Xdmf><DataItem Format="HDF">lost.h5:/x</DataItem></Xdmf>',
            FileNotFoundError,
            "numbers in 'lost.h5'",
        ),
        (
            "flat.xdmf",
            '<Xdmf><Domain><Grid Name="mesh"><Topology TopologyType="Triangle"/><Geometry>'
            '<DataItem Dimensions="4 3" Format="XML"/></Geometry></Grid></Domain></Xdmf>',
            ValueError,
            r"write the points with 2 coordinates",
        ),
    ],
)
def test_bad_files_are_the_same_error_on_all_ranks(folder, name, text, error, match):
    path = folder / name if text is None else write_text(folder / name, text)
    with pytest.raises(error, match=match) as raised:
        mesh_io.read_mesh(path, COMM)
    assert len(set(COMM.allgather(str(raised.value)))) == 1


# .msh files: gmsh is preferred, meshio takes its place where gmsh cannot be imported.

SQUARE = """$MeshFormat
2.2 0 8
$EndMeshFormat
{names}$Nodes
4
10 0 0 {z}
20 1 0 {z}
30 1 1 {z}
40 0 1 0
$EndNodes
$Elements
3
1 1 2 {left} 1 40 10
2 2 2 {first} 1 10 20 30
3 2 2 {second} 2 10 30 40
$EndElements
"""
NAMES = '$PhysicalNames\n2\n1 7 "left"\n2 3 "steel"\n$EndPhysicalNames\n'


def square(names=NAMES, z=0, left=7, first=3, second=3):
    return SQUARE.format(names=names, z=z, left=left, first=first, second=second)


@pytest.fixture(params=["gmsh", "meshio"])
def reader(request, monkeypatch):
    try:
        importlib.import_module(request.param)
    except (ImportError, OSError):
        pytest.skip(f"{request.param} cannot be imported")
    if request.param == "meshio":
        monkeypatch.setitem(sys.modules, "gmsh", None)
    return request.param


def test_msh_square(folder, reader):
    data = mesh_io.read_mesh(write_text(folder / "square.msh", square()), COMM)
    assert data.mesh.geometry.dim == 2
    assert (data.cell_names, data.facet_names) == ({"steel": 3}, {"left": 7})
    assert volume(data, "steel") == pytest.approx(1.0)
    assert area(data, "left") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"second": 0}, r"1 of 2 cells .* no physical group.*Physical Surface"),
        ({"first": 0, "second": 0, "left": 0}, r"2 of 2 cells .* no physical group"),
        ({"z": 1}, r"dimension 2 in 3D space.*Physical Volume"),
    ],
)
def test_msh_without_a_usable_mesh(folder, reader, changes, match):
    path = write_text(folder / "bad.msh", square(**changes))
    with pytest.raises(ValueError, match=match):
        mesh_io.read_mesh(path, COMM)


def test_msh_with_a_cell_in_two_groups(folder, reader):
    text = square().replace("\n3\n1 1 2", "\n4\n4 2 2 5 3 10 20 30\n1 1 2")
    with pytest.raises(ValueError, match=r"1 cells in .* belong to two physical groups"):
        mesh_io.read_mesh(write_text(folder / "twice.msh", text), COMM)


def test_msh_that_is_not_one(folder, reader):
    path = write_text(folder / "noise.msh", "this is no mesh\n")
    with pytest.raises(ValueError, match=f"{reader} cannot read"):
        mesh_io.read_mesh(path, COMM)


def test_msh_without_any_reader(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "gmsh", None)
    monkeypatch.setitem(sys.modules, "meshio", None)
    path = write_text(folder / "square.msh", square())
    with pytest.raises(ImportError, match=r"pip install gmsh.*libxcursor1.*pip install meshio"):
        mesh_io.read_mesh(path, COMM)


def make_ring(path, dim, order, quads):
    """A quarter of a ring, 1 <= r <= 2, 0.5 thick, written by gmsh on rank 0."""
    gmsh = pytest.importorskip("gmsh", exc_type=(ImportError, OSError))
    if COMM.rank == 0:
        gmsh.initialize(interruptible=False)
        gmsh.option.setNumber("General.Verbosity", 1)
        geo = gmsh.model.geo
        points = [geo.addPoint(*p, 0) for p in ((0, 0), (1, 0), (2, 0), (0, 2), (0, 1))]
        centre, a, b, c, d = points
        lines = [geo.addLine(a, b), geo.addCircleArc(b, centre, c)]
        lines += [geo.addLine(c, d), geo.addCircleArc(d, centre, a)]
        face = geo.addPlaneSurface([geo.addCurveLoop(lines)])
        for line in lines:
            geo.mesh.setTransfiniteCurve(line, 6)
        geo.mesh.setTransfiniteSurface(face)
        if quads:
            geo.mesh.setRecombine(2, face)
        inner = (1, lines[3])
        body = (2, face)
        if dim == 3:
            extruded = geo.extrude([(2, face)], 0, 0, 0.5, numElements=[2], recombine=quads)
            body, inner = extruded[1], extruded[5]
        geo.synchronize()
        gmsh.model.addPhysicalGroup(dim, [body[1]], 5, "ring")
        gmsh.model.addPhysicalGroup(dim - 1, [inner[1]], 5, "inner")
        gmsh.model.mesh.generate(dim)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(path))
        gmsh.finalize()
    COMM.barrier()
    return path


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("quads", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_msh_ring_of_any_cell(folder, dim, quads, order):
    path = make_ring(folder / f"ring{dim}{quads}{order}.msh", dim, order, quads)
    thickness = 0.5 if dim == 3 else 1.0
    results = []
    for reader in ("gmsh", "meshio"):
        if reader == "meshio":
            pytest.importorskip("meshio")
        with pytest.MonkeyPatch.context() as patch:
            if reader == "meshio":
                patch.setitem(sys.modules, "gmsh", None)
            data = mesh_io.read_mesh(path, COMM)
        assert data.mesh.geometry.cmaps[0].degree == order
        angle = np.pi / 10  # of one edge; chords have closed forms, parabolas are good to O(h^4)
        chord = (np.sin(angle) / angle, np.sin(angle / 2) / (angle / 2)) if order == 1 else (1, 1)
        rel = 1e-12 if order == 1 else 1e-4
        exact = (0.75 * np.pi * thickness * chord[0], 0.5 * np.pi * thickness * chord[1])
        assert volume(data, "ring") == pytest.approx(exact[0], rel=rel)
        assert area(data, "inner") == pytest.approx(exact[1], rel=rel)
        results.append([volume(data, "ring"), area(data, "inner")])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_names_are_plain_json_in_the_file():
    text = PLATE.read_text()
    names = text.partition('Name="dolfinx_admat:names" Value="')[2].partition('"')[0]
    assert json.loads(names.replace("&quot;", '"'))["cell_names"] == {"steel": 1}
