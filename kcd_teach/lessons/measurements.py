"""Stored measurements that the course shows: its teacher, what students predicted epoch by epoch, what a step costs.

python -m kcd_teach.lessons.measurements teacher   train the course's teacher: data/mini_resnet8x3.npz
python -m kcd_teach.lessons.measurements traces    record the predictions of four students: data/results/trace_*.npz
python -m kcd_teach.lessons.measurements costs     time a step of every method: data/results/method_costs.json
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from kcd_teach import __version__
from kcd_teach._files import written_whole
from kcd_teach.benchmark.runner import Bar
from kcd_teach.benchmark.runs import Unit, start, train_teacher
from kcd_teach.benchmark.settings import STAGES, find_pair, find_row, find_scale, negatives_of
from kcd_teach.benchmark.store import Store
from kcd_teach.condensation import Condenser, KeepAll, prediction_entropy
from kcd_teach.datasets import Dataset, find_data_file, read_npz, write_npz
from kcd_teach.distillers import list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import TEACHER, create_model, load_teacher, save_weights
from kcd_teach.recipe import Recipe
from kcd_teach.registry import load_file
from kcd_teach.training import Distillation, distill

SCALE = find_scale("course").but(per_class=1_000)
"""All images of the course: what its teacher was trained on, and what is recorded."""
PAIR, TIMED = find_pair(f"{TEACHER}>mini_resnet8"), find_scale("course").but(store="off")
"""What the steps are timed of; the teacher is asked about every batch, as features are not cached."""
REPETITIONS = 7
DATA = Path(__file__).resolve().parent.parent.parent / "data"


class Recorder(KeepAll):
    """A condenser that condenses nothing and records every prediction of the student.

    Args:
        labels: int64 [N], to tell right from wrong.
        epochs: E, of the run.

    Attributes:
        entropy: float32 [E, N], nats, NaN where a sample was not shown.
        said: the class with the highest logit, uint8 [E, N], 255 where a sample was not shown.
    """

    def __init__(self, labels: Tensor, epochs: int) -> None:
        super().__init__(len(labels))
        self.labels = labels.cpu()
        self.entropy = torch.full((epochs, len(labels)), torch.nan)
        self.said = torch.full((epochs, len(labels)), 255, dtype=torch.uint8)
        self.epoch = 0

    @property
    def correct(self) -> Tensor:
        """Whether the student was right, bool [E, N], False where not shown."""
        return self.said == self.labels

    def observe(self, indices: Tensor, student_logits: Tensor) -> None:
        """Record entropy and class of a batch: ids int64 [B], logits [B, C] with C up to 255."""
        self.entropy[self.epoch, indices] = prediction_entropy(student_logits).cpu().float()
        self.said[self.epoch, indices] = student_logits.detach().argmax(dim=1).cpu().to(torch.uint8)

    def end_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1


@dataclass(frozen=True)
class Trace:
    """The predictions of one student through one run.

    Attributes:
        entropy: float32 [E, N], nats, NaN where a sample was not shown.
        said: the class that the student predicted, uint8 [E, N], or None where it was not recorded.
        labels: of the samples, uint8 [N], or None.
    """

    entropy: np.ndarray
    said: np.ndarray | None = None
    labels: np.ndarray | None = None

    @property
    def correct(self) -> np.ndarray:
        """Whether the student was right, bool [E, N]."""
        if self.said is None or self.labels is None:
            raise ValueError("what the student said was not recorded in this run, only its entropies")
        return np.asarray(self.said == self.labels)


def load_trace(name: str) -> Trace:
    """A stored recording on the bundled images, made by ``python -m kcd_teach.lessons.measurements traces``.

    Args:
        name: ``"mini_resnet8"`` or ``"mini_convnet"`` (plain KD), ``"mini_resnet8_2k"`` (the same on 200 images of
            each class), or ``"condensed"`` (mini_resnet8, KC-KD at 70 %, without predictions).
    """
    arrays = read_npz(find_data_file(f"results/trace_{name}.npz"), required=("entropy",))
    return Trace(arrays["entropy"].astype(np.float32), arrays.get("said"), arrays.get("labels"))


def make_teacher(data: Path, folder: Path) -> None:
    """Train the course's teacher on labels; store its weights and its record."""
    store = Store(folder)
    teacher = train_teacher(TEACHER, SCALE, store, watch=Bar(0))
    if teacher is None:
        raise RuntimeError(f"another process is training {TEACHER} in {folder}; wait for it")
    save_weights(teacher.load(store, SCALE.images()), data / f"{TEACHER}.npz")
    (record,) = (folder / "teachers").glob("*.json")
    (data / "results" / "teacher.jsonl").write_text(record.read_text())


