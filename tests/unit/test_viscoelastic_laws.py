"""Viscoelastic laws: exactness of the step, limits of fast and slow, parts, backends."""

import batches
import numpy as np
import pytest
from slopes import assert_tangent

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel

STIFF = admat.IsotropicElasticity(300.0, 0.3)
FIBRES = admat.TransverselyIsotropicElasticity(700.0, 100.0, 0.2, 0.3, 60.0)
LAWS = {
    "zener": admat.Zener(STIFF, FIBRES, 2.0),
    "maxwell": admat.GeneralisedMaxwell(
        3.0, 1.0, [1.0, 2.0], [0.5, 3.0], branch_kappa=[4.0, 0.0], bulk_tau=[1.0, 2.0]
    ),
    "elastic_volume": admat.GeneralisedMaxwell(3.0, 0.0, [1.0, 2.0], [0.5, 3.0]),
}


@pytest.fixture(params=LAWS)
def law(request):
    return LAWS[request.param]


def follow(kernel, strains, dt):
    """All updates along strains (steps, points, 6)."""
    state, found = None, []
    for strain in strains:
        found.append(batches.run(kernel, strain, state, dt))
        state = found[-1].state
    return found


def test_tangent_symmetry_and_backends(law, rng):
    kernels = [BatchKernel(law, backend=b, chunk_size=8) for b in ("native", "xla")]
    path = 0.01 * rng.normal(size=(2, 5, 6))
    path[0, 0] = path[1, 0] = 0.0
    native, xla = (follow(kernel, path, 0.7) for kernel in kernels)
    for a, b in zip(native, xla, strict=True):
        batches.assert_agree(a, b)
    found = assert_tangent(kernels[0], {"strain": path[1]}, native[0].state, 0.7)
    C = found.tangent["stress", "strain"]
    assert np.abs(C - C.transpose(0, 2, 1)).max() <= 1e-14 * np.abs(C).max()
    assert not found.outputs["stress"][0].any()  # at rest
    for dt in (0.0, 1e-12, 1e12):
        batches.assert_agree(*(batches.run(k, path[1], native[0].state, dt) for k in kernels))


def test_a_linear_path_does_not_depend_on_the_steps(law, rng):
    """The update is exact where the strain is linear in time."""
    kernel, end = BatchKernel(law, chunk_size=8), 0.01 * rng.normal(size=(3, 6))
    coarse = follow(kernel, [end], 4.0)[-1]
    fine = follow(kernel, np.linspace(0.0, 1.0, 41)[1:, None, None] * end, 0.1)[-1]
    for name in ("outputs", "state"):
        for key, value in getattr(coarse, name).items():
            other = getattr(fine, name)[key]
            np.testing.assert_allclose(other, value, atol=1e-13 * max(1.0, np.abs(value).max()))


def test_fast_and_slow_limits(rng):
    strain = 0.01 * rng.normal(size=6)
    stress = lambda law, dt: admat.evaluate_point(law, strain, dt=dt).outputs["stress"]  # noqa: E731
    instantaneous = STIFF.stress(strain) + FIBRES.stress(strain)
    np.testing.assert_allclose(stress(LAWS["zener"], 0.0), instantaneous, rtol=1e-13)
    np.testing.assert_allclose(stress(LAWS["zener"], 1e-11), instantaneous, rtol=1e-10)
    np.testing.assert_allclose(stress(LAWS["zener"], 1e13), STIFF.stress(strain), rtol=1e-10)
    dev, volume = strain - np.mean(strain[:3]) * (np.arange(6) < 3), np.sum(strain[:3])
    unit = 1.0 * (np.arange(6) < 3)
    law = LAWS["maxwell"]
    np.testing.assert_allclose(stress(law, 0.0), 8.0 * dev + 7.0 * volume * unit, rtol=1e-12)
    np.testing.assert_allclose(stress(law, 1e13), 2.0 * dev + 3.0 * volume * unit, rtol=1e-10)
    law = LAWS["elastic_volume"]
    np.testing.assert_allclose(stress(law, 1e13), 3.0 * volume * unit, atol=1e-12)  # a fluid


def test_one_isotropic_branch_is_zeners_solid(rng):
    branch = admat.IsotropicElasticity(70.0, 0.1)
    zener = admat.Zener(STIFF, branch, 2.0)
    maxwell = admat.GeneralisedMaxwell(STIFF.kappa, STIFF.mu, [branch.mu], [2.0], [branch.kappa])
    path = 0.01 * rng.normal(size=(3, 4, 6))
    for a, b in zip(
        follow(BatchKernel(zener), path, 0.7), follow(BatchKernel(maxwell), path, 0.7), strict=True
    ):
        np.testing.assert_allclose(a.outputs["stress"], b.outputs["stress"], rtol=0, atol=1e-13)
    assert zener.isotropic and not LAWS["zener"].isotropic


def test_relaxation_dissipates_the_energy_of_the_springs():
    """A unit shear strain at once, then at rest: exp(-2 t/tau) of the energy of each spring."""
    strain, t = np.array([0, 0, 0, 0.01, 0, 0]), np.arange(5.0)
    left = 1e-4 * (np.exp(-2.0 * t / 0.5) + 2.0 * np.exp(-2.0 * t / 3.0))
    law = admat.WithEnergies(LAWS["elastic_volume"])
    found = [admat.evaluate_point(law, strain, dt=0.0)]
    for _ in t[1:]:
        found.append(admat.evaluate_point(law, strain, found[-1].state, 1.0))
    stored, lost = (
        np.array([float(f.outputs[f"{kind}_energy"]) for f in found])
        for kind in ("stored", "dissipated")
    )
    np.testing.assert_allclose(stored, left, rtol=1e-12)
    np.testing.assert_allclose(lost, left[0] - left, rtol=1e-12, atol=1e-18)


def test_dissipation_of_reversed_steps(law, rng):
    """Never negative, and independent of the steps along a linear path."""
    kernel = BatchKernel(admat.WithEnergies(law), chunk_size=8)
    zigzag = 0.01 * rng.normal(size=(6, 4, 6))
    lost = [0.0 * zigzag[0, :, 0]]
    for dt in (1e-9, 1e-3, 0.3, 30.0):
        for found in follow(kernel, zigzag, dt):
            lost.append(found.outputs["dissipated_energy"])
        assert (np.diff(lost, axis=0) > -1e-16).all()
        lost = [0.0 * lost[0]]
    end = zigzag[0]
    coarse = follow(kernel, [end], 4.0)[-1].outputs["dissipated_energy"]
    path = np.linspace(0.0, 1.0, 401)[1:, None, None] * end
    fine = follow(kernel, path, 0.01)[-1].outputs["dissipated_energy"]  # the series of mean_spring
    np.testing.assert_allclose(fine, coarse, rtol=1e-11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: admat.Zener(STIFF, FIBRES, 0.0), "'tau' is out of range"),
        (lambda: admat.GeneralisedMaxwell(1, 1, [1.0, -1.0], [1.0, 1.0]), "'branch_mu' is out"),
        (lambda: admat.GeneralisedMaxwell(1, 1, [1.0], [1.0, 2.0]), "tau should be a list"),
        (lambda: admat.GeneralisedMaxwell(1, 1, 1.0, 1.0), "branch_mu should be a list"),
        (lambda: admat.GeneralisedMaxwell(1, 1, [1.0], [1.0], [1.0, 2.0]), "branch_kappa should"),
        (lambda: admat.evaluate_point(LAWS["zener"], np.zeros(6)), "needs the step size"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(admat.MaterialError, match=message):
        make()
