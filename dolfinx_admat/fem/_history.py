"""Values of a material at its points: outputs and state, at t_n and as trial values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt

from ._checks import Names, check_names
from ._spaces import QuadratureSpace
from ._translate import to_ordinary

Floats = npt.NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]


class History:
    """What a material remembers. State moves only by ``commit``; all methods are local.

    Args:
        name: Name of the material, in messages.
        space: Its quadrature space.
        outputs: Declared shape of each output.
        state: Initial state; (points, *shape), owned by the history from now on.
        state_shapes: Declared shape of each state variable.

    Attributes:
        outputs: Quadrature function of each output, holding the trial values.
        buffers: The trial values, (points, *shape); the functions' own memory where the points
            come in order there, otherwise ``publish`` copies them.
        state: Trial state, (points, *shape).
        state_n: State at t_n.
        outputs_n: Outputs at t_n, (points, *shape).
        state_functions: Quadrature functions of those state variables that somebody reads.
    """

    def __init__(
        self,
        name: str,
        space: QuadratureSpace,
        outputs: Shapes,
        state: dict[str, Floats],
        state_shapes: Shapes,
    ) -> None:
        self._name, self._space = name, space
        self._shapes = {**outputs, **state_shapes}
        self.outputs = {key: self._vector(key) for key in outputs}
        rows = {key: f.x.array.reshape(-1, *outputs[key]) for key, f in self.outputs.items()}
        self.buffers = {key: values[space.rows] for key, values in rows.items()}
        self.outputs_n = {key: buffer.copy() for key, buffer in self.buffers.items()}
        self.state_n = state
        self.state = {key: value.copy() for key, value in state.items()}
        self.state_functions: dict[str, dolfinx.fem.Function] = {}

    def _vector(self, key: str) -> dolfinx.fem.Function:
        return self._space.function(key, (int(np.prod(self._shapes[key])),))

    def shape(self, key: str) -> tuple[int, ...]:
        """Declared shape of an output or state variable; MaterialError for another name."""
        check_names(self._name, [key], self._shapes, "no output or state variable")
        return self._shapes[key]

    def function(self, key: str) -> dolfinx.fem.Function:
        """Quadrature function that follows an output or state variable.

        Collective: yes, at the first use of a state variable.
        """
        self.shape(key)
        if key in self.outputs:
            return self.outputs[key]
        if key not in self.state_functions:
            self.state_functions[key] = self._vector(key)
            self.write_state_functions()
        return self.state_functions[key]

    def functions(self) -> set[dolfinx.fem.Function]:
        """All quadrature functions in use."""
        return {*self.outputs.values(), *self.state_functions.values()}

    def publish(self) -> None:
        """Bring the functions of outputs up to date, where they are not the buffers themselves."""
        if isinstance(self._space.rows, slice):
            return
        for key, function in self.outputs.items():
            self._space.write(function, self.buffers[key])

    def write_state_functions(self) -> None:
        """Bring the functions of state variables up to date with the trial state."""
        for key, function in self.state_functions.items():
            self._space.write(function, self.state[key])

    def values(self, key: str) -> Floats:
        """Copy of the trial values as ordinary tensors; (cells, points, *shape)."""
        shape = self.shape(key)
        flat = self.buffers[key] if key in self.buffers else self.state[key]
        return to_ordinary(self._space.per_cell(flat), shape)

    def at_t_n(self) -> Mapping[str, Floats]:
        """State at t_n by name, read-only; (cells, points, *shape), Mandel inside."""
        shaped = {key: self._space.per_cell(value) for key, value in self.state_n.items()}
        for value in shaped.values():
            value.flags.writeable = False
        return Names(shaped, f"{self._name}: no state variable")

    def commit(self) -> None:
        """Make the trial values those at t_n."""
        for key, value in self.state.items():
            np.copyto(self.state_n[key], value)
        for key, buffer in self.buffers.items():
            np.copyto(self.outputs_n[key], buffer)

    def revert(self) -> None:
        """Make the values at t_n the trial values."""
        for key, value in self.state_n.items():
            np.copyto(self.state[key], value)
        for key, buffer in self.buffers.items():
            np.copyto(buffer, self.outputs_n[key])
        self.publish()
        self.write_state_functions()

    @contextmanager
    def random_signs(self, values: Mapping[str, Floats] | None = None) -> Iterator[None]:
        """Within this context, the outputs (or ``values``) have a random sign in each cell."""
        saved = {key: buffer.copy() for key, buffer in self.buffers.items()}
        try:
            for key, buffer in self.buffers.items():
                cells = self._space.per_cell(buffer if values is None else values[key])
                signs = np.random.default_rng(0).choice([-1.0, 1.0], len(cells))
                signed: Any = cells * signs.reshape(-1, *(1,) * (cells.ndim - 1))
                buffer[:] = signed.reshape(buffer.shape)
            self.publish()
            yield
        finally:
            for key, buffer in self.buffers.items():
                np.copyto(buffer, saved[key])
            self.publish()
