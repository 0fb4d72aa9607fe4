"""A real browser, and what a hand and an eye do with an instrument in it."""

import functools
import json
import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from kcd_teach.lessons.laboratory import INSTRUMENTS as SHOWN

INSTRUMENTS = {
    name: f"from kcd_teach.lessons.laboratory import INSTRUMENTS\nINSTRUMENTS[{name!r}][1]()" for name in SHOWN
}
"""Name -> the cell that shows it: all that is tested with one instrument is tested with every one of the laboratory."""

NEEDS = "the checks in a browser need Playwright and Chromium: pip install -e '.[browser]' and apt-get install chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--disable-quic", "--disable-dev-shm-usage"]  # fmt: skip


@functools.cache
def executable():
    """Path of a Chromium of this machine; None where it, or what drives it, is missing."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return None
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """A headless Chromium; one that has crashed fails the test that saw it, and not those after it."""

    def __init__(self, playwright):
        self.playwright, self.process = playwright, None

    def new_page(self, **settings):
        if self.process is None or not self.process.is_connected():
            self.process = self.playwright.chromium.launch(executable_path=executable(), args=QUIET)
        return self.process.new_page(**settings)


@contextmanager
def browser():
    """A headless Chromium, closed in the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield Browser(playwright)


@contextmanager
def opened(chromium, address, width=1280, height=720, theme="light"):
    """A page at an address, or of a file; the errors that it raises fail in the end."""
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address.as_uri() if isinstance(address, Path) else address, timeout=120_000)
    yield page
    page.close()
    assert errors == []


SEEN = """
root => JSON.stringify([[...root.querySelectorAll('svg')].map(one => one.outerHTML),
  [...root.querySelectorAll('canvas')].map(one => one.toDataURL())])
"""
CHANGED = f"([root, before]) => ({SEEN})(root) !== before"


def seen(instrument):
    """All that an instrument draws, without its controls and words."""
    return instrument.evaluate(SEEN)


def wait_for_change(instrument, before, what):
    """Wait until the picture is another one."""
    from playwright.sync_api import Error

    page = instrument.page
    try:
        page.wait_for_function(CHANGED, arg=[instrument.element_handle(), before], polling="raf", timeout=20_000)
    except Error:
        raise AssertionError(f"the picture stays the same: {what}") from None


def settled(instrument):
    """The picture, once it does not change any more."""
    before = seen(instrument)
    for _ in range(100):
        instrument.page.wait_for_timeout(100)
        now = seen(instrument)
        if now == before:
            return now
        before = now
    raise AssertionError("the picture never comes to rest")


def move_every_control(instrument):
    """Move each control by keyboard and see that the picture follows; the names of those that were moved."""
    page, moved = instrument.page, []
    for control in instrument.locator("input, button").element_handles():
        if not control.evaluate("one => one.isConnected && !one.disabled"):  # others were moved before it
            continue
        slider = control.get_attribute("type") == "range"
        if not slider and control.evaluate("one => one.closest('.choice') && one.ariaPressed === 'true'"):
            continue
        name = control.get_attribute("aria-label") or control.inner_text()
        before = settled(instrument)
        control.focus()
        if slider:
            last = control.evaluate("one => Number(one.value) >= Number(one.max)")
            page.keyboard.press("ArrowLeft" if last else "ArrowRight")
        else:
            page.keyboard.press("Enter")
        wait_for_change(instrument, before, name)
        if (
            not slider and control.inner_text() == "pause"
        ):  # what plays on would be mistaken for the next control's doing
            page.keyboard.press("Enter")
            instrument.get_by_role("button", name="play", exact=True).wait_for()
        moved.append(name)
    return moved


def findings(page, within=".kcd"):
    """Serious and critical findings of axe in the instruments of a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], node["html"][:120], json.dumps(node["any"])[:200]) for one in grave for node in one["nodes"]]
