"""Multiplicative J2 plasticity: tangents, invariance, large simple shear, small strains."""

from functools import cache

import batches
import numpy as np
import pytest
from slopes import assert_tangent

import dolfinx_admat as admat
from benchmarks.laws import FeFpJ2 as GeneralFeFpJ2
from dolfinx_admat.kernels import BatchKernel

E, NU = 200e3, 0.3
VOCE = admat.VoceHardening(200.0, 150.0, 30.0, 500.0)
LAW = admat.FeFpJ2(E, NU, VOCE)
EYE = np.eye(3)


@cache
def kernel(backend="native", tangent="implicit", trial_trace=True):
    law = admat.FeFpJ2(E, NU, VOCE, trial_trace=trial_trace)
    return BatchKernel(law, backend=backend, tangent=tangent, chunk_size=32)


def deformations():
    """Rest, elastic (with equal stretches), plastic, and large plastic steps."""
    rng = np.random.default_rng(3)
    F = EYE + 0.02 * rng.normal(size=(12, 3, 3))
    F[0], F[1], F[2] = EYE, 1.001 * EYE, np.diag([1.0003, 1.0, 1.0])
    F[3] = np.diag([1.3, 0.9, 0.9])
    F[4] = EYE + 0.5 * np.outer(EYE[0], EYE[1])
    F[5] = rotation(rng) @ F[3]
    return F


def rotation(rng):
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Q * np.linalg.det(Q)


F_ALL = deformations()


def determinants(state):
    m = state["inverse_plastic_metric"]
    tensor = m[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3).copy()
    tensor[:, ~np.eye(3, dtype=bool)] /= np.sqrt(2.0)
    return np.linalg.det(tensor)


@pytest.mark.parametrize("trial_trace", [True, False])
def test_tangent_backends_and_the_general_residual(trial_trace):
    """Two steps, the second from a state that has flowed."""
    native = kernel(trial_trace=trial_trace)
    first = batches.run(native, F_ALL)
    assert first.status.active.sum() == 9  # all but rest and two elastic points
    F = F_ALL @ (EYE + 0.01 * np.random.default_rng(8).normal(size=(12, 3, 3)))
    for state, given in ((None, F_ALL), (first.state, F)):
        found = assert_tangent(
            native, {"deformation_gradient": given}, state, step=1e-7, tol=1e-5
        )  # Voce's curvature: step^2 R''' and round-off 1e-16 E / step of R'
        np.testing.assert_allclose(determinants(found.state), 1.0, rtol=1e-11)
    if trial_trace:
        others = [kernel("xla"), kernel("xla", "unrolled")]
    else:  # the seven equations of the benchmarks, which this law reduces to two
        others = [BatchKernel(GeneralFeFpJ2(E, NU, VOCE), chunk_size=32)]
    for other in others:
        batches.assert_agree(found, batches.run(other, F, first.state), 1e-9)


def test_rest_has_no_stress_and_the_elastic_tangent():
    found = batches.run(kernel(), EYE[None])
    assert not found.outputs["first_piola_stress"].any() and not found.status.active.any()
    mu, kappa = E / 2.6, E / 1.2
    hooke = (kappa - 2 / 3 * mu) * np.einsum("ij,kl->ijkl", EYE, EYE) + mu * (
        np.einsum("ik,jl->ijkl", EYE, EYE) + np.einsum("il,jk->ijkl", EYE, EYE)
    )
    tangent = found.tangent["first_piola_stress", "deformation_gradient"][0]
    np.testing.assert_allclose(tangent, hooke, atol=1e-11 * E)


def test_objective_isotropic_and_right_under_shear(rng):
    """Superposed rotations, also between the steps; yield stress exactly met."""
    steps = [F_ALL, F_ALL @ F_ALL]
    Q = rotation(rng)

    def path(turn):
        state = None
        for F in steps:
            found = batches.run(kernel(), turn(F), state)
            state = found.state
        return found

    plain = path(lambda F: F)
    P = plain.outputs["first_piola_stress"]
    scale = 1e-10 * np.abs(P).max()
    turned, other = path(lambda F: Q @ F), path(lambda F: F @ Q.T)
    np.testing.assert_allclose(turned.outputs["first_piola_stress"], Q @ P, atol=scale)
    np.testing.assert_allclose(other.outputs["first_piola_stress"], P @ Q.T, atol=scale)
    metric = plain.state["inverse_plastic_metric"]
    np.testing.assert_allclose(turned.state["inverse_plastic_metric"], metric, atol=1e-11)
    tau = P @ steps[-1].transpose(0, 2, 1)
    np.testing.assert_allclose(tau, tau.transpose(0, 2, 1), atol=scale)
    dev = tau - np.trace(tau, axis1=1, axis2=2)[:, None, None] / 3.0 * EYE
    equivalent = np.sqrt(1.5 * np.sum(dev * dev, axis=(1, 2)))
    p = plain.state["equivalent_plastic_strain"]
    R = 200.0 + 150.0 * (1 - np.exp(-30.0 * p)) + 500.0 * p
    flows = plain.status.active
    np.testing.assert_allclose(equivalent[flows], R[flows], rtol=1e-9)


