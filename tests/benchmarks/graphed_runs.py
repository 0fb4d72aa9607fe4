"""Runs of the benchmark whose steps are replayed as CUDA graphs, several side by side on one GPU.

    python -m tests.benchmarks.graphed_runs --folder FOLDER --plan PLAN --data FOLDER --log FILE [--seconds S] [--side N] ...

The folder's plan is carried out, or the one given if it has none: a missing teacher first, then what is not stored, those
runs first that were begun before, and all rows of one seed before the next. Small networks at batch 64 are hundreds of
kernels a step, each over before the next one is launched from Python; a graph launches them all at once. It is the same
step: the images of a batch are rendered from the data set on the device, the networks, the loss, the update and the
entropies are those of the library, in the order of :class:`~kcd_teach.training.Distillation`, with the same weights,
order and views. What a run ends with is stored as the benchmark stores it, under the same key; its places and ``made_by``
say that it was made here.

After ``--seconds`` all runs are stopped and saved; called again, they go on. They go on under another version of this
package, too, if tiny runs of all rows still end as they did when the folder was begun (``sample.json``); every record
says the version that finished it. Without a GPU the same step is run plainly, which is how it is tested.
"""

import argparse
import contextlib
import dataclasses
import json
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kcd_teach import checkpoints, training
from kcd_teach._files import written_whole
from kcd_teach.benchmark import Plan, Prepared, Store, find_plan, runs
from kcd_teach.condensation import Condenser
from kcd_teach.condensation.value import prediction_entropy
from kcd_teach.distillers import create_distiller
from kcd_teach.distillers.base import Batch, respond
from kcd_teach.fingerprints import code_fingerprint, fingerprint_of
from kcd_teach.recipe import Recipe
from kcd_teach.training import Distillation, distill
from kcd_teach.views import StageImages, draw_views, render_views
from tests.tiny import tiny_dataset, tiny_networks

PLAIN_FIRST = 3
"""Steps run plainly before the graph is captured: the first one makes the momentum, and libraries get ready."""
AHEAD, GROUP = 3, 8
"""Groups of steps, and steps in a group, that may wait on the device: a full queue would block the other runs."""
SAVED_EVERY = 20
"""Epochs between two checkpoints."""
ENDING = 60
"""Seconds for which runs that are stopped may go on saving."""

QUIET = threading.RLock()
"""Held by whoever captures, or does what a capture in another thread would not survive."""


class MadeAgain:
    """Mixtures in a checkpoint: none, as the next epoch makes those of its stage again. They would be a fourth of the file."""

    def __init__(self, images: StageImages) -> None:
        self.images, self.load_state_dict = images, images.load_state_dict

    def state_dict(self) -> dict[str, Any]:
        return StageImages(self.images.originals, "paper").state_dict()


