"""The fast assembly gives the matrix and the residual that FFCx's forms give, to round-off."""

from mpi4py import MPI
from petsc4py import PETSc

import basix.ufl
import bodies
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    MaterialProblem,
    QuadratureMaterial,
    axisymmetric_deformation_gradient,
    axisymmetric_gradient,
    axisymmetric_strain,
    deformation_gradient,
    plane_strain,
    strain,
)

COMM = MPI.COMM_WORLD
CellType = mesh.CellType
#: Sums of the same products in another order, relative to the norm of the matrix.
ROUND_OFF = 1e-13


class Coupled(admat.ExplicitLaw):
    """Two outputs and two inputs; all four tangents differ from zero and none is symmetric."""

    E: float
    inputs = {"strain": admat.SYMMETRIC, "place": admat.VECTOR}  # noqa: RUF012
    outputs = {"stress": admat.SYMMETRIC, "force": admat.VECTOR}  # noqa: RUF012

    def update(self, inputs, state, dt):
        e, w = inputs["strain"], inputs["place"]
        pull = jnp.array([1.0, 0.2, -0.3, 0.5, 0.1, 0.4])
        stress = self.E * (e + 0.3 * jnp.sum(e[:3]) * pull + e[3] ** 2 + w[0] * pull)
        return {"stress": stress, "force": w * (1.0 + e[1]) + e[3:] * w[1]}, state


def box(cell=CellType.tetrahedron, n=2, partitioner=None):
    if cell in (CellType.triangle, CellType.quadrilateral):
        return mesh.create_unit_square(COMM, n, n, cell, partitioner=partitioner)
    return mesh.create_unit_cube(COMM, n, n, n, cell, partitioner=partitioner)


def bent(domain):
    """Move the nodes, so that no cell is a parallelepiped."""
    x = domain.geometry.x
    x[:, 0] += 0.08 * np.sin(2.0 * x[:, 1]) * (1.0 + x[:, 2])
    x[:, 1] += 0.05 * x[:, 0] ** 2
    return domain


def curved(cell):
    """A mesh with a geometry of degree 2: the nodes of a P2 space, moved."""
    straight = bent(box(cell))
    dim = straight.geometry.dim
    W = fem.functionspace(straight, ("P", 2, (dim,)))
    names, owned = W.dofmap.index_map, straight.topology.index_map(dim).size_local
    x = W.tabulate_dof_coordinates()[: names.size_local, :dim]
    x = x + 0.02 * np.sin(7.0 * x[:, ::-1])
    nodes = W.dofmap.list[:owned]
    cells = names.local_to_global(nodes.ravel()).reshape(nodes.shape)
    element = basix.ufl.element("Lagrange", cell.name, 2, shape=(dim,))
    return mesh.create_mesh(COMM, cells.astype(np.int64), element, x)


def wavy(u, size=3e-3):
    dim = len(u)
    u.interpolate(
        lambda x: (
            size * np.stack([np.sin(2.1 * x[k] + k) * (1.0 + x[(k + 1) % dim]) for k in range(dim)])
        )
    )


def clamped(V, value=0.0):
    """All components at x = 0 and the first one, with a value, at x = 1."""
    domain = V.mesh
    fdim = domain.topology.dim - 1
    dofs = fem.locate_dofs_topological(V, fdim, bodies.facets(domain, 0, 0.0))
    zero = np.zeros(V.dofmap.bs)
    pulled = fem.locate_dofs_topological(V.sub(0), fdim, bodies.facets(domain, 0, 1.0))
    end = fem.dirichletbc(fem.Constant(domain, value), pulled, V.sub(0))
    return [fem.dirichletbc(zero, dofs, V), end]


def problems(F, u, materials, bcs, **options):
    """The same problem in both ways of assembly."""
    return [
        MaterialProblem(
            F,
            u,
            materials=materials,
            bcs=bcs,
            petsc_options_prefix=f"{way}_",
            assembly=way,
            progress=False,
            **options,
        )
        for way in ("fast", "ffcx")
    ]


