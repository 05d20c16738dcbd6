"""Eigenvalues and isotropic tensor functions at every eigenvalue gap.

The reference for derivatives knows nothing of eigenvalues or divided differences: for analytic f,

    f([[A, H, K, 0], [0, A, 0, K], [0, 0, A, H], [0, 0, 0, A]])

holds Df(A)[H] and D2f(A)[H, K] in its first block row (Mathias, SIAM J. Matrix Anal. Appl. 17
(1996) 610-620), and scipy evaluates f by Pade approximation and scaling, or by Schur's method.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dolfinx_admat import tensors

# Measured: 2e-15 against 50-digit arithmetic, all gaps and orders; 2e-14 for `isotropic_function`
# at second order, and as much for scipy. A margin of five for other libraries and processors.
TOLERANCE = 1e-13

GAPS = [0.0, *10.0 ** np.arange(-16.0, -3, 2), *10.0 ** np.arange(-3, 0, 0.25), 0.95]
# Eigenvalues: base - gap * pattern. Double (above, below), equidistant, two gaps, distant third.
PATTERNS = [
    ([1.0, 1, 1], [0.0, 0, 1]),
    ([1.0, 1, 1], [0.0, 1, 1]),
    ([1.0, 1, 1], [0.0, 0.5, 1]),
    ([1.0, 1, 1], [0.0, 1e-3, 1]),
    ([1.6, 1.6, 0.4], [0.0, 1, 0]),
]

BY_NAME = {
    "log": (tensors.log, scipy.linalg.logm),
    "exp": (tensors.exp, scipy.linalg.expm),
    "sqrt": (tensors.sqrt, scipy.linalg.sqrtm),
}
GENERAL = {
    "general log": (functools.partial(tensors.isotropic_function, jnp.log), scipy.linalg.logm),
    "general exp": (functools.partial(tensors.isotropic_function, jnp.exp), scipy.linalg.expm),
    "general sqrt": (functools.partial(tensors.isotropic_function, jnp.sqrt), scipy.linalg.sqrtm),
}
FUNCTIONS = BY_NAME | GENERAL


@pytest.fixture(autouse=True)
def strict_arrays():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q


def symmetric(rng):
    m = rng.normal(size=(3, 3))
    return m + m.T


def with_eigenvalues(values, q):
    m = q @ np.diag(values) @ q.T
    return 0.5 * (m + m.T)


def close_eigenvalues():
    """Tensors (n, 3, 3) with all gaps and patterns, each in a frame of its own."""
    rng = np.random.default_rng(7)
    return np.stack(
        [
            with_eigenvalues(np.array(base) - gap * np.array(pattern), rotation(rng))
            for gap, (base, pattern) in itertools.product(GAPS, PATTERNS)
        ]
    )


def to_mandel(m):
    return jax.vmap(tensors.to_mandel)(m)


def from_mandel(a):
    return np.asarray(jax.vmap(tensors.from_mandel)(a))


def reference(f, A, H, K):
    Z = np.zeros((3, 3))
    blocks = np.block([[A, H, K, Z], [Z, A, Z, K], [Z, Z, A, H], [Z, Z, Z, A]])
    row = np.real(f(blocks))[:3]
    return row[:, :3], row[:, 3:6], row[:, 9:]


@functools.cache
def reference_at_all_gaps(matrix_function):
    """Mandel vectors of A, H, K and matrices of F, DF, D2F; one pair H, K for each A."""
    rng = np.random.default_rng(3)
    A = close_eigenvalues()
    H = np.stack([symmetric(rng) for _ in A])
    K = np.stack([symmetric(rng) for _ in A])
    a, h, k = (to_mandel(m) for m in (A, H, K))
    A = from_mandel(a)  # with the rounding of the Mandel vector
    expected = [reference(matrix_function, *m) for m in zip(A, H, K, strict=True)]
    return (a, h, k), [np.stack(order) for order in zip(*expected, strict=True)]


def relative(value, expected):
    error = np.linalg.norm(value - expected, axis=(-2, -1))
    return error / np.linalg.norm(expected, axis=(-2, -1))


@functools.cache
def with_derivatives(name):
    """F(a), DF(a)[h], D2F(a)[h, k] for a batch, compiled."""
    f = FUNCTIONS[name][0]

    def first(a, h):
        return jax.jvp(f, (a,), (h,))[1]

    def all_three(a, h, k):
        return f(a), first(a, h), jax.jvp(lambda b: first(b, h), (a,), (k,))[1]

    return jax.jit(jax.vmap(all_three))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_at_all_gaps(name):
    matrix_function = FUNCTIONS[name][1]
    points, theirs = reference_at_all_gaps(matrix_function)
    ours = with_derivatives(name)(*points)
    for order, (value, expected) in enumerate(zip(ours, theirs, strict=True)):
        value = from_mandel(value)
        # log A is small where A is close to I, and then inherits the absolute rounding of A.
        if order == 0:
            error = np.linalg.norm(value - expected, axis=(1, 2))
        else:
            error = relative(value, expected)
        assert error.max() < TOLERANCE, f"order {order}: {error.max():.1e} at case {error.argmax()}"


def some_tensors():
    """A triple, a double and three distinct eigenvalues; Mandel (3, 6)."""
    values = ([1.0, 1, 1], [1.2, 1.2, 0.3], [1.2, 0.7, 0.3])
    rng = np.random.default_rng(5)
    return to_mandel(np.stack([with_eigenvalues(x, rotation(rng)) for x in values]))


@pytest.mark.parametrize("name", ["log", "general exp"])
def test_all_orders_of_forward_and_reverse_mode_agree(name):
    function = FUNCTIONS[name][0]
    modes = (jax.jacfwd, jax.jacrev)

    @jax.jit
    @jax.vmap
    def derivatives(a):
        first = [mode(function)(a) for mode in modes]
        second = [outer(inner(function))(a) for outer in modes for inner in modes]
        return first, second

    first, second = derivatives(some_tensors())
    np.testing.assert_allclose(*first, atol=TOLERANCE)
    # F derives from an energy: its derivatives are symmetric in all indices.
    expected = np.transpose(second[0], (0, 3, 2, 1))
    for hessian in second:
        np.testing.assert_allclose(hessian, expected, atol=TOLERANCE)


def test_exp_against_differentiated_power_series():
    def series(a):
        def term(total, n):
            return np.eye(3) + m @ total / n, None

        m = tensors.from_mandel(a)
        total, _ = jax.lax.scan(term, jnp.eye(3), np.arange(22.0, 0.0, -1.0))  # 1 / 23! < 1e-22
        return tensors.to_mandel(total)

    a = to_mandel(close_eigenvalues())
    ours, theirs = (jax.jit(jax.vmap(jax.jacfwd(jax.jacfwd(f))))(a) for f in (tensors.exp, series))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(theirs).max())


compiled_eigenvalues = jax.jit(jax.vmap(tensors.eigenvalues))


def test_eigenvalues_against_numpy_at_all_gaps():
    A = close_eigenvalues()
    values = np.asarray(compiled_eigenvalues(to_mandel(A)))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A)[:, ::-1], atol=2e-15)
    assert np.all(np.diff(values, axis=1) <= 0.0)
    assert tensors.principal_values is tensors.eigenvalues


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-10, 1e6, 1e150])
def test_eigenvalues_at_any_size(size):
    A = close_eigenvalues()
    values = compiled_eigenvalues(size * to_mandel(A))
    np.testing.assert_allclose(values / size, np.linalg.eigvalsh(A)[:, ::-1], atol=3e-15)


def test_frames_stay_orthonormal_when_rounding_decides():
    """XLA repeats work in its fusions; copies that round differently must not mix two frames."""
    rng = np.random.default_rng(1)
    n = 20000
    values = np.array([[1.0, 1, 0], [1, 0, 0], [1, 0, -1], [0, 0, 0]])[np.arange(n) % 4]
    base = np.array([1.0, 1.0, 0.0, 1.0])[np.arange(n) % 4]
    values = base[:, None] - 10.0 ** rng.uniform(-18, 0, (n, 1)) * values
    q = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    A = np.einsum("nij,nj,nkj->nik", q, values, q)
    a = to_mandel(A)
    # The identity as an isotropic function puts the tensor together again.
    again = jax.jit(jax.vmap(functools.partial(tensors.isotropic_function, lambda x: x)))(a)
    error = np.linalg.norm(again - a, axis=1) / np.linalg.norm(a, axis=1)
    assert error.max() < 5e-15


def test_eigenvalues_of_special_tensors_are_exact():
    for diagonal in itertools.permutations([3.0, 1e-20, 1e-20]):
        np.testing.assert_array_equal(
            tensors.eigenvalues(np.array([*diagonal, 0.0, 0.0, 0.0])), [3.0, 1e-20, 1e-20]
        )
    np.testing.assert_array_equal(tensors.eigenvalues(np.zeros(6)), 0.0)
    shear = np.sqrt(2.0) * np.array([0.0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(tensors.eigenvalues(shear), [1.0, 0.0, -1.0], atol=1e-15)


def test_eigenvalue_derivatives_when_distinct():
    A = with_eigenvalues([2.0, 0.9, -0.5], rotation(np.random.default_rng(2)))
    a, x, v = tensors.to_mandel(A), *np.linalg.eigh(A)
    gradient = [tensors.to_mandel(np.outer(v[:, i], v[:, i])) for i in (2, 1, 0)]
    np.testing.assert_allclose(jax.jacfwd(tensors.eigenvalues)(a), gradient, atol=1e-14)
    # Perturbation theory for the largest one: sum of 2 (v.H.w)^2 / (x - y).
    H = symmetric(np.random.default_rng(4))
    expected = sum(2 * (v[:, 2] @ H @ v[:, i]) ** 2 / (x[2] - x[i]) for i in (0, 1))
    h = tensors.to_mandel(H)
    modes = (jax.jacfwd, jax.jacrev)
    compute = jax.jit(
        lambda a: [outer(inner(tensors.eigenvalues))(a) for outer in modes for inner in modes]
    )
    for second in compute(a):
        np.testing.assert_allclose(h @ second[0] @ h, expected, rtol=1e-13)


def test_second_derivatives_of_a_nonlinear_function_of_eigenvalues():
    # tr(A^3) in two ways; the second one needs no eigenvalues.
    a = jnp.asarray([1.3, -0.4, 0.7, 0.2, -0.5, 0.9])

    def by_product(a):
        tensor = tensors.from_mandel(a)
        return jnp.trace(tensor @ tensor @ tensor)

    second = jax.jacfwd(jax.grad(lambda a: jnp.sum(tensors.eigenvalues(a) ** 3)))(a)
    np.testing.assert_allclose(second, jax.hessian(by_product)(a), rtol=0, atol=1e-13 * 12)


@pytest.mark.parametrize("values", [[1.0, 1, 1], [1.0, 1, 0], [1.0, 0, 0], [0.0, 0, 0]])
def test_eigenvalue_derivatives_at_coalescence_are_a_subgradient(values):
    a = tensors.to_mandel(with_eigenvalues(values, np.eye(3)))
    gradient = np.asarray(jax.jacrev(tensors.eigenvalues)(a))
    # Dyads of an orthonormal frame: unit length, orthogonal, adding up to the identity.
    np.testing.assert_allclose(gradient @ gradient.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(gradient.sum(axis=0), tensors.IDENTITY, atol=1e-14)
    assert np.all(np.isfinite(jax.jit(jax.hessian(tensors.eigenvalues))(a)))


def test_exp_at_zero():
    # exp(H) = I + H + H H / 2 + ...
    H = symmetric(np.random.default_rng(1))
    h = to_mandel(H[None])
    value, first, second = with_derivatives("exp")(jnp.zeros((1, 6)), h, h)
    np.testing.assert_allclose(value[0], tensors.IDENTITY, atol=1e-15)
    np.testing.assert_allclose(first, h, atol=1e-14)
    np.testing.assert_allclose(second, to_mandel(H[None] @ H[None]), atol=1e-13)


@pytest.mark.parametrize("name", ["log", "general sqrt"])
def test_homogeneous_functions_at_any_size(name):
    """F(s a) = F(a) + log(s) I, resp. sqrt(s) F(a): so do the derivatives scale."""
    compute = with_derivatives(name)
    rng = np.random.default_rng(9)
    A = close_eigenvalues()
    a, h, k = (to_mandel(m) for m in (A, A + symmetric(rng), A - symmetric(rng)))
    value, first, second = compute(a, h, k)
    for size in (1e-10, 1e6):
        if "log" in name:
            shifted, factor = value + np.log(size) * tensors.IDENTITY[None, :], 1.0
        else:
            shifted, factor = value * np.sqrt(size), np.sqrt(size)
        scaled = compute(size * a, size * h, size * k)
        for ours, expected in zip(scaled, (shifted, factor * first, factor * second), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_small_strain_by_log1p_keeps_its_digits():
    E = 1e-10 * symmetric(np.random.default_rng(8))
    e = tensors.to_mandel(E)
    ours = tensors.isotropic_function(jnp.log1p, 2.0 * e)
    # log(I + 2 E) = 2 E - 2 E^2 + O(1e-30)
    np.testing.assert_allclose(ours, tensors.to_mandel(2 * E - 2 * E @ E), rtol=0, atol=1e-24)


def test_log_of_ill_conditioned_tensors():
    q = rotation(np.random.default_rng(6))
    A = with_eigenvalues([1.0, 1e-4, 1e-8], q)
    # The smallest eigenvalue is known to 1e-16 / 1e-8 only; exp must undo log.
    a = tensors.to_mandel(A)
    np.testing.assert_allclose(
        tensors.eigenvalues(tensors.log(a)), np.log([1.0, 1e-4, 1e-8]), rtol=0, atol=1e-7
    )
    np.testing.assert_allclose(tensors.exp(tensors.log(a)), a, rtol=0, atol=1e-14)
    for values in ([1.0, 1.0, 1e-12], [1.0, 1e-12, 1e-12]):
        exact = tensors.log(np.array([*values, 0.0, 0.0, 0.0]))  # uncoupled: exact
        np.testing.assert_allclose(exact[:3], np.log(values), rtol=1e-15)


def test_kink_away_from_it():
    """The positive part: eigenvalues of both signs have the quotient x / (x - y)."""
    a = np.array([2.0, -1.0, -1.0, 0.0, 0.0, 0.0])
    part = functools.partial(tensors.isotropic_function, lambda x: jnp.maximum(x, 0.0))
    expected = np.diag([1.0, 0.0, 0.0, 2 / 3, 2 / 3, 0.0])
    np.testing.assert_allclose(jax.jacfwd(part)(a), expected, atol=1e-15)


def test_objectivity():
    rng = np.random.default_rng(13)
    q, A = rotation(rng), with_eigenvalues([1.4, 1.4, 0.6], rotation(rng))
    R = tensors.mandel_rotation(q)
    a = tensors.to_mandel(A)
    np.testing.assert_allclose(tensors.log(R @ a), R @ tensors.log(a), atol=1e-14)
    tangent = jax.jit(jax.jacfwd(tensors.log))
    np.testing.assert_allclose(tangent(R @ a), R @ tangent(a) @ R.T, atol=1e-13)


def test_parameters_inside_f():
    """Seth-Hill strains (a^m - I) / m: mixed derivatives with respect to m and a, in any order."""
    a = some_tensors()
    h = to_mandel(np.stack([symmetric(np.random.default_rng(i)) for i in range(3)]))

    def strain(m, a):
        return tensors.isotropic_function(lambda x: (x**m - 1.0) / m, a)

    def along(m, a, h):
        return jax.jvp(lambda b: strain(m, b), (a,), (h,))[1]

    def pulled(m, a, h):  # the same: the derivative is symmetric
        return jax.vjp(lambda b: strain(m, b), a)[1](h)[0]

    def rate(m, a):
        return jax.jvp(lambda n: strain(n, a), (m,), (1.0,))[1]

    def pulled_rate(m, a, h):
        return jax.vjp(lambda n: strain(n, a), m)[1](h)[0]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def undifferentiated(m, a, h):
        return strain(m, a), along(m, a, h)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def differentiated(m, a, h):
        return rate(m, a), [
            jax.jacfwd(along)(m, a, h),
            jax.jacfwd(pulled)(m, a, h),
            jax.jacrev(along)(m, a, h),
            jax.jvp(lambda b: rate(m, b), (a,), (h,))[1],
            jax.vjp(lambda b: rate(m, b), a)[1](h)[0],
            jax.grad(pulled_rate, 1)(m, a, h),
        ]

    # Central difference of fourth order: 1e-13 truncation, 1e-12 rounding.
    plus, minus, plus2, minus2 = (
        undifferentiated(0.5 + s, a, h) for s in (1e-3, -1e-3, 2e-3, -2e-3)
    )
    by_difference = [(8 * (plus[i] - minus[i]) - (plus2[i] - minus2[i])) / 12e-3 for i in range(2)]
    first, mixed = differentiated(0.5, a, h)
    np.testing.assert_allclose(first, by_difference[0], atol=1e-10)
    for value in mixed:
        np.testing.assert_allclose(value, by_difference[1], atol=1e-10)
        np.testing.assert_allclose(value, mixed[0], atol=TOLERANCE)


@pytest.mark.parametrize("function", [tensors.log, tensors.eigenvalues], ids=["log", "eigenvalues"])
def test_third_derivative_is_refused_in_every_mode(function):
    a = jnp.asarray([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    for first, second, third in itertools.product((jax.jacfwd, jax.jacrev), repeat=3):
        with pytest.raises(NotImplementedError, match="first and second derivatives"):
            jax.eval_shape(third(second(first(function))), a)


def test_no_calls_or_loops_in_the_trace():
    """Code generators want plain arithmetic: no LAPACK, no loop, no trigonometry."""
    text = str(jax.make_jaxpr(jax.jacfwd(tensors.log))(jnp.ones(6)))
    assert not any(
        word in text for word in (" eigh", " while", " scan", " cos", " acos", " gather")
    )
