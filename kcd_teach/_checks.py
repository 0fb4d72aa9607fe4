"""Checks of arguments, whose errors name the argument, the value seen and what is allowed."""

import difflib
import math
import numbers
import operator
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_choice(argument: str, value: str, allowed: Iterable[str]) -> str:
    """A name as it is; raises ValueError, with the nearest allowed name, unless it is one of ``allowed``."""
    names = list(allowed)
    if value in names:
        return value
    folded = {name.casefold(): name for name in reversed(names)}
    nearest = difflib.get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.4)
    hint = f"; did you mean {folded[nearest[0]]!r}?" if nearest else "."
    raise ValueError(f"{argument}={value!r} is unknown{hint} Known: {', '.join(names)}")


def check_at_least(argument: str, value: Any, least: int) -> int:
    """A whole number of Python, NumPy or PyTorch as an ``int``; raises if it is smaller than ``least``.

    What is kept of an argument is what this returns: a number of another library could be used, but not saved.
    """
    try:
        if isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) is torch.bool:
            raise TypeError
        number = operator.index(value)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{argument} must be a whole number, got {value!r}") from error
    if number < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")
    return number


def check_at_most(argument: str, value: int, most: int) -> int:
    """A whole number as it is; raises ValueError if it is larger than ``most``."""
    if value > most:
        raise ValueError(f"{argument} must be at most {most:,}, got {value:,}")
    return value


def check_device(device: str) -> None:
    """Raise ValueError unless ``device`` is a device that this machine has."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    number, count = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if device != "cpu" and number >= count:
        known = f"{count} GPUs" if count > 1 else "one GPU" if count else "no GPU"
        raise ValueError(f"device={device!r} is not there: this machine has {known} that torch can use")


def check_between(argument: str, value: Any, low: float, high: float, *, open_low: bool = False) -> float:
    """A finite number of Python, NumPy or PyTorch as a ``float``; raises unless ``low <= value <= high``.

    With ``open_low``, ``low`` itself is refused. What is kept of an argument is what this returns, as for
    :func:`check_at_least`.
    """
    scalar = isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    try:
        if isinstance(value, bool | np.bool_) or not (scalar or isinstance(value, numbers.Real)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{argument} must be a number, got {value!r}") from error
    above = low < number if open_low else low <= number
    if not (above and number <= high and math.isfinite(number)):
        closing = ")" if math.isinf(high) else "]"
        raise ValueError(f"{argument} must be in {'(' if open_low else '['}{low:g}, {high:g}{closing}, got {value}")
    return number


def check_truth(argument: str, value: Any) -> bool:
    """``True`` or ``False`` of Python or NumPy as a ``bool``; raises TypeError for anything else, such as 1 or a text."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument} must be True or False, got {value!r}")
    return bool(value)


class NotFinite(ValueError, FloatingPointError):  # noqa: N818
    """Numbers that are not finite where they must be: a wrong argument, or training that diverged."""


def check_logits(argument: str, logits: Tensor) -> None:
    """Raise unless ``logits`` is a finite floating-point tensor of shape [B, C].

    On an accelerator finiteness is not looked at, as that would wait for it; the loss and the values of an epoch are.
    """
    dense = isinstance(logits, Tensor) and logits.layout is torch.strided
    if not dense or not logits.is_floating_point() or logits.ndim != 2:
        seen = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        seen += "" if dense or not isinstance(logits, Tensor) else f" {logits.layout}"
        raise ValueError(f"{argument} must be a floating-point tensor of shape [B, C], got {seen}")
    if logits.device.type == "cpu" and not bool(torch.isfinite(logits).all()):
        rows = torch.nonzero(~torch.isfinite(logits).all(dim=1)).flatten()
        raise NotFinite(
            f"{argument} must be finite, but {len(rows)} of {len(logits)} rows hold NaN or infinity; in training, this "
            "means that it diverged: lower the rate"
        )


def check_ids(argument: str, ids: Tensor, num_samples: int) -> None:
    """Raise unless ``ids`` is a one-dimensional int64 tensor of distinct ids in 0 .. num_samples - 1."""
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.ndim != 1:
        seen = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"{argument} must be an int64 tensor of shape [B], got {seen}")
    if len(ids) == 0:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= num_samples:
        raise IndexError(f"{argument} must be in 0 .. {num_samples - 1}, got {low if low < 0 else high}")
    if len(ids.unique()) != len(ids):
        raise ValueError(f"{argument} must not repeat within one batch, but {len(ids) - len(ids.unique())} do")


def check_features(student: Tensor, teacher: Tensor, axes: str, least: int = 1) -> None:
    """Raise unless both are floating-point tensors of the same batch with these axes, ``"B C H W"`` or ``"B ..."``.

    ``least`` is the smallest batch for which the loss is defined.
    """
    wanted = len(axes.split())
    for role, feature in (("student", student), ("teacher", teacher)):
        fits = isinstance(feature, Tensor) and (
            feature.ndim == wanted or (axes.endswith("...") and feature.ndim > wanted)
        )
        if not fits or not feature.is_floating_point():
            seen = f"{feature.dtype} {list(feature.shape)}" if isinstance(feature, Tensor) else type(feature).__name__
            raise ValueError(f"the {role}'s feature must be a floating-point tensor [{axes}], got {seen}")
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must see the same batch, got {len(student)} and {len(teacher)} samples")
    if len(student) < least:
        raise ValueError(f"this loss compares samples with each other and needs at least {least}, got {len(student)}")
