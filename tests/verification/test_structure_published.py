"""Elastic-plastic structures against closed forms: thick sphere, twisted bar."""

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from scipy.optimize import brentq

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    axisymmetric_strain,
    strain,
)

E, NU = 200e3, 0.3


def test_thick_sphere_under_pressure(verified):
    """R. Hill, The Mathematical Theory of Plasticity, 1950, chapter V.2: perfectly plastic sphere.

    The chords of 6 elements per quarter circle take away 0.3 % of the radius.
    """
    a, b, sigma_y = 1.0, 2.0, 240.0
    domain = mesh.create_rectangle(
        MPI.COMM_WORLD, [[a, 0.0], [b, np.pi / 2]], [8, 6], mesh.CellType.quadrilateral
    )
    radius, angle = domain.geometry.x[:, 0].copy(), domain.geometry.x[:, 1].copy()
    domain.geometry.x[:, 0], domain.geometry.x[:, 1] = (
        radius * np.sin(angle),
        radius * np.cos(angle),
    )
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    steel = admat.J2Plasticity(E, NU, admat.LinearHardening(sigma_y))
    law = QuadratureMaterial(
        domain, admat.Axisymmetry(steel), {"strain": axisymmetric_strain(u)}, degree=4
    )
    inside = mesh.locate_entities_boundary(domain, 1, lambda x: np.hypot(x[0], x[1]) < 1.03 * a)
    tags = mesh.meshtags(domain, 1, np.sort(inside), np.full(len(inside), 1, np.int32))
    ds = ufl.Measure("ds", domain, subdomain_data=tags)
    pressure = fem.Constant(domain, 0.0)
    r = ufl.SpatialCoordinate(domain)[0]
    F = ufl.inner(law["stress"], axisymmetric_strain(v)) * r * law.dx
    F += pressure * ufl.dot(ufl.FacetNormal(domain), v) * r * ds(1)
    bcs = []
    for axis in (0, 1):
        plane = mesh.locate_entities_boundary(domain, 1, lambda x, i=axis: np.isclose(x[i], 0.0))
        held = fem.locate_dofs_topological(V.sub(axis), 1, plane)
        bcs.append(fem.dirichletbc(0.0, held, V.sub(axis)))
    problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="sphere_")
    limit = 2 * sigma_y * np.log(b / a)

    def load(t):
        pressure.value = t * limit

    errors = []
    for step in LoadStepper(problem, [0.35, 0.6, 0.8, 0.95], load=load):
        p = step.time * limit
        if step.time < 0.4:  # Lame
            outer = 1.5 * (1 - NU) * p * b / (E * (b**3 / a**3 - 1))
        else:
            front = brentq(
                lambda c, p=p: 2 * sigma_y * (np.log(c / a) + (1 - c**3 / b**3) / 3) - p, a, b
            )
            outer = (1 - NU) * sigma_y * front**3 / (E * b**2)
        outside = np.isclose(np.hypot(*V.tabulate_dof_coordinates()[:, :2].T), b, atol=1e-9)
        at_corners = np.linalg.norm(u.x.array.reshape(-1, 2)[outside], axis=1)
        found = domain.comm.allreduce(at_corners.max(initial=0.0), MPI.MAX)
        errors.append(abs(found / outer - 1.0))
    verified(
        law="Axisymmetry(J2Plasticity)",
        hypotheses="axisymmetry, FE",
        against="thick sphere, outer displacement up to 95 % of the limit load (Hill 1950)",
        error=max(errors),
        tolerance=1e-2,
    )


def test_torsion_of_a_round_bar(verified):
    """Torque 2/3 pi k R^3 (1 - (angle at yield / angle)^3 / 4); A. Nadai 1931.

    The bar is a polygon: 1.4 % of its polar moment is missing, and 1.1 % of its plastic one.
    """
    k, R = 100.0, 1.0
    domain = mesh.create_box(
        MPI.COMM_WORLD, [[-R, -R, 0.0], [R, R, 1.0]], [8, 8, 1], mesh.CellType.hexahedron
    )
    x = domain.geometry.x
    norm = np.hypot(x[:, 0], x[:, 1])
    x[:, :2] *= (np.abs(x[:, :2]).max(axis=1) / np.where(norm > 0.0, norm, 1.0))[:, None]
    V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    steel = admat.J2Plasticity(E, NU, admat.LinearHardening(np.sqrt(3.0) * k))
    law = QuadratureMaterial(domain, steel, {"strain": strain(u)}, degree=4)
    turned = fem.Function(V)
    ends = mesh.locate_entities_boundary(
        domain, 2, lambda x: np.isclose(x[2], 0.0) | np.isclose(x[2], 1.0)
    )
    bcs = [fem.dirichletbc(turned, fem.locate_dofs_topological(V, 2, ends))]
    problem = MaterialProblem(
        ufl.inner(law["stress"], strain(v)) * law.dx,
        u,
        materials=[law],
        bcs=bcs,
        petsc_options_prefix="torsion_",
    )
    at_yield = k * 2 * (1 + NU) / E / R
    X = ufl.SpatialCoordinate(domain)
    moment = fem.form((X[0] * law["stress"][1, 2] - X[1] * law["stress"][0, 2]) * law.dx)

    def load(t):
        turn = t * at_yield
        turned.interpolate(lambda x: turn * np.stack([-x[1] * x[2], x[0] * x[2], 0 * x[0]]))

    errors = []
    for step in LoadStepper(problem, [1.0, 1.5, 2.5, 5.0], load=load):
        torque = domain.comm.allreduce(fem.assemble_scalar(moment), MPI.SUM)
        ratio = step.time
        full = 2 / 3 * np.pi * k * R**3
        expected = full * (1.0 - 0.25 / ratio**3)
        errors.append(abs(torque / expected - 1.0))
    verified(
        law="J2Plasticity",
        hypotheses="3D, FE",
        against="torque of a twisted round bar, perfectly plastic (Nadai 1931)",
        error=max(errors),
        tolerance=2e-2,
    )
