"""Stationary creep of a thick sphere under pressure, by axisymmetry (reference case ST-S09)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem

from dolfinx_admat import (
    Axisymmetry,
    Elastoviscoplastic,
    IsotropicElasticity,
    NortonFlow,
    VonMises,
)
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    axisymmetric_strain,
    with_dilatation,
)

COMM = MPI.COMM_WORLD
NAME = "ST-S09_norton_sphere_steady_creep"
INNER, OUTER, PRESSURE = 100.0, 200.0, 0.1


def largest(values):
    return COMM.allreduce(np.abs(values).max(initial=0.0), op=MPI.MAX)


@pytest.mark.reference
@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_st_s09_stationary_stresses(cases, verified, n):
    case = json.loads((cases / f"{NAME}.json").read_text())
    table = np.loadtxt(cases / f"{NAME}.csv", delimiter=",", skiprows=1)
    rows = table[table[:, 0] == n]
    E, nu = case["material"]["E"], case["material"]["nu"]
    # In a unit of time a stress as high as the pressure makes its elastic strain by creep.
    K = PRESSURE * (E / PRESSURE) ** (1.0 / n)
    law = Elastoviscoplastic(
        IsotropicElasticity(E, nu), VonMises(), viscosity=NortonFlow(K, float(n))
    )
    domain = bodies.quarter_annulus(INNER, OUTER, 10, 5)
    ds = bodies.arcs(domain, INNER, OUTER)
    # Steady creep keeps the volume, which plain quadratic triangles cannot: their pressure grows.
    V, Q = fem.functionspace(domain, ("P", 2, (2,))), fem.functionspace(domain, ("P", 1))
    u, p, theta = fem.Function(V), fem.Function(Q), fem.Function(Q)
    v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q, Q))
    strain, virtual = axisymmetric_strain(u), axisymmetric_strain(v)
    material = QuadratureMaterial(
        domain, Axisymmetry(law), {"strain": with_dilatation(strain, theta)}, degree=3
    )
    x = ufl.SpatialCoordinate(domain)
    r, dx = x[0], material.dx
    F = ufl.inner(material["stress"], with_dilatation(virtual, eta)) * r * dx
    F += r * (p * (ufl.tr(virtual) - eta) + q * (ufl.tr(strain) - theta)) * dx
    F += PRESSURE * ufl.dot(ufl.FacetNormal(domain), v) * r * ds(1)
    problem = MaterialProblem(
        ufl.extract_blocks(F),
        [u, p, theta],
        materials=[material],
        bcs=bodies.symmetric_quarter(V),
        petsc_options_prefix="st_s09_",
    )
    times = np.geomspace(0.01, 1000.0, 45)
    before = None
    for _ in LoadStepper(problem, times):
        now = material.values("stress")
        change, before = (1.0 if before is None else largest(now - before)), now
    assert change < 1e-5 * PRESSURE  # stationary

    places = fem.Expression(x, material.points).eval(domain, material.cells)
    places = places.reshape(*before.shape[:2], 2)
    R = np.hypot(places[..., 0], places[..., 1])
    e_r = np.concatenate([places / R[..., None], np.zeros((*R.shape, 1))], axis=-1)
    radial = np.einsum("cqi,cqij,cqj->cq", e_r, before, e_r)
    # The steady state, as in the table: C times (1 - (b/r)^(3/n)) and its hoop stress.
    k = 3.0 / n
    C = PRESSURE / ((OUTER / INNER) ** k - 1.0)
    s_r = C * (1.0 - (OUTER / rows[:, 1]) ** k)
    s_t = C * (1.0 - (1.0 - 0.5 * k) * (OUTER / rows[:, 1]) ** k)
    np.testing.assert_allclose(np.stack([s_r, s_t]), rows[:, 2:].T, atol=1e-10)
    exact = C * (1.0 - (OUTER / R) ** k), C * (1.0 - (1.0 - 0.5 * k) * (OUTER / R) ** k)
    error = max(largest(radial - exact[0]), largest(before[..., 2, 2] - exact[1]))
    verified(
        law="Axisymmetry(Elastoviscoplastic, NortonFlow)",
        hypotheses="axisymmetry, FE",
        against="stationary creep of a sphere, Odqvist & Hult (ST-S09)",
        error=error / PRESSURE,
        tolerance=case["tolerance"]["stress_rel_to_p"],
    )
