"""Trained weights: saved, and loaded from files of this package or of others, never as pickled code."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from kcd_teach._files import read_torch_file, reading, written_whole
from kcd_teach.datasets import Dataset, find_data_file, read_npz, write_npz
from kcd_teach.fingerprints import hash_of

TEACHER = "mini_resnet8x3"
"""The teacher of the course; ``data/mini_resnet8x3.npz`` holds its weights for the bundled images."""

_Model = TypeVar("_Model", bound=nn.Module)


WRAPPERS = ("model", "state_dict", "net", "student", "model_state_dict")
"""Entries under which people keep the weights in a file of ``torch.save``; this package's checkpoints have ``student``."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, torch.compile and Lightning put before every name."""

HASH = "kcd_teach_hash"
"""Entry of a safetensors header with the hash of what the file holds; only files of this package have it."""

AGAIN = "copy or download it again"


def save_weights(model: nn.Module, path: Path, about: Mapping[str, str] | None = None) -> str:
    """Write a network's parameters and statistics to one file, whole or not at all.

    Args:
        model: the network.
        path: the file; one that ends in ``.npz`` becomes compressed arrays of NumPy, any other one safetensors.
        about: what else a reader should know, for the header of a safetensors file.

    Returns:
        :func:`~kcd_teach.fingerprints.hash_of` the network, which the header holds too.
    """
    known = hash_of(model)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if path.suffix == ".npz":
        write_npz(path, {name: value.numpy() for name, value in weights.items()}, compress=True)
    else:
        with written_whole(path) as file:
            file.write(safetensors.torch.save(weights, {**(about or {}), HASH: known}))
    return known


def load_teacher(dataset: Dataset) -> nn.Module:
    """The course's teacher for the bundled images, trained, in eval mode.

    Its weights were made by ``python -m kcd_teach.lessons.measurements teacher``, which also stored its accuracy.
    """
    from kcd_teach.models import create_model

    teacher = create_model(TEACHER, num_classes=len(dataset.classes), in_channels=dataset.in_channels, seed=0)
    return load_checkpoint(teacher, find_data_file(f"{TEACHER}.npz")).eval()


def load_checkpoint(model: _Model, path: str | Path) -> _Model:
    """Give a network the weights of a file: published, from elsewhere, or written by this package.

    What is read: ``.safetensors``; ``.npz`` of :func:`save_weights`; and files of ``torch.save``, also from before
    PyTorch 1.6, as those published with RepDistiller. These hold a plain state dict, or one under ``model``,
    ``state_dict``, ``net``, ``model_state_dict``, or ``student`` as the checkpoints of a run. A ``module.``,
    ``_orig_mod.`` or ``model.`` before every name does not matter. Nothing in the file is run: ``ckpt_epoch_240.pth``
    loads, while files named ``*_last.pth`` hold an ``argparse.Namespace`` and are refused.

    Args:
        model: takes the weights; its mode (train or eval) stays.
        path: the file. Entries beside the weights are ignored, and ``num_batches_tracked`` may be missing.

    Returns:
        The same ``model``.

    Raises:
        ValueError: the file is damaged, could run code, has no weights, weights of another network, more than one
            set of weights that could be meant, or weights that are not finite. The network is left as it was.
        OSError: the file is missing or cannot be read.
    """
    path = Path(path)
    ours, prefix = _without_prefix(model.state_dict())
    found, about = _read(path)
    theirs, _ = _without_prefix(_weights_in(path, found, ours))
    kept = {name: value for name, value in ours.items() if name.endswith("num_batches_tracked")}
    weights = {**kept, **theirs}
    _check_same_entries(path, ours, weights, _origin(about))
    broken = [name for name, value in theirs.items() if value.is_floating_point() and not _is_finite(value)]
    if broken:
        raise ValueError(f"{path} holds NaN or infinity in {len(broken)} entries, first {', '.join(broken[:3])}")
    if HASH in about and hash_of({name: weights[name] for name in ours}) != about[HASH]:
        raise ValueError(f"{path} is damaged: it holds other weights than those it was written with")
    model.load_state_dict({prefix + name: value for name, value in weights.items()})
    return model


