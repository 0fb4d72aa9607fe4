"""Which features do two networks offer for comparison?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    """Show both networks one black image and note the shapes of what they say.

    Raises:
        ValueError: a network that does not take such images, one without features where they are needed, or
            networks that tell apart different numbers of classes.
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
        said = network(image, **extra)
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
    logits, taps = said if features else (said, [])
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
