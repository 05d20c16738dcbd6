"""Newton's method for a problem with materials: PETSc's SNES, its starts and its failures."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import numpy.typing as npt

from ..errors import ConvergenceError
from . import _compat
from ._interrupt import Interrupt
from ._status import UpdateReport
from ._systems import FastProblem, FFCxProblem
from .quadrature import QuadratureMaterial

Arrays = list[npt.NDArray[np.float64]]

#: Bound on Newton iterations from an extrapolated start: if it was a good one, few are needed.
EXTRAPOLATED_ITERATIONS = 12

_REASONS = {
    value: name
    for name, value in vars(PETSc.SNES.ConvergedReason).items()
    if isinstance(value, int) and not name.startswith("_")
}
_ADVICE = {
    "DIVERGED_LINEAR_SOLVE": "the linear solver failed (singular matrix, missing boundary "
    "conditions, or an unsymmetric tangent with CG)",
    "DIVERGED_LINE_SEARCH": "the line search found no better iterate; take a smaller step",
    "DIVERGED_MAX_IT": "Newton ran out of iterations; take a smaller step or raise snes_max_it",
    "DIVERGED_FUNCTION_DOMAIN": "the residual does not exist there; take a smaller step",
    "DIVERGED_DTOL": "the residual grew (a limit load, or too large a step); take a smaller step",
    "DIVERGED_FNORM_NAN": "the residual is NaN; look at loads and coefficients",
    "DIVERGED_FUNCTION_NANORINF": "the residual is NaN or infinite; look at loads and coefficients",
}


class MaterialSNES:
    """Drives the SNES of a dolfinx problem whose residual depends on materials.

    Args:
        problem: Forms, vectors, matrices and how to assemble them; its callbacks are replaced.
        functions: The unknowns.
        materials: The materials.
        bcs: Dirichlet conditions.
        options: The problem's PETSc options.
        own_atol: Whether the absolute tolerance is ours to choose.
        line_searches: Line searches to try in turn; empty: the one that is set.
        extrapolate: Whether to try a start continued from the last step.
        hint: Added to the message of a failure.

    Attributes:
        norms: Residual norms of the last Newton run.
        reports: Last update of each material.
    """

    def __init__(
        self,
        problem: FFCxProblem | FastProblem,
        functions: list[dolfinx.fem.Function],
        materials: Sequence[QuadratureMaterial],
        bcs: list[Any],
        options: _compat.ScopedOptions,
        *,
        own_atol: bool,
        line_searches: Sequence[str],
        extrapolate: bool,
        hint: str,
    ) -> None:
        self._problem, self._functions, self._materials = problem, functions, tuple(materials)
        self._options, self._own_atol = options, own_atol
        self._line_searches, self._extrapolate = tuple(line_searches), extrapolate
        self._comm = functions[0].function_space.mesh.comm
        self._u = problem.u
        self.snes = problem.solver
        with options:
            self.snes.setFromOptions()
        self._bcs = bcs
        # PETSc keeps its callbacks where Python's garbage collector does not look: through strong
        # references, no problem would ever be freed.
        me = weakref.proxy(self)
        self.snes.setFunction(lambda snes, x, b: me._residual(snes, x, b), problem.b)
        self.snes.setJacobian(
            lambda snes, x, A, P: me._jacobian(snes, x, A, P), problem.A, problem.P_mat
        )
        self.snes.setMonitor(lambda snes, it, norm: me.norms.append(norm))
        self._hint = hint
        self._last: tuple[Arrays, Arrays, float | None] | None = None
        self._dt: float | None = None
        self._evaluated: Arrays | None = None
        self._known: npt.NDArray[np.float64] | None = None  # residual where we are, with ghosts
        self._solving = False
        self._error: BaseException | None = None
        self._interrupt = Interrupt(self._comm)
        self.norms: list[float] = []
        self.reports: tuple[UpdateReport, ...] = ()

    def solve(self, dt: float | None) -> None:
        """Find u at the end of the step; on failure u and trial states are left anyhow.

        Args:
            dt: Step.

        Raises:
            ConvergenceError: No attempt converged. Collective: yes.
        """
        before = [f.x.array.copy() for f in self._functions]
        self._dt, self._error, self._evaluated = dt, None, None
        self._solving = True
        try:
            with Interrupt(self._comm) as self._interrupt:
                for attempt in self._attempts(before, dt):
                    if self._newton(*attempt):
                        break
        finally:
            self._solving, self._known = False, None
        if self._error is not None:
            raise self._error
        if self.snes.getConvergedReason() <= 0 or any(r.failed for r in self.reports):
            raise ConvergenceError(*self._failure())
        after = [f.x.array.copy() for f in self._functions]
        self._last = (after, [a - b for a, b in zip(after, before, strict=True)], dt)

    def forget(self) -> None:
        """Forget the last step, which the next one would continue. Local."""
        self._last = None

    # -- attempts -------------------------------------------------------------------------

    def _attempts(self, now: Arrays, dt: float | None) -> Iterator[tuple[Arrays, str | None, int]]:
        """What to try in turn: (first iterate, line search, bound on iterations).

        Backtracking is the most robust on load reversals, but can fail in perfect plasticity
        near a limit load, where the elastic first direction of a step need not reduce |F|; the
        secant search of F.dx copes there.
        """
        most = self.snes.getTolerances()[3]
        searches: tuple[str | None, ...] = self._line_searches or (None,)
        continued = self._continued(now, dt)
        if continued is not None:
            yield continued, searches[0], min(most, EXTRAPOLATED_ITERATIONS)
        for search in searches:
            yield now, search, most

    def _continued(self, now: Arrays, dt: float | None) -> Arrays | None:
        """U continued with its last velocity, where that is a better start than u; else None.

        Where loading goes on, the continued start has a small residual and the tangents of
        plastic points are plastic, which saves most of the line search. After a load reversal
        its residual is larger than that of u itself.
        """
        if self._last is None or not self._extrapolate:
            return None
        then, change, last_dt = self._last
        moved = not all(np.array_equal(a, b) for a, b in zip(now, then, strict=True))
        if self._comm.allreduce(int(moved)):  # the caller has set u: that is the start
            return None
        ratio = 1.0 if dt is None or not last_dt else dt / last_dt
        continued = [a + ratio * d for a, d in zip(now, change, strict=True)]
        norms = []
        for start in (now, continued):
            self._set(start)
            norms.append(self._residual_norm())
        return continued if norms[1] < 0.5 * norms[0] else None

    def _newton(self, start: Arrays, line_search: str | None, max_it: int) -> bool:
        """Run SNES from a start; True if it converged with all points sound."""
        self._set(start)
        self.norms = []
        # The rows of Dirichlet conditions hold lengths: relative to them, forces would converge in
        # some units and not in others. So rtol is taken relative to the forces, through atol.
        rtol, atol, _, most = self.snes.getTolerances()
        target = atol
        if self._error is None and self._update_if_moved():
            target = max(rtol * self._residual_norm(free=True), atol)
            if self._own_atol:
                target = max(target, self._round_off())
        if line_search is not None:
            self.snes.getLineSearch().setType(line_search)
        self.snes.setTolerances(rtol=1e-50, atol=target, max_it=max_it)
        try:
            with self._options:
                self._problem.solve()
        finally:
            self.snes.setTolerances(rtol=rtol, atol=atol, max_it=most)
        if self._error is not None or self.snes.getConvergedReason() <= 0:
            return False
        # The last residual that a line search computed need not belong to the solution.
        return self._update_if_moved()

    def _set(self, values: Arrays) -> None:
        for f, value in zip(self._functions, values, strict=True):
            f.x.array[:] = value

    def _round_off(self) -> float:
        """A residual that counts as zero: some digits above the round-off of the forces at hand.

        Without any change of load, the first residual is nothing but round-off.
        """
        return max(1e-11 * self._force_level(False), 1e-13 * self._force_level(True))

    def _force_level(self, strained: bool) -> float:
        """Norm of the forces at hand, internal and external: what round-off is relative to.

        The outputs get a random sign in each cell, so that the internal forces of neighbouring
        cells do not cancel as they do in equilibrium.
        """
        form = self._problem.F
        squares = 0.0
        with ExitStack() as stack:
            for material in self._materials:
                stack.enter_context(material.random_signs(strained=strained))
            for one in form if isinstance(form, Sequence) else [form]:
                vector = dolfinx.fem.assemble_vector(one)
                vector.scatter_reverse(dolfinx.la.InsertMode.add)
                squares += dolfinx.la.norm(vector) ** 2
        return float(np.sqrt(squares))

    def _residual_norm(self, *, free: bool = False) -> float:
        """Norm of the residual at u, or of its unconstrained rows; infinity if there is none."""
        b = self._problem.b.duplicate()
        b.setAttr("_blocks", self._problem.b.getAttr("_blocks"))  # where the blocks begin
        dolfinx.fem.petsc.assign(self._u, self._problem.x)
        good = self._update_if_moved()
        if good:
            self._assemble(self._problem.x, b)
            if free:
                bcs, form = self._bcs, self._problem.F
                if isinstance(form, Sequence):
                    bcs = dolfinx.fem.bcs_by_block([f.function_spaces[0] for f in form], bcs)
                dolfinx.fem.petsc.set_bc(b, bcs, alpha=0.0)
        norm = float(b.norm()) if good else float("inf")
        b.destroy()
        return norm

    # -- callbacks ------------------------------------------------------------------------

    def _update(self) -> bool:
        """Update all materials at u; True if all points of all ranks converged."""
        self._evaluated, self._known = [f.x.array.copy() for f in self._functions], None
        self.reports = tuple(m.update(self._dt, on_failure="report") for m in self._materials)
        return not any(r.failed for r in self.reports)

    def _update_if_moved(self) -> bool:
        same = self._evaluated is not None and all(
            np.array_equal(f.x.array, x)
            for f, x in zip(self._functions, self._evaluated, strict=True)
        )
        if self._comm.allreduce(int(same)) == self._comm.size:
            return not any(r.failed for r in self.reports)
        return self._update()

    def _assemble(self, x: PETSc.Vec, b: PETSc.Vec) -> None:
        """Assemble the residual at x, where the materials are; within a solve once per update."""
        if not self._solving or b.getType() == PETSc.Vec.Type.NEST:
            self._problem.residual(self.snes, x, b)
            return
        if self._known is None:
            self._problem.residual(self.snes, x, b)
            with b.localForm() as local:
                self._known = local.array_r.copy()
        else:
            with b.localForm() as local:
                local.array_w[:] = self._known

    def _residual(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        _compat.ghost_update(x, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        dolfinx.fem.petsc.assign(x, self._u)
        try:
            self._interrupt.check()
            good = self._error is None and self._update_if_moved()
        except BaseException as error:  # PETSc must not see it, not even Ctrl-C
            self._error, good = error, False
        if not good:
            _compat.set_domain_error(snes, b)
            return
        with dolfinx.common.Timer("admat: residual"):
            self._assemble(x, b)

    def _jacobian(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        _compat.ghost_update(x, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        dolfinx.fem.petsc.assign(x, self._u)
        try:
            self._update_if_moved()
        except BaseException as error:
            self._error = error
        with dolfinx.common.Timer("admat: jacobian"):
            self._problem.jacobian(snes, x, A, P)

    # -- failure --------------------------------------------------------------------------

    def _failure(self) -> tuple[str, dict[str, Any]]:
        """Message and report of a failed solve; the same on all ranks."""
        reason = self.snes.getConvergedReason()
        name = _REASONS.get(reason, str(reason))
        if reason > 0:  # SNES was content, but points failed at its solution
            name = "local updates failed at the solution"
        text = f"solve failed: {name} after {self.snes.getIterationNumber()} Newton iterations"
        if self.norms:
            text += f", |F| = {self.norms[-1]:.3e} (started at {self.norms[0]:.3e})"
        advice = "take a smaller step" if reason > 0 else "see the PETSc manual"
        text += f": {_ADVICE.get(name, advice)}."
        worst = None
        for report in self.reports:
            if report.failed:
                text += f" {report.message}."
                worst = report.worst
        text += self._hint
        if self._dt is None and any(r.failed for r in self.reports):
            text += " No dt was given: a law that reads it needs solve(dt=...)."
        text += " Displacement and state are as they were before the solve."
        return text, {"reason": name, "residuals": list(self.norms), "worst": worst}
