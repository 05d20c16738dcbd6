"""Training from paths: gradients, what is learned, validation, checkpoints, failing paths.

Laws of a bar, with one strain, keep the compilations short.
"""

import builtins
import json
import zipfile
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import Path, learning
from dolfinx_admat.calibration import Experiment, Free
from dolfinx_admat.calibration._specimens import Specimens
from dolfinx_admat.errors import ConvergenceError, MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.learning import _checkpoint, normalised_error, simulate, train
from dolfinx_admat.learning._objective import Objective
from dolfinx_admat.learning._weights import free_of
from dolfinx_admat.materials import SCALAR, parameter


class PlasticBar(admat.ImplicitLaw):
    """Plasticity with any isotropic hardening: one unknown."""

    E: float = parameter(above=0.0)
    hardening: object
    inputs: ClassVar = {"strain": SCALAR}
    outputs: ClassVar = {"stress": SCALAR}

    def initial_state(self):
        return {"plastic_strain": 0.0, "equivalent_plastic_strain": 0.0}

    def _trial(self, step):
        stress = self.E * (step.given["strain"] - step.state["plastic_strain"])
        return stress, jnp.sign(stress)

    def guess(self, step):
        return jnp.zeros(())

    def elastic(self, step):
        stress, side = self._trial(step)
        return side * stress <= self.hardening(step.state["equivalent_plastic_strain"])

    def residual(self, dp, step):
        stress, side = self._trial(step)
        p = step.state["equivalent_plastic_strain"] + dp
        return (side * stress - self.E * dp - self.hardening(p)) / self.E

    def finish(self, dp, step):
        stress, side = self._trial(step)
        state = {
            "plastic_strain": step.state["plastic_strain"] + side * dp,
            "equivalent_plastic_strain": step.state["equivalent_plastic_strain"] + dp,
        }
        return {"stress": stress - side * self.E * dp}, state


class Curve(learning.LearnedPart):
    """Yield stress: a sum of saturating terms, all weights of size one."""

    first: float
    size: jax.Array
    rate: jax.Array
    unit: float = eqx.field(static=True, default=250.0)

    def __call__(self, p):
        grown = self.size**2 * jnp.tanh(jnp.exp(self.rate) * 20.0 * p)
        return self.unit * (jnp.exp(self.first) + jnp.sum(grown))


class Brittle(admat.ExplicitLaw):
    """No real stress beyond a strain."""

    E: float = parameter(above=0.0)
    limit: float = parameter(above=0.0)
    inputs: ClassVar = {"strain": SCALAR}
    outputs: ClassVar = {"stress": SCALAR}

    def update(self, inputs, state, dt):
        e = inputs["strain"]
        return {"stress": self.E * e * jnp.sqrt(1.0 - e / self.limit)}, state


def voce(E=50e3, sigma_y=250.0, Q=100.0, b=40.0):
    return PlasticBar(E, admat.VoceHardening(sigma_y, Q, b))


def learned(seed=0):
    rng = np.random.default_rng(seed)
    return PlasticBar(50e3, Curve(0.4, 0.2 * rng.normal(size=2), 0.5 * rng.normal(size=2)))


def path(rng, steps):
    """Loading and a reversal."""
    turn = steps // 2 + 1
    a, b = 0.03 * rng.uniform(0.5, 1.0) * rng.choice([-1, 1], 2)
    strain = [*np.linspace(0.0, a, turn)[1:], *np.linspace(a, b, steps - turn + 2)[1:]]
    return Path().table(np.arange(1.0, len(strain) + 1.0), {"strain_xx": strain})


RNG = np.random.default_rng(7)
PATHS = [path(RNG, steps) for steps in (9, 12, 16, 10, 14, 11)]
DATA = simulate(voce(), PATHS)
FIXED = ("E", "hardening.H")
QUICK = {"epochs": 12, "batch": 3, "learning_rate": 3e-2, "progress": False, "validation": 0.3}


@pytest.fixture(scope="module")
def reference():
    """A training that nothing disturbs."""
    return train(learned(), DATA, **QUICK)


def objective(law, data=DATA, **free):
    numbers = range(len(data))
    return Objective(Specimens(law, data), free_of(law, **free), numbers, [])


def same(one, two):
    """Bit for bit, but for the time that it took."""
    a, b = ([h._replace(seconds=0.0) for h in done.history] for done in (one, two))
    np.testing.assert_array_equal(np.array(a, float), np.array(b, float))
    assert eqx.tree_equal(one.law, two.law)
    assert (one.best_epoch, one.updates) == (two.best_epoch, two.updates)


