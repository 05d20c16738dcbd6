"""A PETSc AIJ matrix of square blocks into whose arrays element kernels write directly.

Rows of other ranks are summed in an array of ghosts and sent to their owners. Every place in the
three arrays (diagonal part, off-diagonal part, ghosts) is found once: see ``target`` in
_element.c for what a slot is. So neither a second copy of the matrix nor a search is needed when
the matrix is filled.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import numpy.typing as npt

from . import _compat
from ._element import NotSupported, Target, address

Ints = npt.NDArray[np.int32]
FLAGS = (f"-DINDEX=int{8 * np.dtype(PETSc.IntType).itemsize}_t",)
_TAG = 7301  # of our messages on the mesh's communicator


def source() -> str:
    """C source of the loops over blocks."""
    return Path(__file__).with_suffix(".c").read_text("utf-8")


class BlockMatrix:
    """An AIJ matrix with the sparsity of all pairs of unknowns that share one of some cells.

    Args:
        V: Space of rows and columns.
        cells: Owned cells.
        library: ``source()`` compiled with ``FLAGS``.
        fixed: For each local block of unknowns, a bit per component with a Dirichlet condition.

    Attributes:
        A: The matrix.

    Raises:
        NotSupported: The options of PETSc ask for another type, or the matrix is too large. The
            same on all ranks. Collective: yes.
    """

    def __init__(
        self, V: Any, cells: Ints, library: ctypes.CDLL, fixed: npt.NDArray[np.uint32]
    ) -> None:
        self._V, self._library, self._fixed = V, library, fixed
        self._map, self.size = V.dofmap.index_map, V.dofmap.bs
        self._comm: MPI.Intracomm = V.mesh.comm
        pattern = _pattern_form(V, cells)
        self.A = dolfinx.fem.petsc.create_matrix(pattern)
        if self.A.getType() not in ("seqaij", "mpiaij"):
            kind = self.A.getType()
            self.A.destroy()
            raise NotSupported(f"the matrix type is {kind}")
        sparsity = dolfinx.fem.create_sparsity_pattern(pattern)
        sparsity.insert_diagonal(np.arange(self._map.size_local, dtype=np.int32))
        sparsity.finalize()
        columns, offsets = sparsity.graph
        self._columns = np.asarray(columns, np.int32)
        self._offsets = np.asarray(offsets, np.int64)
        largest = self._comm.allreduce(len(columns), op=MPI.MAX) * self.size**2
        if largest > np.iinfo(np.int32).max:
            self.A.destroy()
            raise NotSupported("a rank has more than 2^31 entries of the matrix")
        self._lay_out(sparsity.index_map(1))
        del sparsity

    # -- set-up ---------------------------------------------------------------------------

    def _lay_out(self, column_map: Any) -> None:
        """Find the places; sparing with memory, as there are many blocks per point."""
        size, owned = self.size, self._map.size_local
        offsets, columns = self._offsets, self._columns
        end = int(offsets[owned])  # behind the rows of this rank; those of other ranks follow
        names = column_map.local_to_global(
            np.arange(column_map.size_local + column_map.num_ghosts, dtype=np.int32)
        ).astype(np.int64)
        lengths = np.diff(offsets)
        far = np.flatnonzero(columns[:end] >= owned)
        far_row = np.searchsorted(offsets, far, side="right") - 1
        far_count = np.bincount(far_row, minlength=owned)[:owned]
        near_count = lengths[:owned] - far_count
        near_first, far_first = (np.cumsum(c) - c for c in (near_count, far_count))
        # In the rows of a block, blocks follow each other in the order of their columns. Local
        # numbers of columns are sorted, those of this rank come first.
        self._places = np.empty(len(columns), np.int32)
        start = (near_first * size**2 - offsets[:owned] * size).astype(np.int32)
        place = np.repeat(start, lengths[:owned])
        place += np.arange(end, dtype=np.int32) * np.int32(size)
        self._places[:end] = place
        del place
        # PETSc sorts the columns of other ranks by their global numbers.
        order = np.lexsort((names[columns[far]], far_row))
        far, far_row = far[order], far_row[order]
        rank_in_row = np.arange(len(far)) - far_first[far_row]
        self._places[far] = ~(far_first[far_row] * size**2 + rank_in_row * size)
        self._places[end:] = np.arange(len(columns) - end) * size**2
        self._strides = [(c * size).astype(np.int32) for c in (near_count, far_count)]
        self._sizes = tuple(int(c.sum()) * size**2 for c in (near_count, far_count))
        self._ghosts = np.zeros((len(columns) - end) * size**2)
        self._preallocate(names)
        self._connect(names)
        self._find_diagonal()

    def _find_diagonal(self) -> None:
        """Places of the diagonal entries in Dirichlet rows."""
        rows = np.flatnonzero(self._fixed[: self._map.size_local])
        corners = np.array([self._place(r, r) for r in rows.tolist()], np.int64)
        component = np.arange(self.size, dtype=np.uint32)
        fixed = (self._fixed[rows, None] >> component & np.uint32(1)).astype(bool)
        # Component i is (stride + 1) entries after component i - 1.
        steps = (self._strides[0][rows, None].astype(np.int64) + 1) * component
        self._diagonal = (corners[:, None] + steps)[fixed]

    def _place(self, row: int, column: int) -> int:
        begin, end = self._offsets[row], self._offsets[row + 1]
        return int(self._places[begin + np.searchsorted(self._columns[begin:end], column)])

    def _preallocate(self, names: npt.NDArray[np.int64]) -> None:
        """Give PETSc the final structure, so that assembly never changes it."""
        owned, size = self._map.size_local, self.size
        starts = np.empty(owned * size + 1, PETSc.IntType)
        expanded = np.empty(int(self._offsets[owned]) * size**2, PETSc.IntType)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._library.expand.argtypes = [number, ctypes.c_int32, *[pointer] * 5]
        self._library.expand(
            owned,
            size,
            address(self._offsets),
            address(self._columns),
            address(names),
            address(starts),
            address(expanded),
        )
        self.A.setPreallocationCSR((starts, expanded))

    def _connect(self, names: npt.NDArray[np.int64]) -> None:
        """Find where the blocks of ghost rows go: to which rank, and where there."""
        comm, owned, total = self._comm, self._map.size_local, self._map.size_global
        end = int(self._offsets[owned])
        ghost = np.repeat(np.arange(self._map.num_ghosts), np.diff(self._offsets[owned:]))
        owner = np.asarray(self._map.owners)[ghost]
        self._outgoing = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=comm.size).astype(np.int32)
        incoming = np.empty_like(counts)
        comm.Alltoall(counts, incoming)
        rows = np.asarray(self._map.ghosts)[ghost]
        pairs = np.stack([rows, names[self._columns[end:]]], axis=-1)[self._outgoing]
        received = np.empty((int(incoming.sum()), 2), np.int64)
        comm.Alltoallv((np.ascontiguousarray(pairs), 2 * counts), (received, 2 * incoming))
        received[:, 0] -= self._map.local_range[0]
        self._received_rows = received[:, 0].astype(np.int32)
        # Among the entries of just these rows, by (row, column).
        known = np.unique(self._received_rows)
        ranges = [np.arange(*self._offsets[r : r + 2]) for r in known.tolist()]
        entries = np.concatenate([np.zeros(0, np.int64), *ranges])
        lengths = self._offsets[known + 1] - self._offsets[known]
        keys = np.repeat(known.astype(np.int64), lengths) * total + names[self._columns[entries]]
        order = np.argsort(keys)
        found = np.searchsorted(keys[order], received[:, 0] * total + received[:, 1])
        self._received_places = self._places[entries[order[found]]]
        self._to, self._from = _ranges(counts), _ranges(incoming)

    def slots(self, cells: Ints, dofs: Ints) -> Ints:
        """Slot of each pair of basis functions of some cells; (cells, basis, basis). Local."""
        basis = dofs.shape[1]
        slots = np.empty((len(cells), basis, basis), np.int32)
        pointer, number, short = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
        find = self._library.find
        find.argtypes = [number, pointer, short, pointer, pointer, pointer, pointer, pointer]
        find.restype = number
        missing = find(
            len(cells),
            address(cells),
            basis,
            address(dofs),
            address(self._offsets),
            address(self._columns),
            address(self._places),
            address(slots),
        )
        if missing:
            raise RuntimeError(f"{missing} pairs of unknowns are not in the sparsity pattern")
        return slots

    def forget_pattern(self) -> None:
        """Free what only ``slots`` needs."""
        del self._columns, self._offsets, self._places

    # -- filling --------------------------------------------------------------------------

    def fill(self, add: Callable[[Target], None], *, diagonal: float | None) -> None:
        """Compute the matrix anew. Collective: yes.

        Args:
            add: Adds to all entries; local, must not raise on some ranks only.
            diagonal: Value on the diagonal of Dirichlet rows; None: leave them zero.
        """
        self._ghosts[:] = 0.0
        with _compat.aij_arrays(self.A, self._sizes) as (near, far):
            near[:], far[:] = 0.0, 0.0
            target = Target(
                address(near),
                address(far),
                address(self._ghosts),
                address(self._strides[0]),
                address(self._strides[1]),
                address(self._fixed),
                self._map.size_local,
            )
            add(target)
            self._exchange(near, far)
            if diagonal is not None:
                near[self._diagonal] = diagonal
        self.A.assemble()

    def _exchange(self, near: Any, far: Any) -> None:
        if self._comm.size == 1:
            return
        block = self.size**2
        received = np.empty((len(self._received_rows), block))
        requests = [self._comm.Irecv(received[s], rank, _TAG) for rank, s in self._from]
        sent = np.take(self._ghosts.reshape(-1, block), self._outgoing, axis=0)
        requests += [self._comm.Isend(sent[s], rank, _TAG) for rank, s in self._to]
        MPI.Request.Waitall(requests)
        receive = self._library.receive
        pointer = ctypes.c_void_p
        receive.argtypes = [ctypes.c_int64, ctypes.c_int32, *[pointer] * 7]
        receive(
            len(received),
            self.size,
            address(self._received_rows),
            address(self._received_places),
            address(received),
            address(near),
            address(far),
            address(self._strides[0]),
            address(self._strides[1]),
        )


def _ranges(counts: Any) -> list[tuple[int, slice]]:
    """Which part of a buffer belongs to each rank that has something."""
    ends = np.cumsum(counts)
    return [(int(r), slice(int(ends[r] - counts[r]), int(ends[r]))) for r in np.flatnonzero(counts)]


def _pattern_form(V: Any, cells: Ints) -> Any:
    """A bilinear form that has no kernel: good for its sparsity only."""
    kind = dolfinx.fem.form_cpp_class(np.float64)
    integrals = {dolfinx.fem.IntegralType.cell: [(0, 0, cells, np.array([], dtype=np.int8))]}
    spaces = [V._cpp_object, V._cpp_object]
    return dolfinx.fem.Form(kind(spaces, integrals, [], [], False, [], mesh=V.mesh._cpp_object))
