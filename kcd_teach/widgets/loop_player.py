"""The loop player: the feedback loop of a run, epoch by epoch, with both presets side by side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kcd_teach.condensation import DROPPED, KEPT, MIXED, PRESETS, Condenser, event_epochs
from kcd_teach.datasets import Dataset
from kcd_teach.figures.samples import RankingPlot
from kcd_teach.figures.style import new_figure, styled
from kcd_teach.widgets.condensation import Moment, replay
from kcd_teach.widgets.instrument import Instrument, choice, levels, packed

LOWEST = 0.003
"""Scores below this one, in nats, are always at the bottom of the logarithmic axis."""


class LoopPlayer(Instrument):
    """Play a run epoch by epoch: what the student says, how the ranking moves, and what each event decides.

    Both presets are replayed through a real :class:`~kcd_teach.Condenser` from the recorded entropies.

    Args:
        dataset: whose training images were shown.
        entropies: of the student, float32 [E, N], nats, of a run in which every sample was recorded.
        ratio: fraction of the samples that is kept in the end.
        stages: of the run; they must divide E.

    Raises:
        ValueError: an entropy is missing, or an argument that the condenser refuses.
    """

    drawing = "loop_player"
    alt = "The feedback loop with the numbers of a run, and the ranking of its samples, for the paper's and the released preset."
    fixed = True
    DOTS, PICTURES = 300, 8

    def __init__(self, dataset: Dataset, entropies: np.ndarray, ratio: float = 0.7, stages: int = 6) -> None:
        entropies = np.asarray(entropies, dtype=np.float32)
        epochs, n = entropies.shape
        if np.isnan(entropies).any():
            raise ValueError("an entropy is missing: the player needs a run in which every sample was recorded")
        if n != len(dataset.train_images):
            raise ValueError(f"the recording holds {n:,} samples, and {dataset!r}")
        self._images = dataset.train_images.cpu()
        self._moments: dict[str, list[Moment]] = {}
        self._reports: dict[str, list[dict[str, Any]]] = {}
        for preset in PRESETS:
            condenser = Condenser(n, ratio=ratio, stages=stages, epochs=epochs, preset=preset)
            self._moments[preset] = replay(condenser, entropies, every=True)
            ends = event_epochs(epochs, stages)
            self._reports[preset] = reports(
                self._moments[preset], entropies, [*ends, epochs] if preset == "released" else ends
            )
        first = self._moments["paper"]
        self._pictures = self.to_follow()
        ranking = first[min(epochs // stages, epochs) - 1].ranking
        spread = ranking[np.linspace(0, n - 1, min(self.DOTS, n)).astype(int)].tolist()
        self._dots = list(dict.fromkeys([*self._pictures, *spread]))
        scores = torch.stack([moment.score for moments in self._moments.values() for moment in moments])
        self._low = max(float(np.quantile(scores, 0.005)) / 1.5, LOWEST)
        self._top = max(float(scores.max()), 10 * self._low)
        controls = [
            choice("epoch", "epoch", range(1, epochs + 1), event_epochs(epochs, stages)[0] if stages > 1 else 1)
        ]
        super().__init__(
            controls,
            presets={preset: self.paths(preset) for preset in PRESETS},
            ticks=[
                [self.height(np.array(score)).item(), f"{score:g}"]
                for score in (0.01, 0.03, 0.1, 0.3, 1.0)
                if self._low < score < self._top
            ],
            pictures=self._pictures,
            samples=n,
            stages=stages,
        )

    def height(self, score: np.ndarray) -> np.ndarray:
        """Where on a logarithmic axis a score is, 0 to 1."""
        share = np.log(np.maximum(score, self._low) / self._low) / np.log(self._top / self._low)
        return np.asarray(np.clip(share, 0, 1))

    def to_follow(self) -> list[int]:
        """A few samples to follow, of different ways through the paper's run, as far as there are any."""
        role = torch.stack([moment.roles for moment in self._moments["paper"]])
        dropped, mixed = role == DROPPED, role == MIXED
        comes_back = (dropped[:-1] & ~dropped[1:]).any(dim=0)
        ways = [
            comes_back,
            mixed.any(dim=0) & dropped[-1] & ~comes_back,
            dropped[-1] & ~mixed.any(dim=0) & ~comes_back,
            mixed.any(dim=0) & ~dropped.any(dim=0),
            (role == KEPT).all(dim=0),
        ]
        chosen: list[int] = []
        for way in (torch.nonzero(way).flatten() for way in ways):
            some = torch.linspace(0, max(len(way) - 1, 0), min(2, len(way))).long()
            chosen += way[some].tolist()
        return chosen[: self.PICTURES]

    def paths(self, preset: str) -> dict[str, Any]:
        """Where the followed samples are after every epoch, and what they are then.

        Their place across is that of the last event (before the first one, that of epoch 1), and their height is the
        score of this epoch: between two events only scores move, and an event puts the samples into a new order.
        """
        moments = self._moments[preset]
        n = len(moments[0].ranking)
        place, height, role = [], [], []
        across = torch.empty(n, dtype=torch.float64)
        for moment, report in zip(moments, self._reports[preset], strict=True):
            score = torch.empty(n, dtype=torch.float64)
            score[moment.ranking] = moment.score
            if moment.epoch == 1 or report["now"]:
                across[moment.ranking] = torch.linspace(0, 1, n, dtype=torch.float64)
            place.append(across[self._dots].numpy())
            height.append(self.height(score[self._dots].numpy()))
            role.append(moment.roles[self._dots].numpy())
        return {
            "place": levels(np.stack(place)),
            "height": levels(np.stack(height)),
            "role": packed(np.stack(role).astype(np.uint8)),
            "kept": [int((moment.roles != DROPPED).sum()) / n for moment in moments],
        }

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers of the loop in this epoch, for both presets."""
        epoch = setting["epoch"]
        numbers = {preset: found[epoch - 1] for preset, found in self._reports.items()}
        said = " ".join(f"{preset.capitalize()} preset: {_spoken(found)}" for preset, found in numbers.items())
        return {"numbers": numbers, "text": f"Epoch {epoch} of {len(self._moments['paper'])}. {said}"}

    def tiles(self, setting: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[Tensor, list[int]]:
        """The samples that are followed as pictures."""
        return self._images, self._pictures

    @styled
    def still(self) -> Figure:
        """The ranking of both presets after the epoch."""
        figure, panels = new_figure(8.6, 3.0, 1, 2)
        for axes, (preset, moments) in zip(panels, self._moments.items(), strict=True):
            moment = moments[self.setting["epoch"] - 1]
            kept, mixed = (100 * float((moment.roles == role).double().mean()) for role in (KEPT, MIXED))
            RankingPlot(axes).update(moment.score[:: max(len(moment.score) // 400, 1)].numpy(), kept, mixed)
            axes.set_title(f"{preset}, after epoch {moment.epoch}")
        return figure


def reports(moments: Sequence[Moment], entropies: np.ndarray, ends: Sequence[int]) -> list[dict[str, Any]]:
    """The numbers of every epoch: samples shown, their mean entropy, and what the last event has decided."""
    found: list[dict[str, Any]] = []
    out, event = torch.zeros(entropies.shape[1], dtype=torch.bool), None
    for moment, row in zip(moments, entropies, strict=True):
        if moment.epoch in ends:
            now = moment.roles == DROPPED
            event = {
                "epoch": moment.epoch,
                "left": int((now & ~out).sum()),
                "returned": int((out & ~now).sum()),
                "blended": len(moment.mixture),
                "kept": int((~now).sum()),
                "cut": round(float(moment.score[int((~now).sum()) - 1]), 4),
            }
            out = now
        found.append(
            {
                "shown": len(moment.shown),
                "entropy": round(float(row[moment.shown.numpy()].mean(dtype=float)), 4),
                "event": event,
                "next": next((end for end in ends if end > moment.epoch), None),
                "now": moment.epoch in ends,
            }
        )
    return found


def _spoken(found: Mapping[str, Any]) -> str:
    event = found["event"]
    text = f"{found['shown']:,} samples are shown, mean entropy {found['entropy']:.2f} nats"
    if not found["now"]:
        return (
            f"{text}; {'the next event follows epoch ' + str(found['next']) if found['next'] else 'no event follows'}."
        )
    return (
        f"{text}; event: {event['left']:,} leave, {event['returned']:,} return, {event['blended']:,} are blended, "
        f"cut at {event['cut']:.3f} nats."
    )
