"""Pictures of speed: where an epoch's time goes, and what it is compared with."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled

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


@styled
def epoch_profile(parts: Mapping[str, Mapping[str, Any]], title: str) -> Picture:
    """Where the time of an epoch goes: a bar of 100 % per setting, its parts in the order of a step.

    Args:
        parts: the entry ``profile`` / ``parts`` of the stored benchmark: ``"pair, store"`` -> medians of milliseconds
            per image.
        title: of the figure.
    """
    times = {
        setting: {part: spread["median"] for part, spread in entry["milliseconds per image"].items()}
        for setting, entry in parts.items()
    }
    figure, (axes,) = new_figure(8.6, 1.5 + 0.55 * len(times))
    rows = _rows_in_pairs(list(times))
    for setting, of_part in times.items():
        _stacked_bar(axes, rows[setting], of_part)
        total = sum(of_part.values())
        axes.annotate(f"{total:.2g} ms", (101.5, rows[setting]), va="center", fontsize=10,
                      annotation_clip=False)  # fmt: skip
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
    return Picture(figure, alt, _profile_reading(times))


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
        axes.barh(row, share, 0.78, left, color=(colour(role), opacity), hatch=hatch, edgecolor="white", linewidth=0.8,
                  label=part if row == 0 else None)  # fmt: skip
        if share >= _LEAST_LABELLED:
            patch = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"} if hatch else None
            axes.text(left + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=9.5, bbox=patch,
                      color="white" if role == "teacher" else "black", fontweight="bold")  # fmt: skip
        left += share


def _profile_reading(times: Mapping[str, Mapping[str, float]]) -> str:
    """The teacher's share of every pair with and without a store, the time saved, and what is left for the rest."""
    totals = {setting: sum(of_part.values()) for setting, of_part in times.items()}
    texts = []
    for name in dict.fromkeys(setting.split(", ")[0] for setting in times):
        off, warm = (f"{name}, {store}" for store in ("store off", "warm store"))
        shares = [100 * times[setting]["teacher"] / totals[setting] for setting in (off, warm)]
        texts.append(f"{_pair(name)} {shares[0]:.0f} % when asked and {shares[1]:.1f} % when looked up, which leaves "
                     f"{100 * totals[warm] / totals[off]:.0f} % of the time")  # fmt: skip
    rest = [100 * sum(of[part] for part in ("augment", "optimiser", "bookkeeping")) / totals[setting]
            for setting, of in times.items()]  # fmt: skip
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
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
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
    return Picture(figure, alt, _ratios_reading(panels))


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
        axes.annotate(f"{value:.2f}", (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=10,
                      annotation_clip=False)  # fmt: skip
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
    return Picture(figure, alt, f"This device {kind}. A step in it takes, measured by one in float32: {said}.")


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
            axes.errorbar(spread["median"], row + shift, xerr=reach, fmt=ROLES[role].marker, markersize=6, capsize=3,
                          elinewidth=1.6, color=colour(role))  # fmt: skip
            axes.annotate(f"{spread['median']:.2f}", (1.01, row + shift), xycoords=("axes fraction", "data"),
                          va="center", fontsize=9, color=colour(role))  # fmt: skip
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    ends = [spread[end] for marks in rows.values() for spread in marks.values() for end in ("least", "most")]
    low, high = min(*ends, 1.0), max(*ends, 1.0)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)


def _ratios_reading(panels: Mapping[str, Rows]) -> str:
    """The range of medians in every panel, teacher asked and answers looked up."""
    epoch, public, condensed = panels.values()

    def medians(rows: Rows, store: str) -> str:
        values = [marks[store]["median"] for marks in rows.values() if store in marks]
        return f"{min(values):.2f} to {max(values):.2f}"

    return (
        f"An epoch keeps {medians(epoch, 'asked')} of the pace of its bare arithmetic; it shows "
        f"{medians(public, 'asked')} times the images per second of public code with the teacher asked and "
        f"{medians(public, 'known')} times with its answers looked up; KC-KD takes {medians(condensed, 'asked')} of "
        f"KD's time when the teacher is asked, {medians(condensed, 'known')} when it has said all it can about unmixed images."
    )
