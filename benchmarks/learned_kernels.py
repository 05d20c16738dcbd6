"""Section ``learned``: how fast learned laws run as kernels, stress + tangent, on both backends.

Weights are random, about right in size for a steel, or a rubber; every point flows. Trained
weights cost the same.
"""

import numpy as np

import dolfinx_admat as admat
from dolfinx_admat import learning

from . import cases
from .codes import Failed, own, plain
from .kernels import LIMIT, worst_error
from .timing import interleaved

POINTS = 2_000
STEEL = learning.Scales(E=200e3, nu=0.3, stress=300.0, strain=0.02)
RATES = learning.Scales(E=200e3, nu=0.3, stress=300.0, strain=0.02, rates=(1e-3, 1.0))
PLASTIC = learning.LearnedElastoviscoplastic
LAWS = {
    "elastoplastic_1": PLASTIC.create(STEEL, branches=1),
    "elastoplastic_2": PLASTIC.create(STEEL, branches=2),
    "isotropic_gauge": PLASTIC.create(STEEL, branches=1, gauge="isotropic"),
    "anisotropic_gauge": PLASTIC.create(STEEL, branches=1, gauge="anisotropic"),
    "viscoplastic_1": PLASTIC.create(RATES, branches=1),
    "hybrid_hardening": admat.Elastoviscoplastic(
        admat.IsotropicElasticity(200e3, 0.3),
        admat.VonMises(),
        learning.LearnedHardening.create(yield_stress=300.0, strain=0.05),
    ),
    "viscoelastic_3": learning.LearnedViscoelastic.create(RATES, branches=3),
    "network_springs_1": learning.LearnedViscoelastic.create(RATES, branches=1, nonlinear=True),
    "hyperelastic": learning.LearnedHyperelastic.create(stress=1.0, kappa=100.0),
    "hyperelastic_fibres": learning.LearnedHyperelastic.create(
        stress=1.0, kappa=100.0, directions=[[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]
    ),
}


def _points(law):
    rng = np.random.default_rng(3)
    state = {
        name: np.array(np.broadcast_to(value, (POINTS, *np.shape(value))))
        for name, value in law.initial_state().items()
    }
    if "deformation_gradient" in law.inputs:
        F = np.eye(3) + 0.15 * rng.standard_normal((POINTS, 3, 3))
        return cases.Points({"deformation_gradient": F}, state, 0.1)
    # Beyond the last yield surface: von Mises' strain is 0.5 to 3 %.
    strain = rng.standard_normal((POINTS, 6))
    strain[:, :3] -= 0.7 * strain[:, :3].mean(axis=1, keepdims=True)
    size = rng.uniform(0.005, 0.03, (POINTS, 1))
    return cases.Points(
        {"strain": strain * size / np.linalg.norm(strain, axis=1, keepdims=True)}, state, 0.1
    )


def measure(say, only=None):
    """All laws; returns the numbers."""
    numbers: dict[str, float] = {}
    for name, law in LAWS.items():
        if only and name not in only:
            continue
        points, runs = _points(law), {}
        for backend in ("native", "xla"):
            try:
                run = own.prepare(law, points, True, backend)
                run.call()
                error = worst_error(run.results(), plain.reference(law, points))
                if error > LIMIT:
                    raise Failed(f"error {error:.0e}")
                runs[backend] = run
            except Failed as reason:
                say(f"  {name} on {backend}: not timed: {reason}")
        timings = interleaved({k: run.call for k, run in runs.items()}, budget=2.0, least=3)
        for backend, timing in timings.items():
            rate = POINTS / timing.best
            numbers[f"learned.{name}.{backend}.points_per_second"] = rate
            say(f"  {name:22s} {backend:7s} {rate / 1e6:8.3f} M/s")
    return numbers
