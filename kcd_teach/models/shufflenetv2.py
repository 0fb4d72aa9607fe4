"""ShuffleNet V2 (Ma et al. 2018, arXiv 1807.11164) of size 1, for small images, laid out as in RepDistiller.

Difference to the paper: the network begins with a 1x1 convolution without a stride, and no max pooling.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, Stage, channel_shuffle, check_preact, global_average


def _pointwise(in_width: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(in_width, width, 1, bias=False)


def _depthwise(width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)


class DownUnit(nn.Module):
    """Two branches, each with a strided 3x3 depthwise convolution, give half of the channels each."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = _depthwise(in_width, stride=2)
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv2 = _pointwise(in_width, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _pointwise(in_width, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = _depthwise(half, stride=2)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = _pointwise(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to the concatenation before ReLU and shuffle, [B, width, h / 2, w / 2]."""
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = F.relu(self.bn3(self.conv3(x)))
        right = self.bn5(self.conv5(self.bn4(self.conv4(right))))
        return torch.cat([left, right], dim=1)


class BasicUnit(nn.Module):
    """One half of the channels passes untouched, the other one through 1x1, 3x3 depthwise and 1x1 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = _pointwise(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = _depthwise(half, stride=1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _pointwise(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, h, w] to the concatenation before ReLU and shuffle, the same shape."""
        untouched, right = x.chunk(2, dim=1)
        right = F.relu(self.bn1(self.conv1(right)))
        right = self.bn3(self.conv3(self.bn2(self.conv2(right))))
        return torch.cat([untouched, right], dim=1)


class ShuffledStage(Stage):
    """A stage whose units are followed by a ReLU and a channel shuffle."""

    def finish(self, x: Tensor) -> Tensor:
        """Apply ReLU, which leaves the untouched half as it is since it comes from ReLUs, and shuffle the halves."""
        return channel_shuffle(F.relu(x), 2)


class ShuffleV2(Network):
    """Three stages of 4, 8 and 4 units, 116, 232 and 464 channels wide, and a 1x1 convolution to 1024.

    Args:
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = _pointwise(in_channels, 24)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = self._stage(4, 24, 116)
        self.layer2 = self._stage(8, 116, 232)
        self.layer3 = self._stage(4, 232, 464)
        self.conv2 = _pointwise(464, 1024)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, num_classes)

    @staticmethod
    def _stage(units: int, in_width: int, width: int) -> ShuffledStage:
        return ShuffledStage(DownUnit(in_width, width), *(BasicUnit(width) for _ in range(units - 1)))

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f3 [B, c, h, w] and the pooled f4 [B, 1024].

        With ``preact``, f1 .. f3 are the concatenations before the last ReLU and the last channel shuffle of their
        stage, so their channels come in another order than the plain ones.
        """
        check_preact(return_features, preact)
        f0 = F.relu(self.bn1(self.conv1(images)))
        raw1 = self.layer1(f0)
        f1 = self.layer1.finish(raw1)
        raw2 = self.layer2(f1)
        f2 = self.layer2.finish(raw2)
        raw3 = self.layer3(f2)
        f3 = self.layer3.finish(raw3)
        pooled = global_average(F.relu(self.bn2(self.conv2(f3))))
        logits: Tensor = self.linear(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((raw1, raw2, raw3) if preact else (f1, f2, f3)), pooled]
