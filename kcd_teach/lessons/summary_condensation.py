"""Lesson 05, summary condensation: its questions, its exercises, then its pictures of ranking, mixtures and schedule."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kcd_teach import views
from kcd_teach.benchmark import curves, open_study
from kcd_teach.condensation import DROPPED, KEPT, MIXED, ROLES, partition, prediction_entropy
from kcd_teach.datasets import load_dataset
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.samples import Images, RankingPlot, SchedulePlot, show_image
from kcd_teach.figures.style import headline, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.measurements import load_trace
from kcd_teach.lessons.predictions import Question
from kcd_teach.widgets.condensation import CondensationExplorer, Source

QUESTIONS = {
    "strongest": Question(
        "A dropped sample is blended into each boundary sample. Into which one does the largest share of a partner go?",
        ("the most valuable one", "all get the same", "the least valuable one"),
    ),
    "half": Question(
        "What does a run cost, as a share of plain KD, whose set shrinks to 50 % in six stages?",
        ("50 %", "75 %", "85 %"),
    ),
    "mixing": Question(
        "If dropped samples are only dropped and nothing is blended, the accuracy will be ...",
        ("lower", "higher", "the same within the noise"),
    ),
}


def _pair(ranking: Tensor, previous: int, kept: int) -> tuple[Tensor, Tensor]:
    _, boundary, partners = partition(ranking, previous, kept)
    return boundary, partners


def _from_the_end(ranking: Tensor, previous: int, kept: int) -> tuple[Tensor, Tensor]:
    boundary, _ = _pair(ranking, previous, kept)
    return boundary, ranking[-(previous - kept) :]


def _one_early(ranking: Tensor, previous: int, kept: int) -> tuple[Tensor, Tensor]:
    boundary, partners = _pair(ranking, previous, kept)
    return ranking[kept - 1 - len(boundary) : kept - 1], partners


def _reversed(ranking: Tensor, previous: int, kept: int) -> tuple[Tensor, Tensor]:
    boundary, partners = _pair(ranking, previous, kept)
    return boundary, partners.flip(0)


def _whole_list(ranking: Tensor, previous: int, kept: int) -> tuple[Tensor, Tensor]:
    length = previous - kept
    return ranking[:kept][-length:], ranking[kept : kept + length]


pair = Exercise(
    name="pair",
    task=(
        "Of a ranking (ids, best first) return (boundary, partners), each in order of rank: with L = previous - kept, "
        "the last L of the samples kept, and the L samples ranked right after them. When L is 0, both are empty."
    ),
    minutes=6,
    hints=(
        "The kept samples are ranking[:kept]. Where among them do the last L begin?",
        "The boundary begins at place kept - L and ends before place kept; the partners begin at place kept.",
        "Slices by start and end also work for L = 0; [-L:] does not, because -0 is 0.",
    ),
    reference=_pair,
    parts=("boundary", "partners"),
    cases=(
        (torch.tensor([4, 0, 6, 2, 5, 1, 3]), 6, 4),
        (torch.tensor([2, 8, 5, 0, 6, 1, 9, 3, 7, 4]), 8, 6),
        (torch.tensor([3, 1, 0, 2]), 3, 3),
    ),
    mistakes={
        "The partners came from the very end of the ranking. They are the samples right below the cut: the best of "
        "those that are not kept.": _from_the_end,
        "The boundary ends one place too early, so the least valuable sample kept stays unmixed. Slices leave out "
        "their end: use ranking[kept - L:kept].": _one_early,
        "The pairing is reversed. Both lists go from higher to lower rank, and the first of one belongs to the first "
        "of the other.": _reversed,
        "Where nothing is dropped, [-0:] is the whole list and not an empty one: every kept sample would wait for a "
        "partner that does not exist (this is how the authors' released code stops).": _whole_list,
    },
    solution="""
        def pair(ranking, previous, kept):
            length = previous - kept
            return ranking[kept - length:kept], ranking[kept:kept + length]
    """,
)


def _blend(image: Tensor, partner: Tensor, coefficient: float) -> Tensor:
    share = torch.tensor([coefficient], dtype=torch.float64)
    return views.blend(image[None], partner[None], share)[0]


def _to_pixels(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255).to(torch.uint8)


blend = Exercise(
    name="blend",
    task=(
        "Mix an image with its partner, both uint8 [C, H, W]: (1 - c) * image + c * partner, "
        "rounded to the nearest whole number, as uint8 again."
    ),
    minutes=5,
    hints=(
        "uint8 holds 0 .. 255 and wraps round beyond: compute in floating point, convert at the end.",
        "Converting to uint8 cuts off what follows the decimal point; round before.",
        "mixed = (1 - c) * image.double() + c * partner.double(), then mixed.round().to(torch.uint8).",
    ),
    reference=_blend,
    cases=(
        (
            torch.tensor([[[80, 161], [64, 41]]], dtype=torch.uint8),
            torch.tensor([[[24, 60], [120, 200]]], dtype=torch.uint8),
            0.15,
        ),
        (
            torch.tensor([[[181, 100]]], dtype=torch.uint8),
            torch.tensor([[[143, 36]]], dtype=torch.uint8),
            0.3,
        ),
    ),
    mistakes={
        "The weights are swapped: the partner takes the larger share, and the image would no longer "
        "fit its label.": lambda x, y, c: _blend(y, x, c),
        "What follows the decimal point was cut off instead of rounded. Every mixed pixel gets about half a "
        "grey level darker.": lambda x, y, c: ((1 - c) * x.double() + c * y.double()).to(torch.uint8),
        "partner - image wrapped round in uint8, where 24 - 80 is 200. Convert to floating point "
        "before you subtract.": lambda x, y, c: _to_pixels(x + c * (y - x).double()),
        "The partner was added without scaling the image down. Such a mixture is too bright, and leaves the range "
        "0 .. 255.": lambda x, y, c: _to_pixels(x + c * y.double()),
    },
    solution="""
        import torch

        def blend(image, partner, coefficient):
            mixed = (1 - coefficient) * image.double() + coefficient * partner.double()
            return mixed.round().to(torch.uint8)
    """,
)


def _not_on_the_label(student_logits: Tensor, labels: Tensor) -> Tensor:
    return 1 - student_logits.softmax(dim=1)[torch.arange(len(labels)), labels]


missed = Exercise(
    name="missed",
    task="Return, for every sample of a batch, the probability that the student does not give to its label, [B].",
    minutes=5,
    hints=(
        "First make probabilities of the logits [B, C], a distribution per row.",
        "probabilities[torch.arange(len(labels)), labels] picks one number from every row: that of its label.",
        "All probabilities of a row add up to 1, so what the label does not get is 1 minus what it gets.",
    ),
    reference=_not_on_the_label,
    cases=(
        (torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 1, 1])),
        (torch.tensor([[0.0, 2.0], [-1.0, 1.0]]), torch.tensor([0, 1])),
    ),
    mistakes={
        "This is the probability of the label itself. It is high where nothing is left to learn, and the condenser keeps "
        "what is high.": lambda z, y: 1 - _not_on_the_label(z, y),
        "The label was not used: this asks how far the student's favourite is from certain. A student that is sure and "
        "wrong would then look like one that has learned.": lambda z, y: 1 - z.softmax(dim=1).amax(dim=1),
        "This is the loss, -ln p of the label. It puts the samples in the same order, but it has no upper end; here the "
        "probability itself is asked for.": lambda z, y: -z.log_softmax(dim=1)[torch.arange(len(y)), y],
        "This is the entropy. It is a fine measure, and the one that KCD has already, but it does not "
        "know the label.": lambda z, y: prediction_entropy(z),
        "The values were averaged to one number. The condenser needs a value for each sample of the "
        "batch.": lambda z, y: _not_on_the_label(z, y).mean(),
        "The softmax went over the batch, dim=0, so that a value depends on which other samples happen to "
        "be in it.": lambda z, y: 1 - z.softmax(dim=0)[torch.arange(len(y)), y],
    },
    solution="""
        import torch

        def missed(student_logits, labels):
            probabilities = student_logits.softmax(dim=1)
            return 1 - probabilities[torch.arange(len(labels)), labels]
    """,
)

ablation_says = Judgement(
    name="ablation_says",
    task="Which statements does the figure of the ablation support?",
    minutes=4,
    options={
        "blending helps students": (
            "One pair of networks, one data set and ten seeds were run. The figure is silent about all others."
        ),
        "without blending, these students fell behind by more than the noise of ten seeds, but only just": (
            "Its interval ends just short of zero. One more seed could move it across."
        ),
        "the frequency is of no use, as its row is grey": (
            "Grey means not found, and not zero. A loss of a full point without the frequency would also fit these runs."
        ),
        "leaving out blending costs more than leaving out the frequency": (
            "Their means are less than a tenth of a point apart, far inside both intervals. Whoever wants to compare two "
            "rows has to pair these two, seed by seed."
        ),
        "with six such rows, one that stands out by luck alone would be no surprise": (
            "If no part made a difference and the rows were independent, one table in four would still hold one."
        ),
    },
    right="be",
    hints=(
        "A statement can be true and still not be supported by this figure.",
        "For a grey row, look at both ends of its bar: which losses, and which gains, does it still allow?",
        "Two of the five hold. One of these is about a single row, and the other one is about the whole table.",
    ),
)


@styled
def ranking(score: np.ndarray, role: np.ndarray, title: str) -> Picture:
    """The ranking with its partition: who is kept, mixed and dropped; score [N] in nats, role int8 [N]."""
    figure, (axes,) = new_figure(7.2, 3.4)
    counts = [int((role == code).sum()) for code in (KEPT, MIXED, DROPPED)]
    kept, mixed, _ = (100 * count / len(role) for count in counts)
    RankingPlot(axes).update(np.sort(score)[::-1], kept, mixed)
    axes.set_title(title)
    means = [float(score[role == code].mean()) if count else 0.0 for code, count in enumerate(counts)]
    numbers = "; ".join(
        f"{count:,} {name}, mean score {mean:.2f} nats" for count, name, mean in zip(counts, ROLES, means, strict=True)
    )
    share = means[DROPPED] * counts[DROPPED] / max(float(score.sum()), 1e-12)
    reading = f"The {100 * counts[DROPPED] / len(role):.0f} % that are dropped hold {100 * share:.0f} % of all value."
    alt = "Falling curve of scores, the area below it coloured by role: kept left, mixed in between, dropped right."
    return Picture(figure, alt, reading, f"{numbers[:1].upper()}{numbers[1:]}.")


@styled
def mixtures(boundary: Images, partners: Images, mixed: Images, coefficients: Sequence[float], title: str) -> Picture:
    """Boundary samples, the dropped samples blended into them, and the result, one column per pair."""
    count = len(boundary)
    figure, axes = new_figure(max(1.05 * count, 6), 3.9, 3, count)
    headline(figure, title)
    rows = (
        ("boundary", boundary, "kept", [""] * count),
        ("+ partner", partners, "dropped", [f"{100 * c:.0f} %" for c in coefficients]),
        ("= mixture", mixed, "mixed", [""] * count),
    )
    for row, (name, images, role, captions) in enumerate(rows):
        for column in range(count):
            show_image(axes[row * count + column], images[column], captions[column], role)
        axes[row * count].set_ylabel(name, fontsize=10, rotation=0, ha="right", va="center", labelpad=8)
    alt = "Columns of three images: a boundary sample, the dropped sample blended into it, and their mixture."
    low, high = 100 * min(coefficients), 100 * max(coefficients)
    return Picture(
        figure,
        alt,
        "The less valuable a boundary sample is, the more of its partner shines through.",
        f"{count} pairs in order of rank, the partner's share from {low:.0f} % to {high:.0f} %.",
    )


@styled
def schedule(counts: Sequence[int], cost: float) -> Picture:
    """How many samples each stage shows, and what the whole run costs relative to plain KD."""
    figure, (axes,) = new_figure(5.6, 3.0)
    SchedulePlot(axes).update(counts, cost)
    reading = (
        f"A run that ends with {100 * counts[-1] / counts[0]:.0f} % of the samples costs {100 * cost:.0f} % of plain KD, "
        "because it begins with all of them."
    )
    return Picture(figure, "Steps falling from all samples to the final ratio, one per stage.", reading)


def explorer() -> CondensationExplorer:
    """The condensation explorer on the recorded runs of the course, with the accuracies that were measured."""
    dataset = load_dataset("fashion-mnist-mini")
    return CondensationExplorer(
        {
            "2,000": Source(
                dataset.first(per_class=200), load_trace("mini_resnet8_2k").entropy, _measured("choice-2k")
            ),
            "10,000": Source(dataset, load_trace("mini_resnet8").entropy, _measured("choice-10k")),
        }
    )


def _measured(study: str) -> dict[str, dict[float, curves.Runs]]:
    """Accuracies by cost of a stored study, with those of labels alone."""
    prepared, store = open_study(study)
    alone = curves.accuracies(prepared, store)["labels alone"]
    return {**curves.accuracy_by_cost(prepared, store), "labels alone": {1.0: alone}}
