"""Lesson 06, does choosing help: the stored studies, the exercises, and the pictures of differences and of who pays."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from scipy import stats
from torch import Tensor

from kcd_teach.benchmark import curves, open_study
from kcd_teach.datasets import find_data_file, load_dataset
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import label_rows, listed
from kcd_teach.figures.style import colour, headline, new_figure, styled
from kcd_teach.figures.table import Table
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question
from kcd_teach.registry import load_file
from kcd_teach.statistics import interval, paired_differences, pooled_spread

QUESTIONS = {
    "random": Question(
        "At 30 % on 2,000 images, who is ahead, KC-KD or the random subset, and by how much?",
        ("nobody, within the noise", "KC-KD, by less than 1 point", "KC-KD, by 1 point or more"),
    ),
    "size": Question(
        "With five times as many images to choose from, the lead over the random subset will be ...",
        ("smaller", "about the same", "larger"),
    ),
    "fixed": Question(
        "Ranked by a list that another student left behind, the lead over the random subset will be ...",
        ("about as large", "clearly smaller", "gone"),
    ),
    "trousers": Question(
        "At 30 %, how many of the 200 pictures of trousers are still shown in the last stage?",
        ("fewer than 20", "20 to 60", "more than 60"),
    ),
}

FEWEST = 5
"""Seeds below which a comparison is not shown yet; studies grow seed by seed."""

Runs = Mapping[int, float]
"""Seed -> accuracy in percent."""
Gaps = Mapping[str, Sequence[float]]
"""Comparison -> paired differences, percentage points."""


class Study:
    """A stored study on choosing: its accuracies, the samples it kept, and its differences paired by seed.

    Args:
        name: of a folder in ``data/results``.
        pair: networks, by default the study's first pair.
    """

    def __init__(self, name: str, pair: str | None = None) -> None:
        for file in ("ranking_measures.py", "altered_images.py"):  # whose names some of the plans use
            load_file(find_data_file(f"results/choice/{file}"))
        self.name, self.pair = name, pair
        self.prepared, self.store = open_study(name)

    @cached_property
    def accuracies(self) -> dict[str, dict[int, float]]:
        """Row -> seed -> accuracy of the last epoch, percent; without rows that have not run."""
        found = curves.accuracies(self.prepared, self.store, self.pair)
        return {row: runs for row, runs in found.items() if runs}

    @cached_property
    def class_accuracies(self) -> dict[str, dict[int, list[float]]]:
        """Row -> seed -> accuracy of every class, percent."""
        return curves.class_accuracies(self.prepared, self.store, self.pair)

    @cached_property
    def kept(self) -> dict[str, dict[int, list[Tensor]]]:
        """Row -> seed -> ids kept at each event."""
        return curves.kept_ids(self.prepared, self.store, self.pair)

    @property
    def labels(self) -> Tensor:
        """Training labels, int64 [N]."""
        return self.prepared.plan.scale.images().train_labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.prepared.plan.scale.images().classes)

    def gap(self, ours: str, theirs: str) -> list[float]:
        """One row minus another, seed by seed, percentage points."""
        return paired_differences(self.accuracies[ours], self.accuracies[theirs])

    def gaps(self, comparisons: Iterable[tuple[str, str]]) -> dict[str, list[float]]:
        """Several of them, named ``"OURS − THEIRS"``; those with fewer than :data:`FEWEST` seeds in a row are left out."""
        pairs = [pair for pair in comparisons if all(len(self.accuracies.get(row, ())) >= FEWEST for row in pair)]
        return {f"{ours} − {theirs}": self.gap(ours, theirs) for ours, theirs in pairs}

    def effects(self, ratio: int) -> dict[str, list[float]]:
        """The 2 x 2 of choosing by value or at random, with and without blending, at a ratio in percent, seed by seed."""
        rows = [self.accuracies[f"{name} {ratio}%"] for name in ("KC-KD", "no mixing", "random, mixed", "random")]
        seeds = sorted(set.intersection(*(set(runs) for runs in rows)))
        both, choice, blend, neither = (np.array([runs[seed] for seed in seeds]) for runs in rows)
        return {
            "choosing": list((both + choice - blend - neither) / 2),
            "blending": list((both + blend - choice - neither) / 2),
            "together, beyond their sum": list(both - choice - blend + neither),
        }

    def kept_share(self, row: str, groups: Tensor, count: int) -> np.ndarray:
        """Share of the samples of each of ``count`` groups that a row keeps in the end, [seeds, groups], 0 .. 1."""
        totals = torch.bincount(groups, minlength=count)
        counts = [torch.bincount(groups[sets[-1]], minlength=count) for sets in self.kept[row].values()]
        return (torch.stack(counts) / totals).numpy()

    def class_gaps(self, ours: str, theirs: str) -> np.ndarray:
        """One row's accuracy in every class minus another's, [seeds, classes], percentage points."""
        one, other = self.class_accuracies[ours], self.class_accuracies[theirs]
        return np.array([np.subtract(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())])


def overlap(one: Tensor, other: Tensor) -> float:
    """Share of one set of ids that the other one holds, 0 .. 1."""
    return float(torch.isin(one, other).double().mean())


def stability(study: Study, row: str, other: Study | None = None) -> dict[str, tuple[list[float], float]]:
    """How much of a kept set is kept again: kind of repetition -> (shares, what chance would give), percent.

    Args:
        study, row: whose final and intermediate sets are compared.
        other: the same row of another student, compared by seed.
    """
    sets, count = study.kept[row], study.prepared.num_samples
    last = {seed: ids[-1] for seed, ids in sets.items()}
    share = len(next(iter(last.values()))) / count
    between = [overlap(last[a], last[b]) for a, b in combinations(sorted(last), 2)]
    stages = [(before, after) for ids in sets.values() for before, after in pairwise(ids)]
    follows = [overlap(after, before) for before, after in stages]
    by_chance = float(np.mean([len(before) for before, _ in stages])) / count
    found = {"two seeds": (between, share), "one stage and the next": (follows, by_chance)}
    if other is not None:
        theirs = {seed: ids[-1] for seed, ids in other.kept[row].items()}
        found["two students, one seed"] = (
            [overlap(last[seed], theirs[seed]) for seed in sorted(last.keys() & theirs.keys())],
            share,
        )
    return {name: ([100 * value for value in values], 100 * chance) for name, (values, chance) in found.items()}


def altered_images(ratio: int = 30) -> Table:
    """What happens to wrong labels, to a rare class and to duplicates when samples are chosen by value."""
    altered = load_file(find_data_file("results/choice/altered_images.py"))
    wrong, rare, twice = Study("wrong-labels"), Study("rare-class"), Study("duplicates")
    usual = load_dataset("fashion-mnist-mini")
    mislabelled = (wrong.labels != usual.train_labels[altered.usual_ids(usual)]).long()
    dresses = (rare.labels == altered.RARE_CLASS).long()
    rows = []
    for study, groups, what in ((wrong, mislabelled, "a wrong label"), (rare, dresses, "the rare class")):
        for name, by in (("no mixing", "its entropy"), ("loss", "its loss")):
            row = f"{name} {ratio}%"
            if row in study.accuracies:
                others, marked = 100 * study.kept_share(row, groups, 2).mean(axis=0)
                gap = interval(study.gap(row, f"random {ratio}%"))
                rows.append([what, by, f"{marked:.0f} %", f"{others:.0f} %", gap.text("+")])
    half = len(twice.labels) // 2
    copies = [_kept_with_copy(sets[-1], half) for sets in twice.kept[f"no mixing {ratio}%"].values()]
    gap = interval(twice.gap(f"no mixing {ratio}%", f"random {ratio}%"))
    rows.append(["a copy that is kept", "its entropy", f"{100 * np.mean(copies):.0f} %", "", gap.text("+")])
    return Table(
        [
            "images with",
            "ranked by the student's",
            "kept of them",
            "kept of the others",
            "accuracy minus random (points)",
        ],
        rows,
        f"Altered images at a final ratio of {ratio} %, nothing blended; a random subset keeps {ratio} % of everything.",
        right=(2, 3, 4),
    )


def _kept_with_copy(ids: Tensor, half: int) -> float:
    """Share of the kept images whose copy is kept too, where image i + half is a copy of image i."""
    return overlap((ids + half) % (2 * half), ids)


def elsewhere() -> dict[str, dict[str, list[float]]]:
    """KC-KD minus random in every setting that was run: ratio -> setting -> differences."""
    settings = [
        ("500 images", Study("choice-500"), ""),
        ("2,000 images", Study("choice-2k"), ""),
        ("10,000 images", Study("choice-10k"), ""),
        ("mini_convnet learns", Study("choice-convnet"), ""),
        ("8 epochs, not 24", Study("choice-length"), ", 8 epochs"),
        ("72 epochs", Study("choice-length"), ", 72 epochs"),
    ]
    panels: dict[str, dict[str, list[float]]] = {}
    for ratio in (70, 30):
        for name, study, behind in settings:
            rows = (f"KC-KD {ratio}%{behind}", f"random {ratio}%{behind}")
            if gap := study.gaps([rows]):
                panels.setdefault(f"{ratio} %", {})[name] = next(iter(gap.values()))
    panels["70 %"]["20 classes of CIFAR-100"] = Study("slice-choice").gap("KC-KD 70%", "random 70%")
    return panels


def outcome_random(gaps: Sequence[float]) -> tuple[str, str]:
    """Answer and reason for the question ``random``, from KC-KD minus the random subset."""
    seen = interval(gaps)
    low, high = seen.mean - seen.half_width, seen.mean + seen.half_width
    options = QUESTIONS["random"].options
    answer = options[0] if low <= 0 else options[2] if seen.mean >= 1 else options[1]
    return answer, (
        f"The interval of the difference reaches from {low:+.1f} to {high:+.1f} points. Both rows show the same number of "
        "samples in every epoch. KC-KD chooses them by value and blends some; which of the two helps is asked below."
    )


def outcome_size(small: Sequence[float], large: Sequence[float]) -> tuple[str, str]:
    """Answer and reason for the question ``size``, from the leads over the random subset on few and on many images."""
    one, other = interval(small), interval(large)
    change = other.mean - one.mean
    noise = math.hypot(one.half_width, other.half_width)
    answer = "about the same" if abs(change) < noise else "larger" if change > 0 else "smaller"
    return answer, (
        f"The lead is {one.text('+')} points on 2,000 images and {other.text('+')} points on 10,000. A likely "
        "reason: a random third of many images still holds examples of nearly everything that has to be learned."
    )


def outcome_fixed(against_random: Sequence[float], own_against_list: Sequence[float]) -> tuple[str, str]:
    """Answer and reason for the question ``fixed``: the list minus random, and the student's own entropy minus the list."""
    gone, same = interval(against_random).covers_zero, interval(own_against_list).covers_zero
    answer = "gone" if gone else "about as large" if same else "clearly smaller"
    return answer, (
        f"The other student's list is {interval(against_random).text('+')} points ahead of the random subset, and the "
        f"student's own entropy differs from that list by {interval(own_against_list).text('+')} points."
    )


