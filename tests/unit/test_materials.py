"""The library's laws: tangents, consistency, derivatives by parameters, admissibility.

Scale of all small-strain tests: MPa, yield strain about 1e-3.
"""

import itertools
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import LocalStatus, MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel, StatusBuffers

E, NU = 210e3, 0.3
MU, KAPPA = E / (2 * (1 + NU)), E / (3 * (1 - 2 * NU))
VOCE = admat.VoceHardening(sigma_y=250.0, Q=120.0, b=25.0, H=400.0)
LINEAR = admat.LinearHardening(sigma_y=250.0, H=2000.0)
I6 = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
DEVIATORIC = np.eye(6) - np.outer(I6, I6) / 3.0
ELASTIC = 3.0 * KAPPA * np.outer(I6, I6) / 3.0 + 2.0 * MU * DEVIATORIC

LAWS = {
    "linear elastic": admat.LinearElastic(E, NU),
    "radial return, Voce": admat.J2Plasticity(E, NU, VOCE),
    "radial return, linear": admat.J2Plasticity(E, NU, LINEAR),
    "general, Voce": admat.J2PlasticityGeneral(E, NU, VOCE),
    "Perzyna": admat.PerzynaViscoplasticity(E, NU, VOCE, K=150.0, n=4.0),
}
small_strain = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
DT = 0.1

DIRECTION = np.array([1.0, -0.4, -0.2, 0.5, -0.3, 0.25])  # neither deviatoric nor coaxial
YIELD = 250.0 / (2.0 * MU * np.sqrt(1.5) * np.linalg.norm(DEVIATORIC @ DIRECTION))


class Batch:
    """A kernel with buffers of its own: ``batch(strains, state) -> stress, state, ...``."""

    def __init__(self, law, tangent="implicit", chunk_size=64):
        self.kernel = BatchKernel(law, tangent=tangent, chunk_size=chunk_size)
        (self.i,), (self.o,) = law.inputs, law.outputs
        self.shape = law.inputs[self.i]

    def __call__(self, value, state=None, dt=DT, tangent=True):
        value = np.ascontiguousarray(value, dtype=float).reshape(-1, *self.shape)
        n = len(value)
        state = self.kernel.initial_state(n) if state is None else state
        self.status = StatusBuffers.allocate(n)
        new = {k: np.full_like(v, np.nan) for k, v in state.items()}
        out = np.full((n, *self.shape), np.nan)
        blocks = np.full((n, *self.shape, *self.shape), np.nan)
        self.kernel.update(
            {self.i: value},
            state,
            dt,
            outputs={self.o: out},
            new_state=new,
            status=self.status,
            tangent={(self.o, self.i): blocks} if tangent else None,
        )
        return (out, new, blocks) if tangent else (out, new)


def central_differences(batch, value, state, h):
    """d(output)/d(input) of each point, in numpy: (points, outputs, inputs).

    Fourth order, so that h may be large enough for round-off not to matter.
    """
    n, size = len(value), int(np.prod(batch.shape))
    columns = []
    for k in range(size):
        step = np.zeros(size)
        step[k] = h
        step = step.reshape(batch.shape)
        values = [batch(value + m * step, state, tangent=False)[0] for m in (-2, -1, 1, 2)]
        assert not batch.status.code.any()
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        columns.append(slope.reshape(n, size))
    return np.stack(columns, axis=-1).reshape(n, *batch.shape, *batch.shape)


def loaded_states(batch):
    """Strains and states that a tangent must be right at, by name."""
    virgin = batch.kernel.initial_state(1)
    cases = {
        "zero strain": (np.zeros(6), virgin),
        "hydrostatic": (1e-3 * I6, virgin),
        "elastic": (0.5 * YIELD * DIRECTION, virgin),
        "just below yield": (0.9999 * YIELD * DIRECTION, virgin),
        "just above yield": (1.0001 * YIELD * DIRECTION, virgin),
        "plastic": (3.0 * YIELD * DIRECTION, virgin),
        "large step": (60.0 * YIELD * DIRECTION, virgin),
    }
    _, hardened = batch(4.0 * YIELD * DIRECTION, tangent=False)
    cases["unloading"] = (3.0 * YIELD * DIRECTION, hardened)
    cases["reversed, plastic again"] = (-2.0 * YIELD * DIRECTION, hardened)
    cases["turned"] = (4.0 * YIELD * np.roll(DIRECTION, 1), hardened)
    strain = np.stack([c[0] for c in cases.values()])
    state = {k: np.concatenate([c[1][k] for c in cases.values()]) for k in virgin}
    return list(cases), strain, state


