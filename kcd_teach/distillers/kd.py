"""Knowledge distillation with softened logits (Hinton, Vinyals, Dean 2015, arXiv 1503.02531)."""

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_between, check_logits


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """How far the student's softened prediction is from the teacher's.

    .. math:: T^2 / B sum_b KL( softmax(z_T / T) || softmax(z_S / T) )                         (KCD paper Eq. 1)

    The factor T squared keeps the gradient's size when T changes, since softening shrinks it by that much.

    Args:
        student_logits: z_S, floating-point [B, C], finite.
        teacher_logits: z_T, [B, C]; no gradient flows into it.
        temperature: T, positive and finite; 4 in the benchmark.

    Returns:
        Scalar, in nats times T squared, at least 0; 0 where both predict the same.

    Example:
        >>> import torch
        >>> z = torch.tensor([[2.0, 0.0, -1.0]])
        >>> kd_loss(z, z).item()
        0.0
    """
    check_logits("student_logits", student_logits)
    check_logits("teacher_logits", teacher_logits)
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student_logits and teacher_logits must have one shape, got {list(student_logits.shape)} "
            f"and {list(teacher_logits.shape)}; do student and teacher have the same classes?"
        )
    check_between("temperature", temperature, 0, float("inf"), open_low=True)
    log_p_student = F.log_softmax(student_logits / temperature, dim=1)
    log_p_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    divergence = F.kl_div(log_p_student, log_p_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


class KD(nn.Module):
    """Cross-entropy with the labels plus the distillation loss, ``r CE + a KD_T``.

    Args:
        temperature: T of :func:`kd_loss`.
        label_weight: r, 0.1 in the benchmark.
        teacher_weight: a, 0.9 in the benchmark.
    """

    def __init__(self, temperature: float = 4.0, label_weight: float = 0.1, teacher_weight: float = 0.9) -> None:
        super().__init__()
        check_between("temperature", temperature, 0, float("inf"), open_low=True)
        check_between("label_weight", label_weight, 0, float("inf"))
        check_between("teacher_weight", teacher_weight, 0, float("inf"))
        self.temperature, self.label_weight, self.teacher_weight = temperature, label_weight, teacher_weight

    def forward(self, labels: Tensor, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Scalar loss of a batch: labels int64 [B], logits [B, C]."""
        hard = F.cross_entropy(student_logits, labels)
        return self.label_weight * hard + self.teacher_weight * kd_loss(
            student_logits, teacher_logits, self.temperature
        )

    def extra_repr(self) -> str:
        """What printing the module shows."""
        return f"temperature={self.temperature}, label_weight={self.label_weight}, teacher_weight={self.teacher_weight}"


class LabelsOnly(nn.Module):
    """Cross-entropy with the labels and nothing else: a network trained alone."""

    def forward(self, labels: Tensor, student_logits: Tensor, teacher_logits: Tensor | None = None) -> Tensor:
        """Scalar loss of a batch: labels int64 [B], student_logits [B, C]; there is no teacher."""
        return F.cross_entropy(student_logits, labels)
