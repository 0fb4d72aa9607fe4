"""VID: variational information distillation (Ahn et al. 2019, arXiv 1904.05835)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps, to_common_size
from kcd_teach.recipe import full_precision

SMALLEST_VARIANCE = 1e-5
FIRST_VARIANCE = 5.0


@full_precision
def vid_loss(predicted_mean: Tensor, teacher_feature: Tensor, variance: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's map under a Gaussian that the student predicts, without its constant.

    .. math:: mean( 1/2 ( (m - f_T)^2 / v + ln v ) )

    Args:
        predicted_mean: m, from the student's map, [B, C, H, W].
        teacher_feature: f_T, [B, C, H, W]; no gradient flows into it.
        variance: v, positive, [C].

    Returns:
        Scalar, in nats per element; may be negative.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> vid_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0), torch.ones(1)).item()
        4.5
    """
    check_features(predicted_mean, teacher_feature, "B C H W")
    if predicted_mean.shape != teacher_feature.shape or variance.shape != (teacher_feature.shape[1],):
        raise ValueError(
            f"predicted_mean and teacher_feature must have one shape [B, C, H, W] and variance [C], got "
            f"{list(predicted_mean.shape)}, {list(teacher_feature.shape)} and {list(variance.shape)}"
        )
    spread = variance[:, None, None]
    return (0.5 * ((predicted_mean - teacher_feature.detach()).pow(2) / spread + spread.log())).mean()


class Gaussian(nn.Module):
    """Prediction of a teacher's map [B, t, h, w] from a student's [B, s, h, w]: a mean, and a variance per channel."""

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(student_width, teacher_width, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_width, teacher_width, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_width, teacher_width, 1, bias=False),
        )
        # The inverse of the softplus in `variance`.
        self.log_scale = nn.Parameter(
            torch.full((teacher_width,), math.log(math.expm1(FIRST_VARIANCE - SMALLEST_VARIANCE)))
        )

    @property
    def variance(self) -> Tensor:
        """Positive, [t]; 5 at the start."""
        return F.softplus(self.log_scale) + SMALLEST_VARIANCE

    def forward(self, student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
        """:func:`vid_loss` at one layer, the larger map average-pooled to the size of the smaller."""
        student_map, teacher_map = to_common_size(student_feature, teacher_feature)
        return vid_loss(self.mean(student_map), teacher_map, self.variance)


class VID(Distiller):
    """Labels plus the sum of :func:`vid_loss` over the middle features; learns a :class:`Gaussian` for each.

    Args:
        taps: of the pair.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True)

    def __init__(self, taps: Taps, **weights: float) -> None:
        super().__init__(**weights)
        self.gaussians = nn.ModuleList(Gaussian(s[0], t[0]) for s, t in taps.middle("vid"))

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare f1 .. f_{last-1}."""
        pairs = zip(self.gaussians, student.features[1:-1], teacher.features[1:-1], strict=True)
        return sum((gaussian(s, t) for gaussian, s, t in pairs), start=student.logits.new_zeros(()))
