"""Section ``solver``: what a Newton iteration costs with our presets, plain GAMG and MUMPS.

The system is that of a stretched cube of which a part flows (J2, 3D, about 47000 unknowns),
solved to a relative residual of 1e-8. ``plain_gamg`` is ``-ksp_type cg -pc_type gamg`` as PETSc
has it; ``plain_gamg_modes`` knows the rigid body modes as well. Assembly, the setup of the
preconditioner and the solve are included; CPU time, one core.
"""

import time

from mpi4py import MPI
from petsc4py import PETSc

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, presets, strain

ELEMENTS = {
    "p2_tet": (mesh.CellType.tetrahedron, 2, 12),
    "q1_hex": (mesh.CellType.hexahedron, 1, 24),
}
RTOL = 1e-8
PLAIN = {"ksp_type": "cg", "pc_type": "gamg", "ksp_rtol": RTOL, "ksp_max_it": 2000}


def settings():
    """Options of each preset, and whether the matrix knows its rigid body modes."""

    def linear(preset):
        options = presets.options(preset, True)
        return {k: v for k, v in options.items() if not k.startswith("snes_")}

    return {
        "iterative": (linear("iterative") | {"ksp_rtol": RTOL}, True),
        "direct": (linear("direct"), True),
        "plain_gamg": (PLAIN, False),
        "plain_gamg_modes": (PLAIN, True),
    }


def stretched_cube(element):
    """A problem whose Jacobian and residual are those of a cube stretched until parts flow."""
    cell, degree, n = ELEMENTS[element]
    domain = mesh.create_unit_cube(MPI.COMM_SELF, n, n, n, cell)
    V = fem.functionspace(domain, ("P", degree, (3,)))
    u = fem.Function(V)
    u.interpolate(lambda x: 6e-3 * np.stack([-0.3 * x[0], -0.3 * x[1], x[2] ** 2]))
    hardening = admat.LinearHardening(250.0, 700.0)
    law = QuadratureMaterial(
        domain, admat.J2Plasticity(70e3, 0.3, hardening), {"strain": strain(u)}, degree=2
    )
    held = fem.Function(V)
    held.x.array[:] = u.x.array
    ends = mesh.locate_entities_boundary(
        domain, 2, lambda x: np.isclose(x[2], 0.0) | np.isclose(x[2], 1.0)
    )
    bcs = [fem.dirichletbc(held, fem.locate_dofs_topological(V, 2, ends))]
    F = ufl.inner(law["stress"], strain(ufl.TestFunction(V))) * law.dx
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix="bench_", progress=False
    ).problem
    dolfinx.fem.petsc.assign(u, problem.x)
    return problem, law, presets.rigid_body_modes(V)


def solver(matrix, options, name):
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setOptionsPrefix(f"bench_{name}_")
    ksp.setOperators(matrix)
    known = PETSc.Options()
    known.prefixPush(f"bench_{name}_")
    for key, value in options.items():
        known.setValue(key, value)
    ksp.setFromOptions()
    for key in options:
        known.delValue(key)
    known.prefixPop()
    return ksp


def measure_element(element, say):
    problem, law, modes = stretched_cube(element)

    def assemble():
        problem.residual(problem.solver, problem.x, problem.b)
        problem.jacobian(problem.solver, problem.x, problem.A, problem.A)

    assemble()
    A, b, x = problem.A, problem.b, problem.A.createVecRight()
    report = law.update()
    say(f"\n{element}: {b.getSize()} unknowns, {report.active} of {report.points} points flow")
    best: dict[str, float] = {}
    for _ in range(3):
        for name, (options, knows) in settings().items():
            A.setNearNullSpace(modes if knows else PETSc.NullSpace())
            ksp = solver(A, options, name)
            times = [time.process_time()]
            for stage in (assemble, ksp.setUp, lambda ksp=ksp: ksp.solve(b, x)):
                stage()
                times.append(time.process_time())
            residual = b.duplicate()
            A.mult(x, residual)
            residual.axpy(-1.0, b)
            reason, error = ksp.getConvergedReason(), residual.norm() / b.norm()
            if reason <= 0 or error > 1e-5:
                say(f"  {name:18s} not timed: reason {reason}, residual {error:.0e}")
                continue
            total = times[-1] - times[0]
            if total < best.get(name, np.inf):
                best[name] = total
                parts = np.diff(times)
                say(
                    f"  {name:18s} {total:7.2f} s: assembly {parts[0]:.2f}, setup {parts[1]:.2f}, "
                    f"solve {parts[2]:.2f} ({ksp.getIterationNumber()} iterations)"
                )
            ksp.destroy()
    return best


def measure(say, only=None):
    """Keys with the bare preset are those of quadratic tetrahedra."""
    numbers: dict[str, float] = {}
    for element in ELEMENTS:
        if not only or element in only:
            suffix = "" if element == "p2_tet" else f"_{element}"
            for name, seconds in measure_element(element, say).items():
                numbers[f"solver.{name}{suffix}.seconds_per_newton"] = seconds
    return numbers
