"""Resultant forces on supports, from the unconstrained residual."""

from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt

from ..errors import MaterialError
from ._collective import collectively


def resultant(form: dolfinx.fem.Form, V: Any, facets: Any) -> npt.NDArray[np.float64]:
    """Sum of a linear form over the nodes of some facets. Collective: yes.

    Args:
        form: Compiled residual form.
        V: Space of its test function.
        facets: Local facet indices, or ``(MeshTags, tag)``.

    Returns:
        (components of V,); the same on all ranks.

    Raises:
        MaterialError: Not facets of the mesh, or a mixed-element space.
    """
    dofs = facet_dofs(V, facets)
    vector = dolfinx.fem.assemble_vector(form)
    vector.scatter_reverse(dolfinx.la.InsertMode.add)
    local = vector.array.reshape(-1, V.dofmap.bs)[dofs].sum(axis=0)
    return V.mesh.comm.allreduce(local)


def facet_dofs(V: Any, facets: Any) -> npt.NDArray[np.int32]:
    """Owned blocks of unknowns on some facets. Collective: yes.

    Args:
        V: Space of the unknown.
        facets: Local facet indices, or ``(MeshTags, tag)``.

    Raises:
        MaterialError: As ``resultant``.
    """
    mesh = V.mesh
    fdim = mesh.topology.dim - 1
    mesh.topology.create_entities(fdim)  # collective, so before the local checks
    with collectively(mesh.comm):
        if V.num_sub_spaces not in (0, V.dofmap.bs):
            raise MaterialError(
                "reaction: u is in a mixed-element space; give F and u as lists of blocks, and "
                "reaction the block of the displacement"
            )
        facets = _facets(mesh, facets)
    mesh.topology.create_connectivity(fdim, mesh.topology.dim)
    dofs = dolfinx.fem.locate_dofs_topological(V, fdim, facets)
    return dofs[dofs < V.dofmap.index_map.size_local]


def _facets(mesh: dolfinx.mesh.Mesh, facets: Any) -> npt.NDArray[np.int32]:
    """Local facet indices from indices or (MeshTags, tag); MaterialError if they are none."""
    fdim = mesh.topology.dim - 1
    if isinstance(facets, tuple) and len(facets) == 2 and hasattr(facets[0], "find"):
        tags, tag = facets
        if tags.dim != fdim:
            raise MaterialError(
                f"reaction: got MeshTags of dimension {tags.dim}, expected facets ({fdim})"
            )
        return np.asarray(tags.find(tag), dtype=np.int32)
    array = np.asarray(facets)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise MaterialError(
            "reaction: facets must be a 1D array of local facet indices or (MeshTags, tag); got "
            f"{type(facets).__name__} {array.dtype} of shape {array.shape}"
        )
    known = mesh.topology.index_map(fdim)
    count = known.size_local + known.num_ghosts
    if array.size and not (array.min() >= 0 and array.max() < count):
        raise MaterialError(
            f"reaction: facets do not exist: got indices from {array.min()} to {array.max()}, a "
            f"rank has facets 0 to {count - 1}"
        )
    return array.astype(np.int32)
