"""In a real JupyterLab every notebook runs, and instruments follow the keyboard, are pinned, and outlive their kernel."""

import re

import pytest

from tests.browser.chromium import INSTRUMENTS, findings, move_every_control, seen, settled, wait_for_change
from tests.browser.lab import ROOT, complaints

SHORT = {"02_knowledge_amount", "05_summary_condensation", "06_does_choosing_help"}
"""The others train for up to two minutes each, and nbval runs them anyway; make browser runs all of them here."""
BOOKS = [
    pytest.param(path.stem, marks=() if path.stem in SHORT else pytest.mark.slow)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]


@pytest.mark.parametrize("book", BOOKS)
def test_notebook_runs_and_shows_every_picture(lab, book):
    with lab.open(book) as page:
        lab.run_all(page)
        assert complaints(page) == []
        assert page.evaluate("() => document.images.length") >= 3


@pytest.fixture(scope="module")
def together(lab):
    """One notebook with all instruments."""
    lab.write("together", *INSTRUMENTS.values())
    with lab.open("together") as page:
        lab.run_all(page)
        page.locator(".kcd").nth(len(INSTRUMENTS) - 1).wait_for()
        yield page


@pytest.fixture(params=INSTRUMENTS)
def one(together, request):
    return together.locator(".kcd").nth(list(INSTRUMENTS).index(request.param))


def slider(instrument):
    return instrument.locator("input[type=range]:not([disabled])").first


def test_it_is_seen_without_scrolling(one):
    assert one.bounding_box()["height"] <= 600


def test_every_control_is_moved_by_keyboard_and_the_picture_follows(one):
    assert len(move_every_control(one)) >= 2
    assert complaints(one.page) == []


def test_one_does_not_disturb_the_others(together, one):
    everything = [together.locator(".kcd").nth(at) for at in range(len(INSTRUMENTS))]
    before, mine = [settled(other) for other in everything], settled(one)
    slider(one).press("ArrowLeft")
    wait_for_change(one, mine, "a slider")
    settled(one)
    assert sum(seen(other) != old for other, old in zip(everything, before, strict=True)) == 1


def test_a_control_keeps_its_arrows_and_leaves_other_keys_to_jupyterlab(lab, together, one):
    chosen = "() => [...document.querySelectorAll('.jp-Cell')].findIndex(cell => cell.matches('.jp-mod-selected'))"
    slider(one).focus()  # that chooses its cell
    file, cell = lab.books / "together.ipynb", together.evaluate(chosen)
    stored = file.stat().st_mtime_ns
    for key in ("ArrowLeft", "ArrowDown", "ArrowUp", "ArrowUp"):
        slider(one).press(key)
    settled(one)
    assert together.evaluate(chosen) == cell
    slider(one).press("Control+s")
    for _ in range(100):
        if file.stat().st_mtime_ns > stored:
            return
        together.wait_for_timeout(100)
    raise AssertionError("Ctrl+S saves nothing")


def test_nothing_serious_stands_in_the_way_of_other_senses(together):
    assert findings(together) == []


def test_a_ratio_is_pinned_for_comparison_and_unpinned(together):
    one = together.locator(".kcd").nth(list(INSTRUMENTS).index("ratio"))
    pin, ghosts = one.get_by_role("button", name="pin"), one.locator(".ghost")
    if pin.get_attribute("aria-pressed") == "true":
        pin.press("Enter")
        ghosts.first.wait_for(state="detached")
    pin.press("Enter")
    ghosts.first.wait_for(state="attached")
    assert pin.get_attribute("aria-pressed") == "true"
    slider(one).press("ArrowLeft")
    settled(one)
    assert ghosts.count()
    pin.press("Enter")
    ghosts.first.wait_for(state="detached")


def test_the_map_answers_a_pointer_that_hovers_and_one_that_draws_around(together):
    one = together.locator(".kcd").nth(list(INSTRUMENTS).index("map"))
    one.scroll_into_view_if_needed()
    box = max((canvas.bounding_box() for canvas in one.locator("canvas").all()), key=lambda box: box["width"])
    before, middle = settled(one), (box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.7)
    for step in range(12):
        together.mouse.move(middle[0] + 4 * step, middle[1] + 4 * step)
    wait_for_change(one, before, "hovering")
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.9), (0.2, 0.9), (0.2, 0.25)]
    for at, (x, y) in enumerate(corners):
        together.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
        if at == 0:
            together.mouse.down()
    together.mouse.up()
    one.get_by_text("samples chosen").wait_for()
    assert one.locator(".thumb").count() > 5


def test_after_a_restart_each_says_what_to_do_or_goes_on_by_itself(lab, together):
    """The last one with these instruments, which are lost."""
    lab.restart_kernels()
    together.wait_for_timeout(2000)
    everything = [together.locator(".kcd").nth(at) for at in range(len(INSTRUMENTS))]
    before = [settled(one) for one in everything]
    for one in everything:
        slider(one).press("ArrowLeft")
    together.wait_for_timeout(5000)
    for one, old in zip(everything, before, strict=True):
        assert seen(one) != old or one.get_by_text("run this cell again").is_visible()


def test_a_training_is_stopped_and_continued(lab):
    setup = """
from kcd_teach import Recipe, create_model, distill, load_dataset
from kcd_teach.widgets import TrainingView

dataset = load_dataset("fashion-mnist-mini").first(per_class=100)
run = distill(create_model("mini_resnet8", num_classes=10, in_channels=1, seed=0), dataset, recipe=Recipe(epochs=20))
view = TrainingView()
"""
    watch = 'for _ in view.watch(run, "labels alone"):\n    pass\nprint("done after", run.epoch)'
    lab.write("training", setup, watch)
    with lab.open("training") as page:
        lab.start_all(page)
        state = page.locator(".kcd .state")
        state.get_by_text(re.compile(r"epoch \d+ of 20")).wait_for()
        page.get_by_role("button", name="Interrupt the kernel").first.click()
        state.get_by_text("goes on from there").first.wait_for()
        page.get_by_text("KeyboardInterrupt").first.wait_for()
        page.wait_for_timeout(1500)  # what is asked at once is dropped with the rest of Run All Cells
        page.locator(".jp-CodeCell .cm-content").nth(1).click()
        page.keyboard.press("Control+Enter")
        page.get_by_text("done after 20").wait_for()
        state.get_by_text("epoch 20 of 20").wait_for()
