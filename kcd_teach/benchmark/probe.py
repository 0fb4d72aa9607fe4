"""How long will it take? A few steps of every network, times the presentations of the plan."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kcd_teach.benchmark.finishing import repeatably
from kcd_teach.benchmark.plan import Plan
from kcd_teach.benchmark.rows import STUDENT, Row
from kcd_teach.datasets import Dataset, find_data_file
from kcd_teach.distillers import distiller_class
from kcd_teach.engine import Engine
from kcd_teach.models import create_model

REPEATS = 2
CPU_BATCH = 16
"""Images per step of the probe on a CPU, where time grows with the batch from the first image on."""


@dataclass(frozen=True)
class Speed:
    """Seconds per image of one network on one device.

    Attributes:
        forward: without gradients, as a teacher or in a test.
        step: forward, backward and update, as a student.
    """

    forward: float
    step: float


def probe(network: str, plan: Plan, dataset: Dataset, device: torch.device | str) -> Speed:
    """Measure a network on random images of the plan's shape, some seconds at most."""
    engine = Engine(device, plan.scale.precision)
    model = engine.prepare(create_model(network, len(dataset.classes), dataset.in_channels, seed=0))
    size = plan.scale.batch_size if engine.device.type == "cuda" else min(plan.scale.batch_size, CPU_BATCH)
    images = torch.zeros(size, *dataset.train_images.shape[1:], device=engine.device)
    labels = torch.zeros(size, dtype=torch.int64, device=engine.device)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def forward() -> None:
        with torch.no_grad(), engine.autocast():
            model(images)

    def step() -> None:
        with engine.autocast():
            logits = model(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    with repeatably():
        return Speed(_least(forward, engine.device) / size, _least(step, engine.device) / size)


def expected_seconds(plan: Plan, dataset: Dataset, device: torch.device | str) -> float:
    """Seconds of computing that a plan takes, teachers included, all workers together; an estimate.

    What a method adds to a step of KD is taken from the stored measurement of ``python -m kcd_teach.method_costs``, on
    other networks. Loading and saving are not counted.
    """
    students = {pair.student for pair in plan.pairs}
    speeds = {name: probe(name, plan, dataset, device) for name in sorted({*students, *plan.teachers})}
    count, tests = len(dataset.train_images), len(dataset.test_images)
    epochs = plan.scale.epochs
    lessons = plan.scale.teacher_epochs or epochs
    total = sum(lessons * (count * speeds[name].step + tests * speeds[name].forward) for name in plan.teachers)
    factors = _method_factors()
    for row in plan.rows:
        # Pairs with the same student share the runs of the student alone.
        pairs = {pair.student: pair for pair in plan.pairs}.values() if row == STUDENT else plan.pairs
        for pair in pairs:
            student = speeds[pair.student]
            together = student.step if row == STUDENT else student.step + speeds[pair.teacher].forward
            shown = sum(row.shown(count, epochs)) + _prepared(row, epochs) * count
            run = shown * together * factors.get(row.method, 1.0) + row.epochs(epochs) * tests * student.forward
            total += run * len(plan.seeds)
    return total


def _prepared(row: Row, epochs: int) -> int:
    """Epochs that a method prepares before the student's first."""
    return round(epochs * distiller_class(row.method).needs.preparation) if row.method else 0


def _method_factors() -> dict[str, float]:
    """Time of a step relative to KD, by method."""
    stored = json.loads(find_data_file("results/method_costs.json").read_text(encoding="utf-8"))
    return {name: figures["step time over KD"]["median"] for name, figures in stored["methods"].items()}


def _least(work: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, the least of a few after one to warm up."""
    seconds = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
