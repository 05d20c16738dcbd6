"""Time and error of one point update with tangent, per law and way of differentiation.

    python benchmarks/point_update.py [--points 20000] [--repeat 5]

One thread, one core, every point with its own random strain and history. The error is the largest
difference from the implicit tangent over the largest tangent component. The first call compiles;
its time is listed apart.
"""

import os

os.environ.setdefault("NPROC", "1")  # one XLA thread
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time

import numpy as np

import dolfinx_admat as admat
from dolfinx_admat.implicit import LocalStatus
from dolfinx_admat.kernels import BatchKernel, StatusBuffers

HARDENING = admat.VoceHardening(250.0, 200.0, 50.0)
LAWS = {
    "LinearElastic": admat.LinearElastic(210e3, 0.3),
    "J2Plasticity": admat.J2Plasticity(210e3, 0.3, HARDENING),
    "J2PlasticityGeneral": admat.J2PlasticityGeneral(210e3, 0.3, HARDENING),
    "PerzynaViscoplasticity": admat.PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=100.0, n=5.0),
}


def measure(law, strategy, points, repeat):
    """Compile time, seconds per point, tangent."""
    rng = np.random.default_rng(1)
    kernel = BatchKernel(law, tangent=strategy)
    inputs = {"strain": 2e-3 * rng.standard_normal((points, 6))}
    state = kernel.initial_state(points)
    if state:
        flow = 1e-3 * rng.standard_normal((points, 6))
        flow[:, :3] -= flow[:, :3].mean(axis=1, keepdims=True)
        state["plastic_strain"][:] = flow
        state["equivalent_plastic_strain"][:] = 1e-3
    tangent = np.zeros((points, 6, 6))
    buffers = {
        "outputs": {"stress": np.zeros((points, 6))},
        "new_state": {k: v.copy() for k, v in state.items()},
        "status": StatusBuffers.allocate(points),
        "tangent": {("stress", "strain"): tangent},
    }
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        kernel.update(inputs, state, 0.1, **buffers)
        times.append(time.perf_counter() - start)
    assert (buffers["status"].code == LocalStatus.CONVERGED).all()
    return times[0] - min(times[1:]), min(times[1:]) / points, tangent


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    print(f"{'law':24s} {'tangent':18s} {'compile s':>9s} {'us/point':>9s} {'error':>9s}")
    for name, law in LAWS.items():
        reference = None
        for strategy in ("implicit", "unrolled", "finite_difference"):
            seconds, each, tangent = measure(law, strategy, options.points, options.repeat)
            reference = tangent if reference is None else reference
            error = np.abs(tangent - reference).max() / np.abs(reference).max()
            print(f"{name:24s} {strategy:18s} {seconds:9.2f} {1e6 * each:9.2f} {error:9.1e}")


if __name__ == "__main__":
    main()
