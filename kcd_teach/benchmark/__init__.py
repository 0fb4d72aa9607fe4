"""Does it hold? The published benchmark: plans, teachers, a runner that survives everything, and the table.

- :mod:`~kcd_teach.benchmark.pairs`, :mod:`~kcd_teach.benchmark.rows`, :mod:`~kcd_teach.benchmark.scales`: what can be run?
- :mod:`~kcd_teach.benchmark.published`: what was published?
- :mod:`~kcd_teach.benchmark.plan`, :mod:`~kcd_teach.benchmark.units`: what is to be run?
- :mod:`~kcd_teach.benchmark.teachers`: where does a teacher come from?
- :mod:`~kcd_teach.benchmark.runner`, :mod:`~kcd_teach.benchmark.engines`, :mod:`~kcd_teach.benchmark.ray_engine`: how is
  it run, and by whom?
- :mod:`~kcd_teach.benchmark.doctor`, :mod:`~kcd_teach.benchmark.sizes`, :mod:`~kcd_teach.benchmark.probe`: what will it take?
- :mod:`~kcd_teach.benchmark.table`, :mod:`~kcd_teach.benchmark.curves`: what came out?
- :mod:`~kcd_teach.benchmark.styled`, :mod:`~kcd_teach.benchmark.plotting`: what does it look like?
- :mod:`~kcd_teach.benchmark.finishing`, :mod:`~kcd_teach.benchmark.store`: how does a run survive, and where is it kept?
"""

from kcd_teach.benchmark.doctor import Finding, examine
from kcd_teach.benchmark.pairs import PAIRS, Pair, find_pair
from kcd_teach.benchmark.plan import Plan, Prepared, make_plan
from kcd_teach.benchmark.published import NOTES, PUBLISHED, published
from kcd_teach.benchmark.ray_engine import Ray
from kcd_teach.benchmark.rows import ROWS, Row, find_row
from kcd_teach.benchmark.runner import Outcome, run_plan
from kcd_teach.benchmark.scales import SCALES, Scale, find_scale
from kcd_teach.benchmark.store import Store
from kcd_teach.benchmark.table import BenchmarkTable, make_table
from kcd_teach.benchmark.teachers import Teacher, load_published, train_teacher
from kcd_teach.benchmark.units import Unit, execute

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
    "find_row",
    "find_scale",
    "load_published",
    "make_plan",
    "make_table",
    "published",
    "run_plan",
    "train_teacher",
]
