"""Measure the errors in the table of laws again: writes docs/verification.json.

`make verify` runs it. It runs every test that uses the fixture ``verified`` (conftest.py),
and keeps the largest error of each row.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "verification.json"


def merge(lines: list[str]) -> list[dict]:
    """One row per law, hypotheses, reference and test, with the largest error."""
    rows: dict[tuple, dict] = {}
    for line in lines:
        row = json.loads(line)
        key = tuple(row[k] for k in ("law", "hypotheses", "against", "test"))
        worst = max(row, rows.get(key, row), key=lambda r: r["error"])
        # Two digits: another machine rounds differently, and round-off is no news.
        rows[key] = worst | {"error": float(f"{worst['error']:.1e}")}
    return [rows[key] for key in sorted(rows)]


def main() -> int:
    """Run the tests, write the file; their exit status."""
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder, "rows.jsonl")
        measured.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        command += ["-m", "not full", "--ignore=tests/mpi", "--ignore=tests/demos", *sys.argv[1:]]
        status = subprocess.call(
            command, cwd=ROOT, env=os.environ | {"ADMAT_VERIFICATION": str(measured)}
        )
        if status:
            print(f"{FILE.name} is left as it was, since a test failed", file=sys.stderr)
            return status
        text = json.dumps({"rows": merge(measured.read_text().splitlines())}, indent=1)
    FILE.write_text(text + "\n")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
