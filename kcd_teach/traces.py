"""What did the student say, epoch by epoch? A recorder that watches a plain run, and stored recordings."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kcd_teach.condensation import KeepAll, prediction_entropy
from kcd_teach.datasets import find_data_file, read_npz


class Recorder(KeepAll):
    """A condenser that condenses nothing and remembers every answer of the student.

    Args:
        labels: int64 [N], to tell right from wrong.
        epochs: E, of the run.

    Attributes:
        entropy: float32 [E, N], nats, NaN where a sample was not shown.
        correct: bool [E, N], False where not shown.
    """

    def __init__(self, labels: Tensor, epochs: int) -> None:
        super().__init__(len(labels))
        self.labels = labels.cpu()
        self.entropy = torch.full((epochs, len(labels)), torch.nan)
        self.correct = torch.zeros((epochs, len(labels)), dtype=torch.bool)
        self.epoch = 0

    def observe(self, indices: Tensor, student_logits: Tensor) -> None:
        """Remember entropy and correctness of a batch: ids int64 [B], logits [B, C]."""
        self.entropy[self.epoch, indices] = prediction_entropy(student_logits).cpu().float()
        self.correct[self.epoch, indices] = student_logits.detach().argmax(dim=1).cpu() == self.labels[indices]

    def end_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1


@dataclass(frozen=True)
class Trace:
    """The answers of one student through one run.

    Attributes:
        entropy: float32 [E, N], nats, NaN where a sample was not shown.
        correct: bool [E, N], or None where it was not recorded.
    """

    entropy: np.ndarray
    correct: np.ndarray | None = None


def load_trace(name: str) -> Trace:
    """A stored recording on the bundled images, made by ``python -m kcd_teach.studies traces``.

    Args:
        name: ``"mini_resnet8"`` or ``"mini_convnet"`` (plain KD), or ``"condensed"`` (mini_resnet8, KC-KD at 70 %).
    """
    arrays = read_npz(find_data_file(f"results/trace_{name}.npz"), required=("entropy",))
    correct = arrays.get("correct")
    entropy = arrays["entropy"].astype(np.float32)
    if correct is None:
        return Trace(entropy)
    return Trace(entropy, np.unpackbits(correct, axis=1, count=entropy.shape[1]).astype(bool))
