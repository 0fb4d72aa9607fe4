"""The table shows what was run beside what was published, and nothing else."""

import csv
import dataclasses
import io

import pytest

from kcd_teach.benchmark import NOTES, PAIRS, ROWS, Prepared, Store, Teacher, find_scale, make_plan, make_table
from kcd_teach.benchmark.plotting import picture
from kcd_teach.benchmark.settings import CONDENSED_ROWS
from kcd_teach.statistics import interval

PLAIN, CONDENSED = {0: 0.70, 1: 0.72}, {0: 0.71, 1: 0.74}


def record(unit, *accuracies):
    """A made-up result with these accuracies after its epochs."""
    losses = [1 / (epoch + 1) for epoch in range(len(accuracies))]
    return {"key": unit.key, "config": unit.config, "test_accuracy": accuracies, "train_loss": losses,
            "presentations": unit.presentations, "places": ["cpu (x86_64), torch 2.0"]}  # fmt: skip


def filled(folder, scale="full", seeds=3):
    """Made-up results of two seeds of three, for KD and KC-KD on one of two pairs."""
    plan = make_plan(["W40-2>W40-1", "R50>V8"], ["Student", "KD", "ReviewKD", "KC-KD"], seeds, scale)
    teachers = {name: Teacher(name, "00", 0.756, "a test") for name in plan.teachers}
    prepared, store = Prepared(plan, "11", 50_000, teachers), Store(folder)
    for row, accuracies in ((plan.rows[1], PLAIN), (plan.rows[3], CONDENSED)):
        for seed, accuracy in accuracies.items():
            unit = prepared.unit(plan.pairs[0], row, seed)
            store.append(record(unit, 0.1, accuracy))
    return prepared, store


def test_cells_without_runs_stay_visibly_empty(tmp_path):
    table = make_table(*filled(tmp_path))
    text = table.markdown().splitlines()
    assert text[2] == "| Teacher | 75.61 / 75.60 | 79.34 / 75.60 |"
    assert text[3] == "| Student | 73.26 (a) / – | 70.36 / – |"
    assert text[5] == "| ReviewKD (g) | 75.09 / – | – (h) / – |"
    assert table.runs == 4
    assert "4 of 24 runs" in table.markdown()


def test_means_intervals_and_differences(tmp_path):
    table = make_table(*filled(tmp_path))
    plain, condensed = table.cells["KD"]["W40-2>W40-1"], table.cells["KC-KD"]["W40-2>W40-1"]
    assert plain.ours == interval([70.0, 72.0])
    assert plain.difference == pytest.approx(71 - 73.54)
    assert (condensed.gain.mean, condensed.gain.n) == (pytest.approx(1.5), 2)
    assert (plain.presentations, condensed.presentations) == (12_000_000, 10_200_000)
    assert "73.84 / 72.50 ± 19.06 (n = 2); unlike; gain +1.50 ± 6.35 (n = 2)" in table.markdown()


def test_the_styled_table_says_the_same(tmp_path):
    shown = make_table(*filled(tmp_path)).styled()
    text = str(shown).splitlines()
    assert text[1].split() == ["method", "W40-2>W40-1", "R50>V8"]
    assert text[2].startswith("Teacher       75.60; published 75.61")
    assert "–; published 73.26 (a)" in text[3]
    assert text[4].startswith("KD            71.00 ± 12.71 (n = 2); published 73.54, Δ -2.54")
    assert "KC-KD (e)" in text[6]
    assert "72.50 ± 19.06 (n = 2); published 73.84, unlike; gain +1.50 ± 6.35 (n = 2)" in text[6]
    assert "4 of 24 runs. Unlike: the published number was made in another way than ours" in shown.caption
    assert "(a) The README" in shown.caption
    assert "(b)" not in shown.caption
    page = shown._repr_mimebundle_()["text/html"]
    assert page.count("repeating-linear-gradient") == 6
    assert "<b>" not in page


def test_a_gain_beyond_the_noise_is_bold(tmp_path):
    prepared, store = filled(tmp_path)
    plain, condensed = (prepared.unit(prepared.plan.pairs[1], prepared.plan.rows[row], 0) for row in (1, 3))
    for seed, gain in enumerate((0.010, 0.011, 0.012)):
        store.append(record(dataclasses.replace(plain, seed=seed), 0.7))
        store.append(record(dataclasses.replace(condensed, seed=seed), 0.7 + gain))
    page = make_table(prepared, store).styled()._repr_mimebundle_()["text/html"]
    assert page.count("<b>") == 1
    assert "<b>gain +1.10 ± 0.25</b>" in page


