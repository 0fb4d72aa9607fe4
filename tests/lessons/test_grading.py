"""Grading a class: every kind of answer gets its word, and no learner's cell stops the grading of the others."""

import csv
import io
import json
import os

import pytest
from typer.testing import CliRunner

from kcd_teach.cli import app
from kcd_teach.lessons import grading
from kcd_teach.lessons.does_choosing_help import missing_control
from kcd_teach.lessons.plain_kd import kd_loss, soften
from kcd_teach.lessons.summary_condensation import pair
from tests.lessons.course import EXERCISES, JUDGEMENTS, LESSONS

STUB = "def soften(logits, temperature):\n    return TODO"
WRONG = "def soften(logits, temperature):\n    return (logits * temperature).softmax(1)"


def notebook(path, *cells, before=("import torch",)):
    """Write a notebook with cells of exercises, (name, source), below others."""
    code = [({}, source) for source in before]
    code += [({"exercise": name, "tags": ["exercise"]}, source) for name, source in cells]
    content = [
        {"cell_type": "code", "metadata": meta, "source": source.splitlines(keepends=True)} for meta, source in code
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "hello"}, *content], "nbformat": 4}))


def call(*arguments, code=0):
    done = CliRunner().invoke(app, ["grade", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_all_exercises_of_the_course_are_known():
    found = grading.exercises()
    assert list(found) == [lesson.__name__.rpartition(".")[2] for lesson in LESSONS.values()]
    assert {name: thing for things in found.values() for name, thing in things.items()} == {**EXERCISES, **JUDGEMENTS}


def test_a_class_of_learners(tmp_path):
    marker = tmp_path / "ran"
    touch = f"open({str(marker)!r}, 'w')"
    solutions = {name: thing.solution for name, thing in (EXERCISES | JUDGEMENTS).items()}
    notebook(tmp_path / "all right" / "final (2).ipynb", *solutions.items(), before=(touch, "import torch"))
    notebook(
        tmp_path / "b" / "deep" / "01.ipynb", ("soften", STUB), ("kd_loss", "import torch\n%time 1\n!ls\n" + touch)
    )
    notebook(tmp_path / "b" / "deep" / "02.ipynb", ("soften", WRONG), ("pair", "pair = TODO"))
    notebook(
        tmp_path / "b" / "deep" / "06.ipynb", ("missing_control", 'missing_control = "ab"'), ("reading", "reading = 3")
    )
    notebook(tmp_path / "=c.ipynb", ("soften", "def soften(:\n"), ("next_runs", "next_runs = TODO"))
    (tmp_path / "d.ipynb").write_text("not a notebook at all")
    notebook(tmp_path / "e.ipynb")
    (os.mkfifo if hasattr(os, "mkfifo") else os.mkdir)(tmp_path / "f.ipynb")  # from which one could read for ever
    notebook(tmp_path / "all right" / ".ipynb_checkpoints" / "old.ipynb", ("soften", WRONG))
    (tmp_path / "readme.txt").write_text("nothing")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = call(tmp_path, "--csv", tmp_path / "grades.csv")
    assert not marker.exists()
    assert all(path.read_bytes() == content for path, content in before.items())
    rows = {row.pop("learner"): row for row in csv.DictReader(io.StringIO((tmp_path / "grades.csv").read_text()))}
    assert set(rows) == {"all right", "b/deep", "'=c"}
    assert set(rows["all right"]) == set(solutions)
    assert set(rows["all right"].values()) == {"right"}
    given = {name: status for name, status in rows["b/deep"].items() if status}
    assert given == {
        "soften": "not yet", "kd_loss": "cannot run", "pair": "not tried", "missing_control": "not yet", "reading": "not yet",
    }  # fmt: skip
    given = {name: status for name, status in rows["'=c"].items() if status}
    assert given == {"soften": "cannot run", "next_runs": "not tried"}
    lines = said.splitlines()
    assert "plain_kd" in said
    assert any(line.split() == ["b/deep", "not", "yet", "cannot", "run", "–"] for line in lines)
    assert "b/deep, kd_loss: the cell defines no function kd_loss" in lines
    (text,) = [line for line in lines if line.startswith("b/deep, soften: ")]
    assert text.removeprefix("b/deep, soften: ") in soften.mistakes
    assert f'b/deep, missing_control: "{list(missing_control.options)[1]}" does not hold.' in said
    assert "=c, soften: SyntaxError in line 1 of the cell" in lines
    assert f"not graded: {tmp_path / 'd.ipynb'}: this is not a notebook (JSONDecodeError)" in lines
    assert f"not graded: {tmp_path / 'e.ipynb'}: no cell in it is tagged as an exercise of this course" in lines
    assert f"not graded: {tmp_path / 'f.ipynb'}: this is not an ordinary file" in lines
    assert f"wrote {tmp_path / 'grades.csv'}" in lines


def test_what_never_ends_crashes_or_dies_stops_nobody_else(tmp_path):
    endless = "def soften(logits, temperature):\n    while True: pass"
    dies = "import os\ndef soften(logits, temperature):\n    os._exit(0)"
    leaves = "def soften(logits, temperature):\n    raise SystemExit"
    crashes = "def soften(logits, temperature):\n    print('x')\n    return 1 / 0"
    unknown = "def soften(logits, temperature):\n    return helper(logits)"
    rude = "def soften(logits, temperature):\n    raise ValueError('\\x1b[2Jhello')"
    for name, source in {"a": endless, "b": dies, "c": leaves, "d": crashes, "e": unknown, "f": rude}.items():
        after = ("kd_loss", kd_loss.solution) if name in "ab" else ("pair", pair.solution)
        notebook(tmp_path / "class" / name / "nb.ipynb", ("soften", source), after, before=("import os",))
    grades = grading.grade(tmp_path / "class", limit=10)
    assert list(grades.verdicts) == list("abcdef")
    assert {verdicts["soften"].status for verdicts in grades.verdicts.values()} == {"cannot run"}
    for verdicts in grades.verdicts.values():
        assert [found.status for name, found in verdicts.items() if name != "soften"] == ["right"]
    reasons = [verdicts["soften"].reason for verdicts in grades.verdicts.values()]
    parts = [
        "did not end within 10 seconds",
        "ended the process",
        "SystemExit",
        "ZeroDivisionError",
        "NameError",
        "hello",
    ]
    assert all(part in reason for part, reason in zip(parts, reasons, strict=True))
    assert "\x1b" not in grades.text()
    assert "?[2Jhello" in grades.text()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "JSONDecodeError"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
        (b"[]", "TypeError"),
        (b"{}", "KeyError"),
        (b'{"cells": 3}', "TypeError"),
        (b'{"cells": [{"cell_type": "code"}]}', "KeyError"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "TypeError"),
        (b"[" * 100_000, "RecursionError"),
        (b'{"cells": []}', "tagged as an exercise"),
        (b'{"cells": [{"cell_type": "code", "source": "", "metadata": {"tags": ["exercise"]}}]}', "KeyError"),
    ],
)
def test_what_is_not_a_notebook_is_said(tmp_path, content, why):
    (tmp_path / "a.ipynb").write_bytes(content)
    assert why in call(tmp_path)


def test_definitions_leave_everything_else_out():
    source = "print(1)\nEPS = 1e-9\nx = open('f')\nfrom os import path\ndef soften(z, t):\n    return torch.f(z, EPS)\nsoften(1, 2)"
    imports = dict(grading._imports("import torch, os.path\nfrom math import pi as p\nfrom . import q\nimport nothing"))
    assert list(imports) == ["torch", "os", "p", "nothing"]
    code = grading._definitions("soften", grading._parsed(source), imports)
    assert code.splitlines() == ["import torch", "EPS = 1e-09", "def soften(z, t):", "    return torch.f(z, EPS)"]
    assert grading._definitions("f", grading._parsed("f = lambda x: x"), {}) == "f = lambda x: x"
    with pytest.raises(grading._CannotRunError, match="defines no function f"):
        grading._definitions("f", grading._parsed("f = open('x')"), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "must be a folder"), (["."], "holds no notebook"), ([".", "--limit", "0"], "limit must be positive, got 0")],
)  # fmt: skip
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (line,) = call(*arguments, code=2).splitlines()
    assert message in line


def test_help_says_that_learners_code_is_run():
    said = " ".join(call("--help").split())
    assert "runs code that learners wrote" in said
    assert "no more protected than that" in said
