"""The common frame of all methods of distillation, and what a method can request from the training loop.

The loop hands a method a :class:`Batch` and the :class:`Outputs` of both networks. A method that needs more than logits
declares it once, as :class:`Needs`; the loop looks at nothing else and knows no method by its name.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_between
from kcd_teach.distillers.kd import kd_loss
from kcd_teach.recipe import Recipe, widen


class Batch(NamedTuple):
    """Samples on their way to the networks.

    Attributes:
        ids: int64 [B], distinct; on the CPU like views and mixed, so that bookkeeping waits for no accelerator.
        views: int64 [B], or [B, 4] with rotations; which crop and flip is shown (:mod:`kcd_teach.views`).
        labels: int64 [B].
        mixed: bool [B], True for a mixture.
        images: normalised, [B, C, H, W]; [4 B, C, H, W] with rotations, image by image, the unrotated one first.
        contrasts: int64 [B, 1 + K] for methods that need negatives: a sample's own id, then K of other classes.
    """

    ids: Tensor
    views: Tensor
    labels: Tensor
    mixed: Tensor
    images: Tensor
    contrasts: Tensor | None = None


class Outputs(NamedTuple):
    """A network's outputs for a batch.

    Attributes:
        logits: [B, C] (with rotations [4 B, C], as all that follows).
        features: f0, f1, .., shallow to deep [B, c, h, w], the last one pooled [B, D]; empty if not needed.
    """

    logits: Tensor
    features: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Needs:
    """What a method needs of the training loop beyond logits.

    Attributes:
        features: the taps of both networks.
        teacher_preact: the teacher's taps before their activation.
        rotations: every image four times, rotated by 0, 90, 180 and 270 degrees counter-clockwise.
        negatives: K, ids of other classes per sample; 0 for none.
        negatives_from: draw them from the ``"active"`` samples or from ``"all"``.
        smallest_batch: fewest samples for which the loss is defined.
        preparation: length of a stage of training before the student's, as a share of the student's epochs.
    """

    features: bool = False
    teacher_preact: bool = False
    rotations: bool = False
    negatives: int = 0
    negatives_from: str = "active"
    smallest_batch: int = 1
    preparation: float = 0.0

    @property
    def views(self) -> int:
        """Inputs per sample, 1 or 4."""
        return 4 if self.rotations else 1


def respond(network: nn.Module, images: Tensor, features: bool = False, preact: bool = False) -> Outputs:
    """A network's logits for normalised images [B, C, H, W], and its features if wanted, before activation if wanted."""
    if not features:
        return Outputs(network(images))
    return Outputs(*network(images, return_features=True, **({"preact": True} if preact else {})))


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Taps:
    """Shapes of the features of a pair, f0, f1, .., without the batch: [c, h, w], the last one pooled, [D].

    Attributes:
        student, teacher: the shapes.
        student_name, teacher_name: names of the networks, as :func:`kcd_teach.models.create_model` knows them.
    """

    student: tuple[Shape, ...]
    teacher: tuple[Shape, ...]
    student_name: str = ""
    teacher_name: str = ""

    @property
    def widths(self) -> tuple[int, int]:
        """D of the student's and of the teacher's pooled feature."""
        return self.student[-1][0], self.teacher[-1][0]

    def middle(self, method: str) -> list[tuple[Shape, Shape]]:
        """Pairs of shapes of f1 .. f_{last-1}; raises ValueError if the networks have different numbers of them."""
        student, teacher = self.student[1:-1], self.teacher[1:-1]
        if len(student) != len(teacher):
            raise ValueError(
                f"{method} compares the middle features of both networks one by one, but the student has "
                f"{len(student)} and the teacher {len(teacher)}; choose another pair or another method"
            )
        return list(zip(student, teacher, strict=True))


@torch.no_grad()
def read_taps(
    student: nn.Module, teacher: nn.Module, image_shape: tuple[int, int, int], features: bool, preact: bool = False
) -> Taps:
    """Run both networks on one black image and return the shapes of their features.

    Raises:
        ValueError: a network that does not take such images, one without features where they are needed, or
            networks with different numbers of classes.
    """
    shapes = {}
    for role, network in (("student", student), ("teacher", teacher)):
        before = network.training
        network.eval()
        try:
            shapes[role] = _shapes(role, network, image_shape, features, preact and role == "teacher")
        finally:
            network.train(before)
    (classes, student_taps), (teacher_classes, teacher_taps) = shapes["student"], shapes["teacher"]
    if classes != teacher_classes:
        raise ValueError(
            f"student and teacher must tell apart the same classes, but the student has {classes} and the teacher "
            f"{teacher_classes}; set num_classes"
        )
    names = (getattr(network, "name", "") for network in (student, teacher))
    return Taps(student_taps, teacher_taps, *names)


