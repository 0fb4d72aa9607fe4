"""Print how large the library is, and how far one has to walk through it: ``python -m tests.house``.

Counted are files and lines of ``kcd_teach/`` (all lines, blank ones and docstrings too), names at the package's top, and
the functions that one epoch of KC-KD calls, models left out: those whose code lies in the package and neither in
``models/`` nor in a comprehension or a lambda.
"""

import ast
import sys
from pathlib import Path
from types import FrameType

import kcd_teach
from kcd_teach.condensation import Condenser
from tests.tiny import tiny_run

PACKAGE = Path(kcd_teach.__file__).parent
AROUND = ("lessons", "exercises", "figures", "widgets", "benchmark")
"""What a learner or a benchmark needs around the method."""


def size(files: list[Path]) -> str:
    """Number of files and of their lines."""
    return f"{len(files)} files, {sum(len(file.read_text(encoding='utf-8').splitlines()) for file in files):,} lines"


def called_in_an_epoch() -> set[tuple[str, str]]:
    """File and name of every function that the second epoch of a run of KC-KD calls, in which a stage ends."""
    run = tiny_run(condenser=Condenser(48, 0.6, 2, 4))
    next(run)
    called = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in file.parents and not frame.f_code.co_name.startswith("<"):
            called.add(
                (file.relative_to(PACKAGE).as_posix(), getattr(frame.f_code, "co_qualname", frame.f_code.co_name))
            )

    sys.setprofile(note)
    try:
        next(run)
    finally:
        sys.setprofile(None)
    return {(file, name) for file, name in called if not file.startswith("models/")}


def imports(file: Path) -> set[str]:
    """Folders and modules of the package that a file imports at its top."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[1] for name in names if name.startswith("kcd_teach.")}


def main() -> None:
    """Print the numbers."""
    files = sorted(PACKAGE.rglob("*.py"))
    around = [file for file in files if file.relative_to(PACKAGE).parts[0].removesuffix(".py") in AROUND]
    called = called_in_an_epoch()
    print(f"all: {size(files)}")
    print(f"without {', '.join(AROUND)}: {size([file for file in files if file not in around])}")
    print(f"names at the package's top: {len(kcd_teach.__all__)}")
    print(f"one epoch of KC-KD: {len(called)} functions in {len({file for file, _ in called})} files")
    skips = sum(file.read_text(encoding="utf-8").count("# fmt: skip") for file in files)
    print(f"directives for the formatter: {skips}")
    for file, name in sorted(called):
        print(f"    {file}: {name}")


if __name__ == "__main__":
    main()
