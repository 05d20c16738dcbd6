"""The same problems written in UFL alone, without the plugin, give the same displacement."""

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import J2Plasticity, LinearHardening, NeoHookean
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, deformation_gradient, strain

COMM = MPI.COMM_WORLD
DIRECT = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
TIGHT = {"snes_rtol": 1e-13, "snes_stol": 0.0, "snes_linesearch_type": "bt"}


def block(displacement):
    """Function space on a bar and Dirichlet conditions that bend and stretch it."""
    domain = mesh.create_box(COMM, [[0.0, 0.0, 0.0], [1.0, 1.0, 2.0]], [2, 2, 4])
    V = fem.functionspace(domain, ("P", 2, (3,)))
    bcs = []
    for height, value in ((0.0, [0.0, 0.0, 0.0]), (2.0, displacement)):
        face = mesh.locate_entities_boundary(domain, 2, lambda x, h=height: np.isclose(x[2], h))
        dofs = fem.locate_dofs_topological(V, 2, face)
        bcs.append(fem.dirichletbc(np.array(value), dofs, V))
    return domain, V, bcs


def norm(array, V):
    """Euclidean norm over the owned unknowns of all ranks."""
    owned = array[: V.dofmap.index_map.size_local * V.dofmap.bs]
    return np.sqrt(COMM.allreduce(float(owned @ owned)))


def solved_in_ufl(F, u, bcs, prefix):
    problem = dolfinx.fem.petsc.NonlinearProblem(
        F, u, bcs=bcs, petsc_options_prefix=prefix, petsc_options=DIRECT | TIGHT
    )
    problem.solve()
    assert problem.solver.getConvergedReason() > 0
    return problem


def test_j2_linear_hardening_one_step():
    E, nu, sigma_y, H = 210e3, 0.3, 250.0, 2100.0
    mu, kappa = E / (2.0 * (1.0 + nu)), E / (3.0 * (1.0 - 2.0 * nu))
    domain, V, bcs = block([0.010, 0.002, 0.008])
    v = ufl.TestFunction(V)

    u = fem.Function(V)
    material = QuadratureMaterial(
        domain, J2Plasticity(E, nu, LinearHardening(sigma_y, H)), {"strain": strain(u)}, degree=2
    )
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    problem = MaterialProblem(
        F, u, materials=[material], bcs=bcs, petsc_options_prefix="ufl_j2_", petsc_options=TIGHT
    )
    report = problem.solve()
    assert 0.2 * sum(m.points for m in report.materials) < report.active

    w = fem.Function(V)
    e = ufl.sym(ufl.grad(w))
    s = 2.0 * mu * ufl.dev(e)
    # The tiny number keeps the derivative of the root finite at zero strain.
    trial = ufl.sqrt(1.5 * ufl.inner(s, s) + 1e-20)
    p = ufl.conditional(ufl.gt(trial, sigma_y), (trial - sigma_y) / (3.0 * mu + H), 0.0)
    stress = s * (1.0 - 3.0 * mu * p / trial) + kappa * ufl.tr(e) * ufl.Identity(3)
    dx = ufl.dx(domain, metadata={"quadrature_degree": 2, "quadrature_scheme": "default"})
    solved_in_ufl(ufl.inner(stress, ufl.sym(ufl.grad(v))) * dx, w, bcs, "ufl_j2_alone_")

    assert norm(u.x.array - w.x.array, V) < 1e-9 * norm(w.x.array, V)
    plugin, alone = (
        COMM.allreduce(fem.assemble_scalar(fem.form(form)))
        for form in (material["equivalent_plastic_strain"] * material.dx, p * dx)
    )
    assert alone > 1e-4
    assert abs(plugin - alone) < 1e-9 * alone


def test_neo_hookean():
    E, nu = 10.0, 0.3
    domain, V, bcs = block([0.4, 0.1, 0.3])
    v = ufl.TestFunction(V)

    u = fem.Function(V)
    material = QuadratureMaterial(
        domain, NeoHookean(E, nu), {"deformation_gradient": deformation_gradient(u)}, degree=3
    )
    F = ufl.inner(material["first_piola_stress"], ufl.grad(v)) * material.dx
    MaterialProblem(
        F, u, materials=[material], bcs=bcs, petsc_options_prefix="ufl_nh_", petsc_options=TIGHT
    ).solve()

    w = fem.Function(V)
    mu, kappa = E / (2.0 * (1.0 + nu)), E / (3.0 * (1.0 - 2.0 * nu))
    Fw = ufl.Identity(3) + ufl.grad(w)
    J = ufl.det(Fw)
    energy = mu / 2.0 * (J ** (-2.0 / 3.0) * ufl.tr(Fw.T * Fw) - 3.0) + kappa / 2.0 * (J - 1.0) ** 2
    dx = ufl.dx(domain, metadata={"quadrature_degree": 3})
    solved_in_ufl(ufl.derivative(energy * dx, w, v), w, bcs, "ufl_nh_alone_")
    assert norm(u.x.array - w.x.array, V) < 1e-10 * norm(w.x.array, V)
