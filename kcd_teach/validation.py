"""Checks before the first batch: whether the parts of a run fit together, and whether a step would fail."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from kcd_teach._checks import NotFinite
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, Distiller, LabelsOnly, create_distiller, is_condensed, read_taps
from kcd_teach.distillers.base import Batch, Needs, respond
from kcd_teach.knowledge import Knowledge
from kcd_teach.recipe import Engine, Recipe
from kcd_teach.views import NegativePool, StageImages, batches

STAGES = 6
"""Stages of a run that is condensed by name; fewer if it has fewer epochs."""


def choose_knowledge(teacher: nn.Module | Knowledge | None, dataset: Dataset, precision: str) -> Knowledge | None:
    """The teacher as :class:`Knowledge`, on the data set's device."""
    knowledge = Knowledge(teacher, dataset, precision=precision) if isinstance(teacher, nn.Module) else teacher
    if knowledge is None:
        return None
    if not isinstance(knowledge, Knowledge):
        raise TypeError(f"teacher must be a network, Knowledge or None, got {type(teacher).__name__}")
    knowledge.check_fits(dataset)
    return knowledge


def check_networks(student: nn.Module, teacher: nn.Module | None) -> None:
    """Raise unless the student is a network of its own, none of whose weights are the teacher's."""
    if not isinstance(student, nn.Module):
        raise TypeError(f"student must be a network, a torch.nn.Module, got {type(student).__name__}")
    if not isinstance(teacher, nn.Module):
        return
    if student is teacher:
        raise ValueError("student and teacher must be two networks, got the same one twice; create or copy another")
    shared = {id(parameter) for parameter in student.parameters()} & {
        id(parameter) for parameter in teacher.parameters()
    }
    if shared:
        raise ValueError(
            f"student and teacher share {len(shared)} parameters, so training would change the teacher; copy the network"
        )


def choose_distiller(
    distiller: Distiller | type[Distiller] | str | None,
    student: nn.Module,
    knowledge: Knowledge | None,
    dataset: Dataset,
    seed: int,
) -> Distiller:
    """The loss: as given, by name or class, or by default :class:`KD` with a teacher and the labels without one."""
    if knowledge is None:
        if distiller is not None:
            raise ValueError("distiller needs a teacher, and teacher is None")
        return LabelsOnly()
    channels, height, width = dataset.train_images.shape[1:]
    shape = (channels, height, width)
    if isinstance(distiller, str) or (isinstance(distiller, type) and issubclass(distiller, Distiller)):
        return create_distiller(distiller, student, knowledge.teacher, image_shape=shape, seed=seed)
    if not isinstance(distiller, Distiller | None):
        seen = type(distiller).__name__
        raise TypeError(f"distiller must be a Distiller, its class, the name of one or None, got {seen}")
    if distiller is not None and distiller.needs.features:
        read_taps(student, knowledge.teacher, shape, features=True, preact=distiller.needs.teacher_preact)
    return distiller or KD()


def choose_condenser(
    condenser: Condenser | KeepAll | None,
    distiller: object,
    dataset: Dataset,
    recipe: Recipe,
    teacher: Knowledge | None = None,
) -> Condenser | KeepAll:
    """Which samples are shown: as given, the default condenser for ``kc-NAME``, or else all."""
    count = len(dataset.train_images)
    if condenser is None:
        if isinstance(distiller, str) and is_condensed(distiller):
            return Condenser(count, stages=min(STAGES, recipe.epochs), epochs=recipe.epochs)
        return KeepAll(count)
    for name, wanted in (("num_samples", count), ("epochs", recipe.epochs)):
        if condenser.config.get(name, wanted) != wanted:
            raise ValueError(f"condenser has {name}={condenser.config[name]}, but the run has {wanted}")
    if isinstance(condenser, Condenser) and condenser.in_use:
        raise ValueError(f"condenser has seen {condenser.epoch} epochs already; make a new one for every run")
    if isinstance(condenser, Condenser) and teacher is None and "teacher_logits" in condenser.measure.inputs:
        raise ValueError(f"value={condenser.measure.name!r} asks for the teacher's logits, and teacher is None")
    return condenser


def smallest_batch(counts: Sequence[int], recipe: Recipe, method: str, least: int) -> int:
    """Samples in the smallest batch of a run.

    Args:
        counts: samples shown in the stages of the run.
        recipe: of the run.
        method: name of the loss, for the message.
        least: samples that its loss needs.

    Raises:
        ValueError: a stage without any batch, with ``drop_last``, or one that ends with fewer samples than the loss needs.
    """
    if recipe.drop_last:
        if recipe.batch_size > min(counts):
            raise ValueError(f"batch_size must be at most {min(counts)} with drop_last=True, got {recipe.batch_size}")
        return recipe.batch_size
    smallest, count = min((count % recipe.batch_size or recipe.batch_size, count) for count in counts)
    if smallest < least:
        raise ValueError(
            f"{method} needs batches of at least {least} samples, but batch_size={recipe.batch_size} leaves a last one of "
            f"{smallest} of {count}; use drop_last=True, another batch_size, or other samples (--per-class, or another ratio)"
        )
    return smallest


