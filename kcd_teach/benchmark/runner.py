"""The runner: trains a plan's teachers, then every run that is not stored yet, one after the other or side by side."""

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm.auto import tqdm

from kcd_teach._checks import check_at_least, check_device
from kcd_teach._files import speak_anywhere
from kcd_teach.benchmark.doctor import check_room
from kcd_teach.benchmark.plan import Plan, Prepared
from kcd_teach.benchmark.runs import (
    Root,
    Teacher,
    Watch,
    check_checkpoints,
    choose_teacher,
    execute,
    keys_of_teachers,
    load_published,
    train_teacher,
    unwatched,
)
from kcd_teach.benchmark.settings import Scale
from kcd_teach.benchmark.store import Store, key_of
from kcd_teach.fingerprints import fingerprint_of
from kcd_teach.registry import Origin, check_files, load_origins, origins
from kcd_teach.training import Distillation


class Bar:
    """A :data:`~kcd_teach.benchmark.runs.Watch` that shows the epochs of the current run and the time they need.

    Args:
        position: line on the screen, below the overall bar.
        disable: show nothing.
    """

    def __init__(self, position: int = 1, disable: bool = False) -> None:
        self._position, self._disable = position, disable
        self._bar: tqdm[None] | None = None
        self._title = ""

    def __call__(self, title: str, run: Distillation) -> None:
        """Show that a run has begun, or has finished an epoch."""
        if self._bar is None or self._title != title:
            self.close()
            self._title = title
            self._bar = tqdm(
                total=run.recipe.epochs,
                initial=run.epoch,
                desc=title,
                unit="epoch",
                position=self._position,
                leave=False,
                disable=self._disable,
            )
        self._bar.update(run.epoch - self._bar.n)
        if run.reports:
            self._bar.set_postfix_str(f"{100 * run.reports[-1].test_accuracy:.1f} %")
        if len(run) == 0:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Pace:
    """A :data:`~kcd_teach.benchmark.runs.Watch` that estimates the remaining time from the epochs it has seen."""

    def __init__(self) -> None:
        self._began = 0.0
        self._first: dict[str, tuple[float, int]] = {}
        self._finished = 0

    def __call__(self, title: str, run: Distillation) -> None:
        """Note that a run has begun, or has finished an epoch."""
        now = time.monotonic()  # unlike the time of day, it is never set back
        self._first.setdefault(title, (now, run.epoch))
        if not title.startswith("teacher "):
            self._began = self._began or now
            self._finished += len(run) == 0

    def of_run(self, title: str, run: Distillation) -> float | None:
        """Seconds that a run still needs; None before its first epoch here."""
        since, epoch = self._first[title]
        return None if run.epoch == epoch else (time.monotonic() - since) / (run.epoch - epoch) * len(run)

    def of_plan(self, runs: int) -> float | None:
        """Seconds that a plan of so many missing runs still needs; None before the first of them is done."""
        if not self._finished:
            return None
        return (time.monotonic() - self._began) / self._finished * (runs - self._finished)


def spoken(seconds: float) -> str:
    """A duration in words.

    >>> spoken(44), spoken(200), spoken(9000)
    ('44 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


Job = Callable[..., bool]
"""Called with ``watch=``, in any process; True once its result is stored, False while another process is at work on it."""

PATIENCE = 5.0
"""Seconds to wait for a process that is ending."""

Result = bool | FloatingPointError

UNGUARDED = 79
"""Exit code of a worker process whose script, which it reads first, would start workers of its own."""


class JobEngine(Protocol):
    """An engine that carries out jobs. Used as a context, within which :meth:`run` may be called more than once.

    Attributes:
        here: jobs side by side on this machine, as far as it knows beforehand.
    """

    here: int

    def __enter__(self) -> "JobEngine":
        """Get ready."""

    def __exit__(self, *error: object) -> None:
        """Stop what runs, at the latest after its epoch, and wait for it."""

    def place(self, device: str | None, folder: Path) -> str:
        """The device of the jobs, ``device`` if it is given; called once, before :meth:`run`, with the plan's folder."""

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Result]]:
        """Yield each job's name and result as it ends; training that diverged is a result."""


