"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146), laid out as in RepDistiller.

Depth is 6 n + 4: a 3x3 convolution, three stages of n blocks, BatchNorm, ReLU, global average pooling, one linear
layer. A block begins with its BatchNorm and ends with the bare sum, so the features f0 .. f3 can be negative.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, check_preact, global_average, init_convolutions


class WideBlock(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution, twice, with a shortcut around them.

    Where widths differ, a 1x1 convolution of the activated input takes the shortcut, else the raw input does.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.convShortcut: nn.Module | None = None
        if in_width != width:
            self.convShortcut = nn.Conv2d(in_width, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to [B, width, h / stride, w / stride]."""
        active = F.relu(self.bn1(x))
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class WideStage(nn.Module):
    """Blocks of one width, under the name ``layer`` that they have in published checkpoints."""

    def __init__(self, blocks: int, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        first = WideBlock(in_width, width, stride)
        self.layer = nn.Sequential(first, *(WideBlock(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to [B, width, h / stride, w / stride]."""
        out: Tensor = self.layer(x)
        return out


class WideResNet(Network):
    """A wide residual network of three stages.

    Args:
        blocks: n, blocks per stage; the depth is 6 n + 4.
        factor: k; the stages are 16 k, 32 k and 64 k channels wide.
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, blocks: int, factor: int, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = WideStage(blocks, 16, 16 * factor, stride=1)
        self.block2 = WideStage(blocks, 16 * factor, 32 * factor, stride=2)
        self.block3 = WideStage(blocks, 32 * factor, 64 * factor, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.fc = nn.Linear(64 * factor, num_classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f3 [B, c, h, w] and the pooled f4 [B, D].

        With ``preact``, f1 .. f3 have passed the BatchNorm that comes next: f1 and f2 that of the next stage's first
        block, which then runs a second time, f3 the last one. Only in eval mode; in train mode ValueError is raised.
        """
        check_preact(return_features, preact)
        f0 = self.conv1(images)
        f1 = self.block1(f0)
        f2 = self.block2(f1)
        f3 = self.block3(f2)
        normed3 = self.bn1(f3)
        pooled = global_average(F.relu(normed3))
        logits: Tensor = self.fc(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((*self._normed(f1, f2), normed3) if preact else (f1, f2, f3)), pooled]

    def _normed(self, f1: Tensor, f2: Tensor) -> tuple[Tensor, Tensor]:
        norm1, norm2 = (stage.get_submodule("layer.0.bn1") for stage in (self.block2, self.block3))
        if norm1.training or norm2.training:
            raise ValueError(
                "preact=True runs two BatchNorms of this network a second time, which in train mode would update "
                "their statistics twice: call model.eval() first"
            )
        return norm1(f1), norm2(f2)
