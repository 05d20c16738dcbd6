"""Section ``solver``: what a Newton iteration costs with our presets, plain GAMG and MUMPS.

Two bodies of which parts flow (J2, 3D, 37000 to 48000 unknowns): a slender cantilever that is
bent, and a cube held at both ends, the easiest body there is for multigrid. Linear systems are
solved to a relative residual of 1e-8. ``plain_gamg`` is ``-ksp_type cg -pc_type gamg`` as PETSc has
it; ``plain_gamg_modes`` knows the rigid body modes as well. Material update, assembly, the setup
of the preconditioner and the solve are included; CPU time, one core.
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

CELLS = {"p2_tet": (mesh.CellType.tetrahedron, 2), "q1_hex": (mesh.CellType.hexahedron, 1)}
#: Body and element: length, cells per unit length.
BODIES = {
    "beam_p2_tet": (10, 5),
    "beam_q1_hex": (10, 11),
    "cube_p2_tet": (1, 12),
    "cube_q1_hex": (1, 24),
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


def loaded(name):
    """A problem at a displacement under which parts of the body flow."""
    length, n = BODIES[name]
    cell, degree = CELLS[name.split("_", 1)[1]]
    corners = [[0.0, 0.0, 0.0], [1.0, 1.0, float(length)]]
    domain = mesh.create_box(MPI.COMM_SELF, corners, [n, n, length * n], cell)
    V = fem.functionspace(domain, ("P", degree, (3,)))
    u = fem.Function(V)
    size = 6e-3 / length
    u.interpolate(lambda x: size * np.stack([-0.3 * x[0], -0.3 * x[1], x[2] ** 2]))

    hardening = admat.LinearHardening(250.0, 700.0)
    law = QuadratureMaterial(
        domain, admat.J2Plasticity(70e3, 0.3, hardening), {"strain": strain(u)}, degree=2
    )
    held = fem.Function(V)
    held.x.array[:] = u.x.array
    ends = mesh.locate_entities_boundary(
        domain, 2, lambda x: np.isclose(x[2], 0.0) | ((length == 1) & np.isclose(x[2], 1.0))
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


def measure_body(name, say):
    problem, law, modes = loaded(name)
    A, b, x = problem.A, problem.b, problem.A.createVecRight()

    def assemble():
        law.update()
        problem.residual(problem.solver, problem.x, b)
        b.array[0::3] += 1e-3 * abs(b.array).max()  # a load across the body, which bends it
        problem.jacobian(problem.solver, problem.x, A, A)

    assemble()
    report = law.update()
    say(f"\n{name}: {b.getSize()} unknowns, {report.active} of {report.points} points flow")
    best: dict[str, float] = {}
    for _ in range(3):
        for preset, (options, knows) in settings().items():
            A.setNearNullSpace(modes if knows else PETSc.NullSpace())
            ksp = solver(A, options, preset)
            times = [time.process_time()]
            for stage in (assemble, ksp.setUp, lambda ksp=ksp: ksp.solve(b, x)):
                stage()
                times.append(time.process_time())
            residual = b.duplicate()
            A.mult(x, residual)
            residual.axpy(-1.0, b)
            reason, error = ksp.getConvergedReason(), residual.norm() / b.norm()
            if reason <= 0 or error > 1e-5:
                say(f"  {preset:18s} not timed: reason {reason}, residual {error:.0e}")
                continue
            total = times[-1] - times[0]
            if total < best.get(preset, np.inf):
                best[preset] = total
                parts = np.diff(times)
                say(
                    f"  {preset:18s} {total:7.2f} s: assembly {parts[0]:.2f}, "
                    f"setup {parts[1]:.2f}, solve {parts[2]:.2f} ({ksp.its} iterations)"
                )
            ksp.destroy()
    return best


def measure(say, only=None):
    """Keys with the bare preset are those of the cantilever of quadratic tetrahedra."""
    numbers: dict[str, float] = {}
    for name in BODIES:
        if not only or name in only:
            suffix = "" if name == "beam_p2_tet" else f"_{name}"
            for preset, seconds in measure_body(name, say).items():
                numbers[f"solver.{preset}{suffix}.seconds_per_newton"] = seconds
    return numbers
