"""Pictures of the method zoo: every method plain and condensed, and what was published about it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import colour, new_figure, styled
from kcd_teach.statistics import Interval, interval, paired_differences

Runs = Mapping[int, float]
"""Seed -> accuracy in percent."""


def _runs_and_mean(axes: Axes, row: float, values: Sequence[float], tint: str, marker: str) -> None:
    """Every value as a small mark, the mean with its 95 % interval as a bar."""
    found = interval(values)
    half = 0.0 if found.n == 1 else found.half_width
    jitter = np.resize([-0.07, 0.0, 0.07, -0.035, 0.035], len(values))
    axes.plot(values, row + jitter, marker, markersize=4.5, color=tint, alpha=0.5, markeredgewidth=0)
    axes.errorbar(found.mean, row, xerr=half, fmt="|", markersize=11, markeredgewidth=2.5, capsize=3, elinewidth=2,
                  color=tint, zorder=5)  # fmt: skip


def _label_families(axes: Axes, families: Mapping[str, Sequence[str]]) -> None:
    """Names of the rows, a line between two families, and the family's name at its first row."""
    names = [name for members in families.values() for name in members]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    row = 0
    for family, members in families.items():
        axes.annotate(family, (-0.32, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=10,
                      fontweight="bold")  # fmt: skip
        row += len(members)


def _lines_between(axes: Axes, families: Mapping[str, Sequence[str]]) -> None:
    for edge in np.cumsum([len(members) for members in families.values()])[:-1]:
        axes.axhline(edge - 0.5, color=colour("dropped"), linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)


@styled
def method_zoo(
    table: Mapping[str, tuple[Runs, Runs]], families: Mapping[str, Sequence[str]], cost: float, title: str, note: str
) -> Picture:
    """Every method plain and condensed: accuracies at the left, differences paired by seed at the right.

    Args:
        table: method -> (runs of the plain version, runs of the condensed one).
        families: family -> its methods, in the order of the rows.
        cost: of a condensed run, relative to the same method's plain run.
        title, note: of the figure, above and below it.
    """
    rows = {name: table[name] for members in families.values() for name in members}
    count = len(rows)
    rows[_MEAN] = (_mean_by_seed([plain for plain, _ in rows.values()]), _mean_by_seed([kc for _, kc in rows.values()]))
    families = {**families, "all": [_MEAN]}
    figure, (left, right) = new_figure(9.2, 1.7 + 0.4 * len(rows), 1, 2, sharey=True, width_ratios=[1.15, 1])
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    differences = {name: paired_differences(condensed, plain) for name, (plain, condensed) in rows.items()}
    right.axvline(0, color=colour("teacher"), linewidth=1.5)
    for row, name in enumerate(rows):
        for shift, runs, role, marker in zip((-0.17, 0.17), rows[name], ("teacher", "kept"), "so", strict=True):
            _runs_and_mean(left, row + shift, list(runs.values()), colour(role), marker)
        clear = not interval(differences[name]).covers_zero
        _runs_and_mean(right, row, differences[name], colour("kept" if clear else "dropped"), "o")
    _label_families(left, families)
    for axes in (left, right):
        _lines_between(axes, families)
        axes.axhspan(count - 0.5, count + 0.5, color=colour("dropped"), alpha=0.12, linewidth=0)
    for role, marker, label in (("teacher", "s", "plain"), ("kept", "o", f"condensed, {100 * cost:.0f} % of the cost")):
        left.plot([], [], marker, color=colour(role), label=label)
    right.plot([], [], "o", color=colour("kept"), label="interval leaves out 0")
    right.plot([], [], "o", color=colour("dropped"), label="interval holds 0")
    for axes in (left, right):
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9, handletextpad=0.2)
    left.set_xlabel("test accuracy (%)")
    left.annotate(note, (-0.68, -0.075), xycoords="axes fraction", fontsize=9, va="top")
    right.set_xlabel("condensed minus plain, same seed (points)", fontsize=10)
    alt = (
        f"A row for each of {count} methods in {len(families) - 1} families, and their mean: accuracies plain and condensed at the left, "
        "their paired differences around a zero line at the right, all with 95 % intervals."
    )
    return Picture(figure, alt, zoo_reading(differences, cost))


