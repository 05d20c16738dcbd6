"""Run a law over a batch on either backend, with buffers of our own, and compare."""

from typing import Any, NamedTuple

import numpy as np

from dolfinx_admat.kernels import BatchKernel, StatusBuffers


class Update(NamedTuple):
    """What ``BatchKernel.update`` wrote."""

    outputs: dict[str, Any]
    state: dict[str, Any]
    status: StatusBuffers
    tangent: dict[tuple[str, str], Any]


def run(kernel, inputs, state=None, dt=0.5, *, tangent=True, **more) -> Update:
    """Update a batch; buffers are filled with NaN before."""
    if not isinstance(kernel, BatchKernel):
        kernel = BatchKernel(kernel)
    law = kernel.material
    if not isinstance(inputs, dict):
        inputs = {next(iter(law.inputs)): inputs}
    n = len(next(iter(inputs.values())))
    state = kernel.initial_state(n) if state is None else state
    empty = lambda shape: np.full((n, *shape), np.nan)  # noqa: E731
    out = {name: empty(shape) for name, shape in law.outputs.items()}
    new = {name: np.full_like(value, np.nan) for name, value in state.items()}
    status = StatusBuffers(
        np.full(n, 9, np.int32), np.full(n, -1, np.int32), np.full(n, np.nan), np.zeros(n, bool)
    )
    blocks = {
        (o, i): empty((*left, *right))
        for o, left in law.outputs.items()
        for i, right in law.inputs.items()
    }
    kernel.update(
        inputs, state, dt, outputs=out, new_state=new, status=status,
        tangent=blocks if tangent else None, **more,
    )  # fmt: skip
    return Update(out, new, status, blocks if tangent else {})


def both(law, inputs, state=None, dt=0.5, **more) -> tuple[Update, Update]:
    """The update on both backends; native must not fall back."""
    options = {k: more.pop(k) for k in ("point_parameters",) if k in more}
    return tuple(
        run(BatchKernel(law, backend=backend, chunk_size=64, **options), inputs, state, dt, **more)
        for backend in ("native", "xla")
    )


def error(a, b, floor=1e-5) -> float:
    """Largest difference, relative to the largest entry of b (or a floor); NaN matches NaN."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size == 0:
        return 0.0
    scale = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.max(np.where(np.isnan(gap), np.inf, gap)) / max(scale, floor))


def assert_agree(a: Update, b: Update, tol=1e-10) -> None:
    """Same classes of status; the rest to ``tol`` of its scale at the points that converged."""
    np.testing.assert_array_equal(a.status.code, b.status.code)
    good = b.status.code == 0
    np.testing.assert_array_equal(a.status.active[good], b.status.active[good])
    for what in ("outputs", "state", "tangent"):
        ours, theirs = getattr(a, what), getattr(b, what)
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            found = error(ours[name][good], value[good])
            assert found <= tol, f"{what} {name}: {found:.1e}"


def assert_identical(a: Update, b: Update, pick=slice(None)) -> None:
    """Bitwise equal; ``pick`` are the points of ``a`` that ``b`` consists of."""
    for what in ("outputs", "state", "tangent"):
        ours, theirs = getattr(a, what), getattr(b, what)
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name][pick], value, err_msg=f"{what} {name}")
    for ours, theirs in zip(a.status, b.status, strict=True):
        np.testing.assert_array_equal(ours[pick], theirs)


def slopes(kernel, inputs, state, dt=0.5, h=1e-7) -> dict[tuple[str, str], Any]:
    """d(output)/d(input) by central differences of step h, by ``(output, input)``."""
    blocks = {}
    for name, value in inputs.items():
        columns = []
        for place in np.ndindex(value.shape[1:]):
            moved = []
            for step in (h, -h):
                shifted = value.copy()
                shifted[(slice(None), *place)] += step
                moved.append(run(kernel, {**inputs, name: shifted}, state, dt).outputs)
            columns.append({o: (moved[0][o] - moved[1][o]) / (2 * h) for o in moved[0]})
        for output in kernel.material.outputs:
            block = np.stack([column[output] for column in columns], axis=-1)
            blocks[output, name] = block.reshape(*block.shape[:-1], *value.shape[1:])
    return blocks