class Graphed(Distillation):
    """A run whose full batches replay one graph, captured again for every learning rate and every stage's images."""

    graphs = True
    saved_every = SAVED_EVERY

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        needs, device = self.distiller.needs, self.dataset.train_images.device
        if needs.rotations or needs.negatives or needs.preparation:
            raise ValueError(f"{type(self.distiller).__name__} needs more than one view of each image, or preparation")
        if self.knowledge is not None and self.knowledge.store != "off":
            raise ValueError("a graph asks the teacher every time: store must be 'off'")
        if not self.images.cumulative:
            self.saved._parts = {**self.saved._parts, "images": MadeAgain(self.images)}
        self._graphs = self.graphs and device.type == "cuda"
        count = len(self.dataset.train_images)
        self._order = torch.zeros(count, dtype=torch.int64, device=device)
        self._views = torch.zeros_like(self._order)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._offsets = torch.arange(self.recipe.batch_size, device=device)
        self._unmixed = torch.zeros(self.recipe.batch_size, dtype=torch.bool)
        self._sum = torch.zeros_like(self.progress.loss)
        self._entropies = torch.zeros(count, device=device) if isinstance(self.condenser, Condenser) else None
        self._ids, self._noted = torch.arange(0), 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captured_for: tuple[float, int] | None = None
        self._plain_steps, self._queue, self._replayed = 0, deque[torch.cuda.Event](), 0
        if self._graphs:
            self.progress.places = [f"{self.progress.places[0]}, steps replayed as CUDA graphs"]

    def _distil(self) -> None:
        """One epoch, see :meth:`Distillation._distil`."""
        self.images.show(self.condenser.mixture, self.condenser.stage)
        for count in self._stoppable(self._sizes()):  # type: ignore[arg-type]
            self._train_on(count)
            self.progress.presentations += count
        self._note(len(self._ids))
        self._in_step = True
        self._check_finite(f"epoch {self.epoch + 1}")
        self.condenser.end_epoch()

    def _sizes(self) -> Iterator[int]:
        """Sizes of the batches; which samples they hold is on the device. The order and views of the library's loop."""
        size, first = self.recipe.batch_size, self.progress.batches
        generator = torch.Generator().manual_seed(100_003 * self.seed + self.epoch)
        ids = self.condenser.active.sort().values
        self._ids = ids[torch.randperm(len(ids), generator=generator)]
        with QUIET:
            self._order[: len(ids)] = self._ids.to(self._order.device)
            self._views[: len(ids)] = draw_views(len(ids), self.dataset.padding, generator).to(self._order.device)
            self._at.fill_(first * size)
        self._noted = first * size
        for start in range(first * size, len(ids), size):
            yield min(size, len(ids) - start)

    def _train_on(self, count: int) -> None:
        if not self._graphs or count < self.recipe.batch_size or self._plain_steps < PLAIN_FIRST:
            with QUIET:
                self._plain_step(count)
            self._plain_steps += 1
        else:
            self._replay()

    def _replay(self) -> None:
        wanted = (self.optimizer.param_groups[0]["lr"], id(self.images.current))
        if self._graph is None or self._captured_for != wanted:
            with QUIET:
                self._graph, self._captured_for = torch.cuda.CUDAGraph(), wanted
                stream = torch.cuda.current_stream()
                with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                    self._plain_step(self.recipe.batch_size)
        self._graph.replay()
        self._replayed += 1
        if self._replayed % GROUP == 0:
            self._queue.append(torch.cuda.Event())
            self._queue[-1].record()
            if len(self._queue) > AHEAD:
                self._queue.popleft().synchronize()

    def _plain_step(self, count: int) -> None:
        """One step on the next ``count`` samples, without a value that Python would have to wait for."""
        needs, places = self.distiller.needs, self._at + self._offsets[:count]
        ids, views = self._order[places], self._views[places]
        shown = self.dataset.normalise(render_views(self.images.current[ids], views, self.dataset.padding))
        shown = shown.contiguous(memory_format=torch.channels_last)
        batch = Batch(ids, views, self.dataset.train_labels[ids], self._unmixed[:count], shown)
        with self.engine.autocast():
            student = respond(self.student, batch.images, needs.features)
            loss = self.distiller(batch, student, self._teacher_outputs(batch))
        if self._entropies is not None:
            self._entropies[places] = prediction_entropy(student.logits)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._sum += loss.detach().double() * count
        self._at += count

    def _note(self, done: int) -> None:
        """Hand on what the steps up to here have left on the device: the sum of losses, the entropies."""
        if done <= self._noted:
            return
        self.progress.loss = self.progress.loss + self._sum
        self._sum.zero_()
        if self._entropies is not None:
            size, part = self.recipe.batch_size, slice(self._noted, done)
            for ids, values in zip(self._ids[part].split(size), self._entropies[part].clone().split(size), strict=True):
                self.condenser.record(ids, values)
        self._noted = done

    def _end_epoch(self, stage: int) -> Any:
        with QUIET:
            return super()._end_epoch(stage)

    def _save(self) -> None:
        self._note(min(self.progress.batches * self.recipe.batch_size, len(self._ids)))
        if self.progress.batches or self.epoch % self.saved_every == 0:
            super()._save()


@contextlib.contextmanager
def graphed(made_by: str, code: str) -> Iterator[None]:
    """Within it, the benchmark makes :class:`Graphed` runs that belong to a version of the code; records say what made them."""
    arithmetic = {
        "convolutions": "tf32" if torch.backends.cudnn.allow_tf32 else "float32",
        "matrix products": "tf32" if torch.backends.cuda.matmul.allow_tf32 else "float32",
        "cudnn": torch.backends.cudnn.version(), "cuda": torch.version.cuda,
    }  # fmt: skip
    about = {"arithmetic": arithmetic, "made_by": made_by, "finished_by_code": code_fingerprint()}
    describe, begin, load = runs.described, runs._where_it_stopped, runs.Teacher.load

    def alone(work: Callable[..., Any], *arguments: Any) -> Any:
        with QUIET:  # initial weights are drawn from a generator that all threads share
            return work(*arguments)

    with contextlib.ExitStack() as stack:
        for place, name, ours in (
            (training, "Distillation", Graphed),
            (runs, "described", lambda run: {**describe(run), **about}),
            (runs, "_where_it_stopped", partial(alone, begin)),
            (runs.Teacher, "load", lambda *arguments: alone(load, *arguments)),
            (runs, "code_fingerprint", lambda: code),
            (checkpoints, "code_fingerprint", lambda: code),
        ):
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, ours)
        stack.enter_context(runs.repeatably())  # for the whole process: it sets what all threads share
        yield


