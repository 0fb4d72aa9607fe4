"""What runs cost: the time of a step, timed here or measured once on a GPU, and the hours and the memory of a plan."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kcd_teach.benchmark.plan import Plan
from kcd_teach.benchmark.runs import repeatably
from kcd_teach.benchmark.settings import Pair, Row, find_pair, find_scale
from kcd_teach.datasets import Dataset, find_data_file
from kcd_teach.distillers import distiller_class
from kcd_teach.models import create_model
from kcd_teach.recipe import Engine

STARTING, SAVING = 70, 12
"""Training images that take as long as the start of a run, with its rehearsal, and as saving it after an epoch. Measured with
two pairs at small scale, where they are a third of the time; at full scale they are nothing."""
CONTEXT = 600e6
"""Bytes of a GPU that a process takes before it holds any data."""
REPEATS = 2
CPU_BATCH = 16
"""Images per timed step on a CPU, where time grows with the batch from the first image on."""


@dataclass(frozen=True)
class Speed:
    """Seconds per image of one network on one device.

    Attributes:
        forward: without gradients, as a teacher or in a test.
        step: forward, backward and update, as a student.
        memory: bytes of the GPU that a step takes at its peak; 0 on a processor.
    """

    forward: float
    step: float
    memory: float = 0


def time_network(network: str, plan: Plan, dataset: Dataset, device: torch.device | str) -> Speed:
    """Time a network on images of the plan's shape, some seconds at most."""
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

    if on_gpu := engine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(engine.device)
    with repeatably():
        forward_seconds, step_seconds = _least(forward, engine.device), _least(step, engine.device)
    memory = torch.cuda.max_memory_allocated(engine.device) if on_gpu else 0
    return Speed(forward_seconds / size, step_seconds / size, memory)


def time_networks(plan: Plan, dataset: Dataset, device: torch.device | str) -> dict[str, Speed]:
    """Time all networks of a plan."""
    names = sorted({*plan.teachers, *(pair.student for pair in plan.pairs)})
    return {name: time_network(name, plan, dataset, device) for name in names}