def stop_at(number):
    def progress(epoch):
        if epoch.number == number:
            raise KeyboardInterrupt

    return progress


# -- The loss ------------------------------------------------------------------------------------


def test_loss_is_the_mean_of_paths_whatever_their_length():
    law = learned()
    problem = objective(law)
    z = problem.free.to_z(problem.free.start)
    answers = simulate(law, PATHS)
    size = np.mean([np.mean(e.data["stress"] ** 2) for e in DATA])
    expected = [
        np.mean((a.data["stress"] - e.data["stress"]) ** 2) / size
        for a, e in zip(answers, DATA, strict=True)
    ]
    assert problem.losses(z, range(6)).value == pytest.approx(np.mean(expected), rel=1e-9)
    for k in range(6):
        assert problem.losses(z, [k]).value == pytest.approx(expected[k], rel=1e-9)
    every = np.concatenate([e.data["stress"] for e in DATA])
    error = np.concatenate([a.data["stress"] for a in answers]) - every
    found = normalised_error(law, DATA)
    assert found.value == pytest.approx(np.sqrt(np.mean(error**2) / np.mean(every**2)), rel=1e-9)
    assert found.failed == 0 and found.paths == len(found.each) == 6
    assert normalised_error(voce(), DATA).value < 1e-9


def test_gradient_against_differences_and_unrolled_derivatives():
    law = learned()
    problem = objective(law)
    free = problem.free
    z = jnp.asarray(free.to_z(free.start))
    assert free.log[free.names.index("E")] and not free.log[free.names.index("hardening.first")]
    (batch,) = problem.minibatches(6, np.random.default_rng(0))
    value, slope, failed = problem.gradient(z, batch)
    assert value == pytest.approx(problem.losses(z, range(6)).value, rel=1e-12) and failed == ()
    for k in range(free.size):
        at = lambda h, k=k: problem.losses(z + h * (np.arange(free.size) == k), range(6)).value  # noqa: E731
        coarse, fine = ((at(h) - at(-h)) / (2.0 * h) for h in (2e-4, 1e-4))
        # Error of the differences: h^4, and the local tolerance over h.
        difference = (4.0 * fine - coarse) / 3.0
        assert slope[k] == pytest.approx(difference, rel=1e-6, abs=1e-8)
    unrolled = PlasticBar(law.E, law.hardening, solver=LocalNewton(tangent="unrolled"))
    other = objective(unrolled).gradient(z, batch)[1]
    np.testing.assert_allclose(slope, other, rtol=1e-8, atol=1e-12)


def test_gaps_sigma_and_weights():
    """A gap is no datum; one sigma for all changes nothing, as the loss is relative."""
    law = learned()
    gaps = []
    for one in DATA:
        values = one.data["stress"].copy()
        values[::3] = np.nan
        gaps.append(Experiment(one.path, {"stress": values}))
    problem = objective(law, gaps)
    z = problem.free.to_z(problem.free.start)
    answers = simulate(law, PATHS)
    pairs = [
        (a.data["stress"][k], e.data["stress"][k])
        for a, e in zip(answers, gaps, strict=True)
        for k in [~np.isnan(e.data["stress"])]
    ]
    expected = np.mean([np.mean((a - e) ** 2) for a, e in pairs])
    expected /= np.mean([np.mean(e**2) for _, e in pairs])
    assert problem.losses(z, range(6)).value == pytest.approx(expected, rel=1e-9)
    plain = objective(law).losses(z, range(6)).value
    sigmas = [Experiment(e.path, e.data, sigma=3.0) for e in DATA]
    assert objective(law, sigmas).losses(z, range(6)).value == pytest.approx(plain, rel=1e-12)
    weights = [1, 1, 1, 1, 1, 4]
    heavy = [Experiment(e.path, e.data, weights=w) for e, w in zip(DATA, weights, strict=True)]
    assert objective(law, heavy).losses(z, range(6)).value != pytest.approx(plain, rel=1e-3)


