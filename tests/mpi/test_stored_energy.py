"""Energies and the mid-point rule in a body: what outer forces do is stored or dissipated."""

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from bodies import Cube, voce
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD


def work_and_energies(steps):
    """Pull a clamped cube by 0.5 % and push it back half of the way."""
    cube = Cube(admat.WithEnergies(voce()), n=1)
    path = np.concatenate([np.linspace(0, 5e-3, steps + 1)[1:], np.linspace(5e-3, 2.5e-3, 4)[1:]])
    work = force = before = 0.0
    for w in path:
        cube.moved.value[2] = w
        cube.problem.solve()
        new = cube.problem.reaction(cube.top)[2]
        work, force, before = work + 0.5 * (force + new) * (w - before), new, w
    stored = cube.material.integrate("stored_energy")
    return work, stored, cube.material.integrate("dissipated_energy")


def test_work_is_stored_and_dissipated_energy():
    """The balance closes with the first order of the step; the same on any number of ranks."""
    gaps = []
    for steps in (6, 12):
        work, stored, dissipated = work_and_energies(steps)
        assert stored > 0.0 and dissipated > stored
        gaps.append(abs(work - stored - dissipated) / work)
    assert gaps[1] < 0.6 * gaps[0] < 0.6 * 0.02, gaps


def test_mid_point_rule_is_that_of_the_driver():
    """A bar of one element under uniaxial stress against ``drive``, step by step."""
    law = admat.Elastoviscoplastic(
        admat.IsotropicElasticity(210e3, 0.3),
        admat.VonMises(),
        admat.LinearHardening(250.0, 2000.0),
        admat.ArmstrongFrederick(20e3, 100.0),
        viscosity=admat.NortonFlow(100.0, 5.0),
        theta=0.5,
    )
    domain = mesh.create_unit_cube(COMM, 1, 1, 1, mesh.CellType.hexahedron)
    V = fem.functionspace(domain, ("Q", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=2)
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    moved, bcs = fem.Constant(domain, 0.0), []
    for axis, value, what in ((0, 0.0, 0.0), (1, 0.0, 0.0), (2, 0.0, 0.0), (0, 1.0, moved)):
        facets = mesh.locate_entities_boundary(
            domain, 2, lambda x, axis=axis, value=value: np.isclose(x[axis], value)
        )
        W = V.sub(axis)
        dofs = fem.locate_dofs_topological(W, 2, facets)
        what = fem.Constant(domain, what) if isinstance(what, float) else what
        bcs.append(fem.dirichletbc(what, dofs, W))
    problem = MaterialProblem(
        F, u, materials=[material], bcs=bcs, petsc_options_prefix="mid_", progress=False
    )
    path = admat.Path().ramp(to={"strain_xx": 0.01}, time=1.0, steps=5)
    wanted = admat.drive(law, path)["stress_xx"]
    for k in range(1, 6):
        moved.value = 0.002 * k
        problem.solve(dt=0.2)
        found = material.integrate("stress")[0, 0]
        assert found == pytest.approx(float(wanted[k]), rel=1e-9)
