"""Elastic pipe under pressure, by axisymmetry (reference case ST-S02)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import Axisymmetry, LinearElastic
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, axisymmetric_strain

COMM = MPI.COMM_WORLD
NAME = "ST-S02_elastic_pipe_lame"
INNER, OUTER, HEIGHT = 4.2e-3, 4.7e-3, 1e-4


@pytest.mark.reference
def test_st_s02_stresses(cases, verified):
    """The peer's mesh: 10 quadratic elements; its points are the quadrature points of ours."""
    case = json.loads((cases / f"{NAME}.json").read_text())
    table = np.loadtxt(cases / f"{NAME}.csv", delimiter=",", skiprows=1)
    domain = mesh.create_rectangle(
        COMM, [[INNER, 0.0], [OUTER, HEIGHT]], [10, 1], mesh.CellType.quadrilateral
    )
    V = fem.functionspace(domain, ("Q", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    law = Axisymmetry(LinearElastic(case["material"]["E"], case["material"]["nu"]))
    material = QuadratureMaterial(domain, law, {"strain": axisymmetric_strain(u)}, degree=5)
    r = ufl.SpatialCoordinate(domain)[0]
    F = ufl.inner(material["stress"], axisymmetric_strain(v)) * r * material.dx
    n, pressure = ufl.FacetNormal(domain), {INNER: 1.5e6, OUTER: 10e6}
    sides = {
        radius: mesh.locate_entities_boundary(domain, 1, lambda x, at=radius: np.isclose(x[0], at))
        for radius in pressure
    }
    facets = np.concatenate(list(sides.values()))
    marks = np.repeat(np.array([1, 2], dtype=np.int32), [len(f) for f in sides.values()])
    order = np.argsort(facets)
    tags = mesh.meshtags(domain, 1, facets[order], marks[order])
    ds = ufl.Measure("ds", domain, subdomain_data=tags)
    for tag, p in enumerate(pressure.values(), start=1):
        F += p * ufl.dot(n, v) * r * ds(tag)
    # The other end is free, which is a force of zero.
    W = V.sub(1)
    bottom = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 0.0))
    axial = fem.dirichletbc(fem.Constant(domain, 0.0), fem.locate_dofs_topological(W, 1, bottom), W)
    problem = MaterialProblem(
        F, u, materials=[material], bcs=[axial], petsc_options_prefix="st_s02_"
    )
    assert problem.problem.assembly == "fast"
    assert problem.solve().iterations == 1

    x = ufl.SpatialCoordinate(domain)
    radii = fem.Expression(x, material.points).eval(domain, material.cells)
    radii = radii.reshape(len(material.cells), -1, 2)[..., 0]
    stress = material.values("stress")
    # Axes (r, z, theta).
    found = np.stack([stress[..., 0, 0], stress[..., 2, 2], stress[..., 1, 1]], axis=-1)
    rows = np.abs(radii[..., None] - table[:, 0]).argmin(axis=-1)
    np.testing.assert_allclose(radii, table[rows, 0], atol=1e-11)
    p_in, p_out = pressure.values()
    a2, b2 = INNER**2, OUTER**2
    mean = (p_in * a2 - p_out * b2) / (b2 - a2)
    change = (p_in - p_out) * a2 * b2 / (b2 - a2) / radii**2
    lame = np.stack([mean - change, mean + change, 0.0 * radii], axis=-1)

    def largest(difference):
        return COMM.allreduce(np.abs(difference).max(initial=0.0), op=MPI.MAX)

    size = np.abs(table[:, 1:]).max()
    for against, expected in (("the peer", table[rows, 1:]), ("Lame", lame)):
        verified(
            law="Axisymmetry(LinearElastic)",
            hypotheses="axisymmetry, FE",
            against=f"elastic pipe, stresses of {against} (ST-S02)",
            error=largest(found - expected) / size,
            tolerance=case["tolerance"]["stress_abs"] / size,
        )