def test_which_numbers_are_trained_and_how():
    law = learned()
    free = free_of(law)
    weights = {"hardening.first", "hardening.size", "hardening.rate"}
    assert set(free.parameters) == {"E", *weights}
    assert (free.scale[1:] == 1.0).all()
    assert free_of(law, fixed="hardening").parameters == ["E"]
    assert set(free_of(law, ["hardening"]).parameters) == weights
    some = free_of(law, {"E": (1e4, 3e5), "hardening.size": None}, fixed=["hardening.first"])
    assert some.parameters == ["E", "hardening.size"] and not some.log.any()
    assert some.upper[0] == 3e5
    # Not positive by declaration, or zero: relative to its size.
    assert not free_of(voce(), ["hardening.H"]).log.any()
    rotated = admat.Rotated(admat.LinearElastic(1.0, 0.3), np.eye(3))
    assert all("rotation" not in n and "axes" not in n for n in free_of(rotated).parameters)


# -- What is learned -----------------------------------------------------------------------------


def test_recovers_the_parameters_of_a_known_law():
    data = simulate(voce(b=150.0), PATHS)
    guess = voce(E=35e3, sigma_y=350.0, Q=200.0, b=60.0)
    done = train(guess, data, epochs=800, batch=3, learning_rate=5e-2, seed=1, progress=False,
                 fixed="hardening.H", validation=0.2)  # fmt: skip
    values = {"E": 50e3, "sigma_y": 250.0, "Q": 100.0, "b": 150.0}
    found = {"E": done.law.E, **{n: getattr(done.law.hardening, n) for n in list(values)[1:]}}
    # Within two steps of the learning rate that is left, 5e-4.
    for name, value in values.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-3), name
    assert done.validation_error.value < 1e-3 and done.weights == 0 and done.parameters == 4
    assert float(done.law.hardening.H) == float(guess.hardening.H)


def test_a_learned_curve_finds_the_hardening():
    done = train(learned(), DATA, epochs=250, batch=3, learning_rate=3e-2, seed=0, progress=False,
                 validation=[], parameters=["hardening"])  # fmt: skip
    assert done.training_error.value < 0.01  # begins at about 0.2
    p = np.linspace(0.0, 0.03, 20)
    truth = 250.0 + 100.0 * (1.0 - np.exp(-40.0 * p))
    found = jax.vmap(done.law.hardening)(jnp.asarray(p))
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.02 * truth.mean()
    assert float(done.law.E) == 50e3 and done.weights == 5 and done.validation_error is None
    assert done.history[-1].training < 2e-3 * done.history[0].training
    assert np.isnan(done.history[-1].validation)


def test_noise_stays_as_the_error():
    noisy = simulate(voce(), PATHS, noise=0.03, seed=3)
    guess = voce(sigma_y=300.0, Q=60.0)
    done = train(guess, noisy, epochs=150, batch=6, learning_rate=3e-2, validation=[],
                 progress=False, parameters=["hardening.sigma_y", "hardening.Q"])  # fmt: skip
    count = sum(p.steps for p in PATHS)
    # 3 % in each datum, less what two parameters take; 4 standard deviations of an rms.
    assert done.training_error.value == pytest.approx(0.03, rel=4.0 / np.sqrt(2.0 * count))
    assert float(done.law.hardening.sigma_y) == pytest.approx(250.0, rel=0.05)


# -- Validation and seeds ------------------------------------------------------------------------


def test_history_best_and_report(reference, tmp_path):
    done = reference
    assert len(done.validation_paths) == 2 and len(done.training_paths) == 4
    assert sorted((*done.training_paths, *done.validation_paths)) == list(range(6))
    assert [e.number for e in done.history] == list(range(13)) and done.epochs == 12
    losses = [e.validation for e in done.history]
    assert done.best_loss == min(losses) and done.best_epoch == int(np.argmin(losses))
    problem = Objective(
        Specimens(learned(), DATA), free_of(done.law), done.training_paths, done.validation_paths
    )
    z = problem.free.to_z(problem.free.start)
    assert problem.losses(z, done.validation_paths).value == pytest.approx(done.best_loss, rel=1e-9)
    assert done.updates == 24 and done.failed == done.skipped == 0
    text = str(done)
    for part in ("PlasticBar", "5 weights and 1 physical", "4 training paths, 2 validation",
                 done.data_hash, "all 12 epochs done", "optax", "seed 0"):  # fmt: skip
        assert part in text, part
    done.plot(tmp_path / "plots" / "curves.png")
    assert (tmp_path / "plots" / "curves.png").stat().st_size > 5_000


