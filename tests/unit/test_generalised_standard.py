"""Generalised standard materials against the same laws written by hand, and closed forms."""

from typing import ClassVar

import batches
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.tensors import deviator, equivalent_stress, trace

E, NU, H, SIGMA_Y, K, N = 200e3, 0.3, 2e3, 200.0, 100.0, 10.0
HOOKE = admat.IsotropicElasticity(E, NU)


class Mises(admat.GeneralisedStandard):
    """Von Mises, linear hardening: what the next two classes share."""

    H: float = H
    sigma_y: float = SIGMA_Y
    linear_when_elastic = True

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6), "p": 0.0}

    def free_energy(self, strain, internal):
        elastic = strain - internal["plastic_strain"]
        return 0.5 * elastic @ HOOKE.stress(elastic) + 0.5 * self.H * internal["p"] ** 2

    def f(self, forces):
        return equivalent_stress(forces["plastic_strain"]) + forces["p"] - self.sigma_y


class Plastic(Mises):
    solver: LocalNewton = eqx.field(static=True, default=LocalNewton(max_iterations=8))

    def yield_function(self, forces, internal_n):
        return self.f(forces)


class Viscous(Mises):
    K: float = K
    n: float = N
    # To the last digit: by default strains are solved for to 1e-14, and the rate is a power of
    # the overstress, a small difference of stresses.
    solver: LocalNewton = eqx.field(static=True, default=LocalNewton(rtol=1e-15, atol=1e-17))

    def dual_dissipation(self, forces, internal_n):
        over = jnp.maximum(self.f(forces), 0.0) / self.K
        return self.K / (self.n + 1.0) * over ** (self.n + 1.0)

    @property
    def rate_exponent(self):
        return self.n


def strains(points=24, size=2e-3):
    """Elastic, plastic, and one at rest."""
    rng = np.random.default_rng(5)
    strain = rng.standard_normal((points, 6)) * size * rng.choice([0.05, 1.0, 4.0], (points, 1))
    strain[3] = 0.0
    return strain


def steps_agree(law, by_hand, dt, tol, backends=("native",)):
    """Two steps, the second of which unloads a part."""
    kernels = [BatchKernel(law, backend=b, chunk_size=64) for b in backends]
    reference = BatchKernel(by_hand)
    strain, state, known = strains(), None, None
    for factor in (1.0, np.where(np.arange(24) % 3 == 0, 0.3, 1.5)[:, None]):
        found = [batches.run(kernel, strain * factor, state, dt) for kernel in kernels]
        batches.assert_agree(found[0], found[-1])
        wanted = batches.run(reference, strain * factor, known, dt)
        assert not found[0].status.code.any() and 0.2 < wanted.status.active.mean() < 1.0
        for ours, theirs in (
            (found[0].outputs["stress"], wanted.outputs["stress"]),
            (found[0].tangent["stress", "strain"], wanted.tangent["stress", "strain"]),
            (found[0].state["plastic_strain"], wanted.state["plastic_strain"]),
            (found[0].state["p"], wanted.state["equivalent_plastic_strain"]),
        ):
            assert batches.error(ours, theirs) <= tol
        tangent = found[0].tangent["stress", "strain"]
        assert batches.error(tangent, np.swapaxes(tangent, 1, 2)) <= tol
        before, state, known = (strain * factor, state), found[0].state, wanted.state
    return kernels[0], *before


def test_yield_function_is_j2_plasticity():
    law = Plastic()
    assert law.symmetric_tangent and not law.rate_dependent
    hardening = admat.LinearHardening(SIGMA_Y, H)
    by_hand = admat.J2Plasticity(E, NU, hardening)
    kernel, strain, state = steps_agree(law, by_hand, None, 1e-10, ("native", "xla"))
    unrolled = batches.run(BatchKernel(law, tangent="unrolled"), strain, state, None)
    tangent = batches.run(kernel, strain, state, None).tangent["stress", "strain"]
    assert batches.error(unrolled.tangent["stress", "strain"], tangent) <= 1e-10


