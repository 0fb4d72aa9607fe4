"""The published table beside our own runs, as Markdown, as CSV and for a notebook."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as RichTable

from kcd_teach._files import in_markdown, printable
from kcd_teach.benchmark.curves import last_accuracies, runs_of
from kcd_teach.benchmark.plan import Prepared
from kcd_teach.benchmark.published import (
    NOTES,
    STUDENT_BASELINES,
    Published,
    cell_notes,
    is_like,
    published,
    row_notes,
)
from kcd_teach.benchmark.settings import STUDENT, Row
from kcd_teach.benchmark.store import Record, Store
from kcd_teach.datasets import SOURCES
from kcd_teach.statistics import Interval, interval, paired_differences

if TYPE_CHECKING:
    from kcd_teach.figures.table import Table

EMPTY = "–"
"""Stands where nothing was run, or nothing published."""
UNLIKE = "unlike"
"""Stands in place of a difference where ours was made in another way than the published number."""
ALWAYS = ("f",)
"""Notes on rows that stand even where nothing was published: constants that are ours."""

PLAIN_COLUMN = 24
"""Columns of a terminal that a pair takes in a plain table."""

Lines = tuple[list[str], tuple[int, ...], bool]
"""A cell for a notebook: its lines, the positions of those in bold, and whether it is empty."""


@dataclass(frozen=True)
class Cell:
    """A pair and a row: published and ours, accuracies in percent, differences in percentage points.

    Attributes:
        pair, row: names.
        published: None where nothing was published.
        ours: mean and 95 % interval over the seeds; None without a run.
        wanted: seeds of the plan.
        gain: condensed minus plain, paired by seed; None for a plain row, or without a common seed.
        presentations: samples shown to the student, mean over the runs; None without a run.
        comparable: True if our runs were made with the images, epochs and batches of the published table.
    """

    pair: str
    row: str
    published: Published | None
    ours: Interval | None
    wanted: int
    gain: Interval | None = None
    presentations: float | None = None
    comparable: bool = False

    @property
    def baseline(self) -> float | None:
        """Published accuracy to compare with: as printed, except where note (a) corrects it."""
        if self.published is None:
            return None
        corrected = STUDENT_BASELINES if self.row == STUDENT.name else {}
        return corrected.get(self.pair, self.published.accuracy)

    @property
    def like(self) -> bool:
        """True if the published number was made in the way in which ours is made, as far as that is known."""
        return self.comparable and self.published is not None and is_like(self.row)

    @property
    def unlike(self) -> bool:
        """True if the published number was made in another way than ours, although images and epochs are the same."""
        return self.comparable and self.published is not None and not self.like

    @property
    def difference(self) -> float | None:
        """Ours minus :attr:`baseline`, like with like; None if either is missing, or made in another way."""
        if self.ours is None or self.baseline is None or not self.like:
            return None
        return self.ours.mean - self.baseline

    @property
    def printed(self) -> str:
        """The published number with the notes on it alone, as ``"74.84 (h)"``."""
        number = EMPTY if self.published is None else f"{self.published.accuracy:.{self.published.digits}f}"
        return number + lettered(cell_notes(self.row, self.pair))

    @property
    def notes(self) -> tuple[str, ...]:
        """Keys of all notes on it, those on its row first."""
        of_row = (letter for letter in row_notes(self.row) if self.published is not None or letter in ALWAYS)
        return (*of_row, *cell_notes(self.row, self.pair))


@dataclass(frozen=True)
class BenchmarkTable:
    """All cells of a plan, and the notes on them.

    Attributes:
        prepared: the plan and its teachers.
        cells: by name of the row, then of the pair, in the plan's order.
        environments: in which it was computed, device and version of torch.
    """

    prepared: Prepared
    cells: Mapping[str, Mapping[str, Cell]]
    environments: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        """Runs that the table rests on, one that pairs share counted in each of them."""
        return sum(cell.ours.n for row in self.cells.values() for cell in row.values() if cell.ours is not None)

    @property
    def apart(self) -> str:
        """The reason why our numbers cannot be compared with the published ones; empty where they can."""
        scale = self.prepared.plan.scale
        if scale.is_published:
            return ""
        if _own_images(self.prepared):
            return "Nothing was published about these images, so our numbers stand alone."
        return (
            f"Scale {scale.name!r} ({self.prepared.num_samples:,} images, {scale.epochs} epochs) is not the published "
            "recipe (50,000 images, 240 epochs), so our numbers cannot be compared with the published ones."
        )

    @property
    def mingled(self) -> str:
        """That the runs come from several environments, a sentence, as their results differ a little; else empty."""
        if len(self.environments) < 2:
            return ""
        return f"Computed in {len(self.environments)} environments: {'; '.join(self.environments)}."

    @property
    def circumstances(self) -> list[str]:
        """What else sets our runs apart from the published ones where both have one recipe, a sentence each."""
        scale = self.prepared.plan.scale
        if not scale.is_published:
            return []
        found = []
        if self.prepared.teachers:
            origins: dict[str, list[str]] = {}
            for name, teacher in self.prepared.teachers.items():
                origins.setdefault(teacher.origin, []).append(name)
            ours = "; ".join(f"{', '.join(names)} {origin}" for origin, names in origins.items())
            found.append(f"The published students had the teachers that RepDistiller published; ours had {ours}.")
        if scale.precision != "float32":
            found.append(f"Our networks were run in {scale.precision}; the published recipe has float32.")
        if scale.store != "off":
            found.append("Our teachers' predictions were cached in half precision; the published ones were not.")
        return found

    @property
    def letters(self) -> tuple[str, ...]:
        """Keys of the notes that its cells refer to, in order."""
        return tuple(sorted({letter for row in self.cells for letter in (*self.of_row(row), *self._of_cells(row))}))

    def of_row(self, row: str) -> tuple[str, ...]:
        """Keys of the notes on all numbers of a row."""
        printed = any(cell.published is not None for cell in self.cells[row].values())
        return tuple(letter for letter in row_notes(row) if printed or letter in ALWAYS)

    def _of_cells(self, row: str) -> tuple[str, ...]:
        return tuple(letter for cell in self.cells[row].values() for letter in cell_notes(row, cell.pair))

    @property
    def has_unlike(self) -> bool:
        """True if any of our runs stands beside a published number that was made in another way."""
        return any(cell.unlike and cell.ours is not None for row in self.cells.values() for cell in row.values())

    def unlike(self) -> dict[str, tuple[str, ...]]:
        """Pair -> rows whose published number was made in another way than ours."""
        return {
            pair.name: tuple(row for row, cells in self.cells.items() if cells[pair.name].unlike)
            for pair in self.prepared.plan.pairs
        }

    def beside(self) -> dict[str, dict[str, tuple[float | None, Interval | None]]]:
        """Pair -> row -> (published accuracy to compare with, ours), percent; None where there is none."""
        names = [pair.name for pair in self.prepared.plan.pairs]
        return {
            name: {row: (cells[name].baseline, cells[name].ours) for row, cells in self.cells.items()} for name in names
        }

    def rows(self) -> list[dict[str, Any]]:
        """A plain dict per cell, in order; ``None`` where nothing was run or published."""
        return [_plain(cell) for row in self.cells.values() for cell in row.values()]

    def csv(self) -> str:
        """A line per cell; empty fields where nothing was run or published."""
        lines = io.StringIO()
        rows = self.rows()
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return lines.getvalue()

    def markdown(self) -> str:
        """The table as the poster has it, each cell with the published number above ours, and the notes below."""
        pairs = [in_markdown(pair.name) for pair in self.prepared.plan.pairs]
        head = ["| Method | " + " | ".join(pairs) + " |", "| --- |" + " --- |" * len(pairs)]
        lines = ["| Teacher | " + " | ".join(self._teacher(pair.teacher) for pair in self.prepared.plan.pairs) + " |"]
        for row, cells in self.cells.items():
            name = in_markdown(row) + lettered(self.of_row(row))
            lines.append(f"| {name} | " + " | ".join(_text(cell) for cell in cells.values()) + " |")
        return "\n".join([*head, *lines, "", *map(in_markdown, self.notes()), ""])

    def plain(self, width: int) -> str:
        """The table for a terminal of so many columns: as many pairs beside each other as fit, and the notes below."""
        networks = {pair.name: pair.teacher for pair in self.prepared.plan.pairs}
        names = {row: printable(row) + lettered(self.of_row(row)) for row in self.cells}
        beside = max(1, (width - max(map(len, ["Method", *names.values()])) - 2) // PLAIN_COLUMN)
        said = io.StringIO()
        console = Console(file=said, width=width, color_system=None, highlight=False, emoji=False, markup=False)
        for start in range(0, len(networks), beside):
            some = list(networks)[start : start + beside]
            grid = RichTable("Method", *map(printable, some), box=SIMPLE, show_lines=True)
            grid.add_row("Teacher", *("\n".join(self._teacher_lines(networks[pair])[0]) for pair in some))
            for row, cells in self.cells.items():
                grid.add_row(names[row], *("\n".join(_lines(cells[pair])[0]) for pair in some))
            console.print(grid)
        for note in self.notes():
            console.print(printable(note))
        return "\n".join(line.rstrip() for line in said.getvalue().splitlines())

    def styled(self) -> "Table":
        """The table for a notebook: ours large, published and gain small below it; what was not run is hatched."""
        from kcd_teach.figures.table import Stack, Table  # only here, as runs in other processes draw nothing

        plan = self.prepared.plan
        rows: list[list[str | Stack]] = [
            ["Teacher", *(Stack(*self._teacher_lines(pair.teacher)) for pair in plan.pairs)]
        ]
        for row, cells in self.cells.items():
            rows.append([row + lettered(self.of_row(row)), *(Stack(*_lines(cell)) for cell in cells.values())])
        size = f"Scale {plan.scale.name!r}, {self.runs} of {plan.num_runs} runs."
        unlike = UNLIKE_EXPLAINED if self.has_unlike else ""
        notes = [f"({letter}) {NOTES[letter]}" for letter in self.letters]
        said = [EXPLAINED, size, self.apart, unlike, *self.circumstances, self.mingled, *notes]
        caption = " ".join(filter(None, said))
        return Table(["method", *(pair.name for pair in plan.pairs)], rows, caption, wide=True)

    def notes(self) -> list[str]:
        """What must be known to read the table, one paragraph each."""
        plan = self.prepared.plan
        scale = plan.scale
        size = f"{self.prepared.num_samples:,} training images of {scale.dataset}, {scale.epochs} epochs"
        notes = [
            "Each cell: published / ours, accuracy of the last epoch in percent, mean ± 95 % interval over n seeds; "
            "Δ ours minus published; gain condensed minus plain, paired by seed, percentage points. "
            f"{EMPTY} was not run, or not published. How many runs a published number averages is not established.",
            f"Ours: scale {scale.name!r}, {size}; {self.runs} of {plan.num_runs} runs."
            + ("" if _own_images(self.prepared) else " Published: 50,000 images of CIFAR-100, 240 epochs."),
        ]
        if self.apart:
            notes.append(f"{self.apart} Δ is left out.")
        if self.has_unlike:
            notes.append(UNLIKE_EXPLAINED)
        notes += self.circumstances
        if self.mingled:
            notes.append(self.mingled)
        return notes + [f"({letter}) {NOTES[letter]}" for letter in self.letters]

    def _teacher(self, network: str) -> str:
        teacher = self.prepared.teachers.get(network)
        if teacher is None:
            return f"{EMPTY} / {EMPTY}"
        unknown = teacher.published is None or _own_images(self.prepared)
        printed = EMPTY if unknown else f"{teacher.published:.2f}"
        return f"{printed} / {100 * teacher.accuracy:.2f}"

    def _teacher_lines(self, network: str) -> Lines:
        teacher = self.prepared.teachers.get(network)
        if teacher is None:
            return [EMPTY], (), True
        unknown = teacher.published is None or _own_images(self.prepared)
        printed = [] if unknown else [f"published {teacher.published:.2f}"]
        return [f"{100 * teacher.accuracy:.2f}", *printed], (), False


UNLIKE_EXPLAINED = (
    f"{UNLIKE.capitalize()}: the published number was made in another way than ours, which the letter beside the row "
    "explains, so there is no Δ."
)

EXPLAINED = (
    "Accuracy of the last epoch in percent, mean ± 95 % interval over n runs. Δ: ours minus published. Gain: condensed "
    f"minus plain, paired by seed, in points; bold where its interval leaves out zero. {EMPTY} (hatched): not run."
)


def lettered(notes: tuple[str, ...]) -> str:
    """Keys of notes as they stand behind a name or a number, ``" (e, j)"``; empty without one."""
    return f" ({', '.join(notes)})" if notes else ""


def _own_images(prepared: Prepared) -> bool:
    """True for images of a folder, or registered by a user, beside which a number of CIFAR-100 has no place."""
    return prepared.plan.scale.dataset not in SOURCES


def make_table(prepared: Prepared, store: Store) -> BenchmarkTable:
    """The table of a plan from what a folder holds; runs of any other configuration in it are left alone."""
    records = store.records()
    found = {
        row.name: {pair.name: runs_of(prepared, pair, row, records) for pair in prepared.plan.pairs}
        for row in prepared.plan.rows
    }
    cells = {
        row.name: {pair: _cell(prepared, row, pair, found) for pair in found[row.name]} for row in prepared.plan.rows
    }
    runs = [run for pairs in found.values() for by_seed in pairs.values() for run in by_seed.values()]
    environments = {environment for run in runs for environment in _environments(run)}
    return BenchmarkTable(prepared, cells, tuple(sorted(environments)))


def _environments(run: Record) -> list[str]:
    """The environments in which a run was computed; older records name only the one in which it ended."""
    return list(run["places"]) if "places" in run else [f"{run['device']}, torch {run['versions']['torch']}"]


def _cell(prepared: Prepared, row: Row, pair: str, found: Mapping[str, Mapping[str, dict[int, Record]]]) -> Cell:
    runs = found[row.name][pair]
    ours = last_accuracies(runs)
    others = [found[other.name][pair] for other in prepared.plan.rows if row.is_condensed_of(other)]
    plain = last_accuracies(others[0]) if others else {}
    paired = bool(ours.keys() & plain.keys())
    return Cell(
        pair,
        row.name,
        None if _own_images(prepared) else published(row.name, pair),
        ours=interval(list(ours.values())) if ours else None,
        wanted=len(prepared.plan.seeds_of(row)),
        gain=interval(paired_differences(ours, plain)) if paired else None,
        presentations=interval([record["presentations"] for record in runs.values()]).mean if runs else None,
        comparable=prepared.plan.scale.is_published,
    )


def _plain(cell: Cell) -> dict[str, Any]:
    ours, gain, printed = cell.ours, cell.gain, cell.published
    return {
        "row": cell.row,
        "pair": cell.pair,
        "published": None if printed is None else printed.accuracy,
        "published_delta": None if printed is None else printed.delta,
        "note": " ".join(cell.notes),
        "ours": None if ours is None else round(ours.mean, 4),
        "ours_half_width": _half_width(ours),
        "n": 0 if ours is None else ours.n,
        "wanted": cell.wanted,
        "like_with_like": cell.like,
        "difference": None if cell.difference is None else round(cell.difference, 4),
        "gain": None if gain is None else round(gain.mean, 4),
        "gain_half_width": _half_width(gain),
        "gain_n": 0 if gain is None else gain.n,
        "presentations": cell.presentations,
    }


def _half_width(found: Interval | None) -> float | None:
    """Of an interval; None without one, and for a single run, which has none."""
    return None if found is None or found.n < 2 else round(found.half_width, 4)


def _text(cell: Cell) -> str:
    """A cell of the Markdown table."""
    if cell.ours is None:
        return f"{cell.printed} / {EMPTY}"
    text = f"{cell.printed} / {cell.ours.text()} (n = {cell.ours.n})"
    if cell.difference is not None:
        text += f"; Δ {cell.difference:+.2f}"
    if cell.unlike:
        text += f"; {UNLIKE}"
    if cell.gain is not None:
        text += f"; gain {cell.gain.text('+')} (n = {cell.gain.n})"
    return text


def _lines(cell: Cell) -> Lines:
    """Ours; what was published and how far ours is from it; the gain, bold if it is more than noise."""
    lines = [EMPTY if cell.ours is None else str(cell.ours)]
    if cell.published is not None:
        apart = "" if cell.difference is None else f", Δ {cell.difference:+.2f}"
        if cell.unlike and cell.ours is not None:
            apart = f", {UNLIKE}"
        lines.append(f"published {cell.printed}{apart}")
    if cell.gain is None:
        return lines, (), cell.ours is None
    lines.append(f"gain {cell.gain.text('+')}" + ("" if cell.gain.n == cell.wanted else f" (n = {cell.gain.n})"))
    return lines, () if cell.gain.covers_zero else (len(lines) - 1,), False
