"""The benchmark without a notebook: the command ``kcd-teach``."""

import dataclasses
import functools
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from kcd_teach._checks import check_choice
from kcd_teach._files import printable, speak_anywhere

Folder = Annotated[
    Path, typer.Option(help="Where results, students, teachers and checkpoints are kept.", readable=False)
]


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one line and exit code 2, and an interrupt into 130."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **settings: Any) -> None:
        speak_anywhere()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: typer.echo(f"warning: {printable(str(message))}", err=True)
                command(*arguments, **settings)
        except typer.Exit:  # a RuntimeError, and an exit code that was meant
            raise
        except KeyboardInterrupt as stopped:
            typer.echo("stopped; the same command goes on from here", err=True)
            raise typer.Exit(130) from stopped
        except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ArithmeticError, ImportError) as error:
            typer.echo(f"error: {printable(str(error)) or type(error).__name__}", err=True)
            raise typer.Exit(2) from error

    return wrapped


FORMATS = ("markdown", "csv", "plain")


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
    as_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--as", help="markdown, csv or plain; by default plain on a terminal, and markdown elsewhere."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="File to write; printed by default.")] = None,  # noqa: UP045
) -> None:
    """Show the published table beside the runs of a folder, finished or not."""
    from kcd_teach._files import written_whole
    from kcd_teach.benchmark import make_table

    if as_ is not None:
        check_choice("as", as_, FORMATS)
    text = _formatted(make_table(*_opened(folder)), as_ or ("markdown" if out is not None else None))
    if out is None:
        typer.echo(text)
        return
    with written_whole(out) as file:
        file.write(text.encode())
    typer.echo(f"wrote {out}")


def _formatted(table: Any, as_: str | None = None) -> str:
    """A table as text; for a terminal if there is one and nothing else is wanted."""
    if as_ is None:
        as_ = "plain" if sys.stdout.isatty() else "markdown"
    return str({"csv": table.csv, "markdown": table.markdown}.get(as_, lambda: table.plain(_width()))())


def _width() -> int:
    """Columns of the terminal, or room for all where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 200


MARKS = {"done": ("#", "green"), "running": (">", "yellow"), "missing": (".", "dim")}
"""How a run is shown in the grid of its folder, and in which colour on a terminal."""


@plainly
def status(folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs")) -> None:
    """Show what is done, running and missing of a folder's plan: a sign for each seed of each cell."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kcd_teach.benchmark.curves import states
    from kcd_teach.benchmark.runner import spoken

    prepared, store = _opened(folder)
    found = states(prepared, store)
    pairs = [pair.name for pair in prepared.plan.pairs]
    grid = Table("", *map(printable, pairs), box=SIMPLE)
    for row, cells in found.items():
        signs = [Text.assemble(*(MARKS[state] for state in cells[pair].values())) for pair in pairs]
        grid.add_row(printable(row), *signs)
    console = Console(width=_width(), highlight=False)
    console.print(grid)
    typer.echo("a sign for each seed: # done, > running, . missing")
    every = [state for cells in found.values() for seeds in cells.values() for state in seeds.values()]
    counts = ", ".join(f"{every.count(state)} {state}" for state in MARKS)
    typer.echo(
        f"{len(every)} runs: {counts}; {len(prepared.teachers)} of {len(prepared.plan.teachers)} teachers are ready"
    )
    stored = store.records()
    for key, epochs in store.under_way().items():
        if key in stored:  # its process was killed before it could tidy up
            continue
        last = epochs[-1]
        left = spoken((last["epochs"] - last["epoch"]) * last["seconds"] / last["epoch"])
        how = f"about {left} more" if store.is_claimed(key) else "stopped; kcd-teach bench --folder goes on with it"
        reached = f"epoch {last['epoch']} of {last['epochs']}, {100 * last['test_accuracy']:.1f} %"
        typer.echo(f"{printable(last['title'])}: {reached}; {how}")


