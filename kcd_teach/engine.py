"""How networks are run: the device, the precision and the memory layout.

The precision is what was asked for, float32 unless told otherwise, and never what happens to be faster: a result must
not depend on the speed or the load of the machine that computes it.
"""

import contextlib
import os
import platform
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from kcd_teach._checks import check_choice

P = ParamSpec("P")
R = TypeVar("R")

PRECISIONS = ("float32", "bfloat16")
ISA_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ``ONEDNN_MAX_CPU_ISA``, which forbids newer instructions to the library that convolves."""


class Engine:
    """How networks are run on a device: channels last in memory, and convolutions in bfloat16 if that is asked for.

    Losses, entropies and statistics are always computed in float32, and weights are kept in float32.

    Args:
        device: where to compute.
        precision: ``"float32"`` or ``"bfloat16"``. A processor without instructions for bfloat16 emulates it, several
            times slower than float32 and with the same results up to rounding; that is warned about.
    """

    def __init__(self, device: torch.device | str, precision: str = "float32") -> None:
        check_choice("precision", precision, PRECISIONS)
        self.device = torch.device(device)
        self.precision = precision
        if precision == "bfloat16" and not has_bfloat16(self.device):
            # From one place, so that one run says it once, whatever its parts are that make an engine.
            warnings.warn(
                f"{self.name} has no instructions for bfloat16 and emulates it, which is slower than float32",
                stacklevel=1,
            )

    @property
    def name(self) -> str:
        """What computes, as ``"NVIDIA H100"`` or ``"cpu (x86_64)"``."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device} ({platform.machine()})"

    @property
    def place(self) -> str:
        """Where results are computed, to the last bit: what computes, and how.

        On a processor that is the number of threads; on a GPU, whether convolutions multiply in TF32 (torch's default) and
        whether cuDNN chooses their algorithm by a stopwatch or freely, so that a run need not repeat itself.
        """
        if self.device.type != "cuda":
            count = torch.get_num_threads()
            return f"{self.name}, {count} thread{'s' if count > 1 else ''}"
        cudnn = torch.backends.cudnn
        how = [f"convolutions in {'TF32' if cudnn.allow_tf32 else 'float32'}"]
        how += ["algorithms timed"] if cudnn.benchmark else []
        how += [] if cudnn.deterministic else ["in any order"]
        return ", ".join([self.name, *how])

    def prepare(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, its convolutions laid out channels last."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks are run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def autocasting(self, call: Callable[P, R]) -> Callable[P, R]:
        """The same function, or module, within :meth:`autocast`."""

        def within(*arguments: P.args, **settings: P.kwargs) -> R:
            with self.autocast():
                return call(*arguments, **settings)

        return within

    def __repr__(self) -> str:
        return f"Engine({self.device}, {self.precision})"


def has_bfloat16(device: torch.device | str) -> bool:
    """Does this device have instructions for bfloat16, so that nothing has to be emulated?

    Where torch cannot tell, as on processors that it does not describe, the answer is yes.
    """
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ISA_WITHOUT_BFLOAT16:
        return False
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16", True) or known.get("amx_bf16", True))
