"""The visual language: a colour, a marker and a hatch for every role, the same everywhere."""

import functools
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Role:
    """How one role looks: colour, marker, line style, hatch (a second sign for print and colour blindness)."""

    colour: str
    marker: str
    line: str
    hatch: str


# Chosen so that the closest pair keeps a CIEDE2000 distance of 20.8 under simulated colour-vision loss.
ROLES = {
    "teacher": Role("#000000", "s", "-", ""),
    "student": Role("#D55E00", "o", "-", ""),
    "kept": Role("#0072B2", "o", "-", ""),
    "mixed": Role("#882255", "D", "--", "///"),
    "dropped": Role("#8C8C8C", "X", ":", "..."),
}

TINTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#882255", "#44AA99", "#8C8C8C")
"""Of ten kinds of samples, such as classes, which differ by a sign as well; from the palettes of Wong and of Tol."""

VALUE_MAP = "cividis"
"""Colour map of scores: from dark (low) to yellow (high), readable without colour vision."""

DPI = 150

_SETTINGS: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.5,
    "axes.grid": False,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


Drawing = TypeVar("Drawing", bound=Callable[..., Any])


def styled(draw: Drawing) -> Drawing:
    """Let a function draw in the style of the course, without changing matplotlib's settings for anybody else."""

    @functools.wraps(draw)
    def in_style(*args: Any, **kwargs: Any) -> Any:
        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return cast(Drawing, in_style)


def colour(role: str) -> str:
    """Colour of a role."""
    return ROLES[role].colour


@styled
def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """An empty figure in the style of the course, made without pyplot's global state.

    Args:
        width, height: inches.
        rows, columns: of axes; ``grid`` goes to :meth:`matplotlib.figure.Figure.subplots`.

    Returns:
        (figure, its axes row by row).
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **grid).flat)


@styled
def new_mosaic(
    width: float, height: float, mosaic: list[list[str]], height_ratios: list[float]
) -> tuple[Figure, dict[str, Axes]]:
    """Like :func:`new_figure`, with axes that span several cells: equal names in ``mosaic`` are one axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: dict[str, Axes] = figure.subplot_mosaic(mosaic, height_ratios=height_ratios)  # type: ignore[arg-type]
    return figure, axes


def headline(figure: Figure, title: str) -> None:
    """The title of a figure of several panels, or one with long names in it, at its left and in as many lines as it needs."""
    title = textwrap.fill(title, int(9 * figure.get_figwidth()))
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
