"""M-step: Value-Adaptive Knowledge Summary, which keeps, blends or drops the ranked samples (paper Eq. 14-15).

Samples are named by ids and never by position; images are blended elsewhere (:func:`kcd_teach.views.blend`).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


def _no_ids() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class Mixture:
    """Which samples are blended in a stage, with which partners, and how strongly.

    Sample ``boundary[j]`` is shown as ``(1 - coefficients[j]) * itself + coefficients[j] * partners[j]`` and keeps
    its label. Empty before the first event, and when nothing is dropped.

    Attributes:
        boundary: ids of the lowest-ranked kept samples, int64 [L], descending in rank.
        partners: ids of the dropped samples blended into them, int64 [L], descending in rank.
        coefficients: share of the partner, float64 [L], growing.
    """

    boundary: Tensor = field(default_factory=_no_ids)
    partners: Tensor = field(default_factory=_no_ids)
    coefficients: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.boundary)

    def __repr__(self) -> str:
        if len(self) == 0:
            return "Mixture(empty)"
        low, high = float(self.coefficients[0]), float(self.coefficients[-1])
        return f"Mixture({len(self)} pairs, coefficients {low:.3g} .. {high:.3g})"


def partition(ranking: Tensor, previous: int, kept: int, partners: str = "slice") -> tuple[Tensor, Tensor, Tensor]:
    """Split a ranking into samples used as they are, boundary samples and their partners.

    With L = previous - kept: the boundary is the last L of the kept samples, the partners are the L that follow
    (``"slice"``), or all that are not kept (``"complement"``, then L = N - kept). L is cut to ``kept`` where the
    schedule is steeper than that.

    Args:
        ranking: ids from the highest score to the lowest, int64 [N].
        previous: samples active in the stage before, n_{t-1}.
        kept: samples active from now on, n_t.
        partners: ``"slice"`` or ``"complement"``.

    Returns:
        (high, boundary, partners): int64 [kept - L], [L], [L].
    """
    length = min(previous - kept if partners == "slice" else len(ranking) - kept, kept)
    start = kept - length
    return ranking[:start], ranking[start:kept], ranking[kept : kept + length]


def paper_coefficients(length: int, strength: float) -> Tensor:
    """``strength * (j + 1) / L`` for j = 0 .. L-1, float64: the last reaches ``strength`` (paper Eq. 15, figure 2).

    >>> paper_coefficients(3, 0.3)
    tensor([0.1000, 0.2000, 0.3000], dtype=torch.float64)
    """
    return strength * (torch.arange(1, length + 1, dtype=torch.float64) / length)


def released_coefficients(length: int, strength: float) -> Tensor:
    """``strength * j / L``, rounded to float32 where the authors' code does: the first is 0, none reaches strength.

    >>> released_coefficients(3, 0.3)
    tensor([0.0000, 0.1000, 0.2000], dtype=torch.float64)
    """
    position = torch.arange(length, dtype=torch.float32)
    keep = strength * ((length - position) / length) + (1 - strength)
    return (1 - keep).double()


def summarise(
    ranking: Tensor, previous: int, kept: int, strength: float = 0.3, preset: str = "paper", partners: str = "slice"
) -> tuple[Tensor, Mixture]:
    """Plan a stage from a ranking: the samples to train on, and their mixtures (paper Eq. 14-15).

    Args:
        ranking, previous, kept, partners: as for :func:`partition`.
        strength: largest share of a partner, in [0, 1].
        preset: ``"paper"`` or ``"released"``, which coefficients to use.

    Returns:
        (active, mixture): ids int64 [kept], highest score first; the mixture is empty if nothing is dropped.
    """
    _, boundary, partner = partition(ranking, previous, kept, partners)
    growing = released_coefficients if preset == "released" else paper_coefficients
    mixture = (
        Mixture(boundary.clone(), partner.clone(), growing(len(boundary), strength)) if len(boundary) else Mixture()
    )
    return ranking[:kept].clone(), mixture


KEPT, MIXED, DROPPED = 0, 1, 2
ROLES = ("kept", "mixed", "dropped")


def roles(num_samples: int, active: Tensor, mixture: Mixture) -> Tensor:
    """Role of every sample in a stage: KEPT, MIXED (kept and blended) or DROPPED; int8 [N]."""
    role = torch.full((num_samples,), DROPPED, dtype=torch.int8)
    role[active] = KEPT
    role[mixture.boundary] = MIXED
    return role
