"""Laws made of another law. A wrapper is a material: one residual, no solve inside a solve.

``Transform`` changes inputs and outputs on their way to and from a law and back; it has the
law's unknowns. ``Reduction`` appends unknown inputs, and as many equations for the outputs, to
the law's own unknowns and equations.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.implicit._primitives import linear_solve

from ._declare import SYMMETRIC, TENSOR, Shape
from .base import Material
from .parts import flag

# Mechanical input, its kind, and the output that it does work with.
_PAIRS = {
    "strain": (SYMMETRIC, "stress"),
    "deformation_gradient": (TENSOR, "first_piola_stress"),
}


class Wrapper(Material):
    """What all wrappers share: by default they are what their law is.

    Attributes:
        law: The law that is wrapped.
    """

    law: Material

    def __check_init__(self) -> None:
        self._check_law()

    def _check_law(self) -> None:
        if not isinstance(self.law, Material):
            raise MaterialError(
                f"{type(self).__name__}: wraps a law; got {type(self.law).__name__}, expected a "
                "Material"
            )

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """Declared inputs."""
        return self.law.inputs

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """Declared outputs."""
        return self.law.outputs

    @property
    def rate_dependent(self) -> bool:  # type: ignore[override]
        """As the law."""
        return self.law.rate_dependent

    @property
    def symmetric_tangent(self) -> bool:  # type: ignore[override]
        """As the law."""
        return self.law.symmetric_tangent

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """As the law."""
        return self.law.isotropic

    @property
    def polyconvex(self) -> bool:
        """As the law."""
        return flag(self.law, "polyconvex")

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """As the law."""
        return self.law.linear_when_elastic

    @property
    def state_kinds(self) -> dict[str, Shape]:  # type: ignore[override]
        """As the law."""
        return self.law.state_kinds

    @property
    def has_free_energy(self) -> bool:
        """As the law."""
        return self.law.has_free_energy

    def initial_state(self) -> Any:
        """As the law."""
        return self.law.initial_state()

    @property
    def _solver(self) -> LocalNewton:
        return self.law._solver

    # The law's state with variables of the wrapper's own: side by side where it is a dict, as
    # users write it.

    def _own_names(self) -> Iterable[str]:
        return ()

    def _join(self, state: Any, own: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(state, dict):
            return {"law": state, **own}
        if same := sorted(set(state) & set(own)):
            raise MaterialError(
                f"{type(self).__name__}: {type(self.law).__name__} has state variables {same}, "
                "names which the wrapper needs; rename them"
            )
        return {**state, **own}

    def _part(self, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        own = {name: state[name] for name in self._own_names()}
        if set(state) == {"law", *own} and not isinstance(self.law.initial_state(), dict):
            return state["law"], own
        return {name: value for name, value in state.items() if name not in own}, own

    def _mechanical_input(self, *names: str) -> str:
        """The law's strain-like input among ``names``, or a MaterialError."""
        self._check_law()
        for name in names:
            kind, conjugate = _PAIRS[name]
            if self.law.inputs.get(name) == kind and self.law.outputs.get(conjugate) == kind:
                return name
        expected = " or ".join(f"{n} {_PAIRS[n][0]} -> {_PAIRS[n][1]}" for n in names)
        raise MaterialError(
            f"{type(self).__name__}: {type(self.law).__name__} does not fit: expected a law with "
            f"{expected}; got {_shapes(self.law.inputs)} -> {_shapes(self.law.outputs)}"
        )


def conjugate(name: str) -> str:
    """The output that does work with a mechanical input."""
    return _PAIRS[name][1]


def _shapes(declared: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in declared.items())


class _Within(NamedTuple):
    """What a ``Transform`` prepares.

    Attributes:
        law: The law, perhaps with parameters that depend on the inputs.
        prepared: What the law prepared.
        inputs: The wrapper's inputs.
        law_inputs: The law's inputs.
    """

    law: Any
    prepared: Any
    inputs: dict[str, jax.Array]
    law_inputs: dict[str, jax.Array]


