"""The numbers behind the figures are those of the records, checked by hand."""

import pytest

from kcd_teach.benchmark import Prepared, Store, Teacher, make_plan, run_plan
from kcd_teach.benchmark.curves import (
    ablations,
    accuracies,
    costs,
    epoch_curves,
    meanings,
    stage_ends,
    states,
    under_way,
)
from kcd_teach.benchmark.plotting import PICTURES, picture
from tests.benchmark.test_table import record
from tests.benchmark.tiny import PAIR as TINY_PAIR
from tests.benchmark.tiny import tiny_plan

PAIR = "V13>V8"
ROWS = ["Student", "KD", "KD@short", "KC-KD", "KC-KD@random", "KC-CRD"]
LAST = {
    "KD": {0: 0.50, 1: 0.52, 2: 0.51},
    "KD@short": {0: 0.49, 1: 0.50},
    "KC-KD": {0: 0.51, 1: 0.54, 2: 0.50},
    "KC-CRD": {0: 0.55},
}


@pytest.fixture
def folder(tmp_path):
    plan = make_plan([PAIR, "R56>R20"], ROWS, 3, "slice")
    prepared = Prepared(plan, "11", 5_000, {name: Teacher(name, "00", 0.7, "a test") for name in plan.teachers})
    store = Store(tmp_path)
    for row in plan.rows:
        for seed, accuracy in LAST.get(row.name, {}).items():
            store.append(record(prepared.unit(plan.pairs[0], row, seed), 0.25, accuracy))
    return prepared, store


def test_curves_are_in_percent_by_row_and_seed(folder):
    curves = epoch_curves(*folder, PAIR)
    assert list(curves) == ROWS
    assert curves["KD"] == {0: [25.0, 50.0], 1: [25.0, 52.0], 2: [25.0, 51.0]}
    assert curves["Student"] == curves["KC-KD@random"] == {}
    assert epoch_curves(*folder, PAIR, "train_loss")["KC-CRD"] == {0: [1.0, 0.5]}
    assert not any(epoch_curves(*folder, "R56>R20").values())


def test_a_pair_is_found_by_either_name_and_another_is_refused(folder):
    assert accuracies(*folder, "vgg13>vgg8")["KC-KD"] == {0: 51.0, 1: 54.0, 2: 50.0}
    with pytest.raises(ValueError, match=r"pair='V13>MN2' is unknown.* Known: V13>V8, R56>R20"):
        accuracies(*folder, "V13>MN2")
    with pytest.raises(ValueError, match="quantity='loss' is unknown"):
        epoch_curves(*folder, PAIR, "loss")


def test_ablations_are_paired_by_seed_within_a_method(folder):
    found = ablations(*folder, PAIR)
    assert list(found) == ["KD", "KD@short", "KC-KD@random"]
    assert found["KD"] == pytest.approx({0: 1.0, 1: 2.0, 2: -1.0})
    assert found["KD@short"] == pytest.approx({0: 2.0, 1: 4.0})
    assert found["KC-KD@random"] == {}
    with pytest.raises(ValueError, match="reference='KC-PKT' is unknown"):
        ablations(*folder, PAIR, "KC-PKT")


def test_costs_and_stages_follow_from_the_plan(folder):
    # 24 epochs in 6 stages of 4; on average 85 % of the samples are shown; the short row has 20 epochs.
    assert costs(folder[0]) == pytest.approx(
        {"Student": 1, "KD": 1, "KD@short": 20 / 24, "KC-KD": 0.85, "KC-KD@random": 0.85, "KC-CRD": 0.85}
    )
    ends = [4, 8, 12, 16, 20]
    assert stage_ends(folder[0]) == {"KC-KD": ends, "KC-KD@random": ends, "KC-CRD": ends}
    assert meanings(folder[0])["KD@short"] == "all samples, fewer epochs"


@pytest.mark.parametrize("what", PICTURES)
def test_every_picture_can_be_drawn_of_any_pair(folder, what):
    assert "no" in picture(*folder, what, "R56>R20").reading.casefold()
    assert picture(*folder, what).reading == picture(*folder, what, None if what == "table" else PAIR).reading


def test_runs_under_way_are_seen_until_the_store_has_them(tmp_path):
    seen, states_seen = [], []

    def watch(title, run):
        store = Store(tmp_path)
        prepared, stored = Prepared.load(store), store.records().values()
        curves = under_way(prepared, store, TINY_PAIR)
        seen.append((title, len(run.reports), curves, [record["row"] for record in stored]))
        states_seen.append({row: cells[TINY_PAIR][0] for row, cells in states(prepared, store).items()})
        if curves:
            assert "Under way: " in picture(prepared, store, "curves").reading
        assert under_way(prepared, store, "V13>V8").keys() <= {"teacher mini_resnet8x3"}

    run_plan(tiny_plan(("Student", "KD")), tmp_path, watch=watch, quiet=True, announce=lambda text: None)
    titles = dict.fromkeys(title for title, *_ in seen)
    assert list(titles) == ["teacher mini_resnet8x3", f"{TINY_PAIR} Student seed 0", f"{TINY_PAIR} KD seed 0"]
    for title, epochs, curves, stored in seen:
        row = title if title.startswith("teacher") else title.split()[1]
        assert row not in stored
        assert {name: {seed: len(line) for seed, line in runs.items()} for name, runs in curves.items()} == (
            {row: {0: epochs}} if epochs else {}
        )
    final = epoch_curves(Prepared.load(Store(tmp_path)), Store(tmp_path), TINY_PAIR)
    assert seen[-1][2]["KD"][0] == pytest.approx(final["KD"][0], abs=1e-4)
    assert states_seen[0] == {"Student": "missing", "KD": "missing"}
    assert states_seen[-1] == {"Student": "done", "KD": "running"}
    assert list((tmp_path / "progress").iterdir()) == []


def test_what_a_killed_process_wrote_too_much_is_written_anew(tmp_path):
    store = Store(tmp_path)
    first, second = (
        {"title": "a", "epochs": 3, "epoch": epoch, "seconds": 1.0, "test_accuracy": 0.5, "train_loss": 1.0}
        for epoch in (1, 2)
    )
    store.log("a", [first, second], anew=True)
    store.log("a", [first], anew=True)
    store.log("a", [second])
    whole = (tmp_path / "progress" / "a.jsonl").read_bytes()
    for name, content in {
        "torn": whole[:-9],
        "altered": whole.replace(b'"epoch": 2', b'"epoch": 7'),
        "no_text": whole.replace(b'"epoch": 2', b'"epoch": \xff'),
        "foreign": whole.splitlines(keepends=True)[0] + b'{"epoch": 2}\n',
    }.items():
        (tmp_path / "progress" / f"{name}.jsonl").write_bytes(content)
    (tmp_path / "progress" / "none.jsonl").write_text('{"epo')
    found = store.under_way()
    assert found.pop("a") == [first, second]
    assert found == {key: [first] for key in ("torn", "altered", "no_text", "foreign")}
    assert not store.is_claimed("a")
    with store.claim("a"):
        assert store.is_claimed("a")
