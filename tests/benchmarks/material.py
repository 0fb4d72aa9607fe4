"""What do the benchmarks measure with? Images, pairs of networks, and works that are timed in turn."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach import create_model, load_dataset, load_teacher
from kcd_teach.benchmark.settings import find_pair
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import Batch
from kcd_teach.training import Distillation

ROOT = Path(__file__).resolve().parents[2]
PAIRS = ("R56>R20", "W40-2>W16-2", "V13>V8")
SHORT = {"R20>R8": "resnet20>resnet8"}
"""A pair outside the table, for whole runs of several epochs."""
Figures = dict[str, float]


def random_images(count: int) -> Dataset:
    """Images of CIFAR-100's shape that show nothing."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.arange(count) % 100
    classes = tuple(str(label) for label in range(100))
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    return Dataset("random images", images, labels, images[:100], labels[:100], classes, mean, std, 4)


def images_for(arguments: argparse.Namespace) -> Dataset:
    """A slice of CIFAR-100, in whole batches, with a test set of 100 images, since only training is timed."""
    count = arguments.images
    try:
        dataset = load_dataset("cifar100", arguments.data)
    except RuntimeError:
        dataset = random_images(count)
    train = {"train_images": dataset.train_images[:count], "train_labels": dataset.train_labels[:count]}
    return replace(dataset, **train, test_images=dataset.test_images[:100], test_labels=dataset.test_labels[:100])


def pair_of(name: str, dataset: Dataset) -> tuple[nn.Module, nn.Module]:
    """Student and teacher with random weights: speed does not depend on what they know."""
    if name == "bundled":
        return create_model("mini_resnet8", 10, 1, seed=0), load_teacher(dataset)
    pair = find_pair(SHORT.get(name, name))
    return create_model(pair.student, seed=0), create_model(pair.teacher, seed=1)


def timed(work: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def figures(values: list[float]) -> Figures:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def in_turn(works: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each work, all of them once per repetition, one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name].append(timed(work, device))
    return seconds


def ratio(above: list[float], below: list[float]) -> Figures:
    return figures([a / b for a, b in zip(above, below, strict=True)])


def batches_of(run: Distillation) -> Iterator[Batch]:
    """The batches of the epoch that comes next, which stays the next one."""
    return run._shuffled(run.condenser.active, run.epoch)


def train_on(run: Distillation, batch: Batch) -> None:
    """What the loop does with a batch."""
    outputs = run._student_outputs(batch)
    loss = run.engine.autocast()(run.distiller)(batch, outputs, run._teacher_outputs(batch))
    run.condenser.observe(batch.ids, outputs.logits[:: run.distiller.needs.views])
    run._step(loss)


def epoch_of(run: Distillation) -> None:
    """The batches of one epoch, without the evaluation that follows."""
    run.student.train()
    for batch in batches_of(run):
        train_on(run, batch)
