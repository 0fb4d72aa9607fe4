"""Checkpoints: the progress of a run, its identity, the file that holds both, and interrupts between two batches."""

import contextlib
import dataclasses
import signal
import threading
import time
import types
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kcd_teach._files import AGAIN, UnusableCheckpoint, damage, read_state, read_torch_file, write_state
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Distiller
from kcd_teach.fingerprints import alike, code_fingerprint, code_of, fingerprint_of, hash_of, make_of, probe
from kcd_teach.knowledge import Knowledge
from kcd_teach.recipe import EpochReport, Recipe

__all__ = [
    "Identity",
    "Progress",
    "SavedRun",
    "UnusableCheckpoint",
    "read_state",
    "read_torch_file",
    "stop_between_batches",
    "write_state",
]


@contextlib.contextmanager
def stop_between_batches(asked: threading.Event) -> Iterator[None]:
    """Turn an interrupt (Ctrl-C, or the square button of a notebook) into a flag that is read between batches.

    Args:
        asked: set when an interrupt comes. A second interrupt takes effect at once. Outside the main thread, where signals
            cannot be caught, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: types.FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Stateful(Protocol):
    """A part of a run that can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to continue, as tensors and plain values."""

    def load_state_dict(self, state: Any) -> Any:
        """Continue from that state."""


class Progress:
    """The progress of a run.

    Attributes:
        reports: of all finished epochs, also of those before a resume.
        epoch: number of finished epochs.
        batches: number of finished batches in the current epoch.
        presentations: samples shown since the start, all epochs together.
        loss: sum of the losses of the current epoch, over samples, float64 on the device, which is not waited for.
        seconds: computing since the start, all processes together.
        places: environments (device, threads, version of torch) of all processes that worked on it; resuming is exact,
            to the last bit, only within one environment.
    """

    def __init__(self, device: torch.device, place: str) -> None:
        self.reports: list[EpochReport] = []
        self.places = [place]
        self.epoch = self.batches = self.presentations = 0
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.seconds, self._clock = 0.0, time.perf_counter()

    def start_clock(self) -> None:
        """Begin to measure: the time until now is not counted."""
        self._clock = time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last tick to :attr:`seconds`."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def next_epoch(self) -> None:
        """Set the counters of the current epoch, batches and loss, to zero."""
        self.batches, self.loss = 0, torch.zeros_like(self.loss)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`Stateful`."""
        return {
            "places": self.places,
            "reports": [dataclasses.asdict(report) for report in self.reports],
            "counts": [self.epoch, self.batches, self.presentations],
            "loss": self.loss,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`Stateful`; the environment of this process is added to the saved ones."""
        self.places = [*(place for place in state["places"] if place not in self.places), *self.places]
        self.reports = [EpochReport(**report) for report in state["reports"]]
        self.epoch, self.batches, self.presentations = state["counts"]
        self.loss, self.seconds = state["loss"].to(self.loss.device), state["seconds"]


@dataclasses.dataclass(frozen=True)
class Identity:
    """All that a run's result depends on: a checkpoint is continued only if all of it is the same.

    Attributes:
        student, dataset, knowledge, distiller, condenser, recipe, seed: the parts of the run, at its beginning.
    """

    student: nn.Module
    dataset: Dataset
    knowledge: Knowledge | None
    distiller: Distiller
    condenser: Condenser | KeepAll
    recipe: Recipe
    seed: int

    @cached_property
    def config(self) -> dict[str, Any]:
        """The readable part, as plain values."""
        return {
            "dataset": f"{self.dataset.name}, {len(self.dataset.train_images)} images",
            "student": type(self.student).__name__,
            "parameters": sum(parameter.numel() for parameter in self.student.parameters()),
            "distiller": repr(self.distiller),
            "recipe": dataclasses.asdict(self.recipe),
            "condenser": dict(self.condenser.config),
            "seed": self.seed,
        }

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of the images, of the teacher's weights and of all code."""
        used = getattr(self.condenser, "measure", None)
        measure = () if used is None else (used.observe, used.combine)
        return {
            "hash of the images": fingerprint_of(self.dataset),
            "hash of the teacher": "" if self.knowledge is None else hash_of(self.knowledge.teacher),
            "precision of the teacher": "" if self.knowledge is None else self.knowledge.precision,
            "hash of the student's code": make_of(self.student),
            "hash of the distiller's code": make_of(self.distiller),
            "hash of the condenser's code": code_of(self.condenser, *measure),
            "hash of this package's code": code_fingerprint(),
        }

    @cached_property
    def teacher_outputs(self) -> list[Tensor]:
        """The teacher's outputs for a few images, by which it is recognised; empty without a teacher."""
        if self.knowledge is None:
            return []
        try:
            teacher = self.knowledge.rehearsing().teacher
        except Exception:  # a network that cannot be copied is run itself
            teacher = self.knowledge.teacher
        return probe(teacher, self.dataset, self.distiller.needs.features)

    @property
    def student_outputs(self) -> list[Tensor]:
        """The student's outputs for the same images, as it is now."""
        return probe(self.student, self.dataset)


class SavedRun:
    """The checkpoint of a run: saves its parts to a file, and restores them from it.

    Args:
        file: of the checkpoint; ``None`` saves nothing.
        identity: of the run, which a checkpoint must have to be continued.
        parts: of the run, by name.

    Attributes:
        file, identity: see above.
    """

    def __init__(self, file: Path | None, identity: Identity, parts: Mapping[str, Stateful]) -> None:
        self.file, self.identity, self._parts = file, identity, parts
        self._first_weights = hash_of(identity.student)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self.file is not None:
            write_state(self.file, self.state_dict())

    def begin(self) -> None:
        """Continue from the file if it exists; otherwise write it.

        A file that cannot be written, or a state that could not be read again, fails here and not after hours.
        """
        if self.file is None:
            return
        if self.file.exists():
            state = read_state(self.file)
            try:
                self.load_state_dict(state)
            except UnusableCheckpoint as error:
                raise UnusableCheckpoint(f"{self.file}: {error}") from error
            except Exception as error:  # what is in it can be anything
                raise UnusableCheckpoint(str(damage(self.file, "the checkpoint of a run", AGAIN, error))) from error
        else:
            self.save()
            read_state(self.file, "a part of this run keeps in its state_dict what is neither tensor nor plain value")

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue exactly from here, as tensors and plain values."""
        return {
            "config": self.identity.config,
            "origin": self.identity.hashes,
            "first weights": self._first_weights,
            "teacher's answers": self.identity.teacher_outputs,
            "student's answers": self.identity.student_outputs,
            **{name: part.state_dict() for name, part in self._parts.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; raises UnusableCheckpoint, a ValueError, if it is not of this very run."""
        if missing := self.state_dict().keys() - state.keys():
            raise UnusableCheckpoint(f"this is not the checkpoint of a run; it lacks {', '.join(sorted(missing))}")
        saved = {**state["config"], **state["origin"]}
        for name, ours in {**self.identity.config, **self.identity.hashes}.items():
            if (theirs := saved.get(name)) != ours:
                raise UnusableCheckpoint(
                    f"the checkpoint belongs to another run: its {name} is {theirs}, here it is {ours}"
                )
        self._check_outputs("teacher", self.identity.teacher_outputs, state["teacher's answers"])
        self._warn_of_other_weights(state)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self._check_outputs("student", self.identity.student_outputs, state["student's answers"])

    def _warn_of_other_weights(self, state: dict[str, Any]) -> None:
        """Warn if the student is another one than the saved run began or stopped with: its weights are replaced."""
        if self._first_weights not in (state["first weights"], hash_of(state["student"])):
            warnings.warn(
                f"this student is not the one that the run in {self.file} began with; its weights are replaced by those "
                "of the file. Another student needs another file",
                stacklevel=5,
            )
        self._first_weights = state["first weights"]

    @staticmethod
    def _check_outputs(role: str, ours: list[Tensor], theirs: list[Tensor]) -> None:
        """Raise unless a network's outputs for a few images are those of the saved run."""
        if len(ours) != len(theirs) or not all(map(alike, ours, theirs)):
            raise UnusableCheckpoint(
                f"the checkpoint belongs to another run: its {role} has the weights of this one, but says something else"
            )
