"""The laws that are measured, with random points: each has an input and a history of its own.

``plastic`` points all flow (trial stress 5 % to 200 % beyond the yield surface, for finite strain
and crystals as said there), ``elastic`` points all stay inside it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import dolfinx_admat as admat

from . import laws

E, NU = 70e3, 0.3
MU = E / (2.0 * (1.0 + NU))
SIGMA_Y, Q, B = 500.0, 250.0, 1000.0  # the parameters of jaxmat's published benchmark
VOCE = admat.VoceHardening(SIGMA_Y, Q, B)


class Points(NamedTuple):
    """Inputs and state at t_n of a batch, by name, points-leading; and the step."""

    inputs: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    dt: float

    @property
    def size(self) -> int:
        return len(next(iter(self.inputs.values())))


class Case(NamedTuple):
    """A law and how to draw points for it."""

    law: Any
    draw: Callable[[int, bool], Points]  # (number, plastic or elastic)
    unknowns: int
    has_elastic_test: bool = True


def yield_stress(p):
    return SIGMA_Y + Q * (1.0 - np.exp(-B * p))


def deviators(rng, n):
    """Random unit deviators, Mandel (n, 6)."""
    d = rng.standard_normal((n, 6))
    d[:, :3] -= d[:, :3].mean(axis=1, keepdims=True)
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def overload(rng, n, plastic):
    """Trial equivalent stress over yield stress."""
    return rng.uniform(1.05, 3.0, n) if plastic else rng.uniform(0.1, 0.95, n)


def _history(rng, n):
    p = rng.uniform(0.0, 2e-3, n)
    return p, deviators(rng, n) * (np.sqrt(1.5) * p)[:, None]


def draw_j2(n, plastic, equivalent=None, seed=1):
    """Small-strain points; ``equivalent`` is the yield function (default von Mises)."""
    rng = np.random.default_rng(seed)
    p, plastic_strain = _history(rng, n)
    direction = deviators(rng, n)
    size = np.full(n, np.sqrt(1.5)) if equivalent is None else equivalent(direction)
    trial = yield_stress(p) * overload(rng, n, plastic) / size
    strain = plastic_strain + direction * (trial / (2.0 * MU))[:, None]
    strain[:, :3] += 1e-3 * rng.standard_normal((n, 1))
    state = {"plastic_strain": plastic_strain, "equivalent_plastic_strain": p}
    return Points({"strain": strain}, state, 0.1)


def draw_hosford(n, plastic):
    a = HOSFORD.a

    def equivalent(stress):
        root2 = np.sqrt(2.0)
        matrix = stress[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3).copy()
        matrix[:, ~np.eye(3, dtype=bool)] /= root2
        s = np.linalg.eigvalsh(matrix)
        gaps = np.abs(s - np.roll(s, 1, axis=1))
        return (0.5 * (gaps**a).sum(axis=1)) ** (1.0 / a)

    return draw_j2(n, plastic, equivalent)


def draw_chaboche(n, plastic):
    rng = np.random.default_rng(2)
    p, plastic_strain = _history(rng, n)
    back = [deviators(rng, n) * (np.sqrt(1.5) * 0.5 / g) for g in (200.0, 20.0)]
    back_stress = 2.0 / 3.0 * (50e3 * back[0] + 5e3 * back[1])
    size = yield_stress(p) * overload(rng, n, plastic) / np.sqrt(1.5)
    stress = back_stress + deviators(rng, n) * size[:, None]
    strain = plastic_strain + stress / (2.0 * MU)
    strain[:, :3] += 1e-3 * rng.standard_normal((n, 1))
    state = {
        "plastic_strain": plastic_strain,
        "equivalent_plastic_strain": p,
        "back_strain_1": back[0],
        "back_strain_2": back[1],
    }
    return Points({"strain": strain}, state, 0.1)


def draw_crystal(n, plastic):
    """Largest resolved trial stress 50 % to 200 % of the mean slip resistance (or 1 to 20 %)."""
    rng = np.random.default_rng(3)
    resistance = rng.uniform(55.0, 65.0, (n, 12))
    direction = deviators(rng, n)
    trial = direction * np.array([CRYSTAL_NORMAL] * 3 + [CRYSTAL_SHEAR] * 3)
    resolved = np.abs(trial @ laws.crystal.SCHMID.T).max(axis=1)
    factor = rng.uniform(0.5, 2.0, n) if plastic else rng.uniform(0.01, 0.2, n)
    plastic_strain = 1e-3 * deviators(rng, n)
    strain = plastic_strain + direction * (60.0 * factor / resolved)[:, None]
    state = {"plastic_strain": plastic_strain, "resistance": resistance}
    return Points({"strain": strain}, state, 1.0)


def _exp_sym(a):
    values, vectors = np.linalg.eigh(a)
    return np.einsum("nik,nk,njk->nij", vectors, np.exp(values), vectors)


def _tensor(mandel):
    matrix = mandel[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3).copy()
    matrix[:, ~np.eye(3, dtype=bool)] /= np.sqrt(2.0)
    return matrix


def _rotations(rng, n):
    q = np.linalg.qr(rng.standard_normal((n, 3, 3)))[0]
    return q * np.sign(np.linalg.det(q))[:, None, None]


def draw_finite_strain(n, plastic):
    """F = J^(1/3) V Q U_p with a random elastic stretch V, rotation Q and plastic stretch U_p."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.0, 2e-3, n)
    log_plastic = _tensor(deviators(rng, n)) * rng.uniform(0.0, 0.1, n)[:, None, None]
    # mu |dev b| = 2 mu |log V| to first order: the factor 1.05 keeps the trial state outside.
    size = yield_stress(p) * overload(rng, n, plastic) * (1.05 if plastic else 0.9)
    log_elastic = _tensor(deviators(rng, n)) * (size / np.sqrt(1.5) / (2.0 * MU))[:, None, None]
    J = np.exp(1e-3 * rng.standard_normal(n))
    F = _exp_sym(log_elastic) @ _rotations(rng, n) @ _exp_sym(log_plastic)
    metric = _exp_sym(-2.0 * log_plastic).reshape(n, 9)[:, [0, 4, 8, 1, 2, 5]]
    metric[:, 3:] *= np.sqrt(2.0)
    state = {"inverse_plastic_metric": metric, "equivalent_plastic_strain": p}
    return Points({"deformation_gradient": F * np.cbrt(J)[:, None, None]}, state, 0.1)


