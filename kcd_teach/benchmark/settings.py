"""What can be run: pairs of networks, ways to train a student, and scales from the published recipe down to minutes."""

import dataclasses
import hashlib
import inspect
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_at_least, check_at_most, check_between, check_choice
from kcd_teach.condensation import Condenser, FixedSubset
from kcd_teach.condensation.schedule import event_epochs
from kcd_teach.condensation.value import VALUES, find_value
from kcd_teach.datasets import DATASETS, SIZE, Dataset, dataset_file, folder_of, list_datasets, load_dataset
from kcd_teach.distillers import Distiller, distiller_class, list_distillers, title_of
from kcd_teach.knowledge import STORES
from kcd_teach.models import check_network, list_models
from kcd_teach.recipe import PRECISIONS, Recipe

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
    "W40-2>W16-2",
    "W40-2>W40-1",
    "R56>R20",
    "R32x4>R8x4",
    "V13>V8",
    "V13>MN2",
    "R50>MN2",
    "R50>V8",
    "R32x4>SN1",
    "R32x4>SN2",
    "W40-2>SN1",
)
PAIRS = tuple(Pair(name, *(_SHORT[network] for network in name.split(">"))) for name in _TABLE)
"""The columns of the published table, in its order."""


def find_pair(name: str) -> Pair:
    """A pair by its name in the table, or any two networks as ``TEACHER>STUDENT``; ``V13:V8`` is the same as ``V13>V8``.

    A network that is named ``package.module:function`` is imported when it is first made, and not here.

    Raises:
        ValueError: neither; the message has the nearest name.

    >>> find_pair("V13>MN2").learning_rate, find_pair("resnet20>resnet8").student
    (0.01, 'resnet8')
    """
    known = {pair.name.casefold(): pair for pair in PAIRS}
    known |= {f"{pair.teacher}>{pair.student}".casefold(): pair for pair in PAIRS}
    name = with_arrow(name)
    teacher, arrow, student = name.partition(">")
    if name.casefold() not in known and arrow and any(":" in x or x in list_models() for x in (teacher, student)):
        for role, network in (("teacher", teacher), ("student", student)):
            if ":" not in network:
                check_network(f"pair's {role}", network)
        return Pair(name, teacher, student)
    if (
        name.casefold() not in known
    ):  # without an arrow, a shell may have taken it for a file: name what needs no quotes
        check_choice("pair", name, [pair.name if arrow else pair.name.replace(">", ":") for pair in PAIRS])
    return known[name.casefold()]


def with_arrow(pair: str) -> str:
    """The name of a pair with ``>``, for which a shell wants quotes, in the place of ``:``, for which it does not.

    >>> with_arrow("V13:V8"), with_arrow("my.nets:teacher:my.nets:student"), with_arrow("my.nets:teacher>resnet20")
    ('V13>V8', 'my.nets:teacher>my.nets:student', 'my.nets:teacher>resnet20')
    """
    parts = pair.split(":")
    middle, odd = divmod(len(parts), 2)
    return pair if ">" in pair or odd else ":".join(parts[:middle]) + ">" + ":".join(parts[middle:])


TITLES = {
    "kd": "KD",
    "fitnet": "FitNet",
    "at": "AT",
    "sp": "SP",
    "vid": "VID",
    "rkd": "RKD",
    "pkt": "PKT",
    "crd": "CRD",
    "wcord": "WCoRD",
    "reviewkd": "ReviewKD",
    "sskd": "SSKD",
}
"""Methods of the published table."""
RATIO, STAGES = 0.7, 6
COST = (1 + RATIO) / 2
"""Samples that a condensed run shows, relative to a plain one, in the paper's preset."""

VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"preset": "released"},
    "no-mixing": {"mixing": False},
    "random": {"selection": "random", "mixing": False},
    "short": {"length": COST},
}
"""Settings with a short name, for ``ROW@NAME``."""

MEANINGS = {
    "released": "settings of the authors' code",
    "no-mixing": "nothing is blended",
    "random": "drawn at random, nothing blended",
    "short": "all samples, fewer epochs",
}
"""What they change, in a few words."""