def outcome_trousers(kept: float) -> tuple[str, str]:
    """Answer and reason for the question ``trousers``, from the number of them that is kept."""
    options = QUESTIONS["trousers"].options
    answer = options[0] if kept < 20 else options[1] if kept <= 60 else options[2]
    return answer, (
        f"On average {kept:.0f} of 200 are left. Trousers look like nothing else here, so after a few epochs the student is "
        "certain of them, and what it is certain of is dropped first."
    )


def verdict() -> str:
    """What the stored studies allow to say about choosing, computed from their runs: a list in Markdown."""
    small, large = Study("choice-2k"), Study("choice-10k")
    rankings = Study("ranking-2k"), Study("ranking-10k")
    said = [_lead(images, study) for images, study in (("2,000", small), ("10,000", large))]
    prices = " and ".join(interval(study.gap("KC-KD 30%", "KD")).text("+") for study in (small, large))
    said.append(f"From KD on all samples, KC-KD at 30 % differs by {prices} points on 2,000 and on 10,000 images.")
    blending = interval(small.effects(30)["blending"])
    seen = "nothing that these runs can see" if blending.covers_zero else f"{blending.text('+')} points"
    said.append(f"Blending adds {seen} ({blending.text('+')} points at 30 % on 2,000 images).")
    short, long = (interval(after(epochs)) for epochs in (8, 72))
    said.append(
        f"The length of the training matters: at 30 % on 2,000 images, KC-KD differs from a random subset by {short.text('+')} "
        f"points after 8 epochs and by {long.text('+')} points after 72, where the course takes 24."
    )
    photographs = Study("slice-choice")
    chance, full = (interval(photographs.gap("KC-KD 70%", row)) for row in ("random 70%", "KD"))
    said.append(
        f"On 20 classes of CIFAR-100, KC-KD at 70 % differs from a random subset by {chance.text('+')} points, and from KD on "
        f"all samples by {full.text('+')} points ({full.n} seeds)."
    )
    gaps = [interval(study.gap("entropy 30%", "another student, fixed 30%")) for study in rankings]
    same = (
        "cannot be told apart from"
        if all(gap.covers_zero for gap in gaps)
        else "chooses worse than"
        if all(gap.mean > 0 for gap in gaps)
        else "chooses otherwise than"
    )
    sizes = " and ".join(gap.text("+") for gap in gaps)
    said.append(
        f"A list that another student left behind {same} the student's own feedback (at 30 %, the feedback minus the list is "
        f"{sizes} points on 2,000 and on 10,000 images)."
    )
    by_class = small.class_gaps("KC-KD 30%", "random 30%").mean(axis=0)
    most = int(np.argmax(by_class))
    share = by_class[most] / len(by_class)
    said.append(
        f"Of the {by_class.mean():.1f} points that KC-KD is ahead at 30 % on 2,000 images, the class {small.classes[most]} "
        f"alone brings {share:.1f}."
    )
    return "\n".join(f"- {line}" for line in said)


