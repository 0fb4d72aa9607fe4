"""The table shows what was run beside what was published, and nothing else."""

import csv
import dataclasses
import io

import pytest

from kcd_teach.benchmark import Prepared, Store, Teacher, make_plan, make_table
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
    assert text[5] == "| ReviewKD | 75.09 / – | – / – |"
    assert table.runs == 4
    assert "4 of 24 runs" in table.markdown()


def test_means_intervals_and_differences(tmp_path):
    table = make_table(*filled(tmp_path))
    plain, condensed = table.cells["KD"]["W40-2>W40-1"], table.cells["KC-KD"]["W40-2>W40-1"]
    assert plain.ours == interval([70.0, 72.0])
    assert plain.difference == pytest.approx(71 - 73.54)
    assert (condensed.gain.mean, condensed.gain.n) == (pytest.approx(1.5), 2)
    assert (plain.presentations, condensed.presentations) == (12_000_000, 10_200_000)
    assert "73.84 / 72.50 ± 19.06 (n = 2); Δ -1.34; gain +1.50 ± 6.35 (n = 2)" in table.markdown()


def test_the_styled_table_says_the_same(tmp_path):
    shown = make_table(*filled(tmp_path)).styled()
    text = str(shown).splitlines()
    assert text[1].split() == ["method", "W40-2>W40-1", "R50>V8"]
    assert text[2].startswith("Teacher   75.60; published 75.61")
    assert "–; published 73.26 (a)" in text[3]
    assert text[4].startswith("KD        71.00 ± 12.71 (n = 2); published 73.54, Δ -2.54")
    assert "72.50 ± 19.06 (n = 2); published 73.84, Δ -1.34; gain +1.50 ± 6.35 (n = 2)" in text[6]
    assert "4 of 24 runs. (a) The README" in shown.caption
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


def test_runs_of_several_places_are_named(tmp_path):
    prepared, store = filled(tmp_path)
    table = make_table(prepared, store)
    assert (table.places, table.mingled) == (("cpu (x86_64), torch 2.0",), "")
    plain = prepared.unit(prepared.plan.pairs[1], prepared.plan.rows[1], 0)
    old = {"device": "a GPU", "versions": {"torch": "1.13"}}
    made = record(plain, 0.7)
    del made["places"]
    store.append({**made, **old})
    table = make_table(prepared, store)
    said = "Computed in 2 kinds of places: a GPU, torch 1.13; cpu (x86_64), torch 2.0."
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


def test_all_notes_stand_below(tmp_path):
    text = make_table(*filled(tmp_path)).markdown()
    assert all(f"\n({letter}) " in text for letter in "abcd")


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