class Serial:
    """One job after the other, in this process.

    Args:
        watch: called after every epoch, besides a bar on the screen.
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
            yield name, result_of(job, self._show)

    def _show(self, title: str, run: Distillation) -> None:
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
            raise SystemExit(UNGUARDED)  # in a worker that only begins; the process that started it says what to do
        self.here, self._quiet = workers, quiet

    def __enter__(self) -> "Pool":
        """Start the processes."""
        context = multiprocessing.get_context("spawn")
        self._stop, lines = context.Event(), context.SimpleQueue()
        for line in range(self.here):
            lines.put(line + 1)
        settings = (self._stop, lines, context.RLock(), self._quiet)
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
            futures = {self._pool.submit(_in_worker, job, origins()): name for name, job in jobs.items()}
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
"""Stop signal and bar of a worker process, set at its start."""


def _begin_worker(stop: Any, lines: Any, lock: Any, quiet: bool) -> None:
    # Between epochs an interrupt is left to the parent, which sets `stop`; within one, training hears it itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    speak_anywhere()
    tqdm.set_lock(lock)
    _WORKER.update(stop=stop, bar=Bar(lines.get(), quiet))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent was killed, as it would wait for work forever; ending at any moment is safe."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _in_worker(job: Job, own: tuple[Origin, ...]) -> Result:
    load_origins(own)
    return result_of(job, _show_in_worker)


def _show_in_worker(title: str, run: Distillation) -> None:
    _WORKER["bar"](title, run)
    if _WORKER["stop"].is_set():
        raise KeyboardInterrupt("stopped between epochs")


WAIT = 0.5
"""Seconds before runs that another process is working on are tried again."""


@dataclass
class Outcome:
    """The outcome of a plan.

    Attributes:
        prepared: the plan with its teachers.
        diverged: run -> message of the error; such runs are not stored, and are tried again the next time.
    """

    prepared: Prepared
    diverged: dict[str, str] = field(default_factory=dict)


def run_plan(
    plan: Plan,
    folder: str | Path,
    *,
    workers: int = 1,
    root: Root = None,
    device: torch.device | str | None = None,
    checkpoints: Mapping[str, str | Path] | None = None,
    watch: Watch | None = None,
    engine: JobEngine | None = None,
    announce: Callable[[str], None] = print,
    quiet: bool = False,
    remember: bool = True,
) -> Outcome:
    """Run what is missing of a plan, and go on with what was interrupted.

    It may be stopped or killed at any moment and called again; several calls on one folder share the work.

    Args:
        plan: what is wanted.
        folder: of results, teachers and checkpoints.
        workers: processes side by side, one thread each; with more than one, a script must be a file that calls this
            under ``if __name__ == "__main__":``, as each process reads it first.
        root: folder of the data set.
        device: where to compute; the first GPU if there is one, or as the engine says.
        checkpoints: network -> file, teachers that are published checkpoints; all others are trained.
        watch: called after every epoch, with one worker only.
        engine: carries out the runs, instead of ``workers`` processes here, as :class:`~kcd_teach.benchmark.Ray`.
        announce: called with messages in between, such as how good the teachers are.
        quiet: show no bars.
        remember: make this the plan of the folder, the one that its table shows.

    Returns:
        The prepared plan, which :func:`~kcd_teach.benchmark.table.make_table` takes, and which runs diverged.

    Raises:
        ValueError: arguments that do not fit together; data or a teacher that is not what it should be.
        OSError: no room on the disk.
        FloatingPointError: a teacher diverged.
        KeyboardInterrupt: stopped; nothing that is finished is lost.
    """
    doing = _engine(workers, watch, engine, quiet)
    if not isinstance(doing, Serial):
        check_files(plan.names)
    store, asked = Store(Path(folder).absolute()), None if device is None else str(device)
    store.make_folders()
    root = None if root is None else Path(root).absolute()
    dataset = plan.scale.images(root)
    plan.check_batches(dataset)
    check_room(plan, dataset, store.folder, doing.here)
    files = {**plan.checkpoints, **(checkpoints or {})}
    known, reasons = _teachers_at_hand(plan, files, store, root, device_here(None if engine else asked))
    prepared = Prepared(plan, fingerprint_of(dataset), len(dataset.train_images), known)
    if remember:
        _announce_change(plan, store, announce)
        prepared.save(store)  # already now, so that a table can be asked for while other teachers are trained
    missing = [name for name in plan.teachers if name not in known]
    for name in missing:
        if name in reasons:
            announce(f"teacher {name} will be trained; {reasons[name]}")
    with doing as hands:
        computing = hands.place(asked, store.folder)
        trained = _train_teachers(plan, missing, store, root, computing, hands, quiet)
        prepared = dataclasses.replace(prepared, teachers={**known, **trained})
        if remember:
            prepared.save(store)
        _announce_teachers(prepared, {name: why for name, why in reasons.items() if name in known}, store, announce)
        store.tidy({*store.records(), *keys_of_teachers(store, prepared.teachers.values())})
        diverged = run_jobs(_missing(prepared, store, root, computing), hands, "runs", quiet)
    return Outcome(prepared, diverged)


def _engine(workers: int, watch: Watch | None, engine: JobEngine | None, quiet: bool) -> JobEngine:
    """The engine of a plan, made for so many workers unless one is given."""
    check_at_least("workers", workers, 1)
    if watch is not None and (workers > 1 or engine is not None):
        raise ValueError(f"watch is called for the epochs of one process, got workers={workers}")
    return engine or (Pool(workers, quiet) if workers > 1 else Serial(watch, quiet))


def _announce_change(plan: Plan, store: Store, announce: Callable[[str], None]) -> None:
    """Say what a folder's plan was if it becomes another one."""
    try:
        before = Prepared.load(store).plan
    except FileNotFoundError:
        return
    except ValueError as error:
        announce(f"the plan of {store.folder} is written anew: {error}")
        return
    if before != plan:
        announce(f"the plan of {store.folder} was: {before}; it becomes: {plan}; finished runs stay there")