def test_dual_dissipation_is_perzyna_viscoplasticity():
    law = Viscous()
    assert law.symmetric_tangent and law.rate_dependent
    by_hand = admat.PerzynaViscoplasticity(E, NU, admat.LinearHardening(SIGMA_Y, H), K=K, n=N)
    # The overstress is a difference of stresses, with 1e-16 q / f, and the rate is its n-th power.
    kernel, strain, state = steps_agree(law, by_hand, 0.5, 1e-10)
    slopes = batches.slopes(kernel, {"strain": strain}, state)["stress", "strain"]
    tangent = batches.run(kernel, strain, state).tangent["stress", "strain"]
    # The second derivative of a power law: 1e-7 of 2e-3 squared, times n.
    assert batches.error(slopes, tangent) <= 1e-6


class Overstressed(Mises):
    """Perzyna's law by its overstress f = K dp/dt, the inverse of ``Viscous`` with n = 1."""

    K: float = K

    def yield_function(self, forces, internal_n):
        return self.f(forces)

    def viscous_stress(self, rates, internal_n):
        return self.K * rates


def test_viscous_stress_is_perzyna_viscoplasticity():
    law, hardening = Overstressed(), admat.LinearHardening(SIGMA_Y, H)
    assert law.symmetric_tangent and law.rate_dependent
    by_hand = admat.PerzynaViscoplasticity(E, NU, hardening, K=K, n=1.0)
    steps_agree(law, by_hand, 0.01, 1e-9, ("native", "xla"))
    # Slow, it is rate-independent: f = K dp/dt, and dp < 0.1; no time at all, and nothing flows.
    slow = batches.run(law, strains(), None, 1e9)
    plastic = batches.run(admat.J2Plasticity(E, NU, hardening), strains(), None, None)
    assert np.abs(slow.outputs["stress"] - plastic.outputs["stress"]).max() <= K * 0.1 / 1e9 + 1e-9
    still = batches.run(law, strains(), None, 0.0)
    assert not still.status.code.any() and all((v == 0.0).all() for v in still.state.values())
    elastic = np.asarray(jax.vmap(HOOKE.stress)(strains()))
    np.testing.assert_allclose(still.outputs["stress"], elastic, rtol=1e-12, atol=1e-10)


def test_stiff_flow_converges():
    """Rates and exponents from nearly elastic to nearly rate-independent, in one step each."""
    kernel, worst = BatchKernel(Viscous()), 0
    for n in (1.0, 5.0, 20.0, 50.0):
        for dt in (1e-6, 1.0, 1e6):
            kernel.material = Viscous(n=n)
            found = batches.run(kernel, strains() * 3.0, None, dt)
            assert not found.status.code.any(), (n, dt)
            worst = max(worst, found.status.iterations.max())
    assert worst <= 15


class Kinematic(admat.GeneralisedStandard):
    """Von Mises, Prager's hardening; the internal variable enters by its deviator."""

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6)}

    def free_energy(self, strain, internal):
        plastic = deviator(internal["plastic_strain"])
        elastic = strain - plastic
        return 0.5 * elastic @ HOOKE.stress(elastic) + 0.5 * 2 / 3 * H * plastic @ plastic


class KinematicPlastic(Kinematic):
    def yield_function(self, forces, internal_n):
        return equivalent_stress(forces["plastic_strain"]) - SIGMA_Y


class KinematicSmoothed(Kinematic):
    width: float = 1e-9
    rate_dependent: ClassVar[bool] = False

    def dissipation(self, rates, internal_n):
        return SIGMA_Y * np.sqrt(2 / 3) * admat.smoothed_norm(rates["plastic_strain"], self.width)


