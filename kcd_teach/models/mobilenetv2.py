"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) at half width, for small images, laid out as in RepDistiller.

Differences to the paper: strides for small images, ReLU instead of ReLU6, and the first block expands too (by one).
"""

from torch import Tensor, nn

from kcd_teach.models.network import Network, Output, check_preact, global_average, init_convolutions, init_linear

# Of each stage: expansion, output width, blocks, stride of the first block.
_STAGES = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))


def _conv_bn(in_width: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_width, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(width)]


class InvertedResidual(nn.Module):
    """1x1 wide, 3x3 depthwise, 1x1 narrow again without a ReLU; a shortcut where shapes stay the same."""

    def __init__(self, expansion: int, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        inner = expansion * in_width
        self.conv = nn.Sequential(
            *_conv_bn(in_width, inner, 1),
            nn.ReLU(),
            *_conv_bn(inner, inner, 3, stride, groups=inner),
            nn.ReLU(),
            *_conv_bn(inner, width, 1),
        )
        self.residual = stride == 1 and in_width == width

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to [B, width, h / stride, w / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(Network):
    """Seven stages of inverted residuals between a 3x3 convolution and a 1x1 convolution to 1280 channels.

    Args:
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_bn(in_channels, 16, 3, stride=2), nn.ReLU())
        self.blocks = nn.ModuleList()
        in_width = 16
        for expansion, width, blocks, stride in _STAGES:
            first = InvertedResidual(expansion, in_width, width, stride)
            others = (InvertedResidual(expansion, width, width, 1) for _ in range(blocks - 1))
            self.blocks.append(nn.Sequential(first, *others))
            in_width = width
        self.conv2 = nn.Sequential(*_conv_bn(in_width, 1280, 1), nn.ReLU())
        linear = nn.Linear(1280, num_classes)
        self.classifier = nn.Sequential(linear)
        init_convolutions(self)
        init_linear(linear)

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f4 [B, c, h, w] and the pooled f5 [B, 1280].

        f1 .. f4 come after stages 1, 2, 4 and 6 (counted from 0), whose outputs are linear: ``preact`` changes nothing.
        """
        check_preact(return_features, preact)
        f0 = self.conv1(images)
        f1 = self.blocks[1](self.blocks[0](f0))
        f2 = self.blocks[2](f1)
        f3 = self.blocks[4](self.blocks[3](f2))
        f4 = self.blocks[6](self.blocks[5](f3))
        pooled = global_average(self.conv2(f4))
        logits: Tensor = self.classifier(pooled)
        return (logits, [f0, f1, f2, f3, f4, pooled]) if return_features else logits
