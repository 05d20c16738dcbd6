"""One step of the discrete adjoint: its forms, its local pull-backs and its linear solve.

With the residual R(u, o, m) of outputs o and data m, without Dirichlet conditions, and with the
update (o, s_n) = S(i(u, m), s_{n-1}, p) at all points, a number J changes by

    dJ = J_u du + J_o do + mu ds_n + J_R dR - psi (dR - R_u du - R_o do - R_m dm).

psi = lambda in free rows, where dR = 0, and psi = -J_R in rows with Dirichlet conditions. Pulling
(J_o - psi R_o, mu) back through the kernel gives the cotangents of inputs, s_{n-1} and p; lambda
makes the factor of du vanish in free rows (DESIGN.md, section 6).
"""

from collections.abc import Mapping
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ...errors import ConvergenceError
from ...kernels import StatusBuffers
from ...materials._declare import named_leaves
from .._collective import collectively
from ..problem import MaterialProblem
from ._boundary import Boundary
from ._linear import LinearSolver
from ._slopes import DataSlope, PointSlopes, assembled, compiled, depends, owned
from .observations import Cotangents

Floats = npt.NDArray[np.float64]
Arrays = dict[str, Floats]

#: A residual of the adjoint equation, relative to its right-hand side, that counts as solved.
SOLVED = 1e-9
#: A residual that is round-off, relative to all rows of it, those of Dirichlet conditions included.
ROUND_OFF = 1e-13
#: Corrections with the assembled matrix, which need not be the derivative that kernels compute.
CORRECTIONS = 20


