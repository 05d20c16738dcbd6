"""Numbers, arrays, Functions or UFL expressions, read at quadrature points."""

from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl

from ..errors import MaterialError
from ..kernels import BatchKernel, StatusBuffers
from ..materials import Material
from ..materials.wrapper import Reduction, Wrapper
from ._collective import collectively

Floats = npt.NDArray[np.float64]

#: Cells that are evaluated at once.
PIECE = 2048


class PointField:
    """A value of given shape at every quadrature point of some cells.

    Args:
        value: Number, array of ``shape``, array (cells, *shape) or (cells, points, *shape),
            dolfinx Function or UFL expression of ``shape``.
        shape: Shape of the value.
        what: Name in messages.
        mesh: The mesh.
        cells: Local cells to evaluate.
        points: Reference points, (points, tdim).
        jit_options: Options of the C compilation.
        entity_maps: For expressions on a related mesh.

    Attributes:
        symbol: The UFL expression; None for numbers.

    Raises:
        MaterialError: The shape does not fit. Collective: yes.
    """

    def __init__(
        self,
        value: Any,
        shape: tuple[int, ...],
        what: str,
        mesh: dolfinx.mesh.Mesh,
        cells: npt.NDArray[np.int32],
        points: Floats,
        *,
        jit_options: dict[str, Any] | None = None,
        entity_maps: list[Any] | None = None,
    ) -> None:
        self._mesh, self._cells = mesh, cells
        self._buffer = np.zeros((len(cells), len(points), *shape))
        self._expression = None
        symbolic = isinstance(value, ufl.core.expr.Expr)
        self.symbol = value if symbolic else None
        with collectively(mesh.comm):
            if symbolic:
                if value.ufl_shape != tuple(shape):
                    raise MaterialError(
                        f"{what}: got UFL shape {value.ufl_shape}, expected {tuple(shape)}"
                    )
            else:
                self._fill(np.asarray(value, dtype=float), shape, what)
        if symbolic:
            if not ufl.domain.extract_domains(value):  # an expression of numbers has no mesh
                value = value * dolfinx.fem.Constant(mesh, 1.0)
            self._expression = dolfinx.fem.Expression(
                value, points, comm=mesh.comm, jit_options=jit_options, entity_maps=entity_maps
            )

    def _fill(self, array: Floats, shape: tuple[int, ...], what: str) -> None:
        cells, points = self._buffer.shape[:2]
        if np.isnan(array).any():
            raise MaterialError(f"{what} is NaN; give finite numbers")
        if array.shape == (cells, *shape):
            array = array[:, None]
        elif array.shape not in (tuple(shape), (cells, points, *shape)):
            raise MaterialError(
                f"{what}: got an array of shape {array.shape}, expected {tuple(shape)}, "
                f"{(cells, *shape)} (per cell) or {(cells, points, *shape)} (per point)"
            )
        self._buffer[:] = array

    def values(self) -> Floats:
        """Values now, (cells * points, *shape); overwritten by the next call. Local."""
        if self._expression is not None:
            # Piece by piece: dolfinx gathers the coefficients of all cells that it is given.
            for begin in range(0, len(self._cells), PIECE):
                piece = slice(begin, begin + PIECE)
                self._expression.eval(self._mesh, self._cells[piece], self._buffer[piece])
        return self._buffer.reshape(-1, *self._buffer.shape[2:])


def _starts(law: Material) -> set[str]:
    """State variables that are unknowns of a reduced law, and remember nothing."""
    names: set[str] = set()
    inner: Any = law
    while isinstance(inner, Wrapper):
        if isinstance(inner, Reduction):
            names |= set(inner.unknowns())
        inner = inner.law
    return names


def initial_strain(
    name: str,
    kernel: BatchKernel,
    stress: Floats,
    others: dict[str, Floats],
    state: dict[str, Floats],
    parameters: dict[str, Floats],
) -> Floats:
    """Strain at which the law returns ``stress`` at its initial state, for dt = 0.

    Args:
        name: Name in messages.
        kernel: Batched law with a strain and a stress.
        stress: In the law's components, (points, n).
        others: Values of the inputs that are no strain, by name.
        state: Initial state, by name; those variables that are but the start of the next local
            solve (the lateral strain in plane stress) are set.
        parameters: Values of the kernel's point parameters.

    Returns:
        In the law's components, (points, n).

    Raises:
        MaterialError: The stress is not reached without a change of the state (it lies outside
            the yield surface).
    """
    law = kernel.material
    size = stress.shape[1]
    points = len(stress)
    strain, reached = np.zeros((points, size)), np.zeros((points, size))
    outputs = {k: np.zeros((points, *s)) for k, s in law.outputs.items()} | {"stress": reached}
    new_state = {k: v.copy() for k, v in state.items()}
    status = StatusBuffers.allocate(points)
    tangent = np.zeros((points, size, size))
    if not points:
        return strain
    for _ in range(20):
        kernel.update(
            {**others, "strain": strain},
            state,
            0.0,
            outputs=outputs,
            new_state=new_state,
            status=status,
            tangent={("stress", "strain"): tangent},
            parameters=parameters,
        )
        error = stress - reached
        if np.abs(error).max() <= 1e-12 * np.abs(stress).max():
            break
        try:
            strain = strain + np.linalg.solve(tangent, error[..., None])[..., 0]
        except np.linalg.LinAlgError:
            break
    level = np.abs(stress).max()
    wrong = ~(np.abs(stress - reached).max(axis=1) <= 1e-9 * level) | (status.code != 0)
    starts = _starts(law)
    for key, value in new_state.items():
        if key in starts:
            state[key][:] = value
            continue
        change = np.abs(value - state[key]).reshape(points, -1).max(axis=1, initial=0.0)
        wrong |= ~(change <= 1e-12)
    if wrong.any():
        worst = int(np.argmax(wrong))
        if not np.isfinite(reached[worst]).all():
            why = "the law returns NaN for dt = 0"
        elif np.abs(stress[worst] - reached[worst]).max() > 1e-9 * level:
            why = f"the law cannot return it (it reaches {reached[worst]})"
        else:
            why = (
                "the law's state changes on the way (outside the yield surface, or a law whose "
                "state follows the strain; use initial_state for that)"
            )
        raise MaterialError(
            f"{name}: initial_stress is not admissible at {int(wrong.sum())} of {points} points "
            f"of a rank: {why}; first: Mandel {np.array2string(stress[worst], precision=6)}"
        )
    return strain
