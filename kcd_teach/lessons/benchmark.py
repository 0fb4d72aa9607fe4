"""Lesson 08, the benchmark: its questions and exercises, what full runs cost, and a grid of what is done."""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy import stats

from kcd_teach.benchmark import Finding, Plan, Prepared, Store, curves, make_plan, open_study
from kcd_teach.benchmark.costs import Steps, costs_by_pair
from kcd_teach.benchmark.published import NOTES, gains
from kcd_teach.benchmark.settings import PAIRS, Pair, Row
from kcd_teach.figures.table import Stack, Table
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question
from kcd_teach.widgets.run_panel import RunPanel

QUESTIONS = {
    "condensed": Question(
        "KC-KD shows 15 % fewer samples than KD. Over three seeds, with both runs of a seed compared, it is ...",
        ("ahead by more than the noise", "behind by more than the noise", "not to be told apart"),
    ),
    "controls": Question(
        "Which of the two controls can these runs tell apart from KC-KD?",
        ("both", "only the random subset", "only the short run", "neither"),
    ),
    "seeds": Question(
        "The published gain of KC-KD over KD is 0.6 points on average. If differences scatter from seed to seed as they do here, "
        "with how many seeds would the interval of such a gain leave out zero?",
        ("2 or 3", "4 to 9", "10 or more"),
    ),
}

right_control = Judgement(
    name="right_control",
    task="Which two rows do you compare to learn whether choosing by value helps, with everything else held equal?",
    minutes=3,
    options={
        "KC-KD and KC-KD@random": (
            "They differ in two things. The random subset is not blended either, so you could not say which of the two made the difference."
        ),
        "KC-KD@no-mixing and KC-KD@random": (
            "Both show equally many samples on the same schedule, and neither blends. Only the choice is different."
        ),
        "KC-KD and KD@short": (
            "They cost nearly the same, but the short run also has fewer steps at every learning rate. It is a control for the cost."
        ),
        "KC-KD and KD": "KD shows more samples, so the cost differs along with the choice and the blending.",
        "KC-KD@no-mixing and KC-KD": "They choose in the same way. This pair isolates the blending.",
    },
    right="b",
    hints=(
        "For each pair, write down everything that is different between the two rows.",
        "The table of rows above says what each of them changes: the number of samples, the choice, the blending, the epochs.",
        "There is exactly one pair that differs in nothing but the choice.",
    ),
)

one_pair = Judgement(
    name="one_pair",
    task=(
        "Suppose your full run of one pair ends with KC-KD minus KD at +0.40 ± 0.30 points, from three seeds and one teacher. "
        "Which sentences may you write?"
    ),
    minutes=4,
    options={
        "with this pair and this teacher, KC-KD was ahead of KD by more than the noise": (
            "The interval begins at +0.10, and the sentence says of which runs it speaks."
        ),
        "KC-KD is better than KD on CIFAR-100": (
            "You saw one pair and one teacher. The interval covers what changes with the seed, and nothing else."
        ),
        "a true gain of one point does not fit these runs": "The interval ends at +0.70.",
        "the gain comes from choosing valuable samples": (
            "KC-KD also blends, and it shows fewer samples. Only a control that differs in the choice alone could say so."
        ),
        "the published gain was reproduced": (
            "The published rows came from the authors' code and from other teachers. The row to compare is KC-KD@released, and one "
            "pair of eleven is not the table."
        ),
    },
    right="ac",
    hints=(
        "Write down both ends of the interval, and what was varied from run to run.",
        "A sentence may claim no more than was varied: seeds, but neither pairs nor teachers.",
        "Two sentences keep to the interval and to these runs.",
    ),
)


def _first(narrow_enough: Callable[[int], bool]) -> int:
    """The least number of seeds, two or more, for which something holds."""
    return next(n for n in range(2, 100_000) if narrow_enough(n))


def _seeds(spread: float, gain: float) -> int:
    return _first(lambda n: bool(stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < gain))


