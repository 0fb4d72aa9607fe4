"""Are these the same images, the same weights? Hashes, so that results of different ones are never mixed up."""

import hashlib
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from kcd_teach.datasets import Dataset

_KNOWN: WeakKeyDictionary[Dataset, str] = WeakKeyDictionary()
"""Of data sets in memory: a data set is never changed in place, so it is hashed once."""


def hash_of(network: nn.Module) -> str:
    """SHA-256 of names, types, shapes and values of all weights and statistics."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(_bytes(value.detach()))
    return digest.hexdigest()


def fingerprint_of(dataset: Dataset) -> str:
    """SHA-256 of all that a result can depend on: images, labels, classes, normalisation, border."""
    if dataset not in _KNOWN:
        digest = hashlib.sha256(f"{dataset.mean} {dataset.std} {dataset.padding} {dataset.classes}".encode())
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            values = getattr(dataset, name)
            digest.update(f"{name} {list(values.shape)}".encode())
            digest.update(_bytes(values))
        _KNOWN[dataset] = digest.hexdigest()
    return _KNOWN[dataset]


def _bytes(values: Tensor) -> bytes:
    return values.cpu().contiguous().numpy().tobytes()
