"""The folder of results: one file of finished runs, and for each unfinished one a checkpoint and the one before it."""

import contextlib
import hashlib
import io
import json
import marshal
import math
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kcd_teach._checks import check_at_least
from kcd_teach._files import damage, obstacle, part_of, reading, sealed, sweep, unsealed, writing, written_whole
from kcd_teach.checkpoints import read_state

Record = dict[str, Any]

SERIES = ("test_accuracy", "train_loss")
"""What a record holds of every epoch, a list of numbers."""

RANGES = {
    "test_accuracy": (0, 1),
    "class_accuracy": (0, 1),
    "train_loss": (-math.inf, math.inf),
    "active": (0, math.inf),
}
"""The lists of numbers in a record, and between what they must be; a class without test images has none (None)."""

EPOCH = {"title", "epochs", "epoch", "seconds", *SERIES}
"""What is read of a line of progress."""

FOLDERS = ("checkpoints", "students", "teachers", "locks", "progress")
"""What a store is divided into."""

PATIENCE = 60.0
"""Seconds to wait for another process that is writing a record."""
MOST_LINES = 20_000
"""Lines of results that a process remembers as read, so that it reads each of them once."""


class Store:
    """A folder that any number of processes may work on at the same time.

    ``results.jsonl`` holds a line per finished run; ``students/`` and ``teachers/`` trained weights; ``checkpoints/``
    what is unfinished, and ``progress/`` a line for each of its epochs; ``locks/`` who is at work. A lock ends with its
    process, however that ends.

    Reading changes nothing in it, so that results can be read where nothing can be written.

    Args:
        folder: made, if it is missing, when something is written to it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def make_folders(self) -> None:
        """Make what is missing of the folder; raises OSError if it cannot be written to."""
        if hindered := self.obstacle():
            raise OSError(f"folder={str(self.folder)!r} cannot be used: {hindered}; choose another folder")
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def obstacle(self) -> str:
        """Why nothing can be written here, in words; nothing if it can."""
        return next(filter(None, map(obstacle, (self.folder, *(self.folder / name for name in FOLDERS)))), "")

    @property
    def results(self) -> Path:
        """The file of finished runs."""
        return self.folder / "results.jsonl"

    def records(self, key: str = "") -> dict[str, Record]:
        """All finished runs by key, or the one of a key alone, for which the others are not read.

        Raises:
            ValueError: a line that is not a record of the run it names. Only a last one that a killed process left half
                written is passed over, with a warning.
        """
        if not os.path.lexists(self.results):  # what a link does not lead to is missed by name
            return {}
        with reading(self.results, "a file of results", "choose another folder"):
            content = self.results.read_bytes()
        records, lines = {}, content.splitlines()
        for number, line in enumerate(lines, start=1):
            if key.encode() not in line:
                continue
            try:
                record: Record = marshal.loads(_record_in(line))
            except Exception as error:
                place = f"line {number} of {self.results}"
                if number < len(lines) or content.endswith(b"\n"):
                    raise damage(place, "", "delete that line to repeat its run", error) from error
                warnings.warn(f"{place} was not written to its end; its run is not counted, and repeated", stacklevel=2)
            else:
                records[record["key"]] = record
        return records

    def append(self, record: Record) -> None:
        """Add a finished run; the file on the disk then holds the line whole, or is as it was.

        The line is written behind the others. What a killed process left of one is taken away first.

        Raises:
            OSError: no room on the disk; or another process has been writing for a minute.
        """
        line = (sealed(record) + "\n").encode()
        with self.alone(self.results), writing(self.results), self.results.open("ab+", buffering=0) as file:
            end = _end_last_line(file)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise

    def students(self) -> dict[str, Path]:
        """The weights of finished runs by key; without those that were run before weights were kept, or deleted since."""
        named = {
            key: self.folder / record["weights_file"]
            for key, record in self.records().items()
            if "weights_file" in record
        }
        return {key: path for key, path in named.items() if path.is_file()}

    @contextlib.contextmanager
    def alone(self, path: Path) -> Iterator[None]:
        """Keep other processes from writing a file, once what killed ones left half-written of it is deleted.

        Raises:
            OSError: another process has been writing for a minute.
        """
        self.make_folders()
        with FileLock(self.folder / "locks" / "results.lock", timeout=PATIENCE):  # one for all, so that one is left
            _sweep(path.parent, path.name)
            yield

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Yield True to the one process that may work on a run, False to all others."""
        self.make_folders()
        lock = FileLock(self._lock(key), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock(self, key: str) -> Path:
        return self.folder / "locks" / f"{key}.lock"

    def is_claimed(self, key: str) -> bool:
        """True while some process works on a run; where locks cannot be tried, False."""
        if not self._lock(key).exists():
            return False
        try:
            with FileLock(self._lock(key), timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def log(self, key: str, lines: Iterable[Record], anew: bool = False) -> None:
        """Write a line for each epoch of a run at work, for whoever wants to watch it; ``anew`` in the place of all."""
        path = self.folder / "progress" / f"{key}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if anew else "a", encoding="utf-8") as file:
            file.writelines(sealed(line) + "\n" for line in lines)

    def under_way(self) -> dict[str, list[Record]]:
        """Epochs of unfinished runs by key, up to the first that cannot be read: the last one may be half written."""
        found: dict[str, list[Record]] = {}
        for path in sorted((self.folder / "progress").glob("*.jsonl")):
            with contextlib.suppress(ValueError, OSError):
                for line in path.read_bytes().splitlines():
                    epoch = unsealed(line.decode())
                    if not epoch.keys() >= EPOCH:
                        break
                    found.setdefault(path.stem, []).append(epoch)
        return found

    def checkpoint(self, key: str) -> Path:
        """The file in which an unfinished run is saved."""
        return self.folder / "checkpoints" / f"{key}.pt"

    def keep_previous(self, key: str) -> None:
        """Keep today's checkpoint under a second name, before the next one takes its place."""
        current = self.checkpoint(key)
        part = part_of(current)
        try:
            os.link(current, part)  # no copy: the next checkpoint is a new file
        except OSError:  # a file system without links
            shutil.copy2(current, part)
        part.replace(_previous(current))
        part.unlink(missing_ok=True)  # a name of what has the other name already is not taken away by replacing it

    def restore(self, key: str) -> None:
        """See that the checkpoint of a run is readable, falling back to the previous one, or to none, with a warning.

        What killed processes left half-written of it is deleted; for the process that has claimed the run.
        """
        current, damage, what_now = self.checkpoint(key), [], "it starts again"
        _sweep(current.parent, key)
        for path in (current, _previous(current)):
            if not path.exists():
                continue
            try:
                read_state(path)
            except ValueError as error:
                damage.append(str(error))
                path.unlink()
            else:
                path.replace(current)
                what_now = "it goes on from the previous one"
                break
        for reason in damage:
            warnings.warn(f"a checkpoint of run {key} is lost: {reason}; {what_now}", stacklevel=2)

    def reject(self, key: str, reason: str) -> None:
        """Delete a checkpoint that can be read and not be used, with a warning; what is left is the previous one."""
        warnings.warn(f"a checkpoint of run {key} is lost: {reason}", stacklevel=2)
        self.checkpoint(key).unlink()

    def discard(self, key: str) -> None:
        """Delete the checkpoints of a run that is stored, what killed processes left half-written of them, and its lock.

        Whoever claims the run from now on, and be it two at once, finds it stored.
        """
        current = self.checkpoint(key)
        _sweep(current.parent, key)
        for path in (current, _previous(current), self.folder / "progress" / f"{key}.jsonl"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where a lock that is held cannot be deleted
            self._lock(key).unlink()

    def tidy(self, stored: Iterable[str]) -> None:
        """Delete what processes left behind that were killed after they had stored these runs, or beside a run."""
        left = {
            path.name.partition(".")[0]
            for name in ("checkpoints", "locks", "progress")
            for path in (self.folder / name).iterdir()
        }
        for key in left.intersection(stored):
            self.discard(key)
        for name in ("", *FOLDERS):
            sweep(self.folder / name)
            sweep(self.folder / name, ending="mark")


def key_of(config: dict[str, Any]) -> str:
    """Name of a run, a hash of its whole configuration, 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:24]


@lru_cache(MOST_LINES)
def _record_in(line: bytes) -> bytes:
    """The record in a line; raises unless it is a finished run of the configuration that its key names.

    It is remembered as bytes, of which everyone who asks makes a record of their own.
    """
    record = unsealed(line.decode())
    if key_of(record["config"]) != record["key"]:
        raise ValueError("its key is not that of its configuration")
    for name in SERIES:
        if not record[name]:
            raise ValueError(f"{name} is empty")
    for name, (low, high) in RANGES.items():
        values = [value for value in record.get(name, ()) if value is not None or name in SERIES]
        if not {float, int}.issuperset(map(type, values)) or not all(map(math.isfinite, values)):
            raise ValueError(f"{name} must hold finite numbers")
        if values and not low <= min(values) <= max(values) <= high:
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {min(values):g} .. {max(values):g}")
    check_at_least("presentations", record.get("presentations", 0), 0)
    return marshal.dumps(record)


def _end_last_line(file: io.FileIO) -> int:
    """End a last line that lacks its end, or take it away if it is no record; returns the size of the file."""
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if start < len(content):
        try:
            _record_in(content[start:])
        except Exception:  # a process was killed in the middle of it
            file.truncate(start)
        else:
            file.write(b"\n")
    return file.seek(0, os.SEEK_END)


def seal(path: Path) -> None:
    """Give every line of an older file of results, or a ``plan.json``, its checksum; those that have one keep it.

    For stored studies, see ``python -m tests.seal_studies``.
    """
    indent = 1 if path.suffix == ".json" else None
    text = path.read_text(encoding="utf-8")
    parts = [text] if indent else text.splitlines()
    with written_whole(path) as file:
        file.write("".join(sealed(unsealed(part), indent) + "\n" for part in parts).encode())


def _sweep(folder: Path, name: str) -> None:
    """Delete what was left half-written of the files whose names begin so."""
    for part in folder.glob(f"{name}.*.part"):
        part.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous.pt")
