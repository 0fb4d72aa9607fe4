"""Which samples come next? One epoch of shuffled, augmented batches."""

from collections.abc import Iterator

import torch
from torch import Tensor

from kcd_teach.augment import (
    StageImages,
    draw_rotated_views,
    draw_views,
    middle_view,
    render_rotated_views,
    render_views,
)
from kcd_teach.datasets import Dataset
from kcd_teach.negatives import NegativePool
from kcd_teach.protocol import Batch, Needs
from kcd_teach.recipe import Recipe

__all__ = ["Batch", "batches"]


def batches(
    dataset: Dataset,
    images: StageImages,
    active: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
    first: int = 0,
    needs: Needs | None = None,
) -> Iterator[Batch]:
    """One epoch over the active samples, shuffled and augmented, from batch ``first`` on.

    Order and views of the whole epoch are drawn before the first batch, and the negatives of a batch by a generator of
    its own, so an epoch can be entered anywhere. Where the active samples are all of one class, which leaves none to be
    told apart from, negatives come from all samples.
    """
    needs = needs or Needs()
    # From ascending ids, not from the ranking: else batches would depend on the ranking even if nothing is dropped.
    ids = active.sort().values
    pool = None
    if needs.negatives:
        labels = dataset.train_labels
        mixed_classes = bool((labels[ids.to(labels.device)] != labels[ids[0]]).any())
        from_active = needs.negatives_from == "active" and mixed_classes
        pool = NegativePool(ids if from_active else torch.arange(len(labels)), labels)
    ids = ids[torch.randperm(len(ids), generator=generator)]
    draw, render = (draw_rotated_views, render_rotated_views) if needs.rotations else (draw_views, render_views)
    views = draw(len(ids), dataset.padding, generator)
    if not recipe.augment:
        views = torch.full_like(views, middle_view(dataset.padding))
    if recipe.drop_last:
        ids = ids[: len(ids) // recipe.batch_size * recipe.batch_size]
        views = views[: len(ids)]
    device = dataset.train_images.device
    size = recipe.batch_size
    # What the device needs of the order is sent once per epoch, not once per batch.
    on_device = zip(ids.to(device).split(size), views.to(device).split(size), strict=True)
    parts = list(zip(ids.split(size), views.split(size), on_device, strict=True))
    for number, (chosen, seen, (here, view)) in enumerate(parts[first:], start=first):
        shown = dataset.normalise(render(images.current[here], view, dataset.padding))
        shown = shown.contiguous(memory_format=torch.channels_last)
        contrasts = None
        if pool is not None:
            own = torch.Generator().manual_seed(1_000_003 * generator.initial_seed() + number)
            contrasts = pool.contrasts(chosen, needs.negatives, own).to(device, non_blocking=True)
        yield Batch(chosen, seen, dataset.train_labels[here], images.mixed[chosen], shown, contrasts)
