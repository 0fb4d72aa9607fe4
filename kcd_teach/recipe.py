"""With which settings is a network trained, and what is reported of it?"""

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from kcd_teach._checks import check_at_least, check_between, check_choice, check_truth
from kcd_teach.engine import PRECISIONS


@dataclass(frozen=True)
class Recipe:
    """How to optimise; the defaults are the benchmark's (SGD, 240 epochs, three drops of the learning rate).

    Attributes:
        epochs: E.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        learning_rate: of the first epochs.
        momentum: of SGD, without Nesterov.
        weight_decay: on all parameters.
        milestones: fractions of the run, 0 .. 1, after which the learning rate is multiplied by ``decay``: after epochs
            150, 180 and 210 of 240. The first epoch always has the full rate, however short the run is.
        decay: that factor.
        drop_last: leave out an incomplete last batch.
        augment: random crop and flip; ``False`` shows every image as it is.
        precision: in which networks are run, ``"float32"`` or ``"bfloat16"`` (:class:`kcd_teach.engine.Engine`).
    """

    epochs: int = 240
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    decay: float = 0.1
    drop_last: bool = False
    augment: bool = True
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)
        milestones = (self.milestones,) if isinstance(self.milestones, numbers.Real) else tuple(self.milestones)
        plain = {
            "epochs": check_at_least("epochs", self.epochs, 1),
            "batch_size": check_at_least("batch_size", self.batch_size, 1),
            "learning_rate": check_between("learning_rate", self.learning_rate, 0, math.inf, open_low=True),
            "momentum": check_between("momentum", self.momentum, 0, 1),
            "weight_decay": check_between("weight_decay", self.weight_decay, 0, math.inf),
            "milestones": tuple(check_between("milestones", milestone, 0, 1) for milestone in milestones),
            "decay": check_between("decay", self.decay, 0, math.inf, open_low=True),
            **{name: check_truth(name, getattr(self, name)) for name in ("drop_last", "augment")},
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        passed = sum(epoch > max(1, fraction * self.epochs) for fraction in self.milestones)
        return self.learning_rate * self.decay**passed

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.SGD:
        """SGD with these settings."""
        return torch.optim.SGD(parameters, self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Give an optimiser the learning rate of an epoch, counted from 1."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(epoch)


@dataclass(frozen=True)
class EpochReport:
    """What happened in one epoch.

    Attributes:
        epoch: counted from 1.
        stage: stage of the condenser in this epoch, from 0.
        active: samples shown in this epoch.
        presentations: samples shown since the start, all epochs together.
        learning_rate: of this epoch.
        train_loss: mean over the samples shown.
        test_accuracy: 0 .. 1, after this epoch.
        seconds: training and evaluating since the start.
    """

    epoch: int
    stage: int
    active: int
    presentations: int
    learning_rate: float
    train_loss: float
    test_accuracy: float
    seconds: float
