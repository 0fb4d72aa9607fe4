"""Lesson 00, the tour: its questions, exercises on what condensing saves, and pictures of one run."""

import math
from collections.abc import Sequence

from kcd_teach.condensation import paper_counts, relative_cost, released_counts
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question

QUESTIONS = {
    "price": Question(
        "You show the two networks 35 % fewer samples than plain distillation does, and let KCD choose them. What happens "
        "to the student's accuracy?",
        (
            "it falls by about five points",
            "it falls by about two points",
            "twenty runs of each cannot tell the difference",
        ),
    ),
    "cost": Question(
        "The set of samples shrinks in six equal stages, from all samples in the first to 70 % of them in the last. What "
        "does the whole run cost, compared with plain distillation?",
        ("70 %", "85 %", "95 %"),
    ),
    "entropy": Question(
        "Which samples does KCD keep: those on which the student is ...",
        ("certain (low entropy)", "uncertain (high entropy)", "wrong"),
    ),
}


def _presentations(counts: Sequence[int], epochs_per_stage: int) -> float:
    return relative_cost(counts, epochs_per_stage * len(counts))


def _stage_by_stage(counts: Sequence[int], epochs_per_stage: int) -> float:
    return sum(now / before for now, before in zip(counts, [counts[0], *counts], strict=False)) / len(counts)


presentations = Exercise(
    name="presentations",
    task=(
        "From the number of samples kept in each stage and the epochs per stage, compute how many samples are shown "
        "in the whole run, as a fraction of what plain KD shows (all samples in every epoch)."
    ),
    minutes=4,
    hints=(
        "Count showings: a stage of e epochs on n samples shows n * e of them.",
        "Plain KD trains for just as many epochs, on counts[0] samples in each of them.",
        "Divide the sum of n * e over all stages by counts[0] * e * len(counts).",
    ),
    reference=_presentations,
    cases=(([10, 8, 6], 2), ([100, 90, 80, 70], 10)),
    mistakes={
        "This is the final ratio, the share of samples kept in the last stage. Earlier stages keep more, so the run "
        "costs more than that: 0.85 for a final ratio of 0.7.": lambda n, e: n[-1] / n[0],
        "Stage 0 is missing from the sum. It trains on all samples, and its cost counts like that of "
        "any other stage.": lambda n, e: sum(n[1:]) / (n[0] * len(n)),
        "Each stage was divided by the stage before it. Plain KD shows all samples in every stage, so every stage is "
        "compared with counts[0].": _stage_by_stage,
        "Plain KD was given the epochs of one stage only, so condensing looks dearer than not condensing. It trains "
        "for as many epochs as all stages together.": lambda n, e: sum(n) / n[0],
    },
    solution="""
        def presentations(counts, epochs_per_stage):
            shown = sum(count * epochs_per_stage for count in counts)
            plain = counts[0] * epochs_per_stage * len(counts)
            return shown / plain
    """,
)


def _one_stage_late(num_samples: int, ratio: float, stages: int) -> list[int]:
    return paper_counts(num_samples, 1 - (1 - ratio) * (stages - 1) / stages, stages)


def _first_stage_falls(num_samples: int, ratio: float, stages: int) -> list[int]:
    return [math.floor(num_samples * (1 - (1 - ratio) * (t + 1) / stages) + 0.5) for t in range(stages)]


def _cut_off(num_samples: int, ratio: float, stages: int) -> list[int]:
    return [int(num_samples * (1 - (1 - ratio) * t / (stages - 1))) for t in range(stages)]


def _halves_to_even(num_samples: int, ratio: float, stages: int) -> list[int]:
    return [round(num_samples * (1 - (1 - ratio) * t / (stages - 1))) for t in range(stages)]


