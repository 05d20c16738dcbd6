"""A check of the JAX part of an installation: a few seconds, no FEniCSx, on every rank alike."""

import jax
import numpy as np

from dolfinx_admat.kernels import BatchKernel, StatusBuffers
from dolfinx_admat.materials import J2Plasticity, J2PlasticityGeneral, Material, VoceHardening

SIGMA_Y, Q, B = 250.0, 100.0, 20.0


def run() -> str:
    """Compare two forms of J2 plasticity with each other, a closed form and finite differences.

    Returns:
        One line that says what was found.

    Raises:
        RuntimeError: A number is wrong; the message says which.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError("JAX computes in float32: remove JAX_ENABLE_X64=0")
    hardening = VoceHardening(SIGMA_Y, Q, B)
    strain = np.zeros((3, 6))
    strain[1, 0], strain[2] = 5e-4, [4e-3, -2e-3, -2e-3, 3e-3, 0.0, 1e-3]
    stress, p, tangent = _evaluate(J2Plasticity(210e3, 0.3, hardening), strain)
    general = _evaluate(J2PlasticityGeneral(210e3, 0.3, hardening), strain)
    for name, one, other in zip(
        ("stress", "plastic strain", "tangent"), (stress, p, tangent), general, strict=True
    ):
        _expect(f"J2 {name}, radial return against general residual", one, other, 1e-9)
    deviator = stress - np.outer(stress[:, :3].mean(axis=1), [1, 1, 1, 0, 0, 0])
    equivalent = np.sqrt(1.5) * np.linalg.norm(deviator[2])
    _expect("yield condition", equivalent, SIGMA_Y + Q * (1.0 - np.exp(-B * p[2])), 1e-9)
    h = 1e-7
    difference = np.empty_like(tangent)
    for j in range(6):
        step = h * np.eye(6)[j]
        ahead, behind = (
            _evaluate(J2Plasticity(210e3, 0.3, hardening), strain + sign * step)[0]
            for sign in (1.0, -1.0)
        )
        difference[:, :, j] = (ahead - behind) / (2.0 * h)
    _expect("consistent tangent against finite differences", tangent, difference, 1e-6)
    return f"the JAX part passed (J2 plasticity on {jax.devices()[0].platform}, float64)"


def _evaluate(law: Material, strain: np.ndarray) -> tuple[np.ndarray, ...]:
    kernel = BatchKernel(law, chunk_size=4)
    points = len(strain)
    state, status = kernel.initial_state(points), StatusBuffers.allocate(points)
    new_state = {name: np.empty_like(value) for name, value in state.items()}
    stress, tangent = np.empty((points, 6)), np.empty((points, 6, 6))
    kernel.update(
        {"strain": strain},
        state,
        1.0,
        outputs={"stress": stress},
        new_state=new_state,
        status=status,
        tangent={("stress", "strain"): tangent},
    )
    if status.code.any():
        raise RuntimeError(f"{type(law).__name__}: the local solve failed, {status.code}")
    return stress, new_state["equivalent_plastic_strain"], tangent


def _expect(what: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    error = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
    if not error <= tolerance:
        raise RuntimeError(f"{what} differs by {error:.1e} > {tolerance:.0e} of its scale")
