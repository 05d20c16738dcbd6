"""Composed laws along driven paths, against closed forms from textbooks."""

import numpy as np

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Path, drive

E, NU = 200e3, 0.3
ELASTICITY = admat.IsotropicElasticity(E, NU)
# Stresses are imposed with the tolerance of the local solve, and strains are small differences.
TOLERANCE = 1e-8


def about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def test_hill_sheet_in_tension_at_three_angles(verified):
    """r = width / thickness plastic strain, and yield stresses; R. Hill, Proc. R. Soc. A 193."""
    r = r0, _, r90 = 1.8, 1.2, 2.5
    law = admat.Rotated(
        admat.Elastoviscoplastic(
            ELASTICITY, admat.Hill48.from_r_values(*r), admat.LinearHardening(250.0, 0.0)
        ),
        np.eye(3),
    )
    axes = [about_z(angle).T for angle in (0, 45, 90)]
    pulled = drive(law, Path().ramp({"strain_xx": 0.05}, steps=5), parameters={"rotation": axes})
    stress = pulled["stress_xx"][:, -1]
    width = pulled["strain_yy"][:, -1] + NU * stress / E
    thickness = pulled["strain_zz"][:, -1] + NU * stress / E
    across = np.sqrt(r90 * (1 + r0) / (r0 * (1 + r90)))  # yield stress along y / along x
    for what, error in (
        ("r-values at 0, 45 and 90 degrees", np.max(np.abs(width / thickness / r - 1.0))),
        ("yield stress at 90 degrees", abs(stress[2] / (across * 250.0) - 1.0)),
    ):
        verified(
            law="Rotated(Elastoviscoplastic: Hill48)",
            hypotheses="small strain, uniaxial stress",
            against=f"{what} (Hill 1948)",
            error=error,
            tolerance=TOLERANCE,
        )


def test_flow_curves(verified):
    """In monotonic tension the stress is R(p), with p = strain - stress / E."""
    knots, values = [0.0, 0.02, 0.05], [200.0, 300.0, 350.0]
    curves = {
        "SwiftHardening": (
            admat.SwiftHardening(500.0, 0.002, 0.2),
            lambda p: 500.0 * (0.002 + p) ** 0.2,
        ),
        "TabulatedHardening": (
            admat.TabulatedHardening(knots, values),
            lambda p: np.interp(p, knots, values),
        ),
    }
    for name, (hardening, R) in curves.items():
        law = admat.Elastoviscoplastic(ELASTICITY, admat.VonMises(), hardening)
        pulled = drive(law, Path().ramp({"strain_xx": 0.08}, steps=16))
        stress, strain = pulled["stress_xx"][1:], pulled["strain_xx"][1:]
        verified(
            law=f"Elastoviscoplastic: VonMises, {name}",
            hypotheses="small strain, uniaxial stress",
            against="flow curve, closed form",
            error=np.max(np.abs(stress / R(strain - stress / E) - 1.0)),
            tolerance=TOLERANCE,
        )


def test_triaxial_compression_of_a_soil(verified):
    """s1 - s3 = 2 c cos(phi) - (s1 + s3) sin(phi), tension positive (Coulomb 1773)."""
    phi, c, cell = np.radians(30.0), 0.02, -0.1
    soil = admat.Elastoviscoplastic(
        admat.IsotropicElasticity(50.0, NU),
        admat.DruckerPrager.from_friction_angle(phi, "compression"),
        admat.LinearHardening(admat.DruckerPrager.yield_stress(c, phi, "compression"), 0.0),
        flow=admat.DruckerPrager(0.1),
    )
    path = Path().ramp({f"stress_{axes}": cell for axes in ("xx", "yy", "zz")})
    pressed = drive(soil, path.ramp({"strain_zz": -0.05}, steps=5))
    sine, cosine = np.sin(phi), np.cos(phi)
    strength = (cell * (1 + sine) - 2 * c * cosine) / (1 - sine)
    verified(
        law="Elastoviscoplastic: DruckerPrager, not associated",
        hypotheses="small strain, triaxial compression",
        against="strength of Mohr and Coulomb, closed form",
        error=abs(pressed["stress_zz"][-1] / strength - 1.0),
        tolerance=TOLERANCE,
    )


def test_creep_at_constant_stress(verified):
    """strain = stress / E + time (stress / K)^n; the step sizes do not matter."""
    K, n, stress = 400.0, 5.0, np.array([50.0, 100.0])
    law = admat.Elastoviscoplastic(ELASTICITY, admat.VonMises(), viscosity=admat.NortonFlow(K, n))
    path = Path().ramp({"stress_xx": stress}, time=1e-6).hold("stress_xx", time=1e3, steps=4)
    loaded = drive(law, path)
    creep = loaded["strain_xx"][:, -1] - loaded["strain_xx"][:, 1]
    verified(
        law="Elastoviscoplastic: VonMises, NortonFlow without threshold",
        hypotheses="small strain, uniaxial stress",
        against="creep at constant stress, closed form",
        error=np.max(np.abs(creep / (1e3 * (stress / K) ** n) - 1.0)),
        tolerance=TOLERANCE,
    )
