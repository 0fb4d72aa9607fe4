"""RKD: relational knowledge distillation (Park et al. 2019, arXiv 1904.05068)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_between, check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps
from kcd_teach.recipe import full_precision


def relative_distances(embedding: Tensor) -> Tensor:
    """Euclidean distances of all pairs of a batch [B, D], relative to their mean, [B, B]."""
    squares = embedding.pow(2).sum(dim=1)
    # The maximum comes before the root: the root of 0 has an infinite gradient.
    squared = (squares[:, None] + squares[None, :] - 2 * embedding @ embedding.T).clamp(min=1e-12)
    others = ~torch.eye(len(embedding), dtype=torch.bool, device=embedding.device)
    distances = torch.where(others, squared.sqrt(), 0.0)
    return distances / (distances.sum() / others.sum())


def angles(embedding: Tensor) -> Tensor:
    """Cosines of the angles at i in all triples (i, j, k) of a batch [B, D], [B, B, B]."""
    directions = F.normalize(embedding[None, :, :] - embedding[:, None, :], dim=2)
    return directions @ directions.transpose(1, 2)


@full_precision
def rkd_loss(
    student_embedding: Tensor, teacher_embedding: Tensor, distance_weight: float = 25.0, angle_weight: float = 50.0
) -> Tensor:
    """Differences of two networks in the distances of pairs and the angles of triples of a batch.

    .. math:: 25 mean_{ij} h(d^S_{ij} - d^T_{ij}) + 50 mean_{ijk} h(a^S_{ijk} - a^T_{ijk}),   h = smooth L1

    Args:
        student_embedding: pooled features, [B, D], B at least 2.
        teacher_embedding: [B, D']; no gradient flows into it.
        distance_weight, angle_weight: 25 and 50 in the benchmark.

    Returns:
        Scalar, at least 0; 0 where one arrangement is a rotated, shifted and scaled copy of the other.

    Example:
        >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        >>> round(rkd_loss(square, 3 * square + 5).item(), 4)
        0.0
    """
    check_features(student_embedding, teacher_embedding, "B D", least=2)
    teacher_embedding = teacher_embedding.detach()
    distance = F.smooth_l1_loss(relative_distances(student_embedding), relative_distances(teacher_embedding))
    angle = F.smooth_l1_loss(angles(student_embedding), angles(teacher_embedding))
    return distance_weight * distance + angle_weight * angle


class RKD(Distiller):
    """Labels plus :func:`rkd_loss` on the pooled features.

    Args:
        taps: of the pair.
        distance_weight, angle_weight: of :func:`rkd_loss`.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True, smallest_batch=2)
    compares = "relations"

    def __init__(self, taps: Taps, distance_weight: float = 25.0, angle_weight: float = 50.0, **weights: float) -> None:
        super().__init__(**weights)
        self.distance_weight = check_between("distance_weight", distance_weight, 0, float("inf"))
        self.angle_weight = check_between("angle_weight", angle_weight, 0, float("inf"))

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare the pooled features."""
        return rkd_loss(student.features[-1], teacher.features[-1], self.distance_weight, self.angle_weight)

    def constants(self) -> tuple[str, ...]:
        """Constants of :func:`rkd_loss`."""
        return "distance_weight", "angle_weight"