def after(epochs: int) -> list[float]:
    """KC-KD minus random at 30 % on 2,000 images, with another number of epochs (8 or 72) than the course's."""
    return Study("choice-length").gap(f"KC-KD 30%, {epochs} epochs", f"random 30%, {epochs} epochs")


def _lead(images: str, study: Study) -> str:
    """Whether choosing by value is ahead of chance in one study, in a sentence."""
    gaps = study.gaps((f"{ours} {ratio}%", f"random {ratio}%") for ratio in (70, 30) for ours in ("KC-KD", "no mixing"))
    clear = [name for name, is_clear in found(gaps, comparisons=8).items() if is_clear]
    means = sorted(float(np.mean(gaps[name])) for name in clear)
    seeds = min(len(values) for values in gaps.values())
    if not clear:
        return f"On {images} images, with {seeds} seeds, no lead over a random subset stands out from the noise."
    size = f"{means[0]:.1f}" if len(means) == 1 else f"{means[0]:.1f} to {means[-1]:.1f}"
    return (
        f"On {images} images, with {seeds} seeds, choosing by value is ahead of a random subset in {len(clear)} of "
        f"{len(gaps)} comparisons, by {size} points."
    )


def three_of(values: Sequence[float]) -> dict[str, float]:
    """What all studies of three of these seeds would have said: ahead, behind, cannot tell -> share of them, percent."""
    found = [interval(three) for three in combinations(values, 3)]
    clear = [one.mean > 0 for one in found if not one.covers_zero]
    shares = {"ahead": sum(clear), "behind": len(clear) - sum(clear), "cannot tell": len(found) - len(clear)}
    return {word: 100 * count / len(found) for word, count in shares.items()}


