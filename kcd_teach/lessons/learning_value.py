"""Lesson 03, learning value: its exercises, then its pictures of what the student says, epoch by epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kcd_teach.condensation import ValueRecord
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.lessons.exercise import Exercise

_NAN = float("nan")


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
    return torch.where(correct.any(dim=0), correct.int().argmax(dim=0) + 1, 0)


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

_TINTS = ("kept", "student", "mixed", "dropped", "teacher")


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
