"""Native: failures are data, say the same as XLA's, and leave their neighbours alone."""

import batches
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import LocalStatus
from dolfinx_admat.kernels import BatchKernel


class System(admat.ImplicitLaw):
    """A x + c x^3 + 1e-30 b sqrt(x_0 + d) = b, so that a point can be made as bad as one likes."""

    inputs = {"A": (3, 3), "b": (3,), "c": (), "d": ()}  # noqa: RUF012
    outputs = {"x": (3,)}  # noqa: RUF012

    def guess(self, step):
        return jnp.zeros(3)

    def residual(self, x, step):
        i = step.given
        return i["A"] @ x + i["c"] * x**3 + 1e-30 * i["b"] * jnp.sqrt(x[0] + i["d"]) - i["b"]

    def finish(self, x, step):
        return {"x": x}, {}

    def admissible(self, outputs, state, step):
        return outputs["x"][0] > -50.0


class Large(admat.ImplicitLaw):
    """A (24 x 24) made of a few numbers: A x = b by loops."""

    inputs = {"turn": (), "tiny": (), "b": (24,)}  # noqa: RUF012
    outputs = {"x": (24,)}  # noqa: RUF012

    def guess(self, step):
        return jnp.zeros(24)

    def matrix(self, turn, tiny):
        k = jnp.arange(24.0)
        full = jnp.cos(jnp.outer(k + 1, k + 0.5))
        return jnp.where(turn > 0.5, jnp.flip(full, 0) + 20 * jnp.flip(jnp.eye(24), 0), 0.0) + (
            jnp.where(turn > 0.5, 0.0, full + 20 * jnp.eye(24))
        ) * jnp.where((k[:, None] == k) & (k == 3), tiny, 1.0)

    def residual(self, x, step):
        i = step.given
        return self.matrix(i["turn"], i["tiny"]) @ x + 0.1 * x**3 - i["b"]

    def finish(self, x, step):
        return {"x": x}, {}


def systems():
    """(names, inputs): good points and bad ones, in turn."""
    rng = np.random.default_rng(4)
    good = lambda: np.eye(3) * 3 + rng.normal(size=(3, 3))  # noqa: E731
    flat = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 1.0, 1.0]])
    kinds = {
        "good": lambda: (good(), rng.normal(size=3), 0.3, 100.0),
        "also good": lambda: (good(), rng.normal(size=3), 0.0, 100.0),
        "permuted": lambda: (np.roll(np.eye(3), 1, 0) * 3, rng.normal(size=3), 0.0, 100.0),
        "reversed": lambda: (good()[::-1], rng.normal(size=3), 0.2, 100.0),
        "tiny pivot": lambda: (
            good() * np.where(np.eye(3), 1e-17, 1.0), rng.normal(size=3), 0.0, 100.0
        ),
        "bad scales": lambda: (
            np.diag([1e-12, 1.0, 1e12]) @ good(), np.array([1e-12, 1.0, 1e12]), 0.0, 100.0
        ),
        "no root": lambda: (np.diag([1.0, 1.0, 1e-3]), np.array([0.1, 0.1, np.nan]), 0.0, 100.0),
        "singular": lambda: (flat, np.array([1.0, 0.0, 2.0]), 0.0, 100.0),
        "zero": lambda: (np.zeros((3, 3)), np.ones(3), 0.0, 100.0),
        "nearly singular": lambda: (
            flat + 1e-16 * np.eye(3), np.array([1.0, 0.0, 2.0]), 0.0, 100.0
        ),
        "nan": lambda: (good() * np.nan, rng.normal(size=3), 0.0, 100.0),
        "inf": lambda: (good(), np.array([np.inf, 0.0, 0.0]), 0.0, 100.0),
        "root of negative": lambda: (good(), rng.normal(size=3), 0.0, -5.0),
        "overflow": lambda: (good(), rng.normal(size=3) * 1e200, 1e200, 1e300),
        "slow": lambda: (np.eye(3) * 1e-9, np.full(3, 1e30), 1e-3, 1e30),
        "inadmissible": lambda: (np.eye(3), np.array([-60.0, 0.0, 0.0]), 0.0, 100.0),
        "solved": lambda: (good(), np.zeros(3), 0.0, 100.0),
        "solved and singular": lambda: (flat, np.zeros(3), 0.0, 100.0),
    }  # fmt: skip
    names = [name for _ in range(6) for name in kinds for _ in range(2)]
    names = [str(name) for name in rng.permutation(names)]
    values = [kinds[name]() for name in names]
    arrays = (np.array([v[k] for v in values], float) for k in range(4))
    return np.array(names), dict(zip("Abcd", arrays, strict=True))


@pytest.fixture(scope="module")
def results():
    names, inputs = systems()
    with np.errstate(all="ignore"):
        return names, inputs, *batches.both(System(), inputs)