def _shapes(
    role: str, network: nn.Module, image_shape: tuple[int, int, int], features: bool, preact: bool
) -> tuple[int, tuple[Shape, ...]]:
    """Number of classes, and shapes of the features."""
    parameter = next(network.parameters(), torch.zeros(()))
    image = torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)
    extra = {"return_features": True, **({"preact": True} if preact else {})} if features else {}
    try:
        outputs = network(image, **extra)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        call = ", ".join(f"{name}=True" for name in extra)
        raise ValueError(
            f"this method compares features, and the {role} ({type(network).__name__}) has none to offer: it must "
            f"answer {role}(images, {call}) with (logits, [f0, .., pooled])"
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"the {role} does not take images of shape {image_shape} ({error}); set image_shape"
        ) from error
    logits, taps = outputs if features else (outputs, [])
    if features and (len(taps) < 3 or taps[-1].ndim != 2):
        raise ValueError(
            f"this method compares features, and the {role} ({type(network).__name__}) offers {len(taps)}; "
            "at least three are needed, shallow to deep, the last one pooled to [B, D]"
        )
    return logits.shape[1], tuple(tuple(tap.shape[1:]) for tap in taps)


def to_common_size(student_feature: Tensor, teacher_feature: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two maps [B, c, h, w] to the smaller of their heights and the smaller of their widths."""
    student_sides, teacher_sides = student_feature.shape[-2:], teacher_feature.shape[-2:]
    sides = min(student_sides[0], teacher_sides[0]), min(student_sides[1], teacher_sides[1])
    if student_sides != sides:
        student_feature = F.adaptive_avg_pool2d(student_feature, sides)
    if teacher_sides != sides:
        teacher_feature = F.adaptive_avg_pool2d(teacher_feature, sides)
    return student_feature, teacher_feature


class Distiller(nn.Module):
    """The benchmark's common frame, ``r CE + a KD_T + b L``; a subclass adds its own L as :meth:`method_loss`.

    A new method is a subclass in one file: :attr:`needs` says what it needs of the loop, ``__init__`` holds its learnable
    parts, :meth:`method_loss` compares. Nothing else has to be overridden.

    Args:
        label_weight: r, of the cross-entropy with the labels.
        teacher_weight: a, of the distillation loss on softened logits.
        method_weight: b, of the method's own loss.
        temperature: T of the softened logits.

    Attributes:
        needs: what the method needs of the training loop.
        uses_taps: the constructor takes the pair's :class:`~kcd_teach.distillers.base.Taps` first.
        compares: what it compares, in a word; if empty, features where it needs them, or else logits.
    """

    needs = Needs()
    uses_taps = True
    compares = ""

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
        """Called once before training: allocate what is remembered of each of N samples."""

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
        """Names of further attributes that are part of a run's identity: two runs are alike only if these agree."""
        return ()


class LabelsOnly(Distiller):
    """Cross-entropy with the labels and nothing else: a network trained alone."""

    uses_taps = False

    def __init__(self) -> None:
        super().__init__(label_weight=1.0, teacher_weight=0.0, method_weight=0.0)


class KD(Distiller):
    """Labels and softened logits, nothing else: Hinton's distillation, ``0.1 CE + 0.9 KD_4`` in the benchmark.

    Args:
        temperature: T of :func:`~kcd_teach.distillers.kd.kd_loss`.
        label_weight: r.
        teacher_weight: a.
    """

    uses_taps = False

    def __init__(self, temperature: float = 4.0, label_weight: float = 0.1, teacher_weight: float = 0.9) -> None:
        super().__init__(label_weight, teacher_weight, method_weight=0.0, temperature=temperature)


LEARNING_RATE = 0.05
MILESTONES = (0.5, 0.75)
"""The recipe of SSKD's heads: 0.05, times 0.1 after epochs 30 and 45 of 60; the rest is the student's recipe."""


class Preparation:
    """Training of a method's own parts on the teacher's outputs for all samples; nothing if it needs none.

    Args:
        distiller: the method; its needs say how long it prepares.
        recipe: of the student.

    Attributes:
        epochs: length, a share of the student's.
        epoch: finished epochs.
    """

    def __init__(self, distiller: Distiller, recipe: Recipe) -> None:
        self.distiller = distiller
        share = distiller.needs.preparation * recipe.epochs
        self.epochs = max(1, round(share)) if share else 0
        self.epoch = 0
        self._recipe = dataclasses.replace(
            recipe, epochs=max(self.epochs, 1), learning_rate=LEARNING_RATE, milestones=MILESTONES
        )
        self._optimizer = self._recipe.optimizer(distiller.preparation_parameters()) if self.epochs else None

    @property
    def done(self) -> bool:
        """True once the preparation has ended; true from the start for methods without one."""
        return self.epoch >= self.epochs

    def loss(self, batch: Batch, teacher: Outputs | None) -> Tensor:
        """Loss of the preparation on the teacher's outputs for a batch, a scalar."""
        assert teacher is not None
        return self.distiller.preparation_loss(batch, teacher)

    def step(self, loss: Tensor) -> None:
        """One step of the method's own parts towards a smaller loss."""
        assert self._optimizer is not None
        self._recipe.set_rate(self._optimizer, self.epoch + 1)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Finished epochs and the optimiser; the learned weights are part of the distiller."""
        return {"epoch": self.epoch, "optimizer": self._optimizer.state_dict() if self._optimizer else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.epoch = state["epoch"]
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state["optimizer"])
