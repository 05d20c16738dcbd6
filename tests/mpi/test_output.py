"""Cell means, files for ParaView and pictures on any number of ranks."""

import logging
import shutil
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import basix
import basix.ufl
import dolfinx
import numpy as np
import pytest
import ufl
from dolfinx.fem import Expression, Function, assemble_scalar, form, functionspace
from dolfinx.mesh import CellType, create_box, create_rectangle, create_unit_cube

from dolfinx_admat.fem.mesh_io import read_mesh
from dolfinx_admat.fem.output import ResultWriter, cell_average
from dolfinx_admat.fem.picture import render

COMM = MPI.COMM_WORLD
PLATE = Path(__file__).parents[2] / "meshes" / "perforated_plate.xdmf"
CELLS = [CellType.triangle, CellType.quadrilateral, CellType.tetrahedron, CellType.hexahedron]
SHAPES = [(), (6,), (), (3, 3)]


@pytest.fixture
def folder():
    """A new folder that all ranks share (tmp_path differs from rank to rank)."""
    path = COMM.bcast(Path(tempfile.mkdtemp()) if COMM.rank == 0 else None)
    yield path
    COMM.barrier()
    if COMM.rank == 0:
        shutil.rmtree(path)


def box(cell, comm=COMM, n=3):
    """The rectangle 2 x 1 or box 2 x 1 x 1, its inside distorted."""
    if cell in (CellType.triangle, CellType.quadrilateral):
        mesh = create_rectangle(comm, [[0, 0], [2, 1]], [n, n], cell)
    else:
        mesh = create_box(comm, [[0, 0, 0], [2, 1, 1]], [n, n, n], cell)
    x, y, z = mesh.geometry.x.T
    if mesh.geometry.dim == 2:
        mesh.geometry.x[:, 0] += 0.1 * np.sin(np.pi * x) * np.sin(np.pi * y)
    else:
        mesh.geometry.x[:, 0] += 0.1 * np.sin(np.pi * x) * np.sin(np.pi * y) * (1 + z)
    return mesh


def num_owned(mesh):
    return mesh.topology.index_map(mesh.topology.dim).size_local


def integrate(integrand):
    return COMM.allreduce(assemble_scalar(form(integrand)))


# --- cell_average


@pytest.mark.parametrize(("cell", "shape"), list(zip(CELLS, SHAPES, strict=True)))
def test_average_keeps_the_integral(cell, shape):
    mesh = box(cell)
    points, weights = basix.make_quadrature(getattr(basix.CellType, cell.name), 4)
    cells = np.arange(num_owned(mesh), dtype=np.int32)
    x = Expression(ufl.SpatialCoordinate(mesh), points).eval(mesh, cells)
    scale = 1.0 + np.arange(np.prod(shape, dtype=int)).reshape(shape)
    field = x[..., 0] * x[..., 1]
    values = np.multiply.outer(field, scale)

    mean = cell_average(mesh, values, points, weights, name="mean")
    assert mean.name == "mean" and mean.function_space.value_shape == shape
    first = mean[(0,) * len(shape)] if shape else mean
    last = mean[tuple(n - 1 for n in shape)] if shape else mean
    X = ufl.SpatialCoordinate(mesh)
    exact = integrate(X[0] * X[1] * ufl.dx(degree=4))
    assert integrate(first * ufl.dx(degree=4)) == pytest.approx(exact, rel=1e-12)
    assert integrate(last * ufl.dx(degree=4)) == pytest.approx(exact * scale.flat[-1], rel=1e-12)


def test_average_of_some_cells_leaves_the_others():
    mesh = box(CellType.hexahedron)
    points, weights = basix.make_quadrature(basix.CellType.hexahedron, 2)
    cells = np.arange(0, num_owned(mesh), 2, dtype=np.int32)
    out = Function(functionspace(mesh, ("DG", 0)))
    out.x.array[:] = 7.0
    same = cell_average(mesh, np.full((len(cells), 8), 3.0), points, weights, cells=cells, out=out)
    assert same is out
    owned = out.x.array[: num_owned(mesh)]
    np.testing.assert_allclose(owned[::2], 3.0, rtol=1e-14)
    np.testing.assert_array_equal(owned[1::2], 7.0)


def test_average_when_a_rank_has_no_cells():
    mesh = create_rectangle(COMM, [[0, 0], [1, 1]], [1, 1])  # two cells
    points, weights = basix.make_quadrature(basix.CellType.triangle, 2)
    mean = cell_average(mesh, np.ones((num_owned(mesh), 3, 6)), points, weights)
    assert integrate(mean[5] * ufl.dx) == pytest.approx(1.0)


