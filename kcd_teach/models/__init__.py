"""Networks for teachers and students, each by its name."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import nn

from kcd_teach._checks import check_at_least, check_choice
from kcd_teach.models.convnet import ConvNet
from kcd_teach.models.mobilenetv2 import MobileNetV2
from kcd_teach.models.network import Network, with_features
from kcd_teach.models.resnet import ResNet
from kcd_teach.models.resnet50 import ResNet50
from kcd_teach.models.shufflenetv1 import ShuffleV1
from kcd_teach.models.shufflenetv2 import ShuffleV2
from kcd_teach.models.vgg import VGG
from kcd_teach.models.weights import TEACHER, load_checkpoint, load_teacher, save_weights
from kcd_teach.models.wide_resnet import WideResNet
from kcd_teach.registry import Registry, also_decorates

__all__ = [
    "TEACHER",
    "VGG",
    "ConvNet",
    "MobileNetV2",
    "Network",
    "ResNet",
    "ResNet50",
    "ShuffleV1",
    "ShuffleV2",
    "WideResNet",
    "check_network",
    "count_parameters",
    "create_model",
    "list_models",
    "load_checkpoint",
    "load_teacher",
    "register_model",
    "save_weights",
    "with_features",
]

_NARROW, _WIDE = (16, 16, 32, 64), (32, 64, 128, 256)

MODELS: Registry[Callable[..., nn.Module]] = Registry(
    "model",
    {
        # The networks of the published benchmark, for 32x32 images.
        **{f"resnet{6 * n + 2}": partial(ResNet, n, _NARROW) for n in (1, 2, 3, 5, 7, 9, 18)},
        "resnet8x4": partial(ResNet, 1, _WIDE),
        "resnet32x4": partial(ResNet, 5, _WIDE),
        "ResNet50": ResNet50,
        **{f"wrn_{6 * n + 4}_{k}": partial(WideResNet, n, k) for n in (2, 6) for k in (1, 2)},
        "vgg8": partial(VGG, (1, 1, 1, 1, 1)),
        "vgg11": partial(VGG, (1, 1, 2, 2, 2)),
        "vgg13": partial(VGG, (2, 2, 2, 2, 2)),
        "vgg16": partial(VGG, (2, 2, 3, 3, 3)),
        "vgg19": partial(VGG, (2, 2, 4, 4, 4)),
        "MobileNetV2": MobileNetV2,
        "ShuffleV1": ShuffleV1,
        "ShuffleV2": ShuffleV2,
        # The networks of the course, for the bundled 28x28 images: a teacher and two students of different families.
        "mini_resnet8x3": partial(ResNet, 1, (24, 24, 48, 96), stem_stride=2),
        "mini_resnet8": partial(ResNet, 1, (8, 8, 16, 32), stem_stride=2),
        "mini_convnet": partial(ConvNet, (8, 24, 48)),
    },
)


def list_models() -> list[str]:
    """Names that :func:`create_model` knows."""
    return list(MODELS)


@also_decorates
def register_model(name: str, factory: Callable[..., nn.Module]) -> None:
    """Give a network of your own a name, for ``TEACHER>STUDENT``; call it, or write it above a class or function.

    Args:
        name: letters, digits and ``_ . + -``.
        factory: called with ``num_classes=`` and ``in_channels=``, makes a module with fresh weights. It answers images
            with logits [B, C]; what else methods may ask it for is said in :meth:`Network.forward`.

    Returns:
        The factory.

    Raises:
        TypeError: a factory that cannot be called.
        ValueError: a name that is in use or cannot be used.
    """
    if not callable(factory) or isinstance(factory, nn.Module):
        raise TypeError(f"factory must be a class or a function that makes a network, got {factory!r}")
    MODELS.add(name, factory)


def check_network(argument: str, name: str) -> None:
    """Raise ValueError unless :func:`create_model` knows a name; what ``package.module:function`` names is imported."""
    if ":" in name:
        MODELS[name]
    else:
        check_choice(argument, name, MODELS)


def create_model(name: str, num_classes: int = 100, in_channels: int = 3, seed: int | None = None) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: one of :func:`list_models`, or ``package.module:function``, which is called as :func:`register_model` says;
            one that takes no ``in_channels`` is called without.
        num_classes: C, at least 2.
        in_channels: channels of the images, at least 1.
        seed: of the initial weights; the global random state is left as it was. ``None`` draws from that state.

    Returns:
        A module whose ``name`` is ``name``, with ``model(images) -> logits [B, C]`` and
        ``model(images, return_features=True) -> (logits, features)``, features from shallow to deep, the last one
        pooled, [B, D]; :meth:`Network.forward` says more.

    >>> count_parameters(create_model("resnet20"))
    278324
    """
    factory = MODELS[name].thing
    num_classes = check_at_least("num_classes", num_classes, 2)
    in_channels = check_at_least("in_channels", in_channels, 1)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(check_at_least("seed", seed, 0))
        try:
            model = factory(num_classes=num_classes, in_channels=in_channels)
        except TypeError as error:
            if "num_classes" in str(error):
                raise TypeError(f"the factory of {name!r} must take num_classes= and in_channels=: {error}") from error
            if "in_channels" not in str(error):
                raise
            model = factory(num_classes=num_classes)
    if not isinstance(model, nn.Module):
        raise TypeError(f"the factory of {name!r} must make a network, a torch.nn.Module, got {type(model).__name__}")
    named = cast("Network", model)
    named.name = name
    return named


def count_parameters(model: nn.Module) -> int:
    """Number of learnable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
