"""Gradients of whole runs: Taylor tests, differences, transposes, equal on 1, 2 and 3 ranks."""

from mpi4py import MPI

import bodies
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from recorded import (
    STEEL,
    Block,
    Run,
    assert_differences,
    assert_same,
    assert_taylor,
    assert_transposed,
    plastic,
)

import dolfinx_admat as admat
from dolfinx_admat import learning
from dolfinx_admat.fem import (
    QuadratureMaterial,
    deformation_gradient,
    strain,
)
from dolfinx_admat.fem.sensitivity import (
    Coefficient,
    Integral,
    LawParameter,
    Reaction,
    RegionValues,
)

COMM = MPI.COMM_WORLD


def elastic(comm):
    """Fields in expressions, a body force, a traction; misfit with data, mean stress, a penalty."""
    b = Block(comm, degree=2)
    c = b.field(("P", 1), lambda x: 0.1 * x[0])
    force = b.field(("P", 1, (3,)), lambda x: np.stack([x[1], 0.0 * x[0], x[0] + x[2]]))
    t = fem.Constant(b.mesh, (0.5, 1.0, -1.5))
    data = b.field(("P", 2, (3,)), lambda x: 0.01 * np.stack([x[2], x[0], x[1]]))
    law = QuadratureMaterial(
        b.mesh, admat.LinearElastic(100.0, 0.3), {"strain": strain(b.u)}, degree=2,
        parameters={"E": 100.0 * ufl.exp(c)},
    )  # fmt: skip
    F = b.work(law) - ufl.dot(force, b.v) * ufl.dx - ufl.dot(t, b.v) * ufl.ds
    problem = b.problem(F, [law])

    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "misfit": Integral(ufl.inner(b.u - data, b.u - data) * ufl.dx),
            "stress": Integral(law["stress"][0, 2] * law.dx),
            "penalty": Integral(ufl.inner(ufl.grad(c), ufl.grad(c)) * ufl.dx),
        },
        {
            "nu": LawParameter(law, "nu"),
            "c": Coefficient(c),
            "force": Coefficient(force),
            "t": Coefficient(t),
            "data": Coefficient(data),
            "moved": Coefficient(b.moved, per_step=True),
        },
        lambda loads: (setattr(b.moved, "value", loads["moved"][0]), problem.solve()),
        loads={"moved": [0.02]},
    )


def viscoplastic(comm):
    """Perzyna; regions, a Function on the boundary per step, steps of several sizes."""
    b = Block(comm, hexahedra=True)
    sigma_y = b.field(("DG", 0), lambda x: np.where(x[0] < 0.5, 200.0, 220.0))
    cells = b.mesh.topology.index_map(3).size_local
    middle = mesh.compute_midpoints(b.mesh, 3, np.arange(cells, dtype=np.int32))
    values = (middle[:, 0] > 0.5).astype(np.int32) + 5
    tags = mesh.meshtags(b.mesh, 3, np.arange(cells, dtype=np.int32), values)
    law = QuadratureMaterial(
        b.mesh,
        admat.PerzynaViscoplasticity(200e3, 0.3, admat.LinearHardening(200.0, 2e3), K=200.0, n=3.0),
        {"strain": strain(b.u)},
        degree=2,
        parameters={"hardening.sigma_y": sigma_y},
    )
    g = fem.Function(b.V)
    shape = b.field(("P", 1, (3,)), lambda x: np.stack([x[1], 0.3 * x[0], 1.0 + 0.2 * x[0]]))
    shape = Coefficient(shape).get()
    b.bcs = [b.bcs[0], fem.dirichletbc(g, b.dofs(b.V, b.top))]
    problem = b.problem(b.work(law), [law])
    boundary = Coefficient(g, per_step=True)

    def march(loads):
        for values, dt in zip(loads["g"], [1.0, 0.5, 2.0], strict=True):
            boundary.write(values, g)
            problem.solve(dt=dt)

    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "p": Integral(law["equivalent_plastic_strain"] * law.dx),
        },
        {
            "sigma_y": RegionValues(sigma_y, tags),
            "K": LawParameter(law, "K"),
            "n": LawParameter(law, "n"),
            "g": boundary,
        },
        march,
        loads={"g": np.outer([0.004, 0.007, 0.003], shape)},
    )


