"""Exercises of notebook 04: how can the student tell the teacher what to teach?"""

import torch
from torch import Tensor

from kcd_teach.condensation import ValueRecord, cost_aware_score, rank
from kcd_teach.exercises.exercise import Exercise


def _ranking(value: Tensor, frequency: Tensor, alpha: float) -> Tensor:
    return rank(cost_aware_score(value, frequency, alpha))


keep = Exercise(
    name="keep",
    task=(
        "Return the ids of the `count` samples with the highest score V * F ** alpha, best first; of equal scores the "
        "lower id comes first."
    ),
    minutes=6,
    hints=(
        "Compute one score per sample, then sort the scores and keep the order, not the scores.",
        "torch.sort returns values and indices; the indices are the ids.",
        "torch.sort(score, descending=True, stable=True) leaves equal scores in the order of their ids.",
    ),
    reference=lambda value, frequency, alpha, count: _ranking(value, frequency, alpha)[:count],
    cases=(
        (
            torch.tensor([1.16, 1.15, 0.40, 1.15, 2.45], dtype=torch.float64),
            torch.tensor([2, 4, 2, 4, 4]),
            0.03,
            2,
        ),
        (
            torch.tensor([0.9, 1.5, 1.0, 2.0, 0.2], dtype=torch.float64),
            torch.tensor([9, 4, 1, 1, 1]),
            0.5,
            3,
        ),
    ),
    mistakes={
        "The lowest scores were kept. They belong to what the student is sure of already, and where it has the "
        "least to learn.": lambda v, f, alpha, n: _ranking(-v, f, alpha)[:n],
        "The frequency was ignored. Of two samples with nearly equal entropy, the one that was shown more often has "
        "resisted more training.": lambda v, f, alpha, n: rank(v)[:n],
        "Equal scores come in reverse order of id, as when an ascending order is turned round. Without one rule for "
        "ties a repeated run need not keep "
        "the same samples.": lambda v, f, alpha, n: _ranking(-v, f, alpha).flip(0)[:n],
        "These are places in the ranking, not ids: argsort was applied twice. As ids they would "
        "name other samples.": lambda v, f, alpha, n: _ranking(v, f, alpha).argsort()[:n],
        "The right samples, but in order of id. The order of rank is needed later: the last ones kept are those "
        "that get mixed.": lambda v, f, alpha, n: _ranking(v, f, alpha)[:n].sort().values,
        "alpha was used as a factor and not as an exponent. The frequency then "
        "outweighs the value.": lambda v, f, alpha, n: rank(v * f * alpha)[:n],
    },
    solution="""
        import torch

        def keep(value, frequency, alpha, count):
            score = value * frequency.double() ** alpha
            return torch.sort(score, descending=True, stable=True).indices[:count]
    """,
)


def _update(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    record = ValueRecord(len(value))
    record.mean, record.frequency = value.double().clone(), frequency.clone()
    record.add(ids, entropies)
    return record.mean, record.frequency


def _others_lost(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    new_value, new_frequency = _update(value, frequency, ids, entropies)
    lost = torch.zeros_like(new_value)
    lost[ids] = new_value[ids]
    return lost, new_frequency


def _old_frequency(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    _, new_frequency = _update(value, frequency, ids, entropies)
    new_value = value.clone()
    new_value[ids] += (entropies - value[ids]) / frequency[ids]
    return new_value, new_frequency


def _newest_only(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    _, new_frequency = _update(value, frequency, ids, entropies)
    return value.index_copy(0, ids, entropies), new_frequency


update = Exercise(
    name="update",
    task=(
        "Record one batch: for the samples `ids` raise the frequency F by 1 and update the running mean, "
        "V <- V + (h - V) / F with the new F; return new (value, frequency) and leave the old ones untouched."
    ),
    minutes=8,
    hints=(
        "Only the samples in `ids` change; entropies[j] belongs to sample ids[j].",
        "Start from value.clone() and frequency.clone(), so that the caller keeps what it handed you.",
        "After new_frequency[ids] += 1: new_value[ids] += (entropies - value[ids]) / new_frequency[ids].",
    ),
    reference=_update,
    parts=("value", "frequency"),
    cases=(
        (
            torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64),
            torch.tensor([1, 2, 1, 0]),
            torch.tensor([1, 3]),
            torch.tensor([0.5, 1.2], dtype=torch.float64),
        ),
        (
            torch.tensor([1.8, 0.9, 0.6], dtype=torch.float64),
            torch.tensor([3, 2, 1]),
            torch.tensor([2, 0]),
            torch.tensor([0.2, 1.0], dtype=torch.float64),
        ),
    ),
    mistakes={
        "The values of samples that were not shown were overwritten. Their record is all that is known of them; "
        "without it a dropped sample cannot come back.": _others_lost,
        "The difference was divided by the old frequency. Raise F first: a sample shown for the first time would be "
        "divided by 0.": _old_frequency,
        "Places in the batch were used as ids: the first samples of the data set were updated, not those that were "
        "shown. entropies[j] belongs to sample ids[j].": lambda v, f, ids, h: _update(v, f, torch.arange(len(ids)), h),
        "The newest entropy replaced the mean. All earlier epochs count as well.": _newest_only,
        "The frequency was not raised in what is returned. The next update would weigh its "
        "entropy too much.": lambda v, f, ids, h: (_update(v, f, ids, h)[0], f),
    },
    solution="""
        def update(value, frequency, ids, entropies):
            new_value, new_frequency = value.clone(), frequency.clone()
            new_frequency[ids] += 1
            new_value[ids] += (entropies - value[ids]) / new_frequency[ids]
            return new_value, new_frequency
    """,
)