kept_counts = Exercise(
    name="kept_counts",
    task=(
        "For two or more stages, list how many samples are kept in each, falling on a straight line from all of them "
        "in the first stage to the share `ratio` in the last, rounded to the nearest whole number, halves up."
    ),
    minutes=6,
    hints=(
        "Write down the share kept in the first stage, in the last, and halfway between them.",
        "With t = 0 in the first stage and t = stages - 1 in the last, the share falls by (1 - ratio) on the way: "
        "what fraction of that fall has happened at stage t?",
        "The share at stage t is 1 - (1 - ratio) * t / (stages - 1).",
    ),
    reference=paper_counts,
    cases=((10, 0.6, 3), (10, 0.5, 4), (1000, 0.5, 3), (10, 0.3, 3)),
    mistakes={
        "The ratio was read as the share to drop. It is the share that is still kept at the end: 0.7 "
        "keeps 70 percent.": lambda n, ratio, stages: paper_counts(n, 1 - ratio, stages),
        "The fall was divided by the number of stages. There are only stages - 1 steps between them, so the ratio "
        "would be reached one stage late and nothing ever be trained on it (as happens in the "
        "authors' released code).": _one_stage_late,
        "The fall was divided by 6 whatever the number of stages, as in the authors' released code. With fewer stages "
        "the ratio is never reached.": lambda n, ratio, stages: released_counts(n, ratio, stages)[:-1],
        "The first stage drops samples already. It must keep all: nothing is known yet about what "
        "they are worth.": _first_stage_falls,
        "The counts were cut off instead of rounded to the nearest, which loses a sample here and there.": _cut_off,
        "Python's round() takes halves to the even neighbour, 6.5 to 6. Halves go up here: int(x + 0.5).": _halves_to_even,
    },
    solution="""
        def kept_counts(num_samples, ratio, stages):
            shares = [1 - (1 - ratio) * t / (stages - 1) for t in range(stages)]
            return [int(num_samples * share + 0.5) for share in shares]
    """,
)

who_goes_first = Judgement(
    name="who_goes_first",
    task="The bars show how much of each class your run kept, trousers least of all. Which statements do they support?",
    minutes=3,
    options={
        "the student hesitates less over most trousers than over other clothes": (
            "Samples are ranked by the student's own entropy, so the first to go are those about which it is sure."
        ),
        "a student needs no pictures of trousers": (
            "It was taught all of them in the first stage. Whether it would also learn them without, the bars cannot say."
        ),
        "KCD drops samples because of their label": (
            "The ranking never looks at a label. The classes differ because the student's certainty differs between them."
        ),
        "if every class matters to you, measure the accuracy of each one": (
            "What is shown less may be forgotten, and the mean over all classes can hide that."
        ),
        "the dropped trousers carry wrong labels": (
            "A low entropy says that the student is sure, and nothing about who is right, the label or the student."
        ),
    },
    right="ad",
    hints=(
        "Go back to the loop: what is recorded for every sample, and what are the samples ranked by?",
        "A bar counts the samples that are kept. It does not show how well anything is recognised.",
        "One of the two right statements explains the bars, and the other is a warning.",
    ),
)


@styled
def stairs(active: Sequence[int], title: str) -> Picture:
    """How many samples a condensed run shows in every epoch, and what it saves of plain KD, which shows all in each."""
    percent = [100 * count / active[0] for count in active]
    cost = sum(percent) / len(percent)
    figure, (axes,) = new_figure(7.2, 3.4)
    edges = [epoch - 0.5 for epoch in range(1, len(active) + 2)]
    axes.stairs(percent, edges, fill=True, color=colour("kept"))
    axes.stairs(
        [100] * len(active),
        edges,
        baseline=percent,
        fill=True,
        facecolor="white",
        edgecolor=colour("dropped"),
        hatch=ROLES["dropped"].hatch,
        linewidth=0,
    )
    axes.plot([edges[0], edges[-1]], [100, 100], color=colour("teacher"))
    axes.text(edges[0], 102, "plain KD shows every sample in every epoch", color=colour("teacher"), va="bottom")
    axes.text(len(active) / 2, 40, f"shown: {cost:.0f} %", color="white", ha="center", fontsize=15, fontweight="bold")
    axes.text(
        edges[-1] - 0.2,
        92,
        f"saved: {100 - cost:.0f} %",
        ha="right",
        va="center",
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )
    axes.set(title=title, xlabel="epoch", ylabel="samples shown (%)", xlim=(edges[0], edges[-1]), ylim=(0, 112))
    axes.set_yticks([0, 50, round(percent[-1]), 100])
    alt = f"Stairs from 100 to {percent[-1]:.0f} percent of the samples over {len(active)} epochs, below a line at 100 percent."
    said = f"The last stage shows {percent[-1]:.0f} % of the samples, but the whole run costs {cost:.0f} %."
    return Picture(figure, alt, said)
