"""The finite element problem: features, and the same numbers on 1, 2 and 3 ranks."""

from mpi4py import MPI
from petsc4py import PETSc

import bodies
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.common import timing
from dolfinx.fem.petsc import (
    NonlinearProblem,
    apply_lifting,
    assemble_matrix,
    assemble_vector,
    create_matrix,
    create_vector,
    set_bc,
)

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    material_derivative,
    plane_strain,
    strain,
)

# Cyclic cube on one rank: norm of u, integral of the equivalent plastic strain, reaction. The last
# Newton iterations converge quadratically, so the figures are good far beyond 1e-9.
CYCLE = (0.01, -0.005, 0.008)
NORM, PLASTIC = 0.06559223590342793, 0.03233178895599883
REACTION = [28.25686558, -6.30507291, 411.28297994]


def run_cycle(cube):
    for value in CYCLE:
        cube.moved.value[:] = [0.5 * value, 0.0, value]
        cube.problem.solve()


@pytest.mark.parametrize("partitioner", [None, bodies.everything_on_rank_zero])
@pytest.mark.parametrize("general", [False, True])
def test_same_numbers_on_all_rank_counts(partitioner, general):
    law = bodies.voce()
    if general:
        law = admat.J2PlasticityGeneral(law.E, law.nu, law.hardening)
    cube = bodies.Cube(law, partitioner=partitioner)
    if partitioner is not None and MPI.COMM_WORLD.rank > 0:
        assert len(cube.material.cells) == 0
    run_cycle(cube)
    assert cube.norm() == pytest.approx(NORM, rel=1e-9)
    assert cube.material.integrate("equivalent_plastic_strain") == pytest.approx(PLASTIC, rel=1e-9)
    np.testing.assert_allclose(cube.problem.reaction(cube.top), REACTION, rtol=1e-8)
    # Newton's third law: the two ends hold each other.
    np.testing.assert_allclose(cube.problem.reaction(cube.bottom), -np.array(REACTION), rtol=1e-7)


def test_iterative_preset_gives_the_same_answer():
    cube = bodies.Cube(solver="iterative")
    run_cycle(cube)
    # Linear solves to 1e-8 inside Newton to 1e-9 of the first residual.
    assert cube.norm() == pytest.approx(NORM, rel=1e-7)
    assert cube.material.integrate("equivalent_plastic_strain") == pytest.approx(PLASTIC, rel=1e-6)
    assert cube.problem.solver.getKSP().getType() == "cg"
    assert cube.problem.solver.getKSP().getPC().getType() == "gamg"


class OneWay(admat.ExplicitSmallStrain):
    """Elasticity with a pressure that depends on shear: its tangent is not symmetric."""

    E: float
    slope: float

    def update(self, strain, state, dt):
        pressure = self.slope * strain[4] * jnp.array([1.0, 1, 1, 0, 0, 0])
        return admat.IsotropicElasticity(self.E, 0.3).stress(strain) + pressure, state


def test_iterative_preset_takes_gmres_for_an_unsymmetric_tangent():
    answers = []
    for solver in ("direct", "iterative"):
        cube = bodies.Cube(OneWay(100.0, 40.0), solver=solver)
        cube.moved.value[:] = [0.02, 0.0, 0.01]
        cube.problem.solve()
        answers.append(cube.norm())
    assert cube.problem.solver.getKSP().getType() == "gmres"
    assert answers[1] == pytest.approx(answers[0], rel=1e-7)


def test_petsc_options_win_over_the_preset():
    cube = bodies.Cube()
    problem = MaterialProblem(
        cube.F,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs,
        petsc_options_prefix="other_",
        solver="iterative",
        petsc_options={"ksp_type": "bcgs", "snes_atol": 3.0, "snes_linesearch_type": "l2"},
        progress=False,
    )
    assert problem.solver.getKSP().getType() == "bcgs"
    cube.moved.value[2] = 0.001
    problem.solve()
    assert problem.solver.getTolerances()[1] == 3.0
    assert problem.solver.getLineSearch().getType() == "l2"


