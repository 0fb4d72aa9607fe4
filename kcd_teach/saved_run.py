"""What is a run made of, and how does it survive its process? Parts, progress, and the file they are saved to."""

import dataclasses
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach.augment import StageImages
from kcd_teach.checkpoints import UnusableCheckpoint, write_state
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Distiller
from kcd_teach.engine import Engine
from kcd_teach.fingerprints import fingerprint_of, hash_of
from kcd_teach.knowledge import Knowledge
from kcd_teach.preparation import Preparation
from kcd_teach.recipe import EpochReport, Recipe


class SavedRun:
    """The parts of a run, how far it is, and how both are saved and restored.

    Attributes:
        student, condenser, knowledge, distiller, dataset, recipe: the parts of the run.
        epoch: finished epochs.
        reports: of all finished epochs, also of those before a resume.
        places: device and version of torch of all processes that worked on it; only in one place resuming is exact.
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
        self.places = [f"{self.engine.name}, torch {torch.__version__}"]
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
        """Hashes of the images and of the teacher's weights; a checkpoint of others is refused."""
        teacher = "" if self.knowledge is None else hash_of(self.knowledge.teacher)
        return {"hash of the images": fingerprint_of(self.dataset), "hash of the teacher": teacher}

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
        # A file from before these were kept says nothing about them.
        state = {"origin": self.origin, "places": [], **state}
        if missing := self.state_dict().keys() - state.keys():
            raise UnusableCheckpoint(f"this is not the checkpoint of a run; it lacks {', '.join(sorted(missing))}")
        saved = {**state["config"], **state["origin"]}
        for name, ours in {**self.config, **self.origin}.items():
            if (theirs := saved.get(name)) != ours:
                raise UnusableCheckpoint(
                    f"the checkpoint belongs to another run: its {name} is {theirs}, here it is {ours}"
                )
        self.places = [*(place for place in state["places"] if place not in self.places), *self.places]
        self.reports = [EpochReport(**report) for report in state["reports"]]
        self.epoch, self._batches_done, self._presentations, self._seconds = state["progress"]
        self._loss = state["loss"].to(self.dataset.train_images.device)
        for name in ("student", "distiller", "preparation", "optimizer", "condenser", "images"):
            getattr(self, name).load_state_dict(state[name])

    def _tick(self) -> None:
        now = time.perf_counter()
        self._seconds, self._clock = self._seconds + now - self._clock, now
