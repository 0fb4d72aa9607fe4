"""How is a student trained? The rows of the published table, every method condensed, and variants for ablations."""

from dataclasses import dataclass
from typing import Any

from kcd_teach._checks import check_choice
from kcd_teach.condensation import Condenser
from kcd_teach.condensation.schedule import event_epochs
from kcd_teach.distillers import list_distillers

TITLES = {
    "kd": "KD", "fitnet": "FitNet", "at": "AT", "sp": "SP", "vid": "VID", "rkd": "RKD", "pkt": "PKT", "crd": "CRD",
    "wcord": "WCoRD", "reviewkd": "ReviewKD", "sskd": "SSKD",
}  # fmt: skip
RATIO, STAGES = 0.7, 6
COST = (1 + RATIO) / 2
"""Samples that a condensed run shows, relative to a plain one, in the paper's preset."""

VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"preset": "released"},
    "no-mixing": {"mixing": False},
    "random": {"selection": "random", "mixing": False},
    "short": {},
}
"""Ablations, written ``ROW@VARIANT``: settings of the condenser; ``short`` is a plain row of fewer epochs instead."""


MEANINGS = {
    "released": "settings of the authors' code", "no-mixing": "nothing is blended",
    "random": "drawn at random, nothing blended", "short": "all samples, fewer epochs",
}  # fmt: skip
"""What a variant changes, in a few words."""


@dataclass(frozen=True)
class Row:
    """One way to train a student.

    Attributes:
        name: as in the published table, ``"KC-CRD"``, with ``@VARIANT`` for an ablation.
        method: name of the distiller, ``"crd"``; empty for a network trained on labels alone.
        condensed: are fewer and fewer samples shown?
        variant: a key of :data:`VARIANTS`, or empty.
    """

    name: str
    method: str = ""
    condensed: bool = False
    variant: str = ""

    @property
    def meaning(self) -> str:
        """How it is trained, in a few words."""
        if self.variant:
            return MEANINGS[self.variant]
        if not self.method:
            return "labels alone"
        return "fewer and fewer samples" if self.condensed else "all samples in every epoch"

    def epochs(self, of_scale: int) -> int:
        """Length of a run at a scale of E epochs; the short variant costs what a condensed run costs."""
        return max(1, round(COST * of_scale)) if self.variant == "short" else of_scale

    def condenser_settings(self, epochs: int, seed: int) -> dict[str, Any]:
        """Arguments of the condenser beside the number of samples; empty for a row that shows all."""
        if not self.condensed:
            return {}
        stages = min(STAGES, epochs)
        return {"ratio": RATIO, "stages": stages, "epochs": epochs, "seed": seed, **VARIANTS.get(self.variant, {})}

    def shown(self, num_samples: int, of_scale: int) -> list[int]:
        """Samples shown to the student in every epoch of a run."""
        epochs = self.epochs(of_scale)
        settings = self.condenser_settings(epochs, seed=0)
        if not settings:
            return [num_samples] * epochs
        counts = Condenser(num_samples, **settings).counts
        events = event_epochs(epochs, settings["stages"])
        return [counts[sum(epoch >= event for event in events)] for epoch in range(epochs)]


STUDENT = Row("Student")
PLAIN_ROWS = tuple(Row(title, method) for method, title in TITLES.items())
CONDENSED_ROWS = tuple(Row(f"KC-{TITLES[method]}", method, True) for method in ("kd", "pkt", "crd", "sskd"))
ROWS = (STUDENT, *PLAIN_ROWS, *CONDENSED_ROWS)
"""The trained rows of the published table, in its order: the student alone and fifteen methods."""


def find_row(name: str) -> Row:
    """A row by its name; beyond the table any ``KC-NAME``, and ``ROW@VARIANT``. Upper and lower case are the same.

    Raises:
        ValueError: an unknown row or variant, with the nearest name; a variant that does not fit the row.

    >>> find_row("kc-fitnet").name, find_row("KC-KD@released").condenser_settings(240, seed=0)["preset"]
    ('KC-FitNet', 'released')
    """
    base, at, variant = name.partition("@")
    row = _find_base(base)
    if not at:
        return row
    check_choice("variant", variant, VARIANTS)
    if row == STUDENT:
        raise ValueError(f"row={name!r} does not exist: the student alone has no variants")
    if (variant == "short") == row.condensed:
        wanted = TITLES[row.method] if row.condensed else f"KC-{TITLES[row.method]}"
        raise ValueError(f"row={name!r} does not exist; the variant {variant!r} belongs to {wanted}@{variant}")
    return Row(f"{row.name}@{variant}", row.method, row.condensed, variant)


def _find_base(name: str) -> Row:
    """A row without a variant."""
    known = {row.name.casefold(): row for row in ROWS}
    for method in list_distillers():
        title = TITLES.get(method, method)
        known.setdefault(title.casefold(), Row(title, method))
        known.setdefault(f"kc-{title}".casefold(), Row(f"KC-{title}", method, condensed=True))
    if name.casefold() not in known:
        check_choice("row", name, [row.name for row in known.values()])
    return known[name.casefold()]
