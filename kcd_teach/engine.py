"""On which device, in which precision and memory layout is computed?"""

import contextlib
import platform
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from kcd_teach._checks import check_choice

PRECISIONS = ("auto", "bfloat16", "float32")
WORTHWHILE = 1.2
"""How many times faster bfloat16 must be to be chosen by itself."""


class Engine:
    """How networks are run on a device: channels last in memory, and convolutions in bfloat16 where that is faster.

    Losses, entropies and statistics are always computed in float32, and weights are kept in float32.

    Args:
        device: where to compute.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"`` for what :func:`fastest_precision` finds on this device.
    """

    def __init__(self, device: torch.device | str, precision: str = "auto") -> None:
        check_choice("precision", precision, PRECISIONS)
        self.device = torch.device(device)
        self.precision = fastest_precision(str(self.device)) if precision == "auto" else precision

    @property
    def name(self) -> str:
        """What computes, as ``"NVIDIA H100"`` or ``"cpu (x86_64)"``."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device} ({platform.machine()})"

    def prepare(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, its convolutions laid out channels last."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def compile(self, network: nn.Module) -> nn.Module:
        """A network that is compiled at its first call, for inputs of one shape; on CUDA as a graph that is replayed."""
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        return torch.compile(network, dynamic=False, mode=mode)  # type: ignore[return-value]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks are run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __repr__(self) -> str:
        return f"Engine({self.device}, {self.precision})"


@cache
def fastest_precision(device: str) -> str:
    """``"bfloat16"`` if this device trains a small convolution clearly faster in it, else ``"float32"``; probed once.

    Processors without instructions for bfloat16 emulate it, many times slower than float32.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float32"
    full, half = (_probe(torch.device(device), enabled) for enabled in (False, True))
    return "bfloat16" if full > WORTHWHILE * half else "float32"


def _probe(device: torch.device, enabled: bool) -> float:
    """Seconds of a forward and a backward pass through two convolutions, the least of a few."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        convolutions = nn.Sequential(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3))
        convolutions = convolutions.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randn(32, 32, 16, 16, device=device).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            convolutions(images).float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()
    return min(_timed(step) for _ in range(3))


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