seeds_needed = Exercise(
    name="seeds_needed",
    task=(
        "Paired differences between two rows scatter with standard deviation `spread`. Return the smallest number of "
        "seeds, at least 2, for which half of the 95 % interval of their mean is below `gain`."
    ),
    minutes=5,
    hints=(
        "Half of the interval is t * spread / sqrt(n), with t from Student's distribution. It shrinks with n.",
        "For n values t is stats.t.ppf(0.975, n - 1): 12.7 for two of them, 4.3 for three, 2.3 for ten.",
        "Begin with n = 2, and add one as long as half of the interval is not below the gain.",
    ),
    reference=_seeds,
    cases=((0.5, 0.3), (1.0, 0.3), (0.2, 1.0)),
    mistakes={
        "The factor 1.96 belongs to a spread that is known exactly. Estimated from few seeds it may be too small by "
        "chance, and Student's t makes up for that.": lambda spread, gain: _first(
            lambda n: 1.96 * spread / math.sqrt(n) < gain
        ),
        "The spread was not divided by sqrt(n): that is the scatter of single differences, not of their "
        "mean.": lambda spread, gain: _first(lambda n: bool(stats.t.ppf(0.975, n - 1) * spread < gain or n > 999)),
        "The whole width of the interval was compared with the gain. Zero is left out as soon as half of it is "
        "shorter.": lambda spread, gain: _first(
            lambda n: bool(2 * stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < gain)
        ),
        "This is the quantile 0.95. A 95 % interval leaves 2.5 % on either side, so it needs "
        "0.975.": lambda spread, gain: _first(lambda n: bool(stats.t.ppf(0.95, n - 1) * spread / math.sqrt(n) < gain)),
        "This is one seed too few: with it, half of the interval is still as long as the gain.": lambda spread, gain: (
            _seeds(spread, gain) - 1
        ),
    },
    solution="""
        from scipy import stats

        def seeds_needed(spread, gain):
            n = 2
            while stats.t.ppf(0.975, n - 1) * spread / n**0.5 >= gain:
                n += 1
            return n
    """,
)


def row_table(prepared: Prepared) -> Table:
    """What every row of a plan is, and how many samples it shows."""
    meanings, costs = curves.meanings(prepared), curves.costs(prepared)
    rows = [[row.name, meanings[row.name], f"{100 * costs[row.name]:.0f} %"] for row in prepared.plan.rows]
    caption = "A row is one way to train the student. Cost: samples shown, relative to all of them in every epoch."
    return Table(["row", "what is different in it", "cost"], rows, caption, right=(2,))


