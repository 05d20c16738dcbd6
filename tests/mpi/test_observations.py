"""Values of a Function at points, and the transpose: the same on 1, 2 and 3 ranks."""

from types import SimpleNamespace

from mpi4py import MPI

import basix.ufl
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat import MaterialError
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, plane_strain
from dolfinx_admat.fem.sensitivity import LawParameter, PointDisplacements, PointMatrix, Recording

COMM = MPI.COMM_WORLD
CELLS = {
    name: getattr(mesh.CellType, name)
    for name in ("triangle", "quadrilateral", "tetrahedron", "hexahedron")
}


def box(cell, n=3, *, skew=True, ghosts=mesh.GhostMode.shared_facet):
    """Of edges 2, 1, 1, in the first octant; with skew, its cells are no parallelepipeds."""
    kind = CELLS[cell]
    if cell in ("triangle", "quadrilateral"):
        corners, sizes = [np.zeros(2), np.array([2.0, 1.0])], (n, n)
        domain = mesh.create_rectangle(COMM, corners, sizes, kind, ghost_mode=ghosts)
    else:
        corners, sizes = [np.zeros(3), np.array([2.0, 1.0, 1.0])], (n, n, n)
        domain = mesh.create_box(COMM, corners, sizes, kind, ghost_mode=ghosts)
    if skew:
        x = domain.geometry.x
        x[:, 0] += 0.3 * x[:, 1] * x[:, 0] * (2.0 - x[:, 0])
    return domain


def linear(x):
    """A field that elements of any degree have, also on skewed cells."""
    return np.stack([1.0 + 2.0 * x[0] - x[1], *((3.0 - i) * x[0] + x[i] for i in range(1, len(x)))])


def displacement(domain, field=linear, degree=1):
    axes = domain.geometry.dim
    u = fem.Function(fem.functionspace(domain, ("P", degree, (axes,))))
    u.interpolate(lambda x: field(x[:axes]))
    return u


def cloud(axes, rng, n=40):
    return rng.uniform(0.0, 1.0, (n, axes)) * np.array([2.0, 1.0, 1.0])[:axes]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("degree", [1, 3])
def test_values_are_those_of_the_field(cell, degree, rng):
    domain = box(cell)
    u, points = displacement(domain, degree=degree), cloud(domain.geometry.dim, rng)
    found = PointMatrix(u.function_space, points).values(u)
    # A linear field is exact; 1e-9 is left by Newton's method on skewed cells.
    assert found == pytest.approx(linear(points.T).T, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("ghosts", [mesh.GhostMode.none, mesh.GhostMode.shared_facet])
@pytest.mark.parametrize("cell", ["triangle", "hexahedron"])
def test_corners_and_midpoints_of_edges_belong_to_one_rank_each(cell, ghosts):
    """All nodes of P2, so also those on the borders between cells and between ranks."""
    domain = box(cell, 3, skew=False, ghosts=ghosts)
    u = displacement(domain, lambda x: np.stack([x[0] * x[1], *x[1:] ** 2]), 2)
    V = u.function_space
    own = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
    points = np.concatenate(COMM.allgather(own))[:, : domain.geometry.dim]
    H = PointMatrix(V, points)
    expected = np.stack([points[:, 0] * points[:, 1], *points.T[1:] ** 2], axis=1)
    assert H.values(u) == pytest.approx(expected, abs=1e-12)
    # Each row of H sums to one: w = 1 is spread without loss, whoever has the point.
    total = COMM.allreduce(H.transposed(np.ones(H.shape)).sum())
    assert total == pytest.approx(np.prod(H.shape), rel=1e-13)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("components", [None, (1,), (1, 0)])
def test_transpose(cell, components, rng):
    """w . (H u) = (H^T w) . u over the owned unknowns, for any u and w."""
    domain = box(cell)
    V = fem.functionspace(domain, ("P", 2, (domain.geometry.dim,)))
    u, size = fem.Function(V), V.dofmap.index_map.size_local * V.dofmap.bs
    u.interpolate(lambda x: np.stack([np.sin(9.0 * x[i] + x[0]) for i in range(V.dofmap.bs)]))
    H = PointMatrix(V, cloud(domain.geometry.dim, rng), components)
    w = rng.normal(size=H.shape)
    assert H.shape == (40, V.dofmap.bs if components is None else len(components))
    pulled = H.transposed(w)
    assert pulled.shape == (size,)
    right = COMM.allreduce(pulled @ u.x.array[:size])
    assert np.sum(w * H.values(u)) == pytest.approx(right, rel=1e-12)
    assert abs(right) > 1e-3


def test_all_ranks_have_the_same_numbers_to_the_bit(rng):
    u = displacement(box("tetrahedron"), lambda x: np.sin(x), 2)
    found = PointMatrix(u.function_space, cloud(3, rng)).values(u)
    assert all((other == found).all() for other in COMM.allgather(found))


@pytest.mark.parametrize("scalar", [True, False])
def test_ranks_without_cells_and_scalar_fields(scalar):
    domain = mesh.create_unit_square(COMM, 1, 1)  # two triangles
    u = fem.Function(fem.functionspace(domain, ("P", 1) if scalar else ("P", 1, (2,))))
    u.interpolate(lambda x: x[0] + 2.0 * x[1] if scalar else np.stack([x[0] + 2.0 * x[1], x[1]]))
    H = PointMatrix(u.function_space, [[0.5, 0.5], [0.9, 0.2], [0.0, 1.0]], (0,))
    assert H.values(u)[:, 0] == pytest.approx([1.5, 1.3, 2.0], abs=1e-14)
    assert COMM.allreduce(H.transposed(np.ones((3, 1))).sum()) == pytest.approx(3.0)


def test_curved_cells():
    """Quadrilaterals with P2 geometry on a ring: u = x is exact wherever the point is found."""
    angle = np.pi / 2.0
    element = basix.ufl.element("P", "quadrilateral", 2, shape=(2,))
    domain = ring(element, 2, 4, angle)
    u = fem.Function(fem.functionspace(domain, ("P", 2, (2,))))
    u.interpolate(lambda x: x[:2])
    t = np.linspace(0.02, angle - 0.02, 23)
    radius = np.linspace(1.0, 2.0, 23)
    radius[[0, -1]] = 1.01, 1.99
    points = np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)
    found = PointMatrix(u.function_space, points, tolerance=1e-6).values(u)
    # The edges are parabolas through the circle: all of these points are well within.
    assert found == pytest.approx(points, abs=1e-9)


