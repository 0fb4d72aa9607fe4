"""How does the table look in a notebook? Ours large, published and gain small below it, for light and dark pages."""

from kcd_teach.benchmark.published import NOTES
from kcd_teach.benchmark.table import EMPTY, UNLIKE, UNLIKE_EXPLAINED, BenchmarkTable, Cell, lettered
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
        rows.append([row + lettered(table.of_row(row)), *(_stack(cell) for cell in cells.values())])
    size = f"Scale {plan.scale.name!r}, {table.runs} of {plan.num_runs} runs."
    unlike = UNLIKE_EXPLAINED if table.has_unlike else ""
    notes = [f"({letter}) {NOTES[letter]}" for letter in table.letters]
    said = [EXPLAINED, size, table.apart, unlike, *table.circumstances, table.mingled, *notes]
    caption = " ".join(filter(None, said))
    return Table(["method", *(pair.name for pair in plan.pairs)], rows, caption, wide=True)


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
        if cell.unlike and cell.ours is not None:
            apart = f", {UNLIKE}"
        lines.append(f"published {cell.printed}{apart}")
    if cell.gain is None:
        return Stack(lines, empty=cell.ours is None)
    lines.append(f"gain {cell.gain.text('+')}" + ("" if cell.gain.n == cell.wanted else f" (n = {cell.gain.n})"))
    return Stack(lines, strong=() if cell.gain.covers_zero else (len(lines) - 1,))
