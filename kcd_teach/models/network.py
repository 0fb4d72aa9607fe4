"""The base of all networks: a name, one signature, and the small pieces that several families use."""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Output: TypeAlias = Tensor | tuple[Tensor, list[Tensor]]
"""Logits [B, C], or logits and features."""


class Network(nn.Module):
    """An image classifier that can also return its features.

    ``name`` is the registered one if :func:`kcd_teach.models.create_model` built the network, else empty.
    """

    name: str = ""

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Classify images; every family writes this out.

        Args:
            images: [B, in_channels, H, W], floating point.
            return_features: also return the features f0 .. f_last, from shallow to deep.
            preact: take f1 .. f_{last-1} before the last ReLU of their stage; f0 and the pooled feature stay as they
                are. Networks whose stages end without a ReLU and without a BatchNorm to borrow (MobileNetV2) return
                the plain ones.

        Returns:
            Logits [B, C]; with ``return_features`` a pair of logits and a list, whose tensors are [B, c, h, w] except
            the last one, which is pooled, [B, D].

        Raises:
            ValueError: ``preact`` without ``return_features``; in the family :class:`~kcd_teach.models.WideResNet`
                also ``preact`` in train mode.
        """
        raise NotImplementedError


class Stage(nn.Sequential):
    """Blocks that return their sum before its ReLU: ReLUs between them, none after the last one.

    Whoever runs the stage gets the pre-activation feature and applies :meth:`finish` for the plain one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to the last block's sum [B, width, h / stride, w / stride]."""
        first, *others = self
        out: Tensor = first(x)
        for block in others:
            out = block(self.finish(out))
        return out

    def finish(self, x: Tensor) -> Tensor:
        """What follows each block's sum, the same shape."""
        return F.relu(x)


def check_preact(return_features: bool, preact: bool) -> None:
    """Raise ValueError for ``preact`` without ``return_features``."""
    if preact and not return_features:
        raise ValueError("preact=True chooses between two kinds of features: it needs return_features=True")


def global_average(x: Tensor) -> Tensor:
    """Average over all positions, for images of any size: [B, c, h, w] to [B, c]."""
    return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle: interleave the channels of ``groups`` equal parts, so that a1 a2 b1 b2 becomes a1 b1 a2 b2.

    >>> channel_shuffle(torch.arange(6.0).reshape(1, 6, 1, 1), 2).flatten().tolist()
    [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    dealt: Tensor = x.unflatten(1, (groups, -1)).transpose(1, 2)
    return dealt.flatten(1, 2)


def init_convolutions(model: nn.Module) -> None:
    """Normal weights of standard deviation sqrt(2 / (k k out)), in depthwise convolutions too; biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_linear(linear: nn.Linear) -> None:
    """Normal weights of standard deviation 0.01; biases zero."""
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