def test_average_of_wrong_shape_on_one_rank_fails_on_all():
    mesh = box(CellType.tetrahedron)
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, 2)
    values = np.zeros((num_owned(mesh) + (COMM.rank == 0), 4))
    with pytest.raises(ValueError, match=r"values should have shape \(\d+, 4, \.\.\.\)"):
        cell_average(mesh, values, points, weights)


def test_average_refuses_what_does_not_fit():
    mesh = box(CellType.tetrahedron)
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, 2)
    values = np.zeros((num_owned(mesh), 4))
    with pytest.raises(ValueError, match="cells should be owned"):
        cell_average(mesh, values[:1], points, weights, cells=np.array([10**6]))
    with pytest.raises(ValueError, match=r"DG0 function of shape \(\)"):
        out = Function(functionspace(mesh, ("DG", 0, (3,))))
        cell_average(mesh, values, points, weights, out=out)
    with pytest.raises(ValueError, match="4 points, but 5 weights"):
        cell_average(mesh, values, points, np.ones(5))


# --- ResultWriter


def fields(mesh):
    u = Function(functionspace(mesh, ("Lagrange", 2, (3,))))
    stress = Function(functionspace(mesh, ("DG", 0, (3, 3))))
    p = Function(functionspace(mesh, ("DG", 0)))
    temperature = Function(functionspace(mesh, ("Lagrange", 1)))
    u.interpolate(lambda x: x)
    stress.interpolate(lambda x: np.tile(np.arange(9.0)[:, None], x.shape[1]))
    return {"displacement": u, "stress": stress, "plastic_strain": p, "temperature": temperature}


def test_vtk_files_hold_the_values_of_each_time(folder):
    mesh = create_unit_cube(COMM, 2, 2, 2)
    results = fields(mesh)
    with ResultWriter(folder / "new" / "cube.pvd", results) as writer:
        for time in (0.0, 0.5):
            results["plastic_strain"].x.array[:] = 2 * time
            writer.write(time)
    assert [path.name for path in writer.paths] == ["cube.pvd", "cube_temperature.pvd"]
    assert results["plastic_strain"].name not in ("plastic_strain", "displacement")  # untouched
    COMM.barrier()  # rank 0 writes the .pvd file
    times = [d.get("timestep") for d in ElementTree.parse(writer.paths[0]).iter("DataSet")]
    assert [float(time) for time in times] == [0.0, 0.5]
    piece = next((folder / "new").glob(f"cube_p{COMM.rank}_*1.vtu"))
    arrays = {a.get("Name"): a for a in ElementTree.parse(piece).iter("DataArray")}
    strain = np.array(arrays["plastic_strain"].text.split(), float)
    stress = np.array(arrays["stress"].text.split(), float).reshape(-1, 9)
    np.testing.assert_array_equal(strain, 1.0)
    np.testing.assert_array_equal(stress, np.tile(np.arange(9.0), (len(strain), 1)))


@pytest.mark.skipif(not dolfinx.has_adios2, reason="dolfinx was built without ADIOS2")
def test_vtx_takes_point_and_cell_fields_together(folder):
    results = fields(create_unit_cube(COMM, 2, 2, 2))
    with ResultWriter(folder / "cube", results) as writer:
        writer.write(0.0)
        writer.write(1.0)
    assert [path.name for path in writer.paths] == ["cube.bp", "cube_temperature.bp"]
    with pytest.raises(ValueError, match="is closed"):
        writer.write(2.0)
    content = b"".join(path.read_bytes() for path in writer.paths[0].iterdir())
    assert all(name in content for name in (b"displacement", b"stress", b"plastic_strain"))
    assert b"temperature" not in content

    adios2 = pytest.importorskip("adios2", reason="the values need ADIOS2 for Python")
    with adios2.FileReader(str(writer.paths[0])) as reader:
        assert reader.num_steps() == 2
        stress = reader.read("stress", step_selection=[1, 1])
    np.testing.assert_array_equal(np.unique(stress.reshape(-1, 9), axis=0), [np.arange(9.0)])


def test_without_adios2_vtk_is_written_with_a_notice(folder, monkeypatch, caplog):
    monkeypatch.setattr(dolfinx, "has_adios2", False)
    with caplog.at_level(logging.WARNING):
        writer = ResultWriter(folder / "cube.bp", fields(create_unit_cube(COMM, 1, 1, 1)))
    writer.write(0.0)
    writer.close()
    assert writer.paths[0].name == "cube.pvd"
    assert ("without ADIOS2" in caplog.text) == (COMM.rank == 0)


