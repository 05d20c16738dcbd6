"""Clamped neo-Hookean cylinder, 10 % stretch, on the mesh of a peer (reference case ST-S08)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import NeoHookean
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, deformation_gradient

COMM = MPI.COMM_WORLD
NAME = "ST-S08_clamped_cylinder_hyperelastic"
VTK_TO_DOLFINX = [0, 1, 3, 2, 4, 5, 7, 6]  # VTK goes round a face, dolfinx counts x, then y, z


def max_over_ranks(values):
    return COMM.allreduce(np.max(np.abs(values), initial=0.0), op=MPI.MAX)


@pytest.mark.reference
def test_st_s08_same_mesh_gives_the_same_displacement_and_force(cases, verified):
    case = json.loads((cases / f"{NAME}.json").read_text())
    table = np.loadtxt(cases / f"{NAME}.csv", delimiter=",", skiprows=1)
    cells = np.loadtxt(cases / f"{NAME}_cells.csv", delimiter=",", dtype=np.int64)
    nodes, expected = np.ascontiguousarray(table[:, :3]), table[:, 3:]
    assert (len(nodes), len(cells)) == (1869, 1600)
    cells = np.ascontiguousarray(cells[:, VTK_TO_DOLFINX])
    if COMM.rank > 0:
        cells, nodes = cells[:0], nodes[:0]
    element = basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,))
    domain = mesh.create_mesh(COMM, cells, element, nodes)
    volume = COMM.allreduce(fem.assemble_scalar(fem.form(1.0 * ufl.dx(domain))))
    prism = 10.0 * 0.5 * 16 * 5.0**2 * np.sin(2.0 * np.pi / 16)  # its section has 16 sides
    assert volume == pytest.approx(prism, rel=1e-6)

    E, nu = case["material"]["E"], case["material"]["nu"]
    V = fem.functionspace(domain, ("Q", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(
        domain, NeoHookean(E, nu), {"deformation_gradient": deformation_gradient(u)}, degree=2
    )
    F = ufl.inner(material["first_piola_stress"], ufl.grad(v)) * material.dx
    bottom = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 0.0))
    top = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 10.0))
    bcs = [
        fem.dirichletbc(np.array(value), fem.locate_dofs_topological(V, 2, facets), V)
        for facets, value in ((bottom, [0.0, 0.0, 0.0]), (top, [0.0, 0.0, 1.0]))
    ]
    problem = MaterialProblem(F, u, materials=[material], bcs=bcs, petsc_options_prefix="st_s08_")
    problem.solve()

    # On Q1 cells the nodes of the geometry and of V are numbered alike within a cell.
    rows = domain.geometry.input_global_indices[domain.geometry.dofmaps[0].ravel()]
    found = u.x.array.reshape(-1, 3)[V.dofmap.list.ravel()]
    tolerance = case["tolerance"]
    # Measured: 1e-9 (the digits of the table).
    named = {"law": "NeoHookean", "hypotheses": "3D, finite strain, FE"}
    verified(
        **named,
        against="clamped cylinder, displacements (ST-S08)",
        error=max_over_ranks(found - expected[rows]),
        tolerance=tolerance["displacement_same_mesh_abs"],
    )

    reaction = problem.reaction(top)
    verified(
        **named,
        against="clamped cylinder, force (ST-S08)",
        error=abs(reaction[2] / 7359.7908 - 1.0),
        tolerance=tolerance["nodal_reaction_same_mesh_rel"],
    )
    np.testing.assert_allclose(reaction + problem.reaction(bottom), 0.0, atol=1e-5)

    # The peer's force: P.n over the top face, with P from the gradient at the face.
    mu, kappa = E / (2.0 * (1.0 + nu)), E / (3.0 * (1.0 - 2.0 * nu))
    Fu = ufl.variable(ufl.Identity(3) + ufl.grad(u))
    J = ufl.det(Fu)
    energy = mu / 2.0 * (J ** (-2.0 / 3.0) * ufl.tr(Fu.T * Fu) - 3.0) + kappa / 2.0 * (J - 1.0) ** 2
    tags = mesh.meshtags(domain, 2, np.sort(top), np.ones(len(top), dtype=np.int32))
    ds = ufl.Measure("ds", domain, subdomain_data=tags, metadata={"quadrature_degree": 2})
    traction = fem.form((ufl.diff(energy, Fu) * ufl.FacetNormal(domain))[2] * ds(1))
    force = COMM.allreduce(fem.assemble_scalar(traction))
    assert force == pytest.approx(8014.825068329, abs=tolerance["force_same_mesh_Q1_abs"])
