"""Pictures of samples: their images, how their values are ordered and agree, how many each stage shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor

from kcd_teach.condensation import ROLES
from kcd_teach.datasets import Dataset
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import label_rows
from kcd_teach.figures.style import ROLES as LOOKS
from kcd_teach.figures.style import VALUE_MAP, colour, headline, new_figure, styled

Images = np.ndarray
"""uint8 [n, C, H, W], C = 1 or 3."""


def show_image(axes: Axes, image: np.ndarray, caption: str = "", frame: str | None = None) -> None:
    """Draw one image, uint8 [C, H, W], with a caption below and a frame in the colour of a role."""
    pixels = np.asarray(image)
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=8.5)
    for spine in axes.spines.values():
        spine.set(visible=frame is not None, color=colour(frame) if frame else "white", linewidth=3)


@styled
def image_rows(
    rows: Mapping[str, Images],
    captions: Mapping[str, Sequence[str]],
    reading: str,
    title: str,
    frames: Mapping[str, str] | None = None,
) -> Picture:
    """Rows of images, one per key, each with its captions; ``frames`` names a role per row."""
    count = max(len(images) for images in rows.values())
    figure, axes = new_figure(max(0.92 * count, 6), 0.3 + 1.28 * len(rows), len(rows), count)
    headline(figure, title)
    for row, (name, images) in enumerate(rows.items()):
        for column in range(count):
            cell = axes[row * count + column]
            if column < len(images):
                show_image(cell, images[column], captions[name][column], (frames or {}).get(name))
            else:
                cell.axis("off")
        axes[row * count].set_ylabel(name, fontsize=9.5, rotation=0, ha="right", va="center", labelpad=8)
    alt = f"Rows of {count} small images each: {', '.join(rows)}.".replace("\n", " ")
    return Picture(figure, alt, reading)


def labelled_rows(
    dataset: Dataset,
    rows: Mapping[str, Sequence[int] | np.ndarray | Tensor],
    reading: str,
    title: str,
    frames: Mapping[str, str] | None = None,
) -> Picture:
    """Rows of training images, ids per row, each image above its label; ``frames`` names a role per row."""
    ids = {name: torch.as_tensor(row) for name, row in rows.items()}
    return image_rows(
        {name: dataset.train_images[row].numpy() for name, row in ids.items()},
        {name: [dataset.classes[label] for label in dataset.train_labels[row]] for name, row in ids.items()},
        reading,
        title,
        frames,
    )


def draw_prediction(axes: Axes, classes: Sequence[str], label: int, probabilities: Sequence[float], title: str) -> None:
    """Class probabilities as bars; the labelled class in the teacher's colour, the others lighter."""
    tints = [colour("teacher") if c == label else colour("dropped") for c in range(len(classes))]
    axes.barh(range(len(classes)), probabilities, color=tints)
    axes.set(xlim=(0, 1), title=title)
    axes.set_xlabel("probability")
    axes.set_yticks(range(len(classes)), classes, fontsize=8.5)
    axes.invert_yaxis()


class RankingPlot:
    """A falling curve of scores with the area below it coloured kept, mixed and dropped; built once, then moved."""

    def __init__(self, axes: Axes, legend: bool = True) -> None:
        self.axes = axes
        self._areas = [
            Rectangle(
                (0, 0),
                0,
                1,
                facecolor=colour(name),
                hatch=LOOKS[name].hatch,
                edgecolor="white",
                linewidth=0,
                alpha=0.8,
                label=name,
                transform=axes.get_xaxis_transform(),
            )
            for name in ROLES
        ]
        # What lies above the curve is covered, so that a move needs two numbers per area and no new polygon.
        self._cover = Polygon([[0, 1], [100, 1], [100, 1]], facecolor="white", edgecolor="none")
        for patch in (*self._areas, self._cover):
            axes.add_patch(patch)
        (self._curve,) = axes.plot([], [], color=colour("teacher"), linewidth=1.5)
        axes.set(xlabel="samples, from most to least valuable (%)", ylabel="score (nats)", xlim=(0, 100))
        if legend:
            axes.legend(handles=self._areas, loc="upper right")

    def update(self, ordered: np.ndarray, kept: float, mixed: float, top: float | None = None) -> None:
        """Show scores [n], highest first; ``kept`` and ``mixed`` are percent of the samples, ``top`` the axis' end."""
        position = np.linspace(0, 100, len(ordered))
        top = 1.05 * float(ordered[0]) if top is None else top
        for area, start, end in zip(self._areas, (0, kept, kept + mixed), (kept, kept + mixed, 100), strict=True):
            area.set_x(start)
            area.set_width(end - start)
        self._cover.set_xy(np.column_stack([[*position, 100, 0], [*ordered, top, top]]))
        self._curve.set_data(position, ordered)
        self.axes.set_ylim(0, top)


