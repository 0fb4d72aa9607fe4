"""At which size? ``full`` is the published recipe on CIFAR-100; ``small`` is the same code on few small images.

Between them, ``slice`` is what two cores can do in hours: real images at full resolution, a tenth of them, in a tenth
of the epochs.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_at_least, check_at_most, check_choice
from kcd_teach.datasets import Dataset, dataset_file, list_datasets, load_dataset
from kcd_teach.recipe import Recipe

NEGATIVES, OF_IMAGES = 16_384, 50_000
"""Negatives per sample of contrastive methods, and the training images they are drawn from."""

CIFAR100_COUNTS = (500, 100)
"""Training and test images of every class of CIFAR-100."""
CIFAR100_CONTENT = "09531097495511ff"
"""What :func:`content_of` makes of it."""


@dataclass(frozen=True)
class Scale:
    """Which images, and how long.

    Attributes:
        name: as shown.
        dataset: a name of :func:`kcd_teach.datasets.list_datasets`.
        epochs: E of a run, of students, and of teachers without epochs of their own.
        batch_size: samples per step.
        per_class, test_per_class: only the first training and test images of every class; ``None`` takes all.
        classes: only the first classes; ``None`` takes all.
        side: pixels to which images are reduced; ``None`` leaves them as they are.
        precision: ``"float32"`` or ``"bfloat16"``; never chosen by itself, since results would differ with it.
        teacher_epochs: of a teacher that is trained here; ``None`` for as many as a student.
        store: ``"disk"`` keeps the teachers' answers for all runs on this machine, see
            :class:`~kcd_teach.knowledge.Knowledge`: faster, but a resumed run is then equal up to rounding only;
            ``"off"`` asks every time.
    """

    name: str = "full"
    dataset: str = "cifar100"
    epochs: int = 240
    batch_size: int = 64
    per_class: int | None = None
    test_per_class: int | None = None
    classes: int | None = None
    side: int | None = None
    precision: str = "float32"
    teacher_epochs: int | None = None
    store: str = "off"

    def __post_init__(self) -> None:
        check_choice("dataset", self.dataset, list_datasets())
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        check_choice("store", self.store, ("off", "disk"))
        least = {
            "epochs": 1, "teacher_epochs": 1, "batch_size": 2, "per_class": 1, "test_per_class": 1, "classes": 2,
            "side": 8,
        }  # fmt: skip
        for name, value in least.items():
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), value)
                check_at_most(name, getattr(self, name), 1_000_000)

    @property
    def is_published(self) -> bool:
        """Is this the published recipe on all of CIFAR-100, whatever its name?"""
        return dataclasses.replace(self, name="", precision="float32", store="off") == Scale(name="")

    def recipe(self, learning_rate: float, epochs: int | None = None) -> Recipe:
        """The benchmark's recipe at this scale, of ``epochs`` if they are not those of the scale."""
        return Recipe(
            epochs=epochs or self.epochs, batch_size=self.batch_size, learning_rate=learning_rate,
            precision=self.precision,
        )  # fmt: skip

    def but(self, **changes: Any) -> "Scale":
        """The same scale with some settings changed, and a name that says so; ``None`` changes nothing."""
        changed = {name: value for name, value in changes.items() if value not in (None, getattr(self, name))}
        kept = [part for part in self.name.split(", ") if part.partition("=")[0] not in changed]
        name = ", ".join([*kept, *(f"{name}={value}" for name, value in changed.items())])
        return dataclasses.replace(self, name=name, **changed)

    def images(self, root: str | Path | None = None) -> Dataset:
        """The images of this scale, in memory; one copy per process, whoever asks.

        Args:
            root: folder to look in first.

        Raises:
            ValueError: a file that is not the data set it should be.
            RuntimeError: a data set that is neither here nor downloadable.
        """
        only_images = dataclasses.replace(self, name="", epochs=1, batch_size=2, teacher_epochs=None, store="off")
        path = dataset_file(self.dataset, root)
        # A file that another one took the place of in the meantime is read again.
        found = (str(path), path.stat().st_mtime_ns, path.stat().st_size) if path else None
        return _images(only_images, None if root is None else str(root), found)


