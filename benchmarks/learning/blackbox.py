"""Black boxes on the strain history: a feed-forward network on a window of steps, and an LSTM.

Both are ordinary laws: they are trained by ``learning.train`` and run in finite elements as any
other. They get what helps them: inputs and outputs of size one, the total strain beside its
increments, the logarithm of the step where rates matter, and an isotropic linear part beside the
network, which begins as the least-squares fit to the training data and is trained along. So they
know the elastic volume from the start and need to learn the rest. They are not forced to obey
anything else: no energy, no isotropy of the network, no stress-free rest but that of the virgin
point (the output at zero inputs is subtracted there).
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import dolfinx_admat as admat
from dolfinx_admat.materials import SCALAR, TENSOR, parameter
from dolfinx_admat.tensors import DEVIATORIC, IDENTITY, deviator, from_mandel, to_mandel, trace

from .data import Histories, rough


class Sizes(NamedTuple):
    """What the inputs and outputs of a black box are divided by.

    Attributes:
        strain: Root mean square of strain components that are not zero.
        increment: The same of increments.
        stress: The same of stress components.
        log_dt: Mean and spread of log(dt); None: steps are not an input.
    """

    strain: float
    increment: float
    stress: float
    log_dt: tuple[float, float] | None

    @classmethod
    def of(cls, data: Histories, rates: bool) -> "Sizes":
        """Rough ones of data."""
        logs = np.log(np.diff(data.times, axis=1))
        return cls(
            *(rough(_rms(v)) for v in (data.strain, np.diff(data.strain, axis=1), data.stress)),
            (rough(float(logs.mean())), rough(float(max(logs.std(), 0.1)))) if rates else None,
        )


class Linear(NamedTuple):
    """Where the linear part begins.

    Attributes:
        kappa: Bulk modulus.
        mu: Shear modulus of the total strain.
        step_mu: Shear modulus of the last increment.
    """

    kappa: float
    mu: float
    step_mu: float

    @classmethod
    def of(cls, data: Histories) -> "Linear":
        """Least squares."""
        change = np.diff(data.strain, axis=1).reshape(-1, 6)
        end, answer = (v[:, 1:].reshape(-1, 6) for v in (data.strain, data.stress))
        dev = np.asarray(DEVIATORIC)
        volume, pressure = end[:, :3].sum(axis=1), answer[:, :3].sum(axis=1) / 3.0
        square = volume @ volume
        kappa = volume @ pressure / square if square > 0.0 else 0.0
        columns = np.stack([2.0 * (end @ dev).ravel(), 2.0 * (change @ dev).ravel()], axis=1)
        mu, step_mu = np.linalg.lstsq(columns, (answer @ dev).ravel(), rcond=None)[0]
        least = 1e-3 * _rms(answer) / _rms(end)  # all three stay positive
        return cls(*(float(max(value, least)) for value in (kappa, mu, step_mu)))


def _rms(values: Any) -> float:
    """Of what is not zero."""
    moved = values[np.abs(values) > 1e-9 * np.abs(values).max()]
    return float(np.sqrt(np.mean(moved**2)))


class BlackBox(admat.ExplicitSmallStrain):
    """Common to both: the linear part, and how inputs are scaled.

    Attributes:
        kappa: Bulk modulus of the linear part.
        mu: Its shear modulus for the total strain.
        step_mu: Its shear modulus for the increment.
        sizes: What everything is divided by; static.
    """

    kappa: Any = parameter(above=0.0)
    mu: Any = parameter(above=0.0)
    step_mu: Any = parameter(above=0.0)
    sizes: Sizes = eqx.field(static=True)

    @property
    def rate_dependent(self) -> bool:  # type: ignore[override]
        """Whether the step is an input."""
        return self.sizes.log_dt is not None

    def _linear(self, strain: jax.Array, change: jax.Array) -> jax.Array:
        dev = self.mu * deviator(strain) + self.step_mu * deviator(change)
        return self.kappa * trace(strain) * IDENTITY + 2.0 * dev

    def _scaled_dt(self, dt: jax.Array) -> jax.Array:
        """(1,), or (0,) where steps do not matter. A step of no length counts as a short one."""
        if self.sizes.log_dt is None:
            return jnp.zeros(0)
        mean, spread = self.sizes.log_dt
        return ((jnp.log(jnp.maximum(dt, 1e-300)) - mean) / spread).clip(-10.0, 10.0)[None]


class FeedForward(BlackBox):
    """Network of the strain and the last increments: sees ``window`` steps and no more.

    Attributes:
        network: Of strain, increments, and steps where rates matter.
        window: Number of increments; static.
    """

    network: eqx.nn.MLP
    window: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        sizes: Sizes,
        linear: Linear,
        *,
        window: int = 8,
        width: int = 32,
        depth: int = 2,
        seed: int = 0,
    ) -> "FeedForward":
        count = 6 + window * (6 + (sizes.log_dt is not None))
        key = jax.random.key(seed)
        network = eqx.nn.MLP(count, 6, width, depth, activation=jnp.tanh, key=key)
        return cls(*linear, sizes, network, window)

    def initial_state(self) -> dict[str, jax.Array]:
        state = {"strain": jnp.zeros(6), "increments": jnp.zeros((self.window - 1, 6))}
        if self.rate_dependent:
            state["steps"] = jnp.zeros(self.window - 1)  # scaled, so a mean one
        return state

    def update(
        self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        change = strain - state["strain"]
        increments = jnp.concatenate([change[None], state["increments"]])
        new = {"strain": strain, "increments": increments[:-1]}
        x = [strain / self.sizes.strain, increments.ravel() / self.sizes.increment]
        rest = [jnp.zeros(6), jnp.zeros(6 * self.window)]
        if self.rate_dependent:
            steps = jnp.concatenate([self._scaled_dt(dt), state["steps"]])
            new["steps"] = steps[:-1]
            x.append(steps)
            rest.append(steps)  # nothing has moved, at whatever speed
        network = self.network(jnp.concatenate(x)) - self.network(jnp.concatenate(rest))
        return self._linear(strain, change) + self.sizes.stress * network, new


class Lstm(BlackBox):
    """Long short-term memory: sees all steps, as much as it remembers.

    Attributes:
        cell: Of strain, increment, and step where rates matter.
        readout: Of its hidden values; no bias, so that a virgin point starts at zero stress.
    """

    cell: eqx.nn.LSTMCell
    readout: eqx.nn.Linear

    @classmethod
    def create(cls, sizes: Sizes, linear: Linear, *, width: int = 24, seed: int = 0) -> "Lstm":
        first, second = jax.random.split(jax.random.key(seed))
        cell = eqx.nn.LSTMCell(12 + (sizes.log_dt is not None), width, key=first)
        # Forget gates that begin open remember (R. Jozefowicz et al., ICML 2015).
        bias = cell.bias.at[width : 2 * width].add(1.0)
        cell = eqx.tree_at(lambda c: c.bias, cell, bias)
        readout = eqx.nn.Linear(width, 6, use_bias=False, key=second)
        return cls(*linear, sizes, cell, readout)

    def initial_state(self) -> dict[str, jax.Array]:
        width = self.cell.hidden_size
        return {"strain": jnp.zeros(6), "hidden": jnp.zeros(width), "cell": jnp.zeros(width)}

    def update(
        self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        change = strain - state["strain"]
        x = [strain / self.sizes.strain, change / self.sizes.increment, self._scaled_dt(dt)]
        hidden, cell = self.cell(jnp.concatenate(x), (state["hidden"], state["cell"]))
        stress = self._linear(strain, change) + self.sizes.stress * self.readout(hidden)
        return stress, {"strain": strain, "hidden": hidden, "cell": cell}


class RubberBox(admat.ExplicitLaw):
    """Common to the black boxes of an incompressible solid: P = F S - J p F^-T, with a learned S.

    S is symmetric, so that the law is objective, and zero at rest. The pressure is that of the
    library's ``Incompressible``, so the same experiments fit.

    Attributes:
        mu: Linear part S = mu 1, which is a neo-Hookean solid.
        strain_unit: Size of Green's strain in the data; static.
        stress_unit: Size of the stress; static.
    """

    mu: Any = parameter(above=0.0)
    strain_unit: float = eqx.field(static=True)
    stress_unit: float = eqx.field(static=True)
    inputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "deformation_gradient": TENSOR,
        "pressure": SCALAR,
    }
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "first_piola_stress": TENSOR,
        "volume_constraint": SCALAR,
    }

    def learned(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """S / stress_unit, Mandel (6,), of the scaled Green strain (6,); and the state."""
        raise NotImplementedError

    def update(self, inputs: Any, state: Any, dt: jax.Array) -> tuple[dict[str, jax.Array], Any]:
        F, p = inputs["deformation_gradient"], inputs["pressure"]
        green = 0.5 * (to_mandel(F.T @ F) - IDENTITY)
        S, new = self.learned(green / self.strain_unit, state)
        S = from_mandel(self.mu * IDENTITY + self.stress_unit * S)
        J = jnp.linalg.det(F)
        P = F @ S + p * J * jnp.linalg.inv(F).T
        return {"first_piola_stress": P, "volume_constraint": J - 1.0}, new


class RubberFeedForward(RubberBox):
    """A network from Green's strain to the second Piola-Kirchhoff stress."""

    network: eqx.nn.MLP

    @classmethod
    def create(
        cls, *, stress: float, strain: float, width: int = 16, depth: int = 2, seed: int = 0
    ) -> "RubberFeedForward":
        network = eqx.nn.MLP(6, 6, width, depth, activation=jnp.tanh, key=jax.random.key(seed))
        return cls(0.3 * stress, strain, stress, network)

    def learned(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        return self.network(x) - self.network(jnp.zeros(6)), state


class RubberLstm(RubberBox):
    """An LSTM on the history of Green's strain."""

    cell: eqx.nn.LSTMCell
    readout: eqx.nn.Linear

    @classmethod
    def create(
        cls, *, stress: float, strain: float, width: int = 12, seed: int = 0
    ) -> "RubberLstm":
        first, second = jax.random.split(jax.random.key(seed))
        cell = eqx.nn.LSTMCell(6, width, key=first)
        readout = eqx.nn.Linear(width, 6, use_bias=False, key=second)
        return cls(0.3 * stress, strain, stress, cell, readout)

    def initial_state(self) -> dict[str, jax.Array]:
        width = self.cell.hidden_size
        return {"hidden": jnp.zeros(width), "cell": jnp.zeros(width)}

    def learned(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        hidden, cell = self.cell(x, (state["hidden"], state["cell"]))
        return self.readout(hidden), {"hidden": hidden, "cell": cell}
