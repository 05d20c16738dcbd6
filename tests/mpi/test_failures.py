"""A solve that fails changes nothing and ends alike on all ranks, wherever the failure is."""

import gc
import signal
import weakref

from mpi4py import MPI

import bodies
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD


class Brittle(admat.ExplicitSmallStrain):
    """Linear elastic; the result is NaN where the axial strain exceeds a limit."""

    E: float
    limit: float
    symmetric_tangent = True

    def initial_state(self):
        return {"largest": 0.0}

    def update(self, strain, state, dt):
        stress = admat.IsotropicElasticity(self.E, 0.3).stress(strain)
        broken = jnp.where(strain[2] > self.limit, jnp.nan, 1.0)
        return stress * broken, {"largest": jnp.maximum(state["largest"], strain[2])}


def brittle_cube(limit_of_one_point):
    """A cube in which one point, on the last rank that has points, has another limit."""
    cube = bodies.Cube(n=2)  # for the mesh and its distribution
    cells = len(cube.material.cells)
    limit = np.full((cells, 4), 1.0)
    owners = COMM.allgather(cells > 0)
    rank = max(r for r, has in enumerate(owners) if has)
    if rank == COMM.rank:
        limit[-1, 3] = limit_of_one_point
    law = Brittle(E=100.0, limit=1.0)
    return bodies.Cube(law, n=2, parameters={"limit": limit}), rank


def snapshot(cube):
    return {
        "u": cube.u.x.array.copy(),
        "stress": cube.material.values("stress"),
        **{k: v.copy() for k, v in cube.material.state.items()},
    }


def assert_same(a, b):
    for key, value in a.items():
        np.testing.assert_array_equal(value, b[key], err_msg=key)


def test_one_failing_point_on_one_rank():
    cube, rank = brittle_cube(0.02)
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    before = snapshot(cube)
    cube.moved.value[2] = 0.2
    with pytest.raises(admat.ConvergenceError) as caught:
        cube.problem.solve()
    assert_same(before, snapshot(cube))
    text = str(caught.value)
    texts = COMM.allgather(text)
    assert texts == [text] * COMM.size
    assert "local update failed at 1 of 192 points" in text
    assert f"rank {rank}, global cell" in text and "NOT_FINITE" in text
    assert "as they were" in text
    # The report is enough to repeat the failure at one point, without mesh or MPI.
    worst = caught.value.report["worst"]
    assert worst["inputs"]["strain"][2] > 0.02
    again = admat.evaluate_point(
        Brittle(**worst["parameters"]), worst["inputs"], worst["state"], dt=0.0
    )
    assert int(again.status.code) == admat.LocalStatus.NOT_FINITE
    # And the problem still works.
    cube.moved.value[2] = 0.011
    cube.problem.solve()
    assert COMM.allreduce(cube.material.values("largest").max(initial=0.0), op=MPI.MAX) > 0.0099


def test_the_stepper_halves_rolls_back_and_stops():
    cube, _ = brittle_cube(0.035)
    loads = []

    def load(t):
        loads.append(t)
        cube.moved.value[2] = 0.1 * t

    stepper = LoadStepper(cube.problem, [1.0], load=load, min_dt=0.02)
    accepted = []
    with pytest.raises(admat.ConvergenceError, match="smallest size") as caught:
        for step in stepper:
            accepted.append((step.time, step.halvings, snapshot(cube)))
    assert accepted and accepted[0][1] > 0
    assert stepper.time == accepted[-1][0] == caught.value.report["time"]
    assert loads[-1] == stepper.time  # the load is that of the state
    assert_same(accepted[-1][2], snapshot(cube))
    assert 0.2 < stepper.time < 0.5


def test_divergence_of_newton_restores_everything():
    cube = bodies.Cube()
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    before = snapshot(cube)
    problem = MaterialProblem(
        cube.F,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs,
        petsc_options_prefix="short_",
        petsc_options={"snes_max_it": 1},
        progress=False,
    )
    cube.moved.value[:] = [0.02, 0.0, -0.02]
    with pytest.raises(admat.ConvergenceError, match="DIVERGED_MAX_IT after 1 Newton iterations"):
        problem.solve()
    assert_same(before, snapshot(cube))


