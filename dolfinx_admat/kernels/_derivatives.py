"""Derivatives of the update of a batch in given directions: reverse and forward mode."""

from functools import partial

import jax
import numpy as np

from dolfinx_admat.materials._declare import named_leaves

from ._buffers import Floats, StatusBuffers, check_arrays
from ._calls import Calls
from .native import NativeFunction


class Derivatives(Calls):
    """The part of ``BatchKernel`` that pulls cotangents back and pushes tangents forward."""

    def pullback(
        self,
        inputs: dict[str, Floats],
        state: dict[str, Floats],
        dt: float,
        *,
        output_cotangents: dict[str, Floats],
        state_cotangents: dict[str, Floats],
        status: StatusBuffers,
        input_bars: dict[str, Floats] | None = None,
        state_bars: dict[str, Floats] | None = None,
        parameter_bars: dict[str, Floats] | None = None,
        parameters: dict[str, Floats] | None = None,
    ) -> None:
        """Pull cotangents of outputs and new state back to inputs, old state and parameters.

        With L a number that depends on the batch through ``output_cotangents`` = dL/d(outputs)
        and ``state_cotangents`` = dL/d(new state), the buffers get dL/d(inputs) and so on. One
        factorisation of each point's local equations serves all of them.

        Args:
            inputs: Declared inputs at t_{n+1}; (points, *shape).
            state: State at t_n by name; (points, *shape).
            dt: Step, units of time.
            output_cotangents: (points, *shape) by output.
            state_cotangents: (points, *shape) by state variable.
            status: Buffers of the status of the update; (points,). A failed point gives NaN or
                nonsense: read the status first.
            input_bars: Buffers (points, *shape) by input; None or a missing name: not wanted.
            state_bars: Buffers (points, *shape) by state variable.
            parameter_bars: Buffers by dotted name: (*shape), to which the sum over all points is
                ADDED; for point parameters (points, *shape), which are overwritten.
            parameters: Values of the point parameters; (points, *shape).

        Raises:
            MaterialError: Wrong names, shapes or dtypes; a mistake in the law.
        """
        parameters, wanted = parameters or {}, parameter_bars or {}
        input_bars, state_bars = input_bars or {}, state_bars or {}
        points, reports = self._check_point(inputs, state, parameters, status)
        check = partial(check_arrays, self._law)
        for what, given, shapes, complete in (
            ("output_cotangents", output_cotangents, self._outputs, True),
            ("state_cotangents", state_cotangents, self.state_shapes, True),
            ("input_bars", input_bars, self._inputs, False),
            ("state_bars", state_bars, self.state_shapes, False),
        ):
            check(what, given, shapes, points, all_of_them=complete)
        of_points, sums = self._check_parameters("parameter_bars", wanted, points)
        function = self._functions["pullback"]
        if isinstance(function, NativeFunction):
            read = self._read(parameters, inputs, state)
            read += [output_cotangents[name] for name in sorted(self._outputs)]
            read += [state_cotangents[name] for name in self.state_shapes]
            results = [input_bars.get(name) for name in sorted(self._inputs)]
            results += [state_bars.get(name) for name in self.state_shapes]
            results += [of_points.get(name) for name in self._names]
            results += [sums.get(name) for name in named_leaves(self._arrays)]
            results += [None] * 4
            self._run_native(function, points, self._uniform(dt), read, results, None, reports)
            return
        outputs = {name: output_cotangents[name] for name in self._outputs}
        batch = self._batch(parameters, inputs, state)
        chunks = function.chunks(
            points,
            self.chunk_size,
            self._arrays,
            (*batch, (outputs, self._tree(state_cotangents))),
            np.float64(dt),
        )
        for piece, (of_inputs, of_state, of_point, of_arrays, result) in chunks:
            size = piece.stop - piece.start
            leaves = dict(zip(self.state_shapes, jax.tree.leaves(of_state), strict=True))
            for bars, values in (
                (input_bars, of_inputs),
                (state_bars, leaves),
                (of_points, of_point),
            ):
                for name, bar in bars.items():
                    bar[piece] = np.asarray(values[name])[:size]
            for name, value in named_leaves(of_arrays).items():
                if name in sums:
                    sums[name] += np.asarray(value)[:size].sum(axis=0)
            for target, values in zip(reports, result, strict=True):
                target[piece] = np.asarray(values)[:size]

    def pushforward(
        self,
        inputs: dict[str, Floats],
        state: dict[str, Floats],
        dt: float,
        *,
        output_tangents: dict[str, Floats],
        new_state_tangents: dict[str, Floats],
        status: StatusBuffers,
        input_tangents: dict[str, Floats] | None = None,
        state_tangents: dict[str, Floats] | None = None,
        parameter_tangents: dict[str, Floats] | None = None,
        parameters: dict[str, Floats] | None = None,
    ) -> None:
        """Push tangents of inputs, old state and parameters forward to outputs and new state.

        With inputs, state at t_n and parameters that depend on a number t, and their derivatives
        d/dt in ``input_tangents`` and so on, the buffers get d(outputs)/dt and d(new state)/dt.
        It is the transpose of ``pullback``. A tangent that is not given is zero.

        Args:
            inputs: Declared inputs at t_{n+1}; (points, *shape).
            state: State at t_n by name; (points, *shape).
            dt: Step, units of time.
            output_tangents: Buffers (points, *shape) by output; a missing name: not wanted.
            new_state_tangents: Buffers (points, *shape) by state variable, at t_{n+1}. They may
                be those of ``state_tangents``.
            status: Buffers of the status of the update; (points,). A failed point gives NaN or
                nonsense: read the status first.
            input_tangents: (points, *shape) by input.
            state_tangents: (points, *shape) by state variable, at t_n.
            parameter_tangents: By dotted name: (*shape), the same for all points; for point
                parameters (points, *shape).
            parameters: Values of the point parameters; (points, *shape).

        Raises:
            MaterialError: Wrong names, shapes or dtypes; a mistake in the law.
        """
        parameters = parameters or {}
        points, reports = self._check_point(inputs, state, parameters, status)
        check = partial(check_arrays, self._law, all_of_them=False)
        for what, given, shapes in (
            ("output_tangents", output_tangents, self._outputs),
            ("new_state_tangents", new_state_tangents, self.state_shapes),
            ("input_tangents", input_tangents or {}, self._inputs),
            ("state_tangents", state_tangents or {}, self.state_shapes),
        ):
            check(what, given, shapes, points)
        of_points, of_law = self._check_parameters(
            "parameter_tangents", parameter_tangents or {}, points
        )
        directions = (
            _completed(of_points, self._parameter_shapes, points),
            _completed(input_tangents or {}, self._inputs, points),
            _completed(state_tangents or {}, self.state_shapes, points),
        )
        shared = [
            of_law.get(name, np.zeros(np.shape(leaf)))
            for name, leaf in named_leaves(self._arrays).items()
        ]
        function = self._functions["pushforward"]
        if isinstance(function, NativeFunction):
            # The tangents of the law's arrays are the same for all points, like the arrays.
            uniform = np.concatenate([self._uniform(dt), *map(np.ravel, shared)])
            read = self._read(parameters, inputs, state) + self._read(*directions)
            results = [output_tangents.get(name) for name in sorted(self._outputs)]
            results += [new_state_tangents.get(name) for name in self.state_shapes]
            results += [None] * 4
            self._run_native(function, points, uniform, read, results, None, reports)
            return
        chunks = function.chunks(
            points,
            self.chunk_size,
            self._arrays,
            (*self._batch(parameters, inputs, state), self._batch(*directions)),
            np.float64(dt),
            jax.tree.unflatten(jax.tree.structure(self._arrays), shared),
        )
        for piece, (of_outputs, of_state, result) in chunks:
            size = piece.stop - piece.start
            leaves = dict(zip(self.state_shapes, jax.tree.leaves(of_state), strict=True))
            for buffers, values in (
                (output_tangents, of_outputs),
                (new_state_tangents, leaves),
            ):
                for name, buffer in buffers.items():
                    buffer[piece] = np.asarray(values[name])[:size]
            for target, values in zip(reports, result, strict=True):
                target[piece] = np.asarray(values)[:size]


def _completed(
    given: dict[str, Floats], shapes: dict[str, tuple[int, ...]], points: int
) -> dict[str, Floats]:
    """With zeros for what is not given."""
    return {
        name: given[name] if name in given else np.zeros((points, *shape))
        for name, shape in shapes.items()
    }
