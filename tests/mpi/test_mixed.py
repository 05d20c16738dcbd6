"""Mixed problems with any law: independent dilatation, and pressure of incompressible bodies."""

from mpi4py import MPI

import basix.ufl
import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    MaterialProblem,
    QuadratureMaterial,
    plane_deformation_gradient,
    plane_gradient,
    plane_strain,
    with_dilatation,
    with_volume_ratio,
)

COMM = MPI.COMM_WORLD


def total(form):
    return COMM.allreduce(fem.assemble_scalar(fem.form(form)))


def held(W, V, value):
    """Clamped at y = 0, moved at y = 1; V is W, or W collapsed where it is part of a space."""
    conditions = []
    for y, moved in ((0.0, (0.0, 0.0)), (1.0, value)):
        g = fem.Function(V)
        g.interpolate(lambda x, moved=moved: np.outer(moved, np.ones(x.shape[1])))
        facets = bodies.facets(V.mesh, 1, y)
        if W is V:
            dofs = fem.locate_dofs_topological(V, 1, facets)
            conditions.append(fem.dirichletbc(g, dofs))
        else:
            dofs = fem.locate_dofs_topological((W, V), 1, facets)
            conditions.append(fem.dirichletbc(g, dofs, W))
    return conditions


class BBar:
    """A square of bilinear cells that is compressed, with constants for the dilatation."""

    def __init__(self, blocks):
        self.mesh = mesh.create_unit_square(COMM, 4, 4, mesh.CellType.quadrilateral)
        self.mesh.geometry.x[:, 0] += 0.1 * np.sin(3.0 * self.mesh.geometry.x[:, 1])
        cell = self.mesh.basix_cell()
        shapes = [
            basix.ufl.element("P", cell, 1, shape=(2,)),
            basix.ufl.element("DG", cell, 0),
            basix.ufl.element("DG", cell, 0),
        ]
        if blocks:
            spaces = [fem.functionspace(self.mesh, e) for e in shapes]
            unknown = [fem.Function(W) for W in spaces]
            self.u, self.p, self.theta = unknown
            v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(*spaces))
            W = V = spaces[0]
        else:
            M = fem.functionspace(self.mesh, basix.ufl.mixed_element(shapes))
            unknown = fem.Function(M)
            self.u, self.p, self.theta = ufl.split(unknown)
            v, q, eta = ufl.TestFunctions(M)
            W, (V, _) = M.sub(0), M.sub(0).collapse()
        self.top = bodies.facets(self.mesh, 1, 1.0)
        self.law = QuadratureMaterial(
            self.mesh,
            bodies.voce(),
            {"strain": with_dilatation(plane_strain(self.u), self.theta)},
            degree=2,
        )
        F = ufl.inner(self.law["stress"], with_dilatation(plane_strain(v), eta)) * self.law.dx
        F += (self.p * (ufl.div(v) - eta) + q * (ufl.div(self.u) - self.theta)) * self.law.dx
        self.problem = MaterialProblem(
            ufl.extract_blocks(F) if blocks else F,
            unknown,
            materials=[self.law],
            bcs=held(W, V, (0.0, -0.0015)),
            petsc_options_prefix="bbar_",
            progress=False,
        )


@pytest.mark.parametrize("blocks", [True, False])
def test_b_bar(blocks):
    """Blocks and one mixed element give the same; the dilatation is the cell's mean of div u."""
    b = BBar(blocks)
    report = b.problem.solve()
    assert 0 < report.active < report.points
    assert report.residuals[-1] < 1e-3 * report.residuals[-2]  # quadratic to the end
    law = b.law
    divergence = fem.Expression(ufl.div(b.u), law.points).eval(b.mesh, law.cells)
    detj = fem.Expression(abs(ufl.JacobianDeterminant(b.mesh)), law.points).eval(b.mesh, law.cells)
    measure = detj.reshape(-1, 4) * law.weights
    mean = np.sum(measure * divergence.reshape(-1, 4), axis=1) / np.sum(measure, axis=1)
    theta = fem.Expression(b.theta, law.points).eval(b.mesh, law.cells).reshape(-1, 4)
    np.testing.assert_allclose(theta, np.repeat(mean[:, None], 4, axis=1), atol=1e-14)
    assert COMM.allreduce(np.abs(divergence.reshape(-1, 4) - theta).max(initial=0.0)) > 1e-4
    # The pressure is the cell's mean of tr(stress) / 3.
    trace = np.trace(law.values("stress"), axis1=2, axis2=3) / 3.0
    mean = np.sum(measure * trace, axis=1) / np.sum(measure, axis=1)
    p = fem.Expression(b.p, law.points).eval(b.mesh, law.cells).reshape(-1, 4)
    np.testing.assert_allclose(p[:, 0], mean, rtol=1e-9, atol=1e-7)
    # The same on 1, 2 and 3 ranks.
    found = [total(ufl.dot(b.u, b.u) * ufl.dx), law.integrate("equivalent_plastic_strain")]
    np.testing.assert_allclose(found, [8.160844640e-07, 2.8555141473e-04], rtol=1e-8)
    if blocks:
        np.testing.assert_allclose(
            b.problem.reaction(b.top), [-2.38112024, -300.30447777], rtol=1e-7
        )