def how_far(prepared: Prepared) -> Table:
    """A stored study beside the published recipe, in numbers."""
    plans, images = (prepared.plan, make_plan(scale="full")), (prepared.num_samples, 50_000)
    steps = [plan.scale.epochs * -(-count // plan.scale.batch_size) for plan, count in zip(plans, images, strict=True)]
    rows = [
        ["training images", *(f"{count:,}" for count in images)],
        ["classes", *(f"{plan.scale.classes or 100}" for plan in plans)],
        ["epochs of a student", *(f"{plan.scale.epochs}" for plan in plans)],
        ["its updates, plain", *(f"{count:,}" for count in steps)],
        ["pairs", *(f"{len(plan.pairs)}" for plan in plans)],
        ["rows", *(f"{len(plan.rows)}" for plan in plans)],
        ["runs per cell", f"{len(prepared.plan.seeds)}", "not stated"],
    ]
    caption = f"The published recipe updates a student {steps[1] / steps[0]:.0f} times as often."
    return Table(["", "stored here", "published"], rows, caption, right=(1, 2))


def gains_table() -> Table:
    """The published gains of the four condensed rows, over the eleven pairs."""
    rows = []
    for row in ("KC-KD", "KC-PKT", "KC-CRD", "KC-SSKD"):
        found = gains(row)
        mean, span = f"{np.mean(found):+.2f}", f"{min(found):+.2f} .. {max(found):+.2f}"
        rows.append([row, mean, span, f"{sum(gain > 0 for gain in found)} of {len(found)}"])
    notes = " ".join(f"({key}) {NOTES[key]}" for key in "abcd")
    head = ["condensed row", "mean gain (points)", "range over pairs", "pairs with a gain"]
    return Table(
        head, rows, f"Condensed minus plain, from the printed accuracies. Notes on the table: {notes}", right=(1, 2, 3)
    )


def hours_table(plan: Plan, price: float | None = None) -> Table:
    """Hours that a plan's rows and seeds take at full scale, for each of the eleven pairs; and what they cost.

    Args:
        plan: whose rows and seeds are counted.
        price: of an hour of the card, in any currency.
    """
    steps, rows = Steps(), []
    for of in costs_by_pair(plan, PAIRS, steps):
        cost = [] if price is None else [f"{of.hours * price:.0f}"]
        rows.append([of.pair.name, f"{of.step:.1f}", f"{of.run:.1f}", f"{of.hours:.0f}", *cost, of.known])
    head = ["pair", "step of KD (ms)", "a run of KD (hours)", "all your runs (hours)"]
    head += [] if price is None else [f"at {price:g} an hour"]
    caption = (
        f"On one {steps.card}, one run after the other: {', '.join(row.name for row in plan.rows)}, {len(plan.seeds)} of each, "
        "and the teacher. Tests, loading and saving come on top. Estimated steps lie on a line through the measured ones, "
        f"which misses those by up to {100 * steps.error:.0f} %; expect it to miss the others, and other cards, by more."
    )
    return Table([*head, "the step was"], rows, caption, right=tuple(range(1, len(head))))


def report(findings: Iterable[Finding]) -> bool:
    """Print what was found, and in plain words what follows if the plan cannot start; True if it can."""
    fine = True
    for finding in findings:
        fine = fine and finding.fine
        print(finding)
        if finding.topic == "data" and not finding.fine:
            print("The images are not on this machine, so nothing can be trained here; stored runs are shown below.")
    return fine


def progress(folder: str | Path) -> Table:
    """How far the plan in a folder is: pairs x rows, how many of the seeds are stored, and how many are begun."""
    store = Store(folder)
    try:
        prepared = Prepared.load(store)
    except FileNotFoundError:
        return Table(["runs"], [["nothing was started yet"]], f"The folder {folder} holds no plan so far.")
    records, plan, total, under_way, rows = store.records(), prepared.plan, 0, 0, []
    for row in plan.rows:
        cells: list[str | Stack] = [row.name]
        for pair in plan.pairs:
            seeds, done = plan.seeds_of(row), curves.runs_of(prepared, pair, row, records)
            begun = sum(_begun(prepared, store, pair, row, seed) for seed in seeds if seed not in done)
            notes = [f"{begun} begun"] if begun else []
            notes += [] if prepared.can_name(pair, row) else ["waits for its teacher"]
            cells.append(Stack([f"{len(done)} of {len(seeds)}", *notes], empty=not done and not begun))
            total, under_way = total + len(done), under_way + begun
        rows.append(cells)
    return Table(
        ["row", *(pair.name for pair in plan.pairs)],
        rows,
        f"{total} of {plan.num_runs} runs are stored, and {under_way} are begun, at work now or stopped on the way. "
        "Hatched: nothing yet.",
        wide=True,
    )


def _begun(prepared: Prepared, store: Store, pair: Pair, row: Row, seed: int) -> bool:
    """Is there a checkpoint of this run?"""
    return prepared.can_name(pair, row) and store.checkpoint(prepared.unit(pair, row, seed).key).exists()


def stop_on_the_way(panel: RunPanel, folder: str | Path) -> None:
    """Wait for the first finished run of a panel, and stop it; does nothing if it is not at work."""
    while panel.busy and not Store(folder).records():
        time.sleep(0.05)
    panel.stop()
    panel.wait()


def yours_or_stored(folder: str | Path) -> tuple[Prepared, Store]:
    """Your runs at full scale if there are any, or else those that were stored for this course; prints which."""
    store = Store(folder)
    if store.records() and (prepared := Prepared.load(store)).plan.scale.is_published:
        print(f"your own runs, from {folder}")
        return prepared, store
    print("the runs at full scale that were stored for this course")
    return open_study("full")
