"""The site of ``make site``: every page is there, every link leads somewhere, and nothing comes from elsewhere."""

import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from tests.browser.chromium import findings, move_every_control, opened

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.rst"), *ROOT.glob("notebooks/*.ipynb"),
           *ROOT.glob("notebooks/*.md")]  # fmt: skip
BOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("furo", "latex2mathml", "myst_nb")),
    reason="the site needs Sphinx with its extensions: make develop, or pip install -e '.[site]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a fresh build; it fails at the first warning, which a link into nowhere is as well."""
    folder = tmp_path_factory.mktemp("site")
    (command,) = re.findall(r"^\t\$\(PY\) (-m sphinx .*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    arguments = shlex.split(command.replace("build/", f"{folder}/"))
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "site"


def test_every_module_is_in_the_reference():
    reference = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/reference*.rst"))
    paths = sorted((ROOT / "kcd_teach").rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    documented = set(re.findall(r"^\.\. automodule:: (.*)$", reference, flags=re.M))
    assert documented <= names
    inside = {"cli", "notebooks", "validation", "zoo"}
    assert {name for name in names - documented if "._" not in name} <= {f"kcd_teach.{name}" for name in inside}


class Page(HTMLParser):
    """Anchors, links, pictures and scripts of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.pictures, self.loaded = {""}, [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.anchors |= {has[name] for name in ("id", "name") if has.get(name)}
        if tag == "a" and has.get("href"):
            self.links.append(has["href"])
        if tag == "img":
            self.pictures.append((has.get("alt"), has.get("src", "")[:60]))
        if tag in ("img", "script", "iframe", "source") and has.get("src"):
            self.loaded.append(has["src"])
        if tag == "link" and has.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(has["href"])


parsed = cache(Page)


def pages(site):
    return sorted(site.rglob("*.html"))


def test_every_page_of_the_repository_has_its_page(site):
    assert len(SOURCES) >= 20
    for source in SOURCES:
        assert (site / source.relative_to(ROOT)).with_suffix(".html").is_file(), source
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_every_link_leads_somewhere(site):
    wrong = []
    for page in pages(site):
        for link in [*parsed(page).links, *parsed(page).loaded]:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file() or (
                target.suffix == ".html" and unquote(parts.fragment) not in parsed(target).anchors
            ):
                wrong.append((page.name, link))
    assert wrong == []


def test_nothing_is_loaded_from_elsewhere(site):
    loaded = {link for page in pages(site) for link in parsed(page).loaded}
    assert len(loaded) > 5
    assert [link for link in loaded if urlsplit(link).scheme not in ("", "data") or link.startswith("//")] == []


def test_every_picture_has_alternative_text(site):
    pictures = [(page.name, *picture) for page in pages(site) for picture in parsed(page).pictures]
    assert len(pictures) > 50
    assert [picture for picture in pictures if not picture[1]] == []


def test_pages_are_small_and_know_no_machine(site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".css", ".txt"):
            text = path.read_text(encoding="utf-8")
            assert path.stat().st_size < 2_000_000, path
            assert not any(str(folder) in text for folder in (ROOT, sys.prefix, site.parent)), path


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_notebooks_are_shown_with_what_works_without_a_kernel(site, book):
    text = (site / "notebooks" / f"{book.stem}.html").read_text(encoding="utf-8")
    outputs = [output.get("data", {}) for cell in nbformat.read(book, as_version=4).cells for output in cell.get("outputs", [])]  # fmt: skip
    html = "".join(str(data.get("text/html", "")) for data in outputs)
    assert text.count("kcd-instrument") == html.count("kcd-instrument")
    assert text.count('<script type="module">') == html.count('<script type="module">')
    assert len(re.findall("<img ", text)) >= len(re.findall("<img ", html)) >= 3
    assert "widget-view" not in text
    assert "0%|" not in text, "a progress bar that nobody moves"
    assert "$" not in re.sub(r"<(script|pre|code)\b.*?</\1>", "", text, flags=re.S), "a formula that was not drawn"


SHOWING = [book.stem for book in BOOKS if "kcd-instrument" in book.read_text(encoding="utf-8")]
LOOKS = [(1280, "light"), (400, "dark"), (400, "light"), (1280, "dark")]


@pytest.mark.parametrize(
    ("book", "width", "theme"),
    [("05_summary_condensation", *look) for look in LOOKS]
    + [(book, *LOOKS[at % 2]) for at, book in enumerate(SHOWING) if not book.startswith("05")],
)
def test_instruments_follow_the_keyboard_and_fit_a_phone(chromium, site, book, width, theme):
    with opened(chromium, site / "notebooks" / f"{book}.html", width=width, theme=theme) as page:
        page.locator(".kcd").first.wait_for()
        for one in page.locator(".kcd").all():
            assert move_every_control(one) or not one.locator("input, button").count()
        assert findings(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_formulas_are_drawn_by_the_browser_itself(site):
    assert "<math" in (site / "notebooks" / "05_summary_condensation.html").read_text(encoding="utf-8")


def test_words_can_be_searched(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"temperatur' in index or "temperatur:" in index
