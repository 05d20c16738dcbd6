"""Parameters that depend on the temperature, thermal expansion, and the thermo-mechanical law."""

import batches
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel

E, NU, ALPHA, T_0 = 200e3, 0.3, 1.2e-5, 20.0
ELASTIC = admat.LinearElastic(E, NU)
PLASTIC = admat.J2Plasticity(E, NU, admat.LinearHardening(200.0, 2e3))
TABLE = admat.Table([20.0, 220.0, 420.0], [200e3, 180e3, 140e3])


def yield_stress(T):
    return 200.0 * jnp.exp(-(T - T_0) / 500.0)


class TestFunctions:
    def test_table(self):
        for x, y in ((0.0, 200e3), (20.0, 200e3), (120.0, 190e3), (320.0, 160e3), (900.0, 140e3)):
            assert float(TABLE(x)) == pytest.approx(y, rel=1e-14)

    def test_polynomial(self):
        f = admat.Polynomial([1.0, -2.0, 3.0], reference=20.0)
        assert float(f(22.0)) == pytest.approx(1.0 - 4.0 + 12.0, rel=1e-14)

    def test_mistakes(self):
        with pytest.raises(MaterialError, match="x must increase"):
            admat.Table([0.0, 2.0, 1.0], [1.0, 2.0, 3.0])
        with pytest.raises(MaterialError, match="two lists of equal length"):
            admat.Table([0.0, 1.0], [1.0])


class TestTemperatureDependent:
    def test_parameters_are_those_of_the_temperature(self):
        """At each temperature: the law with these parameters; state carried through."""
        law = admat.TemperatureDependent(PLASTIC, {"E": TABLE, "hardening.sigma_y": yield_stress})
        rng = np.random.default_rng(2)
        strain = rng.standard_normal((6, 6)) * 3e-3
        T = np.array([0.0, 20.0, 120.0, 220.5, 300.0, 500.0])
        kernel, state = BatchKernel(law), None
        kernel_at, states = BatchKernel(PLASTIC), [None] * 6
        for factor in (1.0, -0.5):
            found = batches.run(kernel, {"strain": factor * strain, "temperature": T}, state, None)
            state = found.state
            for i in range(6):
                hardening = admat.LinearHardening(float(yield_stress(T[i])), 2e3)
                kernel_at.material = admat.J2Plasticity(float(TABLE(T[i])), NU, hardening)
                known = batches.run(kernel_at, factor * strain[[i]], states[i], None)
                states[i] = known.state
                stress = found.outputs["stress"][i]
                np.testing.assert_allclose(stress, known.outputs["stress"][0], rtol=1e-10)
        assert found.status.active.any() and not found.status.code.any()

    def test_all_blocks(self):
        law = admat.TemperatureDependent(
            admat.ThermoMechanical(PLASTIC, ALPHA, T_0, conductivity=15.0),
            {
                "law.E": TABLE,
                "law.hardening.sigma_y": yield_stress,
                "alpha": admat.Polynomial([ALPHA, 1e-8], T_0),
                "conductivity": lambda T: 15.0 + 0.01 * T,
            },
        )
        rng = np.random.default_rng(3)
        inputs = {
            "strain": rng.standard_normal((10, 6)) * 3e-3 * rng.choice([0.05, 1.0], (10, 1)),
            "temperature": rng.uniform(30.0, 200.0, 10),
            "temperature_gradient": rng.standard_normal((10, 3)),
        }
        native, xla = batches.both(law, inputs, None, None)
        batches.assert_agree(native, xla)
        assert 0.2 < native.status.active.mean() < 1.0
        kernel = BatchKernel(law)
        strain = batches.slopes(kernel, inputs, None, None)
        # One degree is 1e-5 of strain: a larger step loses fewer digits there.
        degrees = batches.slopes(kernel, inputs, None, None, h=1e-3)
        for (output, name), block in native.tangent.items():
            slope = (strain if name == "strain" else degrees)[output, name]
            assert batches.error(slope, block) <= 1e-6, (output, name)
        assert np.abs(native.tangent["stress", "temperature"]).max() > 1.0
        unrolled = batches.run(BatchKernel(law, tangent="unrolled"), inputs, None, None)
        for block, value in native.tangent.items():
            assert batches.error(unrolled.tangent[block], value) <= 1e-10

    def test_values_of_a_table_are_parameters(self):
        law = admat.TemperatureDependent(ELASTIC, {"E": TABLE})
        inputs = {"strain": jnp.array([1e-3, 0, 0, 0, 0, 0]), "temperature": jnp.asarray(120.0)}

        @eqx.filter_jit
        @eqx.filter_grad
        def slope(law):
            return law.integrate(inputs, {}, jnp.nan)[0]["stress"][0]

        # stress_xx = (lambda + 2 mu) e, proportional to E, half of which is each table value.
        modulus = (1 - NU) / ((1 + NU) * (1 - 2 * NU))
        found = slope(law).parameters["E"].y
        np.testing.assert_allclose(found, [0.5e-3 * modulus, 0.5e-3 * modulus, 0.0], rtol=1e-12)

    def test_values_of_a_table_per_point(self):
        law = admat.TemperatureDependent(ELASTIC, {"E": admat.Polynomial([E, -50.0], T_0)})
        kernel = BatchKernel(law, point_parameters=("parameters.E.coefficients",))
        strain = np.tile([1e-3, 0, 0, 0, 0, 0], (2, 1))
        values = np.array([[E, -50.0], [2 * E, -100.0]])
        found = batches.run(
            kernel, {"strain": strain, "temperature": np.full(2, 70.0)}, None, None,
            parameters={"parameters.E.coefficients": values},
        )  # fmt: skip
        np.testing.assert_allclose(found.outputs["stress"][1], 2.0 * found.outputs["stress"][0])

    def test_mistakes(self):
        with pytest.raises(MaterialError, match=r"no parameter 'sigma_y'; it has .*hardening"):
            admat.TemperatureDependent(PLASTIC, {"sigma_y": yield_stress})
        with pytest.raises(MaterialError, match=r"'nu' is out of range: got 0.6"):
            admat.TemperatureDependent(PLASTIC, {"nu": admat.Table([0, 1], [0.3, 0.6])})
        with pytest.raises(MaterialError, match="'E' must be a function of the temperature"):
            admat.TemperatureDependent(PLASTIC, {"E": 200e3})
        law = admat.TemperatureDependent(PLASTIC, {"E": lambda T: jnp.stack([T, T])})
        with pytest.raises(MaterialError, match=r"for 'E' returns shape \(2,\); expected \(\)"):
            evaluate_point(law, {"strain": np.zeros(6), "temperature": 20.0})


