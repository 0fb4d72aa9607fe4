"""Runs so small that the oracle of the loop takes part of a second for each, and both ways to compute them.

Networks compute in double precision, so that a run of the library and the oracle's differ by rounding only; images are
multiples of eight, so that no mixture lands half-way between two levels.
"""

import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from kcd_teach import Condenser, Dataset, Knowledge, Recipe, create_distiller, distill
from kcd_teach.distillers import KD, Distiller
from kcd_teach.models.convnet import ConvNet
from tests.loop_oracle import Loop, Outcome, RandomCondenser
from tests.oracles import PlainCondenser

CLASSES, CHANNELS = 3, 2
CRD = {"negatives": 20, "size": 4}
"""Fewer negatives than the samples of other classes at first, and more in the end, when they are drawn repeatedly."""
DOUBLE, SINGLE = 1e-9, 5e-5
"""Tolerances, relative to the largest number of a tensor or series.

Measured on one and two threads, with and without AVX-512: at most 2e-13 in double precision, and 3e-6 where the library
itself rounds to single precision, in CRD's embeddings and in answers that are remembered; recorded values differ by 3e-7
there. Where samples are ranked, their scores are equal or at least 5e-6 apart, so that all agree on the order.
"""


def images_of_eights(count: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with a bright bar, whose place is the label."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = torch.randint(0, 20, (count, CHANNELS, height, width), generator=generator)
    for i, label in enumerate(labels.tolist()):
        images[i, label % CHANNELS, :, label + 1] += 11
    return (8 * images).to(torch.uint8), labels


@cache
def small_dataset(num_train: int = 44, height: int = 6, width: int = 8, padding: int = 2) -> Dataset:
    """Two channels with constants of their own, and images that are not square unless that is asked for."""
    generator = torch.Generator().manual_seed(5)
    train, test = (images_of_eights(count, height, width, generator) for count in (num_train, 30))
    return Dataset("small", *train, *test, ("a", "b", "c"), (0.3, 0.5), (0.2, 0.4), padding)


class Double(nn.Module):
    """A network that computes in double precision whatever it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor, **wanted: bool) -> Any:
        return self.network(images.double(), **wanted)


def small_network(seed: int, widths: tuple[int, int, int]) -> Double:
    """A network with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Double(ConvNet(widths, num_classes=CLASSES, in_channels=CHANNELS))


@torch.no_grad()
def teacher_of(dataset: Dataset) -> Double:
    """A fresh network whose last layer is shifted and stretched, so that it says different things about the images."""
    teacher = small_network(2, (4, 5, 6)).eval()
    said, last = teacher(dataset.normalise(dataset.train_images)), teacher.network.fc
    stretch = 2 / said.std(dim=0)
    last.weight.mul_(stretch[:, None])
    last.bias.sub_(said.mean(dim=0)).mul_(stretch)
    return teacher


class Growing(KD):
    """A method whose weights change with time: labels, and KD with a weight that grows from 0 epoch by epoch."""

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.label_weight, self.teacher_weight = 1.0, epoch / epochs


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        method: ``"labels"``, ``"kd"``, ``"growing"``, ``"crd"`` or ``"sskd"``.
        condenser: ratio, stages and settings of the condenser, as the library takes them; empty for none.
        recipe: changes of the recipe.
        dataset: changes of the data set.
        settings: constants of the method.
        remembered: answers of the teacher are kept in memory.
        by_name: the library is told the method's name and left to its defaults.
        tolerance: relative.
        seed: of the run.
    """

    method: str = "kd"
    condenser: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    remembered: bool = False
    by_name: bool = False
    tolerance: float = DOUBLE
    seed: int = 3


PAPER = {"ratio": 0.6, "stages": 3}
"""44, 35 and 26 samples: last batches of 4, 3 and 2, and nine mixtures twice."""
RELEASED = {"ratio": 0.25, "stages": 3, "preset": "released"}
"""44, 39 and 34 samples, 29 after the last epoch: five mixtures each time, some of which are mixtures of mixtures."""
RANDOM = {**PAPER, "selection": "random", "seed": 2}

CASES = {
    "labels alone": Case("labels"),
    "KD": Case(),
    "KD that grows with time": Case("growing"),
    "KC-KD, paper": Case(condenser=PAPER),
    "KC-KD, released": Case(condenser=RELEASED),
    "KC-KD, no mixing": Case(condenser={**PAPER, "mixing": False}),
    "random selection": Case(condenser={**RANDOM, "mixing": False}),
    # Mixtures of none, one, none, one and no pair.
    "KC-KD, stages that drop nobody": Case(condenser={"ratio": 0.955, "stages": 6}),
    # So many are left out of an epoch that some have never been shown when samples are ranked.
    "KC-KD, incomplete batches dropped": Case(condenser=PAPER, recipe={"drop_last": True, "batch_size": 15}),
    "KC-KD, not augmented": Case(condenser=PAPER, recipe={"augment": False}),
    # Of two views each, so that an answer is asked for again.
    "KC-KD, answers remembered": Case(condenser=PAPER, dataset={"padding": 0}, remembered=True, tolerance=SINGLE),
    "KC-KD, released, answers remembered": Case(
        condenser=RELEASED, dataset={"padding": 0}, remembered=True, tolerance=SINGLE, seed=4
    ),
    "KC-KD by name": Case(condenser={"ratio": 0.7, "stages": 6}, dataset={"num_train": 48}, by_name=True),
    "KC-CRD": Case("crd", PAPER, {"learning_rate": 0.004}, settings=CRD, tolerance=SINGLE, seed=1),
    "KC-CRD, contrasts with all": Case(
        "crd", PAPER, {"learning_rate": 0.004}, settings={**CRD, "negatives_from": "all"}, tolerance=SINGLE, seed=1
    ),
    "KC-SSKD": Case(
        "sskd", {"ratio": 0.6, "stages": 2}, {"epochs": 16, "batch_size": 6, "milestones": (0.25, 0.5)},
        {"num_train": 18, "height": 6, "width": 6},
    ),
}  # fmt: skip


def recipe_of(case: Case) -> Recipe:
    """Six epochs with four rates, and enough weight decay to be seen."""
    settings = {
        "epochs": 6, "batch_size": 8, "learning_rate": 0.04, "momentum": 0.8, "weight_decay": 0.01,
        "milestones": (1 / 3, 1 / 2, 5 / 6), "decay": 0.5,
    }  # fmt: skip
    return Recipe(**{**settings, **case.recipe})


def parts_of(case: Case) -> tuple[nn.Module, nn.Module | None, Dataset, Distiller | None]:
    """Student and teacher with fresh weights, images, and what the method brings along."""
    dataset = small_dataset(**case.dataset)
    student, teacher = small_network(1, (3, 4, 5)), teacher_of(dataset)
    if case.method in ("labels", "kd"):
        return student, None if case.method == "labels" else teacher, dataset, None
    if case.method == "growing":
        return student, teacher, dataset, Growing()
    shape = (CHANNELS, *dataset.train_images.shape[2:])
    distiller = create_distiller(case.method, student, teacher, image_shape=shape, seed=case.seed, **case.settings)
    return student, teacher, dataset, distiller.double()


@cache
def by_the_oracle(name: str) -> Outcome:
    """What the run of a case must come to."""
    case = CASES[name]
    student, teacher, dataset, distiller = parts_of(case)
    recipe, condenser = recipe_of(case), None
    if case.condenser:
        settings = {**case.condenser, "ratio": str(case.condenser["ratio"]), "epochs": recipe.epochs}
        kind = RandomCondenser if settings.get("selection") == "random" else PlainCondenser
        condenser = kind(len(dataset.train_images), **settings)
    method = "kd" if case.method == "labels" else case.method
    return Loop(
        student, teacher, dataset, recipe, condenser=condenser, method=method, distiller=distiller, seed=case.seed,
        remembered=case.remembered,
    ).run()  # fmt: skip


def by_the_library(name: str) -> Outcome:
    """What the library makes of it."""
    case = CASES[name]
    student, teacher, dataset, distiller = parts_of(case)
    recipe, condenser, known = recipe_of(case), None, teacher
    if case.condenser and not case.by_name:
        condenser = Condenser(len(dataset.train_images), epochs=recipe.epochs, **case.condenser)
    if case.remembered:
        known = Knowledge(teacher, dataset, "memory")
    method = "kc-kd" if case.by_name else distiller
    run = distill(student, dataset, known, recipe=recipe, distiller=method, condenser=condenser, seed=case.seed)
    outcome = Outcome()
    outcome.reports = [
        (r.epoch, r.stage, r.active, r.presentations, r.learning_rate, r.train_loss, r.test_accuracy) for r in run
    ]
    outcome.student = copy.deepcopy(student.state_dict())
    if distiller is not None:
        outcome.parts = copy.deepcopy(distiller.state_dict())
    if case.condenser:
        used: Any = run.condenser
        outcome.value, outcome.frequency = used.value.tolist(), used.frequency.tolist()
        outcome.active = used.active.tolist()
        parts = (used.mixture.boundary, used.mixture.partners, used.mixture.coefficients)
        outcome.mixture = list(zip(*(part.tolist() for part in parts), strict=True))
    return outcome
