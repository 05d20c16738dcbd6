"""Finite-strain laws at a point, through the driver, against reference cases."""

import csv
import json

import numpy as np
import pytest

from dolfinx_admat import (
    Elastoviscoplastic,
    FeFpJ2,
    IsotropicElasticity,
    LinearHardening,
    LogarithmicStrain,
    NortonFlow,
    Path,
    VonMises,
    drive,
)

pytestmark = pytest.mark.reference


def read(cases, name):
    """The case, and the columns of its table."""
    case = json.loads((cases / f"{name}.json").read_text())
    with open(cases / case["data_file"]) as file:
        rows = list(csv.DictReader(file))
    return case, {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def test_mp_s08_logarithmic_norton_creep(cases, verified):
    case, table = read(cases, "MP-S08_logstrain_norton_uniaxial")
    m, tolerance = case["material"], case["tolerance"]
    flow = NortonFlow(m["A"] ** (-1.0 / m["n"]), m["n"])
    creep = Elastoviscoplastic(IsotropicElasticity(m["E"], m["nu"]), VonMises(), viscosity=flow)
    path = Path().ramp({"deformation_gradient_xx": 4.5}, time=1.0, steps=500)
    result = drive(LogarithmicStrain(creep), path)
    rows = np.rint(500 * table["t"]).astype(int)
    stress = result["cauchy_stress_xx"][rows]
    lateral = result["deformation_gradient_yy"][rows]
    assert np.abs(lateral - table["Fyy"]).max() < tolerance["Fyy_abs"]
    assert np.abs(stress - table["sxx_cauchy"]).max() < tolerance["sxx_abs"]
    p = result["equivalent_plastic_strain"][rows]
    assert np.abs(p - table["p"]).max() < tolerance["p_abs"]
    verified(
        law="LogarithmicStrain(Elastoviscoplastic)",
        hypotheses="finite strain, uniaxial stress, backward Euler",
        against="creep to stretch 4.5 (MP-S08)",
        error=np.abs(stress - table["sxx_cauchy"]).max() / table["sxx_cauchy"].max(),
        tolerance=tolerance["sxx_abs"] / table["sxx_cauchy"].max(),
    )


@pytest.mark.parametrize("trial_trace", [True, False])
def test_mp_s09_multiplicative_tension(cases, verified, trial_trace):
    """The case puts tr(b_trial) in the flow rule, as the law does.

    With tr(b) at the end of the step the result differs by 0.16 % for these 20 steps: far more
    than the tolerance, and of the order of the step's own error (1 %).
    """
    case, table = read(cases, "MP-S09_fefp_simo_miehe_uniaxial")
    m, tolerance = case["material"], case["tolerance"]
    law = FeFpJ2(m["E"], m["nu"], LinearHardening(m["sigma_y0"], m["H"]), trial_trace=trial_trace)
    axial = {"deformation_gradient_xx": table["F_axial"]}
    result = drive(law, Path().table(table["t"], axial))
    error = np.abs(result["cauchy_stress_xx"][1:] / table["s_axial"][1:] - 1.0).max()
    if not trial_trace:
        assert 1e-3 < error < 2e-3
        return
    lateral = result["deformation_gradient_yy"]
    assert np.abs(lateral - table["F_lateral"]).max() < tolerance["F_abs"]
    p = result["equivalent_plastic_strain"]
    assert np.abs(p - table["p"]).max() < tolerance["p_abs"]
    verified(
        law="FeFpJ2",
        hypotheses="finite strain, uniaxial stress, 20 steps of backward Euler",
        against="tension to stretch 1.7 (MP-S09)",
        error=error,
        tolerance=tolerance["s_axial_rel"],
    )
