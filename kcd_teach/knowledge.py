"""What does the teacher say? Its answers to a batch, each computed once per sample and view if they are stored."""

from pathlib import Path

import torch
from torch import Tensor, nn

from kcd_teach._checks import check_choice
from kcd_teach.answers import AnswerStore, DiskAnswers, MemoryAnswers, size_of
from kcd_teach.datasets import Dataset
from kcd_teach.engine import Engine
from kcd_teach.protocol import Batch, Needs, Outputs, respond

STORES = ("off", "memory", "disk")
MEMORY_LIMIT = 2 * 1024**3
"""Bytes that answers in memory may take; those to all views of CIFAR-100 fit."""


class Knowledge:
    """What a frozen teacher says, on demand.

    A random crop and flip has few outcomes (50 for padding 2, 162 for padding 4), and a frozen teacher always says the
    same about the same view. With a store each of these answers is computed once, and shared by all runs. Stored
    answers are rounded to half precision, those just computed as much as those looked up, so that a run learns the same
    from an empty store as from a full one, up to the rounding of a teacher asked in batches of other sizes. Never stored
    are mixtures, which are other images, rotated views, and features.

    Args:
        teacher: network with ``teacher(images) -> logits [B, C]``; put into eval mode and never given a gradient.
        dataset: whose training images will be shown.
        store: ``"off"`` asks every time; ``"memory"`` keeps the answers while this object lives, on the data set's
            device; ``"disk"`` keeps them in a file for all runs with the same teacher, images and normalisation.
        folder: of the file; a per-user cache by default.
        precision: in which the teacher is run, see :class:`~kcd_teach.engine.Engine`.

    Raises:
        ValueError: answers that would take more than 2 GiB of memory.
        OSError: answers for which the disk has no room.
    """

    def __init__(
        self, teacher: nn.Module, dataset: Dataset, store: str = "off", *, folder: Path | None = None,
        precision: str = "auto",
    ) -> None:  # fmt: skip
        check_choice("store", store, STORES)
        self.store = store
        self.engine = Engine(dataset.train_images.device, precision)
        self.teacher = self.engine.prepare(teacher.eval())
        self.num_samples = len(dataset.train_images)
        self._store: AnswerStore | None = None
        if store == "memory":
            if (size := size_of(dataset)) > MEMORY_LIMIT:
                raise ValueError(
                    f'store="memory" would take {size / 1e9:.1f} GB for {dataset.name}; use "disk" or "off"'
                )
            self._store = MemoryAnswers(dataset)
        if store == "disk":
            self._store = DiskAnswers(self.teacher, dataset, self.engine.precision, folder)

    def __call__(self, batch: Batch, needs: Needs | None = None) -> Outputs:
        """What the teacher says about the images of a batch, and its features if they are needed."""
        needs = needs or Needs()
        if self._store is None or needs.features or needs.rotations:
            return self._ask(batch.images, needs)
        logits, known = self._store.look_up(batch.ids, batch.views)
        unknown = ~known | batch.mixed
        if bool(unknown.any()):
            # Places are found on the CPU: picking by a mask on an accelerator would wait for it.
            rows = torch.nonzero(unknown).flatten()
            here = rows.to(logits.device, non_blocking=True)
            answers = self._ask(batch.images[here], needs).logits.half()
            logits[here] = answers
            pure = torch.nonzero(~batch.mixed[rows]).flatten()
            new = rows[pure]
            self._store.write(batch.ids[new], batch.views[new], answers[pure.to(logits.device, non_blocking=True)])
        return Outputs(logits.float())

    @torch.no_grad()
    def _ask(self, images: Tensor, needs: Needs) -> Outputs:
        with self.engine.autocast():
            return respond(self.teacher.eval(), images, needs.features, needs.teacher_preact)


@torch.no_grad()
def predict(
    model: nn.Module, dataset: Dataset, images: Tensor, batch_size: int = 500, precision: str = "float32"
) -> Tensor:
    """Logits [N, C] of a network in eval mode for uint8 images [N, c, H, W] as they are, without augmentation."""
    model.eval()
    with Engine(images.device, precision).autocast():
        return torch.cat([model(dataset.normalise(part)) for part in images.split(batch_size)]).float()


def accuracy(model: nn.Module, dataset: Dataset, precision: str = "float32") -> float:
    """Share of the test images that a network gets right, 0 .. 1."""
    right = predict(model, dataset, dataset.test_images, precision=precision).argmax(dim=1) == dataset.test_labels
    return right.double().mean().item()
