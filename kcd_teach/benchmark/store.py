"""The folder of results: one file of finished runs, and for each unfinished one a checkpoint and the one before it."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kcd_teach._files import obstacle, written_whole
from kcd_teach.checkpoints import read_state

Record = dict[str, Any]

SERIES = ("test_accuracy", "train_loss")
"""What a record holds of every epoch, a list of numbers."""

FOLDERS = ("checkpoints", "students", "teachers", "locks", "progress")
"""What a store is divided into."""

PATIENCE = 60.0
"""Seconds to wait for another process that is writing a record."""


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

    def records(self) -> dict[str, Record]:
        """All finished runs by key; raises ValueError for a line that is not a record of the run it names."""
        if not self.results.exists():
            return {}
        records = {}
        for number, line in enumerate(self.results.read_bytes().splitlines(), start=1):
            try:
                record = json.loads(line.decode())
                _check_record(record)
                records[record["key"]] = record
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {self.results} is damaged ({error}); delete that line to repeat its run"
                ) from error
        return records

    def append(self, record: Record) -> None:
        """Add a finished run; the file on the disk holds the line whole, or is as it was.

        Raises:
            OSError: no room on the disk; or another process has been writing for a minute.
        """
        line = json.dumps(record, allow_nan=False) + "\n"
        with self.alone(self.results):
            before = self.results.read_bytes() if self.results.exists() else b""
            if before and not before.endswith(b"\n"):
                before += b"\n"
            with written_whole(self.results) as file:
                file.write(before + line.encode())

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
            OSError: another process has been writing it for a minute.
        """
        self.make_folders()
        with FileLock(self.folder / "locks" / f"{path.stem}.lock", timeout=PATIENCE):
            _sweep(path.parent, path.name)
            yield

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Yield True to the one process that may work on a run, False to all others."""
        self.make_folders()
        lock = FileLock(self.folder / "locks" / f"{key}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def is_claimed(self, key: str) -> bool:
        """True while some process works on a run; where locks cannot be tried, False."""
        path = self.folder / "locks" / f"{key}.lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
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
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def under_way(self) -> dict[str, list[Record]]:
        """Epochs of unfinished runs by key, as far as they can be read: the last line may be half written."""
        found: dict[str, list[Record]] = {}
        for path in sorted((self.folder / "progress").glob("*.jsonl")):
            with contextlib.suppress(ValueError, OSError):
                for line in path.read_text(encoding="utf-8").splitlines():
                    found.setdefault(path.stem, []).append(json.loads(line))
        return found

    def checkpoint(self, key: str) -> Path:
        """The file in which an unfinished run is saved."""
        return self.folder / "checkpoints" / f"{key}.pt"

    def keep_previous(self, key: str) -> None:
        """Keep today's checkpoint under a second name, before the next one takes its place."""
        current = self.checkpoint(key)
        part = current.with_name(f"{current.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        try:
            os.link(current, part)  # no copy: the next checkpoint is a new file
        except OSError:  # a file system without links
            shutil.copy2(current, part)
        part.replace(_previous(current))

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
        """Delete the checkpoints of a run that is stored, and what killed processes left half-written of them."""
        current = self.checkpoint(key)
        _sweep(current.parent, key)
        for path in (current, _previous(current), self.folder / "progress" / f"{key}.jsonl"):
            path.unlink(missing_ok=True)


def key_of(config: dict[str, Any]) -> str:
    """Name of a run, a hash of its whole configuration, 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:24]


def _check_record(record: Record) -> None:
    """Raise ValueError, KeyError or TypeError unless this is a finished run of the configuration that its key names."""
    if key_of(record["config"]) != record["key"]:
        raise ValueError("its key is not that of its configuration")
    for name in SERIES:
        if not record[name] or not all(math.isfinite(value) for value in record[name]):
            raise ValueError(f"{name} is empty, or not finite")


def _sweep(folder: Path, name: str) -> None:
    """Delete what was left half-written of the files whose names begin so."""
    for part in folder.glob(f"{name}.*.part"):
        part.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous.pt")
