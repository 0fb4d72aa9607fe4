"""A learner who solves every exercise can run every notebook: every check says so, and nothing else reads differently.

nbval runs every cell with the exercises unsolved. Here run those that a solution reaches, and what these need from other
cells; the rest, the training above all, would only repeat what it did there.
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kcd_teach.lessons import Judgement
from tests.lessons.course import LESSONS

BOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def names_in(nodes: Iterable[ast.AST], context: type[ast.expr_context] = ast.expr_context) -> set[str]:
    return {name.id for node in nodes for name in ast.walk(node)
            if isinstance(name, ast.Name) and isinstance(name.ctx, context)}  # fmt: skip


def flow(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell takes from earlier ones, and names that it gives to later ones; of a guess, its question."""
    taken, given = (set(re.findall(rf'guesses\.{verb}\(\s*("[^"]+")', source)) for verb in ("reveal", "ask"))
    for statement in ast.parse(source).body:
        nodes = list(ast.walk(statement))
        inner = names_in(node.target for node in nodes if isinstance(node, ast.comprehension))
        inner |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        loops = names_in(node.target for node in nodes if isinstance(node, ast.For))
        taken |= names_in([statement], ast.Load) - inner - loops - given
        given |= names_in([statement], ast.Store) - inner
        given |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        given |= {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    return taken, given


def reached(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Exercises, the cells whose outcome could depend on how they are solved, and all that these need."""
    flows = [flow(cell.source) for cell in cells]
    chosen, solved = set(), set()
    for number, (taken, given) in enumerate(flows):
        if "exercise" in cells[number].metadata.get("tags", []) or taken & solved:
            chosen.add(number)
            solved |= given
        else:
            solved -= given
    needed = set()
    for number, (taken, given) in reversed(list(enumerate(flows))):
        if number in chosen or given & needed:
            chosen.add(number)
            needed = needed - given | taken
    return [cells[number] for number in sorted(chosen)]


def printed(cell: nbformat.NotebookNode) -> str:
    """All text of a cell's outputs, that of its pictures included."""
    return "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs
                   if output.get("name") != "stderr")  # fmt: skip


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_runs_with_every_exercise_solved(path):
    book = nbformat.read(path, as_version=4)
    lesson, names = LESSONS[path.stem], []
    book.cells = reached([cell for cell in book.cells if cell.cell_type == "code"])
    stored = [printed(cell) for cell in book.cells]
    for cell in book.cells:
        if "exercise" in cell.metadata.get("tags", []):
            names.append(cell.metadata["exercise"])
            cell.source = getattr(lesson, names[-1]).solution
    NotebookClient(book, kernel_name="python3", timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    for before, cell in zip(stored, book.cells, strict=True):
        text, tags = printed(cell), cell.metadata.get("tags", [])
        if "check" in tags:
            name = names.pop(0)
            assert re.match(rf"right: {name}\b", text), text
            if isinstance(getattr(lesson, name), Judgement):
                continue  # it lists all statements until it is solved, and then those that hold
            before, text = (said.partition("\n")[2] for said in (before, text))
        assert text == before or "nbval-ignore-output" in tags
    assert names == []


def test_what_a_solution_reaches():
    sources = ["import a, b", "x = a.make()", "y = [a for a in b]", "def solve(x): return TODO", "z = solve(x)",
               "for a in z: print(a, y)", "z = 1", "print(z)", "w = x\nw.train()", "print(a)"]  # fmt: skip
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[3].metadata["tags"] = ["exercise"]
    assert [sources.index(cell.source) for cell in reached(cells)] == [0, 1, 2, 3, 4, 5, 9]
