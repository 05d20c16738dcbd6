"""Training data made by a law: random paths, and what the law answers along them."""

import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import Path, learning
from dolfinx_admat.calibration import data_hash
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.learning import (
    random_deformation_paths,
    random_strain_paths,
    simulate,
)

PLACES = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}
ELASTIC = admat.LinearElastic(200.0, 0.3)


def strains(path):
    """(steps + 1, 3, 3) with the rest in front, and times."""
    (segment,) = path.segments
    found = np.zeros((len(segment.fractions) + 1, 3, 3))
    for axes, (i, j) in PLACES.items():
        found[1:, i, j] = found[1:, j, i] = segment.table[f"strain_{axes}"]
    return found, segment.time * np.array([0.0, *segment.fractions])


def turns(path):
    """Steps at which the direction changes."""
    change = np.diff(strains(path)[0], axis=0).reshape(-1, 9)
    unit = change / np.linalg.norm(change, axis=1, keepdims=True)
    return np.sum(np.einsum("ij,ij->i", unit[1:], unit[:-1]) < 1.0 - 1e-9)


def test_lengths_steps_and_sizes_vary_within_what_was_asked():
    paths = random_strain_paths(60, amplitude=0.02, steps=(15, 40), segments=(1, 4), seed=3)
    lengths = [path.steps for path in paths]
    assert min(lengths) >= 15 and max(lengths) <= 40 and len(set(lengths)) > 10
    found = [turns(path) for path in paths]
    assert min(found) == 0 and max(found) == 3
    sizes = np.concatenate([np.linalg.norm(strains(p)[0], axis=(1, 2)) for p in paths])
    assert 0.015 < sizes.max() <= 0.02 * (1 + 1e-12)
    steps = [np.linalg.norm(np.diff(strains(p)[0], axis=0), axis=(1, 2)) for p in paths]
    assert min(s.min() for s in steps) > 0.0
    assert np.median([s.max() / s.min() for s in steps]) > 2.0
    # Some unload: the strain gets smaller along the line to rest.
    assert sum((np.diff(np.linalg.norm(strains(p)[0], axis=(1, 2))) < 0).any() for p in paths) > 10


def test_the_same_seed_gives_the_same_paths_and_more_begin_with_them():
    first = random_strain_paths(3, amplitude=0.01, rate=(1e-3, 1.0), seed=5)
    again = random_strain_paths(5, amplitude=0.01, rate=(1e-3, 1.0), seed=5)
    other = random_strain_paths(3, amplitude=0.01, rate=(1e-3, 1.0), seed=6)
    for one, two, three in zip(first, again, other, strict=False):
        for a, b in zip(strains(one), strains(two), strict=True):
            np.testing.assert_array_equal(a, b)
        assert strains(one)[0].shape != strains(three)[0].shape or not np.array_equal(
            strains(one)[0], strains(three)[0]
        )


def test_rates_are_of_the_strain_and_logarithmically_spread():
    paths = random_strain_paths(80, amplitude=0.01, segments=(1, 3), rate=(1e-4, 1e-1), seed=1)
    rates = []
    for path in paths:
        e, t = strains(path)
        rates.append(np.linalg.norm(np.diff(e, axis=0), axis=(1, 2)) / np.diff(t))
    every = np.concatenate(rates)
    assert every.min() > 0.99e-4 and every.max() < 1.01e-1
    below = np.mean([r[0] < 10**-2.5 for r in rates])  # half of the decades
    assert 0.3 < below < 0.7
    assert any(np.ptp(np.log(r)) > 1.0 for r in rates)  # not the same in all segments


def test_options_of_directions():
    for path in random_strain_paths(10, amplitude=(0.01, 0.02), volume=0.0, seed=2):
        e = strains(path)[0]
        assert np.abs(np.trace(e, axis1=1, axis2=2)).max() < 1e-15
    for path in random_strain_paths(10, amplitude=0.01, directions="proportional", seed=2):
        e = strains(path)[0].reshape(-1, 9)
        assert np.linalg.matrix_rank(e, tol=1e-12) == 1
    shear = np.zeros((1, 3, 3))
    shear[0, 0, 1] = shear[0, 1, 0] = 7.0
    for path in random_strain_paths(10, amplitude=0.01, directions=shear, seed=2):
        e = strains(path)[0]
        assert (
            np.abs(e[:, 0, 1]).max() > 0.2 * 0.01
            and np.count_nonzero(e[:, [0, 1, 2], [0, 1, 2]]) == 0
        )


