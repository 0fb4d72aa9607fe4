"""Which samples come next? One epoch of shuffled, augmented batches."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kcd_teach.augment import StageImages, draw_views, middle_view, render_views
from kcd_teach.datasets import Dataset
from kcd_teach.recipe import Recipe


class Batch(NamedTuple):
    """Samples on their way to the networks: ids, views and labels int64 [B], mixed bool [B], images [B, C, H, W]."""

    ids: Tensor
    views: Tensor
    labels: Tensor
    mixed: Tensor
    images: Tensor


def batches(
    dataset: Dataset, images: StageImages, active: Tensor, recipe: Recipe, generator: torch.Generator, first: int = 0
) -> Iterator[Batch]:
    """One epoch over the active samples, shuffled and augmented, from batch ``first`` on.

    Order and views of the whole epoch are drawn before the first batch, so an epoch can be entered anywhere.
    """
    # From ascending ids, not from the ranking: else batches would depend on the ranking even if nothing is dropped.
    ids = active.sort().values
    ids = ids[torch.randperm(len(ids), generator=generator)]
    views = draw_views(len(ids), dataset.padding, generator)
    if not recipe.augment:
        views = torch.full_like(views, middle_view(dataset.padding))
    if recipe.drop_last:
        ids = ids[: len(ids) // recipe.batch_size * recipe.batch_size]
    device = dataset.train_images.device
    for chosen, view in list(zip(ids.split(recipe.batch_size), views.split(recipe.batch_size), strict=False))[first:]:
        here, view = chosen.to(device), view.to(device)
        shown = dataset.normalise(render_views(images.current[here], view, dataset.padding))
        yield Batch(chosen, view, dataset.train_labels[here], images.mixed[here], shown)