def found(gaps: Gaps, comparisons: int, pool: bool = True) -> dict[str, bool]:
    """Comparison -> True if its corrected interval leaves out zero; ``pool`` as in :func:`side_by_side`."""
    spread = pooled_spread(gaps.values()) if pool else 0.0
    return {
        name: not interval(values, spread=spread, comparisons=comparisons).covers_zero for name, values in gaps.items()
    }


def _interval(ours: Runs, theirs: Runs) -> tuple[float, float]:
    half = interval(values := paired_differences(ours, theirs))
    return float(np.mean(values)), half.half_width


def _half(values: Sequence[float], quantile: float, ddof: int) -> float:
    return float(quantile * np.std(values, ddof=ddof) / math.sqrt(len(values)))


def _unpaired(ours: Runs, theirs: Runs) -> tuple[float, float]:
    one, other = list(ours.values()), list(theirs.values())
    half = stats.t.ppf(0.975, len(one) - 1) * math.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / len(one))
    return float(np.mean(one) - np.mean(other)), float(half)


def _by_position(ours: Runs, theirs: Runs) -> tuple[float, float]:
    return _interval(dict(enumerate(ours.values())), dict(enumerate(theirs.values())))


def _with(quantile: float | None, ddof: int, ours: Runs, theirs: Runs) -> tuple[float, float]:
    values = paired_differences(ours, theirs)
    factor = stats.t.ppf(0.975, len(values) - 1) if quantile is None else quantile
    return float(np.mean(values)), _half(values, factor, ddof)


