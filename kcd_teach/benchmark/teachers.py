"""Where does a teacher come from? Trained here, or from a published checkpoint; known by a hash of its weights."""

import dataclasses
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach._checks import check_at_least, check_choice
from kcd_teach._files import written_whole
from kcd_teach.benchmark.finishing import Watch, configured, described, finish, keep_weights, repeatably, unwatched
from kcd_teach.benchmark.pairs import PAIRS, rate_of
from kcd_teach.benchmark.published import PUBLISHED
from kcd_teach.benchmark.scales import Scale
from kcd_teach.benchmark.store import Record, Store, key_of
from kcd_teach.datasets import Dataset
from kcd_teach.engine import Engine
from kcd_teach.fingerprints import fingerprint_of, hash_of
from kcd_teach.knowledge import accuracy
from kcd_teach.models import create_model, list_models, load_checkpoint
from kcd_teach.recipe import Recipe
from kcd_teach.training import Distillation, distill

Root = str | Path | None
"""Folder of the data set; ``None`` looks where :func:`kcd_teach.datasets.load_dataset` looks."""


@dataclass(frozen=True)
class Teacher:
    """A trained network that the runs of a folder learn from.

    Attributes:
        network: a name of :func:`kcd_teach.models.list_models`.
        weights: SHA-256 of its weights.
        accuracy: measured on the test images of the scale, 0 .. 1.
        origin: where it comes from, in words.
    """

    network: str
    weights: str
    accuracy: float
    origin: str

    @property
    def published(self) -> float | None:
        """Published accuracy of a teacher of this architecture on CIFAR-100, percent; None outside the table."""
        pairs = [pair.name for pair in PAIRS if pair.teacher == self.network]
        return PUBLISHED["Teacher"][pairs[0]].accuracy if pairs else None

    def file(self, store: Store) -> Path:
        """Where its weights are; ``.npz`` in a folder from before there were safetensors."""
        path = store.folder / "teachers" / f"{self.network}-{self.weights[:16]}.safetensors"
        old = path.with_suffix(".npz")
        return old if old.exists() and not path.exists() else path

    def load(self, store: Store, dataset: Dataset) -> nn.Module:
        """The network, in eval mode; raises ValueError if the file holds other weights than it should."""
        network = create_model(self.network, len(dataset.classes), dataset.in_channels, seed=0)
        load_checkpoint(network, self.file(store))
        if hash_of(network) != self.weights:
            raise ValueError(f"{self.file(store)} holds other weights than the plan was made with; start it again")
        return network.eval()

    def __str__(self) -> str:
        known = "" if self.published is None else f", published {self.published:.2f} % (full recipe, CIFAR-100)"
        return f"{self.network} {self.weights[:8]}: {100 * self.accuracy:.2f} %{known}; {self.origin}"


def train_teacher(
    network: str, scale: Scale, store: Store, *, seed: int = 0, root: Root = None,
    device: torch.device | str = "cpu", watch: Watch = unwatched,
) -> Teacher | None:  # fmt: skip
    """Train a teacher on labels with the benchmark's recipe, or find the one that was trained before.

    Args:
        network: a name of :func:`kcd_teach.models.list_models`.
        scale: images and epochs.
        store: keeps its weights and its record; an interrupted training goes on from there.
        seed: of initial weights, order and views.
        root: folder of the data set.
        device: where to compute.
        watch: is told about every epoch.

    Returns:
        The teacher; None while another process is training it.
    """
    check_choice("teacher", network, list_models())
    check_at_least("seed", seed, 0)
    dataset = scale.images(root)
    recipe = scale.recipe(rate_of(network), scale.teacher_epochs)
    config = _config(network, recipe, dataset, seed)
    key = key_of(config)
    file = _record_file(network, config, store)

    def start(checkpoint: Path) -> Distillation:
        fresh = create_model(network, len(dataset.classes), dataset.in_channels, seed=seed)
        return distill(fresh, dataset, recipe=recipe, seed=seed, device=device, checkpoint=checkpoint)

    with store.claim(key) as mine:
        if mine and not _is_whole(file, store, dataset):
            run = finish(f"teacher {network}", key, store, start, watch)
            origin = f"trained here for {recipe.epochs} epochs, seed {seed}"
            teacher = Teacher(network, hash_of(run.student), run.reports[-1].test_accuracy, origin)
            _keep(run.student, teacher, store, dataset, key=key, config=json.dumps(config))
            _write(store, file, {**dataclasses.asdict(teacher), "key": key, "config": config, **described(run)})
        if mine:
            store.discard(key)
        return read_teacher(file) if file.exists() else None


