"""The Jacobian of a displacement problem by our own element kernels, without FFCx's.

It applies to one unknown in a blocked Lagrange space (or alike) and an AIJ matrix. Terms of the
form that are no material's go through FFCx and are added to the same matrix.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import numpy.typing as npt
import ufl
from ufl.algorithms import expand_derivatives

from .. import compilation
from . import _blocks, _compat, _element
from ._collective import collectively
from ._element import ElementKernel, NotSupported, Target
from ._node import first_per_node
from ._operators import NotLinear, Operators, operators
from .fields import PIECE
from .quadrature import QuadratureMaterial

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass
class _Term:
    """One material's part: its kernel, where its entries go, its coefficients, what it reads."""

    kernel: ElementKernel
    slots: npt.NDArray[np.int32]
    variables: dolfinx.fem.Expression | None
    constrained: npt.NDArray[np.int64]  # positions of cells that have Dirichlet conditions

    def pieces(
        self, mesh: dolfinx.mesh.Mesh, which: npt.NDArray[np.int64] | None = None
    ) -> Iterator[tuple[Any, Floats | None]]:
        """Positions of some cells (a range, or a part of ``which``) and their coefficients."""
        cells = self.kernel.cells
        count = len(cells) if which is None else len(which)
        step = count if self.variables is None else PIECE
        for begin in range(0, count, max(step, 1)):
            end = min(begin + step, count)
            part: Any = slice(begin, end) if which is None else which[begin:end]
            values = None if self.variables is None else self.variables.eval(mesh, cells[part])
            yield part, values


