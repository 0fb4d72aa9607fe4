"""The published facts: counts, costs, feature taps, initial weights."""

import math
import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kcd_teach.models import count_parameters, create_model, list_models
from tests.models.zoo import FAMILIES, MINI, PUBLISHED, shapeless
from tests.tiny import same


def test_every_network_has_its_place_in_the_list_and_its_name():
    assert list_models() == [*PUBLISHED, *MINI]
    assert [shapeless(name).name for name in list_models()] == list_models()


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_equal_the_published_networks(name):
    model = shapeless(name)
    parameters, entries, millions = PUBLISHED[name]
    assert count_parameters(model) == parameters
    assert len(model.state_dict()) == entries
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32, device="meta"))
    assert round(counter.get_total_flops() / 2e6, 1) == millions


TAPS = {
    r"resnet\d+": [[16, 32, 32], [16, 32, 32], [32, 16, 16], [64, 8, 8], [64]],
    r"resnet\d+x4": [[32, 32, 32], [64, 32, 32], [128, 16, 16], [256, 8, 8], [256]],
    r"wrn_\d+_1": [[16, 32, 32], [16, 32, 32], [32, 16, 16], [64, 8, 8], [64]],
    r"wrn_\d+_2": [[16, 32, 32], [32, 32, 32], [64, 16, 16], [128, 8, 8], [128]],
    r"ShuffleV1": [[24, 32, 32], [240, 16, 16], [480, 8, 8], [960, 4, 4], [960]],
    r"ShuffleV2": [[24, 32, 32], [116, 16, 16], [232, 8, 8], [464, 4, 4], [1024]],
    r"vgg\d+": [[64, 32, 32], [128, 16, 16], [256, 8, 8], [512, 4, 4], [512, 4, 4], [512]],
    r"MobileNetV2": [[16, 16, 16], [12, 16, 16], [16, 8, 8], [48, 4, 4], [160, 2, 2], [1280]],
    r"ResNet50": [[64, 32, 32], [256, 32, 32], [512, 16, 16], [1024, 8, 8], [2048, 4, 4], [2048]],
}


@pytest.mark.parametrize("preact", [False, True], ids=["plain", "preact"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_feature_taps(name, preact):
    (expected,) = (taps for pattern, taps in TAPS.items() if re.fullmatch(pattern, name))
    logits, features = shapeless(name)(torch.zeros(2, 3, 32, 32, device="meta"), return_features=True, preact=preact)
    assert logits.shape == (2, 100)
    assert [list(feature.shape[1:]) for feature in features] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mini_resnet8x3", [[24, 14, 14], [24, 14, 14], [48, 7, 7], [96, 4, 4], [96]]),
        ("mini_resnet8", [[8, 14, 14], [8, 14, 14], [16, 7, 7], [32, 4, 4], [32]]),
        ("mini_convnet", [[8, 14, 14], [24, 7, 7], [48, 4, 4], [48]]),
    ],
)
def test_feature_taps_of_the_course_networks(name, expected):
    model = shapeless(name, num_classes=10, in_channels=1)
    _, features = model(torch.zeros(2, 1, 28, 28, device="meta"), return_features=True)
    assert [list(feature.shape[1:]) for feature in features] == expected


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def deviation_of_standardised(model: nn.Module) -> tuple[float, float]:
    """Mean and standard deviation of all convolution weights, each divided by the deviation it should have."""
    parts = [
        conv.weight / math.sqrt(2 / (conv.kernel_size[0] ** 2 * conv.out_channels)) for conv in convolutions(model)
    ]
    for part in parts:
        assert part.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * part.numel()))
    values = torch.cat([part.flatten() for part in parts])
    return values.mean().item(), values.std().item()


@pytest.mark.parametrize("name", [name for name in FAMILIES if not name.startswith("Shuffle")])
def test_convolutions_start_normal_by_fan_out(name):
    model = create_model(name, seed=0)
    mean, deviation = deviation_of_standardised(model)
    assert (mean, deviation) == (pytest.approx(0, abs=0.015), pytest.approx(1, abs=0.01))
    assert all(conv.bias is None or not conv.bias.any() for conv in convolutions(model))
    assert [conv.bias is not None for conv in convolutions(model)] == [name == "vgg8"] * len(convolutions(model))


@pytest.mark.parametrize("name", FAMILIES)
def test_batch_norms_start_as_usual(name):
    for module in create_model(name).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def uniform_by_fan_in(weight: torch.Tensor, fan_in: int) -> bool:
    """Is this PyTorch's default: uniform between -1 / sqrt(fan_in) and its opposite?"""
    standard, tolerance = weight.detach() * math.sqrt(fan_in), 2 / math.sqrt(weight.numel())
    return 0.9 < standard.abs().max() <= 1 and abs(standard.std() * math.sqrt(3) - 1) < tolerance


@pytest.mark.parametrize("name", FAMILIES)
def test_linear_layers_start_as_in_the_published_networks(name):
    (linear,) = (module for module in create_model(name, seed=0).modules() if isinstance(module, nn.Linear))
    if name in ("vgg8", "MobileNetV2"):
        assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert linear.weight.abs().max() > 0.03  # normal, not uniform
    else:
        assert uniform_by_fan_in(linear.weight, linear.in_features)
    if name in ("vgg8", "MobileNetV2", "wrn_16_1", "wrn_16_2"):
        assert not linear.bias.any()
    else:
        assert uniform_by_fan_in(linear.bias, linear.in_features)


@pytest.mark.parametrize("name", ["ShuffleV1", "ShuffleV2"])
def test_shuffle_convolutions_start_by_default(name):
    for conv in convolutions(create_model(name, seed=0)):
        assert conv.bias is None
        if conv.weight.numel() > 400:
            assert uniform_by_fan_in(conv.weight, conv.weight[0].numel())


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (create_model("mini_resnet8", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("mini_resnet8x3", 1.31809, 1.40148), ("mini_resnet8", -2.63372, 2.86507), ("mini_convnet", -0.890139, 0.601961)],
)
def test_seeds_of_stored_runs_still_give_the_same_networks(name, first, last):
    model = create_model(name, num_classes=10, in_channels=1, seed=0)
    assert next(model.parameters()).sum().item() == pytest.approx(first, rel=1e-4)
    assert model.fc.weight.sum().item() == pytest.approx(last, rel=1e-4)


def test_without_a_seed_weights_come_from_the_global_state():
    initial = []
    for _ in range(2):
        torch.manual_seed(5)
        initial.append(create_model("mini_convnet").state_dict())
    assert same(*initial)
    assert not same(initial[0], create_model("mini_convnet").state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "resnet_110"},
            ValueError,
            "name='resnet_110' is unknown; did you mean 'resnet110'.* Known: resnet8, ",
        ),
        ({"name": "mobilenetv2"}, ValueError, "name='mobilenetv2' is unknown; did you mean 'MobileNetV2'"),
        ({"name": "zzz"}, ValueError, r"name='zzz' is unknown\. Known: resnet8, .*mini_convnet"),
        ({"name": "resnet8", "num_classes": 1}, ValueError, "num_classes must be at least 2, got 1"),
        ({"name": "resnet8", "in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
        ({"name": "resnet8", "num_classes": 10.0}, TypeError, "num_classes must be a whole number, got 10.0"),
    ],
    ids=str,
)
def test_impossible_networks_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        create_model(**arguments)