@small_strain
def test_tangent_is_the_derivative_of_the_stress(law):
    """Against central differences and unrolled AD."""
    batch = Batch(law)
    names, strain, state = loaded_states(batch)
    _, _, tangent = batch(strain, state)
    assert not batch.status.code.any()
    near = np.array(["just" in n for n in names])
    for of_these, h, bound in (
        # The local solve is good to 1e-14 of strain (atol) and the stress to 1e-16 of the trial
        # stress, divided by the step; the truncation is (step / strain)^4.
        (~near, 1e-5, 1e-9),
        (near, 2e-8, 1e-6),  # the yield surface is 1.3e-7 away and must not be crossed
    ):
        some = {k: v[of_these] for k, v in state.items()}
        difference = central_differences(batch, strain[of_these], some, h)
        error = np.abs(tangent[of_these] - difference).max(axis=(1, 2)) / E
        assert error.max() < bound, dict(zip(np.array(names)[of_these], error, strict=True))

    unrolled = Batch(law, "unrolled")(strain, state)[2]
    error = np.abs(tangent - unrolled).max(axis=(1, 2))
    assert dict(zip(names, error > 1e-10 * E, strict=True)) == dict.fromkeys(names, False)

    built_in = Batch(law, "finite_difference")(strain, state)[2]
    # Second order with a step of 6e-6 of the strain.
    assert np.abs(tangent - built_in)[~near].max() < 1e-7 * E


@small_strain
def test_declared_symmetry_holds(law):
    assert law.symmetric_tangent
    batch = Batch(law)
    _, strain, state = loaded_states(batch)
    _, _, tangent = batch(strain, state)
    assert np.abs(tangent - tangent.transpose(0, 2, 1)).max() < 1e-10 * E


