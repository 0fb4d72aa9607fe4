"""Lesson 03, learning value: its questions and exercises, then its pictures of what the student says, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from kcd_teach.condensation import ValueRecord
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import VALUE_MAP, colour, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question

_NAN = float("nan")
_LINES = ("-", "--", "-.", ":")

QUESTIONS = {
    "never": Question(
        "KCD keeps the 70 % of the samples with the highest value. What happens to those that the student never learns?",
        ("most are dropped, because they are hopeless", "about 70 % are kept, as of any group", "nearly all are kept"),
    ),
    "settle": Question(
        "You order the samples by entropy in every epoch. From when on does the order resemble that of the last epoch, with a "
        "rank correlation of 0.75 or more?",
        ("from the first epoch", "from the second or third", "only after the learning rate drops in epoch 16"),
    ),
    "student": Question(
        "Two different students each keep the 70 % that are most valuable to them. How much of one set is in the other?",
        ("about 70 %, as of two random sets", "about 80 %", "more than 90 %"),
    ),
    "corner": Question(
        "Cut both lists into thirds. How many samples are in the top third of the amount and in the bottom third of the value?",
        ("about 11 %, as if they were unrelated", "less than 2 %", "about 25 %"),
    ),
}


def _running_mean(history: Tensor) -> Tensor:
    record = ValueRecord(history.shape[1])
    for epoch in history:
        shown = torch.nonzero(~epoch.isnan()).flatten()
        record.add(shown, epoch[shown])
    return record.mean


def _last_value(history: Tensor) -> Tensor:
    last = torch.zeros(history.shape[1])
    for epoch in history:
        last = torch.where(epoch.isnan(), last, epoch)
    return last


running_mean = Exercise(
    name="running_mean",
    task=(
        "Average each sample's recorded entropies [E, N] over the epochs in which it was shown; NaN marks an epoch in "
        "which it was not, and a sample that was never shown gets 0."
    ),
    minutes=6,
    hints=(
        "Two numbers per sample are enough: the sum of what was recorded, and how often something was.",
        "history.isnan() says where nothing was recorded; torch.nan_to_num puts a 0 there, which leaves a sum as it "
        "was.",
        "Divide the sum by the count, with the count raised to at least 1 (clamp) so that 0 / 0 cannot happen.",
    ),
    reference=_running_mean,
    cases=(
        (torch.tensor([[2.4, 1.2, _NAN], [2.0, _NAN, _NAN], [1.6, 0.8, _NAN]]),),
        (torch.tensor([[1.0, 0.5, 2.0, 0.1], [_NAN, 0.3, 1.5, _NAN]]),),
    ),
    mistakes={
        "Epochs in which a sample was not shown were counted as entropy 0, by dividing by all E epochs. Dropped "
        "samples would look easier with every epoch and could never come back.": lambda h: h.nan_to_num().mean(dim=0),
        "This is the last recorded value only. One epoch is noisy: crop, flip and batch change the entropy; the "
        "mean is steadier.": _last_value,
        "A sample that was never shown came out as NaN (0 / 0). NaN sorts before every number or after, never where "
        "it belongs; use 0.": lambda h: h.nanmean(dim=0),
        "NaN spread: one epoch without a showing makes the whole mean NaN. Leave these epochs out.": lambda h: h.mean(
            dim=0
        ),
        "This is the sum. A sample shown more often would be worth more for that alone; divide by how often "
        "it was shown.": lambda h: h.nansum(dim=0),
    },
    solution="""
        import torch

        def running_mean(history):
            shown = ~history.isnan()
            total = torch.nan_to_num(history).sum(dim=0)
            return total / shown.sum(dim=0).clamp(min=1)
    """,
)


def _last_wrong(correct: Tensor) -> Tensor:
    """Epoch (from 1) in which each sample was wrong for the last time, 0 if it was always right."""
    epoch = torch.arange(1, len(correct) + 1)[:, None]
    return (epoch * ~correct).max(dim=0).values


def _learned_epoch(correct: Tensor) -> Tensor:
    last_wrong = _last_wrong(correct)
    return torch.where(last_wrong == len(correct), 0, last_wrong + 1)


def _first_right(correct: Tensor) -> Tensor:
    return correct.int().argmax(dim=0) + 1


learned_epoch = Exercise(
    name="learned_epoch",
    task=(
        "For each sample find the first epoch, counted from 1, from which on the student is right to the end; "
        "0 if it is wrong in the last epoch. `correct` is a table of true and false, [E, N]."
    ),
    minutes=8,
    hints=(
        "A sample is learned in the epoch after the one in which it was wrong for the last time.",
        "Multiply ~correct by the epoch numbers 1 .. E in a column; the largest product of each sample is that last "
        "wrong epoch, 0 if there is none.",
        "torch.where(last_wrong == len(correct), 0, last_wrong + 1) treats the samples that end wrong.",
    ),
    reference=_learned_epoch,
    cases=(
        (torch.tensor([[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0]]).bool(),),
        (torch.tensor([[0, 0, 1], [0, 1, 0], [0, 1, 1]]).bool(),),
    ),
    mistakes={
        "This is the first epoch in which the sample was right. It may be forgotten again; look for the first one "
        "after which it never is.": _first_right,
        "This is the last epoch in which the sample was wrong. It is learned one epoch later.": lambda c: (
            _learned_epoch(c) - (_learned_epoch(c) > 0).long()
        ),
        "The epochs in which the sample was right were counted. That says how often, not since when.": lambda c: c.sum(
            dim=0
        ),
        "A sample that is wrong in the last epoch got E + 1. It is not learned in this run, which "
        "0 stands for.": lambda c: _last_wrong(c) + 1,
    },
    solution="""
        import torch

        def learned_epoch(correct):
            epochs = torch.arange(1, len(correct) + 1)[:, None]
            last_wrong = (~correct * epochs).max(dim=0).values
            return torch.where(last_wrong == len(correct), 0, last_wrong + 1)
    """,
)

one_list = Judgement(
    name="one_list",
    task=(
        "Somebody concludes: two students keep almost the same samples, so the value does not depend on the student, and one "
        "list of the best samples serves everybody. Which statements about this are right?"
    ),
    minutes=4,
    options={
        "the right comparison is two seeds of one student, not two random sets": (
            "Two seeds show how far apart two sets are by luck alone. Here two students are no further apart than that, so no "
            "influence of the student can be seen, and 70 % by chance would have hidden it."
        ),
        "both students have the same teacher and images, so other pairs may differ more": (
            "They are small networks that imitate one teacher on ten kinds of clothes. Students that differ more, or another "
            "teacher, were not tried."
        ),
        "an overlap this large shows that choosing by value helps": (
            "It shows that the choice can be repeated, not that it is good. Whether it helps needs accuracies, and a control "
            "of samples that were chosen at random."
        ),
        "a list from the first epoch would then do as well": (
            "The order of epoch 1 has a rank correlation of only about 0.4 with that of the last epoch. What two trained "
            "students agree on is not known so early."
        ),
        "where the two sets differ is mostly among samples near the cut": (
            "Half of the samples that only the second student keeps rank within the next 600 places below the first one's cut, "
            "where a little noise is enough to cross it."
        ),
    },
    right="abe",
    hints=(
        "A set can be the same for many reasons. Which of these reasons were tested here?",
        "An overlap of two sets says nothing about what happens when you train on one of them.",
        "Three of the five are right; one of them can be read off the numbers printed with the sets.",
    ),
)


def _tints(count: int) -> list[Any]:
    """Colours for groups that are not roles, dark to light."""
    return [colormaps[VALUE_MAP](place) for place in np.linspace(0.0, 0.75, count)]


@styled
def trajectories(groups: Mapping[str, np.ndarray], largest: float, title: str, bands: bool = True) -> Picture:
    """Entropy through the epochs, [n, E] nats per group: the median as a line, the middle half as a band if wanted."""
    figure, (axes,) = new_figure(7.2, 3.9)
    ends: dict[str, tuple[float, float]] = {}
    for (name, history), tint, line in zip(groups.items(), _tints(len(groups)), _LINES, strict=False):
        epochs = np.arange(1, history.shape[1] + 1)
        low, middle, high = np.nanpercentile(history, [25, 50, 75], axis=0)
        if bands:
            axes.fill_between(epochs, low, high, color=tint, alpha=0.15)
        axes.plot(epochs, middle, linestyle=line, color=tint, label=f"{name} ({len(history):,})")
        ends[name] = (float(middle[0]), float(middle[-1]))
    axes.axhline(largest, color=colour("teacher"), linestyle=":", linewidth=1)
    axes.annotate("no idea: ln C", (1, largest), va="bottom", fontsize=9)
    axes.set(title=title, xlabel="epoch", ylabel="student's entropy (nats)", ylim=(0, 1.12 * largest))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    band = " with the middle half of samples as a band" if bands else ""
    alt = f"Median entropy per epoch{band}, for {', '.join(groups)}."
    if len(ends) == 1:
        ((name, (first, last)),) = ends.items()
        return Picture(figure, alt, f"The median entropy of {name} goes from {first:.2f} to {last:.2f} nats.")
    most, least = (pick(ends, key=lambda name: ends[name][1]) for pick in (min, max))
    said = (
        f"In the last epoch the student is most certain about what is {most}, with a median of {ends[most][1]:.2f} nats, and "
        f"least about what is {least}, with {ends[least][1]:.2f}."
    )
    numbers = [f"{name} {first:.2f} to {last:.2f}" for name, (first, last) in ends.items()]
    return Picture(figure, alt, said, f"Median entropy from the first to the last epoch, nats: {'; '.join(numbers)}.")


@styled
def shares(groups: Mapping[str, float], title: str) -> Picture:
    """How a whole is divided, percent, as one bar per part."""
    figure, (axes,) = new_figure(7.2, 0.8 + 0.4 * len(groups))
    names: Sequence[str] = list(groups)
    axes.barh(names, [groups[name] for name in names], color=_tints(len(names)))
    for row, name in enumerate(names):
        axes.annotate(f" {groups[name]:.1f} %", (groups[name], row), va="center", fontsize=9.5)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(title=title, xlabel="share of the samples (%)")
    largest, smallest = (pick(groups, key=lambda name: groups[name]) for pick in (max, min))
    said = f"Most samples are {largest} ({groups[largest]:.0f} %), and the fewest are {smallest} ({groups[smallest]:.0f} %)."
    return Picture(figure, f"Bars of the shares of {', '.join(names)}.", said)
