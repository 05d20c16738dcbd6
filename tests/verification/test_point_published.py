"""Laws along driven paths against closed forms, and against independent integrations, of others."""

import numpy as np
import pytest
from scipy.optimize import brentq

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Path, drive

E, NU = 200e3, 0.3
ELASTICITY = admat.IsotropicElasticity(E, NU)
# Stresses are imposed with the tolerance of the local solve, and strains are small differences.
TOLERANCE = 1e-8


def j2(hardening, *kinematic, **parts):
    return admat.Elastoviscoplastic(
        ELASTICITY, admat.VonMises(), hardening, list(kinematic), **parts
    )


def plastic(driven):
    """Plastic strain of a tensile test."""
    return driven["strain_xx"] - driven["stress_xx"] / E


def test_prager_cycles(verified):
    """Bilinear law, exact in any step (W. Prager 1955): modulus E (C + H) / (E + C + H)."""
    C, H, sigma_y = 20e3, 5e3, 250.0
    law = j2(admat.LinearHardening(sigma_y, H), admat.Prager(C))
    driven = drive(law, Path().cycles([{"strain_xx": 0.01}, {"strain_xx": -0.01}], 2, steps=7))
    flow = back = p = 0.0
    expected = [0.0]
    for strain in driven["strain_xx"][1:]:
        relative = E * (strain - flow) - back
        dp = max(abs(relative) - sigma_y - H * p, 0.0) / (E + C + H)
        flow += dp * np.sign(relative)
        back += C * dp * np.sign(relative)
        p += dp
        expected.append(E * (strain - flow))
    verified(
        law="Elastoviscoplastic: VonMises, LinearHardening, Prager",
        hypotheses="small strain, uniaxial stress, cycles",
        against="bilinear cycles, closed form (Prager 1955)",
        error=np.abs(driven["stress_xx"] - expected).max() / np.max(expected),
        tolerance=TOLERANCE,
    )


def test_ratcheting_and_stabilised_loop(verified):
    """J. Lemaitre, J.-L. Chaboche, Mechanics of Solid Materials, 1990, sections 5.4.3 and 5.4.4.

    Backward Euler errs by the first order of the step: two step sizes are extrapolated, which
    leaves its second order, 3e-4 here.
    """
    C, g, k = 40e3, 200.0, 150.0
    law = j2(admat.LinearHardening(k), admat.ArmstrongFrederick(C, g))
    high, low = 300.0, -250.0
    ratchet, loop = [], []
    for n in (150, 300):
        driven = drive(law, Path().cycles([{"stress_xx": high}, {"stress_xx": low}], 2, steps=n))
        ratchet.append(plastic(driven)[3 * n] - plastic(driven)[n])
        ends = [{"strain_xx": 0.006}, {"strain_xx": -0.006}]
        driven = drive(law, Path().cycles(ends, 3, steps=n))
        amplitude = (plastic(driven)[5 * n] - plastic(driven)[6 * n]) / 2.0
        stress = (driven["stress_xx"][5 * n] - driven["stress_xx"][6 * n]) / 2.0
        loop.append(stress / (k + C / g * np.tanh(g * amplitude)) - 1.0)
    expected = np.log(((C / g) ** 2 - (low + k) ** 2) / ((C / g) ** 2 - (high - k) ** 2)) / g
    for what, error in (
        ("ratcheting strain of a stress cycle", abs((2 * ratchet[1] - ratchet[0]) / expected - 1)),
        ("stress of the stabilised loop", abs(2 * loop[1] - loop[0])),
    ):
        verified(
            law="Elastoviscoplastic: VonMises, ArmstrongFrederick",
            hypotheses="small strain, uniaxial stress, extrapolated in the step",
            against=f"{what}, closed form (Lemaitre and Chaboche 1990)",
            error=error,
            tolerance=1e-3,
        )


