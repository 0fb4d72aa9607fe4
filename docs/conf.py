"""The course as a static site: ``make site`` writes it into ``build/site``.

The sources are the pages of the repository as they stand, so that a link leads to the same place here, in JupyterLab and
where the repository is hosted. Notebooks are shown with their stored outputs and nothing is executed; instruments work,
because their outputs hold what they need. No page loads anything from elsewhere.
"""

import importlib
import json
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator

import kcd_teach

project = "kcd_teach"
author = copyright = "The kcd_teach authors"  # noqa: A001  Sphinx wants this name
release = kcd_teach.__version__
language = "en"
root_doc = "README"
include_patterns = ["*.md", "data/**.md", "docs/*.md", "docs/*.rst", "notebooks/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "runs", "node_modules"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nitpicky = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# Names of other libraries, whose pages may be out of reach, and those of type variables.
viewcode_follow_imported_members = False  # every name is documented where it is defined
napoleon_use_ivar = True
toc_object_entries = False
nitpick_ignore_regex = [("py:.*", r"(?!kcd_teach).*"), ("py:.*", r".*\.(_\w+|Drawing|Shown|Stateful|Thing|Todo)")]

html_theme = "furo"
html_title = "Knowledge Condensation Distillation"
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
# furo's column is made for text; pictures and instruments want a little more.
html_css_files = ["site.css"]
html_static_path = ["static"]

CONTENTS = """

```{toctree}
:caption: The course
:glob:
:hidden:
notebooks/00_tour
notebooks/01_plain_kd
notebooks/02_knowledge_amount
notebooks/03_learning_value
notebooks/04_em_feedback
notebooks/05_summary_condensation
notebooks/06_does_choosing_help
notebooks/07_any_distiller
notebooks/08_benchmark
notebooks/appendix_speed
notebooks/glossary
notebooks/teaching
notebooks/*
```

```{toctree}
:caption: The library
:glob:
:hidden:
docs/installing
docs/reference
docs/reference_distillers
docs/reference_runs
docs/reference_pictures
docs/reference_lessons
docs/*
data/**
CONTRIBUTING
CHANGELOG
```
"""


def prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the table of contents, and leave out of notebooks what only a kernel brings to life."""
    if page == root_doc:
        source[0] += CONTENTS
    if not page.startswith("notebooks/") or not source[0].startswith("{"):
        return
    book = json.loads(source[0])
    for cell in book["cells"]:
        kept = []
        for output in cell.get("outputs", []):
            live = output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if live is None or set(output["data"]) != {"text/plain"}:  # or it is a progress bar that stands at 0 %
                kept.append(output)
        if "outputs" in cell:
            cell["outputs"] = kept
    source[0] = json.dumps(book)


def where_defined(app: Sphinx, env: BuildEnvironment, node: nodes.Element, shown: nodes.Node) -> nodes.Node | None:
    """Lead a name of the library that is used where it is imported to where it is defined, whatever kind it is of."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or not module.startswith("kcd_teach"):
        return None
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None
    objects = env.domains.python_domain.objects
    full = f"{getattr(found, '__module__', module)}.{getattr(found, '__qualname__', name)}"
    entry = objects.get(full) or objects.get(f"{module}.{name}")
    return entry and make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, shown, full)


def inline_math(self: HTML5Translator, node: nodes.Element) -> None:
    """A formula in a line, as MathML: browsers draw it themselves, and read it aloud."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_math(self: HTML5Translator, node: nodes.Element) -> None:
    """A formula of its own."""
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def first_page(app: Sphinx, exception: Exception | None) -> None:
    """Show the README at the address of the site itself, too."""
    if exception is None and app.builder.name == "html":
        (app.outdir / "index.html").write_bytes((app.outdir / f"{root_doc}.html").read_bytes())


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all of this to Sphinx."""
    app.connect("source-read", prepare)
    app.connect("missing-reference", where_defined)
    app.connect("build-finished", first_page)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
