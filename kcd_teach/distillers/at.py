"""AT: attention transfer (Zagoruyko and Komodakis 2017, arXiv 1612.03928)."""

from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps, to_common_size
from kcd_teach.recipe import full_precision


def attention(feature: Tensor) -> Tensor:
    """Attention map: mean over the channels of the squares of a map [B, C, H, W], at unit length, [B, H W]."""
    return F.normalize(feature.pow(2).mean(dim=1).flatten(1), dim=1)


@full_precision
def at_loss(student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
    """Mean squared difference of the attention maps of two networks at one layer.

    .. math:: mean_{b,i} ( q(f_S)_{b,i} - q(f_T)_{b,i} )^2,   q = normalised mean of squares over the channels

    Maps of different size are compared at the smaller one, the larger average-pooled to it.

    Args:
        student_feature: f_S, [B, C, H, W].
        teacher_feature: f_T, [B, C', H', W']; no gradient flows into it.

    Returns:
        Scalar, 0 .. 2 / (H W); 0 where both attend to the same positions.

    Example:
        >>> import torch
        >>> left, right = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
        >>> at_loss(left, 5 * left).item(), at_loss(left, right).item()
        (0.0, 1.0)
    """
    check_features(student_feature, teacher_feature, "B C H W")
    student_map, teacher_map = to_common_size(student_feature, teacher_feature.detach())
    return F.mse_loss(attention(student_map), attention(teacher_map))


class AT(Distiller):
    """Labels plus 1000 times the sum of :func:`at_loss` over the middle features.

    Args:
        taps: of the pair.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True)

    def __init__(self, taps: Taps, method_weight: float = 1000.0, **weights: float) -> None:
        super().__init__(method_weight=method_weight, **weights)
        taps.middle("at")

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare f1 .. f_{last-1}."""
        pairs = zip(student.features[1:-1], teacher.features[1:-1], strict=True)
        return sum((at_loss(s, t) for s, t in pairs), start=student.logits.new_zeros(()))
