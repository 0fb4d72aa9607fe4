"""Data sets, held in memory as a whole: bundled with the package, downloaded and verified once, or your own."""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from platformdirs import user_cache_path
from torch import Tensor

from kcd_teach._checks import check_at_least, check_between, check_choice
from kcd_teach._files import obstacle, reading, written_whole
from kcd_teach.registry import Registry, also_decorates

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "classes")
MOST_BYTES = 2**30
"""Bytes that an ``.npz`` file may unpack to; the largest data set that is read from one, CIFAR-100, has a fifth of it."""

SIZE = 32
"""Pixels to which the images of a folder are resized, if nothing else is said: those of CIFAR-100."""
TEST_SHARE = 0.2
"""Share of every class that becomes the test set of images that come without one."""
FITS: dict[str, tuple[str, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "crop": ("cropped to the middle and resized", ImageOps.fit),
    "pad": ("resized and padded with black", ImageOps.pad),
    "stretch": ("stretched", lambda image, size: image.resize(size, Image.Resampling.BICUBIC)),
}
"""Ways to bring images of any shape to one size, in words and as a function of the image and (width, height)."""
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What the names of image files end in."""
TRAIN_FOLDERS, TEST_FOLDERS = ("train", "training"), ("test", "testing", "val", "valid", "validation")
"""Folders of the two splits of a folder of images, the first of them that is there."""


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
        origin: where the images come from and what was done to them, in words; no result depends on it.

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
    origin: str = ""

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

    @classmethod
    def from_arrays(
        cls,
        train_images: Any,
        train_labels: Any,
        test_images: Any = None,
        test_labels: Any = None,
        *,
        classes: Iterable[str] | None = None,
        name: str = "own",
        test_share: float = TEST_SHARE,
        seed: int = 0,
        mean: Iterable[float] | None = None,
        std: Iterable[float] | None = None,
        padding: int | None = None,
        origin: str = "",
    ) -> "Dataset":
        """Images and labels that you have as arrays or tensors.

        Args:
            train_images, test_images: uint8, one size for all: [N, H, W], or with 1 or 3 channels last, [N, H, W, C], or
                first, [N, C, H, W]. Without test images, a share of every class is drawn for them.
            train_labels, test_labels: [N], whole numbers or names.
            classes: names in order of label; by default what is found among the training labels, sorted.
            name: of the data set.
            test_share: that share, above 0 and below 1; a class of one image keeps it for training.
            seed: of that draw.
            mean, std: per channel, of pixels scaled to 0 .. 1; computed from the training images if not given.
            padding: border for random crops; by default an eighth of the shorter side, and at most 4.
            origin: where the images come from, in words.

        Raises:
            ValueError, TypeError: anything else, named with what was given.

        >>> grey = np.arange(10 * 8 * 12, dtype=np.uint8).reshape(10, 8, 12)
        >>> Dataset.from_arrays(grey, ["cat"] * 5 + ["dog"] * 5)
        Dataset(own: 8 training and 2 test images, 1 x 8 x 12, 2 classes)
        """
        if (test_images is None) != (test_labels is None):
            raise ValueError("test_images and test_labels must be given together, or neither of them")
        images, labels = {"train": _as_images("train_images", train_images)}, {"train": _plain(train_labels)}
        names = [str(label) for label in (np.unique(labels["train"]) if classes is None else classes)]
        if test_images is not None:
            images["test"], labels["test"] = _as_images("test_images", test_images), _plain(test_labels)
        numbers = {
            split: _numbered(f"{split}_labels", found, names, renamed=classes is None)
            for split, found in labels.items()
        }
        if test_images is None:
            if len(numbers["train"]) != len(images["train"]):
                raise ValueError(f"train_labels must have {len(images['train'])} entries, got {len(numbers['train'])}")
            learned, asked = _drawn(numbers["train"], check_between("test_share", test_share, 0, 1), seed)
            images = {"train": images["train"][learned], "test": images["train"][asked]}
            numbers = {"train": numbers["train"][learned], "test": numbers["train"][asked]}
            drawn = f"{100 * test_share:g} % of every class, drawn with seed {seed}, are the test images"
            origin = f"{origin}; {drawn}" if origin else drawn
        moments = _moments(images["train"])
        mean, std = (tuple(moment if ours is None else ours) for moment, ours in zip(moments, (mean, std), strict=True))
        if padding is None:
            padding = min(4, min(images["train"].shape[2:]) // 8)
        learn, test = ((images[split], numbers[split]) for split in ("train", "test"))
        return cls(name, *learn, *test, tuple(names), mean, std, padding, origin)

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        size: int | tuple[int, int] | None = SIZE,
        *,
        fit: str = "crop",
        channels: int | None = None,
        **settings: Any,
    ) -> "Dataset":
        """Images of a folder that has one folder for each class, or ``train/`` and ``test/`` with one for each in them.

        Args:
            path: the folder. ``val/`` or ``validation/`` may stand for ``test/``; without any, a share of every class is
                drawn. Class folders may have folders of their own; files that are no images are left out.
            size: pixels of both sides, or (height, width), to which images are resized; ``None`` takes them as they are,
                if they are all of one size.
            fit: what becomes of images of another shape: ``"crop"`` takes their middle, ``"pad"`` adds black,
                ``"stretch"`` distorts them.
            channels: 1 for grey and 3 for colour; by default grey if all of them are.
            settings: name, test_share, seed, mean, std and padding, as for :meth:`from_arrays`.

        Raises:
            ValueError: a folder without classes, a file that cannot be read, images of several sizes with ``size=None``.
            OSError: there is no such folder.
        """
        folder = Path(path).expanduser()
        check_choice("fit", fit, FITS)
        files, told = _image_files(folder)
        read = {split: _read_images([file for file, _ in found], size, fit) for split, found in files.items()}
        if channels is None:
            channels = max(image.ndim for images, _ in read.values() for image in images)  # 2 grey, 3 in colour
            channels = 1 if channels == 2 else 3
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        arrays: dict[str, Any] = {}
        for split, (images, _) in read.items():
            arrays[f"{split}_images"] = _stacked(images, channels)
            arrays[f"{split}_labels"] = [label for _, label in files[split]]
        seen = sorted({shape for _, shapes in read.values() for shape in shapes})
        sizes = " to ".join(f"{width} x {height}" for width, height in dict.fromkeys((seen[0], seen[-1])))
        height, width = arrays["train_images"].shape[1:3]
        changed = "as they are" if seen == [(width, height)] else f"{FITS[fit][0]} to {width} x {height}"
        origin = f"{told}; of {sizes} pixels, {changed}"
        return cls.from_arrays(**arrays, **{"name": folder.resolve().name, "origin": origin, **settings})

    @classmethod
    def from_torchvision(
        cls,
        train: Any,
        test: Any = None,
        size: int | tuple[int, int] | None = None,
        *,
        fit: str = "crop",
        **settings: Any,
    ) -> "Dataset":
        """Images of a data set of torchvision, or of any sequence of images and labels.

        Args:
            train, test: pairs of a PIL image, or uint8 pixels, and a label, without a transform that makes floats;
                without ``test`` a share of every class is drawn.
            size, fit: as for :meth:`from_folder`; by default images stay as they are.
            settings: as for :meth:`from_arrays`; ``classes`` are by default those that the data set names.

        Raises:
            ValueError, TypeError: items that are something else.
        """
        parts = {split: part for split, part in (("train", train), ("test", test)) if part is not None}
        arrays: dict[str, Any] = {}
        for split, part in parts.items():
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = _of_torchvision(part, size, fit)
        known = {"name": type(train).__name__, "classes": getattr(train, "classes", None)}
        return cls.from_arrays(**arrays, **{**known, **settings})

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


def _plain(values: Any) -> np.ndarray:
    """Labels as an array."""
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _as_images(name: str, values: Any) -> Tensor:
    """Images as uint8 [N, C, H, W], wherever their channels were."""
    images = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    if images.dtype != torch.uint8:
        raise TypeError(f"{name} must be uint8, 0 .. 255, got {str(images.dtype).removeprefix('torch.')}")
    if images.ndim == 3:
        images = images[:, None]
    last_first = (3, 1) if not isinstance(values, Tensor) else (1, 3)
    axis = next((axis for axis in last_first if images.ndim == 4 and images.shape[axis] in (1, 3)), None)
    if axis is None:
        raise ValueError(f"{name} must be [N, H, W], or have 1 or 3 channels last or first, got {list(images.shape)}")
    return images.movedim(axis, 1).contiguous()


def _numbered(name: str, labels: np.ndarray, classes: Sequence[str], renamed: bool) -> Tensor:
    """Labels as numbers 0 .. C - 1: by the names of their classes, or, if they are numbers already, as they are."""
    if labels.ndim != 1 or not (np.issubdtype(labels.dtype, np.integer) or labels.dtype.kind in "UO"):
        raise TypeError(f"{name} must be whole numbers or names, [N], got {labels.dtype} {list(labels.shape)}")
    if np.issubdtype(labels.dtype, np.integer) and not renamed:
        return torch.from_numpy(labels.astype(np.int64))
    number = {text: number for number, text in enumerate(classes)}
    if unknown := sorted({str(label) for label in labels} - number.keys()):
        raise ValueError(
            f"{name} has {unknown[0]!r}, which is not among the {len(classes)} classes of the training set"
        )
    return torch.tensor([number[str(label)] for label in labels], dtype=torch.int64)


def _drawn(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Ids of the samples to learn from and to be tested on, ascending: a share of every class, which keeps at least one."""
    generator, learned, asked = torch.Generator().manual_seed(seed), [], []
    for c in labels.unique().tolist():
        ids = torch.nonzero(labels == c).flatten()
        count = min(max(1, round(share * len(ids))), len(ids) - 1) if share else 0
        ids = ids[torch.randperm(len(ids), generator=generator)]
        asked.append(ids[:count])
        learned.append(ids[count:])
    return torch.cat(learned).sort().values, torch.cat(asked).sort().values


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of every channel, exact to the four digits that are kept, of pixels scaled to 0 .. 1."""
    values, moments = torch.arange(256, dtype=torch.float64) / 255, []
    for channel in images.unbind(1):
        shares = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = (shares * values).sum()
        deviation = (shares * (values - mean) ** 2).sum().sqrt()
        moments.append((round(mean.item(), 4), max(round(deviation.item(), 4), 0.0001)))
    means, deviations = zip(*moments, strict=True)
    return means, deviations


def _image_files(folder: Path) -> tuple[dict[str, list[tuple[Path, str]]], str]:
    """Split -> files and their classes, in order of name, and what was found, in words."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    inside = {path.name: path for path in folder.iterdir() if path.is_dir()}
    train, test = (
        next((inside[name] for name in names if name in inside), None) for names in (TRAIN_FOLDERS, TEST_FOLDERS)
    )
    if train is None or not any(path.is_dir() for path in train.iterdir()):
        splits = {"train": folder}
    else:
        splits = {"train": train, **({} if test is None else {"test": test})}
    found = {split: _by_class(where) for split, where in splits.items()}
    names = {name for _, name in found["train"]}
    if len(names) < 2:
        raise ValueError(
            f"{splits['train']} must have a folder of images for each of at least two classes, as cats/1.png, and has "
            f"{len(names)}; images end in {', '.join(ENDINGS)}"
        )
    parts = " and ".join(f"{len(files):,} from {splits[split]}" for split, files in found.items())
    return {split: files for split, files in found.items() if files}, f"{parts}, a folder for each class"


def _by_class(folder: Path) -> list[tuple[Path, str]]:
    """The images in the folders of a folder, with the names of these; what is hidden is left out."""
    return [
        (file, of_class.name)
        for of_class in sorted(folder.iterdir())
        if of_class.is_dir() and not of_class.name.startswith((".", "__"))
        for file in sorted(of_class.rglob("*"))
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".")
    ]


