"""Where does an epoch's time go? The parts of every step timed one by one, on the batches of a real run.

Part of ``python -m tests.benchmarks.engine``; ``--only profile`` measures it alone. On an accelerator every part ends
with a synchronisation, here and nowhere else, so that its time is counted where it belongs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from kcd_teach import Condenser, Knowledge, Recipe, distill
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import Batch, respond
from kcd_teach.training import Distillation
from tests.benchmarks.material import batches_of, epoch_of, figures, in_turn, pair_of, ratio

PARTS = ("augment", "teacher", "student forward", "loss and backward", "optimiser", "bookkeeping")
PROFILED = ("R56>R20", "bundled")
STORES = ("store off", "warm store")
FOREVER = 10_000
"""Epochs of the condenser, so many that no stage ends while it is timed."""


class Stopwatch:
    """Seconds by part, summed over the steps of an epoch."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._device = device

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[part] += time.perf_counter() - started


def profiled_epoch(run: Distillation) -> dict[str, float]:
    """Seconds by part of one epoch, doing what :meth:`Distillation._distil` does, in its order.

    Bookkeeping holds a ranking of all samples, which a real run pays once per stage and not once per epoch.
    """
    watch = Stopwatch(run.dataset.train_images.device)
    run.student.train()
    with watch.time("augment"):
        batches = batches_of(run)
    while True:
        with watch.time("augment"):
            batch = next(batches, None)
        if batch is None:
            break
        _profiled_step(run, batch, watch)
    with watch.time("bookkeeping"):
        run.condenser.end_epoch()
        run.condenser.ranking()
    return watch.seconds


def _profiled_step(run: Distillation, batch: Batch, watch: Stopwatch) -> None:
    needs = run.distiller.needs
    with watch.time("student forward"), run.engine.autocast():
        student = respond(run.student, batch.images, needs.features)
    with watch.time("teacher"):
        taught = run._teacher_outputs(batch)
    with watch.time("loss and backward"):
        loss = run.distiller(batch, student, taught)
    with watch.time("bookkeeping"):
        run.condenser.observe(batch.ids, student.logits[:: needs.views])
    with watch.time("optimiser"):
        run.optimizer.zero_grad()
    with watch.time("loss and backward"):
        loss.backward()
    with watch.time("optimiser"):
        run.optimizer.step()
    with watch.time("bookkeeping"):
        run.progress.loss += loss.detach().double() * len(batch.ids)
        run.progress.presentations += len(batch.ids)


def profiled_run(name: str, dataset: Dataset, store: str, precision: str) -> Distillation:
    """A run whose first epoch can be repeated: the same batches every time, all answers known with a warm store."""
    student, teacher = pair_of(name, dataset)
    knowledge = Knowledge(teacher, dataset, "memory" if store == "warm store" else "off", precision=precision)
    condenser = Condenser(len(dataset.train_images), stages=2, epochs=FOREVER)
    recipe = Recipe(FOREVER, precision=precision)
    run = distill(student, dataset, knowledge, recipe=recipe, condenser=condenser, seed=0)
    epoch_of(run)
    return run


def profile(shown: dict[str, Dataset], repeats: int, precision: str = "float32") -> dict[str, Any]:
    """Milliseconds per image of every part, for every pair with both stores, all of them in turn.

    Args:
        shown: pair -> its images.
        repeats: of every epoch.
        precision: in which both networks are run.
    """
    runs = {f"{name}, {store}": profiled_run(name, shown[name], store, precision) for name in shown for store in STORES}
    found: dict[str, list[dict[str, float]]] = {setting: [] for setting in runs}
    whole: dict[str, list[float]] = {setting: [] for setting in runs}
    for _ in range(repeats):
        for setting, run in runs.items():
            whole[setting] += in_turn({"epoch": lambda run=run: epoch_of(run)}, 1, run.engine.device)["epoch"]
            found[setting].append(profiled_epoch(run))
    return {setting: _in_milliseconds(runs[setting], found[setting], whole[setting]) for setting in runs}


def _in_milliseconds(run: Distillation, found: list[dict[str, float]], whole: list[float]) -> dict[str, Any]:
    count = len(run.dataset.train_images)
    parts = {part: figures([1_000 * seconds[part] / count for seconds in found]) for part in PARTS}
    return {
        "milliseconds per image": parts,
        "all parts over the epoch undisturbed": ratio([sum(seconds.values()) for seconds in found], whole),
    }


def print_profile(found: dict[str, Any]) -> None:
    """Shares of every part, one line per setting."""
    for setting, entry in found.items():
        parts = {name: part["median"] for name, part in entry["milliseconds per image"].items()}
        total = sum(parts.values())
        shares = ", ".join(f"{name} {100 * part / total:.1f} %" for name, part in parts.items())
        print(f"{setting}: {total:.3f} ms per image; {shares}", flush=True)
