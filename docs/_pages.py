"""The pages that are made from the code: the API reference, the demos, the table of verification.

Everything follows from what lies there: a new public name, module or demo needs no entry here.
"""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

import jax
import numpy as np

from dolfinx_admat import materials
from dolfinx_admat.laboratory._examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "dolfinx_admat"

# Parts of the package, in the order of the sidebar, with what a reader looks for there.
# `materials` comes as dolfinx_admat itself, as users import it.
PARTS = {
    "": "Laws, base classes and their parts",
    "laboratory": "Laboratory: paths at a point, checks",
    "calibration": "Calibration: parameters from experiments",
    "learning": "Learned laws",
    "fem": "Finite elements",
    "fem.sensitivity": "Derivatives of finite element runs",
    "tensors": "Tensors of one point",
    "kernels": "Batched kernels",
    "implicit": "Local solve",
}

# Where the name of a module does not say what it is about.
TOPICS = {
    "_declare": "Shapes of inputs and outputs",
    "base": "Base classes",
    "composed": "Composed elastoviscoplasticity",
    "parts": "Parts of composed laws",
    "kinematic": "Kinematic hardening",
    "log_strain": "Logarithmic strain",
    "plasticity": "J2 plasticity",
    "viscoplasticity": "Perzyna viscoplasticity",
    "point": "One point",
    "stress_state": "Plane stress and other reductions",
    "wrapper": "Base classes of wrappers",
    "_newton": "Newton's method",
    "_result": "Status",
    "_buffers": "Buffers",
    "batch": "Batches",
    "device": "Batches on a device",
    "mesh_io": "Meshes",
}

Material = materials.Material
# Methods that every law has: described once, by the base classes, and not again by each law.
CONTRACT = sorted(
    {
        name
        for base in (
            "Material",
            "ExplicitLaw",
            "ImplicitLaw",
            "Hyperelastic",
            "Reduction",
            "Transform",
        )
        for name in vars(getattr(materials, base))
        if not name.startswith("_") and name != "initial_state"
    }
)


def module_of(part: str) -> ModuleType:
    """A part of the package as a module."""
    return importlib.import_module(".".join(filter(None, (PACKAGE, part))))


def origins(part: str) -> dict[str, str]:
    """Public names of a part, with the full name of the module that defines each.

    Public is what ``__all__`` lists or, without one, what is imported as ``X as X``.
    """
    module = module_of(part)
    found: dict[str, str] = {}
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            origin = ".".join(filter(None, (module.__name__, node.module)))
            for alias in node.names:
                if alias.name == "*":
                    found |= origins(node.module)
                elif alias.asname == alias.name:
                    deeper = origins(node.module) if node.module in PARTS else {}
                    found[alias.name] = deeper.get(alias.name, origin)
    if unknown := set(getattr(module, "__all__", [])) - set(found):
        raise ValueError(f"{module.__name__}.__all__: no `import X as X` for {sorted(unknown)}")
    return {name: found[name] for name in found if name in getattr(module, "__all__", found)}


def comment_of(name: str, origin: str) -> str:
    """The ``#:`` comment above (or behind) a constant."""
    lines = Path(importlib.import_module(origin).__file__).read_text().splitlines()
    for k, line in enumerate(lines):
        if re.match(rf"{name}\b.*=", line):
            above = []
            while k and lines[k - 1].startswith("#:"):
                k -= 1
                above.insert(0, lines[k].removeprefix("#:").strip())
            return " ".join(above)
    return ""


def document(full: str, origin: str) -> str:
    """Directive of one public name."""
    module, _, name = full.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing):
        kind = "autoexception" if issubclass(thing, Exception) else "autoclass"
        options = "   :members:\n   :special-members: __call__\n"
        if issubclass(thing, Material) and not origin.endswith(("base", "wrapper")):
            options += f"   :exclude-members: {', '.join(CONTRACT)}\n"
        return f".. {kind}:: {full}\n{options}"
    if inspect.isroutine(thing) or hasattr(thing, "__wrapped__"):
        return f".. autofunction:: {full}\n"
    # Relative to the module that automodule has set.
    return f".. py:currentmodule:: {module}\n\n.. py:data:: {name}\n\n   {text_of(full, origin)}\n"


def text_of(full: str, origin: str) -> str:
    """The docstring of a public name; of a constant, the comment."""
    module, _, name = full.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing) or inspect.isroutine(thing) or hasattr(thing, "__wrapped__"):
        return inspect.cleandoc(thing.__doc__ or "")
    return comment_of(name, origin)


def title(text: str, line: str) -> str:
    """A heading in reST."""
    return f"{text}\n{line * len(text)}\n\n"


def topic(origin: str) -> str:
    """The subject of a module, by its name."""
    name = origin.rpartition(".")[2]
    return TOPICS.get(name, name.strip("_").replace("_", " ").capitalize())


