import dataclasses
import importlib.util
import os
import socket
import sys
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from kcd_teach.datasets import (
    ARRAYS,
    data_folders,
    find_data_file,
    list_datasets,
    load_dataset,
    read_npz,
    write_npz,
)
from tests.tiny import same, tiny_dataset

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "data" / "fashion-mnist-mini.npz"
ORIGINALS = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to open a socket fails the test."""

    def refuse(*arguments, **settings):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No data folder but an empty one."""
    monkeypatch.setenv("KCD_DATA", str(tmp_path / "given"))
    monkeypatch.setattr("kcd_teach.datasets.data_folders", lambda root=None: [Path(root or tmp_path / "given")])
    return tmp_path / "given"


def arrays(num_train=6, num_test=4, side=5, channels=1, classes=2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (num_train, side, side, channels), dtype=np.uint8),
        "train_labels": np.arange(num_train) % classes,
        "test_images": rng.integers(0, 256, (num_test, side, side, channels), dtype=np.uint8),
        "test_labels": np.arange(num_test) % classes,
        "classes": np.array([f"class {label}" for label in range(classes)]),
    }


def test_bundled_set():
    dataset = load_dataset("fashion-mnist-mini")
    assert dataset.train_images.shape == (10_000, 1, 28, 28)
    assert dataset.test_images.shape == (2_000, 1, 28, 28)
    assert dataset.train_images.dtype == dataset.test_images.dtype == torch.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == torch.int64
    assert dataset.train_labels.bincount().tolist() == [1_000] * 10
    assert dataset.test_labels.bincount().tolist() == [200] * 10
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"
    assert (dataset.in_channels, dataset.padding) == (1, 2)
    assert repr(dataset) == (
        "Dataset(fashion-mnist-mini: 10,000 training and 2,000 test images, 1 x 28 x 28, 10 classes)"
    )
    assert dataset.train_images.is_contiguous()


def test_bundled_pixels_are_normalised_to_mean_0_and_deviation_1():
    dataset = load_dataset("fashion-mnist-mini")
    pixels = dataset.normalise(dataset.train_images)
    assert pixels.dtype == torch.float32
    assert pixels.mean().item() == pytest.approx(0.0, abs=0.02)
    assert pixels.std().item() == pytest.approx(1.0, abs=0.02)


def test_bundled_set_loads_in_any_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("fashion-mnist-mini").train_images) == 10_000


def test_bundled_archive_is_small_compressed_and_plain():
    with zipfile.ZipFile(BUNDLED) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert set(read_npz(BUNDLED)) == set(ARRAYS)


