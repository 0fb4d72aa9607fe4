"""The visual language of the course, and the pictures that several lessons and commands show; arrays in, :class:`Picture` out.

A picture that only one notebook shows is in that notebook's module of :mod:`kcd_teach.lessons`.
"""

from kcd_teach.figures.benchmark import ablation_differences, cost_accuracy, published_beside_ours, run_curves
from kcd_teach.figures.diagrams import distillation, feedback_loop, one_event
from kcd_teach.figures.picture import Picture, shrink_png
from kcd_teach.figures.runs import accuracy_against_cost, differences, differences_to, learning_curves
from kcd_teach.figures.samples import (
    RankingPlot,
    SchedulePlot,
    agreement_by_epoch,
    draw_prediction,
    image_rows,
    kept_by_class,
    labelled_rows,
    overlaps,
    scatter,
    show_image,
)
from kcd_teach.figures.style import ROLES, VALUE_MAP, Role, colour, new_figure, new_mosaic
from kcd_teach.figures.table import Stack, Table

__all__ = [
    "ROLES",
    "VALUE_MAP",
    "Picture",
    "RankingPlot",
    "Role",
    "SchedulePlot",
    "Stack",
    "Table",
    "ablation_differences",
    "accuracy_against_cost",
    "agreement_by_epoch",
    "colour",
    "cost_accuracy",
    "differences",
    "differences_to",
    "distillation",
    "draw_prediction",
    "feedback_loop",
    "image_rows",
    "kept_by_class",
    "labelled_rows",
    "learning_curves",
    "new_figure",
    "new_mosaic",
    "one_event",
    "overlaps",
    "published_beside_ours",
    "run_curves",
    "scatter",
    "show_image",
    "shrink_png",
]
