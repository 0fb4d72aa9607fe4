"""How fast is training, beside its bare arithmetic and beside the public code? Run by hand: ``make bench``.

    python -m tests.benchmarks.engine [--data FOLDER] [--images N] [--repeats R] [--device DEVICE] [--precision P]
                                      [--only PART]

All figures are ratios of work done in turn in this process, median and range over the repetitions. CIFAR-100 is looked
for in ``--data`` and the usual folders; without it, random images of its shape are used, and the stored result says so.
Everything is run in ``--precision``, float32 by default. Where the device has instructions for bfloat16, what it saves is
measured as well: epochs in bfloat16 and in float32, in turn.
Writes data/results/engine.json; with ``--only ratios`` or ``--only profile`` it replaces that entry and keeps the other.
"""

import argparse
import copy
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from kcd_teach import Condenser, Knowledge, Recipe, distill, load_dataset
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import Outputs
from kcd_teach.recipe import PRECISIONS, has_bfloat16
from kcd_teach.training import Distillation
from tests.benchmarks.epoch_profile import PROFILED, print_profile, profile
from tests.benchmarks.linearity import linearity
from tests.benchmarks.material import (
    PAIRS,
    ROOT,
    Figures,
    batches_of,
    epoch_of,
    figures,
    images_for,
    in_turn,
    pair_of,
    ratio,
    timed,
)
from tests.benchmarks.public_loops import benchmark_style, torchdistill_style

IMAGENET = 1_281_167


def bare_steps(run: Distillation, count: int) -> Callable[[], None]:
    """The arithmetic of as many steps on one constant batch: teacher, student, loss, backward, update."""
    batch = next(batches_of(run))
    assert run.knowledge is not None
    teacher = run.knowledge.teacher.eval()

    def step() -> None:
        with run.engine.autocast():
            with torch.no_grad():
                taught = Outputs(teacher(batch.images))
            said = Outputs(run.student(batch.images))
        loss = run.distiller(batch, said, taught)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()

    return lambda: [step() for _ in range(count)]  # type: ignore[return-value]


def throughput_over_bare_step(name: str, dataset: Dataset, repeats: int, precision: str) -> Figures:
    """Images per second of an epoch, teacher asked every time, over those of bare steps; 1 would be no overhead."""
    student, teacher = pair_of(name, dataset)
    run = distill(student, dataset, teacher, recipe=Recipe(epochs=1, precision=precision), seed=0)
    steps = len(dataset.train_images) // 64
    bare = bare_steps(run, steps)
    bare()
    seconds = in_turn({"bare": bare, "epoch": lambda: epoch_of(run)}, repeats, dataset.train_images.device)
    return ratio(seconds["bare"], seconds["epoch"])


def bfloat16_over_float32(name: str, dataset: Dataset, repeats: int) -> Figures:
    """Images per second of an epoch in bfloat16, teacher asked every time, over those of one in float32."""
    runs = {}
    for precision in PRECISIONS:
        student, teacher = pair_of(name, dataset)
        runs[precision] = distill(student, dataset, teacher, recipe=Recipe(epochs=1, precision=precision), seed=0)
        epoch_of(runs[precision])
    works = {precision: lambda run=run: epoch_of(run) for precision, run in runs.items()}
    seconds = in_turn(works, repeats, dataset.train_images.device)
    return ratio(seconds["float32"], seconds["bfloat16"])


def speedup_over_public_code(name: str, dataset: Dataset, repeats: int, precision: str) -> dict[str, Figures]:
    """Images per second of the engine, with an empty and with a full store, over those of the public loops.

    The public loops compute in float32, whatever the engine's precision is. Torchdistill's is left out where it is missing.
    """
    student, teacher = pair_of(name, dataset)
    recipe = Recipe(epochs=1, precision=precision)
    theirs = {"student": pair_of(name, dataset)[0], "teacher": pair_of(name, dataset)[1]}
    full = Knowledge(teacher, dataset, "memory", precision=precision)
    epoch_of(distill(student, dataset, full, recipe=recipe, seed=0))

    def epoch(knowledge: Callable[[], Knowledge]) -> Callable[[], None]:
        return lambda: epoch_of(distill(student, dataset, knowledge(), recipe=recipe, seed=0))

    public = {"benchmark style": benchmark_style(**theirs, dataset=dataset)}
    if importlib.util.find_spec("torchdistill"):
        public["torchdistill"] = torchdistill_style(**theirs, dataset=dataset)
    for loop in public.values():  # starts the workers of their loaders
        loop()
    cold = epoch(lambda: Knowledge(teacher, dataset, "memory", precision=precision))
    seconds = in_turn({**public, "cold": cold, "warm": epoch(lambda: full)}, repeats, dataset.train_images.device)
    return {
        f"{ours} store over {name}": ratio(seconds[name], seconds[ours])
        for name in public for ours in ("cold", "warm")
    }  # fmt: skip


def condensed_over_plain(name: str, dataset: Dataset, repeats: int, precision: str) -> dict[str, Figures]:
    """Seconds of a run of KC-KD at 70 % over one of KD, six epochs each: 0.85 by count."""
    student, teacher = pair_of(name, dataset)
    full = Knowledge(teacher, dataset, "memory", precision=precision)
    recipe = Recipe(epochs=6, precision=precision)

    def whole(knowledge: nn.Module | Knowledge, condensed: bool) -> Callable[[], None]:
        def work() -> None:
            condenser = Condenser(len(dataset.train_images), 0.7, 6, 6) if condensed else None
            newcomer = copy.deepcopy(student)  # ranks as those before it, so that a warm store knows its views
            for _ in distill(newcomer, dataset, knowledge, recipe=recipe, condenser=condenser, seed=0):
                pass

        return work

    for condensed in (False, True):
        whole(full, condensed)()
    works = {
        "off KC": whole(teacher, True), "off KD": whole(teacher, False),
        "warm KC": whole(full, True), "warm KD": whole(full, False),
    }  # fmt: skip
    seconds = in_turn(works, repeats, dataset.train_images.device)
    return {
        "store off": ratio(seconds["off KC"], seconds["off KD"]),
        "warm store": ratio(seconds["warm KC"], seconds["warm KD"]),
    }


