"""How a network is trained: the optimiser's settings, the device, the precision, and the report of an epoch.

The precision is the one that was set, float32 by default, and never what happens to be faster: a result must
not depend on the speed or the load of the machine that computes it.
"""

import functools
import math
import os
import platform
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn

from kcd_teach._checks import check_at_least, check_between, check_choice, check_truth

P = ParamSpec("P")

PRECISIONS = ("float32", "bfloat16")
ISA_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ``ONEDNN_MAX_CPU_ISA``, which forbids newer instructions to the library that convolves."""


class Engine:
    """How networks are run on a device: channels last in memory, and convolutions in bfloat16 if that is set.

    Losses, entropies and statistics are always computed in float32, and weights are kept in float32.

    Args:
        device: where to compute.
        precision: ``"float32"`` or ``"bfloat16"``. A processor without instructions for bfloat16 emulates it, several
            times slower than float32 and with the same results up to rounding; that is warned about.
    """

    def __init__(self, device: torch.device | str, precision: str = "float32") -> None:
        self.precision = check_choice("precision", precision, PRECISIONS)
        self.device = torch.device(device)
        if precision == "bfloat16" and not has_bfloat16(self.device):
            # Always from this line, so that Python shows the warning once, however many engines a run makes.
            warnings.warn(
                f"{self.name} has no instructions for bfloat16 and emulates it, which is slower than float32",
                stacklevel=1,
            )

    @property
    def name(self) -> str:
        """What computes, as ``"NVIDIA H100"``, or ``"cpu (x86_64, AVX512)"`` with the instructions that torch uses."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device} ({platform.machine()}, {instructions()})"

    @property
    def place(self) -> str:
        """The environment on which the last bits of a result depend: the device, and how it computes.

        On a processor that is its instructions and the number of threads; on a GPU, whether convolutions multiply in TF32 (torch's default) and
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

    def autocast(self) -> torch.autocast:
        """The context, or decorator, in which networks and losses are run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __repr__(self) -> str:
        return f"Engine({self.device}, {self.precision})"


def instructions() -> str:
    """The processor's instructions that torch uses, as ``"AVX512"``, and the limit that the environment sets to oneDNN's."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return torch.backends.cpu.get_cpu_capability() + (f", oneDNN up to {limit}" if limit else "")


def has_bfloat16(device: torch.device | str) -> bool:
    """True if a device has instructions for bfloat16, so that nothing has to be emulated.

    Where torch cannot tell, as on processors that it does not describe, the answer is yes.
    """
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ISA_WITHOUT_BFLOAT16:
        return False
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16", True) or known.get("amx_bf16", True))


def widen(value: Any) -> Any:
    """Half precision to float32, in lists too; everything else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, list | tuple):
        return type(value)(widen(part) for part in value)
    return value


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Compute ``loss`` without autocast and with half-precision arguments widened to float32.

    Sums of thousands of squares and exponentials of scaled cosines leave the range of float16, and the differences that
    a loss is about are smaller than the steps of bfloat16.
    """

    @functools.wraps(loss)
    def widened(*arguments: P.args, **settings: P.kwargs) -> Tensor:
        wide: Any = [widen(value) for value in arguments]
        named: Any = {name: widen(value) for name, value in settings.items()}
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return loss(*wide, **named)

    return widened


@dataclass(frozen=True)
class Recipe:
    """How to optimise; the defaults are the benchmark's (SGD, 240 epochs, three drops of the learning rate).

    Attributes:
        epochs: E.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        learning_rate: of the first epochs.
        momentum: of SGD, without Nesterov.
        weight_decay: on all parameters.
        milestones: fractions of the run, 0 .. 1, after which the learning rate is multiplied by ``decay``: after epochs
            150, 180 and 210 of 240. The first epoch always has the full rate, however short the run is.
        decay: that factor.
        drop_last: leave out an incomplete last batch.
        augment: random crop and flip; ``False`` shows every image as it is.
        precision: in which networks are run, ``"float32"`` or ``"bfloat16"`` (:class:`kcd_teach.recipe.Engine`).
    """

    epochs: int = 240
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    decay: float = 0.1
    drop_last: bool = False
    augment: bool = True
    precision: str = "float32"

    def __post_init__(self) -> None:
        try:
            milestones = tuple(self.milestones)
        except TypeError as error:
            raise TypeError(f"milestones must be a sequence, as (0.625, 0.75), got {self.milestones!r}") from error
        plain = {
            "epochs": check_at_least("epochs", self.epochs, 1),
            "batch_size": check_at_least("batch_size", self.batch_size, 1),
            "learning_rate": check_between("learning_rate", self.learning_rate, 0, math.inf, open_low=True),
            "momentum": check_between("momentum", self.momentum, 0, 1),
            "weight_decay": check_between("weight_decay", self.weight_decay, 0, math.inf),
            "milestones": tuple(check_between("milestones", milestone, 0, 1) for milestone in milestones),
            "decay": check_between("decay", self.decay, 0, math.inf, open_low=True),
            **{name: check_truth(name, getattr(self, name)) for name in ("drop_last", "augment")},
            "precision": check_choice("precision", self.precision, PRECISIONS),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        passed = sum(epoch > max(1, fraction * self.epochs) for fraction in self.milestones)
        return self.learning_rate * self.decay**passed

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.SGD:
        """SGD with these settings."""
        return torch.optim.SGD(parameters, self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Give an optimiser the learning rate of an epoch, counted from 1."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(epoch)


@dataclass(frozen=True)
class EpochReport:
    """Report of one epoch.

    Attributes:
        epoch: counted from 1.
        stage: stage of the condenser in this epoch, from 0.
        active: samples shown in this epoch.
        presentations: samples shown since the start, all epochs together.
        learning_rate: of this epoch.
        train_loss: mean over the samples shown.
        test_accuracy: 0 .. 1, after this epoch.
        seconds: training and evaluating since the start.
    """

    epoch: int
    stage: int
    active: int
    presentations: int
    learning_rate: float
    train_loss: float
    test_accuracy: float
    seconds: float