@plainly
def tensorboard(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs"),
    to: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder to write to; FOLDER/tensorboard by default."),
    ] = None,
) -> None:
    """Write the curves of a folder's runs, finished or at work, for TensorBoard (pip install tensorboard); repeatable."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("this needs TensorBoard: pip install tensorboard") from error
    from kcd_teach.benchmark.curves import QUANTITIES, epoch_curves, under_way

    prepared, store = _opened(folder)
    to = folder / "tensorboard" if to is None else to
    runs: dict[str, dict[str, list[float]]] = {}
    for pair in prepared.plan.pairs:
        for quantity in QUANTITIES:
            for found in (epoch_curves, under_way):
                for row, curves in found(prepared, store, pair.name, quantity).items():
                    for seed, values in curves.items():
                        runs.setdefault(f"{pair.name} {row} seed {seed}", {})[quantity] = values
    for name, of_run in runs.items():
        with SummaryWriter(
            str(to / name.replace("/", "-")), purge_step=0
        ) as writer:  # in the place of what was written
            for quantity, values in of_run.items():
                for epoch, value in enumerate(values, start=1):
                    writer.add_scalar(quantity, value, epoch)
    typer.echo(f"wrote {len(runs)} runs to {to}; show them with: tensorboard --logdir {to}")


@plainly
def lab(
    to: Annotated[
        Path, typer.Option(help="Folder to copy the notebooks to; those that are there already stay as they are.")
    ] = Path("kcd-course"),
    browser: Annotated[bool, typer.Option("--open/--only-copy", help="Open JupyterLab on the first notebook.")] = True,
) -> None:
    """Copy the course's notebooks into a folder of yours and open JupyterLab on the first of them."""
    from kcd_teach.notebooks import copy_course

    copied, kept = copy_course(to)
    typer.echo(f"{copied} notebooks were copied to {to.resolve()}" + (f", {kept} were there already" if kept else ""))
    if browser:
        root = ["--allow-root"] if getattr(os, "getuid", int)() == 0 and hasattr(os, "getuid") else []
        options = ["--ServerApp.ip=127.0.0.1", "--LabApp.default_url=/lab/tree/00_tour.ipynb", *root]
        raise typer.Exit(subprocess.call([sys.executable, "-m", "jupyterlab", *options], cwd=to))


def _say_version(wanted: bool) -> None:
    if wanted:
        import torch

        from kcd_teach import __version__

        typer.echo(f"kcd_teach {__version__}, torch {torch.__version__}, Python {platform.python_version()}")
        raise typer.Exit


