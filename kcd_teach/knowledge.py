"""What does the teacher say? Its answers to a batch, each computed once per sample and view if they are stored."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from kcd_teach._checks import check_choice
from kcd_teach.answers import AnswerStore, DiskAnswers, MemoryAnswers, fingerprint, size_of
from kcd_teach.augment import render_views
from kcd_teach.datasets import Dataset
from kcd_teach.engine import Engine
from kcd_teach.fingerprints import PROBES, alike
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
        precision: str = "float32",
    ) -> None:  # fmt: skip
        check_choice("store", store, STORES)
        self.store = store
        self.engine = Engine(dataset.train_images.device, precision)
        self.teacher = self.engine.prepare(teacher.eval())
        self.num_samples = len(dataset.train_images)
        self._belongs_to = "" if store == "off" else fingerprint(self.teacher, dataset, precision)
        self._store: AnswerStore | None = None
        if store == "memory":
            if (size := size_of(dataset)) > MEMORY_LIMIT:
                raise ValueError(
                    f'store="memory" would take {size / 1e9:.1f} GB for {dataset.name}; use "disk" or "off"'
                )
            self._store = MemoryAnswers(dataset)
        if store == "disk":
            self._store = DiskAnswers(self.teacher, dataset, precision, folder)
            self._check_known(self._store, dataset)

    def check_fits(self, dataset: Dataset) -> None:
        """Raise ValueError unless what is stored is what this teacher says about the training images of a data set.

        It may be another data set than the one given first, with other labels or test images, as long as the training
        images and how they are shown are the same.
        """
        if self.num_samples != len(dataset.train_images):
            raise ValueError(
                f"teacher holds answers for {self.num_samples} images, dataset has {len(dataset.train_images)}"
            )
        if (device := dataset.train_images.device) != self.engine.device:
            raise ValueError(
                f"teacher's knowledge is on {self.engine.device}, the run on {device}; make it from a data set there"
            )
        if self.store != "off" and self._belongs_to != fingerprint(self.teacher, dataset, self.engine.precision):
            raise ValueError(
                f"teacher holds stored answers of other weights, or to other images or another normalisation than "
                f"those of {dataset.name} here; make a new Knowledge"
            )

    @property
    def precision(self) -> str:
        """Of its answers, in words: that of the teacher, and whether they are rounded to be stored."""
        return self.engine.precision if self.store == "off" else f"{self.engine.precision}, stored as float16"

    def rehearsing(self) -> "Knowledge":
        """The same without a store, of a copy of the teacher: asking it leaves no trace. Not every network can be copied."""
        twin = copy.copy(self)
        twin.teacher, twin.store, twin._store = copy.deepcopy(self.teacher), "off", None
        return twin

    def _check_known(self, answers: DiskAnswers, dataset: Dataset) -> None:
        """Raise ValueError if the teacher contradicts stored answers: its forward pass differs in what no hash sees."""
        ids, views = answers.some_known(PROBES)
        stored, known = answers.look_up(ids, views)
        if not bool(known.any()):
            return
        shown = render_views(dataset.train_images[ids.to(stored.device)], views.to(stored.device), dataset.padding)
        said = self._ask(dataset.normalise(shown), Needs()).logits
        if not alike(said[known].cpu(), stored[known].float().cpu()):
            raise ValueError(
                f"{answers.path} holds answers of another teacher with the same weights and layers; choose another "
                'folder, or store="memory" or "off"'
            )

    def __call__(self, batch: Batch, needs: Needs | None = None) -> Outputs:
        """What the teacher says about the images of a batch, in float32 at least, and its features if they are needed."""
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
            logits, features = respond(self.teacher.eval(), images, needs.features, needs.teacher_preact)
        return Outputs(logits.to(torch.promote_types(logits.dtype, torch.float32)), features)


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
