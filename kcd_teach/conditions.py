"""In which ways was the student trained? The conditions of every stored study, and the run of each."""

from dataclasses import dataclass, field, replace
from typing import Any

from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, Distiller, create_distiller, list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.training import Distillation, Recipe, distill

STUDENT = "mini_resnet8"
EPOCHS, STAGES = 24, 6
PER_CLASS, SEEDS = 200, 10
"""The course's setting: a student that sees 200 images per class, taught by a teacher that has seen 1,000."""
TEACHER_EPOCHS = 40
NEGATIVES = 655
"""Of contrastive methods on 2,000 images: the benchmark's 16,384 of 50,000."""


@dataclass(frozen=True)
class Condition:
    """One way to train the student.

    Attributes:
        name: as stored.
        seeds: number of runs, seeds 0, 1, ..
        temperature: of the distillation; 0 trains on labels alone.
        epochs: of the run.
        condenser: settings of the :class:`Condenser`; empty for none.
        method: how knowledge is moved, a name of :func:`~kcd_teach.distillers.list_distillers`.
        precision: in which both networks are run.
        store: where the teacher's answers are kept.
    """

    name: str
    seeds: int = 3
    temperature: float = 4.0
    epochs: int = EPOCHS
    condenser: dict[str, Any] = field(default_factory=dict)
    method: str = "kd"
    precision: str = "float32"
    store: str = "memory"


_RANDOM = {"selection": "random", "mixing": False}

_CONDITIONS_10K = (
    Condition("labels alone", seeds=5, temperature=0),
    Condition("KD", seeds=5),
    Condition("KC-KD 70%", seeds=5, condenser={"ratio": 0.7}),
    Condition("random 70%", seeds=5, condenser={"ratio": 0.7, **_RANDOM}),
    Condition("KD, 20 epochs", epochs=20),
    Condition("no mixing", condenser={"ratio": 0.7, "mixing": False}),
    Condition("released code", condenser={"ratio": 0.7, "preset": "released"}),
    Condition("lowest value", condenser={"ratio": 0.7, "selection": "lowest", "mixing": False}),
    Condition("sum of entropies", condenser={"ratio": 0.7, "value": "sum"}),
    Condition("without frequency", condenser={"ratio": 0.7, "alpha": 0.0}),
    Condition("never return", condenser={"ratio": 0.7, "pool": "active"}),
    Condition("all dropped as partners", condenser={"ratio": 0.7, "partners": "complement"}),
    Condition("random 70%, mixed", condenser={"ratio": 0.7, "selection": "random"}),
    Condition("KC-KD 90%", condenser={"ratio": 0.9}),
    Condition("KC-KD 50%", seeds=5, condenser={"ratio": 0.5}),
    Condition("KC-KD 30%", condenser={"ratio": 0.3}),
    Condition("random 90%", condenser={"ratio": 0.9, **_RANDOM}),
    Condition("random 50%", seeds=5, condenser={"ratio": 0.5, **_RANDOM}),
    Condition("random 30%", condenser={"ratio": 0.3, **_RANDOM}),
    *(Condition(f"KD, T = {temperature:g}", temperature=temperature) for temperature in (1.0, 2.0, 8.0)),
)


METHOD_CONDITIONS = tuple(
    Condition(prefix + method, seeds=5, condenser=condenser, method=method)
    for method in list_distillers()
    for prefix, condenser in (("", {}), ("kc-", {"ratio": 0.7}))
)


ENGINE_CONDITIONS = tuple(
    Condition(
        f"{name}, {precision}, store {store}", 5, epochs=EPOCHS // 2, condenser=condenser, precision=precision,
        store=store,
    )
    for name, precision, condenser in (
        ("KD", "float32", {}),
        ("KD", "bfloat16", {}),
        ("KC-KD 70%", "float32", {"ratio": 0.7}),
    )
    for store in ("off", "memory")
)  # fmt: skip
"""Half as long as the others, and KC-KD in float32 alone: where bfloat16 is emulated, it is some eight times slower."""


@dataclass(frozen=True)
class Study:
    """Conditions that are compared, and the number of training images per class they share."""

    conditions: tuple[Condition, ...]
    per_class: int


STUDIES = {
    "students": Study(tuple(replace(condition, seeds=SEEDS) for condition in _CONDITIONS_10K), PER_CLASS),
    "students-10k": Study(_CONDITIONS_10K, 1_000),
    "methods": Study(METHOD_CONDITIONS, PER_CLASS),
    "engine": Study(ENGINE_CONDITIONS, PER_CLASS),
}


def run_of(condition: Condition, seed: int, dataset: Dataset, knowledge: Knowledge) -> Distillation:
    """The run of one condition and seed; the seed sets initial weights, order, views and random selection."""
    student = create_model(STUDENT, len(dataset.classes), dataset.in_channels, seed=seed)
    condenser = None
    if condition.condenser:
        settings = {"stages": STAGES, "epochs": condition.epochs, "seed": seed, **condition.condenser}
        condenser = Condenser(len(dataset.train_images), **settings)
    recipe = Recipe(epochs=condition.epochs, precision=condition.precision)
    if condition.temperature == 0:
        return distill(student, dataset, recipe=recipe, condenser=condenser, seed=seed)
    distiller: Distiller = KD(condition.temperature)
    if condition.method != "kd":
        shape = (dataset.in_channels, *dataset.train_images.shape[2:])
        settings = {"negatives": NEGATIVES} if condition.method in ("crd", "wcord") else {}
        distiller = create_distiller(
            condition.method, student, knowledge.teacher, image_shape=shape, seed=seed, **settings
        )
    return distill(student, dataset, knowledge, recipe=recipe, distiller=distiller, condenser=condenser, seed=seed)
