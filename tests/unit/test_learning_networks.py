"""Networks and curves: convex and increasing whatever their weights are."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learned import disturbed

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, law_file, learning, load_law, save_law
from dolfinx_admat.learning._part import inverse_positive, positive, weight_names

SEEDS = range(4)
#: Size of the random change of all weights: as made, as trained, and far beyond.
SIZES = (0.0, 1.0, 5.0)


def points(rng, count, size):
    """Near zero and far away."""
    return rng.standard_normal((count, size)) * 10.0 ** rng.uniform(-2, 1.5, (count, 1))


@jax.jit
def chords(f, a, b):
    """How far the middle is above the chord, relative to the values."""
    ends = jax.vmap(f)(a), jax.vmap(f)(b)
    middle = jax.vmap(f)(0.5 * (a + b))
    size = jnp.abs(ends[0]) + jnp.abs(ends[1]) + 1.0
    return jnp.max((middle - 0.5 * (ends[0] + ends[1])) / size)


@jax.jit
def curvatures(f, x):
    """Least eigenvalue of the second derivative, relative to the largest."""
    eigenvalues = jnp.linalg.eigvalsh(jax.vmap(jax.hessian(f))(x))
    return jnp.min(eigenvalues[:, 0] / (1e-30 + eigenvalues[:, -1]))


@jax.jit
def slopes(f, x):
    return jax.vmap(jax.grad(f))(x)


values = jax.jit(lambda f, x: jax.vmap(f)(x))
of_weights = jax.jit(jax.grad(lambda curve, x: curve(x)))
integrals = jax.jit(lambda curve, x: jax.vmap(curve.integral)(x))


def assert_convex(f, size, seed):
    rng = np.random.default_rng(seed)
    a, b = points(rng, 200, size), points(rng, 200, size)
    b[::4] = a[::4] + 1e-2 * b[::4]
    assert chords(f, a, b) <= 1e-14
    # Sums of squares: negative ones are round-off of a matrix of rank one.
    assert curvatures(f, a[:100]) >= -1e-12


class TestPositive:
    """(x + sqrt(x^2 + 1)) / 2."""

    def test_values_and_slopes(self):
        x = np.array([-1e8, -30.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 30.0, 1e8])
        root = np.sqrt(x**2 + 1.0)
        with np.errstate(divide="ignore"):
            exact = np.where(x > 0, x + root, 1.0 / (root - x)) / 2.0
        np.testing.assert_allclose(positive(jnp.asarray(x)), exact, rtol=1e-15)
        first = jax.jit(jax.vmap(jax.grad(positive)))
        # At zero, too: a raw weight of zero, where many start, must be free to move.
        np.testing.assert_allclose(first(x), exact / root, rtol=1e-14)
        assert first(x)[4] == 0.5 == first(np.array([-0.0]))[0]
        second = np.asarray(jax.jit(jax.vmap(jax.grad(jax.grad(positive))))(x))
        near = np.abs(x) < 100.0  # beyond, 1 / x^3 is below round-off
        np.testing.assert_allclose(second[near], 0.5 / root[near] ** 3, rtol=1e-9)
        assert (second >= 0.0).all()

    def test_inverse(self):
        wanted = 10.0 ** np.linspace(-8, 8, 33)
        np.testing.assert_allclose(positive(inverse_positive(wanted)), wanted, rtol=1e-14)


class TestConvexNetwork:
    @pytest.mark.parametrize("increasing", [False, True, (False, True, False)])
    def test_convex_and_increasing(self, increasing):
        rises = np.broadcast_to(increasing, 3)
        for seed in SEEDS:
            made = learning.ConvexNetwork.create(3, increasing=increasing, depth=3, seed=seed)
            for size in SIZES:
                network = disturbed(made, seed, size)
                assert_convex(network, 3, seed)
                slope = slopes(network, points(np.random.default_rng(seed), 200, 3))
                assert (np.asarray(slope)[:, rises] > 0.0).all()
        if not rises.all():
            assert (np.asarray(slope)[:, ~rises] < 0.0).any()  # the others are free

    def test_size_one(self):
        """Of size one for inputs of size one, for any width and depth."""
        x = np.random.default_rng(0).uniform(-1, 1, (50, 2))
        for width, depth in ((1, 1), (4, 2), (30, 4)):
            network = learning.ConvexNetwork.create(2, width=width, depth=depth)
            found = np.asarray(jax.vmap(network)(x))
            assert 0.05 < found.min() and found.max() < 10.0
            assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(network))

    def test_seeds(self):
        first, again, other = (learning.ConvexNetwork.create(2, seed=s) for s in (3, 3, 4))
        assert eqx.tree_equal(first, again) and not eqx.tree_equal(first, other)

    def test_wrong_sizes(self):
        create = learning.ConvexNetwork.create
        for wrong in ({"inputs": 0}, {"inputs": 2, "width": 1.5}, {"inputs": 2, "depth": -1}):
            name = list(wrong)[-1]
            with pytest.raises(MaterialError, match=f"{name} must be a whole number >= 1; got"):
                create(**wrong)
        with pytest.raises(MaterialError, match="increasing has 1 entries for 2 inputs"):
            create(2, increasing=(True,))
        for wrong in (None, "ab", (True, 1), 1):
            with pytest.raises(MaterialError, match="increasing must be True or False, or one of"):
                create(2, increasing=wrong)
        assert create(2, increasing=np.array([True, False])).increasing == (True, False)

    @pytest.mark.parametrize(
        "field, value, message",
        [
            ("out", np.ones(7), r"skip\[0\]: expected weights of shape \(7, 2\); got \(8, 2\)"),
            ("out", 1.0, r"expected weights of shape \(1, 2\)"),
            ("direct", np.ones(3), r"direct: expected weights of shape \(2,\); got \(3,\)"),
            ("bias", (np.ones(8),), "expected 2 arrays in bias"),
            ("hidden", (), "expected 1 arrays in hidden"),
            ("hidden", (np.ones((8, 2)),), r"hidden\[0\]: expected weights of shape \(8, 8\)"),
            ("skip", (), "expected 1 arrays in skip"),
            ("increasing", (True, 2), "increasing must be a tuple of True or False"),
        ],
    )
    def test_weights_of_another_shape(self, field, value, message):
        fields = vars(learning.ConvexNetwork.create(2))
        with pytest.raises(MaterialError, match="ConvexNetwork: .*" + message):
            learning.ConvexNetwork(**{**fields, field: value})


@pytest.mark.parametrize(
    "create",
    [
        lambda **given: learning.ConvexNetwork.create(2, **given),
        lambda **given: learning.PartiallyConvexNetwork.create(2, 1, **given),
        lambda **given: learning.MonotoneNetwork.create(2, **given),
    ],
)
def test_wrong_seeds(create):
    for wrong in (-1, None, "a", True, (1, 2)):
        with pytest.raises(
            MaterialError, match=r"Network\.create: seed must be a whole number >= 0"
        ):
            create(seed=wrong)
    with pytest.raises(MaterialError, match=r"width must be a whole number >= 1; got True"):
        create(width=True)


class TestPartiallyConvexNetwork:
    def test_convex_for_any_context(self):
        for seed in SEEDS:
            made = learning.PartiallyConvexNetwork.create(3, 2, depth=3, seed=seed)
            contexts = points(np.random.default_rng(seed), 4, 2)
            for size in SIZES:
                network = disturbed(made, seed, size)
                for context in contexts:
                    assert_convex(_At(network, jnp.asarray(context)), 3, seed)

    def test_anything_in_the_context(self):
        network = disturbed(learning.PartiallyConvexNetwork.create(1, 1, width=16), 1, 1.0)
        y = np.linspace(-4.0, 4.0, 200)[:, None]
        curvature = np.diff(np.asarray(jax.vmap(lambda y: network(jnp.ones(1), y))(y)), 2)
        assert curvature.min() < -1e-6 and curvature.max() > 1e-6

    def test_weights_of_another_shape(self):
        network = learning.PartiallyConvexNetwork.create(3, 2)
        for name in ("context", "context_bias", "skip", "gain", "shift", "bias", "hidden", "gate"):
            arrays = getattr(network, name)
            for wrong in (arrays[1:], tuple(np.ones((*a.shape, 1)) for a in arrays)):
                with pytest.raises(MaterialError, match=r"PartiallyConvexNetwork: .*expected"):
                    learning.PartiallyConvexNetwork(**{**vars(network), name: wrong})
        with pytest.raises(MaterialError, match="context must be a whole number >= 1; got 0"):
            learning.PartiallyConvexNetwork.create(3, 0)


class _Integral(eqx.Module):
    curve: learning.MonotoneCurve

    def __call__(self, x):
        return self.curve.integral(x)


class _At(eqx.Module):
    network: learning.PartiallyConvexNetwork
    y: jax.Array

    def __call__(self, x):
        return self.network(x, self.y)


class TestMonotoneNetwork:
    @pytest.mark.parametrize("linear", [True, False])
    def test_increases(self, linear):
        for seed in SEEDS:
            made = learning.MonotoneNetwork.create(2, depth=3, linear=linear, seed=seed)
            for size in SIZES:
                network = disturbed(made, seed, size)
                x = points(np.random.default_rng(seed), 200, 2)
                slope = np.asarray(slopes(network, x))
                assert (slope >= 0.0).all()  # saturated: 1 - 1 = 0
                assert (slope[np.abs(x).max(axis=1) < 0.1] > 0.0).all()
                assert not linear or (slope > 0.0).all()

    def test_bounded_unless_linear(self):
        rise = {}
        for linear in (True, False):
            network = learning.MonotoneNetwork.create(1, linear=linear)
            rise[linear] = float(network(jnp.full(1, 1e6)) - network(jnp.full(1, -1e6)))
        assert rise[True] > 1e5 and 0.1 < rise[False] < 10.0

    def test_weights_of_another_shape(self):
        fields = vars(learning.MonotoneNetwork.create(2))
        for name, wrong in (("weights", ()), ("bias", (1.0,)), ("out", 1.0), ("direct", 1.0)):
            with pytest.raises(MaterialError, match=r"MonotoneNetwork: .*expected"):
                learning.MonotoneNetwork(**{**fields, name: wrong})


class TestMonotoneCurve:
    @pytest.mark.parametrize("linear", [True, False])
    def test_odd_increasing_with_its_integral(self, linear):
        x = np.concatenate([-(10.0 ** np.linspace(1, -6, 30)), [0.0], 10.0 ** np.linspace(-6, 1)])
        for size in SIZES[:2]:
            made = learning.MonotoneCurve.create(x=(1e-4, 0.1), y=300.0, linear=linear)
            curve = disturbed(made, 1, size)
            y = np.asarray(values(curve, x))
            np.testing.assert_array_equal(values(curve, -x), -y)
            assert y[30] == 0.0 == integrals(curve, x)[30]
            # A saturated curve rises by less than its last digit.
            assert (np.diff(y) > -1e-13 * 300.0).all() and (np.diff(y)[20:40] > 0.0).all()
            slope = slopes(_Integral(curve), x)
            np.testing.assert_allclose(slope, y, rtol=1e-12, atol=1e-10)
            # By quadrature as well, on a grid that resolves all scales.
            fine = 10.0 ** np.linspace(-8, -1, 4001)
            found, whole = np.asarray(values(curve, fine)), integrals(curve, fine)
            sums = np.sum(0.5 * np.diff(fine) * (found[1:] + found[:-1]))
            assert sums == pytest.approx(float(whole[-1] - whole[0]), rel=1e-5)
            # Concave for x > 0, and the integral is convex.
            assert (np.diff(y[31:]) / np.diff(x[31:]))[:-1].min() >= 0.0
            assert (np.diff(np.diff(y[31:]) / np.diff(x[31:])) <= 1e-6).all()

    def test_limit_of_a_vanishing_scale(self):
        """w |x|: the dissipation of a rate-independent law, within w s of it."""
        for log in (-5.0, -15.0, -40.0):
            made = learning.MonotoneCurve.create(x=1.0, y=3.0, terms=1)
            curve = eqx.tree_at(lambda c: c.scales, made, jnp.full(1, log))
            w, s = 3.0 * float(positive(curve.weights)[0]), np.exp(log)
            x = np.array([1e-9, 0.1, -2.0, 0.0])
            norm, round_off = w * np.abs(x), 1e-15 * w * np.abs(x)
            gap = norm - np.asarray(integrals(curve, x))
            assert (gap >= -round_off).all() and (gap <= w * s + round_off).all()
            assert slopes(_Integral(curve), x)[-1] == 0.0
            assert np.isfinite(slopes(curve, x)).all()

    def test_first_guess(self):
        """It reaches about y at the end of the range, and all weights are free to move."""
        for linear in (True, False):
            for terms in (1, 2, 6):
                curve = learning.MonotoneCurve.create(x=0.02, y=7.0, terms=terms, linear=linear)
                assert 0.5 * 7.0 < float(values(curve, np.array([0.02]))[0]) < 1.5 * 7.0
                slope = of_weights(curve, 0.013)
                assert all((np.asarray(leaf) != 0.0).all() for leaf in jax.tree.leaves(slope))

    def test_mistakes(self):
        create = learning.MonotoneCurve.create
        for wrong in ({"x": (1.0, 0.1)}, {"x": (1.0, 1.0)}, {"x": 1.0, "terms": 0}):
            with pytest.raises(MaterialError, match=r"least < largest and terms >= 1; got"):
                create(y=1.0, **wrong)
        with pytest.raises(MaterialError, match=r"y must be a number > 0; got -1\.0"):
            create(x=1.0, y=-1.0)
        for wrong in ((1, 2, 3), None, "a", True, (1.0, "a"), ((1, 2), 3)):
            with pytest.raises(MaterialError, match=r"x must be a number > 0, or two .* got"):
                create(x=wrong, y=1.0)
        for wrong in ({"y": "a"}, {"y": 1.0, "linear": "x"}, {"y": 1.0, "terms": True}):
            with pytest.raises(MaterialError, match=f"create: .*{list(wrong)[-1]}.*got"):
                create(x=1.0, **wrong)
        made = create(x=np.int64(1), y=np.float32(1.0))
        assert eqx.tree_equal(made, create(x=1.0, y=1.0)) and type(made.x_unit) is float
        fields = vars(create(x=1.0, y=1.0))
        for name, wrong, message in (
            ("scales", np.ones(3), r"scales: expected weights of shape \(4,\); got \(3,\)"),
            ("weights", 1.0, r"expected weights \(n,\); got shape \(\)"),
            ("slope", np.ones(2), r"slope: expected weights of shape \(\)"),
            ("x_unit", np.nan, "x_unit must be a number > 0; got nan"),
            ("y_unit", "MPa", "y_unit must be a number > 0; got 'MPa'"),
        ):
            with pytest.raises(MaterialError, match="MonotoneCurve: " + message):
                learning.MonotoneCurve(**{**fields, name: wrong})


def test_weights_are_told_from_parameters():
    hardening = learning.LearnedHardening.create(yield_stress=200.0, strain=0.02)
    law = admat.J2Plasticity(200e3, 0.3, hardening)
    assert weight_names(law) == {
        "hardening.yield_stress", "hardening.curve.weights", "hardening.curve.scales",
    }  # fmt: skip


class TestForgedFile:
    """Another shape of weights: first the checksum tells, and if that was forged, the network."""

    @pytest.fixture
    def file(self, tmp_path):
        made = learning.LearnedHyperelastic.create(stress=1.0, kappa=10.0, width=3)
        return save_law(tmp_path / "law.json", made)

    def forged(self, file, change, *, checksum):
        data = json.loads(file.read_text())
        change(data["law"]["fields"]["isochoric"]["fields"])
        if checksum:
            data["checksum"] = law_file._checksum(data)
        file.write_text(json.dumps(data))
        return file

    @staticmethod
    def narrower(fields):
        """One neuron less in the last layer's weights."""
        out = fields["network"]["fields"]["out"]
        out["shape"], out["values"] = [2], out["values"][:2]

    @staticmethod
    def falling(fields):
        """A network that may decrease with an invariant is no polyconvex energy."""
        fields["network"]["fields"]["increasing"] = {"tuple": [True, True, False]}

    @staticmethod
    def longer(fields):
        """A direction that is no unit vector, which would put energy into a body at rest."""
        fields["directions"] = {"tuple": [{"tuple": [2.0, 0.0, 0.0]}]}

    def test_checksum(self, file):
        with pytest.raises(MaterialError, match="damaged or edited: its checksum is"):
            load_law(self.forged(file, self.narrower, checksum=False))

    def test_shape(self, file):
        with pytest.raises(
            MaterialError, match=r"law.json: .*ConvexNetwork: skip\[0\]: expected weights of shape"
        ):
            load_law(self.forged(file, self.narrower, checksum=True))

    def test_not_increasing(self, file):
        with pytest.raises(
            MaterialError, match=r"PolyconvexEnergy: expected .*increasing=\(True, True, True\)"
        ):
            load_law(self.forged(file, self.falling, checksum=True))

    def test_directions_that_are_not_of_length_one(self, tmp_path):
        made = learning.LearnedHyperelastic.create(
            stress=1.0, kappa=10.0, width=3, directions=[[1.0, 2.0, 0.0]]
        )
        file = save_law(tmp_path / "fibres.json", made)
        assert eqx.tree_equal(load_law(file), made)
        with pytest.raises(MaterialError, match="directions must be tuples of unit vectors; got"):
            load_law(self.forged(file, self.longer, checksum=True))

    def test_weights_that_are_not_finite(self, file):
        def change(fields):
            fields["network"]["fields"]["out"]["values"][1] = "nan"

        with pytest.raises(MaterialError, match="out: weights must be finite"):
            load_law(self.forged(file, change, checksum=True))
