"""Execution of notebooks: their outputs are stored by one command, from a clean kernel, never from an editor.

python -m kcd_teach.notebooks execute NOTEBOOK...      run and store the outputs
python -m kcd_teach.notebooks tour NOTEBOOK OUT.html   run and write one page that opens anywhere
python -m kcd_teach.notebooks figures NOTEBOOK...      list their stored figures in figures.md beside them
"""

import argparse
import html
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm


def execute(path: Path) -> nbformat.NotebookNode:
    """Run all cells of a notebook in a fresh kernel, with a progress bar; the file is not touched.

    Raises:
        nbclient.exceptions.CellExecutionError: at the first cell that fails.
    """
    # Progress bars inside cells print rates, which differ from run to run.
    os.environ["TQDM_DISABLE"] = "1"
    book: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    code = sum(cell.cell_type == "code" for cell in book.cells)
    with tqdm(total=code, desc=path.name, unit="cell", disable=False, file=sys.stderr) as bar:

        def advance(cell: Any, cell_index: int) -> None:
            if cell.cell_type == "code":
                bar.update()

        folder = {"metadata": {"path": str(path.resolve().parent)}}
        client = NotebookClient(
            book,
            kernel_name="python3",
            timeout=600,
            store_widget_state=False,
            record_timing=False,
            resources=folder,
            on_cell_complete=advance,
        )
        client.execute()
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return book


def course_folder() -> Path:
    """Where the notebooks of the course are: in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parent
    return next(
        (
            folder
            for folder in (package.parent / "notebooks", package / "course")
            if (folder / "00_tour.ipynb").is_file()
        ),
        package / "course",
    )


def copy_course(to: Path) -> tuple[int, int]:
    """Copy the notebooks into a folder, but not over those that are there; returns how many were copied, and how many not.

    Raises:
        FileNotFoundError: they were not installed with the package.
        NotADirectoryError: ``to`` is a file.
    """
    if to.exists() and not to.is_dir():
        raise NotADirectoryError(f"to must be a folder, new or not, got the file {to}")
    notebooks = sorted(course_folder().glob("*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(f"the notebooks are not in {course_folder()}; install kcd_teach again")
    to.mkdir(parents=True, exist_ok=True)
    missing = [path for path in notebooks if not (to / path.name).exists()]
    for path in [*missing, *(extra for extra in course_folder().glob("*.md") if not (to / extra.name).exists())]:
        shutil.copy(path, to / path.name)
    return len(missing), len(notebooks) - len(missing)


def write_page(book: nbformat.NotebookNode, out: Path) -> None:
    """Write an executed notebook as one HTML page with all pictures inside."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(embed_images=True).from_notebook_node(book)
    out.write_text(page, encoding="utf-8")


def figure_index(paths: Sequence[Path]) -> str:
    """A page with a line for every figure that is stored in these notebooks: its alternative text."""
    page = ["# Figures of the course", "What every figure shows, in the order in which you meet them."]
    for path in paths:
        cells = nbformat.read(path, as_version=4).cells
        title = cells[0].source.partition("\n")[0].removeprefix("# ")
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        pages = [data["text/html"] for data in outputs if "image/png" in data]
        alts = [html.unescape(alt) for text in pages for alt in re.findall(r'<img alt="([^"]*)"', text)]
        page += [f"## [{path.stem.partition('_')[0]} {title}]({path.name})", "\n".join(f"1. {alt}" for alt in alts)]
    return "\n\n".join(page) + "\n"


def note_seconds(name: str, seconds: float) -> None:
    """Store how long a notebook took, for the table in the README."""
    store = Path(__file__).resolve().parent.parent / "data" / "results" / "notebooks.json"
    table = json.loads(store.read_text()) if store.exists() else {}
    table[name] = round(seconds, 1)
    store.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("execute", "tour", "figures"))
    parser.add_argument("paths", nargs="+", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "tour":
        notebook, out = arguments.paths
        write_page(execute(notebook), out)
        print(f"wrote {out.resolve()}")
        return
    if arguments.command == "figures":
        (arguments.paths[0].parent / "figures.md").write_text(figure_index(arguments.paths), encoding="utf-8")
        return
    for path in arguments.paths:
        started = time.perf_counter()
        nbformat.write(execute(path), path)
        note_seconds(path.stem, time.perf_counter() - started)


if __name__ == "__main__":
    main()
