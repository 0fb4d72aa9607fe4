"""Images of one's own: a folder, arrays, a data set of torchvision; what is found is said, and what is wrong is named."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from typer.testing import CliRunner

from kcd_teach import Recipe, create_model, distill, load_dataset
from kcd_teach.benchmark import Prepared, Scale, Store, make_plan, make_table, run_plan
from kcd_teach.benchmark.settings import find_scale
from kcd_teach.cli import app
from kcd_teach.datasets import Dataset, write_npz
from kcd_teach.fingerprints import fingerprint_of

COUNTS = {"cat": 14, "dog": 8, "emu": 5}


def picture(number: int, width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = {"RGB": 3, "RGBA": 4}.get(mode)
    shape = (height, width) if channels is None else (height, width, channels)
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8), mode)


def fill(folder, counts=COUNTS, mode="RGB", width=20, height=14, ending="png"):
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = picture(100 * place + number, width + number, height, mode)
            image.save(folder / name / f"{number:02}.{ending}")
    return folder


def test_a_folder_of_any_sizes(tmp_path):
    folder = fill(tmp_path / "pets")
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    (folder / "dog" / "more").mkdir()
    picture(9, 400, 300).save(folder / "dog" / "more" / "LARGE.JPG")
    dataset = Dataset.from_folder(folder, size=12)
    assert repr(dataset) == "Dataset(pets: 22 training and 6 test images, 3 x 12 x 12, 3 classes)"
    assert dataset.classes == ("cat", "dog", "emu")
    assert dataset.test_labels.bincount().tolist() == [3, 2, 1]  # a fifth of each
    assert dataset.padding == 1
    for text in (
        "28 from",
        "20 x 14 to 400 x 300 pixels",
        "cropped to the middle and resized to 12 x 12",
        "20 % of every",
    ):
        assert text in dataset.origin
    pixels = dataset.normalise(dataset.train_images)
    assert pixels.mean((0, 2, 3)).abs().max() < 2e-3
    assert (pixels.std((0, 2, 3)) - 1).abs().max() < 2e-3
    again = Dataset.from_folder(folder, size=12)
    assert fingerprint_of(again) == fingerprint_of(dataset)
    assert fingerprint_of(Dataset.from_folder(folder, size=12, seed=1)) != fingerprint_of(dataset)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_shapes_are_brought_to_one(tmp_path, fit):
    folder = fill(tmp_path, {"a": 2, "b": 2})
    for name in ("a", "b"):
        wide = np.zeros((10, 40), dtype=np.uint8)
        wide[:, :10] = 255
        Image.fromarray(wide).save(folder / name / "wide.png")
    dataset = Dataset.from_folder(folder, size=(10, 20), fit=fit, channels=1, test_share=0.34)
    everything = torch.cat([dataset.train_images, dataset.test_images])
    assert everything.shape[1:] == (1, 10, 20)
    bright = {"crop": 0.0, "pad": 0.125, "stretch": 0.25}[fit]  # of the wide one a quarter is white
    assert min((image.double().mean() / 255 - bright).abs() for image in everything) < 0.02


def test_split_folders_keep_their_split(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", {"cat": 2, "emu": 1})
    dataset = Dataset.from_folder(tmp_path, 8)
    assert (len(dataset.train_images), len(dataset.test_images)) == (27, 3)
    assert dataset.test_labels.tolist() == [0, 0, 2]
    assert "27 from" in dataset.origin
    assert "drawn" not in dataset.origin
    fill(tmp_path / "test", {"yak": 1})
    with pytest.raises(ValueError, match="test_labels has 'yak', which is not among the 3 classes"):
        Dataset.from_folder(tmp_path, 8)


def test_grey_where_all_are_and_colour_where_some_are(tmp_path):
    folder = fill(tmp_path, {"a": 4, "b": 4}, mode="L", width=9, height=9)
    assert Dataset.from_folder(folder, 9).in_channels == 1
    assert Dataset.from_folder(folder, 9, channels=3).in_channels == 3
    picture(1, 9, 9).save(folder / "a" / "colour.png")
    assert Dataset.from_folder(folder, 9).in_channels == 3
    assert Dataset.from_folder(folder, 9, channels=1).in_channels == 1


def test_without_a_size_images_stay_as_they_are(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            picture(number, 9, 7).save(tmp_path / name / f"{number}.png")
    dataset = Dataset.from_folder(tmp_path, size=None)
    assert dataset.train_images.shape == (4, 3, 7, 9)
    assert "as they are" in dataset.origin
    assert any(torch.equal(image, torch.from_numpy(np.array(picture(0, 9, 7))).movedim(2, 0)) for image in
               torch.cat([dataset.train_images, dataset.test_images]))  # fmt: skip
    picture(7, 30, 7).save(tmp_path / "a" / "3.png")
    with pytest.raises(ValueError, match=r"from 9 x 7 to 30 x 7 pixels: say to which one"):
        Dataset.from_folder(tmp_path, size=None)


def test_what_is_wrong_with_a_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Dataset.from_folder(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"at least two classes, as .*, and has 0"):
        Dataset.from_folder(tmp_path)
    fill(tmp_path / "b", {"x": 1, "y": 1})
    (tmp_path / "b" / "x" / "broken.png").write_text("no image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be used as an image"):
        Dataset.from_folder(tmp_path / "b")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "b" / "x" / "broken.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        Dataset.from_folder(tmp_path / "b")
    with pytest.raises(ValueError, match="fit='squash' is unknown"):
        Dataset.from_folder(tmp_path, fit="squash")


def test_arrays_in_any_layout_give_the_same_set():
    rng = np.random.default_rng(0)
    last = rng.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
    labels = np.arange(12) % 3
    made = [
        Dataset.from_arrays(last, labels),
        Dataset.from_arrays(last.transpose(0, 3, 1, 2), labels.tolist()),
        Dataset.from_arrays(torch.from_numpy(last).movedim(3, 1), torch.from_numpy(labels)),
        Dataset.from_arrays(last, [f"{label}" for label in labels]),
    ]
    assert len({fingerprint_of(dataset) for dataset in made}) == 1
    assert made[0].train_images.shape == (9, 3, 6, 5)
    grey = Dataset.from_arrays(last[..., 0], labels, last[..., 1], labels, classes=("a", "b", "c"), padding=2)
    assert (grey.in_channels, len(grey.test_images), grey.classes, grey.padding) == (1, 12, ("a", "b", "c"), 2)
    assert grey.mean == (round(float(last[..., 0].mean() / 255), 4),)
    assert grey.std == (round(float(last[..., 0].std() / 255), 4),)
    assert Dataset.from_arrays(last, labels, mean=(0.5,) * 3, std=(0.2,) * 3).mean == (0.5,) * 3


@pytest.mark.parametrize(
    ("images", "labels", "settings", "message"),
    [
        (np.zeros((4, 5, 5)), [0, 1, 0, 1], {}, "train_images must be uint8, 0 .. 255, got float64"),
        (np.zeros((4, 5, 5, 2), np.uint8), [0, 1, 0, 1], {}, "1 or 3 channels last or first"),
        (np.zeros((4, 5, 5), np.uint8), [0.0, 1, 0, 1], {}, "train_labels must be whole numbers or names"),
        (np.zeros((4, 5, 5), np.uint8), [0, 1, 0], {}, "train_labels must have 4 entries, got 3"),
        (np.zeros((4, 5, 5), np.uint8), [0, 1, 0, 1], {"test_images": 3}, "must be given together"),
        (np.zeros((4, 5, 5), np.uint8), [0, 1, 0, 5], {"classes": "ab"}, "must be in 0 .. 1, got 5"),
        (np.zeros((4, 5, 5), np.uint8), [0, 1, 0, 1], {"test_share": 2}, r"test_share must be in \[0, 1\]"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(images, labels, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Dataset.from_arrays(images, labels, **settings)


class Pictures(TorchDataset):
    """As torchvision's ImageFolder: no array of all images, and names of classes."""

    classes = ("odd", "even")

    def __init__(self, count, made=lambda number: picture(number, 12 + number, 10)):
        self.count, self.made = count, made

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return self.made(number), number % 2


