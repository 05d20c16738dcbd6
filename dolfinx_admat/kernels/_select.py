"""Which backend serves a task of a law; compiled functions are shared by laws of one structure."""

import logging
import os
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat import _jax_cache, _runtime
from dolfinx_admat.compilation import BuildError
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton, Strategy
from dolfinx_admat.materials._declare import at_rest
from dolfinx_admat.materials._mistakes import explained

from ._point import UNIFORM, PointFunctions
from ._xla import XlaFunction
from .native import NativeFunction, Unsupported

BACKENDS = ("auto", "native", "xla")

_log = logging.getLogger("dolfinx_admat")
_CACHE: dict[Hashable, Any] = {}
_SAID: set[str] = set()


def chosen_backend(law: str, backend: str, strategy: Strategy | None) -> str:
    """The backend to try first: "native" or "xla".

    ``"auto"`` is native on a CPU with implicit tangents; the environment variable
    ``DOLFINX_ADMAT_BACKEND`` replaces it.

    Raises:
        MaterialError: No such backend, or one that cannot serve this strategy.
    """
    if backend not in BACKENDS:
        raise MaterialError(
            f"BatchKernel: backend must be one of {', '.join(BACKENDS)}; got {backend!r}"
        )
    explicit = strategy not in (None, "implicit")
    if backend == "native" and explicit:
        raise MaterialError(
            f'{law}: backend="native" computes implicit tangents only; got tangent={strategy!r}, '
            'use backend="xla" or "auto" to compare strategies'
        )
    if backend == "auto":
        backend = os.environ.get("DOLFINX_ADMAT_BACKEND", "auto")
        if backend not in BACKENDS:
            raise MaterialError(
                f"DOLFINX_ADMAT_BACKEND must be one of {', '.join(BACKENDS)}; got {backend!r}"
            )
        if explicit:
            return "xla"
        if backend == "auto":
            return "native" if _runtime.device() == "cpu" else "xla"
    return backend


def say_once(text: str) -> None:
    """Log a warning once per process, on the first rank only."""
    if text not in _SAID:
        _SAID.add(text)
        if _runtime.launcher_rank() == 0:
            _log.warning(text)


class Functions:
    """The compiled functions of one law structure, made when they are first asked for.

    Args:
        law: Name of the law, for messages and file names.
        static: The law without its arrays.
        arrays: Its arrays; shapes matter, and values as samples.
        state: Initial state, as a pytree.
        inputs: Shapes of the inputs.
        parameters: The parameters that vary from point to point, with the law's values.
        strategy: Way to differentiate.
        backend: As asked for.
    """

    def __init__(
        self,
        law: str,
        static: Any,
        arrays: Any,
        state: Any,
        inputs: dict[str, tuple[int, ...]],
        parameters: dict[str, Any],
        strategy: Strategy | None,
        backend: str,
    ) -> None:
        self._law, self._static, self._asked = law, static, backend
        solver = getattr(static, "solver", None)
        effective = strategy or (solver.tangent if isinstance(solver, LocalNewton) else None)
        self.backend = chosen_backend(law, backend, effective)
        self._points = PointFunctions(static, tuple(parameters), strategy)
        self._example = (
            arrays,
            parameters,
            {name: jnp.zeros(shape) for name, shape in inputs.items()},
            state,
            jnp.zeros(()),
        )
        self._key = _structure(static, arrays, state, tuple(parameters), strategy)
        self._made: dict[str, Any] = {}

    def __getitem__(self, task: str) -> Any:
        """The function for a task; compiles it at the first call.

        Raises:
            MaterialError: ``backend="native"`` was asked for and is impossible.
        """
        if task not in self._made:
            if self.backend == "native":
                self._made[task] = self._native(task)
            if self.backend == "xla":
                _jax_cache.enable()
                self._made[task] = self._shared(
                    "xla", task, lambda: XlaFunction(self._points, task)
                )
        return self._made[task]

    @property
    def traces(self) -> int:
        """How often functions for this structure were traced."""
        made = [_CACHE.get((self._key, self.backend, task)) for task in ("update", "tangent")]
        made += [f for f in self._made.values() if f not in made]
        return sum(f.traces for f in made if f is not None)

    def _shared(self, backend: str, task: str, make: Callable[[], Any]) -> Any:
        if self._key is None:
            return make()
        key = (self._key, backend, task)
        if key not in _CACHE:
            _CACHE[key] = make()
        return _CACHE[key]

    def _native(self, task: str) -> NativeFunction | None:
        try:
            with explained(self._static, task):
                function = self._shared("native", task, lambda: self._translate(task))
                # It may have been made, and refused as too long, for a kernel with "auto".
                function.patient |= self._asked == "native"
            function.load()
            return function
        except (Unsupported, BuildError) as error:
            reason = str(error)
            if isinstance(error, Unsupported):
                reason = f"no C code is generated for {error}"
            if self._asked == "native":
                raise MaterialError(
                    f'{self._law}: backend="native" is impossible: {reason}; use backend="auto" '
                    "to fall back to XLA"
                ) from error
            say_once(
                f"{self._law} runs on the slower xla backend: {reason} "
                '(backend="xla" says that this is intended)'
            )
            # All tasks on one backend, so that their numbers agree.
            self.backend = "xla"
            self._made.clear()
            return None

    def _translate(self, task: str) -> NativeFunction:
        arguments: tuple = self._example
        arrays, point, inputs, state, _ = arguments
        if task == "pullback":
            outputs, new, _, _ = jax.eval_shape(self._points.update, *arguments)
            arguments = (*arguments, _zeros((outputs, new)))
        elif task == "pushforward":
            arguments = (*arguments, _zeros((point, inputs, state)), _zeros(arrays))
        per_point = []
        for k, tree in enumerate(arguments):
            per_point += [k not in UNIFORM] * len(jax.tree.leaves(tree))
        return NativeFunction(
            self._law,
            getattr(self._points, task),
            arguments,
            per_point,
            _KINDS.get(task, _update_kinds),
            lambda: _samples(arguments),
            patient=self._asked == "native",
        )


