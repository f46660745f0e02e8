"""
The documentation as a site: `make docs` builds it into `.make/site`, without network.

The pages are plain Markdown whose links work wherever the checkout is read; Sphinx starts at the
root of the checkout, so that they work here as well. What leads nowhere fails the build.
"""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

_ROOT = Path(__file__).resolve().parents[1]
_INDEX = "docs/index"

project = "Algorium"
author = "The Algorium authors"
project_copyright = "The Algorium authors, Apache License 2.0"
_workspace = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
release = _workspace["project"]["version"]

extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = _INDEX
include_patterns = [
    "docs/**",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "bench/**",
    "examples/README.md",
    "examples/**/README.md",
]
source_suffix = {".md": "markdown"}
suppress_warnings = ["toc.not_included", "misc.highlighting_failure"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"Algorium {release}"
html_theme_options = {"sidebar_hide_name": False}
html_copy_source = False
html_show_sourcelink = False
# Code is shown with the prompt of whoever types it; what is copied should not have it.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Give the site the order of the index: its headings are parts, its links the pages."""
    app.connect("source-read", _add_contents)


def _add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    if page != _INDEX:
        return
    parts = re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]
    for part in parts:
        heading = part.partition("\n")[0].partition(":")[0]
        pages = re.findall(r"^- \[[^\]]*\]\(([^)#]+)\.md\)", part, flags=re.MULTILINE)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n"
        source[0] += "\n".join(pages) + "\n```\n"
