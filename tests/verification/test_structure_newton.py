"""Newton's last iterations converge quadratically; with a wrong tangent they do not."""

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import (
    J2Plasticity,
    J2PlasticityGeneral,
    NeoHookean,
    PerzynaViscoplasticity,
    VoceHardening,
)
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, deformation_gradient, strain

COMM = MPI.COMM_WORLD
HARDENING = VoceHardening(250.0, 180.0, 60.0, 900.0)
SMALL = {
    "J2Plasticity": J2Plasticity(210e3, 0.3, HARDENING),
    "J2PlasticityGeneral": J2PlasticityGeneral(210e3, 0.3, HARDENING),
    "PerzynaViscoplasticity": PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=200.0, n=4.0),
}
FLOOR = 1e-13  # of the first residual: below it is round-off


def clamped_block(law, displacement, prefix, **keywords):
    """A clamped block whose other end is displaced sideways: non-uniform, few plastic points."""
    domain = mesh.create_box(
        COMM, [[0.0, 0.0, 0.0], [1.0, 1.0, 2.0]], [2, 2, 4], mesh.CellType.hexahedron
    )
    V = fem.functionspace(domain, ("Q", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    if isinstance(law, NeoHookean):
        inputs = {"deformation_gradient": deformation_gradient(u)}
        stress, virtual = "first_piola_stress", ufl.grad(v)
    else:
        inputs, stress, virtual = {"strain": strain(u)}, "stress", strain(v)
    material = QuadratureMaterial(domain, law, inputs, degree=2)
    F = ufl.inner(material[stress], virtual) * material.dx
    if "J" in keywords:
        keywords["J"] = keywords["J"](u, v, material.dx)
    bcs = []
    for height, value in ((0.0, [0.0, 0.0, 0.0]), (2.0, displacement)):
        face = mesh.locate_entities_boundary(domain, 2, lambda x, h=height: np.isclose(x[2], h))
        dofs = fem.locate_dofs_topological(V, 2, face)
        bcs.append(fem.dirichletbc(np.array(value), dofs, V))
    options = {"snes_rtol": FLOOR, "snes_atol": 0.0, "snes_max_it": 60}
    options |= keywords.pop("petsc_options", {})
    return MaterialProblem(
        F,
        u,
        materials=[material],
        bcs=bcs,
        petsc_options_prefix=prefix,
        petsc_options=options,
        **keywords,
    )


def orders(residuals):
    """Observed orders log(r_{k+1} / r_k) / log(r_k / r_{k-1}) while above round-off."""
    r = np.array(residuals)
    r = np.log(r[r > FLOOR * r.max()])
    return np.diff(r)[1:] / np.diff(r)[:-1]


@pytest.mark.parametrize("name", SMALL)
def test_quadratic_with_the_consistent_tangent(name):
    problem = clamped_block(SMALL[name], [0.012, 0.003, 0.006], f"newton_{name}_")
    report = problem.solve(dt=1.0)
    points = sum(m.points for m in report.materials)
    assert 0.2 * points < report.active < points, "the step must be plastic, and not everywhere"
    observed = orders(report.residuals)
    assert observed[-1] >= 1.8, f"orders {observed}, residuals {report.residuals}"


def test_quadratic_at_finite_strain():
    problem = clamped_block(NeoHookean(10.0, 0.3), [0.6, 0.2, 0.4], "newton_neo_hookean_")
    report = problem.solve()
    observed = orders(report.residuals)
    assert observed[-1] >= 1.8, f"orders {observed}, residuals {report.residuals}"


def test_linear_with_the_elastic_tangent():
    """The measure of the tests above can tell: the same step, Newton with a wrong tangent."""

    def elastic(u, v, dx):
        e = strain(ufl.TrialFunction(u.function_space))
        mu, lmbda = 210e3 / 2.6, 210e3 * 0.3 / (1.3 * 0.4)
        return ufl.inner(2.0 * mu * e + lmbda * ufl.tr(e) * ufl.Identity(3), strain(v)) * dx

    law = SMALL["J2Plasticity"]
    right = clamped_block(law, [0.012, 0.003, 0.006], "newton_right_")
    wrong = clamped_block(
        law,
        [0.012, 0.003, 0.006],
        "newton_wrong_",
        J=elastic,
        petsc_options={"snes_rtol": 1e-7, "snes_max_it": 400},
    )
    good, slow = right.solve(), wrong.solve()
    observed = orders(slow.residuals)
    assert 0.8 < np.median(observed[-4:]) < 1.2, f"orders {observed}"
    assert slow.iterations > 3 * good.iterations
    # A wrong tangent costs iterations, not correctness.
    a, b = right.u.x.array, wrong.u.x.array
    error = np.max(np.abs(a - b), initial=0.0)
    assert COMM.allreduce(error, op=MPI.MAX) < 1e-5 * 0.012
