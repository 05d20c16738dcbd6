"""Stored and dissipated energy as outputs of a law that declares its free energy."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError

from ._declare import SCALAR
from .wrapper import Wrapper

_DISSIPATED = "dissipated_energy"


class _Before(NamedTuple):
    """What ``WithEnergies`` prepares.

    Attributes:
        prepared: What the law prepared.
        inputs: At t_{n+1}.
        state: The law's state at t_n.
        dissipated: Energy dissipated up to t_n; ().
        dt: Step.
    """

    prepared: Any
    inputs: dict[str, jax.Array]
    state: Any
    dissipated: jax.Array
    dt: jax.Array


class WithEnergies(Wrapper):
    """A law with the outputs ``stored_energy`` and ``dissipated_energy``, per (reference) volume.

    With the free energy psi(inputs, state), stored_energy = psi at t_{n+1}, and
    dissipated_energy, which is kept in the state, grows in a step by

        -sum_k d(psi)/d(state_k) : (state_k - state_k at t_n), at t_{n+1}

    (Clausius-Duhem at constant temperature), or by what the law's own ``dissipated_energy`` says.
    Stored plus dissipated energy is the work of the stresses up to the error of the time steps,
    which is of first order.

    Attributes:
        law: The law; small or finite strain, itself perhaps a wrapper.

    Raises:
        MaterialError: The law declares no free energy.

    Source: B.D. Coleman, M.E. Gurtin, Thermodynamics with internal state variables, J. Chem.
    Phys. 47 (1967).
    """

    def __check_init__(self) -> None:
        self._check_law()
        if not self.law.has_free_energy:
            raise MaterialError(
                f"WithEnergies: {type(self.law).__name__} declares no free energy; write "
                "free_energy(inputs, state) there"
            )

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The law's, and the two energies."""
        return {**self.law.outputs, "stored_energy": SCALAR, _DISSIPATED: SCALAR}

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """False: energies are quadratic. So reduce first: ``WithEnergies(PlaneStress(law))``."""
        return False

    def initial_state(self) -> dict[str, Any]:
        """The law's state, and dissipated_energy, ()."""
        return self._join(self.law.initial_state(), {_DISSIPATED: jnp.zeros(())})

    def _own_names(self) -> Iterable[str]:
        return (_DISSIPATED,)

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> _Before:
        old, own = self._part(state)
        return _Before(self.law._prepare(inputs, old, dt), inputs, old, own[_DISSIPATED], dt)

    def _guess(self, before: _Before) -> Any:
        return self.law._guess(before.prepared)

    def _without_flow(self, before: _Before) -> Any:
        return self.law._without_flow(before.prepared)

    def _elastic(self, before: _Before) -> Any:
        return self.law._elastic(before.prepared)

    def _residual(self, x: Any, before: _Before) -> Any:
        return self.law._residual(x, before.prepared)

    def _inputs_admissible(self, inputs: dict[str, jax.Array]) -> jax.Array:
        return self.law._inputs_admissible(inputs)

    def _finish(self, x: Any, before: _Before) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        outputs, new, meant = self.law._finish(x, before.prepared)

        stored = self.law._free_energy(before.inputs, new)
        lost = self.law._dissipated(before.inputs, before.state, new, before.dt)
        dissipated = before.dissipated + lost
        outputs = {**outputs, "stored_energy": stored, _DISSIPATED: dissipated}
        return outputs, self._join(new, {_DISSIPATED: dissipated}), meant

    def _free_energy(self, inputs: dict[str, jax.Array], state: Any) -> jax.Array:
        return self.law._free_energy(inputs, self._part(state)[0])

    def _dissipated(
        self, inputs: dict[str, jax.Array], old_state: Any, state: Any, dt: jax.Array
    ) -> jax.Array:
        old, new = self._part(old_state)[0], self._part(state)[0]
        return self.law._dissipated(inputs, old, new, dt)
