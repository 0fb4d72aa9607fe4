"""Entries of the state dict have the names and shapes of published checkpoints."""

import pytest

from tests.models.zoo import shapeless


def norms(*names: str) -> list[str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{part}" for name in names for part in parts]


def weights(*names: str) -> list[str]:
    return [f"{name}.weight" for name in names]


def residual_names(counts: list[int], convs: int, shortcut: str, with_shortcut: set[int], linear: str) -> list[str]:
    names = [*weights("conv1", linear), *norms("bn1"), f"{linear}.bias"]
    for layer, count in enumerate(counts, 1):
        for block in (f"layer{layer}.{index}" for index in range(count)):
            for number in range(1, convs + 1):
                names += [*weights(f"{block}.conv{number}"), *norms(f"{block}.bn{number}")]
        if layer in with_shortcut:
            names += [*weights(f"layer{layer}.0.{shortcut}.0"), *norms(f"layer{layer}.0.{shortcut}.1")]
    return names


def wide_names(blocks: int, with_shortcut: set[int]) -> list[str]:
    names = [*weights("conv1", "fc"), *norms("bn1"), "fc.bias"]
    for stage in (1, 2, 3):
        for block in (f"block{stage}.layer.{index}" for index in range(blocks)):
            names += [*weights(f"{block}.conv1", f"{block}.conv2"), *norms(f"{block}.bn1", f"{block}.bn2")]
        names += weights(f"block{stage}.layer.0.convShortcut") if stage in with_shortcut else []
    return names


def vgg_names(convolutions: list[int]) -> list[str]:
    names = ["classifier.weight", "classifier.bias"]
    for block, count in enumerate(convolutions):
        for position in (0, 3, 6, 9)[:count]:
            conv = f"block{block}.{position}"
            names += [f"{conv}.weight", f"{conv}.bias", *norms(f"block{block}.{position + 1}")]
    return names


def mobilenet_names() -> list[str]:
    names = [*weights("conv1.0", "conv2.0", "classifier.0"), *norms("conv1.1", "conv2.1"), "classifier.0.bias"]
    for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for conv in (f"blocks.{stage}.{index}.conv" for index in range(count)):
            names += [*weights(*(f"{conv}.{at}" for at in (0, 3, 6))), *norms(*(f"{conv}.{at}" for at in (1, 4, 7)))]
    return names


def shuffle_v2_names() -> list[str]:
    names = [*weights("conv1", "conv2", "linear"), *norms("bn1", "bn2"), "linear.bias"]
    for layer, count in ((1, 4), (2, 8), (3, 4)):
        for index in range(count):
            for number in range(1, 4 if index else 6):
                names += [*weights(f"layer{layer}.{index}.conv{number}"), *norms(f"layer{layer}.{index}.bn{number}")]
    return names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20", residual_names([3, 3, 3], 2, "downsample", {2, 3}, "fc")),
        ("resnet8x4", residual_names([1, 1, 1], 2, "downsample", {1, 2, 3}, "fc")),
        ("ResNet50", residual_names([3, 4, 6, 3], 3, "shortcut", {1, 2, 3, 4}, "linear")),
        ("wrn_16_1", wide_names(2, {2, 3})),
        ("wrn_40_2", wide_names(6, {1, 2, 3})),
        ("vgg8", vgg_names([1, 1, 1, 1, 1])),
        ("vgg11", vgg_names([1, 1, 2, 2, 2])),
        ("vgg13", vgg_names([2, 2, 2, 2, 2])),
        ("vgg16", vgg_names([2, 2, 3, 3, 3])),
        ("vgg19", vgg_names([2, 2, 4, 4, 4])),
        ("MobileNetV2", mobilenet_names()),
        ("ShuffleV1", residual_names([4, 8, 4], 3, "", set(), "linear")),
        ("ShuffleV2", shuffle_v2_names()),
    ],
)
def test_entries_are_named_as_in_published_checkpoints(name, expected):
    assert sorted(shapeless(name).state_dict()) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "entry", "shape"),
    [
        ("ShuffleV1", "layer1.0.conv1.weight", (54, 24, 1, 1)),
        ("ShuffleV1", "layer1.0.conv3.weight", (216, 18, 1, 1)),
        ("ShuffleV1", "layer1.1.conv1.weight", (60, 80, 1, 1)),
        ("ShuffleV1", "layer2.0.conv2.weight", (60, 1, 3, 3)),
        ("ShuffleV1", "layer3.0.conv1.weight", (120, 160, 1, 1)),
        ("MobileNetV2", "blocks.0.0.conv.0.weight", (16, 16, 1, 1)),
        ("MobileNetV2", "blocks.1.0.conv.3.weight", (48, 1, 3, 3)),
        ("ResNet50", "layer1.0.shortcut.0.weight", (256, 64, 1, 1)),
        ("wrn_16_2", "block1.layer.0.convShortcut.weight", (32, 16, 1, 1)),
        ("vgg19", "block4.9.bias", (512,)),
    ],
)
def test_shapes_of_some_entries(name, entry, shape):
    assert tuple(shapeless(name).state_dict()[entry].shape) == shape
