"""The memory of contrastive methods: two banks of embeddings, one of each network, from which negatives come."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_at_least, check_between, check_choice, check_features
from kcd_teach.distillers.base import Needs


def contrast_needs(negatives: int, negatives_from: str) -> Needs:
    """What a contrastive method needs of the loop."""
    return Needs(
        features=True,
        negatives=check_at_least("negatives", negatives, 1),
        negatives_from=check_choice("negatives_from", negatives_from, ("active", "all")),
    )


def scores(anchor: Tensor, bank: Tensor, contrasts: Tensor) -> Tensor:
    """Inner products of anchors [B, d] with the rows of a bank [N, d] named by ``contrasts``, [B, 1 + K].

    One product with the whole bank, of which the wanted entries are picked: it never copies B K rows.
    """
    return (anchor @ bank.detach().T).gather(1, contrasts)


def exponentials(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    contrasts: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """exp(score / tau) of the student against the teacher's bank and the other way round, [B, 1 + K] each."""
    check_contrast(student_embedding, teacher_embedding, student_bank, teacher_bank, contrasts)
    check_between("temperature", temperature, 0, float("inf"), open_low=True)
    return (
        (scores(student_embedding, teacher_bank, contrasts) / temperature).exp(),
        (scores(teacher_embedding, student_bank, contrasts) / temperature).exp(),
    )


def first_normalisers(student_exponentials: Tensor, teacher_exponentials: Tensor, num_samples: int) -> Tensor:
    """Z_S and Z_T, [2], constants for the gradient: N times the mean exponential of a batch, the run's first."""
    return num_samples * torch.stack([student_exponentials.mean(), teacher_exponentials.mean()]).detach()


def check_embeddings(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless both are [B, d]."""
    check_features(student, teacher, "B D")
    if student.shape != teacher.shape:
        raise ValueError(f"both embeddings must have one width, got {student.shape[1]} and {teacher.shape[1]}")


def check_contrast(student: Tensor, teacher: Tensor, student_bank: Tensor, teacher_bank: Tensor, ids: Tensor) -> None:
    """Raise ValueError unless embeddings [B, d], banks [N, d] and contrasts int64 [B, 1 + K] fit together."""
    check_embeddings(student, teacher)
    for name, bank in (("student_bank", student_bank), ("teacher_bank", teacher_bank)):
        if bank.ndim != 2 or bank.shape[1] != student.shape[1]:
            raise ValueError(f"{name} must be [N, {student.shape[1]}] like the embeddings, got {list(bank.shape)}")
    if len(student_bank) != len(teacher_bank):
        raise ValueError(f"both banks must have a row per sample, got {len(student_bank)} and {len(teacher_bank)}")
    if ids.dtype != torch.int64 or ids.ndim != 2 or ids.shape[0] != len(student) or ids.shape[1] < 2:
        raise ValueError(
            f"contrasts must be int64 [{len(student)}, 1 + K] with K at least 1, got {ids.dtype} {list(ids.shape)}"
        )


class Contrast(NamedTuple):
    """The first arguments of :func:`~kcd_teach.distillers.crd.crd_loss`, in order."""

    student_embedding: Tensor
    teacher_embedding: Tensor
    student_bank: Tensor
    teacher_bank: Tensor
    contrasts: Tensor
    normalisers: Tensor


class ContrastMemory(nn.Module):
    """Linear embeddings of both networks' pooled features, and a bank of each, one row per sample.

    The bank of the teacher's embeddings is what the student is contrasted with, and the other way round. A row is
    refreshed by half whenever its sample is shown; rows of samples that are not shown grow stale.

    Args:
        student_width, teacher_width: D of the pooled features.
        size: of the embeddings.
        momentum: share of a row that a refreshment keeps, in [0, 1].
        temperature: tau, positive.

    Attributes:
        student_embed, teacher_embed: the linear maps; both are learned.
        student_bank, teacher_bank: [N, size]; empty before :meth:`make_room`.
        normalisers: Z_S and Z_T, [2], of the run's first batch; 0 before it.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    normalisers: Tensor

    def __init__(
        self, student_width: int, teacher_width: int, size: int = 128, momentum: float = 0.5, temperature: float = 0.07
    ) -> None:
        super().__init__()
        size = check_at_least("size", size, 1)
        self.student_embed = nn.Linear(student_width, size)
        self.teacher_embed = nn.Linear(teacher_width, size)
        self.size, self.momentum = size, check_between("momentum", momentum, 0, 1)
        self.temperature = check_between("temperature", temperature, 0, float("inf"), open_low=True)
        for name in ("student_bank", "teacher_bank"):
            self.register_buffer(name, torch.empty(0, size))
        self.register_buffer("normalisers", torch.zeros(2))
        self._first = True

    def make_room(self, num_samples: int) -> None:
        """Fill both banks with N random rows, uniform in +-1 / sqrt(size / 3), of length about 1."""
        bound = 1 / math.sqrt(self.size / 3)
        for name in ("student_bank", "teacher_bank"):
            rows = torch.empty(num_samples, self.size).uniform_(-bound, bound)
            setattr(self, name, rows.to(self.normalisers.device))
        self.normalisers.zero_()
        self._first = True

    def contrast(self, student_feature: Tensor, teacher_feature: Tensor, contrasts: Tensor | None) -> Contrast:
        """What a contrastive loss compares, for a batch of pooled features [B, D]."""
        if len(self.teacher_bank) == 0 or contrasts is None:
            lacking = "the banks are empty; call begin(num_samples)" if contrasts is not None else "contrasts is None"
            raise RuntimeError(f"{lacking}; the training loop does this for a distiller whose needs say so")
        student = F.normalize(self.student_embed(student_feature).float(), dim=1)
        teacher = F.normalize(self.teacher_embed(teacher_feature).float(), dim=1)
        arguments = (student, teacher, self.student_bank, self.teacher_bank, contrasts)
        if self._first:
            # Of a resumed run this is not the first batch: what was loaded stays.
            here = first_normalisers(*exponentials(*arguments, self.temperature), len(self.student_bank))
            self.normalisers = torch.where(self.normalisers == 0, here, self.normalisers)
            self._first = False
        return Contrast(*arguments, self.normalisers)

    @torch.no_grad()
    def refresh(self, ids: Tensor, student_embedding: Tensor, teacher_embedding: Tensor) -> None:
        """Move the rows of a batch towards its embeddings, and back to unit length."""
        ids = ids.to(self.student_bank.device)
        for name, new in (("student_bank", student_embedding), ("teacher_bank", teacher_embedding)):
            bank = getattr(self, name)
            mixed = self.momentum * bank[ids] + (1 - self.momentum) * new.detach()
            # A new bank: the gradient of this batch's scores still needs the old one.
            setattr(self, name, bank.index_copy(0, ids, F.normalize(mixed, dim=1)))

    def extra_repr(self) -> str:
        """Constants, as printing the module shows them."""
        return f"size={self.size}, momentum={self.momentum}, temperature={self.temperature}"
