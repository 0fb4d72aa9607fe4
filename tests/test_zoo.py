"""The tables of networks and methods are those of the code, and the code has what the published table has."""

import inspect
from pathlib import Path

import pytest

from kcd_teach import zoo
from kcd_teach.distillers import list_distillers

PAGE = (Path(__file__).parent.parent / "docs" / "methods.md").read_text(encoding="utf-8")


def test_the_page_holds_the_tables_of_the_code():
    inside = PAGE[PAGE.index(zoo.BEGIN) : PAGE.index(zoo.END) + len(zoo.END)]
    assert inside == zoo.section(), "run `python -m kcd_teach.zoo` and put its output into docs/methods.md"


def test_all_networks_and_methods_of_the_published_table_are_there():
    assert len(zoo.benchmark_networks()) == 22
    assert list_distillers() == ["kd", "fitnet", "at", "sp", "vid", "rkd", "pkt", "crd", "wcord", "reviewkd", "sskd"]


def test_every_method_belongs_to_one_family_and_every_thing_has_a_source():
    assert sorted(name for names in zoo.FAMILIES.values() for name in names) == sorted(list_distillers())
    rows = [row for row in zoo.section().splitlines() if row.startswith("| ") and "---" not in row]
    assert all("arXiv" in row for row in rows if "source" not in row)


def test_tables_say_whose_the_constants_of_wcord_are():
    (row,) = [row for row in zoo.method_table().splitlines() if "`wcord`" in row]
    assert "constants are ours" in row


@pytest.mark.parametrize("method", ["kd", "wcord"])
def test_titles_come_from_the_docstrings(method):
    module = __import__(f"kcd_teach.distillers.{method}", fromlist=[method])
    title, source = zoo.summary_of(module)
    assert f"{title} ({source})" in inspect.getdoc(module)
