"""J2 plasticity at one point against reference case MP-S01 and a return mapping of our own."""

import csv
import itertools
import json

import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel, StatusBuffers

I6 = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
MANDEL = np.array([1.0, 1.0, 1.0, *3 * [np.sqrt(2.0)]])


class Point:
    """One point of a law, driven from outside."""

    def __init__(self, law):
        self.kernel = BatchKernel(law, chunk_size=1)
        self.state = self.kernel.initial_state(1)

    def try_strain(self, strain, dt=0.0):
        """Stress and tangent of a step to ``strain``; ``accept`` makes it history."""
        status = StatusBuffers.allocate(1)
        stress, tangent = np.zeros((1, 6)), np.zeros((1, 6, 6))
        self.trial = self.kernel.initial_state(1)
        self.kernel.update(
            {"strain": np.array([strain])},
            self.state,
            dt,
            outputs={"stress": stress},
            new_state=self.trial,
            status=status,
            tangent={("stress", "strain"): tangent},
        )
        assert status.code == 0
        return stress[0], tangent[0]

    def accept(self):
        self.state = self.trial

    def uniaxial(self, axial, guess, dt=0.0):
        """Strain and stress with all stresses but xx zero, by Newton's method."""
        strain = np.array([axial, *guess[1:]])
        for _ in range(20):
            stress, tangent = self.try_strain(strain, dt)
            if np.abs(stress[1:]).max() <= 1e-12 * max(1.0, np.abs(stress[0])):
                return strain, stress
            strain[1:] -= np.linalg.solve(tangent[1:, 1:], stress[1:])
        raise AssertionError(f"lateral strain not found at {axial}")


def read(cases, name):
    """The case's description and its table: {column: values}, shears scaled to Mandel."""
    case = json.loads((cases / f"{name}.json").read_text())
    with open(cases / case["data_file"]) as file:
        rows = list(csv.DictReader(file))
    table = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    suffixes = ("xx", "yy", "zz", "xy", "xz", "yz")
    strain = np.stack([table["e" + s] for s in suffixes], axis=1) * MANDEL
    stress = np.stack([table["s" + s] for s in suffixes], axis=1) * MANDEL
    return case, table, strain, stress


@pytest.mark.reference
@pytest.mark.parametrize("law", [admat.J2Plasticity, admat.J2PlasticityGeneral])
def test_MP_S01_tension_and_unloading(cases, law, verified):
    """The lateral strains are found here; stress (1 Pa of 1.5e8) and p as the case asks."""
    case, table, strain, stress = read(cases, "MP-S01_j2_linear_isotropic")
    m, tolerance = case["material"], case["tolerance"]
    point = Point(law(m["E"], m["nu"], admat.LinearHardening(m["sigma_y0"], m["H"])))
    found = np.zeros(6)
    plastic, worst = 0, 0.0
    for row in range(1, len(strain)):
        found, s = point.uniaxial(strain[row, 0], found)
        point.accept()
        p = point.state["equivalent_plastic_strain"][0]
        assert np.abs(s - stress[row]).max() < tolerance["sxx_abs"]
        assert np.abs(found - strain[row]).max() < tolerance["strain_abs"]
        assert abs(p - table["p"][row]) < tolerance["p_abs"]
        plastic += p > 0
        worst = max(worst, np.abs(s - stress[row]).max())
    size = np.abs(stress).max()
    verified(
        law=law.__name__,
        hypotheses="small strain, backward Euler",
        against="MP-S01 (MFront), tension and unloading, stress",
        error=worst / size,
        tolerance=tolerance["sxx_abs"] / size,
    )
    assert plastic >= 5
    assert s[0] < 0.0  # unloaded to zero strain: compression


def radial_return(strain, plastic_strain, p, E, nu, R, dR):
    """Textbook return mapping in tensor components, full 3x3; Simo and Hughes, box 3.2."""
    mu, lmbda = E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))
    elastic = strain - plastic_strain
    trial = lmbda * np.trace(elastic) * np.eye(3) + 2 * mu * elastic
    s = trial - np.trace(trial) / 3 * np.eye(3)
    equivalent = np.sqrt(1.5 * np.sum(s * s))
    if equivalent <= R(p):
        return trial, plastic_strain, p
    dp = 0.0
    for _ in range(50):
        dp -= (equivalent - 3 * mu * dp - R(p + dp)) / (-3 * mu - dR(p + dp))
    n = 1.5 * s / equivalent
    return trial - 2 * mu * dp * n, plastic_strain + dp * n, p + dp


@pytest.mark.parametrize("law", [admat.J2Plasticity, admat.J2PlasticityGeneral])
def test_load_unload_reload_against_independent_return_mapping(law):
    """A history that a lost or doubly advanced state would not survive."""
    E, nu, sigma_y, Q, b, H = 70e3, 0.33, 150.0, 90.0, 40.0, 500.0
    R = lambda p: sigma_y + Q * (1 - np.exp(-b * p)) + H * p  # noqa: E731
    dR = lambda p: Q * b * np.exp(-b * p) + H  # noqa: E731
    rng = np.random.default_rng(11)
    # Loads, unloads to zero stress nearly, reloads further, reverses, then turns.
    a, c = (0.5 * (m + m.T) for m in rng.normal(size=(2, 3, 3)))
    corners = [0 * a, 0.02 * a, 0.017 * a, 0.04 * a, -0.03 * a, 0.02 * c, 0 * c]
    path = [
        start + t * (end - start)
        for start, end in itertools.pairwise(corners)
        for t in np.linspace(0.1, 1.0, 10)
    ]
    point = Point(law(E, nu, admat.VoceHardening(sigma_y, Q, b, H)))
    plastic_strain, p, elastic_steps = np.zeros((3, 3)), 0.0, 0
    for strain in path:
        vector = np.array(admat.tensors.to_mandel(strain))
        point.try_strain(-3.0 * vector)  # a rejected attempt must leave no trace
        stress, _ = point.try_strain(vector)
        point.accept()
        old = p
        expected, plastic_strain, p = radial_return(strain, plastic_strain, p, E, nu, R, dR)
        elastic_steps += p == old
        error = np.array(admat.tensors.from_mandel(stress)) - expected
        assert np.abs(error).max() < 1e-9 * sigma_y
        assert abs(point.state["equivalent_plastic_strain"][0] - p) < 1e-13
        flow = np.array(admat.tensors.from_mandel(point.state["plastic_strain"][0]))
        assert np.abs(flow - plastic_strain).max() < 1e-13
    assert 10 <= elastic_steps <= 40
    assert p > 0.1
