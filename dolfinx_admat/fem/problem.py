"""The nonlinear problem: materials, residual form, PETSc SNES; nothing moves on failure."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import numpy.typing as npt
import ufl

from .. import _runtime
from ..errors import MaterialError
from . import _compat, _native, _systems, presets
from ._collective import collectively
from ._node import compiled_backends
from ._progress import Progress
from ._reaction import resultant
from ._snes import MaterialSNES
from ._status import UpdateReport
from .quadrature import QuadratureMaterial


@dataclasses.dataclass(frozen=True)
class SolveReport:
    """What a converged solve did; the same on all ranks.

    Attributes:
        iterations: Newton iterations of the attempt that converged.
        linear_iterations: Iterations of the linear solver in that attempt.
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


def material_derivative(
    F: ufl.Form, u: Any, du: Any = None, *, materials: Sequence[QuadratureMaterial]
) -> ufl.Form:
    """Derivative of a residual form, through the materials' outputs as well.

    Args:
        F: Residual form with materials' outputs.
        u: Function to differentiate with respect to.
        du: Direction; default: a trial function.
        materials: The materials in F.

    Collective: yes, at the first use of a tangent.
    """
    du = ufl.TrialFunction(u.function_space) if du is None else du
    J = ufl.derivative(F, u, du)
    for material in materials:
        J = J + material.derivative(F, u, du)
    return J


