"""In which precision is a loss computed? In float32 at least, whatever the networks used."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


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
