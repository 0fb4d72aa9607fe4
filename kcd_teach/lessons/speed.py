"""The appendix on speed: its questions and exercises, then its pictures of views, known answers and time."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, headline, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question
from kcd_teach.views import num_views

QUESTIONS = {
    "part": Question(
        "ResNet-56 teaches ResNet-20 and is asked about every batch. What takes most of the time?",
        ("the teacher", "the student, forward and backward", "augmenting, updating, bookkeeping"),
    ),
    "views": Question(
        "An image is padded by 2 pixels, cropped at random, and flipped or not. How many different images can come out of it?",
        ("10", "25", "50", "thousands"),
    ),
    "second": Question(
        "A first run of 24 epochs has filled the store. In the first epoch of a second run, with another seed, which share of "
        "the teacher's answers is known already?",
        ("none: its views are drawn anew", "about a third", "nearly all: 24 epochs showed everything"),
    ),
    "faster": Question(
        "When is a training step of ResNet-20 faster in bfloat16 than in float32?",
        (
            "everywhere: it has half the digits to move",
            "only where the processor has instructions for it",
            "nowhere but on a graphics processor",
        ),
    ),
    "digits": Question(
        "One student is trained in bfloat16 and another one in float32, with the same seed. Who is ahead in the end?",
        (
            "float32, by more than the noise",
            "five seeds cannot tell them apart",
            "bfloat16, by more than the noise",
        ),
    ),
}
"""What the notebook asks before it shows it."""

count_views = Exercise(
    name="count_views",
    task=(
        "Count the views of one image: it is padded by `padding` pixels on every side, cropped back to its size "
        "anywhere inside, and flipped from left to right or not."
    ),
    minutes=3,
    hints=(
        "How many places can the upper left corner of the crop have along one side?",
        "With padding 1 the corner can be at 0, 1 or 2: three places. In general there are 2 * padding + 1.",
        "Rows and columns are chosen independently, and each crop exists flipped and unflipped.",
    ),
    reference=num_views,
    cases=((0,), (2,), (4,)),
    mistakes={
        "The flip is missing. Every crop exists twice, and the teacher sees two different images.": lambda p: (
            (2 * p + 1) ** 2
        ),
        "The image was moved along one side only. Rows and columns move independently, so their numbers "
        "multiply.": lambda p: 2 * (2 * p + 1),
        "Only moves into one direction were counted. There is padding on both sides, and the corner can be "
        "at 0, 1, .. up to twice the padding.": lambda p: 2 * (p + 1) ** 2,
        "The view that is not moved at all was forgotten: from 0 to twice the padding are one more than twice "
        "the padding.": lambda p: 2 * (2 * p) ** 2,
        "The flip was counted once per side. Images are flipped from left to right, never upside down.": lambda p: (
            4 * (2 * p + 1) ** 2
        ),
    },
    solution="""
        def count_views(padding):
            places = 2 * padding + 1
            return places * places * 2
    """,
)


def _known(views: int, epochs: int) -> float:
    return 1 - (1 - 1 / views) ** epochs


known_share = Exercise(
    name="known_share",
    task=(
        "In every epoch each image shows one of its views, drawn at random. Return the share of the teacher's answers "
        "that is expected to be known already in the epoch that follows `epochs` others."
    ),
    minutes=5,
    hints=(
        "Look at one image and the view it will show next. How likely is it that one earlier epoch showed just this?",
        "One epoch showed another view with probability 1 - 1 / views, whatever the other epochs did.",
        "All epochs showed other views with the power of that; known is the opposite.",
    ),
    reference=_known,
    cases=((50, 1), (50, 24), (2, 3)),
    mistakes={
        "The epochs were added up, as if no view ever came twice. Views are drawn anew in every epoch, so some repeat "
        "and teach the store nothing.": lambda views, epochs: min(1.0, epochs / views),
        "This is the share that is still unknown: the answers the teacher has to be asked for.": lambda views, epochs: (
            (1 - 1 / views) ** epochs
        ),
        "One epoch is missing: all of them have filled the store, the first one too.": lambda views, epochs: _known(
            views, epochs - 1
        ),
        "One epoch too many was counted: in the next epoch its own answers are not known yet.": lambda views, epochs: (
            _known(views, epochs + 1)
        ),
        "This is the chance that all epochs showed the same view as the next one. One of them is "
        "enough.": lambda views, epochs: (1 / views) ** epochs,
        "Views and epochs changed places: the epochs are the exponent.": lambda views, epochs: (
            1 - (1 - 1 / epochs) ** views
        ),
    },
    solution="""
        def known_share(views, epochs):
            missed_by_one = 1 - 1 / views
            return 1 - missed_by_one**epochs
    """,
)


fast_claim = Judgement(
    name="fast_claim",
    task=(
        'Somebody looks at the figure above and writes: "With kept answers this library shows more than twice the images '
        'per second of the public loop. So condensing saves more than half of the time." Which objections hold?'
    ),
    minutes=4,
    options={
        "the factor is about kept answers, and says nothing about condensing": (
            "Both sides of that ratio show all samples. What condensing takes beside plain KD is in the bottom panel."
        ),
        "two programs that differ this much cannot be compared": (
            "They can, if both do the same work on the same machine and are timed in turn; but one has to say what differs."
        ),
        "the time in which the store was filled is not counted": (
            "Here the answers were known before the clock started. A single run from an empty store gains much less."
        ),
        "speed does not matter, as only accuracy counts": (
            "Whoever reaches the same accuracy in less time has gained something. Accuracy is a second question, and no objection."
        ),
        "on other machines and other networks the factor may be another one": (
            "Two processor cores were measured, with two pairs of networks; the teacher's part is what the store saves, and it differs."
        ),
    },
    right="ace",
    hints=(
        "A speed is a ratio. What exactly stands above the line, and what below it?",
        "Look for what the two programs did before the clock started, and for which panel speaks of condensing.",
        "Three objections hold. The two others would forbid to compare anything, or to care about time at all.",
    ),
)


@styled
def all_views(views: np.ndarray, title: str) -> Picture:
    """Every view of one image as a sheet: a row per vertical move, a column per horizontal move and side.

    Args:
        views: uint8 [n, n, 2, H, W]: up to down, left to right, as it is and flipped; n odd.
        title: of the figure.
    """
    places, height, width = len(views), *views.shape[-2:]
    sheet = np.full((places * (height + 2), 2 * places * (width + 2)), 255, dtype=np.uint8)
    for row, column, flip in np.ndindex(places, places, 2):
        top, left = row * (height + 2), (flip * places + column) * (width + 2)
        sheet[top : top + height, left : left + width] = views[row, column, flip]
    figure, (axes,) = new_figure(8.6, 1.1 + 4.3 * sheet.shape[0] / sheet.shape[1] * 1.7)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    moves = [f"{places // 2 - place:+d}" if place != places // 2 else "0" for place in range(places)]
    axes.set_xticks([(column + 0.5) * (width + 2) - 1 for column in range(2 * places)], [*moves, *moves])
    axes.set_yticks([(row + 0.5) * (height + 2) - 1 for row in range(places)], moves)
    axes.axvline(places * (width + 2) - 1.5, color=colour("kept"), linewidth=2)
    axes.set(title=title, xlabel="moved to the right by (pixels): as it is, and then flipped", ylabel="moved down by")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    different = len(np.unique(views.reshape(-1, height * width), axis=0))
    alt = f"A sheet of {places} rows and {2 * places} columns: one image, moved by up to {places // 2} pixels, and flipped."
    return Picture(figure, alt, f"Of {views[..., 0, 0].size} views of this image, {different} are different images.")


@styled
def known_answers(runs: Mapping[str, Sequence[float]], views: int, other: int, title: str) -> Picture:
    """Share of the teacher's answers that were known in every epoch of runs that share a store, beside what theory says.

    Args:
        runs: name -> shares 0 .. 1, epoch by epoch; each run goes on with the store of the one before.
        views: outcomes per image, for the expected share 1 - (1 - 1 / views)^e after e epochs.
        other: another number of views, drawn for comparison.
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 3.8)
    total = sum(map(len, runs.values()))
    before = np.arange(total)
    expected = 1 - (1 - 1 / views) ** before
    axes.plot(before + 1, 100 * expected, color=colour("teacher"), linewidth=1.4, label=f"expected, {views} views")
    axes.plot(
        before + 1,
        100 * (1 - (1 - 1 / other) ** before),
        ":",
        color=colour("dropped"),
        label=f"expected, {other} views",
    )
    start = 0
    for (name, shares), filled in zip(runs.items(), ("full", "none"), strict=True):
        axes.plot(
            before[start : start + len(shares)] + 1,
            100 * np.array(shares),
            ROLES["kept"].marker,
            markersize=5,
            fillstyle=filled,
            color=colour("kept"),
            label=name,
        )
        start += len(shares)
        if start < total:
            axes.axvline(start + 0.5, color=colour("dropped"), linewidth=0.8)
    axes.set(title=title, xlabel="epoch that the store has seen", ylabel="answers known already (%)")
    axes.set(xlim=(0, total + 1), ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=9.5)
    found = np.concatenate([np.asarray(shares) for shares in runs.values()])
    texts = [f"{name} {100 * np.mean(shares):.0f} %" for name, shares in runs.items()]
    name, shares = list(runs.items())[-1]
    alt = f"Share of known answers rising from 0 over {total} epochs of {len(runs)} runs, along the expected curve."
    return Picture(
        figure,
        alt,
        f"The teacher is asked less and less: in the last epoch of the {name}, {100 * shares[-1]:.0f} % of its answers are known.",
        f"Known on average: {', '.join(texts)}; no epoch is further than "
        f"{100 * np.abs(found - expected).max():.1f} points from what is expected.",
    )


