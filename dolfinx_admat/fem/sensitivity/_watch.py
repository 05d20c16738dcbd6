"""What derivatives would silently miss: found at each recorded step, and refused."""

from collections.abc import Mapping
from typing import Any

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt

from ...errors import MaterialError
from .._collective import collectively
from ..problem import MaterialProblem
from ._state import ProblemState
from ._tape import State
from ._world import World

Floats = npt.NDArray[np.float64]


class Watch:
    """Looks for changes between steps that no recording knows of. Collective: yes.

    Args:
        problem: The problem.
        state: Reads its state.
        world: What a step reads.
        previous: Functions that hold an unknown at the start of the step, and that unknown.
        controls: Functions that are controls: what they hold is the caller's.

    Raises:
        MaterialError: ``previous`` is not a Function of an unknown's space each, and an unknown.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        state: ProblemState,
        world: World,
        previous: Mapping[Any, Any],
        controls: list[Any],
    ) -> None:
        self._problem, self._state, self._comm = problem, state, problem.comm
        functions = problem.functions
        with collectively(self._comm):
            for f, u in previous.items():
                k = next((k for k, known in enumerate(functions) if known is u), None)
                same = isinstance(f, dolfinx.fem.Function) and f is not u and k is not None
                if not same or f.function_space != u.function_space:
                    raise MaterialError(
                        "Recording: previous={u_old: u} takes a Function that holds an unknown of "
                        "the problem at the start of the step, in the same function space, and "
                        f"that unknown; got {f} and {u}"
                    )
                if f in controls or world.index(f) is None:
                    why = "is a control" if f in controls else "is not read by the problem"
                    raise MaterialError(f"Recording: '{f.name}' in previous {why}")
        self.previous = [(f, functions.index(u)) for f, u in previous.items()]
        known = [f._cpp_object for f in (*previous, *controls) if hasattr(f, "x")]
        self._others = [f for f in world.functions() if not any(f is k for k in known)]
        self._parts = self._of_unknowns() if self._others else []
        self._meshes = list({id(m.mesh): m.mesh for m in problem.materials}.values())

    def begin(self, state: State) -> None:
        """The first step starts here, from a copy of the state. Local."""
        self._last = state
        self._u: list[Floats] = []
        self._laws = [m.material for m in self._problem.materials]
        self._x = [mesh.geometry.x.copy() for mesh in self._meshes]

    def step(self) -> State:
        """Look around at a converged step that is about to be committed.

        Returns:
            A copy of the state at its end.

        Raises:
            MaterialError: Something has changed that the derivatives would miss.
        """
        with collectively(self._comm):
            self._check_local()
        if self._u and self._others:
            self._check_copies()
        self._u = [f.x.array.copy() for f in self._problem.functions]
        self._last = {k: v.copy() for k, v in self._state.read(trial=True).items()}
        return self._last

    # -- internal -------------------------------------------------------------------------

    def _check_local(self) -> None:
        for material, law in zip(self._problem.materials, self._laws, strict=True):
            if material.material is not law:
                raise MaterialError(
                    f"Recording: parameters of {material.name} have changed during the steps; "
                    "give what changes as a Constant or a Function, in `parameters`"
                )
        for mesh, x in zip(self._meshes, self._x, strict=True):
            if not np.array_equal(mesh.geometry.x, x):
                raise MaterialError(
                    "Recording: the nodes of the mesh have moved during the steps; derivatives "
                    "are those on a fixed mesh"
                )
        for name, value in self._state.read().items():
            if not np.array_equal(value, self._last[name], equal_nan=True):
                number, kind, variable = name.split(" ", 2)
                raise MaterialError(
                    f"Recording: {kind} '{variable}' of "
                    f"{self._problem.materials[int(number)].name} at t_n is not that at the end of "
                    "the step before: it was set, or committed, between the steps. Begin a new "
                    "recording after such a change"
                )
        for f, k in self.previous if self._u else []:
            if not np.array_equal(f.x.array, self._u[k]):
                raise MaterialError(
                    f"Recording: '{f.name}' in previous does not hold "
                    f"'{self._problem.functions[k].name}' at the end of the step before"
                )

    def _check_copies(self) -> None:
        """Does the problem read a copy of the last unknown that it has not been told of?"""
        pairs = [(f, k, dofs) for f in self._others for k, dofs in self._parts]
        flags = np.zeros((len(pairs), 3), np.int32)
        for i, (f, k, dofs) in enumerate(pairs):
            then, now = self._u[k][dofs], self._problem.functions[k].x.array[dofs]
            flags[i] = not _same(f.x.array, then), then.any(), not np.array_equal(then, now)
        self._comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
        for (f, k, _), (differ, some, moved) in zip(pairs, flags, strict=True):
            if some and moved and not differ:
                raise MaterialError(
                    f"Recording: the problem reads '{f.name}', which holds "
                    f"'{self._problem.functions[k].name}' of the step before: derivatives would "
                    "miss that. Tell it with Recording(..., previous={u_old: u}), where both have "
                    "the same function space"
                )

    def _of_unknowns(self) -> list[tuple[int, Any]]:
        """All unknowns, and the parts of mixed ones: number, local dofs."""
        parts: list[tuple[int, Any]] = []
        for k, u in enumerate(self._problem.functions):
            V = u.function_space
            parts.append((k, slice(None)))
            if V.num_sub_spaces != V.dofmap.bs:
                for i in range(V.num_sub_spaces):
                    parts.append((k, np.ravel(V.sub(i).collapse()[1])))
        return parts


def _same(a: Floats, b: Floats) -> bool:
    """Equal values, whatever their order: spaces that are alike may be numbered differently."""
    if a.shape != b.shape or not np.isclose(a.sum(), b.sum(), rtol=1e-8, atol=1e-8 * _size(b)):
        return False
    return np.array_equal(a, b) or np.allclose(np.sort(a), np.sort(b), rtol=1e-10, atol=0.0)


def _size(a: Floats) -> float:
    return float(np.abs(a).sum())
