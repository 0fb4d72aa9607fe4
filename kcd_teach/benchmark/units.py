"""What is one run of the benchmark? A pair, a row and a seed, with all that its result depends on."""

import dataclasses
import inspect
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from platform import node
from typing import Any

import torch
from torch import nn

from kcd_teach.benchmark.finishing import Watch, configured, described, finish, keep_weights, unwatched
from kcd_teach.benchmark.pairs import Pair
from kcd_teach.benchmark.rows import Row
from kcd_teach.benchmark.scales import Scale, negatives_of
from kcd_teach.benchmark.store import Store, key_of
from kcd_teach.benchmark.teachers import Root, Teacher
from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import create_distiller, distiller_class
from kcd_teach.fingerprints import code_fingerprint, fingerprint_of
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.recipe import Recipe
from kcd_teach.training import Distillation, distill


@dataclass(frozen=True)
class Unit:
    """One run. It can be sent to any process or machine that sees the same folder and images.

    Attributes:
        pair, row, seed, scale: which student is trained how; the seed sets initial weights, order, views, selection.
        images: fingerprint of the data set.
        num_samples: training images.
        teacher: whom it learns from; None for the student alone.
        code: fingerprint of the code it belongs to; empty for runs from before there was one.
    """

    pair: Pair
    row: Row
    seed: int
    scale: Scale
    images: str
    num_samples: int
    teacher: Teacher | None
    code: str

    @property
    def title(self) -> str:
        """The run in a few words."""
        return f"{self.pair.name} {self.row.name} seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """How its student is optimised."""
        return self.scale.recipe(self.pair.learning_rate, self.row.epochs(self.scale.epochs))

    @property
    def method_settings(self) -> dict[str, Any]:
        """Constants of the method that depend on the images: the negatives of contrastive methods."""
        if not self.row.method or "negatives" not in inspect.signature(distiller_class(self.row.method)).parameters:
            return {}
        return {"negatives": negatives_of(self.num_samples)}

    @property
    def config(self) -> dict[str, Any]:
        """All that the result depends on; a student alone depends on no teacher, so pairs share it."""
        teacher = self.teacher and {"network": self.teacher.network, "weights": self.teacher.weights}
        return configured(
            **({"code": self.code} if self.code else {}),
            student=self.pair.student, teacher=teacher, method=self.row.method, method_settings=self.method_settings,
            condenser=self.row.condenser_settings(self.recipe.epochs, self.seed),
            recipe=dataclasses.asdict(self.recipe), images=self.images, seed=self.seed, store=self.scale.store,
        )  # fmt: skip

    @cached_property
    def key(self) -> str:
        """Name of the run, a hash of :attr:`config`."""
        return key_of(self.config)

    @property
    def presentations(self) -> int:
        """Samples that the student is shown, all epochs together."""
        return sum(self.row.shown(self.num_samples, self.scale.epochs))

    @property
    def weights_file(self) -> str:
        """Where the trained student is kept in the folder of its record, as ``students/V13-V8_KC-KD_seed0_KEY.safetensors``."""
        readable = re.sub(r"[^\w.@+-]+", "-", f"{self.pair.name}_{self.row.name}_seed{self.seed}_{self.key[:12]}")
        return f"students/{readable}.safetensors"


def start(
    unit: Unit, dataset: Dataset, teacher: nn.Module | None, device: torch.device | str, checkpoint: Path | None
) -> Distillation:
    """The run of a unit, at its beginning or where its checkpoint is."""
    student = create_model(unit.pair.student, len(dataset.classes), dataset.in_channels, seed=unit.seed)
    common: dict[str, Any] = {"recipe": unit.recipe, "seed": unit.seed, "device": device, "checkpoint": checkpoint}
    if teacher is None:
        return distill(student, dataset, **common)
    channels, height, width = dataset.train_images.shape[1:]
    distiller = create_distiller(
        unit.row.method, student, teacher, image_shape=(channels, height, width), seed=unit.seed,
        **unit.method_settings,
    )  # fmt: skip
    settings = unit.row.condenser_settings(unit.recipe.epochs, unit.seed)
    condenser = Condenser(unit.num_samples, **settings) if settings else None
    knowledge = Knowledge(teacher, dataset.to(device), unit.scale.store, precision=unit.scale.precision)
    return distill(student, dataset, knowledge, distiller=distiller, condenser=condenser, **common)


def execute(
    unit: Unit, folder: str | Path, *, root: Root = None, device: torch.device | str = "cpu", watch: Watch = unwatched
) -> bool:
    """Bring one run to its end and store its student and its record; does nothing if that is stored already.

    This is all that an engine has to call, in whatever process or on whatever machine.

    Args:
        unit: the run.
        folder: of the :class:`~kcd_teach.benchmark.store.Store`.
        root: folder of the data set.
        device: where to compute.
        watch: is told about every epoch.

    Returns:
        True once the record is stored; False while another process is at work on this run.

    Raises:
        ValueError: images, code or a teacher other than those of the plan.
        KeyboardInterrupt, FloatingPointError, OSError: see :func:`~kcd_teach.benchmark.finishing.finish`.
    """
    store = Store(folder)
    with store.claim(unit.key) as mine:
        done = unit.key in store.records()
        if mine and not done:
            if unit.code != code_fingerprint():
                raise ValueError(f"the code here differs from that of the plan; install the same kcd_teach on {node()}")
            dataset = unit.scale.images(root)
            if fingerprint_of(dataset) != unit.images:
                raise ValueError(f"{unit.scale.dataset} here differs from the images that the plan was made with")
            teacher = None if unit.teacher is None else unit.teacher.load(store, dataset)
            run = finish(
                unit.title, unit.key, store, lambda file: start(unit, dataset, teacher, device, file), watch
            )  # fmt: skip
            identity = {"pair": unit.pair.name, "row": unit.row.name, "seed": unit.seed, "scale": unit.scale.name}
            weights = keep_weights(  # before the record: a record without its weights would be a promise
                run.student,
                store.folder / unit.weights_file,
                store,
                dataset,
                key=unit.key,
                config=json.dumps(unit.config),
            )
            kept = {"weights": weights, "weights_file": unit.weights_file}
            store.append({"key": unit.key, **identity, "config": unit.config, **kept, **described(run)})
            done = True
        if mine:
            store.discard(unit.key)
    return done
