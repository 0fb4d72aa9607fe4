"""What do the training loop and a method of distillation say to each other?

The loop hands a method a :class:`Batch` and what both networks say about it (:class:`Outputs`). A method that wants more
than logits says so once, as :class:`Needs`; the loop looks at nothing else and knows no method by its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


class Batch(NamedTuple):
    """Samples on their way to the networks.

    Attributes:
        ids: int64 [B], distinct; on the CPU like views and mixed, so that bookkeeping waits for no accelerator.
        views: int64 [B], or [B, 4] with rotations; which crop and flip is shown (:mod:`kcd_teach.augment`).
        labels: int64 [B].
        mixed: bool [B], True for a mixture.
        images: normalised, [B, C, H, W]; [4 B, C, H, W] with rotations, image by image, the unrotated one first.
        contrasts: int64 [B, 1 + K] where negatives were asked for: a sample's own id, then K of other classes.
    """

    ids: Tensor
    views: Tensor
    labels: Tensor
    mixed: Tensor
    images: Tensor
    contrasts: Tensor | None = None


class Outputs(NamedTuple):
    """What a network says about a batch.

    Attributes:
        logits: [B, C] (with rotations [4 B, C], as all that follows).
        features: f0, f1, .., shallow to deep [B, c, h, w], the last one pooled [B, D]; empty if not asked for.
    """

    logits: Tensor
    features: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Needs:
    """What a method asks of the training loop beyond logits.

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