@small_strain
def test_elastic_tangent_is_hooke(law):
    """Also at zero strain and *exactly at yield*: documented to be the elastic one."""
    strain = np.array([0.0, 0.3, 0.999999, 1.0])[:, None] * YIELD * DIRECTION
    stress, _, tangent = Batch(law)(strain)
    np.testing.assert_allclose(stress, strain @ ELASTIC, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(tangent, np.broadcast_to(ELASTIC, (4, 6, 6)), rtol=0, atol=1e-11 * E)


@pytest.mark.parametrize("law", list(LAWS.values())[1:4], ids=list(LAWS)[1:4])
def test_first_tangent_after_plastic_flow_is_elastic(law):
    """A point that flowed ends at f = 0 up to round-off; the next step starts elastic there."""
    batch = Batch(law)
    strain = np.linspace(1.01, 30.0, 60)[:, None] * YIELD * DIRECTION
    _, state = batch(strain, tangent=False)
    assert batch.status.active.all()
    _, again, tangent = batch(strain, state)
    assert not batch.status.active.any()
    np.testing.assert_allclose(tangent, np.broadcast_to(ELASTIC, tangent.shape), atol=1e-11 * E)
    for name in state:
        np.testing.assert_array_equal(again[name], state[name])


@pytest.fixture(scope="module")
def random_path():
    """40 points x 12 steps: loads, unloads and turns, up to 20 yield strains."""
    rng = np.random.default_rng(1)
    targets = rng.normal(size=(4, 40, 6)) * YIELD * rng.choice([0.3, 3.0, 20.0], size=(4, 40, 1))
    corners = np.concatenate([np.zeros((1, 40, 6)), targets])
    return np.concatenate([np.linspace(a, b, 4)[1:] for a, b in itertools.pairwise(corners)])


@pytest.mark.parametrize("hardening", [VOCE, LINEAR], ids=["Voce", "linear"])
def test_radial_return_and_general_residual_agree(hardening, random_path):
    radial = Batch(admat.J2Plasticity(E, NU, hardening))
    general = Batch(admat.J2PlasticityGeneral(E, NU, hardening))
    a = b = None
    for strain in random_path:
        stress_a, a, tangent_a = radial(strain, a)
        stress_b, b, tangent_b = general(strain, b)
        assert not radial.status.code.any()
        assert not general.status.code.any()
        np.testing.assert_array_equal(radial.status.active, general.status.active)
        assert np.abs(stress_a - stress_b).max() < 1e-10 * np.abs(stress_a).max()
        assert np.abs(tangent_a - tangent_b).max() < 1e-10 * E
        for name in a:
            assert np.abs(a[name] - b[name]).max() < 1e-12  # strains
    assert 0.2 < np.mean(a["equivalent_plastic_strain"] > 1e-3)


@pytest.mark.parametrize("law", list(LAWS.values())[1:], ids=list(LAWS)[1:])
def test_yield_and_dissipation_on_random_paths(law, random_path):
    batch, state = Batch(law), None
    for strain in random_path:
        old = batch.kernel.initial_state(40) if state is None else state
        stress, state = batch(strain, state, tangent=False)
        assert not batch.status.code.any()
        p = state["equivalent_plastic_strain"]
        dp = p - old["equivalent_plastic_strain"]
        flow = state["plastic_strain"] - old["plastic_strain"]
        f = np.sqrt(1.5) * np.linalg.norm(stress @ DEVIATORIC, axis=1) - np.array(
            jax.vmap(law.hardening)(p)
        )
        if law.rate_dependent:
            rate = (np.maximum(f, 0.0) / 150.0) ** 4
            np.testing.assert_allclose(dp, DT * rate, rtol=1e-8, atol=1e-13)
        else:
            assert f.max() < 1e-9 * 250.0
            assert np.abs(f[dp > 0]).max(initial=0.0) < 1e-9 * 250.0
        assert dp.min() >= 0.0
        assert np.sum(stress * flow, axis=1).min() >= 0.0
        np.testing.assert_allclose(flow @ I6, 0.0, atol=1e-15)
        np.testing.assert_allclose(np.sqrt(2 / 3) * np.linalg.norm(flow, axis=1), dp, atol=1e-14)


def rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@small_strain
def test_isotropy(law, random_path):
    """A rotated strain path gives the rotated stress, also after non-proportional flow."""
    R = np.array(admat.tensors.mandel_rotation(rotation(np.random.default_rng(2))))
    batch = Batch(law)
    state = rotated = None
    for strain in random_path[::2]:
        stress, state = batch(strain, state, tangent=False)
        turned, rotated = batch(strain @ R.T, rotated, tangent=False)
        assert np.abs(turned - stress @ R.T).max() < 1e-11 * np.abs(stress).max()


# ------------------------------------------------------------------ parameters


def path_work(law, steps=5):
    """A smooth scalar of a multi-step path with unloading: work plus final plastic strain."""
    factors = jnp.array([0.8, 2.0, 5.0, 3.5, -1.5])[:steps]

    def step(carry, factor):
        state, old = carry
        strain = factor * YIELD * jnp.array(DIRECTION)
        outputs, state, _ = law.integrate({"strain": strain}, state, jnp.asarray(DT))
        return (state, strain), outputs["stress"] @ (strain - old)

    start = (law.initial_state(), jnp.zeros(6))
    (state, _), work = jax.lax.scan(step, start, factors)
    if state:
        return jnp.sum(work) + 100.0 * state["equivalent_plastic_strain"]
    return jnp.sum(work)


def flatten(law):
    leaves, tree = jax.tree.flatten(law)
    return jnp.stack(leaves), lambda v: jax.tree.unflatten(tree, list(v))


@small_strain
def test_gradients_by_every_parameter(law):
    """Forward, reverse and unrolled against central differences; per parameter, relative."""
    p, rebuild = flatten(law)
    work = jax.jit(lambda p: path_work(rebuild(p)))
    reverse = np.array(jax.jit(jax.grad(lambda p: path_work(rebuild(p))))(p))
    forward = np.array(jax.jit(jax.jacfwd(lambda p: path_work(rebuild(p))))(p))
    np.testing.assert_allclose(forward, reverse, rtol=1e-11)
    for k, value in enumerate(np.array(p)):
        h = 1e-3 * value * np.eye(len(p))[k]
        d = (work(p - 2 * h) - 8 * work(p - h) + 8 * work(p + h) - work(p + 2 * h)) / (12 * h[k])
        # Fourth order with a step of 1e-3: truncation about 1e-11, round-off 1e-16 / 1e-3.
        assert abs(d - reverse[k]) < 1e-8 * max(abs(d), abs(work(p)) / value), (k, d, reverse[k])


def test_unrolled_gradients_agree():
    options = admat.LocalNewton(tangent="unrolled", max_iterations=12)
    implicit = admat.J2Plasticity(E, NU, VOCE)
    unrolled = admat.J2Plasticity(E, NU, VOCE, solver=options)
    a, b = (jax.jit(jax.grad(path_work))(law) for law in (implicit, unrolled))
    np.testing.assert_allclose(jax.tree.leaves(a), jax.tree.leaves(b), rtol=1e-10)


@pytest.mark.parametrize("name", ["radial return, Voce", "Perzyna"])
def test_hessian_by_parameters(name):
    law = LAWS[name]
    p, rebuild = flatten(law)
    scale = np.array(p)
    value = lambda q: path_work(rebuild(q * scale), steps=3)  # noqa: E731
    one = jnp.ones(len(p))
    hessian = np.array(jax.jit(jax.jacfwd(jax.grad(value)))(one))
    gradient = jax.jit(jax.grad(value))
    h = 1e-4
    rows = [(gradient(one + h * e) - gradient(one - h * e)) / (2 * h) for e in np.eye(len(p))]
    assert np.abs(hessian - np.array(rows)).max() < 1e-6 * np.abs(hessian).max()
    assert np.abs(hessian - hessian.T).max() < 1e-10 * np.abs(hessian).max()
    assert np.abs(hessian).min(axis=0).max() > 0.0


def test_parameter_gradients_are_finite_at_every_kind_of_point():
    """Zero strain, exactly at yield, dt = 0: no NaN may enter a summed gradient."""
    strains = jnp.stack([f * YIELD * DIRECTION for f in (0.0, 0.5, 1.0, 3.0)])

    def total(law, dt):
        def one(e):
            outputs, state, _ = law.integrate({"strain": e}, law.initial_state(), dt)
            return jnp.sum(outputs["stress"]) + jnp.sum(state["plastic_strain"])

        return jnp.sum(jax.vmap(one)(strains))

    for law in (LAWS["radial return, Voce"], LAWS["general, Voce"], LAWS["Perzyna"]):
        gradients = jax.jit(jax.grad(total, (0, 1)))
        for dt in (0.0, DT) if law.rate_dependent else (DT,):
            gradient, slope = gradients(law, dt)
            assert np.all(np.isfinite(jax.tree.leaves((gradient, slope)))), (law, dt)


# ------------------------------------------------------------------ viscoplasticity


def test_perzyna_without_time_does_not_flow():
    law = LAWS["Perzyna"]
    strain = 5.0 * YIELD * DIRECTION
    stress, state, tangent = Batch(law)(strain, dt=0.0)
    np.testing.assert_allclose(stress[0], ELASTIC @ strain, rtol=1e-12)
    assert state["equivalent_plastic_strain"] == 0.0
    np.testing.assert_allclose(tangent[0], ELASTIC, atol=1e-10 * E)


@pytest.mark.parametrize("n", [1.0, 4.0])
def test_perzyna_approaches_rate_independence(n):
    """<f> = K (dp/dt)^(1/n) -> 0."""
    strain = np.array([1.5, 4.0, 30.0])[:, None] * YIELD * DIRECTION
    slow = admat.PerzynaViscoplasticity(E, NU, VOCE, K=150.0, n=n)
    rigid, state, tangent_0 = Batch(admat.J2Plasticity(E, NU, VOCE))(strain)
    p = state["equivalent_plastic_strain"]
    for dt in (1e6, 1e16, 1e40):
        # In the limit the overstress is far below the round-off of the stress.
        batch = Batch(slow)
        stress, _, tangent = batch(strain, dt=dt)
        assert not batch.status.code.any()
        overstress = 150.0 * (p / dt) ** (1.0 / n)
        gap = np.sqrt(1.5) * np.linalg.norm((stress - rigid) @ DEVIATORIC, axis=1)
        # A small part of the overstress goes into hardening instead.
        assert np.all(gap <= overstress + 1e-9)
        assert np.all(gap >= 0.95 * overstress - 1e-9)
    assert np.abs(tangent - tangent_0).max() < 1e-6 * E


@pytest.mark.parametrize("n", [1.0, 2.5, 20.0, 50.0])
@pytest.mark.parametrize("dt", [1e-8, 1.0, 1e8])
def test_perzyna_extreme_exponents(n, dt):
    """Few iterations thanks to the guess, and the right answer (bisection)."""
    law = admat.PerzynaViscoplasticity(E, NU, LINEAR, K=80.0, n=n)
    strain = np.array([1.001, 1.1, 5.0, 100.0])[:, None] * YIELD * DIRECTION
    batch = Batch(law)
    _, state, tangent = batch(strain, dt=dt)
    assert not batch.status.code.any(), batch.status
    assert batch.status.iterations.max() <= 8
    assert np.isfinite(tangent).all()
    for e, dp in zip(strain, state["equivalent_plastic_strain"], strict=True):
        trial = 2 * MU * np.sqrt(1.5) * np.linalg.norm(DEVIATORIC @ e) - 250.0
        slope = 3 * MU + 2000.0
        # In the overstress, not in dp: <f>^n is steep.
        low, high = 0.0, trial
        for _ in range(200):
            f = 0.5 * (low + high)
            low, high = (f, high) if (trial - f) / slope > dt * (f / 80.0) ** n else (low, f)
        np.testing.assert_allclose(dp, (trial - low) / slope, rtol=1e-7, atol=1e-14)


def test_perzyna_relaxation_against_ode():
    """Uniaxial-like relaxation at fixed strain; backward Euler converges to the ODE's solution."""
    from scipy.integrate import solve_ivp

    law = admat.PerzynaViscoplasticity(E, NU, LINEAR, K=150.0, n=4.0)
    strain = 3.0 * YIELD * DIRECTION
    trial = 2 * MU * np.sqrt(1.5) * np.linalg.norm(DEVIATORIC @ strain)

    def rate(t, p):
        f = trial - 3 * MU * p - (250.0 + 2000.0 * p)
        return (np.maximum(f, 0.0) / 150.0) ** 4

    end = 2e-3
    reference = solve_ivp(rate, (0.0, end), [0.0], rtol=1e-11, atol=1e-14, method="Radau").y[0, -1]
    errors = []
    for steps in (50, 100, 200):
        batch, state = Batch(law), None
        for _ in range(steps):
            _, state = batch(strain, state, dt=end / steps, tangent=False)
        errors.append(state["equivalent_plastic_strain"][0] - reference)
    assert abs(errors[-1]) < 0.01 * reference
    rates = np.log2(np.abs(errors[:-1]) / np.abs(errors[1:]))
    assert np.all(np.abs(rates - 1.0) < 0.1), rates


# ------------------------------------------------------------------ finite strain

NEO = admat.NeoHookean(E=1000.0, nu=0.35)


def test_neo_hookean_reference_state_and_small_strain():
    stress, _, tangent = Batch(NEO)(np.eye(3))
    np.testing.assert_allclose(stress[0], 0.0, atol=1e-12)
    mu, kappa = 1000.0 / 2.7, 1000.0 / 0.9
    d = np.eye(3)
    hooke = (kappa - 2 / 3 * mu) * np.einsum("ij,kl->ijkl", d, d) + mu * (
        np.einsum("ik,jl->ijkl", d, d) + np.einsum("il,jk->ijkl", d, d)
    )
    np.testing.assert_allclose(tangent[0], hooke, atol=1e-12 * 1000.0)
    grad = 1e-6 * np.random.default_rng(3).normal(size=(3, 3))
    stress, _ = Batch(NEO)(np.eye(3) + grad, tangent=False)
    np.testing.assert_allclose(stress[0], np.einsum("ijkl,kl->ij", hooke, grad), atol=1e-8)


def test_neo_hookean_closed_forms_objectivity_and_tangent():
    rng = np.random.default_rng(4)
    F = np.eye(3) + 0.3 * rng.normal(size=(8, 3, 3))
    F[np.linalg.det(F) < 0.1] = np.diag([2.0, 0.6, 1.1])
    batch = Batch(NEO)
    P, _, tangent = batch(F)
    J, F_T = np.linalg.det(F)[:, None, None], np.linalg.inv(F).transpose(0, 2, 1)
    mu, kappa = 1000.0 / 2.7, 1000.0 / 0.9
    trace = np.sum(F * F, axis=(1, 2))[:, None, None]
    exact = mu * J ** (-2 / 3) * (F - trace / 3 * F_T) + kappa * (J - 1) * J * F_T
    np.testing.assert_allclose(P, exact, rtol=1e-11, atol=1e-9)
    kirchhoff = P @ F.transpose(0, 2, 1)
    np.testing.assert_allclose(kirchhoff, kirchhoff.transpose(0, 2, 1), atol=1e-9)

    difference = central_differences(batch, F, {}, 1e-3)
    scale = np.abs(tangent).max(axis=(1, 2, 3, 4), keepdims=True)
    assert (np.abs(tangent - difference) / scale).max() < 1e-8
    assert np.abs(tangent - tangent.transpose(0, 3, 4, 1, 2)).max() < 1e-11 * scale.max()

    Q = rotation(rng)
    np.testing.assert_allclose(batch(Q @ F, tangent=False)[0], Q @ P, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(batch(F @ Q, tangent=False)[0], P @ Q, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("F", [np.diag([1.0, 1.0, -0.5]), np.diag([1.0, 1.0, 0.0])])
def test_inverted_point_is_inadmissible(F):
    result = evaluate_point(NEO, F)
    assert result.status.code == LocalStatus.INADMISSIBLE
    batch = Batch(NEO)
    batch(np.stack([np.eye(3), F, np.eye(3)]))
    np.testing.assert_array_equal(batch.status.code, [0, LocalStatus.INADMISSIBLE, 0])


@small_strain
def test_nan_strain_is_a_status(law):
    batch = Batch(law)
    strain = np.zeros((3, 6))
    strain[1, 4] = np.nan
    stress, _, tangent = batch(strain)
    np.testing.assert_array_equal(batch.status.code, [0, LocalStatus.NOT_FINITE, 0])
    assert np.isfinite(stress[::2]).all()
    assert np.isfinite(tangent[::2]).all()


# ------------------------------------------------------------------ fields of a law


class Everything(admat.ExplicitSmallStrain):
    number: float
    integer: int
    single: object
    listed: list
    matrix: object
    function: object
    flag: bool = True
    text: str = "text"
    nested: object = None
    order: int = eqx.field(static=True, default=3)
    table: tuple = eqx.field(static=True, default=(1, 2))

    def update(self, strain, state, dt):
        return self.number * self.function(strain), state


def everything(**changes):
    fields = {
        "number": 1.0,
        "integer": 2,
        "single": np.float32(0.5),
        "listed": [1, 2.5],
        "matrix": np.eye(2, dtype=np.int64),
        "function": jax.nn.softplus,
        "nested": {"hardening": LINEAR, "pair": (VOCE, 4)},
    }
    return Everything(**(fields | changes))


def test_fields_become_float64_arrays():
    law = everything()
    for name, shape in {
        "number": (), "integer": (), "single": (), "listed": (2,), "matrix": (2, 2)
    }.items():  # fmt: skip
        value = getattr(law, name)
        assert isinstance(value, jax.Array), name
        assert value.dtype == jnp.float64
        assert value.shape == shape
    assert law.function is jax.nn.softplus
    assert law.flag is True
    assert law.text == "text"
    assert law.order == 3 and isinstance(law.order, int)
    assert law.table == (1, 2)
    assert law.nested["pair"][0] is VOCE or isinstance(law.nested["pair"][0], type(VOCE))
    assert law.nested["pair"][1].dtype == jnp.float64
    ragged = everything(listed=[1.0, [2.0, 3.0]]).listed
    assert [np.shape(v) for v in jax.tree.leaves(ragged)] == [(), (), ()]


def test_laws_with_functions_run_and_differentiate():
    law = everything()
    stress = evaluate_point(law, np.full(6, 0.1)).outputs["stress"]
    np.testing.assert_allclose(stress, np.log1p(np.exp(0.1)), rtol=1e-14)
    numbers, rest = eqx.partition(law, eqx.is_inexact_array)

    def value(numbers):
        law = eqx.combine(numbers, rest)
        return law.integrate({"strain": jnp.full(6, 0.1)}, {}, 0.0)[0]["stress"][0]

    assert jax.grad(value)(numbers).number == stress[0]


def test_gradient_through_number_fields_given_as_numbers():
    """A law built inside a differentiated function."""

    def stress(youngs_modulus, sigma_y):
        law = admat.J2Plasticity(youngs_modulus, 0.3, admat.LinearHardening(sigma_y, 100))
        return evaluate_point(law, jnp.array(3 * YIELD * DIRECTION)).outputs["stress"][0]

    for k in (0, 1):
        slope = jax.jit(jax.grad(stress, k))(E, 250.0)
        h = np.array([1.0, 1e-3])[k]
        at = lambda d, k=k, h=h: stress(*(np.array([E, 250.0]) + d * h * np.eye(2)[k]))  # noqa: E731
        np.testing.assert_allclose(slope, (at(1) - at(-1)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: admat.LinearElastic(float("nan"), 0.3), "LinearElastic: parameter 'E'"),
        (lambda: admat.LinearHardening(1.0, np.float32("nan")), "parameter 'H'"),
        (lambda: everything(listed=[1.0, float("nan")]), "parameter 'listed'"),
        (lambda: everything(nested={"a": [float("nan")]}), "parameter 'nested.a.0'"),
    ],
)
def test_nan_parameter(make, name):
    with pytest.raises(MaterialError, match=f"{name} is NaN"):
        make()


class OwnInit(admat.J2Plasticity):
    ratio: float

    def __init__(self, grade):
        self.E, self.nu = 210000, 0.3
        self.hardening = admat.LinearHardening(grade, 1000)
        self.ratio = 2
        self.solver = admat.LocalNewton(max_iterations=7)


def test_subclass_with_its_own_init():
    law = OwnInit(355)
    assert law.E.dtype == law.hardening.sigma_y.dtype == law.ratio.dtype == jnp.float64
    assert law.solver.max_iterations == 7
    with pytest.raises(MaterialError, match=r"OwnInit: parameter 'hardening.sigma_y' is NaN|NaN"):
        OwnInit(float("nan"))
    plain = admat.J2Plasticity(210000, 0.3, admat.LinearHardening(355, 1000))
    strain = 4 * YIELD * DIRECTION
    np.testing.assert_array_equal(
        evaluate_point(law, strain).outputs["stress"],
        evaluate_point(plain, strain).outputs["stress"],
    )


# ------------------------------------------------------------------ users' laws


class Thermal(admat.ExplicitLaw):
    """Two inputs, two outputs."""

    E: float
    alpha: float
    inputs: ClassVar = {"strain": admat.SYMMETRIC, "temperature": admat.SCALAR}
    outputs: ClassVar = {"stress": admat.SYMMETRIC, "entropy": admat.SCALAR}

    def update(self, inputs, state, dt):
        strain = inputs["strain"] - self.alpha * inputs["temperature"] * I6
        stress = self.E * strain
        return {"entropy": self.alpha * stress @ I6, "stress": stress}, state


def test_law_with_several_inputs_and_outputs():
    result = evaluate_point(Thermal(10.0, 0.1), {"temperature": 1, "strain": np.zeros(6)})
    np.testing.assert_allclose(result.outputs["stress"], -I6)
    np.testing.assert_allclose(result.outputs["entropy"], -0.3)


class HotSmallStrain(admat.ExplicitSmallStrain):
    """A second input on a small-strain base: it must not get lost."""

    inputs: ClassVar = {"strain": admat.SYMMETRIC, "temperature": admat.SCALAR}

    def update(self, inputs, state, dt):
        return {"stress": inputs["strain"] * inputs["temperature"]}, state


def test_small_strain_law_with_a_second_input_gets_a_dict():
    result = evaluate_point(HotSmallStrain(), {"temperature": 2.0, "strain": np.ones(6)})
    np.testing.assert_array_equal(result.outputs["stress"], 2.0)


class Slip(NamedTuple):
    strength: jax.Array
    slip: jax.Array


class Inner(eqx.Module):
    damage: jax.Array


class NestedState(admat.ImplicitSmallStrain):
    """State made of dicts, a named tuple and a module; always solves; default prepare."""

    E: float

    def initial_state(self):
        return {"b": {"two": 2, "one": 1.0}, "a": Slip(jnp.ones(3), 0), "m": Inner(jnp.zeros(2))}

    def guess(self, step):
        return step.given

    def residual(self, x, step):
        return x + 0.1 * x**3 * step.state["b"]["two"] - step.given

    def finish(self, x, step):
        a = step.state["a"]
        return self.E * x, {
            "a": a._replace(slip=a.slip + step.dt),
            "b": {"one": x @ x, "two": step.state["b"]["two"]},
            "m": Inner(step.state["m"].damage + x[:2]),
        }


def test_nested_state():
    law = NestedState(100.0)
    batch = Batch(law)
    assert batch.kernel.state_shapes == {
        "a.strength": (3,), "a.slip": (), "b.one": (), "b.two": (), "m.damage": (2,)
    }  # fmt: skip
    strain = np.random.default_rng(5).normal(size=(5, 6))
    _, state = batch(strain, tangent=False)
    stress, state, tangent = batch(strain, state)
    x = stress / 100.0
    np.testing.assert_allclose(x + 0.2 * x**3, strain, rtol=1e-11)
    np.testing.assert_allclose(tangent, 100.0 * np.eye(6) / (1 + 0.6 * x**2)[:, :, None], atol=1e-9)
    np.testing.assert_allclose(state["a.slip"], 2 * DT)
    np.testing.assert_allclose(state["m.damage"], 2 * x[:, :2])
    np.testing.assert_array_equal(state["b.two"], 2.0)
    result = evaluate_point(law, strain[0], dt=0.0)
    assert isinstance(result.state["a"], Slip)
    again = evaluate_point(law, strain[0], result.state, dt=0.5)
    assert again.state["a"].slip == 0.5


def test_a_law_that_writes_into_its_state_spoils_nobody():
    class Writes(admat.ExplicitSmallStrain):
        def initial_state(self):
            return {"n": 0.0}

        def update(self, strain, state, dt):
            state["n"] = state["n"] + 1.0
            return strain, state

    state = {"n": jnp.asarray(5.0)}
    assert evaluate_point(Writes(), np.zeros(6), state).state["n"] == 6.0
    assert evaluate_point(Writes(), np.zeros(6), state, jit=False).state["n"] == 6.0
    assert state["n"] == 5.0
