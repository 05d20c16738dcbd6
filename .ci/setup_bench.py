"""Fill .venv-bench with the peers that the benchmarks compare with; run by .venv's Python.

A folder for PYTHONPATH, laid over .venv: peers and this package share one dolfinx, JAX and numpy,
and .venv itself stays as it is. Done once; done again if the list or the Python changed. What
cannot be installed is left out, and the benchmarks say so.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path("benchmarks/peers.txt")
FOLDER = Path(".venv-bench")
STAMP = FOLDER / "admat-stamp"
LOG = FOLDER / "setup.log"


def main() -> None:
    wanted = PEERS.read_text() + sys.version
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    if FOLDER.exists() and not LOG.exists():
        print(f"setup: {FOLDER} was not made by make bench: rename or delete it.", file=sys.stderr)
        raise SystemExit(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    (FOLDER / ".gitignore").write_text("*\n")
    print(f"setup: installing the peers into {FOLDER} (log: {LOG})", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    missing = []
    with LOG.open("w") as log:
        for line in PEERS.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            command = [*pip, "--no-deps", "--upgrade", "--target", str(FOLDER), line]
            done = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                missing.append(line)
    if missing:
        print(f"setup: left out, since it could not be installed: {', '.join(missing)}")
        return
    STAMP.write_text(wanted)


if __name__ == "__main__":
    main()
