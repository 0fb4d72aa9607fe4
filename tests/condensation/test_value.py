import math

import numpy as np
import pytest
import torch

from kcd_teach.condensation import ValueRecord, cost_aware_score, prediction_entropy, rank
from tests import oracles


def waves(rows: int, columns: int) -> torch.Tensor:
    """sin(1), sin(2), .. row by row, float64."""
    return torch.arange(1, rows * columns + 1, dtype=torch.float64).sin().reshape(rows, columns)


def test_entropy_of_the_reference_rows():
    entropies = prediction_entropy(3 * waves(2, 4)).tolist()
    assert entropies == pytest.approx([0.8771435117268228, 0.6689460323562744], abs=1e-14)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0, 100.0])
def test_entropy_equals_the_plain_sum(scale):
    logits = scale * torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = [oracles.entropy(row) for row in logits.tolist()]
    assert prediction_entropy(logits).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_entropy_is_at_most_ln_c(dtype):
    entropy = prediction_entropy(torch.zeros(3, 100, dtype=dtype))
    assert entropy.tolist() == pytest.approx([4.60517] * 3, abs=1e-5)
    assert entropy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("gap", [103.0, 200.0, 1e4, 3e38])
def test_entropy_is_zero_and_not_nan_at_large_gaps(gap):
    logits = torch.tensor([[gap, 0.0, 0.0]])
    p = torch.softmax(logits, dim=1)
    assert gap < 104 or torch.isnan((p * p.log()).sum())  # the naive formula fails here
    entropy = prediction_entropy(logits).item()
    assert entropy == pytest.approx(0.0, abs=1e-30)
    assert math.copysign(1, entropy) == 1  # no -0.0, which a learner would read as negative


def test_entropy_does_not_depend_on_a_shift_or_on_the_order_of_classes():
    logits = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(prediction_entropy(logits + 123), prediction_entropy(logits), atol=1e-12)
    assert torch.allclose(prediction_entropy(logits.flip(1)), prediction_entropy(logits), atol=1e-12)


