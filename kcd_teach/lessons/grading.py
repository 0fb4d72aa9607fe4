"""Which exercises a class has solved: reads learners' notebooks and judges the cells of their exercises.

Learners' code is not trusted, and it is run all the same, because whether a function is right cannot be seen in any other
way. Only the exercise's own cell is run, and of it only functions, literal values, and the imports that they need; it
runs in a process of its own, which is ended when it takes too long. There is no other protection.
"""

import ast
import contextlib
import csv
import importlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kcd_teach.lessons.exercise import TODO, Exercise, Judgement, WrongAnswer

LESSONS = (
    "tour",
    "plain_kd",
    "knowledge_amount",
    "learning_value",
    "em_feedback",
    "summary_condensation",
    "does_choosing_help",
    "any_distiller",
    "benchmark",
    "speed",
)
"""Modules of this package that hold exercises, in the order of the course."""

RIGHT, NOT_YET, NOT_TRIED, CANNOT_RUN = STATUSES = ("right", "not yet", "not tried", "cannot run")
"""What is said of an answer."""

_STARTING = 600.0
"""Seconds after which a process that has not even imported the library is given up."""


def exercises() -> dict[str, dict[str, Exercise | Judgement]]:
    """Lesson -> name -> exercise, in the order of the course."""
    modules = {name: importlib.import_module(f"kcd_teach.lessons.{name}") for name in LESSONS}
    return {
        lesson: {name: thing for name, thing in vars(module).items() if isinstance(thing, Exercise | Judgement)}
        for lesson, module in modules.items()
    }


@dataclass(frozen=True)
class Verdict:
    """What is said of one answer, and why."""

    status: str
    reason: str = ""


@dataclass
class Grades:
    """Learner -> exercise -> verdict, and the files that could not be read.

    Attributes:
        verdicts: of every exercise whose cell was found; the best one if a learner handed it in several times.
        unread: file -> why it is not a notebook with exercises.
    """

    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)

    def add(self, learner: str, name: str, verdict: Verdict) -> None:
        """Note a verdict, unless a better one is known."""
        known = self.verdicts.setdefault(learner, {})
        order = (RIGHT, NOT_YET, CANNOT_RUN, NOT_TRIED)
        if name not in known or order.index(verdict.status) < order.index(known[name].status):
            known[name] = verdict

    def columns(self) -> dict[str, list[str]]:
        """Lesson -> its exercises that somebody handed in."""
        found = {name for verdicts in self.verdicts.values() for name in verdicts}
        columns = {lesson: [name for name in known if name in found] for lesson, known in exercises().items()}
        return {lesson: names for lesson, names in columns.items() if names}

    def status(self, learner: str, name: str) -> str:
        """One of :data:`STATUSES`, or nothing where the exercise was not handed in."""
        verdict = self.verdicts[learner].get(name)
        return verdict.status if verdict else ""

    def text(self) -> str:
        """A table for every lesson, the reasons for what is not right, and the files that could not be read."""
        parts = []
        for lesson, names in self.columns().items():
            rows = [[lesson, *names]]
            rows += [
                [learner, *(self.status(learner, name) or "–" for name in names)]
                for learner, verdicts in self.verdicts.items()
                if verdicts.keys() & set(names)
            ]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            parts.append("\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))
        reasons = [
            f"{learner}, {name}: {' '.join(verdict.reason.split())}"
            for learner, verdicts in self.verdicts.items()
            for name, verdict in verdicts.items()
            if verdict.reason
        ]
        unread = [f"not graded: {path}: {why}" for path, why in self.unread.items()]
        text = "\n\n".join([*parts, *("\n".join(lines) for lines in (reasons, unread) if lines)])
        # Names and messages are learners': they must not send commands to the terminal of whoever grades.
        return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)

    def csv(self) -> str:
        """One table of all learners and exercises."""
        names = [name for names in self.columns().values() for name in names]
        rows = [[learner, *(self.status(learner, name) for name in names)] for learner in self.verdicts]
        # Spreadsheets take a text that begins with one of these for a formula, and file names come from learners.
        rows = [[f"'{row[0]}" if row[0][:1] in "=+-@" else row[0], *row[1:]] for row in rows]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([["learner", *names], *rows])
        return out.getvalue()