def _read_images(
    files: Sequence[Any], size: int | tuple[int, int] | None, fit: str
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Images, grey [H, W] or in colour [H, W, 3], of one size, and the (width, height) that each had before."""
    wanted = (size, size) if isinstance(size, int) else size
    if wanted is not None:
        wanted = (check_at_least("size", wanted[0], 1), check_at_least("size", wanted[1], 1))
    with ThreadPoolExecutor() as hands:
        read = list(hands.map(partial(_read_image, size=wanted, fit=fit), files))
    images, shapes = [image for image, _ in read], [shape for _, shape in read]
    if len({image.shape[:2] for image in images}) > 1:
        low, high = min(shapes), max(shapes)
        raise ValueError(
            f"images are of several sizes, from {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels: say to which one, as "
            "size=32 or size=(32, 48)"
        )
    return images, shapes


def _read_image(file: Any, size: tuple[int, int] | None, fit: str) -> tuple[np.ndarray, tuple[int, int]]:
    """One image of a file, or one that is open already, in (height, width) pixels."""
    try:
        with contextlib.nullcontext(file) if isinstance(file, Image.Image) else Image.open(file) as image:
            shape = image.size
            if size is not None and not isinstance(file, Image.Image):
                image.draft(None, (4 * max(size), 4 * max(size)))  # a large JPEG is decoded at a fraction of its size
            turned = ImageOps.exif_transpose(image)
            if turned.mode[0] in "IF":
                raise ValueError(f"its pixels have more than 8 bits, mode {turned.mode}; convert it first")
            plain = turned.convert("L" if turned.mode in ("1", "L", "LA") else "RGB")
            fitted = plain if size is None else FITS[fit][1](plain, (size[1], size[0]))
            return np.asarray(fitted), shape
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be used as an image: {error}") from error


def _stacked(images: Sequence[np.ndarray], channels: int) -> np.ndarray:
    """Images [N, H, W, C], grey ones with three equal channels where colour is wanted, and the other way round."""

    def with_channels(image: np.ndarray) -> np.ndarray:
        if channels == 1:
            return (image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L")))[..., None]
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

    return np.stack([with_channels(image) for image in images])


def _of_torchvision(part: Any, size: int | tuple[int, int] | None = None, fit: str = "crop") -> tuple[Any, Any]:
    """Images and labels of a data set of torchvision: the arrays that it holds, or item by item."""
    pixels, labels = getattr(part, "data", None), getattr(part, "targets", getattr(part, "labels", None))
    if size is None and labels is not None and isinstance(pixels, np.ndarray | Tensor):
        return np.asarray(pixels), np.asarray(labels, dtype=np.int64)
    check_choice("fit", fit, FITS)
    items = [part[number] for number in range(len(part))]
    for item in items[:1]:
        if not isinstance(item, tuple) or len(item) != 2:
            raise TypeError(f"items must be pairs of an image and a label, got {type(item).__name__}")
    images, _ = _read_images([_as_image(image) for image, _ in items], size, fit)
    channels = 1 if all(image.ndim == 2 for image in images) else 3
    return _stacked(images, channels), np.asarray([label for _, label in items])


def _as_image(image: Any) -> Image.Image:
    """A PIL image as it is, or from uint8 pixels: [C, H, W] as a tensor, [H, W, C] or [H, W] as an array."""
    if isinstance(image, Image.Image):
        return image
    pixels = image.movedim(0, -1).numpy() if isinstance(image, Tensor) and image.ndim == 3 else np.asarray(image)
    if pixels.dtype != np.uint8:
        raise TypeError(
            f"images must be PIL images or uint8, got {pixels.dtype}; give the data set without its transform, since "
            "crops, flips and normalisation are made here"
        )
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)


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
    try:
        from torchvision import datasets
    except ImportError as error:
        raise RuntimeError("torchvision, which downloads it, is missing: pip install torchvision") from error
    source = getattr(datasets, class_name)
    parts = {split: source(str(folder), train=split == "train", download=True) for split in ("train", "test")}
    arrays = {"classes": np.array(parts["train"].classes)}
    for split, part in parts.items():
        images, arrays[f"{split}_labels"] = _of_torchvision(part)
        arrays[f"{split}_images"] = images if images.ndim == 4 else images[..., None]
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
    "cifar10": _Source((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), 4, "cifar-10-python.tar.gz", "CIFAR10"),
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


def folder_of(name: object) -> Path | None:
    """The folder of images that a data set is named by; None for a name of :func:`list_datasets`, and for other words.

    Raises:
        FileNotFoundError: what looks like a path and leads nowhere.
    """
    if not isinstance(name, str | os.PathLike) or str(name) in DATASETS:
        return None
    path = Path(name).expanduser()
    if not path.is_dir() and ("/" in str(name) or os.sep in str(name)):
        raise FileNotFoundError(f"there is no folder {path}; a data set is a name, or a folder with one for each class")
    return path.resolve() if path.is_dir() else None


def load_dataset(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a whole data set into memory.

    ``NAME.npz`` is looked for in ``root``, then in the folder named by the environment variable ``KCD_DATA``, in the
    checkout's or the installed package's data folder, and in a per-user cache. If it is nowhere, the original is
    downloaded and verified by torchvision once, and ``NAME.npz`` is written from it.

    Args:
        name: ``"fashion-mnist-mini"`` (10,000 + 2,000 images, ships with the package, never downloads),
            ``"fashion-mnist"``, ``"cifar10"`` or ``"cifar100"``, one that was registered (:func:`register_dataset`), or
            the path of a folder of images (:meth:`Dataset.from_folder`).
        root: folder to look in first and to download to.

    Raises:
        ValueError: unknown name; a file that is damaged, incomplete, or holds pickled objects.
        RuntimeError: not here and not downloadable; the message says what to put where.
    """
    if (folder := folder_of(name)) is not None:
        return Dataset.from_folder(folder)
    name = str(name) if isinstance(name, os.PathLike) else name
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
