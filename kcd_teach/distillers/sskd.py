"""SSKD: self-supervised knowledge distillation (Xu, Liu, Li, Loy, ECCV 2020, arXiv 2006.07114).

Every image comes four times, rotated by 0, 90, 180 and 270 degrees. The teacher learns a head that recognises an image
among the batch whatever its rotation; the student learns the teacher's logits of rotated images (TF) and their
similarities with the images of the batch (SS).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_between, check_features, check_logits
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps
from kcd_teach.recipe import full_precision

VIEWS = 4
SIMILARITY_TEMPERATURE = 0.5


def normal_and_rotated(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Split [4 B, ..], image by image, into the unrotated [B, ..] and the rotated [3 B, ..]."""
    if len(rows) % VIEWS:
        raise ValueError(f"four views of every image are needed, got {len(rows)} rows")
    by_image = rows.unflatten(0, (-1, VIEWS))
    return by_image[:, 0], by_image[:, 1:].flatten(0, 1)


def similarity(projections: Tensor) -> Tensor:
    """Cosines of every rotated view with every unrotated one, [3 B, B], of projections [4 B, D]."""
    normal, rotated = normal_and_rotated(F.normalize(projections, dim=1))
    return rotated @ normal.T


def own_image(projections: Tensor) -> Tensor:
    """Which image each rotated view came from: 0 0 0 1 1 1 .., int64 [3 B]."""
    count = len(projections) // VIEWS
    return torch.arange(count, device=projections.device).repeat_interleave(VIEWS - 1)


def select_by_error_level(scores: Tensor, truth: Tensor, ratio: float) -> Tensor:
    """Rows in which the teacher's error is small enough for distillation, bool [n] (error-level ranking).

    The level of a row is the number of scores above the true one. All rows of level 0 are kept, and of the w others
    the floor(ratio w) of lowest level, ties by position.

    Args:
        scores: [n, C].
        truth: int64 [n], 0 .. C - 1.
        ratio: in [0, 1].

    Example:
        >>> scores = torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
        >>> select_by_error_level(scores, torch.tensor([0, 1, 1]), 0.5)
        tensor([ True,  True, False])
    """
    level = (scores > scores.gather(1, truth[:, None])).sum(dim=1)
    return keep_lowest(level, ratio)


def keep_lowest(level: Tensor, ratio: float) -> Tensor:
    """Mark all zeros of int64 [n], and of the w other entries the floor(ratio w) lowest, ties by position."""
    right = (level == 0).sum()
    kept = right + ((len(level) - right).double() * ratio).floor()
    rank = torch.empty_like(level)
    rank[torch.sort(level, stable=True).indices] = torch.arange(len(level), device=level.device)
    return rank < kept


