"""Apply a law to a batch of points through XLA, in chunks of one fixed size.

All arrays are points-leading, C-contiguous float64, owned by the caller. A chunk stays in the
processor's cache and one chunk shape means one compilation for all meshes, ranks and steps; the
last chunk is padded with copies of its last point.
"""

from typing import Any, NamedTuple, cast

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

from ._compiled import compiled

Floats = npt.NDArray[np.float64]
DEFAULT_CHUNK = 2048


class StatusBuffers(NamedTuple):
    """Per-point status of a batch; see ``LocalResult``.

    Attributes:
        code: int32 (points,).
        iterations: int32 (points,).
        residual: float64 (points,).
        active: bool (points,).
    """

    code: npt.NDArray[np.int32]
    iterations: npt.NDArray[np.int32]
    residual: Floats
    active: npt.NDArray[np.bool_]

    @classmethod
    def allocate(cls, points: int) -> "StatusBuffers":
        """Buffers that say "converged" for ``points`` points."""
        return cls(
            np.zeros(points, np.int32),
            np.zeros(points, np.int32),
            np.zeros(points),
            np.zeros(points, np.bool_),
        )


def _checked_values(material: Material) -> Material:
    """The law with all numbers in float64, also where they were put in by ``tree_at``."""
    converted = as_numbers(material)
    pairs = zip(jax.tree.leaves(converted), jax.tree.leaves(material), strict=True)
    if any(new is not old for new, old in pairs):
        material = converted
    for name, leaf in named_leaves(material).items():
        if isinstance(leaf, jax.Array) and bool(jnp.any(jnp.isnan(leaf))):
            raise MaterialError(
                f"{type(material).__name__}: parameter '{name}' is NaN; give a finite number"
            )
    return material


class BatchKernel:
    """Outputs, new state, status and (on request) tangent of many points of one law.

    Args:
        material: The law. A law of the same structure may be assigned to ``material`` later,
            e.g. with new parameter values, without recompilation.
        tangent: ``"implicit"``, ``"unrolled"`` or ``"finite_difference"`` (of the whole update);
            None: what the law's own ``solver`` says.
        chunk_size: Points per compiled call.
        point_parameters: Names (dotted paths) of parameters that vary from point to point.

    Raises:
        MaterialError: Unknown tangent strategy or parameter name; float64 is switched off.
    """

    def __init__(
        self,
        material: Material,
        *,
        tangent: str | None = None,
        chunk_size: int = DEFAULT_CHUNK,
        point_parameters: tuple[str, ...] = (),
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
        self._material = material
        initial = as_numbers(material.initial_state())
        for name, value in named_leaves(initial).items():
            if jnp.result_type(value) != jnp.float64:
                raise MaterialError(
                    f"{type(material).__name__}: state '{name}' must be a number or an array of "
                    f"numbers; initial_state() gives {jnp.result_type(value)}"
                )
        self._state_tree = jax.tree.structure(initial)
        self.state_shapes = {name: jnp.shape(v) for name, v in named_leaves(initial).items()}
        self._functions = {
            flag: compiled(self._static, self._names, cast(Strategy | None, tangent), flag)
            for flag in (False, True)
        }

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
        return sum(function.traces for function in self._functions.values())

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
        require_float64()
        points = next((len(array) for array in inputs.values()), 0)
        law = self._material
        for what, given, shapes in (
            ("inputs", inputs, law.inputs),
            ("state", state, self.state_shapes),
            ("parameters", parameters, self._parameter_shapes),
            ("new_state", new_state, self.state_shapes),
        ):
            self._check(what, given, shapes, points, all_of_them=True)
        blocks = {
            (o, i): (*left, *right)
            for o, left in law.outputs.items()
            for i, right in law.inputs.items()
        }
        width = points if rows is None else None  # with `rows`, as many as the caller likes
        self._check("outputs", outputs, law.outputs, width, all_of_them=False)
        reports: tuple[npt.NDArray[Any], ...] = status
        for field, array in zip(status._fields, reports, strict=True):
            if array.shape != (points,):
                raise MaterialError(
                    f"{type(law).__name__}: status '{field}' must have shape {(points,)}; "
                    f"got {array.shape}"
                )
        self._check("tangent", tangent or {}, blocks, width, all_of_them=False)
        run = self._functions[tangent is not None]
        names = list(self.state_shapes)
        step = np.float64(dt)
        for start in range(0, points, self.chunk_size):
            stop = min(start + self.chunk_size, points)
            piece = slice(start, stop)
            out, new, result, derivatives = run(
                self._arrays,
                {name: self._chunk(parameters[name], piece) for name in self._names},
                {name: self._chunk(inputs[name], piece) for name in self._material.inputs},
                jax.tree.unflatten(
                    self._state_tree, [self._chunk(state[name], piece) for name in names]
                ),
                step,
            )
            size = stop - start
            where = piece if rows is None else rows[piece]
            for name, buffer in outputs.items():
                buffer[where] = np.asarray(out[name])[:size]
            for (o, i), buffer in ({} if tangent is None else tangent).items():
                buffer[where] = np.asarray(derivatives[o][i])[:size]
            for name, leaf in zip(names, jax.tree.leaves(new), strict=True):
                new_state[name][piece] = np.asarray(leaf)[:size]
            for target, values in zip(reports, result, strict=True):
                target[piece] = np.asarray(values)[:size]

    def _chunk(self, array: Floats, piece: slice) -> Floats:
        part = array[piece]
        missing = self.chunk_size - len(part)
        if missing == 0:
            return part
        return np.concatenate([part, np.broadcast_to(part[-1], (missing, *part.shape[1:]))])

    def _check(
        self, what: str, given: dict, shapes: dict, points: int | None, all_of_them: bool
    ) -> None:
        """Names, dtype and shapes of ``given``; ``points`` None leaves the number of rows open."""
        law = type(self._material).__name__
        if set(given) - set(shapes) or (all_of_them and set(given) != set(shapes)):
            raise MaterialError(f"{law}: {what} are {sorted(given)}, expected {sorted(shapes)}")
        for name, array in given.items():
            dtype, shape = getattr(array, "dtype", type(array).__name__), np.shape(array)
            full = (shape[0] if points is None and shape else points, *shapes[name])
            if dtype != np.float64 or shape != full:
                raise MaterialError(
                    f"{law}: {what} '{name}' must be a float64 array of shape {full}; "
                    f"got {dtype} of shape {shape}"
                )
