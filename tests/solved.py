"""A pytest plugin beside nbval: cells that an exercise touches are also run with the exercise solved.

nbval runs a notebook as it is stored, with no exercise solved. Training takes most of that time, and no exercise changes
what is trained, so that the solved notebook is not run a second time from its beginning: in the same kernel, just before a
cell that uses an exercise, or anything computed from one, the cell is run with the learner's solution, and must print what
is stored, but for the line in which the check says that the answer is right. Then the names get their values back, and nbval
goes on as if nothing had been.
"""

import contextlib
import copy
import dis
import io
import re
from collections.abc import Iterator
from types import CodeType

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from kcd_teach import exercises

PATIENCE = 600
"""Seconds after which a kernel that says nothing is taken to hang; a busy machine may be silent for a while."""

ENTER = """
import torch as _torch
_random = _torch.get_rng_state()
_unsolved = {{name: globals()[name] for name in {after} if name in globals()}}
globals().update({{name: _solved[name] for name in {before} if name in _solved}})
"""
LEAVE = """
_solved = {{name: globals()[name] for name in {after} if name in globals()}}
for _name in _solved:
    del globals()[_name]
globals().update(_unsolved)
_torch.set_rng_state(_random)
"""


def names_of(code: CodeType) -> tuple[set[str], set[str]]:
    """Global names that are read before they are written, and those that are written, in the order of the instructions."""
    read: set[str] = set()
    written: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            written.add(instruction.argval)
        elif instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            read |= {instruction.argval} - written
        elif isinstance(instruction.argval, CodeType):  # the body of a function, which may be called at once
            read |= names_of(instruction.argval)[0] - written
    return read, written


def solve(name: str) -> str:
    """What the check of an exercise prints for its solution."""
    namespace: dict[str, object] = {}
    exec(getattr(exercises, name).solution, namespace)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        getattr(exercises, name).check(namespace[name])
    text = printed.getvalue().strip()
    assert text.startswith(f"right: {name} "), text
    return text


def solved_cells(cells: list[nbformat.NotebookNode]) -> dict[int, tuple[nbformat.NotebookNode, set[str], set[str]]]:
    """Number of a cell that an exercise touches -> the cell with its solution, and the names touched before and after it."""
    touched: set[str] = set()
    found = {}
    for number, cell in enumerate(cells):
        cell, before = copy.deepcopy(cell), set(touched)
        read, written = names_of(compile(cell.source, "cell", "exec"))
        if "exercise" in cell.metadata.get("tags", []):
            touched |= written | {cell.metadata.exercise}
            cell.source, cell.outputs = getattr(exercises, cell.metadata.exercise).solution, []
        elif read & touched:
            touched |= written
        else:
            touched -= written
            continue
        found[number] = cell, before, set(touched)
    return found


class SolvedCell(IPyNbCell):
    """A cell of the notebook of a learner who solved every exercise so far."""

    before: set[str]
    after: set[str]

    def runtest(self) -> None:
        for output in self.cell.outputs:
            if output.output_type == "stream":
                output.text = re.sub(r"not solved yet: (\w+); .*", lambda match: solve(match[1]), output.text)
        self.silently(ENTER.format(before=sorted(self.before), after=sorted(self.after)))
        try:
            super().runtest()
        finally:
            self.silently(LEAVE.format(after=sorted(self.after)))

    def silently(self, source: str) -> None:
        client = self.parent.kernel.kc
        message = client.execute(source, silent=True, store_history=False, allow_stdin=False)
        while (reply := client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != message:
            pass
        assert reply["content"]["status"] == "ok", reply["content"]


class SolvableFile(IPyNbFile):
    """A notebook, cell by cell; what an exercise touches comes twice, solved first."""

    def collect(self) -> Iterator[IPyNbCell]:
        stored = list(super().collect())
        solved = solved_cells([item.cell for item in stored])
        for item in stored:
            item.output_timeout = PATIENCE
            if item.cell_num in solved:
                cell, before, after = solved[item.cell_num]
                twin = SolvedCell.from_parent(
                    self, name=f"Solved {item.cell_num}", cell_num=item.cell_num, cell=cell, options=item.options
                )
                twin.before, twin.after, twin.output_timeout = before, after, PATIENCE
                yield twin
            yield item


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    nodes = yield
    return [SolvableFile.from_parent(parent, path=file_path) if isinstance(node, IPyNbFile) else node for node in nodes]
