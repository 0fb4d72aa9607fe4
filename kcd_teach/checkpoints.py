"""How does a run survive being stopped? Interrupts between batches, and files that are whole or absent."""

import contextlib
import pickle
import re
import signal
import threading
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kcd_teach._files import written_whole


class UnusableCheckpoint(ValueError):  # noqa: N818
    """A file that can be read, and is not the checkpoint of this run."""


@contextlib.contextmanager
def stop_between_batches(asked: threading.Event) -> Iterator[None]:
    """Turn an interrupt (Ctrl-C, or the square button of a notebook) into a flag that is read between batches.

    Args:
        asked: set when an interrupt comes. A second interrupt strikes at once. Outside the main thread, where signals
            cannot be caught, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: types.FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to one file, whole or not at all."""
    try:
        with written_whole(path) as file:
            torch.save(state, file)
    except OSError as error:
        raise OSError(f"checkpoint {path} cannot be written ({error}); choose another file") from error


def read_state(path: Path, advice: str = "delete it to start again") -> dict[str, Any]:
    """Read what :func:`write_state` wrote; raises ValueError for a damaged file or one that could run code."""
    state = read_torch_file(path, advice)
    if not isinstance(state, dict):
        raise UnusableCheckpoint(f"{path} is not a checkpoint: it holds a {type(state).__name__}")
    return state


def read_torch_file(path: Path, advice: str, legacy: bool = False) -> Any:
    """Read a file of ``torch.save``, onto the CPU, without running anything that it may hold.

    Args:
        path: the file.
        advice: what to do about a damaged one, for the message.
        legacy: also read the format from before PyTorch 1.6, which has no checksums.

    Raises:
        ValueError: the file is damaged, or holds more than tensors and plain values.
        OSError: it is missing or cannot be read.
    """
    try:
        if not legacy or _begins_as_zip(path):
            with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it writes
                damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked_for = re.search(r"GLOBAL (\S+)", str(error))
        rest = f": it asks for {asked_for[1]}, which could run code; {advice}" if asked_for else f"; {advice}"
        raise ValueError(f"{path} is damaged or holds more than tensors and plain values; refused{rest}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a checkpoint ({reason}); {advice}") from error


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