def _depends(F: ufl.Form, u: Any) -> bool:
    """Whether a form depends on u other than through the materials' outputs."""
    w = u[0] if isinstance(u, Sequence) else u
    change = ufl.algorithms.expand_derivatives(ufl.derivative(F, w))
    return not change.empty()


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
        assembly: ``"fast"``: Jacobian by element kernels of our own; ``"ffcx"``: by dolfinx;
            ``"auto"``: fast where it applies (one displacement, J not given, ...).
        petsc_options: PETSc options; they win over the preset.
        form_compiler_options: FFCx options.
        jit_options: Options of the C compilation.
        entity_maps: For forms over related meshes.
        extrapolate: Start Newton from u continued with its last velocity, where that has the
            smaller residual.
        progress: Print one line per solve on rank 0; ``ADMAT_QUIET=1`` silences all.

    Attributes:
        problem: Forms (F, J), matrix (A), vectors (b, x), unknown (u): as dolfinx's problem.
        solver: Its ``PETSc.SNES``.
        forms, functions: F and u, as lists.
        symmetric: Whether the Jacobian is declared to be symmetric.
        listeners: Called before each commit.
        time: At the end of the last step, where it was given.

    Raises:
        MaterialError: A material's output is integrated over a boundary, with another rule or
            over other cells; a material is missing. Collective: yes, as are ``solve`` and
            ``reaction``.
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
        assembly: str = "auto",
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
        self.functions = list(u) if isinstance(u, Sequence) else [u]
        self.forms = forms = list(F) if isinstance(F, Sequence) else [F]
        self.listeners: list[Callable[[], Any]] = []
        self.time: float | None = None
        spaces = [f.function_space for f in self.functions]
        self.comm = spaces[0].mesh.comm
        self.u, self.bcs = u, list(bcs or [])
        user = dict(petsc_options or {})
        with collectively(self.comm):
            self._check(forms)
            preset = presets.choose(solver, spaces)
            if assembly not in _systems.ASSEMBLIES:
                raise MaterialError(
                    "MaterialProblem: assembly must be one of "
                    f"{', '.join(_systems.ASSEMBLIES)}; got {assembly!r}"
                )
        symmetric = all(m.material.symmetric_tangent for m in self.materials)
        # Follower loads and the like: what F depends on besides the materials may be unsymmetric.
        symmetric &= len(forms) == 1 and J is None and not _depends(forms[0], u)
        self.symmetric = symmetric
        hint = (
            ""
            if J is None or self._has_tangents(J)
            else (
                " The given J does not contain the materials' tangents: add them with "
                "material_derivative(F, u, materials=...)."
            )
        )

        def derive() -> Any:
            pairs = [
                [material_derivative(f, w, materials=self.materials) for w in self.functions]
                for f in forms
            ]
            return pairs if isinstance(F, Sequence) else pairs[0][0]

        self.preset = preset

        def chosen(name: str) -> bool:  # in code or on the command line; then it wins
            return name in user or PETSc.Options().hasName(f"{petsc_options_prefix}{name}")

        self.problem = _systems.choose(
            assembly,
            F,
            u,
            self.materials,
            self.bcs,
            J=J,
            derive=derive,
            P=P,
            kind=kind,
            petsc_options_prefix=petsc_options_prefix,
            form_compiler_options=form_compiler_options,
            jit_options=_native.jit_options(jit_options),
            entity_maps=entity_maps,
        )
        self.solver = self.problem.solver
        if len(spaces) == 1 and presets.is_displacement(spaces[0]):
            modes = presets.rigid_body_modes(spaces[0])
            self.problem.A.setNearNullSpace(modes)
            if self.problem.P_mat is not None:
                self.problem.P_mat.setNearNullSpace(modes)
        self.newton = MaterialSNES(
            self.problem,
            self.functions,
            self.materials,
            self.bcs,
            _compat.ScopedOptions(
                petsc_options_prefix, presets.options(self.preset, symmetric), user
            ),
            own_atol=not chosen("snes_atol"),
            line_searches=() if chosen("snes_linesearch_type") else presets.LINE_SEARCHES,
            extrapolate=extrapolate,
            hint=hint,
        )
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
            ConvergenceError: SNES did not converge; u is as it was, outputs and state are those
                of the last commit.
            MaterialError: Bad dt, or NaN in u; nothing has changed.
        """
        with collectively(self.comm):
            for material in self.materials:
                material.check_step(dt)
            for f in self.functions:
                if not np.isfinite(f.x.array).all():
                    raise MaterialError(
                        f"solve: the displacement '{f.name}' contains NaN or infinity before the "
                        "solve; set it to finite values"
                    )
            for bc in self.bcs:
                value = getattr(bc.g, "value", None)
                value = bc.g.x.array if value is None else np.asarray(value)
                if not np.isfinite(value).all():
                    raise MaterialError(
                        "solve: a prescribed boundary value is NaN or infinite; set it to finite "
                        "values"
                    )
        before, then = [f.x.array.copy() for f in self.functions], self.time
        try:
            with dolfinx.common.Timer("admat: solve"):
                self.newton.solve(dt)
            self.time = time
            if commit:
                self.commit()
        except BaseException:
            # Also for Ctrl-C: whatever happened, u and the state are those of the step's start.
            for f, value in zip(self.functions, before, strict=True):
                f.x.array[:] = value
            self.time = then
            self.revert()
            raise
        norms = tuple(self.newton.norms)
        report = SolveReport(
            self.solver.getIterationNumber(),
            self.solver.getLinearSolveIterations(),
            norms[-1] if norms else 0.0,
            norms,
            self.newton.reports,
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
        for listener in self.listeners:
            listener()
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
            MaterialError: Not facets of the mesh, no such block, or a mixed-element space, in
                which forces and other quantities would be added up.
        """
        with collectively(self.comm):
            if block not in range(len(self.functions)):
                raise MaterialError(
                    f"reaction: block={block!r}, but there are {len(self.functions)} unknowns"
                )
        form = self.problem.F if not isinstance(self.problem.F, Sequence) else self.problem.F[block]
        return resultant(form, self.functions[block].function_space, facets)

    # -- internal -------------------------------------------------------------------------

    def _check(self, forms: list[ufl.Form]) -> None:
        known = set()
        for material in self.materials:
            known |= material.functions()
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

        data: list[Any] = []
        for form in forms:
            for integral in form.integrals():
                given = integral.subdomain_data()
                if integral.integral_type() == "cell" and given is not None:
                    data += [given] if not any(given is d for d in data) else []
        if len(data) > 1:
            raise MaterialError(
                "MaterialProblem: the cell integrals of F use different subdomain data (cell tags "
                "and cell arrays, or several tags), which dolfinx cannot combine; give every "
                "material its cells as (tags, id) of one and the same MeshTags, and use it in all "
                "other measures dx as well"
            )

    def _has_tangents(self, J: Any) -> bool:
        forms = J if isinstance(J, ufl.Form) else [f for row in J for f in row if f is not None]
        forms = [forms] if isinstance(forms, ufl.Form) else forms
        return all(m.has_tangents(forms) for m in self.materials)

    def _announce(self) -> None:
        unknowns = sum(
            f.function_space.dofmap.index_map.size_global * f.function_space.dofmap.index_map_bs
            for f in self.functions
        )
        points = self.comm.allreduce(sum(m.number_of_points for m in self.materials))
        laws = ", ".join(m.name for m in self.materials)
        backends = compiled_backends(self.comm, [m.kernel for m in self.materials])
        threads = _runtime.threads("xla" if "xla" in backends else "native") + (
            " per rank" if self.comm.size > 1 else ""
        )
        self.progress.say(
            f"admat: {laws} | {unknowns} unknowns, {points} points, {self.comm.size} rank"
            f"{'s' if self.comm.size > 1 else ''} | {self.preset} solver, "
            f"{self.problem.assembly} assembly | "
            f"{' and '.join(backends)} kernels on {_runtime.device()}, {threads}"
        )
