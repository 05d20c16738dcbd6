"""The nonlinear problem: materials, residual form, PETSc SNES; nothing moves on failure."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import numpy.typing as npt
import ufl

from ..errors import ConvergenceError, MaterialError
from . import _compat, presets
from ._collective import collectively
from ._progress import Progress
from ._status import UpdateReport
from .quadrature import QuadratureMaterial


@dataclasses.dataclass(frozen=True)
class SolveReport:
    """What a converged solve did; the same on all ranks.

    Attributes:
        iterations: Newton iterations.
        linear_iterations: Iterations of the linear solver, all Newton iterations together.
        residual: Norm of the final residual.
        residuals: Norm of the residual before each Newton iteration and at the end.
        materials: Last update of each material.
    """

    iterations: int
    linear_iterations: int
    residual: float
    residuals: tuple[float, ...]
    materials: tuple[UpdateReport, ...]

    @property
    def points(self) -> int:
        """Quadrature points of all materials."""
        return sum(m.points for m in self.materials)

    @property
    def active(self) -> int:
        """Points where a local solve was needed (plastic points)."""
        return sum(m.active for m in self.materials)


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
}


def material_derivative(
    F: ufl.Form, u: Any, du: Any = None, *, materials: Sequence[QuadratureMaterial]
) -> ufl.Form:
    """Derivative of a residual form, through the materials' outputs as well.

    Args:
        F: Residual form with materials' outputs.
        u: Function to differentiate with respect to.
        du: Direction; default: a trial function.
        materials: The materials in F.
    """
    du = ufl.TrialFunction(u.function_space) if du is None else du
    J = ufl.derivative(F, u, du)
    for material in materials:
        J = J + material.derivative(F, u, du)
    return J


class MaterialProblem:
    """Find u with F(u; v) = 0 for all v, where F contains outputs of materials.

    The arguments are those of ``dolfinx.fem.petsc.NonlinearProblem`` plus the materials. Every
    residual evaluation updates all materials; a point that fails makes SNES shorten its step.

    Args:
        F: Residual form, or one per block.
        u: The unknown, or one per block.
        materials: All quadrature materials whose outputs F contains.
        petsc_options_prefix: Prefix of all PETSc options; mandatory.
        bcs: Dirichlet conditions.
        J: Jacobian; derived if not given.
        P: Preconditioner form.
        kind: PETSc matrix kind.
        solver: Preset: ``"auto"``, ``"direct"`` or ``"iterative"``, see ``fem.presets``.
        petsc_options: PETSc options; they win over the preset.
        form_compiler_options: FFCx options.
        jit_options: Options of the C compilation.
        entity_maps: For forms over related meshes.
        extrapolate: Start Newton from u continued with its last velocity, where that has the
            smaller residual.
        progress: Print one line per solve on rank 0; ``ADMAT_QUIET=1`` silences all.

    Attributes:
        problem: The underlying dolfinx problem (forms, matrix, vectors).
        solver: Its ``PETSc.SNES``.

    Raises:
        MaterialError: A material's output is integrated over a boundary, with another rule or
            over other cells; a material is missing. Collective: yes, like all methods.
    """

    def __init__(
        self,
        F: Any,
        u: Any,
        *,
        materials: Sequence[QuadratureMaterial],
        petsc_options_prefix: str,
        bcs: Sequence[Any] | None = None,
        J: Any = None,
        P: Any = None,
        kind: Any = None,
        solver: str = "auto",
        petsc_options: dict[str, Any] | None = None,
        form_compiler_options: dict[str, Any] | None = None,
        jit_options: dict[str, Any] | None = None,
        entity_maps: Any = None,
        extrapolate: bool = True,
        progress: bool = True,
    ) -> None:
        if isinstance(materials, QuadratureMaterial):
            materials = [materials]
        self.materials = tuple(materials)
        self._functions = list(u) if isinstance(u, Sequence) else [u]
        forms = list(F) if isinstance(F, Sequence) else [F]
        spaces = [f.function_space for f in self._functions]
        self.comm = spaces[0].mesh.comm
        self.u, self.bcs = u, list(bcs or [])
        user = dict(petsc_options or {})
        with collectively(self.comm):
            self._check(forms)
            preset = presets.choose(solver, spaces)
        if J is None:
            pairs = [
                [material_derivative(f, w, materials=self.materials) for w in self._functions]
                for f in forms
            ]
            J = pairs if isinstance(F, Sequence) else pairs[0][0]
        symmetric = all(m.material.symmetric_tangent for m in self.materials)
        self._options = _compat.ScopedOptions(
            petsc_options_prefix, presets.options(preset, symmetric), user
        )
        self.preset = preset

        def chosen(name: str) -> bool:  # in code or on the command line; then it wins
            return name in user or PETSc.Options().hasName(f"{petsc_options_prefix}{name}")

        # Our absolute tolerance is relative to the largest forces so far: in a step without any
        # change of load, the first residual is nothing but round-off.
        self._own_atol = not chosen("snes_atol")
        self._own_line_search = None if chosen("snes_linesearch_type") else presets.LINE_SEARCHES

        self.problem = dolfinx.fem.petsc.NonlinearProblem(
            F,
            u,
            petsc_options_prefix=petsc_options_prefix,
            bcs=self.bcs,
            J=J,
            P=P,
            kind=kind,
            petsc_options=None,
            form_compiler_options=form_compiler_options,
            jit_options=jit_options,
            entity_maps=entity_maps,
        )
        self.solver = self.problem.solver
        with self._options:
            self.solver.setFromOptions()
        if len(spaces) == 1 and presets.is_displacement(spaces[0]):
            self.problem.A.setNearNullSpace(presets.rigid_body_modes(spaces[0]))
        blocks = self.problem.b.getAttr("_blocks")
        self._residual_context: dict[str, Any] = {
            "u": u, "residual": self.problem.F, "jacobian": self.problem.J, "bcs": self.bcs,
        }  # fmt: skip
        if blocks is not None:
            self._residual_context["_blocks"] = blocks
        self._jacobian_context = {
            "u": u,
            "jacobian": self.problem.J,
            "preconditioner": self.problem.preconditioner,
            "bcs": self.bcs,
        }
        self.solver.setFunction(self._residual, self.problem.b)
        self.solver.setJacobian(self._jacobian, self.problem.A, self.problem.P_mat)
        self.solver.setMonitor(lambda snes, it, norm: self._norms.append(norm))
        self._scale = 0.0
        self.extrapolate = extrapolate
        self._last: tuple[list[Any], list[Any], float | None] | None = None
        self._norms: list[float] = []
        self._dt: float | None = None
        self._reports: tuple[UpdateReport, ...] = ()
        self._evaluated: list[npt.NDArray[np.float64]] | None = None
        self._error: BaseException | None = None
        self.progress = Progress(self.comm, progress)
        self._announce()

    # -- solve ----------------------------------------------------------------------------

    def solve(
        self, dt: float | None = None, *, commit: bool = True, time: float | None = None
    ) -> SolveReport:
        """Solve for u at the end of the step, from u now and the state at t_n.

        Args:
            dt: Step, units of time; required by rate-dependent laws.
            commit: Make the trial state the state at t_n. With False, call ``commit`` or
                ``revert`` afterwards.
            time: Time (or load) at the end of the step, for the progress line only.

        Returns:
            What happened.

        Raises:
            ConvergenceError: SNES did not converge; u, outputs and state are as they were.
            MaterialError: Bad dt, or NaN in u; nothing has changed.
        """
        with collectively(self.comm):
            for material in self.materials:
                material.check_step(dt)
            for f in self._functions:
                if not np.isfinite(f.x.array).all():
                    raise MaterialError(
                        f"solve: the displacement '{f.name}' contains NaN or infinity before the "
                        "solve; set it to finite values"
                    )
        before = [f.x.array.copy() for f in self._functions]
        self._dt, self._error, self._evaluated = dt, None, None
        self._scale = max(self._scale, self._force_level())
        try:
            with dolfinx.common.Timer("admat: solve"):
                for attempt in self._attempts(before, dt):
                    if self._newton(*attempt):
                        break
                if self._error is not None:
                    raise self._error
                if self.solver.getConvergedReason() <= 0 or any(r.failed for r in self._reports):
                    raise ConvergenceError(*self._failure())
        except BaseException:
            # Also for Ctrl-C: whatever happened, u and the state are those of the step's start.
            self._set(before)
            self.revert()
            raise
        self._scale = max(self._scale, self._norms[0] if self._norms else 0.0)
        after = [f.x.array.copy() for f in self._functions]
        self._last = (after, [a - b for a, b in zip(after, before, strict=True)], dt)
        if commit:
            self.commit()
        report = SolveReport(
            self.solver.getIterationNumber(),
            self.solver.getLinearSolveIterations(),
            self._norms[-1] if self._norms else 0.0,
            tuple(self._norms),
            self._reports,
        )
        self.progress.step(
            {
                "time": time,
                "dt": dt,
                "iterations": report.iterations,
                "residual": report.residual,
                "active": report.active,
                "points": report.points,
            }
        )
        return report

    def commit(self) -> None:
        """Commit all materials."""
        for material in self.materials:
            material.commit()

    def revert(self) -> None:
        """Revert all materials; u is the caller's."""
        for material in self.materials:
            material.revert()

    def reaction(self, facets: Any, block: int = 0) -> npt.NDArray[np.float64]:
        """Resultant force that the supports on some facets exert on the body.

        It is the sum of internal minus external nodal forces of the unconstrained residual over
        the nodes of these facets, at the present displacement and outputs: consistent with the
        weak form, exact at equilibrium.

        Args:
            facets: Local facet indices, or ``(MeshTags, tag)``.
            block: Number of the unknown, for problems with several.

        Returns:
            Force, (components of u,), units of stress x area; the same on all ranks.

        Raises:
            MaterialError: The tags are not facet tags.
        """
        V = self._functions[block].function_space
        fdim = V.mesh.topology.dim - 1
        with collectively(self.comm):
            if isinstance(facets, tuple):
                tags, tag = facets
                if tags.dim != fdim:
                    raise MaterialError(
                        f"reaction: got MeshTags of dimension {tags.dim}, expected facets ({fdim})"
                    )
                facets = tags.find(tag)
            facets = np.asarray(facets, dtype=np.int32)
        form = self.problem.F
        vector = dolfinx.fem.assemble_vector(
            form if not isinstance(form, Sequence) else form[block]
        )
        vector.scatter_reverse(dolfinx.la.InsertMode.add)
        V.mesh.topology.create_connectivity(fdim, V.mesh.topology.dim)
        dofs = dolfinx.fem.locate_dofs_topological(V, fdim, facets)
        dofs = dofs[dofs < V.dofmap.index_map.size_local]
        bs = V.dofmap.bs
        local = vector.array.reshape(-1, bs)[dofs].sum(axis=0)
        return self.comm.allreduce(local)

    # -- internal -------------------------------------------------------------------------

    def _check(self, forms: list[ufl.Form]) -> None:
        known = set()
        for material in self.materials:
            known |= {*material._outputs.values(), *material._state_functions.values()}
            for form in forms:
                material.check_form(form)
        if not self.materials:
            raise MaterialError(
                "MaterialProblem: materials is empty; without materials use "
                "dolfinx.fem.petsc.NonlinearProblem"
            )
        for form in forms:
            for f in form.coefficients():
                if getattr(f, "_admat_output", False) and f not in known:
                    raise MaterialError(
                        f"MaterialProblem: F contains '{f.name}' of a material that is not in "
                        "`materials`; pass all materials"
                    )

    def _announce(self) -> None:
        unknowns = sum(
            f.function_space.dofmap.index_map.size_global * f.function_space.dofmap.index_map_bs
            for f in self._functions
        )
        points = self.comm.allreduce(sum(len(m._status.code) for m in self.materials))
        laws = ", ".join(m.name for m in self.materials)
        self.progress.say(
            f"admat: {laws} | {unknowns} unknowns, {points} points, {self.comm.size} rank"
            f"{'s' if self.comm.size > 1 else ''} | {self.preset} solver, xla kernels on CPU"
        )

    def _set(self, values: list[npt.NDArray[np.float64]]) -> None:
        for f, value in zip(self._functions, values, strict=True):
            f.x.array[:] = value

    def _attempts(
        self, now: list[npt.NDArray[np.float64]], dt: float | None
    ) -> Iterator[tuple[list[npt.NDArray[np.float64]], str | None, int]]:
        """What to try in turn: (first iterate, line search, bound on iterations).

        Backtracking is the most robust on load reversals, but can fail in perfect plasticity
        near a limit load, where the elastic first direction of a step need not reduce |F|; the
        secant search of F.dx copes there. A line search that the user chose is the only one.
        """
        most = self.solver.getTolerances()[3]
        first, second = (None, None) if self._own_line_search is None else self._own_line_search
        continued = self._continued(now, dt)
        if continued is not None:
            yield continued, first, min(most, EXTRAPOLATED_ITERATIONS)
        yield now, first, most
        if second is not None:
            yield now, second, most

    def _continued(
        self, now: list[npt.NDArray[np.float64]], dt: float | None
    ) -> list[npt.NDArray[np.float64]] | None:
        """U continued with its last velocity, where that is a better start than u; else None.

        Where loading goes on, the continued start has a small residual and the tangents of
        plastic points are plastic, which saves most of the line search. After a load reversal
        its residual is larger than that of u itself.
        """
        if self._last is None or not self.extrapolate:
            return None
        then, change, last_dt = self._last
        moved = not all(np.array_equal(a, b) for a, b in zip(now, then, strict=True))
        if self.comm.allreduce(int(moved)):  # the caller has set u: that is the start
            return None
        ratio = 1.0 if dt is None or not last_dt else dt / last_dt
        continued = [a + ratio * d for a, d in zip(now, change, strict=True)]
        norms = []
        for start in (now, continued):
            self._set(start)
            norms.append(self._residual_norm())
        return continued if norms[1] < 0.5 * norms[0] else None

    def _force_level(self) -> float:
        """Norm of the forces at hand, reactions included: what round-off is relative to."""
        form = self.problem.F
        squares = 0.0
        for one in form if isinstance(form, Sequence) else [form]:
            vector = dolfinx.fem.assemble_vector(one)
            vector.scatter_reverse(dolfinx.la.InsertMode.add)
            squares += dolfinx.la.norm(vector) ** 2
        return float(np.sqrt(squares))

    def _residual_norm(self) -> float:
        """Norm of the residual at u; infinity where it does not exist."""
        b = self.problem.b.duplicate()
        dolfinx.fem.petsc.assign(self.u, self.problem.x)
        good = self._update()
        if good:
            _compat.assemble_residual(self.solver, self.problem.x, b, **self._residual_context)
        norm = float(b.norm()) if good else float("inf")
        b.destroy()
        return norm

    def _newton(
        self, start: list[npt.NDArray[np.float64]], line_search: str | None, max_it: int
    ) -> bool:
        """Run SNES from a start; True if it converged with all points sound."""
        self._set(start)
        self._norms = []
        if self._own_atol:
            self.solver.setTolerances(atol=max(1e-10 * self._scale, 1e-50))
        if line_search is not None:
            self.solver.getLineSearch().setType(line_search)
        most = self.solver.getTolerances()[3]
        self.solver.setTolerances(max_it=max_it)
        try:
            with self._options:
                self.problem.solve()
        finally:
            self.solver.setTolerances(max_it=most)
        if self._error is not None or self.solver.getConvergedReason() <= 0:
            return False
        # The last residual that a line search computed need not belong to the solution.
        return self._update_if_moved()

    def _update(self) -> bool:
        """Update all materials at u; True if all points of all ranks converged."""
        self._evaluated = [f.x.array.copy() for f in self._functions]
        self._reports = tuple(
            material.update(self._dt, on_failure="report") for material in self.materials
        )
        return not any(r.failed for r in self._reports)

    def _update_if_moved(self) -> bool:
        same = self._evaluated is not None and all(
            np.array_equal(f.x.array, x)
            for f, x in zip(self._functions, self._evaluated, strict=True)
        )
        if self.comm.allreduce(int(same)) == self.comm.size:
            return not any(r.failed for r in self._reports)
        return self._update()

    def _residual(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        _compat.ghost_update(x, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        dolfinx.fem.petsc.assign(x, self.u)
        try:
            good = self._error is None and self._update_if_moved()
        except BaseException as error:  # PETSc must not see it, not even Ctrl-C
            self._error, good = error, False
        if not good:
            _compat.set_domain_error(snes, b)
            return
        with dolfinx.common.Timer("admat: residual"):
            _compat.assemble_residual(snes, x, b, **self._residual_context)

    def _jacobian(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        _compat.ghost_update(x, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        dolfinx.fem.petsc.assign(x, self.u)
        try:
            self._update_if_moved()
        except BaseException as error:
            self._error = error
        with dolfinx.common.Timer("admat: jacobian"):
            _compat.assemble_jacobian(snes, x, A, P, **self._jacobian_context)

    def _failure(self) -> tuple[str, dict[str, Any]]:
        reason = self.solver.getConvergedReason()
        name = _REASONS.get(reason, str(reason))
        norms = self._norms
        text = f"solve failed: {name} after {self.solver.getIterationNumber()} Newton iterations"
        if norms:
            text += f", |F| = {norms[-1]:.3e} (started at {norms[0]:.3e})"
        text += f": {_ADVICE.get(name, 'see the PETSc manual on SNESConvergedReason')}."
        worst = None
        for report in self._reports:
            if report.failed:
                text += f" {report.message}."
                worst = report.worst
        text += " Displacement and state are as they were before the solve."
        return text, {"reason": name, "residuals": list(norms), "worst": worst}
