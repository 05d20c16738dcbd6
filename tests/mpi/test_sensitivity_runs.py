"""Recorded runs of other kinds: coupled, unsymmetric, stored otherwise, cut, on empty ranks."""

import os

from mpi4py import MPI

import basix.ufl
import bodies
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from recorded import (
    STEEL,
    TIGHT,
    Block,
    Run,
    assert_differences,
    assert_same,
    assert_transposed,
    plastic,
)

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    plane_strain,
    strain,
    with_dilatation,
)
from dolfinx_admat.fem.sensitivity import Coefficient, Integral, LawParameter, Reaction

COMM = MPI.COMM_WORLD


def checked(run, rng, **options):
    """Transposes on any number of ranks; differences on one."""
    assert_transposed(run, rng)
    if COMM.size == 1:
        assert_differences(run, **options)


def moved_block(law, moved, controls=None, *, dt=None, inputs=None, observe=None, n=2, **options):
    """A block of one law whose top is moved step by step."""
    b = Block(COMM, n)
    material = QuadratureMaterial(b.mesh, law, {"strain": strain(b.u)}, degree=2)
    recording = {k: options.pop(k) for k in ("store", "every", "folder") if k in options}
    problem = b.problem(b.work(material), [material], **options)

    def march(loads):
        for value in loads["moved"]:
            b.moved.value = value
            problem.solve(dt=dt)

    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "stress": Integral(material["stress"][0, 0] * material.dx),
            "u": Integral(ufl.inner(b.u, b.u) * ufl.ds),
        },
        {
            **{name: LawParameter(material, name) for name in controls},
            "moved": Coefficient(b.moved, per_step=True),
        },
        march,
        loads={"moved": moved},
        **recording,
    )


class Network(admat.Parameters):
    """Yield stress by a small network of the equivalent plastic strain."""

    sigma_y: float
    mlp: eqx.nn.MLP

    def __call__(self, p):
        return self.sigma_y + 50.0 * (self.mlp(100.0 * p[None])[0] - self.mlp(jnp.zeros(1))[0])


def test_weights_of_a_network(rng):
    mlp = eqx.nn.MLP(1, 1, 4, 2, activation=jax.nn.softplus, key=jax.random.key(1))
    law = admat.Elastoviscoplastic(
        admat.IsotropicElasticity(200e3, 0.3), admat.VonMises(), Network(200.0, mlp)
    )
    run = moved_block(law, [0.004, 0.008, 0.004], ["hardening.mlp", "elasticity.nu"])
    assert run.recording.controls["hardening.mlp"].shape == (4 + 4 + 16 + 4 + 4 + 1,)
    checked(run, rng)


class Aged(admat.ExplicitLaw):
    """A damage that begins as a parameter says, and grows."""

    E: float
    start: float
    inputs = {"strain": admat.SYMMETRIC, "strain_n": admat.SYMMETRIC}  # noqa: RUF012
    outputs = {"stress": admat.SYMMETRIC}  # noqa: RUF012
    symmetric_tangent = False

    def initial_state(self):
        return {"damage": jnp.asarray(0.5 * self.start**2), "age": jnp.asarray(0.0)}

    def update(self, inputs, state, dt):
        rate = (inputs["strain"] - inputs["strain_n"]) / dt
        damage = state["damage"] + dt * (1.0 + state["age"]) * rate @ rate
        strain = inputs["strain"] + 0.1 * dt * rate
        strain += 0.5 * admat.tensors.trace(strain) * jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        stress = self.E * jnp.exp(-damage) * strain
        return {"stress": stress}, {"damage": damage, "age": state["age"] + dt}


def test_initial_state_from_a_parameter_and_inputs_at_t_n(rng):
    run = moved_block(Aged(100.0, 0.4), [0.2, 0.5, 0.1], ["E", "start"], dt=0.5)
    checked(run, rng)
    # The second half by itself: its initial state is no longer that of the law.
    recording = run.recording
    with recording:
        run._march({"moved": np.array([0.2, 0.3])})
    gradient = recording.gradient(run.loss)[1]
    assert gradient["start"] == 0.0 and np.abs(gradient["E"]) > 0.0


SOIL = admat.Elastoviscoplastic(
    admat.IsotropicElasticity(200.0, 0.3),
    admat.DruckerPrager(0.2),
    admat.LinearHardening(0.4, 20.0),
    flow=admat.DruckerPrager(0.05),
)


