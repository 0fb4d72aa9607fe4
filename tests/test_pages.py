"""The pages beside the notebooks: every link into the glossary meets a heading, and teachers are told true numbers."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from kcd_teach.notebooks import figure_index

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


@pytest.mark.parametrize("name", ["figures.md", "glossary.md", "teaching.md"])
def test_pages_link_to_files_that_are_there(name):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", TEXTS[name]):
        assert (FOLDER / target).exists(), target


def test_teachers_are_told_no_less_than_a_notebook_takes():
    seconds = json.loads((ROOT / "data" / "results" / "notebooks.json").read_text())
    page = TEXTS["teaching.md"]
    assert max(seconds.values()) < 120, "the page says that none needs more than two minutes"
    planned = dict(re.findall(r"^\| \[\w+\]\((\w+)\.ipynb\) \| (\d+) \|", page, flags=re.M))
    assert set(planned) >= set(seconds) - {"06_does_choosing_help"}
    assert all(60 * int(minutes) > 10 * seconds[name] for name, minutes in planned.items())


def test_a_lesson_of_90_minutes_has_no_gap():
    page = TEXTS["teaching.md"]
    parts = [(int(begin), int(end)) for begin, end in re.findall(r"^\| (\d+) to (\d+) \|", page, flags=re.M)]
    assert [begin for begin, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == 90


def test_figures_are_listed_as_they_are_stored():
    """`python -m kcd_teach.notebooks figures notebooks/*.ipynb` brings the page up to date."""
    assert TEXTS["figures.md"] == figure_index(sorted(FOLDER.glob("*.ipynb")))
