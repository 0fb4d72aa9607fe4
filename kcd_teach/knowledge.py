"""What did the teacher say? Its logits for a batch, computed once per sample and view if they are remembered."""

import torch
from torch import Tensor, nn

from kcd_teach.augment import num_views
from kcd_teach.datasets import Dataset
from kcd_teach.protocol import Batch, Needs, Outputs, respond

MEMORY_LIMIT = 2 * 1024**3
"""Bytes that remembered logits may take."""


class Knowledge:
    """What a frozen teacher says, on demand.

    A random crop and flip has few outcomes (50 for padding 2), and a frozen teacher always says the same about the
    same view. With ``remember`` each of these answers is computed once and kept in memory as float32, for all
    runs that share this object. Never remembered are mixtures, which are other images, rotated views and features.

    Args:
        teacher: network with ``teacher(images) -> logits [B, C]``; put into eval mode and never given a gradient.
        dataset: whose training images will be shown.
        remember: keep the answers; refused if they could take more than 2 GiB.
    """

    def __init__(self, teacher: nn.Module, dataset: Dataset, remember: bool = False) -> None:
        self.teacher = teacher.eval()
        self.num_samples = len(dataset.train_images)
        self._answers: Tensor | None = None
        if remember:
            shape = (self.num_samples, num_views(dataset.padding), len(dataset.classes))
            if (size := 4 * shape[0] * shape[1] * shape[2]) > MEMORY_LIMIT:
                raise ValueError(f"remember=True would take {size / 1e9:.1f} GB for {dataset.name}; use remember=False")
            self._answers = torch.full(shape, torch.nan, device=dataset.train_images.device)

    def __call__(self, batch: Batch, needs: Needs | None = None) -> Outputs:
        """What the teacher says about the images of a batch, and its features if they are needed."""
        needs = needs or Needs()
        if self._answers is None or needs.features or needs.rotations:
            return self._ask(batch.images, needs)
        ids = batch.ids.to(batch.images.device)
        logits = self._answers[ids, batch.views]
        unknown = batch.mixed | logits[:, 0].isnan()
        if bool(unknown.any()):
            logits[unknown] = self._ask(batch.images[unknown], needs).logits
            pure = ~batch.mixed
            self._answers[ids[pure], batch.views[pure]] = logits[pure]
        return Outputs(logits)

    def to(self, device: torch.device | str) -> None:
        """Move the teacher and its remembered answers."""
        self.teacher.to(device)
        if self._answers is not None:
            self._answers = self._answers.to(device)

    @torch.no_grad()
    def _ask(self, images: Tensor, needs: Needs) -> Outputs:
        return respond(self.teacher.eval(), images, needs.features, needs.teacher_preact)


@torch.no_grad()
def predict(model: nn.Module, dataset: Dataset, images: Tensor, batch_size: int = 500) -> Tensor:
    """Logits [N, C] of a network in eval mode for uint8 images [N, c, H, W] as they are, without augmentation."""
    model.eval()
    return torch.cat([model(dataset.normalise(part)) for part in images.split(batch_size)])


def accuracy(model: nn.Module, dataset: Dataset) -> float:
    """Share of the test images that a network gets right, 0 .. 1."""
    right = predict(model, dataset, dataset.test_images).argmax(dim=1) == dataset.test_labels
    return right.double().mean().item()