paired_interval = Exercise(
    name="paired_interval",
    task=(
        "From the accuracies of two rows, each a dict seed -> percent, return (mean, half): the mean of the differences "
        "`ours - theirs` of equal seeds, and half of its 95 % interval by Student's t."
    ),
    minutes=5,
    hints=(
        "Go through the seeds, not through the values: the two dicts may list them in another order.",
        "half = t * standard deviation / sqrt(n), where the standard deviation divides by n - 1.",
        "For n values t is stats.t.ppf(0.975, n - 1), with `from scipy import stats`.",
    ),
    reference=_interval,
    parts=("mean", "half"),
    cases=(
        ({0: 80.0, 1: 82.0, 2: 81.5}, {0: 79.0, 1: 81.5, 2: 80.0}),
        ({0: 80.0, 1: 82.0, 2: 81.0, 3: 79.5}, {3: 79.0, 1: 81.0, 0: 80.5, 2: 78.0}),
    ),
    mistakes={
        "The two rows were treated as if they had nothing in common, with the variances of both added. Equal seeds share "
        "their first weights and their order of images, and in the difference that common part cancels.": _unpaired,
        "The values were paired by their position. The second dict lists its seeds in another order, so runs of "
        "different seeds were subtracted.": _by_position,
        "The factor 1.96 belongs to a spread that is known exactly. A spread that was estimated from a few runs needs "
        "Student's t, which is larger.": lambda ours, theirs: _with(1.96, 1, ours, theirs),
        "The standard deviation was divided by n and not by n - 1 (numpy does so by default). It comes out too small, "
        "most of all for a few runs.": lambda ours, theirs: _with(None, 0, ours, theirs),
    },
    solution="""
        from scipy import stats

        def paired_interval(ours, theirs):
            gaps = [ours[seed] - theirs[seed] for seed in ours]
            n, mean = len(gaps), sum(gaps) / len(gaps)
            spread = (sum((gap - mean) ** 2 for gap in gaps) / (n - 1)) ** 0.5
            return mean, stats.t.ppf(0.975, n - 1) * spread / n**0.5
    """,
)

missing_control = Judgement(
    name="missing_control",
    task=(
        "A paper reports: training on 30 % of the samples, chosen by value, loses only one point to training on all of "
        "them, so choosing by value works. Which further runs could show that the choice is not what helps?"
    ),
    minutes=3,
    options={
        "random samples, as many, on the same schedule": (
            "If they lose just as little, then most samples were simply not needed, whichever they are."
        ),
        "the chosen samples with more seeds": (
            "That makes the loss of one point more certain, but it still says nothing about other choices."
        ),
        "all samples for fewer epochs, at the same cost": (
            "If that loses just as little, then the training was longer than it had to be, and nothing had to be chosen."
        ),
        "a larger teacher": "That changes what is taught to both sides, and the choice remains untested.",
        "the samples of the lowest value, as many": (
            "If even they lose just as little, the value says nothing about what a sample is worth."
        ),
    },
    right="ace",
    hints=(
        "A control has everything that the method has, except for the one thing that is said to help.",
        "What is said to help here is the choice. Its cost, its schedule and its teacher must stay the same.",
        "Three of the five change which samples are shown, or that samples are chosen at all, at an equal cost.",
    ),
)

