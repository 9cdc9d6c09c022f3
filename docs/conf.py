"""How Sphinx builds the documentation site: `make docs`."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# The project's modules, for the API reference, and the extensions of this site.
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]

_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "longtail"
author = copyright = "the longtail authors"
release = version = _project["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "generated",
    "mathml",
]
exclude_patterns = ["_ext"]

# Strict: `make docs` turns every warning into an error, a reference without a target too.
nitpicky = True
# The types of other libraries in signatures: their pages are on the web, and the build needs none.
# A type variable has no page.
nitpick_ignore_regex = [("py:.*", r"(?!longtail\.).*"), ("py:class", r".*\.T")]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4

autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,  # a name is documented where it is defined
}
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    "npt.ArrayLike": "ArrayLike",
    "Floats": "Floats",
    "Binary": "Binary",
    "LabelMasks": "LabelMasks",
}
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
# A single backtick means code, as in the rest of the project.
default_role = "literal"

html_theme = "furo"
html_title = "longtail"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
