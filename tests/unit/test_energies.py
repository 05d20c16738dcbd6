"""Stored and dissipated energy: closed forms, and the balance with the work of the stresses."""

import batches
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.tensors import equivalent_stress

E, NU, H, SIGMA_Y = 200e3, 0.3, 2e3, 200.0
MU = E / (2.0 * (1.0 + NU))


class Mises(admat.GeneralisedStandard):
    """Von Mises, linear hardening that stores its work."""

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6), "p": 0.0}

    def free_energy(self, strain, internal):
        elastic = strain - internal["plastic_strain"]
        hooke = admat.IsotropicElasticity(E, NU)
        return 0.5 * elastic @ hooke.stress(elastic) + 0.5 * H * internal["p"] ** 2

    def yield_function(self, forces, internal_n):
        return equivalent_stress(forces["plastic_strain"]) + forces["p"] - SIGMA_Y


class Tuple(admat.ExplicitSmallStrain):
    """A state that is no dict: creep at a rate that the strain sets."""

    def initial_state(self):
        return (jnp.zeros(6),)

    def free_energy(self, strain, state):
        return 0.5 * jnp.sum((strain - state[0]) ** 2)

    def update(self, strain, state, dt):
        creep = (state[0] + dt * strain) / (1.0 + dt)
        return strain - creep, (creep,)


def path(kernel, strains, dt=1.0):
    """Energies and work (trapezoidal rule) along a path of one point."""
    state, stress, before, work, rows = None, np.zeros(6), np.zeros(6), 0.0, []
    for strain in strains:
        found = batches.run(kernel, strain[None], state, dt)
        assert found.status.code[0] == 0
        state, new = found.state, found.outputs["stress"][0]
        work += 0.5 * (stress + new) @ (strain - before)
        stress, before = new, strain
        rows.append([found.outputs[n][0] for n in ("stored_energy", "dissipated_energy")] + [work])
    return np.array(rows)


def test_radial_loading_and_unloading_of_mises():
    """Proportional shear: the work beyond yield is known, and all but H p^2 / 2 is dissipated."""
    kernel = BatchKernel(admat.WithEnergies(Mises()))
    shear = np.array([0.0, 0.0, 0.0, np.sqrt(2.0), 0.0, 0.0])
    limit, gamma = SIGMA_Y / np.sqrt(3.0) / (2.0 * MU), 5e-3  # tensor components of shear
    up = np.linspace(limit, gamma, 11)
    amounts = np.concatenate([up, np.linspace(gamma, gamma - limit, 6)[1:]])
    rows = path(kernel, amounts[:, None] * shear)
    # dp: 3 mu dp + H dp = sqrt(3) 2 mu (gamma - limit)
    p = np.sqrt(3.0) * 2.0 * MU * (up - limit) / (3.0 * MU + H)
    stress = SIGMA_Y + H * p
    np.testing.assert_allclose(rows[:11, 0], stress**2 / (6.0 * MU) + 0.5 * H * p**2, rtol=1e-10)
    np.testing.assert_allclose(rows[:11, 1], SIGMA_Y * p, rtol=1e-10, atol=1e-14)
    # Work: exact, because stress is piecewise linear and the path has a point at the kink.
    np.testing.assert_allclose(rows[:, 0] + rows[:, 1], rows[:, 2], rtol=1e-10)
    np.testing.assert_allclose(rows[10:, 1], rows[10, 1], rtol=1e-12)  # unloading is elastic


def balance(law, strains, dt):
    """Largest gap of the balance, relative to the work; and the smallest dissipation of a step."""
    rows = path(BatchKernel(admat.WithEnergies(law)), strains, dt)
    gap = np.abs(rows[:, 0] + rows[:, 1] - rows[:, 2]).max() / np.abs(rows[:, 2]).max()
    return gap, np.diff(rows[:, 1], prepend=0.0).min(), rows[-1]


