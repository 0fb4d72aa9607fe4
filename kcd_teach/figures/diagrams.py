"""Drawings of the ideas: distillation, the feedback loop, and what one event does with a ranking."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled

Place = tuple[float, float]


def _canvas(width: float, height: float) -> Axes:
    """Empty axes in inches, the origin at the lower left."""
    _, (axes,) = new_figure(width, height)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return axes


def _box(axes: Axes, centre: Place, text: str, role: str, width: float = 1.5, height: float = 0.62) -> None:
    """A rounded box in the colour of a role, white text in it."""
    x, y = centre[0] - width / 2, centre[1] - height / 2
    shape = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, facecolor=colour(role), edgecolor="none"))
    axes.text(*centre, text, ha="center", va="center", color="white", fontsize=10, fontweight="bold", linespacing=1.2)


def _note(axes: Axes, centre: Place, text: str, role: str = "teacher", size: float = 9.5) -> None:
    """Text without a box."""
    axes.text(*centre, text, ha="center", va="center", color=colour(role), fontsize=size, linespacing=1.25)


def _arrow(axes: Axes, start: Place, end: Place, role: str = "teacher", bend: float = 0.0, line: str = "-") -> None:
    """An arrow, bent to the right of its way if ``bend`` is positive."""
    look = f"arc3,rad={bend}"
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=13,
            linewidth=1.6,
            color=colour(role),
            connectionstyle=look,
            linestyle=line,
            shrinkA=0,
            shrinkB=0,
        )
    )


@styled
def distillation() -> Picture:
    """Knowledge distillation: one image, two networks, two losses, and a gradient that reaches the student only."""
    axes = _canvas(7.6, 2.9)
    _note(axes, (0.6, 1.45), "a batch of\nimages")
    _box(axes, (2.35, 2.25), "teacher\n(fixed)", "teacher")
    _box(axes, (2.35, 0.65), "student\n(learns)", "student")
    _arrow(axes, (1.1, 1.6), (1.55, 2.15))
    _arrow(axes, (1.1, 1.3), (1.55, 0.75))
    _note(axes, (4.15, 2.25), "soft predictions\n$\\mathrm{softmax}(z / T)$")
    _note(axes, (4.15, 0.65), "soft predictions\n$\\mathrm{softmax}(z / T)$", "student")
    _arrow(axes, (3.15, 2.25), (3.4, 2.25))
    _arrow(axes, (3.15, 0.65), (3.4, 0.65), "student")
    _note(axes, (6.1, 1.75), "how far apart?\n$T^2$ KL divergence")
    _note(axes, (6.1, 0.95), "and from the label?\ncross-entropy")
    _arrow(axes, (4.9, 2.15), (5.25, 1.85))
    _arrow(axes, (4.9, 0.75), (5.25, 1.0), "student")
    _arrow(axes, (5.2, 0.7), (2.35, 0.3), "student", bend=-0.25, line="--")
    _note(axes, (6.2, 0.28), "the gradient changes\nthe student only", "student", 9)
    alt = (
        "A batch of images goes into a fixed teacher and a learning student; their soft predictions are compared, and the "
        "gradient goes back to the student only."
    )
    said = "The student is pulled towards what the teacher says of every image, and a little towards its label."
    return Picture(axes.figure, alt, said)  # type: ignore[arg-type]


@styled
def feedback_loop() -> Picture:
    """The EM loop of KCD: train and record, and at the end of each stage rank and summarise."""
    axes = _canvas(7.6, 3.1)
    _box(axes, (1.35, 2.4), "train the student\non the active samples", "student", 2.3, 0.7)
    _box(axes, (6.05, 2.4), "record its entropy\nfor every sample", "student", 2.3, 0.7)
    _box(axes, (6.05, 0.75), "rank all samples\nby value", "kept", 2.3, 0.7)
    _box(axes, (1.35, 0.75), "keep, blend, drop", "kept", 2.3, 0.7)
    _arrow(axes, (2.55, 2.55), (4.85, 2.55), "student")
    _arrow(axes, (4.85, 2.25), (2.55, 2.25), "student")
    _note(axes, (3.7, 2.78), "every batch", "student", 9)
    _note(axes, (3.7, 2.02), "next epoch", "student", 9)
    _arrow(axes, (6.05, 2.0), (6.05, 1.15), "kept")
    _arrow(axes, (4.85, 0.75), (2.55, 0.75), "kept")
    _arrow(axes, (1.35, 1.15), (1.35, 2.0), "kept")
    _note(axes, (6.85, 1.58), "E-step", "kept", 10)
    _note(axes, (3.7, 0.98), "at the end of a stage", "kept", 9)
    _note(axes, (3.7, 0.5), "M-step", "kept", 10)
    _note(axes, (0.35, 1.58), "the next\nstage", "kept", 9)
    alt = (
        "Four boxes in a circle: train the student, record its entropy, rank all samples, and keep, blend and drop; the "
        "first two repeat every epoch, the others at the end of a stage."
    )
    said = "What the student says in this stage decides what it is taught in the next one."
    return Picture(axes.figure, alt, said)  # type: ignore[arg-type]


@styled
def one_event(previous: int = 16, kept: int = 12, total: int = 20) -> Picture:
    """What one event does with the ranking: keep the first, blend the next ones into the last of them, drop the rest.

    Args:
        previous, kept: samples that were active before the event, and are after it.
        total: of all samples.
    """
    axes, length = _canvas(7.6, 2.3), previous - kept
    left, width, y, height = 0.25, 7.1 / total, 0.85, 0.5
    for place in range(total):
        role = "mixed" if kept - length <= place < kept else "kept" if place < kept else "dropped"
        look: dict[str, Any] = {"facecolor": colour(role), "edgecolor": "white", "linewidth": 1.2}
        if place >= kept:
            look |= {"alpha": 0.9 if place < kept + length else 0.45, "hatch": ROLES[role].hatch}
        axes.add_patch(Rectangle((left + place * width, y), width, height, **look))
    for step in range(length):
        start = (left + (kept + step + 0.5) * width, y + height + 0.03)
        end = (left + (kept - length + step + 0.5) * width, y + height + 0.03)
        _arrow(axes, start, end, "mixed", bend=0.45)

    def over(first: int, last: int) -> float:
        return left + (first + last) / 2 * width

    _note(axes, (over(0, kept - length), y - 0.28), "kept as they are", "kept", 9.5)
    _note(axes, (over(kept - length, kept), y - 0.28), "kept, blended", "mixed", 9.5)
    _note(axes, (over(kept, kept + length), y - 0.28), "blended in", "dropped", 9.5)
    _note(axes, (over(kept + length, total), y - 0.28), "dropped", "dropped", 9.5)
    axes.plot([left + kept * width] * 2, [y - 0.08, y + height + 0.08], color=colour("teacher"), linewidth=2)
    _note(axes, (left + kept * width + 0.05, y - 0.62), "the cut", "teacher", 9.5)
    axes.annotate("", (left + 7.1, 0.1), (left, 0.1), arrowprops={"arrowstyle": "-|>", "color": colour("teacher")})
    _note(axes, (1.4, 0.24), "most valuable first", "teacher", 9)
    alt = (
        f"A row of {total} squares in order of value: {kept - length} kept, {length} kept and blended, {length} blended "
        "into those by arrows, and the rest dropped behind the cut."
    )
    said = (
        f"Of {previous} active samples {kept} stay; the {length} ranked just below the cut are blended, one each, into "
        f"the {length} just above it."
    )
    return Picture(axes.figure, alt, said)  # type: ignore[arg-type]
