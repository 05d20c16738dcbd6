"""This package: a ``BatchKernel`` with numpy arrays, a ``DeviceKernel`` with arrays on a GPU."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat import MaterialError
from dolfinx_admat.kernels import BatchKernel, DeviceKernel, StatusBuffers

from . import Failed, Run, aligned


def compiled(law, with_tangent, backend):
    """A kernel that runs on this backend."""
    kernel = BatchKernel(law, backend=backend)
    try:
        got = kernel.prepare("tangent" if with_tangent else "update")
    except MaterialError as error:
        raise Failed(str(error)[:300]) from None
    if got != backend:
        raise Failed(f"runs on {got}")
    return kernel


def buffers(law, n):
    """Outputs by name and tangents by (output, input) of n points."""
    outputs = {name: aligned((n, *shape)) for name, shape in law.outputs.items()}
    tangents = {
        (o, i): aligned((n, *left, *right))
        for o, left in law.outputs.items()
        for i, right in law.inputs.items()
    }
    return outputs, tangents


def prepare(law, points, tangent, backend):
    """One update of all points by a ``BatchKernel``."""
    kernel = compiled(law, tangent, backend)
    n = points.size
    outputs, tangents = buffers(law, n)
    new_state = {name: aligned(array.shape) for name, array in points.state.items()}
    status = StatusBuffers.allocate(n)

    def call():
        kernel.update(
            points.inputs,
            points.state,
            points.dt,
            outputs=outputs,
            new_state=new_state,
            status=status,
            tangent=tangents if tangent else None,
        )

    def results():
        if status.code.any():
            raise Failed(f"{np.count_nonzero(status.code)} of {n} points did not converge")
        return outputs, tangents if tangent else {}

    return Run(call, results, n)


def prepare_path(law, inputs, dt, tangent, backend):
    """All steps of a path from the virgin state; ``inputs`` is a list of dicts, one per step."""
    kernel = compiled(law, tangent, backend)
    n = len(next(iter(inputs[0].values())))
    outputs, tangents = buffers(law, n)
    virgin = kernel.initial_state(n)
    states = [{name: aligned(a.shape) for name, a in virgin.items()} for _ in range(2)]
    status = StatusBuffers.allocate(n)
    failures = [0]

    def call():
        old, failures[0] = virgin, 0
        for step, given in enumerate(inputs):
            new = states[step % 2]
            wanted = tangents if tangent else None
            kernel.update(
                given, old, dt, outputs=outputs, new_state=new, status=status, tangent=wanted
            )
            failures[0] += int(status.code.max(initial=0) > 0)
            old = new

    def results():
        if failures[0]:
            raise Failed(f"{failures[0]} steps with points that did not converge")
        return outputs, tangents if tangent else {}

    return Run(call, results, n * len(inputs))


def fetched(result):
    """Outputs and tangents of JAX arrays as numpy arrays, as other codes give them."""
    outputs, _, status, tangents = result
    if np.asarray(status.code).any():
        raise Failed(f"{np.count_nonzero(status.code)} points did not converge")
    flat = {(o, i): np.asarray(t) for o, row in tangents.items() for i, t in row.items()}
    return {name: np.asarray(a) for name, a in outputs.items()}, flat


def prepare_device(law, points, tangent):
    """A ``DeviceKernel``: inputs, state and results stay on the device between calls."""
    kernel, last = DeviceKernel(law), []
    inputs = {name: jnp.asarray(a) for name, a in points.inputs.items()}
    state = jax.tree.unflatten(
        jax.tree.structure(law.initial_state()),
        [jnp.asarray(points.state[name]) for name in sorted(points.state)],
    )

    def call():
        last[:] = [jax.block_until_ready(kernel.update(inputs, state, points.dt, tangent=tangent))]

    return Run(call, lambda: fetched(*last), points.size)


class Compiled(NamedTuple):
    """A compiled function of the xla backend: its run, CPU seconds to make it, scratch memory."""

    run: Run
    seconds: float
    bytes_per_point: float


def compile_xla(law, points, tangent, strategy=None):
    """The xla backend's function of the whole batch; arguments and results stay on the device."""
    kernel = DeviceKernel(law, tangent=strategy)
    function = kernel._functions["tangent" if tangent else "update"].batched
    inputs = {name: jnp.asarray(a) for name, a in points.inputs.items()}
    state = {name: jnp.asarray(a) for name, a in points.state.items()}
    given, last = (kernel._arrays, {}, inputs, state, jnp.asarray(points.dt)), []
    start = time.process_time()
    program = function.lower(*given).compile()
    seconds = time.process_time() - start

    def call():
        last[:] = [jax.block_until_ready(program(*given))]

    memory = program.memory_analysis().temp_size_in_bytes / points.size
    return Compiled(Run(call, lambda: fetched(*last), points.size), seconds, memory)
