"""Recordings that cannot be differentiated: the same clear message on all ranks, nothing lost."""

from mpi4py import MPI

import basix.ufl
import bodies
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem
from recorded import STEEL, Block, plastic

import dolfinx_admat as admat
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import (
    Coefficient,
    Integral,
    LawParameter,
    Reaction,
    Recording,
    RegionValues,
)

COMM = MPI.COMM_WORLD


class Pulled(Block):
    """A plastic block; ``more(block)`` adds to its form."""

    def __init__(self, more=None, law=None):
        super().__init__(COMM, 1)
        self.law = QuadratureMaterial(
            self.mesh,
            law or admat.J2Plasticity(200e3, 0.3, STEEL),
            {"strain": strain(self.u)},
            degree=1,
        )
        F = self.work(self.law)
        self.one = self.problem(F if more is None else F + more(self), [self.law])

    def record(self, controls=None, **options):
        controls = {"Q": LawParameter(self.law, "hardening.Q")} if controls is None else controls
        observe = options.pop("observe", {"force": Reaction(self.top)})
        return Recording(self.one, observe=observe, controls=controls, progress=False, **options)

    def pull(self, *values):
        for value in values:
            self.moved.value = value
            self.one.solve()


@pytest.fixture(scope="module")
def block():
    return Pulled()


def refused(match, kind=MaterialError):
    """The error comes on all ranks, or the others would wait for ever."""
    return pytest.raises(kind, match=match)


def test_what_is_controlled(block):
    law, mesh = block.law, block.mesh
    with refused("J2Plasticity has no parameter 'hardening.R'; it has E, hardening.H"):
        LawParameter(law, "hardening.R")
    with refused("expected a dolfinx Function or Constant; got float"):
        Coefficient(1.0)
    with refused("control 'c' is not read"):
        block.record({"c": Coefficient(fem.Constant(mesh, 1.0))})
    with refused("control 'c' is not read"):
        block.record({"c": Coefficient(block.field(("DG", 0)))})
    with refused("control 'Q' must be a LawParameter, a Coefficient or RegionValues; got str"):
        block.record({"Q": "hardening.Q"})
    with refused("belongs to J2Plasticity, which is no material of the problem"):
        block.record({"Q": LawParameter(Pulled().law, "hardening.Q")})
    soft = admat.J2Plasticity(200e3, 0.3, admat.LinearHardening(100.0))
    with refused("'hardening.sigma_y' has not the same value in"):
        LawParameter([law, Pulled(law=soft).law], "hardening.sigma_y")
    with refused("'hardening' has not the same shape in"):
        LawParameter([law, Pulled(law=soft).law], "hardening")
    vector = block.field(("DG", 0, (3,)))
    with refused("give a scalar DG0 Function and MeshTags of cells"):
        RegionValues(vector, bodies.halves(mesh, True)[0][0])


def test_parameter_that_varies_in_space(block):
    E = block.field(("DG", 0), lambda x: 200e3 + 0.0 * x[0])
    law = QuadratureMaterial(
        block.mesh,
        admat.LinearElastic(1.0, 0.3),
        {"strain": strain(block.u)},
        degree=1,
        parameters={"E": E},
    )
    with refused(r"'E' of LinearElastic varies in space.*Coefficient\(function\)"):
        LawParameter(law, "E")


def test_options(block):
    with refused("observe is empty"):
        block.record(observe={})
    with refused("store must be one of memory, disk, checkpoints; got 'tape'"):
        block.record(store="tape")
    with refused("every must be a positive integer; got 0"):
        block.record(store="checkpoints", every=0)
    with refused("without test or trial functions; got Form of rank 1"):
        Integral(ufl.inner(block.u, block.v) * ufl.dx)


def test_values_of_controls(block):
    control = LawParameter(block.law, "hardening.Q")
    with refused("Q': got a value of shape"):
        control.set([1.0, 2.0])
    with refused("'E' is out of range: got -1"):
        LawParameter(block.law, "E").set(-1.0)
    assert control.get() == 100.0
    with refused("with per_step, values are set by your load function"):
        Coefficient(block.moved, per_step=True).set(1.0)