def test_history_survives_load_unload_reload():
    """Unloading is elastic, and reloading to the same strain adds no plastic strain."""
    cube = bodies.Cube()
    forces, plastic = [], []
    for value in (0.008, 0.0078, 0.0076, 0.008):
        cube.moved.value[2] = value
        cube.problem.solve()
        forces.append(cube.problem.reaction(cube.top)[2])
        plastic.append(cube.material.integrate("equivalent_plastic_strain"))
    np.testing.assert_allclose(plastic, plastic[0], rtol=1e-9)
    assert plastic[0] > 0.005
    assert forces[0] - forces[1] == pytest.approx(forces[1] - forces[2], rel=1e-6)
    assert forces[3] == pytest.approx(forces[0], rel=1e-9)


def test_commit_false_leaves_the_decision_to_the_caller():
    cube = bodies.Cube()
    cube.moved.value[2] = 0.01
    cube.problem.solve(commit=False)
    assert cube.material.integrate("equivalent_plastic_strain") > 0.001
    state = cube.material.state["equivalent_plastic_strain"]
    assert np.count_nonzero(state) == 0  # the state at t_n has not moved
    cube.problem.revert()
    assert cube.material.integrate("equivalent_plastic_strain") == 0.0
    assert np.abs(cube.material.values("stress")).max(initial=0.0) == 0.0
    cube.problem.solve()
    trial = cube.material.values("equivalent_plastic_strain")
    np.testing.assert_array_equal(cube.material.state["equivalent_plastic_strain"], trial)


def two_regions(as_tags):
    domain = mesh.create_unit_cube(MPI.COMM_WORLD, 4, 2, 2)
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    left, right = bodies.halves(domain, as_tags)
    soft, stiff = admat.LinearElastic(1.0, 0.0), admat.LinearElastic(3.0, 0.0)
    laws = [
        QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=1, cells=cells)
        for law, cells in ((soft, left), (stiff, right))
    ]
    F = sum(ufl.inner(law["stress"], strain(v)) * law.dx for law in laws)
    pull = fem.Constant(domain, 0.4)
    bcs = []
    for axis in range(3):
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 2, bodies.facets(domain, axis, 0.0))
        bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
    W = V.sub(0)
    end = bodies.facets(domain, 0, 1.0)
    bcs.append(fem.dirichletbc(pull, fem.locate_dofs_topological(W, 2, end), W))
    return domain, u, F, laws, bcs, end


@pytest.mark.parametrize("as_tags", [True, False])
def test_two_materials_in_series(as_tags):
    """A soft and a stiff half share the force: stress = 0.4 / (0.5/1 + 0.5/3)."""
    domain, u, F, laws, bcs, end = two_regions(as_tags)
    problem = MaterialProblem(
        F, u, materials=laws, bcs=bcs, petsc_options_prefix="series_", progress=False
    )
    problem.solve()
    expected = 0.4 / (0.5 / 1.0 + 0.5 / 3.0)
    assert problem.reaction(end)[0] == pytest.approx(expected, rel=1e-12)
    for law in laws:
        assert law.integrate("stress")[0, 0] == pytest.approx(0.5 * expected, rel=1e-12)
    both = laws[0].cell_average("stress")
    laws[1].cell_average("stress", out=both)
    norm = fem.assemble_scalar(fem.form(both[0, 0] * ufl.dx))
    assert domain.comm.allreduce(norm) == pytest.approx(expected, rel=1e-12)


