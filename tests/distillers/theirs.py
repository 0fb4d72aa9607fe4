"""torchdistill's losses, asked about two tensors."""

from torch import Tensor, nn


def ask(loss: nn.Module, student: object, teacher: object, labels: Tensor | None = None, **more: object) -> Tensor:
    """Hand tensors to a loss of torchdistill that expects them under the path ``"at"``, as ``"output"``."""
    return loss({"at": {"output": student}, **more}, {"at": {"output": teacher}}, labels)


def one_pair() -> dict:
    """The configuration of a loss that compares one pair of modules."""
    place = {"io": "output", "path": "at"}
    return {"only": {"student": place, "teacher": place, "weight": 1}}