def test_deformation_gradients_are_exponentials_of_strains():
    arguments = {"amplitude": 0.4, "steps": (8, 12), "rate": (0.1, 1.0), "seed": 4}
    small = random_strain_paths(3, volume=0.0, **arguments)
    large = random_deformation_paths(3, volume=0.0, **arguments)
    for one, two in zip(small, large, strict=True):
        (segment,) = two.segments
        columns = [segment.table[f"deformation_gradient_{i}{j}"] for i in "xyz" for j in "xyz"]
        F = np.stack(columns, axis=-1).reshape(-1, 3, 3)
        np.testing.assert_allclose(np.linalg.det(F), 1.0, rtol=1e-13)
        values, vectors = np.linalg.eigh(F)
        logs = np.einsum("nik,nk,njk->nij", vectors, np.log(values), vectors)
        e, times = strains(one)
        np.testing.assert_allclose(logs, e[1:], atol=1e-14)
        np.testing.assert_allclose(segment.time * np.array(segment.fractions), times[1:])
    (one,) = simulate(admat.NeoHookean(1.0, 0.3), large[:1])
    assert len(one.data) == 9 and "first_piola_stress_yx" in one.data


def test_simulated_stresses_are_those_of_the_law():
    paths = random_strain_paths(2, amplitude=0.01, steps=(5, 9), seed=0)
    for one, path in zip(simulate(ELASTIC, paths), paths, strict=True):
        e = strains(path)[0][1:]
        mu, lmbda = 200.0 / 2.6, 200.0 * 0.3 / (1.3 * 0.4)
        stress = 2.0 * mu * e + lmbda * np.trace(e, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        for axes, (i, j) in PLACES.items():
            np.testing.assert_allclose(one.data[f"stress_{axes}"], stress[:, i, j], atol=1e-13)
        assert one.sigma is None
    (one,) = simulate(ELASTIC, paths[:1], compared=["stress_xx", "stress_xy"])
    assert list(one.data) == ["stress_xx", "stress_xy"]


def test_noise_is_relative_to_all_stresses_and_given_as_sigma():
    paths = random_strain_paths(8, amplitude=0.01, steps=(30, 50), seed=0)
    clean, noisy = simulate(ELASTIC, paths), simulate(ELASTIC, paths, noise=0.05, seed=1)
    values = np.concatenate([v for e in clean for v in e.data.values()])
    sigma = 0.05 * np.sqrt(np.mean(values**2))
    added = np.concatenate(
        [e.data[n] - c.data[n] for c, e in zip(clean, noisy, strict=True) for n in e.data]
    )
    assert noisy[0].sigma["stress_xy"] == pytest.approx(sigma, rel=1e-12)
    assert np.std(added) == pytest.approx(sigma, rel=4.0 / np.sqrt(2.0 * added.size))  # 4 sigmas
    assert abs(added.mean()) < 4.0 * sigma / np.sqrt(added.size)
    assert data_hash(noisy) == data_hash(simulate(ELASTIC, paths, noise=0.05, seed=1))
    assert data_hash(noisy) != data_hash(simulate(ELASTIC, paths, noise=0.05, seed=2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"amplitude": -1.0}, "amplitude must be .*numbers > 0"),
        ({"amplitude": "large"}, "amplitude must be"),
        ({"amplitude": (0.2, 0.1)}, "amplitude must be"),
        ({"steps": (0, 5)}, "steps must be .*whole numbers >= 1"),
        ({"steps": 5}, "steps must be"),
        ({"steps": (2, 3)}, "4 segments need as many steps"),
        ({"segments": (1.5, 2)}, "segments must be"),
        ({"rate": (0.0, 1.0)}, "rate must be"),
        ({"count": 0}, "count must be a whole number >= 1"),
        ({"count": True}, "count must be a whole number >= 1; got True"),
        ({"seed": -1}, "seed must be a whole number >= 0; got -1"),
        ({"seed": None}, "seed must be a whole number >= 0; got None"),
        ({"seed": "a"}, "seed must be a whole number >= 0; got 'a'"),
        ({"volume": 2.0}, "volume must be between 0 and 1"),
        ({"volume": "small"}, "volume must be between 0 and 1; got 'small'"),
        ({"directions": [np.eye(3), np.eye(2)]}, r"directions must be tensors \(n, 3, 3\): "),
        ({"directions": None}, r"shape \(n, 3, 3\); got \(\)"),
        ({"directions": "all"}, "directions must be 'any'"),
        ({"directions": np.zeros((2, 6))}, r"shape \(n, 3, 3\); got \(2, 6\)"),
        ({"directions": np.zeros((2, 3, 3))}, "symmetric, and not zero"),
        ({"directions": np.triu(np.ones((1, 3, 3)))}, "symmetric, and not zero"),
    ],
)
def test_wrong_paths(changed, message):
    with pytest.raises(MaterialError, match=message):
        random_strain_paths(**{"count": 2, "amplitude": 0.1} | changed)
    if "seed" in changed:
        with pytest.raises(MaterialError, match=f"random_deformation_paths: {message}"):
            random_deformation_paths(2, amplitude=0.1, **changed)