def record_traces(results: Path) -> None:
    """Record two students under plain KD, one of them also on fewer images, and one under KC-KD at 70 %."""
    everything, recipe = SCALE.images(), SCALE.recipe(0.05)
    fewer = everything.first(per_class=200)
    condenser = Condenser(len(everything.train_images), stages=STAGES, epochs=recipe.epochs, history=True)
    runs: list[tuple[str, str, Dataset, Condenser | Recorder]] = [
        *(
            (name, name, everything, Recorder(everything.train_labels, recipe.epochs))
            for name in ("mini_resnet8", "mini_convnet")
        ),
        ("mini_resnet8_2k", "mini_resnet8", fewer, Recorder(fewer.train_labels, recipe.epochs)),
        ("condensed", "mini_resnet8", everything, condenser),
    ]
    for name, network, dataset, watch in runs:
        knowledge = Knowledge(load_teacher(dataset), dataset, store="memory")
        student = create_model(network, len(dataset.classes), dataset.in_channels, seed=0)
        for _ in distill(student, dataset, knowledge, recipe=recipe, condenser=watch, seed=0):
            pass
        arrays: dict[str, Any]
        if isinstance(watch, Recorder):
            arrays = {
                "entropy": watch.entropy.half().numpy(),
                "said": watch.said.numpy(),
                "labels": watch.labels.byte().numpy(),
            }
        else:
            # In full precision: replaying it through a condenser must give the same plans as the run.
            arrays = {"entropy": watch.history}
        write_npz(results / f"trace_{name}.npz", arrays, compress=True)


def small_test(dataset: Dataset) -> Dataset:
    """The same training images, and a test set so small that testing takes no time worth mentioning."""
    return dataclasses.replace(dataset, test_images=dataset.test_images[:1], test_labels=dataset.test_labels[:1])


def run_of_method(name: str, dataset: Dataset, epochs: int) -> Distillation:
    """A run of the course's pair, the teacher asked about every batch."""
    scale = dataclasses.replace(TIMED, epochs=epochs)
    unit = Unit(PAIR, find_row(name), 0, scale, "", len(dataset.train_images), teacher=None, code="")
    return start(unit, dataset, load_teacher(dataset), "cpu", checkpoint=None)


def step_times(runs: Mapping[str, Distillation], repetitions: int) -> dict[str, list[float]]:
    """Seconds of processor time per step of every method and repetition.

    The methods take turns: in every repetition each one trains for one epoch, so that a slow moment of the machine
    touches all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in tqdm(range(repetitions + 1), unit="repetition"):
        for name, run in runs.items():
            steps = -(-len(run.dataset.train_images) // run.recipe.batch_size)
            start = time.process_time()
            next(run)
            # The first epoch warms up, and holds the preparation of methods that have one.
            if repetition:
                seconds[name].append((time.process_time() - start) / steps)
    return seconds


def costs(dataset: Dataset, repetitions: int) -> dict[str, Any]:
    """Median and spread of the step-time ratio to KD of the same repetition, and what is prepared before the first step."""
    runs = {name: run_of_method(name, dataset, repetitions + 1) for name in list_distillers()}
    seconds = step_times(runs, repetitions)
    methods: dict[str, Any] = {}
    for name, times in seconds.items():
        ratios = [ours / theirs for ours, theirs in zip(times, seconds["kd"], strict=True)]
        preparation = round(runs[name].distiller.needs.preparation * TIMED.epochs)
        methods[name] = {
            "step time over KD": {
                "median": round(statistics.median(ratios), 3),
                "least": round(min(ratios), 3),
                "most": round(max(ratios), 3),
            },
            "views per sample": runs[name].distiller.needs.views,
            "preparation epochs": preparation,
            "preparation presentations": preparation * len(dataset.train_images),
        }
    return {"KD step (s)": round(statistics.median(seconds["kd"]), 5), "methods": methods}


def measure_costs(out: Path, repetitions: int) -> None:
    """Time a step of every method on the course's pair of networks; store and print it relative to a step of KD."""
    torch.set_num_threads(1)
    dataset = small_test(TIMED.images())
    setting = {
        "pair": f"{PAIR.teacher} -> {PAIR.student}",
        "batch": Recipe().batch_size,
        "images": len(dataset.train_images),
        "repetitions": repetitions,
        "negatives": negatives_of(len(dataset.train_images)),
        "student's epochs": TIMED.epochs,
        "threads": 1,
        "device": "cpu",
        "machine": platform.machine(),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    measured = {"setting": setting, **costs(dataset, repetitions)}
    with written_whole(out) as file:
        file.write((json.dumps(measured, indent=1) + "\n").encode())
    for name, figures in measured["methods"].items():
        spread = figures["step time over KD"]
        print(f"{name:10} {spread['median']:.2f} times a step of KD ({spread['least']:.2f} .. {spread['most']:.2f})")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("teacher", "traces", "costs"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder to write to")
    parser.add_argument("--folder", type=Path, default=Path("runs/teacher"), help="of an unfinished teacher")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of the timed steps")
    parser.add_argument("--with", dest="files", action="append", default=[], help="file that registers more methods")
    arguments = parser.parse_args()
    for file in arguments.files:
        load_file(file)
    if arguments.what == "teacher":
        make_teacher(arguments.data, arguments.folder)
    elif arguments.what == "traces":
        record_traces(arguments.data / "results")
    else:
        measure_costs(arguments.data / "results" / "method_costs.json", arguments.repetitions)


if __name__ == "__main__":
    main()
