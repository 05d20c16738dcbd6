"""The demos, as a user runs them: serially and on 2 ranks; each asserts its own numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"
# What each demo must leave behind.
FILES = {
    "demo_perforated_plate": ["plate.bp", "force.csv", "force.png", "plastic_zone.png"],
    "demo_your_own_law": [],
    "demo_twisted_block": ["twisted_block.png"],
}


def test_all_demos_are_listed():
    assert sorted(FILES) == sorted(p.stem for p in DEMOS.glob("demo_*.py"))


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", sorted(FILES))
def test_demo(name, ranks, tmp_path, mpiexec):
    command = [sys.executable, str(DEMOS / f"{name}.py")]
    if FILES[name]:
        command += ["--output", str(tmp_path)]
    if ranks > 1:
        command = [mpiexec, "-n", str(ranks), *command]
    environment = {k: v for k, v in os.environ.items() if k != "ADMAT_QUIET"}
    environment |= {"DISPLAY": "", "MPIR_CVAR_CH4_CMA_ENABLE": "0"}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert run.stdout.count("  step       time") >= 1  # progress is visible, from one rank only
    assert run.stdout.count("admat: ") == (2 if name == "demo_your_own_law" else 1)
    for file in FILES[name]:
        assert (tmp_path / file).exists(), file
        if file.endswith(".png"):
            assert (tmp_path / file).stat().st_size > 10_000