def test_save_has_everything_about_the_training(reference, tmp_path):
    ranges = {"strain": (-0.03, 0.03)}
    file = reference.save(tmp_path / "law.json", units={"stress": "MPa"}, training_range=ranges,
                          notes="a test")  # fmt: skip
    again = admat.load_law(file, known=[PlasticBar, Curve])
    assert eqx.tree_equal(again, reference.law)
    about = admat.read_law_file(file)
    assert about.data_hash == reference.data_hash and about.training_range == ranges
    assert about.errors["validation error"] == reference.validation_error.value
    assert about.notes["training"]["settings"]["learning_rate"] == 3e-2
    assert about.notes["notes"] == "a test"


def test_seeds(reference):
    same(reference, train(learned(), DATA, **QUICK))
    other = train(learned(), DATA, seed=1, **QUICK)
    assert not eqx.tree_equal(other.law, reference.law)


def test_patience_stops_and_the_best_law_is_kept():
    """A rate far too large: the loss jumps about, and the best epoch is in the past."""
    done = train(learned(), DATA, patience=4, **QUICK | {"epochs": 100, "learning_rate": 0.5,
                                                         "decay": None})  # fmt: skip
    assert done.stopped == "no better for 4 epochs"
    assert done.epochs == done.best_epoch + 4 < 100
    assert done.best_loss == min(e.validation for e in done.history)
    assert done.history[-1].validation > done.best_loss


def test_validation_by_further_experiments():
    done = train(learned(), DATA[:4], **QUICK | {"validation": DATA[4:], "epochs": 2})
    assert done.training_paths == (0, 1, 2, 3) and done.validation_paths == (4, 5)


# -- Interrupts and checkpoints ------------------------------------------------------------------


def test_interrupted_and_resumed_is_the_same_bit_for_bit(reference, tmp_path):
    file = tmp_path / "new folder" / "run.ckpt"
    first = train(learned(), DATA, checkpoint=file, every=5,
                  **QUICK | {"progress": stop_at(7)})  # fmt: skip
    assert first.interrupted and first.stopped == "interrupted" and first.epochs == 7
    assert first.best_loss == min(e.validation for e in first.history)
    assert [f.name for f in file.parent.iterdir()] == ["run.ckpt"]  # nothing temporary is left
    seen = []
    second = train(learned(), DATA, checkpoint=file, **QUICK | {"progress": seen.append})
    assert [e.number for e in seen] == [8, 9, 10, 11, 12]
    same(second, reference)
    assert second.seconds > first.seconds
    # It is done: nothing is left to do.
    same(train(learned(), DATA, checkpoint=file, **QUICK), reference)
    # Begin anew.
    seen.clear()
    train(learned(), DATA, checkpoint=file, resume=False, **QUICK | {"progress": seen.append})
    assert seen[0].number == 0


def test_killed_in_an_epoch_goes_on_from_the_last_checkpoint(reference, tmp_path, monkeypatch):
    file, calls = tmp_path / "run.ckpt", []
    plain = Objective.gradient

    def fails(self, z, batch):
        calls.append(1)
        if len(calls) == 18:  # in epoch 9, of two updates each
            raise RuntimeError("power failure")
        return plain(self, z, batch)

    monkeypatch.setattr(Objective, "gradient", fails)
    with pytest.raises(RuntimeError, match="power failure"):
        train(learned(), DATA, checkpoint=file, every=4, **QUICK)
    monkeypatch.undo()
    seen = []
    done = train(learned(), DATA, checkpoint=file, **QUICK | {"progress": seen.append})
    assert seen[0].number == 9
    same(done, reference)


def test_more_epochs_without_decay(tmp_path):
    file = tmp_path / "run.ckpt"
    options = QUICK | {"decay": None}
    train(learned(), DATA, checkpoint=file, **options | {"epochs": 4})
    longer = train(learned(), DATA, checkpoint=file, **options | {"epochs": 8})
    same(longer, train(learned(), DATA, **options | {"epochs": 8}))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("checkpoints") / "run.ckpt"
    train(learned(), DATA, checkpoint=file, **QUICK | {"epochs": 2})
    return file


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"law": learned(1)}, r"another training \(law: '.*resume=False to begin anew"),
        ({"experiments": DATA[::-1]}, r"another training \(.*data: "),
        ({"learning_rate": 0.1}, r"\(learning_rate: 0.03 in the file, 0.1 now\)"),
        ({"epochs": 3}, r"\(epochs: 2 in the file, 3 now\)"),
        ({"seed": 4}, "another training"),
        ({"fixed": ["E"]}, r"\(trained: "),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(checkpoint, changed, message):
    given = QUICK | {"law": learned(), "experiments": DATA, "epochs": 2} | changed
    law, data = given.pop("law"), given.pop("experiments")
    before = checkpoint.read_bytes()
    with pytest.raises(MaterialError, match=message):
        train(law, data, checkpoint=checkpoint, **given)
    assert checkpoint.read_bytes() == before


