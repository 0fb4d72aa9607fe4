"""The published table stands as printed, with its footnotes beside it."""

import json
import re
from pathlib import Path

import pytest

from kcd_teach.benchmark import NOTES, PAIRS, PUBLISHED, ROWS, Prepared, Store, published
from kcd_teach.benchmark.published import STUDENT_BASELINES, cell_notes, mean_gain, row_notes
from kcd_teach.benchmark.runs import read_teacher
from kcd_teach.fingerprints import hash_of
from kcd_teach.models import create_model, load_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def test_eleven_pairs_and_fifteen_methods_beside_the_student():
    assert len(PAIRS) == 11
    assert [row.name for row in ROWS[1:]] == list(PUBLISHED)[2:]
    assert (len(ROWS[1:]), ROWS[0].name, list(PUBLISHED)[:2]) == (15, "Student", ["Teacher", "Student"])
    assert sum(len(cells) for cells in PUBLISHED.values()) == 17 * 11 - 1
    assert published("ReviewKD", "R50>V8") is None


@pytest.mark.parametrize(("row", "gain"), [("KC-KD", 0.595), ("KC-PKT", 0.881), ("KC-CRD", 0.245), ("KC-SSKD", 0.296)])
def test_mean_gains(row, gain):
    assert round(mean_gain(row), 3) == gain


def test_printed_deltas_are_differences_of_the_printed_rows_but_for_note_d():
    wrong = []
    for row in ("KC-KD", "KC-PKT", "KC-CRD", "KC-SSKD"):
        for pair, cell in PUBLISHED[row].items():
            if abs(cell.accuracy - published(row.removeprefix("KC-"), pair).accuracy - cell.delta) > 0.005:
                wrong.append((row, pair, cell.note))
    assert wrong == [("KC-SSKD", "V13>V8", "d")]


def test_footnotes_stand_beside_their_numbers():
    assert str(published("Student", "W40-2>W40-1")) == "73.26 (a)"
    assert STUDENT_BASELINES == {"W40-2>W40-1": 71.98}
    assert (row_notes("CRD"), row_notes("SSKD"), row_notes("KD")) == (("b",), ("c",), ())
    assert str(published("KC-CRD", "W40-2>SN1")) == "76.4"
    assert "".join(NOTES) == "abcdefghijk"


def test_the_published_condensed_rows_belong_to_the_code_behind_them():
    for row in ("KC-KD", "KC-PKT", "KC-CRD", "KC-SSKD"):
        for pair in PAIRS:
            assert published(f"{row}@released", pair.name) is published(row, pair.name) is not None
            assert published(f"{row}@random", pair.name) is None
    assert published("KC-FitNet@released", "V13>V8") is None


def test_weights_of_reviewkd_that_are_not_its_authors_are_noted():
    """Its authors' scripts have ResNets, WRNs and ShuffleNets as students; weights of other pairs are from elsewhere."""
    noted = {pair.name for pair in PAIRS if set(cell_notes("ReviewKD", pair.name)) & {"h", "i"}}
    assert noted == {pair.name for pair in PAIRS if pair.student in ("vgg8", "MobileNetV2")}
    assert [cell_notes("ReviewKD", pair.name) for pair in PAIRS if pair.name == "R50>MN2"] == [("i",)]


def test_students_and_teachers_that_pairs_share_have_one_number():
    for row, role in (("Teacher", "teacher"), ("Student", "student")):
        numbers = {}
        for pair in PAIRS:
            numbers.setdefault(getattr(pair, role), set()).add(published(row, pair.name).accuracy)
        assert all(len(values) == 1 for values in numbers.values())


def test_networks_exist_and_rates_are_the_benchmarks():
    assert all(create_model(name) for name in {pair.student for pair in PAIRS})
    low = {pair.student for pair in PAIRS if pair.learning_rate == 0.01}
    assert low == {"MobileNetV2", "ShuffleV1", "ShuffleV2"}
    assert {pair.learning_rate for pair in PAIRS} == {0.05, 0.01}


def test_the_full_runs_that_the_pages_speak_of_are_stored():
    store = Store(ROOT / "data" / "results" / "full")
    plan, records = Prepared.load(store), store.records()
    page = " ".join((ROOT / "docs" / "running.md").read_text(encoding="utf-8").split())
    (teacher,) = (read_teacher(path) for path in (ROOT / "data" / "teachers").glob("*.json"))
    assert teacher == plan.teachers["vgg13"]
    assert f"VGG-13 reached {100 * teacher.accuracy:.2f} %" in page
    assert teacher.published == 74.64
    last = {
        record["seed"]: 100 * record["test_accuracy"][-1] for record in records.values() if record["row"] == "Student"
    }
    assert f"VGG-8 alone {last[0]:.2f} % and {last[1]:.2f} % with two seeds (published 70.36 %)" in page
    assert all(len(record["test_accuracy"]) == 240 and record["device"] == "NVIDIA H200" for record in records.values())


def test_the_weights_of_the_full_teacher_are_those_of_its_record():
    (path,) = (ROOT / "data" / "teachers").glob("*.npz")
    (record,) = (ROOT / "data" / "teachers").glob("*.json")
    assert hash_of(load_checkpoint(create_model("vgg13"), path)) == read_teacher(record).weights


def test_steps_on_a_gpu_are_as_the_page_on_speed_says():
    lines = (ROOT / "data" / "results" / "gpu_steps.jsonl").read_text().splitlines()
    parts = {line["part"]: line for line in map(json.loads, lines) if "part" in line}
    page = " ".join((ROOT / "docs" / "speed.md").read_text(encoding="utf-8").split())
    for name, words in (("vgg8 labels", "(VGG-8 alone)"), ("V13>V8 KD", "(KD from VGG-13)")):
        graph, plain = parts[f"{name}, graph"], parts[f"{name}, plain"]
        assert f"{graph['ms']:.2f} instead of {plain['ms']:.2f} ms {words}" in page
        assert re.search(rf"{plain['launches']:.0f} (kernels )?{re.escape(words)}", page)
        assert plain["busy ms"] / plain["ms"] == pytest.approx(1 / 6, abs=0.02)  # "a sixth of the time"
    compared = {name: line["plain and graph"] for name, line in parts.items() if "graph against plain" in name}
    assert compared == dict.fromkeys(
        (f"{run}, graph against plain" for run in ("vgg13 labels", "vgg8 labels", "V13>V8 KC-KD")), 0
    )