def test_smoothed_dissipation_tends_to_the_yield_function():
    """The stress differs by (width / increment)^2 beyond yield, by width E within."""
    exact = batches.run(KinematicPlastic(), strains(), None, None)
    errors = []
    for width in (1e-8, 1e-9):
        found = batches.run(KinematicSmoothed(width), strains(), None, None)
        assert not found.status.code.any()
        errors.append(np.abs(found.outputs["stress"] - exact.outputs["stress"]).max())
    assert errors[1] <= 20.0 * E * 1e-9
    assert errors[1] <= 0.2 * errors[0]


C_0, C_1, TAU = 1e3, 3e3, 2.0


class Zener(admat.GeneralisedStandard):
    def initial_state(self):
        return {"viscous_strain": jnp.zeros(6)}

    def free_energy(self, strain, internal):
        elastic = strain - internal["viscous_strain"]
        return 0.5 * C_0 * strain @ strain + 0.5 * C_1 * elastic @ elastic


class ZenerPrimal(Zener):
    def dissipation(self, rates, internal_n):
        rate = rates["viscous_strain"]
        return 0.5 * C_1 * TAU * rate @ rate


class ZenerDual(Zener):
    def dual_dissipation(self, forces, internal_n):
        force = forces["viscous_strain"]
        return 0.5 / (C_1 * TAU) * force @ force


def test_zener_relaxation():
    strain = np.array([[1e-3, -2e-3, 0.0, 5e-4, 0.0, 1e-3]])
    for law in (ZenerPrimal(), ZenerDual()):
        kernel = BatchKernel(law)
        errors = []
        for steps in (20, 40):
            dt, state = 1.0 / steps, None
            viscous = np.zeros(6)
            for _ in range(steps):
                found = batches.run(kernel, strain, state, dt)
                state = found.state
                viscous = (viscous + dt / TAU * strain[0]) / (1.0 + dt / TAU)  # backward Euler
            np.testing.assert_allclose(state["viscous_strain"][0], viscous, rtol=1e-12)
            exact = (C_0 + C_1 * np.exp(-1.0 / TAU)) * strain[0]
            errors.append(np.abs(found.outputs["stress"][0] - exact).max())
            modulus = C_0 + C_1 / (1.0 + dt / TAU)
            np.testing.assert_allclose(
                found.tangent["stress", "strain"][0], modulus * np.eye(6), atol=1e-9 * modulus
            )
        assert 1.9 < errors[0] / errors[1] < 2.1  # first order in time
        still = batches.run(kernel, strain, None, 0.0)  # no time, no flow
        np.testing.assert_allclose(still.outputs["stress"], (C_0 + C_1) * strain, rtol=1e-12)
        assert still.status.code[0] == 0


@pytest.mark.parametrize("law", [ZenerPrimal(), KinematicSmoothed(1e-6)])
def test_solution_minimises_the_incremental_potential(law):
    dt, rng = 0.7, np.random.default_rng(1)
    strain = np.array([3e-3, -2e-3, 0.0, 5e-4, 0.0, 1e-3])
    kernel = BatchKernel(law)
    first = batches.run(kernel, strain[None], None, dt).state
    second = batches.run(kernel, 0.3 * strain[None], first, dt).state
    ((name, (old,)),) = first.items()
    unit = dt if law.rate_dependent else 1.0

    def potential(new):
        rates = {name: (new - old) / unit}
        return law.free_energy(0.3 * strain, {name: new}) + unit * law.dissipation(
            rates, {name: old}
        )

    least = potential(second[name][0])
    for size in (1e-5, 1e-4, 1e-3):
        for _ in range(5):
            assert potential(second[name][0] + size * deviator(rng.standard_normal(6))) > least


class Box(admat.GeneralisedStandard):
    """Stress = E (strain - plastic strain), with stress_xx <= 100 and stress_yy <= 50."""

    def initial_state(self):
        return {"plastic_strain": jnp.zeros(6)}

    def free_energy(self, strain, internal):
        elastic = strain - internal["plastic_strain"]
        return 0.5 * E * elastic @ elastic

    def yield_function(self, forces, internal_n):
        return forces["plastic_strain"][:2] - jnp.array([100.0, 50.0])


