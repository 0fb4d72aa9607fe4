"""PKT: probabilistic knowledge transfer (Passalis and Tefas 2018, arXiv 1803.10837)."""

from torch import Tensor

from kcd_teach._checks import check_features
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, Taps
from kcd_teach.recipe import full_precision

EPSILON = 1e-7


def neighbour_probabilities(embedding: Tensor) -> Tensor:
    """Probabilities with which each sample of a batch [B, D] has each one as its neighbour, rows summing to 1, [B, B]."""
    length: Tensor = embedding.norm(dim=1, keepdim=True)
    unit = embedding / (length + EPSILON)
    similarity = ((unit @ unit.T + 1) / 2).clamp(min=0)
    return similarity / similarity.sum(dim=1, keepdim=True)


@full_precision
def pkt_loss(student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
    """KL divergence of the student's neighbour probabilities from the teacher's.

    .. math:: mean_{ij} K_T ln( (K_T + e) / (K_S + e) ),   K = rows of (1 + cos) / 2 divided by their sum, e = 1e-7

    A mean over all B^2 entries, not a sum over the rows; behaves like 1 / B.

    Args:
        student_embedding: pooled features, [B, D].
        teacher_embedding: [B, D']; no gradient flows into it.

    Returns:
        Scalar, nats, at least 0 up to e; 0 where all cosines agree, and for a batch of one.

    Example:
        >>> import torch
        >>> embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> round(pkt_loss(embedding, 3 * embedding).item(), 6)
        0.0
    """
    check_features(student_embedding, teacher_embedding, "B D")
    student = neighbour_probabilities(student_embedding)
    teacher = neighbour_probabilities(teacher_embedding.detach())
    return (teacher * ((teacher + EPSILON) / (student + EPSILON)).log()).mean()


class PKT(Distiller):
    """Labels plus 30000 times :func:`pkt_loss` on the pooled features.

    Args:
        taps: of the pair.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    needs = Needs(features=True)
    compares = "relations"

    def __init__(self, taps: Taps, method_weight: float = 30000.0, **weights: float) -> None:
        super().__init__(method_weight=method_weight, **weights)

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Compare the pooled features."""
        return pkt_loss(student.features[-1], teacher.features[-1])
