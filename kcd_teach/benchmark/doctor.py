"""What a plan needs, checked before it starts: device, memory, data, disk, teachers and time."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from kcd_teach import __version__
from kcd_teach._checks import check_at_least, check_device
from kcd_teach.benchmark.costs import Steps, costs_by_pair, expected_seconds, runs_that_fit, time_networks
from kcd_teach.benchmark.plan import Plan
from kcd_teach.benchmark.runs import THREADS, Root, check_checkpoints, choose_teacher
from kcd_teach.benchmark.settings import Pair, Row, Scale
from kcd_teach.benchmark.store import Store
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Taps, build_distiller, distiller_class, read_taps
from kcd_teach.knowledge import check_room_of_answers, default_folder, room_of_answers
from kcd_teach.models import create_model

FILES = 3
"""Of a run at the same time: the last checkpoint, the one before it, and the next one being written."""
PROCESS = 700e6
"""Bytes of a process before it holds any data."""
RECORD = 150
"""Bytes of a record per epoch."""
BANK = 2 * 128 * 4
"""Bytes of the memory banks of contrastive methods per sample."""
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
        cache: for predictions of teachers that are cached on the disk.
    """

    disk: float
    memory: float
    cache: float


def room_of(plan: Plan, dataset: Dataset, workers: int) -> Room:
    """What a plan needs with so many processes side by side, each at its largest run."""
    count, (channels, height, width) = len(dataset.train_images), dataset.train_images.shape[1:]
    shape = (channels, height, width)
    images = dataset.train_images.nbytes + dataset.test_images.nbytes
    largest = max(
        checkpoint_bytes(pair, row, count, shape, len(dataset.classes)) for pair in plan.pairs for row in plan.rows
    )
    teachers = {name: 4 * _numbers(name, shape, len(dataset.classes)) for name in plan.teachers}
    records = RECORD * plan.scale.epochs * plan.num_runs
    students = sum(4 * _numbers(pair.student, shape, len(dataset.classes)) for pair in plan.pairs)
    training = max([largest, *(2 * size for size in teachers.values())])
    kept = students * sum(len(plan.seeds_of(row)) for row in plan.rows) + sum(teachers.values())
    disk = FILES * workers * training + kept + records
    memory = workers * (PROCESS + 2 * images + 2 * largest + max(teachers.values(), default=0))
    cached = any(row.at(plan.scale).store == "disk" for row in plan.rows)
    return Room(disk, memory, cache=len(teachers) * room_of_answers(dataset) if cached else 0)


def check_room(plan: Plan, dataset: Dataset, folder: Path, workers: int) -> None:
    """Raise OSError if the disk has no room for a plan, MemoryError if this machine has less memory than it takes."""
    room, free, memory = room_of(plan, dataset, workers), shutil.disk_usage(folder).free, total_memory()
    if room.disk > free:
        raise OSError(
            f"the plan takes up to {room.disk / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; choose "
            "another folder, or fewer workers"
        )
    if room.cache:
        check_room_of_answers(room.cache)
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
    """Bytes of a run's checkpoint: every learned number with its momentum, and the records of the samples."""
    learned, banks = _numbers(pair.student, shape, classes), 0
    if row.method:
        method = distiller_class(row.method)
        # A network of a user's own may have no features, for methods that look at none.
        ours, theirs = (
            _features(name, shape, classes) if method.uses_taps else () for name in (pair.student, pair.teacher)
        )
        taps = Taps(ours, theirs)
        with torch.random.fork_rng(devices=[]):
            distiller = build_distiller(row.method, taps, **row.method_settings)
        learned += sum(value.numel() for value in distiller.parameters())
        banks = BANK * num_samples if distiller.needs.negatives else 0
    condenser = PER_SAMPLE * num_samples if row.condensed else 0
    copied = num_samples * shape[0] * shape[1] * shape[2] if dict(row.settings).get("preset") == "released" else 0
    return float(2 * 4 * learned + banks + condenser + copied)


@cache
def _numbers(name: str, shape: Shape, classes: int) -> int:
    """Learned numbers and statistics of a network, which is built for it, once."""
    # Not on torch's meta device, which saves the numbers but takes seconds to start and more for every layer.
    network = create_model(name, classes, shape[0], seed=0)
    return sum(value.numel() for value in network.state_dict().values())


