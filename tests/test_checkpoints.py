import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch

from kcd_teach._files import sealed, unsealed, written_whole
from kcd_teach.checkpoints import read_state, stop_between_batches, write_state
from kcd_teach.datasets import read_npz
from kcd_teach.models import load_checkpoint
from tests.tiny import same

STATE = {
    "weights": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "ids": torch.tensor([3, 1]),
    "plain": [1, 2.5, "text", None, True, (1, 2)],
    "nested": {"empty": torch.empty(0, dtype=torch.int64), 3: {"x": 1e-300}},
}


class Evil:
    """Unpickling it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_what_is_written_is_read(tmp_path):
    write_state(tmp_path / "state.pt", STATE)
    assert same(read_state(tmp_path / "state.pt"), STATE)


def test_an_old_file_survives_a_failure_while_the_new_one_is_written(tmp_path):
    write_state(tmp_path / "state.pt", STATE)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(Exception, match="pickle"):
        write_state(tmp_path / "state.pt", {"weights": torch.zeros(100_000), "not plain": lambda: None})
    assert (tmp_path / "state.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_the_name_is_taken_only_when_the_file_is_complete(tmp_path):
    path = tmp_path / "some" / "file"
    with written_whole(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 1, 10, 0.3, 0.9, -1])
def test_truncated_files_are_refused(tmp_path, keep):
    path = tmp_path / "state.pt"
    write_state(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"state.pt is damaged or not a checkpoint .*; delete it to start again"):
        read_state(path)


def test_a_flipped_bit_in_the_content_is_never_taken_for_good(tmp_path):
    path = tmp_path / "state.pt"
    write_state(path, STATE)
    with zipfile.ZipFile(path) as archive:
        content = range(0, archive.start_dir, 5)
    whole, messages = path.read_bytes(), []
    for position in content:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert same(read_state(path), STATE), f"bit of byte {position} of {len(whole)}"  # it was mere padding
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > len(content) / 3
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04N."], ids=["empty", "text", "pickled None"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    advice = "choose another file" if content else "delete it to start again"  # not a file that was never ours
    with pytest.raises(ValueError, match=rf"x\.pt is damaged or not a checkpoint .*; .*{advice}"):
        read_state(tmp_path / "x.pt")


def test_each_of_the_last_bits_is_refused_by_name_or_harmless(tmp_path):
    path = tmp_path / "state.pt"
    write_state(path, STATE)
    whole, messages = path.read_bytes(), []
    for position in range(len(whole) - 98, len(whole)):  # among them what makes zipfile raise a nameless OSError
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            try:
                assert same(read_state(path), STATE)
            except ValueError as error:
                messages.append(str(error))
    assert all(str(path) in message for message in messages)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path):
    path = tmp_path / "pipe.pt"
    os.mkfifo(path)
    for read in (read_state, read_npz, lambda path: load_checkpoint(torch.nn.Linear(1, 1), path)):
        with pytest.raises(ValueError, match=r"pipe\.pt is not an ordinary file; "):
            read(path)


def test_what_a_killed_writer_left_is_deleted_by_the_next_one(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from kcd_teach._files import written_whole
with written_whole(Path({str(tmp_path / "x")!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parent.parent)
        assert len(list(tmp_path.iterdir())) == 1
    with written_whole(tmp_path / "x") as file, written_whole(tmp_path / "[x]"):
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"x", "[x]"}


@pytest.mark.parametrize("indent", [None, 1])
def test_a_seal_holds_every_bit(indent):
    content = {"name": "a", "accuracy": [0.5, 0.75], "more": {"checksum": 1}}
    text = sealed(content, indent)
    assert unsealed(text) == unsealed(json.dumps(content)) == content
    for position in range(len(text)):
        for bit in range(7):
            altered = text[:position] + chr(ord(text[position]) ^ 1 << bit) + text[position + 1 :]
            try:
                assert {name: unsealed(altered)[name] for name in content} == content
            except ValueError:
                continue


def test_a_lone_tensor_is_not_a_checkpoint(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt is not a checkpoint: it holds a Tensor"):
        read_state(tmp_path / "x.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
        read_state(tmp_path / "missing.pt")


def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path):
    torch.save({"config": Evil(tmp_path / "mark")}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt is damaged or holds more than tensors and plain values; refused"):
        read_state(tmp_path / "x.pt")
    assert not (tmp_path / "mark").exists()
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "mark").exists()  # it would have run


def test_code_in_a_bare_pickle_is_refused_and_does_not_run(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"config": Evil(tmp_path / "mark")}))
    with pytest.raises(ValueError, match=r"x\.pt is damaged or not a checkpoint"):
        read_state(tmp_path / "x.pt")
    assert not (tmp_path / "mark").exists()
    pickle.loads((tmp_path / "x.pt").read_bytes())
    assert (tmp_path / "mark").exists()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "x.pt"
    with pytest.raises(OSError, match=f"checkpoint {path} cannot be written .*; choose another file"):
        write_state(path, STATE)


def test_first_interrupt_is_a_flag_and_the_second_strikes():
    asked = threading.Event()
    with stop_between_batches(asked):
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert asked.is_set()


def test_handler_is_restored_whatever_happens():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_between_batches(threading.Event()):
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_changed():
    seen = []

    def work() -> None:
        asked = threading.Event()
        with stop_between_batches(asked):
            seen.extend([signal.getsignal(signal.SIGINT), asked.is_set()])

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]
