"""What does a step cost on a GPU, run plainly and as a graph, alone and side by side? Lines of JSON, most wanted first.

    python -m tests.benchmarks.gpu_steps [--seconds S] [--out FILE] [--device DEVICE] [--images N]

Random images of CIFAR-100's shape, networks with random weights: speed does not depend on what they know. Convolutions
are deterministic, as in every run of the benchmark. After ``--seconds`` no further part is begun.
"""

import argparse
import contextlib
import json
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType

from kcd_teach import Condenser, Recipe, distill, training
from kcd_teach.benchmark.runs import repeatably
from kcd_teach.models import create_model
from kcd_teach.training import Distillation
from tests.benchmarks.graphed_runs import QUIET, Graphed
from tests.benchmarks.material import batches_of, random_images, train_on

RUNS = {
    "vgg8 labels": ("", "vgg8", False), "vgg13 labels": ("", "vgg13", False), "V13>V8 KD": ("vgg13", "vgg8", False),
    "V13>V8 KC-KD": ("vgg13", "vgg8", True), "R56>R20 KD": ("resnet56", "resnet20", False),
}  # fmt: skip


class Bench:
    """Parts that are measured one after the other until time is over."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device, self.few = torch.device(arguments.device), arguments.few
        self.dataset = random_images(arguments.images).to(self.device)
        self.until, self.out = time.monotonic() + arguments.seconds, arguments.out.open("a")

    def say(self, **what: Any) -> None:
        print(json.dumps(what), flush=True)
        print(json.dumps(what), file=self.out, flush=True)

    def part(self, name: str, work: Callable[..., dict[str, Any]], *given: Any) -> None:
        if time.monotonic() > self.until:
            self.say(part=name, skipped="time is over")
            return
        began = time.monotonic()
        try:
            found = work(*given)
        except Exception:
            found = {"failed": traceback.format_exc()[-1500:]}
        self.say(part=name, **found, took=round(time.monotonic() - began, 2))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def make(self, name: str, graphs: bool, precision: str = "float32", seed: int = 0) -> Distillation:
        teacher, student, condensed = RUNS[name]
        training.Distillation = Graphed if graphs else Distillation  # type: ignore[misc]
        try:
            return distill(
                create_model(student, seed=seed), self.dataset, create_model(teacher, seed=9) if teacher else None,
                recipe=Recipe(precision=precision), seed=seed,
                condenser=Condenser(len(self.dataset.train_images)) if condensed else None,
            )  # fmt: skip
        finally:
            training.Distillation = Distillation  # type: ignore[misc]

    def timed(self, run: Distillation, steps: int) -> dict[str, float]:
        """Milliseconds of a step: until it is launched, and until it is done."""
        steps = max(2, steps // self.few)
        drive(run, steps // 2)
        self.wait()
        began = time.perf_counter()
        drive(run, steps)
        launched = time.perf_counter()
        self.wait()
        return {
            "ms": round(1_000 * (time.perf_counter() - began) / steps, 4),
            "launched ms": round(1_000 * (launched - began) / steps, 4),
        }

    def plain(self, name: str, precision: str = "float32") -> dict[str, Any]:
        before = self.reset_memory()
        run = self.make(name, graphs=False, precision=precision)
        found: dict[str, Any] = self.timed(run, 100)
        return {**found, **self.launches(run), "peak MB": self.peak(before)}

    def graph(self, name: str, precision: str = "float32") -> dict[str, Any]:
        before = self.reset_memory()
        with self.stream():
            return {**self.timed(self.make(name, True, precision), 400), "peak MB": self.peak(before)}

    def quick_cudnn(self, name: str, precision: str) -> dict[str, Any]:
        """As a graph, with the fastest convolutions instead of those that always add in one order."""
        with torch.backends.cudnn.flags(True, benchmark=True, deterministic=False, allow_tf32=True), self.stream():
            return self.timed(self.make(name, True, precision), 400)

    def equal(self, name: str, steps: int = 40) -> dict[str, Any]:
        """Weights after some steps, run plainly twice and as a graph."""
        ends = []
        for graphs in (False, False, True):
            with self.stream():
                run = self.make(name, graphs)
                drive(run, max(6, steps // self.few))
                self.wait()
                ends.append(torch.cat([p.detach().flatten() for p in run.student.parameters()]))
        plain, again, graphed = ends
        return {
            "plain twice": (plain - again).abs().max().item(), "plain and graph": (plain - graphed).abs().max().item(),
            "largest weight": plain.abs().max().item(),
        }  # fmt: skip

    def side_by_side(self, names: list[str], seconds: float = 2.0) -> dict[str, Any]:
        """Milliseconds of a step of each of several graphs at once."""
        per_round = len(self.dataset.train_images) // 64 - 1
        counts, ready, begin, end = [0] * len(names), [False] * len(names), threading.Event(), threading.Event()

        def work(place: int) -> None:
            with self.stream(-1 if place == 0 else 0):
                with QUIET:
                    run = self.make(names[place], True, seed=place)
                drive(run, 8)
                ready[place] = True
                begin.wait()
                while not end.is_set():
                    drive(run, per_round)
                    counts[place] += per_round

        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(names))]
        for thread in threads:
            thread.start()
        while not all(ready) and any(thread.is_alive() for thread in threads):
            time.sleep(0.05)
        began = time.perf_counter()
        begin.set()
        time.sleep(seconds / self.few)
        end.set()
        for thread in threads:
            thread.join()
        self.wait()
        passed = time.perf_counter() - began
        ms = [round(1_000 * passed / count, 4) if count else None for count in counts]
        return {"ms each": ms, "ms per step of any": round(1_000 * passed / max(1, sum(counts)), 4)}

    def launches(self, run: Distillation) -> dict[str, Any]:
        """Kernels and copies of a step, and how long they are at work."""
        if self.device.type != "cuda":
            return {}
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            drive(run, 4)
            self.wait()
        on_device = [event for event in seen.events() if event.device_type == DeviceType.CUDA]
        busy = sum(event.time_range.elapsed_us() for event in on_device)
        return {"launches": len(on_device) / 4, "busy ms": round(busy / 4_000, 4)}

    def kernels(self, name: str) -> dict[str, Any]:
        """Where the time of a step on the device goes: the ten dearest kernels."""
        from torch.profiler import ProfilerActivity, profile

        run = self.make(name, graphs=False)
        drive(run, 6)
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            drive(run, 4)
            self.wait()
        total: dict[str, list[float]] = {}
        for event in seen.events():
            if event.device_type == DeviceType.CUDA:
                total.setdefault(event.name[:90], []).append(event.time_range.elapsed_us())
        dear = sorted(total.items(), key=lambda item: -sum(item[1]))[:10]
        return {"kernels": [[kernel, len(us) / 4, round(sum(us) / 4)] for kernel, us in dear]}

    def beside_others(self, name: str) -> dict[str, Any]:
        """Images per second of an epoch over bare steps, and over the public loops, as :mod:`tests.benchmarks.engine`."""
        from tests.benchmarks.engine import speedup_over_public_code, throughput_over_bare_step

        few = replace(self.dataset, train_images=self.dataset.train_images[:1280],
                      train_labels=self.dataset.train_labels[:1280])  # fmt: skip
        return {
            "over bare steps": throughput_over_bare_step(name, few, 3),
            **speedup_over_public_code(name, few, 2),
        }  # fmt: skip

    def stream(self, priority: int = 0) -> contextlib.AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return contextlib.nullcontext()
        return torch.cuda.stream(torch.cuda.Stream(priority=priority))

    def reset_memory(self) -> int:
        if self.device.type != "cuda":
            return 0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_reserved())

    def peak(self, before: int) -> int:
        return round((torch.cuda.max_memory_reserved() - before) / 1e6) if self.device.type == "cuda" else 0


def drive(run: Distillation, steps: int) -> None:
    """So many steps on full batches."""
    run.student.train()
    while steps > 0:
        for batch in run._sizes() if isinstance(run, Graphed) else batches_of(run):
            if isinstance(batch, int) and batch < run.recipe.batch_size:
                break
            run._train_on(batch) if isinstance(run, Graphed) else train_on(run, batch)
            steps -= 1
            if steps == 0:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, default=Path("gpu_steps.jsonl"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--few", type=int, default=1, help="divide the numbers of steps")
    bench = Bench(parser.parse_args())
    on_gpu = bench.device.type == "cuda"
    bench.say(card=torch.cuda.get_device_name() if on_gpu else "cpu", torch=torch.__version__,
              cudnn=torch.backends.cudnn.version(), tf32=torch.backends.cudnn.allow_tf32)  # fmt: skip
    with repeatably():
        for name in ("vgg13 labels", "vgg8 labels"):
            bench.part(f"{name}, plain", bench.plain, name)
            bench.part(f"{name}, graph", bench.graph, name)
            bench.part(f"{name}, graph against plain", bench.equal, name)
        bench.part("side by side: teacher, 3 students", bench.side_by_side, ["vgg13 labels"] + ["vgg8 labels"] * 3)
        bench.part("side by side: 2 students", bench.side_by_side, ["vgg8 labels"] * 2)
        bench.part("side by side: 4 students", bench.side_by_side, ["vgg8 labels"] * 4)
        for name in ("V13>V8 KD", "V13>V8 KC-KD"):
            bench.part(f"{name}, plain", bench.plain, name)
            bench.part(f"{name}, graph", bench.graph, name)
        bench.part("V13>V8 KC-KD, graph against plain", bench.equal, "V13>V8 KC-KD")
        bench.part("side by side: 4 KD", bench.side_by_side, ["V13>V8 KD"] * 4)
        for name in ("vgg13 labels", "V13>V8 KD"):
            for precision in ("float32", "bfloat16"):
                bench.part(f"{name}, graph, quick cudnn, {precision}", bench.quick_cudnn, name, precision)
        if on_gpu:
            bench.part("vgg13 labels, dearest kernels", bench.kernels, "vgg13 labels")
        bench.part("side by side: 8 KD", bench.side_by_side, ["V13>V8 KD"] * 8)
        bench.part("V13>V8, beside bare steps and public loops", bench.beside_others, "V13>V8")
        bench.part("R56>R20 KD, plain", bench.plain, "R56>R20 KD")
        bench.part("R56>R20 KD, graph", bench.graph, "R56>R20 KD")


if __name__ == "__main__":
    main()
