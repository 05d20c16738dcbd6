"""Case files of the driver, and the command that runs them."""

import re
from pathlib import Path as FilePath

import matplotlib.image
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, Path, drive
from dolfinx_admat.__main__ import main
from dolfinx_admat.laboratory import case_file, read_case, read_csv, run_case

CASES = FilePath(__file__).resolve().parents[2] / "demos" / "cases"

STEEL = """
title = "Steel"
[law]
class = "J2Plasticity"
E = 200e3
nu = 0.3
hardening = { class = "LinearHardening", sigma_y = 250.0, H = 1e4 }
"""
PULL = """
[[path]]
ramp = { strain_xx = 0.01 }
steps = 4
"""
STEEL_LAW = admat.J2Plasticity(200e3, 0.3, admat.LinearHardening(250.0, 1e4))

OWN_LAW = """
import dolfinx_admat as admat

class Spring(admat.ExplicitSmallStrain):
    k: float

    def update(self, strain, state, dt):
        return self.k * strain, state

def stiff():
    return Spring(7.0)
"""


@pytest.fixture
def case(tmp_path):
    """Write a case file."""

    def write(*parts, name="case.toml"):
        file = tmp_path / name
        file.write_text("\n".join(parts))
        return file

    return write


def test_all_segments_are_those_of_a_path(case, tmp_path):
    (tmp_path / "data.csv").write_text("# measured\nt,exx\n0,0\n1,0.01\n3,0.02\n")
    file = case(
        STEEL,
        PULL.replace("steps", "time = 2.0\nsteps"),
        """
        [[path]]
        hold = ["stress_xx"]
        time = 3.0
        [[path]]
        cycles = [{ strain_xx = -0.01, stress_yy = 20 }, { strain_xx = 0.01 }]
        count = 2
        rate = 0.1
        steps = [0.5, 1.0]
        [[path]]
        table = "data.csv"
        time = "t"
        columns = { strain_xx = "exx" }
        """.replace("rate = 0.1", "time = 0.2"),
    )
    result = read_case(file).run()
    turns = [{"strain_xx": -0.01, "stress_yy": 20.0}, {"strain_xx": 0.01}]
    path = (
        Path()
        .ramp({"strain_xx": 0.01}, time=2.0, steps=4)
        .hold("stress_xx", time=3.0)
        .cycles(turns, 2, time=0.2, steps=[0.5, 1.0])
        .table([0.0, 1.0, 3.0], {"strain_xx": [0.0, 0.01, 0.02]})
    )
    expected = drive(STEEL_LAW, path)
    assert result.names == expected.names
    for name in result.names:
        np.testing.assert_array_equal(result[name], expected[name], err_msg=name)


def test_specimens_states_and_start(case):
    file = case(
        STEEL,
        PULL,
        """
        [parameters]
        "hardening.sigma_y" = [200.0, 300.0]
        [initial_state]
        equivalent_plastic_strain = 0.001
        [initial_stress]
        stress_yy = 10.0
        [start]
        strain_xy = 1e-4
        [driver]
        backend = "native"
        """,
    )
    result = run_case(file)[0]
    expected = drive(
        STEEL_LAW,
        Path(start={"strain_xy": 1e-4}).ramp({"strain_xx": 0.01}, steps=4),
        parameters={"hardening.sigma_y": [200.0, 300.0]},
        initial_state={"equivalent_plastic_strain": 0.001},
        initial_stress={"stress_yy": 10.0},
    )
    np.testing.assert_array_equal(result["stress_xx"], expected["stress_xx"])
    assert result["stress_yy"][1, -1] == pytest.approx(10.0)


def test_nested_laws(case):
    law = """
        [law]
        class = "PlaneStress"
        [law.law]
        class = "Elastoviscoplastic"
        elasticity = { class = "IsotropicElasticity", E = 70e3, nu = 0.33 }
        yield_function = { class = "Hill48.from_r_values", r0 = 1.5, r45 = 1.2, r90 = 2.0 }
        hardening = { class = "LinearHardening", sigma_y = 100.0 }
        kinematic = [{ class = "Prager", C = 1 }, { class = "ArmstrongFrederick", C = 1e4, g = 5 }]
        """
    found = read_case(case(law, PULL)).law
    parts = found.law
    assert isinstance(found, admat.PlaneStress) and isinstance(parts.yield_function, admat.Hill48)
    assert [type(part).__name__ for part in parts.kinematic] == ["Prager", "ArmstrongFrederick"]
    assert float(parts.kinematic[1].C) == 1e4 and float(parts.hardening.H) == 0.0


