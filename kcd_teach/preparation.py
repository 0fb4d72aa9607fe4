"""What must be learned before the student starts? The stage of training that some methods need for parts of their own."""

import dataclasses
from typing import Any

from torch import Tensor

from kcd_teach.distillers import Distiller
from kcd_teach.protocol import Batch, Outputs
from kcd_teach.recipe import Recipe

LEARNING_RATE = 0.05
MILESTONES = (0.5, 0.75)
"""The recipe of SSKD's heads: 0.05, times 0.1 after epochs 30 and 45 of 60; the rest is the student's recipe."""


class Preparation:
    """Training of a method's own parts on what the teacher says about all samples; nothing if it needs none.

    Args:
        distiller: the method; its needs say how long it prepares.
        recipe: of the student.

    Attributes:
        epochs: length, a share of the student's.
        epoch: finished epochs.
    """

    def __init__(self, distiller: Distiller, recipe: Recipe) -> None:
        self.distiller = distiller
        share = distiller.needs.preparation * recipe.epochs
        self.epochs = max(1, round(share)) if share else 0
        self.epoch = 0
        self._recipe = dataclasses.replace(
            recipe, epochs=max(self.epochs, 1), learning_rate=LEARNING_RATE, milestones=MILESTONES
        )
        self._optimizer = self._recipe.optimizer(distiller.preparation_parameters()) if self.epochs else None

    @property
    def done(self) -> bool:
        """Is there nothing left to prepare?"""
        return self.epoch >= self.epochs

    def loss(self, batch: Batch, teacher: Outputs | None) -> Tensor:
        """What is learned from what the teacher says about a batch, a scalar."""
        assert teacher is not None
        return self.distiller.preparation_loss(batch, teacher)

    def step(self, loss: Tensor) -> None:
        """One step of the method's own parts towards a smaller loss."""
        assert self._optimizer is not None
        self._recipe.set_rate(self._optimizer, self.epoch + 1)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """How far it is; what was learned is part of the distiller."""
        return {"epoch": self.epoch, "optimizer": self._optimizer.state_dict() if self._optimizer else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.epoch = state["epoch"]
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state["optimizer"])
