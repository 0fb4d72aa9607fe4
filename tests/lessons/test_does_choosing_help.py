"""Lesson 06: its numbers against slow, obvious ones, and its pictures on made-up studies."""

import itertools
import json

import numpy as np
import pytest
import torch

from kcd_teach.benchmark.runs import unpack_ids
from kcd_teach.datasets import find_data_file
from kcd_teach.figures import Picture
from kcd_teach.lessons import does_choosing_help as lesson
from kcd_teach.statistics import interval


class MadeUp(lesson.Study):
    """A study with accuracies and sets of its own, and no folder."""

    def __init__(self, accuracies=None, kept=None, class_accuracies=None, num_samples=10):
        self.accuracies, self.kept, self.class_accuracies = accuracies or {}, kept or {}, class_accuracies or {}
        self.prepared = type("P", (), {"num_samples": num_samples})()


def test_effects_are_those_of_a_two_by_two():
    rng = np.random.default_rng(0)
    base, choice, blend, extra = rng.normal(80, 1, 6), 1.5, -0.5, 0.25
    rows = {
        "random 30%": base, "no mixing 30%": base + choice, "random, mixed 30%": base + blend,
        "KC-KD 30%": base + choice + blend + extra,
    }  # fmt: skip
    study = MadeUp({row: dict(enumerate(values)) for row, values in rows.items()})
    effects = study.effects(30)
    assert np.mean(effects["choosing"]) == pytest.approx(choice + extra / 2)
    assert np.mean(effects["blending"]) == pytest.approx(blend + extra / 2)
    assert np.mean(effects["together, beyond their sum"]) == pytest.approx(extra)
    assert all(len(values) == 6 for values in effects.values())


def test_effects_take_only_seeds_that_all_four_rows_have():
    rows = {name: {0: 80.0, 1: 81.0, 2: 82.0} for name in ("KC-KD 70%", "no mixing 70%", "random 70%")}
    study = MadeUp({**rows, "random, mixed 70%": {1: 80.0, 5: 79.0}})
    assert len(study.effects(70)["choosing"]) == 1


def test_rows_with_few_runs_make_no_comparison():
    many = {seed: 80.0 + seed for seed in range(lesson.FEWEST)}
    study = MadeUp({"a": many, "b": {seed: value - 0.5 for seed, value in many.items()}, "c": {0: 4.0, 1: 5.0}})
    assert study.gaps([("a", "b"), ("a", "c"), ("a", "d")]) == {"a − b": [0.5] * lesson.FEWEST}


def test_kept_shares_count_the_last_set_of_every_seed():
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 2])
    sets = {0: [torch.arange(10), torch.tensor([0, 1, 4, 9])], 3: [torch.arange(10), torch.tensor([4, 5, 6, 7])]}
    shares = MadeUp(kept={"row": sets}).kept_share("row", groups, 3)
    assert shares.tolist() == pytest.approx(np.array([[0.5, 0.2, 1.0], [0.0, 0.8, 0.0]]))


def test_stability_compares_every_pair_of_seeds_and_every_stage():
    stages = [torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1])]
    other = [torch.tensor([0, 1, 2, 5]), torch.tensor([5, 1])]
    study = MadeUp(kept={"row": {0: stages, 1: other}})
    again = lesson.stability(study, "row", MadeUp(kept={"row": {1: [torch.tensor([1, 5])]}}))
    assert again["two seeds"] == ([50.0], 20.0)
    assert again["one stage and the next"] == ([100.0, 100.0], 40.0)
    assert again["two students, one seed"] == ([100.0], 20.0)


def test_all_threes_of_the_seeds_are_looked_at():
    values = [1.0, 1.1, 0.9, -3.0]
    shares = lesson.three_of(values)
    clear = [not interval(three).covers_zero for three in itertools.combinations(values, 3)]
    assert shares == {"ahead": 25.0, "behind": 0.0, "cannot tell": 75.0}
    assert sum(clear) == 1


