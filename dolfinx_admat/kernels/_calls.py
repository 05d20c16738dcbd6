"""What all calls of a kernel share: the law's names and shapes, the checks, the way to C."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dolfinx_admat.materials._declare import named_leaves, require_float64

from ._buffers import Floats, StatusBuffers, check_arrays, check_status
from ._select import Functions
from .native import NativeFunction


class Calls:
    """Base of ``BatchKernel``, which sets these attributes when it is made.

    Attributes:
        state_shapes: Shapes of the state variables of one point, in the order of the tree.
        chunk_size: Points per compiled call of the ``xla`` backend.
    """

    state_shapes: dict[str, tuple[int, ...]]
    chunk_size: int
    _law: str
    _names: tuple[str, ...]  # of the point parameters, sorted
    _parameter_shapes: dict[str, tuple[int, ...]]
    _inputs: dict[str, tuple[int, ...]]
    _outputs: dict[str, tuple[int, ...]]
    _state_tree: Any
    _arrays: Any
    _functions: Functions
    _uniforms: tuple[Any, Floats]

    def _check_point(
        self,
        inputs: dict[str, Floats],
        state: dict[str, Floats],
        parameters: dict[str, Floats],
        status: StatusBuffers,
    ) -> tuple[int, tuple[npt.NDArray[Any], ...]]:
        """Check what each call is given; (number of points, arrays of the status)."""
        require_float64()
        points = next((len(array) for array in inputs.values()), 0)
        for what, given, shapes in (
            ("inputs", inputs, self._inputs),
            ("state", state, self.state_shapes),
            ("parameters", parameters, self._parameter_shapes),
        ):
            check_arrays(self._law, what, given, shapes, points, all_of_them=True)
        return points, check_status(self._law, status, points)

    def _check_parameters(
        self, what: str, given: dict[str, Floats], points: int
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Check arrays that belong to parameters; (those of points, those that are shared)."""
        check = partial(check_arrays, self._law, what, all_of_them=False)
        shared = {n: jnp.shape(leaf) for n, leaf in named_leaves(self._arrays).items()}
        shared = {name: shape for name, shape in shared.items() if name not in self._names}
        of_points = {name: array for name, array in given.items() if name in self._names}
        of_law = {name: array for name, array in given.items() if name not in self._names}
        check(of_points, self._parameter_shapes, points)
        check(of_law, shared, None, points_first=False)
        return of_points, of_law

    def _tree(self, state: dict[str, Floats]) -> Any:
        return jax.tree.unflatten(self._state_tree, [state[name] for name in self.state_shapes])

    def _read(
        self, parameters: dict[str, Floats], inputs: dict[str, Floats], state: dict[str, Floats]
    ) -> list[Floats]:
        """What varies from point to point, in the order in which C reads it."""
        read = [parameters[name] for name in self._names]
        read += [inputs[name] for name in sorted(self._inputs)]
        return read + [state[name] for name in self.state_shapes]

    def _batch(
        self, parameters: dict[str, Floats], inputs: dict[str, Floats], state: dict[str, Floats]
    ) -> tuple[dict[str, Floats], dict[str, Floats], Any]:
        """The same as the ``xla`` backend takes it."""
        return (
            {name: parameters[name] for name in self._names},
            {name: inputs[name] for name in self._inputs},
            self._tree(state),
        )

    def _uniform(self, dt: float) -> Floats:
        source, values = self._uniforms
        if source is not self._arrays:
            leaves = [np.ravel(np.asarray(leaf)) for leaf in jax.tree.leaves(self._arrays)]
            values = np.concatenate([*leaves, [dt]]).astype(np.float64)
            self._uniforms = (self._arrays, values)
        values[-1] = dt
        return values

    def _run_native(
        self,
        function: NativeFunction,
        points: int,
        uniform: Floats,
        given: list[Floats],
        results: list[Floats | None],
        rows: npt.NDArray[np.integer] | None,
        status: tuple[npt.NDArray[Any], ...],
    ) -> None:
        given = [np.ascontiguousarray(array) for array in given]
        if rows is not None:
            rows = np.ascontiguousarray(rows, np.int64)
        # A buffer that is a strided view gets its values by a copy.
        direct = [r if r is None or r.flags.c_contiguous else r.copy() for r in results]
        function(points, uniform, given, direct, cast(Any, rows), status)
        for target, array in zip(results, direct, strict=True):
            if target is not array and target is not None:
                target[...] = array
