"""What a folder holds is whole, or named as damaged."""

import json

import pytest

from kcd_teach.benchmark import Store
from kcd_teach.benchmark.store import FOLDERS, key_of
from kcd_teach.checkpoints import write_state

CONFIG = {"seed": 0}
KEY = key_of(CONFIG)
RECORD = {"key": KEY, "config": CONFIG, "test_accuracy": [0.5], "train_loss": [1.0]}


@pytest.mark.parametrize(
    "line",
    [
        b"{half a line", b"7", b"null", b'{"key": "\xff"}', b"",
        *(json.dumps({name: value for name, value in RECORD.items() if name != lost}).encode() for lost in RECORD),
        *(json.dumps({**RECORD, **change}).encode() for change in (
            {"config": {}}, {"key": "forged"}, {"test_accuracy": []}, {"test_accuracy": [None]}, {"train_loss": ["low"]},
            {"train_loss": 1.0}, {"config": {"seed": 1}},
        )),
    ],
)  # fmt: skip
def test_a_damaged_or_forged_line_of_results_is_named(tmp_path, line):
    store = Store(tmp_path)
    store.append(RECORD)
    assert store.records() == {KEY: RECORD}
    with store.results.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(
        ValueError, match=r"line 2 of .*results.jsonl is damaged \(.*\); delete that line to repeat its"
    ):
        store.records()


def test_what_killed_processes_left_half_written_is_deleted_by_whoever_writes_next(tmp_path):
    store = Store(tmp_path)
    store.make_folders()
    for name in ("results.jsonl", "plan.json", "checkpoints/a.pt", "checkpoints/a.previous.pt", "checkpoints/b.pt"):
        (tmp_path / f"{name}.123.part").write_bytes(b"half")
    store.append(RECORD)
    store.restore("a")
    assert sorted(path.name for path in tmp_path.rglob("*.part")) == ["b.pt.123.part", "plan.json.123.part"]
    assert list(store.records()) == [KEY]


@pytest.mark.parametrize(
    ("damaged", "ending"),
    [
        (("a.pt",), "it goes on from the previous one"),
        (("a.pt", "a.previous.pt"), "it starts again"),
        (("a.previous.pt",), None),
    ],
)
def test_warnings_say_what_becomes_of_the_run(tmp_path, damaged, ending, recwarn):
    store = Store(tmp_path)
    for name in ("a.pt", "a.previous.pt"):
        write_state(tmp_path / "checkpoints" / name, {"epoch": 1})
    for name in damaged:
        (tmp_path / "checkpoints" / name).write_bytes(b"")
    store.restore("a")
    said = [str(warning.message) for warning in recwarn]
    assert len(said) == (0 if ending is None else len(damaged))
    assert all(text.endswith(str(ending)) for text in said)
    assert store.checkpoint("a").exists() == (ending != "it starts again")


def test_reading_changes_nothing_in_a_folder(tmp_path):
    store = Store(tmp_path / "results")
    assert store.records() == {}
    assert not store.folder.exists()
    with store.claim("key") as mine:
        assert mine
        assert {path.name for path in store.folder.iterdir()} == set(FOLDERS)