def test_same_class_of_status(results):
    names, _, native, xla = results
    different = {
        (name, LocalStatus(a).name, LocalStatus(b).name)
        for name, a, b in zip(names, native.status.code, xla.status.code, strict=True)
        if a != b
    }
    assert not different


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("good", LocalStatus.CONVERGED),
        ("permuted", LocalStatus.CONVERGED),
        ("reversed", LocalStatus.CONVERGED),
        ("tiny pivot", LocalStatus.CONVERGED),
        ("bad scales", LocalStatus.CONVERGED),
        ("singular", LocalStatus.NOT_FINITE),
        ("zero", LocalStatus.NOT_FINITE),
        ("nearly singular", LocalStatus.NOT_FINITE),
        ("nan", LocalStatus.NOT_FINITE),
        ("inf", LocalStatus.NOT_FINITE),
        ("root of negative", LocalStatus.NOT_FINITE),
        ("inadmissible", LocalStatus.INADMISSIBLE),
        ("solved", LocalStatus.CONVERGED),
        ("solved and singular", LocalStatus.NOT_FINITE),
    ],
)
def test_status(name, code, results):
    names, _, native, _ = results
    assert set(native.status.code[names == name]) == {code}


def test_what_converged_is_right(results):
    """Solution and tangent, whatever pivots the matrix needs, to what its condition allows."""
    names, inputs, native, xla = results
    good = native.status.code == 0
    assert good.mean() > 0.3
    x = native.outputs["x"][good]
    A, b, c = (inputs[key][good] for key in "Abc")
    terms = np.abs(A) @ np.abs(x)[:, :, None]
    residual = np.einsum("pij,pj->pi", A, x) + c[:, None] * x**3 - b
    assert (np.abs(residual) <= 1e-11 * (terms[:, :, 0] + np.abs(b)) + 1e-300).all()
    J = A + 3 * c[:, None, None] * x[:, :, None] ** 2 * np.eye(3)
    product = J @ native.tangent["x", "b"][good]
    allowed = 1e-11 * np.abs(J) @ np.abs(native.tangent["x", "b"][good]) + 1e-28
    wrong = (np.abs(product - np.eye(3)) > allowed + 1e-11 * np.eye(3)).any(axis=(1, 2))
    assert not wrong.any(), set(names[good][wrong])
    for i in range(len(x)):
        np.testing.assert_allclose(x[i], xla.outputs["x"][good][i], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("which", ["order", "size"])
def test_neighbours_do_not_matter(which, results):
    """Bitwise, also of the points that fail: in any order, and in batches of any size."""
    _, inputs, native, _ = results
    kernel = BatchKernel(System(), backend="native")
    n = len(native.status.code)
    rng = np.random.default_rng(9)
    picks = [rng.permutation(n) for _ in range(4)]
    if which == "size":
        picks = [rng.choice(n, size, replace=False) for size in range(1, 18)]
    with np.errstate(all="ignore"):
        for pick in picks:
            some = batches.run(kernel, {key: value[pick] for key, value in inputs.items()})
            batches.assert_identical(native, some, pick)


def test_loops_and_neighbours():
    """24 unknowns: points that need other pivots than the samples, beside ones that do not."""
    rng = np.random.default_rng(2)
    n = 37
    inputs = {
        "turn": rng.choice([0.0, 1.0], n),
        "tiny": rng.choice([1.0, 1e-18, 0.0], n),
        "b": rng.normal(size=(n, 24)),
    }
    inputs["b"][5, 2] = np.nan
    inputs["b"][8, 2] = np.inf
    native, xla = batches.both(Large(), inputs)
    batches.assert_agree(native, xla)
    assert (native.status.code != 0).sum() == 2
    kernel = BatchKernel(Large(), backend="native")
    for size in (1, 2, 7, 9, 16):
        pick = rng.choice(n, size, replace=False)
        some = batches.run(kernel, {key: value[pick] for key, value in inputs.items()})
        batches.assert_identical(native, some, pick)


def test_inverted_deformation():
    """det F <= 0 among good points; NaN as well."""
    rng = np.random.default_rng(7)
    F = np.eye(3) + 0.1 * rng.normal(size=(29, 3, 3))
    F[3, 0] *= -1
    F[11, 0, 0] = np.nan
    F[12] = 0.0
    native, xla = batches.both(admat.NeoHookean(E=10.0, nu=0.3), F)
    batches.assert_agree(native, xla)
    assert native.status.code[3] == native.status.code[12] == LocalStatus.INADMISSIBLE
    assert native.status.code[11] == LocalStatus.NOT_FINITE
    assert (np.delete(native.status.code, [3, 11, 12]) == 0).all()


def test_nan_input_fails_only_its_point():
    """For each component of the strain, also those that a stress does not see."""
    law = admat.J2Plasticity(200.0, 0.3, admat.LinearHardening(1.0, 10.0))
    strain = np.random.default_rng(3).normal(size=(30, 6)) * 0.01
    clean = batches.run(BatchKernel(law, backend="native"), strain)
    for k in range(6):
        dirty = strain.copy()
        dirty[4 * k, k] = [np.nan, np.inf][k % 2]
        found = batches.run(BatchKernel(law, backend="native"), dirty)
        rest = np.arange(30) != 4 * k
        assert found.status.code[4 * k] == LocalStatus.NOT_FINITE
        np.testing.assert_array_equal(found.outputs["stress"][rest], clean.outputs["stress"][rest])
        np.testing.assert_array_equal(found.status.code[rest], clean.status.code[rest])
