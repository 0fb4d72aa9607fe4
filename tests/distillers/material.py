"""Numbers to compare methods on, and the smallest batch and outputs that a method accepts."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kcd_teach.distillers import Distiller, Taps, distiller_class, list_distillers
from kcd_teach.distillers.base import Batch, Outputs

METHODS: dict[str, type[Distiller]] = {name: distiller_class(name) for name in list_distillers()}
CLASSES = 5
# Other widths and sizes on the two sides, wherever a method can live with it.
STUDENT_TAPS = ((2, 8, 8), (3, 8, 8), (4, 4, 4), (6, 4, 4), (6,))
TEACHER_TAPS = ((2, 8, 8), (5, 8, 8), (7, 8, 8), (8, 2, 2), (9,))


def waves(function: Callable[[Tensor], Tensor], *shape: int) -> Tensor:
    """function(1), function(2), .. in row-major order, float64."""
    return function(torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).reshape(shape)


def noise(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def batch_of(labels: Tensor, contrasts: Tensor | None = None) -> Batch:
    """A batch for a method that looks at labels, ids and contrasts alone; its images are empty."""
    count = len(labels)
    ids = torch.arange(count)
    return Batch(ids, ids, labels, torch.zeros(count, dtype=torch.bool), torch.empty(count, 0), contrasts)


def build(name: str, *, seed: int = 0, num_samples: int = 12, **settings) -> Distiller:
    """A method on the two tap lists above, with room for twelve samples and three negatives."""
    if name in ("crd", "wcord"):
        settings = {"negatives": 3, "size": 4, **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = (Taps(STUDENT_TAPS, TEACHER_TAPS),) if METHODS[name].uses_taps else ()
        distiller = METHODS[name](*first, **settings)
        distiller.begin(num_samples)
    return distiller


def batch_for(distiller: Distiller, count: int = 4) -> Batch:
    labels = torch.arange(count) % CLASSES
    if not distiller.needs.negatives:
        return batch_of(labels)
    others = torch.tensor([[(i + step) % 12 for step in range(1, 1 + distiller.needs.negatives)] for i in range(count)])
    return batch_of(labels, torch.cat([torch.arange(count)[:, None], others], dim=1))


def outputs_for(distiller: Distiller, role: str, count: int = 4, *, seed: int = 0, make=noise) -> Outputs:
    """Float32 leaves with gradients, for ``count`` samples in all their views; ``make`` draws each."""
    shapes = STUDENT_TAPS if role == "student" else TEACHER_TAPS
    rows = count * distiller.needs.views
    seed = 100 * seed + (0 if role == "student" else 50)
    drawn = [make(rows, *shape, seed=seed + i).float() for i, shape in enumerate(((CLASSES,), *shapes))]
    logits, *features = [leaf.detach().requires_grad_() for leaf in drawn]
    return Outputs(logits, features)