def runs_that_fit(plan: Plan, dataset: Dataset, speeds: Mapping[str, Speed], free: float) -> int:
    """How many runs of a plan fit into so many bytes of a GPU side by side, each in its own process, at its largest pair."""
    images = dataset.train_images.nbytes + dataset.test_images.nbytes
    largest = max(speeds[pair.student].memory + speeds.get(pair.teacher, Speed(0, 0)).memory for pair in plan.pairs)
    return int(free // (CONTEXT + images + largest))


def expected_seconds(plan: Plan, dataset: Dataset, speeds: Mapping[str, Speed]) -> float:
    """Seconds of computing that a plan takes, teachers included, all workers together; an estimate.

    What a method adds to a step of KD is taken from ``data/results/method_costs.json``, measured on other networks.
    Starting and saving are taken from two pairs, in proportion to the time of an image.
    """
    count, tests = len(dataset.train_images), len(dataset.test_images)
    epochs = plan.scale.epochs
    lessons = plan.scale.teacher_epochs or epochs
    total = sum(
        lessons * ((count + SAVING) * speeds[name].step + tests * speeds[name].forward) + STARTING * speeds[name].step
        for name in plan.teachers
    )
    factors = method_factors()
    for row in plan.rows:
        # Pairs with the same student share the runs of the student alone.
        pairs = {pair.student: pair for pair in plan.pairs}.values() if not row.method else plan.pairs
        for pair in pairs:
            student = speeds[pair.student]
            together = student.step if not row.method else student.step + speeds[pair.teacher].forward
            shown = sum(row.shown(count, epochs)) + _prepared(row, epochs) * count
            length = row.epochs(epochs)
            run = shown * together * factors.get(row.method, 1.0) + (length + 1) * tests * student.forward
            run += (STARTING + SAVING * length) * together
            total += run * len(plan.seeds_of(row))
    return total


def _prepared(row: Row, epochs: int) -> int:
    """Epochs that a method prepares before the student's first."""
    return round(epochs * distiller_class(row.method).needs.preparation) if row.method else 0


def method_factors() -> dict[str, float]:
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


class Steps:
    """Milliseconds of a training step at full scale on the card where some were measured.

    The others are estimated: networks this small wait for their kernels to be launched, so the time grows with the number
    of layers, and a straight line through the measured steps says how.

    Attributes:
        card: its name.
        measured: teacher (empty for labels alone) and student -> what a step of ``kcd-teach bench`` takes.
        graphs: the same for steps that are replayed as CUDA graphs.
    """

    def __init__(self) -> None:
        lines = [json.loads(line) for line in find_data_file("results/gpu_steps.jsonl").read_text().splitlines()]
        self.card = card = str(lines[0]["card"])
        self.measured: dict[tuple[str, str], float] = {}
        self.graphs: dict[tuple[str, str], float] = {}
        self._layers: dict[str, int] = {}
        for line in lines:
            card = line.get("card", card)
            name, _, way = line.get("part", "").partition(", ")
            if card == self.card and "ms" in line and way in ("plain", "graph"):
                networks = _networks(name)
                if networks is not None:
                    (self.measured if way == "plain" else self.graphs)[networks] = line["ms"]
        sizes = [self._size(*networks) for networks in self.measured]
        self._line = np.polyfit(sizes, list(self.measured.values()), 1)

    def _size(self, teacher: str, student: str) -> int:
        """Layers that a step passes: once through the teacher, and forward, backward and in the update of the student."""
        for network in filter(None, (teacher, student)):
            if network not in self._layers:
                modules = create_model(network, 100, 3, seed=0).modules()
                self._layers[network] = sum(isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)) for m in modules)
        return self._layers.get(teacher, 0) + 3 * self._layers[student]

    def estimate(self, teacher: str, student: str) -> float:
        """What the line says, ms."""
        return float(np.polyval(self._line, self._size(teacher, student)))

    def of(self, teacher: str, student: str) -> float:
        """Measured if it was, or else estimated, ms; without a teacher the step of a network on labels alone."""
        return self.measured.get((teacher, student)) or self.estimate(teacher, student)

    @property
    def error(self) -> float:
        """Largest relative error of the line at the measured steps."""
        return max(abs(self.estimate(*networks) / ms - 1) for networks, ms in self.measured.items())


def _networks(name: str) -> tuple[str, str] | None:
    """Teacher and student of a measured step, named ``PAIR KD`` or ``NETWORK labels``; None for other methods."""
    what, _, how = name.rpartition(" ")
    if how == "labels":
        return "", what
    return (find_pair(what).teacher, find_pair(what).student) if how == "KD" else None


@dataclass(frozen=True)
class PairCost:
    """What a pair takes at full scale on :attr:`Steps.card`, one run after the other.

    Attributes:
        pair: which one.
        step: of KD, ms.
        run: of KD, hours.
        hours: of the teacher and all rows and seeds of a plan.
        known: ``"measured"`` or ``"estimated"``, of the step.
    """

    pair: Pair
    step: float
    run: float
    hours: float
    known: str


def costs_by_pair(plan: Plan, pairs: Iterable[Pair], steps: Steps) -> list[PairCost]:
    """Hours of a plan's rows and seeds at full scale, for each of these pairs, the teacher's included."""
    scale, factors, found = find_scale("full"), method_factors(), []
    hour = scale.epochs * -(-50_000 // scale.batch_size) / 3_600_000  # of a run, per ms of its step
    for pair in pairs:
        networks = pair.teacher, pair.student
        hours = steps.of("", pair.teacher) * hour
        for row in plan.rows:
            share = sum(row.shown(50_000, scale.epochs)) / (50_000 * scale.epochs)
            step = steps.of(pair.teacher if row.method else "", pair.student) * factors.get(row.method, 1.0)
            hours += step * hour * share * len(plan.seeds_of(row))
        known = "measured" if networks in steps.measured else "estimated"
        found.append(PairCost(pair, steps.of(*networks), steps.of(*networks) * hour, hours, known))
    return found