def test_shapes_and_names():
    run = plastic(COMM)
    recording = run.recording
    with refused("cotangents 'forces' is unknown; there are"):
        recording.vjp({"forces": np.zeros((4, 3))})
    with refused(
        r"cotangents 'force': got shape \(3,\), expected finite numbers of shape \(4, 3\)"
    ):
        recording.vjp({"force": np.zeros(3)})
    with refused("cotangents 'work': got shape"):
        recording.vjp({"work": np.array([1.0, np.nan, 0.0, 0.0])})
    with refused("directions 'mu' is unknown"):
        recording.jvp({"mu": 1.0})
    with refused(r"directions 'moved': got shape \(\), expected finite numbers of shape \(4,\)"):
        recording.jvp({"moved": 1.0})
    with refused(r"no control \['mu'\]"):
        recording.jacobian(["mu"])
    with refused("the loss or its slope is not finite"):
        recording.gradient(lambda o: jnp.log(-jnp.sum(o["p"])))
    with pytest.raises(TypeError, match="scalar"):
        recording.gradient(lambda o: o["p"])
    with refused("no step ends at t="):
        recording.rows(0.3)
    # No cotangents: zero.
    assert not np.any(recording.vjp({})["hardening"])


def test_order_of_calls():
    block = Pulled()
    recording = block.record()
    with refused("no step was recorded"):
        recording.vjp({})
    with refused("restart needs a recording that is finished"):
        recording.restart()
    with recording:
        block.pull(0.004)
        with refused("leave the `with` block before differentiating"):
            recording.gradient(lambda o: jnp.sum(o["force"]))
        with refused("it is recording already"), recording:
            pass
        block.pull(0.005)
    assert recording.steps == 2 and recording.observed["force"].shape == (2, 3)
    assert not block.one.listeners
    recording.controls["Q"].set(120.0)
    with refused("parameters of J2Plasticity have changed since the run was recorded"):
        recording.gradient(lambda o: jnp.sum(o["force"]))
    recording.restart()
    with recording:
        pass
    with refused("no step was recorded"):
        recording.jvp({})


def test_failed_run():
    """After a failed solve there is no gradient; the problem is fit for another run."""
    block = Pulled()
    recording = block.record()
    with refused("DIVERGED|failed", ConvergenceError), recording:
        block.pull(0.002, 0.004)
        block.one.solver.setTolerances(max_it=1)
        block.pull(-0.05)
    with refused("recorded run ended with ConvergenceError; a failed solve has no derivative"):
        recording.gradient(lambda o: jnp.sum(o["force"]))
    assert not block.one.listeners
    block.one.solver.setTolerances(max_it=40)
    recording.restart()
    assert not block.u.x.array.any()
    with recording:
        block.pull(0.002, 0.004)
    assert np.isfinite(recording.gradient(lambda o: jnp.sum(o["force"] ** 2))[1]["Q"])


def test_control_that_changes_without_per_step():
    block = Pulled()
    recording = block.record({"moved": Coefficient(block.moved)})
    with recording:
        block.pull(0.002, 0.004)
    with refused(r"'moved' has changed during the steps; give Coefficient\(..., per_step=True\)"):
        recording.gradient(lambda o: jnp.sum(o["force"]))


def drag(old):
    """A force that resists a change of u; ``old`` makes the Function of the last u."""
    return lambda b: 1e3 * ufl.inner(b.u - old(b), b.v) * ufl.dx


def test_unknown_of_the_step_before():
    """A copy of the last displacement in the form is found, or it must be what it is said to be."""
    holder = {}

    def old(block):
        holder["old"] = fem.Function(block.V, name="u_old")
        return holder["old"]

    block = Pulled(drag(old))
    u_old = holder["old"]
    recording = block.record()

    def march():
        for value in (0.002, 0.004, 0.006):
            block.pull(value)
            u_old.x.array[:] = block.u.x.array

    with refused("reads 'u_old', which holds 'u' of the step before"), recording:
        march()
    # The step in which it was found has not been done.
    assert block.one.functions[0].x.array == pytest.approx(u_old.x.array, abs=0.0)
    assert recording.steps == 1

    with refused("the same function space, and that unknown"):
        block.record(previous={u_old: u_old})
    with refused("the same function space, and that unknown"):
        block.record(previous={block.field(("DG", 0)): block.u})
    with refused("'f' in previous is not read by the problem"):
        block.record(previous={fem.Function(block.V, name="f"): block.u})

    held = block.record(previous={u_old: block.u})
    recording.restart()
    with refused("'u_old' in previous does not hold 'u' at the end of the step before"), held:
        block.pull(0.002, 0.004)