def public_names() -> dict[str, dict[str, tuple[str, str]]]:
    """Parts, their public names, and for each the full name it is documented by, and its origin.

    A name that two parts have is documented by the part that its module belongs to.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for part in PARTS:
        if not (ROOT / PACKAGE / part.replace(".", "/") / "__init__.py").exists():
            continue
        found[part] = {}
        for name, origin in origins(part).items():
            homes = [home for home in PARTS if home and origin.startswith(f"{PACKAGE}.{home}.")]
            found[part][name] = ".".join([PACKAGE, *homes[-1:], name]), origin
    return found


def api_pages() -> dict[str, str]:
    """The API reference: file name to text. One page per module with public names."""
    pages, index = {}, ""
    for part, names in public_names().items():
        by_origin: dict[str, list[str]] = {}
        table = ""
        for name, (full, origin) in sorted(names.items(), key=lambda item: item[0].lower()):
            first = re.split(r"(?<=[.])\s", text_of(full, origin))[0]
            first = " ".join(first.split()).replace("|", r"\|").replace("*", r"\*")
            table += f"   * - :py:obj:`{name} <{full}>`\n     - {first}\n"
        for full, origin in names.values():  # in the order of the part
            if full.rpartition(".")[0] == module_of(part).__name__:
                by_origin.setdefault(origin, []).append(full)
        entries = ""
        for origin, full_names in sorted(by_origin.items()):
            stem = re.sub(r"[._]+", "_", origin.removeprefix(f"{PACKAGE}."))
            entries += f"   {stem}\n"
            pages[f"api/{stem}.rst"] = "\n".join(
                [title(topic(origin), "=") + f".. automodule:: {origin}\n   :no-index:\n"]
                + [document(full, origin) for full in full_names]
            )
        folder = part.replace(".", "_") or "materials"
        index += f"   part_{folder}\n"
        pages[f"api/part_{folder}.rst"] = (
            title(PARTS[part], "=")
            + f".. automodule:: {module_of(part).__name__}\n   :no-index:\n\n"
            + f".. list-table::\n   :widths: 35 65\n\n{table}\n"
            + f".. toctree::\n   :hidden:\n\n{entries}"
        )
    pages["api/index.rst"] = (
        title("API reference", "=")
        + "Made from the docstrings. What is not listed here is not public, and may change.\n\n"
        + f".. toctree::\n   :maxdepth: 1\n\n{index}"
    )
    return pages


def cells(script: str) -> list[tuple[bool, str]]:
    """Cells of a jupytext percent script: (is it code, text)."""
    found = []
    for cell in re.split(r"^# %%", script, flags=re.M)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.split("\n"))
            found.append((False, body.strip()))
        else:
            found.append((True, body.strip("\n")))
    return found


def picture_of(script: Path) -> Path | None:
    """The committed picture of a demo."""
    picture = script.with_name(script.stem.removeprefix("demo_") + ".png")
    return picture if picture.exists() else None


def demo_page(script: Path) -> str:
    """Prose, code and pictures of a demo."""
    text = ""
    pictures = sorted(script.parent.glob(script.stem.removeprefix("demo_") + "*.png"))
    for is_code, body in cells(script.read_text()):
        if not text:
            for picture in pictures:
                body += f"\n\n![{picture.stem}](../../../demos/{picture.name})"
        text += f"```python\n{body}\n```\n\n" if is_code else f"{body}\n\n"
    return text + f"The whole script is `demos/{script.name}`.\n"


def demo_pages() -> dict[str, str]:
    """The demos: file name to text."""
    scripts = sorted((ROOT / "demos").glob("demo_*.py"))
    pages = {f"demos/{script.stem}.md": demo_page(script) for script in scripts}
    gallery = ""
    for script in scripts:
        title, _, prose = cells(script.read_text())[0][1].partition("\n")
        gallery += f"## [{title.lstrip('# ')}]({script.stem}.md)\n\n"
        if picture := picture_of(script):
            gallery += f"```{{image}} ../../../demos/{picture.name}\n:width: 360px\n```\n\n"
        gallery += prose.strip().split("\n\n")[0] + "\n\n"
    pages["demos/index.md"] = (
        "# Demos\n\nEach is a script in `demos/` that asserts its own numbers, on any number "
        "of ranks; `make test` runs all of them. `--fine` makes most of them finer.\n\n"
        f"{gallery}"
        "```{toctree}\n:maxdepth: 1\n:hidden:\n\n"
        + "".join(f"{script.stem}\n" for script in scripts)
        + "```\n"
    )
    return pages


def law_table() -> str:
    """What each law of the library declares about itself; by its example where parts decide."""
    text = "| law | input | state | rate | symmetric tangent | isotropic | free energy |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for name, make in EXAMPLES.items():
        law = make()
        state = law.initial_state()
        marks = (law.rate_dependent, law.symmetric_tangent, law.isotropic, law.has_free_energy)
        cells = [
            f"{{py:obj}}`{name} <{PACKAGE}.{name}>`",
            ", ".join(law.inputs).replace("_", " "),
            str(sum(np.size(leaf) for leaf in jax.tree.leaves(state)) or ""),
            *("yes" if mark else "" for mark in marks),
        ]
        text += f"| {' | '.join(cells)} |\n"
    return text


def verification_table() -> str:
    """The table of laws, from docs/verification.json."""
    file = ROOT / "docs" / "verification.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    text = "| law | hypotheses | verified against | error | tolerance |\n|---|---|---|---|---|\n"
    for row in rows:
        numbers = f"{row['error']:.1e} | {row['tolerance']:.0e}"
        text += f"| {row['law']} | {row['hypotheses']} | {row['against']} | {numbers} |\n"
    return text


def pages() -> dict[str, str]:
    """All generated pages."""
    return {
        **api_pages(),
        **demo_pages(),
        "laws.inc": law_table(),
        "verification.inc": verification_table(),
    }


def write(folder: Path) -> None:
    """Write the generated pages; delete those of an earlier build that are no more."""
    made = {folder / name: text for name, text in pages().items()}
    for old in folder.rglob("*.*"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:  # so that Sphinx reads it only then
            path.write_text(text)
