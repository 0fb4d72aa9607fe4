"""E-step: what is each piece of knowledge worth to this student? (Online Global Value Estimation, paper Eq. 7-8, 12-13)"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import NotFinite, check_ids, check_logits


def prediction_entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted class distribution, the momentary value of a sample (paper Eq. 7).

    .. math:: h = - sum_c p_c ln p_c,  p = softmax(logits)

    Args:
        logits: floating-point [B, C], finite.

    Returns:
        [B], in nats, from 0 (certain) to ln C (no idea), without gradient.

    Example:
        >>> prediction_entropy(torch.tensor([[0.0, 0.0], [1e4, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    check_logits("logits", logits)
    precision = torch.promote_types(logits.dtype, torch.float32)
    # softmax first and log after would give 0 ln 0 = NaN at large gaps between logits.
    log_p = F.log_softmax(logits.detach(), dim=1, dtype=precision)
    return 0.0 - (log_p.exp() * log_p).sum(dim=1)


class ValueRecord:
    """Running mean of every sample's entropies, and how often it was recorded: 2 N numbers, whatever the epochs.

    .. math:: F <- F + 1,  V <- V (F-1)/F + h/F                                              (paper Eq. 12)

    Attributes:
        frequency: F, int64 [N], times each sample has been recorded.
        mean: V, float64 [N], mean of its recorded entropies in nats; 0 where F = 0.
    """

    def __init__(self, num_samples: int) -> None:
        self.frequency = torch.zeros(num_samples, dtype=torch.int64)
        self.mean = torch.zeros(num_samples, dtype=torch.float64)

    def add(self, ids: Tensor, values: Tensor) -> None:
        """Record one value for each of ``ids`` (int64 [B], distinct); ``values`` floating-point [B], finite."""
        check_ids("indices", ids, len(self.mean))
        if values.shape != ids.shape:
            raise ValueError(f"values must have shape {list(ids.shape)} like indices, got {list(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise NotFinite("values must be finite, got NaN or infinity")
        self.frequency[ids] += 1
        # In float32 the mean drifts enough to swap ranks, hence pairs, in a run of 120 epochs.
        self.mean[ids] += (values.double() - self.mean[ids]) / self.frequency[ids]

    @property
    def total(self) -> Tensor:
        """Sum of every sample's recorded entropies, float64 [N], nats."""
        return self.mean * self.frequency


def cost_aware_score(value: Tensor, frequency: Tensor, alpha: float) -> Tensor:
    """Score by which samples are ranked: of two alike, the one shown more often comes first (paper Eq. 13).

    .. math:: score = V F^alpha

    Args:
        value: V, float64 [N], nats.
        frequency: F, int64 [N].
        alpha: exponent, 0 ignores the frequency; 0.03 in the authors' code.

    Returns:
        float64 [N]; higher = more valuable.
    """
    return value * frequency.double().pow(alpha)


def rank(score: Tensor) -> Tensor:
    """Ids from the highest score to the lowest, int64 [N]; equal scores in order of id.

    Example:
        >>> rank(torch.tensor([0.1, 0.9, 0.9, 0.5]))
        tensor([1, 2, 3, 0])
    """
    return torch.sort(score, descending=True, stable=True).indices
