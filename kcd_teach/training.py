"""The loop: distil a teacher into a student, on all samples or on the condensed ones."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from kcd_teach._checks import check_at_least, check_at_most
from kcd_teach.checkpoints import Identity, Progress, SavedRun, stop_between_batches
from kcd_teach.condensation import Condenser, KeepAll, Mixture
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import Distiller
from kcd_teach.distillers.base import Batch, Outputs, Preparation, respond
from kcd_teach.knowledge import Knowledge, accuracy
from kcd_teach.recipe import Engine, EpochReport, Recipe
from kcd_teach.validation import (
    check_networks,
    choose_condenser,
    choose_distiller,
    choose_knowledge,
    rehearse,
    smallest_batch,
)
from kcd_teach.views import StageImages, batches

__all__ = ["Distillation", "EpochReport", "Recipe", "distill"]

LARGEST_SEED = 10**12
"""The largest one for which every epoch's seed fits a generator, see :meth:`Distillation._shuffled`."""

PREPARATION_SEED = 50_000
"""Added to the number of a preparation epoch, so that its order and views are not those of a student's epoch."""

_LEARNING: WeakSet[Distiller] = WeakSet()
"""Distillers with weights or memories of their own that a run has trained; no other run may start from them."""


class Distillation(Iterator[EpochReport]):
    """A run of :func:`distill`: an iterator over its remaining epochs.

    Attributes:
        student, dataset, knowledge, distiller, condenser, recipe, seed: the parts of the run; the knowledge holds the
            teacher.
        images: the training images of the current stage, with its mixtures.
        preparation: training of the method's own parts that comes before the student's, for methods that need one.
        progress: finished epochs, their reports, and counters of the current one.
        saved: the checkpoint file, and the identity that a run must have to continue from it.
    """

    def __init__(
        self,
        student: nn.Module,
        dataset: Dataset,
        knowledge: Knowledge | None,
        distiller: Distiller,
        condenser: Condenser | KeepAll,
        recipe: Recipe,
        seed: int,
        checkpoint: Path | None,
    ) -> None:
        self.student, self.dataset, self.knowledge, self.distiller = student, dataset, knowledge, distiller
        self.condenser, self.recipe, self.seed = condenser, recipe, seed
        self.engine = Engine(dataset.train_images.device, recipe.precision)
        self.images = StageImages(dataset.train_images, condenser.config["preset"])
        self.optimizer = recipe.optimizer([*student.parameters(), *distiller.student_parameters()])
        self.preparation = Preparation(distiller, recipe)
        self.progress = Progress(self.engine.device, f"{self.engine.place}, torch {torch.__version__}")
        parts = {
            name: getattr(self, name)
            for name in ("student", "distiller", "preparation", "optimizer", "condenser", "images", "progress")
        }
        identity = Identity(student, dataset, knowledge, distiller, condenser, recipe, seed)
        self.saved = SavedRun(checkpoint, identity, parts)
        self._in_step, self._stopping = False, threading.Event()
        self._batch: Batch  # the current one, with the teacher's logits and the student's loss
        self._teacher_logits: Tensor | None = None
        self._loss = torch.zeros(())
        condenser.attach(self._measure_inputs)

    def _distil(self) -> None:
        """One epoch of distillation, or the rest of an interrupted one; lines marked ``+`` are what KCD adds to it."""
        batches, step, condenser = self._batches, self._step, self.condenser
        student, teacher = self._student_outputs, self._teacher_outputs
        distiller = self.engine.autocast()(self.distiller)  # as a decorator: the loss runs in the recipe's precision
        views = self.distiller.needs.views  # of each image: one, or four for methods that rotate it

        for batch in batches(condenser.active, condenser.mixture):  # + not all samples, and some blended
            outputs = student(batch)
            loss = distiller(batch, outputs, teacher(batch))
            condenser.observe(batch.ids, outputs.logits[::views])  # + what the student finds hard
            step(loss)
        condenser.end_epoch()  # + at the end of a stage: rank, keep, blend and drop

    def __len__(self) -> int:
        """Epochs that remain."""
        return self.recipe.epochs - self.epoch

    def __next__(self) -> EpochReport:
        """Train for one epoch, or for the rest of an interrupted one."""
        if self.epoch == self.recipe.epochs:
            raise StopIteration
        if self._in_step:
            raise RuntimeError("this run was stopped inside a step and may be inconsistent; start it again")
        self.progress.start_clock()
        with stop_between_batches(self._stopping):
            while not self.preparation.done:
                self._prepare()
            stage = self.condenser.stage
            self.student.train()
            self.distiller.train()
            self.distiller.start_epoch(self.epoch, self.recipe.epochs)
            self.recipe.set_rate(self.optimizer, self.epoch + 1)
            self._distil()
            report = self._end_epoch(stage)
            self._stop_if_asked(f"after epoch {self.epoch}")
        return report

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.progress.epoch

    @property
    def reports(self) -> list[EpochReport]:
        """Of all finished epochs, also of those before a resume."""
        return self.progress.reports

    @property
    def config(self) -> dict[str, Any]:
        """The readable part of the run's identity: data set, student, distiller, recipe, condenser and seed."""
        return self.saved.identity.config

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue exactly from here, as tensors and plain values."""
        return self.saved.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; raises ValueError if that is not a state of this very run."""
        self.saved.load_state_dict(state)

    def stop(self) -> None:
        """Stop after the current batch, as an interrupt does; for other threads, which interrupts do not reach."""
        self._stopping.set()

    def _batches(self, active: Tensor, mixture: Mixture) -> Iterator[Batch]:
        """The remaining batches of the epoch, of the active samples; adds each batch's loss once it was trained on."""
        self.images.show(mixture, self.condenser.stage)
        for batch in self._stoppable(self._shuffled(active, self.epoch)):
            self._batch = batch
            yield batch
            self.progress.presentations += len(batch.ids)
            self.progress.loss += self._loss.double() * len(batch.ids)
        self._in_step = True  # until the epoch is closed: a run stopped before that is not consistent
        self._check_finite(f"epoch {self.epoch + 1}")

    def _shuffled(self, ids: Tensor, epoch: int) -> Iterator[Batch]:
        """One epoch of batches of these samples in random order and views, without those that are done already."""
        # One generator per epoch: the order of an epoch depends on seed and epoch alone, which makes resuming exact.
        generator = torch.Generator().manual_seed(100_003 * self.seed + epoch)
        first, needs = self.progress.batches, self.distiller.needs
        return batches(self.dataset, self.images, ids, self.recipe, generator, first, needs)

    def _stoppable(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches and count them; save and stop between two of them after an interrupt."""
        for batch in batches:
            self._in_step = True
            yield batch
            self._in_step = False
            self.progress.batches += 1
            if self._stopping.is_set():
                self._save()
                self._stop_if_asked(f"between batches in epoch {self.epoch + 1}")

    def _stop_if_asked(self, where: str) -> None:
        """End the iteration after an interrupt or :meth:`stop`, in a state from which it can be continued."""
        if self._stopping.is_set():
            self._stopping.clear()
            raise KeyboardInterrupt(f"stopped {where}; iterate to go on")

    def _student_outputs(self, batch: Batch) -> Outputs:
        """The student's logits, and its features if the distiller needs them."""
        with self.engine.autocast():
            return respond(self.student, batch.images, self.distiller.needs.features)

    def _teacher_outputs(self, batch: Batch) -> Outputs | None:
        """The same of the teacher, computed or from the cache; None without a teacher."""
        outputs = None if self.knowledge is None else self.knowledge(batch, self.distiller.needs)
        self._teacher_logits = None if outputs is None else outputs.logits
        return outputs

    def _measure_inputs(self) -> dict[str, Tensor | None]:
        """Labels and the teacher's logits of the current batch, for a condenser whose value measure uses them."""
        logits = None if self._teacher_logits is None else self._teacher_logits[:: self.distiller.needs.views]
        return {"labels": self._batch.labels, "teacher_logits": logits}

    def _step(self, loss: Tensor) -> None:
        """One step of the optimiser."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._loss = loss.detach()

    def _prepare(self) -> None:
        """One epoch of training the method's own parts, before the student's first epoch, on all samples."""
        all_ids = torch.arange(len(self.dataset.train_images))
        shuffled = self._shuffled(all_ids, PREPARATION_SEED + self.preparation.epoch)
        for batch in self._stoppable(shuffled):
            with self.engine.autocast():
                loss = self.preparation.loss(batch, self._teacher_outputs(batch))
            self.preparation.step(loss)
            self.progress.loss += loss.detach().double()
        self._check_finite(f"preparation epoch {self.preparation.epoch + 1}")
        self.preparation.epoch += 1
        self.progress.next_epoch()
        self._save()

    def _end_epoch(self, stage: int) -> EpochReport:
        """Evaluate, report and save an epoch that was trained in this stage."""
        progress = self.progress
        shown = progress.presentations - (progress.reports[-1].presentations if progress.reports else 0)
        loss = progress.loss.item() / max(shown, 1)
        progress.epoch += 1
        test_accuracy = accuracy(self.student, self.dataset, self.engine.precision)
        progress.tick()
        rate = self.recipe.rate(progress.epoch)
        report = EpochReport(
            progress.epoch, stage, shown, progress.presentations, rate, loss, test_accuracy, progress.seconds
        )
        progress.reports.append(report)
        progress.next_epoch()
        self._in_step = False
        self._save()
        return report

    def _save(self) -> None:
        self.progress.tick()
        self.saved.save()

    def _check_finite(self, where: str) -> None:
        """Raise if training diverged; once per epoch, because reading the loss waits for the device."""
        if not math.isfinite(loss := self.progress.loss.item()):
            raise FloatingPointError(f"training diverged in {where}: the loss is {loss}; lower the rate")


def distill(
    student: nn.Module,
    dataset: Dataset,
    teacher: nn.Module | Knowledge | None = None,
    *,
    recipe: Recipe | None = None,
    distiller: Distiller | type[Distiller] | str | None = None,
    condenser: Condenser | KeepAll | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    checkpoint: str | Path | None = None,
) -> Distillation:
    """Train a student; iterate over the result to train epoch by epoch.

    Interrupting it stops between two batches; iterating again goes on from there. With ``checkpoint`` the state is
    saved after every epoch and at an interrupt, and a later call with the same arguments continues from the file, with
    the same result, bit for bit, as if it had never stopped. The number of threads and the processor's instructions
    change the last bits of a sum, and in time a result: the checkpoint names both. To compare results, train with one
    number of threads (``torch.set_num_threads``); the command kcd-teach always trains with one thread.

    Args:
        student: network to train, ``student(images) -> logits [B, C]``.
        dataset: what to train and test on.
        teacher: network, or :class:`Knowledge` to share its cached logits; ``None`` trains on labels alone.
        recipe: how to optimise; the benchmark's by default.
        distiller: how knowledge is moved, a :class:`~kcd_teach.distillers.Distiller`, its class or its name; KD by default.
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
    condenser = choose_condenser(condenser, distiller, dataset, recipe, knowledge)
    student = Engine(dataset.train_images.device, recipe.precision).prepare(student)
    method = choose_distiller(distiller, student, knowledge, dataset, seed).to(dataset.train_images.device)
    if method in _LEARNING:
        raise ValueError(f"distiller {type(method).__name__} has learned in another run; make a new one for every run")
    counts = getattr(condenser, "counts", [len(dataset.train_images)])
    smallest = smallest_batch(counts, recipe, type(method).__name__, method.needs.smallest_batch)
    rehearse(student, knowledge, method, dataset, recipe, smallest)
    with torch.random.fork_rng(devices=[]):  # what the method draws follows the seed, and leaves the global state alone
        torch.manual_seed(seed)
        method.begin(len(dataset.train_images))
    file = Path(checkpoint) if checkpoint else None
    run = Distillation(student, dataset, knowledge, method, condenser, recipe, seed, file)
    run.saved.begin()
    if method.state_dict():
        _LEARNING.add(method)
    return run
