"""The knowledge map: every training sample as a point, the teacher's amount against the student's value."""

from collections.abc import Iterable, Mapping, Sized
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kcd_teach.condensation import ROLES, Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.figures.style import TINTS, new_figure, styled
from kcd_teach.widgets.condensation import replay
from kcd_teach.widgets.instrument import PALETTE, Instrument, choice, levels, packed, sprites

VALUES = ("mean so far", "this epoch")
COLOURS = ("class", "role", "how it was learned")


class Recording(Protocol):
    """What a student said in every epoch, as of :func:`kcd_teach.lessons.measurements.load_trace`.

    Attributes:
        entropy: float [E, N], nats, NaN where a sample was not shown.
        said: the predicted classes, uint8 [E, N], 255 where a sample was not shown.
        correct: bool [E, N]; raises ValueError if ``said`` was not recorded.
    """

    @property
    def entropy(self) -> np.ndarray: ...  # noqa: D102
    @property
    def said(self) -> np.ndarray | None: ...  # noqa: D102
    @property
    def correct(self) -> np.ndarray: ...  # noqa: D102


def ways_of_learning(correct: np.ndarray) -> dict[str, np.ndarray]:
    """Sort samples by how they were learned, from whether the student was right, bool [E, N]; one group each.

    Learned early is right in every epoch from 4 to the last (of a shorter run, in the last); learned late is right in
    the last epoch, but wrong at least once from epoch 4 on.
    """
    early = correct[min(3, len(correct) - 1) :].all(axis=0)
    return {
        "learned early": early,
        "learned late": correct[-1] & ~early,
        "forgotten": ~correct[-1] & correct.any(axis=0),
        "never learned": ~correct.any(axis=0),
    }