def test_a_copy_is_half_a_data_set_away():
    assert lesson._kept_with_copy(torch.tensor([0, 5, 1, 7]), 5) == 0.5
    assert lesson._kept_with_copy(torch.tensor([0, 1, 2]), 5) == 0.0


def test_a_correction_turns_a_lucky_difference_grey():
    gaps = {"one": [1.0, 1.4, 0.6, 1.0, 0.5], "two": [0.2, -0.3, 0.4, -0.2, 0.1]}
    assert lesson.found(gaps, comparisons=1) == {"one": True, "two": False}
    assert lesson.found(gaps, comparisons=40) == {"one": False, "two": False}


GAPS = {"a − b": [1.0, 1.2, 0.9, 1.4], "c − b": [0.3, -0.4, 0.2, 0.0]}
RNG = np.random.default_rng(1)
PICTURES = {
    "side by side": lambda: lesson.side_by_side({"small": GAPS, "large": {"c − b": GAPS["c − b"]}}, "t", comparisons=3),
    "one panel": lambda: lesson.side_by_side({"small": GAPS}, "t", comparisons=1, pool=False),
    "as seeds come": lambda: lesson.as_seeds_come([1.0, -0.5, 0.7, 0.2, 0.9], "t"),
    "who pays": lambda: lesson.who_pays(["x", "y", "z"], RNG.random((4, 3)), RNG.normal(size=(4, 3)), "t", against="b"),
    "kept again": lambda: lesson.kept_again({"two seeds": ([60.0, 62.0], 30.0)}, "t"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_say_what_they_show(name):
    picture = PICTURES[name]()
    assert isinstance(picture, Picture)
    assert picture.png.startswith(b"\x89PNG")
    assert len(picture.alt.split()) >= 8
    assert picture.reading.endswith(".")


def test_the_reading_says_what_stands_out_and_the_numbers_give_its_size():
    picture = PICTURES["side by side"]()
    assert picture.reading == (
        "With small, 1 of 2 differences stands out after the correction, upwards; with large, none of the 1 differences "
        "stands out after the correction."
    )
    assert "a − b +1.12 ± 0.35 (n = 4)" in picture.numbers


STUDIES = (
    "choice-2k", "choice-10k", "choice-500", "choice-length", "choice-convnet", "ranking-2k", "ranking-10k",
    "wrong-labels", "rare-class", "duplicates",
)  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_no_seed_was_left_out(name):
    """Studies grow seed by seed: what a row has are its first seeds, so that none is missing for its result."""
    study = lesson.Study(name)
    wanted = {row.name: study.prepared.plan.seeds_of(row) for row in study.prepared.plan.rows}
    for row, runs in study.accuracies.items():
        assert sorted(runs) == list(wanted[row][: len(runs)])
    units = {unit.key for unit in study.prepared.units()}
    assert study.store.records().keys() <= units


@pytest.mark.parametrize("name", STUDIES)
def test_stored_records_agree_with_themselves(name):
    """What a record says of kept samples and classes fits the counts and the accuracy beside it."""
    study = lesson.Study(name)
    tests = torch.bincount(study.prepared.plan.scale.images().test_labels).double()
    for record in study.store.records().values():
        by_class = torch.tensor(record["class_accuracy"], dtype=torch.float64)
        assert float((by_class * tests).sum() / tests.sum()) == pytest.approx(record["test_accuracy"][-1], abs=1e-5)
        if "kept" in record:
            sizes = [len(unpack_ids(text, study.prepared.num_samples)) for text in record["kept"]]
            assert sizes == sorted(sizes, reverse=True)
            assert set(record["active"]) <= {study.prepared.num_samples, *sizes}


def test_readme_of_the_studies_names_every_study_and_its_date():
    page = find_data_file("results/choice/README.md")
    text = page.read_text(encoding="utf-8")
    assert "2026-11-26" in text
    for plan in page.parent.parent.glob("*/plan.json"):
        content = json.loads(plan.read_text())
        if plan.parent.name.startswith(("choice-", "ranking-")):
            assert f"`{plan.parent.name}`" in text
            assert f"`{content['code']}`" in text
            assert all("/" not in file or file.startswith("../choice/") for file in content["files"])


def test_what_notebook_06_says_of_the_price_holds():
    def worst(study, row):
        found = interval(lesson.Study(study).gap(row, "KD"))
        return found.mean - found.half_width

    assert -0.5 < worst("choice-2k", "KC-KD 30%") < worst("choice-10k", "KC-KD 30%")
    assert -1.2 < worst("choice-convnet", "KC-KD 30%") < -0.8
    assert -1.2 < worst("slice-choice", "KC-KD 70%") < -0.8


def test_what_notebook_06_says_of_fixed_lists_holds():
    study = lesson.Study("ranking-10k")
    for fixed in ("another student", "teacher's entropy"):
        ahead = interval(study.gap("entropy 70%", f"{fixed}, fixed 70%"))
        assert ahead.mean < -ahead.half_width
    measures = [row.removesuffix(" 30%") for row in study.accuracies if row.endswith(" 30%") and row != "random 30%"]
    leads = [{name: study.gap(f"{name} {ratio}%", f"random {ratio}%") for name in measures} for ratio in (70, 30)]
    clear = [sum(lesson.found(panel, comparisons=14).values()) for panel in leads]
    assert len(measures) == 7
    assert clear == [0, 2], "the text says that ten seeds hardly tell them from chance"
    small = lesson.Study("ranking-2k")
    room = [
        interval(small.gap(f"entropy {ratio}%", f"{name} {ratio}%")) for ratio in (70, 30) for name in measures[1:-1]
    ]
    assert 0.8 < max(abs(gap.mean) + gap.half_width for gap in room) < 1, "the text says nearly a point"


def test_what_a_repetition_changed_is_what_the_page_says():
    page = " ".join(find_data_file("results/choice/README.md").read_text(encoding="utf-8").split())
    first, second = (lesson.Study(name).store.records() for name in ("choice-2k", "ranking-2k"))
    twice = sorted(first.keys() & second.keys())
    equal = sum(first[key]["weights"] == second[key]["weights"] for key in twice)
    accuracy = np.array([[100 * runs[key]["test_accuracy"][-1] for key in twice] for runs in (first, second)])
    gaps = accuracy[0] - accuracy[1]
    rows = {first[key]["row"] for key in twice}
    seeds = [accuracy[0, [first[key]["row"] == row for key in twice]].std(ddof=1) for row in rows]
    assert (
        f"{len(twice)} runs of `ranking-2k` repeat runs of `choice-2k`, seed by seed: {equal} ended with the same weights, and "
        f"the accuracies differ by {abs(gaps.mean()):.1f} points on average, with a standard deviation of {gaps.std(ddof=1):.1f} "
        f"points and by at most {abs(gaps).max():.1f}. The seeds of one row have a standard deviation of {min(seeds):.1f} to "
        f"{max(seeds):.1f} points."
    ) in page


def test_what_other_pages_say_about_the_verdict_holds():
    """Notebooks 00, 02, 05 and 08 say in words what these studies found; bring them up to date if this fails."""
    small, large, ranking = (lesson.Study(name) for name in ("choice-2k", "choice-10k", "ranking-2k"))
    few, many = (np.mean(study.gap("KC-KD 30%", "random 30%")) for study in (small, large))
    assert many < 1 < 2 * many < few
    by_class = small.class_gaps("KC-KD 30%", "random 30%").mean(axis=0)
    assert by_class.max() / len(by_class) > few / 2
    assert all(interval(small.effects(ratio)["blending"]).covers_zero for ratio in (70, 30))
    assert interval(ranking.gap("entropy 30%", "another student, fixed 30%")).covers_zero
