"""Linear solves with the Jacobian of a recorded step, and with its transpose."""

from typing import Any

from petsc4py import PETSc

import dolfinx.fem.petsc

from ...errors import ConvergenceError
from ..problem import MaterialProblem

#: A kept factorisation is a good preconditioner up to so many iterations, and up to so many times
#: what a new one needs.
GOOD_ITERATIONS, GOOD_FACTOR = 12, 1.5


class LinearSolver:
    """Solves with the problem's matrix, by GMRES with the preconditioner of its own solver.

    A factorisation, also that of the last Newton iteration, is kept from step to step as long as
    it is a good preconditioner. Collective: yes, all methods.

    Args:
        problem: The problem, whose matrix and preconditioner are used.

    Attributes:
        solves: Number of solves so far.
        iterations: Their iterations.
        factorisations: How often the preconditioner was made anew.
    """

    def __init__(self, problem: MaterialProblem) -> None:
        self._problem = problem
        system = problem.problem
        self._A, self._P = system.A, system.P_mat or system.A
        self._pc = problem.solver.getKSP().getPC()
        self._x, self._b = system.x.duplicate(), system.x.duplicate()
        for vector in (self._x, self._b):
            vector.setAttr("_blocks", system.x.getAttr("_blocks"))
        self._ksp = PETSc.KSP().create(self._A.comm)
        self._ksp.setType("gmres")
        self._ksp.setGMRESRestart(100)
        self._ksp.setTolerances(rtol=1e-12 if problem.preset == "direct" else 1e-11, max_it=1000)
        self._ksp.setPC(self._pc)
        self._stale, self._renewed, self._least = False, False, 0
        self.solves = self.iterations = self.factorisations = 0

    def assemble(self) -> None:
        """Assemble the matrix from u and the tangents now."""
        problem, system = self._problem, self._problem.problem
        dolfinx.fem.petsc.assign(system.u, system.x)
        system.jacobian(problem.solver, system.x, self._A, self._P)
        self._ksp.setOperators(self._A, self._P)
        if self._stale:
            self._renew()

    def solve(self, rhs: list[Any], solution: list[Any], *, transposed: bool) -> None:
        """Solve for one right-hand side.

        Args:
            rhs: Functions whose owned values are the right-hand side, zero in Dirichlet rows.
            solution: Functions that get the solution.
            transposed: Solve with the transpose.

        Raises:
            ConvergenceError: The linear solver failed.
        """
        dolfinx.fem.petsc.assign(self._as_u(rhs), self._b)
        transposed = transposed and not self._problem.symmetric
        self._pc.setReusePreconditioner(True)
        self._attempt(transposed)
        if self._ksp.getConvergedReason() <= 0:
            self._renew()
            self._attempt(transposed)
        if self._ksp.getConvergedReason() <= 0:
            raise ConvergenceError(
                "Recording: the linear solver of the sensitivities failed after "
                f"{self._ksp.getIterationNumber()} iterations (reason "
                f"{self._ksp.getConvergedReason()}); a direct solver (solver='direct') is safer",
                {},
            )
        iterations = self._ksp.getIterationNumber()
        if self._renewed:
            self._renewed, self._least = False, iterations
        self._stale = iterations > max(GOOD_ITERATIONS, GOOD_FACTOR * self._least)
        self.solves += 1
        self.iterations += iterations
        dolfinx.fem.petsc.assign(self._x, self._as_u(solution))
        for f in solution:
            f.x.scatter_forward()

    def finish(self) -> None:
        """Leave the preconditioner to the problem's own solver."""
        self._pc.setReusePreconditioner(False)

    def _renew(self) -> None:
        self._pc.setReusePreconditioner(False)
        self._pc.setOperators(self._A, self._P)
        self._pc.setUp()
        self._pc.setReusePreconditioner(True)
        self.factorisations += 1
        self._stale, self._renewed = False, True

    def _attempt(self, transposed: bool) -> None:
        self._x.set(0.0)
        if transposed:
            self._ksp.solveTranspose(self._b, self._x)
        else:
            self._ksp.solve(self._b, self._x)

    def _as_u(self, functions: list[Any]) -> Any:
        """One Function per block, or the only one, as the problem has its unknown."""
        return functions if isinstance(self._problem.problem.u, list | tuple) else functions[0]

    def __del__(self) -> None:
        """Destroy the PETSc objects, but not those of the problem."""
        for name in ("_ksp", "_x", "_b"):
            if name in vars(self):
                getattr(self, name).destroy()