def test_large_simple_shear(verified):
    """Shear to 8: no oscillation, tends to R/sqrt(3) (Kirchhoff) for a perfectly plastic solid.

    Without hardening the shear stress stays at R/sqrt(3) up to the elastic strain (R/mu)^2, with
    linear hardening it grows monotonically; a hypoelastic law with Jaumann's rate and kinematic
    hardening oscillates (Nagtegaal and de Jong, 1982).
    """
    shear = np.linspace(0.0, 8.0, 161)[1:]
    for H in (0.0, 300.0):
        law = admat.FeFpJ2(E, NU, admat.LinearHardening(200.0, H))
        one, state, found = BatchKernel(law, chunk_size=1), None, []
        for gamma in shear:
            F = (EYE + gamma * np.outer(EYE[0], EYE[1]))[None]
            result = batches.run(one, F, state, tangent=False)
            assert not result.status.code.any()
            state = result.state
            tau = result.outputs["first_piola_stress"][0] @ F[0].T
            found.append([tau[0, 1], tau[0, 0] - tau[1, 1], state["equivalent_plastic_strain"][0]])
        stress, normal, p = np.array(found).T
        assert (np.diff(p) > 0.0).all()
        if H:
            assert (np.diff(stress) > 0.0).all() and (normal > 0.0).all()
        else:
            verified(
                law="FeFpJ2",
                hypotheses="finite strain, simple shear to 8",
                against="perfectly plastic flow stress R/sqrt(3), closed form",
                error=np.max(np.abs(stress / (200.0 / np.sqrt(3.0)) - 1.0)),
                tolerance=1e-3,
            )
            # p = (gamma - elastic shear) / sqrt(3), up to the size of the elastic strain.
            np.testing.assert_allclose(p, shear / np.sqrt(3.0), rtol=1e-2, atol=2e-3)
        np.testing.assert_allclose(determinants(state), 1.0, rtol=1e-10)


def test_small_strains_are_those_of_small_strain_plasticity():
    """At strains of 1e-5 (and a yield stress to match) both laws differ by that much."""
    strain = 1e-5 * np.random.default_rng(2).normal(size=(6, 3, 3))
    strain = 0.5 * (strain + strain.transpose(0, 2, 1))
    hardening = admat.LinearHardening(0.5, 10e3)
    P = batches.run(admat.FeFpJ2(E, NU, hardening), EYE + strain, tangent=False).outputs[
        "first_piola_stress"
    ]
    mandel = np.array([admat.tensors.to_mandel(e) for e in strain])
    small = batches.run(admat.J2Plasticity(E, NU, hardening), mandel, tangent=False)
    assert small.status.active.all()
    expected = np.array([admat.tensors.from_mandel(s) for s in small.outputs["stress"]])
    np.testing.assert_allclose(P, expected, atol=1e-4 * np.abs(expected).max())


def test_plastic_work_is_dissipated_or_stored():
    """Along a path of small steps: work = stored + dissipated, up to the error of the steps."""
    law = admat.WithEnergies(admat.FeFpJ2(E, NU, admat.LinearHardening(200.0, 2000.0)))
    one, state, work, previous = BatchKernel(law, chunk_size=1), None, 0.0, np.zeros((3, 3))
    gammas = np.concatenate([np.linspace(0.0, 0.3, 301)[1:], np.linspace(0.3, 0.0, 301)[1:]])
    last, dissipated = 0.0, [0.0]
    for gamma in gammas:
        F = (EYE + gamma * np.outer(EYE[0], EYE[1]))[None]
        result = batches.run(one, F, state, tangent=False)
        state = result.state
        P = result.outputs["first_piola_stress"][0]
        work += 0.5 * (P + previous)[0, 1] * (gamma - last)
        previous, last = P, gamma
        dissipated.append(result.outputs["dissipated_energy"][0])
    assert (np.diff(dissipated) >= -1e-12).all()
    total = dissipated[-1] + result.outputs["stored_energy"][0]
    assert total == pytest.approx(work, rel=5e-3)
    # What linear hardening adds to the yield stress is stored.
    p = state["equivalent_plastic_strain"][0]
    assert dissipated[-1] == pytest.approx(200.0 * p, rel=1e-12)


def test_mistakes():
    with pytest.raises(admat.MaterialError, match="'nu' is out of range"):
        admat.FeFpJ2(E, 0.6, VOCE)
    with pytest.raises(admat.MaterialError, match="hardening is missing or not callable"):
        admat.FeFpJ2(E, NU, 200.0)
    F = np.diag([1.0, 1.0, -1.0])
    assert admat.evaluate_point(LAW, F).status.code != 0
