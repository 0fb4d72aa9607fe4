"""How is knowledge moved? One file per method: a pure loss and a small module that weighs it against the labels.

- :mod:`~kcd_teach.distillers.base`: what all methods are, and how to add one
- logits: :mod:`~kcd_teach.distillers.kd`
- features: :mod:`~kcd_teach.distillers.fitnet`, :mod:`~kcd_teach.distillers.at`, :mod:`~kcd_teach.distillers.vid`,
  :mod:`~kcd_teach.distillers.reviewkd`
- relations: :mod:`~kcd_teach.distillers.sp`, :mod:`~kcd_teach.distillers.rkd`, :mod:`~kcd_teach.distillers.pkt`
- contrasts: :mod:`~kcd_teach.distillers.crd`, :mod:`~kcd_teach.distillers.wcord`
- self-supervision: :mod:`~kcd_teach.distillers.sskd`
"""

from typing import Any

import torch
from torch import nn

from kcd_teach._checks import check_choice
from kcd_teach.distillers import at, crd, fitnet, kd, pkt, reviewkd, rkd, sp, sskd, vid, wcord
from kcd_teach.distillers.base import KD, Distiller, LabelsOnly, Taps, read_taps
from kcd_teach.distillers.kd import kd_loss

__all__ = [
    "KD",
    "Distiller",
    "LabelsOnly",
    "Taps",
    "create_distiller",
    "distiller_class",
    "is_condensed",
    "kd",
    "kd_loss",
    "list_distillers",
    "read_taps",
]

CONDENSED = "kc-"
"""Prefix of a method's name that asks for condensation."""

_DISTILLERS: dict[str, type[Distiller]] = {
    "kd": KD,
    "fitnet": fitnet.FitNet,
    "at": at.AT,
    "sp": sp.SP,
    "vid": vid.VID,
    "rkd": rkd.RKD,
    "pkt": pkt.PKT,
    "crd": crd.CRD,
    "wcord": wcord.WCoRD,
    "reviewkd": reviewkd.ReviewKD,
    "sskd": sskd.SSKD,
}


def list_distillers() -> list[str]:
    """Names that :func:`create_distiller` knows."""
    return list(_DISTILLERS)


def is_condensed(name: str) -> bool:
    """Does a method's name ask for condensation?

    >>> is_condensed("kc-crd"), is_condensed("crd")
    (True, False)
    """
    return name.startswith(CONDENSED)


def distiller_class(name: str) -> type[Distiller]:
    """The class of a method, by its name with or without ``kc-``."""
    check_choice("name", name.removeprefix(CONDENSED), _DISTILLERS)
    return _DISTILLERS[name.removeprefix(CONDENSED)]


def create_distiller(
    name: str,
    student: nn.Module,
    teacher: nn.Module,
    *,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    seed: int | None = None,
    **settings: Any,
) -> Distiller:
    """Build a distiller for a pair of networks.

    Args:
        name: one of :func:`list_distillers`. ``kc-NAME`` gives the same module as NAME: condensation chooses which
            samples are shown and leaves the loss alone.
        student, teacher: the pair; both are shown one black image to learn the shapes of their features.
        image_shape: [C, H, W] of the images they take.
        seed: of the initial weights of its learnable parts; the global random state is left as it was. ``None`` draws
            from that state.
        settings: constants of the method, such as ``temperature``; the benchmark's are the defaults.

    Returns:
        A module with ``distiller(batch, student_outputs, teacher_outputs) -> scalar loss``. Its
        ``student_parameters()`` belong to the student's optimiser, and its ``needs`` say what the loop must provide.

    Raises:
        ValueError: an unknown name; networks without the features that the method compares, with features that it
            cannot join, or with different numbers of classes.

    Example:
        >>> from kcd_teach.models import create_model
        >>> student, teacher = create_model("resnet8"), create_model("resnet20")
        >>> create_distiller("fitnet", student, teacher).needs.features
        True
    """
    method = distiller_class(name)
    taps = read_taps(student, teacher, image_shape, method.uses_taps, method.needs.teacher_preact)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        first: tuple[Any, ...] = (taps,) if method.uses_taps else ()
        return method(*first, **settings)
