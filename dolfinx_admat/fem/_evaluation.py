"""One evaluation of a law at all points of a material: buffers in, buffers out."""

from collections.abc import Mapping
from typing import Any

import dolfinx
import equinox as eqx
import numpy as np
import numpy.typing as npt

from ..kernels import BatchKernel, StatusBuffers, aligned_zeros
from ..materials._declare import named_leaves
from ..materials.parameters import check_parameters
from ._history import History
from ._spaces import QuadratureSpace
from .fields import PointField, initial_strain

Floats = npt.NDArray[np.float64]
Block = tuple[str, str]


class Tangents:
    """Buffers of d(output)/d(input), for those blocks that somebody reads. Local methods.

    Args:
        space: Quadrature space of the material.
        outputs: Shapes of the outputs.
        inputs: Shapes of the inputs.
        points: Number of points.

    Attributes:
        buffers: By (output, input); (points, *output shape, *input shape).
    """

    def __init__(
        self,
        space: QuadratureSpace,
        outputs: Mapping[str, tuple[int, ...]],
        inputs: Mapping[str, tuple[int, ...]],
        points: int,
    ) -> None:
        self._space, self._outputs, self._inputs = space, outputs, inputs
        self._points = points
        self.buffers: dict[Block, Floats] = {}
        self._functions: dict[Block, dolfinx.fem.Function] = {}

    def size(self, block: Block) -> tuple[int, int]:
        """Number of components of the output and of the input."""
        shapes = self._outputs[block[0]], self._inputs[block[1]]
        return int(np.prod(shapes[0])), int(np.prod(shapes[1]))

    def buffer(self, block: Block) -> Floats:
        """The buffer that updates write; made at the first use."""
        if block not in self.buffers:
            shape = (*self._outputs[block[0]], *self._inputs[block[1]])
            self.buffers[block] = aligned_zeros((self._points, *shape))
        return self.buffers[block]

    def function(self, block: Block) -> dolfinx.fem.Function:
        """A quadrature function for forms. Collective: yes, at the first use."""
        if block not in self._functions:
            function = self._space.function(f"d{block[0]}/d{block[1]}", self.size(block))
            old = self.buffer(block)
            self._functions[block] = function
            if isinstance(self._space.rows, slice):  # the points come in order: no copy from now on
                rows = function.x.array.reshape(-1, *old.shape[1:])
                self.buffers[block] = rows[self._space.rows]
                self.buffers[block][:] = old
            else:
                self.publish()
        return self._functions[block]

    def functions(self) -> set[dolfinx.fem.Function]:
        """All functions made so far."""
        return set(self._functions.values())

    def publish(self) -> None:
        """Bring the functions up to date, where they are not the buffers themselves."""
        if isinstance(self._space.rows, slice):
            return
        for block, function in self._functions.items():
            self._space.write(function, self.buffers[block])


