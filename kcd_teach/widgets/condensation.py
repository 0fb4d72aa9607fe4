"""The condensation explorer: what a ratio does to the schedule, the ranking, the classes, and what was measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kcd_teach.condensation import DROPPED, KEPT, MIXED, PRESETS, Condenser, Mixture, event_epochs, relative_cost
from kcd_teach.datasets import Dataset
from kcd_teach.figures.samples import RankingPlot, SchedulePlot
from kcd_teach.figures.style import new_figure, styled
from kcd_teach.statistics import interval
from kcd_teach.widgets.instrument import Instrument, choice

STAGES = (1, 2, 3, 4, 6, 8, 12)
"""Numbers of stages that divide the 24 epochs of the course, as the released preset wants."""
FEWEST = 5
"""Seeds below which an accuracy is not shown yet."""
PAPER = {"preset": "paper", "stages": 6, "exponent": 0.03, "mixing": 30}
"""The setting of the paper, in which accuracies were measured."""
ROUNDING = 0.3
"""Percent by which a cost may differ from one that was measured, as counts of samples are whole numbers."""


@dataclass(frozen=True)
class Source:
    """A recorded run that settings are replayed on, with what was measured on the same images.

    Attributes:
        dataset: whose training images were shown.
        entropies: of the student in every epoch, float32 [E, N], nats, of a run of plain KD.
        measured: family of runs, ``"KC-KD"``, ``"random subset"``, ``"KD"`` or ``"labels alone"`` -> cost relative to
            plain KD -> accuracies in percent by seed, as :func:`kcd_teach.benchmark.curves.accuracy_by_cost` finds them.
    """

    dataset: Dataset
    entropies: np.ndarray
    measured: Mapping[str, Mapping[float, Mapping[int, float]]]


@dataclass(frozen=True)
class Moment:
    """A replay at the end of one epoch, and what is decided then if it ends a stage.

    Attributes:
        epoch: after which it comes.
        shown: ids of the samples that were active in this epoch.
        ranking: ids, int64 [N], highest score first.
        score: of the samples in that order, float64 [N].
        roles: int8 [N], by id, from now on.
        mixture: what is blended from now on.
    """

    epoch: int
    shown: Tensor
    ranking: Tensor
    score: Tensor
    roles: Tensor
    mixture: Mixture


def replay(condenser: Condenser, entropies: np.ndarray, every: bool = False) -> list[Moment]:
    """Hand a condenser the recorded entropies of the samples it holds active, epoch by epoch; its events within the run.

    The student of the recording saw all samples, so this is a thought experiment: it shows what the method would choose,
    and not what a student would have learned from it.

    Args:
        condenser: a new one, for the samples and epochs of the recording.
        entropies: [E, N], nats.
        every: return all epochs, and not only those that an event follows.
    """
    config = condenser.config
    ends = event_epochs(config["epochs"], config["stages"])
    moments = []
    for epoch, row in enumerate(torch.from_numpy(entropies), start=1):
        shown = condenser.active
        condenser.record(shown, row[shown])
        wanted = every or epoch in ends
        ranking, score = (condenser.ranking(), condenser.score) if wanted else (shown, row)
        condenser.end_epoch()
        if wanted:
            moments.append(Moment(epoch, shown, ranking, score[ranking], condenser.roles, condenser.mixture))
    return moments


class CondensationExplorer(Instrument):
    """Choose a ratio, and see at once what the method does with it, and what was measured.

    Every setting is replayed through a real :class:`~kcd_teach.Condenser` from recorded entropies.

    Args:
        sources: name -> recorded run, the first one shown at the start.
    """

    drawing, alt = (
        "condensation",
        "A condensation ratio, with what it costs, whom it keeps, and what was measured with it.",
    )
    TILES, PAIRS = 7, 5
    RATIOS = range(10, 101, 10)
    """Those that a page without a kernel offers."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        names = list(self._sources)
        self.page = {"preset": PRESETS, "ratio": self.RATIOS}
        controls = [
            choice("images", "images", names, names[0]),
            choice("preset", "preset", PRESETS, "paper"),
            choice("ratio", "ratio", range(5, 101), 70, "%"),
            choice("stages", "stages", STAGES, 6),
            choice("exponent", "frequency exponent", (0.0, 0.01, 0.03, 0.1, 0.3, 1.0), 0.03),
            choice("mixing", "mixing strength", range(0, 101, 5), 30, "%"),
        ]
        first = self._sources[names[0]]
        self._measured = {name: _intervals(source.measured) for name, source in self._sources.items()}
        super().__init__(
            controls, classes=list(first.dataset.classes), measured=self._measured, epochs=len(first.entropies)
        )

    def replayed(self, setting: Mapping[str, Any]) -> tuple[Condenser, list[Moment]]:
        """A condenser of this setting at the end of its run, and the events it went through."""
        source = self._sources[setting["images"]]
        condenser = Condenser(
            source.entropies.shape[1],
            ratio=setting["ratio"] / 100,
            stages=setting["stages"],
            epochs=len(source.entropies),
            preset=setting["preset"],
            alpha=setting["exponent"],
            mixing_strength=setting["mixing"] / 100,
        )
        return condenser, replay(condenser, source.entropies)

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule with its cost, and of every event the ranking, its cut, the classes and some samples."""
        condenser, events = self.replayed(setting)
        source = self._sources[setting["images"]]
        cost = 100 * relative_cost(condenser.counts, condenser.config["epochs"])
        shown = [
            {**self._event(event, source.dataset), "returned": returned}
            for event, returned in zip(events, _returned(events), strict=False)
        ]
        kept = condenser.counts[-1]
        stages = "1 stage" if setting["stages"] == 1 else f"{setting['stages']} stages"
        accuracy, said, compared = self._accuracy(setting, cost)
        text = (
            f"{setting['ratio']} % in {stages}: the run ends with {kept:,} of {condenser.counts[0]:,} samples and "
            f"costs {cost:.1f} % of plain KD, which always shows all.{said}"
        )
        return {
            "setting": dict(setting),
            "counts": list(condenser.counts),
            "cost": cost,
            "accuracy": accuracy,
            "compared": compared,
            "events": shown,
            "text": text,
        }

    def _accuracy(self, setting: Mapping[str, Any], cost: float) -> tuple[list[float] | None, str, str]:
        """What was measured at a cost: mean and half of its interval, a sentence on it, and one on a random subset."""
        families = self._measured[setting["images"]]
        condensed, plain = families.get("KC-KD", []), [row for row in families.get("KD", []) if row[0] == 100]
        if any(setting[name] != value for name, value in PAPER.items()):
            return None, " Students were trained only as in the paper: 6 stages, exponent 0.03, mixing 30 %.", ""
        found, random = (
            next((row for row in rows if abs(row[0] - cost) < ROUNDING), None)
            for rows in (condensed + plain, families.get("random subset", []))
        )
        if found is None:
            ratios = [f"{2 * row[0] - 100:.0f}" for row in condensed]
            where = " and ".join([", ".join(ratios[:-1]), ratios[-1]] if len(ratios) > 1 else ratios)
            return None, f" Students were trained at {where} %." if where else "", ""
        said = f" Test accuracy as measured: {_spread(found)}" + (
            f"; plain KD reached {_spread(plain[0])}." if plain and found is not plain[0] else "."
        )
        beside = f"A random subset: {_spread(random)}. " if random else ""
        return found[1:3], said, f"{beside}Means of {found[3]} seeds, 95 % intervals."

    def tiles(self, setting: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[Tensor, list[int]]:
        """The samples beside the cut, and the pairs that are blended."""
        events = [event for answer in answers for event in answer["events"]]
        ids = [i for e in events for i in (*e["above"], *e["below"], *(j for pair in e["pairs"] for j in pair[:2]))]
        return self._sources[setting["images"]].dataset.train_images, ids

    def _event(self, event: Moment, dataset: Dataset) -> dict[str, Any]:
        """What the picture shows of one event, as plain numbers."""
        n, kept = len(event.ranking), int((event.roles != DROPPED).sum())
        points = np.linspace(0, n - 1, 101).astype(int)
        by_class = torch.stack([_by_class(event.roles == role, dataset) for role in (KEPT, MIXED)])
        mixture = event.mixture
        some = torch.linspace(0, max(len(mixture) - 1, 0), min(self.PAIRS, len(mixture))).long()
        return {
            "epoch": event.epoch,
            "curve": [round(float(score), 4) for score in event.score[points]],
            "kept": 100 * int((event.roles == KEPT).sum()) / n,
            "mixed": 100 * int((event.roles == MIXED).sum()) / n,
            "cut": round(float(event.score[kept - 1]), 4),
            "classes": by_class.round(decimals=1).tolist(),
            "above": event.ranking[max(kept - self.TILES, 0) : kept].tolist(),
            "below": event.ranking[kept : kept + self.TILES].tolist(),
            "pairs": [
                [int(mixture.boundary[i]), int(mixture.partners[i]), round(float(mixture.coefficients[i]), 4)]
                for i in some
            ],
        }

    @styled
    def still(self) -> Figure:
        """Ranking and schedule of the current setting."""
        condenser, events = self.replayed(self.setting)
        figure, (ranking, schedule) = new_figure(8.6, 3.2, 1, 2)
        SchedulePlot(schedule).update(condenser.counts, relative_cost(condenser.counts, condenser.config["epochs"]))
        if events:
            last = events[-1]
            kept, mixed = (100 * float((last.roles == role).double().mean()) for role in (KEPT, MIXED))
            RankingPlot(ranking).update(last.score[:: max(len(last.score) // 400, 1)].numpy(), kept, mixed)
        return figure


def _intervals(measured: Mapping[str, Mapping[float, Mapping[int, float]]]) -> dict[str, list[list[float]]]:
    """Family -> [cost in percent, mean accuracy, half of its 95 % interval, seeds] of what has enough seeds."""
    return {
        family: [
            [100 * cost, found.mean, found.half_width, found.n]
            for cost, runs in sorted(points.items())
            if len(runs) >= FEWEST and (found := interval(list(runs.values())))
        ]
        for family, points in measured.items()
    }


def _spread(measured: Sequence[float]) -> str:
    return f"{measured[1]:.1f} ± {measured[2]:.1f} %"


def _by_class(members: Tensor, dataset: Dataset) -> Tensor:
    """Share of every class that belongs to a set of samples, percent, float64 [C]."""
    size = torch.bincount(dataset.train_labels, minlength=len(dataset.classes))
    return 100 * torch.bincount(dataset.train_labels[members], minlength=len(dataset.classes)).double() / size


def _returned(events: Sequence[Moment]) -> list[int]:
    """How many samples each event brings back that had been dropped before."""
    dropped = [event.roles == DROPPED for event in events]
    return [0, *(int((before & ~after).sum()) for before, after in pairwise(dropped))]