reading = Judgement(
    name="reading",
    task="A difference of +0.30 ± 0.45 points was measured with 20 seeds. Which statements does it support?",
    minutes=3,
    options={
        "the two rows are equally good": (
            "A difference that was not found is not a difference of zero. Up to 0.75 points are compatible with these runs."
        ),
        "a true gain of one point or more does not fit these runs": "The interval ends at +0.75, well below one point.",
        "a few more seeds would make it significant": (
            "More seeds make the interval narrower, but nobody knows yet where its middle will then be."
        ),
        "a true loss of 0.1 points fits these runs": "The interval begins at −0.15.",
    },
    right="bd",
    hints=(
        "Write down both ends of the interval: mean − half and mean + half.",
        "Every true difference between the two ends fits these runs, and every one outside does not.",
        "Ask of each statement: is it about a value inside, about a value outside, or about runs that nobody has seen?",
    ),
)

next_runs = Judgement(
    name="next_runs",
    task=(
        "After 20 seeds the difference is +0.2 ± 0.5 points. You want to know whether there is a gain of half a point, and "
        "there is time for 60 more runs. What do you do?"
    ),
    minutes=4,
    options={
        "30 more seeds of both rows": (
            "With 50 seeds the interval shrinks to about ± 0.3. A true gain of half a point would then leave out zero in "
            "most studies, and a true gain of zero would leave out half a point."
        ),
        "60 more seeds of the condensed row": (
            "Without their partners of equal seed the new runs cannot be paired, and the other row stays as uncertain as it is."
        ),
        "three seeds each of 20 other settings": (
            "Each of these would have an interval of more than a point, and with 20 looks one of them is likely to be "
            "ahead by luck."
        ),
        "one pair after the other, until the interval leaves out zero": (
            "Whoever stops at the first success finds one in many studies without any true difference. The number of seeds "
            "is settled before."
        ),
    },
    right="a",
    hints=(
        "The half width shrinks with the square root of the number of pairs.",
        "What would each plan give you in the end: how wide an interval, of which difference?",
        "A rule for stopping that looks at the result makes the 95 % of the interval wrong.",
    ),
)


def _draw_gap(axes: Axes, row: int, values: Sequence[float], spread: float, comparisons: int) -> None:
    """A dot per seed, a thick bar for the 95 % interval of their mean, and a thin one for the corrected interval."""
    plain, corrected = interval(values, spread=spread), interval(values, spread=spread, comparisons=comparisons)
    tint = colour("kept" if not corrected.covers_zero else "mixed" if not plain.covers_zero else "dropped")
    jitter = 0.22 * np.sin(2.4 * np.arange(len(values)))  # spreads the dots evenly, and the same way every time
    axes.plot(values, row + jitter, "o", markersize=3, color=tint, alpha=0.3, markeredgewidth=0)
    for found_, width in ((corrected, 1.2), (plain, 4.0)):
        axes.errorbar(plain.mean, row, xerr=found_.half_width, fmt="none", elinewidth=width, capsize=0, color=tint)
    axes.plot(plain.mean, row, "o", markersize=6, color=tint, markeredgecolor="white", zorder=5)


