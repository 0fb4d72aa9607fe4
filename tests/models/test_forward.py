"""What comes out: logits and features, against a plain reference and against each other."""

import pytest
import torch
from torch.nn import functional as F

from kcd_teach.models import create_model, list_models
from tests.models.reference import reference_forward
from tests.models.zoo import FAMILIES, MINI, PUBLISHED, lively, noise


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_every_network_equals_the_plain_reference(name):
    model = lively(name, num_classes=7, in_channels=1 if name in MINI else 3)
    images = noise(2, 1 if name in MINI else 3, 16, 16)
    logits, features, raw = reference_forward(name, model.state_dict(), images)
    assert len(features) == len(raw)
    assert_close(model(images), logits)
    for preact, expected in ((False, features), (True, raw)):
        our_logits, ours = model(images, return_features=True, preact=preact)
        assert_close(our_logits, logits)
        assert len(ours) == len(expected)
        for our_tap, tap in zip(ours, expected, strict=True):
            assert_close(our_tap, tap)


@pytest.mark.parametrize("side", [33, 64])
@pytest.mark.parametrize("name", ["resnet8", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"])
@torch.no_grad()
def test_other_sizes_equal_the_plain_reference_too(name, side):
    model, images = lively(name, num_classes=3), noise(1, 3, side, side)
    logits, features, _ = reference_forward(name, model.state_dict(), images)
    ours, our_features = model(images, return_features=True)
    assert_close(ours, logits)
    for our_tap, tap in zip(our_features, features, strict=True):
        assert_close(our_tap, tap)


@torch.no_grad()
def test_vgg_pools_once_more_at_64_pixels():
    _, features = lively("vgg8")(noise(1, 3, 64, 64), return_features=True)
    assert [list(feature.shape[2:]) for feature in features[:-1]] == [[64, 64], [32, 32], [16, 16], [8, 8], [4, 4]]


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_grey_images_of_28_pixels_one_at_a_time(name):
    model = create_model(name, num_classes=10, in_channels=1, seed=0).eval()
    images = noise(2, 1, 28, 28, dtype=torch.float32)
    both = model(images)
    assert both.shape == (2, 10)
    assert torch.isfinite(both).all()
    assert torch.allclose(model(images[:1]), both[:1], rtol=1e-3, atol=1e-5 * both.abs().max().item())
    logits, features = model(images, return_features=True)
    assert torch.equal(logits, both)
    (linear,) = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    assert torch.equal(linear(features[-1]), both)


@torch.no_grad()
def both_kinds(name):
    """A network, its plain and its pre-activation features; the first and the pooled one must be the same."""
    model, images = lively(name), noise(2, 3, 16, 16)
    plain, raw = (model(images, return_features=True, preact=preact)[1] for preact in (False, True))
    assert torch.equal(plain[0], raw[0])
    assert torch.equal(plain[-1], raw[-1])
    return model, plain[1:-1], raw[1:-1]


@pytest.mark.parametrize("name", ["resnet8", "resnet8x4", "ResNet50", "vgg8", "ShuffleV1", *MINI])
def test_relu_of_the_preactivation_is_the_plain_feature(name):
    _, plain, raw = both_kinds(name)
    for after, before in zip(plain, raw, strict=True):
        assert before.min() < 0
        assert torch.equal(F.relu(before), after)


@torch.no_grad()
@pytest.mark.parametrize("name", ["wrn_16_1", "wrn_40_2"])
def test_preactivation_of_a_wide_network_is_the_next_batch_norm(name):
    model, plain, raw = both_kinds(name)
    following = (model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1)
    for after, before, norm in zip(raw, plain, following, strict=True):
        assert before.min() < 0
        assert torch.equal(after, norm(before))


def test_preactivation_of_shufflenet_v2_comes_before_the_shuffle():
    _, plain, raw = both_kinds("ShuffleV2")
    for after, before in zip(plain, raw, strict=True):
        half = before.shape[1] // 2
        assert before[:, :half].min() >= 0 > before[:, half:].min()
        assert torch.equal(after[:, 0::2], before[:, :half])
        assert torch.equal(after[:, 1::2], F.relu(before[:, half:]))


def test_mobilenet_has_no_preactivation_of_its_own():
    _, plain, raw = both_kinds("MobileNetV2")
    assert all(torch.equal(after, before) for after, before in zip(plain, raw, strict=True))
    assert all(before.min() < 0 for before in raw)  # linear already


@pytest.mark.parametrize("name", [*FAMILIES, "mini_convnet"])
def test_preactivation_needs_features(name):
    with pytest.raises(ValueError, match=r"preact=True .* needs return_features=True"):
        create_model(name)(torch.zeros(1, 3, 16, 16), preact=True)


def test_a_wide_network_refuses_preactivation_in_train_mode():
    model = create_model("wrn_16_1", seed=0).train()
    images = noise(2, 3, 16, 16, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"in train mode would update their statistics twice: call model\.eval\(\)"):
        model(images, return_features=True, preact=True)
    batches = model.bn1.num_batches_tracked.item()
    model(images, return_features=True)
    assert model.block2.layer[0].bn1.num_batches_tracked == model.bn1.num_batches_tracked == batches + 1


@pytest.mark.parametrize("name", [name for name in [*FAMILIES, *MINI] if not name.startswith("wrn")])
def test_preactivation_in_train_mode_updates_statistics_once(name):
    model = create_model(name, seed=0).train()
    model(noise(4, 3, 16, 16, dtype=torch.float32), return_features=True, preact=True)
    assert {n.num_batches_tracked.item() for n in model.modules() if isinstance(n, torch.nn.BatchNorm2d)} == {1}


@pytest.mark.parametrize("name", PUBLISHED)
def test_gradients_reach_every_parameter(name):
    model = create_model(name, num_classes=5, seed=0).train()
    F.cross_entropy(model(noise(4, 3, 16, 16, dtype=torch.float32)), torch.arange(4)).backward()
    for entry, parameter in model.named_parameters():
        assert parameter.grad is not None, entry
        assert torch.isfinite(parameter.grad).all(), entry
        assert parameter.grad.any(), entry


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_channels_last_changes_nothing(name):
    model, images = lively(name), noise(2, 3, 16, 16)
    logits, features = model(images, return_features=True)
    model.to(memory_format=torch.channels_last)
    ours, our_features = model(images.to(memory_format=torch.channels_last), return_features=True)
    assert_close(ours, logits)
    for our_tap, tap in zip(our_features, features, strict=True):
        assert_close(our_tap, tap)


@pytest.mark.parametrize("name", ["wrn_16_1", "ShuffleV2"])
@torch.no_grad()
def test_compiles_without_a_break(name):
    model, images = lively(name), noise(2, 3, 16, 16)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    logits, features = compiled(images, return_features=True, preact=True)
    expected, taps = model(images, return_features=True, preact=True)
    assert_close(logits, expected)
    for our_tap, tap in zip(features, taps, strict=True):
        assert_close(our_tap, tap)