class AdjointStep:
    """The adjoint of a step at which the problem stands. All methods are collective.

    Args:
        problem: The problem.
        data: Functions and Constants that are controls, by name.
        shared: For each material, the names of law parameters that are controls.
        solver: Linear solver.
        boundaries: Rows with Dirichlet conditions of each unknown.
    """

    def __init__(
        self,
        problem: MaterialProblem,
        data: Mapping[str, Any],
        shared: list[set[str]],
        solver: LinearSolver,
        boundaries: list[Boundary],
    ) -> None:
        self._problem, self._solver, self._boundaries = problem, solver, boundaries
        self._data, self._shared = dict(data), shared
        self._spaces = [u.function_space for u in problem.functions]
        self.psi = [dolfinx.fem.Function(V, name="adjoint") for V in self._spaces]
        self._right = [dolfinx.fem.Function(V) for V in self._spaces]
        self._update = [dolfinx.fem.Function(V) for V in self._spaces]
        form = -sum(
            ufl.replace(F, {F.arguments()[0]: psi})
            for F, psi in zip(problem.forms, self.psi, strict=True)
        )
        self._points = [PointSlopes(form, material) for material in problem.materials]
        self._bars: list[dict[str, Any]] = []  # Functions: cotangents of inputs and parameters
        for material in problem.materials:
            symbols: dict[str, Any] = dict(material.input_vectors)
            for name, field in material.evaluation.parameter_fields.items():
                moving = (*data.values(), *problem.functions)
                if field.symbol is not None and any(depends(field.symbol, d) for d in moving):
                    symbols[f"parameter {name}"] = _flat(field.symbol)
            bars = {k: material.space.function(k, v.ufl_shape) for k, v in symbols.items()}
            for key, symbol in symbols.items():
                form = form + ufl.inner(bars[key], symbol) * material.dx
            self._bars.append(bars)
        self._by_u = [
            compiled(ufl.derivative(form, u, ufl.TestFunction(V)))
            for u, V in zip(problem.functions, self._spaces, strict=True)
        ]
        self._by_data = {n: DataSlope(form, d) for n, d in self._data.items() if depends(form, d)}
        self._sources = {n: [b.sources(d) for b in boundaries] for n, d in self._data.items()}
        self._status = [StatusBuffers.allocate(m.number_of_points) for m in problem.materials]
        self.corrections = 0

    def pull(
        self, bars: Cotangents, carried: list[Arrays], state_n: list[Arrays], dt: float
    ) -> tuple[list[Arrays], list[Arrays], list[Arrays], Arrays]:
        """Solve the adjoint equation and pull everything back to the start of the step.

        Args:
            bars: Cotangents of the observations at the end of the step; ``states`` holds those
                that come from later steps as well.
            carried: Cotangents of inputs that come from a later step, which reads them at t_n.
            state_n: State at the start of the step.
            dt: Its size; NaN where there is none.

        Returns:
            For each material, the cotangents of the state at the start, of inputs at the start
            and of law parameters (this rank's sum); those of data, by control.

        Raises:
            ConvergenceError: A pull-back or the linear solver failed, or the Jacobian that the
                problem assembles is not the derivative of its residual.
        """
        prescribed = [
            np.where(b.free, 0.0, -r) for b, r in zip(self._boundaries, bars.rows, strict=True)
        ]
        for psi, values in zip(self.psi, prescribed, strict=True):
            _write(psi, values)
        force = self._residual(bars, carried, state_n, dt, everything=False)
        norm = first = self._norm(force)
        enough = max(SOLVED * first, ROUND_OFF * self._norm(self._total))
        corrections = 0
        while norm > enough or corrections == 0:
            if corrections == CORRECTIONS:
                raise ConvergenceError(
                    "Recording: the adjoint equation was not solved: its residual stays at "
                    f"{norm / first:.1e} of the right-hand side. The Jacobian that the problem "
                    "assembles differs from the derivative of its residual (a J of your own, or a "
                    "form that reads a state variable)",
                    {},
                )
            if norm > enough:
                for right, values in zip(self._right, force, strict=True):
                    _write(right, values)
                self._solver.solve(self._right, self._update, transposed=True)
                for psi, change in zip(self.psi, self._update, strict=True):
                    psi.x.array[:] += change.x.array
            corrections += 1
            force = self._residual(bars, carried, state_n, dt, everything=True)
            norm = self._norm(force)
        self.corrections += corrections - 1
        return self._states, self._inputs_n, self._parameters, self._data_bars(bars)

    # -- internal -------------------------------------------------------------------------

    def _residual(
        self,
        bars: Cotangents,
        carried: list[Arrays],
        state_n: list[Arrays],
        dt: float,
        *,
        everything: bool,
    ) -> list[Floats]:
        """Factor of du, zero in rows of Dirichlet conditions; psi is as it stands."""
        problem = self._problem
        self._states, self._inputs_n, self._parameters = [], [], []
        for k, material in enumerate(problem.materials):
            outputs = {name: value.copy() for name, value in bars.outputs[k].items()}
            states = {name: value.copy() for name, value in bars.states[k].items()}
            self._points[k].add({**outputs, **states}, 1.0)
            evaluation = material.evaluation
            inputs, parameters = evaluation.last_inputs, evaluation.parameters()
            input_bars = {name: np.zeros_like(value) for name, value in inputs.items()}
            state_bars = {name: np.zeros_like(value) for name, value in states.items()}
            fields = {n: np.zeros_like(v) for n, v in parameters.items()}
            leaves = named_leaves(material.material)
            sums = {n: np.zeros(np.shape(leaves[n])) for n in self._shared[k]}
            status = self._status[k]
            status.code[:] = 0
            if any(value.any() for value in (*outputs.values(), *states.values())):
                material.kernel.pullback(
                    inputs,
                    state_n[k],
                    dt,
                    output_cotangents=outputs,
                    state_cotangents=states,
                    status=status,
                    input_bars=input_bars,
                    state_bars=state_bars if everything else None,
                    parameter_bars={**sums, **fields} if everything else None,
                    parameters=parameters,
                )
            with collectively(problem.comm):
                if status.code.any():
                    raise ConvergenceError(
                        f"{material.name}: the derivatives failed at "
                        f"{int((status.code != 0).sum())} points of a rank",
                        {},
                    )
            for name, value in carried[k].items():
                input_bars[name] += value
            self._states.append(state_bars)
            self._parameters.append(sums)
            self._inputs_n.append(
                {
                    name.removesuffix("_n"): value
                    for name, value in input_bars.items()
                    if name not in material.input_vectors
                }
            )
            values = {n: v for n, v in input_bars.items() if n in material.input_vectors}
            values |= {f"parameter {n}": v for n, v in fields.items()}
            volumes = material.point_volumes()[:, None]
            for name, function in self._bars[k].items():
                size = function.ufl_shape[0]
                rows = function.x.array.reshape(-1, size)
                rows[material.space.rows] = values[name].reshape(-1, size) / volumes
        self._total = [
            assembled(form, V) + direct
            for form, V, direct in zip(self._by_u, self._spaces, bars.u, strict=True)
        ]
        return [
            np.where(b.free, total, 0.0)
            for b, total in zip(self._boundaries, self._total, strict=True)
        ]

    def _norm(self, arrays: list[Floats]) -> float:
        local = sum(float(array @ array) for array in arrays)
        return float(np.sqrt(self._problem.comm.allreduce(local)))

    def _data_bars(self, bars: Cotangents) -> Arrays:
        """Cotangents of Functions (owned values) and Constants, by control."""
        found = {}
        for name, data in self._data.items():
            value = bars.data[name].copy()
            if name in self._by_data:
                value += self._by_data[name].values()
            for total, boundary, sources in zip(
                self._total, self._boundaries, self._sources[name], strict=True
            ):
                mine = sources[: len(total)]
                rows = np.flatnonzero((mine >= 0) & ~boundary.free)
                value += _scattered(data, mine[rows], total[rows], self._problem.comm)
            found[name] = value
        return found


def _flat(symbol: Any) -> Any:
    shape = symbol.ufl_shape
    return ufl.as_vector([symbol[i] for i in np.ndindex(*shape)] if shape else [symbol])


def _write(function: Any, values: Floats) -> None:
    function.x.array[: len(values)] = values
    function.x.scatter_forward()


def _scattered(data: Any, entries: npt.NDArray[np.int64], values: Floats, comm: Any) -> Floats:
    """Sums of values at entries of a Function or Constant. Collective: yes."""
    if isinstance(data, dolfinx.fem.Constant):
        sums = np.bincount(entries, values, data.value.size).reshape(data.value.shape)
        return comm.allreduce(sums)
    V = data.function_space
    vector = dolfinx.la.vector(V.dofmap.index_map, bs=V.dofmap.index_map_bs)
    np.add.at(vector.array, entries, values)
    vector.scatter_reverse(dolfinx.la.InsertMode.add)
    return vector.array[: owned(V)]