_MEAN = "mean"


def _mean_by_seed(runs: Sequence[Runs]) -> dict[int, float]:
    """Mean over the methods for every seed that all of them have."""
    seeds = set.intersection(*(set(of_method) for of_method in runs))
    return {seed: float(np.mean([of_method[seed] for of_method in runs])) for seed in sorted(seeds)}


def zoo_reading(differences: Mapping[str, Sequence[float]], cost: float) -> str:
    """Who gains, who loses, how many intervals leave out zero, and how many would by chance."""
    found = {name: interval(values) for name, values in differences.items()}
    mean = found.pop(_MEAN)
    groups = {
        "ahead by more than the noise": [name for name, f in found.items() if not f.covers_zero and f.mean > 0],
        "behind by more than the noise": [name for name, f in found.items() if not f.covers_zero and f.mean < 0],
    }
    clear = sum(map(len, groups.values()))
    texts = [f"{title}: {', '.join(_with_size(name, found[name]) for name in names) or 'none'}"
             for title, names in groups.items()]  # fmt: skip
    seeds = sorted({f.n for f in found.values()})
    total = len(found)
    return (
        f"Condensed against plain, in points, {' to '.join(map(str, seeds))} seeds: {'; '.join(texts)}; not to be told "
        f"apart by these runs: {total - clear}. {clear} of {total} intervals leave out zero; without any true "
        f"difference {0.05 * total:.2f} would on average, and {100 * (1 - 0.95**total):.0f} % of such tables would show "
        f"at least one. The mean of all differs by {_size(mean)}. A condensed run costs {100 * cost:.0f} % of the presentations."
    )


def _with_size(name: str, found: Interval) -> str:
    return f"{name} ({_size(found)})"


@styled
def published_gains(
    published: Mapping[str, Sequence[float]], ours: Mapping[str, Sequence[float]], title: str
) -> Picture:
    """Gains of condensed over plain: as published, a mark per pair of networks, and ours, a mark per seed; in points."""
    names = list(published)
    figure, panels = new_figure(9.2, 1.5 + 0.5 * len(names), 1, 2, sharey=True, sharex=True)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    left, right = panels
    for row, name in enumerate(names):
        gains = list(published[name])
        left.plot(gains, row + np.resize([-0.1, 0.0, 0.1], len(gains)), "D", markersize=5, color=colour("teacher"),
                  alpha=0.45, markeredgewidth=0)  # fmt: skip
        left.plot(np.mean(gains), row, "|", markersize=22, markeredgewidth=3, color=colour("teacher"))
        left.annotate(f"{np.mean(gains):+.3f}", (np.mean(gains), row), xytext=(0, 12), textcoords="offset points",
                      ha="center", fontsize=9)  # fmt: skip
        clear = not interval(ours[name]).covers_zero
        _runs_and_mean(right, row, ours[name], colour("kept" if clear else "dropped"), "o")
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.6)
    pairs = len(next(iter(published.values())))
    left.set_title(f"published, full scale\n{pairs} pairs of networks", loc="center", fontsize=10)
    right.set_title(f"here, one small pair\n{interval(next(iter(ours.values()))).n} seeds", loc="center", fontsize=10)
    for axes in panels:
        axes.axvline(0, color=colour("teacher"), linewidth=1)
        axes.grid(axis="x", alpha=0.25)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("condensed minus plain (points)")
    alt = f"Gains of the condensed version for {', '.join(names)}: published ones at the left, ours with intervals at the right."
    texts = [f"{name} {np.mean(published[name]):+.3f}, here {_size(interval(ours[name]))}" for name in names]
    return Picture(figure, alt, f"Mean gain in points, published over {pairs} pairs at full scale: {'; '.join(texts)}.")


def _size(found: Interval) -> str:
    return found.text("+")
