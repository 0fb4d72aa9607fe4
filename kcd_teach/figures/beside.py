"""What was published, and what came out here? A line per cell of the benchmark's table."""

import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from matplotlib.axes import Axes

from kcd_teach.figures.benchmark import NO_RUN, role_of
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import label_rows
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.statistics import Interval

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
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    for axes, (pair, of_pair) in zip(panels, cells.items(), strict=False):
        label_rows(axes, rows)
        axes.set_title(pair, fontsize=10)
        for place, row in enumerate(rows):
            printed, ours = of_pair[row]
            _dumbbell(axes, place, row, None if apart else printed, ours, row not in unlike.get(pair, ()))
        _name_empty(axes, of_pair, apart)
    for axes in panels[len(cells) :]:
        axes.set_axis_off()
    _explain(panels[0], apart, crossed, any(ours is not None and ours.n > 1 for _, ours in _all(cells)))
    figure.supxlabel("\n".join(["test accuracy (%)", *textwrap.wrap(apart, round(13 * width))]), fontsize=10)
    alt = (
        f"A panel for each of {len(cells)} pairs of networks with a line for each of {len(rows)} rows: "
        + ("our accuracies with 95 % intervals alone." if apart else "a hollow square as published, ours with an interval"
           + (", and a cross for a published number that was made in another way." if crossed else "."))
    )  # fmt: skip
    return Picture(figure, alt, _reading(cells, apart, unlike))


def _dumbbell(axes: Axes, place: int, row: str, printed: float | None, ours: Interval | None, like: bool) -> None:
    """A hollow square as published, a filled mark with an interval of ours, a line between; words where ours is not.

    A published number that is not ``like`` ours is a cross instead, without a line.
    """
    look = ROLES[role_of(row)]
    if printed is not None:
        mark = "s" if like else "x"
        axes.plot(printed, place, mark, markersize=6, markerfacecolor="none", color=colour("dropped"), zorder=3)
    if ours is None:
        return
    if printed is not None and like:
        axes.plot([printed, ours.mean], [place, place], color=colour("dropped"), linewidth=1.2, zorder=2)
    half = 0.0 if ours.n == 1 else ours.half_width
    axes.errorbar(ours.mean, place, xerr=half, fmt=look.marker, markersize=6, capsize=2.5, color=look.colour, zorder=4)


def _name_empty(axes: Axes, of_pair: Mapping[str, tuple[float | None, Interval | None]], apart: str) -> None:
    """Say at every cell without our run that it has none, beside what was published, on the side with more room."""
    middle = sum(axes.get_xlim()) / 2
    for place, (printed, ours) in enumerate(of_pair.values()):
        if ours is not None:
            continue
        looks: dict[str, Any] = {"va": "center", "fontsize": 7.5, "color": colour("dropped")}
        if printed is None or apart:
            axes.annotate(NO_RUN, (0.5, place), xycoords=("axes fraction", "data"), ha="center", **looks)
        else:
            side = "left" if printed < middle else "right"
            axes.annotate(NO_RUN, (printed, place), (8 if side == "left" else -8, 0), textcoords="offset points", ha=side,
                          **looks)  # fmt: skip
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
        for pair, of_pair in cells.items() for row, (printed, ours) in of_pair.items()
        if ours is not None and printed is not None and row not in unlike.get(pair, ())
    }  # fmt: skip
    if not gaps:
        return f"{start} Squares are as published; nothing of ours that could be compared stands beside them yet.{end}"
    far = max(gaps, key=lambda name: abs(gaps[name]))
    mean = sum(gaps.values()) / len(gaps)
    return (
        f"{start} Ours minus published, in points: {mean:+.2f} on average over {len(gaps)} cells; furthest is {far} "
        f"({gaps[far]:+.2f}).{end}"
    )
