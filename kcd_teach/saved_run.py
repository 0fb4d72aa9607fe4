"""The parts of a run, how far it is, and the file from which another process goes on with it."""

import dataclasses
import threading
import time
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kcd_teach.augment import StageImages
from kcd_teach.checkpoints import UnusableCheckpoint, write_state
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Distiller
from kcd_teach.engine import Engine
from kcd_teach.fingerprints import alike, code_fingerprint, code_of, fingerprint_of, hash_of, make_of, probe
from kcd_teach.knowledge import Knowledge
from kcd_teach.preparation import Preparation
from kcd_teach.recipe import EpochReport, Recipe


class SavedRun:
    """The parts of a run, how far it is, and how both are saved and restored.

    Attributes:
        student, condenser, knowledge, distiller, dataset, recipe: the parts of the run.
        epoch: finished epochs.
        reports: of all finished epochs, also of those before a resume.
        places: device, version of torch and number of threads of all processes that worked on it; only in one place
            resuming is exact.
    """

    def __init__(
        self, student: nn.Module, dataset: Dataset, knowledge: Knowledge | None, distiller: Distiller,
        condenser: Condenser | KeepAll, recipe: Recipe, seed: int, checkpoint: Path | None,
    ) -> None:  # fmt: skip
        self.engine = Engine(dataset.train_images.device, recipe.precision)
        self.student, self.dataset, self.knowledge, self.distiller = student, dataset, knowledge, distiller
        self.condenser, self.recipe, self.seed, self.checkpoint = condenser, recipe, seed, checkpoint
        self.compiled = self.engine.compile(student) if recipe.compile else None
        self.images = StageImages(dataset.train_images, condenser.config["preset"])
        self.optimizer = recipe.optimizer([*student.parameters(), *distiller.student_parameters()])
        self.preparation = Preparation(distiller, recipe)
        self.reports: list[EpochReport] = []
        self.places = [f"{self.engine.place}, torch {torch.__version__}"]
        self.first_weights = hash_of(student)
        self.epoch = self._batches_done = self._presentations = 0
        self._seconds, self._clock, self._in_step = 0.0, time.perf_counter(), False
        self._loss = torch.zeros((), dtype=torch.float64, device=dataset.train_images.device)
        self._stopping = threading.Event()

    @property
    def config(self) -> dict[str, Any]:
        """What makes this run this run; a checkpoint of another configuration is refused."""
        return {
            "dataset": f"{self.dataset.name}, {len(self.dataset.train_images)} images",
            "student": type(self.student).__name__,
            "parameters": sum(parameter.numel() for parameter in self.student.parameters()),
            "distiller": repr(self.distiller),
            "recipe": {**dataclasses.asdict(self.recipe), "precision": self.engine.precision},
            "condenser": dict(self.condenser.config),
            "seed": self.seed,
        }

    @cached_property
    def origin(self) -> dict[str, str]:
        """Hashes of the images, of the teacher's weights and of all code; a checkpoint of others is refused."""
        return {
            "hash of the images": fingerprint_of(self.dataset),
            "hash of the teacher": "" if self.knowledge is None else hash_of(self.knowledge.teacher),
            "precision of the teacher": "" if self.knowledge is None else self.knowledge.precision,
            "hash of the student's code": make_of(self.student),
            "hash of the distiller's code": make_of(self.distiller),
            "hash of the condenser's code": code_of(self.condenser),
            "hash of this package's code": code_fingerprint(),
        }

    @cached_property
    def teacher_probe(self) -> list[Tensor]:
        """What the teacher says about a few images, by which it is recognised; empty without a teacher."""
        if self.knowledge is None:
            return []
        try:
            teacher = self.knowledge.rehearsing().teacher
        except Exception:  # a network that cannot be copied is asked itself
            teacher = self.knowledge.teacher
        return probe(teacher, self.dataset, self.distiller.needs.features)

    def _save(self) -> None:
        self._tick()
        if self.checkpoint is not None:
            write_state(self.checkpoint, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on exactly from here, as tensors and plain values."""
        return {
            "config": self.config,
            "origin": self.origin,
            "places": self.places,
            "first weights": self.first_weights,
            "teacher's answers": self.teacher_probe,
            "student's answers": probe(self.student, self.dataset),
            "reports": [dataclasses.asdict(report) for report in self.reports],
            "progress": [self.epoch, self._batches_done, self._presentations, self._seconds],
            "loss": self._loss,
            "student": self.student.state_dict(),
            "distiller": self.distiller.state_dict(),
            "preparation": self.preparation.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "condenser": self.condenser.state_dict(),
            "images": self.images.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; raises UnusableCheckpoint, a ValueError, if that was another run or none."""
        if missing := self.state_dict().keys() - state.keys():
            raise UnusableCheckpoint(f"this is not the checkpoint of a run; it lacks {', '.join(sorted(missing))}")
        saved = {**state["config"], **state["origin"]}
        for name, ours in {**self.config, **self.origin}.items():
            if (theirs := saved.get(name)) != ours:
                raise UnusableCheckpoint(
                    f"the checkpoint belongs to another run: its {name} is {theirs}, here it is {ours}"
                )
        self._check_answers("teacher", self.teacher_probe, state["teacher's answers"])
        self._mention_weights(state)
        self.places = [*(place for place in state["places"] if place not in self.places), *self.places]
        self.reports = [EpochReport(**report) for report in state["reports"]]
        self.epoch, self._batches_done, self._presentations, self._seconds = state["progress"]
        self._loss = state["loss"].to(self.dataset.train_images.device)
        for name in ("student", "distiller", "preparation", "optimizer", "condenser", "images"):
            getattr(self, name).load_state_dict(state[name])
        self._check_answers("student", probe(self.student, self.dataset), state["student's answers"])

    def _mention_weights(self, state: dict[str, Any]) -> None:
        """Warn if the student is another one than the saved run began or stopped with: its weights are replaced."""
        if self.first_weights not in (state["first weights"], hash_of(state["student"])):
            warnings.warn(
                f"this student is not the one that the run in {self.checkpoint} began with; its weights are replaced by "
                "those of the file. Another student needs another file",
                stacklevel=4,
            )
        self.first_weights = state["first weights"]

    @staticmethod
    def _check_answers(role: str, ours: list[Tensor], theirs: list[Tensor]) -> None:
        if len(ours) != len(theirs) or not all(map(alike, ours, theirs)):
            raise UnusableCheckpoint(
                f"the checkpoint belongs to another run: its {role} has the weights of this one, but says something else"
            )

    def _tick(self) -> None:
        now = time.perf_counter()
        self._seconds, self._clock = self._seconds + now - self._clock, now
