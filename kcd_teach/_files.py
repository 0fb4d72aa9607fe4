"""Files that are written whole or not at all, and named when they are damaged, and text that any terminal can show."""

import codecs
import contextlib
import errno
import glob
import hashlib
import json
import os
import pickle
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
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
def reading(path: Path, kind: str, advice: str) -> Iterator[None]:
    """Name the file that is read inside, whatever its damage does to the code that reads it.

    Args:
        path: the file.
        kind: what it should be, as ``"a checkpoint"``; empty where that is known.
        advice: what to do about a damaged one.

    Raises:
        ValueError: it is damaged, or something else than an ordinary file, from which one could read for ever.
        OSError: it is missing, or the system cannot read it.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not an ordinary file; {advice}")
    try:
        yield
    except Exception as error:  # a damaged file can fail in any way
        if isinstance(error, ValueError | OSError) and str(path) in str(error):  # it is named already
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise _about(path, error) from error
        raise damage(path, kind, advice, error) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that is written inside, when there is no room for it on the disk, or its folder is gone."""
    try:
        yield
    except OSError as error:
        if str(path) in str(error) or error.errno is None:
            raise
        raise _about(path, error) from error


def _about(path: Path, error: OSError) -> OSError:
    return OSError(error.errno, error.strerror, str(path))


def damage(path: Path | str, kind: str, advice: str, error: Exception) -> ValueError:
    """The error that names a damaged file, or a place in one, by what happened when it was read."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{path} is damaged{kind and f' or not {kind}'} ({reason}); {advice}")


def sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Plain values as JSON text, whose last entry is the checksum of the text before it.

    >>> print(sealed({"accuracy": 0.5}))
    {"accuracy": 0.5, "checksum": "e6079531e4042ce9"}
    """
    text = json.dumps(content, indent=indent, allow_nan=False)
    end = text.rindex("}") if indent is None else text.rindex("\n}")
    gap = " " if indent is None else "\n" + " " * indent
    return f'{text[:end]},{gap}"checksum": "{_checksum(text[:end])}"{text[end:]}'


def unsealed(text: str) -> dict[str, Any]:
    """What :func:`sealed` made a text of; one without a checksum, older or written by hand, is taken as it is.

    Raises:
        ValueError: a text that was altered, or does not hold a JSON object.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    if "checksum" in content:
        sealed_text = text[: text.rindex('"checksum"')].rstrip().removesuffix(",")
        if _checksum(sealed_text) != content.pop("checksum"):
            raise ValueError("its content does not have the checksum that it was written with")
    return content


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def part_of(path: Path, ending: str = "part") -> Path:
    """The name under which this process writes a file before it is complete; leftovers, its own too, are deleted."""
    sweep(path.parent, glob.escape(path.name), ending)
    part = path.with_name(f"{path.name}.{_here()}-{os.getpid()}.{ending}")
    part.unlink(missing_ok=True)
    return part


def sweep(folder: Path, names: str = "*", ending: str = "part") -> None:
    """Delete what processes of this machine that were killed left half-written of the files of a folder."""
    for part in folder.glob(f"{names}.{_here()}-*.{ending}"):
        if not _is_running(part.name.rpartition("-")[2].partition(".")[0]):
            part.unlink(missing_ok=True)


def _here() -> str:
    """The name of this machine, for a file's name."""
    return re.sub(r"\W", "_", platform.node())


def _is_running(process: str) -> bool:
    """Is there a process of this number? On Windows, where to ask could end it, the answer is yes."""
    if os.name == "nt":
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name ``path`` only once it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        with writing(path):
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
    except (OSError, RuntimeError) as error:
        # Where there is no room, torch fails once more at closing its archive, and says so instead.
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        raise OSError(f"checkpoint {path} cannot be written ({reason}); choose another file") from error


AGAIN = "delete it to start again"


def read_state(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    """Read what :func:`write_state` wrote; raises ValueError for a damaged file or one that could run code."""
    with reading(path, "a checkpoint", advice):
        if not ZIP.startswith(start := _first_bytes(path)) and any(start):
            advice = "it was not written by this package; choose another file"
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
    with reading(path, "a checkpoint", advice):
        try:
            if not legacy or _first_bytes(path) == ZIP:
                with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it writes
                    damaged = archive.testzip()
                if damaged:
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            asked_for = re.search(r"GLOBAL (\S+)", str(error))
            rest = f": it asks for {asked_for[1]}, which could run code; {advice}" if asked_for else f"; {advice}"
            raise ValueError(f"{path} is damaged or holds more than tensors and plain values; refused{rest}") from error


ZIP = b"PK\x03\x04"
"""How a file of ``torch.save`` begins."""


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(ZIP))


def printable(text: str) -> str:
    """A text on one line, without what a terminal would obey; names can come from folders of others."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def in_markdown(text: str) -> str:
    r"""The same for a cell or a line of Markdown, where it neither ends a cell nor becomes HTML.

    >>> in_markdown("a|b <img src=x>\x1b[2J")
    'a\\|b &lt;img src=x>?[2J'
    """
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


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
