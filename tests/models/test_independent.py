"""The same networks in libraries that we did not write, with the same weights: the same answers."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenetv2, resnet, shufflenetv2, vgg

from kcd_teach.models.network import channel_shuffle
from tests.models.test_forward import assert_close
from tests.models.zoo import lively, noise


def with_weights_of(source: nn.Module, target: nn.Module) -> nn.Module:
    """Give ``target`` the weights of ``source``, entry by entry in their order; shapes must agree."""
    ours, theirs = source.state_dict(), target.state_dict()
    target.double().load_state_dict(dict(zip(theirs, ours.values(), strict=True)))
    return target.eval()


@torch.no_grad()
def assert_same_logits(ours: nn.Module, theirs: nn.Module, side: int) -> None:
    images = noise(2, 3, side, side)
    assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(("name", "depth"), [("resnet8", 8), ("resnet20", 20), ("resnet56", 56)])
def test_resnet_equals_torchdistill(name, depth):
    from torchdistill.models.classification.resnet import resnet as theirs

    ours, other = lively(name), theirs(depth, num_classes=100, pretrained=False, progress=False)
    other.double().load_state_dict(ours.state_dict())  # even the names agree
    assert_same_logits(ours, other.eval(), side=32)


@pytest.mark.parametrize(("name", "depth", "factor"), [("wrn_16_1", 16, 1), ("wrn_16_2", 16, 2), ("wrn_40_2", 40, 2)])
def test_wide_resnet_equals_torchdistill_but_for_its_shortcut(name, depth, factor):
    from torchdistill.models.classification.wide_resnet import WideBasicBlock, wide_resnet

    ours, other = lively(name), wide_resnet(depth, factor, 0.0, 100, pretrained=False, progress=False)
    renamed = {}
    for entry, value in ours.state_dict().items():
        theirs = entry.replace("convShortcut", "shortcut.0").replace(".layer.", ".")
        renamed[theirs.replace("block", "layer")] = value
    other.double().eval().load_state_dict(renamed)
    images = noise(2, 3, 32, 32)
    with torch.no_grad():
        raw_shortcut = other(images)
        for block in other.modules():  # theirs feeds the raw input to the 1x1 convolution, the published networks' not
            if isinstance(block, WideBasicBlock) and len(block.shortcut):
                block.shortcut = nn.Sequential(block.bn1, nn.ReLU(), block.shortcut[0])
        assert_close(ours(images), other(images))
        assert not torch.allclose(ours(images), raw_shortcut)


def test_resnet50_equals_torchvision():
    other = resnet.resnet50(weights=None, num_classes=100)
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    ours = lively("ResNet50")
    assert_same_logits(ours, with_weights_of(ours, other), side=16)


def test_resnet8x4_equals_torchvision():
    other = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=100)
    other.inplanes = 32
    other.conv1, other.bn1 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
    other.layer1 = other._make_layer(resnet.BasicBlock, 64, 1)
    other.layer2 = other._make_layer(resnet.BasicBlock, 128, 1, stride=2)
    other.layer3 = other._make_layer(resnet.BasicBlock, 256, 1, stride=2)
    other.maxpool, other.layer4, other.fc = nn.Identity(), nn.Identity(), nn.Linear(256, 100)
    ours = lively("resnet8x4")
    assert_same_logits(ours, with_weights_of(ours, other), side=16)


@pytest.mark.parametrize(("name", "convolutions"), [("vgg8", (1, 1, 1, 1, 1)), ("vgg13", (2, 2, 2, 2, 2))])
def test_vgg_equals_torchvision(name, convolutions):
    layers: list[int | str] = []
    for width, count, pool in zip((64, 128, 256, 512, 512), convolutions, "MMM  ", strict=True):
        layers += [width] * count + [pool] * (pool == "M")
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 100))
    ours = lively(name)
    other = nn.Sequential(vgg.make_layers(layers, batch_norm=True), *head)
    assert_same_logits(ours, with_weights_of(ours, other), side=32)


def test_mobilenetv2_equals_torchvision():
    stages = [[1.0001, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2]]
    # An expansion a little above one makes torchvision keep the first 1x1 convolution, as the published network does.
    stages.append([6, 320, 1, 1])
    other = mobilenetv2.MobileNetV2(100, width_mult=0.5, inverted_residual_setting=stages, round_nearest=4)
    for module in list(other.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    ours = lively("MobileNetV2")
    assert_same_logits(ours, with_weights_of(ours, other), side=32)


def test_shufflenetv2_equals_torchvision():
    other = shufflenetv2.ShuffleNetV2([4, 8, 4], [24, 116, 232, 464, 1024], num_classes=100)
    other.conv1[0], other.maxpool = nn.Conv2d(3, 24, 1, bias=False), nn.Identity()
    ours = lively("ShuffleV2")
    assert_same_logits(ours, with_weights_of(ours, other), side=32)


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_channel_shuffle_equals_torch_and_torchvision(groups):
    x = noise(2, 12, 3, 5)
    assert torch.equal(channel_shuffle(x, groups), shufflenetv2.channel_shuffle(x, groups))
    assert torch.equal(channel_shuffle(x, groups), nn.ChannelShuffle(groups)(x))