def test_another_optimiser_or_a_damaged_file_is_refused(checkpoint, tmp_path):
    options = QUICK | {"epochs": 2}
    optax = pytest.importorskip("optax")
    mine = tmp_path / "sgd.ckpt"
    train(learned(), DATA, checkpoint=mine, optimiser=optax.sgd(1e-2), **options)
    with pytest.raises(MaterialError, match=r"does not fit.*(another optimiser|memory)"):
        train(learned(), DATA, checkpoint=mine, optimiser=optax.adam(1e-2), **options)
    content = checkpoint.read_bytes()
    middle = len(content) // 2
    holed = content[:middle] + b"\x00" * 80 + content[middle + 80 :]
    for k, damaged in enumerate((b"", b"not a file", content[:-100], holed)):
        file = tmp_path / f"{k}.ckpt"
        file.write_bytes(damaged)
        with pytest.raises(MaterialError, match="no checkpoint of a training, or damaged"):
            train(learned(), DATA, checkpoint=file, **options)
        assert file.read_bytes() == damaged
    pickled = tmp_path / "pickled.ckpt"
    np.savez(pickled.with_suffix(".npz"), header=np.array([object()], object))
    pickled.with_suffix(".npz").rename(pickled)
    with pytest.raises(MaterialError, match="no checkpoint"):
        train(learned(), DATA, checkpoint=pickled, **options)


def test_a_checkpoint_is_plain_data(checkpoint):
    with np.load(checkpoint, allow_pickle=False) as file:
        names = set(file.files)
        about = json.loads(file["header"].tobytes())
    assert {"header", "z", "best", "history"} <= names and about["epoch"] == 2
    assert all(name.endswith(".npy") for name in zipfile.ZipFile(checkpoint).namelist())


# -- Paths that fail -----------------------------------------------------------------------------


def ramps(*ends):
    return [Path().ramp({"strain_xx": e}, steps=4) for e in ends]


def test_failing_paths_are_left_out_and_counted():
    data = simulate(admat_bar := Brittle(100.0, 1.0), ramps(0.2, 0.3, 0.4, 0.5))
    guess = Brittle(50.0, 0.45)  # the path to 0.5 has no stress there
    done = train(guess, data, fixed="limit", epochs=60, batch=4, learning_rate=0.05, validation=[],
                 progress=False)  # fmt: skip
    assert done.failed == 60 and done.skipped == 0 and done.updates == 60
    assert all(e.failed == 1 for e in done.history)
    assert done.training_error.failed == 1 and np.isnan(done.training_error.each[3])
    assert "60 times a path failed" in str(done) and "1 of 4 paths failed" in str(done)
    # The others were learned: least squares of E by hand, each path with the same weight.
    e = [np.linspace(0.0, end, 5)[1:] for end in (0.2, 0.3, 0.4)]
    shape = [x * np.sqrt(1.0 - x / 0.45) for x in e]
    stress = [x * 100.0 * np.sqrt(1.0 - x) for x in e]
    best = sum(map(np.dot, shape, stress)) / sum(map(np.dot, shape, shape))
    assert float(done.law.E) == pytest.approx(best, rel=1e-2)
    assert isinstance(admat_bar, Brittle)


def test_an_update_of_which_all_paths_fail_is_skipped():
    data = simulate(Brittle(100.0, 1.0), ramps(0.2, 0.5))
    done = train(Brittle(50.0, 0.45), data, fixed="limit", epochs=5, batch=1, validation=[],
                 progress=False)  # fmt: skip
    assert done.skipped == 5 and done.updates == 5 and done.failed == 5
    assert done.history[-1].skipped == 1


def test_all_paths_fail():
    data = simulate(Brittle(100.0, 1.0), ramps(0.5, 0.6))
    with pytest.raises(ConvergenceError, match="fails in all 2 training paths with the first val"):
        train(Brittle(50.0, 0.45), data, validation=[], progress=False)
    # The first update sends the limit far below.
    with pytest.raises(ConvergenceError, match="in epoch 2; take a smaller learning rate"):
        train(Brittle(500.0, 0.7), data, parameters={"limit": Free()}, learning_rate=0.9,
              validation=[], progress=False, decay=None)  # fmt: skip