def test_directions_that_change_nothing_but_forces():
    """Held all around, the displacement does not depend on E: right-hand sides are round-off."""
    b = Block(COMM)
    x = ufl.SpatialCoordinate(b.mesh)
    law = QuadratureMaterial(
        b.mesh, admat.LinearElastic(100.0, 0.3), {"strain": strain(b.u)}, degree=2
    )
    u_D = fem.Function(b.V)
    u_D.interpolate(lambda x: np.stack([0.1 * x[1], 0.2 * x[2], 0.3 * x[0] + 0.1 * x[2]]))
    b.mesh.topology.create_connectivity(2, 3)
    outside = mesh.exterior_facet_indices(b.mesh.topology)
    b.bcs = [fem.dirichletbc(u_D, b.dofs(b.V, outside))]
    problem = b.problem(b.work(law), [law])
    run = Run(
        problem,
        {"force": Reaction(b.top), "u": Integral(ufl.inner(b.u, x) * ufl.dx)},
        {"E": LawParameter(law, "E"), "nu": LawParameter(law, "nu")},
        lambda loads: [problem.solve() for _ in range(2)],
    )
    change = run.recording.jvp({"E": 1.0})
    np.testing.assert_allclose(change["force"], run.observed["force"] / 100.0, rtol=1e-9)
    np.testing.assert_allclose(change["u"], 0.0, atol=1e-14)
    back = run.recording.vjp({"force": np.ones((2, 3)), "u": np.ones(2)})
    np.testing.assert_allclose(back["E"], run.observed["force"].sum() / 100.0, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"solver": "iterative"}, {"assembly": "ffcx"}], ids=["direct", "gamg", "ffcx"]
)
def test_unsymmetric_tangents(options, rng):
    """Plastic flow that is not associated, by all solvers and both assemblies."""
    names = ["yield_function.alpha", "hardening.sigma_y", "elasticity.E"]
    run = moved_block(SOIL, [-0.003, -0.008, -0.006], names, **options)
    assert not run.problem.symmetric
    checked(run, rng)


def test_iterative_solver(rng):
    direct = plastic(COMM)
    assert_same(plastic(COMM, solver="iterative"), direct)
    assert_same(plastic(COMM, assembly="ffcx"), direct)


class Dilatation:
    """A square of bilinear cells with a dilatation and a pressure of its own."""

    def __init__(self, blocks):
        domain = mesh.create_unit_square(COMM, 3, 3, mesh.CellType.quadrilateral)
        cell = domain.basix_cell()
        shapes = [
            basix.ufl.element("P", cell, 1, shape=(2,)),
            basix.ufl.element("DG", cell, 0),
            basix.ufl.element("DG", cell, 0),
        ]
        if blocks:
            spaces = [fem.functionspace(domain, e) for e in shapes]
            unknown = [fem.Function(W) for W in spaces]
            u, p, theta = unknown
            v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(*spaces))
            W = spaces[0]
        else:
            M = fem.functionspace(domain, basix.ufl.mixed_element(shapes))
            unknown = fem.Function(M)
            u, p, theta = ufl.split(unknown)
            v, q, eta = ufl.TestFunctions(M)
            W = M.sub(0)
        law = QuadratureMaterial(
            domain,
            admat.J2Plasticity(200e3, 0.3, STEEL),
            {"strain": with_dilatation(plane_strain(u), theta)},
            degree=2,
        )
        F = ufl.inner(law["stress"], with_dilatation(plane_strain(v), eta)) * law.dx
        F += (p * (ufl.div(v) - eta) + q * (ufl.div(u) - theta)) * law.dx
        moved, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
        top, bcs = bodies.facets(domain, 1, 1.0), []
        for facets, axis, value in (
            (bodies.facets(domain, 1, 0.0), 0, zero),
            (bodies.facets(domain, 1, 0.0), 1, zero),
            (top, 1, moved),
        ):
            part = W.sub(axis)
            bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(part, 1, facets), part))
        self.problem = MaterialProblem(
            ufl.extract_blocks(F) if blocks else F,
            unknown,
            materials=[law],
            bcs=bcs,
            petsc_options_prefix="d_",
            petsc_options=TIGHT,
            progress=False,
        )

        def march(loads):
            for value in loads["moved"]:
                moved.value = value
                self.problem.solve()

        observe = {
            "p": Integral(p * p * law.dx),
            "u": Integral(ufl.inner(u, u) * ufl.ds),
            "stress": Integral(law["stress"][1, 1] * law.dx),
        }
        if blocks:
            observe["force"] = Reaction(top)
        self.run = Run(
            self.problem,
            observe,
            {
                "Q": LawParameter(law, "hardening.Q"),
                "nu": LawParameter(law, "nu"),
                "moved": Coefficient(moved, per_step=True),
            },
            march,
            loads={"moved": [0.003, 0.006, 0.004]},
        )


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "mixed"])
def test_displacement_dilatation_pressure(blocks, rng):
    checked(Dilatation(blocks).run, rng)


