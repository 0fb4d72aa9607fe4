from fractions import Fraction
from itertools import pairwise

import pytest

from kcd_teach.condensation import Condenser, event_epochs, paper_counts, relative_cost, released_counts
from tests import oracles

RATIOS = ("1", "0.95", "0.9", "0.77", "0.7", "0.65", "0.55", "0.5", "0.35", "0.3", "0.11", "0.1")


@pytest.mark.parametrize("stages", range(1, 13))
@pytest.mark.parametrize("ratio", RATIOS)
def test_paper_counts_are_exact_in_every_stage(ratio, stages):
    for num_samples in (7, 10, 48, 60, 101, 1_000, 50_000):
        if float(ratio) * num_samples >= 0.5:
            assert paper_counts(num_samples, float(ratio), stages) == oracles.schedule(
                "paper", num_samples, ratio, stages
            )


@pytest.mark.parametrize("stages", range(2, 12))
@pytest.mark.parametrize("ratio", RATIOS)
def test_paper_counts_start_full_never_grow_and_end_at_the_ratio(ratio, stages):
    counts = paper_counts(995, float(ratio), stages)
    assert len(counts) == stages
    assert counts[0] == 995
    assert counts[-1] == int(Fraction(ratio) * 995 + Fraction(1, 2))
    assert counts == sorted(counts, reverse=True)


def test_paper_counts_of_the_benchmark():
    assert paper_counts(50_000, 0.7, 6) == [50_000, 47_000, 44_000, 41_000, 38_000, 35_000]


@pytest.mark.parametrize(
    ("num_samples", "ratio", "stages", "t", "expected"),
    [(50_000, 0.11, 9, 7, 11_063), (5, 0.5, 2, 1, 3), (1, 0.5, 2, 1, 1), (50, 0.55, 2, 1, 28), (10, 0.7, 3, 1, 9)],
    ids=lambda value: str(value),
)
def test_paper_counts_landing_on_a_half_round_up(num_samples, ratio, stages, t, expected):
    assert paper_counts(num_samples, ratio, stages)[t] == expected


def test_released_counts_of_the_benchmark():
    assert released_counts(50_000, 0.7, 6) == [50_000, 47_500, 45_000, 42_500, 40_000, 37_500, 35_000]


def test_released_counts_can_miss_the_ratio():
    assert released_counts(50_000, 0.8, 6) == [50_000, 48_334, 46_668, 45_002, 43_336, 41_670, 40_004]


@pytest.mark.parametrize(
    ("ratio", "step"), [(0.9, 833), (0.8, 1666), (0.65, 2916), (0.55, 3749), (0.5, 4166), (0.3, 5833)]
)
def test_released_step_loses_what_double_precision_loses(ratio, step):
    counts = released_counts(50_000, ratio, 6)
    assert [before - after for before, after in pairwise(counts)] == [step] * 6


@pytest.mark.parametrize("stages", [1, 2, 6, 8, 12])
@pytest.mark.parametrize("ratio", RATIOS)
def test_released_counts_equal_the_plain_recursion(ratio, stages):
    for num_samples in (10, 48, 101, 1_000, 50_000):
        for steps in (1, 2, 6):
            expected = oracles.schedule("released", num_samples, ratio, stages, steps)
            assert released_counts(num_samples, float(ratio), stages, steps) == expected


def test_released_steps_do_not_follow_the_stages():
    assert released_counts(600, 0.5, 3) == [600, 550, 500, 450]  # stops short of 300
    assert released_counts(600, 0.5, 8) == [600, 550, 500, 450, 400, 350, 300, 300, 300]  # is there early


@pytest.mark.parametrize(
    ("epochs", "stages", "expected"),
    [
        (240, 6, [40, 80, 120, 160, 200]),
        (6, 3, [2, 4]),
        (7, 3, [2, 4]),
        (11, 4, [2, 5, 8]),
        (4, 4, [1, 2, 3]),
        (9, 1, []),
        (1, 1, []),
    ],
)
def test_event_epochs(epochs, stages, expected):
    assert event_epochs(epochs, stages) == expected


