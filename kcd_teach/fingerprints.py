"""Are these the same images, weights, code? Hashes, so that results of different ones are never mixed up."""

import ast
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from kcd_teach.datasets import Dataset

_KNOWN: WeakKeyDictionary[Dataset, str] = WeakKeyDictionary()
"""Of data sets in memory: a data set is never changed in place, so it is hashed once."""


RESULTS_COME_FROM = (
    "condensation/*.py", "distillers/*.py", "models/*.py", "_run_checks.py", "answers.py", "augment.py", "batches.py", "datasets.py",
    "engine.py", "knowledge.py", "negatives.py", "preparation.py", "protocol.py", "recipe.py", "saved_run.py",
    "training.py", "benchmark/pairs.py", "benchmark/rows.py", "benchmark/scales.py", "benchmark/units.py",
    "benchmark/finishing.py",
)  # fmt: skip
"""The files of this package that can change what a run ends with."""


@cache
def code_fingerprint() -> str:
    """Hash of all code that results come from, 16 hexadecimal digits; comments, docstrings and layout do not count."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(path for pattern in RESULTS_COME_FROM for path in package.glob(pattern)):
        digest.update(f"{path.relative_to(package).as_posix()}\n{_bare(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:16]


def _bare(source: str) -> str:
    """Source text without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    """Is this a docstring, or one below a constant or a field?"""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def hash_of(network: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values of all weights and statistics, of a network or its state dict."""
    digest = hashlib.sha256()
    for name, value in (network.state_dict() if isinstance(network, nn.Module) else network).items():
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
