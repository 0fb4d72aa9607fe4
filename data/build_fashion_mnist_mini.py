"""Rebuild data/fashion-mnist-mini.npz from the four original idx files of Fashion-MNIST.

    python data/build_fashion_mnist_mini.py FOLDER_WITH_IDX_FILES [OUT.npz]

The subset is the first 1,000 training and the first 200 test images of each class, in their original order, so
that nobody has to trust a random draw. Debian's package ``dataset-fashion-mnist`` holds the four files in
/usr/share/datasets/fashion-mnist; torchvision downloads the same ones. The images are stored without change.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TRAIN_PER_CLASS, TEST_PER_CLASS = 1_000, 200


def read_idx(path: Path) -> np.ndarray:
    """Read one gzipped idx file of unsigned bytes: two zero bytes, type 8, rank, sizes, then the values."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def first_of_each_class(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the first ``count`` images of every class, in their original order."""
    keep = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))]))
    return images[keep][..., None], labels[keep].astype(np.int64)


def build(folder: Path, out: Path) -> None:
    """Write the subset as one compressed archive; the same input and zlib give the same bytes."""
    arrays = {}
    for split, prefix, count in (("train", "train", TRAIN_PER_CLASS), ("test", "t10k", TEST_PER_CLASS)):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = first_of_each_class(images, labels, count)
    np.savez_compressed(out, **arrays, classes=np.array(CLASSES))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).with_name("fashion-mnist-mini.npz")
    build(Path(sys.argv[1]), target)
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB)")