def rehearse(
    student: nn.Module, teacher: Knowledge | None, distiller: Distiller, dataset: Dataset, recipe: Recipe, smallest: int
) -> None:
    """Take one step without learning from it, on copies, with as few images as the smallest batch of the run has.

    Whatever would fail in the first batch, or in a last one that is too small, fails here: a network that does not take
    such images or has another number of classes, features that do not fit, BatchNorm with a single image.

    Args:
        student, teacher, distiller, dataset, recipe: of the run.
        smallest: samples in its smallest batch.

    Raises:
        ValueError: what failed, and why.
    """
    needs, device = distiller.needs, dataset.train_images.device
    try:
        student, distiller = copy.deepcopy(student), copy.deepcopy(distiller)
        teacher = teacher and teacher.rehearsing()
    except Exception:  # whatever cannot be copied is not rehearsed, and would fail in its first batch
        return
    count = min(smallest, 2, len(dataset.train_images))
    hint = f"; batch_size={recipe.batch_size} leaves a last batch of one, use drop_last=True or another batch_size"
    hint = hint if count == 1 else ""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        distiller.begin(count)
        with _named(f"a batch of {count} images {list(dataset.train_images.shape[1:])} cannot be made", hint):
            batch = _batch_of(count, dataset, recipe, needs)
        with Engine(device, recipe.precision).autocast():
            with _named(f"student cannot be trained on a batch of {count} images", hint):
                ours = respond(student.train(), batch.images, needs.features)
            check_classes("student", ours.logits, dataset)
            with _named(f"teacher cannot be asked about a batch of {count} images", hint):
                theirs = None if teacher is None else teacher(batch, needs)
            if theirs is not None:
                check_classes("teacher", theirs.logits, dataset)
            with _named(f"{type(distiller).__name__} cannot compare a batch of {count} images", hint):
                if theirs is not None and needs.preparation:
                    distiller.preparation_loss(batch, theirs)
                loss = distiller.train()(batch, ours, theirs)
    if not (isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad):
        seen = f"a tensor {list(loss.shape)} without gradient" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"{type(distiller).__name__} must give a scalar loss that depends on the student, got {seen}")


def check_classes(role: str, logits: Tensor, dataset: Dataset) -> None:
    """Raise ValueError unless a network gives one logit per class of the data set."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.layout is not torch.strided:
        seen = f"a tensor {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        seen = seen.replace("a tensor", "a sparse tensor") if getattr(logits, "is_sparse", False) else seen
        raise ValueError(f"{role} must answer images with logits [B, C] and nothing else, got {seen}")
    if logits.shape[1] != len(dataset.classes):
        raise ValueError(
            f"{role} tells apart {logits.shape[1]} classes, but {dataset.name} has {len(dataset.classes)}; create it "
            f"with num_classes={len(dataset.classes)}"
        )


def _batch_of(count: int, dataset: Dataset, recipe: Recipe, needs: Needs) -> Batch:
    """A batch of the first images, contrasted with one of them if contrasts are needed.

    Raises:
        ValueError: images that cannot be rotated, or of a single class where others are needed to contrast with.
    """
    plain = dataclasses.replace(recipe, batch_size=count, drop_last=False)
    without = dataclasses.replace(needs, negatives=0)
    ids, generator = torch.arange(count), torch.Generator().manual_seed(0)
    batch = next(batches(dataset, StageImages(dataset.train_images), ids, plain, generator, needs=without))
    if not needs.negatives:
        return batch
    NegativePool(torch.arange(len(dataset.train_labels)), dataset.train_labels)
    contrasts = torch.zeros(count, 1 + needs.negatives, dtype=torch.int64, device=dataset.train_images.device)
    return batch._replace(contrasts=contrasts)


@contextlib.contextmanager
def _named(what: str, hint: str) -> Iterator[None]:
    """Turn any error inside into a ValueError that names, in one line, what was tried."""
    try:
        yield
    except NotFinite:  # diverged, and not a part that does not fit
        raise
    except Exception as error:  # code of a user can fail in any way
        raise ValueError(f"{what}: {' '.join(str(error).split()) or type(error).__name__}{hint}") from error
