"""Settings of Sphinx; `make docs` builds the pages into build/docs."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import _docstrings  # noqa: E402
import _pages  # noqa: E402

import dolfinx_admat  # noqa: E402

_pages.write(HERE / "generated")

project = "dolfinx_admat"
author = "The dolfinx_admat developers"
version = release = dolfinx_admat.__version__
html_title = f"dolfinx_admat {version}"
html_theme = "furo"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["wide.css"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generated/*.inc"]
suppress_warnings = ["config.cache"]
default_role = "code"  # `name` in a docstring
templates_path = []

# README.md is a page as it stands; its headings are not ours to change.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# Every name in a signature that is ours must lead somewhere; the others' documentation is not
# asked for, since a build needs no network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!dolfinx_admat).*"),
    ("py:.*", r"dolfinx_admat\.(.*\.)?(_\w+.*|\w*Trial)"),  # not public
]

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_custom_sections = [("Attributes", "params_style")]  # of a law: its parameters
napoleon_use_rtype = False
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True


def _docstring(app, what, name, obj, options, lines):
    lines[:] = _docstrings.as_rest(lines)


def _short_defaults(app, what, name, obj, options, signature, returns):
    """The settings of the local solve are described once, by their class."""
    if signature:
        signature = re.sub(r"LocalNewton\([^()]+\)", "LocalNewton()", signature)
    return signature, returns


def _skip(app, what, name, obj, skip, options):
    """Fields of a NamedTuple are described by its class."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _short_defaults)
    app.connect("autodoc-skip-member", _skip)