@plainly
def plot(
    what: Annotated[
        str,
        typer.Option(
            help="curves: accuracy after every epoch; cost: accuracy against samples shown; ratios: the same, of KD, KC-KD "
            "and chance alone; ablations: what each part of a condensed row is worth; table: published beside ours."
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
        of = (
            ""
            if what == "table" and pair is None
            else f"-{find_pair_of(prepared, pair).name.replace('>', '-').replace(':', '-')}"
        )
        out = Path(f"{what}{of}.png")
    drawn = picture(prepared, store, what, pair, row)
    drawn.save(out)
    typer.echo(f"wrote {out}: {drawn.reading} {drawn.numbers}")


app = typer.Typer(
    help=(
        "Train, distil, condense, and compare with the published table.\n\n"
        "Start with: kcd-teach doctor, then kcd-teach bench. Everything may be stopped or killed at any moment; the "
        "same command goes on from there."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
@plainly
def load(
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045  typer reads it
        typer.Option(
            "--with",
            envvar="KCD_WITH",
            help="Python file that registers methods, value measures, networks or data sets of your own, run before the "
            "command; repeatable.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Load the files that add names to those of this package."""
    from kcd_teach.registry import load_file

    for file in files or []:
        load_file(file)


@app.command("list")
@plainly
def list_names() -> None:
    """List the methods, value measures, networks and data sets that can be named, those of --with included."""
    from kcd_teach.zoo import names

    typer.echo(names())


ENGINES = ("local", "ray")

Pairs = Annotated[
    Optional[list[str]],  # noqa: UP045  typer reads it
    typer.Option(
        "--pair",
        help="Column of the table, as V13:V8 (or 'V13>V8', in quotes), or TEACHER:STUDENT; repeatable; all of them by "
        "'all', as by default. A network of your own is package.module:function, as 'my.nets:teacher>resnet20'.",
    ),
]
Rows = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--row",
        help="Row of the table, as KD or KC-CRD; any KC-NAME; ablations as KC-KD@released, KC-KD@no-mixing, "
        "KC-KD@random, KC-KD@value=loss, KD@short; settings as KC-KD@ratio=0.5,random or KD@temperature=2; 'LABEL: ROW' "
        "names it; repeatable; all rows of the table by 'all', as by default. Names: kcd-teach list.",
    ),
]
Seeds = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="Runs per cell, seeds 0, 1, ...; one by default."),
]
SIZES = (
    "full: the published recipe on CIFAR-100, for a GPU; slice: a tenth of it, hours on a CPU; course: the course's images "
    "and teacher; small: minutes."
)
ScaleName = Annotated[str, typer.Option(help=SIZES)]
PlanScale = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--scale", help=f"{SIZES} small by default."),
]
PlanName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--plan", help="A stored study, as students, or a .json file; pairs, rows, seeds, scale from there."),
]
Epochs = Annotated[Optional[int], typer.Option(help="Epochs, if not those of the scale.")]  # noqa: UP045
PerClass = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="Only the first training images of every class, if not those of the scale."),
]
Classes = Annotated[Optional[int], typer.Option(help="Only the first classes.")]  # noqa: UP045
DataSet = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--dataset",
        help="Images, if not those of the scale: a name of kcd-teach list, or a folder that has one for each class, or "
        "train and test folders of them.",
    ),
]
ImageSide = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--side", help="Pixels to which images are resized, if not those of the scale; 32 for a folder's."),
]
TeacherEpochs = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        help="Use teachers trained for so many epochs; those that are missing are trained. By default those of the "
        "scale (slice: 60); where it says none, the one that the folder has, or as many as a student's."
    ),
]
CacheOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--store", help="disk caches the teachers' predictions for all runs on this machine: faster; off by default."
    ),
]
Precision = Annotated[Optional[str], typer.Option(help="float32 (the default) or bfloat16.")]  # noqa: UP045
Data = Annotated[Optional[Path], typer.Option("--data", help="Folder of the data set.", readable=False)]  # noqa: UP045
Device = Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1; the first GPU by default.")]  # noqa: UP045
Workers = Annotated[int, typer.Option(help="Runs side by side.")]
Engine = Annotated[str, typer.Option(help="local: processes here; ray: the machines of a Ray cluster.")]
Side = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--workers", help="Runs side by side here; 1 by default, with ray as many as there are processors."),
]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Ray cluster, as HOST:PORT, or auto for this machine's; by default one is started here."),
]
PerGpu = Annotated[Optional[int], typer.Option(help="With ray, runs that share a GPU; 1 by default.")]  # noqa: UP045
Checkpoints = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--checkpoint", help="Published teacher, as resnet56=ckpt_epoch_240.pth; repeatable; others are trained."
    ),
]


def _changes(
    epochs: int | None,
    per_class: int | None,
    classes: int | None,
    dataset: str | None,
    side: int | None,
    precision: str | None,
    teacher_epochs: int | None,
    store: str | None,
) -> dict[str, Any]:
    """What the options change of a scale; None where they leave it."""
    return dict(locals())


def _scale(name: str, **changes: Any) -> Any:
    from kcd_teach.benchmark import find_scale

    return find_scale(name).but(**changes)


def _files(checkpoints: list[str] | None) -> dict[str, str]:
    """Network -> file, from ``NETWORK=FILE``."""
    named = {}
    for text in checkpoints or []:
        network, equals, file = text.partition("=")
        if not (network and equals and file):
            raise ValueError(f"checkpoint must be NETWORK=FILE, as resnet56=ckpt_epoch_240.pth, got {text!r}")
        named[network] = file
    return named


def _engine(engine: str, workers: int | None, address: str | None, per_gpu: int | None) -> dict[str, Any]:
    """Workers or engine, as settings of ``run_plan``."""
    from kcd_teach.benchmark import Ray

    check_choice("engine", engine, ENGINES)
    if engine == "ray":
        return {"engine": Ray(address, workers=workers, per_gpu=1 if per_gpu is None else per_gpu)}
    for argument, value in (("address", address), ("per_gpu", per_gpu)):
        if value is not None:
            raise ValueError(f"{argument}={value!r} needs engine='ray', got engine={engine!r}")
    return {"workers": 1 if workers is None else workers}


