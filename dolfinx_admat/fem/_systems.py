"""The two ways to assemble a problem: dolfinx's, and the fast one where it applies."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import ufl

from ..errors import MaterialError
from . import _compat
from ._element import NotSupported
from ._fast import FastJacobian
from ._residual import Floats, Residual
from .quadrature import QuadratureMaterial

ASSEMBLIES = ("auto", "fast", "ffcx")
_log = logging.getLogger(__name__)


class FFCxProblem(dolfinx.fem.petsc.NonlinearProblem):
    """dolfinx's problem, whose lifting is skipped where the Dirichlet conditions hold already.

    Args:
        F: Residual form, or one per block.
        u: The unknown, or one per block.
        materials: The materials.
        bcs: Dirichlet conditions.
        reason: Why the fast assembly does not serve.
        options: As for dolfinx's problem.
    """

    assembly = "ffcx"

    def __init__(
        self,
        F: Any,
        u: Any,
        materials: Sequence[QuadratureMaterial],
        bcs: list[Any],
        reason: str,
        **options: Any,
    ) -> None:
        super().__init__(F, u, bcs=bcs, **options)
        self.reason, self._bcs = reason, bcs
        self._single = None
        if not isinstance(self.F, Sequence):
            self._single = Residual(self.F, bcs, materials)

    def residual(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        """Assemble F at x into b. Collective: yes, like all methods."""
        if self._single is not None:
            self._single.assemble(x, b, self._lift)
            return
        context = {"u": self.u, "residual": self.F, "jacobian": self.J, "bcs": self._bcs}
        if (blocks := self.b.getAttr("_blocks")) is not None:
            context["_blocks"] = blocks
        _compat.assemble_residual(snes, x, b, **context)

    def _lift(self, x: PETSc.Vec, d: Floats, b: PETSc.Vec) -> None:
        dolfinx.fem.petsc.apply_lifting(b, [self.J], bcs=[self._bcs], x0=[x], alpha=-1.0)

    def jacobian(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        """Assemble the matrices at x."""
        _compat.assemble_jacobian(
            snes,
            x,
            A,
            P,
            u=self.u,
            jacobian=self.J,
            preconditioner=self.preconditioner,
            bcs=self._bcs,
        )


class FastProblem:
    """The same for the fast assembly; attributes as those of dolfinx's ``NonlinearProblem``.

    Args:
        F: Residual form.
        u: The unknown.
        materials: The materials.
        bcs: Dirichlet conditions.
        petsc_options_prefix: Prefix of all PETSc options.
        form_compiler_options: FFCx options.
        jit_options: Options of the C compilation.

    Raises:
        NotSupported: It does not apply. Collective: yes, like all methods.
    """

    assembly, reason = "fast", ""
    P_mat = preconditioner = None

    def __init__(
        self,
        F: ufl.Form,
        u: dolfinx.fem.Function,
        materials: Sequence[QuadratureMaterial],
        bcs: list[Any],
        *,
        petsc_options_prefix: str,
        form_compiler_options: dict[str, Any] | None,
        jit_options: dict[str, Any] | None,
    ) -> None:
        options = {"form_compiler_options": form_compiler_options, "jit_options": jit_options}
        self._fast = FastJacobian(F, u, materials, bcs, **options)
        self.u, self.A = u, self._fast.A
        self.F = dolfinx.fem.form(F, **options)
        self._forms = F, tuple(materials), options
        self._residual = Residual(self.F, bcs, materials)
        self.b = dolfinx.fem.petsc.create_vector(u.function_space)
        self.x = dolfinx.fem.petsc.create_vector(u.function_space)
        self.solver = PETSc.SNES().create(self.A.comm)
        self.solver.setOptionsPrefix(petsc_options_prefix)
        for thing, name in ((self.A, "A_"), (self.b, "b_"), (self.x, "x_")):
            thing.setOptionsPrefix(f"{petsc_options_prefix}{name}")

    @cached_property
    def J(self) -> dolfinx.fem.Form:
        """The Jacobian form; compiled by FFCx at the first use, as nothing here needs it."""
        F, materials, options = self._forms
        J = ufl.derivative(F, self.u)
        for material in materials:
            J = J + material.derivative(F, self.u, ufl.TrialFunction(self.u.function_space))
        return dolfinx.fem.form(J, **options)

    def solve(self) -> dolfinx.fem.Function:
        """Run SNES from u, and write the result to u."""
        dolfinx.fem.petsc.assign(self.u, self.x)
        self.solver.solve(None, self.x)
        _compat.ghost_update(self.x, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
        dolfinx.fem.petsc.assign(self.x, self.u)
        return self.u

    def residual(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        """Assemble F at x into b."""
        self._residual.assemble(x, b, self._fast.lift)

    def jacobian(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        """Assemble the matrix at x."""
        self._fast.assemble()

    def __del__(self) -> None:
        """Destroy the PETSc objects, as dolfinx's problem does."""
        for name in ("solver", "A", "b", "x"):
            if name in vars(self):
                getattr(self, name).destroy()


def choose(
    assembly: str,
    F: Any,
    u: Any,
    materials: Sequence[QuadratureMaterial],
    bcs: list[Any],
    *,
    J: Any,
    derive: Any,
    P: Any,
    kind: Any,
    petsc_options_prefix: str,
    form_compiler_options: dict[str, Any] | None,
    jit_options: dict[str, Any] | None,
    entity_maps: Any,
) -> FFCxProblem | FastProblem:
    """The fast problem where it applies (or is insisted on), otherwise dolfinx's.

    Args:
        assembly: ``"auto"``, ``"fast"`` or ``"ffcx"``.
        F: Residual form, or one per block.
        u: The unknown, or one per block.
        materials: The materials.
        bcs: Dirichlet conditions.
        J: The caller's own Jacobian; None: ``derive()`` gives it, if it is needed.
        derive: See ``J``.
        P: Preconditioner form.
        kind: PETSc matrix kind.
        petsc_options_prefix: Prefix of all PETSc options.
        form_compiler_options: FFCx options.
        jit_options: Options of the C compilation.
        entity_maps: For forms over related meshes.

    Raises:
        MaterialError: ``"fast"`` does not apply. Collective: yes.
    """
    common: dict[str, Any] = {
        "petsc_options_prefix": petsc_options_prefix,
        "form_compiler_options": form_compiler_options,
        "jit_options": jit_options,
    }
    reason = "assembly='ffcx' was asked for"
    if assembly != "ffcx":
        try:
            if isinstance(F, Sequence) or isinstance(u, Sequence):
                raise NotSupported("the problem has blocks")
            for what, name in ((J, "J"), (P, "P"), (kind, "kind"), (entity_maps, "entity_maps")):
                if what is not None:
                    raise NotSupported(f"{name} was given")
            return FastProblem(F, u, materials, bcs, **common)
        except NotSupported as error:
            reason = str(error)
        if assembly == "fast":
            raise MaterialError(f"MaterialProblem: assembly='fast' does not apply: {reason}")
        _log.info("assembly by FFCx, because %s", reason)
    return FFCxProblem(
        F,
        u,
        materials,
        bcs,
        reason,
        J=derive() if J is None else J,
        P=P,
        kind=kind,
        entity_maps=entity_maps,
        **common,
    )
