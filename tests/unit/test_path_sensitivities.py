"""Derivatives along a path by the name of the parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import ConvergenceError, MaterialError
from dolfinx_admat.laboratory import (
    Path,
    drive,
    path_response,
    path_sensitivities,
    recorded_steps,
)

E, NU, SIGMA_Y, MODULUS = 200e3, 0.3, 250.0, 2e3


def law(**changes):
    given = {"E": E, "sigma_y": SIGMA_Y, "H": MODULUS, **changes}
    return admat.J2Plasticity(given["E"], NU, admat.LinearHardening(given["sigma_y"], given["H"]))


@pytest.fixture(scope="module")
def steps():
    path = Path().ramp({"strain_xx": 0.01}, steps=4).ramp({"stress_xx": 0.0})
    return recorded_steps(drive(law(), path))


def test_uniaxial_tension(steps):
    """stress = (sigma_y + H e) / (1 + H / E) while it flows, by hand; round-off 1e-12."""
    found = path_sensitivities(law(), steps, ["E", "hardening.sigma_y", "hardening.H"])
    strain, h = np.linspace(0.0, 0.01, 5)[1:], MODULUS / E
    stress = (SIGMA_Y + MODULUS * strain) / (1 + h)
    expected = {
        "E": stress * MODULUS / E**2 / (1 + h),
        "hardening.sigma_y": np.full(4, 1 / (1 + h)),
        "hardening.H": (strain - stress / E) / (1 + h),
    }
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name].outputs["stress"][:4, 0], slope, rtol=1e-10)
        # Imposed: the strain, then the stress.
        assert (found[name].inputs["strain"][:4, 0] == 0.0).all()
        np.testing.assert_allclose(found[name].outputs["stress"][4], 0.0, atol=1e-12 * SIGMA_Y)
        p = found[name].states["equivalent_plastic_strain"]
        own = slope / E - (stress / E**2 if name == "E" else 0.0)
        np.testing.assert_allclose(p[:4], -own, rtol=1e-8)
        np.testing.assert_array_equal(p[4], p[3])


def test_arrays_and_defaults():
    """All parameters; the axes of an array come last; one name may be given as it is."""
    maxwell = admat.GeneralisedMaxwell(2e3, 500.0, [300.0, 200.0], [0.1, 10.0])
    steps = recorded_steps(drive(maxwell, Path().ramp({"strain_xx": 0.01}, time=1.0, steps=3)))
    found = path_sensitivities(maxwell, steps)
    assert set(found) == {"kappa", "mu", "branch_mu", "tau"}
    assert found["tau"].outputs["stress"].shape == (3, 6, 2)
    assert found["mu"].outputs["stress"].shape == (3, 6)
    alone = path_sensitivities(maxwell, steps, "tau")["tau"]
    np.testing.assert_allclose(
        alone.outputs["stress"], found["tau"].outputs["stress"], rtol=1e-12, atol=1e-12
    )

    def stress(tau):
        changed = admat.GeneralisedMaxwell(2e3, 500.0, jnp.array([300.0, 200.0]), tau)
        return path_response(changed, steps).outputs["stress"]

    expected = jax.jit(jax.jacrev(stress))(jnp.array([0.1, 10.0]))
    np.testing.assert_allclose(alone.outputs["stress"], expected, rtol=1e-10, atol=1e-12)


def test_messages(steps):
    with pytest.raises(MaterialError, match=r"no 'hardening.sigmay' \(did you mean hardening.sig"):
        path_sensitivities(law(), steps, ["E", "hardening.sigmay"])
    bad = steps._replace(inputs={k: v.at[2].set(jnp.nan) for k, v in steps.inputs.items()})
    with pytest.raises(ConvergenceError, match="J2Plasticity fails at step 3 of 5: NOT_FINITE"):
        path_sensitivities(law(), bad, ["E"])