@app.command()
@plainly
def doctor(
    plan: PlanName = None,
    pair: Pairs = None,
    row: Rows = None,
    seeds: Seeds = None,
    scale: PlanScale = None,
    folder: Folder = Path("runs"),
    workers: Workers = 1,
    epochs: Epochs = None,
    per_class: PerClass = None,
    classes: Classes = None,
    dataset: DataSet = None,
    side: ImageSide = None,
    precision: Precision = None,
    teacher_epochs: TeacherEpochs = None,
    store: CacheOption = None,
    data: Data = None,
    device: Device = None,
    checkpoint: Checkpoints = None,
    price: Annotated[Optional[float], typer.Option(help="Of an hour of this machine, to say what it costs.")] = None,  # noqa: UP045
    time: Annotated[bool, typer.Option(help="Measure how long the plan takes.")] = True,
) -> None:
    """Say whether this machine is ready for a plan: device, memory, data, disk, teachers, and how long it takes."""
    from kcd_teach.benchmark import examine

    changes = _changes(epochs, per_class, classes, dataset, side, precision, teacher_epochs, store)
    wanted = _plan(folder, plan, pair, row, seeds, scale, changes)
    fine = True
    for finding in examine(
        wanted,
        folder,
        workers=workers,
        root=data,
        device=device,
        probing=time,
        price=price,
        checkpoints=_files(checkpoint),
    ):
        typer.echo(str(finding))
        fine = fine and finding.fine
    if not fine:
        raise typer.Exit(2)


@app.command("train-teacher")
@plainly
def train_teacher(
    network: Annotated[str, typer.Argument(help="Its name, as resnet56, or package.module:function.")],
    scale: ScaleName = "small",
    folder: Folder = Path("runs"),
    seed: Annotated[int, typer.Option(help="Of weights, order and views.")] = 0,
    epochs: Epochs = None,
    per_class: PerClass = None,
    classes: Classes = None,
    dataset: DataSet = None,
    side: ImageSide = None,
    precision: Precision = None,
    data: Data = None,
    device: Device = None,
) -> None:
    """Train a teacher, or go on training it; bench and distill use the one of seed 0 that their folder has."""
    from kcd_teach.benchmark import Store
    from kcd_teach.benchmark import train_teacher as train
    from kcd_teach.benchmark.runner import Bar, device_here

    changed = _scale(
        scale,
        teacher_epochs=epochs,
        per_class=per_class,
        classes=classes,
        dataset=dataset,
        side=side,
        precision=precision,
    )
    teacher = train(network, changed, Store(folder), seed=seed, root=data, device=device_here(device), watch=Bar(0))
    if teacher is None:
        raise RuntimeError(f"another process is training {network} in {folder}; wait for it")
    typer.echo(f"teacher {teacher}")
    typer.echo(f"weights {teacher.file(Store(folder))}")


@app.command()
@plainly
def bench(
    plan: PlanName = None,
    pair: Pairs = None,
    row: Rows = None,
    seeds: Seeds = None,
    scale: PlanScale = None,
    folder: Folder = Path("runs"),
    workers: Side = None,
    checkpoint: Checkpoints = None,
    epochs: Epochs = None,
    per_class: PerClass = None,
    classes: Classes = None,
    dataset: DataSet = None,
    side: ImageSide = None,
    precision: Precision = None,
    teacher_epochs: TeacherEpochs = None,
    store: CacheOption = None,
    data: Data = None,
    device: Device = None,
    engine: Engine = "local",
    address: Address = None,
    per_gpu: PerGpu = None,
) -> None:
    """Run what is missing of a plan and print its table; teachers that are missing are trained first.

    A folder remembers its plan: an option that is not given stays as it was there, and without any that plan goes on.
    """
    changes = _changes(epochs, per_class, classes, dataset, side, precision, teacher_epochs, store)
    wanted = _plan(folder, plan, pair, row, seeds, scale, changes)
    _run(wanted, folder, _files(checkpoint), data, device, **_engine(engine, workers, address, per_gpu))


@app.command()
@plainly
def distill(
    pair: Annotated[str, typer.Option(help="As V13:V8 (or 'V13>V8', in quotes), or TEACHER:STUDENT.")],
    row: Annotated[str, typer.Option(help="As KD, KC-CRD, KC-KD@released.")] = "KC-KD",
    seed: Annotated[int, typer.Option(help="Of weights, order, views and selection.")] = 0,
    scale: ScaleName = "small",
    folder: Folder = Path("runs"),
    checkpoint: Checkpoints = None,
    epochs: Epochs = None,
    per_class: PerClass = None,
    classes: Classes = None,
    dataset: DataSet = None,
    side: ImageSide = None,
    precision: Precision = None,
    teacher_epochs: TeacherEpochs = None,
    store: CacheOption = None,
    data: Data = None,
    device: Device = None,
) -> None:
    """Train one student, on one thread as bench does: a single cell and seed of the table. The folder's plan stays."""
    from kcd_teach.benchmark import make_plan

    changes = _changes(epochs, per_class, classes, dataset, side, precision, teacher_epochs, store)
    wanted = make_plan([pair], [row], [seed], _scale(scale, **changes))
    _run(wanted, folder, _files(checkpoint), data, device, remember=False)