def test_parameters_that_vary_in_space():
    """The series of two stiffnesses again, as one law with a field E: DG0 Function, UFL, array."""
    domain, u, _, _, bcs, end = two_regions(True)
    v = ufl.TestFunction(u.function_space)
    modulus = fem.Function(fem.functionspace(domain, ("DG", 0)))
    modulus.interpolate(lambda x: np.where(x[0] < 0.5, 1.0, 3.0))
    owned = domain.topology.index_map(3).size_local
    x = ufl.SpatialCoordinate(domain)
    for value in (modulus, ufl.conditional(x[0] < 0.5, 1.0, 3.0), modulus.x.array[:owned]):
        u.x.array[:] = 0.0
        law = QuadratureMaterial(
            domain,
            admat.LinearElastic(7.0, 0.0),
            {"strain": strain(u)},
            degree=1,
            parameters={"E": value},
        )
        problem = MaterialProblem(
            ufl.inner(law["stress"], strain(v)) * law.dx,
            u,
            materials=[law],
            bcs=bcs,
            petsc_options_prefix="field_",
            progress=False,
        )
        problem.solve()
        expected = 0.4 / (0.5 / 1.0 + 0.5 / 3.0)
        assert problem.reaction(end)[0] == pytest.approx(expected, rel=1e-12)


def test_new_parameter_values_need_no_compilation():
    cube = bodies.Cube(admat.LinearElastic(100.0, 0.2), n=1)
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    first = cube.problem.reaction(cube.top)[2]
    traces = cube.material.kernel.traces
    cube.material.material = admat.LinearElastic(200.0, 0.2)
    cube.problem.solve()
    assert cube.problem.reaction(cube.top)[2] == pytest.approx(2.0 * first, rel=1e-12)
    assert cube.material.kernel.traces == traces


def test_initial_stress_in_equilibrium_with_gravity():
    """Geostatic stress: a column under its weight does not move, and yields earlier after that."""
    domain = mesh.create_box(
        MPI.COMM_WORLD, [[0, 0, 0], [1, 1, 4]], [1, 1, 4], mesh.CellType.hexahedron
    )
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    x = ufl.SpatialCoordinate(domain)
    vertical = -20.0 * (4.0 - x[2])
    zero = ufl.as_ufl(0.0)
    lateral = 0.5 * vertical
    stress0 = ufl.as_matrix([[lateral, zero, zero], [zero, lateral, zero], [zero, zero, vertical]])
    soil = admat.J2Plasticity(1e4, 0.3, admat.LinearHardening(60.0, 100.0))
    law = QuadratureMaterial(
        domain, soil, {"strain": strain(u)}, degree=2, initial_stress=stress0,
        initial_state={"equivalent_plastic_strain": 0.01},
    )  # fmt: skip
    np.testing.assert_allclose(
        law.integrate("stress")[2, 2], -20.0 * 4.0 * 2.0, rtol=1e-12
    )  # before any update
    weight = fem.Constant(domain, 20.0)
    F = ufl.inner(law["stress"], strain(v)) * law.dx + weight * v[2] * law.dx
    bcs = []
    for axis, values in ((0, (0.0, 1.0)), (1, (0.0, 1.0)), (2, (0.0,))):
        for value in values:
            W = V.sub(axis)
            dofs = fem.locate_dofs_topological(W, 2, bodies.facets(domain, axis, value))
            bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix="soil_", progress=False
    )
    problem.solve()
    largest = domain.comm.allreduce(np.abs(u.x.array).max(initial=0.0), op=MPI.MAX)
    assert largest < 1e-12  # sigma0 balances the weight: nothing moves
    assert law.integrate("equivalent_plastic_strain") == pytest.approx(0.01 * 4.0, rel=1e-12)
    assert problem.reaction(bodies.facets(domain, 2, 0.0))[2] == pytest.approx(80.0, rel=1e-10)

    # The law sees the initial stress. Oedometer step e in zz: q grows by 2 mu e from q0 = 10 (4-z);
    # the base (q0 up to 40, yield stress 61) must yield first.
    weight.value = 60.0  # heavier: q = 30 (4 - z) would reach 120 > 61 at the base
    problem.solve()
    plastic = law.values("equivalent_plastic_strain") - 0.01
    heights = fem.Expression(x, law.points).eval(domain, law.cells)[:, :, 2]
    low = plastic[heights < 1.0]
    high = plastic[heights > 3.0]
    assert domain.comm.allreduce(low.min(initial=1.0), op=MPI.MIN) > 1e-4
    assert domain.comm.allreduce(np.abs(high).max(initial=0.0), op=MPI.MAX) < 1e-12