def test_large_steps_with_strong_recovery():
    """One step to 20 %, where recovery g dp is 200: backward Euler has one equation for dp.

    X = C dp / (1 + g dp), so E (strain - dp) = k + X. Reversed, the same with X at the start.
    """
    C, g, k = 300e3, 1000.0, 500.0
    law = j2(admat.LinearHardening(k), admat.ArmstrongFrederick(C, g))
    driven = drive(
        law,
        Path().ramp({"strain_xx": 0.2}).ramp({"strain_xx": 0.1}),
        max_bisections=0,
    )
    first = brentq(lambda dp: E * (0.2 - dp) - k - C * dp / (1 + g * dp), 0.0, 0.2)
    back = C * first / (1 + g * first)
    second = brentq(
        lambda dp: E * (0.1 - first + dp) + k - (back - C * dp) / (1 + g * dp), 0.0, 0.2
    )
    found = driven["equivalent_plastic_strain"][1:]
    np.testing.assert_allclose(found, [first, first + second], rtol=1e-8)


def test_relaxation_by_norton_creep(verified):
    """stress = s (1 + (n - 1) E s^(n-1) t / K^n)^(-1/(n-1)); J. Betten, Creep Mechanics, 2008.

    The mid-point rule on 120 steps in geometric progression (ratio 1.14) errs by 2e-4.
    """
    K, n, strain = 500.0, 7.0, 1e-3
    law = j2(None, viscosity=admat.NortonFlow(K, n), theta=0.5)
    times = np.logspace(-3, 4, 120)
    path = Path().ramp({"strain_xx": strain}, time=1e-9)
    driven = drive(law, path.table(times, {"strain_xx": np.full(120, strain)}))
    start = E * strain
    decay = 1.0 + (n - 1.0) * E * start ** (n - 1.0) * times / K**n
    expected = start * decay ** (-1.0 / (n - 1.0))
    verified(
        law="Elastoviscoplastic: VonMises, NortonFlow without threshold",
        hypotheses="small strain, uniaxial stress, mid-point rule",
        against="stress relaxation, closed form (Betten 2008)",
        error=np.abs(driven["stress_xx"][2:] / expected - 1.0).max(),
        tolerance=1e-3,
    )


def test_soil_in_extension_and_at_the_apex(verified):
    """q + alpha p = R in triaxial extension; p = R / alpha in hydrostatic tension."""
    alpha, R, cell = 0.6, 10.0, -5.0
    soil = admat.Elastoviscoplastic(
        admat.IsotropicElasticity(1e3, 0.25), admat.DruckerPrager(alpha), admat.LinearHardening(R)
    )
    axes = ("xx", "yy", "zz")
    start = Path().ramp({f"stress_{a}": cell for a in axes})
    pulled = drive(soil, start.ramp({"strain_zz": 0.2}, steps=5))
    stress = pulled["stress_zz"][-1]
    opened = drive(soil, Path().ramp({f"strain_{a}": 0.1 for a in axes}, steps=2))
    for what, error in (
        ("triaxial extension", abs(stress - cell + alpha / 3.0 * (stress + 2 * cell) - R) / R),
        ("apex in hydrostatic tension", abs(opened["stress_xx"][-1] * alpha / R - 1.0)),
    ):
        verified(
            law="Elastoviscoplastic: DruckerPrager",
            hypotheses="small strain",
            against=f"{what}, closed form (Drucker and Prager 1952)",
            error=error,
            tolerance=TOLERANCE,
        )


