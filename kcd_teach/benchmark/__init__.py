"""The published benchmark: plans, teachers, a runner that can be stopped or killed at any moment, and the table.

- :mod:`~kcd_teach.benchmark.settings`: what can be run: pairs, rows, scales
- :mod:`~kcd_teach.benchmark.published`: the published numbers, and with which of ours they may be compared
- :mod:`~kcd_teach.benchmark.plan`: which runs are wanted
- :mod:`~kcd_teach.benchmark.runs`: one run, a teacher's or a student's
- :mod:`~kcd_teach.benchmark.runner`, :mod:`~kcd_teach.benchmark.ray_engine`: the runner, on one machine or on several
- :mod:`~kcd_teach.benchmark.store`: the folder of results
- :mod:`~kcd_teach.benchmark.costs`: the time and the memory of a step, and the hours of a plan
- :mod:`~kcd_teach.benchmark.doctor`: what a plan needs, checked before it starts
- :mod:`~kcd_teach.benchmark.table`, :mod:`~kcd_teach.benchmark.curves`, :mod:`~kcd_teach.benchmark.plotting`: the results
  as a table, as plain numbers and as pictures
"""

from kcd_teach.benchmark.doctor import Finding, examine
from kcd_teach.benchmark.plan import Plan, Prepared, find_plan, make_plan, open_study
from kcd_teach.benchmark.published import NOTES, PUBLISHED, published
from kcd_teach.benchmark.ray_engine import Ray
from kcd_teach.benchmark.runner import Outcome, run_plan
from kcd_teach.benchmark.runs import Teacher, Unit, execute, load_published, train_teacher
from kcd_teach.benchmark.settings import (
    PAIRS,
    ROWS,
    SCALES,
    Pair,
    Row,
    Scale,
    find_pair,
    find_row,
    find_scale,
    negatives_of,
)
from kcd_teach.benchmark.store import Store
from kcd_teach.benchmark.table import BenchmarkTable, make_table

__all__ = [
    "NOTES",
    "PAIRS",
    "PUBLISHED",
    "ROWS",
    "SCALES",
    "BenchmarkTable",
    "Finding",
    "Outcome",
    "Pair",
    "Plan",
    "Prepared",
    "Ray",
    "Row",
    "Scale",
    "Store",
    "Teacher",
    "Unit",
    "examine",
    "execute",
    "find_pair",
    "find_plan",
    "find_row",
    "find_scale",
    "load_published",
    "make_plan",
    "make_table",
    "negatives_of",
    "open_study",
    "published",
    "run_plan",
    "train_teacher",
]