def test_numbers_of_numpy_are_numbers():
    one = random_strain_paths(np.int64(2), amplitude=np.float64(0.1), seed=np.int64(3))
    two = random_strain_paths(2, amplitude=0.1, seed=3)
    assert [str(p) for p in one] == [str(p) for p in two]


def test_wrong_simulations():
    paths = random_strain_paths(1, amplitude=0.1)
    with pytest.raises(MaterialError, match="noise must be a number >= 0"):
        simulate(ELASTIC, paths, noise=-1.0)
    with pytest.raises(MaterialError, match="expected a list of paths"):
        simulate(ELASTIC, [])
    with pytest.raises(MaterialError, match="expected a list of paths, and of components"):
        simulate(ELASTIC, paths, compared="stress_xx")
    with pytest.raises(MaterialError, match="no 'strain_xx'"):
        simulate(admat.NeoHookean(1.0, 0.3), paths)
    for changed, message in (
        ({"law": "steel"}, "simulate: expected a law; got str"),
        ({"paths": "tension"}, "simulate: expected Paths; got str"),
        ({"paths": 3}, "simulate: expected Paths; got int"),
        ({"seed": -1}, "simulate: seed must be a whole number >= 0; got -1"),
        ({"compared": 3}, "expected a list of paths, and of components to .*compared=3"),
    ):
        with pytest.raises(MaterialError, match=message):
            simulate(**{"law": ELASTIC, "paths": paths} | changed)
    assert isinstance(paths[0], Path) and learning.simulate is simulate


def test_one_path_is_a_list_of_one():
    (path,) = random_strain_paths(1, amplitude=0.1)
    assert data_hash(simulate(ELASTIC, path)) == data_hash(simulate(ELASTIC, iter([path])))


def test_scales_of_one_experiment():
    (one,) = simulate(ELASTIC, random_strain_paths(1, amplitude=0.1))
    assert learning.Scales.of(one) == learning.Scales.of([one])
    for wrong, message in (
        (random_strain_paths(1, amplitude=0.1), "Scales.of: expected Experiments; got Path"),
        (3, "Scales.of: expected Experiments; got int"),
        ([], "Scales.of: no experiments; give at least one"),
    ):
        with pytest.raises(MaterialError, match=message):
            learning.Scales.of(wrong)
    with pytest.raises(MaterialError, match=r"Scales.of: rates must be True or False; got \(1, 2"):
        learning.Scales.of(one, rates=(1, 2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rates": 1.0}, r"rates must be \(least, largest\), two numbers > 0; got 1.0"),
        ({"rates": (1.0, 2.0, 3.0)}, r"rates must be .*, two numbers > 0; got \(1.0, 2.0, 3.0\)"),
        ({"rates": (2.0, 1.0)}, "expected rates .least < largest.; got"),
        ({"nu": "a"}, r"nu must be a number in \(-1, 0.5\); got 'a'"),
        ({"nu": None}, r"nu must be a number in \(-1, 0.5\); got None"),
        ({"nu": 0.5}, r"nu must be a number in \(-1, 0.5\); got 0.5"),
        ({"E": True}, "E must be a number > 0; got True"),
        ({"strain": "small"}, "strain must be a number > 0; got 'small'"),
    ],
)
def test_wrong_scales(changed, message):
    good = {"E": np.int64(200), "nu": 0.3, "stress": np.float32(1.0), "strain": 0.01}
    assert learning.Scales(**good, rates=[1, 2]) == learning.Scales(200.0, 0.3, 1.0, 0.01, (1, 2))
    with pytest.raises(MaterialError, match=f"Scales: {message}"):
        learning.Scales(**good | changed)