class Heated:
    """Displacement and temperature in time, with the temperature at the start of the step."""

    def __init__(self, previous=True):
        b = Block(COMM)
        S = fem.functionspace(b.mesh, ("P", 1))
        T, T_n = fem.Function(S, name="T"), fem.Function(S, name="T_n")
        v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(b.V, S))
        steel = admat.ThermoMechanical(
            admat.J2Plasticity(200e3, 0.3, STEEL), 1.2e-5, 0.0, conductivity=0.5
        )
        inputs = {"strain": strain(b.u), "temperature": T, "temperature_gradient": ufl.grad(T)}
        law = QuadratureMaterial(b.mesh, steel, inputs, degree=2)
        capacity, dt = fem.Constant(b.mesh, 1.5), fem.Constant(b.mesh, 1.0)
        F = ufl.inner(law["stress"], strain(v)) * law.dx
        F += (capacity * (T - T_n) / dt * q - ufl.dot(law["heat_flux"], ufl.grad(q))) * law.dx
        hot = fem.Constant(b.mesh, 0.0)
        dofs = fem.locate_dofs_topological(S, 2, b.bottom)
        problem = MaterialProblem(
            ufl.extract_blocks(F),
            [b.u, T],
            materials=[law],
            bcs=[*b.bcs, fem.dirichletbc(hot, dofs, S)],
            petsc_options_prefix="h_",
            petsc_options=TIGHT,
            progress=False,
        )

        def march(loads):
            for value, size in zip(loads["hot"], (0.2, 0.4, 0.1), strict=True):
                hot.value, dt.value = value, size
                b.moved.value = 0.002
                problem.solve(dt=size)
                T_n.x.array[:] = T.x.array

        self.run = Run(
            problem,
            {
                "force": Reaction(b.top),
                "flow": Reaction(b.bottom, 1),
                "rate": Integral((T - T_n) ** 2 * ufl.dx),
                "p": Integral(law["equivalent_plastic_strain"] * law.dx),
            },
            {
                "alpha": LawParameter(law, "alpha"),
                "conductivity": LawParameter(law, "conductivity"),
                "sigma_y": LawParameter(law, "law.hardening.sigma_y"),
                "capacity": Coefficient(capacity),
                "hot": Coefficient(hot, per_step=True),
            },
            march,
            loads={"hot": [300.0, 400.0, 100.0]},
            previous={T_n: T} if previous else None,
        )


def test_heat_and_the_temperature_before(rng):
    checked(Heated().run, rng)
    with pytest.raises(admat.MaterialError, match="'T_n', which holds 'T' of the step before"):
        Heated(previous=False)


def assert_equal(a, b):
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


def assert_repeated(a, b):
    """Bit for bit; but in parallel, MUMPS sums up in the order in which messages come."""
    if COMM.size == 1:
        return assert_equal(a, b)
    for name, value in a.items():
        scale = COMM.allreduce(np.abs(b[name]).max(initial=0.0), op=MPI.MAX)
        np.testing.assert_allclose(value, b[name], atol=1e-9 * scale, err_msg=name)


def test_stores(tmp_path):
    """Memory, disk and checkpoints give the same, bit for bit; nothing is left behind."""
    folder = COMM.bcast(str(tmp_path))
    found = []
    options = [
        {"store": "memory"},
        {"store": "disk", "folder": folder},
        {"store": "checkpoints", "every": 2},
        {"store": "checkpoints", "every": 3},
        {"store": "checkpoints", "every": 10},
    ]
    for store in options:
        run = plastic(COMM, **store)
        value, gradient = run.recording.gradient(run.loss)
        change = run.recording.jvp({"nu": run.direction("nu")})
        found.append({"value": value, **gradient, **change})
        if store["store"] == "disk":
            COMM.Barrier()
            assert len(os.listdir(folder)) == COMM.size
            COMM.Barrier()
            run.recording._tape.close()
            COMM.Barrier()
            assert not os.listdir(folder)
    for other in found[1:]:
        assert_repeated(other, found[0])


