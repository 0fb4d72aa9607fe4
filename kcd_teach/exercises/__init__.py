"""Did I get it? One function at a time for the learner to write, each with its own check.

>>> from kcd_teach import exercises
>>> soften = exercises.soften.check(exercises.TODO)
not solved yet: soften; the notebook goes on with the library's version

- :mod:`~kcd_teach.exercises.exercise`: what an exercise is, and how it answers
- :mod:`~kcd_teach.exercises.compare`: the first difference between two results, in words
- one module per notebook: :mod:`~kcd_teach.exercises.tour` (00), :mod:`~kcd_teach.exercises.plain_kd` (01),
  :mod:`~kcd_teach.exercises.amount` (02), :mod:`~kcd_teach.exercises.value` (03),
  :mod:`~kcd_teach.exercises.feedback` (04), :mod:`~kcd_teach.exercises.summary` (05),
  :mod:`~kcd_teach.exercises.any_distiller` (07), :mod:`~kcd_teach.exercises.benchmark` (08),
  :mod:`~kcd_teach.exercises.speed` (appendix)
"""

from kcd_teach.exercises.amount import doubtful, entropy
from kcd_teach.exercises.any_distiller import attention_map, keep_lowest, similarity_rows
from kcd_teach.exercises.benchmark import runs_left, seeds_needed
from kcd_teach.exercises.exercise import TODO, Exercise, WrongAnswer
from kcd_teach.exercises.feedback import keep, update
from kcd_teach.exercises.plain_kd import kd_loss, soften
from kcd_teach.exercises.speed import count_views, known_share
from kcd_teach.exercises.summary import blend, coefficients, pair
from kcd_teach.exercises.tour import kept_counts, presentations
from kcd_teach.exercises.value import learned_epoch, running_mean

ALL = (
    presentations,
    kept_counts,
    soften,
    kd_loss,
    entropy,
    doubtful,
    running_mean,
    learned_epoch,
    keep,
    update,
    pair,
    coefficients,
    blend,
    attention_map,
    similarity_rows,
    keep_lowest,
    seeds_needed,
    runs_left,
    count_views,
    known_share,
)
"""Every exercise, in the order of the course."""

__all__ = [
    "ALL",
    "TODO",
    "Exercise",
    "WrongAnswer",
    "attention_map",
    "blend",
    "coefficients",
    "count_views",
    "doubtful",
    "entropy",
    "kd_loss",
    "keep",
    "keep_lowest",
    "kept_counts",
    "known_share",
    "learned_epoch",
    "pair",
    "presentations",
    "running_mean",
    "runs_left",
    "seeds_needed",
    "similarity_rows",
    "soften",
    "update",
]
