"""What a step of KD must cost on a GPU, on paper, beside what was measured: ``python -m tests.benchmarks.floors``.

Operations, bytes and kernels of a step on 64 images are counted without computing anything, on torch's meta device. No
step can be quicker than its operations at the card's rate, nor than its bytes at the card's bandwidth; kernel by kernel,
the longer of the two is the floor, short of what stays in the card's cache. What is above it, measured, is the time that
kernels take to begin and end. Rendering views, the entropies and the counters of KCD come on top of the counted kernels.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from kcd_teach.benchmark import PAIRS, Pair, find_scale
from kcd_teach.benchmark.costs import Steps
from kcd_teach.distillers import kd_loss
from kcd_teach.models import create_model

BATCH = 64
CARD, OPERATIONS, BYTES = "NVIDIA H200", 494e12, 4.8e12
"""Rates per second from its data sheet: TF32 without sparsity, and memory."""


class Counted(TorchDispatchMode):
    """Counts kernels and the bytes that they read and write, and adds up the least time of each."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.operations, self.bytes, self.seconds = 0, 0, 0, 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view and "detach" not in str(function):
            tensors = [value for value in tree_flatten((args, kwargs, result))[0] if isinstance(value, torch.Tensor)]
            moved = sum(value.numel() * value.element_size() for value in tensors)
            count = flop_registry.get(function._overloadpacket, lambda *_, **__: 0)
            operations = count(*args, **(kwargs or {}), out_val=result)
            self.kernels, self.bytes, self.operations = (
                self.kernels + 1,
                self.bytes + moved,
                self.operations + operations,
            )
            self.seconds += max(operations / OPERATIONS, moved / BYTES)
        return result


def network(name: str) -> nn.Module:
    return create_model(name, 100, 3, seed=0).to("meta")


def count(pair: Pair) -> dict[str, float]:
    """GFLOP, MB, kernels and the floor in ms of a step of KD, its update included."""
    teacher, student = network(pair.teacher).eval(), network(pair.student).train()
    images = torch.zeros(BATCH, 3, 32, 32, device="meta")
    labels = torch.zeros(BATCH, dtype=torch.int64, device="meta")
    with Counted() as seen:
        with torch.no_grad():
            taught = teacher(images)
        logits = student(images)
        (F.cross_entropy(logits, labels) + kd_loss(logits, taught)).backward()
    weights = 4 * sum(value.numel() for value in student.parameters())
    moved = 5 * weights  # the update reads weight, gradient and momentum, and writes two of them
    return {"GFLOP": seen.operations / 1e9, "MB": (seen.bytes + moved) / 1e6, "kernels": seen.kernels,
            "floor": 1_000 * (seen.seconds + moved / BYTES)}  # fmt: skip


def rows(pairs: Iterable[Pair] = PAIRS) -> list[list[str]]:
    """A row for every pair: counted, the floors, and what was measured."""
    steps, scale, found = Steps(), find_scale("full"), []
    minutes = scale.epochs * -(-50_000 // scale.batch_size) / 60_000
    for pair in pairs:
        on_paper, networks = count(pair), (pair.teacher, pair.student)
        graph = steps.graphs.get(networks)
        known = "" if networks in steps.measured else "about "
        found.append([
            pair.name, f"{on_paper['GFLOP']:.0f}", f"{on_paper['MB']:,.0f}", f"{on_paper['kernels']}",
            f"{on_paper['floor']:.2f}", f"{on_paper['floor'] * minutes:.1f}",
            f"{known}{steps.of(*networks):.1f}", f"{graph:.1f}" if graph else "not measured",
        ])  # fmt: skip
    return found


HEAD = (
    "pair",
    "GFLOP",
    "MB",
    "kernels",
    "floor (ms)",
    "240 epochs at the floor (minutes)",
    "step (ms)",
    "as a graph (ms)",
)


def main() -> None:
    print(
        f"A step of KD, 64 images: on paper at {OPERATIONS / 1e12:g} TFLOP/s and {BYTES / 1e12:g} TB/s, and on one {CARD}\n"
    )
    for row in (HEAD, ["---"] * len(HEAD), *rows()):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
