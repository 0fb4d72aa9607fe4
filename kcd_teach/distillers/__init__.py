"""How is knowledge moved? One file per method: a pure loss and a small module that weighs it against the labels."""

from typing import Any

from torch import nn

from kcd_teach._checks import check_choice
from kcd_teach.distillers import kd
from kcd_teach.distillers.kd import KD, LabelsOnly, kd_loss

__all__ = ["KD", "LabelsOnly", "create_distiller", "kd", "kd_loss", "list_distillers"]

_DISTILLERS = {"kd": KD}


def list_distillers() -> list[str]:
    """Names that :func:`create_distiller` knows."""
    return list(_DISTILLERS)


def create_distiller(name: str, student: nn.Module, teacher: nn.Module, **settings: Any) -> nn.Module:
    """Build a distiller for a pair of networks.

    Args:
        name: one of :func:`list_distillers`.
        student, teacher: the pair; a method that compares features reads their shapes from them.
        settings: constants of the method, such as ``temperature``; the benchmark's are the defaults.

    Returns:
        A module with ``distiller(labels, student_logits, teacher_logits) -> scalar loss``. Its parameters, if any,
        belong to the student's optimiser.
    """
    check_choice("name", name, _DISTILLERS)
    return _DISTILLERS[name](**settings)
