"""What do you pay, what do you get? Accuracy against cost, for the rows of the benchmark."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from kcd_teach.figures.benchmark import not_run, role_of, say_no_run
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import Table
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.statistics import Interval, interval

STEP, ROOM = 0.5, 6.0
"""Percent of cost between two rows that cost the same and are drawn side by side, and that a name needs."""


@styled
def cost_accuracy(accuracies: Table, costs: Mapping[str, float], title: str, *, plain: str = "KD") -> Picture:
    """Accuracy against cost: a point per seed and an interval per row; above and left of ``plain`` is what one wants.

    Args:
        accuracies: row -> seed -> percent; a row without a run is named in the reading.
        costs: row -> samples shown, relative to a plain row.
        title: of the figure.
        plain: the row whose place divides the figure, if it was run.
    """
    found = {row: interval(list(runs.values())) for row, runs in accuracies.items() if runs}
    figure, (axes,) = new_figure(7.2, 4.6)
    missing = not_run([row for row in accuracies if row not in found])
    axes.set(title=title, xlabel="cost: samples shown to the student (% of a plain row)", ylabel="test accuracy (%)")
    if not found:
        say_no_run(axes)
        axes.set(xticks=[], yticks=[])
        return Picture(figure, "Axes for accuracy against cost, empty since nothing was run.", " ".join(missing))
    places = _side_by_side(found, costs)
    for row, mean in found.items():
        role = ROLES[role_of(row)]
        runs = list(accuracies[row].values())
        axes.plot([places[row]] * len(runs), runs, role.marker, color=role.colour, alpha=0.4, markersize=4,
                  markeredgewidth=0)  # fmt: skip
        axes.errorbar(places[row], mean.mean, 0 if mean.n == 1 else mean.half_width, fmt=role.marker, markersize=7,
                      capsize=3, color=role.colour)  # fmt: skip
    axes.margins(y=0.12)
    _label_points(axes, found, places)
    if plain in found:
        _shade_better(axes, places[plain], found[plain].mean, plain)
    axes.grid(alpha=0.2)
    texts = [f"{row} {mean} at {100 * costs[row]:.0f} %" for row, mean in found.items()]
    alt = "Accuracy against cost, better is up and left; a mark and an interval per row: " + ", ".join(found) + "."
    reading = f"Accuracy in percent at its cost: {'; '.join(texts)}. Marks of one cost stand a little apart."
    return Picture(figure, alt, " ".join([reading, *missing]))


def _side_by_side(found: Mapping[str, Interval], costs: Mapping[str, float]) -> dict[str, float]:
    """Row -> where it is drawn, its cost in percent and a little to the side, so that intervals can be told apart."""
    same: dict[int, list[str]] = {}
    for row in sorted(found, key=lambda row: found[row].mean):
        same.setdefault(round(100 * costs[row]), []).append(row)
    return {
        row: 100 * costs[row] + STEP * (place - (len(rows) - 1) / 2)
        for rows in same.values() for place, row in enumerate(rows)
    }  # fmt: skip


def _groups(places: Mapping[str, float]) -> list[list[str]]:
    """Rows from left to right, in groups with room for names between them."""
    groups: list[list[str]] = []
    for row in sorted(places, key=lambda row: places[row]):
        if groups and places[row] - places[groups[-1][-1]] < ROOM:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _label_points(axes: Axes, found: Mapping[str, Interval], places: Mapping[str, float]) -> None:
    """The name of every row right of its group, a thin line to its point, no two names on each other."""
    low, high = axes.get_ylim()
    for group in _groups(places):
        rows = sorted(group, key=lambda row: found[row].mean)
        heights = spread_apart([found[row].mean for row in rows], 0.055 * (high - low), low, high)
        beside = places[group[-1]] + 0.9
        for row, height in zip(rows, heights, strict=True):
            axes.annotate(row, (places[row], found[row].mean), (beside, height), va="center", fontsize=9,
                          color=colour(role_of(row)), annotation_clip=False,
                          arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": colour("dropped")})  # fmt: skip
    left, right = axes.get_xlim()
    axes.set(xlim=(left - 1, right + 0.22 * max(right - left, 4)), ylim=(low, high))
    axes.set_xticks([tick for tick in axes.get_xticks() if left - 1 <= tick <= max(100, max(places.values()))])


def spread_apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places near ascending ``values``, at least ``gap`` apart, between ``low`` and ``high`` if they fit.

    >>> spread_apart([1.0, 1.0, 5.0], 1.0, 0.0, 5.0)
    [0.5, 1.5, 5.0]
    """
    places = list(map(float, values))
    for _ in range(50):
        for i in range(len(places) - 1):
            short = gap - (places[i + 1] - places[i])
            if short > 1e-9:
                places[i], places[i + 1] = places[i] - short / 2, places[i + 1] + short / 2
        shift = max(0.0, low - places[0]) or min(0.0, high - places[-1])
        places = [place + shift for place in places] if shift and places[-1] - places[0] <= high - low else places
    return places


def _shade_better(axes: Axes, place: float, height: float, plain: str) -> None:
    left, top = axes.get_xlim()[0], axes.get_ylim()[1]
    axes.fill_between([left, place], height, top, color=colour("kept"), alpha=0.07, linewidth=0, zorder=0)
    axes.text(0.015, 0.975, f"↖ better than {plain}, at less cost", transform=axes.transAxes, va="top", fontsize=9,
              color=colour("kept"))  # fmt: skip