@pytest.mark.parametrize(
    "law",
    ['law = "own.py:stiff"', '[law]\nclass = "own.py:Spring"\nk = 7'],
    ids=["function", "class"],
)
def test_own_law_beside_the_case_file(case, law):
    case(OWN_LAW, name="own.py")
    found = read_case(case(law, PULL)).law
    assert type(found).__name__ == "Spring" and float(found.k) == 7.0


WRONG = {
    "no such law": ('[law]\nclass = "J2Plastic"', r"law.class: no 'J2Plastic' \(did you mean J2Pl"),
    "no such part": (
        STEEL.replace("LinearHardening", "LinearHardning"),
        r"law.hardening.class: no 'LinearHardning' \(did you mean LinearHardening",
    ),
    "no class": ("[law]\nE = 1.0", "law: the table has no key 'class'"),
    "a number": ("law = 1.0", "law: expected a table with a law's class; got 1.0"),
    "part for law": ('[law]\nclass = "VonMises"', "law: expected a table with a law's class"),
    "wrong name": (STEEL.replace("nu =", "mu ="), "law: J2Plasticity: no 'mu'.*; there is E, nu"),
    "missing": (STEEL.replace("nu = 0.3", ""), "law: J2Plasticity needs nu as well"),
    "range": (STEEL.replace("nu = 0.3", "nu = 0.6"), "law: J2Plasticity: parameter 'nu' is out of"),
    "no module": ('[law]\nclass = "nowhere:Law"', "law.class: cannot import nowhere"),
    "no file": ('[law]\nclass = "nowhere.py:Law"', "law.class: there is no file .*nowhere.py"),
    "no method": (
        STEEL.replace("LinearHardening", "LinearHardening.make"),
        "law.hardening.class: LinearHardening has no 'make'",
    ),
    "unknown key": (STEEL + "[paths]\n", r"the case file: no 'paths' \(did you mean path"),
    "driver": (STEEL + "[driver]\nbackends = 1\n", r"driver: no 'backends' \(did you mean backend"),
    "output": (STEEL + "[output]\nplots = ['x']\n", "output.plots: expected pairs"),
    "parameter": (STEEL + "[parameters]\nEE = 1\n", "J2Plasticity: parameters: no 'EE'"),
    "table": (STEEL + "[driver]\n[start]\na = 1\n", "no 'a'"),
    "TOML": (STEEL + "what\n", r"is no TOML: .*line"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_messages_about_the_law(case, text, message):
    file = case(text, PULL)
    with pytest.raises(MaterialError, match=f"^{re.escape(str(file))}: .*{message}"):
        read_case(file).run()


PATHS = {
    "none": ("", "path: it is missing"),
    "table": ("[path]\nramp = { strain_xx = 1 }", "path: expected segments, each below a line"),
    "kind": (
        "[[path]]\nrmp = { strain_xx = 1 }",
        "segment 1: expected one of ramp, hold,.* got rmp",
    ),
    "two": ("[[path]]\nramp = {}\nhold = []", "segment 1: expected one of .*; got ramp and hold"),
    "key": ("[[path]]\nramp = { strain_xx = 1 }\nstep = 3", "ramp: no 'step' .did you mean steps"),
    "steps": ("[[path]]\nramp = { strain_xx = 1 }\nsteps = 0", "segment 1: Path: steps must be"),
    "type": (
        '[[path]]\nramp = { strain_xx = 1 }\ntime = "s"',
        "segment 1: Path: time .*expected a number",
    ),
    "hold": ('[[path]]\nhold = "strain_xx"', "segment 1: hold: expected a list of components"),
    "values": ("[[path]]\nramp = 1.0", "segment 1: ramp: expected values by component; got 1.0"),
    "name": (PULL.replace("strain_xx", "strain_xX"), "no 'strain_xX' .did you mean"),
    "csv": ('[[path]]\ntable = "no.csv"', "segment 1: .*no.csv: there is no such file"),
    "column": (
        '[[path]]\ntable = "own.csv"',
        r"segment 1: own.csv: no 'time'; there is t, strain",
    ),
}


@pytest.mark.parametrize(("text", "message"), PATHS.values(), ids=PATHS)
def test_messages_about_the_path(case, text, message):
    case("t,strain_xx", "0,0", "1,0.1", name="own.csv")
    file = case(STEEL, text)
    with pytest.raises(MaterialError, match=f"^{re.escape(str(file))}: .*{message}"):
        read_case(file).run()


def test_command(case, tmp_path, capsys):
    output = '[output]\nplots = [["strain_xx", "stress_xx"], ["time", "stress_xx"]]\n'
    file = case(STEEL, PULL, output)
    assert main(["drive", str(file), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "J2Plasticity, 1 specimen(s), 4 steps" in said and "case_2.png" in said
    columns = read_csv(tmp_path / "out" / "case.csv")
    np.testing.assert_array_equal(columns["stress_xx"], run_case(file)[0]["stress_xx"])
    assert (tmp_path / "case.png").exists()  # beside the case file, without --out
    for name in ("case.png", "case_2.png"):
        picture = matplotlib.image.imread(tmp_path / "out" / name)
        assert np.ptp(picture[..., :3]) > 0.5


def test_command_says_what_failed(case, tmp_path, capsys):
    wrong = case(STEEL, name="wrong.toml")
    # Perfect plasticity does not carry more than its yield stress.
    weak = case(
        STEEL.replace("1e4", "0.0"),
        "[[path]]\nramp = { stress_xx = 400.0 }",
        "[driver]\nmax_bisections = 2",
        name="weak.toml",
    )
    assert main(["drive", str(weak)]) == 1
    assert "weak.toml: drive: J2Plasticity failed at 1 of 1 specimens" in capsys.readouterr().err
    assert main(["drive", str(tmp_path / "none.toml"), str(wrong)]) == 2
    error = capsys.readouterr().err
    assert "none.toml: cannot be read: No such file" in error
    assert "wrong.toml: path: it is missing" in error
    assert not (tmp_path / "weak.csv").exists()
    keep = case(weak.read_text() + '\non_failure = "keep"', name="keep.toml")
    assert main(["drive", str(keep)]) == 1
    assert "1 specimen(s) FAILED" in capsys.readouterr().out
    assert np.isnan(read_csv(tmp_path / "keep.csv")["stress_xx"][-1])


def test_example_of_the_documentation(case):
    example = case_file.__doc__.split("```toml")[1].split("```")[0]
    result = run_case(case(example))[0]
    assert result.specimens == 2 and result.converged.all()
    assert (np.diff(result["stress_xx"][:, -4:], axis=1) <= 0).all()


@pytest.mark.parametrize("file", sorted(CASES.glob("*.toml")), ids=lambda file: file.stem)
def test_case_files_of_the_demos(file, tmp_path):
    result, written = run_case(file, tmp_path)
    assert result.converged.all() and all(path.exists() for path in written)
    if file.stem == "creep":
        # Norton: rate = A stress^5 while the stress is constant; backward Euler is exact then.
        rate = (result["strain_xx"][:, 55] - result["strain_xx"][:, 5]) / 1000.0
        np.testing.assert_allclose(rate, 1e-14 * np.array([60.0, 80.0, 100.0]) ** 5, rtol=1e-9)
    if file.stem == "finite_strain":
        # Considere: the force is largest where the hardening modulus is the true stress.
        force, stretch = result["first_piola_stress_xx"], result["deformation_gradient_xx"]
        peak = stretch[np.argmax(force[:51])]
        p = np.linspace(0.0, 0.4, 4001)
        flow = 450.0 + 265.0 * (1 - np.exp(-16.93 * p)) + 129.24 * p
        expected = np.exp(p[np.argmax(flow * np.exp(-p))])
        assert peak == pytest.approx(expected, abs=0.01)  # the step
    if file.stem == "cyclic_steel":
        tops = result["stress_xx"][:, [20, 100, 180, 260, 340, 420]]
        assert (np.diff(tops[0]) > 0).all() and (np.diff(tops[1][1:]) < 0).all()
        assert (np.diff(result["stress_xx"][:, 420:], axis=1) < 0).all()
