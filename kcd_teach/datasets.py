"""Data sets, held in memory as a whole: bundled with the package, downloaded and verified once, or your own."""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from kcd_teach._checks import check_at_least, check_between
from kcd_teach._files import obstacle, reading, written_whole
from kcd_teach.registry import Registry, also_decorates

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "classes")
MOST_BYTES = 2**30
"""Bytes that an ``.npz`` file may unpack to; the largest data set that is read from one, CIFAR-100, has a fifth of it."""


@dataclass(frozen=True)
class Dataset:
    """A labelled set of images in memory. Sample ids are positions in ``train_images``, 0 .. N-1.

    Images and labels may be given as NumPy arrays, which are copied, and classes, mean and std as any sequence.

    Attributes:
        name: as given to :func:`load_dataset`.
        train_images, test_images: uint8 [N, C, H, W], at least one of each.
        train_labels, test_labels: int64 [N], 0 .. number of classes - 1.
        classes: names, in order of label, at least two.
        mean, std: per channel, of pixels scaled to 0 .. 1, so in 0 .. 1 themselves; std is not 0.
        padding: pixels of black border for random crops, at least 0.

    Raises:
        ValueError, TypeError: anything else, named with what was given.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int

    def __post_init__(self) -> None:
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            object.__setattr__(self, name, _as_tensor(name, getattr(self, name)))
        plain = {
            "classes": tuple(str(name) for name in _as_tuple("classes", self.classes)),
            "mean": tuple(check_between("mean", mean, 0, 1) for mean in _as_tuple("mean", self.mean)),
            "std": tuple(check_between("std", std, 0, 1, open_low=True) for std in _as_tuple("std", self.std)),
            "padding": check_at_least("padding", self.padding, 0),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if len(self.classes) < 2:
            raise ValueError(f"classes must hold at least two names, got {len(self.classes)}")
        for split in ("train", "test"):
            _check_split(split, getattr(self, f"{split}_images"), getattr(self, f"{split}_labels"), len(self.classes))
        if (
            len({self.train_images.device, self.train_labels.device, self.test_images.device, self.test_labels.device})
            > 1
        ):
            raise ValueError("images and labels must all be on one device; Dataset.to(device) moves them together")
        shape, other = list(self.train_images.shape[1:]), list(self.test_images.shape[1:])
        if shape != other:
            raise ValueError(f"test_images must be {shape} each like train_images, got {other}")
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ValueError(
                f"mean and std must have {self.in_channels} entries, one per channel of the images, "
                f"got {len(self.mean)} and {len(self.std)}"
            )

    @property
    def in_channels(self) -> int:
        """Channels per image, 1 (grey) or 3 (colour)."""
        return self.train_images.shape[1]

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise uint8 [B, C, H, W] for a network: float32, mean 0 and deviation 1 per channel."""
        mean, std = _constants(self.mean, self.std, images.device)
        return images.float().div_(255).sub_(mean).div_(std)

    def first(self, per_class: int) -> "Dataset":
        """The same data set with only the first ``per_class`` training images of every class, in their order."""
        per_class = check_at_least("per_class", per_class, 1)
        by_class = [torch.nonzero(self.train_labels == c).flatten()[:per_class] for c in range(len(self.classes))]
        keep = torch.cat(by_class).sort().values
        return replace(self, train_images=self.train_images[keep], train_labels=self.train_labels[keep])

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set with its tensors on ``device``."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def __repr__(self) -> str:
        channels, height, width = self.train_images.shape[1:]
        return (
            f"Dataset({self.name}: {len(self.train_images):,} training and {len(self.test_images):,} test images, "
            f"{channels} x {height} x {width}, {len(self.classes)} classes)"
        )


@cache
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Both as [C, 1, 1] on a device; sent there once, since sending waits for the device."""
    return torch.tensor(mean, device=device)[:, None, None], torch.tensor(std, device=device)[:, None, None]


def _as_tensor(name: str, values: Any) -> Tensor:
    """Images or labels as a tensor; arrays are copied, so that they can be written to without changing the data set."""
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} must be a tensor or a NumPy array, got {type(values).__name__}")
    try:
        return torch.tensor(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold whole numbers that torch knows, got an array of {values.dtype}") from error


def _as_tuple(name: str, values: Any) -> tuple[Any, ...]:
    """A sequence of any kind, and not a single text or number, as a tuple."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence with an entry for each, got {values!r}")
    return tuple(values)


def _check_split(split: str, images: Tensor, labels: Tensor, num_classes: int) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"{split}_images must be uint8 [N, C, H, W], got {images.dtype} {list(images.shape)}")
    if 0 in images.shape:
        raise ValueError(f"{split}_images must hold at least one image of at least one pixel, got {list(images.shape)}")
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        raise ValueError(f"{split}_labels must be int64 [{len(images)}], got {labels.dtype} {list(labels.shape)}")
    if not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise ValueError(f"{split}_labels must be in 0 .. {num_classes - 1}, got {int(wrong)}")