def test_several_yield_functions():
    """The stress is the projection of the trial stress: a closed form, corner included."""
    strain = strains()
    found = batches.both(Box(), strain, None, None)
    batches.assert_agree(*found)
    trial, limit = E * strain, np.array([100.0, 50.0] + [np.inf] * 4)
    assert len(set(map(tuple, trial[:, :2] > limit[:2]))) == 4  # all four cases
    np.testing.assert_allclose(found[0].outputs["stress"], np.minimum(trial, limit), atol=1e-8)
    tangent = (trial < limit)[:, :, None] * E * np.eye(6)
    np.testing.assert_allclose(found[0].tangent["stress", "strain"], tangent, atol=1e-6 * E)


class TwoOverstressed(Box):
    """A viscous limit of stress_xx, and a rate-independent one of stress_yy."""

    def viscous_stress(self, rates, internal_n):
        return jnp.array([500.0, 0.0]) * rates


def test_several_viscous_stresses():
    """By hand: the overstress of xx is E (trial - limit) / (E + 500 / dt) 500 / dt."""
    strain, dt, limit = strains(), 0.01, 100.0
    law = TwoOverstressed()
    found = batches.run(law, strain, None, dt)
    stress = E * strain.copy()
    over = np.maximum(stress[:, 0] - limit, 0.0)
    stress[:, 0] -= over * E / (E + 500.0 / dt)
    stress[:, 1] = np.minimum(stress[:, 1], 50.0)
    assert not found.status.code.any() and (over > 0.0).any()
    np.testing.assert_allclose(found.outputs["stress"], stress, atol=1e-7)


class FiniteViscous(admat.GeneralisedStandardFiniteStrain):
    """A neo-Hookean solid with a linear viscous overstress in Green's strain."""

    mu: float = 2.0
    kappa: float = 20.0
    mu_1: float = 5.0
    tau: float = 1.5

    def initial_state(self):
        return {"viscous_strain": jnp.zeros((3, 3))}

    def free_energy(self, F, internal):
        J = jnp.linalg.det(F)
        log = jnp.log(jnp.where(J > 0.0, J, 1.0))
        green = 0.5 * (F.T @ F - jnp.eye(3))
        elastic = green - internal["viscous_strain"]
        equilibrium = 0.5 * self.mu * (jnp.sum(F * F) - 3.0 - 2.0 * log) + 0.5 * self.kappa * log**2
        return equilibrium + self.mu_1 * jnp.sum(elastic * elastic)

    def dual_dissipation(self, forces, internal_n):
        return jnp.sum(forces["viscous_strain"] ** 2) / (4.0 * self.mu_1 * self.tau)


def test_finite_strain():
    rng = np.random.default_rng(3)
    F = np.eye(3) + 0.2 * rng.standard_normal((6, 3, 3))
    law, dt = FiniteViscous(), 0.5
    native, xla = batches.both(law, F, None, dt)
    batches.assert_agree(native, xla)
    for k in range(len(F)):
        green = 0.5 * (F[k].T @ F[k] - np.eye(3))
        viscous = dt / law.tau / (1.0 + dt / law.tau) * green
        np.testing.assert_allclose(native.state["viscous_strain"][k], viscous, atol=1e-12)
        inverse, log = np.linalg.inv(F[k]).T, np.log(np.linalg.det(F[k]))
        P = law.mu * (F[k] - inverse) + law.kappa * log * inverse
        P = P + F[k] @ (2.0 * law.mu_1 * (green - viscous))
        np.testing.assert_allclose(native.outputs["first_piola_stress"][k], P, atol=1e-10)
    block = ("first_piola_stress", "deformation_gradient")
    flat = native.tangent[block].reshape(-1, 9, 9)
    assert batches.error(flat, np.swapaxes(flat, 1, 2)) <= 1e-12
    kernel = BatchKernel(law)
    slopes = batches.slopes(kernel, {"deformation_gradient": F}, None, dt, h=1e-6)
    assert batches.error(slopes[block], native.tangent[block]) <= 1e-7
    folded = evaluate_point(law, np.diag([1.0, 1.0, -1.0]), dt=dt)
    assert folded.status.code == admat.LocalStatus.INADMISSIBLE


