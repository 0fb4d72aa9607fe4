"""The loop: distil a teacher into a student, on all samples or on the condensed ones."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

import torch
from torch import Tensor, nn

from kcd_teach._checks import check_at_least, check_at_most
from kcd_teach._run_checks import (
    check_networks,
    choose_condenser,
    choose_distiller,
    choose_knowledge,
    rehearse,
    smallest_batch,
)
from kcd_teach.batches import batches
from kcd_teach.checkpoints import read_state, stop_between_batches
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Distiller
from kcd_teach.engine import Engine
from kcd_teach.knowledge import Knowledge, accuracy
from kcd_teach.protocol import Batch, Outputs, respond
from kcd_teach.recipe import EpochReport, Recipe
from kcd_teach.saved_run import SavedRun

__all__ = ["Distillation", "EpochReport", "Recipe", "distill"]

LARGEST_SEED = 10**12
"""Larger ones do not fit a generator's seed, see :meth:`Distillation._shuffled`."""

PREPARATION_SEED = 50_000
"""Order and views of the preparation's epochs are drawn apart from those of the student's."""

_LEARNING: WeakSet[Distiller] = WeakSet()
"""Distillers with weights or memories of their own that belong to a run, which no other run may start from."""


class Distillation(SavedRun, Iterator[EpochReport]):
    """A run of :func:`distill`: an iterator over its remaining epochs.

    Attributes:
        student, condenser, knowledge, distiller, dataset, recipe: the parts of the run.
        epoch: finished epochs.
        reports: of all finished epochs, also of those before a resume.
    """

    def __len__(self) -> int:
        """Epochs that remain."""
        return self.recipe.epochs - self.epoch

    def __next__(self) -> EpochReport:
        """Train for one epoch, or for the rest of an interrupted one."""
        if self.epoch == self.recipe.epochs:
            raise StopIteration
        if self._in_step:
            raise RuntimeError("this run was stopped inside a step and may be inconsistent; start it again")
        self._clock = time.perf_counter()
        with stop_between_batches(self._stopping):
            while not self.preparation.done:
                self._prepare()
            report = self._train()
            self._stop_if_asked(f"after epoch {self.epoch}")
        return report

    def stop(self) -> None:
        """Stop behind the current batch, as an interrupt does; for other threads, which no interrupt reaches."""
        self._stopping.set()

    def _stop_if_asked(self, where: str) -> None:
        if self._stopping.is_set():
            self._stopping.clear()
            raise KeyboardInterrupt(f"stopped {where}; iterate to go on")

    def _train(self) -> EpochReport:
        """One epoch, or the rest of an interrupted one."""
        stage = self.condenser.stage
        self.student.train()
        self.distiller.train()
        self.distiller.start_epoch(self.epoch, self.recipe.epochs)
        self.recipe.set_rate(self.optimizer, self.epoch + 1)
        for batch in self._stoppable(self._batches()):
            self._train_on(batch)
        self._in_step = True
        self._check_finite(self._loss.item(), f"epoch {self.epoch + 1}")
        self.condenser.end_epoch()  # + rank, keep, mix and drop, if a stage ends here
        if self.condenser.stage != stage:
            self.images.apply(self.condenser.mixture)
        return self._close_epoch(stage)

    def _prepare(self) -> None:
        """One epoch of what the method learns before the student, on all samples."""
        everything = torch.arange(len(self.dataset.train_images))
        shuffled = self._shuffled(everything, PREPARATION_SEED + self.preparation.epoch)
        for batch in self._stoppable(shuffled):
            with self.engine.autocast():
                loss = self.preparation.loss(batch, self._ask_teacher(batch))
            self.preparation.step(loss)
            self._loss += loss.detach().double()
        self._check_finite(self._loss.item(), f"preparation epoch {self.preparation.epoch + 1}")
        self.preparation.epoch += 1
        self._batches_done, self._loss = 0, torch.zeros_like(self._loss)
        self._save()

    def _stoppable(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand out batches, and stop behind one of them if an interrupt has come."""
        for batch in batches:
            self._in_step = True
            yield batch
            self._in_step = False
            self._batches_done += 1
            if self._stopping.is_set():
                self._save()
                self._stop_if_asked(f"between batches in epoch {self.epoch + 1}")

    def _batches(self) -> Iterator[Batch]:
        active = self.condenser.active  # + not all samples: the ones worth it
        return self._shuffled(active, self.epoch)

    def _shuffled(self, ids: Tensor, epoch: int) -> Iterator[Batch]:
        # One generator per epoch: the order of an epoch depends on seed and epoch alone, which makes resuming exact.
        generator = torch.Generator().manual_seed(100_003 * self.seed + epoch)
        return batches(self.dataset, self.images, ids, self.recipe, generator, self._batches_done, self.distiller.needs)

    def _train_on(self, batch: Batch) -> None:
        needs = self.distiller.needs
        with self.engine.autocast():
            student = respond(self._forward(batch), batch.images, needs.features)
            loss = self.distiller(batch, student, self._ask_teacher(batch))
        self.condenser.observe(batch.ids, student.logits[:: needs.views])  # + what the student finds hard
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._loss += loss.detach().double() * len(batch.ids)
        self._presentations += len(batch.ids)

    def _forward(self, batch: Batch) -> nn.Module:
        """The student, compiled for batches of full size if that is asked for."""
        if self.compiled is not None and len(batch.ids) == self.recipe.batch_size:
            return self.compiled
        return self.student

    def _ask_teacher(self, batch: Batch) -> Outputs | None:
        return None if self.knowledge is None else self.knowledge(batch, self.distiller.needs)

    def _close_epoch(self, stage: int) -> EpochReport:
        before = self.reports[-1].presentations if self.reports else 0
        shown = self._presentations - before
        loss = self._loss.item() / max(shown, 1)
        self.epoch += 1
        test_accuracy = accuracy(self.student, self.dataset, self.engine.precision)
        self._tick()
        report = EpochReport(
            self.epoch, stage, shown, self._presentations, self.recipe.rate(self.epoch), loss, test_accuracy,
            self._seconds,
        )  # fmt: skip
        self.reports.append(report)
        self._batches_done, self._loss = 0, torch.zeros_like(self._loss)
        self._in_step = False
        self._save()
        return report

    @staticmethod
    def _check_finite(loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(f"training diverged in {where}: the loss is {loss}; lower the rate")


def distill(
    student: nn.Module,
    dataset: Dataset,
    teacher: nn.Module | Knowledge | None = None,
    *,
    recipe: Recipe | None = None,
    distiller: Distiller | str | None = None,
    condenser: Condenser | KeepAll | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    checkpoint: str | Path | None = None,
) -> Distillation:
    """Train a student; iterate over the result to train epoch by epoch.

    Interrupting it stops between two batches; iterating again goes on from there. With ``checkpoint`` the state is
    saved after every epoch and at an interrupt, and a later call with the same arguments goes on from the file, with
    the same result as if it had never stopped: bit for bit with a bare teacher, and up to rounding with a store in
    memory, because the teacher is then asked in batches of other sizes.

    Args:
        student: network to train, ``student(images) -> logits [B, C]``.
        dataset: what to train and test on.
        teacher: network, or :class:`Knowledge` to share its stored answers; ``None`` trains on labels alone.
        recipe: how to optimise; the benchmark's by default.
        distiller: how knowledge is moved, a :class:`~kcd_teach.distillers.Distiller` or the name of one; KD by default.
            ``"kc-NAME"`` also condenses, with the condenser's defaults if none is given.
        condenser: which samples are shown; ``None`` shows all of them in every epoch. Changed by the run.
        seed: of the order of samples, of their views, and of what the distiller draws. (The student's weights come with
            the student.)
        device: where to compute; by default where the data set is.
        checkpoint: file to save to and to go on from.

    Yields:
        One :class:`EpochReport` per epoch.

    Raises:
        ValueError: arguments that do not fit together, a step that would fail, a distiller or condenser that another run
            has used, or a checkpoint of another run. A step is rehearsed on copies before this function returns, so
            that what cannot work is refused here.
    """
    recipe = recipe or Recipe()
    seed = check_at_most("seed", check_at_least("seed", seed, 0), LARGEST_SEED)
    if device is not None:
        dataset = dataset.to(device)
    check_networks(student, teacher.teacher if isinstance(teacher, Knowledge) else teacher)
    knowledge = choose_knowledge(teacher, dataset, recipe.precision)
    condenser = choose_condenser(condenser, distiller, dataset, recipe)
    student = Engine(dataset.train_images.device, recipe.precision).prepare(student)
    method = choose_distiller(distiller, student, knowledge, dataset, seed).to(dataset.train_images.device)
    if method in _LEARNING:
        raise ValueError(f"distiller {type(method).__name__} has learned in another run; make a new one for every run")
    counts = getattr(condenser, "counts", [len(dataset.train_images)])
    smallest = smallest_batch(counts, recipe, type(method).__name__, method.needs.smallest_batch)
    rehearse(student, knowledge, method, dataset, recipe, smallest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method.begin(len(dataset.train_images))
    file = Path(checkpoint) if checkpoint else None
    run = Distillation(student, dataset, knowledge, method, condenser, recipe, seed, file)
    if run.checkpoint is not None and run.checkpoint.exists():
        run.load_state_dict(read_state(run.checkpoint))
    elif run.checkpoint is not None:
        # A place that cannot be written to, or a state that could not be read again, fails here and not after hours.
        run._save()
        read_state(run.checkpoint, "a part of this run keeps in its state_dict what is neither tensor nor plain value")
    if method.state_dict():
        _LEARNING.add(method)
    return run
