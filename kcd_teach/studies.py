"""What was measured? Every number of the course that is not computed in a notebook comes from here.

    python -m kcd_teach.studies teacher           train the course's teacher: data/mini_resnet8x3.npz
    python -m kcd_teach.studies students          every student of CONDITIONS on 2,000 images: data/results/students.jsonl
    python -m kcd_teach.studies students-10k      fewer seeds on all 10,000 images: data/results/students-10k.jsonl
    python -m kcd_teach.studies traces            record every answer of three students: data/results/trace_*.npz
    python -m kcd_teach.studies picture           draw the picture of the README from the stored results

A result is one JSON line per run: condition, configuration, seed, versions, device, curve, presentations, seconds.
Runs that are stored already are skipped, so a study can be stopped and continued.
"""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from kcd_teach import __version__
from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset, find_data_file, load_dataset, write_npz
from kcd_teach.distillers import KD
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import TEACHER, create_model, load_teacher, save_weights
from kcd_teach.traces import Recorder
from kcd_teach.training import Distillation, Recipe, distill

STUDENT = "mini_resnet8"
EPOCHS, STAGES = 24, 6
PER_CLASS, SEEDS = 200, 10
"""The course's setting: a student that sees 200 images per class, taught by a teacher that has seen 1,000."""
TEACHER_EPOCHS = 40


@dataclass(frozen=True)
class Condition:
    """One way to train the student.

    Attributes:
        name: as stored.
        seeds: number of runs on all images, seeds 0, 1, ..; on the small set it is SEEDS for every condition.
        temperature: of the distillation; 0 trains on labels alone.
        epochs: of the run.
        condenser: settings of the :class:`Condenser`; empty for none.
    """

    name: str
    seeds: int = 3
    temperature: float = 4.0
    epochs: int = EPOCHS
    condenser: dict[str, Any] = field(default_factory=dict)


_RANDOM = {"selection": "random", "mixing": False}

CONDITIONS = (
    Condition("labels alone", seeds=5, temperature=0),
    Condition("KD", seeds=5),
    Condition("KC-KD 70%", seeds=5, condenser={"ratio": 0.7}),
    Condition("random 70%", seeds=5, condenser={"ratio": 0.7, **_RANDOM}),
    Condition("KD, 20 epochs", epochs=20),
    Condition("no mixing", condenser={"ratio": 0.7, "mixing": False}),
    Condition("released code", condenser={"ratio": 0.7, "preset": "released"}),
    Condition("lowest value", condenser={"ratio": 0.7, "selection": "lowest", "mixing": False}),
    Condition("sum of entropies", condenser={"ratio": 0.7, "value": "sum"}),
    Condition("without frequency", condenser={"ratio": 0.7, "alpha": 0.0}),
    Condition("never return", condenser={"ratio": 0.7, "pool": "active"}),
    Condition("all dropped as partners", condenser={"ratio": 0.7, "partners": "complement"}),
    Condition("random 70%, mixed", condenser={"ratio": 0.7, "selection": "random"}),
    Condition("KC-KD 90%", condenser={"ratio": 0.9}),
    Condition("KC-KD 50%", seeds=5, condenser={"ratio": 0.5}),
    Condition("KC-KD 30%", condenser={"ratio": 0.3}),
    Condition("random 90%", condenser={"ratio": 0.9, **_RANDOM}),
    Condition("random 50%", seeds=5, condenser={"ratio": 0.5, **_RANDOM}),
    Condition("random 30%", condenser={"ratio": 0.3, **_RANDOM}),
    *(Condition(f"KD, T = {temperature:g}", temperature=temperature) for temperature in (1.0, 2.0, 8.0)),
)


def run_of(condition: Condition, seed: int, dataset: Dataset, knowledge: Knowledge) -> Distillation:
    """The run of one condition and seed; the seed sets initial weights, order, views and random selection."""
    student = create_model(STUDENT, len(dataset.classes), dataset.in_channels, seed=seed)
    condenser = None
    if condition.condenser:
        settings = {"stages": STAGES, "epochs": condition.epochs, "seed": seed, **condition.condenser}
        condenser = Condenser(len(dataset.train_images), **settings)
    recipe = Recipe(epochs=condition.epochs)
    if condition.temperature == 0:
        return distill(student, dataset, recipe=recipe, condenser=condenser, seed=seed)
    distiller = KD(condition.temperature)
    return distill(student, dataset, knowledge, recipe=recipe, distiller=distiller, condenser=condenser, seed=seed)


def record_of(run: Distillation, name: str, seed: int) -> dict[str, Any]:
    """What is stored of a finished run."""
    return {
        "condition": name,
        "seed": seed,
        "config": run.config,
        "test_accuracy": [round(report.test_accuracy, 6) for report in run.reports],
        "train_loss": [round(report.train_loss, 6) for report in run.reports],
        "active": [report.active for report in run.reports],
        "presentations": run.reports[-1].presentations,
        "seconds": round(run.reports[-1].seconds, 1),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": str(run.dataset.train_images.device),
    }


def load_results(name: str) -> list[dict[str, Any]]:
    """All records of a stored study (``"students"`` or ``"students-10k"``), in order of condition and seed."""
    lines = find_data_file(f"results/{name}.jsonl").read_text().splitlines()
    order = [condition.name for condition in CONDITIONS]
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return sorted(records, key=lambda record: (order.index(record["condition"]), record["seed"]))


