"""What was published? Top-1 accuracy on CIFAR-100 in percent, as printed on the poster of the paper, with its footnotes.

Deltas are those printed, of a condensed row against the same row uncondensed.
"""

from dataclasses import dataclass

from kcd_teach.benchmark.pairs import PAIRS

NOTES = {
    "a": (
        "The README of RepDistiller gives 71.98 for W40-1 trained alone; 73.26 is the value of W16-2. The cell looks like "
        "a copying slip; it stands as printed, and 71.98 is the baseline to use."
    ),
    "b": "CRD with KD added, as in the CRD paper's rows CRD+KD; KC-CRD is compared with it.",
    "c": "Not the numbers of the SSKD paper.",
    "d": "The printed delta is -0.21; the difference of the two printed accuracies is -0.19.",
}
"""What must be said beside some of the numbers."""

STUDENT_BASELINES = {"W40-2>W40-1": 71.98}
"""Student accuracies to use where the printed one is doubtful, note (a)."""


@dataclass(frozen=True)
class Published:
    """One cell of the published table.

    Attributes:
        accuracy: percent.
        delta: printed gain over the uncondensed row, percentage points; None where none is printed.
        note: a key of :data:`NOTES`, or empty.
        digits: decimals as printed.
    """

    accuracy: float
    delta: float | None = None
    note: str = ""
    digits: int = 2

    def __str__(self) -> str:
        return f"{self.accuracy:.{self.digits}f}" + (f" ({self.note})" if self.note else "")


# Columns: the eleven pairs in order. A line is read as "accuracy", "accuracy(delta)"; "-" was not published.
_PRINTED = {
    "Teacher": ("75.61 75.61 72.34 79.42 74.64 74.64 79.34 79.34 79.42 79.42 75.61"),
    "Student": ("73.26 73.26 69.06 72.50 70.36 64.60 64.60 70.36 70.50 71.82 70.50"),
    "KD": ("74.92 73.54 70.66 73.33 72.98 67.37 67.35 73.81 74.07 74.45 74.83"),
    "FitNet": ("73.58 72.24 69.21 73.50 71.02 64.14 63.16 70.69 73.59 73.54 73.73"),
    "AT": ("74.08 72.77 70.55 73.44 71.43 59.40 58.58 71.84 71.73 72.73 73.32"),
    "SP": ("73.83 72.43 69.67 72.94 72.68 66.30 68.08 73.34 73.48 74.56 74.52"),
    "VID": ("74.11 73.30 70.38 73.09 71.23 65.56 67.57 70.30 73.38 73.40 73.61"),
    "RKD": ("73.35 72.22 69.61 71.90 71.48 64.52 64.43 71.50 72.28 73.21 72.21"),
    "PKT": ("74.54 73.45 70.34 73.64 72.88 67.13 66.52 73.01 74.10 74.69 73.89"),
    "CRD": ("75.64 74.38 71.63 75.46 74.29 69.94 69.54 74.58 75.12 76.05 76.27"),
    "WCoRD": ("76.11 74.72 71.92 76.15 74.72 70.02 70.12 74.68 75.77 76.48 76.68"),
    "ReviewKD": ("76.12 75.09 71.89 75.63 74.84 70.37 69.89 - 77.45 77.78 77.14"),
    "SSKD": ("75.66 75.27 70.96 75.80 75.12 70.92 71.14 75.72 77.91 78.37 76.92"),
    "KC-KD": (
        "75.70(+0.78) 73.84(+0.30) 70.75(+0.09) 74.05(+0.72) 73.44(+0.46) 68.61(+1.24) "
        "67.94(+0.59) 74.41(+0.60) 74.33(+0.26) 75.19(+0.74) 75.60(+0.77)"
    ),
    "KC-PKT": (
        "75.01(+0.47) 74.12(+0.67) 72.08(+1.74) 74.45(+0.81) 72.82(-0.06) 67.99(+0.86) "
        "67.92(+1.40) 73.32(+0.31) 74.60(+0.50) 75.79(+1.10) 75.78(+1.89)"
    ),
    "KC-CRD": (
        "75.93(+0.29) 74.60(+0.22) 72.11(+0.48) 75.78(+0.32) 74.38(+0.09) 69.90(-0.04) "
        "69.82(+0.28) 74.49(-0.09) 75.74(+0.62) 76.44(+0.39) 76.4(+0.13)"
    ),
    "KC-SSKD": (
        "76.24(+0.58) 75.35(+0.08) 71.31(+0.35) 76.48(+0.68) 74.93(-0.21) 71.32(+0.40) "
        "71.29(+0.15) 75.65(-0.07) 78.28(+0.37) 78.59(+0.22) 77.61(+0.69)"
    ),
}
_CELL_NOTES = {("Student", "W40-2>W40-1"): "a", ("KC-SSKD", "V13>V8"): "d"}
_ROW_NOTES = {"CRD": "b", "SSKD": "c"}


def _read(row: str) -> dict[str, Published]:
    cells = {}
    for pair, text in zip(PAIRS, _PRINTED[row].split(), strict=True):
        number, _, delta = text.rstrip(")").partition("(")
        if number != "-":
            note = _CELL_NOTES.get((row, pair.name), "")
            digits = len(number.partition(".")[2])
            cells[pair.name] = Published(float(number), float(delta) if delta else None, note, digits)
    return cells


PUBLISHED = {row: _read(row) for row in _PRINTED}
"""Row, ``"Teacher"`` included -> name of the pair -> cell; a cell that was not published is absent."""


def published(row: str, pair: str) -> Published | None:
    """A cell of the published table by names; None where nothing was published.

    >>> str(published("KC-KD", "W40-2>W16-2")), published("ReviewKD", "R50>V8")
    ('75.70', None)
    """
    return PUBLISHED.get(row, {}).get(pair)


def note_of(row: str) -> str:
    """Note on a whole row, a key of :data:`NOTES`, or empty."""
    return _ROW_NOTES.get(row, "")


def gains(row: str) -> list[float]:
    """A condensed row minus the same row uncondensed, accuracies as printed, percentage points, pair by pair.

    The printed delta of note (d) is -0.21; its two accuracies give -0.19.
    """
    plain = PUBLISHED[row.removeprefix("KC-")]
    return [cell.accuracy - plain[pair].accuracy for pair, cell in PUBLISHED[row].items() if pair in plain]


def mean_gain(row: str) -> float:
    """Mean of :func:`gains` over the pairs; with the printed deltas KC-SSKD would have 0.295 instead of 0.296.

    >>> round(mean_gain("KC-KD"), 3)
    0.595
    """
    return sum(gains(row)) / len(gains(row))
