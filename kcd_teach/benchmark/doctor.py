"""Is this machine ready? Device, memory, data, disk, teachers, and what a plan will take, before it starts."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kcd_teach import __version__
from kcd_teach._checks import check_at_least, check_device
from kcd_teach.answers import default_folder
from kcd_teach.benchmark.finishing import THREADS
from kcd_teach.benchmark.plan import Plan
from kcd_teach.benchmark.probe import expected_seconds
from kcd_teach.benchmark.scales import Scale
from kcd_teach.benchmark.sizes import check_room, room_of, total_memory
from kcd_teach.benchmark.store import Store
from kcd_teach.benchmark.teachers import Root, check_checkpoints, choose_teacher
from kcd_teach.datasets import Dataset


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what was looked at.
        text: what was seen, and what to do about it if it is not well.
        fine: can the plan start, as far as this goes?
    """

    topic: str
    text: str
    fine: bool = True

    def __str__(self) -> str:
        return f"{'ok ' if self.fine else 'NO '} {self.topic}: {self.text}"


def examine(
    plan: Plan, folder: str | Path, *, workers: int = 1, root: Root = None, device: str | None = None,
    probing: bool = True, price: float | None = None, checkpoints: Mapping[str, str | Path] | None = None,
) -> Iterator[Finding]:  # fmt: skip
    """Look at everything that a plan needs; nothing is trained, and nothing is written.

    Args:
        plan: what is wanted.
        folder: where it would be kept.
        workers: processes side by side.
        root: folder of the data set.
        device: where to compute; the first GPU if there is one.
        probing: measure the networks to say how long the plan takes.
        price: of an hour of this machine, in any currency; also say what the plan costs.
        checkpoints: network -> file, teachers that are published checkpoints.

    Yields:
        One :class:`Finding` after the other, the quick ones first.
    """
    check_at_least("workers", workers, 1)
    check_checkpoints(plan.teachers, checkpoints or {})
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    yield _versions()
    yield (place := _device(device, plan.scale))
    try:
        dataset = plan.scale.images(root)
    except (ValueError, RuntimeError, OSError) as error:
        yield Finding("data", str(error), fine=False)
        return
    yield _data(dataset, plan.scale)
    yield _room(plan, dataset, Path(folder), workers)
    yield from _batches(plan, dataset)
    yield from _teachers(plan, Path(folder), root, checkpoints or {})
    if probing and place.fine:
        yield _time(plan, dataset, workers, device, price)


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
    return Finding("data", f"{dataset!r}{checked}")


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
    answers = f", and {room.answers / 1e9:.2f} in {default_folder()} for kept answers" if room.answers else ""
    return Finding(
        "room",
        f"disk: up to {room.disk / 1e9:.2f} of {free / 1e9:.1f} GB free for {folder}{answers}; memory: about "
        f"{room.memory / 1e9:.1f}{machine} GB for {workers} workers, activations not counted",
    )


def _batches(plan: Plan, dataset: Dataset) -> Iterator[Finding]:
    try:
        plan.check_batches(dataset)
    except ValueError as error:
        yield Finding("batches", str(error), fine=False)


def _teachers(
    plan: Plan, folder: Path, root: Root, checkpoints: Mapping[str, str | Path]
) -> Iterator[Finding]:  # fmt: skip
    """What the plan's runs would learn from, as it is decided when they start."""
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


def _time(plan: Plan, dataset: Dataset, workers: int, device: str, price: float | None) -> Finding:
    hours = expected_seconds(plan, dataset, device) / 3600 / (workers if device == "cpu" else 1)
    runs = len(plan.pairs) * len(plan.rows) * len(plan.seeds)
    cost = "" if price is None else f", which cost {hours * price:.2f} at {price:g} an hour"
    length = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    return Finding("time", f"about {length} for {runs} runs and {len(plan.teachers)} teachers from nothing{cost}")
