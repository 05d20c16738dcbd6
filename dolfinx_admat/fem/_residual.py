"""The residual vector of one form: assembled from the materials' own buffers where that is right.

dolfinx gathers ("packs") all coefficients of a form at each assembly. Where the values of a
material's output lie in memory as a packed array would, they are handed over as they are.
"""

from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import dolfinx.la.petsc
import numpy as np
import numpy.typing as npt

from . import _compat
from .quadrature import QuadratureMaterial

Floats = npt.NDArray[np.float64]


def packed_views(
    form: dolfinx.fem.Form, materials: Sequence[QuadratureMaterial]
) -> dict[Any, Floats] | None:
    """Coefficients of a form for dolfinx's assemblers as views of the materials' outputs.

    The layout is not assumed: the outputs are filled with numbers that tell where they are, and
    what dolfinx packs is compared with the views.

    Returns:
        None if some integral needs other values or another layout. Local.
    """
    functions = [f for material in materials for f in material.outputs.values()]
    saved = [f.x.array.copy() for f in functions]
    try:
        start = 1.0
        for f in functions:
            f.x.array[:] = np.arange(start, start + len(f.x.array))
            start += len(f.x.array)
        views = {}
        for key, packed in dolfinx.fem.pack_coefficients(form).items():
            same = packed if packed.size == 0 else None
            for f in functions:
                view = f.x.array[: packed.size].reshape(-1)
                if packed.size and np.array_equal(view, packed.ravel()):
                    same = view.reshape(packed.shape)
            if same is None:
                return None
            views[key] = same
        return views
    finally:
        for f, values in zip(functions, saved, strict=True):
            f.x.array[:] = values


class Residual:
    """Assembles F(u) of a single form, with Dirichlet conditions. Local set-up.

    Args:
        form: Compiled residual form.
        bcs: Dirichlet conditions.
        materials: The materials in it.
    """

    def __init__(
        self, form: dolfinx.fem.Form, bcs: list[Any], materials: Sequence[QuadratureMaterial]
    ) -> None:
        self._form, self._bcs = form, bcs
        self._views = packed_views(form, materials)

    def assemble(self, x: PETSc.Vec, b: PETSc.Vec, lift: Any) -> None:
        """Assemble at x, whose ghosts and whose Functions are up to date. Collective: yes.

        Args:
            x: The iterate.
            b: Gets F(x), in the rows of Dirichlet conditions x - g.
            lift: Called with (x, d, b) to add J d to b, where d = g - x in Dirichlet rows and
                zero elsewhere. Called only on ranks where x violates the conditions.
        """
        dolfinx.la.petsc._zero_vector(b)
        dolfinx.fem.petsc.assemble_vector(b, self._form, coeffs=self._views)
        d = self._violation(x)
        if d is not None:
            lift(x, d, b)
        _compat.ghost_update(b, PETSc.InsertMode.ADD, PETSc.ScatterMode.REVERSE)
        dolfinx.fem.petsc.set_bc(b, self._bcs, x0=x, alpha=-1.0)
        _compat.ghost_update(b, PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)

    def _violation(self, x: PETSc.Vec) -> Floats | None:
        """Prescribed minus present values, zero elsewhere; None if the conditions hold."""
        with x.localForm() as local:
            values = local.array_r
            d = np.zeros_like(values)
            for bc in self._bcs:
                bc.set(d, values, 1.0)
            # After a full Newton step the conditions hold up to the rounding of g - x + x.
            most = max(np.abs(values).max(initial=0.0), np.abs(d).max(initial=0.0))
        return d if np.abs(d).max(initial=0.0) > 4.0 * np.finfo(float).eps * most else None
