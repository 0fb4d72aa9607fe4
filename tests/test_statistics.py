import math

import numpy as np
import pytest
from scipy import stats

from kcd_teach.statistics import interval, paired_differences, pooled_spread, seeds_for, verdict


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


def test_equal_differences_do_not_pretend_to_be_certain():
    """Three equal differences once gave -0.20 ± 0.00, as if three runs had settled it."""
    for values in ([-0.2] * 3, [0.1 + 0.2 - 0.5] * 3, [0.0] * 10):
        found = interval(values)
        assert found.covers_zero
        assert found.text("+").endswith(" ± ?")
        assert "cannot tell them apart" in verdict(values)
    pooled = interval([-0.2] * 3, spread=0.8)
    assert pooled.half_width == pytest.approx(stats.t.ppf(0.975, 2) * 0.8 / math.sqrt(3))
    assert pooled.covers_zero
    assert not interval([-2.2] * 3, spread=0.8).covers_zero


def test_a_known_spread_is_a_floor_and_nothing_else():
    values = [1.0, 3.0, 2.5]
    assert interval(values, spread=0.1) == interval(values)
    assert interval(values, spread=5.0).half_width > interval(values).half_width


def test_corrected_intervals_hold_together():
    """Of ten comparisons without a true difference, hardly a table shows one after the correction."""
    tables = np.random.default_rng(0).normal(size=(200, 10, 6))

    def shows_one(table, comparisons):
        return any(not interval(values, comparisons=comparisons).covers_zero for values in table)

    assert np.mean([shows_one(table, 1) for table in tables]) == pytest.approx(1 - 0.95**10, abs=0.1)
    assert np.mean([shows_one(table, 10) for table in tables]) == pytest.approx(0.05, abs=0.04)


def test_pooled_spread_is_that_of_an_analysis_of_variance():
    groups = [[1.0, 2.0, 4.0], [5.0, 5.5], [0.0], [3.0, 9.0, 1.0, 2.0]]
    residuals = [v - np.mean(g) for g in groups for v in g]
    assert pooled_spread(groups) == pytest.approx(math.sqrt(np.sum(np.square(residuals)) / (10 - 4)))
    assert pooled_spread([[1.0], []]) == 0.0


@pytest.mark.parametrize(("difference", "spread"), [(1.0, 1.0), (0.5, 1.2), (-2.0, 0.7)])
def test_the_seeds_that_are_needed_find_four_differences_in_five_and_one_seed_less_does_not(difference, spread):
    def found(n):
        draws = np.random.default_rng(1).normal(difference, spread, size=(20_000, n))
        return np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)

    n = seeds_for(difference, spread)
    assert found(n) > 0.79
    assert found(n - 1) < 0.81


def test_no_number_of_seeds_finds_nothing():
    with pytest.raises(ValueError, match=r"too small beside spread=1\.0"):
        seeds_for(1e-9, 1.0)
