"""Laws composed of parts, through the driver, against reference cases."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest

from dolfinx_admat import Path, drive
from dolfinx_admat.materials import (
    ArmstrongFrederick,
    DruckerPrager,
    Elastoviscoplastic,
    Hosford,
    IsotropicElasticity,
    LinearHardening,
    NortonFlow,
    Prager,
    StaticRecovery,
    VoceHardening,
    VonMises,
)

pytestmark = pytest.mark.reference

AXES = ("xx", "yy", "zz", "xy", "xz", "yz")
SMALL = "small strain, backward Euler"


def read(cases, name):
    """The case, and its table as {column: values}."""
    case = json.loads((cases / f"{name}.json").read_text())
    rows = list(csv.reader((cases / f"{name}.csv").read_text().splitlines()))
    return case, dict(zip(rows[0], np.array(rows[1:], float).T, strict=True))


def isotropic(m):
    return IsotropicElasticity(m["E"], m["nu"])


def largest(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def all_strains(table):
    return Path().table(table["t"], {f"strain_{a}": table[f"e{a}"] for a in AXES})


def check_columns(result, table, rows, columns):
    """{ours: (column, absolute tolerance)}."""
    for ours, (column, tolerance) in columns.items():
        gap = largest(result[ours][rows], table[column])
        assert gap <= tolerance, f"{ours}: {gap:.2e} > {tolerance:g}"


def assert_stresses(result, table, tolerance):
    """All components, to the tolerance of the case."""
    for a in AXES:
        np.testing.assert_allclose(
            result[f"stress_{a}"],
            table[f"s{a}"],
            rtol=tolerance["stress_rel"],
            atol=tolerance["stress_abs"],
        )


def test_mp_s01_tension_and_unloading(cases, verified):
    """Uniaxial stress; all strains, stresses and p."""
    case, table = read(cases, "MP-S01_j2_linear_isotropic")
    m, tolerance = case["material"], case["tolerance"]
    law = Elastoviscoplastic(isotropic(m), VonMises(), LinearHardening(m["sigma_y0"], m["H"]))
    result = drive(law, Path().table(table["t"], {"strain_xx": table["exx"]}))
    columns = {f"stress_{a}": (f"s{a}", tolerance["sxx_abs"]) for a in AXES}
    columns |= {f"strain_{a}": (f"e{a}", tolerance["strain_abs"]) for a in AXES}
    columns["equivalent_plastic_strain"] = ("p", tolerance["p_abs"])
    check_columns(result, table, slice(None), columns)
    size = np.abs(table["sxx"]).max()
    verified(
        law="Elastoviscoplastic: VonMises, LinearHardening",
        hypotheses=SMALL,
        against="MP-S01 (MFront), tension and unloading, stress",
        error=largest(result["stress_xx"], table["sxx"]) / size,
        tolerance=tolerance["sxx_abs"] / size,
    )


def test_mp_s02_two_voce_terms_and_armstrong_frederick(cases, verified):
    """10 % strain and full reversal in 1000 steps; the back stress as well."""
    case, table = read(cases, "MP-S02_j2_double_voce_af_reverse")
    m, tolerance = case["material"], case["tolerance"]
    voce = VoceHardening(m["R0"], Q=[m["Q1"], m["Q2"]], b=[m["b1"], m["b2"]])
    kinematic = ArmstrongFrederick(m["C_uniaxial"], m["D"])
    law = Elastoviscoplastic(isotropic(m), VonMises(), voce, kinematic)
    path = Path().ramp({"strain_xx": 0.1}, time=200, steps=500)
    path = path.ramp({"strain_xx": 0.0}, time=200, steps=500)
    result = drive(law, path)
    rows = np.rint(table["t"] / 0.4).astype(int)
    columns = {f"stress_{a}": (f"s{a}", tolerance["sxx_abs"]) for a in AXES}
    columns["equivalent_plastic_strain"] = ("p", tolerance["p_abs"])
    check_columns(result, table, rows, columns)
    back_strain = result.states["back_strain_1"][0, rows]
    for i, axes in enumerate(("xx", "yy", "zz")):  # printed with six digits
        X = 2.0 / 3.0 * m["C_uniaxial"] * back_strain[:, i]
        assert largest(X, table[f"X{axes}"]) <= 5e-4 + 5e-6 * np.abs(table["Xxx"]).max()
    size = np.abs(table["sxx"]).max()
    verified(
        law="Elastoviscoplastic: VonMises, VoceHardening (2 terms), ArmstrongFrederick",
        hypotheses=SMALL,
        against="MP-S02 (MFront), 10 % strain and reversal, stress",
        error=largest(result["stress_xx"][rows], table["sxx"]) / size,
        tolerance=tolerance["sxx_abs"] / size,
    )


def test_mp_s03_perzyna_multiaxial(cases, verified):
    """Proportional path with all components; the source normalises f by sqrt(2/3)."""
    case, table = read(cases, "MP-S03_perzyna_multiaxial")
    m, tolerance = case["material"], case["tolerance"]
    n = m["n"]
    K = m["eta"] * 1.5 ** ((n + 1) / (2 * n))
    law = Elastoviscoplastic(
        isotropic(m),
        VonMises(),
        LinearHardening(m["sigma_y0"], m["H"]),
        viscosity=NortonFlow(K, n),
    )
    result = drive(law, all_strains(table))
    assert_stresses(result, table, tolerance)
    verified(
        law="Elastoviscoplastic: VonMises, LinearHardening, NortonFlow",
        hypotheses=SMALL,
        against="MP-S03 (NEML2), Perzyna, multiaxial, stress",
        error=largest(result["stress_xx"], table["sxx"]) / np.abs(table["sxx"]).max(),
        tolerance=tolerance["stress_rel"],
    )


def test_mp_s04_chaboche_with_static_recovery(cases, verified):
    """Two back stresses that also recover in time; lateral stresses must come out as zero."""
    case, table = read(cases, "MP-S04_chaboche_visco_two_backstress")
    m, tolerance = case["material"], case["tolerance"]
    kinematic = [
        ArmstrongFrederick(m[f"C{i}"], m[f"D{i}"], StaticRecovery(m[f"A{i}"], m[f"a{i}"]))
        for i in (1, 2)
    ]
    law = Elastoviscoplastic(
        isotropic(m),
        VonMises(),
        VoceHardening(m["sigma_y0"], m["Q"], m["b"]),
        kinematic,
        viscosity=NortonFlow(m["K"], m["n"]),
    )
    result = drive(law, all_strains(table))
    assert_stresses(result, table, tolerance)
    # It is recovery that is tested: without it, the stress is another one.
    none = {f"kinematic.{i}.recovery.A": 0.0 for i in (0, 1)}
    without = drive(law, all_strains(table), parameters=none)
    assert largest(without["stress_xx"], table["sxx"]) > 1e-2 * np.abs(table["sxx"]).max()
    verified(
        law="Elastoviscoplastic: VonMises, VoceHardening, 2 ArmstrongFrederick, NortonFlow",
        hypotheses=SMALL,
        against="MP-S04 (NEML2), Chaboche with static recovery, stress",
        error=largest(result["stress_xx"], table["sxx"]) / np.abs(table["sxx"]).max(),
        tolerance=tolerance["stress_rel"],
    )


def test_mp_s05_drucker_prager(cases, verified):
    """Not associated: the source's flow direction n + alpha 1 has the potential q + 3 alpha p."""
    case, table = read(cases, "MP-S05_drucker_prager_tension")
    m, tolerance = case["material"], case["tolerance"]
    law = Elastoviscoplastic(
        isotropic(m),
        DruckerPrager(m["alpha"]),
        LinearHardening(m["k"]),
        flow=DruckerPrager(3.0 * m["alpha"]),
    )
    result = drive(law, Path().ramp({"strain_xx": 5e-3}, time=1.0, steps=10))
    error = np.abs(result["stress_xx"] / np.maximum(table["sxx"], 1.0) - 1.0)[1:].max()
    assert result["stress_xx"][-1] == pytest.approx(9.0e7, rel=tolerance["sxx_rel"])
    columns = {
        "strain_yy": ("eyy", tolerance["lateral_strain_abs"]),
        "strain_zz": ("ezz", tolerance["lateral_strain_abs"]),
        "equivalent_plastic_strain": ("p", tolerance["p_abs"]),
    }
    check_columns(result, table, slice(None), columns)
    verified(
        law="Elastoviscoplastic: DruckerPrager, not associated",
        hypotheses=SMALL,
        against="MP-S05 (MFront), tension, stress",
        error=error,
        tolerance=tolerance["sxx_rel"],
    )


