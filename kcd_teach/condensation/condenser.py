"""The feedback loop: record the student's entropies, rank the samples, summarise them, stage after stage."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kcd_teach._checks import check_at_least, check_at_most, check_between, check_choice, check_truth
from kcd_teach.condensation import schedule, summary
from kcd_teach.condensation.summary import Mixture
from kcd_teach.condensation.value import ValueMeasure, ValueRecord, cost_aware_score, find_value, rank

PRESETS = ("paper", "released")
MOST_VALUES = 2**30
"""Values that a history may hold, 4 GiB."""


class Condenser:
    """Decides on which samples the student is distilled, from its predictions so far (paper section 3).

    Call :meth:`observe` for every batch and :meth:`end_epoch` after every epoch; read :attr:`active` and
    :attr:`mixture` at the start of the next one. Sample ids are positions in the full training set, 0 .. N-1, and
    never change.

    Args:
        num_samples: N.
        ratio: fraction of the samples kept in the end, in (0, 1]. 1 changes nothing.
        stages: S, number of training stages, 1 .. epochs.
        epochs: E, length of the whole run.
        preset: ``"paper"`` follows the equations; ``"released"`` does what the authors' code does, point by point:
            its schedule ends one stage late, the first boundary sample is not mixed, and mixtures are stored for good
            (:class:`kcd_teach.views.StageImages`).
        alpha: exponent of the frequency in the ranking (paper Eq. 13); 0 ignores it.
        mixing_strength: largest share of a partner in a mixture, in [0, 1] (paper Eq. 15).

    Switches for ablations, which measure what each part of the method is worth; by default all are as in the paper:

    Args:
        mixing: blend dropped samples into the boundary ones; ``False`` only drops them.
        value: ``"mean"`` or ``"sum"`` of the recorded entropies; or another measure, by a name of
            :func:`~kcd_teach.condensation.value.list_values`, or as a function or a
            :class:`~kcd_teach.condensation.value.ValueMeasure`.
        pool: rank ``"all"`` samples, so that dropped ones can return, or only the ``"active"`` ones.
        partners: blend in the ``"slice"`` of ranks just below the cut, or the best of all not kept (``"complement"``).
        selection: keep the highest by ``"value"``; or, as controls, at ``"random"`` or the ``"lowest"``.
        released_steps: divisor of the released schedule, 6 in the authors' code.
        seed: of the random selection.
        history: keep every recorded value, float32 [E, N] with NaN where a sample was not shown (for figures).

    Raises:
        ValueError: for any argument out of its range, named in the message.

    Example:
        >>> condenser = Condenser(4, ratio=0.5, stages=2, epochs=2)
        >>> condenser.record(torch.tensor([0, 1, 2, 3]), torch.tensor([0.1, 0.9, 0.5, 0.3]))
        >>> condenser.end_epoch()
        >>> condenser.active, condenser.mixture.partners
        (tensor([1, 2]), tensor([3, 0]))
    """

    def __init__(
        self,
        num_samples: int,
        ratio: float = 0.7,
        stages: int = 6,
        epochs: int = 240,
        preset: str = "paper",
        *,
        alpha: float = 0.03,
        mixing_strength: float = 0.3,
        # Switches for ablations.
        mixing: bool = True,
        value: str | ValueMeasure | Callable[..., Tensor] = "mean",
        pool: str = "all",
        partners: str = "slice",
        selection: str = "value",
        released_steps: int = schedule.RELEASED_STEPS,
        seed: int = 0,
        history: bool = False,
    ) -> None:
        self.measure = find_value(value)
        self.config: dict[str, Any] = {
            "num_samples": check_at_least("num_samples", num_samples, 1),
            "ratio": check_between("ratio", ratio, 0, 1, open_low=True),
            "stages": check_at_least("stages", stages, 1),
            "epochs": check_at_least("epochs", epochs, 1),
            "preset": check_choice("preset", preset, PRESETS),
            "alpha": check_between("alpha", alpha, 0, float("inf")),
            "mixing_strength": check_between("mixing_strength", mixing_strength, 0, 1),
            "mixing": check_truth("mixing", mixing),
            "value": self.measure.name,
            "pool": check_choice("pool", pool, ("all", "active")),
            "partners": check_choice("partners", partners, ("slice", "complement")),
            "selection": check_choice("selection", selection, ("value", "random", "lowest")),
            "released_steps": check_at_least("released_steps", released_steps, 1),
            "seed": check_at_least("seed", seed, 0),
        }
        num_samples, epochs = self.config["num_samples"], self.config["epochs"]
        self._counts, self._events = schedule.counts_and_events(
            preset, num_samples, ratio, stages, epochs, released_steps
        )
        self.active, self.mixture = torch.arange(num_samples), Mixture()
        self.stage, self.epoch, self.kept = 0, 0, [self.active]
        self.history = _room_for_history(epochs, num_samples) if history else None
        self._record = ValueRecord(num_samples)
        self._pending: list[tuple[Tensor, Tensor]] = []  # ids and values that are not in the record yet
        # Samples not yet observed in this stage: those that an incomplete batch leaves out are fine, more are not.
        self._unseen, self._largest_batch = torch.ones(num_samples, dtype=torch.bool), 0
        self._loop_inputs: Callable[[], dict[str, Tensor | None]] = dict

    @property
    def in_use(self) -> bool:
        """True once it has recorded a value or closed an epoch."""
        return bool(self.epoch or self._pending or self._record.frequency.any())

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples trained on in each of the S stages."""
        return tuple(self._counts[: self.config["stages"]])

    @property
    def value(self) -> Tensor:
        """V, the value of each sample, float64 [N], nats; 0 where nothing was recorded (paper Eq. 12)."""
        return self.measure.value(self._record)

    @property
    def frequency(self) -> Tensor:
        """F, in how many epochs each sample was recorded, int64 [N]."""
        return self._record.frequency

    @property
    def score(self) -> Tensor:
        """Cost-aware score V F^alpha, float64 [N]; higher = more valuable (paper Eq. 13)."""
        return cost_aware_score(self.value, self._record.frequency, self.config["alpha"])

    def attach(self, inputs: Callable[[], dict[str, Tensor | None]]) -> None:
        """Let :meth:`observe` take the current batch's labels and teacher's logits from a training loop, if used."""
        self._loop_inputs = inputs if {"labels", "teacher_logits"} & {*self.measure.inputs} else dict

    def observe(
        self,
        indices: Tensor,
        student_logits: Tensor,
        labels: Tensor | None = None,
        teacher_logits: Tensor | None = None,
    ) -> None:
        """Record the value of each sample of a batch: by default, the entropy of the student's prediction.

        Args:
            indices: ids, int64 [B], distinct, 0 .. N-1.
            student_logits: floating-point [B, C], finite, from the ordinary forward pass, before the update.
            labels, teacher_logits: int64 [B] and [B, C], only for a value measure that uses them;
                :func:`kcd_teach.distill` provides them by itself.
        """
        given = {"ids": indices, "student_logits": student_logits, "labels": labels, "teacher_logits": teacher_logits}
        given = {**self._loop_inputs(), **{name: tensor for name, tensor in given.items() if tensor is not None}}
        self.record(indices, self.measure.values(**given))

    def record(self, indices: Tensor, values: Tensor) -> None:
        """Record one value (nats, floating-point [B]) for each of ``indices`` (int64 [B], distinct)."""
        if self.epoch >= self.config["epochs"]:
            raise RuntimeError(f"all {self.config['epochs']} epochs have ended; nothing can be recorded any more")
        for name, given in (("indices", indices), ("values", values)):
            if not isinstance(given, Tensor):
                raise TypeError(f"{name} must be a tensor of shape [B], got {type(given).__name__}")
        self._pending.append((indices, values))
        # Values on an accelerator wait for the end of the epoch, so that the training loop never waits for them.
        if values.device.type == "cpu":
            self._flush()

    def _flush(self) -> None:
        """Move what is pending into the record."""
        pending, self._pending = self._pending, []
        for ids, values in ((ids.cpu(), values.cpu()) for ids, values in pending):
            self._record.add(ids, values)
            self._unseen[ids] = False
            self._largest_batch = max(self._largest_batch, len(ids))
            if self.history is not None:
                self.history[self.epoch, ids] = values.float()

    def end_epoch(self) -> None:
        """Close an epoch; at the end of a stage, rank all samples and plan the next stage.

        Warns at the end of a stage in which active samples were never observed.
        """
        if self.epoch >= self.config["epochs"]:
            raise RuntimeError(f"all {self.config['epochs']} epochs have ended already")
        self._flush()
        self.epoch += 1
        if self.epoch in self._events:
            self.stage += 1
            self._warn_of_unseen()
            self._summarise(self.ranking())

    def _warn_of_unseen(self) -> None:
        """Warn if active samples were not observed in the stage that ends, beyond what an incomplete batch leaves out."""
        unseen = int(self._unseen[self.active].sum())
        if unseen >= max(self._largest_batch, 1) and self.config["selection"] != "random":
            seen = f"{unseen:,} of {len(self.active):,}" if unseen < len(self.active) else f"all {unseen:,}"
            warnings.warn(
                f"{seen} active samples were not observed in stage {self.stage - 1}, so their rank says little about "
                "them: call observe (or record) for every batch; with several processes, gather ids and logits of all",
                stacklevel=3,
            )
        self._unseen.fill_(True)

    def ranking(self) -> Tensor:
        """All ids from the most to the least valuable as of now, int64 [N] (E-step, paper Eq. 8).

        Samples that were never recorded stay as they are: active ones come first, the others last.
        """
        if self.config["selection"] == "random":
            key = torch.rand(len(self.score), generator=self._event_generator(), dtype=torch.float64)
        else:
            key = -self.score if self.config["selection"] == "lowest" else self.score
            key = torch.where(self._record.frequency == 0, torch.inf, key)
        outside = torch.ones(len(key), dtype=torch.bool)
        outside[self.active] = False
        banned = outside if self.config["pool"] == "active" else outside & (self._record.frequency == 0)
        return rank(key.masked_fill(banned, -torch.inf))

    def _event_generator(self) -> torch.Generator:
        # Seeded by the event, so that a resumed run draws what an uninterrupted one would have drawn.
        return torch.Generator().manual_seed(1_000 * self.config["seed"] + self.stage)

    def _summarise(self, ranking: Tensor) -> None:
        """Plan stage t: the active ids and the mixture (M-step, paper Eq. 14-15)."""
        previous, kept = self._counts[self.stage - 1], self._counts[self.stage]
        c = self.config
        self.active, mixture = summary.summarise(
            ranking, previous, kept, c["mixing_strength"], c["preset"], c["partners"]
        )
        self.mixture = mixture if c["mixing"] else Mixture()
        self.kept.append(self.active)

    @property
    def roles(self) -> Tensor:
        """What each sample is in this stage, int8 [N]: KEPT, MIXED or DROPPED."""
        return summary.roles(self.config["num_samples"], self.active, self.mixture)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain numbers."""
        self._flush()
        return {
            "config": dict(self.config),
            "epoch": self.epoch,
            "stage": self.stage,
            "active": self.active,
            "kept": list(self.kept),
            "mixture": [self.mixture.boundary, self.mixture.partners, self.mixture.coefficients],
            "frequency": self._record.frequency.clone(),
            "mean": self._record.mean.clone(),
            "unseen": self._unseen.clone(),
            "largest_batch": self._largest_batch,
            "history": None if self.history is None else self.history.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; raises ValueError if it belongs to another configuration."""
        for name, ours in self.config.items():
            if state["config"].get(name) != ours:
                raise ValueError(f"the saved condenser has {name}={state['config'].get(name)}, this one {name}={ours}")
        if self.history is not None and state["history"] is None:
            raise ValueError("history=True, but the saved condenser kept no history")
        self.epoch, self.stage = state["epoch"], state["stage"]
        self.active, self.mixture = state["active"], Mixture(*state["mixture"])
        self.kept = list(state["kept"])
        self._record.frequency, self._record.mean = state["frequency"].clone(), state["mean"].clone()
        self._unseen, self._largest_batch = state["unseen"].clone(), state["largest_batch"]
        self.history = None if self.history is None else state["history"].clone()

    def __repr__(self) -> str:
        c = self.config
        return (
            f"Condenser({c['preset']}, {c['num_samples']} samples to {c['ratio']:.0%} in {c['stages']} stages of "
            f"{c['epochs']} epochs; epoch {self.epoch}, stage {self.stage}, {len(self.active)} active, {self.mixture})"
        )


