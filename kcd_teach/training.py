"""The loop: distil a teacher into a student, on all samples or on the condensed ones."""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach._checks import check_at_least
from kcd_teach.augment import StageImages
from kcd_teach.batches import Batch, batches
from kcd_teach.checkpoints import read_state, stop_between_batches, write_state
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, LabelsOnly
from kcd_teach.knowledge import Knowledge, accuracy
from kcd_teach.recipe import EpochReport, Recipe

__all__ = ["Distillation", "EpochReport", "Recipe", "distill"]


class Distillation(Iterator[EpochReport]):
    """A run of :func:`distill`: an iterator over its remaining epochs.

    Attributes:
        student, condenser, knowledge, distiller, dataset, recipe: the parts of the run.
        epoch: finished epochs.
        reports: of all finished epochs, also of those before a resume.
    """

    def __init__(
        self, student: nn.Module, dataset: Dataset, knowledge: Knowledge | None, distiller: nn.Module,
        condenser: Condenser | KeepAll, recipe: Recipe, seed: int, checkpoint: Path | None,
    ) -> None:  # fmt: skip
        self.student, self.dataset, self.knowledge, self.distiller = student, dataset, knowledge, distiller
        self.condenser, self.recipe, self.seed, self.checkpoint = condenser, recipe, seed, checkpoint
        self.images = StageImages(dataset.train_images, condenser.config["preset"])
        learnable = [*student.parameters(), *distiller.parameters()]
        self.optimizer = torch.optim.SGD(
            learnable, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.reports: list[EpochReport] = []
        self.epoch = self._batches_done = self._presentations = 0
        self._seconds, self._in_step = 0.0, False
        self._loss = torch.zeros((), dtype=torch.float64, device=dataset.train_images.device)

    def __len__(self) -> int:
        """Epochs that remain."""
        return self.recipe.epochs - self.epoch

    def __next__(self) -> EpochReport:
        """Train for one epoch, or for the rest of an interrupted one."""
        if self.epoch == self.recipe.epochs:
            raise StopIteration
        if self._in_step:
            raise RuntimeError("this run was stopped inside a step and may be inconsistent; start it again")
        stage, started = self.condenser.stage, time.perf_counter()
        self.student.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.epoch + 1)
        with stop_between_batches() as interrupted:
            for batch in self._batches():
                self._train_on(batch)
                if interrupted():
                    self._seconds += time.perf_counter() - started
                    self._save()
                    raise KeyboardInterrupt(f"stopped between batches in epoch {self.epoch + 1}; iterate to go on")
            self._in_step = True
            self.condenser.end_epoch()  # + rank, keep, mix and drop, if a stage ends here
            if self.condenser.stage != stage:
                self.images.apply(self.condenser.mixture)
            report = self._close_epoch(stage, started)
            if interrupted():
                raise KeyboardInterrupt(f"stopped after epoch {self.epoch}; iterate to go on")
        return report

    def _batches(self) -> Iterator[Batch]:
        # One generator per epoch: the order of an epoch depends on seed and epoch alone, which makes resuming exact.
        generator = torch.Generator().manual_seed(100_003 * self.seed + self.epoch)
        active = self.condenser.active  # + not all samples: the ones worth it
        return batches(self.dataset, self.images, active, self.recipe, generator, self._batches_done)

    def _train_on(self, batch: Batch) -> None:
        self._in_step = True
        logits = self.student(batch.images)
        taught = None if self.knowledge is None else self.knowledge(batch.ids, batch.views, batch.images, batch.mixed)
        loss = self.distiller(batch.labels, logits, taught)
        self.condenser.observe(batch.ids, logits)  # + the student's answers tell what it finds hard
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._loss += loss.detach().double() * len(batch.ids)
        self._batches_done += 1
        self._presentations += len(batch.ids)
        self._in_step = False

    def _close_epoch(self, stage: int, started: float) -> EpochReport:
        before = self.reports[-1].presentations if self.reports else 0
        shown = self._presentations - before
        loss = self._loss.item() / max(shown, 1)
        if not math.isfinite(loss):
            raise FloatingPointError(f"training diverged in epoch {self.epoch + 1}: the loss is {loss}; lower the rate")
        self.epoch += 1
        test_accuracy = accuracy(self.student, self.dataset)
        self._seconds += time.perf_counter() - started
        report = EpochReport(
            self.epoch, stage, shown, self._presentations, self.recipe.rate(self.epoch), loss, test_accuracy,
            self._seconds,
        )  # fmt: skip
        self.reports.append(report)
        self._batches_done, self._loss = 0, torch.zeros_like(self._loss)
        self._in_step = False
        self._save()
        return report

    @property
    def config(self) -> dict[str, Any]:
        """What makes this run this run; a checkpoint of another configuration is refused."""
        return {
            "dataset": f"{self.dataset.name}, {len(self.dataset.train_images)} images",
            "student": type(self.student).__name__,
            "parameters": sum(parameter.numel() for parameter in self.student.parameters()),
            "distiller": repr(self.distiller),
            "recipe": dataclasses.asdict(self.recipe),
            "condenser": dict(self.condenser.config),
            "seed": self.seed,
        }

    def _save(self) -> None:
        if self.checkpoint is not None:
            write_state(self.checkpoint, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on exactly from here, as tensors and plain values."""
        return {
            "config": self.config,
            "reports": [dataclasses.asdict(report) for report in self.reports],
            "progress": [self.epoch, self._batches_done, self._presentations, self._seconds],
            "loss": self._loss,
            "student": self.student.state_dict(),
            "distiller": self.distiller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "condenser": self.condenser.state_dict(),
            "images": self.images.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; raises ValueError if that was another run."""
        if missing := self.state_dict().keys() - state.keys():
            raise ValueError(f"this is not the checkpoint of a run; it lacks {', '.join(sorted(missing))}")
        for name, ours in self.config.items():
            if (theirs := state["config"].get(name)) != ours:
                raise ValueError(f"the checkpoint belongs to another run: its {name} is {theirs}, here it is {ours}")
        self.reports = [EpochReport(**report) for report in state["reports"]]
        self.epoch, self._batches_done, self._presentations, self._seconds = state["progress"]
        self._loss = state["loss"].to(self.dataset.train_images.device)
        for name in ("student", "distiller", "optimizer", "condenser", "images"):
            getattr(self, name).load_state_dict(state[name])


def distill(
    student: nn.Module,
    dataset: Dataset,
    teacher: nn.Module | Knowledge | None = None,
    *,
    recipe: Recipe | None = None,
    distiller: nn.Module | None = None,
    condenser: Condenser | KeepAll | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    checkpoint: str | Path | None = None,
) -> Distillation:
    """Train a student; iterate over the result to train epoch by epoch.

    Interrupting it stops between two batches; iterating again goes on from there. With ``checkpoint`` the state is
    saved after every epoch and at an interrupt, and a later call with the same arguments goes on from the file, with
    the same result as if it had never stopped: bit for bit with a bare teacher, and up to rounding with remembered
    answers, because the teacher is then asked in batches of other sizes.

    Args:
        student: network to train, ``student(images) -> logits [B, C]``.
        dataset: what to train and test on.
        teacher: network, or :class:`Knowledge` to share its remembered answers; ``None`` trains on labels alone.
        recipe: how to optimise; the benchmark's by default.
        distiller: the loss, ``distiller(labels, student_logits, teacher_logits)``; :class:`KD` by default.
        condenser: which samples are shown; ``None`` shows all of them in every epoch. Changed by the run.
        seed: of the order of samples and of their views. (The student's weights come with the student.)
        device: where to compute; by default where the data set is.
        checkpoint: file to save to and to go on from.

    Yields:
        One :class:`EpochReport` per epoch.

    Raises:
        ValueError: arguments that do not fit together, or a checkpoint of another run.
    """
    recipe = recipe or Recipe()
    check_at_least("seed", seed, 0)
    if device is not None:
        dataset, student = dataset.to(device), student.to(device)
    knowledge = Knowledge(teacher, dataset) if isinstance(teacher, nn.Module) else teacher
    if not isinstance(knowledge, Knowledge | None):
        raise TypeError(f"teacher must be a network, Knowledge or None, got {type(teacher).__name__}")
    if knowledge is None and distiller is not None:
        raise ValueError("distiller needs a teacher, and teacher is None")
    if knowledge is not None:
        if knowledge.num_samples != len(dataset.train_images):
            raise ValueError(
                f"teacher holds answers for {knowledge.num_samples} images, dataset has {len(dataset.train_images)}"
            )
        knowledge.to(dataset.train_images.device)
    if distiller is None:
        distiller = LabelsOnly() if knowledge is None else KD()
    _check_condenser(condenser, dataset, recipe)
    fewest = min(condenser.counts) if isinstance(condenser, Condenser) else len(dataset.train_images)
    if recipe.drop_last and recipe.batch_size > fewest:
        raise ValueError(f"batch_size must be at most {fewest} with drop_last=True, got {recipe.batch_size}")
    run = Distillation(
        student, dataset, knowledge, distiller.to(dataset.train_images.device),
        condenser or KeepAll(len(dataset.train_images)), recipe, seed, Path(checkpoint) if checkpoint else None,
    )  # fmt: skip
    if run.checkpoint is not None and run.checkpoint.exists():
        run.load_state_dict(read_state(run.checkpoint))
    else:
        run._save()  # a place that cannot be written to fails here and not after the first epoch
    return run


def _check_condenser(condenser: Condenser | KeepAll | None, dataset: Dataset, recipe: Recipe) -> None:
    if condenser is None:
        return
    for name, wanted in (("num_samples", len(dataset.train_images)), ("epochs", recipe.epochs)):
        if condenser.config.get(name, wanted) != wanted:
            raise ValueError(f"condenser has {name}={condenser.config[name]}, but the run has {wanted}")
    if isinstance(condenser, Condenser) and condenser.epoch:
        raise ValueError(f"condenser has seen {condenser.epoch} epochs already; make a new one for every run")
