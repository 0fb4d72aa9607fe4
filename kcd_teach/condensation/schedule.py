"""The schedule: how many samples each stage keeps, after which epochs the set changes, and what it costs.

Stages are counted t = 0 .. S-1. Stage t trains on ``n_t`` samples; event t (t >= 1) comes at the end of stage t-1
and decides which samples these are.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from kcd_teach._checks import check_at_least, check_between

RELEASED_STEPS = 6
"""The number of steps to the final ratio, fixed in the authors' code whatever the number of stages."""


def paper_counts(num_samples: int, ratio: float, stages: int) -> list[int]:
    """Samples kept in each stage, falling on a straight line from all of them to the final ratio.

    .. math:: n_t = floor(N (1 - (1 - ratio) t / (S - 1)) + 1/2), t = 0 .. S-1

    The paper's own schedule of the threshold is not established; a straight line is our choice. Computed in exact
    fractions of the decimal ``ratio``, so that a count landing on .5 always rounds up.

    Args:
        num_samples: N, at least 1.
        ratio: final fraction of the samples that is kept, in (0, 1], with ratio * N >= 0.5.
        stages: S, at least 1.

    Returns:
        S counts, from N down to floor(ratio * N + 1/2); they never grow.

    >>> paper_counts(50_000, 0.7, 6)
    [50000, 47000, 44000, 41000, 38000, 35000]
    """
    num_samples, ratio, stages = _checked(num_samples, ratio, stages)
    exact = Fraction(str(float(ratio)))
    if exact * num_samples < Fraction(1, 2):
        raise ValueError(f"ratio={ratio} of {num_samples} samples keeps none; use at least {0.5 / num_samples:g}")
    falls = [(1 - exact) * t / max(stages - 1, 1) for t in range(stages)]
    return [math.floor(num_samples * (1 - fall) + Fraction(1, 2)) for fall in falls]


def released_counts(num_samples: int, ratio: float, stages: int, steps: int = RELEASED_STEPS) -> list[int]:
    """Samples kept in each stage by the authors' code, and after its last event, which nothing is trained on.

    The step ``floor(N (1 - ratio) / steps)`` and the floor ``floor(ratio N)`` are evaluated in double precision in
    this order, which loses a sample now and then; a count that would fall below the floor becomes the floor.

    Args:
        num_samples: N, at least 1.
        ratio: final fraction, in (0, 1], with floor(ratio * N) >= 1.
        stages: S, at least 1.
        steps: 6 in the authors' code, whatever S is.

    Returns:
        S + 1 counts: n_0 .. n_{S-1}, then the one set by the event after the last epoch.

    >>> released_counts(50_000, 0.7, 6)
    [50000, 47500, 45000, 42500, 40000, 37500, 35000]
    """
    num_samples, ratio, stages = _checked(num_samples, ratio, stages)
    steps = check_at_least("steps", steps, 1)
    step = math.floor(num_samples * (1 - ratio) / steps)
    lower = math.floor(ratio * num_samples)
    if lower < 1:
        raise ValueError(f"ratio={ratio} of {num_samples} samples keeps none; use at least {1 / num_samples:g}")
    counts = [num_samples]
    for _ in range(stages):
        counts.append(lower if counts[-1] - step < lower else counts[-1] - step)
    return counts


def event_epochs(epochs: int, stages: int) -> list[int]:
    """Epochs (counted from 1) after which the set changes, ``floor(E t / S)`` for t = 1 .. S-1.

    >>> event_epochs(240, 6)
    [40, 80, 120, 160, 200]
    """
    stages, epochs = check_at_least("stages", stages, 1), check_at_least("epochs", epochs, 1)
    if stages > epochs:
        raise ValueError(f"stages must be at most epochs={epochs}, got {stages}")
    return [epochs * t // stages for t in range(1, stages)]


def counts_and_events(
    preset: str, num_samples: int, ratio: float, stages: int, epochs: int, steps: int = RELEASED_STEPS
) -> tuple[list[int], list[int]]:
    """Counts n_0, n_1, .. of a preset, and the epochs after which the second, third, .. of them begins to hold."""
    events = event_epochs(epochs, stages)
    if preset == "paper":
        return paper_counts(num_samples, ratio, stages), events
    if epochs % stages:
        raise ValueError(f"stages must divide epochs={epochs} in the released preset, got {stages}")
    return released_counts(num_samples, ratio, stages, steps), [*events, epochs]


def relative_cost(counts: Sequence[int], epochs: int) -> float:
    """Sample presentations of a schedule relative to training on all samples in every epoch.

    Args:
        counts: n_0 .. n_{S-1}, samples kept in each of the S stages.
        epochs: E, at least S.

    Returns:
        A fraction in (0, 1]; (1 + ratio) / 2 for equal stages of the straight line.

    >>> round(relative_cost(paper_counts(50_000, 0.7, 6), epochs=240), 6)
    0.85
    """
    bounds = [0, *event_epochs(epochs, len(counts)), epochs]
    shown = sum(count * (end - start) for count, start, end in zip(counts, bounds, bounds[1:], strict=False))
    return shown / (counts[0] * epochs)


def _checked(num_samples: int, ratio: float, stages: int) -> tuple[int, float, int]:
    num_samples = check_at_least("num_samples", num_samples, 1)
    return num_samples, check_between("ratio", ratio, 0, 1, open_low=True), check_at_least("stages", stages, 1)
