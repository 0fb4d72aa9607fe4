"""What the tests of the networks share: the published facts, and two ways to build a network."""

import functools

import torch
from torch import nn

from kcd_teach.models import Network, create_model

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
    "ResNet50": (23_705_252, 320, 1298.0),
    "wrn_16_1": (180_916, 82, 26.7),
    "wrn_16_2": (703_284, 83, 101.1),
    "wrn_40_1": (569_780, 226, 83.3),
    "wrn_40_2": (2_255_156, 227, 327.6),
    "vgg8": (3_965_028, 37, 96.2),
    "vgg11": (9_277_284, 58, 209.4),
    "vgg13": (9_462_180, 72, 284.9),
    "vgg16": (14_774_436, 93, 398.2),
    "vgg19": (20_086_692, 114, 511.4),
    "MobileNetV2": (812_836, 320, 6.5),
    "ShuffleV1": (949_258, 296, 38.7),
    "ShuffleV2": (1_355_528, 338, 44.5),
}
MINI = ["mini_resnet8x3", "mini_resnet8", "mini_convnet"]
FAMILIES = ["resnet8", "resnet8x4", "ResNet50", "wrn_16_1", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]


@functools.cache
def shapeless(name: str, **settings: int) -> Network:
    """A network without memory behind its weights: enough to know shapes."""
    with torch.device("meta"):
        return create_model(name, **settings).eval()


def lively(name: str, **settings: int) -> Network:
    """A network in eval mode and float64 whose BatchNorms and biases are not those of a fresh one."""
    model = create_model(name, seed=0, **settings).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.3, generator=generator)
    return model


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
