"""Derivatives of what a recording has observed: reverse, forward, and of numbers made of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpi4py import MPI

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ...errors import ConvergenceError, MaterialError
from .._collective import collectively
from ..problem import MaterialProblem
from ._sweeps import Sweeps
from ._tape import Tape
from ._world import World
from .controls import Coefficient, LawParameter
from .observations import Observer

Floats = npt.NDArray[np.float64]
Observed = dict[str, Floats]


class Derivatives:
    """The part of ``Recording`` that differentiates; ``Recording`` sets these attributes.

    Attributes:
        problem: The problem.
        observers: By name.
        controls: By name.
        observed: Observations, (steps, *shape) by name.
        steps: Number of recorded steps.
    """

    problem: MaterialProblem
    comm: MPI.Comm
    observers: dict[str, Observer]
    controls: dict[str, LawParameter | Coefficient]
    _sweeps: Sweeps
    _tape: Tape
    _world: World
    _laws: list[Any]
    _values: dict[str, list[Floats]]
    _start: tuple[Any, ...] | None
    _running: bool
    _failed: str

    @property
    def steps(self) -> int:
        """Number of recorded steps. Local."""
        return len(self._tape.steps)

    @property
    def observed(self) -> Observed:
        """Observations, (steps, *shape) by name. Local."""
        return {
            name: np.array(values).reshape(len(values), *self.observers[name].shape)
            for name, values in self._values.items()
        }

    def vjp(self, cotangents: Mapping[str, Any]) -> dict[str, Floats]:
        """Reverse: derivatives of sum(cotangent * observation) with respect to all controls.

        One adjoint solve per step, whatever the number of controls.

        Args:
            cotangents: (steps, *shape) by observation; a missing name: zero.

        Returns:
            By control: of the control's shape, with an axis of steps in front for ``per_step``.
            The same on all ranks.

        Raises:
            MaterialError: Nothing was recorded, the run failed, parameters have changed since,
                or shapes do not fit.
            ConvergenceError: A linear or local solve failed; the problem is as it was.
        """
        self._check_ready("cotangents", [cotangents], self._shapes_of_observations())
        given = {name: np.asarray(value, float) for name, value in cotangents.items()}
        return _finite(self._sweeps.reverse(given, self._own()), "with respect to")

    def jvp(self, directions: Mapping[str, Any]) -> Observed:
        """Forward: derivatives of all observations along a direction of the controls.

        Args:
            directions: By control, of its shape; a missing name: zero.

        Returns:
            (steps, *shape) by observation; the same on all ranks.

        Raises:
            MaterialError: As ``vjp``.
            ConvergenceError: As ``vjp``.
        """
        return self._forward([directions])[0]

    def jacobian(self, controls: list[str] | None = None) -> dict[str, Observed]:
        """Derivatives of all observations with respect to some controls, by forward mode.

        One linear solve per step and entry of a control; the factorisations are shared.

        Args:
            controls: Names; None: all.

        Returns:
            ``[control][observation]``: (*control shape, steps, *observation shape).
        """
        names = list(self.controls) if controls is None else controls
        shapes = self._shapes_of_controls()
        with collectively(self.comm):
            unknown = set(names) - set(shapes)
            if unknown:
                raise MaterialError(
                    f"Recording: no control {sorted(unknown)}; there are {sorted(shapes)}"
                )
        cases = []
        for name in names:
            for k in range(int(np.prod(shapes[name]))):
                unit = np.zeros(shapes[name])
                unit.reshape(-1)[k] = 1.0
                cases.append({name: unit})
        results, found = iter(self._forward(cases)), {}
        for name in names:
            rows = [next(results) for _ in range(int(np.prod(shapes[name])))]
            found[name] = {
                key: np.array([row[key] for row in rows]).reshape(
                    *shapes[name], *rows[0][key].shape
                )
                for key in self.observers
            }
        return found

    def gradient(self, loss: Callable[[Any], Any]) -> tuple[float, dict[str, Floats]]:
        """Value and gradient of a number that is computed from the observations.

        Args:
            loss: JAX function of ``observed`` (arrays by name) that returns a scalar.

        Returns:
            (value, gradient by control).

        Raises:
            MaterialError: As ``vjp``; or the loss is not a finite scalar.
        """
        self._check_ready("cotangents", [], {})
        observed = {name: jnp.asarray(value) for name, value in self.observed.items()}
        with collectively(self.comm):
            value, slope = jax.value_and_grad(loss)(observed)
            finite = all(np.isfinite(s).all() for s in slope.values())
            if not (np.isfinite(value) and finite):
                raise MaterialError(f"Recording: the loss or its slope is not finite: {value}")
        return float(value), self.vjp({name: np.asarray(s) for name, s in slope.items()})

    def gauss_newton(
        self, loss: Callable[[Any], Any], directions: Mapping[str, Any]
    ) -> dict[str, Floats]:
        """Product of the Gauss-Newton matrix J^T H J of a loss with a direction.

        H is the Hessian of the loss with respect to the observations, J the Jacobian of the
        observations. One forward and one reverse sweep.

        Args:
            loss: As for ``gradient``.
            directions: As for ``jvp``.

        Returns:
            By control.
        """
        change = self.jvp(directions)
        observed = {name: jnp.asarray(value) for name, value in self.observed.items()}
        tangent = {name: jnp.asarray(value) for name, value in change.items()}
        curved = jax.jvp(jax.grad(loss), (observed,), (tangent,))[1]
        return self.vjp({name: np.asarray(value) for name, value in curved.items()})

    # -- internal -------------------------------------------------------------------------

    def _forward(self, cases: Sequence[Mapping[str, Any]]) -> list[Observed]:
        self._check_ready("directions", cases, self._shapes_of_controls())
        return [_finite(found, "of") for found in self._sweeps.forward(cases, self._own())]

    def _own(self) -> dict[str, bool]:
        assert self._start is not None
        return self._start[2]

    def _shapes_of_observations(self) -> dict[str, tuple[int, ...]]:
        return {name: (self.steps, *o.shape) for name, o in self.observers.items()}

    def _shapes_of_controls(self) -> dict[str, tuple[int, ...]]:
        return {
            name: (self.steps, *c.shape) if getattr(c, "per_step", False) else tuple(c.shape)
            for name, c in self.controls.items()
        }

    def _check_ready(
        self,
        what: str,
        given: Sequence[Mapping[str, Any]],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        with collectively(self.comm):
            if self._running:
                raise MaterialError("Recording: leave the `with` block before differentiating")
            if self._failed:
                raise MaterialError(
                    f"Recording: the recorded run ended with {self._failed}; a failed solve has no "
                    "derivative. Record a run that succeeds"
                )
            if not self.steps:
                raise MaterialError(
                    "Recording: no step was recorded; run the load steps inside `with recording:`"
                )
            for material, law in zip(self.problem.materials, self._laws, strict=True):
                if material.material is not law:
                    raise MaterialError(
                        f"Recording: parameters of {material.name} have changed since the run was "
                        "recorded; record it again"
                    )
            for name, control in self.controls.items():
                if isinstance(control, Coefficient) and not control.per_step:
                    self._check_constant(name, control)
            for name, value in (item for one in given for item in one.items()):
                if name not in shapes:
                    raise MaterialError(
                        f"Recording: {what} '{name}' is unknown; there are {sorted(shapes)}"
                    )
                array = np.asarray(value, float)
                if array.shape != shapes[name] or not np.isfinite(array).all():
                    raise MaterialError(
                        f"Recording: {what} '{name}': got shape {array.shape}, expected finite "
                        f"numbers of shape {shapes[name]}"
                    )

    def _check_constant(self, name: str, control: Coefficient) -> None:
        index: Any = self._world.index(control.data)
        worlds = [step.world for step in self._tape.steps]
        if any(w[index] is not worlds[0][index] for w in worlds):
            raise MaterialError(
                f"Recording: the control '{name}' has changed during the steps; give "
                "Coefficient(..., per_step=True) to differentiate with respect to its value at "
                "each step"
            )


def _finite(found: dict[str, Floats], what: str) -> dict[str, Floats]:
    """Derivatives that are numbers; the same on all ranks."""
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise ConvergenceError(
                f"Recording: the derivative {what} '{name}' is NaN or infinite: a law or a form "
                "has none at the recorded values (a root or a power at zero)",
                {},
            )
    return found
