"""Pictures of runs: paired differences, accuracy against cost, learning curves."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.statistics import Interval, interval, paired_differences, verdict

Accuracies = Mapping[str, Mapping[int, float]]
"""Variant -> seed -> accuracy in percent."""


def dots_and_interval(axes: Axes, row: int, values: Sequence[float], tint: str) -> None:
    """Every run as a dot, their mean as a line, the 95 % interval of the mean as a bar; one run has none."""
    found = interval(values)
    jitter = np.resize([-0.16, 0.0, 0.16, -0.08, 0.08] if found.n > 1 else [0.0], len(values))
    axes.plot(values, row + jitter, "o", markersize=5, color=tint, alpha=0.55, markeredgewidth=0)
    half = 0.0 if found.n == 1 else found.half_width
    axes.errorbar(
        found.mean,
        row,
        xerr=half,
        fmt="|",
        markersize=16,
        markeredgewidth=2.5,
        capsize=4,
        elinewidth=2,
        color=tint,
        zorder=5,
    )


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)


@styled
def differences_to(table: Accuracies, baseline: str, title: str) -> Picture:
    """Difference of every variant to ``baseline``, paired by seed, with a verdict for each."""
    others = [name for name in table if name != baseline]
    return differences({name: paired_differences(table[name], table[baseline]) for name in others}, baseline, title)


@styled
def differences(gaps: Mapping[str, Sequence[float]], baseline: str, title: str) -> Picture:
    """Paired differences to ``baseline``, name -> percentage points, with a verdict for each."""
    figure, (axes,) = new_figure(7.2, 0.9 + 0.42 * len(gaps))
    axes.axvline(0, color=colour("teacher"), linewidth=1)
    for row, values in enumerate(gaps.values()):
        dots_and_interval(axes, row, values, colour("dropped" if interval(values).covers_zero else "kept"))
    label_rows(axes, list(gaps))
    axes.set(title=title, xlabel=f"accuracy minus that of {baseline}, same seed (percentage points)")
    alt = f"Paired differences to {baseline} with 95 % intervals; blue where the interval leaves out zero, grey where not."
    return Picture(figure, alt, spoken_verdict(gaps, baseline), listed(gaps))


def spoken_verdict(gaps: Mapping[str, Sequence[float]], baseline: str) -> str:
    """One sentence: which rows are ahead of ``baseline``, which behind, and which lie within the noise."""
    groups: dict[str, list[str]] = {"ahead": [], "behind": [], "cannot": []}
    for name, values in gaps.items():
        groups[next(word for word in groups if word in verdict(values))].append(name)
    ahead, behind, same = groups.values()
    parts = [
        f"{join_names(names)} {word} {baseline}"
        for names, word in ((ahead, "reached more than"), (behind, "fell behind"))
        if names
    ]
    if same:
        parts.append(f"{join_names(same)} {'lies' if len(same) == 1 else 'lie'} within the noise of {baseline}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def listed(gaps: Mapping[str, Sequence[float]]) -> str:
    """The differences in numbers, with their 95 % intervals and counts."""
    texts = [f"{name} {interval(values).text('+')} (n = {len(values)})" for name, values in gaps.items()]
    return f"Points, mean ± 95 % interval: {'; '.join(texts)}."


def join_names(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    >>> join_names(["a"]), join_names(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


@styled
def accuracy_against_cost(
    families: Mapping[str, Mapping[float, Mapping[int, float]]], title: str, levels: Mapping[str, float] | None = None
) -> Picture:
    """Accuracy against the share of sample presentations, one line per family.

    Args:
        families: family -> cost -> seed -> accuracy.
        title: of the figure.
        levels: accuracies to compare with, each a level line with its name.
    """
    figure, (axes,) = new_figure(7.2, 4.2)
    looks = {"KD": ("teacher", "s"), "KC-KD": ("kept", "o"), "random subset": ("dropped", "X")}
    for name, points in families.items():
        role, marker = looks.get(name, ("student", "o"))
        costs = sorted(points)
        found = [interval(list(points[cost].values())) for cost in costs]
        # A little to the side, so that intervals at the same cost can be told apart.
        shift = 0.4 * (list(families).index(name) - (len(families) - 1) / 2)
        axes.errorbar(
            [100 * cost + shift for cost in costs],
            [f.mean for f in found],
            [f.half_width for f in found],
            marker=marker,
            markersize=7,
            capsize=4,
            color=colour(role),
            label=name,
        )
        for cost in costs:
            runs = list(points[cost].values())
            axes.plot([100 * cost + shift] * len(runs), runs, ".", color=colour(role), alpha=0.35, zorder=1)
    axes.set(title=title, xlabel="cost: samples shown to both networks (% of plain KD)", ylabel="test accuracy (%)")
    axes.grid(alpha=0.25)
    for name, level in (levels or {}).items():
        axes.axhline(level, color=colour("teacher"), linestyle=":", linewidth=1.2)
        side = axes.get_yaxis_transform()
        axes.annotate(f"{name}: {level:.1f} %", (0.99, level), (0, -3), side, "offset points", ha="right", va="top")
    if levels:
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.88))
    else:
        axes.legend(loc="lower right")
    numbers = [
        f"{name} {', '.join(f'{interval(list(points[cost].values()))} at {100 * cost:.0f} %' for cost in sorted(points))}"
        for name, points in families.items()
    ]
    alt = "Test accuracy against cost, cheaper to the left, with 95 % intervals: " + ", ".join(families) + "."
    small = f"Accuracy in percent: {'; '.join(numbers)}. Marks of one cost stand a little apart."
    runs_of_all = [list(runs.values()) for points in families.values() for runs in points.values()]
    cut = limit_heights(axes, [*chain(*runs_of_all), *(levels or {}).values()], map(interval, runs_of_all))
    return Picture(figure, alt, _at_the_lowest_cost(families), small + cut)


def limit_heights(axes: Axes, values: Sequence[float], means: Iterable[Interval]) -> str:
    """Where an interval is huge, as that of two seeds, show what lies near the points; a sentence if that cuts some."""
    low, high = min(values), max(values)
    near = max(high - low, 2.0)
    ends = [mean.mean + sign * mean.half_width for mean in means for sign in (-1, 1)]
    ends = [end for end in ends if np.isfinite(end)]
    if not any(end < low - near or end > high + near for end in ends):
        return ""
    bottom, top = max(low - near, min([low, *ends])), min(high + near, max([high, *ends]))
    room = 0.12 * (top - bottom)
    axes.set_ylim(max(0, bottom - room), min(max(100, high) + 5, top + room))
    return " Intervals so wide that the picture cuts them off come from few seeds."


def _at_the_lowest_cost(families: Mapping[str, Mapping[float, Mapping[int, float]]]) -> str:
    """One sentence: how every other family does at its lowest cost, beside KD at full cost."""
    full = families.get("KD", {}).get(1.0)
    if full is None or len(families) < 2:
        lowest = {name: min(points) for name, points in families.items()}
        return f"The cheapest runs cost {join_names([f'{100 * cost:.0f} % ({name})' for name, cost in lowest.items()])} of KD."
    texts: dict[float, list[str]] = {}
    for name, points in families.items():
        cost = min(points)
        if cost < 1:
            gap = interval(paired_differences(points[cost], full))
            word = "ahead" if gap.mean > 0 else "behind"
            said = "cannot be told apart from full KD" if gap.covers_zero else f"is {abs(gap.mean):.1f} points {word}"
            texts.setdefault(cost, []).append(f"{'KD with fewer epochs' if name == 'KD' else name} {said}")
    parts = [f"at {100 * cost:.0f} % of the cost, {join_names(said)}" for cost, said in sorted(texts.items())]
    return f"A{'; '.join(parts)[1:]}." if parts else "No run is cheaper than KD."


@styled
def learning_curves(
    curves: Mapping[str, Sequence[float]], roles: Mapping[str, str], reading: str, title: str
) -> Picture:
    """Test accuracy after every epoch, one line per run.

    Args:
        curves: run -> percent after every epoch.
        roles: run -> role whose colour and line it has, a key of ``ROLES``.
        reading: what matters in them.
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 3.6)
    for name, values in curves.items():
        look = ROLES[roles[name]]
        axes.plot(range(1, len(values) + 1), values, look.line, color=look.colour, label=name)
        axes.plot(len(values), values[-1], look.marker, color=look.colour)
    axes.set(title=title, xlabel="epoch", ylabel="test accuracy (%)")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right")
    alt = f"Test accuracy after every epoch for {', '.join(curves)}; the last epoch is marked with a dot."
    return Picture(figure, alt, reading)
