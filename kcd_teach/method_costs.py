"""What does a step of each method cost? Its time relative to one of KD, on the course's pair of networks.

    python -m kcd_teach.method_costs        writes data/results/method_costs.json

Methods take turns: in every repetition each one trains for one epoch of the stored study, and the processor time of its
steps is divided by that of KD in the same repetition, so that a slow moment of the machine touches both sides. The
teacher is asked about every batch, as features cannot be remembered. What a method does before the student's first step
is reported apart, as presentations.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from kcd_teach import __version__
from kcd_teach._files import written_whole
from kcd_teach.benchmark.runs import Unit, start
from kcd_teach.benchmark.settings import find_pair, find_row, find_scale, negatives_of
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import list_distillers
from kcd_teach.models import TEACHER, load_teacher
from kcd_teach.recipe import Recipe
from kcd_teach.registry import load_file
from kcd_teach.training import Distillation

REPETITIONS = 7
PAIR, SCALE = find_pair(f"{TEACHER}>mini_resnet8"), find_scale("course").but(store="off")


def small_test(dataset: Dataset) -> Dataset:
    """The same training images, and a test set so small that testing takes no time worth mentioning."""
    return dataclasses.replace(dataset, test_images=dataset.test_images[:1], test_labels=dataset.test_labels[:1])


def run_of_method(name: str, dataset: Dataset, epochs: int) -> Distillation:
    """A run of the course's pair, the teacher asked about every batch."""
    scale = dataclasses.replace(SCALE, epochs=epochs)
    unit = Unit(PAIR, find_row(name), 0, scale, "", len(dataset.train_images), teacher=None, code="")
    return start(unit, dataset, load_teacher(dataset), "cpu", checkpoint=None)


def step_times(runs: Mapping[str, Distillation], repetitions: int) -> dict[str, list[float]]:
    """Seconds of processor time per step of every method and repetition, the methods taking turns."""
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
    """Median and spread of the step-time ratio to KD, and the presentations before the student's first step."""
    runs = {name: run_of_method(name, dataset, repetitions + 1) for name in list_distillers()}
    seconds = step_times(runs, repetitions)
    methods: dict[str, Any] = {}
    for name, times in seconds.items():
        ratios = [ours / theirs for ours, theirs in zip(times, seconds["kd"], strict=True)]
        preparation = round(runs[name].distiller.needs.preparation * SCALE.epochs)
        methods[name] = {
            "step time over KD": {
                "median": round(statistics.median(ratios), 3), "least": round(min(ratios), 3),
                "most": round(max(ratios), 3),
            },
            "views per sample": runs[name].distiller.needs.views,
            "preparation epochs": preparation,
            "preparation presentations": preparation * len(dataset.train_images),
        }  # fmt: skip
    return {"KD step (s)": round(statistics.median(seconds["kd"]), 5), "methods": methods}


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "data" / "results" / "method_costs.json"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--with", dest="files", action="append", default=[], help="file that registers more methods")
    arguments = parser.parse_args()
    for file in arguments.files:
        load_file(file)
    torch.set_num_threads(1)
    dataset = small_test(SCALE.images())
    setting = {
        "pair": f"{PAIR.teacher} -> {PAIR.student}", "batch": Recipe().batch_size, "images": len(dataset.train_images),
        "repetitions": arguments.repetitions, "negatives": negatives_of(len(dataset.train_images)),
        "student's epochs": SCALE.epochs, "threads": 1,
        "device": "cpu", "machine": platform.machine(),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }  # fmt: skip
    measured = {"setting": setting, **costs(dataset, arguments.repetitions)}
    with written_whole(arguments.out) as file:
        file.write((json.dumps(measured, indent=1) + "\n").encode())
    for name, figures in measured["methods"].items():
        spread = figures["step time over KD"]
        print(f"{name:10} {spread['median']:.2f} times a step of KD ({spread['least']:.2f} .. {spread['most']:.2f})")


if __name__ == "__main__":
    main()
