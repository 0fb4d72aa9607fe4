"""Do two results agree, and if not, where do they differ first? Said in words for a learner."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

_MOST_SHOWN = 40
"""Numbers in the largest tensor that is written out in a message."""


def to_tensor(value: object) -> Tensor | None:
    """``value`` as a tensor on the CPU; numbers, lists, numpy arrays and lists of tensors too. None if impossible."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Fraction):
        return torch.tensor(float(value))
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Tensor) for item in value):
        tensors = [item.detach().cpu() for item in value]
        return torch.stack(tensors) if len({item.shape for item in tensors}) == 1 else None
    try:
        return torch.as_tensor(np.array(value))
    except (TypeError, ValueError, RuntimeError):
        return None


def show(value: object) -> str:
    """A tensor, list or number in few characters: four significant digits, no dtype, nothing after 40 numbers."""
    tensor = to_tensor(value)
    if tensor is None:
        # The repr of an object may hold an address, which is different in every run.
        return repr(value) if isinstance(value, (str, type(None))) else _a(value)
    if tensor.numel() > _MOST_SHOWN:
        return f"{tensor.numel()} numbers of shape {list(tensor.shape)}"
    return _nested(tensor.tolist())


def first_difference(expected: object, got: object, parts: Sequence[str] = ()) -> str | None:
    """The first way in which ``got`` differs from ``expected``, in words; None if they agree.

    Kind of number, shape and every element are compared; floating-point numbers up to rounding, NaN equals NaN.

    Args:
        expected: what the reference returns: a tensor, number or list, or a tuple of one of these per part.
        got: what the learner's function returned.
        parts: names of the results if there are several.
    """
    if got is None:
        return "It should return a result, but returned None. Is the `return` missing?"
    if not parts:
        if isinstance(got, tuple) and any(isinstance(part, Tensor) and part.ndim for part in got):
            return f"It should return one result, but returned {len(got)} together. Which of them is it?"
        return _difference("The result", expected, got)
    if not isinstance(got, (tuple, list)) or len(got) != len(parts):
        count = f"{len(got)} results" if isinstance(got, (tuple, list)) else _a(got)
        return f"It should return {len(parts)} results, ({', '.join(parts)}), but returned {count}."
    assert isinstance(expected, tuple)
    differences = (_difference(f"`{name}`", *pair) for name, *pair in zip(parts, expected, got, strict=True))
    return next((text for text in differences if text is not None), None)


def changed(before: object, after: object) -> bool:
    """True if an argument is not what it was; NaN equals NaN."""
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return bool(before != after)
    if before.shape != after.shape or before.dtype != after.dtype:
        return True
    both_nan = (before != before) & (after != after)
    return not bool(((before == after) | both_nan).all())


def _difference(name: str, expected: object, got: object) -> str | None:
    want, have = to_tensor(expected), to_tensor(got)
    assert want is not None
    if have is None:
        return f"{name} should be {_kind(want)}, but is {_a(got)}."
    # An empty list has no kind of number.
    if _kind(want) != _kind(have) and have.numel():
        return f"{name} should be {_kind(want)}, but is {_kind(have)}."
    if want.shape != have.shape:
        return f"{name} should {_size(want)}, but {_size(have, 'has')}."
    if want.is_floating_point():
        wrong = ~torch.isclose(want.double(), have.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    else:
        wrong = want.long() != have.long()
    return _element(name, want, have, wrong) if bool(wrong.any()) else None


def _element(name: str, want: Tensor, have: Tensor, wrong: Tensor) -> str:
    """The first wrong element, and how many there are."""
    index = tuple(torch.nonzero(wrong)[0].tolist())
    here, there = want[index].item(), have[index].item()
    digits = next((d for d in range(4, 12) if _number(here, d) != _number(there, d)), 12)
    verdict = f"should be {_number(here, digits)}, but is {_number(there, digits)}"
    if not index:
        return f"{name} {verdict}."
    where = index[0] if len(index) == 1 else list(index)
    owner = "" if name == "The result" else f" of {name}"
    return f"Element {where}{owner} {verdict} (counted from 0; {int(wrong.sum())} of {wrong.numel()} differ)."


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "true or false"
    if tensor.dtype == torch.uint8:
        return "whole numbers from 0 to 255 (uint8)"
    if tensor.is_floating_point():
        return "floating-point numbers"
    return "complex numbers" if tensor.is_complex() else "whole numbers"


def _size(tensor: Tensor, have: str = "have") -> str:
    if tensor.ndim == 0:
        return f"{'be' if have == 'have' else 'is'} a single number"
    if tensor.ndim == 1:
        return f"{have} {len(tensor)} element{'' if len(tensor) == 1 else 's'}"
    return f"{have} shape {list(tensor.shape)}"


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _nested(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_nested(item) for item in value)}]"
    return _number(value)


def _number(value: object, digits: int = 4) -> str:
    if not isinstance(value, float):
        return str(value)
    # Adding 0.0 turns -0.0 into 0.0.
    return "NaN" if math.isnan(value) else f"{value + 0.0:.{digits}g}"
