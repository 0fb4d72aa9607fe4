"""The teacher's outputs: computed for every batch, or looked up in a cache, in memory or in files on disk."""

import copy
import hashlib
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kcd_teach._checks import check_choice
from kcd_teach._files import obstacle, part_of, reading, writing
from kcd_teach.datasets import Dataset, cache_folder
from kcd_teach.distillers.base import Batch, Needs, Outputs, respond
from kcd_teach.fingerprints import PROBES, alike, code_fingerprint, hash_of, make_of
from kcd_teach.recipe import Engine
from kcd_teach.views import num_views, render_views

RESERVE = 1e9
"""Bytes that must stay free on the disk."""
ROWS_AT_ONCE = 1_000
"""Samples of a file that are read at once to find cached logits."""
IMAGES_AT_ONCE = {"cpu": 16, "cuda": 64}
"""Device -> images that a teacher whose logits are cached is shown in every batch.

The last bits of a logit depend on how many images come with it. Where that number never changes, they do not depend on what
the cache already held, nor a run on those before it. Few images waste little where most is cached, and 16 keep a
processor's core nearly as busy as 64 do."""


def shape_of(dataset: Dataset) -> tuple[int, int, int]:
    """Samples, views, classes: a random crop and flip has few outcomes, so all of them can be kept."""
    return len(dataset.train_images), num_views(dataset.padding), len(dataset.classes)


def size_of(dataset: Dataset) -> int:
    """Bytes of the cached logits of all views of a data set; 1.62e9 for CIFAR-100."""
    samples, views, classes = shape_of(dataset)
    return 2 * samples * views * classes


class MemoryCache:
    """A cache of half-precision logits by sample and view, on the device of the data set; it ends with the process."""

    def __init__(self, dataset: Dataset) -> None:
        device = dataset.train_images.device
        self._logits = torch.zeros(shape_of(dataset), dtype=torch.float16, device=device)
        # On the CPU, where ids and views are, so that looking at it never waits for an accelerator.
        self._known = torch.zeros(shape_of(dataset)[:2], dtype=torch.bool)

    def look_up(self, ids: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Logits float16 [B, C] of ids and views int64 [B] on the CPU, and which of them are cached, bool [B] there."""
        return self._logits[self._on_device(ids, views)], self._known[ids, views]

    def write(self, ids: Tensor, views: Tensor, logits: Tensor) -> None:
        """Cache logits float16 [B, C]."""
        self._logits[self._on_device(ids, views)] = logits
        self._known[ids, views] = True

    def _on_device(self, *indices: Tensor) -> tuple[Tensor, ...]:
        """Indices from the CPU on the device, without waiting for its pending work."""
        return tuple(index.to(self._logits.device, non_blocking=True) for index in indices)


class DiskCache:
    """The same cache in two memory-mapped ``.npy`` files, shared by all runs and processes with the same teacher and data.

    The logits of every view have a checksum in the second file. They count as cached only if the two agree, so those
    that were cut short by a kill, or overwritten by another process at the same moment, are computed again.

    Args:
        teacher, dataset: the network and the images.
        precision: in which the teacher is run. The file's name is a hash of all three, and of what else the last bits depend
            on: device, instructions, number of threads and version of torch.
        folder: where the files are; by default a per-user cache.

    Raises:
        OSError: not enough room on the disk.
    """

    def __init__(self, teacher: nn.Module, dataset: Dataset, precision: str, folder: Path | None = None) -> None:
        self.device = dataset.train_images.device
        folder = folder or default_folder()
        _check_writable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        samples, views, classes = shape_of(dataset)
        made_by = (
            f"{fingerprint(teacher, dataset, precision)} {Engine(self.device, precision).place} {torch.__version__}"
        )
        self.path = folder / f"{hashlib.sha256(made_by.encode()).hexdigest()[:32]}.npy"
        if not self.path.exists():
            check_room_of_answers(room_of_answers(dataset), folder)
            print(f"keeping the teacher's answers in {self.path}, up to {size_of(dataset) / 1e9:.2f} GB")
        self._sums = _open_shared(self.path.with_suffix(".sums.npy"), np.int64, (samples, views))
        self._logits = _open_shared(self.path, np.float16, (samples, views, classes))

    def look_up(self, ids: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`MemoryCache.look_up`."""
        index = ids.numpy(), views.numpy()
        rows = np.ascontiguousarray(self._logits[index])
        known = self._sums[index] == checksums(rows)
        return torch.from_numpy(rows).to(self.device, non_blocking=True), torch.from_numpy(known)

    def some_known(self, count: int) -> tuple[Tensor, Tensor]:
        """Ids and views, int64 [M] each with M at most ``count``, of the first logits in the cache."""
        for first in range(0, len(self._sums), ROWS_AT_ONCE):
            ids, views = np.nonzero(self._sums[first : first + ROWS_AT_ONCE])
            if len(ids):
                return torch.from_numpy(ids[:count] + first), torch.from_numpy(views[:count])
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)

    def write(self, ids: Tensor, views: Tensor, logits: Tensor) -> None:
        """See :meth:`MemoryCache.write`."""
        index, rows = (ids.numpy(), views.numpy()), logits.cpu().numpy()
        self._logits[index] = rows
        self._sums[index] = checksums(rows)