@styled
def asked_in_stages(shown: Sequence[int], mixed: Sequence[int], full: int, title: str) -> Picture:
    """What the teacher is asked in every stage although its store is full: the mixtures, of the samples shown.

    Args:
        shown, mixed: samples per epoch in each stage, and how many of them are mixtures.
        full: samples shown by plain KD.
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 1.3 + 0.32 * len(shown))
    rows, pure = range(len(shown)), [all_ - some for all_, some in zip(shown, mixed, strict=True)]
    axes.barh(rows, pure, 0.75, color=colour("kept"), label="as they are: answer looked up")
    axes.barh(
        rows,
        mixed,
        0.75,
        pure,
        color=colour("mixed"),
        hatch=ROLES["mixed"].hatch,
        edgecolor="white",
        label="mixtures: teacher asked",
    )
    rest = [full - count for count in shown]
    axes.barh(rows, rest, 0.75, shown, color=(colour("dropped"), 0.25), label="not shown")
    axes.set_yticks(rows, [f"stage {stage}" for stage in rows])
    axes.set(title=title, xlabel="samples per epoch", xlim=(0, full), ylim=(len(shown) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9.5)
    count = len(shown)
    alt = f"Bars of the samples shown in {count} stages, shorter every time; from the second on, a small part is mixtures."
    return Picture(
        figure,
        alt,
        "Although every other answer is known, the teacher is still asked about "
        f"{100 * sum(mixed) / full / count:.1f} % of the samples: the mixtures, which are new images.",
        f"Of {full} samples, {100 * sum(shown) / full / count:.1f} % are shown on average over the stages.",
    )


Spread = Mapping[str, float]
"""Of repeated measurements: ``median``, ``least`` and ``most``."""

_PART_LOOKS = {
    "augment": ("dropped", 0.75, ""),
    "teacher": ("teacher", 1.0, ""),
    "student forward": ("student", 1.0, ""),
    "loss and backward": ("student", 0.6, "//"),
    "optimiser": ("student", 0.3, "..."),
    "bookkeeping": ("kept", 1.0, ""),
}
"""Part of a step -> role, opacity, hatch; what the student's training needs is in shades of its colour."""

