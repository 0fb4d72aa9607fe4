"""What came out? The commands that look at a folder's runs, finished or not: ``kcd-teach table`` and ``plot``."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from kcd_teach._checks import check_choice
from kcd_teach._command import Folder, plainly

FORMATS = ("markdown", "csv")


def _opened(folder: Path) -> tuple[Any, Any]:
    """The plan that a folder was last used for, and its store."""
    from kcd_teach.benchmark import Prepared, Store

    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; start a plan with kcd-teach bench")
    store = Store(folder)
    return Prepared.load(store), store


@plainly
def table(
    folder: Folder = Path("runs"),
    as_: Annotated[str, typer.Option("--as", help="markdown or csv.")] = "markdown",
    out: Annotated[Optional[Path], typer.Option(help="File to write; printed by default.")] = None,  # noqa: UP045
) -> None:
    """Show the published table beside the runs of a folder, finished or not."""
    from kcd_teach._files import written_whole
    from kcd_teach.benchmark import make_table

    check_choice("as", as_, FORMATS)
    made = make_table(*_opened(folder))
    text = made.csv() if as_ == "csv" else made.markdown()
    if out is None:
        typer.echo(text)
        return
    with written_whole(out) as file:
        file.write(text.encode())
    typer.echo(f"wrote {out}")


@plainly
def plot(
    what: Annotated[
        str,
        typer.Option(
            help="curves: accuracy after every epoch; cost: accuracy against samples shown; ablations: what each part of "
            "a condensed row is worth; table: published beside ours."
        ),
    ] = "curves",
    folder: Folder = Path("runs"),
    pair: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Column of the plan; its first by default, and all of them for table."),
    ] = None,
    row: Annotated[str, typer.Option(help="Condensed row that ablations are taken from.")] = "KC-KD",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File to write, .png, .svg or .pdf; named by what and pair by default."),
    ] = None,
) -> None:
    """Draw the runs of a folder, finished or not, and say what the picture shows."""
    from kcd_teach.benchmark.curves import find_pair_of
    from kcd_teach.benchmark.plotting import PICTURES, picture
    from kcd_teach.figures.picture import check_ending

    check_choice("what", what, PICTURES)
    if out is not None:
        check_ending(out)
    prepared, store = _opened(folder)
    if out is None:
        of = "" if what == "table" and pair is None else f"-{find_pair_of(prepared, pair).name.replace('>', '-')}"
        out = Path(f"{what}{of}.png")
    drawn = picture(prepared, store, what, pair, row)
    drawn.save(out)
    typer.echo(f"wrote {out}: {drawn.reading}")
