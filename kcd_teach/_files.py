"""Where can a file be written, and how? Whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def obstacle(folder: Path) -> str:
    """Why nothing can be written in a folder, which need not be there yet, in words; nothing if it can."""
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