_STORE_LOOKS = {"asked": ("teacher", "teacher asked"), "known": ("kept", "answers looked up")}

_STORES = {"store off": "asked", "cold": "asked", "warm store": "known", "warm": "known"}

_LEAST_LABELLED = 7
"""Percent of a bar below which a part gets no number."""


def _pair(name: str) -> str:
    return "course's pair" if name == "bundled" else name.replace(">", " → ")


def milliseconds(entry: Mapping[str, Any]) -> dict[str, float]:
    """Median milliseconds per image of every part of a step, from one entry of the stored profile."""
    return {part: spread["median"] for part, spread in entry["milliseconds per image"].items()}


@styled
def epoch_profile(parts: Mapping[str, Mapping[str, Any]], title: str) -> Picture:
    """Where the time of an epoch goes: a bar of 100 % per setting, its parts in the order of a step.

    Args:
        parts: the entry ``profile`` / ``parts`` of the stored benchmark: ``"pair, store"`` -> medians of milliseconds
            per image.
        title: of the figure.
    """
    times = {setting: milliseconds(entry) for setting, entry in parts.items()}
    figure, (axes,) = new_figure(8.6, 1.5 + 0.55 * len(times))
    rows = _rows_in_pairs(list(times))
    for setting, of_part in times.items():
        _stacked_bar(axes, rows[setting], of_part)
        total = sum(of_part.values())
        axes.annotate(f"{total:.2g} ms", (101.5, rows[setting]), va="center", fontsize=10, annotation_clip=False)
    axes.annotate("per image", (101.5, -0.7), va="center", fontsize=9, annotation_clip=False)
    axes.set_yticks(list(rows.values()), [_setting_label(setting) for setting in rows])
    axes.set(title=title, xlim=(0, 100), ylim=(max(rows.values()) + 0.5, -0.95), xlabel="share of an epoch's time (%)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9.5, handlelength=1.6
    )
    alt = (
        f"Bars of 100 percent for {len(times)} settings, divided into augmenting, teacher, student forward, loss and "
        "backward, optimiser and bookkeeping; the teacher's part vanishes where its answers are looked up."
    )
    shares = {
        store: [100 * of["teacher"] / sum(of.values()) for setting, of in times.items() if setting.endswith(store)]
        for store in ("store off", "warm store")
    }
    asked = sorted({f"{share:.0f}" for share in shares["store off"]}, key=int)
    reading = (
        f"A teacher that is asked about every batch takes {' to '.join(asked[:: max(1, len(asked) - 1)])} % of an epoch; where its answers are looked up, at most "
        f"{max(shares['warm store']):.1f} % is left of that."
    )
    return Picture(figure, alt, reading, _profile_numbers(times))


