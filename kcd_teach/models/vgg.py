"""Plain deep networks (Simonyan & Zisserman 2014, arXiv 1409.1556) with BatchNorm, laid out as in RepDistiller.

Five blocks of 3x3 convolutions, max pooling after the first three, global average pooling, one linear layer.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.models.network import Network, Output, check_preact, global_average, init_convolutions, init_linear


class VGG(Network):
    """Five blocks of convolutions, 64, 128, 256, 512 and 512 channels wide.

    Args:
        convolutions: how many in each of the five blocks.
        num_classes: C.
        in_channels: channels of the images.
    """

    def __init__(self, convolutions: Sequence[int], num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        first, second, third, fourth, fifth = convolutions
        self.block0 = self._block(first, in_channels, 64)
        self.block1 = self._block(second, 64, 128)
        self.block2 = self._block(third, 128, 256)
        self.block3 = self._block(fourth, 256, 512)
        self.block4 = self._block(fifth, 512, 512)
        self.classifier = nn.Linear(512, num_classes)
        init_convolutions(self)
        init_linear(self.classifier)

    @staticmethod
    def _block(convolutions: int, in_width: int, width: int) -> nn.Sequential:
        """Convolution, BatchNorm, ReLU and so on; ends with a BatchNorm."""
        layers: list[nn.Module] = []
        for index in range(convolutions):
            conv = nn.Conv2d(width if index else in_width, width, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Return logits [B, C]; with ``return_features`` also f0 .. f4 [B, c, h, w] and the pooled f5 [B, 512].

        Features are taken after a block's last ReLU and before the pooling; with ``preact``, f1 .. f4 before that
        ReLU. Images 64 pixels high are also pooled before the last block.
        """
        check_preact(return_features, preact)
        f0 = F.relu(self.block0(images))
        raw1 = self.block1(F.max_pool2d(f0, 2))
        f1 = F.relu(raw1)
        raw2 = self.block2(F.max_pool2d(f1, 2))
        f2 = F.relu(raw2)
        raw3 = self.block3(F.max_pool2d(f2, 2))
        f3 = F.relu(raw3)
        raw4 = self.block4(F.max_pool2d(f3, 2) if images.shape[2] == 64 else f3)
        f4 = F.relu(raw4)
        pooled = global_average(f4)
        logits: Tensor = self.classifier(pooled)
        if not return_features:
            return logits
        return logits, [f0, *((raw1, raw2, raw3, raw4) if preact else (f1, f2, f3, f4)), pooled]