def test_steps_are_divided_where_the_driver_helps(tmp_path):
    """Too few iterations for whole steps; the division is part of what is resumed."""
    steep = Curve(0.0, [1.0, 1.0], [3.0, 1.0])
    law = PlasticBar(50e3, steep, solver=LocalNewton(max_iterations=4))
    data = simulate(voce(), PATHS[:3])
    problem = objective(law, data)
    assert problem.losses(problem.free.to_z(problem.free.start), range(3)).failed
    options = {"validation": [], "epochs": 3, "fixed": "E"}
    done = train(law, data, progress=False, **options)
    assert done.refinements == 1 and done.failed == 0 and done.training_error.failed == 0
    file = tmp_path / "run.ckpt"
    train(law, data, progress=stop_at(1), checkpoint=file, **options)
    same(train(law, data, progress=False, checkpoint=file, **options), done)


# -- Wrong arguments and what is missing ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"law": "steel"}, "train: expected a law; got str"),
        ({"epochs": 0}, "epochs must be a whole number >= 1"),
        ({"batch": 0.5}, "batch must be a whole number >= 1"),
        ({"every": True}, "every must be a whole number >= 1; got True"),
        ({"patience": 0}, "patience must be a whole number >= 1; got 0"),
        ({"patience": -2}, "patience must be a whole number >= 1; got -2"),
        ({"patience": "a"}, "patience must be a whole number >= 1; got 'a'"),
        ({"seed": -1}, "train: seed must be a whole number >= 0; got -1"),
        ({"seed": None}, "train: seed must be a whole number >= 0; got None"),
        ({"seed": "a"}, "train: seed must be a whole number >= 0; got 'a'"),
        ({"optimiser": "adam"}, "optimiser must be one of optax, with init and .* got 'adam'"),
        ({"optimiser": ""}, "optimiser must be one of optax, .* got ''"),
        ({"progress": "x"}, "progress must be True, False or a function .* got 'x'"),
        ({"progress": None}, "progress must be True, False or a function .* got None"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0"),
        ({"clip": -1.0}, "clip must be a number > 0"),
        ({"decay": "linear"}, "decay must be 'cosine', 'exponential' or None"),
        ({"validation": 1.0}, r"a fraction in \[0, 1\), or experiments"),
        ({"experiments": DATA[:1]}, "1 experiments are too few to keep some"),
        ({"parameters": ["Em"]}, "no 'Em'"),
        ({"fixed": ["Em"]}, "no 'Em'"),
        ({"fixed": ["E", "hardening"]}, "nothing to train"),
        ({"parameters": ["hardening", "hardening.first"]}, "named twice"),
        ({"experiments": PATHS}, "expected Experiments; got Path"),
    ],
)
def test_wrong_arguments(changed, message):
    given = QUICK | {"law": learned(), "experiments": DATA} | changed
    law, data = given.pop("law"), given.pop("experiments")
    with pytest.raises(MaterialError, match=message):
        train(law, data, **given)


def test_wrong_arguments_of_the_error():
    with pytest.raises(MaterialError, match="normalised_error: expected a law; got str"):
        normalised_error("steel", DATA)
    with pytest.raises(MaterialError, match="expected Experiments; got Path"):
        normalised_error(voce(), PATHS)


def test_a_damage_without_a_text_has_a_name(tmp_path, monkeypatch):
    def fails(*arguments, **more):
        raise NotImplementedError

    file = tmp_path / "run.ckpt"
    file.write_bytes(b"x")
    monkeypatch.setattr(np, "load", fails)
    with pytest.raises(MaterialError, match=r"or damaged \(NotImplementedError\); delete it"):
        _checkpoint.read(file)


def test_without_optax(monkeypatch):
    plain = builtins.__import__

    def missing(name, *arguments, **more):
        if name == "optax":
            raise ImportError(name)
        return plain(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MaterialError, match="optax is missing; pip install optax"):
        train(learned(), DATA, **QUICK)


@pytest.mark.parametrize("bar", [True, False])
def test_progress_is_shown(capsys, monkeypatch, bar):
    plain = builtins.__import__

    def without(name, *arguments, **more):
        if name == "tqdm" and not bar:
            raise ImportError(name)
        return plain(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    train(learned(), DATA, **QUICK | {"progress": True, "epochs": 2})
    shown = capsys.readouterr()
    assert "validation" in shown.err and shown.out == ""
    assert ("epoch 2/2" in shown.err) != bar
    train(learned(), DATA, **QUICK | {"progress": False, "epochs": 2})
    assert capsys.readouterr().err == ""
