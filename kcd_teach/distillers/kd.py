"""KD: knowledge distillation with softened logits (Hinton, Vinyals, Dean 2015, arXiv 1503.02531).

The module that weighs this loss against the labels is :class:`kcd_teach.distillers.KD`, the common frame of all methods
without a loss of its own.
"""

from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_between, check_logits
from kcd_teach.recipe import full_precision


@full_precision
def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """KL divergence of the student's softened prediction from the teacher's, times the squared temperature.

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
