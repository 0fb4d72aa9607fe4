"""A learner who solves every exercise can run every notebook, and every check says so.

Where a notebook runs, ``tests/solved.py`` also runs what its exercises touch with the exercises solved; here is shown that it
does, and that it notices what goes wrong.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from kcd_teach import exercises
from tests.solved import names_of, solve, solved_cells

ROOT = Path(__file__).resolve().parent.parent
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_exercise_and_every_check_is_also_run_solved(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    tagged = {n: set(cell.metadata.get("tags", [])) for n, cell in enumerate(cells)}
    solved = solved_cells(cells)
    wanted = {number for number, tags in tagged.items() if tags & {"exercise", "check"}}
    assert wanted
    assert wanted <= set(solved)
    for number in wanted:
        cell, _, touched = solved[number]
        name = cells[number].metadata.get("exercise") or cells[number - 1].metadata.exercise
        assert name in touched
        if "exercise" in tagged[number]:
            assert cell.source == getattr(exercises, name).solution
        else:
            assert f"not solved yet: {name}; " in cell.outputs[0].text


@pytest.mark.parametrize(
    ("source", "read", "written"),
    [
        ("a = b", "b", "a"),
        ("b = b + 1", "b", "b"),
        ("for i in a:\n    print(i)", "a print", "i"),
        ("def f(x):\n    return x + b", "b", "f"),
        ("b = 1\ndef f():\n    return lambda: b", "", "b f"),
        ("import os.path as b, json", "", "b json"),
        ("a = [b for c in d]", "b d", "a"),
        ("a[0] = b", "a b", ""),
    ],
)
def test_what_a_cell_reads_and_writes(source, read, written):
    assert names_of(compile(source, "cell", "exec")) == (set(read.split()), set(written.split()))


def test_a_solution_that_is_not_right_is_not_taken_for_one(monkeypatch):
    exercise = exercises.soften
    assert solve("soften").startswith("right: soften agrees with the library")
    monkeypatch.setattr(exercise, "solution", "def soften(logits, temperature):\n    return logits.softmax(dim=1)")
    with pytest.raises(exercises.WrongAnswer):
        solve("soften")
    monkeypatch.setattr(exercise, "solution", "from kcd_teach.exercises import TODO\nsoften = TODO")
    with pytest.raises(AssertionError, match="not solved yet"):
        solve("soften")


LIBRARY = "exercises.soften.reference"
CHECK = "soften = exercises.soften.check(soften)\nprint(1 + 1)"
CELLS = [  # source, what is stored as its output, and whether it fails as stored, and solved (None: not run solved)
    ("import torch\nfrom kcd_teach import exercises\nfrom kcd_teach.exercises import TODO", "", False, None),
    ("untouched = 0", "", False, None),
    ("def soften(logits, temperature):\n    return TODO", "", False, False),
    (CHECK, "not solved yet: soften; the notebook goes on with the library's version\n2\n", False, False),
    (CHECK, "not solved yet: soften; the notebook goes on with the library's version\n3\n", True, True),
    (f"assert soften is {LIBRARY}", "", False, True),
    (f"assert soften is not {LIBRARY}", "", True, False),
    ("handed_on = [soften]\nuntouched = untouched + 1\nprint(torch.rand(1) < 2, untouched)",
     "tensor([True]) 1\n", False, False),
    (f"assert handed_on[0] is {LIBRARY}", "", False, True),
    ("print('the same' if handed_on[0](torch.zeros(1, 2), 2.0)[0, 0] == 0.5 else 'another')", "the same\n", False, False),
    (f"print(soften is {LIBRARY})", "True\n", False, True),
    ("soften = 0", "", False, None),
    ("print(soften, untouched)", "0 1\n", False, False),
]  # fmt: skip


def test_a_cell_that_fails_with_or_without_the_solution_is_noticed(tmp_path):
    cells = []
    for source, text, *_ in CELLS:
        outputs = [new_output("stream", name="stdout", text=text)] if text else []
        cells.append(new_code_cell(source, execution_count=1, outputs=outputs))
    cells[2].metadata = {"tags": ["exercise"], "exercise": "soften"}
    nbformat.write(new_notebook(cells=cells), tmp_path / "made_up.ipynb")
    command = ["-p", "tests.solved", "--nbval", "--nbval-current-env", "-o", "addopts=", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command, "--junitxml=said.xml", "made_up.ipynb"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    cases = ElementTree.parse(tmp_path / "said.xml").iter("testcase")
    failed = {case.get("name"): case.find("failure") is not None for case in cases}
    expected = {f"Cell {number}": stored for number, (_, _, stored, _) in enumerate(CELLS)}
    expected |= {f"Solved {number}": solved for number, (*_, solved) in enumerate(CELLS) if solved is not None}
    assert failed == expected, done.stdout