def sample_of(plan: Plan) -> dict[str, dict[str, list[float]]]:
    """Losses and samples shown of a tiny run of every row, on the processor: what another arithmetic would change."""
    found = {}
    for row in plan.rows:
        (student, teacher), dataset = tiny_networks(), tiny_dataset()
        recipe, method = Recipe(epochs=24, batch_size=10), row.method or None
        run = distill(
            student, dataset, teacher if method else None, recipe=recipe,
            distiller=create_distiller(method, student, teacher, image_shape=(1, 8, 8), seed=0) if method else None,
            condenser=row.condenser(48, 24, 0),
        )  # fmt: skip
        reports = list(run)
        found[row.name] = {
            "train_loss": [round(report.train_loss, 9) for report in reports],
            "active": [report.active for report in reports],
        }
    return found


def check_sample(prepared: Prepared, folder: Path) -> None:
    """Keep what a version's tiny runs end with; raises ValueError if another version goes on and they end otherwise."""
    path = folder / "sample.json"
    if prepared.code == code_fingerprint():
        if not path.exists():
            with runs.repeatably(), written_whole(path) as file:
                file.write((json.dumps(sample_of(prepared.plan), indent=1) + "\n").encode())
        return
    with runs.repeatably():
        ours, theirs = sample_of(prepared.plan), json.loads(path.read_text())
    for name, sample in ours.items():
        if not torch.allclose(*(torch.tensor([*one["train_loss"], *one["active"]]) for one in (sample, theirs[name])),
                              rtol=1e-4, atol=0):  # fmt: skip
            raise ValueError(
                f"{folder} was begun by version {prepared.code} of the code, and a tiny run of {name} ends otherwise with "
                f"the version here, {code_fingerprint()}: go on with that version, or begin another folder"
            )


