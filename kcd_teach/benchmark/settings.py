"""What can be run: pairs of networks, ways to train a student, and scales from the published recipe down to minutes."""

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
from kcd_teach.condensation import Condenser
from kcd_teach.condensation.schedule import event_epochs
from kcd_teach.condensation.value import VALUES, find_value
from kcd_teach.datasets import DATASETS, Dataset, dataset_file, list_datasets, load_dataset
from kcd_teach.distillers import list_distillers, title_of
from kcd_teach.models import list_models
from kcd_teach.recipe import Recipe

RATE, LOW_RATE = 0.05, 0.01
LOW_RATE_STUDENTS = ("MobileNetV2", "ShuffleV1", "ShuffleV2")
"""Students that the benchmark trains with the lower learning rate."""


@dataclass(frozen=True)
class Pair:
    """A teacher and a student.

    Attributes:
        name: as in the published table, ``"W40-2>W16-2"``; of other pairs, both networks' names, ``"resnet20>resnet8"``.
        teacher, student: names that :func:`kcd_teach.models.create_model` knows.
    """

    name: str
    teacher: str
    student: str

    @property
    def learning_rate(self) -> float:
        """Of the student's first epochs."""
        return rate_of(self.student)


def rate_of(network: str) -> float:
    """The benchmark's learning rate for a network that is trained, as student or as teacher."""
    return LOW_RATE if network in LOW_RATE_STUDENTS else RATE


_SHORT = {
    "W40-2": "wrn_40_2",
    "W40-1": "wrn_40_1",
    "W16-2": "wrn_16_2",
    "R56": "resnet56",
    "R20": "resnet20",
    "R32x4": "resnet32x4",
    "R8x4": "resnet8x4",
    "V13": "vgg13",
    "V8": "vgg8",
    "R50": "ResNet50",
    "MN2": "MobileNetV2",
    "SN1": "ShuffleV1",
    "SN2": "ShuffleV2",
}
_TABLE = (
    "W40-2>W16-2", "W40-2>W40-1", "R56>R20", "R32x4>R8x4", "V13>V8", "V13>MN2", "R50>MN2", "R50>V8", "R32x4>SN1",
    "R32x4>SN2", "W40-2>SN1",
)  # fmt: skip
PAIRS = tuple(Pair(name, *(_SHORT[network] for network in name.split(">"))) for name in _TABLE)
"""The columns of the published table, in its order."""


def find_pair(name: str) -> Pair:
    """A pair by its name in the table, or any two networks as ``TEACHER>STUDENT``.

    Raises:
        ValueError: neither; the message has the nearest name.

    >>> find_pair("V13>MN2").learning_rate, find_pair("resnet20>resnet8").student
    (0.01, 'resnet8')
    """
    known = {pair.name.casefold(): pair for pair in PAIRS}
    known |= {f"{pair.teacher}>{pair.student}".casefold(): pair for pair in PAIRS}
    teacher, arrow, student = name.partition(">")
    if name.casefold() not in known and arrow and (teacher in list_models() or student in list_models()):
        check_choice("pair's teacher", teacher, list_models())
        check_choice("pair's student", student, list_models())
        return Pair(name, teacher, student)
    if name.casefold() not in known:
        check_choice("pair", name, [pair.name for pair in PAIRS])
    return known[name.casefold()]


TITLES = {
    "kd": "KD", "fitnet": "FitNet", "at": "AT", "sp": "SP", "vid": "VID", "rkd": "RKD", "pkt": "PKT", "crd": "CRD",
    "wcord": "WCoRD", "reviewkd": "ReviewKD", "sskd": "SSKD",
}  # fmt: skip
"""Methods of the published table."""
RATIO, STAGES = 0.7, 6
COST = (1 + RATIO) / 2
"""Samples that a condensed run shows, relative to a plain one, in the paper's preset."""

VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"preset": "released"},
    "no-mixing": {"mixing": False},
    "random": {"selection": "random", "mixing": False},
    "short": {},
}
"""Ablations, written ``ROW@VARIANT``: settings of the condenser; ``short`` is a plain row of fewer epochs instead."""
VALUE = "value="
"""Begins a variant that ranks by another value, ``ROW@value=NAME``, a name of :func:`~kcd_teach.condensation.list_values`."""


MEANINGS = {
    "released": "settings of the authors' code", "no-mixing": "nothing is blended",
    "random": "drawn at random, nothing blended", "short": "all samples, fewer epochs",
}  # fmt: skip
"""What a variant changes, in a few words."""


