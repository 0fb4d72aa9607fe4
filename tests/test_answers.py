"""What is stored of a teacher is the teacher's, survives kills and company, and never belongs to another teacher."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kcd_teach import knowledge as module
from kcd_teach.datasets import load_dataset
from kcd_teach.fingerprints import PROBES
from kcd_teach.knowledge import DiskCache, Knowledge, MemoryCache, checksums, fingerprint, size_of
from kcd_teach.views import num_views
from tests.test_knowledge import IDS, IMAGES, NONE, VIEWS, Spy, asked
from tests.tiny import tiny_dataset, tiny_run

ROWS = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).half()


def disk(folder: Path, teacher=None, dataset=None, precision="float32") -> DiskCache:
    return DiskCache(teacher or Spy(), dataset or tiny_dataset(), precision, folder)


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path):
    return MemoryCache(tiny_dataset()) if request.param == "memory" else disk(tmp_path)


def test_knows_nothing_at_first(store):
    _, known = store.look_up(IDS, VIEWS)
    assert known.tolist() == [False] * 3


def test_gives_back_what_was_written_by_id_and_view(store):
    store.write(IDS, VIEWS, ROWS)
    order = torch.tensor([2, 0, 1])
    logits, known = store.look_up(IDS[order], VIEWS[order])
    assert known.all()
    assert torch.equal(logits, ROWS[order])
    _, known = store.look_up(IDS, VIEWS.roll(1))
    assert not known.any()


def test_what_is_looked_up_can_be_changed_without_changing_the_store(store):
    store.write(IDS, VIEWS, ROWS)
    store.look_up(IDS, VIEWS)[0].zero_()
    assert torch.equal(store.look_up(IDS, VIEWS)[0], ROWS)


def test_answers_of_zero_are_known_once_written(store):
    store.write(IDS, VIEWS, torch.zeros(3, 3).half())
    assert store.look_up(IDS, VIEWS)[1].all()


def test_another_process_finds_the_answers(tmp_path):
    code = f"""
from pathlib import Path
from tests.test_answers import *
disk(Path({str(tmp_path)!r})).write(IDS, VIEWS, ROWS)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, timeout=600)
    logits, known = disk(tmp_path).look_up(IDS, VIEWS)
    assert known.all()
    assert torch.equal(logits, ROWS)


@pytest.mark.parametrize("kept", ["answer", "checksum"])
def test_half_a_write_counts_as_unknown(tmp_path, kept):
    store = disk(tmp_path)
    store.write(IDS, VIEWS, ROWS)
    (store._sums if kept == "answer" else store._logits)[IDS[0], VIEWS[0]] = 0
    assert store.look_up(IDS, VIEWS)[1].tolist() == [False, True, True]


def test_one_flipped_bit_is_noticed(tmp_path):
    rows = ROWS.numpy()
    for row in range(3):
        for column in range(3):
            for bit in range(16):
                torn = rows.copy()
                torn.view(np.uint16)[row, column] ^= 1 << bit
                assert checksums(torn)[row] != checksums(rows)[row]
    assert checksums(rows[:, ::-1].copy()).tolist() != checksums(rows).tolist()


def test_two_stores_at_once_share_one_file(tmp_path):
    ours, theirs = disk(tmp_path), disk(tmp_path)
    ours.write(IDS[:1], VIEWS[:1], ROWS[:1])
    theirs.write(IDS[1:], VIEWS[1:], ROWS[1:])
    for store in (ours, theirs):
        logits, known = store.look_up(IDS, VIEWS)
        assert known.all()
        assert torch.equal(logits, ROWS)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert list(tmp_path.glob("*.part")) == []


def test_a_store_made_by_another_process_in_the_meantime_is_used(tmp_path, monkeypatch):
    first = disk(tmp_path)
    first.write(IDS, VIEWS, ROWS)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: False if path.suffix == ".npy" else exists(path))
    assert disk(tmp_path).look_up(IDS, VIEWS)[1].all()