@pytest.mark.parametrize(("theta", "scheme"), [(0.5, "midpoint_scheme"), (1.0, "backward_euler")])
def test_mp_s11_norton_midpoint(cases, verified, theta, scheme):
    """No threshold, n = 8.2, A = 8e-67; the table was made with the mid-point rule."""
    case, table = read(cases, "MP-S11_norton_uniaxial_strain")
    m = case["material"]
    law = Elastoviscoplastic(
        isotropic(m), VonMises(), viscosity=NortonFlow.from_creep(m["A"], m["n"]), theta=theta
    )
    columns = {f"strain_{a}": 0.0 * table["exx"] for a in AXES}
    result = drive(law, Path().table(table["t"], columns | {"strain_xx": table["exx"]}))
    error = largest(result["equivalent_plastic_strain"], table["p"])
    assert error <= case["tolerance"][f"p_abs_{scheme}"]
    if theta == 1.0:
        assert error > 1e-6  # it is another scheme
    else:
        verified(
            law="Elastoviscoplastic: VonMises, NortonFlow without threshold",
            hypotheses="small strain, mid-point rule",
            against="MP-S11 (MGIS), confined creep, p",
            error=error / table["p"].max(),
            tolerance=case["tolerance"][f"p_abs_{scheme}"] / table["p"].max(),
        )