def _rows_in_pairs(settings: Sequence[str]) -> dict[str, float]:
    """Where each bar is, with a gap between two pairs of networks."""
    rows: dict[str, float] = {}
    gaps = 0
    for number, setting in enumerate(settings):
        gaps += number > 0 and setting.split(", ")[0] != settings[number - 1].split(", ")[0]
        rows[setting] = number + 0.35 * gaps
    return rows


def _setting_label(setting: str) -> str:
    name, store = setting.split(", ")
    return f"{_pair(name)}, {_STORE_LOOKS[_STORES[store]][1]}"


def _stacked_bar(axes: Axes, row: float, of_part: Mapping[str, float]) -> None:
    left, total = 0.0, sum(of_part.values())
    for part, value in of_part.items():
        role, opacity, hatch = _PART_LOOKS[part]
        share = 100 * value / total
        axes.barh(
            row,
            share,
            0.78,
            left,
            color=(colour(role), opacity),
            hatch=hatch,
            edgecolor="white",
            linewidth=0.8,
            label=part if row == 0 else None,
        )
        if share >= _LEAST_LABELLED:
            patch = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"} if hatch else None
            axes.text(
                left + share / 2,
                row,
                f"{share:.0f} %",
                ha="center",
                va="center",
                fontsize=9.5,
                bbox=patch,
                color="white" if role == "teacher" else "black",
                fontweight="bold",
            )
        left += share


