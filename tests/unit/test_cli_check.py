"""`python -m dolfinx_admat check`."""

import subprocess
import sys
from pathlib import Path

import pytest

from dolfinx_admat.__main__ import main
from dolfinx_admat.laboratory.check_command import LawNotFound, find_law

ROOT = Path(__file__).resolve().parents[2]

MINE = """
import jax.numpy as jnp
import dolfinx_admat as admat

class Spring(admat.ExplicitSmallStrain):
    k: float
    symmetric_tangent = True

    def update(self, strain, state, dt):
        return self.k * strain, state

class Bent(admat.ExplicitSmallStrain):
    symmetric_tangent = True

    def update(self, strain, state, dt):
        return 2.0 * strain + jnp.roll(strain, 1), state

soft = Spring(1.0)
number = 3

def hard():
    return Spring(100.0)
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my_laws.py"
    path.write_text(MINE)
    return str(path)


def test_as_a_command():
    """In a process of its own, on a law of the library."""
    done = subprocess.run(
        [sys.executable, "-m", "dolfinx_admat", "check", "LinearElastic", "--quick"],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "check_tangent: LinearElastic passed" in done.stdout
    assert "audit: LinearElastic passed" in done.stdout


def test_right_and_wrong_law(mine, capsys):
    assert main(["check", f"{mine}:soft", "--quick", "--points", "3"]) == 0
    assert "audit: Spring passed" in capsys.readouterr().out
    assert main(["check", f"{mine}:Bent", "--quick", "--points", "3"]) == 1
    assert "symmetric_tangent    FAILED" in capsys.readouterr().out


def test_ways_to_name_a_law(mine):
    assert float(find_law(f"{mine}:soft").k) == 1.0
    assert float(find_law(f"{mine}:hard").k) == 100.0
    assert float(find_law(f"{mine}:hard", ["k=7"]).k) == 7.0
    assert float(find_law(f"{mine}:Spring", ["k=2*3"]).k) == 6.0
    law = find_law("J2Plasticity", ["hardening.sigma_y=300"])
    assert float(law.hardening.sigma_y) == 300.0
    settings = ["E=1.0", "nu=0.2", "hardening=LinearHardening(0.1)"]
    law = find_law("dolfinx_admat:J2Plasticity", settings)
    assert float(law.hardening.sigma_y) == 0.1
    assert float(find_law("dolfinx_admat:J2Plasticity").E) == 210e3


def test_law_of_a_case_file(tmp_path):
    file = tmp_path / "steel.toml"
    file.write_text('[law]\nclass = "LinearElastic"\nE = 210e3\nnu = 0.3\n')
    assert float(find_law(str(file)).E) == 210e3
    assert float(find_law(str(file), ["E=1.0"]).E) == 1.0
    file.write_text("[law]\nE = 210e3\n")
    with pytest.raises(LawNotFound, match="steel"):
        find_law(str(file))
    with pytest.raises(LawNotFound, match="cannot be read"):
        find_law(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("law", "settings", "message"),
    [
        ("J2Plasticty", [], "no law 'J2Plasticty' in the library.*J2Plasticity"),
        ("J2Plasticity", ["sigma_y=3"], "no parameter 'sigma_y'.*hardening.sigma_y"),
        ("J2Plasticity", ["nu=0.6"], "'nu' is out of range"),
        ("J2Plasticity", ["nu=many"], "expected numbers"),
        ("J2Plasticity", ["nu"], "expected NAME=VALUE"),
        ("no_such_module:Law", [], "cannot import no_such_module"),
        ("no_such_file.py:Law", [], "there is no file"),
        ("FILE:Missing", [], "has no 'Missing'; its laws are .*Spring"),
        ("FILE:number", [], "is no law but int"),
        ("FILE:Spring", [], "give its fields .'k'."),
        ("FILE:Spring", ["k=Foo(1)"], "NameError"),
        ("FILE", [], "has 3 laws"),
    ],
)
def test_clear_errors(mine, law, settings, message, capsys):
    law = law.replace("FILE", mine)
    with pytest.raises(LawNotFound, match=message):
        find_law(law, settings)
    arguments = [part for text in settings for part in ("--set", text)]
    assert main(["check", law, *arguments]) == 2
    assert capsys.readouterr().err.startswith("check: ")