OF_THE_RUN: dict[str, Any] = {"epochs": 240, "length": 1.0, "precision": "float32", "store": "off"}
"""Settings that any row can take, with a value of their type; ``length`` is a share of the scale's epochs."""


def _defaults(callable_: Any, *without: str) -> dict[str, Any]:
    """What a class can be told by name, with its defaults."""
    parameters = inspect.signature(callable_).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in without}


OF_THE_CONDENSER = _defaults(Condenser, "epochs", "seed", "history")
"""Settings that a condensed row can take."""

OF_A_PLAIN_ROW: dict[str, Any] = {"subset": 1.0}
"""Settings that a row without condensation can take: the share of the samples, drawn at random once, that it shows."""


def _of_the_method(name: str) -> dict[str, Any]:
    """Settings that a row of this method can take; none without one."""
    if not name:
        return {}
    method = distiller_class(name)
    hands_on = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(method).parameters.values())
    return (_defaults(Distiller) if hands_on else {}) | _defaults(method)


@dataclass(frozen=True)
class Row:
    """One way to train a student: a method, condensed or not, and what is set otherwise than in the benchmark.

    Attributes:
        spec: as in the published table, ``"KC-CRD"``, with ``@`` and settings behind it: ``"KC-KD@ratio=0.5,random"``.
        method: name of the distiller, ``"crd"``; empty for a network trained on labels alone.
        condensed: are fewer and fewer samples shown?
        settings: by name, of the condenser, the method and the run.
        label: what it is called instead; empty for its spec.
    """

    spec: str
    method: str = ""
    condensed: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables, figures and records."""
        return self.label or self.spec

    def __str__(self) -> str:
        """As :func:`find_row` reads it."""
        return f"{self.label}: {self.spec}" if self.label else self.spec

    @property
    def meaning(self) -> str:
        """How it is trained, in a few words."""
        if self.settings:
            return ", ".join(map(_meaning, self.spec.partition("@")[2].split(",")))
        if not self.method:
            return "labels alone"
        return "fewer and fewer samples" if self.condensed else "all samples in every epoch"

    @property
    def value(self) -> str:
        """The value measure, if it is not the condenser's usual one."""
        return str(dict(self.settings).get("value", ""))

    @property
    def method_settings(self) -> dict[str, Any]:
        """Constants of the method that are not its defaults."""
        others = {**OF_THE_RUN, **OF_THE_CONDENSER, **OF_A_PLAIN_ROW}
        return {name: value for name, value in self.settings if name not in others}

    def is_condensed_of(self, plain: "Row") -> bool:
        """Is the other one its row that shows all samples, alike in everything else?"""
        rest = tuple(setting for setting in self.settings if setting[0] not in OF_THE_CONDENSER)
        return self.condensed and (plain.method, plain.condensed, plain.settings) == (self.method, False, rest)

    def epochs(self, of_scale: int) -> int:
        """Length of a run at a scale of E epochs."""
        chosen = dict(self.settings)
        return int(chosen.get("epochs", max(1, round(chosen.get("length", 1) * of_scale))))

    def at(self, scale: "Scale") -> "Scale":
        """A scale with what this row sets otherwise: epochs, precision, store."""
        changed = {name: value for name, value in self.settings if name in ("precision", "store")}
        return dataclasses.replace(scale, epochs=self.epochs(scale.epochs), **changed)

    def condenser_settings(self, epochs: int, seed: int) -> dict[str, Any]:
        """Arguments of :meth:`condenser` beside the number of samples; empty for a row that shows all."""
        if not self.condensed:
            share = dict(self.settings).get("subset", 1.0)
            return {} if share == 1 else {"share": share, "seed": seed}
        stages = min(STAGES, epochs)
        changed = {name: value for name, value in self.settings if name in OF_THE_CONDENSER}
        return {"ratio": RATIO, "stages": stages, "epochs": epochs, "seed": seed, **changed}

    def condenser(self, num_samples: int, epochs: int, seed: int) -> Condenser | FixedSubset | None:
        """What decides which samples a run of E epochs shows; ``None`` shows all of them in every epoch."""
        settings = self.condenser_settings(epochs, seed)
        if self.condensed:
            return Condenser(num_samples, **settings)
        return FixedSubset(num_samples, **settings) if settings else None

    def shown(self, num_samples: int, of_scale: int) -> list[int]:
        """Samples shown to the student in every epoch of a run."""
        epochs = self.epochs(of_scale)
        condenser = self.condenser(num_samples, epochs, seed=0)
        if not isinstance(condenser, Condenser):
            return [num_samples if condenser is None else len(condenser.active)] * epochs
        events = event_epochs(epochs, condenser.config["stages"])
        return [condenser.counts[sum(epoch >= event for event in events)] for epoch in range(epochs)]


