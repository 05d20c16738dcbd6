"""A learned law from a file in finite elements: a homogeneous body answers as one point does."""

from mpi4py import MPI

import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from learned import disturbed
from recorded import TIGHT

import dolfinx_admat as admat
from dolfinx_admat import Path, drive, learning
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD
#: Yields at about 0.12 %; unloads, and reverses.
ELONGATIONS = (0.001, 0.005, 0.003, -0.004)


@pytest.fixture(scope="module")
def laws(tmp_path_factory):
    """A law of no one's weights, and what all ranks load after one has saved it."""
    file = COMM.bcast(tmp_path_factory.mktemp("law") / "law.json" if COMM.rank == 0 else None)
    scales = learning.Scales(210e3, 0.3, 400.0, 0.02)
    made = disturbed(learning.LearnedElastoviscoplastic.create(scales, branches=1), 1, 0.3)
    if COMM.rank == 0:
        admat.save_law(file, made)
    COMM.barrier()
    return made, admat.load_law(file)


def test_uniaxial_stress_of_a_body_and_of_a_point(laws):
    made, law = laws
    domain = mesh.create_unit_cube(COMM, 2, 2, 2)
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v, pulled = fem.Function(V, name="u"), ufl.TestFunction(V), fem.Constant(domain, 0.0)
    bcs = []
    for axis, side, value in ((0, 0.0, 0.0), (1, 0.0, 0.0), (2, 0.0, 0.0), (2, 1.0, pulled)):
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 2, bodies.facets(domain, axis, side))
        bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0) if side == 0.0 else value, dofs, W))
    material = QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=1)
    work = ufl.inner(material["stress"], strain(v)) * material.dx
    problem = MaterialProblem(
        work, u, materials=[material], bcs=bcs, petsc_options=TIGHT,
        petsc_options_prefix="learned_", progress=False,
    )  # fmt: skip
    path = Path()
    for elongation in ELONGATIONS:
        path = path.ramp({"strain_zz": elongation}, steps=1)
    point = drive(made, path, backend="xla")
    flow = point.states["equivalent_plastic_strain"][0]
    # Elastic, then plastic both ways.
    assert flow[1] == 0.0 and flow[2] > 1e-3 and flow[4] > flow[3] + 1e-3
    lateral = np.max(np.abs(point["strain_xx"]))
    for step, elongation in enumerate(ELONGATIONS, 1):
        pulled.value = elongation
        problem.solve()
        uniaxial = np.diag([0.0, 0.0, point["stress_zz"][step]])
        size = np.max(np.abs(point["stress_zz"]))
        assert largest(material.values("stress") - uniaxial) < 1e-8 * size
        found = material.values("equivalent_plastic_strain")
        assert largest(found - flow[step]) < 1e-8 * flow.max()
        # The body becomes thinner as the point does.
        x = V.tabulate_dof_coordinates()[:, 0]
        thinner = u.x.array.reshape(-1, 3)[:, 0] - point["strain_xx"][step] * x
        assert largest(thinner) < 1e-8 * lateral


def largest(values):
    """Of all ranks."""
    return COMM.allreduce(np.abs(values).max(initial=0.0), op=MPI.MAX)
