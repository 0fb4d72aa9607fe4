"""What if nothing is condensed? The stand-in for a condenser in plain distillation."""

from typing import Any

import torch
from torch import Tensor

from kcd_teach.condensation.summary import Mixture


class KeepAll:
    """The condenser that condenses nothing: plain distillation on every sample in every epoch."""

    def __init__(self, num_samples: int) -> None:
        self.config: dict[str, Any] = {"num_samples": num_samples, "preset": "none"}
        self.active = torch.arange(num_samples)
        self.mixture = Mixture()
        self.stage = 0

    def observe(self, indices: Tensor, student_logits: Tensor) -> None:
        """Ignore the student's answers."""

    def end_epoch(self) -> None:
        """Change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to save but the configuration."""
        return {"config": dict(self.config)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to restore."""
