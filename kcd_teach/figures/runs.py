"""Pictures of runs: paired differences, accuracy against cost, learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.statistics import interval, paired_differences, verdict

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
    return Picture(figure, alt, grouped_by_verdict(gaps, f"Against {baseline}"))


def grouped_by_verdict(differences: Mapping[str, Sequence[float]], start: str) -> str:
    """A sentence, begun by ``start``: which are ahead, which behind, and which these runs cannot tell apart."""
    groups: dict[str, list[str]] = {"ahead": [], "behind": [], "cannot": []}
    for name, values in differences.items():
        found = interval(values)
        word = next(word for word in groups if word in verdict(values))
        groups[word].append(f"{name} ({found.text('+')}, n = {found.n})")
    titles = ("ahead by more than the noise", "behind by more than the noise", "not to be told apart by these runs")
    parts = [f"{title}: {', '.join(names)}" for title, names in zip(titles, groups.values(), strict=True) if names]
    return f"{start}, in points: {'; '.join(parts)}."


@styled
def accuracy_against_cost(families: Mapping[str, Mapping[float, Mapping[int, float]]], title: str) -> Picture:
    """Accuracy against the share of sample presentations, one line per family: family -> cost -> seed -> accuracy."""
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
    axes.legend(loc="lower right")
    texts = [
        f"{name} {' and '.join(f'{interval(list(points[cost].values()))} at {100 * cost:.0f} %' for cost in ends)}"
        for name, points in families.items()
        for ends in [sorted({max(points), min(points)}, reverse=True)]
    ]
    alt = "Test accuracy against cost, cheaper to the left, with 95 % intervals: " + ", ".join(families) + "."
    return Picture(
        figure,
        alt,
        f"Accuracy in percent at the highest and lowest cost: {'; '.join(texts)}. "
        "Marks of one cost stand a little apart.",
    )


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