def test_given_folders_come_before_the_bundled_file(monkeypatch, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_npz(first / "fashion-mnist-mini.npz", arrays(num_train=2))
    write_npz(second / "fashion-mnist-mini.npz", arrays(num_train=4))
    monkeypatch.setenv("KCD_DATA", str(second))
    assert len(load_dataset("fashion-mnist-mini").train_images) == 4
    assert len(load_dataset("fashion-mnist-mini", root=first).train_images) == 2
    assert len(load_dataset("fashion-mnist-mini", root=str(first)).train_images) == 2
    assert len(load_dataset("fashion-mnist-mini", root=tmp_path).train_images) == 4  # nothing there
    monkeypatch.delenv("KCD_DATA")
    assert len(load_dataset("fashion-mnist-mini").train_images) == 10_000


def test_home_is_expanded_in_given_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("KCD_DATA", "~/data")
    assert data_folders("~/more")[:2] == [Path("/somewhere/more"), Path("/somewhere/data")]


def test_images_on_disk_are_channels_last(nowhere):
    stored = arrays(channels=3)
    write_npz(nowhere / "cifar100.npz", stored)
    dataset = load_dataset("cifar100")
    assert torch.equal(dataset.train_images, torch.from_numpy(stored["train_images"]).permute(0, 3, 1, 2))
    assert dataset.mean == (0.5071, 0.4867, 0.4408)
    assert dataset.std == (0.2675, 0.2565, 0.2761)
    assert dataset.padding == 4
    red = dataset.normalise(dataset.train_images)[:, 0]
    assert torch.allclose(red, (dataset.train_images[:, 0] / 255 - 0.5071) / 0.2675, atol=1e-6)


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    if not (ORIGINALS / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("the original idx files are not on this machine")
    script = ROOT / "data" / "build_fashion_mnist_mini.py"
    spec = importlib.util.spec_from_file_location("build_fashion_mnist_mini", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path_factory.mktemp("rebuilt") / "fashion-mnist-mini.npz"
    module.build(ORIGINALS, out)
    return out


def test_bundled_arrays_can_be_rebuilt_from_the_originals(rebuilt):
    ours, theirs = read_npz(BUNDLED), read_npz(rebuilt)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ARRAYS)
    assert all(ours[key].dtype == theirs[key].dtype for key in ARRAYS)


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="older zipfiles have other headers")
def test_bundled_file_can_be_rebuilt_byte_for_byte(rebuilt):
    assert rebuilt.read_bytes() == BUNDLED.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashion-mnist-min", "name='fashion-mnist-min' is unknown; did you mean 'fashion-mnist-mini'"),
        ("cifar1000", "name='cifar1000' is unknown; did you mean 'cifar100'"),
        ("FashionMNIST", "did you mean 'fashion-mnist'"),
        (
            "imagenet-22k",
            r"name='imagenet-22k' is unknown.* Known: fashion-mnist-mini, fashion-mnist, cifar10, cifar100",
        ),
        (7, r"name=7 is unknown\. Known: fashion-mnist-mini, fashion-mnist, cifar10, cifar100"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(name)
    assert list_datasets() == ["fashion-mnist-mini", "fashion-mnist", "cifar10", "cifar100"]


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError, match=r"fashion-mnist-mini\.npz") as caught:
        load_dataset("fashion-mnist-mini", root=folder)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    whole = BUNDLED.read_bytes()
    (tmp_path / BUNDLED.name).write_bytes(whole[: int(share * len(whole))])
    assert refusal(tmp_path).endswith("is truncated or not an .npz file; delete it and fetch it again")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x80\x04N.", b"\x93NUMPY"], ids=["page", "pickle", "npy"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / BUNDLED.name).write_bytes(content)
    assert "is truncated or not an .npz file" in refusal(tmp_path)


def test_a_flipped_byte_in_the_bundled_file_is_noticed(tmp_path):
    whole = bytearray(BUNDLED.read_bytes())
    whole[len(whole) // 2] ^= 0x10
    (tmp_path / BUNDLED.name).write_bytes(whole)
    message = refusal(tmp_path)
    assert f"{tmp_path / BUNDLED.name} is damaged (" in message
    assert message.endswith("; delete it and fetch it again")


@pytest.mark.parametrize("compress", [True, False], ids=["compressed", "plain"])
def test_every_damaged_byte_is_refused_in_words_or_harmless(tmp_path, compress):
    path = tmp_path / "small.npz"
    original = {"x": np.arange(20, dtype=np.uint8).reshape(4, 5), "y": np.array(["a", "bc"])}
    write_npz(path, original, compress=compress)
    whole, messages = path.read_bytes(), []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = read_npz(path, required=("x", "y"))
            assert all(np.array_equal(found[key], original[key]) for key in original), f"byte {position}"
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > len(whole) / 2
    assert all(str(path) in message for message in messages)


def test_pickled_objects_are_refused_and_do_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "mark"),)

    np.savez(tmp_path / BUNDLED.name, **{**arrays(), "classes": np.array([Evil(), None], dtype=object)})
    assert refusal(tmp_path).endswith("holds pickled objects, which could run code; refused")
    assert not (tmp_path / "mark").exists()
    np.load(tmp_path / BUNDLED.name, allow_pickle=True)["classes"]
    assert (tmp_path / "mark").exists()  # it would have run


@pytest.mark.parametrize("key", ARRAYS)
def test_a_missing_array_is_named(tmp_path, key):
    stored = arrays()
    del stored[key]
    write_npz(tmp_path / BUNDLED.name, stored)
    assert f"lacks {key}; it holds " in refusal(tmp_path)


