"""Shipped learned laws find materials from a few short paths, and are right on unseen ones.

Data: 6 paths of 8 steps with up to two corners, other ones for the test. Bounds are about twice the
largest error of three seeds of the weights, and the factors against the untrained law half of the
smallest one.
"""

import pytest

import dolfinx_admat as admat
from benchmarks.learning import blackbox
from benchmarks.learning import data as black_data
from dolfinx_admat import learning
from dolfinx_admat.learning import normalised_error, simulate, train

PATHS = {"steps": (8, 8), "segments": (1, 3)}
SMALL = PATHS | {"amplitude": 0.02, "volume": 0.1}
TRAINING = {"epochs": 300, "batch": 6, "validation": [], "progress": False}
RATE = 0.1
STEEL = admat.J2Plasticity(200e3, 0.3, admat.SwiftHardening(700.0, 2e-3, 0.2))


def data_of(truth, make=learning.random_strain_paths, **options):
    """Experiments for training, and unseen ones."""
    return [simulate(truth, make(6, seed=seed, **options)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def steel():
    return data_of(STEEL, **SMALL)


def trained(law, data, *, error, factor, **options):
    """The error on unseen paths, after asserting that training has made it small.

    Args:
        law: Untrained.
        data: Experiments for training, and unseen ones.
        error: What is allowed on the unseen ones.
        factor: How much smaller it must be than that of the untrained law.
        options: Of ``train``.
    """
    seen, unseen = data
    first = normalised_error(law, unseen).value
    done = train(law, seen, learning_rate=RATE, **TRAINING, **options)
    found = normalised_error(done.law, unseen)
    assert found.failed == done.failed == 0
    assert found.value < error, found
    assert found.value < first / factor, (found, first)
    return found.value


def test_elastoplastic_and_five_times_better_than_an_lstm(steel):
    """Neither elasticity nor hardening is known; four sigmoids stand for Swift's power law."""
    law = learning.LearnedElastoviscoplastic.create(learning.Scales.of(steel[0]), branches=1)
    found = trained(law, steel, error=0.025, factor=7.0)
    # The same data and number of updates, with its best rate of 0.1, 0.03 and 0.01.
    known = black_data.histories(steel[0])
    sizes, linear = blackbox.Sizes.of(known, rates=False), blackbox.Linear.of(known)
    lstm = train(blackbox.Lstm.create(sizes, linear), steel[0], learning_rate=0.01, **TRAINING)
    assert lstm.training_error.value < 0.03  # it has learned what it was given
    assert 5.0 * found < normalised_error(lstm.law, steel[1]).value


def test_hybrid_of_classical_elasticity_and_learned_hardening(steel):
    hardening = learning.LearnedHardening.create(yield_stress=200.0, strain=0.02, seed=0)
    hooke = admat.IsotropicElasticity(200e3, 0.3)
    law = admat.Elastoviscoplastic(hooke, admat.VonMises(), hardening)
    trained(law, steel, error=0.02, factor=6.0, fixed=["elasticity"])


@pytest.mark.full
def test_viscoplastic():
    """Rates over three decades, a power law of the overstress."""
    hardening = admat.LinearHardening(250.0, 2e3)
    truth = admat.PerzynaViscoplasticity(200e3, 0.3, hardening, K=150.0, n=3.0)
    data = data_of(truth, rate=(1e-3, 1.0), **SMALL)
    scales = learning.Scales.of(data[0], rates=True)
    law = learning.LearnedElastoviscoplastic.create(scales, branches=1)
    trained(law, data, error=0.03, factor=5.0)


@pytest.mark.full
def test_hyperelastic_with_fibres():
    """Stretches to 1.35 and more along fibres whose stress grows exponentially."""
    fibres = [[1.0, 1.0, 0.0]]
    truth = admat.HolzapfelGasserOgden(1.0, 2.0, 1.0, fibres, kappa=20.0)
    data = data_of(truth, learning.random_deformation_paths, amplitude=0.3, volume=0.02, **PATHS)
    law = learning.LearnedHyperelastic.create(
        stress=0.3, kappa=15.0, stretch=1.4, directions=fibres, width=4
    )
    trained(law, data, error=0.04, factor=15.0)
