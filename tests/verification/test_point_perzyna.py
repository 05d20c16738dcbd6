"""Perzyna viscoplasticity at one point against reference case MP-S03 and a closed form."""

import numpy as np
import pytest
from test_point_j2 import Point, read

import dolfinx_admat as admat


@pytest.mark.reference
def test_MP_S03_multiaxial_path(cases, verified):
    case, table, strain, stress = read(cases, "MP-S03_perzyna_multiaxial")
    m, tolerance = case["material"], case["tolerance"]
    n = m["n"]
    K = m["eta"] * 1.5 ** ((n + 1) / (2 * n))  # the source normalises f by sqrt(2/3)
    assert K == pytest.approx(637.75, abs=0.05)  # the case quotes 637.75; it is 637.712
    hardening = admat.LinearHardening(m["sigma_y0"], m["H"])
    point = Point(admat.PerzynaViscoplasticity(m["E"], m["nu"], hardening, K=K, n=n))
    worst = 0.0
    for row in range(1, len(strain)):
        found, _ = point.try_strain(strain[row], table["t"][row] - table["t"][row - 1])
        point.accept()
        np.testing.assert_allclose(
            found, stress[row], rtol=tolerance["stress_rel"], atol=tolerance["stress_abs"]
        )
        worst = max(worst, np.abs(found - stress[row]).max())
    verified(
        law="PerzynaViscoplasticity",
        hypotheses="small strain, backward Euler",
        against="MP-S03 (NEML2), Perzyna, multiaxial, stress",
        error=worst / np.abs(stress).max(),
        tolerance=tolerance["stress_rel"],
    )


def test_steady_uniaxial_flow_stress(verified):
    """At a constant axial strain rate r, stress tends to sigma_y + K r^(1/n) (no hardening)."""
    sigma_y, K, n, rate = 100.0, 80.0, 3.0, 1e-3
    hardening = admat.LinearHardening(sigma_y, 0.0)
    point = Point(admat.PerzynaViscoplasticity(200e3, 0.3, hardening, K=K, n=n))
    strain = np.zeros(6)
    for step in range(1, 41):
        strain, stress = point.uniaxial(step * 1e-3, strain, dt=1e-3 / rate)
        point.accept()
    verified(
        law="PerzynaViscoplasticity",
        hypotheses="small strain, backward Euler",
        against="steady flow stress, closed form",
        error=abs(stress[0] / (sigma_y + K * rate ** (1 / n)) - 1.0),
        tolerance=1e-8,
    )
