"""Where do trained weights come from? ``.npz`` files of plain arrays, which cannot hold code, or published checkpoints."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from kcd_teach._files import read_torch_file
from kcd_teach.datasets import Dataset, find_data_file, read_npz, write_npz

TEACHER = "mini_resnet8x3"
"""The teacher of the course; ``data/mini_resnet8x3.npz`` holds its weights for the bundled images."""

_Model = TypeVar("_Model", bound=nn.Module)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's parameters and statistics to one compressed ``.npz``, whole or not at all."""
    write_npz(path, {name: value.cpu().numpy() for name, value in model.state_dict().items()}, compress=True)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_weights` wrote; raises ValueError if it belongs to another network."""
    arrays = read_npz(path, required=())
    weights = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
    _check_same_entries(path, model.state_dict(), weights)
    model.load_state_dict(weights)


def load_teacher(dataset: Dataset) -> nn.Module:
    """The course's teacher for the bundled images, trained, in eval mode.

    Its weights were made by ``python -m kcd_teach.studies teacher``, which also stored its measured accuracy.
    """
    from kcd_teach.models import create_model

    teacher = create_model(TEACHER, num_classes=len(dataset.classes), in_channels=dataset.in_channels, seed=0)
    load_weights(teacher, find_data_file(f"{TEACHER}.npz"))
    return teacher.eval()


def load_checkpoint(model: _Model, path: str | Path) -> _Model:
    """Give a network the weights of a published checkpoint, a file of ``torch.save`` with ``{"model": state_dict}``.

    Files from before PyTorch 1.6 are read too, as those published with RepDistiller. Nothing in the file is run:
    ``ckpt_epoch_240.pth`` loads, while files named ``*_last.pth`` hold an ``argparse.Namespace`` and are refused.

    Args:
        model: takes the weights; its mode (train or eval) stays.
        path: the file. Entries other than ``model`` are ignored, and ``num_batches_tracked`` may be missing there.

    Returns:
        The same ``model``.

    Raises:
        ValueError: the file is damaged, could run code, has no weights, weights of another network, or weights that
            are not finite. The network is left as it was.
        OSError: the file is missing or cannot be read.
    """
    path = Path(path)
    published, ours = _read_weights(path), model.state_dict()
    kept = {name: value for name, value in ours.items() if name.endswith(".num_batches_tracked")}
    weights = {**kept, **published}
    _check_same_entries(path, ours, weights)
    broken = [name for name, value in published.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ValueError(f"{path} holds NaN or infinity in {len(broken)} entries, first {', '.join(broken[:3])}")
    model.load_state_dict(weights)
    return model


def _read_weights(path: Path) -> dict[str, Tensor]:
    content = read_torch_file(path, "copy or download it again", legacy=True)
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no entry 'model' with weights: it holds a {type(content).__name__}")
    if "model" not in content:
        names = ", ".join(map(str, list(content)[:3]))
        raise ValueError(f"{path} has no entry 'model' with weights: it holds {len(content)} entries, first {names}")
    weights = content["model"]
    if not isinstance(weights, dict):
        raise ValueError(f"{path} has a {type(weights).__name__} as 'model', not a dict of tensors")
    for name, value in weights.items():
        if not isinstance(name, str):
            raise ValueError(f"{path} has a 'model' that is not a dict of tensors: the name {name!r} is not text")
        if not _is_plain_tensor(value):
            raise ValueError(f"{path} has a 'model' that is not a dict of tensors: {name!r} is a {_describe(value)}")
    return weights


def _is_plain_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"


def _describe(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _check_same_entries(path: Path, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless a file has the entries, shapes and kinds of numbers that the network has."""
    changed = {name: (ours[name], theirs[name]) for name in ours if name in theirs}
    changed = {name: pair for name, pair in changed.items() if _differ(*pair)}
    differences = [f"{name} ({_describe(b)} in the file, {_describe(a)} here)" for name, (a, b) in changed.items()]
    differences += [f"{name} (missing in the file)" for name in ours if name not in theirs]
    differences += [f"{name} (unknown here)" for name in theirs if name not in ours]
    if differences:
        hint = _hint(changed.values()) if len(changed) == len(differences) else ""
        first = ", ".join(differences[:3])
        raise ValueError(f"{path} holds another network: {len(differences)} entries differ, first {first}{hint}")


def _differ(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape != theirs.shape or ours.is_floating_point() != theirs.is_floating_point()


def _hint(changed: Iterable[tuple[Tensor, Tensor]]) -> str:
    """Which setting explains all differences, if one or two do?"""
    settings = {}
    for ours, theirs in changed:
        same = [a == b for a, b in zip(ours.shape, theirs.shape, strict=False)]
        if ours.ndim == theirs.ndim and same in ([False], [False, True]):
            settings["num_classes"] = len(theirs)
        elif ours.ndim == theirs.ndim and same == [True, False, True, True]:
            settings["in_channels"] = theirs.shape[1]
        else:
            return ""
    return f"; create the model with {' and '.join(f'{name}={value}' for name, value in settings.items())}"
