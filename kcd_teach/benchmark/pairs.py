"""Who teaches whom? The eleven pairs of the benchmark, and any other two networks."""

from dataclasses import dataclass

from kcd_teach._checks import check_choice
from kcd_teach.models import list_models

RATE, LOW_RATE = 0.05, 0.01
LOW_RATE_STUDENTS = ("MobileNetV2", "ShuffleV1", "ShuffleV2")
"""Students that the benchmark trains with the lower learning rate."""


@dataclass(frozen=True)
class Pair:
    """A teacher and a student.

    Attributes:
        name: as in the published table, ``"W40-2>W16-2"``; of other pairs, both networks' names, ``"resnet20>resnet8"``.
        teacher, student: names that :func:`kcd_teach.models.create_model` knows.
    """

    name: str
    teacher: str
    student: str

    @property
    def learning_rate(self) -> float:
        """Of the student's first epochs."""
        return rate_of(self.student)


def rate_of(network: str) -> float:
    """The benchmark's learning rate for a network that is trained, as student or as teacher."""
    return LOW_RATE if network in LOW_RATE_STUDENTS else RATE


_SHORT = {
    "W40-2": "wrn_40_2",
    "W40-1": "wrn_40_1",
    "W16-2": "wrn_16_2",
    "R56": "resnet56",
    "R20": "resnet20",
    "R32x4": "resnet32x4",
    "R8x4": "resnet8x4",
    "V13": "vgg13",
    "V8": "vgg8",
    "R50": "ResNet50",
    "MN2": "MobileNetV2",
    "SN1": "ShuffleV1",
    "SN2": "ShuffleV2",
}
_TABLE = (
    "W40-2>W16-2", "W40-2>W40-1", "R56>R20", "R32x4>R8x4", "V13>V8", "V13>MN2", "R50>MN2", "R50>V8", "R32x4>SN1",
    "R32x4>SN2", "W40-2>SN1",
)  # fmt: skip
PAIRS = tuple(Pair(name, *(_SHORT[network] for network in name.split(">"))) for name in _TABLE)
"""The columns of the published table, in its order."""


def find_pair(name: str) -> Pair:
    """A pair by its name in the table, or any two networks as ``TEACHER>STUDENT``.

    Raises:
        ValueError: neither; the message has the nearest name.

    >>> find_pair("V13>MN2").learning_rate, find_pair("resnet20>resnet8").student
    (0.01, 'resnet8')
    """
    known = {pair.name.casefold(): pair for pair in PAIRS}
    known |= {f"{pair.teacher}>{pair.student}".casefold(): pair for pair in PAIRS}
    teacher, arrow, student = name.partition(">")
    if name.casefold() not in known and arrow and (teacher in list_models() or student in list_models()):
        check_choice("pair's teacher", teacher, list_models())
        check_choice("pair's student", student, list_models())
        return Pair(name, teacher, student)
    if name.casefold() not in known:
        check_choice("pair", name, [pair.name for pair in PAIRS])
    return known[name.casefold()]