def final_accuracies(records: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """Test accuracy of the last epoch, in percent: condition -> seed -> accuracy."""
    table: dict[str, dict[int, float]] = {}
    for record in records:
        table.setdefault(record["condition"], {})[record["seed"]] = 100 * record["test_accuracy"][-1]
    return table


def accuracy_by_cost(records: list[dict[str, Any]]) -> dict[str, dict[float, dict[int, float]]]:
    """The cost-accuracy picture: family -> cost relative to plain KD -> seed -> accuracy in percent."""
    plain = next(record["presentations"] for record in records if record["condition"] == "KD")
    families: dict[str, dict[float, dict[int, float]]] = {"KD": {}, "KC-KD": {}, "random subset": {}}
    for record in records:
        name = record["condition"]
        family = (
            "KD"
            if name in ("KD", "KD, 20 epochs")
            else {"KC-KD": "KC-KD", "random": "random subset"}.get(name.split()[0])
        )
        if family is None or "mixed" in name:
            continue
        cost = round(record["presentations"] / plain, 3)
        families[family].setdefault(cost, {})[record["seed"]] = 100 * record["test_accuracy"][-1]
    return families


@cache
def _bundled(per_class: int) -> tuple[Dataset, Knowledge]:
    dataset = load_dataset("fashion-mnist-mini").first(per_class)
    return dataset, Knowledge(load_teacher(dataset), dataset, remember=True)


def _measure(condition: Condition, seed: int, per_class: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    return record_of(_finish(run_of(condition, seed, *_bundled(per_class))), condition.name, seed)


def _finish(run: Distillation) -> Distillation:
    for _ in run:
        pass
    return run


def _missing(path: Path, per_class: int) -> Iterator[tuple[Condition, int]]:
    """Runs that are not stored yet; all conditions of one seed before the next seed."""
    stored = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(record["condition"], record["seed"]) for record in stored}
    for seed in range(SEEDS):
        for condition in CONDITIONS:
            wanted = SEEDS if per_class == PER_CLASS else condition.seeds
            if seed < wanted and (condition.name, seed) not in done:
                yield condition, seed


def measure_students(out: Path, per_class: int, workers: int) -> None:
    """Train every missing student, one thread each, and append a line for each finished run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool, out.open("a") as file:
        jobs = [pool.submit(_measure, condition, seed, per_class) for condition, seed in _missing(out, per_class)]
        for job in tqdm(as_completed(jobs), total=len(jobs), unit="run"):
            file.write(json.dumps(job.result()) + "\n")
            file.flush()
            os.fsync(file.fileno())


def train_teacher(data: Path) -> None:
    """Train the course's teacher on labels; store its weights and its record."""
    dataset = load_dataset("fashion-mnist-mini")
    teacher = create_model(TEACHER, len(dataset.classes), dataset.in_channels, seed=0)
    run = distill(teacher, dataset, recipe=Recipe(epochs=TEACHER_EPOCHS), seed=0)
    _finish(run)
    save_weights(teacher, data / f"{TEACHER}.npz")
    (data / "results").mkdir(exist_ok=True)
    (data / "results" / "teacher.jsonl").write_text(json.dumps(record_of(run, "teacher", 0)) + "\n")


def record_traces(results: Path) -> None:
    """Record two students under plain KD, and one under KC-KD at 70 %."""
    dataset, knowledge = _bundled(1_000)
    recipe, count = Recipe(epochs=EPOCHS), len(dataset.train_images)
    for name in (STUDENT, "mini_convnet"):
        student = create_model(name, len(dataset.classes), dataset.in_channels, seed=0)
        recorder = Recorder(dataset.train_labels, EPOCHS)
        run = distill(student, dataset, knowledge, recipe=recipe, condenser=recorder, seed=0)
        _finish(run)
        packed = np.packbits(recorder.correct.numpy(), axis=1)
        arrays = {"entropy": recorder.entropy.half().numpy(), "correct": packed}
        write_npz(results / f"trace_{name}.npz", arrays, compress=True)
    condenser = Condenser(count, stages=STAGES, epochs=EPOCHS, history=True)
    student = create_model(STUDENT, len(dataset.classes), dataset.in_channels, seed=0)
    _finish(distill(student, dataset, knowledge, recipe=recipe, condenser=condenser, seed=0))
    # In full precision: replaying it through a condenser must give the same plans as the run.
    write_npz(results / "trace_condensed.npz", {"entropy": condenser.history}, compress=True)


def draw_picture(out: Path) -> None:
    """Draw accuracy against cost, the picture of the README, and print what it says."""
    from kcd_teach.figures import accuracy_against_cost

    picture = accuracy_against_cost(accuracy_by_cost(load_results("students")), "What do you pay, what do you get?")
    picture.save(out)
    print(picture.reading)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("teacher", "students", "students-10k", "traces", "picture"))
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parent.parent / "data")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs side by side, one thread each")
    arguments = parser.parse_args()
    if arguments.study == "teacher":
        train_teacher(arguments.data)
    elif arguments.study == "picture":
        draw_picture(arguments.data / "results" / "accuracy_against_cost.png")
    elif arguments.study == "traces":
        record_traces(arguments.data / "results")
    else:
        per_class = PER_CLASS if arguments.study == "students" else 1_000
        measure_students(arguments.data / "results" / f"{arguments.study}.jsonl", per_class, arguments.workers)


if __name__ == "__main__":
    main()