def _announce_teachers(
    prepared: Prepared, reasons: Mapping[str, str], store: Store, announce: Callable[[str], None]
) -> None:
    """Say how good the teachers are, and how many finished runs in the folder other code has made."""
    for name, teacher in prepared.teachers.items():
        announce(f"teacher {teacher}; {reasons[name]}" if name in reasons else f"teacher {teacher}")
    if others := _of_other_code(prepared, store):
        announce(f"{others} finished runs in {store.folder} are of other code, and are not used")


def _missing(prepared: Prepared, store: Store, root: Root, device: str) -> dict[str, Job]:
    """A job for every run that is not stored yet, by title."""
    stored = store.records()
    return {
        unit.title: partial(execute, unit, store.folder, root=root, device=device)
        for unit in prepared.units()
        if unit.key not in stored
    }


def _of_other_code(prepared: Prepared, store: Store) -> int:
    """Stored runs that would belong to the plan, had the code not changed since."""

    def codeless(config: dict[str, Any]) -> str:
        return key_of({**config, "code": ""})

    ours = {codeless(unit.config): unit.key for unit in prepared.units()}
    stored = store.records().values()
    return sum(record["key"] != ours.get(codeless(record["config"]), record["key"]) for record in stored)


def run_jobs(jobs: Mapping[str, Job], engine: JobEngine, unit: str, quiet: bool = False) -> dict[str, str]:
    """Carry out all jobs, waiting for those that another process is at work on; returns the errors of diverged ones."""
    pending, diverged = dict(jobs), {}
    with tqdm(total=len(jobs), unit=unit, position=0, disable=quiet or not jobs) as bar:
        while pending:
            busy = {}
            for name, result in engine.run(pending):
                if result is False:
                    busy[name] = pending[name]
                    continue
                if isinstance(result, FloatingPointError):
                    diverged[name] = str(result)
                bar.update()
            if len(busy) == len(pending):
                time.sleep(WAIT)
            pending = busy
    return diverged


def _teachers_at_hand(
    plan: Plan, checkpoints: Mapping[str, str | Path], store: Store, root: Root, device: str
) -> tuple[dict[str, Teacher], dict[str, str]]:
    """The teachers that need no training, and remarks on how teachers were chosen, by network."""
    check_checkpoints(plan.teachers, checkpoints)
    given = {
        name: load_published(name, path, plan.scale, store, root=root, device=device)
        for name, path in checkpoints.items()
    }
    chosen = {name: choose_teacher(name, plan.scale, store, root=root) for name in plan.teachers if name not in given}
    known = {name: teacher for name, (teacher, _) in chosen.items() if teacher is not None}
    return {**known, **given}, {name: why for name, (_, why) in chosen.items() if why}


def _train_teachers(
    plan: Plan, names: list[str], store: Store, root: Root, device: str, engine: JobEngine, quiet: bool
) -> dict[str, Teacher]:
    jobs: dict[str, Job] = {
        name: partial(_teacher_is_ready, name, plan.scale, store.folder, root=root, device=device) for name in names
    }
    for name, error in run_jobs(jobs, engine, "teachers", quiet).items():
        raise FloatingPointError(f"teacher {name} cannot be trained: {error}")
    found = {name: train_teacher(name, plan.scale, store, root=root, device=device) for name in names}
    return {name: teacher for name, teacher in found.items() if teacher is not None}


def _teacher_is_ready(
    name: str, scale: Scale, folder: Path, *, root: Root, device: str, watch: Watch = unwatched
) -> bool:
    return train_teacher(name, scale, Store(folder), root=root, device=device, watch=watch) is not None