def assert_equal_assembly(F, u, materials, bcs, dt=None):
    """Matrix, residual and lifting of both ways; u need not satisfy the conditions."""
    fast, slow = (p.problem for p in problems(F, u, materials, bcs))
    assert (fast.assembly, slow.assembly) == ("fast", "ffcx")
    for material in materials:
        material.update(dt)
    vectors = []
    for problem in (fast, slow):
        fem.petsc.assign(u, problem.x)
        problem.jacobian(problem.solver, problem.x, problem.A, problem.A)
        b = problem.b.duplicate()
        problem.residual(problem.solver, problem.x, b)
        vectors.append(b)
    size = slow.A.norm()
    assert size > 0.0
    for fill in (1.0, None):
        d = slow.A.createVecRight()
        if fill is None:
            d.setRandom()
        else:
            d.set(fill)
        products = [p.A.createVecLeft() for p in (fast, slow)]
        for p, product in zip((fast, slow), products, strict=True):
            p.A.mult(d, product)
        products[0].axpy(-1.0, products[1])
        assert products[0].norm() <= ROUND_OFF * size * d.norm()
    # The same structure, and every entry.
    rows = [p.A.getValuesCSR() for p in (fast, slow)]
    for a, b in zip(rows[0][:2], rows[1][:2], strict=True):
        np.testing.assert_array_equal(a, b)
    largest = COMM.allreduce(np.abs(rows[1][2]).max(initial=0.0), op=MPI.MAX)
    np.testing.assert_allclose(rows[0][2], rows[1][2], rtol=0.0, atol=1e-13 * largest)
    assert fast.A.getBlockSize() == slow.A.getBlockSize()
    vectors[0].axpy(-1.0, vectors[1])
    assert vectors[0].norm() <= ROUND_OFF * (vectors[1].norm() + size)
    return fast


def small_strain(V, law=None, degree=2, **options):
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u)
    measure = strain if len(u) == 3 else plane_strain
    material = QuadratureMaterial(
        V.mesh, law or bodies.voce(), {"strain": measure(u)}, degree=degree, **options
    )
    return u, v, material, ufl.inner(material["stress"], measure(v)) * material.dx


