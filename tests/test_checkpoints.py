import os
import pickle
import signal
import threading
import zipfile
from pathlib import Path

import pytest
import torch

from kcd_teach._files import written_whole
from kcd_teach.checkpoints import read_state, stop_between_batches, write_state
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
    with pytest.raises(ValueError, match=r"x\.pt is damaged or not a checkpoint .*; delete it to start again"):
        read_state(tmp_path / "x.pt")


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
