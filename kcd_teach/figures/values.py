"""Pictures of values: how they are spread, how two of them agree, how they move through training."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from scipy import stats
from seaborn.utils import relative_luminance

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, new_figure, styled

MIDDLE = 0.179
"""Relative luminance on which black and white stand out equally well (WCAG 2.1: contrast 4.6)."""
_TINTS = ("kept", "student", "mixed", "dropped", "teacher")


@styled
def ordered_curve(values: np.ndarray, unit: str, title: str) -> Picture:
    """All samples from the most to the least, as one falling curve; the upper half of the range is shaded."""
    ordered = np.sort(values)[::-1]
    half = ordered[0] / 2
    above = float((values > half).mean())
    figure, (axes,) = new_figure(7.2, 3.4)
    position = 100 * np.arange(len(ordered)) / len(ordered)
    axes.fill_between(position, ordered, color=colour("kept"), alpha=0.18)
    axes.plot(position, ordered, color=colour("kept"))
    axes.axhline(half, color=colour("teacher"), linestyle=":", linewidth=1)
    axes.annotate("half of the largest", (1, half), va="bottom", fontsize=9)
    axes.set(title=title, xlabel="samples, from most to least (%)", ylabel=unit, xlim=(0, 100), ylim=(0, None))
    median = float(np.median(values))
    alt = f"A falling curve of {len(values):,} values; {100 * above:.0f} % of them lie above half of the largest."
    return Picture(figure, alt, f"{100 * above:.0f} % of the {len(values):,} samples hold more than half of the largest "
                   f"value ({ordered[0]:.2f} {unit.split(',')[-1].strip()}); the median is {median:.2f}.")  # fmt: skip


@styled
def distributions(groups: Mapping[str, np.ndarray], unit: str, reading: str, title: str) -> Picture:
    """One smooth density per group of values; the median of each is marked."""
    figure, (axes,) = new_figure(7.2, 3.4)
    for (name, values), role in zip(groups.items(), _TINTS, strict=False):
        sns.kdeplot(x=values, ax=axes, color=colour(role), fill=True, alpha=0.18, cut=0, linewidth=2, label=name)
        axes.axvline(float(np.median(values)), color=colour(role), linestyle=ROLES[role].line, linewidth=1.2)
    axes.set(title=title, xlabel=unit, ylabel="density of samples")
    axes.legend()
    return Picture(figure, f"Densities of {unit} for {', '.join(groups)}; vertical lines mark the medians.", reading)


@styled
def per_class(values: np.ndarray, labels: np.ndarray, classes: Sequence[str], unit: str, title: str) -> Picture:
    """The spread of values in every class, from the class with the largest median to the smallest.

    A dot is the median of a class, its thick bar the middle half, its thin line 90 % of the samples.
    """
    spread = np.array([np.percentile(values[labels == c], [5, 25, 50, 75, 95]) for c in range(len(classes))])
    order = [int(c) for c in np.argsort(-spread[:, 2], kind="stable")]
    names = [classes[c] for c in order]
    lowest, low, middle, high, highest = spread[order].T
    rows = np.arange(len(names))
    figure, (axes,) = new_figure(7.2, 1.0 + 0.28 * len(names))
    axes.hlines(rows, lowest, highest, color=colour("kept"), linewidth=1.2, label="90 % of the samples")
    axes.hlines(rows, low, high, color=colour("kept"), linewidth=7, alpha=0.45, label="the middle half")
    axes.plot(middle, rows, "o", color=colour("kept"), markersize=7, label="median")
    axes.axvline(float(np.median(values)), color=colour("dropped"), linestyle=":", linewidth=1.4, label="all classes")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = f"Median, middle half and 90 % range of {unit} per class, largest median on top: {', '.join(names)}."
    return Picture(figure, alt, f"The largest medians are those of {', '.join(names[:3])}; "
                   f"the smallest those of {' and '.join(names[-2:])}.")  # fmt: skip


def _write_legibly(axes: Axes) -> None:
    """Numbers of a heat map in black or white, whichever stands out more (seaborn keeps white far too long)."""
    cells = axes.collections[0]
    for number, tint in zip(axes.texts, cells.get_facecolor(), strict=True):
        number.set_color("black" if relative_luminance(tint) > MIDDLE else "white")


@styled
def agreement(measures: Mapping[str, np.ndarray], title: str) -> Picture:
    """Rank correlation (Spearman) of every pair of measures over the same samples, as a labelled table."""
    names = list(measures)
    table = np.array([[float(stats.spearmanr(measures[a], measures[b]).statistic) for b in names] for a in names])
    figure, (axes,) = new_figure(6.6, 0.9 + 0.62 * len(names))
    sns.heatmap(table, annot=True, fmt="+.2f", cmap=VALUE_MAP, vmin=-1 if table.min() < 0 else 0, vmax=1, xticklabels=names, yticklabels=names,
                cbar_kws={"label": "rank correlation"}, linewidths=1, linecolor="white", ax=axes)  # fmt: skip
    _write_legibly(axes)
    axes.set_title(title)
    axes.tick_params(axis="x", rotation=20, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    pairs = [(table[i, j], names[i], names[j]) for i in range(len(names)) for j in range(i)]
    low, high = min(pairs), max(pairs)
    reading = f"{high[1]} and {high[2]} agree most ({high[0]:+.2f}), {low[1]} and {low[2]} least ({low[0]:+.2f})."
    return Picture(figure, f"Table of rank correlations between {', '.join(names)}.", reading)


@styled
def scatter(
    x: np.ndarray, y: np.ndarray, x_name: str, y_name: str, title: str, marked: Mapping[str, np.ndarray] | None = None
) -> Picture:
    """Two values of every sample against each other as a density; ``marked`` names groups of ids drawn on top."""
    figure, (axes,) = new_figure(7.2, 4.4)
    cells = axes.hexbin(x, y, gridsize=55, bins="log", cmap=VALUE_MAP, mincnt=1, linewidths=0.1)
    figure.colorbar(cells, ax=axes, label="samples per cell")
    for (name, ids), role in zip((marked or {}).items(), ("student", "mixed", "dropped"), strict=False):
        axes.plot(
            x[ids], y[ids], ROLES[role].marker, color=colour(role), markersize=7, markeredgecolor="white", label=name
        )
    if marked:
        axes.legend(loc="upper left")
    axes.set(title=title, xlabel=x_name, ylabel=y_name)
    correlation = float(stats.spearmanr(x, y).statistic)
    alt = f"Density of {len(x):,} samples over {x_name} and {y_name}; their rank correlation is {correlation:+.2f}."
    return Picture(
        figure, alt, f"Over {len(x):,} samples the rank correlation of {x_name} and {y_name} is {correlation:+.2f}."
    )


@styled
def trajectories(groups: Mapping[str, np.ndarray], largest: float, title: str, bands: bool = True) -> Picture:
    """Entropy through the epochs, [n, E] nats per group: the median as a line, the middle half as a band if wanted."""
    figure, (axes,) = new_figure(7.2, 3.9)
    ends: list[str] = []
    for (name, history), role in zip(groups.items(), _TINTS, strict=False):
        epochs = np.arange(1, history.shape[1] + 1)
        low, middle, high = np.nanpercentile(history, [25, 50, 75], axis=0)
        if bands:
            axes.fill_between(epochs, low, high, color=colour(role), alpha=0.15)
        axes.plot(epochs, middle, ROLES[role].line, color=colour(role), label=f"{name} ({len(history):,})")
        ends.append(f"{name} {middle[0]:.2f} to {middle[-1]:.2f}")
    axes.axhline(largest, color=colour("teacher"), linestyle=":", linewidth=1)
    axes.annotate("no idea: ln C", (1, largest), va="bottom", fontsize=9)
    axes.set(title=title, xlabel="epoch", ylabel="student's entropy (nats)", ylim=(0, 1.12 * largest))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    band = " with the middle half of samples as a band" if bands else ""
    alt = f"Median entropy per epoch{band}, for {', '.join(groups)}."
    return Picture(figure, alt, f"Median entropy from the first to the last epoch, nats: {'; '.join(ends)}.")


@styled
def shares(groups: Mapping[str, float], title: str) -> Picture:
    """How a whole is divided, percent, as one bar per part."""
    figure, (axes,) = new_figure(7.2, 0.8 + 0.4 * len(groups))
    names: Sequence[str] = list(groups)
    axes.barh(names, [groups[name] for name in names], color=[colour(role) for role in _TINTS[: len(names)]])
    for row, name in enumerate(names):
        axes.annotate(f" {groups[name]:.1f} %", (groups[name], row), va="center", fontsize=9.5)
    axes.invert_yaxis()
    axes.set(title=title, xlabel="share of the samples (%)")
    reading = ", ".join(f"{name} {value:.1f} %" for name, value in groups.items())
    return Picture(figure, f"Bars of the shares of {', '.join(names)}.", reading + ".")


@styled
def resemblance(table: np.ndarray, classes: Sequence[str], title: str) -> Picture:
    """What the teacher says about the samples of every class: mean probabilities [C, C], a row per label."""
    percent = 100 * table
    figure, (axes,) = new_figure(7.6, 5.0)
    sns.heatmap(percent, annot=True, fmt=".0f", cmap=VALUE_MAP, vmin=0, xticklabels=classes, yticklabels=classes,
                cbar_kws={"label": "mean probability (%)"}, linewidths=1, linecolor="white", ax=axes)  # fmt: skip
    _write_legibly(axes)
    axes.set(title=title, xlabel="what the teacher says", ylabel="label")
    axes.tick_params(axis="x", rotation=35, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    others = np.where(np.eye(len(classes), dtype=bool), 0, percent)
    row, column = divmod(int(others.argmax()), len(classes))
    alone = int(np.diag(percent).argmax())
    reading = (
        f"The strongest second meaning: images labelled {classes[row]} get {others[row, column]:.0f} % "
        f"{classes[column]}; {classes[alone]} keeps the most for itself ({percent[alone, alone]:.0f} %)."
    )
    return Picture(
        figure, f"Table of the teacher's mean softened prediction for each of {len(classes)} labels.", reading
    )


@styled
def gradient_sizes(temperatures: Sequence[float], sizes: Mapping[str, Sequence[float]], title: str) -> Picture:
    """Length of a loss's gradient at the logits over the temperature, one line per loss; logarithmic height."""
    figure, (axes,) = new_figure(7.2, 3.6)
    texts: list[str] = []
    for (name, lengths), role in zip(sizes.items(), ("kept", "dropped", "student"), strict=False):
        axes.plot(temperatures, lengths, ROLES[role].line, color=colour(role))
        axes.annotate(f" {name}", (temperatures[-1], lengths[-1]), va="center", color=colour(role), fontsize=10)
        factor = float(f"{max(lengths) / min(lengths):.2g}")
        texts.append(f"{name} by a factor of about {factor:g}")
    axes.set(title=title, xlabel="temperature T", ylabel="mean length of the gradient", yscale="log")
    axes.set_xlim(temperatures[0], temperatures[-1])
    axes.set_xticks([temperatures[0], *(t for t in temperatures if t % 5 == 0)])
    axes.grid(alpha=0.25)
    span = f"T = {temperatures[0]:g} to {temperatures[-1]:g}"
    alt = f"Length of the gradient against temperature on a logarithmic scale, for {' and '.join(sizes)}."
    return Picture(figure, alt, f"From {span} the gradient's length varies: {', '.join(texts)}.")