@pytest.mark.parametrize(
    ("cell", "degree", "rule"),
    [
        (CellType.tetrahedron, 1, 1),
        (CellType.tetrahedron, 2, 2),
        (CellType.tetrahedron, 3, 4),
        (CellType.hexahedron, 1, 2),
        (CellType.hexahedron, 2, 4),
        (CellType.prism, 1, 2),
        (CellType.triangle, 1, 1),
        (CellType.triangle, 3, 4),
        (CellType.quadrilateral, 1, 2),
        (CellType.quadrilateral, 2, 4),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_elements(cell, degree, rule):
    domain = bent(box(cell))
    V = fem.functionspace(domain, ("P", degree, (domain.geometry.dim,)))
    u, _, material, F = small_strain(V, degree=rule)
    # dolfinx does not find boundary facets of two shapes.
    bcs = [] if cell == CellType.prism else clamped(V, 0.01)
    assert_equal_assembly(F, u, [material], bcs)


@pytest.mark.parametrize("cell", [CellType.tetrahedron, CellType.hexahedron, CellType.triangle])
def test_curved_geometry(cell):
    domain = curved(cell)
    assert domain.geometry.cmaps[0].degree == 2
    V = fem.functionspace(domain, ("P", 2, (domain.geometry.dim,)))
    u, _, material, F = small_strain(V, degree=3)
    wavy(u)
    assert_equal_assembly(F, u, [material], [])


def test_a_rank_without_cells():
    V = fem.functionspace(box(partitioner=bodies.everything_on_rank_zero), ("P", 2, (3,)))
    u, _, material, F = small_strain(V)
    assert_equal_assembly(F, u, [material], clamped(V, 0.01))


def test_no_dirichlet_conditions():
    V = fem.functionspace(box(), ("P", 1, (3,)))
    u, _, material, F = small_strain(V)
    assert_equal_assembly(F, u, [material], [])


def test_finite_strain():
    V = fem.functionspace(bent(box()), ("P", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u, 0.1)
    law = QuadratureMaterial(
        V.mesh,
        admat.NeoHookean(10.0, 0.3),
        {"deformation_gradient": deformation_gradient(u)},
        degree=3,
    )
    F = ufl.inner(law["first_piola_stress"], ufl.grad(v)) * law.dx
    assert_equal_assembly(F, u, [law], clamped(V, 0.2))


def test_operators_that_depend_on_the_unknown_and_other_terms():
    """St. Venant-Kirchhoff by the Green strain, a spring, a body force; all in one matrix."""
    V = fem.functionspace(bent(box()), ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u, 0.1)
    G = deformation_gradient(u)
    law = QuadratureMaterial(
        V.mesh, admat.LinearElastic(10.0, 0.3), {"strain": 0.5 * (G.T * G - ufl.Identity(3))},
        degree=2,
    )  # fmt: skip
    variation = ufl.sym(G.T * ufl.grad(v))
    F = ufl.inner(law["stress"], variation) * law.dx
    F += 3.0 * ufl.inner(u, v) * ufl.ds - ufl.dot(u, u) * v[2] * ufl.dx
    fast = assert_equal_assembly(F, u, [law], clamped(V, 0.2))
    action = fem.petsc.assemble_matrix(fast.J, fast._residual._bcs)  # compiled when asked for
    action.assemble()
    action.axpy(-1.0, fast.A)
    assert action.norm() <= ROUND_OFF * fast.A.norm()


def test_axisymmetry():
    """Values of the unknown and the radius in the strain, the radius in the measure as well."""
    domain = box(CellType.quadrilateral)
    domain.geometry.x[:, 0] += 1.0
    V = fem.functionspace(domain, ("P", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u)
    r = ufl.SpatialCoordinate(domain)[0]
    measure = axisymmetric_strain
    law = QuadratureMaterial(domain, bodies.voce(), {"strain": measure(u)}, degree=3)
    F = ufl.inner(law["stress"], measure(v)) * 2.0 * np.pi * r * law.dx
    assert_equal_assembly(F, u, [law], [])


REDUCED = {
    "PlaneStress": (admat.PlaneStress(bodies.voce()), strain, strain),
    "PlaneStrain, finite": (
        admat.PlaneStrain(admat.NeoHookean(10.0, 0.3)),
        deformation_gradient,
        ufl.grad,
    ),
    "Axisymmetry": (admat.Axisymmetry(bodies.voce()), axisymmetric_strain, axisymmetric_strain),
    "Axisymmetry, finite": (
        admat.Axisymmetry(admat.NeoHookean(10.0, 0.3)),
        axisymmetric_deformation_gradient,
        axisymmetric_gradient,
    ),
}


@pytest.mark.parametrize("name", REDUCED)
def test_reduced_laws(name):
    law, measure, virtual = REDUCED[name]
    domain = box(CellType.quadrilateral)
    domain.geometry.x[:, 0] += 1.0
    V = fem.functionspace(domain, ("P", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u, 0.02)
    (given,), (returned,) = law.inputs, law.outputs
    r = ufl.SpatialCoordinate(domain)[0] if "Axi" in name else 1.0
    material = QuadratureMaterial(domain, law, {given: measure(u)}, degree=3)
    F = ufl.inner(material[returned], virtual(v)) * r * material.dx
    assert_equal_assembly(F, u, [material], clamped(V, 0.01))


def test_several_inputs_and_outputs():
    V = fem.functionspace(bent(box()), ("P", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    wavy(u, 0.1)
    law = QuadratureMaterial(V.mesh, Coupled(3.0), {"strain": strain(u), "place": u}, degree=2)
    F = ufl.inner(law["stress"], strain(v)) * law.dx + ufl.dot(law["force"], v) * law.dx
    F += law["stress"][0, 1] ** 2 * v[1] * law.dx  # not linear in the output
    assert_equal_assembly(F, u, [law], clamped(V, 0.1))


def test_scalar_unknown():
    V = fem.functionspace(bent(box()), ("P", 2))
    T, q = fem.Function(V), ufl.TestFunction(V)
    T.interpolate(lambda x: np.sin(x[0] + 2.0 * x[1]))

    class Fourier(admat.ExplicitLaw):
        k: float
        inputs = {"gradient": admat.VECTOR, "temperature": admat.SCALAR}  # noqa: RUF012
        outputs = {"flux": admat.VECTOR}  # noqa: RUF012

        def update(self, inputs, state, dt):
            conductivity = self.k * (1.0 + inputs["temperature"] ** 2)
            return {"flux": -conductivity * inputs["gradient"]}, state

    law = QuadratureMaterial(
        V.mesh, Fourier(2.0), {"gradient": ufl.grad(T), "temperature": T}, degree=2
    )
    F = -ufl.dot(law["flux"], ufl.grad(q)) * law.dx
    dofs = fem.locate_dofs_topological(V, 2, bodies.facets(V.mesh, 0, 0.0))
    assert_equal_assembly(F, T, [law], [fem.dirichletbc(1.0, dofs, V)])


def test_one_dimension():
    """A spring that hardens, and an unknown of one component in a vector space."""
    domain = mesh.create_unit_interval(COMM, 7)

    class Spring(admat.ExplicitLaw):
        k: float
        inputs = {"stretch": admat.SCALAR}  # noqa: RUF012
        outputs = {"force": admat.SCALAR}  # noqa: RUF012

        def update(self, inputs, state, dt):
            return {"force": self.k * (inputs["stretch"] + inputs["stretch"] ** 3)}, state

    for shape in ((), (1,)):
        V = fem.functionspace(domain, ("P", 2, shape) if shape else ("P", 2))
        u, v = fem.Function(V), ufl.TestFunction(V)
        u.interpolate(lambda x: np.sin(x[:1]))
        slopes = [(w[0] if shape else w).dx(0) for w in (u, v)]
        law = QuadratureMaterial(domain, Spring(2.0), {"stretch": slopes[0]}, degree=3)
        assert_equal_assembly(law["force"] * slopes[1] * law.dx, u, [law], [])


@pytest.mark.parametrize("as_tags", [True, False])
def test_several_materials_on_parts_of_the_mesh(as_tags):
    """Two laws side by side, the first one also on cells where nothing else is."""
    domain = mesh.create_unit_cube(COMM, 4, 2, 2)
    V = fem.functionspace(domain, ("P", 2, (3,)))
    left, right = bodies.halves(domain, as_tags)
    u, v, soft, F = small_strain(V, admat.LinearElastic(1.0, 0.2), cells=left)
    stiff = QuadratureMaterial(domain, bodies.voce(), {"strain": strain(u)}, degree=3, cells=right)
    F += ufl.inner(stiff["stress"], strain(v)) * stiff.dx
    assert_equal_assembly(F, u, [soft, stiff], clamped(V, 0.01))


def test_newton_is_the_same():
    """A cyclic solve: norm of u, iterations, reactions."""
    results = []
    for way in ("fast", "ffcx"):
        cube = bodies.Cube()
        problem = MaterialProblem(
            cube.F,
            cube.u,
            materials=[cube.material],
            bcs=cube.bcs,
            petsc_options_prefix="way_",
            assembly=way,
            progress=False,
        )
        iterations = 0
        for value in (0.01, -0.005):
            cube.moved.value[:] = [0.5 * value, 0.0, value]
            iterations += problem.solve().iterations
        results.append((cube.norm(), iterations, problem.reaction(cube.top)))
    assert results[0][1] == results[1][1]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-10, atol=1e-9)


# -- where it does not apply ----------------------------------------------------------------


def refused(match, F, u, materials, bcs=(), **options):
    """ "fast" says why it does not apply, "auto" takes FFCx."""
    common = {"materials": materials, "bcs": list(bcs), "progress": False, **options}
    with pytest.raises(admat.MaterialError, match=match) as caught:
        MaterialProblem(F, u, petsc_options_prefix="no_", assembly="fast", **common)
    texts = COMM.allgather(str(caught.value))
    assert texts == texts[:1] * COMM.size
    problem = MaterialProblem(F, u, petsc_options_prefix="no_", **common)
    assert problem.problem.assembly == "ffcx"
    assert problem.problem.reason in str(caught.value)
    return problem


def test_a_jacobian_of_the_users_own_and_other_matrices():
    V = fem.functionspace(box(n=1), ("P", 1, (3,)))
    u, v, material, F = small_strain(V)
    J = ufl.inner(ufl.grad(ufl.TrialFunction(V)), ufl.grad(v)) * ufl.dx
    refused("J was given", F, u, [material], J=J)
    refused("P was given", F, u, [material], P=J)
    problem = refused("kind was given", F, u, [material], kind="baij")
    assert "baij" in problem.problem.A.getType()
    options = PETSc.Options()
    options["mat_type"] = "baij"
    try:
        refused("matrix type is .*baij", F, u, [material])
    finally:
        del options["mat_type"]


def test_spaces_that_do_not_fit():
    domain = box(n=1)
    cell = domain.basix_cell()
    element = basix.ufl.mixed_element(
        [basix.ufl.element("P", cell, 2, shape=(3,)), basix.ufl.element("P", cell, 1)]
    )
    M = fem.functionspace(domain, element)
    w = fem.Function(M)
    u, p = ufl.split(w)
    v, q = ufl.TestFunctions(M)
    law = QuadratureMaterial(domain, bodies.voce(), {"strain": strain(u)}, degree=2)
    F = ufl.inner(law["stress"], strain(v)) * law.dx + p * q * ufl.dx
    refused("element is mixed|not a blocked", F, w, [law])
    V, Q = fem.functionspace(domain, ("P", 1, (3,))), fem.functionspace(domain, ("P", 1))
    u, p = fem.Function(V), fem.Function(Q)
    law = QuadratureMaterial(domain, bodies.voce(), {"strain": strain(u)}, degree=2)
    blocks = [
        ufl.inner(law["stress"], strain(ufl.TestFunction(V))) * law.dx,
        p * ufl.TestFunction(Q) * ufl.dx,
    ]
    refused("has blocks", blocks, [u, p], [law])


def test_interior_facets():
    V = fem.functionspace(box(n=1), ("P", 1, (3,)))
    u, v, material, F = small_strain(V)
    F += ufl.inner(ufl.jump(u), ufl.jump(v)) * ufl.dS
    refused("interior facets", F, u, [material])


def test_second_gradients():
    V = fem.functionspace(box(n=1), ("P", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    law = QuadratureMaterial(V.mesh, admat.LinearElastic(1.0, 0.3), {"strain": strain(u)}, degree=2)
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    F += ufl.tr(law["stress"]) * ufl.div(ufl.grad(v[0])) * law.dx
    refused("contains 'Grad'", F, u, [law])


def test_without_a_compiler(monkeypatch):
    from dolfinx_admat import compilation

    def broken(*args, **options):
        raise compilation.BuildError("no compiler here")

    V = fem.functionspace(box(n=1), ("P", 1, (3,)))
    u, _, material, F = small_strain(V)
    monkeypatch.setattr(compilation, "load", broken)
    refused("no compiler here", F, u, [material])


def test_the_header_names_the_assembly(capfd, monkeypatch):
    monkeypatch.delenv("ADMAT_QUIET", raising=False)
    V = fem.functionspace(box(n=1), ("P", 1, (3,)))
    u, _, material, F = small_strain(V)
    for way in ("fast", "ffcx"):
        MaterialProblem(F, u, materials=[material], petsc_options_prefix="h_", assembly=way)
        assert (f"{way} assembly" in capfd.readouterr().out) == (COMM.rank == 0)


def test_compiler_flags(monkeypatch):
    """Ours name the machine; a user's own are left alone."""
    from dolfinx_admat.fem import _native

    ours = _native.jit_options({"cffi_debug": True})
    assert ours["cffi_debug"]
    flags = ours["cffi_extra_compile_args"]
    assert "-O3" in flags and any(flag.startswith("-DADMAT_MACHINE=") for flag in flags)
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(flags)  # NaN means failure
    own = {"cffi_extra_compile_args": ["-O1"]}
    assert _native.jit_options(own) == own


def test_unknown_assembly():
    V = fem.functionspace(box(n=1), ("P", 1, (3,)))
    u, _, material, F = small_strain(V)
    with pytest.raises(admat.MaterialError, match="assembly must be one of auto, fast, ffcx"):
        MaterialProblem(F, u, materials=[material], petsc_options_prefix="x_", assembly="slow")