def test_writer_refuses_what_files_cannot_hold(folder):
    mesh = create_unit_cube(COMM, 1, 1, 1)
    good = fields(mesh)
    quadrature = basix.ufl.quadrature_element("tetrahedron", degree=2)
    other = fields(create_unit_cube(COMM, 1, 1, 1))
    symmetric = Function(functionspace(mesh, ("DG", 0, (3, 3), True)))
    cases = [
        ("a.xdmf", good, r"must end in \.bp"),
        ("a", {}, "fields is empty"),
        ("a", {"s": Function(functionspace(mesh, quadrature))}, "use cell_average first"),
        ("a", {"u": good["displacement"], "v": other["stress"]}, "'v' lives on another mesh"),
        ("a", {"u": good["displacement"].sub(0)}, "'u' is a part of another function"),
        ("a", {"s": symmetric}, "'s' is a part of another function, or a symmetric"),
    ]
    for path, wrong, match in cases:
        with pytest.raises(ValueError, match=match):
            ResultWriter(folder / path, wrong)
    assert list(folder.iterdir()) == []


# --- render


def picture(path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    COMM.barrier()
    return matplotlib_image.imread(path)[..., :3]


@pytest.mark.parametrize("cell", CELLS)
def test_picture_is_the_same_as_from_one_rank(folder, cell):
    def draw(comm, path):
        mesh = box(cell, comm)
        dim = mesh.geometry.dim
        u = Function(functionspace(mesh, ("Lagrange", 2, (dim,))))
        u.interpolate(lambda x: 0.2 * x[:dim] ** 2)
        p = Function(functionspace(mesh, ("DG", 0)))
        p.interpolate(lambda x: x[0] + x[1])
        for smooth in (False, True):
            file = path.with_stem(f"{path.stem}{smooth}")
            render(file, mesh, p, displacement=u, smooth=smooth, width=300, title="p", label="p")

    draw(COMM, folder / "all.png")
    if COMM.rank == 0:
        draw(MPI.COMM_SELF, folder / "one.png")
    for smooth in (False, True):
        image = picture(folder / f"all{smooth}.png")
        assert min(image.shape[:2]) > 150
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100
        assert np.abs(image - picture(folder / f"one{smooth}.png")).mean() < 1e-3


def test_picture_shows_the_whole_body_from_an_eighth(folder):
    mesh = read_mesh(PLATE, COMM).mesh
    render(folder / "plate.png", mesh, mirror="xyz", view=(90, -90), edges=False, width=800)
    image = picture(folder / "plate.png")
    body = np.argwhere(np.any(image < 0.99, axis=2))
    height, width = np.ptp(body, axis=0) + 1
    assert width / height == pytest.approx(100 / 40, rel=0.01)
    assert len(body) / (width * height) == pytest.approx(1 - np.pi * 8**2 / 4000, rel=0.01)


def test_picture_of_a_constant_and_of_unknown_values(folder):
    mesh = box(CellType.tetrahedron)
    p = Function(functionspace(mesh, ("Lagrange", 1)))
    render(folder / "constant.png", mesh, p, width=200)
    p.x.array[:] = np.nan
    render(folder / "nan.png", mesh, p, width=200, limits=(0.0, 1.0))
    assert np.any(picture(folder / "constant.png") != picture(folder / "nan.png"))


def test_render_refuses_what_it_cannot_draw(folder):
    mesh = box(CellType.tetrahedron)
    p = Function(functionspace(mesh, ("DG", 0)))
    u = Function(functionspace(mesh, ("Lagrange", 1, (3,))))
    rough = Function(functionspace(mesh, ("DG", 1)))
    other = Function(functionspace(box(CellType.tetrahedron), ("DG", 0)))
    cases = [
        ({"path": folder / "a.jpg"}, r"must end in \.png"),
        ({"values": u}, r"values should have the shape \(\)"),
        ({"values": rough}, "values should be continuous Lagrange or DG0"),
        ({"values": other}, "values lives on another mesh"),
        ({"displacement": p}, "displacement should be continuous Lagrange, got"),
        ({"mirror": "w"}, "mirror should be made of the letters"),
        ({"cmap": "nothing"}, "no colour map named 'nothing'"),
    ]
    for wrong, match in cases:
        arguments = {"path": folder / "a.png"} | wrong
        with pytest.raises(ValueError, match=match):
            render(arguments.pop("path"), mesh, **arguments)
    u.x.array[:] = np.nan
    with pytest.raises(ValueError, match="displacement is not finite"):
        render(folder / "a.png", mesh, displacement=u)