class Campaign:
    """The runs of a folder's plan on one device, each in a thread and a stream of its own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.began = arguments, time.monotonic()
        self.store, self.root = Store(arguments.folder), arguments.data
        self.store.make_folders()
        self.prepared = self.begun()
        self.waiting, self.lock = self.jobs(), threading.Lock()
        self.runs: dict[str, Distillation] = {}
        self.over = threading.Event()
        self.log = arguments.log.open("a")

    def begun(self) -> Prepared:
        """The folder's plan, or the one asked for, with as many seeds as were asked for."""
        if (self.store.folder / "plan.json").exists():
            prepared = Prepared.load(self.store)
        else:
            plan = find_plan(self.arguments.plan)
            dataset = plan.scale.images(self.root)
            prepared = Prepared(plan, fingerprint_of(dataset), len(dataset.train_images), {})
        if self.arguments.seeds:
            plan = dataclasses.replace(prepared.plan, seeds=tuple(range(self.arguments.seeds)))
            prepared = dataclasses.replace(prepared, plan=plan)
        check_sample(prepared, self.store.folder)
        prepared.save(self.store)
        return prepared

    def jobs(self) -> list[tuple[Any, ...]]:
        """Missing teachers, runs that were begun before, and the others seed by seed."""
        plan, stored = self.prepared.plan, self.store.records()
        begun, new = [], []
        for seed in plan.seeds:
            for cell in ((pair, row, seed) for row in plan.rows if seed in plan.seeds_of(row) for pair in plan.pairs):
                key = self.prepared.unit(*cell).key if self.prepared.can_name(*cell[:2]) else ""
                if key not in stored:
                    (begun if key and self.store.checkpoint(key).exists() else new).append(cell)
        return [(name,) for name in plan.teachers if name not in self.prepared.teachers] + begun + new

    def say(self, **what: Any) -> None:
        """A line of JSON, with the seconds since the start."""
        line = json.dumps({"part": "campaign", "at": round(time.monotonic() - self.began, 2), **what})
        with self.lock:
            print(line, file=self.log, flush=True)

    def watch(self, title: str, run: Distillation) -> None:
        """Note every epoch, and stop if time is over."""
        self.runs[title] = run
        if run.reports:
            last = run.reports[-1]
            self.say(run=title, epoch=last.epoch, loss=round(last.train_loss, 4), test=round(last.test_accuracy, 4),
                     seconds=round(last.seconds, 2), active=last.active)  # fmt: skip
        if self.over.is_set() and len(run):
            run.stop()

    def take(self) -> tuple[Any, ...] | None:
        """The next job that can be started; None while there is none."""
        with self.lock:
            for job in self.waiting:
                if len(job) == 1 or self.prepared.can_name(*job[:2]):
                    self.waiting.remove(job)
                    return job
        return None

    def carry_out(self, job: tuple[Any, ...]) -> None:
        """One job, to its end or until time is over."""
        where = {"root": self.root, "device": self.arguments.device, "watch": self.watch}
        if len(job) == 1:
            teacher = runs.train_teacher(*job, self.prepared.plan.scale, self.store, **where)
            assert teacher is not None
            self.prepared = dataclasses.replace(
                self.prepared, teachers={**self.prepared.teachers, job[0]: self.named(teacher)}
            )
            self.prepared.save(self.store)
            self.say(done=str(self.prepared.teachers[job[0]]))
            return
        unit = self.prepared.unit(*job)
        if runs.execute(unit, self.store.folder, **where):
            self.say(done=unit.title, record=self.store.records(unit.key)[unit.key])
        else:  # a killed process may still be ending
            time.sleep(1)
            self.waiting.append(job)

    def named(self, teacher: runs.Teacher) -> runs.Teacher:
        """The teacher, whose record says what made it."""
        for path in self.store.folder.glob(f"teachers/{teacher.network}-*.json"):
            record = json.loads(path.read_text())
            if record["weights"] == teacher.weights and "graphs" not in record["origin"]:
                teacher = dataclasses.replace(
                    teacher, origin=f"{teacher.origin}, steps replayed as CUDA graphs by {self.arguments.made_by}"
                )
                runs._write(self.store, path, {**record, "origin": teacher.origin})
        return teacher

    def work(self, place: int) -> None:
        """Carry out jobs while there are some."""
        torch.set_num_threads(1)  # of this thread
        with contextlib.ExitStack() as stack:
            if self.arguments.device != "cpu":
                priority = -1 if place == 0 else 0
                stack.enter_context(torch.cuda.stream(torch.cuda.Stream(priority=priority)))
            while not self.over.is_set() and self.waiting:
                job = self.take()
                if job is None:
                    time.sleep(0.2)
                    continue
                name = " ".join(str(getattr(part, "name", part)) for part in job)
                try:
                    self.say(start=name, place=place)
                    self.carry_out(job)
                except KeyboardInterrupt:
                    self.say(stopped=name)
                except Exception:
                    self.say(failed=name, error=traceback.format_exc())
                    if len(job) == 1:  # nobody can wait for it any more
                        self.waiting = [cell for cell in self.waiting if len(cell) > 1 and not cell[1].method]

    def run(self) -> None:
        """All jobs, until they are done or time is over."""
        threads = [threading.Thread(target=self.work, args=(place,)) for place in range(self.arguments.side)]
        with graphed(self.arguments.made_by, self.prepared.code):
            for thread in threads:
                thread.start()
            self.wait(threads, self.arguments.seconds)
            self.over.set()
            for run in list(self.runs.values()):
                if len(run):
                    run.stop()
            self.wait(threads, ENDING)
        self.say(end=True, missing=len(self.jobs()))

    @staticmethod
    def wait(threads: list[threading.Thread], seconds: float) -> None:
        """Until all threads have ended, or so long."""
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="goes on with what it holds")
    parser.add_argument("--plan", default="full", help="of a new folder: a stored study, or a FILE.json")
    parser.add_argument("--seeds", type=int, help="so many, instead of those of the plan")
    parser.add_argument("--data", type=Path, help="folder with cifar100.npz")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", type=int, default=2, help="runs side by side")
    parser.add_argument("--seconds", type=float, default=1e6)
    parser.add_argument("--save-every", type=int, default=SAVED_EVERY, help="epochs")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--made-by", default="tests/benchmarks/graphed_runs.py")
    return parser


def main(given: list[str] | None = None) -> None:
    arguments = parser().parse_args(given)
    Graphed.saved_every = arguments.save_every
    Campaign(arguments).run()


if __name__ == "__main__":
    main()
