"""The residual network of 50 layers (He et al. 2015, arXiv 1512.03385), with the stem of small images.

A 3x3 convolution without a stride and without max pooling, four stages of bottleneck blocks, global average pooling,
one linear layer.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, Stage, check_preact, global_average, init_convolutions


class Bottleneck(nn.Module):
    """1x1 narrow, 3x3, 1x1 wide again, with a shortcut around them; the 3x3 convolution has the stride."""

    expansion = 4

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        out_width = self.expansion * width
        self.conv1 = nn.Conv2d(in_width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_width)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_width != out_width:
            shortcut = nn.Conv2d(in_width, out_width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(out_width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to the sum before its ReLU, [B, 4 width, h / stride, w / stride]."""
        out: Tensor = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out + (x if self.shortcut is None else self.shortcut(x))


class ResNet50(Network):
    """Four stages of 3, 4, 6 and 3 bottleneck blocks, 256 to 2048 channels wide.

    Args:
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = self._stage(3, 64, 64, stride=1)
        self.layer2 = self._stage(4, 256, 128, stride=2)
        self.layer3 = self._stage(6, 512, 256, stride=2)
        self.layer4 = self._stage(3, 1024, 512, stride=2)
        self.linear = nn.Linear(2048, num_classes)
        init_convolutions(self)

    @staticmethod
    def _stage(blocks: int, in_width: int, width: int, stride: int) -> Stage:
        first = Bottleneck(in_width, width, stride)
        return Stage(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f4 [B, c, h, w] and the pooled f5 [B, 2048].

        With ``preact``, f1 .. f4 are the sums before the last ReLU of their stage.
        """
        check_preact(return_features, preact)
        f0 = F.relu(self.bn1(self.conv1(images)))
        sum1 = self.layer1(f0)
        f1 = F.relu(sum1)
        sum2 = self.layer2(f1)
        f2 = F.relu(sum2)
        sum3 = self.layer3(f2)
        f3 = F.relu(sum3)
        sum4 = self.layer4(f3)
        f4 = F.relu(sum4)
        pooled = global_average(f4)
        logits: Tensor = self.linear(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((sum1, sum2, sum3, sum4) if preact else (f1, f2, f3, f4)), pooled]