@styled
def side_by_side(
    panels: Mapping[str, Gaps], title: str, *, comparisons: int, towards: str = "choosing helps →", pool: bool = True
) -> Picture:
    """Paired differences of several studies beside each other: study -> comparison -> differences.

    Args:
        panels: comparisons of the same names in the same order, where they have been run.
        title: of the figure.
        comparisons: intervals that answer the question together; the thin bars are corrected for so many.
        towards: what lies right of zero.
        pool: believe no difference to scatter less than all of its panel do together; not for rows of unlike settings.
    """
    names = list(dict.fromkeys(name for gaps in panels.values() for name in gaps))
    figure, axes = new_figure(
        2.8 + 2.3 * len(panels), 1.5 + 0.42 * len(names), 1, len(panels), sharex=True, sharey=True
    )
    headline(figure, title)
    for panel, (study, gaps) in zip(axes, panels.items(), strict=True):
        spread = pooled_spread(gaps.values()) if pool else 0.0
        panel.axvline(0, color=colour("teacher"), linewidth=1)
        for name, values in gaps.items():
            _draw_gap(panel, names.index(name), values, spread, comparisons)
        seeds = sorted({len(values) for values in gaps.values()})
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}" if seeds else "no"
        panel.set_title(f"{study}, {count} seeds", fontsize=10)
    axes[0].set_xlim(*_limits(panels, pool))
    label_rows(axes[0], names)
    for panel in axes[1:]:
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", alpha=0.25)
    figure.supxlabel(f"difference in test accuracy, same seed (percentage points): {towards}", fontsize=10)
    alt = (
        f"Paired differences in {len(panels)} panels, {', '.join(panels)}: dots for seeds, thick bars for 95 % intervals, "
        f"thin ones corrected for {comparisons} comparisons; blue where the thin bar leaves out zero."
    )
    spoken = "; ".join(_said_of(study, gaps, comparisons, pool) for study, gaps in panels.items())
    numbers = " ".join(f"{study}: {listed(gaps)}" for study, gaps in panels.items())
    return Picture(figure, alt, f"{spoken[:1].upper()}{spoken[1:]}.", numbers)


def _limits(panels: Mapping[str, Gaps], pool: bool) -> tuple[float, float]:
    """Where all dots and thick bars fit; a thin bar of very few seeds may go beyond."""
    edges = [0.0]
    for gaps in panels.values():
        spread = pooled_spread(gaps.values()) if pool else 0.0
        for values in gaps.values():
            seen = interval(values, spread=spread)
            edges += [*values, seen.mean - seen.half_width, seen.mean + seen.half_width]
    room = 0.08 * (max(edges) - min(edges))
    return min(edges) - room, max(edges) + room


def _said_of(study: str, gaps: Gaps, comparisons: int, pool: bool) -> str:
    """What stands out in one study, as a clause."""
    clear = [name for name, is_clear in found(gaps, comparisons, pool).items() if is_clear]
    up = sum(float(np.mean(gaps[name])) > 0 for name in clear)
    if not clear:
        return f"with {study}, none of the {len(gaps)} differences stands out after the correction"
    sides = (
        "upwards" if up == len(clear) else "downwards" if not up else f"{up} upwards and {len(clear) - up} downwards"
    )
    count = "all" if len(clear) == len(gaps) > 1 else f"{len(clear)} of"
    stand = "stands" if len(clear) == 1 else "stand"
    return f"with {study}, {count} {len(gaps)} differences {stand} out after the correction, {sides}"