@dataclass(frozen=True)
class Row:
    """One way to train a student.

    Attributes:
        name: as in the published table, ``"KC-CRD"``, with ``@VARIANT`` for an ablation.
        method: name of the distiller, ``"crd"``; empty for a network trained on labels alone.
        condensed: are fewer and fewer samples shown?
        variant: a key of :data:`VARIANTS`, :data:`VALUE` and a name, or empty.
    """

    name: str
    method: str = ""
    condensed: bool = False
    variant: str = ""

    @property
    def meaning(self) -> str:
        """How it is trained, in a few words."""
        if self.value:
            return f"ranked by: {find_value(self.value).meaning[:1].lower()}{find_value(self.value).meaning[1:]}"
        if self.variant:
            return MEANINGS[self.variant]
        if not self.method:
            return "labels alone"
        return "fewer and fewer samples" if self.condensed else "all samples in every epoch"

    @property
    def value(self) -> str:
        """The value measure, if it is not the condenser's usual one."""
        return self.variant.removeprefix(VALUE) if self.variant.startswith(VALUE) else ""

    def epochs(self, of_scale: int) -> int:
        """Length of a run at a scale of E epochs; the short variant costs what a condensed run costs."""
        return max(1, round(COST * of_scale)) if self.variant == "short" else of_scale

    def condenser_settings(self, epochs: int, seed: int) -> dict[str, Any]:
        """Arguments of the condenser beside the number of samples; empty for a row that shows all."""
        if not self.condensed:
            return {}
        stages = min(STAGES, epochs)
        settings = {"ratio": RATIO, "stages": stages, "epochs": epochs, "seed": seed, **VARIANTS.get(self.variant, {})}
        return {**settings, "value": self.value} if self.value else settings

    def shown(self, num_samples: int, of_scale: int) -> list[int]:
        """Samples shown to the student in every epoch of a run."""
        epochs = self.epochs(of_scale)
        settings = self.condenser_settings(epochs, seed=0)
        if not settings:
            return [num_samples] * epochs
        counts = Condenser(num_samples, **settings).counts
        events = event_epochs(epochs, settings["stages"])
        return [counts[sum(epoch >= event for event in events)] for epoch in range(epochs)]


STUDENT = Row("Student")
PLAIN_ROWS = tuple(Row(title, method) for method, title in TITLES.items())
CONDENSED_ROWS = tuple(Row(f"KC-{TITLES[method]}", method, True) for method in ("kd", "pkt", "crd", "sskd"))
ROWS = (STUDENT, *PLAIN_ROWS, *CONDENSED_ROWS)
"""The trained rows of the published table, in its order: the student alone and fifteen methods."""


def find_row(name: str) -> Row:
    """A row by its name; beyond the table any method and any ``KC-NAME``, and ``ROW@VARIANT``, in whatever case.

    Raises:
        ValueError: an unknown row or variant, with the nearest name; a variant that does not fit the row.

    >>> find_row("kc-fitnet").name, find_row("KC-KD@released").condenser_settings(240, seed=0)["preset"]
    ('KC-FitNet', 'released')
    """
    base, at, variant = name.partition("@")
    row = _find_base(base)
    if not at:
        return row
    if variant.startswith(VALUE):
        check_choice("value", variant.removeprefix(VALUE), VALUES)
    else:
        check_choice("variant", variant, VARIANTS)
    if row == STUDENT:
        raise ValueError(f"row={name!r} does not exist: the student alone has no variants")
    if (variant == "short") == row.condensed:
        wanted = title_of(row.method) if row.condensed else f"KC-{title_of(row.method)}"
        raise ValueError(f"row={name!r} does not exist; the variant {variant!r} belongs to {wanted}@{variant}")
    return Row(f"{row.name}@{variant}", row.method, row.condensed, variant)


def _find_base(name: str) -> Row:
    """A row without a variant."""
    known = {row.name.casefold(): row for row in ROWS}
    for method in list_distillers():
        title = title_of(method)
        for called in (title, method):
            known.setdefault(called.casefold(), Row(title, method))
            known.setdefault(f"kc-{called}".casefold(), Row(f"KC-{title}", method, condensed=True))
    if name.casefold() not in known:
        check_choice("row", name, [row.name for row in known.values()])
    return known[name.casefold()]


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
        found = (str(path), path.stat().st_mtime_ns, path.stat().st_size) if path else DATASETS[self.dataset]
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
def _images(scale: Scale, root: str | None, found: object) -> Dataset:
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