class KeepAll:
    """The condenser that condenses nothing: plain distillation on every sample in every epoch."""

    def __init__(self, num_samples: int) -> None:
        self.config: dict[str, Any] = {"num_samples": num_samples, "preset": "none"}
        self.active = torch.arange(num_samples)
        self.mixture = Mixture()
        self.stage = 0

    def attach(self, inputs: object) -> None:
        """Use nothing of a training loop."""

    def observe(self, indices: Tensor, student_logits: Tensor) -> None:
        """Ignore the student's predictions."""

    def end_epoch(self) -> None:
        """Change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to save but the configuration."""
        return {"config": dict(self.config)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to restore."""


class FixedSubset(KeepAll):
    """A control that chooses nothing: plain distillation on the same random samples in every epoch.

    Args:
        num_samples: N.
        share: of the samples that are shown, in (0, 1].
        seed: of the random choice.

    Raises:
        ValueError: a share out of its range, or so small that it leaves no sample.

    Example:
        >>> FixedSubset(4, share=0.5, seed=1).counts
        (2,)
    """

    def __init__(self, num_samples: int, share: float, seed: int = 0) -> None:
        super().__init__(check_at_least("num_samples", num_samples, 1))
        check_between("share", share, 0, 1, open_low=True)
        self.config |= {"preset": "subset", "share": share, "seed": check_at_least("seed", seed, 0)}
        count = check_at_least(f"share={share} of {num_samples} samples", round(share * num_samples), 1)
        # Another stream than that of the random selection of a Condenser with the same seed.
        order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(1_000 * seed + 999))
        self.active = order[:count].sort().values

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples trained on, in the only stage there is."""
        return (len(self.active),)


def _room_for_history(epochs: int, num_samples: int) -> Tensor:
    """Nothing recorded yet, float32 [E, N]."""
    check_at_most("epochs x num_samples with history=True", epochs * num_samples, MOST_VALUES)
    return torch.full((epochs, num_samples), torch.nan)