def test_initial_stress_outside_the_yield_surface_is_refused():
    with pytest.raises(admat.MaterialError, match="initial_stress is not admissible"):
        bodies.Cube(n=1, initial_stress=np.diag([0.0, 0.0, 400.0]))


def test_plane_strain_equals_a_3d_slice():
    """The same compression in 2D plane strain and in 3D with u_z = 0."""
    law = bodies.voce()
    forces = []
    for dim in (2, 3):
        size = [2, 2, 1][:dim]
        if dim == 2:
            domain = mesh.create_unit_square(MPI.COMM_WORLD, *size, mesh.CellType.quadrilateral)
        else:
            domain = mesh.create_unit_cube(MPI.COMM_WORLD, *size, mesh.CellType.hexahedron)
        V = fem.functionspace(domain, ("P", 2, (dim,)))
        u, v = fem.Function(V), ufl.TestFunction(V)
        measure = plane_strain if dim == 2 else strain
        material = QuadratureMaterial(domain, law, {"strain": measure(u)}, degree=4)
        F = ufl.inner(material["stress"], measure(v)) * material.dx
        fdim = dim - 1
        W = V.sub(1)
        push = fem.Constant(domain, -0.004)
        top = bodies.facets(domain, 1, 1.0)
        bcs = [
            fem.dirichletbc(
                np.zeros(dim),
                fem.locate_dofs_topological(V, fdim, bodies.facets(domain, 1, 0.0)),
                V,
            ),
            fem.dirichletbc(push, fem.locate_dofs_topological(W, fdim, top), W),
        ]
        if dim == 3:
            Z = V.sub(2)
            for z in (0.0, 1.0):
                dofs = fem.locate_dofs_topological(Z, 2, bodies.facets(domain, 2, z))
                bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, Z))
        problem = MaterialProblem(
            F, u, materials=[material], bcs=bcs, petsc_options_prefix="slice_", progress=False
        )
        problem.solve()
        forces.append(problem.reaction(top)[:2])
    np.testing.assert_allclose(forces[0], forces[1], rtol=1e-7, atol=1e-7)
    assert forces[0][1] < -250.0


