"""The cells that a material lives on, and the measure that integrates over just these."""

from typing import Any
from weakref import WeakKeyDictionary

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ..errors import MaterialError
from ._collective import collectively

Cells = npt.NDArray[np.int32]

# dolfinx wants one and the same subdomain_data object for all measures of a form, so the cell
# arrays given for one mesh share a list. Keys are first tags no mesh generator uses.
_REGISTRY: WeakKeyDictionary[Any, list[tuple[int, Cells]]] = WeakKeyDictionary()
_FIRST_ID = 1_000_000


class Region:
    """Cells owned by this rank and the measure over them.

    Args:
        mesh: The mesh.
        cells: None (all cells), local cell indices, or ``(MeshTags, tag or list of tags)``.
        metadata: Quadrature metadata of the measure.

    Attributes:
        cells: Local indices of owned cells, sorted; int32.
        dx: UFL measure.
        ids: Subdomain ids that belong to the region; None: the whole mesh.

    Raises:
        MaterialError: The cells do not exist. Collective: yes.
    """

    def __init__(self, mesh: dolfinx.mesh.Mesh, cells: Any, metadata: dict[str, Any]) -> None:
        tdim = mesh.topology.dim
        owned = mesh.topology.index_map(tdim).size_local
        ghosts = mesh.topology.index_map(tdim).num_ghosts
        self.ids: tuple[int, ...] | None = None
        self.data: Any = None
        if cells is None:
            self.cells = np.arange(owned, dtype=np.int32)
            self.dx = ufl.Measure("dx", domain=mesh, metadata=metadata)
            return

        with collectively(mesh.comm):
            if isinstance(cells, tuple):
                tags, wanted = cells
                if getattr(tags, "dim", None) != tdim:
                    raise MaterialError(
                        f"QuadratureMaterial: cells=(tags, id) needs MeshTags of dimension {tdim}; "
                        f"got {type(tags).__name__} of dimension {getattr(tags, 'dim', None)}"
                    )
                if getattr(tags.topology, "_cpp_object", tags.topology) != (
                    mesh.topology._cpp_object
                ):
                    raise MaterialError(
                        "QuadratureMaterial: cells=(tags, id): the MeshTags belong to another mesh"
                    )
                self.ids = tuple(np.atleast_1d(wanted).astype(int).tolist())
                if not self.ids:
                    raise MaterialError("QuadratureMaterial: cells=(tags, ids): no ids are given")
                found = [tags.find(tag) for tag in self.ids]
            else:
                array = np.asarray(cells)
                if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
                    raise MaterialError(
                        "QuadratureMaterial: cells must be a 1D array of local cell indices or "
                        f"(MeshTags, tag); got {array.dtype} of shape {array.shape}"
                    )
                if array.size and (array.min() < 0 or array.max() >= owned + ghosts):
                    raise MaterialError(
                        "QuadratureMaterial: cells do not exist: got indices from "
                        f"{array.min()} to {array.max()}, a rank has cells 0 to "
                        f"{owned + ghosts - 1}"
                    )
                found = [array]
            local = [np.unique(np.asarray(c, dtype=np.int32)) for c in found]
            local = [c[c < owned] for c in local]
        sizes = np.array([len(c) for c in local])
        total = np.zeros_like(sizes)
        mesh.comm.Allreduce(sizes, total)
        if (total == 0).any():
            what = f"tag {self.ids[int(np.argmin(total))]}" if self.ids else "the given array"
            known = ""
            if self.ids:
                tags_here = np.unique(cells[0].values).tolist()
                every = sorted(set().union(*mesh.comm.allgather(tags_here)))
                known = f"; the tags are {every}"
            raise MaterialError(
                f"QuadratureMaterial: material on cells that do not exist: {what} marks no cell "
                f"of the mesh{known}"
            )
        self.cells = np.unique(np.concatenate(local)).astype(np.int32)
        if self.ids is not None:
            self.data = cells[0]
        else:
            shared = _REGISTRY.setdefault(mesh, [])
            self.ids = (_FIRST_ID + len(shared),)
            shared.append((self.ids[0], self.cells))
            self.data = shared
        self.dx = ufl.Measure(
            "dx", domain=mesh, metadata=metadata, subdomain_data=self.data, subdomain_id=self.ids
        )

    def covers(self, integral: Any) -> bool:
        """Whether a UFL cell integral stays on this region's cells."""
        if self.ids is None:
            return True
        wanted = np.atleast_1d(np.asarray(integral.subdomain_id(), dtype=object)).tolist()
        data = integral.subdomain_data()
        return data is self.data and all(w in self.ids for w in wanted)

    def fills(self, integral: Any) -> bool:
        """Whether a UFL cell integral runs over exactly this region's cells."""
        wanted = integral.subdomain_id()
        if self.ids is None:
            return bool(wanted == "everywhere")
        return self.covers(integral) and set(np.atleast_1d(wanted).tolist()) == set(self.ids)