def test_an_empty_archive_lacks_everything(tmp_path):
    write_npz(tmp_path / BUNDLED.name, {})
    assert refusal(tmp_path).endswith(f"lacks {', '.join(ARRAYS)}; it holds nothing")


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("train_images", lambda a: a.astype(np.float32), "train_images must be uint8 [N H W C], got float32 [6, 5, 5, 1]"),
        ("test_images", lambda a: a[..., 0], "test_images must be uint8 [N H W C], got uint8 [4, 5, 5]"),
        ("train_labels", lambda a: a.astype(np.int32), "train_labels must be int64 [N], got int32 [6]"),
        ("train_labels", lambda a: a.astype(">i8"), "train_labels must be int64 [N], got >i8 [6]"),
        ("test_labels", lambda a: a.astype(str), "test_labels must be int64 [N], got <U21 [4]"),
        ("test_labels", lambda a: a[:, None], "test_labels must be int64 [N], got int64 [4, 1]"),
        ("train_labels", lambda a: a[:5], "train_labels must be int64 [6], got torch.int64 [5]"),
        ("train_labels", lambda a: a + 1, "train_labels must be in 0 .. 1, got 2"),
        ("test_labels", lambda a: a - 1, "test_labels must be in 0 .. 1, got -1"),
        ("classes", lambda a: a[0], "classes must be str_ [C], got <U7 []"),
        ("classes", lambda a: np.arange(2), "classes must be str_ [C], got int64 [2]"),
        ("test_images", lambda a: a[:, :4], "test_images must be [1, 5, 5] each like train_images, got [1, 4, 5]"),
    ],
    ids=[
        "float images", "3-d images", "int32 labels", "big-endian labels", "text labels", "2-d labels", "few labels",
        "label too large", "negative label", "one class", "numbered classes", "other size",
    ],
)  # fmt: skip
def test_wrong_contents_are_named_with_the_file(tmp_path, key, change, message):
    stored = arrays()
    stored[key] = change(stored[key])
    write_npz(tmp_path / BUNDLED.name, stored)
    assert refusal(tmp_path) == f"{tmp_path / BUNDLED.name} does not hold fashion-mnist-mini: {message}"


def test_images_of_other_channels_are_refused(tmp_path):
    write_npz(tmp_path / "cifar100.npz", arrays(channels=1))
    with pytest.raises(
        ValueError, match="mean and std must have 1 entries, one per channel of the images, got 3 and 3"
    ):
        load_dataset("cifar100", root=tmp_path)


class FakeFashionMNIST:
    """What torchvision gives, small."""

    calls = 0

    def __init__(self, root: str, train: bool, download: bool) -> None:
        assert download
        type(self).calls += 1
        count = 6 if train else 4
        self.data = torch.arange(count * 25, dtype=torch.uint8).reshape(count, 5, 5)
        self.targets = torch.arange(count, dtype=torch.int32) % 2
        self.classes = ["one", "two"]


class FakeCIFAR100:
    calls = 0

    def __init__(self, root: str, train: bool, download: bool) -> None:
        assert download
        type(self).calls += 1
        self.data = np.arange((6 if train else 4) * 75, dtype=np.uint8).reshape(-1, 5, 5, 3)
        self.targets = [label % 2 for label in range(len(self.data))]
        self.classes = ["one", "two"]