def grade(folder: Path, limit: float = 20.0) -> Grades:
    """Judge the exercises in all notebooks of a folder and its subfolders.

    A learner is known by the subfolder of their notebooks or, for a notebook that lies in ``folder`` itself, by its
    file name.

    Args:
        folder: with learners' notebooks; nothing in it is changed.
        limit: seconds that one answer may take.

    Raises:
        ValueError: no such folder, no notebook in it, or a limit that is not positive.
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}")
    if not folder.is_dir():
        raise ValueError(f"folder='{folder}' must be a folder with learners' notebooks")
    paths = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        raise ValueError(f"folder='{folder}' holds no notebook (*.ipynb), and neither do its subfolders")
    known = {name: thing for things in exercises().values() for name, thing in things.items()}
    grades = Grades()
    by_learner: dict[str, list[Path]] = {}
    for path in paths:
        place = path.parent.relative_to(folder).as_posix()
        by_learner.setdefault(path.stem if place == "." else place, []).append(path)
    for learner, theirs in by_learner.items():
        with _Judge(limit) as judge:
            for path in theirs:
                try:
                    answers = _answers(path, known)
                except _NoNotebookError as reason:
                    grades.unread[path] = str(reason)
                    continue
                for name, source, imports in answers:
                    grades.add(learner, name, _verdict(known[name], source, imports, judge))
    return grades


class _NoNotebookError(ValueError):
    """A file that cannot be graded, and why."""


class _CannotRunError(ValueError):
    """An answer that cannot be run, and why."""


def _answers(path: Path, known: Mapping[str, Any]) -> list[tuple[str, str, dict[str, ast.stmt]]]:
    """Name, source and the notebook's imports, for every cell of an exercise in a notebook."""
    if not path.is_file():
        raise _NoNotebookError("this is not an ordinary file")
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [(cell.get("metadata", {}), "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
        found = [(metadata["exercise"], source) for metadata, source in code if "exercise" in metadata.get("tags", ())]
        answers = [(name, source) for name, source in found if name in known]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _NoNotebookError(f"this is not a notebook ({type(error).__name__})") from error
    if not answers:
        raise _NoNotebookError("no cell in it is tagged as an exercise of this course")
    imports = {name: node for _, source in code for name, node in _imports(source)}
    return [(name, source, imports) for name, source in answers]


def _parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell, without what only IPython understands."""
    try:
        return ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise _CannotRunError(f"{type(error).__name__}{line} of the cell") from error


def _imports(source: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every name that a cell imports, with a statement that imports nothing else."""
    with contextlib.suppress(_CannotRunError):
        for node in _parsed(source):
            if isinstance(node, ast.Import):
                yield from (((a.asname or a.name).partition(".")[0], ast.Import([a])) for a in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield from ((a.asname or a.name, ast.ImportFrom(node.module, [a], 0)) for a in node.names)


def _verdict(exercise: Exercise | Judgement, source: str, imports: Mapping[str, ast.stmt], judge: "_Judge") -> Verdict:
    """What is said of one cell."""
    try:
        if isinstance(exercise, Judgement):
            return _of_letters(exercise, _letters(exercise.name, _parsed(source)))
        code = _definitions(exercise.name, _parsed(source), imports)
    except _CannotRunError as reason:
        return Verdict(CANNOT_RUN, str(reason))
    return Verdict(NOT_TRIED) if code is None else judge(exercise.name, code)


def _value(name: str, statements: Iterable[ast.stmt]) -> ast.expr | None:
    """What a name is assigned last."""
    found = None
    for node in statements:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            found = node.value
    return found


def _letters(name: str, statements: list[ast.stmt]) -> Any:
    """The answer to a judgement; nothing is run, as it is a literal."""
    value = _value(name, statements)
    if isinstance(value, ast.Name) and value.id == "TODO":
        return TODO
    if isinstance(value, ast.Constant):
        return value.value
    raise _CannotRunError(f'the cell does not say {name} = "..." with letters between the quotes')


def _of_letters(judgement: Judgement, answer: Any) -> Verdict:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        judgement.check(answer)
    text = " ".join(said.getvalue().split())
    if text.startswith("right:"):
        return Verdict(RIGHT)
    if answer is TODO:
        return Verdict(NOT_TRIED)
    return Verdict(NOT_YET, text.removeprefix("not right yet: "))


def _definitions(name: str, statements: list[ast.stmt], imports: Mapping[str, ast.stmt]) -> str | None:
    """The functions and literals of a cell below the imports that they use; None if the answer is still TODO."""
    value = _value(name, statements)
    if isinstance(value, ast.Name) and value.id == "TODO":
        return None
    literal = ast.Lambda | ast.Constant
    kept = [
        node
        for node in statements
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.Assign) and isinstance(node.value, literal))
    ]
    if not isinstance(value, literal) and name not in {getattr(node, "name", None) for node in kept}:
        raise _CannotRunError(f"the cell defines no function {name}")
    used = {part.id for node in kept for part in ast.walk(node) if isinstance(part, ast.Name)}
    needed = [node for alias, node in imports.items() if alias in used and alias != "TODO"]
    try:
        return "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in [*needed, *kept])
    except RecursionError as error:
        raise _CannotRunError("RecursionError: the cell is nested too deeply") from error


class _Judge:
    """Runs the answers of one learner, one after the other, in a process that is replaced when it hangs or dies."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._process: Any = None

    def __enter__(self) -> "_Judge":
        return self

    def __exit__(self, *problem: object) -> None:
        self._end()

    def __call__(self, name: str, code: str) -> Verdict:
        if self._process is None:
            self._start()
        try:
            self._pipe.send_bytes(json.dumps([name, code]).encode())
            if not self._pipe.poll(self.limit):
                self._end()
                return Verdict(CANNOT_RUN, f"it did not end within {self.limit:g} seconds")
            # Text, and not a pickle: what a learner's process sends must not run anything here.
            status, reason = json.loads(self._pipe.recv_bytes(1_000_000))
            return Verdict(status if status in STATUSES else CANNOT_RUN, str(reason))
        except (OSError, EOFError, ValueError):
            self._end()
            return Verdict(CANNOT_RUN, "it ended the process in which it ran")

    def _start(self) -> None:
        # A process that has imported all lessons is copied for every learner, where that is possible: it saves seconds.
        context: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
        context.set_forkserver_preload([f"kcd_teach.lessons.{name}" for name in ("grading", *LESSONS)])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(_STARTING) or self._pipe.recv_bytes() != b"ready":
            self._end()
            raise RuntimeError("the process that runs learners' code could not be started")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _work(pipe: Connection) -> None:
    """Judge one answer after the other, in a process of its own that prints nothing."""
    import torch

    torch.set_num_threads(1)
    known = {name: thing for things in exercises().values() for name, thing in things.items()}
    functions = {name: thing for name, thing in known.items() if isinstance(thing, Exercise)}
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    pipe.send_bytes(b"ready")
    with contextlib.suppress(EOFError):
        while True:
            name, code = json.loads(pipe.recv_bytes())
            verdict = _judged(functions[name], code)
            pipe.send_bytes(json.dumps([verdict.status, verdict.reason]).encode())


def _judged(exercise: Exercise, code: str) -> Verdict:
    """Define what the code defines, and judge it."""
    names: dict[str, Any] = {"TODO": TODO, "__name__": "answer"}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "<answer>", "exec"), names)
            accepted = exercise.judge(names[exercise.name])
        return Verdict(NOT_TRIED if accepted is exercise.reference else RIGHT)
    except WrongAnswer as wrong:
        lines = [line for line in str(wrong).splitlines() if not line.startswith("    ")]  # without the tensors
        text = " ".join(lines).rpartition("Likely reason: ")[2]
        stopped = wrong.__cause__ is not None  # judge says so of an answer that raised an exception
        return Verdict(CANNOT_RUN if stopped else NOT_YET, text)
    except BaseException as error:  # whatever a learner's code raises, SystemExit too, is about that code
        return Verdict(CANNOT_RUN, f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
