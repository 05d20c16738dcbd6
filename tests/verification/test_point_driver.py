"""A reference case by stress control: radial return, whose strains are solved for."""

import csv
import json

import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import Path, drive


def read(cases, name):
    case = json.loads((cases / f"{name}.json").read_text())
    rows = list(csv.reader((cases / f"{name}.csv").read_text().splitlines()))
    return case, dict(zip(rows[0], np.array(rows[1:], float).T, strict=True))


@pytest.mark.reference
def test_mp_s12_tension_shear_by_stresses(cases, verified):
    case, table = read(cases, "MP-S12_tension_shear_isotropic_ssnp15")
    m = case["material"]
    law = admat.J2Plasticity(m["E"], m["nu"], admat.LinearHardening(m["sigma_y0"], m["H"]))
    # The error of backward Euler is proportional to the step.
    found = {}
    for steps in (200, 400):
        path = Path()
        for xx, xy in ((151.2, 93.1), (257.2, 33.1), (0.0, 0.0)):
            path = path.ramp({"stress_xx": xx, "stress_xy": xy}, time=1.0, steps=steps)
        result = drive(law, path)
        for ours, theirs in (
            ("strain_xx", "exx"),
            ("strain_yy", "eyy"),
            ("strain_xy", "exy"),
            ("equivalent_plastic_strain", "p"),
        ):
            value = np.interp(table["t"], result.time, result[ours])
            found[ours, steps] = np.abs(value - table[theirs]).max() / np.abs(table[theirs]).max()
    verified(
        law="J2Plasticity",
        hypotheses="small strain, backward Euler",
        against="MP-S12 (VPCS SSNP15), tension-shear by stresses, strain and p",
        error=max(error for (_, steps), error in found.items() if steps == 400),
        tolerance=case["tolerance"]["strain_rel_fine_steps"],
    )