STUDENT = Row("Student")
PLAIN_ROWS = tuple(Row(title, method) for method, title in TITLES.items())
CONDENSED_ROWS = tuple(Row(f"KC-{TITLES[method]}", method, True) for method in ("kd", "pkt", "crd", "sskd"))
ROWS = (STUDENT, *PLAIN_ROWS, *CONDENSED_ROWS)
"""The trained rows of the published table, in its order: the student alone and fifteen methods."""


def find_row(name: str) -> Row:
    """A row by its name; beyond the table any ``KC-NAME``, and settings as ``ROW@NAME=VALUE,VARIANT``.

    Upper and lower case are the same. ``LABEL: ROW`` gives it another name in tables and figures.

    Raises:
        ValueError: an unknown row, variant or setting, with the nearest name; one that does not fit the row; a label that
            is the name of another row.

    >>> find_row("kc-fitnet").name, find_row("KC-KD@released").condenser_settings(240, seed=0)["preset"]
    ('KC-FitNet', 'released')
    >>> row = find_row("half: kc-kd@ratio=0.50,random")
    >>> row.name, str(row), row.settings
    ('half', 'half: KC-KD@ratio=0.5,random', (('ratio', 0.5), ('selection', 'random'), ('mixing', False)))
    """
    label, _, spec = name.rpartition(": ")
    base, at, rest = spec.partition("@")
    row = _find_base(base)
    if (label.casefold() in _bases() and (at or label.casefold() != row.spec.casefold())) or "@" in label:
        raise ValueError(f"row={name!r} has a label that is, or looks like, another row; choose another label")
    if not at:
        return dataclasses.replace(row, label=label)
    texts, settings = [], {}
    for part in rest.split(","):
        text, found = _setting(name, row, part)
        if twice := [key for key in found if key in settings]:
            raise ValueError(f"row={name!r} sets {twice[0]} twice")
        texts.append(text)
        settings.update(found)
    row = Row(f"{row.spec}@{','.join(texts)}", row.method, row.condensed, tuple(settings.items()), label)
    if {"epochs", "length"} <= settings.keys():
        raise ValueError(
            f"row={name!r} sets epochs and length, which is a share of the scale's epochs; give one of them"
        )
    check_between("length", settings.get("length", 1.0), 0, 1_000, open_low=True)
    check_between("subset", settings.get("subset", 1.0), 0, 1, open_low=True)
    row.at(Scale())  # refuses what no run can have
    return row


def _meaning(part: str) -> str:
    """What a variant or a setting changes, in a few words."""
    if part.startswith("value="):
        meaning = find_value(part.removeprefix("value=")).meaning
        return f"ranked by: {meaning[:1].lower()}{meaning[1:]}"
    return MEANINGS.get(part, part)