def test_runs_of_several_environments_are_named(tmp_path):
    prepared, store = filled(tmp_path)
    table = make_table(prepared, store)
    assert (table.environments, table.mingled) == (("cpu (x86_64), torch 2.0",), "")
    plain = prepared.unit(prepared.plan.pairs[1], prepared.plan.rows[1], 0)
    old = {"device": "a GPU", "versions": {"torch": "1.13"}}
    made = record(plain, 0.7)
    del made["places"]
    store.append({**made, **old})
    table = make_table(prepared, store)
    said = "Computed in 2 environments: a GPU, torch 1.13; cpu (x86_64), torch 2.0."
    assert said in table.markdown()
    assert said in table.styled().caption


def test_ours_beside_published(tmp_path):
    beside = make_table(*filled(tmp_path)).beside()
    assert beside["W40-2>W40-1"]["Student"] == (71.98, None)
    assert beside["W40-2>W40-1"]["KD"] == (73.54, interval([70.0, 72.0]))
    assert beside["R50>V8"]["ReviewKD"] == (None, None)


def test_note_a_corrects_the_baseline(tmp_path):
    assert make_table(*filled(tmp_path)).cells["Student"]["W40-2>W40-1"].baseline == 71.98


def test_another_recipe_is_not_compared_with_the_published_numbers(tmp_path):
    table = make_table(*filled(tmp_path, scale="small"))
    assert table.cells["KD"]["W40-2>W40-1"].difference is None
    assert "cannot be compared with the published ones" in table.markdown()


def test_notes_that_are_referred_to_stand_below(tmp_path):
    table = make_table(*filled(tmp_path))
    assert table.letters == ("a", "e", "g", "h")
    for text in (table.markdown(), table.styled().caption):
        for letter in "abcdefghijk":
            assert (f"({letter}) {NOTES[letter]}" in text) == (letter in table.letters), letter


EVERY_ROW = [row.name for row in ROWS] + [f"{row.name}@released" for row in CONDENSED_ROWS]


def full_table(folder, rows, pairs=None, **changes):
    """The table of full scale with a made-up run of 80 % in every cell."""
    plan = make_plan(pairs, rows, 1, find_scale("full").but(**changes))
    teachers = {name: Teacher(name, "00", 0.756, "trained here for 240 epochs, seed 0") for name in plan.teachers}
    prepared, store = Prepared(plan, "11", 50_000, teachers), Store(folder)
    for unit in prepared.units():
        store.append(record(unit, 0.8))
    return prepared, store, make_table(prepared, store)


def test_a_difference_is_shown_like_with_like_in_every_row_of_the_table(tmp_path):
    """Each published number came from some code: ours is compared with it where it does the same, and nowhere else."""
    *_, table = full_table(tmp_path, EVERY_ROW)
    shown = {
        row: {pair for pair, cell in cells.items() if cell.difference is not None} for row, cells in table.cells.items()
    }
    everywhere = {pair.name for pair in PAIRS}
    like = ["Student", "KD", "FitNet", "AT", "SP", "VID", "RKD", "PKT", "CRD", "SSKD"]
    like += [f"{row.name}@released" for row in CONDENSED_ROWS]
    assert {row: pairs for row, pairs in shown.items() if pairs} == dict.fromkeys(like, everywhere)
    unlike = ("WCoRD", "ReviewKD", "KC-KD", "KC-PKT", "KC-CRD", "KC-SSKD")
    assert table.unlike() == {
        pair: tuple(row for row in unlike if (row, pair) != ("ReviewKD", "R50>V8")) for pair in everywhere
    }


@pytest.mark.parametrize(
    ("row", "letters"),
    [
        ("KD", ""), ("CRD", "b"), ("SSKD", "c"), ("WCoRD", "f"), ("ReviewKD", "g"), ("KC-KD", "e"), ("KC-PKT", "e, j"),
        ("KC-CRD", "e, k"), ("KC-SSKD", "e, k"), ("KC-KD@released", ""), ("KC-PKT@released", "j"),
        ("KC-CRD@released", "k"), ("KC-SSKD@released", "k"), ("KC-WCoRD", "f"), ("KC-ReviewKD", ""),
        ("KC-WCoRD@released", "f"), ("KC-KD@random", ""), ("KC-KD@no-mixing", ""), ("KD@short", ""),
    ],
)  # fmt: skip
def test_a_row_names_the_notes_on_all_its_numbers(tmp_path, row, letters):
    *_, table = full_table(tmp_path, [row], ["V13>V8"])
    named = row + (f" ({letters})" if letters else "")
    assert f"\n| {named} | " in table.markdown()
    assert table.styled().rows[1][0] == named