def test_singular_problem_says_that_the_linear_solver_failed():
    cube = bodies.Cube(admat.LinearElastic(1.0, 0.3), n=1)
    problem = MaterialProblem(
        cube.F,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs[:1],
        petsc_options_prefix="weak_",
        petsc_options={"ksp_type": "cg", "pc_type": "none", "ksp_max_it": 1, "ksp_rtol": 1e-14},
        progress=False,
    )
    cube.u.interpolate(lambda x: np.stack([0.01 * x[2] ** 2, 0 * x[0], 0.02 * x[2] * x[0]]))
    before = snapshot(cube)
    with pytest.raises(admat.ConvergenceError, match="DIVERGED_LINEAR_SOLVE"):
        problem.solve()
    assert_same(before, snapshot(cube))


def test_an_exception_inside_a_residual_evaluation_restores_everything(monkeypatch):
    cube = bodies.Cube()
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    before = snapshot(cube)
    calls = []
    update = type(cube.material.kernel).update

    def broken(self, *args, **options):
        calls.append(1)
        if COMM.rank == 0 and len(calls) == 4:
            raise ValueError("disk full")
        return update(self, *args, **options)

    monkeypatch.setattr(type(cube.material.kernel), "update", broken)
    cube.moved.value[2] = 0.02
    with pytest.raises(ValueError, match="disk full"):
        cube.problem.solve()
    monkeypatch.undo()
    assert_same(before, snapshot(cube))
    cube.problem.solve()


def test_interrupt_restores_everything(monkeypatch):
    cube = bodies.Cube()
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    before = snapshot(cube)
    calls = []
    update = type(cube.material.kernel).update

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return update(self, *args, **options)

    monkeypatch.setattr(type(cube.material.kernel), "update", interrupted)
    cube.moved.value[2] = 0.02
    with pytest.raises(KeyboardInterrupt):
        cube.problem.solve()
    monkeypatch.undo()
    assert_same(before, snapshot(cube))
    cube.problem.solve()


def test_a_signal_during_a_solve_restores_everything(monkeypatch):
    """A real SIGINT, which in serial is kept until Python may stop."""
    cube = bodies.Cube()
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    before, handler = snapshot(cube), signal.getsignal(signal.SIGINT)
    calls = []
    update = type(cube.material.kernel).update

    def interrupted(self, *args, **options):
        calls.append(1)
        result = update(self, *args, **options)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(type(cube.material.kernel), "update", interrupted)
    cube.moved.value[2] = 0.02
    with pytest.raises(KeyboardInterrupt):
        cube.problem.solve()
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(before, snapshot(cube))
    cube.problem.solve()


def test_a_failed_or_large_load_does_not_blunt_later_solves():
    """The tolerance belongs to the forces of the step: tiny loads after huge ones are solved."""
    cube = bodies.Cube(admat.LinearElastic(100.0, 0.3), n=1)
    pull = fem.Constant(cube.mesh, 0.0)
    problem = MaterialProblem(
        cube.F - pull * cube.v[2] * ufl.ds,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs[:1],
        petsc_options_prefix="tiny_",
        progress=False,
    )
    sizes = {}
    for value in (1e6, 0.0, 1e-5, 0.0, 100.0):
        pull.value = value
        problem.solve()
        sizes[value] = cube.norm()
    assert sizes[1e-5] == pytest.approx(1e-11 * sizes[1e6], rel=1e-5)
    assert sizes[100.0] == pytest.approx(1e-4 * sizes[1e6], rel=1e-9)


def test_a_bad_dt_on_one_rank_is_an_error_on_all():
    cube = bodies.Cube(n=1)
    with pytest.raises(admat.MaterialError, match="dt must be a finite number >= 0; got -1"):
        cube.material.update(-1.0 if COMM.rank == COMM.size - 1 else 1.0)


