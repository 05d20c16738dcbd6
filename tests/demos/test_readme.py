"""The programs in README.md run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)


def test_the_complete_program_has_about_forty_lines():
    assert any(35 <= len(p.strip().splitlines()) <= 45 for p in PROGRAMS)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
@pytest.mark.parametrize("ranks", [1, 2])
def test_program(number, ranks, tmp_path, mpiexec):
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[number])
    command = [sys.executable, str(script)]
    if ranks > 1:
        command = [mpiexec, "-n", str(ranks), *command]
    environment = {**os.environ, "MPIR_CVAR_CH4_CMA_ENABLE": "0"}
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
