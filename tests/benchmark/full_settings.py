"""Does every cell of the table run with the settings of the full recipe? Run by hand, about half an hour on one core:

    python -m tests.benchmark.full_settings [--data FOLDER] [--pair PAIR] [--row ROW] [--out FILE]

Every combination is made as ``--scale full`` makes it: all 50,000 images of CIFAR-100 resident, batch 64, its learning
rate, 16,384 negatives, 240 epochs ahead. It takes two optimiser steps and is saved; its process takes a third step, says
what it has become, and is killed (SIGKILL) without having saved again. A new process goes on from the file, takes the
third step too, must then be equal bit for bit, and its record goes into a table of its own.

What is not the full recipe: every epoch ends after three batches, and a run after its first epoch; SSKD's preparation is
left after its last epoch only; accuracy is measured on one image per class; teachers are untrained, but for the
statistics of their BatchNorm. So the records are of other images than real ones, and kept in a temporary folder.

Writes data/results/full_settings.json, or prints only if not all cells are asked for. POSIX only: processes are forked.
"""

import argparse
import datetime
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kcd_teach import __version__, training
from kcd_teach._files import written_whole
from kcd_teach.benchmark import Plan, Prepared, Scale, Store, Teacher, Unit, execute, find_scale, make_plan, make_table
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import Batch
from kcd_teach.fingerprints import fingerprint_of, hash_of
from kcd_teach.knowledge import accuracy
from kcd_teach.models import create_model, save_weights
from kcd_teach.training import Distillation
from tests.tiny import outcome

STEPS = 2
"""Optimiser steps before the checkpoint; one more comes after it."""
SCALE = find_scale("full").but(test_per_class=1)
OUT = Path(__file__).resolve().parents[2] / "data" / "results" / "full_settings.json"
FORK = multiprocessing.get_context("fork")
SETTLING = 256
"""Images that the BatchNorm of an untrained teacher sees; without any its answers grow from layer to layer."""


class CutShort:
    """A run that ends after three steps: the watch of :func:`execute`, and what stands in for ``training.batches``.

    Args:
        said: where to say what has become of the run.
        dies: save after two steps, and die after the third.
    """

    def __init__(self, said: Connection, dies: bool) -> None:
        self._said, self._dies, self._batches = said, dies, training.batches
        self._run: Distillation | None = None

    def watch(self, title: str, run: Distillation) -> None:
        """Before the first epoch, leave the last one of the preparation; after it, say what came out, and end."""
        self._run = run
        if run.epoch == 0:
            run.preparation.epoch = max(run.preparation.epoch, run.preparation.epochs - 1)
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        rate = run.reports[-1].learning_rate
        self._said.send({"digest": digest_of(outcome(run)), "peak MB": round(peak), "learning rate": rate})
        if self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
        run.progress.epoch = run.recipe.epochs

    def batches(self, *arguments: Any) -> Iterator[Batch]:
        """The first batches of an epoch; asked for the third one of the student, a run that is to die is saved."""
        first, run = arguments[5], self._run
        assert run is not None
        for number, batch in enumerate(islice(self._batches(*arguments), STEPS + 1 - first), start=first):
            if number == STEPS and self._dies and run.preparation.done:
                run._save()  # as an interrupt does it
                run.saved.file = None  # the end of the epoch is not saved
            yield batch