class SchedulePlot:
    """Samples kept in each stage as steps; the part that is saved is dotted; built once, then moved."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        saved = Rectangle((0, 0), 1, 1, facecolor="white", hatch="..", edgecolor=colour("dropped"), linewidth=0)
        saved.set_transform(axes.transAxes)
        axes.add_patch(saved)
        self._steps = Polygon([[0, 0], [1, 0], [1, 1]], facecolor=colour("kept"))
        axes.add_patch(self._steps)
        axes.set(ylim=(0, 100), xlabel="stage", ylabel="samples shown (%)")

    def update(self, counts: Sequence[int], cost: float) -> None:
        """Show samples per stage; ``cost`` is a fraction of plain KD."""
        percent = 100 * np.repeat(counts, 2) / counts[0]
        edges = np.repeat(np.arange(len(counts) + 1), 2)[1:-1]
        self._steps.set_xy(np.column_stack([[0, *edges, len(counts)], [0, *percent, 0]]))
        self.axes.set_xlim(0, len(counts))
        self.axes.set_xticks(np.arange(len(counts)) + 0.5, [str(stage) for stage in range(len(counts))])
        self.axes.set_title(f"cost {100 * cost:.1f} % of plain KD")


@styled
def agreement_by_epoch(history: np.ndarray, lists: Mapping[str, np.ndarray], title: str) -> Picture:
    """Rank correlation (Spearman) of a student's order of the samples in every epoch with fixed lists of them.

    Args:
        history: the student's entropies, [E, N].
        lists: name -> a number for every sample, [N].
        title: of the figure.
    """
    found = {name: [_rank_correlation(epoch, fixed) for epoch in history] for name, fixed in lists.items()}
    figure, (axes,) = new_figure(7.2, 3.4)
    for (name, values), line in zip(found.items(), ("o-", "s--", "D:"), strict=False):
        axes.plot(range(1, len(values) + 1), values, line, color=colour("student"), markersize=4, label=name)
    axes.set(title=title, xlabel="epoch", ylabel="rank correlation", xlim=(0.5, len(history) + 0.5), ylim=(0, 1))
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", title="the student's order, compared with that of")
    ends = {name: (values[0], values[-1]) for name, values in found.items()}
    nearest = max(ends, key=lambda name: ends[name][1])
    alt = f"Lines of the rank correlation between a student's order of {history.shape[1]:,} samples and {', '.join(ends)}."
    said = (
        f"Between the student's order of the samples and that of {nearest} the rank correlation goes from "
        f"{ends[nearest][0]:.2f} in epoch 1 to {ends[nearest][1]:.2f} in epoch {len(history)}."
    )
    others = [f"{name} {first:.2f} to {last:.2f}" for name, (first, last) in ends.items() if name != nearest]
    return Picture(figure, alt, said, f"The others: {'; '.join(others)}." if others else "")


@styled
def overlaps(series: Mapping[str, Mapping[str, Sequence[float]]], chance: float, title: str, of: str) -> Picture:
    """How much two sets of the same size share: series -> row -> shares in percent, beside what chance would give.

    Args:
        series: one colour each, over the same rows.
        chance: share of two sets that are drawn at random, percent.
        title: of the figure.
        of: what the shares are shares of, for the axis.
    """
    names = list(next(iter(series.values())))
    figure, (axes,) = new_figure(7.2, 1.3 + 0.42 * len(names))
    for (one, rows), role in zip(series.items(), ("kept", "dropped"), strict=False):
        for row, values in enumerate(rows.values()):
            look: dict[str, Any] = {"color": colour(role), "markersize": 9, "markeredgecolor": "white"}
            axes.plot(values, [row] * len(values), LOOKS[role].marker, label=one if row == 0 else None, **look)
    axes.axvline(chance, color=colour("teacher"), linestyle=":", linewidth=1.4, label="two random sets")
    label_rows(axes, names)
    axes.set(title=title, xlim=(0, 102), xlabel=f"share of {of} that is in both sets (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    means = {one: {name: float(np.mean(values)) for name, values in rows.items()} for one, rows in series.items()}
    parts = [f"{min(rows.values()):.0f} to {max(rows.values()):.0f} % of {one}" for one, rows in means.items()]
    said = f"Two sets share {' and '.join(parts)}, where two random sets would share {chance:.0f} %."
    numbers = [
        f"{one}: " + ", ".join(f"{name} {value:.0f} %" for name, value in rows.items()) for one, rows in means.items()
    ]
    alt = f"Dots for the shared part of two sets, with a dotted line for chance, for {', '.join(names)}."
    return Picture(figure, alt, said, "; ".join(numbers) + ".")


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy import stats  # here, as it takes 60 MB, and most kernels draw nothing that needs it

    return float(stats.spearmanr(one, other).statistic)


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
            x[ids], y[ids], LOOKS[role].marker, color=colour(role), markersize=7, markeredgecolor="white", label=name
        )
    if marked:
        axes.legend(loc="upper left")
    axes.set(title=title, xlabel=x_name, ylabel=y_name)
    correlation = _rank_correlation(x, y)
    alt = f"Density of {len(x):,} samples over {x_name} and {y_name}; their rank correlation is {correlation:+.2f}."
    one, other = (name.partition(" (")[0] for name in (x_name, y_name))  # a unit is for the axis, not for a sentence
    said = f"Over {len(x):,} samples the rank correlation of {one} and {other} is {correlation:+.2f}."
    return Picture(figure, alt, said)


@styled
def kept_by_class(classes: Sequence[str], labels: Tensor, active: Tensor, title: str) -> Picture:
    """Which share of every class is still shown: a bar per class, the least kept on top.

    Args:
        classes: their names.
        labels: of all samples, int64 [N].
        active: ids of those that are shown.
        title: of the figure.
    """
    counts = [torch.bincount(which, minlength=len(classes)) for which in (labels[active], labels)]
    shares = (100 * counts[0] / counts[1]).tolist()
    order = sorted(range(len(classes)), key=lambda label: shares[label])
    figure, (axes,) = new_figure(7.2, 0.9 + 0.3 * len(classes))
    for row, label in enumerate(order):
        axes.barh(row, shares[label], color=colour("kept"), height=0.74)
        axes.barh(
            row,
            100 - shares[label],
            left=shares[label],
            color="white",
            edgecolor=colour("dropped"),
            height=0.74,
            hatch=LOOKS["dropped"].hatch,
            linewidth=0,
        )
        axes.text(101, row, f"{shares[label]:.0f} %", va="center", fontsize=9.5)
    label_rows(axes, [classes[label] for label in order])
    axes.set(title=title, xlim=(0, 110), xlabel="share of the class that is still shown (%)")
    axes.set_xticks(range(0, 101, 20))
    axes.grid(visible=False)
    whole = [classes[label] for label in order if counts[0][label] == counts[1][label]]
    alt = f"A bar for each of {len(classes)} classes: the share of its samples that is still shown, ascending."
    said = f"The class {classes[order[0]]} goes first: only {shares[order[0]]:.0f} % of it is still shown."
    return Picture(figure, alt, said, f"Still complete: {', '.join(whole) or 'none'}.")