def choose_teacher(
    network: str, scale: Scale, store: Store, *, root: Root = None, checkpoint: str | Path | None = None
) -> tuple[Teacher | None, str]:
    """Which teacher the runs of a folder will learn from; nothing is trained or written.

    One that was trained as the scale says (seed 0), or else, where the scale leaves its epochs open, the only one that
    the folder has for these images.

    Args:
        network: a name of :func:`kcd_teach.models.list_models`.
        scale: images and epochs.
        store: the folder.
        root: folder of the data set.
        checkpoint: a published file that is to be used instead, see :func:`load_published`.

    Returns:
        The teacher, or None if it will be trained as the scale says or taken from the checkpoint; and what else is to
        be known about that choice, in words.

    Raises:
        ValueError: the folder has several, and the scale does not say which; the weights of the one are damaged; a
            checkpoint of another network.
        OSError: a checkpoint that is missing.
    """
    dataset = scale.images(root)
    if checkpoint is not None:
        load_checkpoint(create_model(network, len(dataset.classes), dataset.in_channels, seed=0), checkpoint)
        return None, ""
    recipe = scale.recipe(rate_of(network), scale.teacher_epochs)
    planned = _record_file(network, _config(network, recipe, dataset, seed=0), store)
    found = _teachers_for(network, dataset, store)
    others = {path: teacher for path, teacher in found.items() if path != planned}
    if scale.teacher_epochs is None and len(found) > 1:
        raise ValueError(
            f"{store.folder} has {len(found)} teachers {network} for these images, {_listed(found)}: say which one by "
            f"--teacher-epochs (teacher_epochs of the scale) or --checkpoint {network}=FILE"
        )
    unused = f"not used: {_listed(others)}" if others else ""
    if planned.exists():
        damage = _damage(planned, store, dataset)
        return (None, damage) if damage else (found[planned], unused)
    if scale.teacher_epochs is None and others:
        (only,) = others.values()
        only.load(store, dataset)
        return only, f"the only one in {store.folder}; --teacher-epochs {recipe.epochs} trains another"
    return None, unused


def _listed(teachers: Mapping[Path, Teacher]) -> str:
    return "; ".join(f"{teacher.origin} ({100 * teacher.accuracy:.2f} %)" for teacher in teachers.values())


def _teachers_for(network: str, dataset: Dataset, store: Store) -> dict[Path, Teacher]:
    """Record -> teacher, of all that a folder has for these images: trained with seed 0, or from a checkpoint."""
    found, images = {}, fingerprint_of(dataset)
    for path in sorted((store.folder / "teachers").glob(f"{network}-*.json")):
        try:
            record, teacher = json.loads(path.read_text(encoding="utf-8")), read_teacher(path)
            config = record.get("config", {"images": record.get("images"), "seed": 0})
            if (teacher.network, config["images"], config["seed"]) == (network, images, 0):
                found[path] = teacher
        except (ValueError, KeyError, TypeError):  # damaged: training says so, and mends it
            continue
    return found


def _config(network: str, recipe: Recipe, dataset: Dataset, seed: int) -> dict[str, Any]:
    """All that the weights of a teacher depend on."""
    return configured(teacher=network, recipe=dataclasses.asdict(recipe), images=fingerprint_of(dataset), seed=seed)


def _record_file(network: str, config: dict[str, Any], store: Store) -> Path:
    return store.folder / "teachers" / f"{network}-{key_of(config)}.json"


def load_published(
    network: str, path: str | Path, scale: Scale, store: Store, *, root: Root = None,
    device: torch.device | str = "cpu",
) -> Teacher:  # fmt: skip
    """Take a teacher from a published checkpoint, and measure it; its weights are copied to the store.

    Raises:
        ValueError: an unknown network; a file that is damaged, could run code, or holds another network.
        OSError: a file that is missing.
    """
    check_choice("teacher", network, list_models())
    dataset = scale.images(root)
    loaded = load_checkpoint(create_model(network, len(dataset.classes), dataset.in_channels, seed=0), path).eval()
    weights = hash_of(loaded)
    engine = Engine(device, scale.precision)
    with repeatably():
        measured = accuracy(engine.prepare(loaded), dataset.to(device), engine.precision)
    teacher = Teacher(network, weights, measured, f"from the checkpoint {Path(path).name}")
    _keep(loaded, teacher, store, dataset)
    record = {**dataclasses.asdict(teacher), "scale": scale.name, "images": fingerprint_of(dataset)}
    _write(store, teacher.file(store).with_suffix(".json"), record)
    return teacher


def check_checkpoints(teachers: Iterable[str], checkpoints: Mapping[str, str | Path]) -> None:
    """Raise ValueError for a checkpoint of a network that is not among a plan's teachers."""
    for name in checkpoints:
        check_choice("teacher with a checkpoint", name, teachers)


def _is_whole(file: Path, store: Store, dataset: Dataset) -> bool:
    """Is a trained teacher there, record and weights? If it is damaged, say so."""
    if not file.exists():
        return False
    if damage := _damage(file, store, dataset):
        warnings.warn(f"a teacher is lost: {damage}; it is trained again", stacklevel=2)
    return not damage


def _damage(file: Path, store: Store, dataset: Dataset) -> str:
    """What is wrong with a teacher's record or weights; nothing if it is whole."""
    try:
        read_teacher(file).load(store, dataset)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _keep(network: nn.Module, teacher: Teacher, store: Store, dataset: Dataset, **about: str) -> None:
    """Save a teacher's weights."""
    keep_weights(
        network, teacher.file(store).with_suffix(".safetensors"), store, dataset, origin=teacher.origin, **about
    )


def _write(store: Store, path: Path, record: Record) -> None:
    with store.alone(path), written_whole(path) as file:
        file.write((json.dumps(record) + "\n").encode())


def read_teacher(path: Path) -> Teacher:
    """A teacher from its record; raises ValueError for a file that is none."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        return Teacher(record["network"], record["weights"], record["accuracy"], record["origin"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the record of a teacher; delete it to train the teacher again") from error
