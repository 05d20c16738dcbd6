"""Where the values of Dirichlet conditions come from, found by asking the conditions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._slopes import owned

Floats = npt.NDArray[np.float64]


class Boundary:
    """Rows of one unknown that have Dirichlet conditions, and the data behind them. Local.

    Args:
        V: Space of the unknown.
        bcs: Conditions of the problem; those of other unknowns are ignored.

    Attributes:
        fixed: Local rows (ghosts included) with a condition; booleans.
    """

    def __init__(self, V: Any, bcs: Sequence[Any]) -> None:
        self._owned = owned(V)
        dofmap = V.dofmap.index_map
        size = (dofmap.size_local + dofmap.num_ghosts) * V.dofmap.index_map_bs
        self._bcs = [bc for bc in bcs if V._cpp_object.contains(bc.function_space)]
        self.fixed = np.zeros(size, bool)
        # Where several conditions meet, the last one counts.
        self._last = np.full(size, -1)
        for k, bc in enumerate(self._bcs):
            dofs = bc.dof_indices()[0]
            self.fixed[dofs] = True
            self._last[dofs] = k

    @property
    def free(self) -> npt.NDArray[np.bool_]:
        """Owned rows without a condition."""
        return ~self.fixed[: self._owned]

    def sources(self, data: Any) -> npt.NDArray[np.int64]:
        """For each local row, which entry of a Function or Constant is its value; -1: none."""
        found = np.full(len(self.fixed), -1)
        thing = data._cpp_object
        for k, bc in enumerate(self._bcs):
            if bc.g is not thing:
                continue
            values = data.x.array if hasattr(data, "x") else data.value
            saved = np.array(values)
            probe = np.zeros(len(self.fixed))
            values[...] = np.arange(1.0, saved.size + 1.0).reshape(saved.shape)
            try:
                bc.set(probe)
            finally:
                values[...] = saved
            mine = self._last == k
            found[mine] = np.rint(probe[mine]).astype(np.int64) - 1
        return found