class TestThermalStress:
    def test_constrained(self, verified):
        """No strain: stress = -E alpha dT / (1 - 2 nu) in all directions (Boley and Weiner)."""
        law = admat.ThermalExpansion(ELASTIC, ALPHA, T_0)
        found = evaluate_point(law, {"strain": np.zeros(6), "temperature": 120.0})
        stress = -E * ALPHA * 100.0 / (1.0 - 2.0 * NU)
        verified(
            law="ThermalExpansion(LinearElastic)",
            hypotheses="3D, small strain",
            against="constrained heating (Boley and Weiner 1960)",
            error=np.max(np.abs(found.outputs["stress"][:3] / stress - 1.0)),
            tolerance=1e-12,
        )
        np.testing.assert_allclose(found.outputs["stress"][3:], 0.0)

    def test_free(self):
        law = admat.ThermalExpansion(ELASTIC, [1e-5, 2e-5, 3e-5, 0.0, 0.0, 1e-6], T_0)
        strain = 50.0 * np.array([1e-5, 2e-5, 3e-5, 0.0, 0.0, 1e-6])
        found = evaluate_point(law, {"strain": strain, "temperature": 70.0})
        np.testing.assert_allclose(found.outputs["stress"], 0.0, atol=1e-9)

    def test_clamped_plate_and_bar(self):
        """Plane stress: -E alpha dT / (1 - nu); uniaxial stress: -E alpha dT."""
        law = admat.ThermalExpansion(ELASTIC, ALPHA, T_0)
        plate = evaluate_point(
            admat.PlaneStress(law), {"strain": np.zeros(3), "temperature": 120.0}
        )
        np.testing.assert_allclose(
            plate.outputs["stress"], [-E * ALPHA * 100 / (1 - NU)] * 2 + [0.0], rtol=1e-10
        )
        bar = admat.UniaxialStress(law)
        zero = np.zeros(tuple(bar.inputs["strain"]))
        found = evaluate_point(bar, {"strain": zero, "temperature": 120.0})
        np.testing.assert_allclose(
            np.ravel(found.outputs["stress"]), -E * ALPHA * 100.0, rtol=1e-10
        )

    def test_bar_heated_until_it_flows_and_cooled(self, verified):
        """A clamped bar, perfectly plastic: it flows at dT = sigma_y / (E alpha).

        Heated to three times that and cooled to the start, it is left with tension sigma_y.
        """
        perfect = admat.J2Plasticity(E, NU, admat.LinearHardening(200.0, 0.0))
        bar = admat.UniaxialStress(admat.ThermalExpansion(perfect, ALPHA, T_0))
        kernel = BatchKernel(bar)
        limit, state = 200.0 / (E * ALPHA), None
        strain = np.zeros((1, *bar.inputs["strain"]))
        heated = ((0.5, -100.0), (1.0, -200.0), (3.0, -200.0), (2.0, 0.0), (0.0, 200.0))
        for factor, stress in heated:
            inputs = {"strain": strain, "temperature": np.array([T_0 + factor * limit])}
            found = batches.run(kernel, inputs, state, None)
            state = found.state
            assert found.status.code[0] == 0
            verified(
                law="UniaxialStress(ThermalExpansion(J2Plasticity))",
                hypotheses="uniaxial stress",
                against="clamped bar, heated until it flows and cooled, closed form",
                error=abs(found.outputs["stress"].item() - stress) / 200.0,
                tolerance=1e-9,
            )

    def test_mistakes(self):
        with pytest.raises(MaterialError, match=r"alpha must be a number or a Mandel vector"):
            admat.ThermalExpansion(ELASTIC, [1e-5, 1e-5, 1e-5], T_0)
        with pytest.raises(MaterialError, match="does not fit"):
            admat.ThermalExpansion(admat.NeoHookean(1.0, 0.3), 1e-5, T_0)