def test_a_users_own_snes():
    """update/commit and fem.material_derivative suffice to drive the law with any solver."""
    reference = bodies.Cube()
    run_cycle(reference)

    cube = bodies.Cube()
    u, law, bcs = cube.u, cube.material, cube.bcs
    F = fem.form(cube.F)
    J = fem.form(material_derivative(cube.F, u, materials=[law]))
    A, b = create_matrix(J), create_vector(cube.V)

    def residual(snes, x, b):
        x.ghostUpdate(PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        fem.petsc.assign(x, u)
        law.update()
        with b.localForm() as local:
            local.set(0.0)
        assemble_vector(b, F)
        apply_lifting(b, [J], [bcs], x0=[x], alpha=-1.0)
        b.ghostUpdate(PETSc.InsertMode.ADD, PETSc.ScatterMode.REVERSE)
        set_bc(b, bcs, x0=x, alpha=-1.0)

    def jacobian(snes, x, A, P):
        A.zeroEntries()
        assemble_matrix(A, J, bcs)
        A.assemble()

    snes = PETSc.SNES().create(MPI.COMM_WORLD)
    snes.setFunction(residual, b)
    snes.setJacobian(jacobian, A)
    snes.setTolerances(rtol=1e-10, max_it=60)
    snes.getLineSearch().setType("bt")
    snes.getKSP().setType("preonly")
    snes.getKSP().getPC().setType("lu")
    snes.getKSP().getPC().setFactorSolverType("mumps")
    x = create_vector(cube.V)
    for value in CYCLE:
        cube.moved.value[:] = [0.5 * value, 0.0, value]
        fem.petsc.assign(u, x)
        snes.solve(None, x)
        assert snes.getConvergedReason() > 0
        x.ghostUpdate(PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        fem.petsc.assign(x, u)
        law.update()
        law.commit()
    assert cube.norm() == pytest.approx(reference.norm(), rel=1e-9)
    for thing in (snes, A, b, x):
        thing.destroy()


class Thermoelastic(admat.ExplicitLaw):
    """Stress of a thermally expanding solid; the temperature comes from another problem."""

    E: float
    nu: float
    expansion: float
    inputs = {"strain": admat.SYMMETRIC, "temperature": admat.SCALAR}  # noqa: RUF012
    outputs = {"stress": admat.SYMMETRIC}  # noqa: RUF012

    def update(self, inputs, state, dt):
        thermal = self.expansion * inputs["temperature"] * jnp.array([1.0, 1, 1, 0, 0, 0])
        stress = admat.IsotropicElasticity(self.E, self.nu).stress(inputs["strain"] - thermal)
        return {"stress": stress}, state


def test_staggered_scheme_with_another_dolfinx_problem():
    """Heat conduction by dolfinx, then the mechanical step; free expansion has a closed form."""
    domain = mesh.create_unit_cube(MPI.COMM_WORLD, 2, 2, 2)
    Q = fem.functionspace(domain, ("P", 1))
    T, q = fem.Function(Q), ufl.TestFunction(Q)
    hot = fem.Constant(domain, 0.0)
    everywhere = mesh.locate_entities_boundary(domain, 2, lambda x: x[0] > -1.0)
    heat = NonlinearProblem(
        ufl.inner((1 + 0.01 * T) * ufl.grad(T), ufl.grad(q)) * ufl.dx,
        T,
        bcs=[fem.dirichletbc(hot, fem.locate_dofs_topological(Q, 2, everywhere), Q)],
        petsc_options_prefix="heat_",
    )
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    law = QuadratureMaterial(
        domain, Thermoelastic(100.0, 0.3, 1e-3), {"strain": strain(u), "temperature": T}, degree=1
    )
    bcs = []
    for axis in range(3):
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 2, bodies.facets(domain, axis, 0.0))
        bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
    problem = MaterialProblem(
        ufl.inner(law["stress"], strain(v)) * law.dx,
        u,
        materials=[law],
        bcs=bcs,
        petsc_options_prefix="staggered_",
        progress=False,
    )
    for value in (10.0, 25.0):
        hot.value = value
        heat.solve()
        problem.solve()
        highest = domain.comm.allreduce(u.x.array.max(initial=0.0), op=MPI.MAX)
        assert highest == pytest.approx(1e-3 * value, rel=1e-9)
        assert np.abs(law.integrate("stress")).max() < 1e-9


def test_stepper_hits_times_exactly_and_grows_again():
    cube = bodies.Cube(n=1)
    seen = []

    def load(t):
        cube.moved.value[2] = 0.01 * t

    for step in LoadStepper(cube.problem, [0.3, 0.7, 1.0], load=load, initial_dt=0.1, growth=2.0):
        seen.append((step.time, step.dt, step.prescribed))
    times = [t for t, _, _ in seen]
    assert [t for t, _, hit in seen if hit] == [0.3, 0.7, 1.0]
    assert times[0] == pytest.approx(0.1)
    assert max(dt for _, dt, _ in seen) > 0.19
    np.testing.assert_allclose(np.diff([0.0, *times]), [dt for _, dt, _ in seen], rtol=1e-12)


def test_progress_line(capsys, monkeypatch):
    monkeypatch.delenv("ADMAT_QUIET", raising=False)
    cube = bodies.Cube(n=1)
    problem = MaterialProblem(
        cube.F, cube.u, materials=[cube.material], bcs=cube.bcs, petsc_options_prefix="loud_"
    )
    cube.moved.value[2] = 0.01
    problem.solve(time=0.5)
    loud = capsys.readouterr().out
    monkeypatch.setenv("ADMAT_QUIET", "1")
    MaterialProblem(
        cube.F, cube.u, materials=[cube.material], bcs=cube.bcs, petsc_options_prefix="quiet_"
    ).solve()
    assert capsys.readouterr().out == ""
    if MPI.COMM_WORLD.rank > 0:
        assert loud == ""
        return
    assert "J2Plasticity" in loud and "plastic points" in loud
    columns = loud.strip().splitlines()[-1].split()
    assert columns[:2] == ["1", "0.5"]
    assert columns[5] == "24"  # all 6 tetrahedra of one cube, 4 points each, are plastic


def test_options_of_one_problem_do_not_leak_into_the_next():
    database = PETSc.Options()
    before = database.getAll()
    cube = bodies.Cube(n=1, solver="iterative")
    cube.moved.value[2] = 0.001
    cube.problem.solve()
    assert database.getAll() == before
    database["cube_snes_max_it"] = 17  # as from the command line: wins over the preset
    try:
        other = bodies.Cube(n=1)
        assert other.problem.solver.getTolerances()[3] == 17
    finally:
        database.delValue("cube_snes_max_it")
    third = bodies.Cube(n=1)
    assert third.problem.solver.getTolerances()[3] == 40
    assert third.problem.solver.getKSP().getPC().getType() == "lu"


class Plain(admat.ExplicitLaw):
    """Inputs and outputs declared as plain tuples, several of them."""

    a: float
    inputs = {"g": (3,), "T": ()}  # noqa: RUF012
    outputs = {"q": (3,), "c": ()}  # noqa: RUF012

    def update(self, inputs, state, dt):
        return {"q": -self.a * inputs["g"], "c": inputs["T"] ** 2}, state


def test_plain_shapes_several_inputs_and_timers():
    domain = mesh.create_unit_cube(MPI.COMM_WORLD, 2, 2, 2)
    T = fem.Function(fem.functionspace(domain, ("P", 1)))
    T.interpolate(lambda x: 3.0 * x[0])
    law = QuadratureMaterial(domain, Plain(2.0), {"g": ufl.grad(T), "T": T}, degree=2)
    law.update()
    np.testing.assert_allclose(law.integrate("q"), [-6.0, 0.0, 0.0], atol=1e-12)
    assert law.integrate("c") == pytest.approx(3.0, rel=1e-12)  # integral of 9 x^2
    names = {name for name in ("material", "inputs", "kernel") if timing(f"admat: {name}")[0] >= 1}
    assert names == {"material", "inputs", "kernel"}


def test_state_can_be_set():
    cube = bodies.Cube(n=1)
    x = ufl.SpatialCoordinate(cube.mesh)
    cube.material.set_state("equivalent_plastic_strain", 0.1 * x[2])
    assert cube.material.integrate("equivalent_plastic_strain") == pytest.approx(0.05, rel=1e-12)
    with pytest.raises(admat.MaterialError, match="no state variable 'p'"):
        cube.material.set_state("p", 0.0)


def test_follower_pressure_takes_gmres():
    """A load that depends on u makes the Jacobian unsymmetric, whatever the law declares."""
    cube = bodies.Cube(admat.LinearElastic(100.0, 0.3), n=1)
    n = ufl.FacetNormal(cube.mesh)
    follower = ufl.inner((1.0 + cube.u[0]) * n, cube.v) * ufl.ds
    problem = MaterialProblem(
        cube.F + follower,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs,
        petsc_options_prefix="follower_",
        solver="iterative",
        progress=False,
    )
    assert problem.solver.getKSP().getType() == "gmres"
