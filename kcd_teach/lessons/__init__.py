"""The lessons: one module per notebook, with its exercises and the pictures that only it shows.

>>> from kcd_teach.lessons import TODO
>>> from kcd_teach.lessons import plain_kd as lesson
>>> soften = lesson.soften.check(TODO)
not solved yet: soften; the notebook goes on with the library's version

- :mod:`~kcd_teach.lessons.exercise`: what an exercise is, and how it answers
- :mod:`~kcd_teach.lessons.predictions`: guesses that come before results
- :mod:`~kcd_teach.lessons.measurements`: stored measurements that several notebooks show, and the commands that make them
- :mod:`~kcd_teach.lessons.grading`: which exercises a class has solved, from its notebooks
- one module per notebook, with the notebook's name: :mod:`~kcd_teach.lessons.tour` (00),
  :mod:`~kcd_teach.lessons.plain_kd` (01), :mod:`~kcd_teach.lessons.knowledge_amount` (02),
  :mod:`~kcd_teach.lessons.learning_value` (03), :mod:`~kcd_teach.lessons.em_feedback` (04),
  :mod:`~kcd_teach.lessons.summary_condensation` (05), :mod:`~kcd_teach.lessons.any_distiller` (07),
  :mod:`~kcd_teach.lessons.benchmark` (08), :mod:`~kcd_teach.lessons.speed` (appendix)
"""

from kcd_teach.lessons.exercise import TODO, Exercise, Judgement, WrongAnswer
from kcd_teach.lessons.predictions import Predictions

__all__ = ["TODO", "Exercise", "Judgement", "Predictions", "WrongAnswer"]