@pytest.mark.parametrize(
    ("ratio", "paper", "released", "last_stage"),
    [
        (0.9, 0.950, 0.9584, 0.917),
        (0.8, 0.900, 0.9167, 0.833),
        (0.7, 0.850, 0.8750, 0.750),
        (0.6, 0.800, 0.8334, 0.667),
        (0.5, 0.750, 0.7917, 0.583),
    ],
)
def test_cost_table(ratio, paper, released, last_stage):
    in_training = released_counts(50_000, ratio, 6)[:6]
    assert relative_cost(paper_counts(50_000, ratio, 6), 240) == pytest.approx(paper, abs=1e-12)
    assert relative_cost(in_training, 240) == pytest.approx(released, abs=5e-5)
    assert in_training[-1] / 50_000 == pytest.approx(last_stage, abs=5e-4)


@pytest.mark.parametrize("stages", [2, 3, 4, 6, 8])
def test_cost_of_equal_stages_is_half_of_one_plus_ratio(stages):
    assert relative_cost(paper_counts(56_000, 0.6, stages), 24) == pytest.approx(0.8, abs=1e-12)


def test_cost_counts_unequal_stages_by_their_epochs():
    # 7 epochs in 3 stages are 2, 2 and 3 epochs.
    assert relative_cost([10, 8, 6], 7) == pytest.approx((2 * 10 + 2 * 8 + 3 * 6) / 70, abs=1e-15)


@pytest.mark.parametrize(("preset", "presentations"), [("paper", 10_200_000), ("released", 10_500_000)])
def test_presentations_of_the_benchmark(preset, presentations):
    counts = Condenser(50_000, preset=preset).counts
    assert 40 * sum(counts) == presentations
    assert relative_cost(counts, 240) * 12_000_000 == pytest.approx(presentations)


@pytest.mark.parametrize(
    ("preset", "updates", "tails"),
    [("paper", 159_480, [16, 24, 32, 40, 48, 56]), ("released", 164_200, [16, 12, 8, 4, 0, 60])],
)
def test_updates_and_last_batches_of_the_benchmark(preset, updates, tails):
    counts = Condenser(50_000, preset=preset).counts
    assert sum(-(-count // 64) * 40 for count in counts) == updates
    assert [count % 64 for count in counts] == tails


@pytest.mark.parametrize("counts", [paper_counts, released_counts])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, 0.0, 3), ValueError, r"ratio must be in \(0, 1\], got 0.0"),
        ((10, 1.01, 3), ValueError, r"ratio must be in \(0, 1\], got 1.01"),
        ((10, -0.5, 3), ValueError, r"ratio must be in \(0, 1\], got -0.5"),
        ((10, float("nan"), 3), ValueError, r"ratio must be in \(0, 1\], got nan"),
        ((10, "0.7", 3), TypeError, "ratio must be a number, got '0.7'"),
        ((0, 0.7, 3), ValueError, "num_samples must be at least 1, got 0"),
        ((10.0, 0.7, 3), TypeError, "num_samples must be a whole number, got 10.0"),
        ((10, 0.7, 0), ValueError, "stages must be at least 1, got 0"),
        ((10, 0.7, True), TypeError, "stages must be a whole number, got True"),
        ((10, 0.01, 3), ValueError, "ratio=0.01 of 10 samples keeps none; use at least 0"),
    ],
    ids=lambda value: str(value),
)
def test_impossible_schedules_are_refused(counts, arguments, error, message):
    with pytest.raises(error, match=message):
        counts(*arguments)


def test_smallest_ratios_are_accepted():
    assert paper_counts(10, 0.05, 2) == [10, 1]
    assert released_counts(10, 0.1, 1, 1) == [10, 1]
    with pytest.raises(ValueError, match=r"ratio=0.09 of 10 samples keeps none; use at least 0.1"):
        released_counts(10, 0.09, 2)


def test_released_steps_must_be_positive():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        released_counts(10, 0.7, 2, 0)


def test_more_stages_than_epochs_are_refused():
    with pytest.raises(ValueError, match="stages must be at most epochs=3, got 4"):
        event_epochs(3, 4)
