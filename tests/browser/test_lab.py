"""In a real JupyterLab every notebook runs, and instruments follow the keyboard, are pinned, and outlive their kernel."""

import pytest

from tests.browser.chromium import INSTRUMENTS, findings, move_every_control, seen, settled, wait_for_change
from tests.browser.lab import ROOT, complaints

SHORT = {"02_knowledge_amount", "05_summary_condensation", "06_does_choosing_help"}
"""The others train for up to two minutes each, and nbval runs them anyway; make browser runs all of them here."""
BOOKS = [
    pytest.param(path.stem, marks=() if path.stem in SHORT else pytest.mark.slow)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]
each = pytest.mark.parametrize("name", INSTRUMENTS)


@pytest.mark.parametrize("book", BOOKS)
def test_notebook_runs_and_shows_every_picture(lab, book):
    with lab.open(book) as page:
        lab.run_all(page)
        assert complaints(page) == []
        assert page.evaluate("() => document.images.length") >= 3


@pytest.fixture(scope="module", params=INSTRUMENTS)
def shown(lab, request):
    """A notebook in which an instrument stands twice."""
    lab.write(request.param, INSTRUMENTS[request.param], INSTRUMENTS[request.param])
    with lab.open(request.param) as page:
        lab.run_all(page)
        page.wait_for_selector(".kcd >> nth=1")
        yield page


def test_it_is_seen_without_scrolling(shown):
    box = shown.locator(".kcd").first.bounding_box()
    assert box["height"] <= 600


def test_every_control_is_moved_by_keyboard_and_the_picture_follows(shown):
    moved = move_every_control(shown.locator(".kcd").first)
    assert len(moved) >= 2
    assert complaints(shown) == []


def test_two_of_them_do_not_disturb_each_other(shown):
    one, other = shown.locator(".kcd").nth(0), shown.locator(".kcd").nth(1)
    before, untouched = settled(one), settled(other)
    slider = one.locator("input[type=range]:not([disabled])").first
    slider.focus()
    shown.keyboard.press("ArrowLeft")
    wait_for_change(one, before, "the first of two")
    settled(one)
    assert seen(other) == untouched


def test_nothing_serious_stands_in_the_way_of_other_senses(shown):
    assert findings(shown) == []


def test_a_setting_is_pinned_and_unpinned(shown):
    one = shown.locator(".kcd").nth(1)
    pin = one.get_by_role("button", name="pin")
    if not pin.count():
        pytest.skip("nothing to pin")
    ghosts = one.locator(".ghost")
    assert ghosts.count() == 0
    pin.focus()
    shown.keyboard.press("Enter")
    ghosts.first.wait_for(state="attached")
    assert pin.get_attribute("aria-pressed") == "true"
    one.locator("input[type=range]:not([disabled])").first.focus()
    shown.keyboard.press("ArrowLeft")
    settled(one)
    assert ghosts.count()
    pin.focus()
    shown.keyboard.press("Enter")
    ghosts.first.wait_for(state="detached")


def test_after_a_restart_it_says_what_to_do(lab, shown):
    """The last one in this file: its instruments are lost."""
    one = shown.locator(".kcd").first
    before = settled(one)
    lab.restart_kernels()
    shown.wait_for_timeout(1500)
    one.locator("input[type=range]:not([disabled])").first.focus()
    shown.keyboard.press("ArrowLeft")
    shown.wait_for_timeout(5000)
    told = one.get_by_text("run this cell again")
    assert told.count() or seen(one) != before
    assert one.is_visible()
