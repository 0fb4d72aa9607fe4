"""Pictures of the benchmark: curves while it runs, and ablations."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import Table, dots_and_interval, grouped_by_verdict, label_rows
from kcd_teach.figures.style import colour, new_figure, styled
from kcd_teach.statistics import interval

Curves = Mapping[str, Mapping[int, Sequence[float]]]
"""Row -> seed -> a number per epoch."""

NO_RUN = "no run yet"


def role_of(row: str) -> str:
    """The role whose colour a row of the benchmark has: the student alone, all samples, condensed, or any samples."""
    if row == "Student":
        return "student"
    if row.endswith("@random"):
        return "dropped"
    return "kept" if row.startswith("KC-") else "teacher"


def say_no_run(axes: Axes) -> None:
    """Words in the middle of empty axes."""
    axes.text(0.5, 0.5, NO_RUN, transform=axes.transAxes, ha="center", va="center", color=colour("dropped"))


def not_run(rows: Sequence[str]) -> list[str]:
    """The sentence of a reading that names the rows without a run; none if there are none."""
    return [f"Not run yet: {', '.join(rows)}."] if rows else []


@styled
def run_curves(
    curves: Curves, title: str, *, epochs: int, ends: Mapping[str, Sequence[int]] | None = None,
    running: Curves | None = None, quantity: str = "test accuracy (%)",
) -> Picture:  # fmt: skip
    """A panel per row with a line per seed, all other rows in grey behind it; runs that are under way drawn on top.

    Args:
        curves: of finished runs; a row without one is drawn empty.
        title: of the figure.
        epochs: of a run, the width of every panel; a longer curve makes it wider.
        ends: row -> epochs, counted from 1, after which its set of samples changes.
        running: of unfinished runs, drawn with a dot where they are; a row that ``curves`` lacks gets its own panel.
        quantity: what the curves hold, with its unit.
    """
    ends, under_way = ends or {}, _unfinished(curves, running or {})
    rows = [*curves, *(row for row in under_way if row not in curves)]
    epochs = max([epochs, *(len(line) for runs in under_way.values() for line in runs.values())])
    figure, panels = _grid_of(rows, title)
    lines = [line for runs in curves.values() for line in runs.values()]
    for axes, row in zip(panels, rows, strict=False):
        for line in lines:
            axes.plot(range(1, len(line) + 1), line, color=colour("dropped"), alpha=min(0.2, 3 / len(lines)),
                      linewidth=0.7, zorder=1)  # fmt: skip
        _panel(axes, row, curves.get(row, {}), under_way.get(row, {}))
        for end in ends.get(row, ()):
            axes.axvline(end + 0.5, color=colour("dropped"), linewidth=0.7, linestyle=":", zorder=0)
    panels[0].set_xlim(0.5, epochs + 0.5)
    if not lines and not under_way:
        panels[0].set_yticks([])
    figure.supxlabel("epoch" + (" (dotted: the set of samples changes)" if ends else ""), fontsize=10)
    figure.supylabel(quantity, fontsize=10)
    alt = (
        f"A panel for each of {len(rows)} rows, {quantity} after every epoch, one line per seed, the other rows in "
        f"grey; {len(lines)} finished runs, {sum(map(len, under_way.values()))} unfinished."
    )
    return Picture(figure, alt, _curves_reading(curves, under_way, epochs, quantity))


def _grid_of(rows: Sequence[str], title: str) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per row, four beside each other, and at least one."""
    columns = min(4, max(1, len(rows)))
    lines = max(1, -(-len(rows) // columns))
    width, height = (2.3 * columns + 0.6, 1.9 * lines + 0.7) if len(rows) > 1 else (6.0, 3.6)
    figure, panels = new_figure(width, height, lines, columns, sharex=True, sharey=True)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    for axes in panels[max(1, len(rows)) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(rows) - columns) : len(rows)]:
        axes.tick_params(labelbottom=True)
    return figure, panels


def _unfinished(curves: Curves, running: Curves) -> dict[str, dict[int, Sequence[float]]]:
    """Curves under way without those that are finished by now."""
    found = {
        row: {seed: line for seed, line in runs.items() if seed not in curves.get(row, {})}
        for row, runs in running.items()
    }
    return {row: runs for row, runs in found.items() if runs}


def _panel(axes: Axes, row: str, runs: Mapping[int, Sequence[float]], running: Mapping[int, Sequence[float]]) -> None:
    tint = colour(role_of(row))
    for line in runs.values():
        axes.plot(range(1, len(line) + 1), line, color=tint, alpha=0.75, linewidth=1.1)
    for line in running.values():
        axes.plot(range(1, len(line) + 1), line, color=tint, linewidth=2.2)
        axes.plot(len(line), line[-1], "o", color=tint, markersize=6, markeredgecolor="white")
    axes.set_title(row, fontsize=10, color=tint)
    axes.grid(alpha=0.2)
    if runs:
        said = interval([line[-1] for line in runs.values()]).text()
        axes.text(0.97, 0.04, said, transform=axes.transAxes, ha="right", color=tint, fontsize=9)
    if not runs and not running:
        say_no_run(axes)


def _curves_reading(curves: Curves, running: Curves, epochs: int, quantity: str) -> str:
    done = [f"{row} {interval([line[-1] for line in runs.values()])}" for row, runs in curves.items() if runs]
    texts = [f"After the last epoch, {quantity}, mean ± 95 % interval: {'; '.join(done)}."] if done else []
    for row, runs in running.items():
        texts += [f"Under way: {row} seed {seed}, epoch {len(line)} of {epochs}, {line[-1]:.2f}."
                  for seed, line in runs.items()]  # fmt: skip
    missing = not_run([row for row, runs in curves.items() if not runs and row not in running])
    return " ".join([*texts, *missing])


@styled
def ablation_differences(
    differences: Table, reference: str, title: str, *, meanings: Mapping[str, str] | None = None
) -> Picture:
    """What ``reference`` is ahead of every other row, paired by seed; right of zero speaks for it.

    Args:
        differences: other row -> seed -> reference minus other, percentage points; empty without a common seed.
        reference: the row that the others are taken from.
        title: of the figure.
        meanings: row -> what is different in it, in a few words.
    """
    meanings, rows = meanings or {}, list(differences)
    figure, (axes,) = new_figure(7.2, 1.1 + 0.48 * max(1, len(rows)))
    axes.axvline(0, color=colour("teacher"), linewidth=1.5)
    found = {row: list(runs.values()) for row, runs in differences.items() if runs}
    for place, row in enumerate(rows):
        if row in found:
            clear = not interval(found[row]).covers_zero
            dots_and_interval(axes, place, found[row], colour("kept" if clear else "dropped"))
        said = interval(found[row]).text("+") if row in found else NO_RUN
        axes.annotate(said, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9,
                      color=colour("teacher" if row in found else "dropped"))  # fmt: skip
    label_rows(axes, [f"{row}\n{meanings[row]}" if row in meanings else row for row in rows])
    axes.set(title=title, xlabel=f"{reference} minus this row, same seed (points): {reference} ahead →")
    axes.margins(x=0.08)
    alt = (
        f"{reference} minus each of {len(rows)} rows, a dot per seed with a 95 % interval around a zero line; blue where "
        "the interval leaves out zero, grey where not."
    )
    if not found:
        axes.set(xlim=(-1, 1), xticks=[])
    grouped = [grouped_by_verdict(found, f"{reference} against each row")] if found else []
    return Picture(figure, alt, " ".join([*grouped, *not_run([row for row in rows if row not in found])]))