@pytest.mark.parametrize("change", ["weights", "images", "mean", "padding", "precision"])
def test_a_stale_store_is_impossible(tmp_path, change):
    disk(tmp_path).write(IDS, VIEWS, ROWS)
    teacher, dataset, precision = Spy(), tiny_dataset(), "float32"
    if change == "weights":
        torch.nn.init.constant_(teacher.weight, 1 + 1e-6)
    elif change == "images":
        dataset.train_images[3, 0, 2, 2] ^= 1
    elif change == "precision":
        precision = "bfloat16"
    else:
        dataset = dataclasses.replace(dataset, **{"mean": (0.21,)} if change == "mean" else {"padding": 2})
    assert fingerprint(teacher, dataset, precision) != fingerprint(Spy(), tiny_dataset(), "float32")
    assert not disk(tmp_path, teacher, dataset, precision).look_up(IDS, VIEWS)[1].any()


@pytest.mark.parametrize(
    ("where", "name", "found"),
    [
        (torch, "get_num_threads", lambda: 7),
        (torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024"),
        (torch, "__version__", "99"),
    ],
    ids=["threads", "instructions", "torch"],
)
def test_answers_whose_last_bits_may_differ_are_kept_apart(tmp_path, monkeypatch, where, name, found):
    here = disk(tmp_path)
    here.write(IDS, VIEWS, ROWS)
    monkeypatch.setattr(where, name, found)
    assert not disk(tmp_path).look_up(IDS, VIEWS)[1].any()
    monkeypatch.undo()
    assert disk(tmp_path).path == here.path


def test_labels_and_tests_do_not_matter(tmp_path):
    dataset = dataclasses.replace(tiny_dataset(), train_labels=tiny_dataset().train_labels.flip(0))
    assert fingerprint(Spy(), dataset, "float32") == fingerprint(Spy(), tiny_dataset(), "float32")


def test_size_is_announced_and_refused_where_there_is_no_room(tmp_path, capsys, monkeypatch):
    disk(tmp_path / "first")
    assert f"keeping the teacher's answers in {tmp_path / 'first'}" in capsys.readouterr().out
    disk(tmp_path / "first")
    assert capsys.readouterr().out == ""  # only before it is made
    monkeypatch.setattr(module, "RESERVE", 1e18)
    with pytest.raises(OSError, match=r"would take 0\.00 GB in .*second, where .* GB are free; choose another folder"):
        disk(tmp_path / "second")
    assert list((tmp_path / "second").iterdir()) == []


def test_size_of_the_bundled_images():
    dataset = load_dataset("fashion-mnist-mini")
    assert size_of(dataset) == 2 * 10_000 * num_views(2) * 10 == 10_000_000


def _flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


@pytest.mark.parametrize("which", ["answers", "checksums"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"", lambda content: bytes(len(content)), lambda content: content[:-1], lambda content: b"hello",
        lambda content: content.replace(b"False", b"True "), lambda content: content.replace(b"48,", b"96,"),
        *(lambda content, at=at: _flipped(content, *at) for at in ((0, 3), (7, 0), (8, 6), (12, 1), (61, 2))),
    ],
)  # fmt: skip
def test_a_damaged_file_is_begun_again(tmp_path, which, harm):
    store = disk(tmp_path)
    store.write(IDS, VIEWS, ROWS)
    path = store.path if which == "answers" else store.path.with_suffix(".sums.npy")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.warns(UserWarning, match=rf"answers are lost: {path} is damaged .*; it is begun again"):
        again = disk(tmp_path)
    assert not again.look_up(IDS, VIEWS)[1].any()
    again.write(IDS, VIEWS, ROWS)
    assert torch.equal(disk(tmp_path).look_up(IDS, VIEWS)[0], ROWS)
    assert {path.name for path in tmp_path.iterdir()} == {store.path.name, store.path.stem + ".sums.npy"}


def test_a_warm_store_asks_the_teacher_about_mixtures_only(tmp_path):
    def run():
        teacher = Spy()
        knowledge = Knowledge(teacher, tiny_dataset(), "disk", folder=tmp_path, precision="float32")
        list(tiny_run("paper", knowledge))
        return len({image.numpy().tobytes() for images in teacher.asked for image in images})

    cold, warm = run(), run()
    # Eight answers are asked again to see that they are this teacher's; 19 are mixtures, in each of the last two epochs.
    assert warm == PROBES + 2 * 19 < cold


def test_asked_twice_gives_the_same_bits(tmp_path):
    ask = Knowledge(Spy(), tiny_dataset(), "disk", folder=tmp_path, precision="float32")
    assert torch.equal(asked(ask, IDS, VIEWS, IMAGES, NONE), asked(ask, IDS, VIEWS, IMAGES, NONE))
