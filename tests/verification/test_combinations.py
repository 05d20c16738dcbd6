"""Element x law x tangent x solver x region: the patch test, pairwise here, all in `test-full`.

An affine displacement of the whole boundary must give the uniform stress that the law has at one
point; history and dt included, in two steps.
"""

import itertools

from mpi4py import MPI

import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    MaterialProblem,
    QuadratureMaterial,
    deformation_gradient,
    plane_deformation_gradient,
    plane_strain,
    strain,
)

HARDENING = admat.VoceHardening(250.0, 150.0, 40.0)
LAWS = {
    "elastic": admat.LinearElastic(210e3, 0.3),
    "j2": admat.J2Plasticity(210e3, 0.3, HARDENING),
    "j2_general": admat.J2PlasticityGeneral(210e3, 0.3, HARDENING),
    "perzyna": admat.PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=100.0, n=3.0),
    "neo_hookean": admat.NeoHookean(1.0, 0.3),
}
FACTORS = {
    "cell": ["triangle", "quadrilateral", "tetrahedron", "hexahedron"],
    "order": [1, 2],
    "law": list(LAWS),
    "tangent": ["implicit", "unrolled", "finite_difference"],
    "solver": ["direct", "iterative"],
    "region": ["mesh", "tags"],
}
ALL = list(itertools.product(*FACTORS.values()))


def pairs(case):
    """All pairs of values in a case, with the factors they belong to."""
    return set(itertools.combinations(enumerate(case), 2))


def pairwise():
    """A small set of cases in which every pair of values occurs; the same in every run."""
    missing = set().union(*map(pairs, ALL))
    chosen = []
    while missing:
        best = max(ALL, key=lambda case: len(pairs(case) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


PAIRWISE = set(pairwise())


def test_pairwise_covers_every_pair():
    assert set().union(*map(pairs, PAIRWISE)) == set().union(*map(pairs, ALL))
    assert len(PAIRWISE) < len(ALL) / 10


def make_mesh(cell):
    kind = mesh.CellType[cell]
    if cell in ("triangle", "quadrilateral"):
        domain = mesh.create_unit_square(MPI.COMM_WORLD, 3, 3, kind)
    else:
        domain = mesh.create_unit_cube(MPI.COMM_WORLD, 2, 2, 2, kind)
    # Move the inner nodes, so that the cells differ.
    x = domain.geometry.x
    inside = np.all((x > 1e-9) & (x < 1 - 1e-9), axis=1)
    if domain.geometry.dim == 2:
        inside = np.all((x[:, :2] > 1e-9) & (x[:, :2] < 1 - 1e-9), axis=1)
    x[inside, 0] += 0.07
    x[inside, 1] -= 0.05
    return domain


@pytest.mark.parametrize(
    FACTORS.keys(),
    [
        pytest.param(*case, id="-".join(map(str, case)), marks=[] if case in PAIRWISE else FULL)
        for FULL in [pytest.mark.full]
        for case in ALL
    ],
)
def test_patch(cell, order, law, tangent, solver, region):
    domain = make_mesh(cell)
    dim = domain.geometry.dim
    finite = law == "neo_hookean"
    measure = {
        (2, False): plane_strain,
        (3, False): strain,
        (2, True): plane_deformation_gradient,
        (3, True): deformation_gradient,
    }[dim, finite]
    V = fem.functionspace(domain, ("Lagrange", order, (dim,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    cells = None
    if region == "tags":
        count = (
            domain.topology.index_map(dim).size_local + domain.topology.index_map(dim).num_ghosts
        )
        everything = np.arange(count, dtype=np.int32)
        cells = (mesh.meshtags(domain, dim, everything, np.full(count, 5, np.int32)), 5)
    name, result = (
        ("deformation_gradient", "first_piola_stress") if finite else ("strain", "stress")
    )
    material = QuadratureMaterial(
        domain,
        LAWS[law],
        {name: measure(u)},
        degree=2 * order,
        cells=cells,
        tangent=tangent,
        chunk_size=256,
    )
    virtual = ufl.derivative(measure(u), u, v)
    F = ufl.inner(material[result], virtual) * material.dx
    domain.topology.create_connectivity(dim - 1, dim)
    boundary = mesh.exterior_facet_indices(domain.topology)
    edge = fem.Function(V)
    bcs = [fem.dirichletbc(edge, fem.locate_dofs_topological(V, dim - 1, boundary))]
    problem = MaterialProblem(
        F,
        u,
        materials=[material],
        bcs=bcs,
        petsc_options_prefix="patch_",
        solver=solver,
        petsc_options={"ksp_rtol": 1e-12},
        progress=False,
    )
    gradient = 1e-3 * np.array([[4.0, 1.0, 0.5], [-0.5, -1.5, 0.2], [0.3, 0.6, -1.0]])
    if finite:
        gradient *= 50.0
    gradient[dim:] = 0.0
    gradient[:, dim:] = 0.0
    state = None
    for scale, dt in ((0.5, 0.1), (1.0, 0.2)):
        G = scale * gradient
        edge.interpolate(lambda x, G=G: G[:dim, :dim] @ x[:dim])
        problem.solve(dt=dt)
        e = 0.5 * (G + G.T)
        given = np.eye(3) + G if finite else admat.tensors.to_mandel(jnp.asarray(e))
        point = admat.evaluate_point(LAWS[law], given, state, dt)
        state = point.state
        expected = point.outputs[result]
        expected = expected if finite else admat.tensors.from_mandel(expected)
        found = material.values(result)
        # Linear solves to 1e-12, Newton to 1e-9 of the first residual and then quadratic; finite
        # differences as tangent converge linearly at the end, which costs two digits.
        tolerance = 1e-7 if tangent == "finite_difference" else 1e-8
        np.testing.assert_allclose(
            found, np.broadcast_to(expected, found.shape), atol=tolerance * np.abs(expected).max()
        )
    if law in ("j2", "j2_general", "perzyna"):
        assert float(point.state["equivalent_plastic_strain"]) > 1e-3
