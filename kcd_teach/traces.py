"""What a student said epoch by epoch: a recorder that watches a plain run, and the recordings of the course.

python -m kcd_teach.traces                    record every answer of three students: data/results/trace_*.npz
python -m kcd_teach.traces teacher            train the course's teacher: data/mini_resnet8x3.npz
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kcd_teach.benchmark.runner import Bar
from kcd_teach.benchmark.runs import train_teacher
from kcd_teach.benchmark.settings import STAGES, find_scale
from kcd_teach.benchmark.store import Store
from kcd_teach.condensation import Condenser, KeepAll, prediction_entropy
from kcd_teach.datasets import find_data_file, read_npz, write_npz
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import TEACHER, create_model, load_teacher, save_weights
from kcd_teach.training import distill

SCALE = find_scale("course").but(per_class=1_000)
"""All images of the course: what its teacher was trained on, and what is recorded."""


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
    """A stored recording on the bundled images, made by ``python -m kcd_teach.traces``.

    Args:
        name: ``"mini_resnet8"`` or ``"mini_convnet"`` (plain KD), or ``"condensed"`` (mini_resnet8, KC-KD at 70 %).
    """
    arrays = read_npz(find_data_file(f"results/trace_{name}.npz"), required=("entropy",))
    correct = arrays.get("correct")
    entropy = arrays["entropy"].astype(np.float32)
    if correct is None:
        return Trace(entropy)
    return Trace(entropy, np.unpackbits(correct, axis=1, count=entropy.shape[1]).astype(bool))


def make_teacher(data: Path, folder: Path) -> None:
    """Train the course's teacher on labels; store its weights and its record."""
    store = Store(folder)
    teacher = train_teacher(TEACHER, SCALE, store, watch=Bar(0))
    if teacher is None:
        raise RuntimeError(f"another process is training {TEACHER} in {folder}; wait for it")
    save_weights(teacher.load(store, SCALE.images()), data / f"{TEACHER}.npz")
    (record,) = (folder / "teachers").glob("*.json")
    (data / "results" / "teacher.jsonl").write_text(record.read_text())


def record_traces(results: Path) -> None:
    """Record two students under plain KD, and one under KC-KD at 70 %."""
    dataset, recipe = SCALE.images(), SCALE.recipe(0.05)
    knowledge = Knowledge(load_teacher(dataset), dataset, store="memory")
    condenser = Condenser(len(dataset.train_images), stages=STAGES, epochs=recipe.epochs, history=True)
    watching = {name: Recorder(dataset.train_labels, recipe.epochs) for name in ("mini_resnet8", "mini_convnet")}
    runs: list[tuple[str, Condenser | KeepAll]] = [*watching.items(), ("mini_resnet8", condenser)]
    for name, watch in runs:
        student = create_model(name, len(dataset.classes), dataset.in_channels, seed=0)
        for _ in distill(student, dataset, knowledge, recipe=recipe, condenser=watch, seed=0):
            pass
    for name, recorder in watching.items():
        packed = np.packbits(recorder.correct.numpy(), axis=1)
        arrays = {"entropy": recorder.entropy.half().numpy(), "correct": packed}
        write_npz(results / f"trace_{name}.npz", arrays, compress=True)
    # In full precision: replaying it through a condenser must give the same plans as the run.
    write_npz(results / "trace_condensed.npz", {"entropy": condenser.history}, compress=True)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("traces", "teacher"), default="traces")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parent.parent / "data")
    parser.add_argument("--folder", type=Path, default=Path("runs/teacher"), help="of an unfinished teacher")
    arguments = parser.parse_args()
    if arguments.what == "teacher":
        make_teacher(arguments.data, arguments.folder)
    else:
        record_traces(arguments.data / "results")


if __name__ == "__main__":
    main()
