"""What a folder holds is whole, or named as damaged."""

import errno
import json
import os

import pytest
import torch

from kcd_teach.benchmark import Store
from kcd_teach.benchmark.store import FOLDERS, key_of
from kcd_teach.checkpoints import read_state, write_state

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
            {"train_loss": 1.0}, {"config": {"seed": 1}}, {"test_accuracy": [7.5]}, {"test_accuracy": [-3]},
            {"test_accuracy": [True]}, {"test_accuracy": [float("nan")]}, {"train_loss": [float("inf")]},
            {"class_accuracy": [1.01]}, {"presentations": -1}, {"checksum": "0123456789abcdef"},
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


def test_a_flipped_bit_of_a_record_is_never_shown(tmp_path):
    store = Store(tmp_path)
    store.append(RECORD)
    whole, messages = store.results.read_bytes(), []
    for position in range(len(whole) - 1):
        for bit in range(8):
            store.results.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            try:
                (record,) = store.records().values()
                assert {name: record[name] for name in RECORD} == RECORD
            except ValueError as error:
                messages.append(str(error))
    assert all(f"of {store.results} is damaged" in message for message in messages)


def test_a_line_that_was_not_written_to_its_end_is_passed_over_and_taken_away(tmp_path):
    store, other = Store(tmp_path), {**RECORD, "config": {"seed": 1}, "key": key_of({"seed": 1})}
    store.append(RECORD)
    first = store.results.read_bytes()
    store.append(other)
    whole = store.results.read_bytes()
    for end in range(len(first) + 1, len(whole) - 1, 7):
        store.results.write_bytes(whole[:end])
        with pytest.warns(UserWarning, match=r"line 2 of .*results\.jsonl was not written to its end"):
            assert store.records() == {KEY: RECORD}
        store.append(other)
        assert store.results.read_bytes() == whole
    store.results.write_bytes(whole[:-1])  # only its end is missing
    assert len(store.records()) == 2
    store.append(RECORD)
    assert store.results.read_bytes() == whole + first


def test_a_full_disk_leaves_the_file_of_results_as_it_was(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.append(RECORD)
    before = store.results.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.append(RECORD)
    assert store.results.read_bytes() == before


def test_what_was_left_between_storing_and_discarding_is_deleted_later(tmp_path):
    store = Store(tmp_path)
    store.append(RECORD)
    for key in (KEY, "other"):
        with store.claim(key):
            write_state(store.checkpoint(key), {"epoch": 1})
            store.keep_previous(key)
    store.tidy(store.records())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["other.previous.pt", "other.pt"]
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["other.lock", "results.lock"]


def test_a_checkpoint_that_fails_after_a_run_went_on_costs_neither_of_those_before(tmp_path, monkeypatch):
    """Whoever goes on keeps what is kept already: two names of one file, and neither may be written into."""
    store = Store(tmp_path)
    write_state(store.checkpoint("a"), {"epoch": 1})
    for _ in range(2):
        store.keep_previous("a")
    files = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in files] == ["a.previous.pt", "a.pt"]

    def full(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"checkpoint .*a\.pt cannot be written"):
        write_state(store.checkpoint("a"), {"epoch": 2})
    assert [read_state(path) for path in files] == [{"epoch": 1}] * 2


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


def test_what_a_reader_does_to_a_record_is_not_what_the_next_one_reads(tmp_path):
    store = Store(tmp_path)
    store.append(RECORD)
    record = store.records()[KEY]
    record["test_accuracy"].append(0.9)
    record["config"]["seed"] = 7
    assert {name: store.records()[KEY][name] for name in RECORD} == RECORD


def test_reading_changes_nothing_in_a_folder(tmp_path):
    store = Store(tmp_path / "results")
    assert store.records() == {}
    assert not store.folder.exists()
    with store.claim("key") as mine:
        assert mine
        assert {path.name for path in store.folder.iterdir()} == set(FOLDERS)
