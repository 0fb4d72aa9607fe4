"""E-step: Online Global Value Estimation, the value of each sample's knowledge to the student (paper Eq. 7-8, 12-13)."""

import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import NotFinite, check_choice, check_ids, check_logits
from kcd_teach.registry import Registry, also_decorates


def prediction_entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted class distribution, the momentary value of a sample (paper Eq. 7).

    .. math:: h = - sum_c p_c ln p_c,  p = softmax(logits)

    Args:
        logits: floating-point [B, C], finite.

    Returns:
        [B], in nats, from 0 (certain) to ln C (no idea), without gradient.

    Example:
        >>> prediction_entropy(torch.tensor([[0.0, 0.0], [1e4, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    check_logits("logits", logits)
    precision = torch.promote_types(logits.dtype, torch.float32)
    # softmax first and log after would give 0 ln 0 = NaN at large gaps between logits.
    log_p = F.log_softmax(logits.detach(), dim=1, dtype=precision)
    return 0.0 - (log_p.exp() * log_p).sum(dim=1)


class ValueRecord:
    """Running mean of every sample's entropies, and how often it was recorded: 2 N numbers, whatever the epochs.

    .. math:: F <- F + 1,  V <- V (F-1)/F + h/F                                              (paper Eq. 12)

    Attributes:
        frequency: F, int64 [N], times each sample has been recorded.
        mean: V, float64 [N], mean of its recorded entropies in nats; 0 where F = 0.
    """

    def __init__(self, num_samples: int) -> None:
        self.frequency = torch.zeros(num_samples, dtype=torch.int64)
        self.mean = torch.zeros(num_samples, dtype=torch.float64)

    def add(self, ids: Tensor, values: Tensor) -> None:
        """Record one value for each of ``ids`` (int64 [B], distinct); ``values`` floating-point [B], finite."""
        check_ids("indices", ids, len(self.mean))
        if values.shape != ids.shape:
            raise ValueError(f"values must have shape {list(ids.shape)} like indices, got {list(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise NotFinite("values must be finite, got NaN or infinity")
        self.frequency[ids] += 1
        # In float32 the mean drifts enough to swap ranks, hence pairs, in a run of 120 epochs.
        self.mean[ids] += (values.double() - self.mean[ids]) / self.frequency[ids]

    @property
    def total(self) -> Tensor:
        """Sum of every sample's recorded entropies, float64 [N], nats."""
        return self.mean * self.frequency


INPUTS = ("ids", "student_logits", "labels", "teacher_logits")
"""Names of the parameters that the function of a value measure can have."""

Combine = Callable[[ValueRecord], Tensor]


@dataclass(frozen=True)
class ValueMeasure:
    """A value that is recorded of every sample that is shown, and how a sample's records are combined.

    Attributes:
        observe: a function of any of these, by the names of its parameters: ``ids`` int64 [B], ``student_logits``
            [B, C] without gradient, ``labels`` int64 [B], ``teacher_logits`` [B, C] of the same images. It returns
            values, floating-point [B], finite, at least 0; higher = more valuable.
        combine: ``"mean"`` or ``"sum"`` of a sample's records, or a function of the :class:`ValueRecord` that gives a
            value to each sample, [N].
        name: as in plans and checkpoints; by default the function's.
        inputs: names of the function's parameters.

    Raises:
        TypeError: no function, or one with another parameter.
        ValueError: another word for ``combine``.

    Example:
        >>> def surprise(student_logits, labels):
        ...     return F.cross_entropy(student_logits, labels, reduction="none")
        >>> ValueMeasure(surprise).inputs
        ('student_logits', 'labels')
    """

    observe: Callable[..., Tensor]
    combine: str | Combine = "mean"
    name: str = ""
    inputs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.observe):
            raise TypeError(f"a value measure must be a function that returns values [B], got {self.observe!r}")
        parameters = inspect.signature(self.observe).parameters.values()
        inputs = tuple(p.name for p in parameters if p.default is p.empty or p.name in INPUTS)
        object.__setattr__(self, "inputs", inputs)
        if unknown := [name for name in inputs if name not in INPUTS]:
            raise TypeError(f"a value measure can ask for {', '.join(INPUTS)}; this one asks for {', '.join(unknown)}")
        if not callable(self.combine):
            check_choice("combine", self.combine, ("mean", "sum"))
        if not self.name:
            object.__setattr__(self, "name", getattr(self.observe, "__name__", type(self.observe).__name__))

    @property
    def meaning(self) -> str:
        """The first line of the function's docstring, which says what it records."""
        return ((inspect.getdoc(self.observe) or "").splitlines() or [self.name])[0].rstrip(".")

    def values(self, **seen: Tensor | None) -> Tensor:
        """Values [B] of a batch, from its tensors by the names of :data:`INPUTS`.

        Raises:
            ValueError: one of its inputs is missing; values that are no floating-point tensor [B].
        """
        if missing := [name for name in self.inputs if seen.get(name) is None]:
            raise ValueError(
                f"value={self.name!r} asks for {', '.join(missing)}: hand them to observe(.., {missing[0]}=..)"
            )
        with torch.no_grad():
            values = self.observe(**{name: seen[name] for name in self.inputs})
        if not isinstance(values, Tensor) or not values.is_floating_point() or values.ndim != 1:
            got = f"{values.dtype} {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"value={self.name!r} must give a floating-point tensor [B], a value per id, got {got}")
        return values

    def value(self, record: ValueRecord) -> Tensor:
        """The value of each sample, float64 [N]."""
        if not callable(self.combine):
            return record.total if self.combine == "sum" else record.mean
        value = self.combine(record)
        if not isinstance(value, Tensor) or value.shape != record.mean.shape:
            raise ValueError(f"value={self.name!r} must combine records to a value per sample, [{len(record.mean)}]")
        return value.double()


def _entropy(student_logits: Tensor) -> Tensor:
    """Entropy of the student's prediction."""
    return prediction_entropy(student_logits)


def _loss(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the student's prediction with the label."""
    return F.cross_entropy(student_logits.float(), labels, reduction="none")


def _margin(student_logits: Tensor) -> Tensor:
    """One minus the lead of the student's likeliest class over the next."""
    first, second = student_logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


def _disagreement(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL divergence of the student's prediction from the teacher's."""
    ours, theirs = (F.log_softmax(logits.float(), dim=1) for logits in (student_logits, teacher_logits))
    return (theirs.exp() * (theirs - ours)).sum(dim=1).clamp(min=0)


def _teacher_entropy(teacher_logits: Tensor) -> Tensor:
    """Entropy of the teacher's prediction."""
    return prediction_entropy(teacher_logits)


VALUES: Registry[ValueMeasure] = Registry(
    "value",
    {
        "mean": ValueMeasure(_entropy, "mean", "mean"),
        "sum": ValueMeasure(_entropy, "sum", "sum"),
        "loss": ValueMeasure(_loss, name="loss"),
        "margin": ValueMeasure(_margin, name="margin"),
        "disagreement": ValueMeasure(_disagreement, name="disagreement"),
        "teacher-entropy": ValueMeasure(_teacher_entropy, name="teacher-entropy"),
    },
)


def list_values() -> list[str]:
    """Names that ``Condenser(value=..)`` and ``ROW@value=NAME`` know; ``mean`` and ``sum`` are of the entropies."""
    return list(VALUES)


@also_decorates
def register_value(name: str, measure: ValueMeasure | Callable[..., Tensor], combine: str | Combine = "mean") -> None:
    """Give a value measure of your own a name; call it, or write ``@register_value("NAME")`` above a function.

    Args:
        name: letters, digits and ``_ . + -``.
        measure: a :class:`ValueMeasure`, or the function of one.
        combine: of a function's records, see :class:`ValueMeasure`.

    Returns:
        What was given.

    Raises:
        TypeError, ValueError: see :class:`ValueMeasure`; a name that is in use.
    """
    made = measure if isinstance(measure, ValueMeasure) else ValueMeasure(measure, combine)
    settings = {"combine": made.combine if isinstance(made.combine, str) else "its own"}
    VALUES.add(name, dataclasses.replace(made, name=name), settings=settings, code=[made.observe, made.combine])


def find_value(value: str | ValueMeasure | Callable[..., Tensor]) -> ValueMeasure:
    """A measure by its name, or of a function, or as it is; raises ValueError for an unknown name."""
    if isinstance(value, ValueMeasure):
        return value
    if callable(value):
        return ValueMeasure(value)
    check_choice("value", value, VALUES)
    return VALUES[value].thing


def fixed_values(values: Tensor) -> ValueMeasure:
    """A value measure that takes every sample's value from a given list, floating-point [N].

    Its name holds a hash of the list, so that a run of one list does not go on with another.

    >>> fixed_values(torch.tensor([0.2, 0.9])).values(ids=torch.tensor([1]))
    tensor([0.9000])
    """
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.ndim != 1:
        raise ValueError(f"values must be a floating-point tensor [N], got {values!r}")
    listed = values.detach().clone().cpu()

    def from_list(ids: Tensor) -> Tensor:
        """Value from a given list."""
        return listed[ids.cpu()]

    return ValueMeasure(from_list, name=f"list-{hashlib.sha256(listed.double().numpy().tobytes()).hexdigest()[:16]}")


def cost_aware_score(value: Tensor, frequency: Tensor, alpha: float) -> Tensor:
    """Score by which samples are ranked: of two equal values, the one shown more often comes first (paper Eq. 13).

    .. math:: score = V F^alpha

    Args:
        value: V, float64 [N], nats.
        frequency: F, int64 [N].
        alpha: exponent, 0 ignores the frequency; 0.03 in the authors' code.

    Returns:
        float64 [N]; higher = more valuable. Where powers leave the range of numbers, other numbers in the same order.
    """
    times = frequency.double()
    score = value * times.pow(alpha)
    if bool(score.isfinite().all()):
        return score
    size = value.abs().log() / alpha + times.log()  # of the logarithms, divided by alpha
    known = size.isfinite()
    return torch.where(known, value.sign() * (size - size[known].min() + 1), 0.0)


def rank(score: Tensor) -> Tensor:
    """Ids from the highest score to the lowest, int64 [N]; equal scores in order of id.

    Example:
        >>> rank(torch.tensor([0.1, 0.9, 0.9, 0.5]))
        tensor([1, 2, 3, 0])
    """
    return torch.sort(score, descending=True, stable=True).indices
