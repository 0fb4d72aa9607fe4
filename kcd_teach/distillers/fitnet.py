"""FitNet: hints from a middle layer (Romero et al. 2015, arXiv 1412.6550), in the benchmark's one-stage form.

The original first fits the hint and then distils, without BatchNorm in its regressor; the published numbers are those of
this form, where hint and labels are learned together.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps
from kcd_teach.recipe import full_precision


@full_precision
def fitnet_loss(student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
    """Mean squared difference of two feature maps.

    .. math:: mean( (r(f_S) - f_T)^2 )

    Args:
        student_feature: r(f_S), the student's map after the regressor, [B, C, H, W].
        teacher_feature: f_T, [B, C, H, W]; no gradient flows into it.

    Returns:
        Scalar, at least 0; 0 where both are equal.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> import torch
        >>> fitnet_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)).item()
        9.0
    """
    check_features(student_feature, teacher_feature, "B C H W")
    if student_feature.shape != teacher_feature.shape:
        raise ValueError(
            f"the regressor must bring the student's map to the teacher's shape, got {list(student_feature.shape)} and "
            f"{list(teacher_feature.shape)}"
        )
    return F.mse_loss(student_feature, teacher_feature.detach())


def regressor(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU from the student's shape [c, h, w] to the teacher's.

    Raises:
        ValueError: heights that no convolution of the benchmark joins.
    """
    (s_width, s, _), (t_width, t, _) = student, teacher
    if s == 2 * t:
        convolution: nn.Module = nn.Conv2d(s_width, t_width, 3, stride=2, padding=1)
    elif 2 * s == t:
        convolution = nn.ConvTranspose2d(s_width, t_width, 4, stride=2, padding=1)
    elif s >= t:
        convolution = nn.Conv2d(s_width, t_width, 1 + s - t)
    else:
        raise ValueError(
            f"fitnet joins maps of equal size, of twice or half the size, or a larger student's; the student's map is "
            f"{s} pixels high and the teacher's {t}"
        )
    return nn.Sequential(convolution, nn.BatchNorm2d(t_width), nn.ReLU())


class FitNet(Distiller):
    """Labels plus 100 times :func:`fitnet_loss` on f2; learns the regressor from the student's map to the teacher's.

    Args:
        taps: of the pair.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True)

    def __init__(self, taps: Taps, method_weight: float = 100.0, **weights: float) -> None:
        super().__init__(method_weight=method_weight, **weights)
        self.regressor = regressor(*taps.middle("fitnet")[1])

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare f2."""
        return fitnet_loss(self.regressor(student.features[2]), teacher.features[2])
