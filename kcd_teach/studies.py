"""What was measured? Every number of the course that is not computed in a notebook comes from here.

    python -m kcd_teach.studies teacher           train the course's teacher: data/mini_resnet8x3.npz
    python -m kcd_teach.studies students          KD, KC-KD, controls, refinements on 2,000 images: data/results/students.jsonl
    python -m kcd_teach.studies students-10k      the same, fewer seeds, on all 10,000: data/results/students-10k.jsonl
    python -m kcd_teach.studies methods           all eleven methods, plain and condensed: data/results/methods.jsonl
    python -m kcd_teach.studies engine            KD in both precisions, with and without a store: data/results/engine.jsonl
    python -m kcd_teach.studies traces            record every answer of three students: data/results/trace_*.npz
    python -m kcd_teach.studies picture           draw the picture of the README from the stored results

A result is one JSON line per run: condition, configuration, store, seed, versions, device, curve, presentations, seconds.
Runs that are stored already are skipped, so a study can be stopped and continued.
"""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from kcd_teach import __version__
from kcd_teach.condensation import Condenser
from kcd_teach.conditions import EPOCHS, STAGES, STUDENT, STUDIES, TEACHER_EPOCHS, Condition, Study, run_of
from kcd_teach.datasets import Dataset, find_data_file, load_dataset, write_npz
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import TEACHER, create_model, load_teacher, save_weights
from kcd_teach.traces import Recorder
from kcd_teach.training import Distillation, Recipe, distill


def record_of(run: Distillation, name: str, seed: int) -> dict[str, Any]:
    """What is stored of a finished run."""
    return {
        "condition": name,
        "seed": seed,
        "config": run.config,
        "store": run.knowledge.store if run.knowledge else "off",
        "test_accuracy": [round(report.test_accuracy, 6) for report in run.reports],
        "train_loss": [round(report.train_loss, 6) for report in run.reports],
        "active": [report.active for report in run.reports],
        "presentations": run.reports[-1].presentations,
        "seconds": round(run.reports[-1].seconds, 1),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": str(run.dataset.train_images.device),
    }


def load_results(name: str) -> list[dict[str, Any]]:
    """All records of a stored study, one of :data:`~kcd_teach.conditions.STUDIES`, in order of condition and seed."""
    lines = find_data_file(f"results/{name}.jsonl").read_text().splitlines()
    order = [condition.name for condition in STUDIES[name].conditions]
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
def _bundled(per_class: int, store: str = "memory", precision: str = "float32") -> tuple[Dataset, Knowledge]:
    dataset = load_dataset("fashion-mnist-mini").first(per_class)
    return dataset, Knowledge(load_teacher(dataset), dataset, store, precision=precision)


def _measure(condition: Condition, seed: int, per_class: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    parts = _bundled(per_class, condition.store, condition.precision)
    return record_of(_finish(run_of(condition, seed, *parts)), condition.name, seed)


def _finish(run: Distillation) -> Distillation:
    for _ in run:
        pass
    return run


def _missing(path: Path, study: Study) -> Iterator[tuple[Condition, int]]:
    """Runs that are not stored yet; all conditions of one seed before the next seed."""
    stored = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(record["condition"], record["seed"]) for record in stored}
    for seed in range(max(condition.seeds for condition in study.conditions)):
        for condition in study.conditions:
            if seed < condition.seeds and (condition.name, seed) not in done:
                yield condition, seed


def measure(out: Path, study: Study, workers: int) -> None:
    """Train every missing student, one thread each, and append a line for each finished run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool, out.open("a") as file:
        jobs = [pool.submit(_measure, condition, seed, study.per_class) for condition, seed in _missing(out, study)]
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
    parser.add_argument("study", choices=("teacher", *STUDIES, "traces", "picture"))
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
        measure(arguments.data / "results" / f"{arguments.study}.jsonl", STUDIES[arguments.study], arguments.workers)


if __name__ == "__main__":
    main()
