"""Imports go one way, and the material side works without FEniCSx."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "dolfinx_admat"
FENICSX = ("dolfinx", "ufl", "basix", "ffcx", "petsc4py", "mpi4py")

# A module may import from its own layer and from those before it.
LAYERS = (
    {"errors", "_runtime"},
    {"_compiler", "_trust", "_jax_cache", "compilation"},
    {"tensors"},
    {"implicit"},
    {"materials"},
    {"_law_content", "law_file"},
    {"kernels"},
    {"laboratory"},
    {"calibration", "learning"},
    {"fem"},
    {"_describe", "_selftest", "_warm", "__main__"},
)
MATERIAL_SIDE = set().union(*LAYERS[:-2])


def layer(part):
    for number, names in enumerate(LAYERS):
        if part in names:
            return number
    raise AssertionError(f"dolfinx_admat.{part} is in no layer: add it to LAYERS in {__file__}")


def part_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_names(path):
    """Absolute names of all that a module imports, at the top, in functions and for types."""
    module = ("dolfinx_admat", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module[: -node.level]) if node.level else ""
            start = ".".join(filter(None, (base, node.module)))
            yield from (f"{start}.{alias.name}" for alias in node.names)


MODULES = sorted(PACKAGE.rglob("*.py"))


def identify(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_imports_go_one_way(path):
    part = part_of(path)
    for name in imported_names(path):
        words = name.split(".")
        if words[0] in FENICSX:
            assert part == "fem", f"{identify(path)} imports {name}; only fem may"
        if words[0] != "dolfinx_admat" or len(words) == 1:
            continue
        if words[1] == "__version__":
            continue
        if part == "__init__":
            assert words[1] in MATERIAL_SIDE, f"`import dolfinx_admat` would load {name}"
        else:
            assert layer(words[1]) <= layer(part), f"{identify(path)} imports {name}: a layer above"


def test_every_folder_is_a_package():
    folders = {path.parent for path in MODULES}
    assert {f for f in folders if not (f / "__init__.py").exists()} == set()


def python(code, **variables):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | variables
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env=environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_material_side_loads_no_fenicsx():
    modules = ["dolfinx_admat"]
    for part in sorted(MATERIAL_SIDE):
        if (PACKAGE / part / "__init__.py").exists() or (PACKAGE / f"{part}.py").exists():
            modules.append(f"dolfinx_admat.{part}")
    assert {f"dolfinx_admat.{p}" for p in ("tensors", "implicit", "materials", "kernels")} <= set(
        modules
    )
    loaded = python(f"import sys, {', '.join(modules)}; print(*sys.modules)")
    assert {name.split(".")[0] for name in loaded}.isdisjoint(FENICSX)


def test_material_side_works_where_fenicsx_is_not_installed():
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({FENICSX!r}))\n"
        "import dolfinx_admat.kernels, dolfinx_admat.materials; print('fine')"
    )
    assert python(code) == ["fine"]


def test_import_switches_to_float64_and_changes_nothing_else():
    code = (
        "import os, warnings; warnings.simplefilter('error'); before = dict(os.environ)\n"
        "import jax; values = dict(jax.config.values)\n"
        "import dolfinx_admat, jax.numpy as jnp\n"
        "changed = [k for k, v in jax.config.values.items() if values[k] != v]\n"
        "print(jnp.ones(1).dtype, *changed, 'environment' if before != dict(os.environ) else '')"
    )
    assert python(code) == ["float64", "jax_enable_x64"]
