"""ReviewKD: distillation via knowledge review (Chen, Liu, Zhao, Jia, CVPR 2021, arXiv 2104.09044).

Every level of the teacher is compared with a fusion of that level of the student and all deeper ones.

**The loss is the authors', the recipe around it is not.** They train with batches of 128, a rate of 0.1 (0.02 for
MobileNetV2 and the ShuffleNets), Nesterov momentum, another normalisation and drops of the rate one epoch later, and
their teacher is never put in eval mode, so that its BatchNorm goes on with the statistics of each batch. Here ReviewKD is
trained like every other method, with the teacher in eval mode, so that a number obtained with it is not like the
published one (note (g) of :mod:`kcd_teach.benchmark.published`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Shape, Taps
from kcd_teach.recipe import full_precision

WIDEST = 512
WARMUP = 1 / 12
"""Share of the run over which the weight grows from 0 to its full size; 20 of 240 epochs."""

PAIR_WEIGHTS = {
    ("resnet56", "resnet20"): 0.6,
    ("ResNet50", "MobileNetV2"): 30.0,  # reported by a third party
    ("resnet32x4", "ShuffleV2"): 8.0,
}
"""Weights by (teacher, student), where they are not 5: from the authors' scripts, but for the one of a third party.

The scripts have no VGG and no MobileNetV2 as student. So the 5 is theirs for the other pairs of the benchmark, and our
choice for vgg13 > vgg8, vgg13 > MobileNetV2, ResNet50 > vgg8, and for any pair beyond the benchmark.
"""


def hierarchical_context_loss(student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
    """Weighted mean of squared differences of two maps [B, C, h, w]: as they are, and average-pooled to 4, 2, 1 pixels.

    Weights 1, 1/2, 1/4, ..; sizes that are not smaller than the height h are left out.
    """
    height = student_feature.shape[-2]
    losses = [F.mse_loss(student_feature, teacher_feature)]
    for size in (4, 2, 1):
        if size < height:
            student_pooled = F.adaptive_avg_pool2d(student_feature, size)
            losses.append(F.mse_loss(student_pooled, F.adaptive_avg_pool2d(teacher_feature, size)))
    weights = [0.5**level for level in range(len(losses))]
    weighted = (weight * loss for weight, loss in zip(weights, losses, strict=True))
    return sum(weighted, start=student_feature.new_zeros(())) / sum(weights)


@full_precision
def reviewkd_loss(student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
    """Sum of the hierarchical context losses of all levels.

    .. math:: sum_l HCL(u_l, f_l),   HCL = weighted mean of mean squared differences at full size and pooled to 4, 2, 1

    Args:
        student_features: u, the fused maps of the student, [B, C, h, w] each, shallow to deep.
        teacher_features: f, pre-activation, of the same shapes; no gradient flows into them.

    Returns:
        Scalar, at least 0; 0 where all are equal.

    Example:
        >>> reviewkd_loss([torch.zeros(1, 1, 8, 8)], [torch.full((1, 1, 8, 8), 2.0)]).item()
        4.0
    """
    if len(student_features) != len(teacher_features) or not student_features:
        raise ValueError(f"both need the same levels, got {len(student_features)} and {len(teacher_features)}")
    total = torch.zeros((), device=student_features[0].device, dtype=student_features[0].dtype)
    for student, teacher in zip(student_features, teacher_features, strict=True):
        check_features(student, teacher, "B C H W")
        if student.shape != teacher.shape:
            raise ValueError(f"a level must have one shape, got {list(student.shape)} and {list(teacher.shape)}")
        total = total + hierarchical_context_loss(student, teacher.detach())
    return total


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of one level with the residual of the deeper ones.

    Args:
        student_width, teacher_width: channels of the student's and the teacher's map.
        width: of what is handed from level to level.
        deepest: nothing comes from below.
    """

    def __init__(self, student_width: int, teacher_width: int, width: int, deepest: bool) -> None:
        super().__init__()
        narrow = nn.Conv2d(student_width, width, 1, bias=False)
        widen = nn.Conv2d(width, teacher_width, 3, padding=1, bias=False)
        for convolution in (narrow, widen):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.conv1 = nn.Sequential(narrow, nn.BatchNorm2d(width))
        self.conv2 = nn.Sequential(widen, nn.BatchNorm2d(teacher_width))
        self.attention = None if deepest else nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())

    def forward(self, feature: Tensor, deeper: Tensor | None, teacher_sides: torch.Size) -> tuple[Tensor, Tensor]:
        """Map [B, s, h, w] and the residual of the deeper level to ([B, t, H, W], the residual for the next one)."""
        x = self.conv1(feature)
        if self.attention is not None and deeper is not None:
            y = F.interpolate(deeper, size=x.shape[-2:], mode="nearest")
            ours, theirs = self.attention(torch.cat([x, y], dim=1)).chunk(2, dim=1)
            x = x * ours + y * theirs
        if x.shape[-2:] != teacher_sides:
            x = F.interpolate(x, size=teacher_sides, mode="nearest")
        return self.conv2(x), x


class Review(nn.Module):
    """The fusions of all levels, from the deepest up.

    Args:
        levels: pairs of shapes [c, h, w] of student and teacher, shallow to deep; pooled features count as 1 x 1 maps.
    """

    def __init__(self, levels: Sequence[tuple[Shape, Shape]]) -> None:
        super().__init__()
        width = min(WIDEST, levels[-1][0][0])
        last = len(levels) - 1
        self.fusions = nn.ModuleList(Fusion(s[0], t[0], width, i == last) for i, (s, t) in enumerate(levels))

    def forward(self, features: Sequence[Tensor], teacher_sides: Sequence[torch.Size]) -> list[Tensor]:
        """Fused maps, shallow to deep, of the student's features [B, c, h, w] or [B, D]."""
        fused: list[Tensor] = []
        left: Tensor | None = None
        for fusion, feature, sides in reversed(list(zip(self.fusions, features, teacher_sides, strict=True))):
            out, left = fusion(as_map(feature), left, sides)
            fused.insert(0, out)
        return fused


def as_map(feature: Tensor) -> Tensor:
    """A pooled feature [B, D] as a map of one pixel, [B, D, 1, 1]; maps as they are."""
    return feature[:, :, None, None] if feature.ndim == 2 else feature


class ReviewKD(Distiller):
    """Labels plus :func:`reviewkd_loss` on f1 .. f_last, with a weight that grows over the first twelfth of the run.

    Args:
        taps: of the pair; the teacher's are pre-activation.
        method_weight: of the pair by default, :data:`PAIR_WEIGHTS`, else 5.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True, teacher_preact=True, smallest_batch=2)

    def __init__(self, taps: Taps, method_weight: float | None = None, **weights: float) -> None:
        if method_weight is None:
            method_weight = PAIR_WEIGHTS.get((taps.teacher_name, taps.student_name), 5.0)
        super().__init__(method_weight=method_weight, **weights)
        self.review = Review([*taps.middle("reviewkd"), (taps.student[-1], taps.teacher[-1])])
        self.warmup = 1.0

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Let the weight grow: 0 in the first epoch, full after a twelfth of all."""
        self.warmup = min(1.0, epoch / (WARMUP * epochs))

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare f1 .. f_last."""
        targets = [as_map(feature) for feature in teacher.features[1:]]
        fused = self.review(student.features[1:], [target.shape[-2:] for target in targets])
        return self.warmup * reviewkd_loss(fused, targets)