def _setting(row_name: str, row: Row, part: str) -> tuple[str, dict[str, Any]]:
    """One part of what stands behind ``@``, as it is printed, and what it sets."""
    name, equals, value = part.partition("=")
    chooses = OF_THE_CONDENSER if row.condensed else OF_A_PLAIN_ROW
    known = OF_THE_RUN | chooses | _of_the_method(row.method)
    if equals and (name in known or row.condensed or name not in OF_THE_CONDENSER):
        check_choice("setting", name, known)
        if name == "value":
            check_choice("value", value, VALUES)
        read = _read(row_name, name, value, known[name])
        return f"{name}={_written(read)}", {name: read}
    if not equals:
        check_choice("variant", name, VARIANTS)
    if not row.method:
        raise ValueError(f"row={row_name!r} does not exist: the student alone has no variants")
    if equals or (name == "short") == row.condensed:
        wanted = row.spec.removeprefix("KC-") if row.condensed else f"KC-{row.spec}"
        kind = "setting" if equals else "variant"
        raise ValueError(f"row={row_name!r} does not exist; the {kind} {name!r} belongs to {wanted}@{part}")
    return name, VARIANTS[name]


def _read(row: str, name: str, text: str, like: Any) -> Any:
    """The value of a setting, of the type of its default."""
    if isinstance(like, str):
        return text
    if isinstance(like, bool):
        check_choice(name, text, ("true", "false"))
        return text == "true"
    try:
        return int(text) if isinstance(like, int) else float(text)
    except ValueError as error:
        kind = "a whole number" if isinstance(like, int) else "a number"
        raise ValueError(f"row={row!r}: {name} must be {kind}, got {text!r}") from error


def _written(value: Any) -> str:
    """A value as :func:`_read` reads it."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bases() -> dict[str, Row]:
    """All rows without settings, by their names in lower case."""
    known = {row.spec.casefold(): row for row in ROWS}
    for method in list_distillers():
        title = title_of(method)
        for called in (title, method):
            known.setdefault(called.casefold(), Row(title, method))
            known.setdefault(f"kc-{called}".casefold(), Row(f"KC-{title}", method, condensed=True))
    return known


def _find_base(name: str) -> Row:
    """A row without settings."""
    known = _bases()
    if name.casefold() not in known:
        check_choice("row", name, [row.spec for row in known.values()])
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
        dataset: a name of :func:`kcd_teach.datasets.list_datasets`, or a folder of images, one folder for each class.
        epochs: E of a run, of students, and of teachers without epochs of their own.
        batch_size: samples per step.
        per_class, test_per_class: only the first training and test images of every class; ``None`` takes all.
        classes: only the first classes; ``None`` takes all.
        side: pixels of the shorter side to which images are reduced; ``None`` leaves them as they are. Images of a folder,
            which may be of any size, are brought to so many pixels on both sides, by default to 32.
        precision: ``"float32"`` or ``"bfloat16"``; never chosen by itself, since results would differ with it.
        teacher_epochs: of a teacher that is trained here; ``None`` for as many as a student.
        store: ``"disk"`` keeps the teachers' answers for all runs on this machine, ``"memory"`` for all runs of a
            process, see :class:`~kcd_teach.knowledge.Knowledge`; ``"off"`` asks every time.
        teachers: ``"trained"`` here, or ``"bundled"``, the one that comes with the course's images.
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
    teachers: str = "trained"

    def __post_init__(self) -> None:
        if self.dataset not in list_datasets() and Path(self.dataset).is_dir():
            object.__setattr__(self, "dataset", str(folder_of(self.dataset)))  # whole, for processes in other folders
        elif not Path(self.dataset).is_absolute():  # a plan can be read where its images are not
            folder_of(self.dataset)  # refuses what looks like a path
            try:
                check_choice("dataset", self.dataset, list_datasets())
            except ValueError as error:
                raise ValueError(f"{error}; and no folder of images is called so in {Path.cwd()}") from error
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("store", self.store, STORES)
        check_choice("teachers", self.teachers, ("trained", "bundled"))
        least = {
            "epochs": 1,
            "teacher_epochs": 1,
            "batch_size": 2,
            "per_class": 1,
            "test_per_class": 1,
            "classes": 2,
            "side": 8,
        }
        for name, value in least.items():
            if getattr(self, name) is not None or name in ("epochs", "batch_size"):  # the others may be left open
                check_at_least(name, getattr(self, name), value)
                check_at_most(name, getattr(self, name), 1_000_000)

    @property
    def is_published(self) -> bool:
        """Is this the published recipe on all of CIFAR-100, whatever its name?"""
        return dataclasses.replace(self, name="", precision="float32", store="off") == Scale(name="")

    def recipe(self, learning_rate: float, epochs: int | None = None) -> Recipe:
        """The benchmark's recipe at this scale, of ``epochs`` if they are not those of the scale."""
        return Recipe(
            epochs=epochs or self.epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            precision=self.precision,
        )

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
        others = ("name", "epochs", "batch_size", "precision", "teacher_epochs", "store", "teachers")
        only_images = dataclasses.replace(self, **{name: getattr(Scale, name) for name in others})
        if (folder := folder_of(self.dataset)) is not None:
            changes = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(folder.glob("*/")))
            return _images(only_images, None, (folder.stat().st_mtime_ns, changes))
        path = dataset_file(self.dataset, root)
        # A file that another one took the place of in the meantime is read again.
        found = (str(path), path.stat().st_mtime_ns, path.stat().st_size) if path else DATASETS[self.dataset]
        return _images(only_images, None if root is None else str(root), found)