def draw_plane_stress(n, plastic):
    """In-plane strains whose elastic trial stress has the given overload."""
    rng = np.random.default_rng(5)
    p, plastic_strain = _history(rng, n)
    plastic_strain[:, 4:] = 0.0
    direction = rng.standard_normal((n, 3))  # of the trial stress xx, yy, sqrt(2) xy
    xx, yy, xy = direction.T
    size = np.sqrt(xx**2 + yy**2 - xx * yy + 1.5 * xy**2)
    stress = direction * (yield_stress(p) * overload(rng, n, plastic) / size)[:, None]
    compliance = np.array([[1.0, -NU, 0.0], [-NU, 1.0, 0.0], [0.0, 0.0, 1.0 + NU]]) / E
    strain = stress @ compliance + plastic_strain[:, [0, 1, 3]]
    state = {"plastic_strain": plastic_strain, "equivalent_plastic_strain": p}
    state["strain_zz"] = np.zeros(n)
    return Points({"strain": strain}, state, 0.1)


HOSFORD = laws.HosfordPlasticity(E, NU, VOCE, a=8)
CRYSTAL = laws.FccCrystal(
    C11=108e3, C12=62e3, C44=28.3e3, g0=1e-3, h0=300.0, r_0=60.0, r_s=120.0, latent=1.4, n=5
)
CRYSTAL_NORMAL, CRYSTAL_SHEAR = 108e3 - 62e3, 2 * 28.3e3
J2_SCALAR = admat.J2Plasticity(E, NU, VOCE)
J2_GENERAL = admat.J2PlasticityGeneral(E, NU, VOCE)
CHABOCHE = laws.Chaboche(E, NU, VOCE, C=[50e3, 5e3], g=[200.0, 20.0], K=100.0, m=4.0)

CASES = {
    "j2_scalar": Case(J2_SCALAR, draw_j2, 1),
    "j2_general": Case(J2_GENERAL, draw_j2, 7),
    "j2_plane_stress": Case(admat.PlaneStress(J2_GENERAL), draw_plane_stress, 8),
    "j2_plane_stress_scalar": Case(admat.PlaneStress(J2_SCALAR), draw_plane_stress, 2),
    "fefp_j2_random": Case(laws.FeFpJ2(E, NU, VOCE), draw_finite_strain, 7),
    "hosford": Case(HOSFORD, draw_hosford, 7),
    "fcc12": Case(CRYSTAL, draw_crystal, 18, has_elastic_test=False),
    "chaboche2": Case(CHABOCHE, draw_chaboche, 19),
}