SCALES = {
    "full": Scale(),
    "slice": Scale("slice", epochs=24, per_class=250, classes=20, teacher_epochs=60, store="disk"),
    "small": Scale(
        "small", "fashion-mnist-mini", epochs=3, batch_size=20, per_class=10, test_per_class=10, side=16
    ),
}  # fmt: skip


def find_scale(name: str) -> Scale:
    """A scale by its name."""
    check_choice("scale", name, SCALES)
    return SCALES[name]


def negatives_of(num_samples: int) -> int:
    """K of the contrastive methods, in proportion to the images; 16,384 of CIFAR-100.

    >>> negatives_of(50_000), negatives_of(2_000)
    (16384, 655)
    """
    return max(1, round(NEGATIVES * num_samples / OF_IMAGES))


@lru_cache(maxsize=2)
def _images(scale: Scale, root: str | None, found: tuple[str, int, int] | None) -> Dataset:
    dataset = load_dataset(scale.dataset, root)
    if scale.dataset == "cifar100":
        check_cifar100(dataset)
    classes = scale.classes or len(dataset.classes)
    if classes > len(dataset.classes):
        raise ValueError(f"classes must be at most {len(dataset.classes)} for {scale.dataset}, got {classes}")
    train = _first(dataset.train_labels, classes, scale.per_class)
    test = _first(dataset.test_labels, classes, scale.test_per_class)
    dataset = dataclasses.replace(
        dataset, classes=dataset.classes[:classes],
        train_images=dataset.train_images[train], train_labels=dataset.train_labels[train],
        test_images=dataset.test_images[test], test_labels=dataset.test_labels[test],
    )  # fmt: skip
    return dataset if scale.side is None else _reduce(dataset, scale.side)


def _first(labels: Tensor, classes: int, count: int | None) -> Tensor:
    """Ids of the first samples of each of the first classes, ascending."""
    if count is None:
        return torch.nonzero(labels < classes).flatten()
    return torch.cat([torch.nonzero(labels == c).flatten()[:count] for c in range(classes)]).sort().values


def _reduce(dataset: Dataset, side: int) -> Dataset:
    """Average the images down to ``side`` pixels, and their border in proportion."""

    def reduced(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float(), side).round().to(torch.uint8)

    height = dataset.train_images.shape[2]
    if side > height:
        raise ValueError(f"side must be at most {height} for {dataset.name}, got {side}")
    return dataclasses.replace(
        dataset, train_images=reduced(dataset.train_images), test_images=reduced(dataset.test_images),
        padding=max(1, round(dataset.padding * side / height)),
    )  # fmt: skip


def check_cifar100(dataset: Dataset) -> None:
    """Raise ValueError unless every class has the images that it has in CIFAR-100, in whatever order they come."""
    if len(dataset.classes) != 100:
        raise ValueError(f"this is not CIFAR-100: it has {len(dataset.classes)} classes, not 100")
    for split, labels, count in zip(
        ("training", "test"), (dataset.train_labels, dataset.test_labels), CIFAR100_COUNTS, strict=True
    ):
        counts = torch.bincount(labels.cpu(), minlength=100)
        wrong = torch.nonzero(counts != count).flatten()
        if len(wrong):
            first = int(wrong[0])
            raise ValueError(
                f"this is not CIFAR-100: {len(wrong)} classes have another number of {split} images than {count}, "
                f"first {dataset.classes[first]!r} with {int(counts[first])}"
            )
    if content_of(dataset) != CIFAR100_CONTENT:
        raise ValueError("this is not CIFAR-100: the numbers of images are right, their pixels or labels are not")


def content_of(dataset: Dataset) -> str:
    """Hash of the images and labels of a data set, whatever their order within a class, 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{list(dataset.train_images.shape[1:])}".encode())
    weights = torch.arange(1, dataset.train_images[0].numel() + 1, dtype=torch.float64)
    for images, labels in (
        (dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels),
    ):  # fmt: skip
        sums = torch.zeros(len(dataset.classes), dtype=torch.int64)
        for some, of_them in zip(images.split(5_000), labels.split(5_000), strict=True):
            numbers = (some.flatten(1).double() @ weights).long()  # whole, and exact: less than 2 ** 53
            sums.index_add_(0, of_them, numbers.square() % (2**31 - 1))
        digest.update(sums.numpy().tobytes())
    return digest.hexdigest()[:16]