SCALES = {
    "full": Scale(),
    "slice": Scale("slice", epochs=24, per_class=250, classes=20, teacher_epochs=60, store="disk"),
    "small": Scale("small", "fashion-mnist-mini", epochs=3, batch_size=20, per_class=10, test_per_class=10, side=16),
    "course": Scale(
        "course", "fashion-mnist-mini", epochs=24, per_class=200, teacher_epochs=40, store="memory", teachers="bundled"
    ),
}


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
    folder = folder_of(scale.dataset)
    dataset = load_dataset(scale.dataset, root) if folder is None else Dataset.from_folder(folder, scale.side or SIZE)
    if scale.dataset == "cifar100":
        check_cifar100(dataset)
    classes = scale.classes or len(dataset.classes)
    if classes > len(dataset.classes):
        raise ValueError(f"classes must be at most {len(dataset.classes)} for {scale.dataset}, got {classes}")
    train = _first(dataset.train_labels, classes, scale.per_class)
    test = _first(dataset.test_labels, classes, scale.test_per_class)
    dataset = dataclasses.replace(
        dataset,
        classes=dataset.classes[:classes],
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        test_images=dataset.test_images[test],
        test_labels=dataset.test_labels[test],
    )
    return dataset if scale.side is None or folder is not None else _reduce(dataset, scale.side)


def _first(labels: Tensor, classes: int, count: int | None) -> Tensor:
    """Ids of the first samples of each of the first classes, ascending."""
    if count is None:
        return torch.nonzero(labels < classes).flatten()
    return torch.cat([torch.nonzero(labels == c).flatten()[:count] for c in range(classes)]).sort().values


def _reduce(dataset: Dataset, side: int) -> Dataset:
    """Average the images down to ``side`` pixels of their shorter side, and their border in proportion."""
    height, width = dataset.train_images.shape[2:]
    shorter = min(height, width)
    if side > shorter:
        raise ValueError(f"side must be at most {shorter} for {dataset.name}, got {side}")
    sides = round(side * height / shorter), round(side * width / shorter)

    def reduced(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float(), sides).round().to(torch.uint8)

    return dataclasses.replace(
        dataset,
        train_images=reduced(dataset.train_images),
        test_images=reduced(dataset.test_images),
        padding=max(1, round(dataset.padding * side / shorter)),
    )


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
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        sums = torch.zeros(len(dataset.classes), dtype=torch.int64)
        for some, of_them in zip(images.split(5_000), labels.split(5_000), strict=True):
            numbers = (some.flatten(1).double() @ weights).long()  # whole, and exact: less than 2 ** 53
            sums.index_add_(0, of_them, numbers.square() % (2**31 - 1))
        digest.update(sums.numpy().tobytes())
    return digest.hexdigest()[:16]