def _profile_numbers(times: Mapping[str, Mapping[str, float]]) -> str:
    """The teacher's share of every pair with and without a store, the time saved, and what is left for the rest."""
    totals = {setting: sum(of_part.values()) for setting, of_part in times.items()}
    texts = []
    for name in dict.fromkeys(setting.split(", ")[0] for setting in times):
        off, warm = (f"{name}, {store}" for store in ("store off", "warm store"))
        shares = [100 * times[setting]["teacher"] / totals[setting] for setting in (off, warm)]
        texts.append(
            f"{_pair(name)} {shares[0]:.0f} % when asked and {shares[1]:.1f} % when looked up, which leaves "
            f"{100 * totals[warm] / totals[off]:.0f} % of the time"
        )
    rest = [
        100 * sum(of[part] for part in ("augment", "optimiser", "bookkeeping")) / totals[setting]
        for setting, of in times.items()
    ]
    return (
        f"The teacher's part of an epoch: {'; '.join(texts)}. Augmenting, updating and bookkeeping together "
        f"take {min(rest):.1f} to {max(rest):.1f} %."
    )


@styled
def speed_ratios(measured: Mapping[str, Spread], repeats: int, title: str) -> Picture:
    """Everything that was timed in turn with something else, beside 1: a dot for the median, a bar from least to most.

    Args:
        measured: the entry ``measured`` of the stored benchmark.
        repeats: of every measurement.
        title: of the figure.
    """
    panels = _panels(measured)
    heights = [1.3 + len(rows) for rows in panels.values()]
    figure, found = new_figure(8.6, 1.6 + 0.42 * sum(heights), len(panels), 1, height_ratios=heights)
    headline(figure, title)
    for (name, rows), axes in zip(panels.items(), found, strict=True):
        _ratio_panel(axes, rows)
        axes.set_title(name, fontsize=10.5)
    found[-1].axvline(0.85, color=colour("mixed"), linestyle=":", linewidth=1.8)
    found[0].plot([], [], ":", color=colour("mixed"), label="0.85, the samples shown")
    found[-1].set_xlabel(f"ratio; dot: median, bar: least to most of {repeats} repetitions")
    for role, label in _STORE_LOOKS.values():
        found[0].plot([], [], ROLES[role].marker, color=colour(role), label=label)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=9.5)
    alt = (
        "Three panels of ratios around a line at 1: an epoch over its bare arithmetic, images per second over public "
        "code, and the time of KC-KD over KD with a line at 0.85; medians as dots, ranges as bars."
    )
    known = {name: _medians(rows, "known") for name, rows in panels.items()}
    _, public, condensed = known.values()
    reading = (
        f"Where the teacher's answers are looked up, this library shows {public} times the images per second of public code, "
        f"and condensing then takes {condensed} of the time of plain KD."
    )
    return Picture(figure, alt, reading, _ratios_numbers(panels))