def test_off_axis_tension_of_a_lamina(verified):
    """R.M. Jones, Mechanics of Composite Materials, 1999, equations 2.97: 1/E_x and eta / E_x."""
    E1, E2, G12, nu12 = 138e3, 9e3, 7e3, 0.3
    lamina = admat.OrthotropicElasticity(E1, E2, E2, nu12, nu12, 0.4, G12, G12, 3.2e3)
    angles = np.radians(np.linspace(0.0, 90.0, 7))
    c, s = np.cos(angles), np.sin(angles)
    axes = np.zeros((7, 3, 3))
    axes[:, 0, 0] = axes[:, 1, 1] = c
    axes[:, 1, 0], axes[:, 0, 1], axes[:, 2, 2] = s, -s, 1.0
    law = admat.Rotated(admat.Elastic(lamina), np.eye(3))
    driven = drive(law, Path().ramp({"stress_xx": 100.0}), parameters={"rotation": axes})
    found = [driven["strain_xx"][:, -1] / 100.0, 2.0 * driven["strain_xy"][:, -1] / 100.0]
    shear = 1.0 / G12 - 2.0 * nu12 / E1
    expected = [
        c**4 / E1 + s**4 / E2 + shear * s**2 * c**2,
        (2.0 / E1 + 2.0 * nu12 / E1 - 1.0 / G12) * s * c**3
        - (2.0 / E2 + 2.0 * nu12 / E1 - 1.0 / G12) * s**3 * c,
    ]
    # The fibres are at +angle: with the axes as rows instead, shear coupling changes its sign.
    verified(
        law="Rotated(Elastic(OrthotropicElasticity))",
        hypotheses="uniaxial stress",
        against="off-axis modulus and shear coupling of a lamina (Jones 1999)",
        error=np.abs(np.subtract(found, expected)).max() / np.max(expected),
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("flows", [False, True])
def test_simple_shear_by_logarithmic_strain(verified, flows):
    """Hencky's solid: tau = 4 mu ln(l) / sqrt(4 + g^2), l = g/2 + sqrt(1 + g^2/4) (Anand 1979).

    Plastic: radial return on 1/2 ln(C) by eigenvectors, and P by differences of the strain
    (C. Miehe, N. Apel, M. Lambrecht, CMAME 191 (2002)), on the same steps; differences err by 1e-9.
    """
    mu, sigma_y, H, shear, steps = E / (2 + 2 * NU), 300.0, 2000.0, 2.0, 50
    hardening = admat.LinearHardening(sigma_y if flows else 1e9, H)
    law = admat.LogarithmicStrain(admat.J2Plasticity(E, NU, hardening))
    held = {f"deformation_gradient_{a}": 1.0 for a in ("xx", "yy", "zz")}
    driven = drive(law, Path().ramp({"deformation_gradient_xy": shear, **held}, steps=steps))
    found = driven["first_piola_stress_xy"][-1]
    if flows:
        flow, p = np.zeros((2, 2)), 0.0
        for amount in np.linspace(0.0, shear, steps + 1)[1:]:
            stress = 2 * mu * (_hencky(amount) - flow)
            size = np.sqrt(1.5 * np.sum(stress**2))
            dp = max(size - sigma_y - H * p, 0.0) / (3 * mu + H)
            flow, p = flow + dp * 1.5 * stress / size, p + dp
            stress = stress * (1.0 - 3 * mu * dp / size)
        h = 1e-5
        expected = np.sum(stress * (_hencky(shear + h) - _hencky(shear - h))) / (2 * h)
    else:
        stretch = shear / 2 + np.sqrt(1 + shear**2 / 4)
        expected = 4 * mu * np.log(stretch) / np.sqrt(4 + shear**2)
    verified(
        law="LogarithmicStrain(J2Plasticity)",
        hypotheses="finite strain, simple shear to 2",
        against="radial return in the space of logarithms (Miehe et al. 2002)"
        if flows
        else "Hencky's solid, closed form (Anand 1979)",
        error=abs(found / expected - 1.0),
        tolerance=TOLERANCE,
    )


def _hencky(shear):
    F = np.array([[1.0, shear], [0.0, 1.0]])
    values, vectors = np.linalg.eigh(F.T @ F)
    return vectors @ np.diag(0.5 * np.log(values)) @ vectors.T


@pytest.mark.full  # compiles for a while
def test_schmid_law_of_a_crystal():
    """Yield stress = resistance / largest Schmid factor (E. Schmid 1924): sqrt(6) for [001],
    3 sqrt(6)/2 for [111], 1 / 0.46657 for [123]; the viscous overstress is 1e-6 of it."""
    resistance = 10.0
    crystal = admat.FccCrystal(
        admat.CubicElasticity(168e3, 121e3, 75e3),
        admat.OverstressSlip(K=1e-3, n=1.0),
        admat.SlipHardening(resistance),
    )
    along = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 2, 3]], float)
    along /= np.linalg.norm(along, axis=1)[:, None]
    axes = []
    for pull in along:
        across = np.cross(pull, [0.3, -0.5, 0.81])
        across /= np.linalg.norm(across)
        axes.append([pull, across, np.cross(pull, across)])
    driven = drive(
        admat.Rotated(crystal, np.eye(3)),
        Path().ramp({"strain_xx": 0.004}, time=1.0, steps=10),
        parameters={"rotation": np.array(axes)},
    )
    factors = np.array([np.sqrt(6.0), 1.5 * np.sqrt(6.0), np.sqrt(6.0), 14.0 * np.sqrt(6.0) / 16.0])
    found = driven["stress_xx"][:, -1] / resistance
    np.testing.assert_allclose(found, factors, rtol=1e-5)