class FastJacobian:
    """Jacobian of a form through its materials' outputs, and through all else in it.

    Args:
        F: Residual form.
        u: The unknown.
        materials: The materials in F.
        bcs: Dirichlet conditions.
        form_compiler_options: FFCx options.
        jit_options: Options of the C compilation.

    Attributes:
        A: The matrix.

    Raises:
        NotSupported: It does not apply; the message says why. The same on all ranks.
            Collective: yes, as are all methods unless they say no.
    """

    def __init__(
        self,
        F: ufl.Form,
        u: dolfinx.fem.Function,
        materials: Sequence[QuadratureMaterial],
        bcs: list[Any],
        *,
        form_compiler_options: dict[str, Any] | None,
        jit_options: dict[str, Any] | None,
    ) -> None:
        self._V, self._bcs = u.function_space, bcs
        self._mesh = self._V.mesh
        with collectively(self._mesh.comm):
            v = self._check(F, materials)
            parts = [self._operators(F, u, v, material) for material in materials]
            others = expand_derivatives(ufl.derivative(F, u))
            kinds = {integral.integral_type() for integral in others.integrals()}
            if kinds - {"cell", "exterior_facet"}:
                raise NotSupported("the form has integrals over interior facets or the like")
            sources = [
                None
                if part is None
                else _element.write(
                    _element.tabulate(self._V, material.points, material.weights),
                    part,
                    {block: material.tangents.size(block) for block in part.blocks},
                )
                for part, material in zip(parts, materials, strict=True)
            ]
        blocks = _load(self._mesh.comm, "blocks", _blocks.source(), _blocks.FLAGS)
        libraries = [
            None if text is None else _load(self._mesh.comm, "element", text, _element.FLAGS)
            for text in sources
        ]
        variables = [
            None if part is None else self._variables(part, material, jit_options)
            for part, material in zip(parts, materials, strict=True)
        ]
        self._others = None
        if not others.empty():
            self._others = dolfinx.fem.form(
                others, form_compiler_options=form_compiler_options, jit_options=jit_options
            )
        fixed = self._fixed()
        pieces = [material.cells for material in materials] + self._cells_of_others()
        cells = np.unique(np.concatenate(pieces)).astype(np.int32)
        self._blocks = _blocks.BlockMatrix(self._V, cells, blocks, fixed)
        self.A = self._blocks.A
        self._terms: list[_Term] = []
        for part, material, library, expression in zip(
            parts, materials, libraries, variables, strict=True
        ):
            if part is not None and library is not None:
                self._terms.append(self._term(part, material, library, expression, fixed))
        self._blocks.forget_pattern()

    # -- set-up ---------------------------------------------------------------------------

    def _check(self, F: ufl.Form, materials: Sequence[QuadratureMaterial]) -> Any:
        if not _compat.has_aij_arrays():
            raise NotSupported("PETSc's library cannot be reached, or is not one of real numbers")
        arguments = F.arguments()
        if len(arguments) != 1 or arguments[0].ufl_function_space() != self._V:
            raise NotSupported("test function and unknown are not in the same space")
        if self._V.dofmap.bs > 32:
            raise NotSupported("the unknown has more than 32 components")
        for material in materials:
            if material.mesh._cpp_object is not self._mesh._cpp_object:
                raise NotSupported("a material lives on another mesh than the unknown")
        for bc in self._bcs:
            if not self._V._cpp_object.contains(bc.function_space):
                raise NotSupported("a Dirichlet condition belongs to another space")
        return arguments[0]

    def _operators(
        self, F: ufl.Form, u: Any, v: Any, material: QuadratureMaterial
    ) -> Operators | None:
        used = set(material.outputs.values())
        integrands = []
        for integral in F.integrals():
            if used & set(ufl.algorithms.extract_coefficients(integral.integrand())):
                if not material.fills(integral):
                    raise NotSupported(
                        f"an integral with outputs of {material.name} runs over a part of its cells"
                    )
                integrands.append(integral.integrand())
        try:
            found = operators(integrands, material.outputs, material.input_vectors, u, v)
        except NotLinear as error:
            raise NotSupported(f"the form or an input contains {error}") from None
        return found if found.blocks else None

    def _variables(
        self, part: Operators, material: QuadratureMaterial, jit_options: dict[str, Any] | None
    ) -> dolfinx.fem.Expression | None:
        found = part.variables()
        if not found:
            return None
        try:
            return dolfinx.fem.Expression(
                ufl.as_vector(found),
                material.points,
                comm=self._mesh.comm,
                jit_options=jit_options,
            )
        except Exception as error:  # whatever FFCx cannot do there, it does alike on all ranks
            raise NotSupported(f"a factor in the form cannot be evaluated: {error}") from error

    def _fixed(self) -> npt.NDArray[np.uint32]:
        """For each local block of unknowns, a bit per component with a Dirichlet condition."""
        bs, dofmap = self._V.dofmap.bs, self._V.dofmap.index_map
        fixed = np.zeros(dofmap.size_local + dofmap.num_ghosts, np.uint32)
        for bc in self._bcs:
            dofs = bc.dof_indices()[0]
            np.bitwise_or.at(fixed, dofs // bs, np.uint32(1) << (dofs % bs).astype(np.uint32))
        return fixed

    def _cells_of_others(self) -> list[npt.NDArray[np.int32]]:
        if self._others is None:
            return []
        form, found = self._others._cpp_object, []
        for kind in form.integral_types:
            for n in range(form.num_integrals(kind, 0)):
                entities = np.asarray(form.domains(kind, n))
                found.append(entities.reshape(-1, 2)[:, 0] if entities.ndim > 1 else entities)
        return found

    def _term(
        self,
        part: Operators,
        material: QuadratureMaterial,
        library: Any,
        expression: dolfinx.fem.Expression | None,
        fixed: npt.NDArray[np.uint32],
    ) -> _Term:
        tangents = material.tangents
        for block in part.blocks:
            tangents.buffer(block)
        kernel = ElementKernel(
            self._V,
            material.cells,
            np.arange(len(material.cells), dtype=np.int32),
            library,
            lambda: [tangents.buffers[block] for block in part.blocks],
        )
        touched = (fixed[kernel.dofs[material.cells]] != 0).any(axis=1)
        slots = self._blocks.slots(material.cells, kernel.dofs)
        return _Term(kernel, slots, expression, np.flatnonzero(touched))

    # -- use ------------------------------------------------------------------------------

    def assemble(self) -> None:
        """Fill the matrix from the tangents of the last updates."""

        def add(target: Target) -> None:
            for term in self._terms:
                for part, values in term.pieces(self._mesh):
                    term.kernel.add(part.start, part.stop, values, term.slots, target)

        alone = self._others is None
        self._blocks.fill(add, diagonal=1.0 if alone else None)
        if not alone:
            dolfinx.fem.petsc.assemble_matrix(self.A, self._others, self._bcs, diag=1.0)
            self.A.assemble()

    def lift(self, x: PETSc.Vec, d: Floats, b: PETSc.Vec) -> None:
        """Add J d to b, where d differs from zero in Dirichlet rows only. Local."""
        moved = (d.reshape(-1, self._V.dofmap.bs) != 0.0).any(axis=1)
        with b.localForm() as local:
            array = local.array_w
            for term in self._terms:
                dofs = term.kernel.dofs[term.kernel.cells[term.constrained]]
                which = term.constrained[moved[dofs].any(axis=1)]
                for part, values in term.pieces(self._mesh, which):
                    term.kernel.lift(np.ascontiguousarray(part), values, d, array)
        if self._others is not None:
            dolfinx.fem.petsc.apply_lifting(b, [self._others], bcs=[self._bcs], x0=[x], alpha=-1.0)


def _load(comm: Any, name: str, source: str, flags: Sequence[str]) -> Any:
    """A compiled library on all ranks; NotSupported where it cannot be had. Collective: yes."""
    try:
        return first_per_node(
            comm, lambda: compilation.load(name, source, lambda: source, flags=flags)
        )
    except compilation.BuildError as error:
        raise NotSupported(str(error)) from error
