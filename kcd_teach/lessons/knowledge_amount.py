"""Lesson 02, amount of knowledge: its exercises, then its pictures of how much the teacher has to say."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import colour, new_figure, styled
from kcd_teach.lessons.exercise import Exercise


def _entropy(probabilities: Tensor) -> Tensor:
    total: Tensor = torch.special.entr(probabilities).sum(dim=1)
    return total


entropy = Exercise(
    name="entropy",
    task=(
        "Compute the entropy of each sample's probabilities [B, C], in nats: - sum_c p_c ln p_c, "
        "where a class of probability exactly 0 adds nothing."
    ),
    minutes=5,
    hints=(
        "Start with the formula: p * ln p, summed over the classes of each row, with a minus sign.",
        "In floating point 0 * log(0) is 0 * (-infinity) = NaN, though p ln p goes to 0 as p does.",
        "torch.xlogy(p, p) is p * ln p with 0 at p = 0; torch.where or clamp do it too.",
    ),
    reference=_entropy,
    cases=(
        (torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]),),
        (torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01], [0.0, 0.0, 0.5, 0.5]]),),
    ),
    mistakes={
        "0 * log(0) is NaN. A confident prediction rounds to exact zeros in float32, and one NaN spoils every mean "
        "and every ranking it gets into.": lambda p: -(p * p.log()).sum(dim=1),
        "The sign is missing: ln p is negative for a probability below 1, and an entropy is never below 0.": lambda p: (
            -_entropy(p)
        ),
        "This is in bits, from the logarithm to base 2. Nats are asked for, from the natural logarithm.": lambda p: (
            _entropy(p) / math.log(2)
        ),
        "The classes were averaged, not summed. The largest value should be ln C, with C classes.": lambda p: (
            _entropy(p) / p.shape[1]
        ),
        "The sum ran over the batch (dim=0). Each sample has its own entropy: sum over the classes.": lambda p: (
            _entropy(p.T)
        ),
    },
    solution="""
        import torch

        def entropy(probabilities):
            return -torch.xlogy(probabilities, probabilities).sum(dim=1)
    """,
)


def _trust(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The label's probability as a fraction of the favourite's: 1 where they are the same class."""
    of_label = probabilities.gather(1, labels[:, None]).squeeze(1)
    return of_label / probabilities.max(dim=1).values


def _ids(mask: Tensor) -> Tensor:
    return torch.nonzero(mask).flatten()


def _by_doubt(probabilities: Tensor, labels: Tensor) -> Tensor:
    trust = _trust(probabilities, labels)
    return trust.argsort()[: int((trust < 0.5).sum())]


doubtful = Exercise(
    name="doubtful",
    task=(
        "Find the samples whose label the teacher doubts: it gives the label less than half of the probability that "
        "it gives its favourite class. Return their ids (row numbers), ascending."
    ),
    minutes=6,
    hints=(
        "You need two numbers per sample: the probability of its label, and the largest probability of its row.",
        "probabilities[torch.arange(len(labels)), labels] picks the label's probability of every row.",
        "torch.nonzero(mask).flatten() turns a mask of true and false into ids.",
    ),
    reference=lambda probabilities, labels: _ids(_trust(probabilities, labels) < 0.5),
    cases=(
        (
            torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.45, 0.35, 0.2], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]),
            torch.tensor([0, 0, 1, 1, 2]),
        ),
        (
            torch.tensor([[0.1, 0.3, 0.6], [0.4, 0.35, 0.25], [0.34, 0.33, 0.33], [0.05, 0.9, 0.05]]),
            torch.tensor([0, 0, 2, 2]),
        ),
    ),
    mistakes={
        "The label's probability was compared with 0.5, not with half of the favourite's. A teacher who is unsure "
        "about everything does not doubt the "
        "label in particular.": lambda p, y: _ids(p.gather(1, y[:, None]).squeeze(1) < 0.5),
        "These are all samples whose favourite is not the label. A teacher who gives 0.45 to one class and 0.35 to "
        "the label hesitates between them; that is not doubt yet.": lambda p, y: _ids(p.argmax(dim=1) != y),
        "These are the samples whose label the teacher accepts; the comparison is the wrong way round.": lambda p, y: (
            _ids(_trust(p, y) >= 0.5)
        ),
        "A mask of true and false came back. Ids are asked for: positions where the mask is true.": lambda p, y: (
            _trust(p, y) < 0.5
        ),
        "Samples at exactly half were counted too. Less than half is asked for.": lambda p, y: _ids(
            _trust(p, y) <= 0.5
        ),
        "The ids are ordered by doubt, not ascending. The right samples are there, but in an order that "
        "says something else.": _by_doubt,
    },
    solution="""
        import torch

        def doubtful(probabilities, labels):
            of_label = probabilities[torch.arange(len(labels)), labels]
            favourite = probabilities.max(dim=1).values
            return torch.nonzero(of_label < 0.5 * favourite).flatten()
    """,
)


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
    return Picture(
        figure,
        alt,
        f"{100 * above:.0f} % of the {len(values):,} samples hold more than half of the largest "
        f"value ({ordered[0]:.2f} {unit.split(',')[-1].strip()}); the median is {median:.2f}.",
    )


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
    return Picture(
        figure,
        alt,
        f"The largest medians are those of {', '.join(names[:3])}; the smallest those of {' and '.join(names[-2:])}.",
    )
