"""Section ``compile``: from making a kernel to the first stress + tangent, imports apart.

Each measurement is a process of its own. Cold: empty caches; warm: the caches that the cold one
left. The backend is the one that a user gets.
"""

import os
import subprocess
import sys
import tempfile
import time

from .cases import CASES

POINTS = 64


def first_update(name):
    """In a child process: print the seconds and the backend."""
    import jax
    import numpy as np

    from dolfinx_admat.kernels import BatchKernel, StatusBuffers

    case = CASES[name]
    points, law = case.draw(POINTS, True), case.law
    jax.block_until_ready(jax.numpy.zeros(1) + 1.0)  # XLA itself has started
    start = time.perf_counter()
    kernel = BatchKernel(law)
    kernel.update(
        points.inputs,
        points.state,
        points.dt,
        outputs={o: np.zeros((POINTS, *s)) for o, s in law.outputs.items()},
        new_state={k: np.zeros_like(v) for k, v in points.state.items()},
        status=StatusBuffers.allocate(POINTS),
        tangent={
            (o, i): np.zeros((POINTS, *s, *t))
            for o, s in law.outputs.items()
            for i, t in law.inputs.items()
        },
    )
    print(time.perf_counter() - start, kernel.backend)


def child(name, folder):
    environ = os.environ | {
        "DOLFINX_ADMAT_CACHE": folder,
        "XDG_CACHE_HOME": folder,
    }
    code = f"from benchmarks.compile_time import first_update; first_update({name!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    seconds, backend = done.stdout.split()[-2:]
    return float(seconds), backend


def measure(say, only=None):
    """The smaller of two measurements each, cold and warm in turn."""
    numbers: dict[str, float] = {}
    for name, case in CASES.items():
        if only and name not in only:
            continue
        cold, warm = [], []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder:
                seconds, backend = child(name, folder)
                cold.append(seconds)
                warm.append(child(name, folder)[0])
        law = name.removesuffix("_random")  # the points do not matter here
        numbers[f"compile.{law}.cold_seconds"] = min(cold)
        numbers[f"compile.{law}.warm_seconds"] = min(warm)
        say(
            f"  {name:24s} {case.unknowns:3d} unknowns  {backend:7s} cold {min(cold):6.2f} s  "
            f"warm {min(warm):5.2f} s"
        )
    return numbers
