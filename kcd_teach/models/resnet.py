"""Residual networks for small images (He et al. 2015, arXiv 1512.03385), laid out as in RepDistiller.

Depth is 6 n + 2: a 3x3 convolution, three stages of n basic blocks, global average pooling, one linear layer. Stages
two and three halve the resolution and widen the network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them; a 1x1 convolution on the shortcut where shapes change."""

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_width != width:
            shortcut = nn.Conv2d(in_width, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to [B, width, h / stride, w / stride]."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A residual network of three stages.

    Args:
        blocks: n, basic blocks per stage; the depth is 6 n + 2.
        widths: channels after the first convolution and in the three stages.
        num_classes: C.
        in_channels: channels of the images.
        stem_stride: stride of the first convolution; 2 quarters the cost.
    """

    def __init__(
        self, blocks: int, widths: Sequence[int], num_classes: int = 100, in_channels: int = 3, stem_stride: int = 1
    ) -> None:
        super().__init__()
        stem, *stages = widths
        self.conv1 = nn.Conv2d(in_channels, stem, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = self._stage(blocks, stem, stages[0], stride=1)
        self.layer2 = self._stage(blocks, stages[0], stages[1], stride=2)
        self.layer3 = self._stage(blocks, stages[1], stages[2], stride=2)
        self.fc = nn.Linear(stages[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(blocks: int, in_width: int, width: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_width, width, stride)
        return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, images: Tensor, return_features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return logits [B, C]; with ``return_features`` also f0 .. f3 [B, c, h, w] and the pooled f4 [B, D]."""
        f0 = F.relu(self.bn1(self.conv1(images)))
        f1 = self.layer1(f0)
        f2 = self.layer2(f1)
        f3 = self.layer3(f2)
        pooled = torch.flatten(F.adaptive_avg_pool2d(f3, 1), 1)
        logits = self.fc(pooled)
        return (logits, [f0, f1, f2, f3, pooled]) if return_features else logits