def _plan(
    folder: Path,
    stored: str | None,
    pairs: list[str] | None,
    rows: list[str] | None,
    seeds: int | None,
    scale: str | None,
    changes: dict[str, Any],
) -> Any:
    """The plan of the options; the rest is that of a stored study, or of the folder, or else all of the table."""
    from kcd_teach.benchmark import Prepared, Store, find_plan, make_plan

    plan = make_plan(
        None if pairs == ["all"] else pairs,
        None if rows == ["all"] else rows,
        seeds=1 if seeds is None else seeds,
        scale=_scale(scale or "small", **changes),
    )
    try:
        before = find_plan(stored) if stored else Prepared.load(Store(folder)).plan
    except FileNotFoundError:
        if stored:
            raise
        return plan
    except ValueError:
        if stored or pairs is None or rows is None:  # what it was cannot be known
            raise
        return plan
    merged = dataclasses.replace(
        plan,
        pairs=before.pairs if pairs is None else plan.pairs,
        rows=before.rows if rows is None else plan.rows,
        seeds=before.seeds if seeds is None else plan.seeds,
        scale=before.scale.but(**changes) if scale is None else plan.scale,
        only=before.only if rows is None and seeds is None else {},
    )
    if merged == before and not stored:
        typer.echo(f"going on with the plan of {folder}: {merged}")
    return merged


def _run(
    plan: Any, folder: Path, checkpoints: dict[str, str], data: Path | None, device: str | None, **settings: Any
) -> None:
    """Carry out a plan and print its table; what diverged ends in exit code 1."""
    from kcd_teach.benchmark import Store, make_table, run_plan

    settings["announce"] = lambda text: typer.echo(printable(text))
    outcome = run_plan(plan, folder, root=data, device=device, checkpoints=checkpoints, **settings)
    typer.echo(_formatted(make_table(outcome.prepared, store := Store(folder))))
    students = store.students()
    kept = [students[unit.key] for unit in outcome.prepared.units() if unit.key in students]
    if len(kept) == 1:
        typer.echo(f"student {kept[0]}")
    elif kept:
        typer.echo(f"{len(kept)} students are in {store.folder / 'students'}, named by pair, row and seed")
    for name, error in outcome.diverged.items():
        typer.echo(f"not stored: {name}: {error}", err=True)
    if outcome.diverged:
        raise typer.Exit(1)


@app.command()
@plainly
def grade(
    folder: Annotated[Path, typer.Argument(help="Learners' notebooks, under any names, a subfolder for each or not.")],
    csv: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File to write the table to as well, for a spreadsheet."),
    ] = None,
    limit: Annotated[float, typer.Option(help="Seconds that a single answer may take.")] = 20.0,
) -> None:
    """Say which exercises are solved in a folder of learners' notebooks: right, not yet, not tried, or cannot run.

    This runs code that learners wrote. Of every notebook it takes only the functions in the cells of the exercises, and
    runs them in a process of their own with a time limit. They are no more protected than that: what these functions do to
    files, memory or network is not prevented. Use an account or a container of its own for notebooks that you do not trust.
    """
    from kcd_teach._files import written_whole
    from kcd_teach.lessons import grading

    grades = grading.grade(folder, limit)
    typer.echo(grades.text())
    if csv is not None:
        with written_whole(csv) as file:
            file.write(grades.csv().encode())
        typer.echo(f"wrote {csv}")


@app.command("app")
@plainly
def show_laboratory(
    port: Annotated[int, typer.Option(help="Of the address on this machine; any free one by default.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Show all instruments of the course on one page of this machine, for a lecture, until Ctrl-C."""
    from kcd_teach.lessons.laboratory import serve

    try:
        serve(port, browser, typer.echo)
    except KeyboardInterrupt:
        typer.echo("stopped")


app.command()(table)
app.command()(plot)
app.command()(status)
app.command()(tensorboard)
app.command()(lab)


if __name__ == "__main__":
    app()
