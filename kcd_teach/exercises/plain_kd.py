"""Exercises of notebook 01: what does a teacher know that labels don't?"""

import torch
from torch import Tensor

from kcd_teach.distillers.kd import kd_loss as library_kd_loss
from kcd_teach.exercises.exercise import Exercise


def _soften(logits: Tensor, temperature: float) -> Tensor:
    return torch.softmax(logits / temperature, dim=1)


soften = Exercise(
    name="soften",
    task="Turn logits [B, C] into probabilities [B, C] softened at a temperature: softmax(logits / T) for each sample.",
    minutes=3,
    hints=(
        "Each row belongs to one sample; its probabilities must sum to 1.",
        "A high temperature brings the logits closer together before the softmax is taken.",
        "torch.softmax takes the dimension along which the result sums to 1: the classes are dimension 1.",
    ),
    reference=_soften,
    cases=(
        (torch.tensor([[2.0, 0.0, -1.0], [1.0, 1.0, 1.0], [0.0, 3.0, 0.0]]), 2.0),
        (torch.tensor([[4.0, 2.0, 0.0, -2.0], [0.0, 0.0, 1.0, 1.0], [8.0, 0.0, 0.0, 4.0]]), 4.0),
    ),
    mistakes={
        "The softmax ran over the batch, so columns sum to 1 and what is said about one sample depends on the others. "
        "Classes are dimension 1.": lambda z, t: torch.softmax(z / t, dim=0),
        "The logits were multiplied by T. That sharpens the prediction; dividing softens it.": lambda z, t: (
            torch.softmax(z * t, dim=1)
        ),
        "The probabilities were divided by T, not the logits. Rows then sum to 1/T, and the classes keep their "
        "proportions: nothing was softened.": lambda z, t: torch.softmax(z, dim=1) / t,
        "The temperature was not used: this is the prediction at T = 1, where the favourite class "
        "hides the others.": lambda z, t: torch.softmax(z, dim=1),
        "These are logarithms of probabilities. A loss can use them, but here the probabilities themselves "
        "are asked for.": lambda z, t: torch.log_softmax(z / t, dim=1),
    },
    solution="""
        import torch

        def soften(logits, temperature):
            return torch.softmax(logits / temperature, dim=1)
    """,
)


def _teacher_not_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_p_student = torch.log_softmax(student_logits / temperature, dim=1)
    log_p_teacher = torch.log_softmax(teacher_logits, dim=1)
    return temperature**2 * (log_p_teacher.exp() * (log_p_teacher - log_p_student)).sum(dim=1).mean()


kd_loss = Exercise(
    name="kd_loss",
    task=(
        "Compute the distillation loss of a batch, in nats times T squared: the Kullback-Leibler divergence of the "
        "student's softened prediction from the teacher's, summed over classes, averaged over samples, times T squared."
    ),
    minutes=8,
    hints=(
        "Soften both sides with the same T. For one sample: sum over classes of p_T * (ln p_T - ln p_S).",
        "log_softmax(z / T, dim=1) gives the logarithms without ever taking the logarithm of 0.",
        "F.kl_div(log_p_student, log_p_teacher, log_target=True, reduction='batchmean') has the student first "
        "and divides by the number of samples; T squared is still missing.",
    ),
    reference=library_kd_loss,
    cases=(
        (
            torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]]),
            torch.tensor([[3.0, 1.0, -2.0], [0.0, 2.0, 1.0], [2.0, 0.0, 4.0]]),
            4.0,
        ),
        (
            torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]]),
            torch.tensor([[5.0, 0.0, 1.0, 2.0], [0.0, 4.0, 2.0, 0.0], [3.0, 2.0, 1.0, 0.0]]),
            2.0,
        ),
    ),
    mistakes={
        "The factor T squared is missing. Softening shrinks the gradient by about that much; without the factor "
        "distillation fades as T grows.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) / t**2,
        "Student and teacher are swapped. The divergence is not symmetric: the teacher's probabilities are the "
        "weights, so that the student learns wherever "
        "the teacher sees something.": lambda z_s, z_t, t: library_kd_loss(z_t, z_s, t),
        "The mean was taken over all elements, classes too (reduction='mean'). Divide by the number of samples only "
        "(reduction='batchmean'), or more classes make "
        "a smaller loss.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) / z_s.shape[1],
        "The samples were added up, not averaged (reduction='sum'). The loss, and with it every step, would grow "
        "with the batch.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) * len(z_s),
        "Only the student was softened. Both need the same T, or the loss is not 0 "
        "where they agree.": _teacher_not_softened,
    },
    solution="""
        from torch.nn import functional as F

        def kd_loss(student_logits, teacher_logits, temperature):
            log_p_student = F.log_softmax(student_logits / temperature, dim=1)
            log_p_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
            divergence = F.kl_div(log_p_student, log_p_teacher, log_target=True, reduction="batchmean")
            return divergence * temperature**2
    """,
)