def finite(comm):
    """Finite plasticity under a pressure that follows the surface."""
    b = Block(comm)
    gradient = deformation_gradient(b.u)
    law = QuadratureMaterial(
        b.mesh, admat.FeFpJ2(200.0, 0.3, admat.VoceHardening(2.0, 1.0, 10.0, H=5.0)),
        {"deformation_gradient": gradient}, degree=2,
    )  # fmt: skip
    p = fem.Constant(b.mesh, 0.3)
    N = ufl.FacetNormal(b.mesh)
    area = ufl.det(gradient) * ufl.dot(ufl.inv(gradient).T, N)
    F = ufl.inner(law["first_piola_stress"], ufl.grad(b.v)) * law.dx
    problem = b.problem(F + p * ufl.dot(area, b.v) * ufl.ds, [law])

    def march(loads):
        for moved in loads["moved"]:
            b.moved.value = moved
            problem.solve()

    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "p": Integral(law["equivalent_plastic_strain"] * law.dx),
            "volume": Integral(ufl.det(gradient) * law.dx),
        },
        {
            "E": LawParameter(law, "E"),
            "Q": LawParameter(law, "hardening.Q"),
            "p": Coefficient(p),
            "moved": Coefficient(b.moved, per_step=True),
        },
        march,
        loads={"moved": [0.1, 0.25, 0.2]},
    )


def two_materials(comm):
    """Two materials on tagged cells that share a parameter; unloading."""
    b = Block(comm)
    left, right = bodies.halves(b.mesh, True)
    inputs = {"strain": strain(b.u)}
    hard = QuadratureMaterial(
        b.mesh, admat.J2Plasticity(200e3, 0.3, STEEL), inputs, degree=2, cells=left
    )
    soft = QuadratureMaterial(
        b.mesh,
        admat.J2Plasticity(100e3, 0.3, admat.LinearHardening(200.0, 1e3)),
        inputs,
        degree=1,
        cells=right,
    )
    problem = b.problem(b.work(hard) + b.work(soft), [hard, soft])

    def march(loads):
        for moved in loads["moved"]:
            b.moved.value = moved
            problem.solve()

    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "hard": Integral(hard["equivalent_plastic_strain"] * hard.dx),
            "soft": Integral(soft["stress"][2, 2] * soft.dx),
        },
        {
            "nu": LawParameter([hard, soft], "nu"),
            "sigma_y": LawParameter([hard, soft], "hardening.sigma_y"),
            "Q": LawParameter(hard, "hardening.Q"),
            "H": LawParameter(soft, "hardening.H"),
            "moved": Coefficient(b.moved, per_step=True),
        },
        march,
        loads={"moved": [0.004, 0.008, 0.005]},
    )


def learned(comm):
    """A control that is all weights of a learned hardening."""
    hardening = learning.LearnedHardening.create(yield_stress=200.0, strain=0.02, terms=2, seed=1)
    run = plastic(comm, hardening, moved=(0.004, 0.008))
    weights = run.recording.controls["hardening"]
    assert weights.shape == (5,) and len(weights.names) == 3
    return run


CASES = {f.__name__: f for f in (elastic, plastic, learned, viscoplastic, finite, two_materials)}
#: Sizes of the Taylor steps.
STEPS = {
    "elastic": 0.1,
    "plastic": 1e-3,
    "learned": 1e-3,
    "viscoplastic": 1e-3,
    "finite": 1e-3,
    "two_materials": 1e-3,
}


@pytest.mark.parametrize("name", CASES)
def test_taylor(name, rng):
    """On any number of ranks; and the gradient is that of the serial run."""
    run = CASES[name](COMM)
    assert_taylor(run, STEPS[name])
    assert_transposed(run, rng)
    if COMM.size > 1:
        assert_same(run, CASES[name](MPI.COMM_SELF))


@pytest.mark.skipif(COMM.size > 1, reason="many runs; in parallel the Taylor test suffices")
@pytest.mark.parametrize("name", CASES)
def test_differences(name):
    assert_differences(CASES[name](COMM))


def test_gauss_newton_and_jacobian():
    """J^T H J from the Jacobian; the Jacobian from single directions."""
    run = plastic(COMM)
    recording = run.recording
    J = recording.jacobian(["hardening", "moved"])
    assert {k: v.shape for k, v in J["moved"].items()} == {
        "force": (4, 4, 3),
        "work": (4, 4),
        "p": (4, 4),
        "u": (4, 4),
    }
    # What happens in a step does not depend on later loads.
    assert not np.triu(J["moved"]["work"].T, 1).any()
    assert J["hardening"]["force"].shape == (4, 4, 3)
    along = {name: run.direction(name) for name in J}
    change = recording.jvp(along)
    for name, value in change.items():
        total = sum(np.tensordot(along[k], J[k][name], 1) for k in J)
        np.testing.assert_allclose(total, value, atol=1e-9 * np.abs(value).max())
    observed = {k: jnp.asarray(v) for k, v in run.observed.items()}
    curved = jax.jvp(jax.grad(run.loss), (observed,), (change,))[1]
    product = recording.gauss_newton(run.loss, along)
    for k in J:
        expected = sum(
            np.tensordot(J[k][name], np.asarray(c), np.ndim(c)) for name, c in curved.items()
        )
        np.testing.assert_allclose(product[k], expected, atol=1e-9 * np.abs(expected).max())