class Transform(Wrapper):
    """A law seen through a change of its inputs and outputs: write ``to_law`` and ``from_law``."""

    def law_at(self, inputs: dict[str, jax.Array]) -> Material:
        """The law, for wrappers that let its parameters depend on the inputs."""
        return self.law

    def to_law(self, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The wrapper's inputs -> the law's inputs."""
        return inputs

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """The law's outputs, and the wrapper's inputs -> the wrapper's outputs."""
        return outputs

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> _Within:
        law, given = self.law_at(inputs), self.to_law(inputs)
        return _Within(law, law._prepare(given, state, dt), inputs, given)

    def _guess(self, prepared: _Within) -> Any:
        return prepared.law._guess(prepared.prepared)

    def _without_flow(self, prepared: _Within) -> Any:
        return prepared.law._without_flow(prepared.prepared)

    def _elastic(self, prepared: _Within) -> Any:
        return prepared.law._elastic(prepared.prepared)

    def _residual(self, x: Any, prepared: _Within) -> Any:
        return prepared.law._residual(x, prepared.prepared)

    def _finish(self, x: Any, prepared: _Within) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        law = prepared.law
        outputs, state, meant = law._finish(x, prepared.prepared)
        meant = meant & law._inputs_admissible(prepared.law_inputs)
        return self.from_law(outputs, prepared.inputs), state, meant

    def _free_energy(self, inputs: dict[str, jax.Array], state: Any) -> jax.Array:
        return self.law_at(inputs)._free_energy(self.to_law(inputs), state)

    def _dissipated(
        self, inputs: dict[str, jax.Array], old_state: Any, state: Any, dt: jax.Array
    ) -> jax.Array:
        return self.law_at(inputs)._dissipated(self.to_law(inputs), old_state, state, dt)


class _Reduced(NamedTuple):
    """What a ``Reduction`` prepares.

    Attributes:
        inputs: The wrapper's inputs.
        state: The law's state at t_n.
        dt: Step.
        trial: First iterate of the appended unknowns.
        scale: Size of the terms of their equations, where the trial should solve these; (n,).
        at: What the law prepared, if there are none.
    """

    inputs: dict[str, jax.Array]
    state: Any
    dt: jax.Array
    trial: Any
    scale: Any
    at: Any


class Reduction(Wrapper):
    """A law some of whose inputs are unknown, with as many equations for its outputs.

    The unknowns are kept in the state, under their names, as the start of the next step.

    Attributes:
        law: The law that is wrapped.
        solver: Tolerances of the local Newton solve; None: those of the law.
    """

    solver: LocalNewton | None = eqx.field(static=True, default=None, kw_only=True)

    def unknowns(self) -> dict[str, Any]:
        """Names of the appended unknowns, with their values at rest."""
        raise NotImplementedError

    def to_law(self, inputs: dict[str, jax.Array], y: dict[str, Any]) -> dict[str, jax.Array]:
        """The wrapper's inputs and the unknowns -> the law's inputs."""
        raise NotImplementedError

    def equations(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array], y: dict[str, Any]
    ) -> Any:
        """As many equations as unknowns, zero at the solution, in any units."""
        raise NotImplementedError

    def from_law(
        self, outputs: dict[str, jax.Array], inputs: dict[str, jax.Array], y: dict[str, Any]
    ) -> dict[str, jax.Array]:
        """The law's outputs -> the wrapper's outputs."""
        raise NotImplementedError

    @property
    def _solver(self) -> LocalNewton:
        return self.law._solver if self.solver is None else self.solver

    def _own_names(self) -> Iterable[str]:
        return self.unknowns()

    def initial_state(self) -> dict[str, Any]:
        """The law's state, and the unknowns."""
        return self._join(self.law.initial_state(), self.unknowns())

    def _at(self, y: Any, prepared: _Reduced) -> Any:
        """What the law prepares when the unknowns have these values."""
        if not y:
            return prepared.at
        return self.law._prepare(self.to_law(prepared.inputs, y), prepared.state, prepared.dt)

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> _Reduced:
        law_state, y = self._part(state)
        if not y:
            at = self.law._prepare(self.to_law(inputs, y), law_state, dt)
            return _Reduced(inputs, law_state, dt, y, None, at)
        prepared = _Reduced(inputs, law_state, dt, y, None, None)
        if not self.law.linear_when_elastic:
            return prepared
        # Outputs are affine in y as long as nothing flows: one Newton step solves for it.
        flat, unravel = ravel_pytree(y)
        residual = self._without_flow_equations(flat, unravel, prepared)
        matrix = jax.jacfwd(self._without_flow_equations)(flat, unravel, prepared)
        correction = residual / matrix[0] if flat.size == 1 else linear_solve(matrix, residual)
        # Of the largest terms, not of those of one component: a law in rotated axes mixes all of
        # them, and leaves their round-off where a component is zero.
        largest = jnp.max(jnp.abs(flat) + jnp.abs(correction))
        for name, value in self.to_law(inputs, y).items():
            if name in _PAIRS:
                largest = jnp.maximum(largest, jnp.max(jnp.abs(value)))
        scale = jnp.max(jnp.abs(matrix), axis=1) * largest + jnp.abs(residual)
        return prepared._replace(trial=unravel(flat - correction), scale=scale)

    def _without_flow_equations(
        self, flat: jax.Array, unravel: Any, prepared: _Reduced
    ) -> jax.Array:
        y = unravel(flat)
        at = self._at(y, prepared)
        outputs, _, _ = self.law._finish(self.law._without_flow(at), at)
        return ravel_pytree(self.equations(outputs, prepared.inputs, y))[0]

    def _guess(self, prepared: _Reduced) -> Any:
        at = self._at(prepared.trial, prepared)
        return {"law": self.law._guess(at), "own": prepared.trial}

    def _without_flow(self, prepared: _Reduced) -> Any:
        at = self._at(prepared.trial, prepared)
        return {"law": self.law._without_flow(at), "own": prepared.trial}

    def _elastic(self, prepared: _Reduced) -> Any:
        if not prepared.trial:
            return self.law._elastic(self._at(prepared.trial, prepared))
        if not self.law.linear_when_elastic:
            return None
        at = self._at(prepared.trial, prepared)
        if not jax.tree.leaves(self.law._guess(at)):  # affine, always
            return self._solved_by_trial(prepared)
        elastic = self.law._elastic(at)
        return None if elastic is None else elastic & self._solved_by_trial(prepared)

    def _solved_by_trial(self, prepared: _Reduced) -> jax.Array:
        # A law that is not what it declares is solved; it does not get a wrong answer.
        flat, unravel = ravel_pytree(prepared.trial)
        left = self._without_flow_equations(flat, unravel, prepared)
        return jnp.all(jnp.abs(left) <= 1e-10 * prepared.scale)

    def _residual(self, x: Any, prepared: _Reduced) -> Any:
        law, y = self.law, x["own"]
        at = self._at(y, prepared)
        elastic = None if law.linear_when_elastic or not y else law._elastic(at)
        if elastic is None:
            own = law._residual(x["law"], at)
        else:
            # While y changes the law may be elastic, and then its guess is its solution. There
            # the residual sees constants: what it may divide by is none of its business.
            # (A part of the law may be a plain function, which is a leaf as well.)
            def hold(v: Any) -> Any:
                return jnp.where(elastic, jax.lax.stop_gradient(v), v) if eqx.is_array(v) else v

            held = jax.tree.map(hold, (x["law"], at))
            own = jax.tree.map(
                lambda x, guess, r: jnp.where(elastic, x - guess, r),
                x["law"],
                law._guess(at),
                law._residual(*held),
            )
        outputs, _, _ = law._finish(x["law"], at)
        return {"law": own, "own": self.equations(outputs, prepared.inputs, y)}

    def _finish(self, x: Any, prepared: _Reduced) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        law, y = self.law, x["own"]
        outputs, state, meant = law._finish(x["law"], self._at(y, prepared))
        meant = meant & law._inputs_admissible(self.to_law(prepared.inputs, y))
        return self.from_law(outputs, prepared.inputs, y), self._join(state, y), meant

    def _free_energy(self, inputs: dict[str, jax.Array], state: Any) -> jax.Array:
        law_state, y = self._part(state)
        return self.law._free_energy(self.to_law(inputs, y), law_state)

    def _dissipated(
        self, inputs: dict[str, jax.Array], old_state: Any, state: Any, dt: jax.Array
    ) -> jax.Array:
        law_state, y = self._part(state)
        old = self._part(old_state)[0]
        return self.law._dissipated(self.to_law(inputs, y), old, law_state, dt)
