"""Residual networks for small images (He et al. 2015, arXiv 1512.03385), laid out as in RepDistiller.

Depth is 6 n + 2: a 3x3 convolution, three stages of n basic blocks, global average pooling, one linear layer. Stages
two and three halve the resolution and widen the network.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, Stage, check_preact, global_average, init_convolutions


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
        """Map [B, in_width, h, w] to the sum before its ReLU, [B, width, h / stride, w / stride]."""
        out: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return out + (x if self.downsample is None else self.downsample(x))


class ResNet(Network):
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
        init_convolutions(self)

    @staticmethod
    def _stage(blocks: int, in_width: int, width: int, stride: int) -> Stage:
        first = BasicBlock(in_width, width, stride)
        return Stage(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f3 [B, c, h, w] and the pooled f4 [B, D].

        With ``preact``, f1 .. f3 are the sums before the last ReLU of their stage.
        """
        check_preact(return_features, preact)
        f0 = F.relu(self.bn1(self.conv1(images)))
        sum1 = self.layer1(f0)
        f1 = F.relu(sum1)
        sum2 = self.layer2(f1)
        f2 = F.relu(sum2)
        sum3 = self.layer3(f2)
        f3 = F.relu(sum3)
        pooled = global_average(f3)
        logits: Tensor = self.fc(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((sum1, sum2, sum3) if preact else (f1, f2, f3)), pooled]