@pytest.mark.parametrize(
    ("name", "original", "fake"),
    [("fashion-mnist", "FashionMNIST", FakeFashionMNIST), ("cifar100", "CIFAR100", FakeCIFAR100)],
)
def test_a_download_is_cached_uncompressed_and_found_next_time(monkeypatch, nowhere, name, original, fake):
    monkeypatch.setattr(torchvision.datasets, original, fake)
    monkeypatch.setattr(fake, "calls", 0)
    first, second = load_dataset(name), load_dataset(name)
    assert fake.calls == 2  # training and test images, once
    with zipfile.ZipFile(nowhere / f"{name}.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {Path(info.filename).stem for info in archive.infolist()} == set(ARRAYS)
    assert [path.name for path in nowhere.iterdir()] == [f"{name}.npz"]
    for field in dataclasses.fields(first):
        assert same(getattr(first, field.name), getattr(second, field.name))
    channels = 1 if name == "fashion-mnist" else 3
    assert first.train_images.shape == (6, channels, 5, 5)
    assert first.train_labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert first.classes == ("one", "two")
    pixel = first.train_images[1, :, 0, 1].tolist()
    assert pixel == ([26] if channels == 1 else [78, 79, 80])


@pytest.mark.parametrize(
    ("name", "original", "needed"),
    [
        ("fashion-mnist", "FashionMNIST", "the four idx .gz files in FashionMNIST/raw"),
        ("cifar100", "CIFAR100", "cifar-100-python.tar.gz"),
    ],
)
@pytest.mark.parametrize(
    "reason",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError("File not found or corrupted."),
        TimeoutError("timed out"),
    ],
    ids=["offline", "corrupted", "timeout"],
)
def test_a_failed_download_says_what_to_put_where(monkeypatch, nowhere, name, original, needed, reason):
    def fail(*arguments, **settings):
        raise reason

    monkeypatch.setattr(torchvision.datasets, original, fail)
    with pytest.raises(RuntimeError) as caught:
        load_dataset(name)
    assert str(caught.value) == (
        f"{name} is not on this machine and could not be downloaded ({reason}); "
        f"put {name}.npz, or {needed}, into {nowhere}"
    )
    assert list(nowhere.iterdir()) == []


def test_only_a_download_needs_torchvision(monkeypatch, nowhere):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert len(load_dataset("fashion-mnist-mini", root=ROOT / "data").classes) == 10
    with pytest.raises(RuntimeError, match="torchvision, which downloads it, is missing: pip install torchvision"):
        load_dataset("cifar10")


def test_a_folder_that_cannot_be_made_is_named(nowhere, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        RuntimeError, match=f"could not be downloaded .*; put cifar100.npz, or .* into {tmp_path}/file/x"
    ):
        load_dataset("cifar100", root=tmp_path / "file" / "x")


def test_the_bundled_set_is_never_downloaded(nowhere):
    with pytest.raises(RuntimeError, match=r"fashion-mnist-mini\.npz ships with kcd_teach but is in none of: .*given"):
        load_dataset("fashion-mnist-mini")


def test_a_missing_data_file_is_named_with_the_folders():
    with pytest.raises(FileNotFoundError, match=rf"nothing\.npz is in none of: .*{ROOT / 'data'}"):
        find_data_file("nothing.npz")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.npz"):
        read_npz(Path("nothing.npz"))


def test_first_keeps_the_first_of_every_class_in_their_order():
    dataset = load_dataset("fashion-mnist-mini")
    small, kept, seen = dataset.first(3), [], [0] * 10
    for sample, label in enumerate(dataset.train_labels.tolist()):
        seen[label] += 1
        if seen[label] <= 3:
            kept.append(sample)
    assert torch.equal(small.train_images, dataset.train_images[kept])
    assert torch.equal(small.train_labels, dataset.train_labels[kept])
    assert torch.equal(small.test_images, dataset.test_images)


def test_first_refuses_nothing():
    with pytest.raises(ValueError, match="per_class must be at least 1, got 0"):
        tiny_dataset().first(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": torch.zeros(48, 1, 8, 8)}, r"train_images must be uint8 \[N, C, H, W\], got torch.float32"),
        ({"train_labels": torch.zeros(47).long()}, r"train_labels must be int64 \[48\], got torch.int64 \[47\]"),
        ({"test_labels": torch.full((12,), 3)}, r"test_labels must be in 0 .. 2, got 3"),
        ({"std": (0.3, 0.3)}, "mean and std must have 1 entries, one per channel of the images, got 1 and 2"),
    ],
    ids=["images", "too few labels", "label", "channels"],
)
def test_a_dataset_checks_what_it_is_given(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_dataset(), **change)