def snapshot(run):
    """All that a problem consists of between two steps."""
    problem, (material,) = run.problem, run.problem.materials
    return {
        "u": problem.u.x.array.copy(),
        **{f"n {k}": v.copy() for k, v in material.history.state_n.items()},
        **{f"trial {k}": v.copy() for k, v in material.history.state.items()},
        **{k: v.copy() for k, v in material.history.buffers.items()},
        **{f"data {k}": c.get() for k, c in run.recording.controls.items()},
    }


def test_problem_is_left_as_it_stood():
    """After derivatives all is as before, also a step that is not committed yet, and goes on."""
    run = plastic(COMM)
    observed, before = run.observed, snapshot(run)
    run.recording.gradient(run.loss)
    run.recording.jvp({"nu": 1.0})
    assert_equal(snapshot(run), before)
    assert_repeated(run.at({}), observed)  # restart: the same run
    assert_repeated(snapshot(run), before)

    run.recording.controls["moved"].data.value = 0.012
    run.problem.solve(commit=False)
    trial = snapshot(run)
    run.recording.gradient(run.loss)
    assert_equal(snapshot(run), trial)
    run.problem.commit()
    with_gradient = snapshot(run)

    other = plastic(COMM)
    other.recording.controls["moved"].data.value = 0.012
    other.problem.solve()
    assert_repeated(snapshot(other), with_gradient)


def test_halved_steps():
    """Sub-steps of the stepper are recorded as they were; derivatives are those with them."""
    b = Block(COMM)
    law = QuadratureMaterial(
        b.mesh, admat.J2Plasticity(200e3, 0.3, STEEL), {"strain": strain(b.u)}, degree=2
    )
    tight = {**TIGHT, "snes_max_it": 4}
    problem = b.problem(b.work(law), [law], petsc_options=tight)
    halved = []

    def load(t):
        b.moved.value = 0.1 * t

    def march(loads):
        steps = list(LoadStepper(problem, [0.5, 1.0], load=load))
        halved.append(sum(s.halvings for s in steps))

    run = Run(
        problem,
        {"force": Reaction(b.top)},
        {"Q": LawParameter(law, "hardening.Q"), "nu": LawParameter(law, "nu")},
        march,
    )
    assert halved[0] > 0 and run.recording.steps > 2
    times = run.recording.times
    np.testing.assert_allclose(times[run.recording.rows([0.5, 1.0])], [0.5, 1.0])
    assert (np.diff(times) > 0.0).all()
    if COMM.size == 1:
        assert_differences(run, names=["Q"])
        assert set(halved) == {halved[0]}


def test_overlapping_controls_add_up():
    """A parameter and a group that contains it are two controls of the same numbers."""
    law = admat.J2Plasticity(200e3, 0.3, STEEL)
    run = moved_block(law, [0.006], ["hardening", "hardening.Q"])
    jvp, Q = run.recording.jvp, np.array([0.0, 1.0, 0.0, 0.0])
    names = run.recording.controls["hardening"].names
    Q = np.array([float(name == "hardening.Q") for name in names])
    one = jvp({"hardening": Q})
    both = jvp({"hardening": Q, "hardening.Q": 2.0})
    assert np.abs(one["force"]).max() > 0.0
    for name, value in both.items():
        np.testing.assert_allclose(value, 3.0 * one[name], rtol=1e-9, atol=1e-13)


def test_ranks_without_cells(rng):
    """All cells on rank 0."""
    b = Block(COMM, 1, partitioner=bodies.everything_on_rank_zero)
    E = b.field(("DG", 0), lambda x: 200e3 + 0.0 * x[0])
    law = QuadratureMaterial(
        b.mesh,
        admat.J2Plasticity(200e3, 0.3, STEEL),
        {"strain": strain(b.u)},
        degree=1,
        parameters={"E": E},
    )
    problem = b.problem(b.work(law), [law])

    def march(loads):
        for value in loads["moved"]:
            b.moved.value = value
            problem.solve()

    run = Run(
        problem,
        {"force": Reaction(b.top), "p": Integral(law["equivalent_plastic_strain"] * law.dx)},
        {
            "Q": LawParameter(law, "hardening.Q"),
            "E": Coefficient(E),
            "moved": Coefficient(b.moved, per_step=True),
        },
        march,
        loads={"moved": [0.004, 0.002]},
    )
    assert_transposed(run, rng)
    value, gradient = run.recording.gradient(run.loss)
    assert COMM.allgather(value) == [value] * COMM.size
    assert gradient["E"].shape == (6,) and np.abs(gradient["E"]).min() > 0.0