def condensation_over_epoch(dataset: Dataset, repeats: int, precision: str) -> Figures:
    """Observing and ranking 50,000 samples over an epoch of R56>R20 on as many, scaled from bare steps."""
    student, teacher = pair_of("R56>R20", dataset)
    bare = bare_steps(distill(student, dataset, teacher, recipe=Recipe(epochs=1, precision=precision)), 4)
    logits = torch.randn(64, 100)

    def condense() -> None:
        condenser = Condenser(50_000, stages=2, epochs=2)
        for ids in torch.arange(50_000).split(64):
            condenser.observe(ids, logits[: len(ids)])
        condenser.end_epoch()

    bare()
    seconds = in_turn({"condense": condense, "steps": bare}, repeats, dataset.train_images.device)
    return ratio(seconds["condense"], [four / 4 * 50_000 / 64 for four in seconds["steps"]])


def plan_time(repeats: int) -> Figures:
    """Seconds to rank and plan a stage of ImageNet's size."""

    def plan() -> float:
        condenser = Condenser(IMAGENET, stages=2, epochs=2)
        condenser.record(torch.arange(IMAGENET), torch.rand(IMAGENET))
        return timed(condenser.end_epoch, torch.device("cpu"))

    return figures([plan() for _ in range(repeats)])


def peak_memory(data: Path | None) -> Figures:
    """GB that a run on all of CIFAR-100's 50,000 images adds to a process that has imported torch, store off."""
    code = f"""
import argparse, pathlib, resource, torch
def peak_kilobytes():  # what resource reports on Linux may be the peak of the process that started this one
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
before = peak_kilobytes()
from tests.benchmarks.engine import *
dataset = images_for(argparse.Namespace(data={str(data) if data else None!r}, images=50_000))
student, teacher = pair_of("R56>R20", dataset)
run = distill(student, dataset, teacher, recipe=Recipe(epochs=240), condenser=Condenser(50_000))
batches = batches_of(run)
for _ in range(4):
    train_on(run, next(batches))
run.condenser.end_epoch()
print((peak_kilobytes() - before) / 1e6)
"""
    out = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    return figures([float(out.splitlines()[-1])])


def ratios(dataset: Dataset, bundled: Dataset, arguments: argparse.Namespace) -> dict[str, Figures]:
    """All ratios, printed as they come."""
    few, digits = arguments.repeats, arguments.precision
    measured: dict[str, Figures] = {}

    def note(name: str, found: Figures) -> None:
        measured[name] = found
        print(f"{name:72} {found['median']:.4f}  ({found['least']:.4f} .. {found['most']:.4f})", flush=True)

    for name in (*PAIRS, "bundled"):
        shown = bundled if name == "bundled" else dataset
        note(f"{name}: throughput of an epoch over bare steps", throughput_over_bare_step(name, shown, few, digits))
    for name in ("R56>R20", "W40-2>W16-2"):
        for what, found in speedup_over_public_code(name, dataset, few, digits).items():
            note(f"{name}: images per second, {what}", found)
    if has_bfloat16(arguments.device):
        for name in (*PAIRS, "bundled"):
            shown = bundled if name == "bundled" else dataset
            note(f"{name}: images per second, bfloat16 over float32", bfloat16_over_float32(name, shown, few))
    for name in ("R20>R8", "bundled"):
        for what, found in condensed_over_plain(name, bundled if name == "bundled" else dataset, few, digits).items():
            note(f"{name}: time of KC-KD 70% over KD, {what}", found)
    for what, found in linearity(bundled, few, digits).items():
        note(f"time with twice the {what} over twice the time, bundled", found)
    note("condenser over an epoch of R56>R20, 50,000 samples", condensation_over_epoch(dataset, few, digits))
    note("plan of one stage, 1,281,167 samples (s)", plan_time(few))
    note("memory of a CIFAR-100 run beyond torch (GB)", peak_memory(arguments.data))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="folder with cifar100.npz")
    parser.add_argument("--images", type=int, default=512, help="training images timed, a multiple of 128")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of everything that is timed")
    parser.add_argument("--only", choices=("ratios", "profile"), help="measure one part and keep the other as stored")
    arguments = parser.parse_args()
    dataset = images_for(arguments).to(arguments.device)
    bundled = load_dataset("fashion-mnist-mini").first(200).to(arguments.device)
    setting = {
        "device": arguments.device, "precision": arguments.precision, "threads": torch.get_num_threads(),
        "images": f"{len(dataset.train_images)} of {dataset.name}", "repeats": arguments.repeats,
        "torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine(),
        "instructions for bfloat16": has_bfloat16(arguments.device),
    }  # fmt: skip
    out = ROOT / "data" / "results" / "engine.json"
    stored = json.loads(out.read_text()) if out.exists() else {}
    if arguments.only != "profile":
        stored.update(setting=setting, measured=ratios(dataset, bundled, arguments))
    if arguments.only != "ratios":
        shown = {name: bundled if name == "bundled" else dataset for name in PROFILED}
        stored["profile"] = {"setting": setting, "parts": profile(shown, arguments.repeats, arguments.precision)}
        print_profile(stored["profile"]["parts"])
    out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
