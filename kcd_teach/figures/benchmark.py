"""Pictures of the benchmark: curves while it runs, accuracy against cost, ablations, published beside ours."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import (
    Accuracies,
    dots_and_interval,
    join_names,
    label_rows,
    limit_heights,
    listed,
    spoken_verdict,
)
from kcd_teach.figures.style import ROLES, colour, headline, new_figure, styled
from kcd_teach.statistics import Interval, interval

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
    curves: Curves,
    title: str,
    *,
    epochs: int,
    ends: Mapping[str, Sequence[int]] | None = None,
    running: Curves | None = None,
    quantity: str = "test accuracy (%)",
) -> Picture:
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
            axes.plot(
                range(1, len(line) + 1),
                line,
                color=colour("dropped"),
                alpha=min(0.2, 3 / len(lines)),
                linewidth=0.7,
                zorder=1,
            )
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
    return Picture(figure, alt, *_curves_reading(curves, under_way, epochs, quantity))


def _grid_of(rows: Sequence[str], title: str) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per row, four beside each other, and at least one."""
    columns = min(4, max(1, len(rows)))
    lines = max(1, -(-len(rows) // columns))
    width, height = (2.3 * columns + 0.6, 1.9 * lines + 0.7) if len(rows) > 1 else (6.0, 3.6)
    figure, panels = new_figure(width, height, lines, columns, sharex=True, sharey=True)
    headline(figure, title)
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


def _curves_reading(curves: Curves, running: Curves, epochs: int, quantity: str) -> tuple[str, str]:
    """Which row ends highest, what is under way and what is missing; then the numbers."""
    done = {row: interval([line[-1] for line in runs.values()]) for row, runs in curves.items() if runs}
    texts, numbers = [], ""
    if done:
        top = max(done, key=lambda row: done[row].mean)
        texts = [f"{top} ends {'highest, ' if len(done) > 1 else ''}at {done[top].mean:.2f}{_as_far(done, top)}."]
        ends = "; ".join(f"{row} {found}" for row, found in done.items())
        numbers = f"After the last epoch, {quantity}, mean ± 95 % interval: {ends}."
    for row, runs in running.items():
        texts += [
            f"Under way: {row} seed {seed}, epoch {len(line)} of {epochs}, {line[-1]:.2f}."
            for seed, line in runs.items()
        ]
    missing = not_run([row for row, runs in curves.items() if not runs and row not in running])
    return " ".join([*texts, *missing]), numbers


def _as_far(found: Mapping[str, Interval], top: str) -> str:
    """Which rows' intervals hold the highest mean, too, so that nobody takes a lead within the noise for a victory."""
    near = [row for row, one in found.items() if row != top and one.mean + one.half_width >= found[top].mean]
    return f"; this mean lies within the interval of {join_names(near)}, too" if near else ""


@styled
def ablation_differences(
    differences: Accuracies, reference: str, title: str, *, meanings: Mapping[str, str] | None = None
) -> Picture:
    """Difference of ``reference`` to every other row, paired by seed; right of zero, ``reference`` is better.

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
    for position, row in enumerate(rows):
        if row in found:
            clear = not interval(found[row]).covers_zero
            dots_and_interval(axes, position, found[row], colour("kept" if clear else "dropped"))
        said = interval(found[row]).text("+") if row in found else NO_RUN
        axes.annotate(
            said,
            (1.01, position),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=colour("teacher" if row in found else "dropped"),
        )
    label_rows(axes, [f"{row}\n{meanings[row]}" if row in meanings else row for row in rows])
    headline(figure, title)  # of the figure, as the names of rows take the left half of it
    axes.set(xlabel=f"{reference} minus this row, same seed (points): {reference} ahead →")
    axes.margins(x=0.08)
    alt = (
        f"{reference} minus each of {len(rows)} rows, a dot per seed with a 95 % interval around a zero line; blue where "
        "the interval leaves out zero, grey where not."
    )
    if not found:
        axes.set(xlim=(-1, 1), xticks=[])
    missing = " ".join(not_run([row for row in rows if row not in found]))
    if not found:
        return Picture(figure, alt, missing)
    # The other way round: what a row is worth is said of the row, not of the reference.
    turned = {row: [-value for value in values] for row, values in found.items()}
    return Picture(
        figure, alt, spoken_verdict(turned, reference), f"{reference} minus each row. {listed(found)} {missing}".strip()
    )


STEP, ROOM = 0.5, 6.0
"""Percent of cost between two rows that cost the same and are drawn side by side, and that a name needs."""


@styled
def cost_accuracy(accuracies: Accuracies, costs: Mapping[str, float], title: str, *, plain: str = "KD") -> Picture:
    """Accuracy against cost, a point per seed and an interval per row; better is above and left of ``plain``.

    Args:
        accuracies: row -> seed -> percent; a row without a run is named in the reading.
        costs: row -> samples shown, relative to a plain row.
        title: of the figure.
        plain: the row whose position divides the figure, if it was run.
    """
    found = {row: interval(list(runs.values())) for row, runs in accuracies.items() if runs}
    figure, (axes,) = new_figure(7.2, 4.6)
    missing = not_run([row for row in accuracies if row not in found])
    headline(figure, title)
    axes.set(xlabel="cost: samples shown to the student (% of a plain row)", ylabel="test accuracy (%)")
    if not found:
        say_no_run(axes)
        axes.set(xticks=[], yticks=[])
        return Picture(figure, "Axes for accuracy against cost, empty since nothing was run.", " ".join(missing))
    positions = _side_by_side(found, costs)
    for row, mean in found.items():
        role = ROLES[role_of(row)]
        runs = list(accuracies[row].values())
        seeds: dict[str, Any] = {"color": role.colour, "alpha": 0.4, "markersize": 4, "markeredgewidth": 0}
        axes.plot([positions[row]] * len(runs), runs, role.marker, **seeds)
        look: dict[str, Any] = {"fmt": role.marker, "markersize": 7, "capsize": 3, "color": role.colour}
        axes.errorbar(positions[row], mean.mean, 0 if mean.n == 1 else mean.half_width, **look)
    cut = limit_heights(axes, [value for row in found for value in accuracies[row].values()], found.values())
    _label_points(axes, found, positions)
    if plain in found:
        _shade_better(axes, positions[plain], found[plain].mean, plain)
    axes.grid(alpha=0.2)
    texts = [f"{row} {mean} at {100 * costs[row]:.0f} %" for row, mean in found.items()]
    alt = "Accuracy against cost, better is up and left; a mark and an interval per row: " + ", ".join(found) + "."
    top = max(found, key=lambda row: found[row].mean)
    said = (
        f"{top} has the highest mean, {found[top].mean:.2f} %, at {100 * costs[top]:.0f} % of a plain row's cost"
        f"{_as_far(found, top)}."
    )
    numbers = f"Accuracy in percent at its cost: {'; '.join(texts)}. Marks of one cost stand a little apart."
    return Picture(figure, alt, " ".join([said, *missing]), numbers + cut)


def _side_by_side(found: Mapping[str, Interval], costs: Mapping[str, float]) -> dict[str, float]:
    """Row -> where it is drawn, its cost in percent and a little to the side, so that intervals can be told apart."""
    same: dict[int, list[str]] = {}
    for row in sorted(found, key=lambda row: found[row].mean):
        same.setdefault(round(100 * costs[row]), []).append(row)
    return {
        row: 100 * costs[row] + STEP * (step - (len(rows) - 1) / 2)
        for rows in same.values()
        for step, row in enumerate(rows)
    }


def _groups(positions: Mapping[str, float]) -> list[list[str]]:
    """Rows from left to right, in groups with room for names between them."""
    groups: list[list[str]] = []
    for row in sorted(positions, key=lambda row: positions[row]):
        if groups and positions[row] - positions[groups[-1][-1]] < ROOM:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _label_points(axes: Axes, found: Mapping[str, Interval], positions: Mapping[str, float]) -> None:
    """The name of every row right of its group, a thin line to its point, no two names on each other."""
    low, high = axes.get_ylim()
    for group in _groups(positions):
        rows = sorted(group, key=lambda row: found[row].mean)
        heights = spread_apart([found[row].mean for row in rows], 0.055 * (high - low), low, high)
        beside = positions[group[-1]] + 0.9
        for row, height in zip(rows, heights, strict=True):
            axes.annotate(
                row,
                (positions[row], found[row].mean),
                (beside, height),
                va="center",
                fontsize=9,
                color=colour(role_of(row)),
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": colour("dropped")},
            )
    left, right = axes.get_xlim()
    axes.set(xlim=(left - 1, right + 0.22 * max(right - left, 4)), ylim=(low, high))
    axes.set_xticks([tick for tick in axes.get_xticks() if left - 1 <= tick <= max(100, max(positions.values()))])


def spread_apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions near ascending ``values``, at least ``gap`` apart, between ``low`` and ``high`` if they fit.

    >>> spread_apart([1.0, 1.0, 5.0], 1.0, 0.0, 5.0)
    [0.5, 1.5, 5.0]
    """
    positions = list(map(float, values))
    for _ in range(50):
        for i in range(len(positions) - 1):
            short = gap - (positions[i + 1] - positions[i])
            if short > 1e-9:
                positions[i], positions[i + 1] = positions[i] - short / 2, positions[i + 1] + short / 2
        shift = max(0.0, low - positions[0]) or min(0.0, high - positions[-1])
        positions = (
            [position + shift for position in positions]
            if shift and positions[-1] - positions[0] <= high - low
            else positions
        )
    return positions


def _shade_better(axes: Axes, position: float, height: float, plain: str) -> None:
    left, top = axes.get_xlim()[0], axes.get_ylim()[1]
    axes.fill_between([left, position], height, top, color=colour("kept"), alpha=0.07, linewidth=0, zorder=0)
    axes.text(
        0.015,
        0.975,
        f"↖ better than {plain}, at less cost",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
        color=colour("kept"),
    )


Cells = Mapping[str, Mapping[str, tuple[float | None, Interval | None]]]
"""Pair -> row -> (published accuracy, ours), percent; None where there is none."""

Unlike = Mapping[str, Collection[str]]
"""Pair -> rows whose published number was made in another way than ours."""


@styled
def published_beside_ours(cells: Cells, title: str, *, apart: str = "", unlike: Unlike | None = None) -> Picture:
    """Every pair a panel, every row a line: published and ours, joined; a cell without our run is left open.

    Where the published number was made in another way than ours, it is a cross, and nothing joins the two.

    Args:
        cells: pair -> row -> (published accuracy, ours).
        title: of the figure.
        apart: why ours cannot be compared with what was published; if given, ours are drawn alone.
        unlike: pair -> rows whose published number was made in another way than ours.
    """
    unlike = {} if apart or unlike is None else unlike
    crossed = any(unlike.get(pair) for pair in cells)
    rows = list(next(iter(cells.values())))
    columns = min(4, len(cells))
    lines = -(-len(cells) // columns)
    width, height = max(7.2, 1.2 + 2.4 * columns), lines * (0.6 + 0.21 * len(rows)) + 1.3
    figure, panels = new_figure(width, height, lines, columns, sharey=True)
    headline(figure, title)
    for axes, (pair, of_pair) in zip(panels, cells.items(), strict=False):
        label_rows(axes, rows)
        axes.set_title(pair, fontsize=10)
        for position, row in enumerate(rows):
            printed, ours = of_pair[row]
            _dumbbell(axes, position, row, None if apart else printed, ours, row not in unlike.get(pair, ()))
        _name_empty(axes, of_pair, apart)
    for axes in panels[len(cells) :]:
        axes.set_axis_off()
    _explain(panels[0], apart, crossed, any(ours is not None and ours.n > 1 for _, ours in _all(cells)))
    figure.supxlabel("\n".join(["test accuracy (%)", *textwrap.wrap(apart, round(13 * width))]), fontsize=10)
    alt = f"A panel for each of {len(cells)} pairs of networks with a line for each of {len(rows)} rows: " + (
        "our accuracies with 95 % intervals alone."
        if apart
        else "a hollow square as published, ours with an interval"
        + (", and a cross for a published number that was made in another way." if crossed else ".")
    )
    return Picture(figure, alt, _reading(cells, apart, unlike))


def _dumbbell(axes: Axes, position: int, row: str, printed: float | None, ours: Interval | None, like: bool) -> None:
    """A hollow square as published, a filled mark with an interval of ours, a line between; words where ours is not.

    A published number that is not ``like`` ours is a cross instead, without a line.
    """
    look = ROLES[role_of(row)]
    if printed is not None:
        mark = "s" if like else "x"
        axes.plot(printed, position, mark, markersize=6, markerfacecolor="none", color=colour("dropped"), zorder=3)
    if ours is None:
        return
    if printed is not None and like:
        axes.plot([printed, ours.mean], [position, position], color=colour("dropped"), linewidth=1.2, zorder=2)
    half = 0.0 if ours.n == 1 else ours.half_width
    axes.errorbar(
        ours.mean, position, xerr=half, fmt=look.marker, markersize=6, capsize=2.5, color=look.colour, zorder=4
    )


def _name_empty(axes: Axes, of_pair: Mapping[str, tuple[float | None, Interval | None]], apart: str) -> None:
    """Say at every cell without our run that it has none, beside what was published, on the side with more room."""
    middle = sum(axes.get_xlim()) / 2
    for position, (printed, ours) in enumerate(of_pair.values()):
        if ours is not None:
            continue
        looks: dict[str, Any] = {"va": "center", "fontsize": 7.5, "color": colour("dropped")}
        if printed is None or apart:
            axes.annotate(NO_RUN, (0.5, position), xycoords=("axes fraction", "data"), ha="center", **looks)
        else:
            side = "left" if printed < middle else "right"
            axes.annotate(
                NO_RUN,
                (printed, position),
                (8 if side == "left" else -8, 0),
                textcoords="offset points",
                ha=side,
                **looks,
            )
    if all(ours is None and (apart or printed is None) for printed, ours in of_pair.values()):
        axes.set_xticks([])


def _explain(axes: Axes, apart: str, crossed: bool, several: bool) -> None:
    """A legend above the first panel; ``several`` if any cell has more than one run, hence an interval."""
    look: dict[str, Any] = {"markersize": 6, "markerfacecolor": "none", "color": colour("dropped")}
    if not apart:
        axes.plot([], [], "s", label="published", **look)
    if crossed:
        axes.plot([], [], "x", label="published, made otherwise", **look)
    ours = "ours, 95 % interval" if several else "ours"
    axes.errorbar([], [], xerr=[], fmt="o", markersize=6, color=colour("kept"), label=ours)
    axes.figure.legend(loc="outside upper right", fontsize=9, ncols=3, handletextpad=0.3)


def _all(cells: Cells) -> list[tuple[float | None, Interval | None]]:
    return [cell for of_pair in cells.values() for cell in of_pair.values()]


def _reading(cells: Cells, apart: str, unlike: Unlike) -> str:
    """How far ours are from what was published, like with like, and how much is missing."""
    everything = _all(cells)
    run = [ours for _, ours in everything if ours is not None]
    start = f"{len(run)} of {len(everything)} cells were run."
    if apart:
        return f"{start} {apart} Ours are drawn alone."
    left = dict.fromkeys(
        row for pair, of_pair in cells.items() for row in unlike.get(pair, ()) if of_pair[row][1] is not None
    )
    end = f" Left out, as their published numbers were made in another way: {', '.join(left)}." if left else ""
    gaps = {
        f"{row}, {pair}": ours.mean - printed
        for pair, of_pair in cells.items()
        for row, (printed, ours) in of_pair.items()
        if ours is not None and printed is not None and row not in unlike.get(pair, ())
    }
    if not gaps:
        return f"{start} Squares are as published; nothing of ours that could be compared stands beside them yet.{end}"
    far = max(gaps, key=lambda name: abs(gaps[name]))
    mean = sum(gaps.values()) / len(gaps)
    over = f"{mean:+.2f} on average over {len(gaps)} cells; furthest is {far} ({gaps[far]:+.2f})"
    if len(gaps) == 1:
        over = f"{mean:+.2f} for {far}"
    return f"{start} Ours minus published, in points: {over}.{end}"
