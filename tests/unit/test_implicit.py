"""The local solver: values, derivatives, statuses.

The test problem has two unknowns and a closed-form solution, so that every derivative is known:
x0 = sqrt(a), x1 = b / (1 + x0).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dolfinx_admat import LocalNewton, LocalStatus
from dolfinx_admat.implicit import solve

A, B = 2.3, 0.7
GUESS = {"x0": 1.0, "x1": 0.0}
STRATEGIES = ("implicit", "unrolled", "finite_difference")


def equations(x, args):
    return x["x0"] ** 2 - args["a"], x["x1"] * (1.0 + x["x0"]) - args["b"]


def solution(a, b, tangent="implicit", **options):
    x, _ = solve(
        equations, GUESS, {"a": a, "b": b}, options=LocalNewton(tangent=tangent, **options)
    )
    return jnp.stack([x["x0"], x["x1"]])


def solved(residual, guess, args, **kwargs):
    """``solve``, compiled: eager control flow is compiled piece by piece, which takes longer."""
    static = {k: kwargs.pop(k) for k in ("options",) if k in kwargs}
    return jax.jit(lambda g, a, k: solve(residual, g, a, **k, **static))(guess, args, kwargs)


def exact(a, b):
    return jnp.stack([jnp.sqrt(a), b / (1.0 + jnp.sqrt(a))])


def test_value_and_result():
    x, result = solved(equations, GUESS, {"a": A, "b": B})
    np.testing.assert_allclose([x["x0"], x["x1"]], exact(A, B), rtol=1e-14)
    assert set(x) == {"x0", "x1"}
    assert result.code == LocalStatus.CONVERGED
    assert 3 <= result.iterations <= 6  # quadratic from a guess that is 34 % off
    assert result.residual < 1e-12
    assert result.active


@pytest.mark.parametrize("derivative", [jax.jacfwd, jax.jacrev])
def test_first_derivatives(derivative):
    found = jax.jit(derivative(solution, (0, 1)))(A, B)
    np.testing.assert_allclose(found, jax.jacfwd(exact, (0, 1))(A, B), rtol=1e-13)


def test_works_without_jit():
    np.testing.assert_allclose(jax.jacfwd(solution)(A, B), jax.jacfwd(exact)(A, B), rtol=1e-13)


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("inner", [jax.jacfwd, jax.jacrev])
def test_second_derivatives(outer, inner):
    found = jax.jit(outer(inner(solution, (0, 1)), (0, 1)))(A, B)
    expected = jax.jacfwd(jax.jacfwd(exact, (0, 1)), (0, 1))(A, B)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_third_derivative():
    def root(a):
        return solve(lambda x, a: x**2 - a, 1.0, a)[0]

    third = jax.jit(jax.jacfwd(jax.jacrev(jax.jacfwd(root))))(A)
    np.testing.assert_allclose(third, 3.0 / 8.0 * A**-2.5, rtol=1e-12)


def test_derivatives_under_vmap():
    a = jnp.array([0.5, 1.0, 2.0, 40.0])
    for derivative in (jax.jacfwd, jax.jacrev):
        found = jax.jit(jax.vmap(derivative(solution), in_axes=(0, None)))(a, B)
        expected = jax.vmap(jax.jacfwd(exact), in_axes=(0, None))(a, B)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_strategies_agree():
    jacobians = {
        s: np.array(jax.jit(jax.jacfwd(lambda p, s=s: solution(*p, s)))(jnp.array([A, B])))
        for s in STRATEGIES
    }
    scale = np.abs(jacobians["implicit"]).max()
    # Same converged iterate; "unrolled" differentiates one more step, so both are exact.
    assert np.abs(jacobians["unrolled"] - jacobians["implicit"]).max() < 1e-13 * scale
    # Central differences at eps^(1/3): truncation and round-off about 1e-10.
    assert np.abs(jacobians["finite_difference"] - jacobians["implicit"]).max() < 1e-8 * scale
    reverse = jax.jit(jax.jacrev(lambda p: solution(*p, "unrolled")))(jnp.array([A, B]))
    np.testing.assert_allclose(reverse, jacobians["implicit"], rtol=1e-13)


def test_guess_has_no_derivative_unless_it_is_the_answer():
    @jax.jit
    def from_guess(g, elastic=None):
        return solve(lambda x, a: x**2 - a, g, 4.0, elastic=elastic)[0]

    slope = jax.jit(jax.grad(from_guess))
    assert slope(3.0) == 0.0
    assert slope(3.0, False) == 0.0
    assert slope(3.0, True) == 1.0
    assert from_guess(3.0, True) == 3.0


def test_scalar_and_nested_unknowns_keep_their_structure():
    guess = (jnp.zeros((2, 3)), [0.0, {"k": 1}])
    x, result = solved(lambda x, a: jax.tree.map(lambda v: v - a, x), guess, 5.0)
    assert jax.tree.structure(x) == jax.tree.structure(guess)
    assert x[0].shape == (2, 3)
    np.testing.assert_array_equal(jax.tree.leaves(x)[0], 5.0)
    assert result.iterations == 1  # linear


def test_static_leaves_in_args():
    args = {"f": jnp.tanh, "name": "law", "a": 0.3, "on": True, "none": None}
    x, _ = solve(lambda x, p: p["f"](x) - p["a"], 0.1, args)
    np.testing.assert_allclose(x, np.arctanh(0.3), rtol=1e-13)


@pytest.mark.parametrize("start", [3.0, 10.0, -30.0, 1e3])
def test_line_search_where_full_steps_diverge(start):
    """Newton on arctan diverges by full steps from |x - 1| > 1.39."""
    full = start
    for _ in range(4):
        full -= np.arctan(full - 1.0) * (1.0 + (full - 1.0) ** 2)
    assert abs(full) > 10 * abs(start)
    x, result = solved(lambda x, a: jnp.arctan(x - a), start, 1.0)
    assert result.code == LocalStatus.CONVERGED
    assert abs(x - 1.0) < 1e-13  # atol + rtol, although the first scaled residual is 1.6e6


def test_line_search_steps_back_from_nan():
    """log(x) from 5: the full step lands at x < 0."""
    assert 5.0 - 5.0 * np.log(5.0) < 0.0
    x, result = solved(lambda x, a: jnp.log(x), 5.0, ())
    assert result.code == LocalStatus.CONVERGED
    assert abs(x - 1.0) < 1e-12


def test_iterations_are_bounded():
    x, result = solved(lambda x, a: x**2 - a, 100.0, 2.0, options=LocalNewton(max_iterations=3))
    assert result.code == LocalStatus.MAX_ITERATIONS
    assert result.iterations == 3
    heron = 100.0
    for _ in range(3):
        heron = 0.5 * (heron + 2.0 / heron)
    np.testing.assert_allclose(x, heron, rtol=1e-14)  # the last iterate
    assert result.residual > 1.0


def test_double_root_is_not_a_silent_success():
    """Newton is linear there: x halves per step, and 30 steps from 1 leave 1e-9."""
    _, result = solved(lambda x, a: (x - a) ** 2, 1.0, 0.0)
    assert result.code == LocalStatus.MAX_ITERATIONS


@pytest.mark.parametrize("strategy", ["implicit", "unrolled"])
@pytest.mark.parametrize(
    ("residual", "guess"),
    [
        pytest.param(lambda x, a: jnp.sqrt(x), -1.0, id="nan at the guess"),
        pytest.param(lambda x, a: x - jnp.log(a - 3.0), 0.0, id="nan argument"),
        pytest.param(lambda x, a: 1.0 / x - a, 0.0, id="infinite at the guess"),
        pytest.param(lambda x, a: x**2 - a, 0.0, id="zero slope"),
    ],
)
def test_not_finite_is_a_status(residual, guess, strategy):
    x, result = solved(residual, guess, 1.0, options=LocalNewton(tangent=strategy))
    assert result.code == LocalStatus.NOT_FINITE
    assert x == guess  # the last finite iterate


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param([[1.0, 2.0], [2.0, 4.0]], id="exactly singular"),
        pytest.param([[0.1, 0.3], [0.3, 0.9]], id="singular up to round-off"),
        pytest.param([[1.0, 0.0], [1.0, 0.0]], id="an unknown that no equation has"),
        pytest.param([[0.0, 0.0], [1.0, 1.0]], id="an equation without unknowns"),
        pytest.param([[1e9, 3e-12], [3e9, 9e-12]], id="badly scaled and singular"),
    ],
)
@pytest.mark.parametrize("strategy", ["implicit", "unrolled"])
def test_singular_system_is_a_status(matrix, strategy):
    m = jnp.array(matrix)
    _, result = solved(
        lambda x, b: m @ x - b,
        jnp.zeros(2),
        jnp.array([1.0, 3.1]),
        options=LocalNewton(tangent=strategy),
    )
    assert result.code == LocalStatus.NOT_FINITE


def test_status_messages_say_the_next_move():
    assert all("try" in s.message for s in LocalStatus if s is not LocalStatus.CONVERGED)


@pytest.mark.parametrize(("units", "rows"), [(1e-12, 1.0), (1e-12, 1e6), (1e9, 1e-9), (1.0, 1e6)])
def test_units_of_unknowns_and_equations(units, rows):
    """A stress in `units` and a strain; the rows in units of their own (MPa against Pa)."""

    def residual(x, e):
        stress, flow = x["stress"] / units, x["flow"]
        return rows * (stress - 200.0 * (e - flow)), flow - (stress / 3.0) ** 5 * 1e-3

    @jax.jit
    def stress(e):
        # The absolute tolerance has the units of the smallest unknowns.
        options = LocalNewton(atol=1e-14 * min(units, 1.0))
        return solve(residual, {"stress": 0.0, "flow": 0.0}, e, options=options)

    x, result = stress(0.05)
    assert result.code == LocalStatus.CONVERGED
    s = x["stress"] / units
    # Independent: bisection on the eliminated equation.
    low, high = 0.0, 10.0
    for _ in range(100):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if mid / 200.0 + (mid / 3.0) ** 5 * 1e-3 < 0.05 else (low, mid)
    np.testing.assert_allclose(s, low, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda e: stress(e)[0]["stress"]))(0.05) / units
    np.testing.assert_allclose(slope, 1.0 / (1.0 / 200.0 + 5e-3 / 3.0 * (s / 3.0) ** 4), rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_tiny_and_huge_unknowns(scale):
    """Absolute tolerance has the units of the unknown: 1e-14 is too coarse for 1e-12."""
    x, result = solved(
        lambda x, a: x**3 - a, 2.0 * scale, scale**3, options=LocalNewton(atol=1e-14 * scale)
    )
    assert result.code == LocalStatus.CONVERGED
    np.testing.assert_allclose(x, scale, rtol=1e-12)


def test_good_guess_is_not_asked_for_less_than_round_off():
    """Cancellation of 1e9 leaves noise of 1e-7 in the residual; the guess is that close."""
    guess = 0.05 * (1.0 + jnp.array([0.0, 1e-16, 1e-12, 1e-9, 1e-6]))
    residual = lambda x, a: a * (1.0 + x) ** 2 - 1.1025 * a  # noqa: E731
    x, result = jax.jit(jax.vmap(lambda g: solve(residual, g, 1e9)))(guess)
    assert not np.any(result.code)
    np.testing.assert_allclose(x, 0.05, rtol=1e-12)


def test_points_do_not_depend_on_their_neighbours():
    """Bitwise, in any company: easy, hard, failing, NaN and elastic points in one batch."""

    def point(start, a, elastic):
        return solve(lambda x, a: jnp.arctan(x - a) + 0.1 * jnp.tanh(x), start, a, elastic=elastic)

    start = jnp.array([1.0, 20.0, jnp.nan, 0.5, 300.0, 7.0, 1.01, -40.0])
    a = jnp.array([1.0, 1.0, 1.0, 0.5, 1.0, jnp.inf, 1.0, -3.0])
    elastic = jnp.array([False, False, False, True, False, False, False, False])
    batch = jax.jit(jax.vmap(point))
    x, result = batch(start, a, elastic)
    assert len(set(np.asarray(result.iterations))) >= 4
    assert set(np.asarray(result.code)) >= {LocalStatus.CONVERGED, LocalStatus.NOT_FINITE}
    for i in range(len(a)):
        for other in (0, 1, 2, 5):
            company = [jnp.full_like(v, v[other]).at[i].set(v[i]) for v in (start, a, elastic)]
            x_i, result_i = batch(*company)
            np.testing.assert_array_equal(x_i[i], x[i])
            for field, field_i in zip(result, result_i, strict=True):
                np.testing.assert_array_equal(field_i[i], field[i])


def nan_where_elastic(a, tangent="implicit"):
    """The residual and all its derivatives are NaN for a < 1, which counts as elastic."""
    root = lambda a: jnp.sqrt(a["p"] - 1.0)  # noqa: E731
    return solve(
        lambda x, a: x - root(a) - jnp.log(a["p"] - 1.0) * x**3 * 0.1,
        2.0 * a + a**2,
        {"p": a},
        elastic=a < 1.0,
        options=LocalNewton(tangent=tangent),
    )[0]


@pytest.mark.parametrize("strategy", ["implicit", "unrolled"])
def test_elastic_points_skip_the_solve_without_leaks(strategy):
    f = jax.jit(lambda a: nan_where_elastic(a, strategy))
    assert f(0.5) == 1.25
    for derivative in (jax.jacfwd, jax.jacrev):
        assert jax.jit(derivative(f))(0.5) == 3.0  # that of the guess
        batch = jax.jit(jax.vmap(derivative(f)))(jnp.array([0.5, 1.8, 0.9]))
        np.testing.assert_allclose(batch[::2], [3.0, 3.8], rtol=1e-15)
        difference = (f(1.8 + 1e-5) - f(1.8 - 1e-5)) / 2e-5
        np.testing.assert_allclose(batch[1], difference, rtol=1e-8)
    # Summed over points, as a parameter gradient is: one NaN would spoil all.
    points = jnp.array([0.25, 0.9])
    total = jax.jit(jax.grad(lambda a: jnp.sum(jax.vmap(f)(a * points))))(2.0)
    assert np.isfinite(total)


def test_elastic_points_have_second_derivatives_of_the_guess():
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            assert jax.jit(outer(inner(nan_where_elastic)))(0.5) == 2.0


def test_elastic_points_report_no_iterations():
    x, result = solved(lambda x, a: x - a, 1.0, 2.0, elastic=True)
    assert (x, result.iterations, result.code, result.active) == (1.0, 0, 0, False)


@pytest.mark.parametrize("returned", [lambda x: x[:2], lambda x: jnp.append(x, 0.0)])
def test_wrong_number_of_equations(returned):
    size = returned(jnp.zeros(3)).size
    with pytest.raises(ValueError, match=f"got {size} equations for 3 unknowns"):
        solve(lambda x, a: returned(x), jnp.zeros(3), ())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tangent": "exact"}, "one of implicit, unrolled, finite_difference; got 'exact'"),
        ({"rtol": -1.0}, "rtol must be at least 0"),
        ({"atol": float("nan")}, "atol must be at least 0"),
        ({"max_iterations": 0}, "max_iterations must be an integer >= 1"),
        ({"max_halvings": 2.5}, "max_halvings must be an integer >= 1"),
    ],
)
def test_wrong_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        LocalNewton(**setting)


def test_residual_sees_numbers_first_without_jit():
    """So that a breakpoint in a residual shows values."""
    seen = []

    def residual(x, a):
        seen.append((x, a))
        return x**2 - a

    with jax.disable_jit():
        x, _ = solved(residual, 1.0, 2.0)
    assert not any(isinstance(v, jax.core.Tracer) for v in seen[0])
    assert [float(v) for v in seen[0]] == [1.0, 2.0]
    np.testing.assert_allclose(x, np.sqrt(2.0), rtol=1e-15)
