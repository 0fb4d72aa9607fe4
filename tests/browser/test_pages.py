"""Without a notebook the instruments work as well: on an exported page, and in the laboratory of ``kcd-teach app``."""

import subprocess
import sys

import nbformat
import pytest

from kcd_teach.notebooks import write_page
from tests.browser.chromium import INSTRUMENTS, findings, move_every_control, opened
from tests.browser.lab import ROOT

BOOKS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "kcd-instrument" in path.read_text("utf-8")]


@pytest.mark.parametrize("book", BOOKS, ids=lambda path: path.stem)
def test_exported_page_follows_the_keyboard_without_a_kernel(chromium, tmp_path, book):
    write_page(nbformat.read(book, as_version=4), tmp_path / "page.html")
    with opened(chromium, tmp_path / "page.html") as page:
        page.locator(".kcd").first.wait_for()
        for one in page.locator(".kcd").all():
            assert one.locator("svg, canvas").count()
            assert move_every_control(one) or not one.locator("input, button").count()
        assert findings(page) == []


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-u", "-m", "kcd_teach.cli", "app", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().split()[4]
        server.terminate()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_laboratory_follows_the_keyboard(chromium, address, name, theme):
    with opened(chromium, f"{address}#{name}", theme=theme) as page:
        page.locator(".kcd").first.wait_for()
        assert page.locator("html").get_attribute("data-theme") == theme
        assert len(move_every_control(page.locator(".kcd"))) >= 2
        assert findings(page, "body") == []
        page.get_by_role("button", name="dark").press("Enter")
        assert page.locator("html").get_attribute("data-theme") != theme
        page.locator(".kcd svg, .kcd canvas").first.wait_for()


def test_laboratory_says_so_when_it_has_been_stopped(chromium):
    command = [sys.executable, "-u", "-m", "kcd_teach.cli", "app", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().split()[4]
        with opened(chromium, f"{address}#ratio") as page:
            page.locator(".kcd").first.wait_for()
            server.terminate()
            server.wait()
            page.locator("input[type=range]").first.press("ArrowLeft")
            page.get_by_role("status").get_by_text("Start the laboratory again").wait_for()
