import math

import pytest
import torch
from torch import nn

from kcd_teach.models import count_parameters, create_model, list_models
from tests.tiny import same

# Parameters, entries of the state dict, millions of multiply-adds for a 32x32 image: 100 classes, 3 channels.
PUBLISHED = {
    "resnet8": (83_892, 56, 12.5),
    "resnet14": (181_108, 92, 26.7),
    "resnet20": (278_324, 128, 40.8),
    "resnet32": (472_756, 200, 69.1),
    "resnet44": (667_188, 272, 97.4),
    "resnet56": (861_620, 344, 125.8),
    "resnet110": (1_736_564, 668, 253.2),
    "resnet8x4": (1_233_540, 62, 177.1),
    "resnet32x4": (7_433_860, 206, 1083.0),
}
NARROW = [[16, 32, 32], [16, 32, 32], [32, 16, 16], [64, 8, 8], [64]]
WIDE = [[32, 32, 32], [64, 32, 32], [128, 16, 16], [256, 8, 8], [256]]


def shapeless(name: str, **settings) -> nn.Module:
    """A network without memory behind its weights: enough to know shapes."""
    with torch.device("meta"):
        return create_model(name, **settings).eval()


def multiply_adds(model: nn.Module, images: torch.Tensor) -> int:
    found = []

    def count(module, arguments, output):
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
            found.append(kernel * output[0].numel())
        elif isinstance(module, nn.Linear):
            found.append(module.in_features * output[0].numel())

    for module in model.modules():
        module.register_forward_hook(count)
    model(images)
    return sum(found)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_equal_the_published_networks(name):
    model = shapeless(name)
    parameters, entries, millions = PUBLISHED[name]
    assert count_parameters(model) == parameters
    assert len(model.state_dict()) == entries
    macs = multiply_adds(model, torch.zeros(1, 3, 32, 32, device="meta"))
    assert macs / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("name", PUBLISHED)
def test_feature_taps(name):
    model = shapeless(name)
    logits, features = model(torch.zeros(2, 3, 32, 32, device="meta"), return_features=True)
    assert logits.shape == (2, 100)
    assert [list(feature.shape[1:]) for feature in features] == (WIDE if name.endswith("x4") else NARROW)


def batch_norm(prefix: str) -> list[str]:
    return [f"{prefix}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


@pytest.mark.parametrize(("name", "blocks", "with_shortcut"), [("resnet20", 3, (2, 3)), ("resnet8x4", 1, (1, 2, 3))])
def test_entries_are_named_as_in_published_checkpoints(name, blocks, with_shortcut):
    expected = ["conv1.weight", *batch_norm("bn1")]
    for layer in (1, 2, 3):
        for block in range(blocks):
            prefix = f"layer{layer}.{block}"
            expected += [f"{prefix}.conv1.weight", *batch_norm(f"{prefix}.bn1")]
            expected += [f"{prefix}.conv2.weight", *batch_norm(f"{prefix}.bn2")]
            if block == 0 and layer in with_shortcut:
                expected += [f"{prefix}.downsample.0.weight", *batch_norm(f"{prefix}.downsample.1")]
    assert list(shapeless(name).state_dict()) == [*expected, "fc.weight", "fc.bias"]


def test_a_checkpoint_as_published_loads_unchanged(tmp_path):
    source, target = create_model("resnet8", seed=1), create_model("resnet8", seed=2)
    torch.save({"epoch": 240, "model": source.state_dict(), "accuracy": torch.tensor(60.0)}, tmp_path / "ckpt.pth")
    target.load_state_dict(torch.load(tmp_path / "ckpt.pth", map_location="cpu", weights_only=True)["model"])
    assert same(target.state_dict(), source.state_dict())


@pytest.mark.parametrize("name", list_models())
def test_features_come_with_the_same_logits(name):
    model = create_model(name, num_classes=5, in_channels=1, seed=0).eval()
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, features = model(images, return_features=True)
        assert torch.equal(model(images), logits)
        assert torch.equal(model.fc(features[-1]), logits)
        deepest = features[-2].mean(dim=(2, 3))
    assert logits.shape == (3, 5)
    assert torch.allclose(deepest, features[-1], atol=1e-5)
    assert all(feature.min() >= 0 for feature in features)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mini_resnet8x3", [[24, 14, 14], [24, 14, 14], [48, 7, 7], [96, 4, 4], [96]]),
        ("mini_resnet8", [[8, 14, 14], [8, 14, 14], [16, 7, 7], [32, 4, 4], [32]]),
        ("mini_convnet", [[8, 14, 14], [24, 7, 7], [48, 4, 4], [48]]),
    ],
)
def test_feature_taps_of_the_course_networks(name, sizes):
    model = shapeless(name, num_classes=10, in_channels=1)
    _, features = model(torch.zeros(2, 1, 28, 28, device="meta"), return_features=True)
    assert [list(feature.shape[1:]) for feature in features] == sizes


def test_a_block_equals_its_formula():
    block = create_model("resnet8", seed=0).layer2[0].eval()
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for norm in (block.bn1, block.bn2, block.downsample[1]):
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2), norm.bias.normal_()

        def normalised(norm, value):
            scale = norm.weight / (norm.running_var + 1e-5).sqrt()
            return (value - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

        inner = normalised(block.bn1, nn.functional.conv2d(x, block.conv1.weight, stride=2, padding=1)).clamp(min=0)
        inner = normalised(block.bn2, nn.functional.conv2d(inner, block.conv2.weight, padding=1))
        shortcut = normalised(block.downsample[1], nn.functional.conv2d(x, block.downsample[0].weight, stride=2))
        assert torch.allclose(block(x), (inner + shortcut).clamp(min=0), atol=1e-5)


def test_convolutions_start_kaiming_normal_by_fan_out():
    model = create_model("resnet32x4", seed=0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (create_model("mini_resnet8", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)


def test_without_a_seed_weights_come_from_the_global_state():
    weights = []
    for _ in range(2):
        torch.manual_seed(5)
        weights.append(create_model("mini_convnet").state_dict())
    assert same(*weights)
    assert not same(weights[0], create_model("mini_convnet").state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "resnet_110"},
            ValueError,
            "name='resnet_110' is unknown; did you mean 'resnet110'.* Known: resnet8, ",
        ),
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
