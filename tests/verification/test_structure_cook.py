"""Cook's membrane, linear elastic plane stress (reference case ST-S06)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import LinearElastic
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial

COMM = MPI.COMM_WORLD


@pytest.mark.reference
def test_deflection_in_plane_stress(cases):
    case = json.loads((cases / "ST-S06_cook_membrane_elastic.json").read_text())
    E, nu = case["material"]["E"], case["material"]["nu"]
    domain = mesh.create_rectangle(
        COMM, [[0.0, 0.0], [1.0, 1.0]], [16, 16], mesh.CellType.quadrilateral
    )
    s, t = domain.geometry.x[:, 0].copy(), domain.geometry.x[:, 1].copy()
    domain.geometry.x[:, 0] = 48.0 * s
    domain.geometry.x[:, 1] = 44.0 * s + t * (44.0 + s * (16.0 - 44.0))

    V = fem.functionspace(domain, ("Q", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)

    def plane_stress_strain(w):
        """Strain for which Hooke's law gives zero stress zz."""
        e = ufl.sym(ufl.grad(w))
        e_zz = -nu / (1.0 - nu) * (e[0, 0] + e[1, 1])
        return ufl.as_matrix([[e[0, 0], e[0, 1], 0.0], [e[1, 0], e[1, 1], 0.0], [0.0, 0.0, e_zz]])

    material = QuadratureMaterial(
        domain, LinearElastic(E, nu), {"strain": plane_stress_strain(u)}, degree=4
    )
    right = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 48.0))
    left = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 0.0))
    tags = mesh.meshtags(domain, 1, np.sort(right), np.ones(len(right), dtype=np.int32))
    ds = ufl.Measure("ds", domain, subdomain_data=tags)
    F = ufl.inner(material["stress"], plane_stress_strain(v)) * material.dx
    F -= 1.0 / 16.0 * v[1] * ds(1)
    bcs = [fem.dirichletbc(np.zeros(2), fem.locate_dofs_topological(V, 1, left), V)]
    problem = MaterialProblem(F, u, materials=[material], bcs=bcs, petsc_options_prefix="st_s06_")
    report = problem.solve()

    assert report.iterations == 1  # linear: the tangent is the operator
    np.testing.assert_allclose(problem.reaction(left), [0.0, -1.0], atol=1e-9)
    stress = material.values("stress")
    assert COMM.allreduce(np.max(np.abs(stress[..., 2, 2]), initial=0.0), op=MPI.MAX) < 1e-12

    # The middle of the right edge is a node.
    dofs = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 48.0) & np.isclose(x[1], 52.0))
    values = u.x.array.reshape(-1, 2)[dofs, 1]
    deflection = COMM.allreduce(np.max(values, initial=-np.inf), op=MPI.MAX)
    # Measured: 23.949, 0.04 % below.
    assert deflection == pytest.approx(23.96, rel=case["tolerance"]["u_rel"])
