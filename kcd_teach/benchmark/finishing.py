"""How is a run brought to its end? From its last checkpoint, on one thread, and described by one record."""

import contextlib
import datetime
import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from kcd_teach import __version__
from kcd_teach.benchmark.store import Record, Store
from kcd_teach.training import Distillation

RESULTS_FORMAT = 1
"""Raised with every change of the code that changes results or the meaning of a record: older ones are run again."""

Watch = Callable[[str, Distillation], None]
"""Called with a run's title when it starts or goes on, and after each of its epochs."""


def unwatched(title: str, run: Distillation) -> None:
    """A :data:`Watch` that looks away."""


def key_of(config: dict[str, Any]) -> str:
    """Name of a run, a hash of its whole configuration, 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:24]


def configured(**settings: Any) -> dict[str, Any]:
    """A configuration as plain JSON values, with the version of the code that it belongs to."""
    config = {"format": RESULTS_FORMAT, "kcd_teach": __version__, **settings}
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that results do not depend on how many runs share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
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
    store.restore(key)
    with one_thread():
        run = start(store.checkpoint(key))
        watch(title, run)
        while len(run):
            store.keep_previous(key)
            next(run)
            watch(title, run)
    return run


def described(run: Distillation) -> Record:
    """What is stored of a finished run, beside its key and its configuration."""
    device = run.dataset.train_images.device
    return {
        "test_accuracy": [round(report.test_accuracy, 6) for report in run.reports],
        "train_loss": [round(report.train_loss, 6) for report in run.reports],
        "active": [report.active for report in run.reports],
        "presentations": run.reports[-1].presentations,
        "preparation_epochs": run.preparation.epochs,
        "seconds": round(run.reports[-1].seconds, 2),
        "run": json.loads(json.dumps(run.config)),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.machine()})",
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
