"""Add to .venv what `make docs` needs (the extra `docs` of pyproject.toml); run by .venv's Python.

Done once; done again if the list changed or .venv was made anew.
"""

import tomllib
from pathlib import Path

from setup_venv import LOG, PYTHON, VENV, explain, fail, run

STAMP = VENV / "admat-docs"


def main() -> None:
    with open("pyproject.toml", "rb") as file:
        wanted = tomllib.load(file)["project"]["optional-dependencies"]["docs"]
    if STAMP.exists() and STAMP.read_text().split() == wanted:
        return
    print(f"setup: installing what the documentation needs (log: {LOG})", flush=True)
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if Path(VENV, "host-constraints.txt").exists():
        command += ["--constraint", str(VENV / "host-constraints.txt")]
    if not run([*command, *wanted]):
        fail(explain(LOG.read_text(errors="replace")))
    STAMP.write_text("\n".join(wanted) + "\n")


if __name__ == "__main__":
    main()
