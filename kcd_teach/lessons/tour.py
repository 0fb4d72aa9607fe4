"""Lesson 00, the tour: exercises on what condensing saves."""

import math
from collections.abc import Sequence

from kcd_teach.condensation import paper_counts, relative_cost, released_counts
from kcd_teach.lessons.exercise import Exercise


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
