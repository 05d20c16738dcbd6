"""Where a law ends: softening, missing methods, missing dt, float32; finite-strain residuals."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.tensors import exp, from_mandel, log, to_mandel

D = np.array([1.0, -0.5, -0.5, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("law", [admat.J2Plasticity, admat.J2PlasticityGeneral])
@pytest.mark.parametrize("hardening", [(200.0, -5000.0), (200.0, -342307.0)])
def test_softening_through_zero_is_no_success(law, hardening):
    """The equations then have solutions with negative flow or a negative yield stress."""
    material = law(210e3, 0.3, admat.LinearHardening(*hardening))
    point = admat.evaluate_point(material, 0.1 * D)
    assert int(point.status.code) != admat.LocalStatus.CONVERGED


def test_mild_softening_still_works():
    radial = admat.J2Plasticity(210e3, 0.3, admat.LinearHardening(200.0, -500.0))
    general = admat.J2PlasticityGeneral(210e3, 0.3, admat.LinearHardening(200.0, -500.0))
    a, b = (admat.evaluate_point(law, 0.01 * D) for law in (radial, general))
    assert int(a.status.code) == int(b.status.code) == admat.LocalStatus.CONVERGED
    np.testing.assert_allclose(a.outputs["stress"], b.outputs["stress"], rtol=1e-10)


HARDENING = admat.VoceHardening(250.0, 200.0, 50.0)


@pytest.mark.parametrize(
    "law",
    [
        admat.LinearElastic(210e3, 0.3),
        admat.J2Plasticity(210e3, 0.3, HARDENING),
        admat.J2PlasticityGeneral(210e3, 0.3, HARDENING),
        admat.PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=100.0, n=5.0),
    ],
    ids=lambda law: type(law).__name__,
)
def test_all_strategies_of_a_law_agree(law):
    """Differentiated through `integrate`, not by differences of the whole kernel."""

    def stress(strain, strategy):
        out, _, _ = law.integrate(
            {"strain": strain}, law.initial_state(), jnp.asarray(0.1), strategy
        )
        return out["stress"]

    strain = jnp.asarray(4e-3 * D)
    tangents = {
        s: jax.jacfwd(stress)(strain, s) for s in ("implicit", "unrolled", "finite_difference")
    }
    scale = float(jnp.abs(tangents["implicit"]).max())
    np.testing.assert_allclose(tangents["unrolled"], tangents["implicit"], atol=1e-10 * scale)
    # Central differences of the solve: eps^(2/3) of truncation and round-off, times its curvature.
    np.testing.assert_allclose(
        tangents["finite_difference"], tangents["implicit"], atol=1e-6 * scale
    )


def test_a_laws_own_strategy_is_respected_by_the_kernel():
    fields = {"E": 210e3, "nu": 0.3, "hardening": HARDENING}
    law = admat.J2Plasticity(**fields, solver=admat.LocalNewton(tangent="unrolled"))
    own = BatchKernel(law)
    implicit = BatchKernel(law, tangent="implicit", backend="xla")
    texts = []
    for kernel in (own, implicit):
        run = kernel._functions["tangent"]
        arguments = (
            kernel._arrays,
            {},
            {"strain": jnp.zeros((4, 6))},
            {"plastic_strain": jnp.zeros((4, 6)), "equivalent_plastic_strain": jnp.zeros(4)},
            0.0,
        )
        texts.append(str(jax.make_jaxpr(run.batched)(*arguments)))
    # Only the unrolled form differentiates a bounded loop.
    assert "scan" in texts[0] and "scan" not in texts[1]


def test_a_missing_method_is_named():
    class Misspelt(admat.ImplicitSmallStrain):
        E: float

        def guess(self, step):
            return jnp.zeros(6)

        def residuals(self, x, step):
            return x

        def finish(self, x, step):
            return x, step.state

    with pytest.raises(admat.MaterialError, match=r"`residual` is missing \(`residuals` looks"):
        Misspelt(1.0)

    class Empty(admat.Hyperelastic):
        mu: float

    with pytest.raises(admat.MaterialError, match="Empty: the method `energy` is missing"):
        Empty(1.0)


class Flow(admat.ExplicitSmallStrain):
    """Reads dt but does not say so."""

    E: float

    def update(self, strain, state, dt):
        return self.E * strain * jnp.exp(-dt), state


def test_dt_is_never_guessed():
    rate = admat.PerzynaViscoplasticity(210e3, 0.3, HARDENING, K=100.0, n=5.0)
    with pytest.raises(admat.MaterialError, match="needs the step size"):
        admat.evaluate_point(rate, D)
    for wrong in (-1.0, float("nan"), "1", 1j, True):
        with pytest.raises(admat.MaterialError, match="dt must be a finite number >= 0"):
            admat.evaluate_point(rate, D, dt=wrong)
    # An undeclared use of dt is a failed point, not an elastic answer.
    assert int(admat.evaluate_point(Flow(1.0), D).status.code) == admat.LocalStatus.NOT_FINITE
    assert int(admat.evaluate_point(Flow(1.0), D, dt=0.5).status.code) == 0


def test_a_point_is_never_computed_in_float32():
    program = (
        "import jax, numpy as np, dolfinx_admat as admat\n"
        "law = admat.LinearElastic(1.0, 0.3)\n"
        "jax.config.update('jax_enable_x64', False)\n"
        "admat.evaluate_point(law, np.zeros(6))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode != 0 and "float64 is switched off" in run.stderr


class FinitePlasticity(admat.ImplicitFiniteStrain):
    """Multiplicative J2 by the exponential map, Hencky elasticity; the state is C_p^-1 (Mandel)."""

    mu: float
    kappa: float
    sigma_y: float
    H: float

    def initial_state(self):
        return {"Cp_inv": jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), "p": 0.0}

    def prepare(self, F, state, dt):
        b = to_mandel(F @ from_mandel(state["Cp_inv"]) @ F.T)
        h = 0.5 * log(b)
        mean = (h[0] + h[1] + h[2]) / 3.0
        dev = h - mean * jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        q = 2.0 * self.mu * jnp.sqrt(1.5 * jnp.sum(dev**2) + 1e-30)
        return {"F": F, "mean": mean, "dev": dev, "q": q, "state": state}

    def elastic(self, t):
        return t["q"] - self.sigma_y - self.H * t["state"]["p"] <= 0.0

    def guess(self, t):
        return jnp.zeros(())

    def residual(self, dp, t):
        return t["q"] - 3.0 * self.mu * dp - self.sigma_y - self.H * (t["state"]["p"] + dp)

    def finish(self, dp, t):
        one = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        dev = t["dev"] * (1.0 - 3.0 * self.mu * dp / t["q"])
        tau = from_mandel(2.0 * self.mu * dev + 3.0 * self.kappa * t["mean"] * one)
        F_inv = jnp.linalg.inv(t["F"])
        b = from_mandel(exp(2.0 * (dev + t["mean"] * one)))
        state = {"Cp_inv": to_mandel(F_inv @ b @ F_inv.T), "p": t["state"]["p"] + dp}
        return tau @ F_inv.T, state


def test_implicit_finite_strain_law():
    """Uniaxial isochoric stretch has a closed form; the tangent is that of the stress."""
    mu, kappa, sigma_y, H = 80.0, 160.0, 0.5, 1.0
    law = FinitePlasticity(mu, kappa, sigma_y, H)
    stretch = 1.2
    F = np.diag([stretch, stretch**-0.5, stretch**-0.5])
    point = admat.evaluate_point(law, F)
    # log strain e: q = 3 mu (e - p) = sigma_y + H p
    e = np.log(stretch)
    p = (3 * mu * e - sigma_y) / (3 * mu + H)
    tau = point.outputs["first_piola_stress"] @ F.T
    assert float(point.state["p"]) == pytest.approx(p, rel=1e-12)
    assert float(tau[0, 0] - tau[1, 1]) == pytest.approx(sigma_y + H * p, rel=1e-11)
    assert np.linalg.det(np.asarray(from_mandel(point.state["Cp_inv"]))) == pytest.approx(1.0)

    shear = F + np.array([[0, 0.3, 0], [0.1, 0, 0.05], [0, 0, 0]])

    def stress(F):
        out, _, _ = law.integrate({"deformation_gradient": F}, point.state, jnp.zeros(()))
        return out["first_piola_stress"]

    tangent = jax.jit(jax.jacfwd(stress))(jnp.asarray(shear))
    value, h = jax.jit(stress), 1e-6
    for i, j in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[i, j] = h
        slope = (value(shear + step) - value(shear - step)) / (2 * h)
        np.testing.assert_allclose(tangent[:, :, i, j], slope, atol=1e-7 * mu)
    inverted = admat.evaluate_point(law, np.diag([-1.0, 1.0, 1.0]))
    assert int(inverted.status.code) == admat.LocalStatus.INADMISSIBLE
