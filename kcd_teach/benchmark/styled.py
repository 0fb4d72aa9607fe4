"""How does the table look in a notebook? Ours large, published and gain small below it, for light and dark pages."""

from kcd_teach.benchmark.published import NOTES, note_of
from kcd_teach.benchmark.table import EMPTY, BenchmarkTable, Cell
from kcd_teach.figures.table import Stack, Table

EXPLAINED = (
    "Accuracy of the last epoch in percent, mean ± 95 % interval over n runs. Δ: ours minus published. Gain: condensed "
    f"minus plain, paired by seed, in points; bold where its interval leaves out zero. {EMPTY} (hatched): not run."
)


def styled(table: BenchmarkTable) -> Table:
    """A row per method, a column per pair; what was not run is hatched."""
    plan = table.prepared.plan
    rows: list[list[str | Stack]] = [["Teacher", *(_teacher(table, pair.teacher) for pair in plan.pairs)]]
    for row, cells in table.cells.items():
        rows.append([_with_note(row), *(_stack(cell) for cell in cells.values())])
    size = f"Scale {plan.scale.name!r}, {table.runs} of {len(plan.pairs) * len(plan.rows) * len(plan.seeds)} runs."
    caption = " ".join(filter(None, [EXPLAINED, size, table.apart, table.mingled, *_notes(table)]))
    return Table(["method", *(pair.name for pair in plan.pairs)], rows, caption, wide=True)


def _with_note(row: str) -> str:
    return f"{row} ({note_of(row)})" if note_of(row) else row


def _teacher(table: BenchmarkTable, network: str) -> Stack:
    teacher = table.prepared.teachers.get(network)
    if teacher is None:
        return Stack([EMPTY], empty=True)
    printed = [] if teacher.published is None else [f"published {teacher.published:.2f}"]
    return Stack([f"{100 * teacher.accuracy:.2f}", *printed])


def _stack(cell: Cell) -> Stack:
    """Ours; what was published and how far ours is from it; the gain, bold if it is more than noise."""
    lines = [EMPTY if cell.ours is None else str(cell.ours)]
    if cell.published is not None:
        apart = "" if cell.difference is None else f", Δ {cell.difference:+.2f}"
        lines.append(f"published {cell.published}{apart}")
    if cell.gain is None:
        return Stack(lines, empty=cell.ours is None)
    lines.append(f"gain {cell.gain.text('+')}" + ("" if cell.gain.n == cell.wanted else f" (n = {cell.gain.n})"))
    return Stack(lines, strong=() if cell.gain.covers_zero else (len(lines) - 1,))


def _notes(table: BenchmarkTable) -> list[str]:
    """The notes that this table refers to."""
    cells = [cell for row in table.cells.values() for cell in row.values()]
    used = {note_of(cell.row) for cell in cells} | {cell.published.note for cell in cells if cell.published is not None}
    return [f"({letter}) {text}" for letter, text in NOTES.items() if letter in used]