class Held(Pictures):
    """As torchvision's CIFAR10, which holds everything as arrays."""

    def __init__(self, count):
        super().__init__(count)
        self.data = np.stack([np.array(picture(number, 8, 8)) for number in range(count)])
        self.targets = [number % 2 for number in range(count)]


def test_data_sets_of_torchvision():
    dataset = Dataset.from_torchvision(Pictures(10), Pictures(4), size=8)
    assert repr(dataset) == "Dataset(Pictures: 10 training and 4 test images, 3 x 8 x 8, 2 classes)"
    assert dataset.classes == ("odd", "even")
    assert len(Dataset.from_torchvision(Pictures(10), size=8, name="mine").test_images) == 2
    held = Dataset.from_torchvision(Held(6), Held(4))
    assert torch.equal(held.train_images, torch.from_numpy(Held(6).data).movedim(3, 1))
    tensors = Pictures(6, lambda number: torch.full((1, 8, 8), number, dtype=torch.uint8))
    assert Dataset.from_torchvision(tensors).in_channels == 1
    with pytest.raises(TypeError, match="without its transform"):
        Dataset.from_torchvision(Pictures(6, lambda number: torch.zeros(3, 8, 8)))
    with pytest.raises(ValueError, match="several sizes"):
        Dataset.from_torchvision(Pictures(6))


