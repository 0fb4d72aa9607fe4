"""Files that are written whole or not at all, files of torch that run nothing, and text that any terminal can show."""

import codecs
import contextlib
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

SIGNS = {
    "±": "+-",
    "Δ": "diff",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "₂": "2",
    "²": "2",
    "≥": ">=",
    "≤": "<=",
    "…": "...",
}
"""Replacements for signs that the output cannot show; any other one becomes a question mark."""


class UnusableCheckpoint(ValueError):  # noqa: N818
    """A file that can be read, and is not the checkpoint of this run."""


def obstacle(folder: Path) -> str:
    """The reason why a folder, which need not exist yet, cannot be written to, in words; empty if it can."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110  never raises
    if not existing.is_dir():
        return f"{existing} is not a folder"
    return "" if os.access(existing, os.R_OK | os.W_OK | os.X_OK) else f"{existing} cannot be written to"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name ``path`` only once it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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


def speak_anywhere() -> None:
    """Print a replacement for each sign that the encoding of the output lacks, as cp1252 of older Windows does."""
    codecs.register_error("kcd_teach", _instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="kcd_teach")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SIGNS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end
