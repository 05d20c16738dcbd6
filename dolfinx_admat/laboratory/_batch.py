"""One step of many specimens under mixed control, divided where it fails."""

from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dolfinx_admat.kernels import BatchKernel, StatusBuffers

Floats = npt.NDArray[np.float64]
#: Nested dicts of arrays with one row per specimen.
Rows = dict[str, Any]


def pick(tree: Any, rows: Any) -> Any:
    """These rows of all arrays."""
    return jax.tree.map(lambda array: array[rows], tree)


def put(tree: Any, rows: Any, values: Any) -> None:
    """Write into these rows of all arrays."""
    jax.tree.map(lambda array, value: array.__setitem__(rows, value), tree, values)


class Batch:
    """Steps of a controlled law.

    Args:
        kernel: Batched ``Controlled`` law.
        parameters: Values of its point parameters; (specimens, *shape).
        bisections: How often a step may be halved.
    """

    def __init__(self, kernel: BatchKernel, parameters: dict[str, Floats], bisections: int) -> None:
        self._kernel, self._parameters, self._bisections = kernel, parameters, bisections
        #: Sub-steps that succeeded: numbers of the specimens, and inputs, in order.
        self.taken: list[tuple[npt.NDArray[np.integer], dict[str, Floats]]] = []

    def inputs(
        self, targets: dict[str, Floats], controls: dict[str, Floats], dt: Floats
    ) -> dict[str, Floats]:
        """Inputs of the controlled law."""
        found = {}
        for name, shape in self._kernel.material.inputs.items():
            if name == "time_increment":
                found[name] = dt
                continue
            stem = name.removesuffix("_target").removesuffix("_control")
            if name.endswith("_control") and stem in controls:
                values = np.broadcast_to(controls[stem], targets[stem].shape)
            else:
                values = targets[stem if stem in targets else name]
            found[name] = np.array(values, order="C").reshape(len(dt), *shape)
        return found

    def attempt(
        self, rows: Any, state: Rows, targets: Rows, controls: dict[str, Floats], dt: Floats
    ) -> Rows:
        """One step, undivided, whether it succeeds or not."""
        n = len(dt)
        law = self._kernel.material
        status = StatusBuffers.allocate(n)
        outputs = {name: np.empty((n, *shape)) for name, shape in law.outputs.items()}
        new_state = {name: np.empty_like(value) for name, value in state.items()}
        inputs = self.inputs(targets, controls, dt)
        self._kernel.update(
            inputs,
            state,
            0.0,  # each specimen has its own
            outputs=outputs,
            new_state=new_state,
            status=status,
            parameters=pick(self._parameters, rows),
        )
        return {
            "outputs": outputs,
            "state": new_state,
            "code": status.code,
            "iterations": status.iterations,
            "residual": status.residual,
            "substeps": np.ones(n, int),
            "tried": {"state": state, "targets": targets, "inputs": inputs},
        }

    def step(
        self,
        rows: npt.NDArray[np.integer],
        state: Rows,
        begin: Rows,
        end: Rows,
        controls: dict[str, Floats],
        dt: Floats,
        depth: int = 0,
    ) -> Rows:
        """One step; specimens that fail take it in halves, the others keep their result.

        Args:
            rows: Numbers of the specimens.
            state: Their state at the begin of the step.
            begin: Targets at the begin.
            end: Targets at the end.
            controls: What the targets are.
            dt: Duration for each.
            depth: How often the step has been halved.

        Returns:
            As ``attempt``; ``tried`` is the last sub-step of those that failed.
        """
        found = self.attempt(rows, state, end, controls, dt)
        failed = found["code"] != 0
        if not failed.all():
            good = ~failed
            self.taken.append((rows[good], pick(found["tried"]["inputs"], good)))
        if failed.any() and depth < self._bisections:
            bad = np.flatnonzero(failed)
            of_bad = pick((state, begin, end), bad)
            put(found, bad, self._halves(rows[bad], of_bad, controls, dt[bad], depth + 1))
        return found

    def _halves(
        self,
        rows: npt.NDArray[np.integer],
        of_rows: tuple[Rows, Rows, Rows],
        controls: dict[str, Floats],
        dt: Floats,
        depth: int,
    ) -> Rows:
        state, begin, end = of_rows
        middle = jax.tree.map(lambda a, b: 0.5 * (a + b), begin, end)
        found = self.step(rows, state, begin, middle, controls, 0.5 * dt, depth)
        good = np.flatnonzero(found["code"] == 0)
        if good.size:
            rest = self.step(
                rows[good],
                pick(found["state"], good),
                pick(middle, good),
                pick(end, good),
                controls,
                0.5 * dt[good],
                depth,
            )
            for count in ("iterations", "substeps"):
                rest[count] = rest[count] + found[count][good]
            put(found, good, rest)
        return found
