"""Lesson 02, amount of knowledge: its questions and exercises, then its pictures of how much the teacher has to say."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import colour, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question

QUESTIONS = {
    "half": Question(
        "Take the samples with the largest amounts at T = 4, one after the other, until you hold half of all the knowledge. "
        "What part of the samples have you taken? (If all held the same, it would be 50 %.)",
        ("about 10 %", "about 25 %", "about 45 %"),
    ),
    "overlap": Question(
        "Take the richest 1,000 samples by entropy, and the richest 1,000 by closeness. How many are in both?",
        ("about 90 %, as the correlation suggests", "less than half", "almost none"),
    ),
    "temperature": Question(
        "You order all samples by entropy, once at T = 1 and once at T = 20. How do the two orders compare?",
        ("the same, because softening keeps the order", "clearly different", "nearly opposite"),
    ),
    "doubt": Question(
        "How many labels of its own training samples does the teacher doubt in this sense?",
        ("almost none, because it was trained on them", "about 4 %", "about 25 %"),
    ),
}


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
        "0 * log(0) is NaN, because log(0) is minus infinity. A confident prediction rounds to exact zeros in float32, "
        "and one NaN spoils every mean and every ranking it gets into. torch.xlogy(p, p) is p * log(p) with 0 at "
        "p = 0.": lambda p: -(p * p.log()).sum(dim=1),
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


tenth_claim = Judgement(
    name="tenth_claim",
    task=(
        "Somebody argues: at T = 1 the richest 12 % of the samples hold half of all the knowledge, so training on them alone "
        "is worth half of the training set. Which objections hold?"
    ),
    minutes=4,
    options={
        "at another temperature the richest 12 % hold much less than half": (
            "At T = 4 it takes 43 % of the samples to hold half, at T = 20 half of them. The share says as much about the "
            "temperature as about the samples."
        ),
        "in bits, and not in nats, the share would be another one": (
            "Bits are nats divided by ln 2. A constant factor changes every amount alike, so that a share stays what it is."
        ),
        "no student was trained on these samples, with or without the others": (
            "A sum of entropies is a property of the teacher's predictions. What a student learns from a part of the samples "
            "has to be measured by training on it."
        ),
        "nearly half of the labels that the teacher doubts are among them": (
            "You saw it above: 48 % of the doubted labels are in these 12 % of the samples. If you train on them alone, you "
            "train on many labels that may be wrong."
        ),
        "the entropy is wrong, because the dark mass orders the samples differently": (
            "Neither is wrong. They answer different questions, and nothing measured so far prefers one of them."
        ),
    },
    right="acd",
    hints=(
        "Ask where the number 12 % comes from, what it is a share of, and what was never measured.",
        "Look at the four curves again, and at what you found out about doubted labels.",
        "Three of the five hold. One of the others would change no share at all.",
    ),
)


@styled
def ordered_curves(groups: Mapping[str, np.ndarray], title: str) -> Picture:
    """All samples from the most to the least entropy, nats, as one falling curve per group."""
    figure, (axes,) = new_figure(7.2, 3.4)
    shares = {}
    for (name, values), line in zip(groups.items(), ("-", "--", "-.", ":"), strict=False):
        ordered = np.sort(values)[::-1]
        axes.plot(100 * np.arange(len(ordered)) / len(ordered), ordered, line, color=colour("kept"), label=name)
        shares[name] = f"{100 * float((values > ordered[0] / 2).mean()):.0f} %"
    if len(groups) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(title=title, xlabel="samples, from most to least (%)", ylabel="teacher's entropy (nats)")
    axes.set(xlim=(0, 100), ylim=(0, None))
    alt = f"Falling curves of the entropies of {len(ordered):,} samples, sorted, for {', '.join(groups)}."
    names = list(shares)
    first, last = names[0], names[-1]
    said = f"At {first}, {shares[first]} of the samples each hold more than half of what the richest one holds"
    if len(groups) == 1:
        return Picture(figure, alt, f"{said}.")
    return Picture(
        figure,
        alt,
        f"{said}, and at {last} it is {shares[last]} of them.",
        ", ".join(f"{name}: {share}" for name, share in shares.items()) + ".",
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
        f"The typical {names[0]} holds most and the typical {names[-1]} least, but the ranges of all classes overlap."
        if lowest.max() < highest.min()
        else f"The typical {names[0]} holds most and the typical {names[-1]} least.",
        "Medians: " + ", ".join(f"{name} {value:.2f}" for name, value in zip(names, middle, strict=True)) + ".",
    )
