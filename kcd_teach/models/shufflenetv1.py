"""ShuffleNet (Zhang et al. 2017, arXiv 1707.01083) with three groups, for small images, laid out as in RepDistiller.

Differences to the paper: a 1x1 convolution at the start, and a ReLU after the depthwise convolution too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, Stage, channel_shuffle, check_preact, global_average

_STEM, _GROUPS = 24, 3


class ShuffleUnit(nn.Module):
    """1x1 grouped narrow, channel shuffle, 3x3 depthwise, 1x1 grouped wide, joined with the input.

    With stride 1 the input is added; with stride 2 its 3x3 averages are appended, and the branch has only the
    channels that are still missing to ``width``.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        branch = width if stride == 1 else width - in_width
        inner = branch // 4
        self.stride = stride
        self.groups = 1 if in_width == _STEM else _GROUPS
        self.conv1 = nn.Conv2d(in_width, inner, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, branch, 1, groups=_GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to the sum or concatenation before its ReLU, [B, width, h / stride, w / stride]."""
        out: Tensor = channel_shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.stride == 1:
            return out + x
        # The zeros of the padding count: every sum is divided by 9, at the borders too.
        averages = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=True)
        return torch.cat([out, averages], dim=1)


class ShuffleV1(Network):
    """Three stages of 4, 8 and 4 units, 240, 480 and 960 channels wide.

    Args:
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, _STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.layer1 = self._stage(4, _STEM, 240)
        self.layer2 = self._stage(8, 240, 480)
        self.layer3 = self._stage(4, 480, 960)
        self.linear = nn.Linear(960, num_classes)

    @staticmethod
    def _stage(units: int, in_width: int, width: int) -> Stage:
        first = ShuffleUnit(in_width, width, stride=2)
        return Stage(first, *(ShuffleUnit(width, width, stride=1) for _ in range(units - 1)))

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f3 [B, c, h, w] and the pooled f4 [B, 960].

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
        logits: Tensor = self.linear(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((sum1, sum2, sum3) if preact else (f1, f2, f3)), pooled]
