"""How is a plan carried out? Teachers first, then every run that is not stored yet."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from kcd_teach._checks import check_at_least
from kcd_teach.benchmark.engines import Job, JobEngine, Pool, Serial, device_here
from kcd_teach.benchmark.finishing import Watch, unwatched
from kcd_teach.benchmark.plan import Plan, Prepared
from kcd_teach.benchmark.scales import Scale
from kcd_teach.benchmark.sizes import check_room
from kcd_teach.benchmark.store import Store, key_of
from kcd_teach.benchmark.teachers import Root, Teacher, check_checkpoints, choose_teacher, load_published, train_teacher
from kcd_teach.benchmark.units import execute
from kcd_teach.fingerprints import fingerprint_of

WAIT = 0.5
"""Seconds between two looks at runs that another process is working on."""


@dataclass
class Outcome:
    """What became of a plan.

    Attributes:
        prepared: the plan with its teachers.
        diverged: run -> what it said; such runs are not stored, and are tried again the next time.
    """

    prepared: Prepared
    diverged: dict[str, str] = field(default_factory=dict)


def run_plan(
    plan: Plan, folder: str | Path, *, workers: int = 1, root: Root = None, device: torch.device | str | None = None,
    checkpoints: Mapping[str, str | Path] | None = None, watch: Watch | None = None, engine: JobEngine | None = None,
    announce: Callable[[str], None] = print, quiet: bool = False, remember: bool = True,
) -> Outcome:  # fmt: skip
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
        watch: is told about every epoch, with one worker only.
        engine: who does the work, instead of ``workers`` processes here, as :class:`~kcd_teach.benchmark.Ray`.
        announce: given what is worth saying in between, such as how good the teachers are.
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
    check_at_least("workers", workers, 1)
    if watch is not None and (workers > 1 or engine is not None):
        raise ValueError(f"watch is told about the epochs of one process, got workers={workers}")
    doing = engine or (Pool(workers, quiet) if workers > 1 else Serial(watch, quiet))
    store, asked = Store(Path(folder).absolute()), None if device is None else str(device)
    store.make_folders()
    root = None if root is None else Path(root).absolute()
    dataset = plan.scale.images(root)
    plan.check_batches(dataset)
    check_room(plan, dataset, store.folder, engine.here if engine else workers)
    given = _published(plan, checkpoints or {}, store, root, device_here(None if engine else asked))
    chosen = {
        name: choose_teacher(name, plan.scale, store, root=root) for name in plan.teachers if name not in given
    }  # fmt: skip
    known = {name: teacher for name, (teacher, _) in chosen.items() if teacher is not None}
    prepared = Prepared(plan, fingerprint_of(dataset), len(dataset.train_images), {**known, **given})
    if remember:
        _announce_change(plan, store, announce)
        prepared.save(store)  # already now, so that a table can be asked for while other teachers are trained
    missing = [name for name in chosen if name not in known]
    for name in missing:
        if why := chosen[name][1]:
            announce(f"teacher {name} will be trained; {why}")
    with doing as hands:
        place = hands.place(asked, store.folder)
        trained = _train_teachers(plan, missing, store, root, place, hands, quiet)
        prepared = dataclasses.replace(prepared, teachers={**known, **given, **trained})
        if remember:
            prepared.save(store)
        for name, teacher in prepared.teachers.items():
            why = chosen[name][1] if name in known else ""
            announce(f"teacher {teacher}{why and f'; {why}'}")
        if others := _of_other_code(prepared, store):
            announce(f"{others} finished runs in {store.folder} are of other code, and are not used")
        jobs = _missing(prepared, store, root, place)
        diverged = run_jobs(jobs, hands, "runs", quiet)
    return Outcome(prepared, diverged)


def _announce_change(plan: Plan, store: Store, announce: Callable[[str], None]) -> None:
    """Say what a folder's plan was if it becomes another one."""
    try:
        before = Prepared.load(store).plan
    except (FileNotFoundError, ValueError):  # none yet, or a damaged one
        return
    if before != plan:
        announce(f"the plan of {store.folder} was: {before}; it becomes: {plan}; finished runs stay there")


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
    """Carry out all jobs, waiting for those that another process is at work on; returns what the diverged ones said."""
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


def _published(
    plan: Plan, checkpoints: Mapping[str, str | Path], store: Store, root: Root, device: str
) -> dict[str, Teacher]:
    check_checkpoints(plan.teachers, checkpoints)
    return {
        name: load_published(name, path, plan.scale, store, root=root, device=device)
        for name, path in checkpoints.items()
    }


def _train_teachers(
    plan: Plan, names: list[str], store: Store, root: Root, device: str, engine: JobEngine, quiet: bool
) -> dict[str, Teacher]:
    jobs: dict[str, Job] = {
        name: partial(_teacher_is_ready, name, plan.scale, store.folder, root=root, device=device) for name in names
    }
    for name, said in run_jobs(jobs, engine, "teachers", quiet).items():
        raise FloatingPointError(f"teacher {name} cannot be trained: {said}")
    found = {name: train_teacher(name, plan.scale, store, root=root, device=device) for name in names}
    return {name: teacher for name, teacher in found.items() if teacher is not None}


def _teacher_is_ready(
    name: str, scale: Scale, folder: Path, *, root: Root, device: str, watch: Watch = unwatched
) -> bool:
    return train_teacher(name, scale, Store(folder), root=root, device=device, watch=watch) is not None
