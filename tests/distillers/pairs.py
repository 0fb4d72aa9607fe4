"""The eleven pairs of the benchmark and the shapes of their features, written down by hand."""

from typing import NamedTuple

import pytest

from kcd_teach.distillers import Taps

_NARROW = ((16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8), (64,))
_WIDE = ((32, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (256,))
_WRN_2 = ((16, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8), (128,))
_VGG = ((64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4), (512,))

TAPS = {
    "resnet20": _NARROW,
    "resnet56": _NARROW,
    "resnet8x4": _WIDE,
    "resnet32x4": _WIDE,
    "wrn_40_1": _NARROW,
    "wrn_16_2": _WRN_2,
    "wrn_40_2": _WRN_2,
    "vgg8": _VGG,
    "vgg13": _VGG,
    "ShuffleV1": ((24, 32, 32), (240, 16, 16), (480, 8, 8), (960, 4, 4), (960,)),
    "ShuffleV2": ((24, 32, 32), (116, 16, 16), (232, 8, 8), (464, 4, 4), (1024,)),
    "MobileNetV2": ((16, 16, 16), (12, 16, 16), (16, 8, 8), (48, 4, 4), (160, 2, 2), (1280,)),
    "ResNet50": ((64, 32, 32), (256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4), (2048,)),
}


class Pair(NamedTuple):
    """Who teaches whom, and the numbers of the benchmark that belong to the pair."""

    teacher: str
    student: str
    regressor: int  # parameters of FitNet's
    embeddings: int  # parameters of CRD's two
    review: int  # parameters of ReviewKD's fusions
    review_weight: float
    review_width: int

    @property
    def taps(self) -> Taps:
        return Taps(TAPS[self.student], TAPS[self.teacher], self.student, self.teacher)


PAIRS = [
    Pair("wrn_40_2", "wrn_16_2", 4_288, 33_024, 453_830, 5.0, 128),
    Pair("wrn_40_2", "wrn_40_1", 2_240, 24_832, 216_006, 5.0, 64),
    Pair("resnet56", "resnet20", 1_120, 16_640, 114_278, 0.6, 64),
    Pair("resnet32x4", "resnet8x4", 16_768, 65_792, 1_808_774, 5.0, 256),
    Pair("vgg13", "vgg8", 66_304, 131_328, 9_847_560, 5.0, 512),
    Pair("vgg13", "MobileNetV2", 4_864, 229_632, 9_640_712, 5.0, 512),
    Pair("ResNet50", "MobileNetV2", 132_608, 426_240, 27_933_192, 30.0, 512),
    Pair("ResNet50", "vgg8", 2_098_688, 327_936, 28_140_040, 5.0, 512),
    Pair("resnet32x4", "ShuffleV1", 983_424, 155_904, 4_607_366, 5.0, 512),
    Pair("resnet32x4", "ShuffleV2", 475_520, 164_096, 4_195_718, 8.0, 512),
    Pair("wrn_40_2", "ShuffleV1", 491_712, 139_520, 2_984_646, 5.0, 512),
]

each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.teacher}-{pair.student}")
