"""Measure the errors in the table of laws again: writes docs/verification.json.

`make verify` runs it: every test that uses the fixture ``verified`` (conftest.py) is run, and its
rows are replaced. `python docs/verify.py tests/verification/test_point_perzyna.py` measures these
tests only. Rows of tests that were not run or were skipped stay; those of tests that are gone go.
"""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "verification.json"


def measuring_tests() -> set[str]:
    """Tests that use the fixture, as ``file::function``."""
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                if "verified" in [argument.arg for argument in node.args.args]:
                    found.add(f"{file.relative_to(ROOT)}::{node.name}")
    return found


def merge(lines: list[str], old: list[dict]) -> list[dict]:
    """One row per law, hypotheses, reference and test, with the largest error."""
    measured = [json.loads(line) for line in lines]
    tests = {row["test"] for row in measured}
    rows: dict[tuple, dict] = {}
    for row in measured:
        key = tuple(row[k].replace("`", "") for k in ("law", "hypotheses", "against", "test"))
        worst = max(row, rows.get(key, row), key=lambda r: r["error"])
        # Two digits: another machine rounds differently, and round-off is no news.
        named = dict(zip(("law", "hypotheses", "against", "test"), key, strict=True))
        error, tolerance = float(f"{worst['error']:.1e}"), float(f"{worst['tolerance']:.3g}")
        rows[key] = {**named, "error": error, "tolerance": tolerance}
    existing = measuring_tests()
    kept = [row for row in old if row["test"] not in tests and row["test"] in existing]
    return sorted([*rows.values(), *kept], key=lambda row: tuple(map(str, row.values())))


def main() -> int:
    """Run the tests, write the file; their exit status."""
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder, "rows.jsonl")
        measured.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += sys.argv[1:] or ["tests", "--ignore=tests/mpi", "--ignore=tests/demos"]
        status = subprocess.call(
            command, cwd=ROOT, env=os.environ | {"ADMAT_VERIFICATION": str(measured)}
        )
        if status:
            print(f"{FILE.name} is left as it was, since a test failed", file=sys.stderr)
            return status
        old = json.loads(FILE.read_text())["rows"] if FILE.exists() else []
        text = json.dumps({"rows": merge(measured.read_text().splitlines(), old)}, indent=1)
    FILE.write_text(text + "\n")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