def test_mp_s12_tension_and_shear_by_stresses(cases, verified):
    """A non-proportional stress path; the error is proportional to the step, 1.2e-3 with 200."""
    case, table = read(cases, "MP-S12_tension_shear_isotropic_ssnp15")
    m = case["material"]
    law = Elastoviscoplastic(isotropic(m), VonMises(), LinearHardening(m["sigma_y0"], m["H"]))
    path = Path()
    for xx, xy in ((151.2, 93.1), (257.2, 33.1), (0.0, 0.0)):
        path = path.ramp({"stress_xx": xx, "stress_xy": xy}, time=1.0, steps=400)
    result = drive(law, path)
    worst = 0.0
    for ours, theirs in {
        "strain_xx": "exx",
        "strain_yy": "eyy",
        "strain_xy": "exy",
        "equivalent_plastic_strain": "p",
    }.items():
        value = np.interp(table["t"], result.time, result[ours])
        worst = max(worst, largest(value, table[theirs]) / np.abs(table[theirs]).max())
    verified(
        law="Elastoviscoplastic: VonMises, LinearHardening",
        hypotheses=SMALL,
        against="MP-S12 (VPCS SSNP15), tension-shear by stresses, strain",
        error=worst,
        tolerance=case["tolerance"]["strain_rel_fine_steps"],
    )


def test_mp_s16_hosford_yield_stresses(cases, verified):
    """Pure shear, plane strain and equibiaxial tension: f is of degree one, so one value each."""
    case, table = read(cases, "MP-S16_hosford_pure_shear")
    sigma_y = case["material"]["sigma_y"]
    shear = jnp.array([0.0, 0.0, 0.0, np.sqrt(2.0), 0.0, 0.0])
    directions = {
        "tau_yield_pure_shear": shear,
        "s1_yield_plane_strain_ratio_0.5": jnp.array([1.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
        "s_yield_equibiaxial": jnp.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    }
    for column, direction in directions.items():
        found = [sigma_y / Hosford(int(a))(direction) for a in table["a"]]
        verified(
            law="Hosford",
            hypotheses="yield function, a = 2 to 20",
            against="MP-S16 (Hosford 1972), yield stresses",
            error=np.abs(np.array(found) / table[column] - 1.0).max(),
            tolerance=case["tolerance"]["yield_rel"],
        )


@pytest.mark.parametrize("a", [8, 20])
def test_mp_s16_hosford_simple_shear(cases, verified, a):
    """Five times the strain at yield; the stress stays a pure shear at its yield stress."""
    case, table = read(cases, "MP-S16_hosford_pure_shear")
    m, tolerance = case["material"], case["tolerance"]["plateau_rel"]
    tau = table["tau_yield_pure_shear"][table["a"] == a][0]
    G = m["E"] / (2 * (1 + m["nu"]))
    at_yield = tau / (2 * G)
    if a == 8:
        assert at_yield == pytest.approx(7.08140835e-04, rel=1e-8)
    law = Elastoviscoplastic(isotropic(m), Hosford(a), LinearHardening(m["sigma_y"]))
    targets = {f"strain_{axes}": 0.0 for axes in AXES} | {"strain_xy": 5 * at_yield}
    result = drive(law, Path().ramp(targets, time=1.0, steps=20))
    expected = np.minimum(2 * G * result["strain_xy"], tau)
    assert largest(result["stress_xy"], expected) <= tolerance * tau
    for axes in ("xx", "yy", "zz", "xz", "yz"):
        assert np.abs(result[f"stress_{axes}"]).max() <= tolerance * tau
    verified(
        law=f"Elastoviscoplastic: Hosford({a}), perfectly plastic",
        hypotheses=SMALL,
        against="MP-S16 (Hosford 1972), simple shear, stress",
        error=largest(result["stress_xy"], expected) / tau,
        tolerance=tolerance,
    )


def test_mp_s17_mixed_hardening_shear(cases, verified):
    """Cyclic shear, one step per row; the source's dX = H n dp is C = 3/2 H here."""
    case, table = read(cases, "MP-S17_identification_mixed_hardening_shear")
    m = case["material"]
    voce = VoceHardening(m["sigma_y0"], m["sigma_u"] - m["sigma_y0"], m["b"])
    law = Elastoviscoplastic(isotropic(m), VonMises(), voce, Prager(1.5 * m["H"]))
    rows = np.arange(len(table["sxy"]), dtype=float)
    result = drive(law, Path().table(rows, {"strain_xy": table["gamma_xy_engineering"] / 2}))
    error = largest(result["stress_xy"], table["sxy"])
    verified(
        law="Elastoviscoplastic: VonMises, VoceHardening, Prager",
        hypotheses=SMALL,
        against="MP-S17 (jaxmat), cyclic shear, stress",
        error=error / np.abs(table["sxy"]).max(),
        tolerance=case["tolerance"]["forward_max_MPa"] / np.abs(table["sxy"]).max(),
    )