@pytest.mark.parametrize(
    ("row", "marked"),
    [
        ("Student", {"W40-2>W40-1": "73.26 (a)"}),
        ("KC-SSKD@released", {"V13>V8": "74.93 (d)"}),
        ("KC-SSKD", {"V13>V8": "74.93 (d)"}),
        ("ReviewKD", {"V13>V8": "74.84 (h)", "V13>MN2": "70.37 (h)", "R50>MN2": "69.89 (i)", "R50>V8": "– (h)"}),
        ("KC-ReviewKD", {"V13>V8": "– (h)", "V13>MN2": "– (h)", "R50>MN2": "– (i)", "R50>V8": "– (h)"}),
    ],
)
def test_a_note_on_single_numbers_stands_beside_them(tmp_path, row, marked):
    *_, table = full_table(tmp_path, [row])
    assert {pair: cell.printed for pair, cell in table.cells[row].items() if "(" in cell.printed} == marked
    assert all(f"| {printed} / 80.00" in table.markdown() for printed in marked.values())


def test_a_row_like_and_one_unlike_stand_side_by_side(tmp_path):
    prepared, store, table = full_table(tmp_path, ["KD", "KC-KD", "KC-KD@released"], ["R56>R20"])
    lines = table.markdown().splitlines()
    assert lines[3] == "| KD | 70.66 / 80.00 (n = 1); Δ +9.34 |"
    assert lines[4] == "| KC-KD (e) | 70.75 / 80.00 (n = 1); unlike; gain +0.00 (n = 1) |"
    assert lines[5] == "| KC-KD@released | 70.75 / 80.00 (n = 1); Δ +9.25; gain +0.00 (n = 1) |"
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    told = [(row["published"], row["like_with_like"], row["difference"], row["note"]) for row in rows]
    assert told == [("70.66", "True", "9.34", ""), ("70.75", "False", "", "e"), ("70.75", "True", "9.25", "")]
    stacks = [row[1].lines[1] for row in table.styled().rows[1:]]
    assert stacks == ["published 70.66, Δ +9.34", "published 70.75, unlike", "published 70.75, Δ +9.25"]
    shown = picture(prepared, store, "table")
    assert "Ours minus published, in points: +9.30 on average over 2 cells" in shown.reading
    assert shown.reading.endswith("Left out, as their published numbers were made in another way: KC-KD.")
    markers = [line.get_marker() for line in shown.figure.axes[0].lines if list(line.get_xdata()) == [70.75]]
    assert markers == ["x", "s"]
    joined = [line for line in shown.figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.2]
    assert [list(line.get_ydata()) for line in joined] == [[0, 0], [2, 2]]


def test_what_else_sets_ours_apart_is_said(tmp_path):
    *_, table = full_table(tmp_path / "plain", ["KD"], ["R56>R20", "V13>V8"])
    (said,) = table.circumstances
    assert said == (
        "The published students had the teachers that RepDistiller published; ours had resnet56, vgg13 trained here for "
        "240 epochs, seed 0."
    )
    *_, table = full_table(tmp_path / "other", ["KD"], ["R56>R20"], precision="bfloat16", store="disk")
    assert [text.split(";")[0] for text in table.circumstances[1:]] == [
        "Our networks were run in bfloat16", "Our teachers' predictions were cached in half precision",
    ]  # fmt: skip
    for said in table.circumstances:
        assert said in table.markdown()
        assert said in table.styled().caption


def test_constants_of_our_own_are_named_where_nothing_was_published(tmp_path):
    plan = make_plan(["resnet20>resnet8"], ["CRD", "WCoRD", "KC-KD"], 1, "small")
    table = make_table(Prepared(plan, "11", 100, {}), Store(tmp_path))
    assert table.letters == ("f",)
    assert table.rows()[1]["note"] == "f"


def test_csv_has_a_line_per_cell(tmp_path):
    rows = list(csv.DictReader(io.StringIO(make_table(*filled(tmp_path)).csv())))
    assert len(rows) == 8
    assert (rows[0]["ours"], rows[0]["n"], rows[0]["note"]) == ("", "0", "a")
    assert (rows[2]["ours"], rows[2]["n"], rows[2]["published"]) == ("71.0", "2", "73.54")


def test_a_plan_survives_its_file(tmp_path):
    prepared, store = filled(tmp_path)
    prepared.save(store)
    again = Prepared.load(store)
    assert [unit.key for unit in again.units()] == [unit.key for unit in prepared.units()]
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan.json is damaged .*; start the plan again, finished runs are kept"):
        Prepared.load(store)
