"""What every method of distillation is: a loss beside the labels and the softened logits."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_between
from kcd_teach.distillers.kd import kd_loss
from kcd_teach.distillers.precision import widen
from kcd_teach.protocol import Batch, Needs, Outputs


class Distiller(nn.Module):
    """The benchmark's common frame, ``r CE + a KD_T + b L``; a subclass adds its own L as :meth:`method_loss`.

    A new method is a subclass in one file: :attr:`needs` says what it wants of the loop, ``__init__`` holds its learnable
    parts, :meth:`method_loss` compares. Nothing else has to be overridden.

    Args:
        label_weight: r, of the cross-entropy with the labels.
        teacher_weight: a, of the distillation loss on softened logits.
        method_weight: b, of the method's own loss.
        temperature: T of the softened logits.

    Attributes:
        needs: what the method asks of the training loop.
        uses_taps: the constructor takes the pair's :class:`~kcd_teach.distillers.taps.Taps` first.
    """

    needs = Needs()
    uses_taps = True

    def __init__(
        self,
        label_weight: float = 1.0,
        teacher_weight: float = 0.0,
        method_weight: float = 1.0,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        infinity = float("inf")
        self.label_weight = check_between("label_weight", label_weight, 0, infinity)
        self.teacher_weight = check_between("teacher_weight", teacher_weight, 0, infinity)
        self.method_weight = check_between("method_weight", method_weight, 0, infinity)
        self.temperature = check_between("temperature", temperature, 0, infinity, open_low=True)

    def forward(self, batch: Batch, student: Outputs, teacher: Outputs | None) -> Tensor:
        """Scalar loss of a batch. Cross-entropy and KD look at the unrotated views only."""
        logits = student.logits[:: self.needs.views]
        loss = self.label_weight * F.cross_entropy(widen(logits), batch.labels)
        if teacher is None:
            return loss
        if self.teacher_weight:
            softened = kd_loss(logits, teacher.logits[:: self.needs.views], self.temperature)
            loss = loss + self.teacher_weight * softened
        if self.method_weight:
            loss = loss + self.method_weight * self.method_loss(batch, student, teacher)
        return loss

    def method_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor:
        """The method's own unweighted loss L, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define method_loss, or have method_weight=0")

    def begin(self, num_samples: int) -> None:
        """Called once before training: make room for what is remembered of each of N samples."""

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Called before every epoch, counted from 0, of ``epochs``: for weights that change with time."""

    def preparation_loss(self, batch: Batch, teacher: Outputs) -> Tensor:
        """Loss of the stage before the student's, for a method whose needs ask for one."""
        raise NotImplementedError(f"{type(self).__name__} asks for a preparation and must define preparation_loss")

    def preparation_parameters(self) -> list[nn.Parameter]:
        """Parameters learned in the stage before the student's, and frozen afterwards."""
        return []

    def student_parameters(self) -> list[nn.Parameter]:
        """Parameters that the student's optimiser must own: all but those of the preparation."""
        prepared = {id(parameter) for parameter in self.preparation_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in prepared]

    def extra_repr(self) -> str:
        """Weights and constants, as printing the module shows them."""
        names = ("temperature", "label_weight", "teacher_weight", "method_weight", *self.constants())
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)

    def constants(self) -> Iterable[str]:
        """Names of further attributes that make this method what it is; two runs are alike only if these agree."""
        return ()


class LabelsOnly(Distiller):
    """Cross-entropy with the labels and nothing else: a network trained alone."""

    uses_taps = False

    def __init__(self) -> None:
        super().__init__(label_weight=1.0, teacher_weight=0.0, method_weight=0.0)


class KD(Distiller):
    """Softened logits beside the labels and nothing else: Hinton's distillation, ``0.1 CE + 0.9 KD_4`` in the benchmark.

    Args:
        temperature: T of :func:`~kcd_teach.distillers.kd.kd_loss`.
        label_weight: r.
        teacher_weight: a.
    """

    uses_taps = False

    def __init__(self, temperature: float = 4.0, label_weight: float = 0.1, teacher_weight: float = 0.9) -> None:
        super().__init__(label_weight, teacher_weight, method_weight=0.0, temperature=temperature)
