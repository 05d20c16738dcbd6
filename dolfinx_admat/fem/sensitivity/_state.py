"""The state of all materials as one dictionary of arrays, and its dependence on the laws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ...materials._declare import as_numbers, named_leaves
from ...materials.parameters import replace_parameters
from ..problem import MaterialProblem
from ._tape import State

Floats = npt.NDArray[np.float64]
Arrays = dict[str, Floats]


class ProblemState:
    """Reads and writes what a commit moves. All methods are local.

    Args:
        problem: The problem.
    """

    def __init__(self, problem: MaterialProblem) -> None:
        self._materials = problem.materials

    def read(self, *, trial: bool = False) -> State:
        """State at t_n (or the trial state), and the inputs at t_n that laws ask for; views."""
        found: State = {}
        for k, material in enumerate(self._materials):
            history, evaluation = material.history, material.evaluation
            state = history.state if trial else history.state_n
            found |= {f"{k} state {name}": value for name, value in state.items()}
            for name, value in evaluation.inputs_n.items():
                now = evaluation.last_inputs[name.removesuffix("_n")] if trial else value
                found[f"{k} input {name}"] = now
        return found

    def write(self, state: State) -> None:
        """Set the state at t_n."""
        for k, material in enumerate(self._materials):
            for name, target in material.history.state_n.items():
                np.copyto(target, state[f"{k} state {name}"])
            for name in list(material.evaluation.inputs_n):
                material.evaluation.inputs_n[name] = state[f"{k} input {name}"].copy()

    def trial(self) -> list[tuple[Arrays, Arrays, Arrays]]:
        """Of each material: trial state, outputs, inputs of the last evaluation; copies."""
        return [
            tuple(  # type: ignore[misc]
                {name: value.copy() for name, value in values.items()}
                for values in (m.history.state, m.history.buffers, m.evaluation.last_inputs)
            )
            for m in self._materials
        ]

    def write_trial(self, trial: list[tuple[Arrays, Arrays, Arrays]]) -> None:
        """Put back what ``trial`` gave."""
        for material, (state, outputs, inputs) in zip(self._materials, trial, strict=True):
            history = material.history
            for name, value in state.items():
                np.copyto(history.state[name], value)
            for name, value in outputs.items():
                np.copyto(history.buffers[name], value)
            history.publish()
            history.write_state_functions()
            material.evaluation.last_inputs = inputs

    def by_material(self, state: State) -> list[Arrays]:
        """The state variables of each material."""
        return [
            {name: state[f"{k} state {name}"] for name in material.history.state_n}
            for k, material in enumerate(self._materials)
        ]

    def of_laws(self) -> State:
        """What the laws give as their initial states, at present parameters."""
        return {
            f"{k} state {name}": value
            for k, material in enumerate(self._materials)
            for name, value in material.kernel.initial_state(material.number_of_points).items()
        }

    def pull_initial(
        self, k: int, state_bars: Arrays, own: dict[str, bool], names: set[str]
    ) -> Arrays:
        """Cotangents of law parameters that come through ``initial_state``; this rank's sum."""
        initial, values = self._initial(k, names)
        if not values:
            return {}
        sums = {
            name: jnp.asarray(bar.sum(axis=0) if own.get(f"{k} state {name}") else 0.0 * bar.sum(0))
            for name, bar in state_bars.items()
        }
        back = jax.vjp(initial, values)[1](sums)[0]
        return {name: np.asarray(value) for name, value in back.items()}

    def push_initial(self, k: int, own: dict[str, bool], tangents: Arrays) -> Arrays:
        """Tangents of the initial state along directions of law parameters."""
        material = self._materials[k]
        zero = {n: np.zeros_like(v) for n, v in material.history.state_n.items()}
        initial, values = self._initial(k, set(tangents))
        if not values:
            return zero
        along = {name: jnp.asarray(tangents[name]) for name in values}
        change = jax.jvp(initial, (values,), (along,))[1]
        for name in zero:
            if own.get(f"{k} state {name}"):
                zero[name][:] = np.asarray(change[name])
        return zero

    def _initial(self, k: int, names: set[str]) -> tuple[Any, dict[str, Any]]:
        law = self._materials[k].material
        known = named_leaves(law)
        values = {name: jnp.asarray(known[name]) for name in sorted(names)}
        return (
            lambda v: named_leaves(as_numbers(replace_parameters(law, v).initial_state())),
            values,
        )
