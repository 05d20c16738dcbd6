"""One step of the tangent-linear problem: how a step changes along a direction of the controls.

The notation is that of ``_adjoint``: K du = -(dR for du = 0) in free rows, where dR collects what
data, parameters and the state at the start change.
"""

from collections.abc import Mapping
from typing import Any

import dolfinx
import numpy as np

from ..problem import MaterialProblem
from ._boundary import Boundary
from ._linear import LinearSolver
from ._slopes import along, assembled, compiled
from ._step import Arrays, Floats, LinearStep, read_by
from .observations import Tangents


class TangentStep(LinearStep):
    """The derivative of a step at which the problem stands. All methods are collective.

    Args:
        problem: The problem.
        data: Functions and Constants that are controls, by name.
        solver: Linear solver.
        boundaries: Rows with Dirichlet conditions of each unknown.

    Attributes:
        directions: Of the data, by control: Functions and Constants to be set by the caller.
        du: Of the unknowns.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        data: Mapping[str, Any],
        solver: LinearSolver,
        boundaries: list[Boundary],
    ) -> None:
        super().__init__(problem, solver, boundaries)
        self._data = dict(data)
        self.du = [dolfinx.fem.Function(V, name="du") for V in self._spaces]
        self.directions = {name: _alike(d) for name, d in data.items()}
        pairs = [*zip(problem.functions, self.du, strict=True)]
        self._pairs_of_data = [(d, self.directions[name]) for name, d in data.items()]
        pairs += self._pairs_of_data
        self._points: list[dict[str, tuple[Any, Any]]] = []  # coefficient, direction
        self._fields: list[dict[str, Any]] = []
        for material in problem.materials:
            known = {**material.history.outputs, **material.history.state_functions}
            self._points.append(
                {n: (f, material.space.function(f"d{n}", f.ufl_shape)) for n, f in known.items()}
            )
            fields = {}
            for key, symbol in read_by(material, (thing for thing, _ in pairs)).items():
                change = along(symbol, pairs)
                if change is not None:
                    fields[key] = material.field(change, symbol.ufl_shape, f"change of {key}")
            self._fields.append(fields)
        everywhere = pairs + [pair for points in self._points for pair in points.values()]
        self._forms = [compiled(along(F, everywhere)) for F in problem.forms]
        self._sources = {n: [b.sources(d) for b in boundaries] for n, d in self._data.items()}

    def push(
        self,
        parameters: list[Arrays],
        state_tangents: list[Arrays],
        inputs_n: list[Arrays],
        state_n: list[Arrays],
        dt: float,
    ) -> tuple[Tangents, list[Arrays], list[Arrays]]:
        """Push a direction through the step; those of the data are set before.

        Args:
            parameters: For each material, directions of law parameters.
            state_tangents: Of the state at the start.
            inputs_n: Of inputs at the start, where a law reads them.
            state_n: State at the start of the step.
            dt: Its size; NaN where there is none.

        Returns:
            What the step brings; the tangents of the state and of the inputs at its end.

        Raises:
            ConvergenceError: As for the adjoint.
        """
        for k, (du, boundary) in enumerate(zip(self.du, self._boundaries, strict=True)):
            du.x.array[:] = 0.0
            for name, direction in self.directions.items():
                values = direction.x.array if hasattr(direction, "x") else direction.value
                sources = self._sources[name][k]
                rows = np.flatnonzero((sources >= 0) & boundary.fixed)
                du.x.array[rows] = np.ravel(values)[sources[rows]]
            du.x.scatter_forward()
        given = parameters, state_tangents, inputs_n, state_n, dt
        self._solve(
            "tangent-linear problem",
            self.du,
            self._residual(*given),
            lambda: self._residual(*given),
            sign=-1.0,
            transposed=False,
        )
        outputs = [pair for points in self._points for pair in points.values()]
        tangents = Tangents(self.du, self._rows, outputs, self._pairs_of_data)
        return tangents, self._states, self._inputs

    def _residual(
        self,
        parameters: list[Arrays],
        state_tangents: list[Arrays],
        inputs_n: list[Arrays],
        state_n: list[Arrays],
        dt: float,
    ) -> list[Floats]:
        """Change of the residual in all rows, for du as it stands."""
        problem = self._problem
        self._states, self._inputs = [], []
        for k, material in enumerate(problem.materials):
            law, evaluation = material.kernel, material.evaluation
            inputs, values = evaluation.last_inputs, evaluation.parameters()
            changes = {name: np.array(field.values()) for name, field in self._fields[k].items()}
            moved = {
                name: changes[name].reshape(inputs[name].shape)
                for name in material.input_vectors
                if name in changes
            }
            moved |= {
                n: inputs_n[k][n.removesuffix("_n")]
                for n in inputs
                if n not in moved
                and n not in material.input_vectors
                and n.removesuffix("_n") in inputs_n[k]
            }
            varying = {
                name: changes[f"parameter {name}"].reshape(values[name].shape)
                for name in values
                if f"parameter {name}" in changes
            }
            outputs = {n: np.zeros_like(b) for n, b in material.history.buffers.items()}
            states = {n: np.zeros_like(v) for n, v in state_n[k].items()}
            status = self._status[k]
            law.pushforward(
                inputs,
                state_n[k],
                dt,
                output_tangents=outputs,
                new_state_tangents=states,
                status=status,
                input_tangents=moved,
                state_tangents=state_tangents[k],
                parameter_tangents={**parameters[k], **varying},
                parameters=values,
            )
            self._check_points(k)
            for name, (_, direction) in self._points[k].items():
                found = outputs[name] if name in outputs else states[name]
                material.space.write(direction, found)
            self._states.append(states)
            self._inputs.append(moved)
        self._rows = [assembled(form, V) for form, V in zip(self._forms, self._spaces, strict=True)]
        return self._rows


def _alike(data: Any) -> Any:
    """A zero Function or Constant of the same kind."""
    if isinstance(data, dolfinx.fem.Constant):
        return dolfinx.fem.Constant(data.ufl_domain(), np.zeros(np.shape(data.value)))
    return dolfinx.fem.Function(data.function_space)