class KnowledgeMap(Instrument):
    """See every sample move through a run: how much the teacher has to say, and how unsure the student still is.

    Args:
        dataset: whose training images were shown.
        amount: of every sample, float [N], nats.
        trace: what the student said in every epoch, with its predicted classes.
        teacher_probabilities: float [N, K], of which the three highest are shown.
        groups: name -> bool [N], how each sample was learned; every sample in one of them. By default
            :func:`ways_of_learning`.
        ratio, stages: of the condensation that gives the samples their roles, replayed from the recorded entropies.
        on_page: samples that a page without a kernel holds, evenly from all classes.

    Raises:
        ValueError: these do not belong together, or the recording lacks the predicted classes.
    """

    drawing = "knowledge_map"
    alt = "A map of all training samples, the teacher's amount across and the student's value up, through the epochs of a run."
    fixed = True

    def __init__(
        self,
        dataset: Dataset,
        amount: np.ndarray | Tensor,
        trace: Recording,
        teacher_probabilities: np.ndarray | Tensor,
        groups: Mapping[str, np.ndarray] | None = None,
        ratio: float = 0.7,
        stages: int = 6,
        on_page: int = 500,
    ) -> None:
        amount, probabilities = np.asarray(amount, dtype=float), torch.as_tensor(teacher_probabilities)
        correct = trace.correct
        epochs, n = trace.entropy.shape
        _check_sizes(n, dataset=dataset.train_images, amount=amount, teacher_probabilities=probabilities)
        self._images, self._labels = dataset.train_images.cpu(), dataset.train_labels.cpu().numpy()
        self._amount, self._entropy = amount, _last_recorded(trace.entropy)
        self._mean = np.cumsum(self._entropy, axis=0, dtype=float) / np.arange(1, epochs + 1)[:, None]
        self._right = correct.mean(axis=1)
        self._roles = _last_roles(Condenser(n, ratio=ratio, stages=min(stages, epochs), epochs=epochs), self._entropy)
        groups = ways_of_learning(correct) if groups is None else groups
        self._group = np.stack(list(groups.values())).argmax(axis=0)
        self._kinds = {
            "class": (list(dataset.classes), self._labels, TINTS),
            "role": (list(ROLES), self._roles, [PALETTE[role] for role in ROLES]),
            "how it was learned": (list(groups), self._group, TINTS),
        }
        self._page_ids = self._spread_by_class(min(on_page, n))
        self._top = float(max(np.log(len(dataset.classes)), self._entropy.max()))
        self._points = self._prepared(probabilities, np.asarray(trace.said))
        controls = [
            choice("epoch", "epoch", range(1, epochs + 1), epochs),
            choice("value", "value", VALUES, VALUES[0]),
            choice("colour", "colour", COLOURS, COLOURS[0]),
        ]
        super().__init__(
            controls,
            **self._arrays(np.arange(n)),
            classes=list(dataset.classes),
            top=self._top,
            ticks=[[_share(at, amount), f"{at:g}"] for at in _round_numbers(amount)],
            kinds={name: {"names": names, "tints": list(tints)} for name, (names, _, tints) in self._kinds.items()},
            note="",
        )
        self.on_msg(self._send_pictures)

    def _prepared(self, probabilities: Tensor, said: np.ndarray) -> dict[str, np.ndarray]:
        """What the browser draws of every sample: places as shares of the axes, classes, and the teacher's three best."""
        share, best = probabilities.topk(min(3, probabilities.shape[1]), dim=1)
        return {
            "across": (self._amount - self._amount.min()) / (np.ptp(self._amount) or 1),
            "mean": self._mean / self._top,
            "now": self._entropy / self._top,
            "said": said,
            "label": self._labels.astype(np.uint8),
            "best": best.cpu().numpy().astype(np.uint8),
            "share": share.cpu().numpy(),
            **{f"kind{i}": codes.astype(np.uint8) for i, (_, codes, _) in enumerate(self._kinds.values())},
        }

    def _arrays(self, ids: np.ndarray, coarse: bool = False) -> dict[str, Any]:
        """All that the browser needs of some samples; what is recorded by epoch has them along the second axis."""
        chosen = {
            name: values[:, ids] if name in ("mean", "now", "said") else values[ids]
            for name, values in self._points.items()
        }
        return {
            "ids": packed(ids.astype(np.float32)),
            **{
                name: packed(values) if values.dtype == np.uint8 else levels(values, coarse and values.ndim > 1)
                for name, values in chosen.items()
            },
        }

    def _spread_by_class(self, count: int) -> np.ndarray:
        """The first samples of every class, equally many as far as there are."""
        place = np.empty(len(self._labels), dtype=int)  # of each sample among those of its class
        for label in np.unique(self._labels):
            members = np.flatnonzero(self._labels == label)
            place[members] = np.arange(len(members))
        return np.sort(np.argsort(place, kind="stable")[:count])

    def _send_pictures(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
        """Send the pictures that the browser asks for; it keeps them."""
        ids = [int(i) for i in content.get("pictures", [])[:100] if 0 <= int(i) < len(self._images)]
        sheet = sprites(self._images, ids)
        self.send({name: value for name, value in sheet.items() if name != "file"}, [sheet["file"]])

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The state in words."""
        epoch, n = setting["epoch"], self._entropy.shape[1]
        values = (self._mean if setting["value"] == VALUES[0] else self._entropy)[epoch - 1]
        which = "the entropies so far" if setting["value"] == VALUES[0] else "the entropies of this epoch"
        text = (
            f"Epoch {epoch} of {len(self._entropy)}, {n:,} samples: {which} have a mean of {values.mean():.2f} nats, "
            f"and the student is right on {100 * self._right[epoch - 1]:.0f} % of them."
        )
        names, codes, _ = self._kinds[setting["colour"]]
        if setting["colour"] != "class":
            parts = ", ".join(f"{name} {int((codes == code).sum()):,}" for code, name in enumerate(names))
            text += f" {'At the last event' if setting['colour'] == 'role' else 'In this run'}: {parts}."
        return {"text": text}

    def tiles(self, setting: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[Tensor, list[int]]:
        """The pictures that are there without a kernel."""
        return self._images, self._page_ids.tolist()

    def stored_data(self) -> dict[str, Any]:
        """The samples that a page holds, in place of all."""
        n, few = self._entropy.shape[1], len(self._page_ids)
        note = f"This page has no kernel, so it shows {few:,} of the {n:,} samples." if few < n else ""
        return {**super().stored_data(), **self._arrays(self._page_ids, coarse=True), "note": note}

    @styled
    def still(self) -> Figure:
        """The map at the current setting."""
        figure, (axes,) = new_figure(7.0, 3.6)
        values = (self._mean if self.setting["value"] == VALUES[0] else self._entropy)[self.setting["epoch"] - 1]
        names, codes, tints = self._kinds[self.setting["colour"]]
        ids = self._page_ids
        for code, name in enumerate(names):
            here = ids[codes[ids] == code]
            axes.plot(
                self._amount[here],
                values[here],
                "oDXsP"[code % 5],
                markersize=2.5,
                linewidth=0,
                color=tints[code % len(tints)],
                label=name,
            )
        axes.set(xlabel="teacher's amount (nats)", ylabel="value to the student (nats)")
        axes.set_title(f"{len(ids):,} samples in epoch {self.setting['epoch']}")
        if len(names) <= len(TINTS):
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
        return figure


def _last_recorded(entropy: np.ndarray) -> np.ndarray:
    """The entropies, and where a sample was not shown, the last one that was recorded of it."""
    filled = entropy.astype(np.float32)
    for epoch, row in enumerate(filled):
        row[np.isnan(row)] = filled[epoch - 1][np.isnan(row)] if epoch else 0
    return filled


def _last_roles(condenser: Condenser, entropy: np.ndarray) -> np.ndarray:
    """What a condenser makes of the samples at its last event within the recording, int8 [N]."""
    events = replay(condenser, entropy)
    return np.asarray(events[-1].roles if events else condenser.roles)


def _share(at: float, values: np.ndarray) -> float:
    return float((at - values.min()) / (np.ptp(values) or 1))


def _round_numbers(values: np.ndarray) -> list[float]:
    """A few round numbers within the range of the values."""
    step = 10 ** np.floor(np.log10(np.ptp(values) or 1))
    steps = next(s for s in (step / 5, step / 2, step, 2 * step, 5 * step) if np.ptp(values) / s <= 6)
    return [
        round(float(at * steps), 6) for at in range(int(np.ceil(values.min() / steps)), int(values.max() / steps) + 1)
    ]


def _check_sizes(n: int, **given: Sized) -> None:
    """Raise ValueError for what does not hold as many samples as the recording, ``n``."""
    for name, samples in given.items():
        if len(samples) != n:
            raise ValueError(f"{name} holds {len(samples):,} samples, and the recording {n:,}")