def _from_torchvision(class_name: str, folder: Path) -> dict[str, np.ndarray]:
    """Let torchvision download and verify a data set once; its arrays as the contract of this module has them."""
    from torchvision import datasets

    source = getattr(datasets, class_name)
    parts = {split: source(str(folder), train=split == "train", download=True) for split in ("train", "test")}
    arrays = {"classes": np.array(parts["train"].classes)}
    for split, part in parts.items():
        images = np.asarray(part.data)
        arrays[f"{split}_images"] = images if images.ndim == 4 else images[..., None]
        arrays[f"{split}_labels"] = np.asarray(part.targets, dtype=np.int64)
    return arrays


@dataclass(frozen=True)
class _Source:
    """Constants of a data set, and for one that is downloaded, its original files and its name in torchvision."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    original: str = ""
    torchvision: str = ""


SOURCES = {
    "fashion-mnist-mini": _Source((0.2860,), (0.3530,), padding=2),
    "fashion-mnist": _Source((0.2860,), (0.3530,), 2, "the four idx .gz files in FashionMNIST/raw", "FashionMNIST"),
    "cifar100": _Source((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), 4, "cifar-100-python.tar.gz", "CIFAR100"),
}


def list_datasets() -> list[str]:
    """Names that :func:`load_dataset` knows."""
    return list(DATASETS)


@also_decorates
def register_dataset(name: str, loader: Callable[..., Dataset] | Dataset) -> None:
    """Give images of your own a name, for :func:`load_dataset` and ``--dataset``; call it, or write it above a function.

    Args:
        name: letters, digits and ``_ . + -``.
        loader: a :class:`Dataset`, or a function of ``root``, a folder or None, that returns one.

    Returns:
        The data set or the loader.

    Raises:
        TypeError: neither a data set nor a function.
        ValueError: a name that is in use or cannot be used.
    """
    if not isinstance(loader, Dataset) and not callable(loader):
        raise TypeError(f"loader must be a Dataset or a function that returns one, got {type(loader).__name__}")
    DATASETS.add(name, loader)


def load_dataset(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a whole data set into memory.

    ``NAME.npz`` is looked for in ``root``, then in the folder named by the environment variable ``KCD_DATA``, in the
    checkout's or the installed package's data folder, and in a per-user cache. If it is nowhere, the original is
    downloaded and verified by torchvision once, and ``NAME.npz`` is written from it.

    Args:
        name: ``"fashion-mnist-mini"`` (10,000 + 2,000 images, ships with the package, never downloads),
            ``"fashion-mnist"`` or ``"cifar100"``, or one that was registered (:func:`register_dataset`).
        root: folder to look in first and to download to.

    Raises:
        ValueError: unknown name; a file that is damaged, incomplete, or holds pickled objects.
        RuntimeError: not here and not downloadable; the message says what to put where.
    """
    loader = DATASETS[name].thing
    dataset = loader if isinstance(loader, Dataset) else loader(root)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"the loader of {name!r} must return a Dataset, got {type(dataset).__name__}")
    return dataset if dataset.name == name else replace(dataset, name=name)


def _load(name: str, root: str | os.PathLike[str] | None) -> Dataset:
    """One of :data:`SOURCES`, from its file, or downloaded."""
    path = dataset_file(name, root)
    if path is None:
        return _to_dataset(name, _download(name, root))
    arrays = read_npz(path)
    try:
        return _to_dataset(name, arrays)
    except ValueError as error:
        raise ValueError(f"{path} does not hold {name}: {error}") from error


DATASETS: Registry[Callable[..., Dataset] | Dataset] = Registry(
    "dataset", {name: partial(_load, name) for name in SOURCES}
)


def dataset_file(name: str, root: str | os.PathLike[str] | None = None) -> Path | None:
    """The file from which :func:`load_dataset` reads a data set; None where it is in none of the folders."""
    paths = (folder / f"{name}.npz" for folder in data_folders(root))
    return next((path for path in paths if _is_file(path)), None)


