"""SP: similarity-preserving distillation (Tung and Mori 2019, arXiv 1907.09682)."""

from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps
from kcd_teach.recipe import full_precision


def similarities(feature: Tensor) -> Tensor:
    """Inner products of all pairs of a batch [B, ..], every row of unit length (L2), [B, B]."""
    flat = feature.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


@full_precision
def sp_loss(student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
    """Mean squared difference of the similarity matrices of two networks for a batch.

    .. math:: 1 / B^2 || G_T - G_S ||_F^2,   G = F F^T with rows of unit length, F the features flattened to [B, C H W]

    Sizes and channels need not match. Behaves like 1 / B: a small last batch weighs more.

    Args:
        student_feature: [B, ..].
        teacher_feature: [B, ..]; no gradient flows into it.

    Returns:
        Scalar, 0 .. 4 / B; 0 where the similarities agree, and for a batch of one.

    Example:
        >>> import torch
        >>> alike, apart = torch.ones(2, 3), torch.eye(2)
        >>> round(sp_loss(alike, 7 * alike).item(), 4), round(sp_loss(alike, apart).item(), 4)
        (0.0, 0.2929)
    """
    check_features(student_feature, teacher_feature, "B ...")
    return F.mse_loss(similarities(student_feature), similarities(teacher_feature.detach()))


class SP(Distiller):
    """Labels plus 3000 times :func:`sp_loss` on the last feature map.

    Args:
        taps: of the pair.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True)
    compares = "relations"

    def __init__(self, taps: Taps, method_weight: float = 3000.0, **weights: float) -> None:
        super().__init__(method_weight=method_weight, **weights)

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare f_{last-1}."""
        return sp_loss(student.features[-2], teacher.features[-2])