@cache
def _features(name: str, shape: Shape, classes: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of a network's features, which is built for it, once."""
    network = create_model(name, classes, shape[0], seed=0)
    return read_taps(network, network, shape, features=True).student


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: what was checked.
        text: what was found, and what to do about it if the plan cannot start.
        fine: True if the plan can start, as far as this check goes.
    """

    topic: str
    text: str
    fine: bool = True

    def __str__(self) -> str:
        return f"{'ok ' if self.fine else 'NO '} {self.topic}: {self.text}"


def examine(
    plan: Plan,
    folder: str | Path,
    *,
    workers: int = 1,
    root: Root = None,
    device: str | None = None,
    probing: bool = True,
    price: float | None = None,
    checkpoints: Mapping[str, str | Path] | None = None,
) -> Iterator[Finding]:
    """Check everything that a plan needs; nothing is trained, and nothing is written.

    Args:
        plan: what is wanted.
        folder: where it would be kept.
        workers: processes side by side.
        root: folder of the data set.
        device: where to compute; the first GPU if there is one.
        probing: time the networks to say how long the plan takes.
        price: of an hour of this machine, in any currency; also say what the plan costs.
        checkpoints: network -> file, teachers that are published checkpoints.

    Yields:
        One :class:`Finding` after the other, the quick ones first.
    """
    check_at_least("workers", workers, 1)
    checkpoints = {**plan.checkpoints, **(checkpoints or {})}
    check_checkpoints(plan.teachers, checkpoints)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    yield _versions()
    yield (ready := _device(device, plan.scale))
    if probing and plan.scale.is_published:
        yield _hours(plan, price)
    try:
        dataset = plan.scale.images(root)
    except (ValueError, RuntimeError, OSError) as error:
        yield Finding("data", str(error), fine=False)
        return
    yield _data(dataset, plan.scale)
    yield _room(plan, dataset, Path(folder), workers)
    yield from _batches(plan, dataset)
    yield from _teachers(plan, Path(folder), root, checkpoints)
    if probing and ready.fine:
        yield from _time(plan, dataset, workers, device, price)


def _versions() -> Finding:
    try:
        ray = f"Ray {importlib.metadata.version('ray')}"
    except importlib.metadata.PackageNotFoundError:
        ray = "no Ray, which only --engine ray needs"
    known = f"kcd_teach {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    return Finding("versions", f"{known}, {ray}")


def _device(device: str, scale: Scale) -> Finding:
    try:
        check_device(device)
    except ValueError as error:
        return Finding("device", str(error), fine=False)
    threads = "one thread per run" if THREADS == 1 else f"{THREADS} threads per run"
    if device == "cpu":
        slow = "; the full scale takes months on a CPU, use a GPU" if scale.is_published else ""
        return Finding("device", f"{device} ({platform.machine()}), {scale.precision}, {threads}{slow}")
    free, total = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    return Finding("device", f"{name}, {scale.precision}, {threads}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")


def _data(dataset: Dataset, scale: Scale) -> Finding:
    checked = "; all images and labels as published" if scale.dataset == "cifar100" else ""
    counts = torch.bincount(dataset.train_labels.cpu(), minlength=len(dataset.classes))
    few, many = int(counts.argmin()), int(counts.argmax())
    uneven = (
        f"; from {int(counts[few])} training image{'s' * (int(counts[few]) > 1)} of {dataset.classes[few]!r} to {int(counts[many])} of "
        f"{dataset.classes[many]!r}"
        if counts[few] < counts[many]
        else ""
    )
    return Finding("data", f"{dataset!r}{checked}{uneven}{dataset.origin and f'; {dataset.origin}'}")


def _room(plan: Plan, dataset: Dataset, folder: Path, workers: int) -> Finding:
    if hindered := Store(folder).obstacle():
        return Finding("room", f"{hindered}; choose another folder", fine=False)
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    try:
        check_room(plan, dataset, existing, workers)
    except (OSError, MemoryError) as error:
        return Finding("room", str(error), fine=False)
    room, free, memory = room_of(plan, dataset, workers), shutil.disk_usage(existing).free, total_memory()
    machine = "" if memory is None else f" of {memory / 1e9:.1f}"
    cache = f", and {room.cache / 1e9:.2f} in {default_folder()} for cached predictions" if room.cache else ""
    return Finding(
        "room",
        f"disk: up to {room.disk / 1e9:.2f} of {free / 1e9:.1f} GB free for {folder}{cache}; memory: about "
        f"{room.memory / 1e9:.1f}{machine} GB for {workers} worker{'s' * (workers > 1)}, activations not counted",
    )


def _batches(plan: Plan, dataset: Dataset) -> Iterator[Finding]:
    try:
        plan.check_batches(dataset)
    except ValueError as error:
        yield Finding("batches", str(error), fine=False)


def _teachers(plan: Plan, folder: Path, root: Root, checkpoints: Mapping[str, str | Path]) -> Iterator[Finding]:
    """The teachers that the plan's runs would have, chosen as they are when it starts."""
    for network in plan.teachers:
        try:
            teacher, why = choose_teacher(
                network, plan.scale, Store(folder), root=root, checkpoint=checkpoints.get(network)
            )
        except (ValueError, OSError) as error:
            yield Finding("teacher", str(error), fine=False)
        else:
            missing = f"{network} is not in {folder} yet and will be trained first"
            found = (
                f"{network} from the checkpoint {checkpoints[network]}"
                if network in checkpoints
                else teacher or missing
            )
            yield Finding("teacher", f"{found}{why and f'; {why}'}")


def _hours(plan: Plan, price: float | None) -> Finding:
    """What every pair takes on the GPU where steps were measured."""
    steps = Steps()
    named = [
        f"{of.pair.name} {of.hours:.0f} hours{_price(of.hours, price)} (step of KD {of.known}, {of.step:.1f} ms)"
        for of in costs_by_pair(plan, plan.pairs, steps)
    ]
    return Finding("hours", f"on one {steps.card}, teacher included, one run after the other: {'; '.join(named)}")


def _price(hours: float, price: float | None) -> str:
    return "" if price is None else f", which cost {hours * price:.2f} at {price:g} an hour"


def _time(plan: Plan, dataset: Dataset, workers: int, device: str, price: float | None) -> Iterator[Finding]:
    speeds = time_networks(plan, dataset, device)
    if device != "cpu":
        fit = runs_that_fit(plan, dataset, speeds, torch.cuda.mem_get_info(device)[0])
        yield Finding("side by side", f"about {fit} runs fit on the GPU at once, each in its own process", fine=fit > 0)
    hours = expected_seconds(plan, dataset, speeds) / 3600 / (workers if device == "cpu" else 1)
    runs = plan.num_runs
    length = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes" if hours >= 1 / 60 else "a minute"
    cost = _price(hours, price)
    counts = f"{runs} run{'s' * (runs != 1)} and {len(plan.teachers)} teacher{'s' * (len(plan.teachers) != 1)}"
    yield Finding("time", f"about {length} for {counts} from nothing{cost}")