def data_folders(root: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders that are searched for data files, in order; the first two are skipped if not given.

    Raises:
        ValueError: a given one is a file, or begins with ``~`` where this user has no home.
        OSError: a given one may not be read.
    """
    package = Path(__file__).resolve().parent
    return [*_given_folders(root), package.parent / "data", package / "data", *_cache_folders()]


def _given_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    found = []
    for argument, value in (("root", root), ("KCD_DATA", os.environ.get("KCD_DATA"))):
        if not value:
            continue
        path = os.path.expanduser(value)  # noqa: PTH111  leaves ~ as it is where there is no home
        if path.startswith("~"):
            raise ValueError(f"{argument}={str(value)!r} begins with ~, and this user has no home; give the whole path")
        if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112  these never raise
            raise ValueError(f"{argument}={str(value)!r} must be a folder, and is a file")
        if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):  # noqa: PTH112
            raise PermissionError(f"{argument}={str(value)!r} must be a folder that this user can read")
        found.append(Path(path))
    return found


def cache_folder() -> Path:
    """The folder of this user's downloads and cached logits: in the home's cache, or among the temporary files.

    The latter is taken where there is no home that can be written to.

    Raises:
        OSError: there is neither a home nor a folder for temporary files.
    """
    folders = _cache_folders()
    if not folders:
        raise OSError("this user has neither a home nor temporary files; name a folder in the variable KCD_DATA")
    return next((folder for folder in folders if not obstacle(folder)), folders[0])


def _cache_folders() -> list[Path]:
    """The cache of this user's home, and a folder among the temporary files, as far as they can be named."""
    found = []
    with contextlib.suppress(RuntimeError, KeyError):  # no HOME, and no entry for this user in the list of users
        found.append(user_cache_path("kcd_teach"))
    with contextlib.suppress(OSError):
        user = getattr(os, "getuid", int)()
        temporary = Path(tempfile.gettempdir()) / f"kcd_teach-{user}"
        if not os.path.lexists(temporary) or temporary.lstat().st_uid == user:  # not of someone who could fill it
            found.append(temporary)
    return [path for path in found if path.is_absolute()]


def _is_file(path: Path) -> bool:
    """False also where it may not be looked at."""
    return os.path.isfile(path)  # noqa: PTH113


def find_data_file(name: str) -> Path:
    """Path of a file that ships in the data folder, such as stored results or weights."""
    found = [folder / name for folder in data_folders() if _is_file(folder / name)]
    if not found:
        raise FileNotFoundError(f"{name} is in none of: {', '.join(map(str, data_folders()))}")
    return found[0]


def read_npz(path: Path, required: tuple[str, ...] = ARRAYS) -> dict[str, np.ndarray]:
    """Read arrays from an ``.npz`` file without ever unpickling; raises ValueError that says what is wrong with it."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    advice = "delete it and fetch it again"
    with reading(path, "", advice):
        if not zipfile.is_zipfile(path) and os.access(path, os.R_OK):
            raise ValueError(f"{path} is truncated or not an .npz file; {advice}")
    with reading(path, "", advice), zipfile.ZipFile(path) as whole:
        if (size := sum(entry.file_size for entry in whole.infolist())) > MOST_BYTES:
            raise ValueError(f"{path} would take {size / 1e9:.1f} GB of memory, more than any file here; refused")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {}
            for key in archive.files:
                try:
                    arrays[key] = archive[key]
                except ValueError as error:
                    if "Object arrays" in str(error):
                        raise ValueError(f"{path} holds pickled objects, which could run code; refused") from error
                    raise
    missing = [key for key in required if key not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}")
    return arrays


def write_npz(path: Path, arrays: dict[str, Any], compress: bool = False) -> None:
    """Write arrays as one ``.npz`` file, whole or not at all."""
    with written_whole(path) as file:
        (np.savez_compressed if compress else np.savez)(file, **arrays)


def _download(name: str, root: str | os.PathLike[str] | None) -> dict[str, np.ndarray]:
    source = SOURCES[name]
    folder = next(iter(_given_folders(root)), None) or cache_folder()
    if not source.torchvision:
        raise RuntimeError(
            f"{name}.npz ships with kcd_teach but is in none of: {', '.join(map(str, data_folders(root)))}"
        )
    try:
        if hindered := obstacle(folder):
            raise OSError(hindered)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = _from_torchvision(source.torchvision, folder)
        write_npz(folder / f"{name}.npz", arrays)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{name} is not on this machine and could not be downloaded ({' '.join(str(error).split())}); "
            f"put {name}.npz, or {source.original}, into {folder}"
        ) from error
    return arrays


def _to_dataset(name: str, arrays: dict[str, np.ndarray]) -> Dataset:
    source = SOURCES[name]

    def checked(key: str, kind: type, axes: str) -> np.ndarray:
        array = arrays[key]
        if not (np.issubdtype(array.dtype, kind) and array.dtype.isnative and array.ndim == len(axes.split())):
            raise ValueError(f"{key} must be {kind.__name__} [{axes}], got {array.dtype} {list(array.shape)}")
        return array

    def images(key: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(checked(key, np.uint8, "N H W C").transpose(0, 3, 1, 2)))

    return Dataset(
        name=name,
        train_images=images("train_images"),
        train_labels=torch.from_numpy(checked("train_labels", np.int64, "N")),
        test_images=images("test_images"),
        test_labels=torch.from_numpy(checked("test_labels", np.int64, "N")),
        classes=tuple(str(label) for label in checked("classes", np.str_, "C")),
        mean=source.mean,
        std=source.std,
        padding=source.padding,
    )
