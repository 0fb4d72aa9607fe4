"""Exercises of notebook 07: does it work with other distillers?"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach.distillers import at, sp, sskd
from kcd_teach.exercises.exercise import Exercise

_TWO_IMAGES = torch.tensor(
    [
        [[[1.0, 2.0], [0.0, 3.0]], [[-1.0, 2.0], [4.0, 0.0]]],
        [[[0.0, 1.0], [1.0, 0.0]], [[2.0, 0.0], [-1.0, 2.0]]],
    ]
)

attention_map = Exercise(
    name="attention_map",
    task=(
        "Turn feature maps [B, C, H, W] into attention maps [B, H W]: the mean over the channels of the squares, "
        "flattened, each sample's map divided by its length (L2)."
    ),
    minutes=5,
    hints=(
        "Every position of a map has C numbers; their squares say how strongly the network reacts there.",
        "The channels are dimension 1. After the mean over them, flatten(1) makes one row of H W numbers per sample.",
        "F.normalize(rows, dim=1) divides every row by its length.",
    ),
    reference=at.attention,
    cases=((_TWO_IMAGES,), (torch.tensor([[[[3.0, -1.0]], [[1.0, -2.0]], [[0.0, 2.0]]]]),)),
    mistakes={
        "The values were not squared. Positive and negative reactions at one place then cancel, as if "
        "nothing were there.": lambda f: F.normalize(f.mean(dim=1).flatten(1), dim=1),
        "The mean was squared, not the values: squares come first, or reactions of opposite sign cancel.": lambda f: (
            F.normalize(f.mean(dim=1).pow(2).flatten(1), dim=1)
        ),
        "Each map was divided by its sum (L1), not by its length (L2). The loss compares vectors of unit length, and "
        "its weight of 1000 goes with that.": lambda f: F.normalize(f.pow(2).mean(dim=1).flatten(1), p=1, dim=1),
        "The length was taken over the batch (dim=0): what is said about one image would depend on "
        "the others.": lambda f: F.normalize(f.pow(2).mean(dim=1).flatten(1), dim=0),
        "The maps were not brought to unit length. A wide network would seem to look harder at everything, and "
        "the loss would compare sizes, not places.": lambda f: f.pow(2).mean(dim=1).flatten(1),
        "The mean ran over the places and left the channels. Two networks of different width could then "
        "not be compared.": lambda f: F.normalize(f.pow(2).flatten(2).mean(dim=2), dim=1),
    },
    solution="""
        from torch.nn import functional as F

        def attention_map(feature):
            strength = feature.pow(2).mean(dim=1)
            return F.normalize(strength.flatten(1), dim=1)
    """,
)


def _cosines(feature: Tensor) -> Tensor:
    unit = F.normalize(feature.flatten(1), dim=1)
    return unit @ unit.T


def _gram(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return flat @ flat.T


def _between_entries(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return F.normalize(flat.T @ flat, dim=1)


similarity_rows = Exercise(
    name="similarity_rows",
    task=(
        "Return which samples of a batch [B, ...] resemble each other: the table [B, B] of the inner products of all pairs "
        "of flattened features, then each row of that table divided by its length (L2)."
    ),
    minutes=5,
    hints=(
        "Flatten each sample to one row; the result has a row and a column per sample, whatever the feature's shape.",
        "For a matrix with one sample per row, all inner products at once are flat @ flat.T.",
        "F.normalize(products, dim=1) divides every row by its length; do it after the product.",
    ),
    reference=sp.similarities,
    cases=(
        (torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]]),),
        (torch.tensor([[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 0.0]]]),),
    ),
    mistakes={
        "Each row was divided by its sum (L1), not by its length (L2), as one published implementation does. The "
        "benchmark's weight of 3000 belongs to L2.": lambda f: F.normalize(_gram(f), p=1, dim=1),
        "These are cosines: the samples were brought to unit length before the product, not the rows after it. How "
        "strongly the network reacts to a sample is then lost.": _cosines,
        "The columns have unit length, not the rows. A row says how one sample sees all others.": lambda f: F.normalize(
            _gram(f), dim=0
        ),
        "The rows were not divided by their length. Networks whose features are larger would look more "
        "certain of every likeness.": _gram,
        "The entries of the features were compared, not the samples: the product is flat @ flat.T, one row "
        "per sample.": _between_entries,
    },
    solution="""
        from torch.nn import functional as F

        def similarity_rows(feature):
            flat = feature.flatten(1)
            return F.normalize(flat @ flat.T, dim=1)
    """,
)


def _keep(level: Tensor, first: Tensor, count: int) -> Tensor:
    """True for all zeros of ``level`` and for the first ``count`` of the ids ``first``."""
    kept = level == 0
    kept[first[:count]] = True
    return kept


def _wrong_ones(level: Tensor, highest: bool = False) -> Tensor:
    order = torch.sort(level, stable=True, descending=highest).indices
    return order[level[order] > 0]


def _rounded_up(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level)
    return _keep(level, wrong, -int(-len(wrong) * ratio // 1))


def _share_of_all(level: Tensor, ratio: float) -> Tensor:
    kept = torch.zeros(len(level), dtype=torch.bool)
    kept[torch.sort(level, stable=True).indices[: int(ratio * len(level))]] = True
    return kept


def _highest(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level, highest=True)
    return _keep(level, wrong, int(ratio * len(wrong)))


def _with_ties(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level)
    count = int(ratio * len(wrong))
    return (level == 0) if count == 0 else level <= level[wrong[count - 1]]


keep_lowest = Exercise(
    name="keep_lowest",
    task=(
        "Mark the answers of the teacher that are worth passing on, bool [n]. level[i] is the number of answers it "
        "ranked above the true one. Keep every 0; of the w others keep the floor(ratio * w) lowest, the earlier of equals."
    ),
    minutes=8,
    hints=(
        "Rows of level 0 are right and always kept; count the others, and take the share of those.",
        "torch.sort(level, stable=True).indices names the rows from lowest to highest level, the earlier of equals "
        "first; the zeros come first by themselves.",
        "In all, (level == 0).sum() + int(ratio * w) rows are kept: the first of that order.",
    ),
    reference=sskd.keep_lowest,
    cases=(
        (torch.tensor([0, 3, 0, 1, 7, 2, 0, 5, 1]), 0.75),
        (torch.tensor([2, 0, 2, 1]), 0.5),
        (torch.tensor([1, 1, 2, 0]), 0.5),
    ),
    mistakes={
        "The share was taken of all rows, right ones included. It belongs to the wrong ones only; right answers "
        "are always worth passing on.": _share_of_all,
        "The highest levels were kept: the answers on which the teacher errs most. A student should learn its "
        "small errors rather than its large ones.": _highest,
        "The number was rounded up. It is rounded down: int() cuts off what follows the decimal point.": _rounded_up,
        "All rows as low as the last one kept were kept too. Among equals only the earlier ones are, so that "
        "the number is exact.": _with_ties,
        "The right answers are missing. They have level 0 and are always kept.": lambda level, ratio: (
            sskd.keep_lowest(level, ratio) & (level > 0)
        ),
    },
    solution="""
        import torch

        def keep_lowest(level, ratio):
            right = int((level == 0).sum())
            count = right + int(ratio * (len(level) - right))
            kept = torch.zeros(len(level), dtype=torch.bool)
            kept[torch.sort(level, stable=True).indices[:count]] = True
            return kept
    """,
)