@pytest.mark.parametrize("blocks", [True, False])
def test_incompressible_body_by_taylor_hood(blocks):
    """Displacement and pressure: all four tangents, and no change of volume in the mean."""
    domain = mesh.create_unit_square(COMM, 4, 4)
    cell = domain.basix_cell()
    shapes = [basix.ufl.element("P", cell, 2, shape=(2,)), basix.ufl.element("P", cell, 1)]
    if blocks:
        spaces = [fem.functionspace(domain, e) for e in shapes]
        unknown = [fem.Function(W) for W in spaces]
        u, p = unknown
        v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(*spaces))
        W = V = spaces[0]
    else:
        M = fem.functionspace(domain, basix.ufl.mixed_element(shapes))
        unknown = fem.Function(M)
        u, p = ufl.split(unknown)
        v, q = ufl.TestFunctions(M)
        W, (V, _) = M.sub(0), M.sub(0).collapse()
    inputs = {"deformation_gradient": plane_deformation_gradient(u), "pressure": p}
    rubber = admat.Incompressible(admat.NeoHookean(E=5.0, nu=0.25))  # mu = 2
    law = QuadratureMaterial(domain, rubber, inputs, degree=4)
    F = ufl.inner(law["first_piola_stress"], plane_gradient(v)) * law.dx
    F += law["volume_constraint"] * q * law.dx
    bcs = held(W, V, (0.1, 0.3))
    problem = MaterialProblem(
        ufl.extract_blocks(F) if blocks else F,
        unknown,
        materials=[law],
        bcs=bcs,
        petsc_options_prefix="hood_",
        progress=False,
    )
    report = problem.solve()
    assert len(law.tangents.functions()) == 4
    assert report.residuals[-1] < 1e-3 * report.residuals[-2]
    volume = total(ufl.det(plane_deformation_gradient(u)) * law.dx)
    assert volume == pytest.approx(1.0, abs=1e-9)
    found = [total(ufl.dot(u, u) * ufl.dx), total(p * ufl.dx)]
    np.testing.assert_allclose(found, [0.04108353029218, 1.63942742569], rtol=1e-9)


def test_volume_ratio_at_finite_strain():
    """Bilinear cells, K/mu = 5000: with a volume ratio of their own they do not lock."""
    forces = {}
    for degree, own in ((1, False), (1, True), (2, True)):
        domain = mesh.create_unit_square(COMM, 6, 6, mesh.CellType.quadrilateral)
        V = fem.functionspace(domain, ("P", degree, (2,)))
        Q = fem.functionspace(domain, ("DPC", degree - 1))
        u, p, theta = fem.Function(V), fem.Function(Q), fem.Function(Q)
        v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q, Q))
        gradient = measure = plane_deformation_gradient(u)
        if own:
            theta.interpolate(lambda x: np.ones(x.shape[1]))
            measure = with_volume_ratio(gradient, theta)
        else:
            v = ufl.TestFunction(V)
        rubber = admat.NeoHookean(3.0, 0.4999)
        law = QuadratureMaterial(
            domain, rubber, {"deformation_gradient": measure}, degree=2 * degree
        )
        F = ufl.inner(law["first_piola_stress"], ufl.derivative(measure, u, v)) * law.dx
        if own:
            ratio = ufl.det(gradient)
            change = ufl.derivative(measure, theta, eta)
            F += ufl.inner(law["first_piola_stress"], change) * law.dx
            F += (p * (ufl.derivative(ratio, u, v) - eta) + q * (ratio - theta)) * law.dx
            F = ufl.extract_blocks(F)
        problem = MaterialProblem(
            F,
            [u, p, theta] if own else u,
            materials=[law],
            bcs=held(V, V, (0.0, 0.2)),
            petsc_options_prefix="ratio_",
            progress=False,
        )
        report = problem.solve()
        assert report.residuals[-1] < 1e-3 * report.residuals[-2]
        forces[degree, own] = problem.reaction(bodies.facets(domain, 1, 1.0))[1]
    # The same on 1, 2 and 3 ranks.
    found = [forces[1, False], forces[1, True], forces[2, True]]
    np.testing.assert_allclose(found, [21.2842527, 0.815839346, 0.798692628], rtol=1e-7)
