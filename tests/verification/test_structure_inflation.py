"""Inflation of an incompressible tube by a live pressure (reference case ST-S07)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem

from dolfinx_admat import Incompressible, NeoHookean
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    plane_deformation_gradient,
    plane_gradient,
)

COMM = MPI.COMM_WORLD
NAME = "ST-S07_neo_hookean_cylinder_inflation"
INNER, OUTER = 1.0, 2.0


@pytest.mark.reference
def test_st_s07_pressure_and_stretch(cases, verified):
    """Taylor-Hood triangles in plane strain; pressures of the table up to an inner stretch of 3."""
    case = json.loads((cases / f"{NAME}.json").read_text())
    table = np.loadtxt(cases / f"{NAME}.csv", delimiter=",", skiprows=1)
    mu = case["material"]["mu"]
    domain = bodies.quarter_annulus(INNER, OUTER, 6, 4)
    ds = bodies.arcs(domain, INNER, OUTER)
    V = fem.functionspace(domain, ("P", 2, (2,)))
    Q = fem.functionspace(domain, ("P", 1))
    u, p = fem.Function(V, name="u"), fem.Function(Q, name="p")
    v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q))

    law = Incompressible(NeoHookean(E=3.0 * mu, nu=0.5 - 1e-9))
    inputs = {"deformation_gradient": plane_deformation_gradient(u), "pressure": p}
    material = QuadratureMaterial(domain, law, inputs, degree=4)
    F = ufl.inner(material["first_piola_stress"], plane_gradient(v)) * material.dx
    F += material["volume_constraint"] * q * material.dx
    # Nanson: the load on the deformed surface is -P n da = -P J F^-T N dA.
    live = fem.Constant(domain, 0.0)
    gradient = ufl.Identity(2) + ufl.grad(u)
    area = ufl.det(gradient) * ufl.dot(ufl.inv(gradient).T, ufl.FacetNormal(domain))
    F += live * ufl.dot(area, v) * ds(1)
    problem = MaterialProblem(
        ufl.extract_blocks(F),
        [u, p],
        materials=[material],
        bcs=bodies.symmetric_quarter(V),
        petsc_options_prefix="st_s07_",
    )
    x = ufl.SpatialCoordinate(domain)
    stretch = ufl.sqrt(ufl.dot(x + u, x + u)) / ufl.sqrt(ufl.dot(x, x))
    mean = [(fem.form(stretch * ds(k)), fem.form(1.0 * ds(k))) for k in (1, 2)]

    def load(pressure):
        live.value = pressure

    found = [
        [
            COMM.allreduce(fem.assemble_scalar(f)) / COMM.allreduce(fem.assemble_scalar(g))
            for f, g in mean
        ]
        for step in LoadStepper(problem, table[1:, 2], load=load)
        if step.prescribed
    ]
    inner, outer = np.array(found).T
    a, b = inner * INNER, outer * OUTER
    # Rivlin's pressure at the stretch found, since the stretch reacts strongly to the pressure.
    rivlin = np.log(a * OUTER / (b * INNER)) + 0.5 * (a**2 - INNER**2) * (1 / a**2 - 1 / b**2)
    named = {"law": "Incompressible(NeoHookean)", "hypotheses": "plane strain, mixed u-p, FE"}
    verified(
        **named,
        against="inflation of a tube, pressure of Rivlin (ST-S07)",
        error=np.max(np.abs(table[1:, 2] / (mu * rivlin) - 1.0)),
        tolerance=case["tolerance"]["P_rel"],
    )
    verified(
        **named,
        against="inflation of a tube, outer against inner stretch (ST-S07)",
        error=np.max(np.abs(outer / np.interp(inner, table[:, 0], table[:, 1]) - 1.0)),
        tolerance=1e-3,  # that of the linear interpolation
    )
    assert inner[-1] == pytest.approx(3.0, rel=0.02)
    assert not problem.solver.getKSP().getType() == "cg"
