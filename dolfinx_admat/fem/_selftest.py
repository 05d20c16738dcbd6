"""Does this installation compute? A small elastoplastic bar with a known answer, any ranks."""

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh

from ..errors import ConvergenceError
from ..materials import J2Plasticity, LinearHardening
from .kinematics import strain
from .problem import MaterialProblem
from .quadrature import QuadratureMaterial

E, NU, SIGMA_Y, H = 200e3, 0.3, 250.0, 2000.0


def run() -> int:
    """Compare a bar in tension and unloading with its closed form; report on rank 0.

    Returns:
        0 if everything agrees, otherwise 1; the same on all ranks. Collective: yes.
    """
    comm = MPI.COMM_WORLD
    results = []
    for solver in ("direct", "iterative"):
        errors, message = _bar(comm, solver)
        results.append((f"elastoplastic bar, {solver} solver", max(errors) < 1e-7, max(errors)))
    results.append(("a failed solve changes nothing", "unchanged" in message, 0.0))
    if comm.rank == 0:
        for what, good, error in results:
            print(f"selftest: {what}: {'ok' if good else 'WRONG'} (relative error {error:.1e})")
    return 0 if all(good for _, good, _ in results) else 1


def _bar(comm: MPI.Comm, solver: str) -> tuple[list[float], str]:
    domain = mesh.create_unit_cube(comm, 3, 3, 3)
    V = fem.functionspace(domain, ("P", 2, (3,)))
    u, v = fem.Function(V, name="u"), ufl.TestFunction(V)
    material = J2Plasticity(E, NU, LinearHardening(SIGMA_Y, H))
    law = QuadratureMaterial(domain, material, {"strain": strain(u)}, degree=2)
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    pull = fem.Constant(domain, 0.0)

    def face(axis: int, value: float) -> np.ndarray:
        return mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[axis], value))

    def component(axis: int, facets: np.ndarray, value: fem.Constant) -> fem.DirichletBC:
        W = V.sub(axis)
        return fem.dirichletbc(value, fem.locate_dofs_topological(W, 2, facets), W)

    zero = fem.Constant(domain, 0.0)
    end = face(0, 1.0)
    bcs = [component(axis, face(axis, 0.0), zero) for axis in range(3)]
    problem = MaterialProblem(
        F,
        u,
        materials=[law],
        bcs=[*bcs, component(0, end, pull)],
        petsc_options_prefix="admat_selftest_",
        solver=solver,
        progress=False,
    )

    def force(extension: float) -> float:
        pull.value = extension
        problem.solve()
        return float(problem.reaction(end)[0])

    plastic = (E * 0.01 - SIGMA_Y) / (E + H)  # sigma = E (0.01 - p) = sigma_y + H p
    loaded = E * (0.01 - plastic)
    errors = [abs(force(0.01) / loaded - 1.0)]
    errors.append(abs(force(0.009) / (loaded - E * 0.001) - 1.0))

    before = u.x.array.copy()
    pull.value = 1e200  # its square overflows: no point survives
    try:
        problem.solve()
        message = "no error"
    except ConvergenceError:
        same = np.array_equal(before, u.x.array)
        message = "unchanged" if comm.allreduce(int(same)) == comm.size else "changed"
    pull.value = 0.009
    problem.solve()
    errors.append(abs(float(problem.reaction(end)[0]) / (loaded - E * 0.001) - 1.0))
    return errors, message
