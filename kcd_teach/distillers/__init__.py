"""Methods of distillation, one file each: a pure loss and a small module that weighs it against the labels.

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

from kcd_teach.distillers import at, crd, fitnet, kd, pkt, reviewkd, rkd, sp, sskd, vid, wcord
from kcd_teach.distillers.base import KD, Distiller, LabelsOnly, Taps, read_taps
from kcd_teach.distillers.kd import kd_loss
from kcd_teach.registry import Registry, also_decorates

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
    "register_distiller",
    "title_of",
]

CONDENSED = "kc-"
"""Prefix of a method's name that turns condensation on."""

DISTILLERS: Registry[type[Distiller]] = Registry(
    "distiller",
    {
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
    },
)


def list_distillers() -> list[str]:
    """Names that :func:`create_distiller` knows."""
    return list(DISTILLERS)


@also_decorates
def register_distiller(name: str, cls: type[Distiller], title: str | None = None, **settings: Any) -> None:
    """Give a method of your own a name, condensed as ``kc-NAME``; lists, plans, tables and the zoo then know it.

    Call it, or write it above the class: ``@register_distiller("cka")``. What tables say about the method comes from
    its class: the first line of the docstring, ``Title (authors year, arXiv number).``, and ``compares``.

    Args:
        name: as others are called, in small letters.
        cls: a subclass of :class:`Distiller`.
        title: of its rows in a table; the name of the class where that is ``name`` in other letters, else ``name``.
        settings: arguments of the class, if :func:`create_distiller` is given no others.

    Returns:
        The class.

    Raises:
        TypeError: no subclass of :class:`Distiller`.
        ValueError: a name or a title that is in use or cannot be used.
    """
    if not (isinstance(cls, type) and issubclass(cls, Distiller)):
        raise TypeError(f"cls must be a subclass of Distiller, got {cls!r}")
    if name.startswith(CONDENSED):
        raise ValueError(f"name={name!r} must not begin with {CONDENSED}, which asks for condensation")
    others = [known for known in DISTILLERS if known != name]
    for known in others:
        if title is not None and title.casefold() in (known.casefold(), title_of(known).casefold()):
            raise ValueError(f"title={title!r} is that of {known!r}; choose another")
    if title is not None and (not title or set(title) & set("@>|,\n") or title.casefold().startswith(CONDENSED)):
        raise ValueError(f"title must not be empty, begin with KC-, or hold one of @ > | and commas, got {title!r}")
    DISTILLERS.add(name, cls, title or "", settings)


def title_of(name: str) -> str:
    """What tables call a method.

    >>> title_of("reviewkd")
    'ReviewKD'
    """
    title = DISTILLERS[name].title or DISTILLERS[name].thing.__name__
    return title if DISTILLERS[name].title or title.casefold() == name.casefold() else name


def is_condensed(name: str) -> bool:
    """True for the name of a condensed method.

    >>> is_condensed("kc-crd"), is_condensed("crd")
    (True, False)
    """
    return name.startswith(CONDENSED)


def distiller_class(name: str) -> type[Distiller]:
    """The class of a method, by its name with or without ``kc-``."""
    return DISTILLERS[name.removeprefix(CONDENSED)].thing


def build_distiller(name: str, taps: Taps, **settings: Any) -> Distiller:
    """A distiller by its name, for networks with features of these shapes."""
    method, usual = distiller_class(name), DISTILLERS[name.removeprefix(CONDENSED)].settings
    return _build(method, taps, {**usual, **settings})


def _build(method: type[Distiller], taps: Taps, settings: dict[str, Any]) -> Distiller:
    if method.uses_taps and method.__init__ is Distiller.__init__:
        raise TypeError(f"{method.__name__}.uses_taps must be False, or its constructor must take the taps first")
    first: tuple[Any, ...] = (taps,) if method.uses_taps else ()
    return method(*first, **settings)


def create_distiller(
    name: str | type[Distiller],
    student: nn.Module,
    teacher: nn.Module,
    *,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    seed: int | None = None,
    **settings: Any,
) -> Distiller:
    """Build a distiller for a pair of networks.

    Args:
        name: one of :func:`list_distillers`, or a class. ``kc-NAME`` gives the same module as NAME: condensation
            chooses which samples are shown and leaves the loss alone.
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
    method = distiller_class(name) if isinstance(name, str) else name
    taps = read_taps(student, teacher, image_shape, method.uses_taps, method.needs.teacher_preact)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return build_distiller(name, taps, **settings) if isinstance(name, str) else _build(method, taps, settings)
