"""Tangents against central differences, and on both backends."""

import batches
import numpy as np

from dolfinx_admat.kernels import BatchKernel


def assert_tangent(law, inputs, state=None, dt=0.5, *, step=1e-6, tol=1e-6):
    """All blocks, in every direction of every input; returns the update on native.

    ``tol`` is relative to the largest entry of the block at the point. The difference errs by
    round-off (1e-16 / step of the stress) and by step^2 times the third derivative.
    """
    if not isinstance(inputs, dict):
        inputs = {next(iter(law.inputs)): inputs}
    native, xla = batches.both(law, inputs, state, dt)
    batches.assert_agree(native, xla)
    assert not native.status.code.any()
    kernel = BatchKernel(law, backend="native", chunk_size=64)
    for name, value in inputs.items():
        for place in np.ndindex(value.shape[1:]):
            moved = []
            for sign in (1.0, -1.0):
                shifted = {k: v.copy() for k, v in inputs.items()}
                shifted[name][(slice(None), *place)] += sign * step
                moved.append(batches.run(kernel, shifted, state, dt, tangent=False))
                assert not moved[-1].status.code.any()
            for output in law.outputs:
                slope = (moved[0].outputs[output] - moved[1].outputs[output]) / (2.0 * step)
                whole = native.tangent[output, name]
                found = whole[(Ellipsis, *place)]
                scale = np.abs(whole).reshape(len(whole), -1).max(axis=1)
                gap = np.abs(found - slope).reshape(len(whole), -1).max(axis=1)
                assert (gap <= tol * np.maximum(scale, 1e-3 * scale.max())).all(), (
                    f"d({output})/d({name}{list(place)}): {gap / scale}"
                )
    return native
