"""Tangents against central differences."""

import batches
import numpy as np


def assert_tangent(kernel, inputs, state=None, dt=0.5, *, step=1e-6, tol=1e-6):
    """All blocks of the tangent, in every direction of every input; returns the update.

    ``tol`` is relative to the largest entry of the block at the point. The difference errs by
    round-off (1e-16 / step of the stress) and by step^2 times the third derivative.
    """
    result = batches.run(kernel, inputs, state, dt)
    assert not result.status.code.any()
    for name, value in inputs.items():
        for place in np.ndindex(value.shape[1:]):
            moved = []
            for sign in (1.0, -1.0):
                shifted = {k: v.copy() for k, v in inputs.items()}
                shifted[name][(slice(None), *place)] += sign * step
                moved.append(batches.run(kernel, shifted, state, dt))  # the kernel that is there
                assert not moved[-1].status.code.any()
            for output in result.outputs:
                slope = (moved[0].outputs[output] - moved[1].outputs[output]) / (2.0 * step)
                whole = result.tangent[output, name]
                found = whole[(Ellipsis, *place)]
                scale = np.abs(whole).reshape(len(whole), -1).max(axis=1)
                gap = np.abs(found - slope).reshape(len(whole), -1).max(axis=1)
                assert (gap <= tol * np.maximum(scale, 1e-3 * scale.max())).all(), (
                    f"d({output})/d({name}{list(place)}): {gap / scale}"
                )
    return result