def kept_divergence(student: Tensor, teacher: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean KL divergence of softened scores [n, C] over the rows kept, bool [n]."""
    log_p_student = F.log_softmax(student / temperature, dim=1)
    log_p_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    rows = F.kl_div(log_p_student, log_p_teacher, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * (rows * kept).sum() / kept.sum().clamp(min=1)


@full_precision
def transformed_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float = 4.0, ratio: float = 1.0
) -> Tensor:
    """TF: distillation on the rotated views, of those in which the teacher's error is small.

    Args:
        student_logits, teacher_logits: [4 B, C], image by image.
        labels: int64 [B].
        temperature: T.
        ratio: share of the views which the teacher gets wrong that is kept; 1 keeps all.

    Returns:
        Scalar, at least 0.
    """
    for name, logits in (("student_logits", student_logits), ("teacher_logits", teacher_logits)):
        check_logits(name, logits)
    if student_logits.shape != teacher_logits.shape or len(student_logits) != VIEWS * len(labels):
        raise ValueError(
            f"student_logits and teacher_logits must be [4 B, C] for B labels, got {list(student_logits.shape)}, "
            f"{list(teacher_logits.shape)} and {len(labels)} labels"
        )
    _, student = normal_and_rotated(student_logits)
    _, teacher = normal_and_rotated(teacher_logits.detach())
    kept = select_by_error_level(teacher, labels.repeat_interleave(VIEWS - 1), ratio)
    return kept_divergence(student, teacher, kept, temperature)


@full_precision
def similarity_loss(student_projections: Tensor, teacher_projections: Tensor, ratio: float = 0.75) -> Tensor:
    """SS: distillation of the similarities of every rotated view with the images of the batch.

    Args:
        student_projections: [4 B, D], image by image.
        teacher_projections: [4 B, D'].
        ratio: share of the views which the teacher gets wrong that is kept.

    Returns:
        Scalar, at least 0.
    """
    check_features(student_projections, teacher_projections, "4B D")
    student, teacher = similarity(student_projections), similarity(teacher_projections.detach())
    kept = select_by_error_level(teacher, own_image(teacher_projections), ratio)
    return kept_divergence(student, teacher, kept, SIMILARITY_TEMPERATURE)


@full_precision
def sskd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_projections: Tensor,
    teacher_projections: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    transformed_weight: float = 2.7,
    similarity_weight: float = 10.0,
    transformed_ratio: float = 1.0,
    similarity_ratio: float = 0.75,
) -> Tensor:
    """Loss on rotated views, added to labels and KD on the unrotated ones.

    .. math:: 2.7 TF + 10 SS

    Args:
        student_logits, teacher_logits: [4 B, C], image by image, the unrotated view first.
        student_projections, teacher_projections: outputs of the heads, [4 B, D].
        labels: int64 [B].
        temperature: T of TF; SS uses 0.5.
        transformed_weight, similarity_weight: of :func:`transformed_loss` and :func:`similarity_loss`.
        transformed_ratio, similarity_ratio: shares of the views which the teacher gets wrong that are kept.

    Returns:
        Scalar, at least 0; 0 where both networks agree.
    """
    transformed = transformed_loss(student_logits, teacher_logits, labels, temperature, transformed_ratio)
    similar = similarity_loss(student_projections, teacher_projections, similarity_ratio)
    return transformed_weight * transformed + similarity_weight * similar


@full_precision
def head_loss(projections: Tensor) -> Tensor:
    """Cross-entropy of recognising the own image of every rotated view, without temperature; [4 B, D] to a scalar."""
    return F.cross_entropy(similarity(projections), own_image(projections))


def projection_head(width: int) -> nn.Sequential:
    """Linear, ReLU, Linear, all of the width of the pooled feature."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


class SSKD(Distiller):
    """``0.1 CE + 0.9 KD_4`` on unrotated views plus :func:`sskd_loss`; heads for both networks.

    The teacher's head is learned first, on all samples, over a quarter of the student's epochs (60 of 240), then frozen.

    Args:
        taps: of the pair.
        transformed_weight, similarity_weight, transformed_ratio, similarity_ratio: of :func:`sskd_loss`.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True, rotations=True, preparation=0.25)
    compares = "self-supervision"

    def __init__(
        self,
        taps: Taps,
        transformed_weight: float = 2.7,
        similarity_weight: float = 10.0,
        transformed_ratio: float = 1.0,
        similarity_ratio: float = 0.75,
        label_weight: float = 0.1,
        teacher_weight: float = 0.9,
        **weights: float,
    ) -> None:
        super().__init__(label_weight, teacher_weight, **weights)
        self.transformed_weight = check_between("transformed_weight", transformed_weight, 0, float("inf"))
        self.similarity_weight = check_between("similarity_weight", similarity_weight, 0, float("inf"))
        self.transformed_ratio = check_between("transformed_ratio", transformed_ratio, 0, 1)
        self.similarity_ratio = check_between("similarity_ratio", similarity_ratio, 0, 1)
        self.student_head, self.teacher_head = (projection_head(width) for width in taps.widths)

    def preparation_loss(self, batch: Batch, teacher: Outputs) -> Tensor:
        """:func:`head_loss` of the teacher."""
        return head_loss(self.teacher_head(teacher.features[-1]))

    def preparation_parameters(self) -> list[nn.Parameter]:
        """The teacher's head."""
        return list(self.teacher_head.parameters())

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare the rotated views."""
        with torch.no_grad():
            teacher_projections = self.teacher_head(teacher.features[-1])
        return sskd_loss(
            student.logits,
            teacher.logits,
            self.student_head(student.features[-1]),
            teacher_projections,
            batch.labels,
            temperature=self.temperature,
            **{name: getattr(self, name) for name in self.constants()},
        )

    def constants(self) -> tuple[str, ...]:
        """Constants of :func:`sskd_loss`."""
        return "transformed_weight", "similarity_weight", "transformed_ratio", "similarity_ratio"