_STATUS = ["code", "iterations", "residual", "active"]


def _update_kinds(shapes: Any) -> list[str]:
    outputs, state, _, tangent = (len(jax.tree.leaves(part)) for part in shapes)
    return ["row"] * outputs + ["point"] * state + _STATUS + ["row"] * tangent


def _pullback_kinds(shapes: Any) -> list[str]:
    inputs, state, point, arrays, _ = (len(jax.tree.leaves(part)) for part in shapes)
    return ["point"] * (inputs + state + point) + ["sum"] * arrays + _STATUS


def _pushforward_kinds(shapes: Any) -> list[str]:
    outputs, state, _ = (len(jax.tree.leaves(part)) for part in shapes)
    return ["point"] * (outputs + state) + _STATUS


_KINDS = {"pullback": _pullback_kinds, "pushforward": _pushforward_kinds}


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf)), tree)


def _structure(static: Any, *others: Any) -> Hashable:
    """Key of everything that is compiled in; None if it cannot be hashed."""
    leaves, tree = jax.tree.flatten(static)
    arrays, state, *rest = others
    shapes: list[Any] = [jax.tree.structure((arrays, state))]
    for leaf in jax.tree.leaves((arrays, state)):
        shapes.append((jnp.shape(leaf), str(jnp.result_type(leaf))))
    # The types as well: 1, 1.0 and True are equal, but a law may treat them differently.
    key = (tree, tuple((type(x), x) for x in leaves), tuple(shapes), tuple(rest))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _samples(arguments: tuple) -> list[Any]:
    """Plausible values of all leaves: given parameters and state, random strains and steps."""
    rng = np.random.default_rng(1)
    count = 16
    size = 10.0 ** rng.uniform(-3.0, -1.0, count)

    def around(value: Any, spread: float) -> Any:
        value = np.asarray(value, float)
        noise = rng.standard_normal((count, *value.shape))
        return value + spread * size.reshape(-1, *([1] * value.ndim)) * noise

    arrays, parameters, inputs, state, _, *rest = arguments
    samples = [np.broadcast_to(leaf, (count, *jnp.shape(leaf))) for leaf in jax.tree.leaves(arrays)]
    samples += [around(leaf, 1.0) for leaf in jax.tree.leaves(parameters)]
    for name in sorted(inputs):
        middle = np.asarray(inputs[name], float)
        if "deformation_gradient" in name or middle.shape == (3, 3):
            middle = at_rest("deformation_gradient", middle.shape)
        samples.append(around(middle, 1.0))
    samples += [around(leaf, 1e-2) for leaf in jax.tree.leaves(state)]
    samples.append(10.0 ** rng.uniform(-3.0, 1.0, count))
    return samples + [around(leaf, 1.0) for leaf in jax.tree.leaves(rest)]
