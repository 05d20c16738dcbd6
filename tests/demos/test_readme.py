"""The programs in README.md run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)


def test_the_complete_program_has_about_forty_lines():
    assert any(35 <= len(p.strip().splitlines()) <= 45 for p in PROGRAMS)


#: Each serially, and those with a mesh on 2 ranks.
RUNS = [(n, ranks) for n, p in enumerate(PROGRAMS) for ranks in ((1, 2) if "mpi4py" in p else (1,))]


@pytest.mark.parametrize(("number", "ranks"), RUNS)
def test_program(number, ranks, tmp_path, mpiexec):
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[number])
    command = [sys.executable, str(script)]
    if ranks > 1:
        command = [mpiexec, "-n", str(ranks), *command]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
