"""Do the parts of a run fit together? Everything that is refused before the first batch."""

from torch import nn

from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, Distiller, LabelsOnly, create_distiller, is_condensed, read_taps
from kcd_teach.knowledge import Knowledge
from kcd_teach.recipe import Recipe

STAGES = 6
"""Stages of a run that is condensed by name; fewer if it has fewer epochs."""


def choose_knowledge(teacher: nn.Module | Knowledge | None, dataset: Dataset, precision: str) -> Knowledge | None:
    """The teacher as something that can be asked, on the data set's device."""
    knowledge = Knowledge(teacher, dataset, precision=precision) if isinstance(teacher, nn.Module) else teacher
    if knowledge is None:
        return None
    if not isinstance(knowledge, Knowledge):
        raise TypeError(f"teacher must be a network, Knowledge or None, got {type(teacher).__name__}")
    if knowledge.num_samples != len(dataset.train_images):
        raise ValueError(
            f"teacher holds answers for {knowledge.num_samples} images, dataset has {len(dataset.train_images)}"
        )
    device = dataset.train_images.device
    if knowledge.engine.device != device:
        raise ValueError(
            f"teacher's knowledge is on {knowledge.engine.device}, the run on {device}; make it from a data set there"
        )
    return knowledge


def choose_distiller(
    distiller: Distiller | str | None, student: nn.Module, knowledge: Knowledge | None, dataset: Dataset, seed: int
) -> Distiller:
    """The loss: as given, by name, or by default :class:`KD` with a teacher and the labels without one."""
    if knowledge is None:
        if distiller is not None:
            raise ValueError("distiller needs a teacher, and teacher is None")
        return LabelsOnly()
    channels, height, width = dataset.train_images.shape[1:]
    shape = (channels, height, width)
    if isinstance(distiller, str):
        return create_distiller(distiller, student, knowledge.teacher, image_shape=shape, seed=seed)
    if not isinstance(distiller, Distiller | None):
        raise TypeError(f"distiller must be a Distiller, the name of one or None, got {type(distiller).__name__}")
    if distiller is not None and distiller.needs.features:
        read_taps(student, knowledge.teacher, shape, features=True, preact=distiller.needs.teacher_preact)
    return distiller or KD()


def choose_condenser(
    condenser: Condenser | KeepAll | None, distiller: Distiller | str | None, dataset: Dataset, recipe: Recipe
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
    if isinstance(condenser, Condenser) and condenser.epoch:
        raise ValueError(f"condenser has seen {condenser.epoch} epochs already; make a new one for every run")
    return condenser


def check_batches(distiller: Distiller, condenser: Condenser | KeepAll, dataset: Dataset, recipe: Recipe) -> None:
    """Raise ValueError if some stage would have no batch, or one that is too small for the loss."""
    counts = condenser.counts if isinstance(condenser, Condenser) else (len(dataset.train_images),)
    if recipe.drop_last:
        if recipe.batch_size > min(counts):
            raise ValueError(f"batch_size must be at most {min(counts)} with drop_last=True, got {recipe.batch_size}")
        return
    least = distiller.needs.smallest_batch
    for count in counts:
        last = count % recipe.batch_size or recipe.batch_size
        if last < least:
            raise ValueError(
                f"{type(distiller).__name__} needs batches of at least {least} samples, but batch_size="
                f"{recipe.batch_size} leaves a last one of {last} of {count}; use drop_last=True or another batch_size"
            )
