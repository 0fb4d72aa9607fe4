"""What does a step cost on a GPU, run plainly and as a graph, alone and side by side? Lines of JSON, most wanted first.

    python -m tests.benchmarks.gpu_steps [--seconds S] [--out FILE] [--device DEVICE] [--images N] [PAIR ...]

Random images of CIFAR-100's shape, networks with random weights: speed does not depend on what they know. Convolutions
are deterministic, as in every run of the benchmark. After ``--seconds`` no further part is begun; called again with the
same file and card, it measures the parts that the file does not hold yet.
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
from kcd_teach.benchmark.settings import find_pair
from kcd_teach.fingerprints import code_fingerprint
from kcd_teach.models import create_model
from kcd_teach.training import Distillation
from tests.benchmarks.graphed_runs import QUIET, Graphed
from tests.benchmarks.material import batches_of, random_images, train_on

PAIRS = ("V13>V8", "R56>R20", "W40-2>W16-2", "V13>MN2")


class Bench:
    """Parts that are measured one after the other until time is over."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device, self.few, self.out = torch.device(arguments.device), arguments.few, arguments.out
        self.dataset = random_images(arguments.images).to(self.device)
        self.until, self.begun = time.monotonic() + arguments.seconds, False
        on_gpu = self.device.type == "cuda"
        self.about = {"card": torch.cuda.get_device_name() if on_gpu else "cpu", "torch": torch.__version__,
                      "cudnn": torch.backends.cudnn.version(), "tf32": torch.backends.cudnn.allow_tf32,
                      "code": code_fingerprint()}  # fmt: skip
        self.known = self.measured_before()

    def measured_before(self) -> set[str]:
        """Parts that the file holds of this card and these versions."""
        found, ours = set(), False
        for text in self.out.read_text().splitlines() if self.out.exists() else ():
            with contextlib.suppress(ValueError):  # a killed process may have left half a line
                line = json.loads(text)
                ours = line.items() >= self.about.items() if "card" in line else ours
                if ours and "took" in line and "failed" not in line:
                    found.add(line["part"])
        return found

    def say(self, **what: Any) -> None:
        print(json.dumps(what), flush=True)
        with self.out.open("a") as file:
            print(json.dumps(what), file=file, flush=True)

    def part(self, name: str, work: Callable[..., dict[str, Any]], *given: Any) -> None:
        if name in self.known:
            return
        if self.begun and time.monotonic() > self.until:
            self.say(part=name, skipped="time is over")
            return
        self.begun, began = True, time.monotonic()
        try:
            found = work(*given)
        except Exception:
            found = {"failed": traceback.format_exc()[-1500:]}
        self.say(part=name, **found, took=round(time.monotonic() - began, 2))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def make(self, name: str, graphs: bool, precision: str = "float32", seed: int = 0) -> Distillation:
        """A run named ``PAIR KD``, ``PAIR KC-KD`` or ``NETWORK labels``."""
        what, _, how = name.rpartition(" ")
        teacher, student = (None, what) if how == "labels" else (find_pair(what).teacher, find_pair(what).student)
        training.Distillation = Graphed if graphs else Distillation  # type: ignore[misc]
        try:
            return distill(
                create_model(student, seed=seed), self.dataset, create_model(teacher, seed=9) if teacher else None,
                recipe=Recipe(precision=precision), seed=seed,
                condenser=Condenser(len(self.dataset.train_images)) if how == "KC-KD" else None,
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
        while not all(ready) and all(thread.is_alive() for thread in threads):
            time.sleep(0.05)
        began = time.perf_counter()
        begin.set()
        time.sleep(seconds / self.few)
        end.set()
        for thread in threads:
            thread.join()
        self.wait()
        passed = time.perf_counter() - began
        if not all(counts):
            raise RuntimeError(f"a run made no step: {counts}")
        ms = [round(1_000 * passed / count, 4) for count in counts]
        return {"ms each": ms, "ms per step of any": round(1_000 * passed / sum(counts), 4)}

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

    def beside_others(self, name: str) -> dict[str, Any]:
        """Images per second of an epoch over bare steps, and over the public loops, as :mod:`tests.benchmarks.engine`."""
        from tests.benchmarks.engine import speedup_over_public_code, throughput_over_bare_step

        few = replace(self.dataset, train_images=self.dataset.train_images[:1280],
                      train_labels=self.dataset.train_labels[:1280])  # fmt: skip
        return {
            "over bare steps": throughput_over_bare_step(name, few, 3, "float32"),
            **speedup_over_public_code(name, few, 2, "float32"),
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

    def all_parts(self, pairs: list[str]) -> None:
        for pair in pairs:
            self.part(f"{pair} KD, plain", self.plain, f"{pair} KD")
            self.part(f"{pair} KD, graph", self.graph, f"{pair} KD")
        for pair in pairs:
            self.part(f"{pair}, beside bare steps and public loops", self.beside_others, pair)
        first = pairs[0]
        for count in (2, 3, 4):
            self.part(f"side by side: {count} {first} KD", self.side_by_side, [f"{first} KD"] * count)
        self.part(f"{first} KC-KD, plain", self.plain, f"{first} KC-KD")
        self.part(f"{first} KC-KD, graph", self.graph, f"{first} KC-KD")
        self.part(f"{first} KC-KD, graph against plain", self.equal, f"{first} KC-KD")
        for network in dict.fromkeys(role for pair in map(find_pair, pairs) for role in (pair.student, pair.teacher)):
            self.part(f"{network} labels, plain", self.plain, f"{network} labels")
            self.part(f"{network} labels, graph", self.graph, f"{network} labels")
        self.part(f"{first} KD, graph, bfloat16", self.graph, f"{first} KD", "bfloat16")


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


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", default=PAIRS, help="of the benchmark")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, default=Path("gpu_steps.jsonl"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--few", type=int, default=1, help="divide the numbers of steps")
    arguments = parser.parse_args(given)
    bench = Bench(arguments)
    bench.say(**bench.about)
    with repeatably():
        bench.all_parts(list(arguments.pairs))


if __name__ == "__main__":
    main()