def digest_of(state: Any) -> str:
    """SHA-256 of nested tensors and plain values."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype} {list(part.shape)}".encode())
            digest.update(part.contiguous().numpy().tobytes())
        elif isinstance(part, dict | list | tuple):
            items = part.items() if isinstance(part, dict) else enumerate(part)
            digest.update(f"{len(part)}".encode())
            for name, value in items:
                digest.update(f"{name}:".encode())
                add(value)
        else:
            digest.update(f"{part!r};".encode())

    add(state)
    return digest.hexdigest()


def _cut_short(unit: Unit, folder: Path, root: Path | None, dies: bool, said: Connection) -> None:
    """What a process does: bring a unit to its end, cut short."""
    cut = CutShort(said, dies)
    training.batches = cut.batches
    execute(unit, folder, root=root, watch=cut.watch)


def _in_new_process(work: Callable[..., None], *arguments: Any, dies: bool = False) -> Any:
    """What ``work`` says in a process of its own; raises RuntimeError unless that ends as it should."""
    hears, says = FORK.Pipe(duplex=False)
    process = FORK.Process(target=work, args=(*arguments, says))
    process.start()
    says.close()
    process.join()
    if process.exitcode != (-signal.SIGKILL if dies else 0):
        raise RuntimeError(f"the process ended with {process.exitcode}")
    return hears.recv()


def check_cell(unit: Unit, folder: Path, root: Path | None = None) -> dict[str, Any]:
    """Two steps, saved, killed, continued; what was measured on the way."""
    started, store = time.perf_counter(), Store(folder)
    killed = _in_new_process(_cut_short, unit, folder, root, True, dies=True)
    size = store.checkpoint(unit.key).stat().st_size
    assert unit.key not in store.records()
    resumed = _in_new_process(_cut_short, unit, folder, root, False)
    return {
        "seconds": round(time.perf_counter() - started, 1), "peak MB": max(killed["peak MB"], resumed["peak MB"]), "checkpoint MB": round(size / 1e6, 1),
        "learning rate": killed["learning rate"], "resumed equal": resumed["digest"] == killed["digest"],
    }  # fmt: skip


def _checked(unit: Unit, folder: Path, root: Path | None) -> dict[str, Any]:
    """The same, but one cell that fails does not end the check of the others."""
    try:
        return check_cell(unit, folder, root)
    except RuntimeError as error:
        return {"resumed equal": False, "error": str(error)}


def prepare(plan: Plan, store: Store, root: Path | None) -> Prepared:
    """The plan with untrained teachers."""
    dataset = plan.scale.images(root)
    teachers = {name: _in_new_process(_untrained, name, dataset, store) for name in plan.teachers}
    return Prepared(plan, fingerprint_of(dataset), len(dataset.train_images), teachers)


@torch.no_grad()
def _untrained(name: str, dataset: Dataset, store: Store, said: Connection) -> None:
    network = create_model(name, len(dataset.classes), dataset.in_channels, seed=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # takes the mean of all batches, and there is one
    network.train()(dataset.normalise(dataset.train_images[:SETTLING]))
    teacher = Teacher(name, hash_of(network), accuracy(network, dataset), "untrained, to check settings")
    save_weights(network, teacher.file(store))
    said.send(teacher)


def check_all(prepared: Prepared, store: Store, root: Path | None = None) -> list[dict[str, Any]]:
    """Check every cell, one after the other; pairs with the same student share the student alone."""
    plan, known, cells = prepared.plan, {}, []
    for pair in plan.pairs:
        for row in plan.rows:
            unit = prepared.unit(pair, row, 0)
            if unit.key not in known:
                known[unit.key] = _checked(unit, store.folder, root)
            cells.append({"pair": pair.name, "row": row.name, **known[unit.key]})
            print(json.dumps(cells[-1]), flush=True)
    table = make_table(prepared, store)
    for cell in cells:
        cell["in the table"] = table.cells[cell["row"]][cell["pair"]].ours is not None
    return cells


def summary_of(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """How many cells hold, and what the most demanding one takes."""
    whole = [cell for cell in cells if "error" not in cell]
    largest = {
        name: max(whole, key=lambda cell: cell[name]) for name in ("seconds", "peak MB", "checkpoint MB") if whole
    }
    return {
        "cells": len(cells),
        "resumed equal": sum(cell["resumed equal"] for cell in cells),
        "in the table": sum(cell["in the table"] for cell in cells),
        **{f"most {name}": f"{cell[name]}, {cell['pair']} {cell['row']}" for name, cell in largest.items()},
    }


def settings_of(scale: Scale) -> dict[str, Any]:
    """What the recipe and the machine were."""
    recipe = scale.recipe(learning_rate=0.05)
    return {
        "command": "python -m tests.benchmark.full_settings", "scale": scale.name, "epochs ahead": recipe.epochs,
        "batch size": recipe.batch_size, "precision": recipe.precision,
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": f"cpu ({platform.machine()}), one thread",
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CIFAR-100")
    parser.add_argument("--pair", action="append", help="all by default")
    parser.add_argument("--row", action="append", help="all by default")
    parser.add_argument("--out", type=Path, help="file to write")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.SGD([nn.Parameter(torch.zeros(1))])  # loads torch's compiler: once, not in every process
    started, plan = time.perf_counter(), make_plan(chosen.pair, chosen.row, 1, SCALE)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        cells = check_all(prepare(plan, store, chosen.data), store, chosen.data)
    summary = {**summary_of(cells), "minutes": round((time.perf_counter() - started) / 60, 1)}
    print(json.dumps(summary, indent=1))
    out = chosen.out or (None if chosen.pair or chosen.row else OUT)
    if out is not None:
        with written_whole(out) as file:
            file.write((json.dumps({**settings_of(plan.scale), **summary, "table": cells}, indent=1) + "\n").encode())
    if not all(cell["resumed equal"] and cell["in the table"] for cell in cells):
        sys.exit(1)


if __name__ == "__main__":
    main()
