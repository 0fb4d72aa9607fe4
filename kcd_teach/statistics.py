"""Means with confidence intervals, and differences paired by seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats would take 60 MB more in every kernel

MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values.
        half_width: half of the confidence interval of the mean (Student's t); NaN for a single value, and infinite for
            equal values, which say nothing about how far others would scatter.
        n: number of values.
    """

    mean: float
    half_width: float
    n: int

    @property
    def covers_zero(self) -> bool:
        """True if zero is a plausible mean, or if there are too few values to say."""
        return not abs(self.mean) > self.half_width

    def text(self, sign: str = "") -> str:
        """Mean and half width, the latter only where there is one; ``sign`` is ``"+"`` for differences.

        >>> interval([1.0]).text("+"), interval([1.0, 2.0, 3.0]).text()
        ('+1.00', '2.00 ± 2.48')
        """
        if self.n == 1:
            return f"{self.mean:{sign}.2f}"
        return f"{self.mean:{sign}.2f} ± {'?' if math.isinf(self.half_width) else f'{self.half_width:.2f}'}"

    def __str__(self) -> str:
        return f"{self.text()} (n = {self.n})"


def interval(values: Sequence[float], *, spread: float = 0.0, comparisons: int = 1) -> Interval:
    """Mean of independent runs with its 95 % interval.

    With 3, 5 and 10 runs the half width is 2.5, 1.24 and 0.72 standard deviations.

    Args:
        values: one per run.
        spread: a standard deviation that is known from elsewhere, as that of :func:`pooled_spread`. A few runs that
            happen to lie closer together, or are equal, are not believed to scatter less than that.
        comparisons: intervals that answer one question together. With m of them each is a 100 - 5 / m % interval
            (Bonferroni), so that with a chance of 95 % all of them hold the truth.

    >>> str(interval([88.0, 89.0, 90.0]))
    '89.00 ± 2.48 (n = 3)'
    >>> interval([-0.2, -0.2, -0.2]).text(), interval([-0.2, -0.2, -0.2], spread=0.5).text()
    ('-0.20 ± ?', '-0.20 ± 1.24')
    """
    if len(values) == 0:
        raise ValueError("values must hold at least one number, got none")
    n = len(values)
    if n == 1:
        return Interval(float(values[0]), float("nan"), 1)
    deviation = 0.0 if min(values) == max(values) else float(np.std(values, ddof=1))
    half = special.stdtrit(n - 1, 1 - 0.025 / comparisons) * max(deviation, spread) / math.sqrt(n)
    return Interval(float(np.mean(values)), float(half) or math.inf, n)


def pooled_spread(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation within groups, all of them together; 0 if none has two values.

    Each group's own is hardly known from a few runs; groups that scatter alike know it better together.

    >>> round(pooled_spread([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]]), 3)
    0.707
    """
    groups = [values for values in groups if len(values) > 1]
    squares = sum(float(np.var(values)) * len(values) for values in groups)
    return math.sqrt(squares / max(1, sum(len(values) - 1 for values in groups)))


def seeds_for(difference: float, spread: float, power: float = 0.8) -> int:
    """Seeds that a study needs to find a paired difference: its 95 % interval leaves out zero with this probability.

    Args:
        difference: the true one, in the unit of ``spread``; not 0.
        spread: standard deviation of the differences from seed to seed, above 0.
        power: the wanted probability, below 1.

    Raises:
        ValueError: a difference that more than a million seeds would be needed for.

    >>> seeds_for(1.0, 1.0), seeds_for(0.5, 1.0)
    (10, 34)
    """
    # The normal approximation is a little too small, so the search begins at it and goes up.
    first = ((special.ndtri(0.975) + special.ndtri(power)) * spread / difference) ** 2
    if first > MOST_SEEDS:
        raise ValueError(f"difference={difference} is too small beside spread={spread}: it needs {first:.0e} seeds")
    n = max(2, math.floor(float(first)))
    while _power(n, abs(difference) / spread) < power:
        n += 1
    return n


def _power(n: int, effect: float) -> float:
    """Probability that the 95 % interval of n differences leaves out zero; ``effect`` in standard deviations."""
    limit, shift = special.stdtrit(n - 1, 0.975), effect * math.sqrt(n)
    return float(1 - special.nctdtr(n - 1, shift, limit) + special.nctdtr(n - 1, shift, -limit))


def paired_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """``ours - theirs`` for every seed that both have, in order of seed.

    A seed sets initial weights, order and views of both runs, so much of the noise is common and cancels.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise ValueError(f"no seed is common to {sorted(ours)} and {sorted(theirs)}")
    return [ours[seed] - theirs[seed] for seed in seeds]


def verdict(differences: Sequence[float]) -> str:
    """The conclusion that paired differences in percentage points allow, in one clause.

    >>> verdict([0.1, -0.2, 0.3])
    'these 3 runs cannot tell them apart (+0.07 ± 0.63 points)'
    """
    found = interval(differences)
    size = f"{found.text('+')} points"
    if found.n == 1:
        return f"one run cannot tell ({size})"
    if found.covers_zero:
        return f"these {found.n} runs cannot tell them apart ({size})"
    return f"{'ahead' if found.mean > 0 else 'behind'} by more than the noise ({size}, n = {found.n})"
