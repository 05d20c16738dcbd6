"""Cook's membrane: elastic in plane stress (ST-S06), and nearly incompressible in plane strain."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import LinearElastic, PlaneStrain, PlaneStress
from dolfinx_admat.fem import (
    MaterialProblem,
    QuadratureMaterial,
    plane_strain,
    strain,
    with_dilatation,
)

COMM = MPI.COMM_WORLD


class Membrane:
    """Clamped at the left, a total shear force of 1 at the right."""

    def __init__(self, n, degree):
        cell = mesh.CellType.quadrilateral
        self.mesh = mesh.create_rectangle(COMM, [[0.0, 0.0], [1.0, 1.0]], [n, n], cell)
        x = self.mesh.geometry.x
        s, t = x[:, 0].copy(), x[:, 1].copy()
        x[:, 0] = 48.0 * s
        x[:, 1] = 44.0 * s + t * (44.0 + s * (16.0 - 44.0))
        self.V = fem.functionspace(self.mesh, ("Q", degree, (2,)))
        self.u = fem.Function(self.V)
        right, self.left = (
            mesh.locate_entities_boundary(self.mesh, 1, lambda x, at=at: np.isclose(x[0], at))
            for at in (48.0, 0.0)
        )
        tags = mesh.meshtags(self.mesh, 1, np.sort(right), np.ones(len(right), dtype=np.int32))
        self.ds = ufl.Measure("ds", self.mesh, subdomain_data=tags)(1)
        dofs = fem.locate_dofs_topological(self.V, 1, self.left)
        self.bcs = [fem.dirichletbc(np.zeros(2), dofs, self.V)]

    def work(self, v):
        """Virtual work of the load."""
        return v[1] / 16.0 * self.ds

    def solve(self, law, measure, prefix, degree):
        """A displacement problem with one strain measure; the report."""
        v = ufl.TestFunction(self.V)
        self.law = QuadratureMaterial(self.mesh, law, {"strain": measure(self.u)}, degree=degree)
        F = ufl.inner(self.law["stress"], measure(v)) * self.law.dx - self.work(v)
        self.problem = MaterialProblem(
            F, self.u, materials=[self.law], bcs=self.bcs, petsc_options_prefix=prefix
        )
        return self.problem.solve()

    def deflection(self, y):
        """Vertical displacement of the node (48, y)."""
        dofs = fem.locate_dofs_geometrical(
            self.V, lambda x: np.isclose(x[0], 48.0) & np.isclose(x[1], y)
        )
        values = self.u.x.array.reshape(-1, 2)[dofs, 1]
        return COMM.allreduce(np.max(values, initial=-np.inf), op=MPI.MAX)


@pytest.mark.reference
def test_st_s06_deflection_in_plane_stress(cases, verified):
    case = json.loads((cases / "ST-S06_cook_membrane_elastic.json").read_text())
    E, nu = case["material"]["E"], case["material"]["nu"]
    cook = Membrane(16, 2)
    report = cook.solve(PlaneStress(LinearElastic(E, nu)), strain, "st_s06_", 4)

    assert report.iterations == 1  # linear: the tangent is the operator
    assert cook.problem.problem.assembly == "fast"
    np.testing.assert_allclose(cook.problem.reaction(cook.left), [0.0, -1.0], atol=1e-9)
    assert case["tolerance"]["u_rel"] < 0.006
    # Measured: 23.949 and 25.168, 0.04 % below.
    for y, published in ((52.0, 23.96), (60.0, 25.18)):
        verified(
            law="PlaneStress(LinearElastic)",
            hypotheses="plane stress, FE",
            against="Cook's membrane (ST-S06)",
            error=abs(cook.deflection(y) / published - 1.0),
            tolerance=case["tolerance"]["u_rel"],
        )
    # The strain of the thickness, a state variable, is Hooke's.
    e = fem.Expression(strain(cook.u), cook.law.points).eval(cook.mesh, cook.law.cells)
    e = e.reshape(-1, len(cook.law.weights), 2, 2)
    thickness = -nu / (1.0 - nu) * np.trace(e, axis1=2, axis2=3)
    np.testing.assert_allclose(cook.law.values("strain_zz"), thickness, atol=1e-12)


def test_nearly_incompressible_cells_lock_unless_their_dilatation_is_constant():
    """Bilinear cells at nu = 0.4999, with and without B-bar, against quadratic ones (mixed)."""
    law = LinearElastic(1.0, 0.4999)
    locked = Membrane(16, 1)
    locked.solve(law, plane_strain, "locked_", 2)
    # The same problem with the law reduced instead of the strain extended.
    same = Membrane(16, 1)
    same.solve(PlaneStrain(law), strain, "same_", 2)
    assert same.deflection(60.0) == pytest.approx(locked.deflection(60.0), rel=1e-12)

    free = {}
    for n, degree in ((16, 1), (16, 2)):
        cook = Membrane(n, degree)
        Q = fem.functionspace(cook.mesh, ("DPC", degree - 1))
        p, theta = fem.Function(Q), fem.Function(Q)
        v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(cook.V, Q, Q))
        material = QuadratureMaterial(
            cook.mesh,
            law,
            {"strain": with_dilatation(plane_strain(cook.u), theta)},
            degree=2 * degree,
        )
        F = ufl.inner(material["stress"], with_dilatation(plane_strain(v), eta)) * material.dx
        F += (p * (ufl.div(v) - eta) + q * (ufl.div(cook.u) - theta)) * material.dx
        MaterialProblem(
            ufl.extract_blocks(F - cook.work(v)),
            [cook.u, p, theta],
            materials=[material],
            bcs=cook.bcs,
            petsc_options_prefix="free_",
        ).solve()
        free[degree] = cook.deflection(60.0)
    # Measured: 18.98 and 19.36 against 5.78.
    assert free[1] == pytest.approx(free[2], rel=0.03)
    assert locked.deflection(60.0) < 0.5 * free[2]
