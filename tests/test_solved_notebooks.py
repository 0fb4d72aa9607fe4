"""A learner who solves every exercise can run every notebook, and every check says so."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.lessons.course import LESSONS

BOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_runs_with_every_exercise_solved(path):
    book = nbformat.read(path, as_version=4)
    lesson = LESSONS[path.stem]
    names = []
    for cell in book.cells:
        if "exercise" in cell.metadata.get("tags", []):
            names.append(cell.metadata["exercise"])
            cell.source = getattr(lesson, names[-1]).solution
    NotebookClient(book, kernel_name="python3", timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    checks = [cell for cell in book.cells if "check" in cell.metadata.get("tags", [])]
    printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in checks]
    assert len(printed) == len(names)
    for name, text in zip(names, printed, strict=True):
        assert text.startswith(f"right: {name}"), text