def test_part_of_a_mixed_unknown_of_the_step_before():
    """The same for a component of a mixed element, in a space that was made anew."""
    b = Block(COMM, 1)
    cell = b.mesh.basix_cell()
    vector, scalar = basix.ufl.element("P", cell, 2, shape=(3,)), basix.ufl.element("P", cell, 1)
    W = fem.functionspace(b.mesh, basix.ufl.mixed_element([vector, scalar]))
    w = fem.Function(W, name="w")
    u, T = ufl.split(w)
    v, q = ufl.TestFunctions(W)
    T_n = fem.Function(fem.functionspace(b.mesh, ("P", 1)), name="T_n")
    law = QuadratureMaterial(
        b.mesh, admat.LinearElastic(100.0, 0.3), {"strain": strain(u)}, degree=2
    )
    F = ufl.inner(law["stress"], strain(v)) * law.dx + 10.0 * (T - T_n) * q * ufl.dx
    F += ufl.inner(ufl.grad(T), ufl.grad(q)) * ufl.dx - 100.0 * q * ufl.ds
    S, zero = W.sub(0), fem.Function(W.sub(0).collapse()[0])
    dofs = fem.locate_dofs_topological((S, zero.function_space), 2, b.bottom)
    problem = MaterialProblem(
        F,
        w,
        materials=[law],
        bcs=[fem.dirichletbc(zero, dofs, S)],
        petsc_options_prefix="m_",
        progress=False,
    )
    recording = Recording(
        problem,
        observe={"T": Integral(T * ufl.dx)},
        controls={"E": LawParameter(law, "E")},
        progress=False,
    )
    with refused("reads 'T_n', which holds 'w' of the step before"), recording:
        for _ in range(3):
            problem.solve()
            T_n.interpolate(w.sub(1))


def test_changes_between_steps():
    """What the recording cannot know of is refused, not overlooked."""
    block = Pulled()

    def begun(change):
        recording = block.record()
        if started:
            started[0].restart()
        started.append(recording)
        with recording:
            block.pull(0.004)
            change()
            block.pull(0.006)

    started = []
    with refused("state 'equivalent_plastic_strain' of J2Plasticity at t_n is not that at the end"):
        begun(lambda: block.law.set_state("equivalent_plastic_strain", 0.01))
    law = block.law.material
    with refused("parameters of J2Plasticity have changed during the steps"):
        begun(lambda: LawParameter(block.law, "nu").set(0.31))
    block.law.material = law
    x = block.mesh.geometry.x
    with refused("nodes of the mesh have moved during the steps"):
        begun(lambda: np.multiply(x, 1.1, out=x))
    x /= 1.1
    begun(lambda: None)
    assert started[-1].steps == 2


def test_derivative_that_does_not_exist():
    """The square root of a parameter at zero."""

    class Rooted(admat.ExplicitLaw):
        E: float
        q: float
        inputs = {"strain": admat.SYMMETRIC}  # noqa: RUF012
        outputs = {"stress": admat.SYMMETRIC}  # noqa: RUF012

        def update(self, inputs, state, dt):
            return {"stress": (self.E + jnp.sqrt(self.q)) * inputs["strain"]}, state

    block = Pulled(law=Rooted(100.0, 0.0))
    recording = block.record({"q": LawParameter(block.law, "q")})
    with recording:
        block.pull(0.1)
    before = block.u.x.array.copy()
    for derivative in (
        lambda: recording.gradient(lambda o: jnp.sum(o["force"] ** 2)),
        lambda: recording.jvp({"q": 1.0}),
    ):
        with refused("NaN or infinite|derivatives failed", ConvergenceError):
            derivative()
        np.testing.assert_array_equal(block.u.x.array, before)
    block.pull(0.2)  # and on it goes


def test_disk_that_is_full(tmp_path, monkeypatch):
    """A rank that cannot write stops all, and the step is not done."""
    block = Pulled()
    recording = block.record(store="disk", folder=str(tmp_path))
    savez = np.savez
    with refused("no space left", OSError), recording:
        block.pull(0.002)
        if COMM.rank == COMM.size - 1:

            def full(*args, **kwargs):
                raise OSError("no space left")

            monkeypatch.setattr(np, "savez", full)
        block.pull(0.004)
    monkeypatch.setattr(np, "savez", savez)
    assert np.abs(block.u.x.array).max(initial=0.0) <= 0.003
    with refused("recorded run ended with OSError"):
        recording.vjp({})
