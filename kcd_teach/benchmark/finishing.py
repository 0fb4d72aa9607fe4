"""How is a run brought to its end? From its last checkpoint, on one thread, and described by one record."""

import contextlib
import datetime
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach import __version__
from kcd_teach.benchmark.store import Record, Store
from kcd_teach.checkpoints import UnusableCheckpoint
from kcd_teach.datasets import Dataset
from kcd_teach.models import save_weights
from kcd_teach.training import Distillation

RESULTS_FORMAT = 1
"""Raised with every change of the code that changes results or the meaning of a record: older ones are run again."""

THREADS = 1
"""Threads that a run computes with, on every machine: sums, and so results, differ with their number."""

Watch = Callable[[str, Distillation], None]
"""Called with a run's title when it starts or goes on, and after each of its epochs."""


def unwatched(title: str, run: Distillation) -> None:
    """A :data:`Watch` that looks away."""


def configured(**settings: Any) -> dict[str, Any]:
    """A configuration as plain JSON values, with the version of the code that it belongs to."""
    config = {"format": RESULTS_FORMAT, "kcd_teach": __version__, **settings}
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


@contextlib.contextmanager
def repeatably() -> Iterator[None]:
    """Compute on one thread, whatever shares the machine, and on a GPU with convolutions that always add in one order."""
    before, cudnn = torch.get_num_threads(), torch.backends.cudnn
    torch.set_num_threads(THREADS)
    try:
        with cudnn.flags(cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
            yield
    finally:
        torch.set_num_threads(before)


def finish(title: str, key: str, store: Store, start: Callable[[Path], Distillation], watch: Watch) -> Distillation:
    """Train to the last epoch, going on from the last one that was saved.

    Args:
        title: for ``watch``.
        key: of the run.
        store: where its checkpoints are.
        start: makes the run, given its checkpoint file.
        watch: is told about every epoch.

    Raises:
        KeyboardInterrupt: stopped between two batches; the state is saved.
        FloatingPointError: training diverged.
        OSError: the checkpoint cannot be written.
    """
    with repeatably():
        run = _where_it_stopped(key, store, start)
        watch(title, run)
        while len(run):
            store.keep_previous(key)
            next(run)
            watch(title, run)
    return run


def _where_it_stopped(key: str, store: Store, start: Callable[[Path], Distillation]) -> Distillation:
    """The run at its last usable checkpoint, or at its beginning."""
    while True:
        store.restore(key)
        try:
            return start(store.checkpoint(key))
        except UnusableCheckpoint as error:
            store.reject(key, str(error))


def keep_weights(network: nn.Module, path: Path, store: Store, dataset: Dataset, **about: str) -> str:
    """Write trained weights, in place of what may be there and be damaged; returns their hash.

    The header says which network it is, so that ``load_checkpoint(create_model(..), path)`` can be written from it.
    """
    name, shape = (
        {"network": str(network.name)},
        {"num_classes": len(dataset.classes), "in_channels": dataset.in_channels},
    )
    with store.alone(path):
        return save_weights(
            network,
            path,
            {**name, **{key: str(value) for key, value in shape.items()}, "kcd_teach": __version__, **about},
        )


def described(run: Distillation) -> Record:
    """What is stored of a finished run, beside its key and its configuration."""
    return {
        "test_accuracy": [round(report.test_accuracy, 6) for report in run.reports],
        "train_loss": [round(report.train_loss, 6) for report in run.reports],
        "active": [report.active for report in run.reports],
        "presentations": run.reports[-1].presentations,
        "preparation_epochs": run.preparation.epochs,
        "seconds": round(run.reports[-1].seconds, 2),
        "run": json.loads(json.dumps(run.config)),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "places": run.progress.places,
        "device": run.engine.name,
        "threads": THREADS,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