def ring(element, radial, around, angle):
    """A quarter of a ring between the radii 1 and 2, made on rank 0 and distributed."""
    r, t = np.meshgrid(
        np.linspace(1, 2, 2 * radial + 1), np.linspace(0, angle, 2 * around + 1), indexing="ij"
    )
    x = np.stack([(r * np.cos(t)).ravel(), (r * np.sin(t)).ravel()], axis=1)
    node = np.arange(len(x)).reshape(r.shape)
    cells = []
    for i in range(0, 2 * radial, 2):
        for j in range(0, 2 * around, 2):
            n = node[i : i + 3, j : j + 3]
            # Corners (0,0) (1,0) (0,1) (1,1), then midpoints of edges 01 02 13 23, then middle.
            cells.append([n[0, 0], n[2, 0], n[0, 2], n[2, 2], n[1, 0], n[0, 1], n[2, 1], n[1, 2], n[1, 1]])  # fmt: skip # noqa: E501
    cells = np.array(cells if COMM.rank == 0 else np.zeros((0, 9)), np.int64)
    return mesh.create_mesh(COMM, cells, element, x if COMM.rank == 0 else np.zeros((0, 2)))


def test_points_a_little_outside_count_where_they_are_nearest():
    u = displacement(box("triangle", skew=False))
    points = np.array([[1.0, -0.01], [2.01, 0.3], [-0.006, -0.008], [0.7, 0.6]])
    nearest = np.array([[1.0, 0.0], [2.0, 0.3], [0.0, 0.0], [0.7, 0.6]])
    found = PointMatrix(u.function_space, points, tolerance=0.011).values(u)
    assert found == pytest.approx(linear(nearest.T).T, abs=1e-12)
    # Round-off and the rounding of files need no tolerance.
    close = PointMatrix(u.function_space, nearest - 1e-7).values(u)
    assert close == pytest.approx(linear(nearest.T).T, abs=1e-6)


def test_points_outside_are_listed():
    u = displacement(box("triangle", skew=False))
    points = np.array([[1.0, 0.5], [2.2, 0.3], [0.5, 0.5], [0.1, 7.0]])
    with pytest.raises(MaterialError) as caught:
        PointMatrix(u.function_space, points)
    text = str(caught.value)
    assert "2 of 4 points lie outside the mesh by more than 2.24e-06" in text
    assert "point 1 at [2.2, 0.3]; point 3 at [0.1, 7.0]. The mesh is within [0.0, 0.0]" in text
    with pytest.raises(MaterialError, match=r"1 of 4 points .* than 0.21: point 3"):
        PointMatrix(u.function_space, points, tolerance=0.21)
    many = np.full((9, 2), 5.0)
    with pytest.raises(MaterialError, match=r"point 4 at \[5.0, 5.0\]; \.\.\."):
        PointMatrix(u.function_space, many)


