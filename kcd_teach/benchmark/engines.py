"""Who does the work? This process, or several side by side."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm.auto import tqdm

from kcd_teach._checks import check_device
from kcd_teach._command import speak_anywhere
from kcd_teach.benchmark.finishing import Watch
from kcd_teach.benchmark.progress import Bar
from kcd_teach.training import Distillation

Job = Callable[..., bool]
"""Called with ``watch=``, in any process: True once its result is stored, False while another process is at work on it."""

PATIENCE = 5.0
"""Seconds to wait for a process that is ending."""

Result = bool | FloatingPointError

UNGUARDED = 79
"""Exit code of a worker process that, while it read the script it belongs to, was told to start workers itself."""


class JobEngine(Protocol):
    """Something that carries out jobs. Used as a context, within which :meth:`run` may be called more than once.

    Attributes:
        here: jobs side by side on this machine, as far as it knows beforehand.
    """

    here: int

    def __enter__(self) -> "JobEngine":
        """Get ready."""

    def __exit__(self, *error: object) -> None:
        """Stop what runs, at the latest after its epoch, and wait for it."""

    def place(self, device: str | None, folder: Path) -> str:
        """Say where jobs compute, ``device`` if it is given; called once, before :meth:`run`, with the plan's folder."""

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Result]]:
        """Yield each job's name and result as it ends; training that diverged is a result."""


class Serial:
    """One job after the other, in this process.

    Args:
        watch: is told about every epoch, beside a bar on the screen.
        quiet: show no bar.
    """

    here = 1

    def __init__(self, watch: Watch | None = None, quiet: bool = False) -> None:
        self._watch, self._bar = watch, Bar(disable=quiet)

    def __enter__(self) -> "Serial":
        """Nothing to get ready."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self._bar.close()

    def place(self, device: str | None, folder: Path) -> str:
        """See :class:`JobEngine`."""
        return device_here(device)

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Result]]:
        """See :class:`JobEngine`."""
        for name, job in jobs.items():
            yield name, result_of(job, self._look)

    def _look(self, title: str, run: Distillation) -> None:
        self._bar(title, run)
        if self._watch is not None:
            self._watch(title, run)


class Pool:
    """Several processes on this machine, one thread each.

    Args:
        workers: how many.
        quiet: show no bars.

    Raises:
        RuntimeError: from :meth:`run`, if a process was killed.
    """

    def __init__(self, workers: int, quiet: bool = False) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SystemExit(
                UNGUARDED
            )  # this is a worker that only begins; the process that started it says what to do
        self.here, self._quiet = workers, quiet

    def __enter__(self) -> "Pool":
        """Start the processes."""
        context = multiprocessing.get_context("spawn")
        self._stop, places = context.Event(), context.SimpleQueue()
        for place in range(self.here):
            places.put(place + 1)
        settings = (self._stop, places, context.RLock(), self._quiet)
        self._pool = ProcessPoolExecutor(self.here, context, _begin_worker, settings)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop what runs, at the latest after its epoch, and wait for it."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def place(self, device: str | None, folder: Path) -> str:
        """See :class:`JobEngine`."""
        return device_here(device)

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Result]]:
        """See :class:`JobEngine`."""
        begun = False
        try:
            futures = {self._pool.submit(_in_worker, job): name for name, job in jobs.items()}
            processes = [*(getattr(self._pool, "_processes", None) or {}).values()]
            for future in as_completed(futures):
                result = future.result()
                begun = True
                yield futures[future], result
        except BrokenProcessPool as error:
            if not begun and _exit_codes(processes) & {UNGUARDED, 1}:  # 1: there is no script that it could read
                raise RuntimeError(
                    f"the {self.here} worker processes could not start: each first reads the script that started it, which "
                    f"must be a file, and must call run_plan(.., workers={self.here}) under "
                    "`if __name__ == '__main__':` only"
                ) from error
            raise RuntimeError(
                f"one of {self.here} worker processes was killed, perhaps for want of memory; what is finished is "
                "stored, start again to go on, perhaps with fewer workers"
            ) from error


def _exit_codes(processes: list[Any]) -> set[int | None]:
    for process in processes:
        process.join(PATIENCE)
    return {process.exitcode for process in processes}


def device_here(device: str | None) -> str:
    """``device`` if this machine has it, by default its first GPU, or else its processor; else raises ValueError."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    return device


def result_of(job: Job, watch: Watch) -> Result:
    """Carry out a job in this process."""
    try:
        return job(watch=watch)
    except FloatingPointError as error:
        return error


_WORKER: dict[str, Any] = {}
"""What a worker process was given at its start."""


def _begin_worker(stop: Any, places: Any, lock: Any, quiet: bool) -> None:
    # Between epochs an interrupt is left to the parent, which sets `stop`; within one, training hears it itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    speak_anywhere()
    tqdm.set_lock(lock)
    _WORKER.update(stop=stop, bar=Bar(places.get(), quiet))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever; ending at any moment is safe."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _in_worker(job: Job) -> Result:
    return result_of(job, _look_in_worker)


def _look_in_worker(title: str, run: Distillation) -> None:
    _WORKER["bar"](title, run)
    if _WORKER["stop"].is_set():
        raise KeyboardInterrupt("stopped between epochs")