@styled
def as_seeds_come(values: Sequence[float], title: str) -> Picture:
    """The mean difference and its interval after two seeds, three, and so on, in the order of the seeds."""
    figure, (axes,) = new_figure(7.2, 3.2)
    counts = range(2, len(values) + 1)
    grown = [interval(values[:n]) for n in counts]
    low, high = ([one.mean + side * one.half_width for one in grown] for side in (-1, 1))
    axes.axhline(0, color=colour("teacher"), linewidth=1)
    axes.fill_between(counts, low, high, color=colour("kept"), alpha=0.2, linewidth=0)
    axes.plot(counts, [one.mean for one in grown], "o-", color=colour("kept"), markersize=4)
    axes.plot(range(1, len(values) + 1), values, ".", color=colour("dropped"), alpha=0.8)
    shown = [abs(edge) for n, edges in zip(counts, zip(low, high, strict=True), strict=True) if n > 2 for edge in edges]
    limit = 1.15 * max([*shown, *map(abs, values)])
    axes.set(title=title, xlabel="seeds so far", ylabel="mean difference (points)", ylim=(-limit, limit))
    axes.set_xticks(range(1, len(values) + 1, max(1, len(values) // 10)))
    axes.grid(alpha=0.2)
    first, last = interval(values[:3]), grown[-1]
    alt = "The mean difference with its 95 % interval, narrowing as seeds are added; grey dots are the single seeds."
    said = f"After three seeds the difference is {first.text('+')} points, after {last.n} it is {last.text('+')}."
    return Picture(figure, alt, said)


@styled
def who_pays(classes: Sequence[str], kept: np.ndarray, change: np.ndarray, title: str, *, against: str) -> Picture:
    """Which classes are kept, and what that does to each of them.

    Args:
        classes: their names.
        kept: share of every class that is kept in the end, [seeds, classes], 0 .. 1.
        change: accuracy in every class minus that of ``against``, [seeds, classes], percentage points.
        title: of the figure.
        against: the row that was subtracted.
    """
    order = np.argsort(kept.mean(axis=0))
    names = [classes[i] for i in order]
    figure, (left, right) = new_figure(8.4, 0.9 + 0.34 * len(classes), 1, 2, sharey=True)
    headline(figure, title)
    shares = 100 * kept.mean(axis=0)[order]
    left.barh(range(len(names)), shares, color=colour("kept"), height=0.72)
    for row, share in enumerate(shares):
        left.text(share + 1.5, row, f"{share:.0f}", va="center", fontsize=9)
    average = 100 * float(kept.mean())
    left.axvline(average, color=colour("dropped"), linestyle="--", linewidth=1.2)
    left.set(xlim=(0, 112), xlabel="share that is kept (%),\ndashed: of all samples")
    right.axvline(0, color=colour("teacher"), linewidth=1)
    spread = pooled_spread(list(change.T))
    for row, label in enumerate(order):
        _draw_gap(right, row, list(change[:, label]), spread, len(names))
    right.set(xlabel=f"accuracy minus that of\n{against} (points)")
    label_rows(left, names)
    right.grid(axis="x", alpha=0.25)
    right.tick_params(axis="y", length=0)
    per_class = {name: list(change[:, label]) for name, label in zip(names, order, strict=True)}
    clear = [name for name, is_clear in found(per_class, len(names)).items() if is_clear]
    effect = (
        f"only {clear[0]} changes" if len(clear) == 1 else f"{', '.join(clear)} change" if clear else "no class changes"
    )
    alt = f"Left: bars of the kept share of {len(names)} classes, ascending. Right: the change of accuracy in each of them."
    said = (
        f"{names[-1]} keeps {shares[-1]:.0f} % of its samples and {names[0]} {shares[0]:.0f} %; compared with {against}, "
        f"{effect} in accuracy by more than the noise."
    )
    return Picture(figure, alt, said, listed(per_class))


@styled
def kept_again(stability: Mapping[str, tuple[Sequence[float], float]], title: str) -> Picture:
    """How much of a kept set is kept again, beside what chance would give: repetition -> (shares, chance), percent."""
    figure, (axes,) = new_figure(7.2, 1.0 + 0.5 * len(stability))
    for row, (values, chance) in enumerate(stability.values()):
        axes.plot(values, [row] * len(values), "o", color=colour("kept"), alpha=0.3, markersize=4, markeredgewidth=0)
        axes.plot(np.mean(values), row, "o", color=colour("kept"), markersize=9, markeredgecolor="white")
        axes.plot(chance, row, "X", color=colour("dropped"), markersize=9)
    label_rows(axes, list(stability))
    axes.set(title=title, xlim=(0, 102), xlabel="share of one kept set that the other holds too (%); grey: by chance")
    (first, (values, chance)), *_ = stability.items()
    said = f"Of what is kept, {first} share {np.mean(values):.0f} %; by chance it would be {chance:.0f} %."
    texts = [f"{name} {np.mean(values):.0f} % (chance {chance:.0f} %)" for name, (values, chance) in stability.items()]
    alt = f"Dots for the overlap of kept sets and grey crosses for chance, for {', '.join(stability)}."
    return Picture(figure, alt, said, f"Mean shares: {'; '.join(texts)}.")
