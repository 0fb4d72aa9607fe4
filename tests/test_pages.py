"""The pages beside the notebooks: every link into the glossary meets a heading, and teachers are told true numbers."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
GLOSSARY = (FOLDER / "glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.*)$", GLOSSARY, flags=re.M)
TEXTS = {
    path.name: "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for path in sorted(FOLDER.glob("*.ipynb"))
} | {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}


def anchor(heading: str) -> str:
    """What a link to a heading ends with, as JupyterLab writes it; GitHub does so in lower case, which terms are in."""
    return heading.replace(" ", "-")


def test_terms_are_in_lower_case_and_explained_once():
    assert len(set(TERMS)) == len(TERMS)
    assert all(term == term.lower() for term in TERMS)
    for text in re.split(r"^## .*$", GLOSSARY, flags=re.M)[1:]:
        assert 30 <= len(text.split()) <= 90, text
        assert re.search(r"\]\(\d\d_\w+\.ipynb\)", text), f"where is it met? {text}"


@pytest.mark.parametrize("name", TEXTS)
def test_links_into_the_glossary_lead_to_a_heading(name):
    text = TEXTS[name]
    linked = re.findall(r"glossary\.md#([^)\s]*)\)", text)
    if name == "glossary.md":
        linked += re.findall(r"\]\(#([^)\s]*)\)", text)
        assert linked
    assert set(linked) <= set(map(anchor, TERMS))


@pytest.mark.parametrize("name", ["glossary.md", "teaching.md"])
def test_pages_link_to_files_that_are_there(name):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", TEXTS[name]):
        assert (FOLDER / target).exists(), target
