"""CRD: contrastive representation distillation (Tian, Krishnan, Isola 2020, arXiv 1910.10699)."""

from torch import Tensor

from kcd_teach.distillers.base import Batch, Distiller, Outputs, Taps
from kcd_teach.distillers.contrast import ContrastMemory, contrast_needs, exponentials, first_normalisers
from kcd_teach.recipe import full_precision

EPSILON = 1e-7


def noise_contrast(exponential: Tensor, normaliser: Tensor, num_samples: int) -> Tensor:
    """Noise-contrastive loss l(o) of the positive, column 0, against K negatives: scalar, of exponentials [B, 1 + K]."""
    if exponential.ndim != 2 or exponential.shape[1] < 2:
        raise ValueError(f"exponentials must be [B, 1 + K] with K at least 1, got {list(exponential.shape)}")
    odds = exponential / normaliser
    noise = (exponential.shape[1] - 1) / num_samples
    own, others = odds[:, :1], odds[:, 1:]
    likelihood = (own / (own + noise + EPSILON)).log().sum() + (noise / (others + noise + EPSILON)).log().sum()
    return -likelihood / len(odds)


@full_precision
def crd_loss(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    contrasts: Tensor,
    normalisers: Tensor | None = None,
    temperature: float = 0.07,
) -> Tensor:
    """Noise-contrastive loss of each network's embeddings against the other network's of the same and of K other samples.

    .. math::
        o(i, k) = exp(M[k] . v(i) / tau) / Z,   q = K / N
        l = -1/B sum_i [ ln o(i,0) / (o(i,0) + q + e) + sum_{k>=1} ln q / (o(i,k) + q + e) ],   L = l(o_S) + l(o_T)

    Own sample and others come from the banks, which get no gradient: what is pulled together are today's embedding and
    the other network's when the sample was last shown.

    Args:
        student_embedding, teacher_embedding: v, unit length, [B, d]; gradients flow into both.
        student_bank, teacher_bank: M, [N, d].
        contrasts: int64 [B, 1 + K], the own id first.
        normalisers: Z_S and Z_T, [2], of the run's first batch; by default those of this batch.
        temperature: tau.

    Returns:
        Scalar, positive, nats.

    Example:
        >>> import torch
        >>> unit = torch.eye(2)
        >>> round(crd_loss(unit, unit, unit, unit, torch.tensor([[0, 1], [1, 0]])).item(), 4)
        0.8109
    """
    arguments = (student_embedding, teacher_embedding, student_bank, teacher_bank, contrasts)
    of_student, of_teacher = exponentials(*arguments, temperature)
    num_samples = len(student_bank)
    if normalisers is None:
        normalisers = first_normalisers(of_student, of_teacher, num_samples)
    loss_of_student = noise_contrast(of_student, normalisers[0], num_samples)
    return loss_of_student + noise_contrast(of_teacher, normalisers[1], num_samples)


class CRD(Distiller):
    """Labels, KD and 0.8 times :func:`crd_loss` on the pooled features, as in the row "CRD" of the KCD table.

    That row is CRD + KD (a = 1); ``teacher_weight=0`` gives CRD alone. Banks are indexed by sample id and keep all N
    rows when samples are dropped; negatives come from the samples still shown, whose rows are fresh (our choice).

    Args:
        taps: of the pair.
        negatives: K.
        negatives_from: ``"active"`` or ``"all"`` samples of other classes.
        size: of the embeddings.
        momentum: share of a bank's row that a refreshment keeps.
        contrast_temperature: tau.
        weights: of :class:`~kcd_teach.distillers.base.Distiller`.
    """

    compares = "contrasts"

    def __init__(
        self,
        taps: Taps,
        negatives: int = 16384,
        negatives_from: str = "active",
        size: int = 128,
        momentum: float = 0.5,
        contrast_temperature: float = 0.07,
        teacher_weight: float = 1.0,
        method_weight: float = 0.8,
        **weights: float,
    ) -> None:
        super().__init__(teacher_weight=teacher_weight, method_weight=method_weight, **weights)
        self.needs = contrast_needs(negatives, negatives_from)
        self.memory = ContrastMemory(*taps.widths, size, momentum, contrast_temperature)

    def begin(self, num_samples: int) -> None:
        """Make room for both embeddings of each sample."""
        self.memory.make_room(num_samples)

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """Contrast the batch with the banks as they are, then refresh them."""
        contrast = self.memory.contrast(student.features[-1], teacher.features[-1], batch.contrasts)
        loss = crd_loss(*contrast, temperature=self.memory.temperature)
        self.memory.refresh(batch.ids, contrast.student_embedding, contrast.teacher_embedding)
        return loss

    def constants(self) -> tuple[str, ...]:
        """The needs, which hold the number of negatives and where they come from."""
        return ("needs",)