def cycle(steps, size=4e-3):
    """A closed loop in two components, from zero."""
    t = np.linspace(0.0, 1.0, steps + 1)[1:, None]
    a = np.array([1.0, -0.4, -0.3, 0.2, 0.5, 0.0])
    b = np.array([0.0, 0.3, -0.2, 1.0, 0.0, -0.4])
    return size * (np.sin(2 * np.pi * t) * a + (1.0 - np.cos(2 * np.pi * t)) * b)


def test_balance_of_a_crystal():
    """The error is of first order in the step at least, and dissipation never negative."""
    crystal = admat.FccCrystal(
        admat.CubicElasticity(168e3, 121e3, 75e3),
        admat.OverstressSlip(25.0, 5.0),
        admat.SlipHardening(60.0, 11.0, 5.0),
        c=5e3,
        d=300.0,
    )
    coarse, least, _ = balance(crystal, cycle(40), 1 / 40)
    fine, least_fine, last = balance(crystal, cycle(80), 1 / 80)
    assert min(least, least_fine) >= 0.0 and last[1] > 5.0 * last[0]
    assert fine < 0.005 and coarse / fine > 1.8


def test_composition_and_state_that_is_no_dict():
    gap, least, _ = balance(Tuple(), cycle(100), 0.05)
    assert gap < 0.02 and least >= 0.0
    law = admat.WithEnergies(Tuple())
    assert set(law.initial_state()) == {"law", "dissipated_energy"}
    # The energies are those of the full law when it is reduced first; strain_zz does no work.
    flat = admat.WithEnergies(admat.PlaneStress(Mises()))
    strain = np.array([[4e-3, -1e-3, 1e-3], [1e-4, 0.0, 0.0], [-3e-3, -3e-3, 2e-3]])
    found = batches.run(BatchKernel(flat), strain, None, None)
    zz = found.state["strain_zz"]
    full = np.zeros((3, 6))
    full[:, [0, 1, 3]], full[:, 2] = strain, zz
    known = batches.run(BatchKernel(admat.WithEnergies(Mises())), full, None, None)
    for name in ("stored_energy", "dissipated_energy"):
        np.testing.assert_allclose(found.outputs[name], known.outputs[name], rtol=1e-9, atol=1e-14)


def test_backends_and_tangent():
    rng = np.random.default_rng(4)
    strain = rng.standard_normal((12, 6)) * 3e-3
    strain[0] = 0.0
    native, xla = batches.both(admat.WithEnergies(Mises()), strain, None, None)
    batches.assert_agree(native, xla)
    kernel = BatchKernel(admat.WithEnergies(Mises()))
    slopes = batches.slopes(kernel, {"strain": strain}, None, None)
    for block, slope in slopes.items():
        assert batches.error(slope, native.tangent[block]) <= 1e-6, block
    # The stored energy's slope at given state is the stress; with flow, less what is dissipated.
    work = native.tangent["stored_energy", "strain"] + native.tangent["dissipated_energy", "strain"]
    assert np.isfinite(work).all()


def test_laws_without_free_energy_are_refused():
    class Unknown(admat.ExplicitSmallStrain):
        def update(self, strain, state, dt):
            return strain, state

    with pytest.raises(MaterialError, match="Unknown declares no free energy"):
        admat.WithEnergies(Unknown())

    class Taken(Tuple):
        def initial_state(self):
            return {"dissipated_energy": 0.0}

    with pytest.raises(MaterialError, match="names which the wrapper needs"):
        admat.WithEnergies(Taken()).initial_state()


def test_energy_of_a_hyperelastic_law():
    F = np.eye(3) + 0.1 * np.arange(9.0).reshape(3, 3)
    law = admat.NeoHookean(3.0, 0.3)
    found = evaluate_point(admat.WithEnergies(law), F)
    assert float(found.outputs["stored_energy"]) == pytest.approx(float(law.energy(jnp.array(F))))
    assert float(found.outputs["dissipated_energy"]) == 0.0
