"""Thick cylinder under internal pressure up to plastic collapse (reference case ST-S01)."""

import json

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem

from dolfinx_admat import ConvergenceError, J2Plasticity, LinearHardening
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, plane_strain

COMM = MPI.COMM_WORLD
INNER, OUTER = 100.0, 200.0
NAME = "ST-S01_thick_cylinder_von_mises"


class Cylinder:
    """The problem, its load in units of the limit load, and mean radial displacements."""

    def __init__(self, case):
        E, nu, sigma_y = (case["material"][key] for key in ("E", "nu", "sigma_y"))
        self.limit = 2.0 / np.sqrt(3.0) * sigma_y * np.log(OUTER / INNER)
        domain = bodies.quarter_annulus(INNER, OUTER, 6, 8)
        ds = bodies.arcs(domain, INNER, OUTER)

        V = fem.functionspace(domain, ("P", 2, (2,)))
        self.u, v = fem.Function(V, name="u"), ufl.TestFunction(V)
        self.material = QuadratureMaterial(
            domain,
            J2Plasticity(E, nu, LinearHardening(sigma_y, 0.0)),
            {"strain": plane_strain(self.u)},
            degree=2,
        )
        self.pressure = fem.Constant(domain, 0.0)
        F = ufl.inner(self.material["stress"], plane_strain(v)) * self.material.dx
        F += self.pressure * ufl.dot(ufl.FacetNormal(domain), v) * ds(1)
        self.problem = MaterialProblem(
            F,
            self.u,
            materials=[self.material],
            bcs=bodies.symmetric_quarter(V),
            petsc_options_prefix="st_s01_",
        )
        x = ufl.SpatialCoordinate(domain)
        radial = ufl.dot(self.u, x) / ufl.sqrt(ufl.dot(x, x))
        one = fem.Constant(domain, 1.0)
        self._means = {k: (fem.form(radial * ds(k)), fem.form(one * ds(k))) for k in (1, 2)}

    def load(self, level):
        self.pressure.value = level * self.limit

    def displacement(self, tag):
        """Mean radial displacement of the inner (1) or outer (2) face."""
        return np.divide(*(COMM.allreduce(fem.assemble_scalar(f)) for f in self._means[tag]))


@pytest.mark.reference
def test_st_s01_displacements_up_to_collapse_and_the_limit_load(cases, verified):
    case = json.loads((cases / f"{NAME}.json").read_text())
    hill = np.loadtxt(cases / f"{NAME}.csv", delimiter=",", skiprows=1)
    cylinder = Cylinder(case)
    levels = [row[0] for row in case["fem_table"]]
    min_dt = 2.5e-3
    stepper = LoadStepper(
        cylinder.problem, [*levels, 1.1], load=cylinder.load, max_dt=0.1, min_dt=min_dt
    )
    tolerance = case["tolerance"]
    found, accepted = [], None
    with pytest.raises(ConvergenceError, match="smallest size"):
        for step in stepper:
            state = cylinder.material.state["equivalent_plastic_strain"]
            accepted = (step.time, cylinder.u.x.array.copy(), state.copy())
            if step.prescribed:
                found.append((cylinder.displacement(2), cylinder.displacement(1)))

    # Measured: within 0.3 % of the table, which has 8x6 quadrilaterals.
    assert len(found) == len(levels)
    outer = np.interp(levels[1:], hill[:, 2], hill[:, 3])
    table = np.array([row[1:] for row in case["fem_table"]])
    named = {"law": "J2Plasticity", "hypotheses": "plane strain, FE"}
    verified(
        **named,
        against="thick cylinder, displacements of de Souza Neto et al. (ST-S01)",
        error=np.max(np.abs(np.array(found) / table - 1.0)),
        tolerance=tolerance["u_rel_to_fem_table"],
    )
    verified(
        **named,
        against="thick cylinder, Hill's outer displacement (ST-S01)",
        error=np.max(np.abs([u for u, _ in found[1:]] / outer - 1.0)),
        tolerance=tolerance["u_b_rel_to_Hill"],
    )
    # Collapse lies between the last accepted load and the smallest step that failed after it.
    assert stepper.time == accepted[0]
    verified(
        **named,
        against="thick cylinder, Hill's limit load (ST-S01)",
        error=abs(stepper.time - 1.0),
        tolerance=tolerance["limit_load_rel"],
    )
    # The failed attempts have left no trace: load, displacement and history are those of the
    # last accepted step, at which nothing is left to solve.
    state = cylinder.material.state["equivalent_plastic_strain"]
    assert cylinder.pressure.value == pytest.approx(stepper.time * cylinder.limit, rel=1e-14)
    same = np.array_equal(cylinder.u.x.array, accepted[1]) and np.array_equal(state, accepted[2])
    assert COMM.allreduce(int(same)) == COMM.size
    report = cylinder.problem.solve(dt=0.0)
    assert report.iterations <= 1
    change = np.max(np.abs(cylinder.u.x.array - accepted[1]), initial=0.0)
    assert COMM.allreduce(change, op=MPI.MAX) < 1e-6 * accepted[1].max(initial=1.0)
