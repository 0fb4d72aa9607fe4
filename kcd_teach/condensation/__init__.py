"""The E-step and the M-step of Knowledge Condensation Distillation, which decide what knowledge is distilled.

Knows ids, entropies and coefficients; nothing of models, losses or images.

- :mod:`~kcd_teach.condensation.value`: the value of a sample to the student (E-step)
- :mod:`~kcd_teach.condensation.summary`: which ranked samples are kept, blended or dropped (M-step)
- :mod:`~kcd_teach.condensation.schedule`: how many are kept when, and what that costs
- :mod:`~kcd_teach.condensation.condenser`: the loop that joins them
"""

from kcd_teach.condensation.condenser import PRESETS, Condenser, FixedSubset, KeepAll
from kcd_teach.condensation.schedule import event_epochs, paper_counts, relative_cost, released_counts
from kcd_teach.condensation.summary import (
    DROPPED,
    KEPT,
    MIXED,
    ROLES,
    Mixture,
    paper_coefficients,
    partition,
    released_coefficients,
    roles,
    summarise,
)
from kcd_teach.condensation.value import (
    ValueMeasure,
    ValueRecord,
    cost_aware_score,
    fixed_values,
    list_values,
    prediction_entropy,
    rank,
    register_value,
)

__all__ = [
    "DROPPED",
    "KEPT",
    "MIXED",
    "PRESETS",
    "ROLES",
    "Condenser",
    "FixedSubset",
    "KeepAll",
    "Mixture",
    "ValueMeasure",
    "ValueRecord",
    "cost_aware_score",
    "event_epochs",
    "fixed_values",
    "list_values",
    "paper_coefficients",
    "paper_counts",
    "partition",
    "prediction_entropy",
    "rank",
    "register_value",
    "relative_cost",
    "released_coefficients",
    "released_counts",
    "roles",
    "summarise",
]