def test_nan_boundary_value_and_nan_parameter_are_named():
    cube = bodies.Cube(n=1)
    cube.moved.value[2] = np.nan
    with pytest.raises(admat.MaterialError, match="prescribed boundary value is NaN"):
        cube.problem.solve()
    law = cube.material.material
    with pytest.raises(admat.MaterialError, match="parameter 'E' is NaN"):
        cube.material.material = eqx.tree_at(lambda m: m.E, law, jnp.nan)
    cube.material.material = eqx.tree_at(lambda m: m.E, law, 100e3)  # a plain number is fine
    assert float(cube.material.material.E) == 100e3


def test_a_jacobian_without_tangents_is_named_in_the_failure():
    cube = bodies.Cube(n=1)
    problem = MaterialProblem(
        cube.F,
        cube.u,
        materials=[cube.material],
        bcs=cube.bcs,
        J=ufl.derivative(cube.F, cube.u)
        + 1e-30 * ufl.inner(cube.v, ufl.TrialFunction(cube.V)) * ufl.dx,
        petsc_options_prefix="bare_",
        progress=False,
    )
    cube.moved.value[2] = 0.01
    with pytest.raises(admat.ConvergenceError, match="does not contain the materials' tangents"):
        problem.solve()


def test_discarded_problems_are_freed():
    """PETSc's callbacks must not keep a problem alive."""
    cube = bodies.Cube(n=1)
    newton = weakref.ref(cube.problem.newton)
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    del cube
    gc.collect()
    assert newton() is None


def bar(law, load_case, length=1.0):
    """A bar on rollers along x; ``load_case`` is "traction" or "displacement"."""
    domain = mesh.create_box(COMM, [[0, 0, 0], [length] * 3], [1, 1, 1])
    V = fem.functionspace(domain, ("P", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=2)
    value = fem.Constant(domain, 0.0)
    end = bodies.facets(domain, 0, length)
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    bcs = []
    for axis in range(3):
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 2, bodies.facets(domain, axis, 0.0))
        bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
    if load_case == "displacement":
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(V.sub(0), 2, end), V.sub(0)))
    else:
        marked = fem.compute_integration_domains(
            fem.IntegralType.exterior_facet, domain.topology, end
        )
        F -= value * v[0] * ufl.Measure("ds", domain, subdomain_data=[(1, marked)], subdomain_id=1)
    problem = MaterialProblem(
        F, u, materials=[material], bcs=bcs, petsc_options_prefix="bar_", progress=False
    )
    return problem, value, end, u


def test_nothing_to_do_in_a_strained_body_without_stress():
    """After full unloading the forces are round-off, but the plastic strain is not."""
    law = admat.J2Plasticity(210e3, 0.3, admat.LinearHardening(250.0, 2000.0))
    problem, traction, _, _ = bar(law, "traction")
    for value in (200.0, 260.0, 300.0, 0.0, 0.0):
        traction.value = value
        report = problem.solve()
    assert report.iterations <= 1


@pytest.mark.parametrize("unit", [1e9, 1.0, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
def test_the_answer_does_not_depend_on_units(unit, length):
    """E = 1000 units; the stress of a plastic bar is sigma_y + H p in the same units."""
    E, sigma_y, H = 1000.0 * unit, 2.0 * unit, 50.0 * unit
    law = admat.J2Plasticity(E, 0.3, admat.LinearHardening(sigma_y, H))
    problem, pull, end, _ = bar(law, "displacement", length)
    pull.value = 0.01 * length
    problem.solve()
    p = (0.01 * E - sigma_y) / (E + H)
    expected = (sigma_y + H * p) * length**2
    assert problem.reaction(end)[0] == pytest.approx(expected, rel=1e-8)


def test_a_failing_law_with_a_function_as_field():
    """The report of a failed point holds numbers only, so that it can be sent to all ranks."""

    class Curve(Brittle):
        curve: object = eqx.field(default=None)

        def update(self, strain, state, dt):
            return super().update(self.curve(strain), state, dt)

    cube = bodies.Cube(Curve(100.0, 0.01, curve=lambda x: x), n=1)
    cube.moved.value[2] = 0.5
    with pytest.raises(admat.ConvergenceError, match="local update failed"):
        cube.problem.solve()