def test_a_student_learns_from_a_folder_of_wide_images(tmp_path):
    dataset = Dataset.from_folder(fill(tmp_path), size=(12, 20))
    networks = [create_model(name, 3, 3, seed=0) for name in ("mini_resnet8", "mini_resnet8x3")]
    for method in ("kc-kd", "at", "crd"):
        reports = list(
            distill(networks[0], dataset, networks[1], distiller=method, recipe=Recipe(epochs=2, batch_size=10))
        )
        assert len(reports) == 2
    with pytest.raises(ValueError, match="must be square to be rotated"):
        distill(networks[0], dataset, networks[1], distiller="sskd", recipe=Recipe(epochs=2, batch_size=10))


def test_a_folder_is_named_wherever_a_name_is(tmp_path, monkeypatch):
    fill(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    assert fingerprint_of(load_dataset("pets")) == fingerprint_of(Dataset.from_folder(tmp_path / "pets"))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_dataset("./none")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Scale("mine", "./none")
    scale = Scale("mine", "pets", side=16, per_class=3)
    assert scale.dataset == str(tmp_path / "pets")
    assert scale.images().train_images.shape == (9, 3, 16, 16)
    assert Scale("mine", "pets").images().train_images.shape[2:] == (32, 32)
    assert scale.images() is scale.images()
    before = scale.images()
    picture(1, 9, 9).save(tmp_path / "pets" / "cat" / "00a.png")
    assert scale.images() is not before


def test_no_published_number_stands_beside_images_of_ones_own(tmp_path, monkeypatch):
    fill(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    scale = replace(find_scale("small"), dataset="pets", epochs=1)
    plan = make_plan(["R56>R20"], ["Student", "KD"], scale=scale)
    done = run_plan(plan, tmp_path / "runs", quiet=True, announce=lambda text: None)
    table = make_table(done.prepared, Store(tmp_path / "runs"))
    for text in (table.markdown(), table.plain(80)):
        assert "CIFAR-100" not in text
        assert "Nothing was published about these images" in text
        assert not re.search(r"published \d|72\.34|69\.", text)
    assert table.beside()["R56>R20"]["KD"][0] is None


def test_the_command_line_takes_a_folder(tmp_path, monkeypatch):
    def call(*arguments):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        return done.output

    fill(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "pets", "--side", 12, "--epochs", 2, "--folder", "runs"]
    options += ["--pair", "mini_resnet8>mini_convnet"]
    said = call("doctor", *options, "--no-time", "--row", "KD")
    assert "Dataset(pets: 20 training and 6 test images, 3 x 12 x 12, 3 classes)" in said
    assert "from 4 training images of 'emu' to 10 of 'cat'" in said
    assert "cropped to the middle and resized to 12 x 12" in said
    assert "2 of 2 runs" in call("bench", *options, "--row", "KD", "--row", "KC-KD")
    assert json.loads((tmp_path / "runs" / "plan.json").read_text())["scale"]["dataset"] == str(tmp_path / "pets")
    monkeypatch.chdir(tmp_path / "runs")
    assert "going on with the plan" in call("bench", "--folder", tmp_path / "runs")
    (tmp_path / "pets").rename(tmp_path / "away")
    assert Prepared.load(Store(tmp_path / "runs")).plan.num_runs == 2  # a table needs no images
    assert "| KC-KD |" in call("table", "--folder", tmp_path / "runs")


def test_cifar10_is_a_name(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    write_npz(
        tmp_path / "cifar10.npz",
        {
            **{f"{split}_images": rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8) for split in ("train", "test")},
            **{f"{split}_labels": np.arange(20) % 10 for split in ("train", "test")},
            "classes": np.array([f"class {label}" for label in range(10)]),
        },
    )
    dataset = load_dataset("cifar10", tmp_path)
    assert (len(dataset.classes), dataset.padding, dataset.in_channels) == (10, 4, 3)
