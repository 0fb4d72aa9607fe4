"""Means with confidence intervals, and differences paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values.
        half_width: half of the 95 % confidence interval of the mean (Student's t), NaN for a single value.
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
        return f"{self.mean:{sign}.2f}" + (f" ± {self.half_width:.2f}" if self.n > 1 else "")

    def __str__(self) -> str:
        return f"{self.text()} (n = {self.n})"


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval of independent runs.

    With 3, 5 and 10 runs the half width is 2.5, 1.24 and 0.72 standard deviations.

    >>> str(interval([88.0, 89.0, 90.0]))
    '89.00 ± 2.48 (n = 3)'
    """
    if len(values) == 0:
        raise ValueError("values must hold at least one number, got none")
    n = len(values)
    if n == 1:
        return Interval(float(values[0]), float("nan"), 1)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return Interval(float(np.mean(values)), float(half), n)


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
