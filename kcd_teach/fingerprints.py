"""Hashes and probes of images, networks and code, so that what belongs to different ones is never mixed up.

Nothing here is cached by the identity of an object: one that was changed in place has another fingerprint.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import respond
from kcd_teach.registry import REGISTRIES, Entry

PROBES = 8
"""Number of images on which networks are compared."""
SAME = 0.02
"""Largest difference between two outputs of one network, relative to its largest output: another device, number of threads
or mode of multiplication (TF32) moves them by less."""

RESULTS_COME_FROM = (
    "condensation/*.py",
    "distillers/*.py",
    "models/*.py",
    "checkpoints.py",
    "datasets.py",
    "knowledge.py",
    "recipe.py",
    "registry.py",
    "training.py",
    "validation.py",
    "views.py",
    "benchmark/settings.py",
    "benchmark/runs.py",
)
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
    return _as_text(tree)


def _bare_if_python(text: str) -> str:
    try:
        return _bare(text)
    except SyntaxError:
        return text


def _as_text(part: Any) -> str:
    """A syntax tree as text, without what is empty: the same in every Python, unlike ``ast.unparse`` and ``ast.dump``."""
    if isinstance(part, list):
        return f"[{' '.join(map(_as_text, part))}]"
    if isinstance(part, ast.JoinedStr):  # early 3.12 ends some with an empty text
        part = ast.JoinedStr([value for value in part.values if ast.unparse(value) != "''"])
    if not isinstance(part, ast.AST):
        return repr(part)
    fields = [(name, value) for name, value in ast.iter_fields(part) if value is not None and value != []]
    return f"({type(part).__name__} {' '.join(f'{name}={_as_text(value)}' for name, value in fields)})"


def _is_text(line: ast.stmt) -> bool:
    """True for a docstring, also one below a constant or a field."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def hash_of(weights: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values of all weights and statistics of a network, or of its state."""
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(_bytes(value.detach()))
    return digest.hexdigest()


def make_of(module: nn.Module) -> str:
    """Hash of how a module is built, its weights aside: its layers with their settings, and the code of its classes."""
    return hashlib.sha256(f"{module!r}\n{code_of(*module.modules())}".encode()).hexdigest()[:16]


def code_of(*things: object) -> str:
    """Hash of functions and of the classes of other objects, 16 hexadecimal digits.

    Classes of torch are known by name, and those of this package by :func:`code_fingerprint`.
    """
    kinds = {kind for thing in things for kind in type(thing).__mro__}
    foreign = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "kcd_teach")]
    functions = [thing for thing in things if isinstance(thing, FunctionType) and not _is_ours(thing)]
    sources = sorted(f"{kind.__qualname__}: {_methods_of(kind)}" for kind in foreign)
    sources += [f"{function.__qualname__}: {_source_of(function)}" for function in functions]
    names = sorted(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in things)
    return hashlib.sha256("\n".join([*names, *sources]).encode()).hexdigest()[:16]


def _is_ours(function: FunctionType) -> bool:
    return function.__module__.partition(".")[0] == "kcd_teach"


def own_code() -> dict[str, str]:
    """``"KIND NAME"`` -> hash of the code, of everything that was registered from outside this package.

    It holds the file that registered it, as it was then, the files of its class and its bases, and the settings; in a
    notebook, which has no file, the functions and constants of its class. Data sets are known by their content.
    """
    return {
        f"{kind} {name}": _code_behind(entry)
        for kind, registry in REGISTRIES.items()
        if kind != "dataset"
        for name, entry in registry.added.items()
    }


def _code_behind(entry: Entry[Any]) -> str:
    parts = [_source_of(part) if isinstance(part, FunctionType) else _methods_of(part) for part in entry.parts]
    texts = [_bare_if_python(text) for text in entry.texts]
    settings = sorted(entry.settings.items())
    return hashlib.sha256("\n".join([*texts, *parts, repr(settings)]).encode()).hexdigest()[:16]


def _methods_of(kind: type) -> str:
    """The methods of a class, as source text where it is known (in notebooks, too), else as compiled."""
    functions = {
        name: getattr(member, "__func__", getattr(member, "fget", member)) for name, member in vars(kind).items()
    }
    return "\n".join(_source_of(value) for _, value in sorted(functions.items()) if isinstance(value, FunctionType))


def _source_of(function: FunctionType) -> str:
    try:
        return _bare(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return _compiled(function.__code__)


def _compiled(code: CodeType) -> str:
    constants = [_compiled(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


@torch.no_grad()
def probe(network: nn.Module, dataset: Dataset, features: bool = False) -> list[Tensor]:
    """Outputs of a network in eval mode for a few training images spread over the data set; its mode stays.

    Returns:
        Logits [M, C] and, if wanted, the mean of every feature map, [M, c] each, on the CPU.
    """
    ids = torch.linspace(0, len(dataset.train_images) - 1, PROBES).long().to(dataset.train_images.device)
    training = network.training
    outputs = respond(network.eval(), dataset.normalise(dataset.train_images[ids]), features)
    network.train(training)
    means = [feature.flatten(2).mean(2) if feature.ndim > 2 else feature for feature in outputs.features]
    return [values.float().cpu() for values in (outputs.logits, *means)]


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """True if two outputs of networks are the same up to the rounding of different machines."""
    if ours.shape != theirs.shape:
        return False
    return bool((ours - theirs).abs().max() <= SAME * theirs.abs().max())


def fingerprint_of(dataset: Dataset) -> str:
    """SHA-256 of all that a result can depend on: images, labels, classes, normalisation, border."""
    digest = hashlib.sha256(f"{dataset.mean} {dataset.std} {dataset.padding} {dataset.classes}".encode())
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        values = getattr(dataset, name)
        digest.update(f"{name} {list(values.shape)}".encode())
        digest.update(_bytes(values))
    return digest.hexdigest()


def _bytes(values: Tensor) -> bytes:
    return values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
