"""Section ``wrappers``: what a wrapped law costs, relative to the 3D law in the same run.

Every batch is plastic: the points of the law itself, and those of the wrapper, whose trial stress
lies 5 % to 200 % beyond the yield surface.
"""

from functools import partial

import numpy as np

import dolfinx_admat as admat

from . import cases
from .codes import Failed, own, plain
from .kernels import LIMIT, worst_error
from .timing import interleaved

POINTS = 10_000
#: Anisotropic, 13 unknowns; its yield surface is close to von Mises', so that its points flow too.
HILL = admat.Elastoviscoplastic(
    admat.IsotropicElasticity(cases.E, cases.NU),
    admat.Hill48.from_r_values(1.05, 0.95, 1.1),
    cases.VOCE,
    admat.ArmstrongFrederick(50e3, 200.0),
)
LAWS = {"j2_scalar": cases.J2_SCALAR, "j2_general": cases.J2_GENERAL, "hill_af": HILL}


def _with(points, wrapper):
    """The batch, with the state variables that a wrapper adds."""
    state = dict(points.state)
    for name, value in wrapper.initial_state().items():
        if name not in state:
            state[name] = np.array(np.broadcast_to(value, (points.size, *np.shape(value))))
    return points._replace(state=state)


def _uniaxial(n):
    rng = np.random.default_rng(6)
    p = rng.uniform(0.0, 2e-3, n)
    trial = cases.yield_stress(p) * cases.overload(rng, n, True) / cases.E
    flow = p[:, None] * np.array([1.0, -0.5, -0.5, 0.0, 0.0, 0.0])
    state = {"plastic_strain": flow, "equivalent_plastic_strain": p}
    return cases.Points({"strain": trial + p}, state, 0.1)


def _part(columns):
    """Only these components of the strain; the trial stress has the usual overload."""

    def draw(n):
        rng = np.random.default_rng(8)
        p = rng.uniform(0.0, 2e-3, n)
        strain = np.zeros((n, 6))
        strain[:, columns] = rng.standard_normal((n, len(columns)))
        deviator = strain.copy()
        deviator[:, :3] -= strain[:, :3].mean(axis=1, keepdims=True)
        size = np.sqrt(1.5) * 2.0 * cases.MU * np.linalg.norm(deviator, axis=1)
        strain *= (cases.yield_stress(p) * cases.overload(rng, n, True) / size)[:, None]
        state = {"plastic_strain": np.zeros((n, 6)), "equivalent_plastic_strain": p}
        return cases.Points({"strain": strain[:, columns].copy()}, state, 0.1)

    return draw


def _stretched(n):
    points = cases.draw_j2(n, True)
    rotation = cases._rotations(np.random.default_rng(7), n)
    F = rotation @ cases._exp_sym(cases._tensor(points.inputs["strain"]))
    return points._replace(inputs={"deformation_gradient": F})


TURNED = np.asarray(admat.bunge_rotation(0.3, 0.7, 0.2))
WRAPPERS = {
    "plane_stress": (admat.PlaneStress, partial(cases.draw_plane_stress, plastic=True)),
    "uniaxial_stress": (admat.UniaxialStress, _uniaxial),
    "plane_strain": (admat.PlaneStrain, _part([0, 1, 3])),
    "axisymmetry": (admat.Axisymmetry, _part([0, 1, 2, 3])),
    "rotated": (partial(admat.Rotated, rotation=TURNED), partial(cases.draw_j2, plastic=True)),
    "logarithmic_strain": (admat.LogarithmicStrain, _stretched),
}


def measure(say, only=None):
    """All laws in all wrappers, stress + tangent; returns the numbers."""
    numbers: dict[str, float] = {}
    for name, law in LAWS.items():
        if only and name not in only:
            continue
        say(f"\n{name}")
        batches = {"3d": (law, _with(cases.draw_j2(POINTS, True), law))}
        for kind, (make, draw) in WRAPPERS.items():
            wrapped = make(law)
            batches[kind] = (wrapped, _with(draw(POINTS), wrapped))
        for backend in ("native", "xla"):
            runs = {}
            for kind, (wrapped, points) in batches.items():
                try:
                    run = own.prepare(wrapped, points, True, backend)
                    run.call()
                    error = worst_error(run.results(), plain.reference(wrapped, points))
                    if error > LIMIT:
                        raise Failed(f"error {error:.0e}")
                    runs[kind] = run
                except Failed as reason:
                    say(f"  {kind} on {backend}: not timed: {reason}")
            timings = interleaved({k: run.call for k, run in runs.items()}, budget=2.0, least=3)
            for kind, timing in timings.items():
                key = f"wrapper.{name}.{kind}.{backend}"
                ratio = timings["3d"].best / timing.best
                numbers[f"{key}.points_per_second"] = POINTS / timing.best
                numbers[f"{key}.over_3d"] = ratio
                say(
                    f"  {name:12s} {kind:20s} {backend:7s} {POINTS / timing.best / 1e6:8.3f} M/s"
                    f"  {ratio:5.2f} of 3D"
                )
    return numbers