def _read(path: Path) -> tuple[Any, dict[str, str]]:
    """Content of a file, on the CPU, and its header; the format is recognised by the content, not by the file's name."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    with reading(path, "a file of weights", AGAIN), path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors" or (start[8:] == b"{" and start[:1] != b"\x80"):
        with reading(path, "a safetensors file", AGAIN), safe_open(path, framework="pt") as opened:
            names = opened.keys()
            return {name: opened.get_tensor(name) for name in names}, opened.metadata() or {}
    if path.suffix == ".npz" or _is_npz(path):
        arrays = read_npz(path, required=())
        try:
            return {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}, {}
        except TypeError as error:  # text, for instance
            raise ValueError(f"{path} holds arrays that are not numbers of a network ({error})") from error
    return read_torch_file(path, AGAIN, legacy=True), {}


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # no zip file, or a damaged one, which whoever reads it names
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _weights_in(path: Path, content: Any, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The one state dict that a file holds for this network, of plain tensors."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no entry 'model' with weights: it holds a {type(content).__name__}")
    entries = {"": content, **{name: value for name, value in content.items() if isinstance(name, str)}}
    candidates = [name for name, value in entries.items() if _could_be(value, ours)]
    if len(candidates) > 1:
        names = ", ".join(name or "the whole file" for name in candidates)
        raise ValueError(
            f"{path} holds {len(candidates)} sets of weights for this network: {names}; save the one you mean alone"
        )
    candidates = candidates or [name for name in WRAPPERS if name in content]
    if not candidates and not (content and all(isinstance(value, Tensor) for value in content.values())):
        first = ", ".join(map(str, list(content)[:3])) or "none"
        raise ValueError(
            f"{path} has no entry 'model' with weights: it holds {len(content)} entries, first {first}; the weights may "
            f"also be the whole file, or stand under {', '.join(WRAPPERS[1:])}"
        )
    key = candidates[0] if candidates else ""
    weights = entries[key]
    if not isinstance(weights, dict):
        raise ValueError(f"{path} has a {type(weights).__name__} as {key!r}, not a dict of tensors")
    whole = f"{path} {f'has a {key!r} that ' if key else ''}is not a dict of tensors"
    for name, value in weights.items():
        if not isinstance(name, str):
            raise ValueError(f"{whole}: the name {name!r} is not text")
        if not _is_plain_tensor(value):
            raise ValueError(f"{whole}: {name!r} is a {_describe(value)}")
    return weights


def _could_be(value: Any, ours: Mapping[str, Tensor]) -> bool:
    """True if most names are the network's: it is then meant for such a network, whether it fits or not."""
    if not isinstance(value, dict):
        return False
    names, _ = _without_prefix({name: value for name, value in value.items() if isinstance(name, str)})
    return len(names.keys() & ours.keys()) > len(names.keys() ^ ours.keys())


def _without_prefix(weights: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The weights without a prefix that a wrapper put before all names, and that prefix."""
    before = ""
    while weights:
        shared = [prefix for prefix in PREFIXES if all(name.startswith(before + prefix) for name in weights)]
        if not shared:
            break
        before += shared[0]
    return {name.removeprefix(before): value for name, value in weights.items()}, before


def _is_finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value.float()).all())  # eight-bit numbers know no isfinite of their own


def _origin(about: Mapping[str, str]) -> str:
    """The network that the header of a file of this package names, for the message about another one."""
    if not {"network", "num_classes", "in_channels"} <= about.keys():
        return ""
    settings = f"num_classes={about['num_classes']}, in_channels={about['in_channels']}"
    return f"; it is a create_model({about['network']!r}, {settings})"


def _is_plain_tensor(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _describe(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _check_same_entries(path: Path, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], origin: str) -> None:
    """Raise ValueError unless a file has the entries, shapes and kinds of numbers that the network has."""
    changed = {name: (ours[name], theirs[name]) for name in ours if name in theirs}
    changed = {name: pair for name, pair in changed.items() if _differ(*pair)}
    differences = [f"{name} ({_describe(b)} in the file, {_describe(a)} here)" for name, (a, b) in changed.items()]
    differences += [f"{name} (missing in the file)" for name in ours if name not in theirs]
    differences += [f"{name} (unknown here)" for name in theirs if name not in ours]
    if differences:
        hint = origin or (_hint(changed.values()) if len(changed) == len(differences) else "")
        first = ", ".join(differences[:3])
        raise ValueError(f"{path} holds another network: {len(differences)} entries differ, first {first}{hint}")


def _differ(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape != theirs.shape or ours.is_floating_point() != theirs.is_floating_point()


def _hint(changed: Iterable[tuple[Tensor, Tensor]]) -> str:
    """Advice on the one or two settings that explain all differences; empty if none do."""
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
