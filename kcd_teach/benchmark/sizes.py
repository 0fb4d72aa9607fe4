"""How much room does a plan take? The numbers that are learned, counted exactly."""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from kcd_teach.answers import check_room_of_answers, room_of_answers
from kcd_teach.benchmark.pairs import Pair
from kcd_teach.benchmark.plan import Plan
from kcd_teach.benchmark.rows import Row
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Taps, distiller_class, read_taps
from kcd_teach.models import create_model

FILES = 3
"""Of a run at the same time: the last checkpoint, the one before it, and the next one being written."""
PROCESS = 700e6
"""Bytes of a process before it holds any data."""
RECORD = 150
"""Bytes of a record per epoch."""
BANK = 2 * 128 * 4
"""Bytes that contrastive methods remember per sample."""
PER_SAMPLE = 60
"""Bytes of a condenser per sample."""

Shape = tuple[int, int, int]
"""Of an image: channels, height, width."""


@dataclass(frozen=True)
class Room:
    """What a plan needs, bytes.

    Attributes:
        disk: for checkpoints of the runs side by side, trained students, teachers and results.
        memory: of all processes together, where networks are trained on the CPU; activations not counted.
        answers: in the cache, of teachers whose answers are kept there.
    """

    disk: float
    memory: float
    answers: float


def room_of(plan: Plan, dataset: Dataset, workers: int) -> Room:
    """What a plan needs with so many processes side by side, each at its largest run."""
    count, (channels, height, width) = len(dataset.train_images), dataset.train_images.shape[1:]
    shape = (channels, height, width)
    images = dataset.train_images.nbytes + dataset.test_images.nbytes
    largest = max(
        checkpoint_bytes(pair, row, count, shape, len(dataset.classes))
        for pair in plan.pairs for row in plan.rows
    )  # fmt: skip
    teachers = {name: 4 * _numbers(name, shape, len(dataset.classes)) for name in plan.teachers}
    records = RECORD * plan.scale.epochs * len(plan.pairs) * len(plan.rows) * len(plan.seeds)
    students = sum(4 * _numbers(pair.student, shape, len(dataset.classes)) for pair in plan.pairs)
    training = max([largest, *(2 * size for size in teachers.values())])
    kept = students * len(plan.rows) * len(plan.seeds) + sum(teachers.values())
    disk = FILES * workers * training + kept + records
    memory = workers * (PROCESS + 2 * images + 2 * largest + max(teachers.values(), default=0))
    answers = len(teachers) * room_of_answers(dataset) if plan.scale.store == "disk" else 0
    return Room(disk, memory, answers)


def check_room(plan: Plan, dataset: Dataset, folder: Path, workers: int) -> None:
    """Raise OSError if the disk has no room for a plan, MemoryError if this machine has less memory than it takes."""
    room, free, memory = room_of(plan, dataset, workers), shutil.disk_usage(folder).free, total_memory()
    if room.disk > free:
        raise OSError(
            f"the plan takes up to {room.disk / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; choose "
            "another folder, or fewer workers"
        )
    if room.answers:
        check_room_of_answers(room.answers)
    if memory is not None and room.memory > memory:
        raise MemoryError(
            f"{workers} workers would take about {room.memory / 1e9:.1f} GB of memory, and this machine has "
            f"{memory / 1e9:.1f} GB; choose fewer workers"
        )


def total_memory() -> float | None:
    """Bytes of memory of this machine; None where the system does not say."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@cache
def checkpoint_bytes(pair: Pair, row: Row, num_samples: int, shape: Shape, classes: int) -> float:
    """Bytes of a run's checkpoint: every learned number with its momentum, and what is remembered of the samples."""
    learned, banks = _numbers(pair.student, shape, classes), 0
    if row.method:
        method = distiller_class(row.method)
        taps = Taps(_features(pair.student, shape, classes), _features(pair.teacher, shape, classes))
        with torch.random.fork_rng(devices=[]):
            distiller = method(*((taps,) if method.uses_taps else ()))
        learned += sum(value.numel() for value in distiller.parameters())
        banks = BANK * num_samples if distiller.needs.negatives else 0
    condenser = PER_SAMPLE * num_samples if row.condensed else 0
    copied = num_samples * shape[0] * shape[1] * shape[2] if row.variant == "released" else 0
    return float(2 * 4 * learned + banks + condenser + copied)


def _numbers(name: str, shape: Shape, classes: int) -> int:
    """Learned numbers and statistics of a network."""
    return _measured(name, shape, classes)[0]


def _features(name: str, shape: Shape, classes: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of a network's features."""
    return _measured(name, shape, classes)[1].student


@cache
def _measured(name: str, shape: Shape, classes: int) -> tuple[int, Taps]:
    """A network's size, and the shapes of its features beside its own; it is built for it, once."""
    # Not on torch's meta device, which saves the numbers but takes seconds to start and more for every layer.
    network = create_model(name, classes, shape[0], seed=0)
    numbers = sum(value.numel() for value in network.state_dict().values())
    return numbers, read_taps(network, network, shape, features=True)