class Evaluation:
    """Reads the inputs, runs the kernel and keeps its status. All methods are local.

    Args:
        name: Name of the material, in messages.
        mesh: The mesh.
        kernel: The batched law.
        space: Its quadrature space.
        cells: Its cells.
        inputs: Values of the inputs; flat vectors.
        parameters: Values of the parameters that vary in space.
        history: Outputs and state.
        coordinates: Expression of the place of a point.

    Attributes:
        offset: Added to inputs, by name; (points, components).
        status: Of the last evaluation.
        tangents: Of the last evaluation that computed them.
        last_inputs: Inputs of the last evaluation, by name; (points, *shape).
        inputs_n: Inputs at t_n that the law asks for and that are not given.
        parameter_fields: Parameters that vary in space.
    """

    def __init__(
        self,
        name: str,
        mesh: dolfinx.mesh.Mesh,
        kernel: BatchKernel,
        space: QuadratureSpace,
        cells: npt.NDArray[np.int32],
        inputs: Mapping[str, PointField],
        parameters: Mapping[str, PointField],
        history: History,
        coordinates: dolfinx.fem.Expression,
    ) -> None:
        self._name, self._mesh, self._kernel, self._space = name, mesh, kernel, space
        self._cells, self._inputs, self.parameter_fields = cells, inputs, parameters
        self._history = history
        points = len(cells) * len(space.weights)
        law = kernel.material
        self.offset: dict[str, Floats] = {}
        self.status = StatusBuffers.allocate(points)
        self.tangents = Tangents(space, law.outputs, law.inputs, points)
        self.last_inputs: dict[str, Floats] = {}
        self.inputs_n: dict[str, Floats] = {}
        # Made by the caller, on all ranks, because a failure is described by one rank alone.
        self._coordinates = coordinates

    def parameters(self) -> dict[str, Floats]:
        """Values of the parameters that vary in space, now.

        Raises:
            MaterialError: One of them is NaN or out of its range.
        """
        values = {key: field.values() for key, field in self.parameter_fields.items()}
        check_parameters(self._kernel.material, values, self._name)
        return values

    def run(self, dt: float, tangent: bool) -> None:
        """Compute outputs, trial state, status and (on request) tangents."""
        parameters = self.parameters()
        with dolfinx.common.Timer("admat: inputs"):
            inputs = self.last_inputs = self._read_inputs()
        with dolfinx.common.Timer("admat: kernel"):
            self._kernel.update(
                inputs,
                self._history.state_n,
                dt,
                outputs=self._history.buffers,
                new_state=self._history.state,
                status=self.status,
                tangent=self.tangents.buffers if tangent else None,
                parameters=parameters,
            )
        self._history.publish()
        if tangent:
            self.tangents.publish()

    def start_from_stress(self, stress: Floats) -> None:
        """Add to the strain what makes the law return a stress at its initial state.

        Args:
            stress: In the law's components; (points, n).

        Raises:
            MaterialError: There is no such strain.
        """
        others = self._read_inputs()
        del others["strain"]
        strain = initial_strain(
            self._name, self._kernel, stress, others, self._history.state_n, self.parameters()
        )
        self.offset = {"strain": strain}
        self.keep_inputs(now=True)
        self._history.buffers["stress"][:] = stress
        self._history.publish()
        self._history.commit()

    def _read_inputs(self) -> dict[str, Floats]:
        read = {}
        for key, shape in self._kernel.material.inputs.items():
            if key not in self._inputs:
                continue
            values = self._inputs[key].values()
            if key in self.offset:
                values += self.offset[key]
            read[key] = values.reshape(-1, *shape)
        return read | self.inputs_n

    def keep_inputs(self, *, now: bool = False) -> None:
        """Make the inputs of the last evaluation (or ``now``) those at t_n, where a law asks."""
        missing = set(self._kernel.material.inputs) - set(self._inputs)
        if missing and (now or self.last_inputs):
            values = self._read_inputs() if now else self.last_inputs
            self.inputs_n = {key: values[key.removesuffix("_n")].copy() for key in missing}

    def forget_inputs(self) -> None:
        """Nothing is left of the last evaluation that a commit could keep."""
        self.last_inputs = {}

    def tangents_times_inputs(self) -> dict[str, Floats]:
        """For each output, the sum of tangent : input of the last evaluation."""
        law, values = self._kernel.material, {}
        for output, shape in law.outputs.items():
            size = int(np.prod(shape))
            total = np.zeros((len(self.status.code), size))
            for key, given in self.last_inputs.items():
                if (output, key) in self.tangents.buffers:
                    width = int(np.prod(law.inputs[key]))
                    block = self.tangents.buffers[output, key].reshape(-1, size, width)
                    total += np.matmul(block, given.reshape(-1, width, 1))[..., 0]
            values[output] = total.reshape(-1, *shape)
        return values

    def place(self, point: int) -> tuple[int, int, tuple[float, ...]]:
        """Global cell, number in it, and coordinates of one point."""
        cell, q = divmod(point, len(self._space.weights))
        local = np.array([self._cells[cell]], dtype=np.int32)
        x = self._coordinates.eval(self._mesh, local)[0, q]
        names = self._mesh.topology.index_map(self._mesh.topology.dim).local_to_global(local)
        return int(names[0]), q, tuple(x.tolist())

    def describe(self, point: int, dt: float | None) -> dict[str, Any]:
        """All about one point, as plain numbers, lists and strings."""
        law = self._kernel.material
        arrays = named_leaves(eqx.filter(law, eqx.is_array))
        cell, q, coordinates = self.place(point)
        return {
            "cell": cell,
            "point": q,
            "coordinates": list(coordinates),
            "code": int(self.status.code[point]),
            "residual": float(self.status.residual[point]),
            "iterations": int(self.status.iterations[point]),
            "law": type(law).__name__,
            "parameters": {
                **{k: np.asarray(v).tolist() for k, v in arrays.items()},
                **{k: f.values()[point].tolist() for k, f in self.parameter_fields.items()},
            },
            "inputs": {k: v[point].tolist() for k, v in self.last_inputs.items()},
            "state": {k: v[point].tolist() for k, v in self._history.state_n.items()},
            "dt": dt,
        }