class TestThermoMechanical:
    def test_isotropic(self):
        law = admat.ThermoMechanical(ELASTIC, ALPHA, T_0, 15.0)
        assert not law.symmetric_tangent
        inputs = {"strain": np.zeros(6), "temperature": 30.0, "temperature_gradient": [1.0, 0, -2]}
        found = evaluate_point(law, inputs)
        np.testing.assert_allclose(found.outputs["heat_flux"], [-15.0, 0.0, 30.0])
        stress = -E * ALPHA * 10.0 / (1.0 - 2.0 * NU)
        np.testing.assert_allclose(found.outputs["stress"][:3], stress, rtol=1e-12)

    def test_anisotropic_and_turned(self):
        """heat_flux = -Q k Q^T grad T in a turned frame."""
        k = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 4.0]])
        law = admat.ThermoMechanical(ELASTIC, ALPHA, T_0, k)
        Q = np.asarray(admat.bunge_rotation(0.3, 0.5, 0.7))
        gradient = np.array([1.0, -2.0, 0.5])
        inputs = {"strain": np.zeros(6), "temperature": T_0, "temperature_gradient": gradient}
        found = evaluate_point(admat.Rotated(law, Q), inputs)
        np.testing.assert_allclose(found.outputs["heat_flux"], -Q @ k @ Q.T @ gradient, rtol=1e-12)

    def test_conductivity_is_positive(self):
        for bad in (-1.0, 0.0, np.diag([1.0, 1.0, -1.0]), np.eye(3) + np.eye(3, k=1)):
            with pytest.raises(MaterialError, match="symmetric positive definite"):
                admat.ThermoMechanical(ELASTIC, ALPHA, T_0, bad)

    def test_energies_at_constant_temperature(self):
        """Stored energy is that of the elastic strain, thermal strain taken off."""
        law = admat.WithEnergies(admat.ThermalExpansion(ELASTIC, ALPHA, T_0))
        strain = jnp.array([1e-3, 0, 0, 0, 0, 0])
        found = evaluate_point(law, {"strain": strain, "temperature": 50.0})
        elastic = strain - 30.0 * ALPHA * jnp.array([1.0, 1, 1, 0, 0, 0])
        energy = 0.5 * jnp.dot(elastic, admat.IsotropicElasticity(E, NU).stress(elastic))
        assert float(found.outputs["stored_energy"]) == pytest.approx(float(energy), rel=1e-12)
        assert jax.tree.leaves(found.state) == [0.0]


def test_a_function_out_of_range_is_inadmissible():
    law = admat.TemperatureDependent(
        admat.LinearElastic(200e3, 0.3), {"nu": admat.Polynomial([0.3, 0.001])}
    )
    T = np.array([0.0, 100.0, 300.0, -2000.0])
    found = batches.run(law, {"strain": np.full((4, 6), 1e-3), "temperature": T})
    assert list(found.status.code) == [0, 0, 3, 3]