@styled
def precision_ratios(ratios: Mapping[str, float], native: bool, title: str) -> Picture:
    """How long a training step in bfloat16 takes, if one in float32 takes 1: a dot per network.

    Args:
        ratios: network -> seconds in bfloat16 over seconds in float32.
        native: does the device have instructions for bfloat16?
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 1.5 + 0.4 * len(ratios))
    axes.axvline(1, color=colour("teacher"), linewidth=1)
    for row, value in enumerate(ratios.values()):
        axes.plot([1, value], [row, row], color=colour("dropped"), linewidth=1.4, zorder=1)
        axes.plot(value, row, ROLES["kept"].marker, markersize=8, color=colour("kept"))
        axes.annotate(
            f"{value:.2f}",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
            annotation_clip=False,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(*ratios.values(), 0.5) / 1.25, max(*ratios.values(), 2.0) * 1.25)
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.set(title=title, xlabel="time of a step in bfloat16, if one in float32 takes 1; left of the line is a gain")
    alt = (
        f"A dot for each of {len(ratios)} networks on a logarithmic scale around a line at 1: the time of a training step in "
        "bfloat16 over that of one in float32."
    )
    kind = "has instructions for bfloat16" if native else "has no instructions for bfloat16 and emulates it"
    said = ", ".join(f"{value:.2f} ({name})" for name, value in ratios.items())
    shorter = sum(value < 1 for value in ratios.values())
    reading = f"This processor {kind}, and a step in it is shorter for {shorter} of {len(ratios)} networks."
    return Picture(figure, alt, reading, f"Time of a step in bfloat16, if one in float32 takes 1: {said}.")


Rows = dict[str, dict[str, Spread]]
"""Row -> whether the teacher was ``"asked"`` or its answers ``"known"`` -> ratio."""


def _panels(measured: Mapping[str, Spread]) -> dict[str, Rows]:
    """The stored ratios, sorted into the panels of the picture."""
    patterns = {
        "Images per second, an epoch over bare steps on one batch": r"(.+): throughput of an epoch over bare (steps)",
        "Images per second, over public code": r"(.+): images per second, (cold|warm) store over (.+)",
        "Seconds of a run, KC-KD (final ratio 70 %) over KD": r"(.+): time of KC-KD 70% over KD, (store off|warm store)",
    }
    panels: dict[str, Rows] = {name: {} for name in patterns}
    for key, spread in measured.items():
        for name, pattern in patterns.items():
            if match := re.fullmatch(pattern, key):
                pair, store, *beside = match.groups()
                row = ", ".join([_pair(pair), *beside])
                panels[name].setdefault(row, {})[_STORES.get(store, "asked")] = spread
    return panels


def _ratio_panel(axes: Axes, rows: Rows) -> None:
    axes.axvline(1, color=colour("teacher"), linewidth=1)
    for row, marks in enumerate(rows.values()):
        for shift, (store, spread) in zip((-0.14, 0.14) if len(marks) == 2 else (0,), marks.items(), strict=True):
            role = _STORE_LOOKS[store][0]
            reach = [[spread["median"] - spread["least"]], [spread["most"] - spread["median"]]]
            axes.errorbar(
                spread["median"],
                row + shift,
                xerr=reach,
                fmt=ROLES[role].marker,
                markersize=6,
                capsize=3,
                elinewidth=1.6,
                color=colour(role),
            )
            axes.annotate(
                f"{spread['median']:.2f}",
                (1.01, row + shift),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
                color=colour(role),
            )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    ends = [spread[end] for marks in rows.values() for spread in marks.values() for end in ("least", "most")]
    low, high = min(*ends, 1.0), max(*ends, 1.0)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)


def _medians(rows: Rows, store: str) -> str:
    """From the smallest to the largest median, or that one number where both look the same."""
    values = [marks[store]["median"] for marks in rows.values() if store in marks]
    if not values:
        return ""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _ratios_numbers(panels: Mapping[str, Rows]) -> str:
    """The range of medians in every panel, teacher asked and answers looked up."""
    epoch, public, condensed = panels.values()
    return (
        f"An epoch keeps {_medians(epoch, 'asked')} of the pace of its bare arithmetic; it shows "
        f"{_medians(public, 'asked')} times the images per second of public code with the teacher asked and "
        f"{_medians(public, 'known')} times with its answers looked up; KC-KD takes {_medians(condensed, 'asked')} of "
        f"KD's time when the teacher is asked, {_medians(condensed, 'known')} when it has said all it can about unmixed images."
    )
