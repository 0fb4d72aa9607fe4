import math

import numpy as np
import pytest
from scipy import stats

from kcd_teach.statistics import interval, paired_differences, verdict


def test_interval_is_that_of_the_t_test():
    values = [88.1, 87.5, 89.0, 88.8, 87.9]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = interval(values)
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)


@pytest.mark.parametrize(("n", "factor"), [(3, 2.5), (5, 1.24), (10, 0.72)])
def test_half_width_in_standard_deviations(n, factor):
    values = np.random.default_rng(0).normal(size=n)
    assert interval(values).half_width / np.std(values, ddof=1) == pytest.approx(factor, abs=0.02)


def test_one_run_says_nothing():
    assert math.isnan(interval([3.0]).half_width)
    assert interval([3.0]).covers_zero


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="at least one number"):
        interval([])


def test_pairs_by_seed_and_not_by_position():
    assert paired_differences({0: 1.0, 2: 5.0}, {2: 1.0, 0: 2.0, 7: 9.0}) == [-1.0, 4.0]
    with pytest.raises(ValueError, match="no seed is common"):
        paired_differences({0: 1.0}, {1: 1.0})


@pytest.mark.parametrize(
    ("differences", "words"),
    [([1.0, 1.1, 0.9], "ahead by more"), ([-1.0, -1.1, -0.9], "behind by more"), ([1.0, -1.1, 0.9], "cannot tell")],
)
def test_verdict(differences, words):
    assert words in verdict(differences)
