"""Viscoelastic laws at a point, through the driver, against published results."""

import csv
import json

import numpy as np
import pytest

from dolfinx_admat import GeneralisedMaxwell, IsotropicElasticity, Path, Zener, drive


@pytest.mark.reference
def test_mp_s06_creep(cases, verified):
    """The strain that the case starts from is no equilibrium: all branches are without stress."""
    case = json.loads((cases / "MP-S06_generalised_maxwell_creep.json").read_text())
    with open(cases / case["data_file"]) as file:
        rows = list(csv.DictReader(file))
    table = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    m = case["material"]
    law = GeneralisedMaxwell(m["k0"], m["mu0"], m["mu_i"], m["tau_i_s"], m["k_i"])
    start = np.array([table["exx"][0], table["eyy"][0], table["ezz"][0], 0.0, 0.0, 0.0])
    load, first = -25.8e6, table["t"][1]
    path = Path().ramp({"stress_zz": load}, time=first)
    path = path.table(table["t"][2:] - first, {"stress_zz": np.full(len(rows) - 2, load)})
    result = drive(
        law, path, initial_state={"strain": start, "viscous_strain": np.tile(start, (3, 1))}
    )
    np.testing.assert_allclose(result["time"], table["t"], rtol=1e-12)
    for axis in ("xx", "yy", "zz"):
        error = np.abs(result[f"strain_{axis}"][1:] - table[f"e{axis}"][1:]).max()
        assert error < case["tolerance"]["ezz_abs"]
    verified(
        law="GeneralisedMaxwell",
        hypotheses="small strain, exact for piecewise linear strain",
        against="creep of three branches over 300 days (MP-S06)",
        error=error / np.abs(table["ezz"]).max(),
        tolerance=case["tolerance"]["ezz_abs"] / np.abs(table["ezz"]).max(),
    )


E, E_1, NU, TAU = 300.0, 700.0, 0.35, 2.0
ZENER = Zener(IsotropicElasticity(E, NU), IsotropicElasticity(E_1, NU), TAU)


def test_zener_relaxation(verified):
    """Exact for any step: after a ramp in time T, s/e = E + E_1 T_r exp(-(t - T)/tau), where
    T_r = (tau/T) (1 - exp(-T/tau)); W.N. Findley et al., Creep and Relaxation, 1976, chapter 5.
    """
    strain, ramp = 0.01, 3.0
    path = Path().ramp({"strain_xx": strain}, time=ramp, steps=2).hold("strain_xx", time=9, steps=3)
    result = drive(ZENER, path)
    t, after = result["time"], result["time"] >= ramp
    factor = TAU / ramp * (1.0 - np.exp(-ramp / TAU))
    expected = strain * (E + E_1 * factor * np.exp(-(t - ramp) / TAU))
    verified(
        law="Zener",
        hypotheses="uniaxial stress, three steps",
        against="relaxation after a ramp, closed form (Findley et al. 1976)",
        error=np.abs(result["stress_xx"] / expected - 1.0)[after].max(),
        tolerance=1e-12,
    )


def test_zener_creep(verified):
    """Compliance 1/E - (1/E - 1/(E + E_1)) exp(-t/t_c); the strain is not linear in time here, so
    the error is of second order in the step."""  # fmt: skip
    stress, t_c = 4.0, TAU * (E + E_1) / E
    errors = []
    for steps in (20, 40):
        path = Path(start={"stress_xx": stress}).hold("stress_xx", time=20.0, steps=steps)
        result = drive(ZENER, path)
        slow = (1.0 / E - 1.0 / (E + E_1)) * np.exp(-result["time"] / t_c)
        errors.append(np.abs(result["strain_xx"] / (stress * (1.0 / E - slow)) - 1.0).max())
    assert 3.5 < errors[0] / errors[1] < 4.5
    verified(
        law="Zener",
        hypotheses="uniaxial stress, 40 steps in 3 retardation times",
        against="creep, closed form (Zener 1948)",
        error=errors[1],
        tolerance=2e-3,
    )


def test_dynamic_moduli_of_the_prony_series(verified):
    """Storage and loss modulus, J.D. Ferry, Viscoelastic Properties of Polymers, 1980:
    G' = mu + sum mu_i (w tau_i)^2 / (1 + (w tau_i)^2), G'' = sum mu_i w tau_i / (1 + ...).
    """
    mu, branches, tau, omega = 2.0, np.array([3.0, 1.0]), np.array([0.2, 1.5]), 2.0
    law = GeneralisedMaxwell(10.0, mu, branches, tau)
    per_cycle, cycles = 100, 6  # after 5 cycles exp(-t/tau) is below 1e-4
    t = np.linspace(0.0, cycles * 2.0 * np.pi / omega, cycles * per_cycle + 1)
    strain = 0.01 * np.sin(omega * t)
    fixed = {f"strain_{axis}": np.zeros_like(t) for axis in ("xx", "yy", "zz", "xz", "yz")}
    result = drive(law, Path().table(t, {"strain_xy": strain, **fixed}))
    stress = result["stress_xy"][-per_cycle:] / (2.0 * 0.01)
    phase = omega * t[-per_cycle:]
    found = 2.0 / per_cycle * np.array([stress @ np.sin(phase), stress @ np.cos(phase)])
    x = omega * tau
    storage, loss = mu + np.sum(branches * x**2 / (1 + x**2)), np.sum(branches * x / (1 + x**2))
    verified(
        law="GeneralisedMaxwell",
        hypotheses="shear, 100 steps per cycle",
        against="storage and loss modulus, closed form (Ferry 1980)",
        error=np.abs(found / np.array([storage, loss]) - 1.0).max(),
        tolerance=1e-3,  # chords for arcs: (2 pi / 100)^2 / 12 = 3e-4
    )