@pytest.mark.parametrize(
    ("points", "components", "message"),
    [
        ([[0.0, 0.0, 0.0]], None, r"shape \(1, 3\), expected \(points, 2\)"),
        ([0.0, 0.0], None, r"shape \(2,\)"),
        (np.zeros((0, 2)), None, r"shape \(0, 2\)"),
        ([[0.0, 0.0], [np.nan, 0.0]], None, r"points \[1\] are not finite"),
        ([[0.0, 0.0]], (2,), r"components are 0 to 1, each once; got \(2,\)"),
        ([[0.0, 0.0]], (0, 0), "each once"),
        ([[0.0, 0.0]], (), "each once"),
    ],
)
def test_wrong_arguments(points, components, message):
    V = fem.functionspace(box("triangle"), ("P", 1, (2,)))
    with pytest.raises(MaterialError, match=message):
        PointMatrix(V, points, components)


def test_wrong_spaces():
    domain = box("triangle")
    P2 = basix.ufl.element("P", "triangle", 2, shape=(2,))
    P1 = basix.ufl.element("P", "triangle", 1)
    for element in (
        basix.ufl.mixed_element([P2, P1]),
        basix.ufl.element("RT", "triangle", 1),
        basix.ufl.quadrature_element("triangle", (2,), "default", 2),
    ):
        with pytest.raises(MaterialError, match="expected a space of nodal values"):
            PointMatrix(fem.functionspace(domain, element), [[0.5, 0.5]])


@pytest.mark.skipif(COMM.size == 1, reason="ranks that disagree")
def test_ranks_that_disagree():
    V = fem.functionspace(box("triangle"), ("P", 1, (2,)))
    with pytest.raises(MaterialError, match="the same on all ranks"):
        PointMatrix(V, [[0.5, 0.1 + 0.1 * COMM.rank]])


def test_observer(rng):
    domain = box("hexahedron")
    u, p = displacement(domain), fem.Function(fem.functionspace(domain, ("P", 1)))
    problem, points = SimpleNamespace(functions=[p, u]), cloud(3, rng, 7)
    observer = PointDisplacements(points, (2, 0), block=1)
    observer.attach(problem, {})
    assert observer.shape == (7, 2)
    assert observer.observe() == pytest.approx(linear(points.T).T[:, [2, 0]], abs=1e-9)
    size = u.function_space.dofmap.index_map.size_local * 3
    bars = SimpleNamespace(u=[None, np.ones(size)])
    w = rng.normal(size=(7, 2))
    observer.pull(w, bars)
    pulled = COMM.allreduce((bars.u[1] - 1.0) @ u.x.array[:size])
    assert np.sum(w * observer.push(SimpleNamespace(u=[p, u]))) == pytest.approx(pulled, rel=1e-12)


def test_gradient_of_a_misfit_at_points():
    """A plate sheared into plasticity and back; adjoint, tangent and differences."""
    domain = mesh.create_rectangle(COMM, [np.zeros(2), np.array([2.0, 1.0])], (4, 3))
    V = fem.functionspace(domain, ("P", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    steel = admat.J2Plasticity(200.0, 0.3, admat.LinearHardening(0.3, 10.0))
    law = QuadratureMaterial(domain, steel, {"strain": plane_strain(u)}, degree=1)
    load = fem.Constant(domain, np.zeros(2))
    F = ufl.inner(law["stress"], plane_strain(v)) * law.dx - ufl.inner(load, v) * ufl.ds
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    problem = MaterialProblem(
        F, u, materials=[law], bcs=[fem.dirichletbc(np.zeros(2), left, V)],
        petsc_options_prefix="points_", solver="direct",
        petsc_options={"snes_rtol": 1e-12, "snes_atol": 1e-13, "snes_stol": 0.0},
    )  # fmt: skip
    H = LawParameter(law, "hardening.H")
    points = [[2.0, 1.0], [1.3, 0.4], [0.5, 0.77]]
    recording = Recording(
        problem, observe={"u": PointDisplacements(points)}, controls={"H": H}, progress=False
    )

    def run():
        with recording:
            for traction in (0.03, 0.05, 0.01):
                load.value[:] = 0.0, traction
                problem.solve()
        return recording.observed["u"]

    weight = np.array([1.0, -2.0, 3.0])[:, None, None]  # of steps

    def misfit(observed):
        return jnp.sum(weight * observed["u"] ** 2)

    observed = run()
    assert observed.shape == (3, 3, 2)
    largest = np.max(law.values("equivalent_plastic_strain"), initial=0.0)
    assert COMM.allreduce(largest, MPI.MAX) > 1e-4
    value, gradient = recording.gradient(misfit)
    forward = recording.jvp({"H": 1.0})["u"]
    slope = float(gradient["H"])
    assert np.sum(2.0 * weight * observed * forward) == pytest.approx(slope, rel=1e-9)
    ends = []
    for change in (0.01, -0.01):
        recording.restart()
        H.set(10.0 + change)
        ends.append(float(misfit({"u": run()})))
    # Truncation (1e-3)^2, and round-off of solves to 1e-12 over a change of 1e-3.
    assert (ends[0] - ends[1]) / 0.02 == pytest.approx(slope, rel=1e-5)
    assert abs(slope) * 10.0 > 1e-3 * abs(value)
