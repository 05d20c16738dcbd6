"""The documentation is true: its programs run, and it names everything that is public."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import _pages  # noqa: E402
import verify  # noqa: E402

NAMES = [
    (part or "materials", name, full, origin)
    for part, names in _pages.public_names().items()
    for name, (full, origin) in names.items()
]
PROGRAMS = {
    page.name: "\n\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M))
    for page in sorted(DOCS.glob("*.md"))
}


@pytest.mark.parametrize("page", [name for name, program in PROGRAMS.items() if program])
def test_programs_of_a_page(page, tmp_path, monkeypatch):
    """In order, in one process, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    for name, content in re.findall(r"^```toml\n# (\S+)\n(.*?)^```", text, re.S | re.M):
        (tmp_path / name).write_text(content)
    script = tmp_path / page.replace("-", "_").replace(".md", ".py")
    script.write_text(PROGRAMS[page])
    runpy.run_path(str(script))


def test_the_table_of_the_parts_is_complete():
    folders = {p.parent.name for p in (ROOT / _pages.PACKAGE).glob("[a-z]*/__init__.py")}
    assert folders - {"materials"} <= set(_pages.PARTS)


def test_every_public_name_is_documented():
    silent = {full for _, _, full, origin in NAMES if len(_pages.text_of(full, origin).split()) < 3}
    assert silent == set(), "these need a docstring, or a constant a `#:` comment above it"


def test_every_public_name_is_in_the_reference():
    text = "\n".join(_pages.api_pages().values())
    for part, _, full, _ in NAMES:
        bare = full.rpartition(".")[2]
        directives = rf"auto(class|function|exception):: {re.escape(full)}$|py:data:: {bare}$"
        assert re.search(directives, text, re.M), f"{full} of {part}"


def test_every_demo_has_a_page():
    pages = _pages.demo_pages()
    for script in (ROOT / "demos").glob("demo_*.py"):
        page = pages[f"demos/{script.stem}.md"]
        assert page.startswith("# "), f"{script.name} does not begin with a title"
        for line in script.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                assert line in page, f"{script.name}: {line}"


def test_links_between_pages():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not target.startswith("generated/"):
                assert (DOCS / target).exists(), f"{page.name} links to {target}"
        for entry in re.findall(r"```{toctree}(.*?)```", page.read_text(), re.S):
            for name in entry.split("\n\n", 1)[1].split():
                if not name.startswith("generated/"):
                    assert (DOCS / f"{name}.md").exists(), f"{page.name} lists {name}"


def rows():
    return json.loads((DOCS / "verification.json").read_text())["rows"]


def test_the_table_of_verification_is_of_these_tests():
    named = {row["test"] for row in rows()}
    now = verify.measuring_tests()
    advice = "python docs/verify.py " + " ".join(sorted(now ^ named))
    assert named == now, f"the table of verification is out of date: {advice}"


def test_errors_of_the_table_are_within_tolerance():
    for row in rows():
        assert 0.0 <= row["error"] <= row["tolerance"], row
