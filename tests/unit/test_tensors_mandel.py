"""Mandel vectors and invariants: round trips, rotations, and derivatives at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dolfinx_admat import tensors

# Rounding of a few dozen operations on numbers of order one.
ROUNDING = 1e-14


@pytest.fixture(autouse=True)
def strict_arrays():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def symmetric(rng):
    m = rng.normal(size=(3, 3))
    return 0.5 * (m + m.T)


def test_round_trip_and_ordering(rng):
    m = rng.normal(size=(3, 3))
    a = tensors.to_mandel(m)
    sym = 0.5 * (m + m.T)
    r2 = np.sqrt(2)
    components = [*np.diag(sym), r2 * sym[0, 1], r2 * sym[0, 2], r2 * sym[1, 2]]
    np.testing.assert_allclose(a, components, rtol=ROUNDING)
    np.testing.assert_allclose(tensors.from_mandel(a), sym, rtol=ROUNDING)
    assert a.dtype == jnp.float64


def test_inner_product_is_double_contraction(rng):
    a, b = symmetric(rng), symmetric(rng)
    dot = tensors.to_mandel(a) @ tensors.to_mandel(b)
    np.testing.assert_allclose(dot, np.sum(a * b), rtol=ROUNDING)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(3, 3\), got \(6,\)"):
        tensors.to_mandel(np.zeros(6))
    with pytest.raises(ValueError, match=r"shape \(6,\), got \(3, 3\)"):
        tensors.from_mandel(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"\(3, 3\), got \(2, 2\)"):
        tensors.mandel_rotation(np.eye(2))


def test_projectors(rng):
    dev, sph = tensors.DEVIATORIC, tensors.SPHERICAL
    assert all(type(x) is np.ndarray for x in (dev, sph, tensors.IDENTITY))
    np.testing.assert_allclose(dev @ dev, dev, atol=ROUNDING)
    np.testing.assert_allclose(sph @ dev, 0.0, atol=ROUNDING)
    np.testing.assert_allclose(tensors.from_mandel(tensors.IDENTITY), np.eye(3))
    a = tensors.to_mandel(symmetric(rng))
    np.testing.assert_allclose(dev @ a, tensors.deviator(a), atol=ROUNDING)
    np.testing.assert_allclose(sph @ a, tensors.trace(a) / 3 * tensors.IDENTITY, atol=ROUNDING)


def test_rotation_of_mandel_vectors(rng):
    q, p, a = rotation(rng), rotation(rng), symmetric(rng)
    R = tensors.mandel_rotation(q)
    np.testing.assert_allclose(R @ tensors.to_mandel(a), tensors.to_mandel(q @ a @ q.T), atol=1e-14)
    np.testing.assert_allclose(R @ R.T, np.eye(6), atol=ROUNDING)
    product = tensors.mandel_rotation(p) @ R
    np.testing.assert_allclose(tensors.mandel_rotation(p @ q), product, atol=ROUNDING)


def test_invariants_against_numpy_and_objective(rng):
    m, q = symmetric(rng), rotation(rng)
    a = tensors.to_mandel(m)
    x = np.linalg.eigvalsh(m)
    s = m - np.trace(m) / 3 * np.eye(3)
    expected = {
        tensors.trace: x.sum(),
        tensors.I1: x.sum(),
        tensors.I2: x[0] * x[1] + x[1] * x[2] + x[2] * x[0],
        tensors.I3: x.prod(),
        tensors.determinant: np.linalg.det(m),
        tensors.J2: 0.5 * np.sum(s * s),
        tensors.J3: np.linalg.det(s),
        tensors.norm: np.linalg.norm(m),
        tensors.equivalent_stress: np.sqrt(1.5) * np.linalg.norm(s),
        tensors.equivalent_strain: np.sqrt(2 / 3) * np.linalg.norm(s),
    }
    rotated = tensors.to_mandel(q @ m @ q.T)
    for function, value in expected.items():
        np.testing.assert_allclose(function(a), value, atol=ROUNDING, err_msg=function.__name__)
        np.testing.assert_allclose(function(rotated), value, atol=ROUNDING)


def test_equivalent_values_of_uniaxial_states():
    assert tensors.equivalent_stress(np.array([-3.0, 0, 0, 0, 0, 0])) == pytest.approx(3.0)
    assert tensors.equivalent_strain(np.array([2.0, -1, -1, 0, 0, 0])) == pytest.approx(2.0)


def all_modes(f):
    """First and second derivatives of f by forward and reverse mode, in one compilation."""
    modes = (jax.jacfwd, jax.jacrev)
    return jax.jit(
        lambda x: (
            [mode(f)(x) for mode in modes],
            [outer(inner(f))(x) for outer in modes for inner in modes],
        )
    )


@pytest.mark.parametrize("shape", [(), (6,), (3, 3)])
def test_norm_at_zero(shape):
    zero = jnp.zeros(shape)
    assert tensors.norm(zero) == 0.0
    for derivative in jax.tree.leaves(all_modes(tensors.norm)(zero)):
        np.testing.assert_array_equal(derivative, 0.0)


def test_norm_at_any_size(rng):
    unit = rng.normal(size=6)
    unit /= np.linalg.norm(unit)
    compute = all_modes(tensors.norm)
    projector = np.eye(6) - np.outer(unit, unit)
    for size in (1e-200, 1e-160, 1e-12, 1.0, 1e12, 1e160):
        first, second = compute(size * unit)
        np.testing.assert_allclose(tensors.norm(size * unit), size, rtol=ROUNDING)
        for gradient in first:
            np.testing.assert_allclose(gradient, unit, rtol=ROUNDING)
        for hessian in second:
            np.testing.assert_allclose(size * hessian, projector, atol=ROUNDING)


def test_equivalent_stress_under_vmap_with_a_zero_among_the_points(rng):
    points = np.stack([rng.normal(size=6), np.zeros(6), tensors.IDENTITY])
    gradient = jax.jit(jax.vmap(jax.grad(tensors.equivalent_stress)))(points)
    hessian = jax.jit(jax.vmap(jax.hessian(tensors.equivalent_stress)))(points)
    assert np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))
    # The direction is sqrt(3/2) times a unit deviator.
    np.testing.assert_allclose(np.linalg.norm(gradient[0]), np.sqrt(1.5), rtol=ROUNDING)
    np.testing.assert_array_equal(gradient[1:], 0.0)
