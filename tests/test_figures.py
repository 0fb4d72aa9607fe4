"""The pictures that several places show: an image, its alternative text, and a reading that follows the data."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from kcd_teach import figures
from kcd_teach.figures.style import ROLES
from kcd_teach.statistics import Interval
from tests.tiny import tiny_dataset

GENERATOR = np.random.default_rng(0)

IMAGES = GENERATOR.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)

VALUES = GENERATOR.random(300)

TABLE = {"one": {0: 80.0, 1: 81.0, 2: 82.0}, "two": {0: 83.0, 1: 84.5, 2: 85.0}}

RUNS = {"Student": {0: [10.0, 40.0]}, "KD": {0: [20.0, 50.0], 1: [21.0, 52.0]}, "KC-KD": {}}

CELLS = {
    "A>B": {"KD": (52.0, Interval(51.0, 0.5, 3)), "KC-KD": (53.0, None)},
    "C>D": {"KD": (None, None), "KC-KD": (None, None)},
}

PICTURES = {
    "distillation": figures.distillation,
    "feedback_loop": figures.feedback_loop,
    "one_event": figures.one_event,
    "one_event of another size": lambda: figures.one_event(9, 6, 12),
    "run_curves": lambda: figures.run_curves(
        RUNS, "title", epochs=3, ends={"KC-KD": [1, 2]}, running={"KC-KD": {1: [30.0, 45.0]}, "KD": {1: [1.0]}}
    ),
    "run_curves of a teacher": lambda: figures.run_curves({}, "title", epochs=3, running={"teacher V": {0: [30.0]}}),
    "run_curves of nothing": lambda: figures.run_curves({"KD": {}, "KC-KD": {}}, "title", epochs=3),
    "kept_by_class": lambda: figures.kept_by_class(
        ["a", "b"], torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 3]), "title"
    ),
    "cost_accuracy": lambda: figures.cost_accuracy(
        {"KD": TABLE["one"], "KC-KD": TABLE["two"], "KD@short": {0: 79.0}, "CRD": {}},
        {"KD": 1.0, "KC-KD": 0.85, "KD@short": 0.85, "CRD": 1.0},
        "title",
    ),
    "cost_accuracy of nothing": lambda: figures.cost_accuracy({"KD": {}}, {"KD": 1.0}, "title"),
    "ablation_differences": lambda: figures.ablation_differences(
        {"KD": {0: 1.0, 1: 1.1, 2: 0.9}, "KC-KD@random": {0: 0.5, 1: -0.5}, "KD@short": {0: 2.0}, "KC-KD@released": {}},
        "KC-KD",
        "title",
        meanings={"KD@short": "fewer epochs"},
    ),
    "ablation_differences of nothing": lambda: figures.ablation_differences({"KD": {}}, "KC-KD", "title"),
    "published_beside_ours": lambda: figures.published_beside_ours(CELLS, "title"),
    "published_beside_ours at another scale": lambda: figures.published_beside_ours(
        CELLS, "title", apart="It differs."
    ),
    "differences_to": lambda: figures.differences_to(TABLE, "one", "title"),
    "differences": lambda: figures.differences({"two": [0.5, 1.5]}, "one", "title"),
    "accuracy_against_cost": lambda: figures.accuracy_against_cost(
        {"KD": {1.0: TABLE["one"], 0.8: TABLE["two"]}}, "title"
    ),
    "accuracy_against_cost with levels": lambda: figures.accuracy_against_cost(
        {"KD": {1.0: TABLE["one"], 0.8: TABLE["two"]}}, "title", {"teacher": 90.0}
    ),
    "learning_curves": lambda: figures.learning_curves({"run": [10.0, 20.0]}, {"run": "kept"}, "it rises", "title"),
    "image_rows": lambda: figures.image_rows({"row": IMAGES}, {"row": ["x"] * 6}, "six images", "title"),
    "labelled_rows": lambda: figures.labelled_rows(
        tiny_dataset(), {"first": range(3), "some": np.array([5, 1])}, "five images", "title", {"first": "kept"}
    ),
    "agreement_by_epoch": lambda: figures.agreement_by_epoch(
        VALUES.reshape(3, 100), {"a": VALUES[200:], "b": -VALUES[200:]}, "title"
    ),
    "overlaps": lambda: figures.overlaps(
        {"most": {"a": [40.0, 50.0], "b": [80.0]}, "least": {"a": [90.0], "b": [95.0]}}, 10.0, "title", "a tenth"
    ),
    "scatter": lambda: figures.scatter(VALUES, VALUES**2, "x", "y", "title", {"some": np.array([1, 2])}),
}


def look_at(picture: figures.Picture, folder: Path) -> None:
    """Everything that each picture must have."""
    picture.save(folder / "picture.png")
    assert min(Image.open(folder / "picture.png").size) > 150
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/html", "text/plain"}
    assert len(picture.alt.split()) >= 5
    assert picture.reading.strip()
    assert "Reading: " + picture.reading in bundle["text/plain"]


@pytest.mark.parametrize("name", PICTURES)
def test_picture_has_image_alternative_text_and_reading(name, tmp_path):
    look_at(PICTURES[name](), tmp_path)


def test_the_same_data_give_the_same_words():
    first, second = (PICTURES["agreement_by_epoch"]() for _ in range(2))
    assert first._repr_mimebundle_()["text/plain"] == second._repr_mimebundle_()["text/plain"]


def test_the_student_comes_to_agree_with_the_nearest_list():
    picture = PICTURES["agreement_by_epoch"]()
    assert "that of a the rank correlation goes from" in picture.reading
    assert picture.reading.endswith("to 1.00 in epoch 3.")
    assert picture.numbers.endswith(" to -1.00.")


def test_overlaps_are_said_beside_chance():
    picture = PICTURES["overlaps"]()
    assert picture.reading == (
        "Two sets share 45 to 80 % of most and 90 to 95 % of least, where two random sets would share 10 %."
    )
    assert picture.numbers == "most: a 45 %, b 80 %; least: a 90 %, b 95 %."


def test_reading_follows_the_data():
    better = figures.differences_to({"one": TABLE["one"], "two": {0: 81.0, 1: 82.1, 2: 82.9}}, "one", "")
    assert better.reading == "Two reached more than one."
    assert better.numbers == "Points, mean ± 95 % interval: two +1.00 ± 0.25 (n = 3)."
    noisy = figures.differences_to({"one": TABLE["one"], "two": {0: 79.0, 1: 83.0, 2: 82.0}}, "one", "")
    assert noisy.reading == "Two lies within the noise of one."
    assert noisy.numbers in noisy._repr_mimebundle_()["text/plain"]


def test_the_lowest_cost_is_compared_with_full_kd():
    families = {
        "KD": {1.0: {0: 80.0, 1: 81.0, 2: 82.0}, 0.6: {0: 77.0, 1: 78.1, 2: 78.9}},
        "KC-KD": {0.6: {0: 80.1, 1: 80.8, 2: 82.1}},
    }
    said = figures.accuracy_against_cost(families, "").reading
    assert said == (
        "At 60 % of the cost, KD with fewer epochs is 3.0 points behind and KC-KD cannot be told apart from full KD."
    )
    families["random subset"] = {0.5: {0: 77.0, 1: 78.1, 2: 78.9}}
    assert figures.accuracy_against_cost(families, "").reading == (
        f"At 50 % of the cost, random subset is 3.0 points behind; {said[0].lower()}{said[1:]}"
    )
    alone = figures.accuracy_against_cost({"KC-KD": families["KC-KD"]}, "").reading
    assert alone == "The cheapest runs cost 60 % (KC-KD) of KD."


def test_curves_say_what_is_finished_under_way_and_missing():
    picture = PICTURES["run_curves"]()
    assert picture.numbers.endswith("interval: Student 40.00 (n = 1); KD 51.00 ± 12.71 (n = 2).")
    assert picture.reading.startswith("KD ends highest, at 51.00.")
    assert picture.reading.endswith(
        "Under way: KC-KD seed 1, epoch 2 of 3, 45.00."
    )  # the second seed of KD is finished
    assert "Under way: teacher V seed 0, epoch 1 of 3, 30.00." in PICTURES["run_curves of a teacher"]().reading
    assert PICTURES["run_curves of nothing"]().reading == "Not run yet: KD, KC-KD."


def test_a_lead_within_another_interval_is_called_so():
    runs = {"KD": {0: [60.0], 1: [62.0]}, "KC-KD": {0: [61.5], 1: [61.7]}, "Student": {0: [50.0], 1: [50.1]}}
    said = "KC-KD ends highest, at 61.60; this mean lies within the interval of KD, too."
    assert figures.run_curves(runs, "title", epochs=1).reading == said


def test_classes_say_how_much_of_them_is_kept():
    kept = PICTURES["kept_by_class"]()
    assert kept.reading == "The class a goes first: only 50 % of it is still shown."
    assert kept.numbers == "Still complete: b."


def test_a_panel_per_row_holds_its_runs_and_the_ends_of_its_stages():
    panels = [axes for axes in PICTURES["run_curves"]().figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == ["Student", "KD", "KC-KD"]
    strong = [
        [line for line in axes.lines if line.get_linewidth() > 1 and len(line.get_xdata()) > 1] for axes in panels
    ]
    assert [[list(line.get_ydata()) for line in lines] for lines in strong] == [
        [[10, 40]], [[20, 50], [21, 52]], [[30, 45]]
    ]  # fmt: skip
    dotted = [[line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] for axes in panels]
    assert dotted == [[], [], [1.5, 2.5]]


def test_cost_is_said_beside_accuracy_and_names_do_not_cover_each_other():
    picture = PICTURES["cost_accuracy"]()
    said = "KC-KD has the highest mean, 84.17 %, at 85 % of a plain row's cost. Not run yet: CRD."
    assert picture.reading == said
    assert "KD 81.00 ± 2.48 (n = 3) at 100 %; KC-KD 84.17 ± 2.59 (n = 3) at 85 %" in picture.numbers
    assert picture.numbers.endswith("KD@short 79.00 (n = 1) at 85 %. Marks of one cost stand a little apart.")
    names = {text.get_text(): text for text in picture.figure.axes[0].texts}
    assert {"KD", "KC-KD", "KD@short"} < names.keys()
    renderer = FigureCanvasAgg(picture.figure).get_renderer()
    picture.figure.draw(renderer)
    boxes = [Text.get_window_extent(names[name], renderer) for name in ("KD", "KC-KD", "KD@short")]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_an_ablation_within_the_noise_is_called_that():
    picture = PICTURES["ablation_differences"]()
    assert picture.reading == "KD fell behind KC-KD; KC-KD@random and KD@short lie within the noise of KC-KD."
    assert "KC-KD minus each row." in picture.numbers
    assert "KD +1.00 ± 0.25 (n = 3); KC-KD@random +0.00 ± 6.35 (n = 2); KD@short +2.00 (n = 1)" in picture.numbers
    assert picture.numbers.endswith("Not run yet: KC-KD@released.")


def test_ours_stand_beside_the_published_only_where_they_may():
    picture = PICTURES["published_beside_ours"]()
    assert "1 of 4 cells were run. Ours minus published, in points: -1.00 for " in picture.reading
    said = [text.get_text() for axes in picture.figure.axes for text in axes.texts]
    assert said == ["no run yet"] * 3
    apart = PICTURES["published_beside_ours at another scale"]()
    assert apart.reading == "1 of 4 cells were run. It differs. Ours are drawn alone."
    drawn = [list(line.get_xdata()) for axes in apart.figure.axes for line in axes.lines]
    assert not any(52.0 in values or 53.0 in values for values in drawn)
    assert any(52.0 in list(line.get_xdata()) for line in picture.figure.axes[0].lines)


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_saved_whole_as_its_ending_says(ending, start, tmp_path):
    picture = PICTURES["cost_accuracy"]()
    picture.save(tmp_path / f"picture{ending}")
    assert (tmp_path / f"picture{ending}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match=r"the file's ending='\.jpg' is unknown.*Known: \.png, \.svg, \.pdf"):
        picture.save(tmp_path / "picture.jpg")


def test_table_is_html_for_any_theme_and_stable_text():
    table = figures.Table(["name", "number"], [["<a>", "1"], ["", "22"]], "A caption.", right=(1,))
    bundle = table._repr_mimebundle_()
    assert bundle["text/plain"] == "A caption.\nname  number\n<a>        1\n          22"
    page = bundle["text/html"]
    assert "<caption" in page
    assert page.count('scope="col"') == 2
    assert "&lt;a&gt;" in page
    assert not re.search(r"[^-]color:", page)
    with pytest.raises(ValueError, match="every row needs 2 texts"):
        figures.Table(["a", "b"], [["1"]], "")


def test_a_wide_table_scrolls_and_shows_what_is_empty():
    cell = figures.Stack(["1 <", "gain +2"], strong=(1,))
    table = figures.Table(["a", "b"], [["x", cell], ["y", figures.Stack(["–"], empty=True)]], "Said.", wide=True)
    bundle = table._repr_mimebundle_()
    assert bundle["text/plain"] == "Said.\na  b\nx  1 <; gain +2\ny  –"
    page = bundle["text/html"]
    assert page.startswith('<div style="overflow-x:auto"><table')
    assert page.count("position:sticky") == 3
    assert page.count("repeating-linear-gradient") == 1
    assert "1 &lt;<br>" in page
    assert "<b>gain +2</b>" in page
    assert not re.search(r"[^-]color:", page)


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(mpl.rcParams)
    PICTURES["agreement_by_epoch"]()
    assert dict(mpl.rcParams) == before


def _lab(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]) + 1e-9)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_roles_can_be_told_apart():
    """By colour far enough (CIE 1976 distance; 2.3 is just noticeable), by contrast on white, and by a second sign."""
    looks = list(ROLES.values())
    distances = [np.linalg.norm(_lab(a.colour) - _lab(b.colour)) for i, a in enumerate(looks) for b in looks[:i]]
    assert min(distances) > 30
    assert all(_lab(look.colour)[0] < 65 for look in looks)
    for group in (("teacher", "student"), ("kept", "mixed", "dropped")):
        assert len({ROLES[name].marker for name in group}) == len(group)


def test_colours_live_in_one_file():
    package = Path(figures.__file__).parent.parent
    for path in package.rglob("*.py"):
        if path.name != "style.py":
            assert re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text()) == [], path


def test_labelled_rows_are_the_images_and_labels_of_the_ids():
    picture = PICTURES["labelled_rows"]()
    captions = [axes.get_xlabel() for axes in picture.figure.axes if axes.axison]
    assert captions == ["rows", "columns", "both", "both", "columns"]
    shown = [axes.images[0].get_array() for axes in picture.figure.axes if axes.axison]
    assert np.array_equal(shown[3], tiny_dataset().train_images[5, 0])
