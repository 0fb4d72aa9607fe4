"""How fast is what people wait for? Run by hand: ``make bench``, or ``python -m tests.benchmarks.speed [--data FOLDER]``.

Every figure is a ratio of two things timed in turn in one run, or a time with its spread; absolute times are noisy.
Writes data/results/speed.json.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kcd_teach import Condenser, Recipe, create_model, distill, load_dataset, load_teacher
from kcd_teach.distillers.base import Batch, Outputs
from kcd_teach.lessons import summary_condensation
from kcd_teach.training import Distillation
from tests.benchmarks.material import batches_of, train_on

REPEATS = 5
LARGE = 50_000


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(seconds: list[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}


def import_time() -> dict[str, float]:
    """Seconds that ``import kcd_teach`` adds to importing torch, in fresh processes."""
    code = "import time, torch; start = time.perf_counter(); import kcd_teach; print(time.perf_counter() - start)"
    return spread([float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(REPEATS)])


def load_time() -> dict[str, float]:
    return spread([timed(lambda: load_dataset("fashion-mnist-mini")) for _ in range(REPEATS)])


def replay_time() -> dict[str, float]:
    """Seconds from a move of the ratio to the numbers of the new picture, for 10,000 samples over 24 epochs."""
    explorer = summary_condensation.explorer()
    explorer.set(images="10,000")

    def move(percent: int) -> None:
        explorer.set(ratio=percent)

    return spread([timed(lambda percent=percent: move(percent)) for percent in (60, 50, 40, 65, 55, 45, 35)])


def small_run() -> Distillation:
    """Plain KD of the course's student, 2,560 images, the teacher asked every time."""
    dataset = load_dataset("fashion-mnist-mini").first(per_class=256)
    student = create_model("mini_resnet8", 10, 1, seed=0)
    return distill(student, dataset, load_teacher(dataset), recipe=Recipe(epochs=REPEATS), seed=0)


def bare_step(run: Distillation, batch: Batch) -> None:
    """The arithmetic of one step and nothing else: teacher, student, loss, backward, update."""
    with torch.no_grad():
        taught = run.knowledge.teacher(batch.images)
    loss = run.distiller(batch, Outputs(run.student(batch.images)), Outputs(taught))
    run.optimizer.zero_grad()
    loss.backward()
    run.optimizer.step()


def epoch_over_step() -> dict[str, float]:
    """An epoch of the loop over the same number of bare steps on one constant batch; 1 would be no overhead."""
    run = small_run()
    constant = next(batches_of(run))
    steps = len(run.dataset.train_images) // run.recipe.batch_size

    def epoch() -> None:
        run.student.train()
        for batch in batches_of(run):
            train_on(run, batch)

    bare_step(run, constant)
    return spread(
        [timed(epoch) / timed(lambda: [bare_step(run, constant) for _ in range(steps)]) for _ in range(REPEATS)]
    )


def condenser_over_epoch() -> dict[str, float]:
    """Observing and ranking 50,000 samples over the bare steps of that epoch."""
    run = small_run()
    constant = next(batches_of(run))
    logits = torch.randn(64, 10)

    def condense() -> None:
        condenser = Condenser(LARGE, stages=2, epochs=2)
        for ids in torch.arange(LARGE).split(64):
            condenser.observe(ids, logits[: len(ids)])
        condenser.end_epoch()

    def epoch() -> float:
        return timed(lambda: [bare_step(run, constant) for _ in range(50)]) / 50 * LARGE / 64

    epoch()
    return spread([timed(condense) / epoch() for _ in range(REPEATS)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "data")
    out = parser.parse_args().data / "results" / "speed.json"
    measured = {
        "import kcd_teach after torch (s)": import_time(),
        "load fashion-mnist-mini (s)": load_time(),
        "explorer: move to the numbers of the picture, 10,000 samples (s)": replay_time(),
        "epoch of the loop over bare steps": epoch_over_step(),
        "condenser over bare steps, 50,000 samples": condenser_over_epoch(),
    }
    for name, figures in measured.items():
        print(f"{name:52} median {figures['median']:.4f}  ({figures['least']:.4f} .. {figures['most']:.4f})")
    setting = {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}
    out.write_text(json.dumps({"setting": setting, "measured": measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
