"""A plain convolutional network: three strided 3x3 convolutions and a linear layer, no shortcuts."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, check_preact, global_average


class ConvNet(Network):
    """Three times convolution (stride 2), BatchNorm, ReLU; then global average pooling and a linear layer.

    Args:
        widths: channels after each of the three convolutions.
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, widths: Sequence[int], num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        first, second, third = widths
        self.block1 = self._block(in_channels, first)
        self.block2 = self._block(first, second)
        self.block3 = self._block(second, third)
        self.fc = nn.Linear(third, num_classes)

    @staticmethod
    def _block(in_width: int, width: int) -> nn.Sequential:
        conv = nn.Conv2d(in_width, width, 3, stride=2, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f2 [B, c, h, w] and the pooled f3 [B, D].

        With ``preact``, f1 and f2 are taken before their ReLU.
        """
        check_preact(return_features, preact)
        f0 = F.relu(self.block1(images))
        raw1 = self.block2(f0)
        f1 = F.relu(raw1)
        raw2 = self.block3(f1)
        f2 = F.relu(raw2)
        pooled = global_average(f2)
        logits: Tensor = self.fc(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((raw1, raw2) if preact else (f1, f2)), pooled]
