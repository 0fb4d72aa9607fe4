"""What does it look like? Every figure of the course; arrays in, :class:`Picture` out."""

from kcd_teach.figures.benchmark import ablation_differences, run_curves
from kcd_teach.figures.beside import published_beside_ours
from kcd_teach.figures.compared import (
    attention_maps,
    contrast_scores,
    predictions_beside,
    relations,
    rotated_views,
    tap_map,
)
from kcd_teach.figures.costs import cost_accuracy
from kcd_teach.figures.feedback import lower_bound, moving_cut
from kcd_teach.figures.images import TilePlot, draw_prediction, image_rows, mixtures, show_image, soft_labels
from kcd_teach.figures.methods import method_zoo, published_gains
from kcd_teach.figures.picture import Picture, shrink_png
from kcd_teach.figures.runs import (
    accuracy_against_cost,
    accuracy_by_condition,
    differences,
    differences_to,
    learning_curves,
)
from kcd_teach.figures.speed import epoch_profile, precision_ratios, speed_ratios
from kcd_teach.figures.stages import RankingPlot, SchedulePlot, comes_back, kept_through_stages, ranking, schedule
from kcd_teach.figures.store import all_views, asked_in_stages, known_answers
from kcd_teach.figures.style import ROLES, VALUE_MAP, Role, colour, new_figure, new_mosaic
from kcd_teach.figures.table import Stack, Table
from kcd_teach.figures.values import (
    agreement,
    distributions,
    gradient_sizes,
    ordered_curve,
    per_class,
    resemblance,
    scatter,
    shares,
    trajectories,
)

__all__ = [
    "ROLES",
    "VALUE_MAP",
    "Picture",
    "RankingPlot",
    "Role",
    "SchedulePlot",
    "Stack",
    "Table",
    "TilePlot",
    "ablation_differences",
    "accuracy_against_cost",
    "accuracy_by_condition",
    "agreement",
    "all_views",
    "asked_in_stages",
    "attention_maps",
    "colour",
    "comes_back",
    "contrast_scores",
    "cost_accuracy",
    "differences",
    "differences_to",
    "distributions",
    "draw_prediction",
    "epoch_profile",
    "gradient_sizes",
    "image_rows",
    "kept_through_stages",
    "known_answers",
    "learning_curves",
    "lower_bound",
    "method_zoo",
    "mixtures",
    "moving_cut",
    "new_figure",
    "new_mosaic",
    "ordered_curve",
    "per_class",
    "precision_ratios",
    "predictions_beside",
    "published_beside_ours",
    "published_gains",
    "ranking",
    "relations",
    "resemblance",
    "rotated_views",
    "run_curves",
    "scatter",
    "schedule",
    "shares",
    "show_image",
    "shrink_png",
    "soft_labels",
    "speed_ratios",
    "tap_map",
    "trajectories",
]
