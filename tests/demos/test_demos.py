"""The demos, as a user runs them: serially and on 2 ranks; each asserts its own numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"
# What each demo must leave behind, and how many problems it announces.
FILES = {
    "demo_calibration": ["calibration.png", "rubber.png", "rubber.json"],
    "demo_discover_hardening": ["discover_hardening.png", "discovered.json"],
    "demo_fibre_tube": ["fibre_tube.png", "pressure.png"],
    "demo_identify_field": ["identify_field.png"],
    "demo_identify_plate": ["identify_plate.png", "camera.csv", "gauge.csv", "steel.json"],
    "demo_learned_plasticity": [
        "learned_plasticity.png",
        "learned_plasticity_range.png",
        "training.png",
        "learned_steel.json",
    ],
    "demo_learned_rubber": ["learned_rubber.png", "rubber.json"],
    "demo_necking_bar": ["necking_bar.png", "force.png"],
    "demo_perforated_plate": ["plate.bp", "force.csv", "force.png", "plastic_zone.png"],
    "demo_plastic_block": ["plastic_block.png", "pressure.png"],
    "demo_polycrystal": [
        "polycrystal.png",
        "polycrystal_grains.png",
        "polycrystal_stress.png",
        "curve.png",
    ],
    "demo_sheet_with_hole": ["sheet_with_hole.png"],
    "demo_strip_footing": ["strip_footing.png", "pressure.png"],
    "demo_thermomechanical_block": [
        "thermomechanical_block.png",
        "thermomechanical_block_stress.png",
    ],
    "demo_twisted_block": ["twisted_block.png"],
    "demo_your_own_law": [],
}
PROBLEMS = {
    "demo_learned_plasticity": 2,
    "demo_learned_rubber": 2,  # one, and its extrapolation
    "demo_plastic_block": 3,
    "demo_sheet_with_hole": 2,
    "demo_your_own_law": 2,
}
BOTH = {"demo_your_own_law"}
SERIAL = {
    "demo_fibre_tube",
    "demo_identify_field",
    "demo_plastic_block",
    "demo_sheet_with_hole",
    "demo_thermomechanical_block",
}
POINT = {"demo_calibration"}  # no mesh: no ranks, no steps
FINE = {name for name in FILES if "--fine" in (DEMOS / f"{name}.py").read_text()}


def test_all_demos_are_listed():
    assert sorted(FILES) == sorted(p.stem for p in DEMOS.glob("demo_*.py"))


def test_all_demos_have_a_picture():
    """Committed, for the documentation; a law without a mesh to show has none."""
    for name in sorted(set(FILES) - {"demo_your_own_law"}):
        assert (DEMOS / f"{name.removeprefix('demo_')}.png").stat().st_size > 10_000


def runs():
    """Each demo once in `make test`, serially or on 2 ranks, some on both; else all."""
    for name in sorted(FILES):
        for ranks in (1,) if name in POINT else (1, 2):
            chosen = name in BOTH | POINT or (ranks == 1) == (name in SERIAL)
            yield pytest.param(name, ranks, marks=[] if chosen else pytest.mark.full)


@pytest.mark.parametrize(("name", "ranks"), list(runs()))
def test_demo(name, ranks, tmp_path, mpiexec):
    run(name, ranks, tmp_path, mpiexec)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(FINE))
def test_fine_version(name, tmp_path, mpiexec):
    run(name, 1 if name in POINT else 2, tmp_path, mpiexec, "--fine")


def run(name, ranks, tmp_path, mpiexec, *options):
    """Run a demo, and look at what it says and leaves behind."""
    command = [sys.executable, str(DEMOS / f"{name}.py"), *options]
    if FILES[name]:
        command += ["--output", str(tmp_path)]
    if ranks > 1:
        command = [mpiexec, "-n", str(ranks), *command]
    changed = ("ADMAT_QUIET", "JAX_DISABLE_MOST_OPTIMIZATIONS")  # the tests' own
    environment = {k: v for k, v in os.environ.items() if k not in changed}
    environment["DISPLAY"] = ""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if name not in POINT:
        # Progress is visible, from one rank only.
        assert done.stdout.count("  step       time") >= 1
        assert done.stdout.count("admat: ") == PROBLEMS.get(name, 1)
    for file in FILES[name]:
        assert (tmp_path / file).exists(), file
        if file.endswith(".png"):
            assert (tmp_path / file).stat().st_size > 10_000