class Electrostriction(admat.GeneralisedStandardLaw):
    """Two pairs of inputs and outputs, and one internal variable that couples them."""

    inputs: ClassVar = {"strain": admat.SYMMETRIC, "field": admat.VECTOR, "temperature": ()}
    outputs: ClassVar = {"stress": admat.SYMMETRIC, "displacement": admat.VECTOR}
    conjugates: ClassVar = {"stress": "strain", "displacement": "field"}

    def initial_state(self):
        return {"polarisation": jnp.zeros(3)}

    def free_energy(self, inputs, internal):
        e, D, P = inputs["strain"], inputs["field"], internal["polarisation"]
        coupling = trace(e) * jnp.sum(P * P) + e[:3] @ (D * P)
        soft = 1.0 + 0.1 * inputs["temperature"]
        return 0.5 * soft * e @ e + 0.5 * (D - P) @ (D - P) + P @ P + 0.3 * coupling

    def dissipation(self, rates, internal_n):
        frozen = 1.0 + jnp.sum(internal_n["polarisation"] ** 2)  # state at t_n: still symmetric
        return 0.5 * frozen * jnp.sum(rates["polarisation"] ** 2)


def test_several_inputs():
    rng = np.random.default_rng(7)
    inputs = {
        "strain": 0.3 * rng.standard_normal((5, 6)),
        "field": 0.3 * rng.standard_normal((5, 3)),
        "temperature": rng.standard_normal(5),
    }
    state = {"polarisation": 0.3 * rng.standard_normal((5, 3))}
    kernel = BatchKernel(Electrostriction())
    found = batches.run(kernel, inputs, state)
    for block, slope in batches.slopes(kernel, inputs, state, h=1e-6).items():
        assert batches.error(slope, found.tangent[block]) <= 1e-8
    mixed = found.tangent["stress", "field"]
    assert batches.error(mixed, np.swapaxes(found.tangent["displacement", "strain"], 1, 2)) < 1e-13
    assert np.abs(mixed).max() > 0.01


def test_derivative_with_respect_to_parameters():
    strain = strains()[:8]
    state = {"plastic_strain": jnp.zeros(6), "p": jnp.zeros(())}

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def total(law):
        outputs, _, _ = jax.vmap(lambda e: law.integrate({"strain": e}, state, jnp.nan))(strain)
        return jnp.sum(outputs["stress"][:, 0])

    (_, slope), h = total(Plastic()), 1e-3
    plus, minus = (total(Plastic(sigma_y=SIGMA_Y + step))[0] for step in (h, -h))
    assert float(slope.sigma_y) == pytest.approx(float(plus - minus) / (2 * h), rel=1e-7)


class TestMistakes:
    def test_exactly_one_form(self):
        with pytest.raises(MaterialError, match=r"exactly one of .*; got none of them"):
            Mises()

        class Both(Plastic):
            def dissipation(self, rates, internal_n):
                return 0.0

        with pytest.raises(MaterialError, match="got dissipation and yield_function"):
            Both()

    def test_no_free_energy(self):
        class Nothing(admat.GeneralisedStandard):
            def yield_function(self, forces, internal_n):
                return 0.0

        with pytest.raises(MaterialError, match="`free_energy` is missing"):
            Nothing()

    def test_potential_that_is_no_number(self):
        class Vector(Plastic):
            def free_energy(self, strain, internal):
                return strain

        with pytest.raises(MaterialError, match=r"free_energy must return a number; got shape \(6"):
            evaluate_point(Vector(), np.zeros(6))

    def test_users_line_is_named(self):
        class Broken(Plastic):
            def yield_function(self, forces, internal_n):
                return forces["stress"][0]

        with pytest.raises(MaterialError, match=r"Broken.yield_function: .*forces\[\"stress\"\]"):
            evaluate_point(Broken(), np.zeros(6))
