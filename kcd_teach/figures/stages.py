"""Pictures of condensation: the ranking and its cut, the schedule, the kept set through the stages."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from kcd_teach.condensation import DROPPED, KEPT, MIXED, ROLES
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES as LOOKS
from kcd_teach.figures.style import colour, new_figure, styled


class RankingPlot:
    """A falling curve of scores with the area below it coloured kept, mixed and dropped; built once, then moved."""

    def __init__(self, axes: Axes, legend: bool = True) -> None:
        self.axes = axes
        self._areas = [
            Rectangle((0, 0), 0, 1, facecolor=colour(name), hatch=LOOKS[name].hatch, edgecolor="white", linewidth=0,
                      alpha=0.8, label=name, transform=axes.get_xaxis_transform())
            for name in ROLES
        ]  # fmt: skip
        # What lies above the curve is covered, so that a move needs two numbers per area and no new polygon.
        self._cover = Polygon([[0, 1], [100, 1], [100, 1]], facecolor="white", edgecolor="none")
        for patch in (*self._areas, self._cover):
            axes.add_patch(patch)
        (self._curve,) = axes.plot([], [], color=colour("teacher"), linewidth=1.5)
        axes.set(xlabel="samples, from most to least valuable (%)", ylabel="score (nats)", xlim=(0, 100))
        if legend:
            axes.legend(handles=self._areas, loc="upper right")

    def update(self, ordered: np.ndarray, kept: float, mixed: float, top: float | None = None) -> None:
        """Show scores [n], highest first; ``kept`` and ``mixed`` are percent of the samples, ``top`` the axis' end."""
        position = np.linspace(0, 100, len(ordered))
        top = 1.05 * float(ordered[0]) if top is None else top
        for area, start, end in zip(self._areas, (0, kept, kept + mixed), (kept, kept + mixed, 100), strict=True):
            area.set_x(start)
            area.set_width(end - start)
        self._cover.set_xy(np.column_stack([[*position, 100, 0], [*ordered, top, top]]))
        self._curve.set_data(position, ordered)
        self.axes.set_ylim(0, top)


class SchedulePlot:
    """Samples kept in each stage as steps; the part that is saved is dotted; built once, then moved."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        saved = Rectangle((0, 0), 1, 1, facecolor="white", hatch="..", edgecolor=colour("dropped"), linewidth=0)
        saved.set_transform(axes.transAxes)
        axes.add_patch(saved)
        self._steps = Polygon([[0, 0], [1, 0], [1, 1]], facecolor=colour("kept"))
        axes.add_patch(self._steps)
        axes.set(ylim=(0, 100), xlabel="stage", ylabel="samples shown (%)")

    def update(self, counts: Sequence[int], cost: float) -> None:
        """Show samples per stage; ``cost`` is a fraction of plain KD."""
        percent = 100 * np.repeat(counts, 2) / counts[0]
        edges = np.repeat(np.arange(len(counts) + 1), 2)[1:-1]
        self._steps.set_xy(np.column_stack([[0, *edges, len(counts)], [0, *percent, 0]]))
        self.axes.set_xlim(0, len(counts))
        self.axes.set_xticks(np.arange(len(counts)) + 0.5, [str(stage) for stage in range(len(counts))])
        self.axes.set_title(f"cost {100 * cost:.1f} % of plain KD")


@styled
def ranking(score: np.ndarray, role: np.ndarray, title: str) -> Picture:
    """The ranking with its partition: who is kept, mixed and dropped; score [N] in nats, role int8 [N]."""
    figure, (axes,) = new_figure(7.2, 3.4)
    counts = [int((role == code).sum()) for code in (KEPT, MIXED, DROPPED)]
    kept, mixed, _ = (100 * count / len(role) for count in counts)
    RankingPlot(axes).update(np.sort(score)[::-1], kept, mixed)
    axes.set_title(title)
    means = [float(score[role == code].mean()) if count else 0.0 for code, count in enumerate(counts)]
    reading = "; ".join(
        f"{count:,} {name}, mean score {mean:.2f} nats" for count, name, mean in zip(counts, ROLES, means, strict=True)
    )
    alt = "Falling curve of scores, the area below it coloured by role: kept left, mixed in between, dropped right."
    return Picture(figure, alt, reading + ".")


@styled
def schedule(counts: Sequence[int], cost: float) -> Picture:
    """How many samples each stage shows, and what the whole run costs relative to plain KD."""
    figure, (axes,) = new_figure(5.6, 3.0)
    SchedulePlot(axes).update(counts, cost)
    reading = f"The last of {len(counts)} stages keeps {100 * counts[-1] / counts[0]:.0f} %, the run costs {100 * cost:.1f} %."
    return Picture(figure, "Steps falling from all samples to the final ratio, one per stage.", reading)


@styled
def kept_through_stages(role_by_stage: np.ndarray, title: str) -> Picture:
    """One column per stage, one line per sample (int8 [S, N]), samples sorted by how long they stay."""
    stayed = (role_by_stage != DROPPED).sum(axis=0)
    pattern = sum((role_by_stage[s] != DROPPED).astype(int) << s for s in range(len(role_by_stage)))
    order = np.lexsort((pattern, -stayed))
    returned = comes_back(role_by_stage)
    figure, (axes,) = new_figure(7.2, 4.2)
    tint = np.array([[int(colour(name)[i : i + 2], 16) for i in (1, 3, 5)] for name in ROLES], dtype=np.uint8)
    axes.imshow(tint[role_by_stage[:, order].T], aspect="auto", interpolation="nearest")
    axes.set(title=title, xlabel="stage", ylabel="samples, the ones that stay longest on top")
    axes.set_xticks(range(len(role_by_stage)))
    for boundary in range(1, len(role_by_stage)):
        axes.axvline(boundary - 0.5, color="white", linewidth=2)
    for name in ROLES:
        axes.plot([], [], LOOKS[name].marker, color=colour(name), markersize=8, label=name)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = "One line per sample and one column per stage, coloured by kept, mixed or dropped."
    never = float((stayed == len(role_by_stage)).mean())
    reading = (
        f"{100 * never:.0f} % of the samples are never dropped; {int(returned.sum()):,} of {role_by_stage.shape[1]:,} "
        "are dropped and come back later."
    )
    return Picture(figure, alt, reading)


def comes_back(role_by_stage: np.ndarray) -> np.ndarray:
    """True for samples that are dropped in one stage and kept or mixed in a later one; bool [N]."""
    out = role_by_stage == DROPPED
    returned: np.ndarray = (out[:-1] & ~out[1:]).any(axis=0)
    return returned