def test_entropy_carries_no_gradient():
    assert not prediction_entropy(torch.zeros(2, 3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_entropy_refuses_logits_that_are_not_finite(bad):
    logits = torch.zeros(4, 3)
    logits[2, 1] = bad
    with pytest.raises(ValueError, match="logits must be finite, but 1 of 4 rows hold NaN or infinity"):
        prediction_entropy(logits)


@pytest.mark.parametrize(
    ("logits", "seen"),
    [(torch.zeros(3), r"torch.float32 \[3\]"), (torch.zeros(2, 3).long(), r"torch.int64 \[2, 3\]"), ([[0.0]], "list")],
    ids=["one dimension", "integers", "list"],
)
def test_entropy_refuses_what_is_not_a_batch_of_logits(logits, seen):
    with pytest.raises(ValueError, match=rf"logits must be a floating-point tensor of shape \[B, C\], got {seen}"):
        prediction_entropy(logits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_mean_equals_the_mean_over_a_masked_history(dtype):
    rng = np.random.default_rng(0)
    history = rng.uniform(0, math.log(100), (120, 300)).astype(dtype)
    history[rng.random(history.shape) < 0.4] = np.nan
    history[:, 7] = np.nan  # never shown
    record = ValueRecord(300)
    for row in history:
        shown = np.flatnonzero(~np.isnan(row))
        rng.shuffle(shown)
        for ids in np.array_split(shown, 5):
            record.add(torch.from_numpy(ids), torch.from_numpy(row[ids]))
    shown = ~np.isnan(history)
    total = np.where(shown, history, 0).astype(np.float64).sum(axis=0)
    assert record.frequency.tolist() == shown.sum(axis=0).tolist()
    assert record.mean.numpy() == pytest.approx(total / np.maximum(shown.sum(axis=0), 1), abs=1e-13)
    assert record.total.numpy() == pytest.approx(total, abs=1e-10)
    assert record.mean[7] == record.frequency[7] == 0


def test_recording_twice_in_one_epoch_counts_twice():
    record = ValueRecord(3)
    record.add(torch.tensor([1]), torch.tensor([2.0]))
    record.add(torch.tensor([1, 0]), torch.tensor([4.0, 1.0]))
    assert record.frequency.tolist() == [1, 2, 0]
    assert record.mean.tolist() == [1.0, 3.0, 0.0]


def test_an_exact_zero_counts_as_recorded():
    record = ValueRecord(1)
    record.add(torch.tensor([0]), torch.tensor([0.0]))
    record.add(torch.tensor([0]), torch.tensor([1.0]))
    assert (record.frequency.item(), record.mean.item()) == (2, 0.5)


@pytest.mark.parametrize(
    ("ids", "values", "error", "message"),
    [
        ([0, 3], [1.0, 1.0], IndexError, "indices must be in 0 .. 2, got 3"),
        ([-1, 0], [1.0, 1.0], IndexError, "indices must be in 0 .. 2, got -1"),
        ([0, 0], [1.0, 1.0], ValueError, "indices must not repeat within one batch, but 1 do"),
        (
            [0.0, 1.0],
            [1.0, 1.0],
            ValueError,
            r"indices must be an int64 tensor of shape \[B\], got torch.float32 \[2\]",
        ),
        (
            [[0], [1]],
            [1.0, 1.0],
            ValueError,
            r"indices must be an int64 tensor of shape \[B\], got torch.int64 \[2, 1\]",
        ),
        ([0, 1], [1.0], ValueError, r"values must have shape \[2\] like indices, got \[1\]"),
        ([0, 1], [1.0, math.nan], ValueError, "values must be finite, got NaN or infinity"),
        ([0, 1], [1.0, math.inf], ValueError, "values must be finite, got NaN or infinity"),
    ],
    ids=["beyond N", "negative", "repeated", "float ids", "2-d ids", "too few values", "nan", "inf"],
)
def test_bad_records_are_refused_and_change_nothing(ids, values, error, message):
    record = ValueRecord(3)
    with pytest.raises(error, match=message):
        record.add(torch.tensor(ids), torch.tensor(values))
    assert record.frequency.tolist() == [0, 0, 0]
    assert record.mean.tolist() == [0, 0, 0]


def test_an_empty_batch_records_nothing():
    record = ValueRecord(3)
    record.add(torch.empty(0, dtype=torch.int64), torch.empty(0))
    assert record.frequency.sum() == 0


@pytest.mark.parametrize(("times", "factor"), [(2, 1.0210), (3, 1.0335), (4, 1.0425), (5, 1.0495), (6, 1.0552)])
def test_score_grows_slowly_with_the_frequency(times, factor):
    score = cost_aware_score(torch.ones(1, dtype=torch.float64), torch.tensor([times]), 0.03)
    assert score.item() == pytest.approx(factor, abs=5e-5)


def test_score_without_alpha_is_the_value():
    value = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)
    assert cost_aware_score(value, torch.tensor([3, 0, 1]), 0.0).tolist() == value.tolist()


def test_scaling_the_frequency_does_not_change_the_ranking():
    generator = torch.Generator().manual_seed(3)
    value = torch.rand(500, dtype=torch.float64, generator=generator)
    frequency = torch.randint(1, 240, (500,), generator=generator)
    ours = rank(cost_aware_score(value, frequency, 0.03))
    assert torch.equal(ours, rank(value * (frequency / 40).double().pow(0.03)))


def test_score_and_rank_follow_a_permutation_of_the_samples():
    generator = torch.Generator().manual_seed(4)
    value = torch.rand(200, dtype=torch.float64, generator=generator)
    frequency = torch.randint(1, 9, (200,), generator=generator)
    order = torch.randperm(200, generator=generator)
    score = cost_aware_score(value, frequency, 0.03)
    assert torch.equal(cost_aware_score(value[order], frequency[order], 0.03), score[order])
    assert torch.equal(order[rank(score[order])], rank(score))


def test_rank_is_descending_with_the_lower_id_first_among_equals():
    score = torch.randint(0, 5, (1_000,), generator=torch.Generator().manual_seed(5)).double()
    score[[3, 900]] = torch.inf
    score[[2, 800]] = -torch.inf
    assert rank(score).tolist() == sorted(range(1_000), key=lambda i: (-score[i].item(), i))
