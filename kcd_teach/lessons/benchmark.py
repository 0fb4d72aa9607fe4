"""Lesson 08, the benchmark: exercises on the seeds that a claim needs, and on the runs that are left."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from scipy import stats

from kcd_teach.lessons.exercise import Exercise


def _first(narrow_enough: Callable[[int], bool]) -> int:
    """The least number of seeds, two or more, for which something holds."""
    return next(n for n in range(2, 100_000) if narrow_enough(n))


def _seeds(spread: float, gain: float) -> int:
    return _first(lambda n: bool(stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < gain))


seeds_needed = Exercise(
    name="seeds_needed",
    task=(
        "Paired differences between two rows scatter with standard deviation `spread`. Return the smallest number of "
        "seeds, at least 2, for which half of the 95 % interval of their mean is below `gain`."
    ),
    minutes=5,
    hints=(
        "Half of the interval is t * spread / sqrt(n), with t from Student's distribution. It shrinks with n.",
        "For n values t is stats.t.ppf(0.975, n - 1): 12.7 for two of them, 4.3 for three, 2.3 for ten.",
        "Begin with n = 2, and add one as long as half of the interval is not below the gain.",
    ),
    reference=_seeds,
    cases=((0.5, 0.3), (1.0, 0.3), (0.2, 1.0)),
    mistakes={
        "The factor 1.96 belongs to a spread that is known exactly. Estimated from few seeds it may be too small by "
        "chance, and Student's t makes up for that.": lambda spread, gain: _first(
            lambda n: 1.96 * spread / math.sqrt(n) < gain
        ),
        "The spread was not divided by sqrt(n): that is the scatter of single differences, not of their "
        "mean.": lambda spread, gain: _first(lambda n: bool(stats.t.ppf(0.975, n - 1) * spread < gain or n > 999)),
        "The whole width of the interval was compared with the gain. Zero is left out as soon as half of it is "
        "shorter.": lambda spread, gain: _first(
            lambda n: bool(2 * stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < gain)
        ),
        "This is the quantile 0.95. A 95 % interval leaves 2.5 % on either side, so it needs "
        "0.975.": lambda spread, gain: _first(lambda n: bool(stats.t.ppf(0.95, n - 1) * spread / math.sqrt(n) < gain)),
        "This is one seed too few: with it, half of the interval is still as long as the gain.": lambda spread, gain: (
            _seeds(spread, gain) - 1
        ),
    },
    solution="""
        from scipy import stats

        def seeds_needed(spread, gain):
            n = 2
            while stats.t.ppf(0.975, n - 1) * spread / n**0.5 >= gain:
                n += 1
            return n
    """,
)

Config = dict[str, Any]


def _left(wanted: Sequence[Config], stored: Sequence[Config]) -> list[int]:
    return [i for i, config in enumerate(wanted) if config not in stored]


def _same(config: Config, other: Config, names: Sequence[str]) -> bool:
    return all(config[name] == other[name] for name in names)


_PLAN = [{"row": row, "seed": seed, "epochs": 240} for row in ("KD", "KC-KD") for seed in (0, 1)]

_OTHER = [{**config, "epochs": 24} for config in _PLAN]

runs_left = Exercise(
    name="runs_left",
    task=(
        "A plan was interrupted. `wanted` lists the configurations of all its runs as dicts, `stored` those that a "
        "folder already holds, from this plan or another. Return the positions in `wanted` of the runs that are left."
    ),
    minutes=3,
    hints=(
        "A run is done if the folder holds a run that agrees with it in everything its result depends on.",
        "Two dicts are equal if they have the same names with the same values: row, seed and epochs.",
        "`config not in stored` asks just that. `enumerate` gives the positions.",
    ),
    reference=_left,
    cases=(
        (_PLAN, []),
        (_PLAN, [_PLAN[1], _OTHER[2], _PLAN[2]]),
        (_PLAN, _OTHER[2:] + _PLAN[3:]),
    ),
    mistakes={
        "A run of other epochs was taken for one of this plan. The table would mix results of different recipes, and "
        "nobody would see it.": lambda wanted, stored: [
            i for i, c in enumerate(wanted) if not any(_same(c, s, ("row", "seed")) for s in stored)
        ],
        "The seed was not compared: one finished seed of a row does not make the others.": lambda wanted, stored: [
            i for i, c in enumerate(wanted) if not any(_same(c, s, ("row", "epochs")) for s in stored)
        ],
        "The row was not compared: KD and KC-KD with the same seed are two runs.": lambda wanted, stored: [
            i for i, c in enumerate(wanted) if not any(_same(c, s, ("seed", "epochs")) for s in stored)
        ],
        "Runs were only counted. Which of them are finished depends on the order in which they ended, and others may "
        "lie in the same folder.": lambda wanted, stored: list(range(len(stored), len(wanted))),
        "These are the runs that are done; those that are left are the others.": lambda wanted, stored: [
            i for i, config in enumerate(wanted) if config in stored
        ],
    },
    solution="""
        def runs_left(wanted, stored):
            return [place for place, config in enumerate(wanted) if config not in stored]
    """,
)
