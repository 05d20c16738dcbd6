"""Patch test: a linear displacement on the boundary of a distorted mesh gives uniform stress."""

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import J2Plasticity, LinearElastic, LinearHardening
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD
E, NU, SIGMA_Y, H = 210e3, 0.3, 250.0, 2100.0
LAWS = {
    "elastic": LinearElastic(E, NU),
    "plastic": J2Plasticity(E, NU, LinearHardening(SIGMA_Y, H)),
}
GRADIENT = 2e-3 * np.array([[1.0, 0.4, -0.2], [0.1, -0.3, 0.5], [0.3, -0.2, 0.2]])


def distorted_cube(cell):
    domain = mesh.create_unit_cube(COMM, 3, 3, 3, cell)
    x = domain.geometry.x
    # A function of place: the same on all ranks; zero on the boundary.
    bubble = np.prod(np.sin(np.pi * x), axis=1)
    old = x.copy()
    for i, (a, b) in enumerate([(3.1, 5.3), (4.7, 2.9), (2.3, 6.1)]):
        x[:, i] += 0.12 * bubble * np.cos(a * old[:, 0] + b * old[:, 1] - a * b * old[:, 2])
    return domain


def radial_return(total):
    """Stress and p of one proportional step from the virgin state, closed form; 3x3 numpy."""
    mu, kappa = E / (2.0 * (1.0 + NU)), E / (3.0 * (1.0 - 2.0 * NU))
    mean = np.trace(total) / 3.0
    deviator = 2.0 * mu * (total - mean * np.eye(3))
    trial = np.sqrt(1.5 * np.sum(deviator**2))
    p = max(trial - SIGMA_Y, 0.0) / (3.0 * mu + H)
    return deviator * (1.0 - 3.0 * mu * p / trial) + 3.0 * kappa * mean * np.eye(3), p


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", ["hexahedron", "tetrahedron"])
def test_uniform_stress_to_round_off(kind, law):
    domain = distorted_cube(mesh.CellType[kind])
    # Degree 2 is exact for a constant stress in trilinear hexahedra and straight P2 tetrahedra.
    V = fem.functionspace(domain, ("Q", 1, (3,)) if kind == "hexahedron" else ("P", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(domain, LAWS[law], {"strain": strain(u)}, degree=2)
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    domain.topology.create_connectivity(2, 3)
    boundary = mesh.exterior_facet_indices(domain.topology)
    linear = fem.Function(V)
    linear.interpolate(lambda x: GRADIENT @ x)
    bcs = [fem.dirichletbc(linear, fem.locate_dofs_topological(V, 2, boundary))]
    problem = MaterialProblem(
        F,
        u,
        materials=[material],
        bcs=bcs,
        petsc_options_prefix=f"patch_{kind}_{law}_",
        petsc_options={"snes_rtol": 1e-13},
    )
    problem.solve()

    total = 0.5 * (GRADIENT + GRADIENT.T)
    stress, p = radial_return(total)
    assert p > 1e-4
    if law == "elastic":
        mu, lmbda = E / (2.0 * (1.0 + NU)), E * NU / ((1.0 + NU) * (1.0 - 2.0 * NU))
        stress = 2.0 * mu * total + lmbda * np.trace(total) * np.eye(3)
    error = np.max(np.abs(material.values("stress") - stress), initial=0.0)
    assert COMM.allreduce(error, op=MPI.MAX) < 1e-11 * np.abs(stress).max()
    error = np.max(np.abs(u.x.array - linear.x.array), initial=0.0)
    assert COMM.allreduce(error, op=MPI.MAX) < 1e-12 * np.abs(GRADIENT).max()
    if law == "plastic":
        error = np.max(np.abs(material.values("equivalent_plastic_strain") - p), initial=0.0)
        assert COMM.allreduce(error, op=MPI.MAX) < 1e-11 * p
