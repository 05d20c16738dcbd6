"""Apply a law to a batch of points, on either backend.

All arrays are points-leading, C-contiguous float64, owned by the caller.
"""

from functools import partial
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import Strategy
from dolfinx_admat.implicit._newton import STRATEGIES
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, named_leaves, require_float64
from dolfinx_admat.materials.parameters import check_parameters

from ._buffers import Floats, StatusBuffers, check_arrays
from ._derivatives import Derivatives
from ._select import Functions
from .native import NativeFunction

DEFAULT_CHUNK = 2048


def _checked_values(material: Material) -> Material:
    """The law with all numbers in float64, also where they were put in by ``tree_at``."""
    converted = as_numbers(material)
    pairs = zip(jax.tree.leaves(converted), jax.tree.leaves(material), strict=True)
    if any(new is not old for new, old in pairs):
        material = converted
    check_parameters(material)
    return material


class BatchKernel(Derivatives):
    """Outputs, new state, status and (on request) tangent of many points of one law.

    ``pullback`` and ``pushforward`` are its derivatives in given directions, also with respect to
    the old state and the parameters.

    Args:
        material: The law. A law of the same structure may be assigned to ``material`` later,
            e.g. with new parameter values, without recompilation.
        tangent: ``"implicit"``, ``"unrolled"`` or ``"finite_difference"`` (of the whole update);
            None: what the law's own ``solver`` says.
        chunk_size: Points per compiled call of the ``xla`` backend.
        point_parameters: Names (dotted paths) of parameters that vary from point to point.
        backend: ``"native"`` (C made from the law), ``"xla"``, or ``"auto"``: native where it can
            be had, and XLA with a warning otherwise.

    Raises:
        MaterialError: Unknown tangent strategy, backend or parameter name; float64 is switched
            off.
    """

    def __init__(
        self,
        material: Material,
        *,
        tangent: str | None = None,
        chunk_size: int = DEFAULT_CHUNK,
        point_parameters: tuple[str, ...] = (),
        backend: str = "auto",
    ) -> None:
        require_float64()
        if tangent is not None and tangent not in STRATEGIES:
            raise MaterialError(
                f"BatchKernel: tangent must be one of {', '.join(STRATEGIES)}; got {tangent!r}"
            )
        if chunk_size < 1:
            raise MaterialError(f"BatchKernel: chunk_size must be at least 1; got {chunk_size}")
        material = _checked_values(material)
        known = named_leaves(eqx.filter(material, eqx.is_array))
        for name in point_parameters:
            if name not in known:
                raise MaterialError(
                    f"{type(material).__name__}: no parameter '{name}'; it has {sorted(known)}"
                )
        self.chunk_size = chunk_size
        self._names = tuple(sorted(point_parameters))
        self._parameter_shapes = {name: jnp.shape(known[name]) for name in self._names}
        self._arrays, self._static = eqx.partition(material, eqx.is_array)
        self._material, self._law = material, type(material).__name__
        # Of a wrapped law these are computed.
        self._inputs, self._outputs = dict(material.inputs), dict(material.outputs)
        self._uniforms: tuple[Any, Floats] = (None, np.zeros(0))
        initial = as_numbers(material.initial_state())
        for name, value in named_leaves(initial).items():
            if jnp.result_type(value) != jnp.float64:
                raise MaterialError(
                    f"{type(material).__name__}: state '{name}' must be a number or an array of "
                    f"numbers; initial_state() gives {jnp.result_type(value)}"
                )
        self._state_tree = jax.tree.structure(initial)
        self.state_shapes = {name: jnp.shape(v) for name, v in named_leaves(initial).items()}
        self._functions = Functions(
            type(material).__name__,
            self._static,
            self._arrays,
            initial,
            self._inputs,
            {name: jnp.asarray(known[name]) for name in self._names},
            cast(Strategy | None, tangent),
            backend,
        )

    @property
    def backend(self) -> str:
        """The backend in use, "native" or "xla"; "auto" may change to "xla" when it compiles."""
        return self._functions.backend

    def prepare(self, task: str = "tangent") -> str:
        """Compile (or load) now what would be compiled at first use.

        Args:
            task: "update" (stress only), "tangent" (with tangent), "pullback" or "pushforward".

        Returns:
            The backend.

        Raises:
            MaterialError: ``backend="native"`` was asked for and is impossible.
        """
        self._functions[task]
        return self.backend

    @property
    def material(self) -> Material:
        """The law; assign one of the same structure to change parameter values."""
        return self._material

    @material.setter
    def material(self, law: Material) -> None:
        law = _checked_values(law)
        arrays, static = eqx.partition(law, eqx.is_array)
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(arrays)]
        same = shapes == [jnp.shape(leaf) for leaf in jax.tree.leaves(self._arrays)]
        if not (same and eqx.tree_equal(static, self._static)):
            raise MaterialError(
                "BatchKernel: the new law must have the structure of the old one, that is, differ "
                f"in the values of numbers and arrays only; got {law}, expected {self._material}"
            )
        self._arrays, self._material = arrays, law

    @property
    def traces(self) -> int:
        """How often functions for this law's structure were traced (that is, compiled)."""
        return self._functions.traces

    def check_law(self) -> None:
        """Trace the law once without compiling it, to find mistakes before any work is done.

        Raises:
            MaterialError: A mistake in the law, with its file and line.
        """
        material = self._material
        inputs = {name: jnp.zeros(shape) for name, shape in material.inputs.items()}
        state = as_numbers(material.initial_state())
        jax.eval_shape(lambda i, s, dt: material.integrate(i, s, dt), inputs, state, jnp.zeros(()))

    def initial_state(self, points: int) -> dict[str, Floats]:
        """The law's initial state at each point, by name: arrays (points, *shape)."""
        values = named_leaves(as_numbers(self._material.initial_state()))
        return {
            name: np.array(np.broadcast_to(v, (points, *np.shape(v))), order="C")
            for name, v in values.items()
        }

    def update(
        self,
        inputs: dict[str, Floats],
        state: dict[str, Floats],
        dt: float,
        *,
        outputs: dict[str, Floats],
        new_state: dict[str, Floats],
        status: StatusBuffers,
        tangent: dict[tuple[str, str], Floats] | None = None,
        rows: npt.NDArray[np.integer] | None = None,
        parameters: dict[str, Floats] | None = None,
    ) -> None:
        """Advance all points from t_n to t_{n+1}, writing into the caller's buffers.

        Args:
            inputs: Declared inputs at t_{n+1}; (points, *shape).
            state: State at t_n by name; (points, *shape); never modified.
            dt: Step, units of time.
            outputs: Buffers of the declared outputs; (rows, *shape).
            new_state: Buffers of the state at t_{n+1}; (points, *shape).
            status: Buffers of the status; (points,).
            tangent: Buffers of d(output)/d(input) by ``(output, input)``;
                (rows, *output shape, *input shape). None: do not compute it.
            rows: Row of ``outputs`` and ``tangent`` that belongs to each point; None: the same.
            parameters: Values of the point parameters; (points, *shape).

        Raises:
            MaterialError: Wrong names, shapes or dtypes; a mistake in the law.
        """
        parameters = {} if parameters is None else parameters
        points, reports = self._check_point(inputs, state, parameters, status)
        check = partial(check_arrays, self._law)
        check("new_state", new_state, self.state_shapes, points, all_of_them=True)
        blocks = {
            (o, i): (*left, *right)
            for o, left in self._outputs.items()
            for i, right in self._inputs.items()
        }
        width = points if rows is None else None  # with `rows`, as many as the caller likes
        check("outputs", outputs, self._outputs, width, all_of_them=False)
        check("tangent", tangent or {}, blocks, width, all_of_them=False)
        function = self._functions["update" if tangent is None else "tangent"]
        if isinstance(function, NativeFunction):
            results = [outputs.get(name) for name in sorted(self._outputs)]
            results += [new_state[name] for name in self.state_shapes]
            wanted = [None] * 4 + [
                (tangent or {}).get((o, i))
                for o in sorted(self._outputs)
                for i in sorted(self._inputs)
            ]
            if tangent is None:
                wanted = wanted[:4]
            results += wanted
            read = self._read(parameters, inputs, state)
            self._run_native(function, points, self._uniform(dt), read, results, rows, reports)
            return
        names = list(self.state_shapes)
        batch = self._batch(parameters, inputs, state)
        chunks = function.chunks(points, self.chunk_size, self._arrays, batch, np.float64(dt))
        for piece, (out, new, result, derivatives) in chunks:
            size = piece.stop - piece.start
            where = piece if rows is None else rows[piece]
            for name, buffer in outputs.items():
                buffer[where] = np.asarray(out[name])[:size]
            for (o, i), buffer in ({} if tangent is None else tangent).items():
                buffer[where] = np.asarray(derivatives[o][i])[:size]
            for name, leaf in zip(names, jax.tree.leaves(new), strict=True):
                new_state[name][piece] = np.asarray(leaf)[:size]
            for target, values in zip(reports, result, strict=True):
                target[piece] = np.asarray(values)[:size]
