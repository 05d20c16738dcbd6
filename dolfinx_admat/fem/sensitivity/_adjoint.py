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

from ...materials._declare import named_leaves
from ..problem import MaterialProblem
from ._boundary import Boundary
from ._linear import LinearSolver
from ._slopes import DataSlope, PointSlopes, assembled, compiled, depends, summed
from ._step import Arrays, Floats, LinearStep, read_by, write
from .observations import Cotangents


class AdjointStep(LinearStep):
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
        super().__init__(problem, solver, boundaries)
        self._data, self._shared = dict(data), shared
        self.psi = [dolfinx.fem.Function(V, name="adjoint") for V in self._spaces]
        form = -sum(
            ufl.replace(F, {F.arguments()[0]: psi})
            for F, psi in zip(problem.forms, self.psi, strict=True)
        )
        self._points = [PointSlopes(form, material) for material in problem.materials]
        self._bars: list[dict[str, Any]] = []  # Functions: cotangents of inputs and parameters
        for material in problem.materials:
            symbols = read_by(material, (*data.values(), *problem.functions))
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
        for psi, boundary, rows in zip(self.psi, self._boundaries, bars.rows, strict=True):
            write(psi, np.where(boundary.free, 0.0, -rows))
        first = self._residual(bars, carried, state_n, dt, everything=False)
        corrections = self._solve(
            "adjoint equation",
            self.psi,
            first,
            lambda: self._residual(bars, carried, state_n, dt, everything=True),
            sign=1.0,
            transposed=True,
        )
        if not corrections:
            self._residual(bars, carried, state_n, dt, everything=True)
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
        """Factor of du in all rows; psi is as it stands."""
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
            self._check_points(k)
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
                flat = values[name].reshape(-1, function.ufl_shape[0])
                material.space.write(function, flat / volumes)
        self._total = [
            assembled(form, V) + direct
            for form, V, direct in zip(self._by_u, self._spaces, bars.u, strict=True)
        ]
        return self._total

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


def _scattered(data: Any, entries: npt.NDArray[np.int64], values: Floats, comm: Any) -> Floats:
    """Sums of values at entries of a Function or Constant. Collective: yes."""
    if isinstance(data, dolfinx.fem.Constant):
        sums = np.bincount(entries, values, data.value.size).reshape(data.value.shape)
        return comm.allreduce(sums)
    return summed(data.function_space, entries, values)
