"""The benchmark of learned laws: black boxes, data, closed cycles, keys."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from benchmarks import results, tables
from benchmarks.__main__ import SECTIONS, TRUTHS, owned
from benchmarks.learning import blackbox, cycles, data, models, protocol, section, truths
from dolfinx_admat import learning

MOVED = {"active": data.ACTIVE, "volume": 0.3, "rates": None, "seed": 3}


@pytest.fixture(scope="module")
def truth():
    """A law in closed form, which compiles in no time; rate-dependent."""
    return truths.truth("maxwell")._replace(steps=8)


@pytest.fixture(scope="module")
def experiments(truth):
    return data.training(truth, 5)


@pytest.fixture(scope="module", params=["FeedForward", "Lstm"])
def box(request, truth, experiments):
    known = data.histories(experiments)
    sizes = blackbox.Sizes.of(known, rates=True), blackbox.Linear.of(known)
    size = {"window": 3, "width": 4} if request.param == "FeedForward" else {"width": 4}
    return getattr(blackbox, request.param).create(*sizes, seed=1, **size)


def histories_of(experiments):
    known = data.histories(experiments)
    return known.strain[:, 1:], np.diff(known.times, axis=1)


def test_black_boxes_are_causal_and_deterministic(box, experiments):
    """The stress does not know later strains, and starts at zero."""
    strain, dt = histories_of(experiments)
    stress, code = cycles.respond(box, strain, dt)
    again, _ = cycles.respond(box, strain, dt)
    assert not np.asarray(code).any()
    np.testing.assert_array_equal(stress, again)
    changed = strain.copy()
    changed[:, 5:] += 1e-3
    other, _ = cycles.respond(box, changed, dt)
    np.testing.assert_array_equal(stress[:, :5], other[:, :5])
    assert (np.asarray(other[:, 5:]) != np.asarray(stress[:, 5:])).all()


def test_feedforward_forgets_and_the_rest_is_free_of_stress(truth, experiments):
    known = data.histories(experiments)
    law = blackbox.FeedForward.create(
        blackbox.Sizes.of(known, True), blackbox.Linear.of(known), window=3, width=4
    )
    strain, dt = histories_of(experiments)
    still, _ = cycles.respond(law, np.zeros_like(strain), dt)
    np.testing.assert_allclose(still, 0.0, atol=1e-12)
    # Two histories that end with the same four strains: three increments are all that it sees.
    other = strain.copy()
    other[:, :4] *= 0.5
    a, b = (cycles.respond(law, e, dt)[0] for e in (strain, other))
    np.testing.assert_allclose(a[:, -1], b[:, -1], rtol=0, atol=1e-12 * float(jnp.abs(a).max()))
    assert float(jnp.abs(a[:, 4] - b[:, 4]).max()) > 1e-3 * float(jnp.abs(a).max())


def test_weights_of_black_boxes_are_weights(box):
    names = learning.weight_names(box)
    assert names and not names & {"kappa", "mu", "step_mu"}


def test_linear_part_begins_as_the_least_squares_fit():
    """An elastic material: exactly its moduli, and nothing depends on the increment."""
    elastic = truths.truth("j2_mixed")._replace(
        law=admat.LinearElastic(3.0e3, 0.2), steps=8, rates=None
    )
    found = blackbox.Linear.of(data.histories(data.training(elastic, 4)))
    kappa, mu = 3.0e3 / (3.0 * 0.6), 3.0e3 / 2.4
    assert found.kappa == pytest.approx(kappa, rel=1e-10)
    assert found.mu == pytest.approx(mu, rel=1e-10)
    assert 0.0 < found.step_mu < 5e-3 * mu  # the smallest one that there is


def test_training_paths_move_one_shear_and_tests_all(truth):
    strain = data.histories(data.training(truth, 5)).strain
    assert not strain[..., 4:].any() and strain[..., :4].any(axis=(0, 1)).all()
    sets = data.tests(truth, 2)
    assert tuple(sets) == data.SETS
    assert data.histories(sets["unseen_direction"]).strain.any(axis=(0, 1)).all()
    seen, far = (
        np.linalg.norm(data.histories(sets[name]).strain, axis=-1).max(axis=1)
        for name in ("seen", "unseen_amplitude")
    )
    assert seen.max() <= 1.0001 * truth.amplitude < far.min()


def test_more_training_paths_begin_with_the_same(truth, experiments):
    fewer = data.training(truth, 2)
    assert [e.digest() for e in fewer] == [e.digest() for e in experiments[:2]]


def test_turned_copies_are_answers_of_an_isotropic_law(truth, experiments):
    copies = data.turned(experiments[:2], 2, seed=1)
    assert len(copies) == 6 and data.histories(copies[2:]).strain.any(axis=(0, 1)).all()
    assert learning.normalised_error(truth.law, copies).value < 1e-12


class Spring(admat.ExplicitSmallStrain):
    """Elastic, or with a stress that goes ahead of the strain: energy out of every cycle."""

    ahead: float

    def initial_state(self):
        return {"strain": jnp.zeros(6)}

    def update(self, strain, state, dt):
        change = strain - state["strain"]
        return 1e3 * (strain - self.ahead * change), {"strain": strain}


def test_closed_cycles_find_whoever_gives_work():
    closed = cycles.random_cycles(0.01, 20, **MOVED)
    np.testing.assert_allclose(closed.strain[:10, -1], 0.0, atol=1e-15)
    last = closed.begin[-1]
    np.testing.assert_allclose(closed.strain[10:, last], closed.strain[10:, -1], atol=1e-15)
    assert cycles.gains(Spring(0.0), closed) == (0.0, 0.0, 1.0)
    # A stress that lags behind dissipates, one that is ahead gives work.
    assert cycles.gains(Spring(-0.5), closed).violated == 0.0
    assert cycles.gains(Spring(0.5), closed).violated > 0.9


def test_failed_paths_count_as_no_stress(truth):
    """One of two equal paths fails: an error of sqrt(1/2)."""

    class Fragile(admat.ExplicitSmallStrain):
        limit: float
        law: admat.LinearElastic = admat.LinearElastic(1e3, 0.2)

        def update(self, strain, state, dt):
            broken = jnp.abs(strain[0]) > self.limit
            return jnp.where(broken, jnp.nan, self.law.elasticity.stress(strain)), state

    path = lambda e: admat.Path().ramp(  # noqa: E731
        {f"strain_{a}": (e if a == "xx" else 0.0) for a in data._AXES}, steps=2
    )
    some = learning.simulate(Fragile(9.0), [path(0.01), path(-0.01)])
    assert protocol.errors(Fragile(9.0), {"all": some}) == ({"all": 0.0}, 0)
    one = [some[0], learning.simulate(Fragile(9.0), [path(0.02)])[0]]
    found = protocol.errors(Fragile(0.015), {"a": one[:1], "b": one[1:], "both": one})
    assert found.by_set["a"] == 0.0 and found.by_set["b"] == 1.0 and found.failed == 2
    assert found.by_set["both"] == pytest.approx(np.sqrt(0.8))


def test_budget_counts_updates_whatever_the_number_of_paths():
    budget = protocol.Budget(updates=400, batch=4, validation=0.2)
    assert [budget.epochs(n) for n in (5, 20, 50)] == [400, 100, 40]
    assert budget.epochs(80, keep=False) == 20
    assert protocol.Budget(updates=10, batch=2, validation=0.0).epochs(2) == 10


def test_all_models_get_the_same_learning_rates_and_black_boxes_the_most_sizes():
    for name in truths.NAMES:
        tried = models.configurations(truths.truth(name))
        assert tuple(tried) == models.MODELS
        for each in tried.values():
            rates = [c.learning_rate for c in each]
            assert rates == list(models.RATES) * (len(each) // len(models.RATES))
        for box in models.BLACK_BOXES:
            assert len(tried[box]) >= max(len(tried["implicit_gsm"]), len(tried["wrong_family"]))


def test_whole_protocol_in_small(monkeypatch):
    """One truth, few updates: all keys, and they are what the section owns."""
    small = truths.truth("maxwell")._replace(
        steps=6, implicit=(lambda scales, seed: admat.LinearElastic(scales.E, scales.nu),)
    )
    monkeypatch.setattr(truths, "truth", lambda name: small)
    every = models.configurations(small)
    first = {name: (tried[0], tried[0]) for name, tried in every.items()}  # fewer programs
    monkeypatch.setattr(models, "configurations", lambda truth: first)
    options = section.Options(
        budget=protocol.Budget(updates=4, batch=4, seeds=2), paths=5, test_paths=2,
        more_paths=(6,), cycles=4, longer=2, turned=1, plate=False,
        only=("implicit_gsm", "lstm"),
    )  # fmt: skip
    numbers, curves = section.measure_truth("maxwell", options)
    errors = {f"{name}.error" for name in (*data.SETS, "noisy")}
    for model in options.only:
        found = {k.split(".", 3)[3] for k in numbers if k.startswith(f"learning.maxwell.{model}.")}
        assert errors <= found
        assert {"violations", "train_seconds", "weights", "paths_6.seen.error"} <= found
    assert "learning.maxwell.lstm.updates_2x.seen.error" in numbers
    assert "learning.maxwell.lstm.turned.unseen_direction.error" in numbers
    assert all(np.isfinite(v) and v >= 0.0 for v in numbers.values())
    assert all(owned("learning", ["maxwell"])(key) for key in numbers)
    assert not any(owned("learning", ["chaboche"])(key) for key in numbers)
    assert len(curves["seen"]["truth"]) == len(curves["seen"]["lstm"]) == 7
    json.dumps(curves)
    text = tables.learning_errors(numbers) + tables.learning_more(numbers)
    assert text.count("| `maxwell` |") == 4


def test_sections_and_truths_have_the_same_names():
    assert set(SECTIONS["learning"].parts) == set(TRUTHS) == {*truths.NAMES, "treloar"}
    assert set(tables.LAWS) == set(TRUTHS) and tuple(tables.MODELS) == models.MODELS


def test_results_of_parts_that_run_together_are_all_kept(tmp_path):
    file = tmp_path / "results.json"
    for name in ("a", "b"):
        key = f"learning.{name}.lstm.seen.error"
        results.update({key: 0.5}, lambda k, n=name: k.split(".")[1] == n, file)
    assert len(results.read(file)) == 2


def test_sheet_of_rubber_against_the_closed_form():
    """Neo-Hookean: P_i = mu (l_i - l_3^2 / l_i); and black boxes go through training."""
    rubber = pytest.importorskip("benchmarks.learning.rubber")
    law = rubber.Sheet(admat.Incompressible(admat.NeoHookean(1.0, 0.3)))
    mu, a, b = 1.0 / 2.6, 1.7, 1.2
    inputs = {"first_stretch": jnp.asarray(a), "second_stretch": jnp.asarray(b)}
    outputs, _ = law.update(inputs, law.initial_state(), jnp.ones(()))
    third = 1.0 / (a * b)
    assert float(outputs["first_stress"]) == pytest.approx(mu * (a - third**2 / a), rel=1e-12)
    assert float(outputs["second_stress"]) == pytest.approx(mu * (b - third**2 / b), rel=1e-12)
    stretch = np.array([1.2, 1.5])
    some = [rubber.experiment(0, stretch, stretch - stretch**-2, parts=2)]
    box = rubber.Sheet(blackbox.RubberLstm.create(stress=1.0, strain=1.0, width=3))
    done = learning.train(box, some, validation=0, epochs=5, progress=False)
    assert done.best_loss < done.history[0].training
    rest = {name: jnp.ones(()) for name in inputs}
    still, _ = rubber.Sheet(
        blackbox.RubberFeedForward.create(stress=1.0, strain=1.0, width=3)
    ).update(rest, {}, jnp.ones(()))
    assert max(abs(float(v)) for v in jax.tree.leaves(still)) < 1e-15