def checksums(rows: np.ndarray) -> np.ndarray:
    """A number other than 0 for each row of float16 [B, C], int64 [B]; 0 marks what was never written."""
    bits = rows.view(np.uint16).astype(np.int64)
    weights = np.arange(1, rows.shape[1] + 1, dtype=np.int64) * 2_654_435_761 % (2**31)
    return np.asarray((bits + 1) @ weights + 1)


def fingerprint(teacher: nn.Module, dataset: Dataset, precision: str) -> str:
    """SHA-256 of all that a teacher's logits depend on, as far as it can be seen without running it.

    That is its weights, layers and code, the images with their normalisation and padding, the precision, and the code
    of this package, which defines what the number of a view means.
    """
    digest = hashlib.sha256(
        f"{make_of(teacher)} {hash_of(teacher)} {dataset.mean} {dataset.std} {dataset.padding} {precision} "
        f"{list(dataset.train_images.shape)} {len(dataset.classes)} {code_fingerprint()}".encode()
    )
    digest.update(dataset.train_images.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def default_folder() -> Path:
    """The folder of cached logits, in the cache of this user."""
    return cache_folder() / "answers"


def room_of_answers(dataset: Dataset) -> int:
    """Bytes on disk of one teacher's logits and their checksums."""
    samples, views, _ = shape_of(dataset)
    return size_of(dataset) + 8 * samples * views


def _check_writable(folder: Path) -> None:
    if hindered := obstacle(folder):
        raise OSError(
            f'the teacher\'s answers cannot be kept in {folder}: {hindered}; choose another folder, or store="memory" '
            'or "off"'
        )


def check_room_of_answers(needed: float, folder: Path | None = None) -> None:
    """Raise OSError unless so many bytes fit into the folder of cached logits, and leave a reserve."""
    folder = folder or default_folder()
    _check_writable(folder)
    folder = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise OSError(
            f"the teacher's answers would take {needed / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; "
            'choose another folder, or store="memory" or "off"'
        )


def _take_room(path: Path) -> None:
    """Allocate a file of zeros on the disk at once: a disk that fills later would end the process inside a write."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _open_shared(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """Open an array file for reading and writing; the first process to do so creates it, filled with zeros.

    A damaged one is deleted, with a warning, and begun again: all that it held can be computed.
    """
    if path.exists():
        try:
            with reading(path, f"an array {np.dtype(dtype)} {shape}", "it is begun again"):
                opened = np.lib.format.open_memmap(
                    path, mode="r"
                )  # for writing, it would be made longer if it is cut off
                if opened.dtype != dtype or opened.shape != shape or not opened.flags.c_contiguous:
                    raise ValueError(f"it holds {opened.dtype} {opened.shape}")
        except ValueError as error:
            warnings.warn(f"the teacher's answers are lost: {error}", stacklevel=2)
            path.unlink(missing_ok=True)
    if not path.exists():
        part = part_of(path)
        try:
            with writing(path):
                np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape).flush()
                _take_room(part)
                try:
                    os.link(part, path)  # unlike a rename, this leaves the file of a faster process in place
                except FileExistsError:
                    pass
                except OSError:  # a file system without links
                    part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="r+")


STORES = ("off", "memory", "disk")
MEMORY_LIMIT = 2 * 1024**3
"""Bytes that a cache in memory may take; all views of CIFAR-100 fit."""


class Knowledge:
    """A frozen teacher, whose logits can be cached.

    A random crop and flip has few outcomes (50 for padding 2, 162 for padding 4), and a frozen teacher always gives the
    same logits for the same view. With a store they are computed once, and shared by all runs. All logits are then
    rounded to half precision, those just computed as much as those looked up, and the teacher always runs on batches of
    one size, so that a run learns the same from an empty store as from a full one, bit for bit. Never stored are the
    logits of mixtures, which are other images, and of rotated views, and features.

    Args:
        teacher: network with ``teacher(images) -> logits [B, C]``; put into eval mode and never given a gradient.
        dataset: whose training images will be shown.
        store: ``"off"`` runs the teacher every time; ``"memory"`` caches its logits while this object lives, on the
            data set's device; ``"disk"`` caches them in a file for all runs with the same teacher, images and
            normalisation.
        folder: of the file; a per-user cache by default.
        precision: in which the teacher is run, see :class:`~kcd_teach.recipe.Engine`.

    Raises:
        ValueError: a cache that would take more than 2 GiB of memory.
        OSError: a cache for which the disk has no room.
    """

    def __init__(
        self,
        teacher: nn.Module,
        dataset: Dataset,
        store: str = "off",
        *,
        folder: Path | None = None,
        precision: str = "float32",
    ) -> None:
        self.store = check_choice("store", store, STORES)
        self.engine = Engine(dataset.train_images.device, precision)
        self.teacher = self.engine.prepare(teacher.eval())
        self.num_samples = len(dataset.train_images)
        self._belongs_to = "" if store == "off" else fingerprint(self.teacher, dataset, precision)
        self._store: MemoryCache | DiskCache | None = None
        if store == "memory":
            if (size := size_of(dataset)) > MEMORY_LIMIT:
                raise ValueError(
                    f'store="memory" would take {size / 1e9:.1f} GB for {dataset.name}; use "disk" or "off"'
                )
            self._store = MemoryCache(dataset)
        if store == "disk":
            self._store = DiskCache(self.teacher, dataset, precision, folder)
            self._check_known(self._store, dataset)

    def check_fits(self, dataset: Dataset) -> None:
        """Raise ValueError unless the stored logits are this teacher's for the training images of a data set.

        It may be another data set than the one given first, with other labels or test images, as long as the training
        images and how they are shown are the same.
        """
        if self.num_samples != len(dataset.train_images):
            raise ValueError(
                f"teacher holds answers for {self.num_samples} images, dataset has {len(dataset.train_images)}"
            )
        if (device := dataset.train_images.device) != self.engine.device:
            raise ValueError(
                f"teacher's knowledge is on {self.engine.device}, the run on {device}; make it from a data set there"
            )
        if self.store != "off" and self._belongs_to != fingerprint(self.teacher, dataset, self.engine.precision):
            raise ValueError(
                f"teacher holds stored answers of other weights, or to other images or another normalisation than "
                f"those of {dataset.name} here; make a new Knowledge"
            )

    @property
    def precision(self) -> str:
        """Precision of its logits, in words: that of the teacher, and whether they are rounded to be stored."""
        return self.engine.precision if self.store == "off" else f"{self.engine.precision}, stored as float16"

    def rehearsing(self) -> "Knowledge":
        """The same without a store, on a copy of the teacher, which therefore stays as it is. Not every network can be copied."""
        twin = copy.copy(self)
        twin.teacher, twin.store, twin._store = copy.deepcopy(self.teacher), "off", None
        return twin

    def _check_known(self, cache: DiskCache, dataset: Dataset) -> None:
        """Raise ValueError if the teacher contradicts cached logits: its forward pass differs in what no hash sees."""
        ids, views = cache.some_known(PROBES)
        stored, known = cache.look_up(ids, views)
        if not bool(known.any()):
            return
        shown = render_views(dataset.train_images[ids.to(stored.device)], views.to(stored.device), dataset.padding)
        logits = self._run_in_equal_parts(dataset.normalise(shown))
        if not alike(logits[known].cpu(), stored[known].float().cpu()):
            raise ValueError(
                f"{cache.path} holds answers of another teacher with the same weights and layers; choose another "
                'folder, or store="memory" or "off"'
            )

    def __call__(self, batch: Batch, needs: Needs | None = None) -> Outputs:
        """The teacher's logits for a batch, in float32 at least, and its features if they are needed."""
        needs = needs or Needs()
        if self._store is None or needs.features or needs.rotations:
            return self._run(batch.images, needs)
        logits, known = self._store.look_up(batch.ids, batch.views)
        unknown = ~known | batch.mixed
        if bool(unknown.any()):
            # Rows are found on the CPU: indexing by a mask on an accelerator would wait for it.
            rows = torch.nonzero(unknown).flatten()
            here = rows.to(logits.device, non_blocking=True)
            computed = self._run_in_equal_parts(batch.images[here]).half()
            logits[here] = computed
            pure = torch.nonzero(~batch.mixed[rows]).flatten()
            new = rows[pure]
            self._store.write(batch.ids[new], batch.views[new], computed[pure.to(logits.device, non_blocking=True)])
        return Outputs(logits.float())

    def _run_in_equal_parts(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images, whatever their number: the teacher is shown batches of one size, the last one filled up."""
        size = IMAGES_AT_ONCE.get(images.device.type, 64)
        filled = torch.cat([images, images[-1:].expand(-len(images) % size, -1, -1, -1)])
        return torch.cat([self._run(part, Needs()).logits for part in filled.split(size)])[: len(images)]

    @torch.no_grad()
    def _run(self, images: Tensor, needs: Needs) -> Outputs:
        with self.engine.autocast():
            logits, features = respond(self.teacher.eval(), images, needs.features, needs.teacher_preact)
        return Outputs(logits.to(torch.promote_types(logits.dtype, torch.float32)), features)


@torch.no_grad()
def predict(
    model: nn.Module, dataset: Dataset, images: Tensor, batch_size: int = 500, precision: str = "float32"
) -> Tensor:
    """Logits [N, C] of a network in eval mode for uint8 images [N, c, H, W] as they are, without augmentation."""
    model.eval()
    with Engine(images.device, precision).autocast():
        return torch.cat([model(dataset.normalise(part)) for part in images.split(batch_size)]).float()


def accuracy(model: nn.Module, dataset: Dataset, precision: str = "float32") -> float:
    """Share of the test images that a network gets right, 0 .. 1."""
    right = _right(model, dataset, precision)
    return right.double().mean().item()


def class_accuracy(model: nn.Module, dataset: Dataset, precision: str = "float32") -> list[float | None]:
    """Share of the test images of every class that a network gets right, 0 .. 1; None for a class without any."""
    right = _right(model, dataset, precision)
    by_class = [right[dataset.test_labels == label].double() for label in range(len(dataset.classes))]
    return [of_class.mean().item() if len(of_class) else None for of_class in by_class]


def _right(model: nn.Module, dataset: Dataset, precision: str) -> Tensor:
    """Which test images a network gets right, bool [M]."""
    return predict(model, dataset, dataset.test_images, precision=precision).argmax(dim=1) == dataset.test_labels
