"""Views of the images: crops and flips, rotations, mixtures, and one epoch of batches of them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_at_least
from kcd_teach.condensation.summary import Mixture
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import Batch, Needs
from kcd_teach.recipe import Recipe


def num_views(padding: int) -> int:
    """Different outcomes of a random crop and flip: 50 for padding 2, 162 for padding 4."""
    return 2 * (2 * padding + 1) ** 2


def draw_views(count: int, padding: int, generator: torch.Generator) -> Tensor:
    """Draw one view for each of ``count`` images, uniformly from all crops and both flips.

    A view is one number, so that a teacher's logits for it can be cached: ``(row * (2p + 1) + column) * 2 + flip``
    with the crop's upper left corner (row, column) in 0 .. 2p inside the padded image.

    Returns:
        int64 [count], in 0 .. num_views(padding) - 1.
    """
    check_at_least("padding", padding, 0)
    return torch.randint(num_views(padding), (count,), generator=generator)


def draw_rotated_views(count: int, padding: int, generator: torch.Generator) -> Tensor:
    """Draw four views for each of ``count`` images, int64 [count, 4]: crops of their own, one flip for all four."""
    views = draw_views(4 * count, padding, generator).reshape(count, 4)
    return views - views % 2 + views[:, :1] % 2


def middle_view(padding: int) -> int:
    """The view that shows an image as it is: no shift, no flip."""
    return (padding * (2 * padding + 1) + padding) * 2


def render_views(images: Tensor, views: Tensor, padding: int) -> Tensor:
    """Show one view of every image: pad with black, crop to the size before, flip.

    Padding comes before normalisation: the border is black and not the mean colour.

    Args:
        images: uint8 [B, C, H, W].
        views: int64 [B], as :func:`draw_views` makes them.
        padding: pixels added on every side.

    Returns:
        uint8 [B, C, H, W].
    """
    height, width = images.shape[-2:]
    side = 2 * padding + 1
    flipped, corner = views % 2 == 1, views // 2
    padded = F.pad(images, (padding, padding, padding, padding))
    # All crops of an image as a view of its padded self: [B, C, side, side, H, W] without a copy.
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    sample = torch.arange(len(images), device=images.device)
    chosen = crops[sample, :, corner // side, corner % side]
    return torch.where(flipped[:, None, None, None], chosen.flip(-1), chosen)


def render_rotated_views(images: Tensor, views: Tensor, padding: int) -> Tensor:
    """Show every image four times: flip, rotate by 0, 90, 180, 270 degrees counter-clockwise, then crop each.

    Args:
        images: uint8 [B, C, H, H].
        views: int64 [B, 4], as :func:`draw_rotated_views` makes them.
        padding: pixels of black added on every side of a rotated image.

    Returns:
        uint8 [4 B, C, H, H], image by image, the unrotated view first.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images must be square to be rotated, got {list(images.shape[-2:])} pixels")
    flipped = torch.where((views[:, 0] % 2 == 1)[:, None, None, None], images.flip(-1), images)
    turned = torch.stack([flipped.rot90(turns, (-2, -1)) for turns in range(4)], dim=1)
    return render_views(turned.flatten(0, 1), (views - views % 2).flatten(), padding)


def blend(images: Tensor, partners: Tensor, coefficients: Tensor) -> Tensor:
    """Mix each image with its partner: ``(1 - c) * image + c * partner``, rounded to the nearest (paper Eq. 14).

    Args:
        images, partners: uint8 [L, C, H, W].
        coefficients: float64 [L], in [0, 1], share of the partner.

    Returns:
        uint8 [L, C, H, W].

    Example:
        >>> pixel = torch.tensor([[[[100]]]], dtype=torch.uint8)
        >>> blend(pixel, pixel // 2, torch.tensor([0.3])).item()
        85
    """
    share = coefficients.double()[:, None, None, None]
    return ((1 - share) * images + share * partners + 0.5).floor().to(torch.uint8)


def blend_as_released(images: Tensor, partners: Tensor, coefficients: Tensor) -> Tensor:
    """Mix as the authors' code does: every operation in float32, then cut off what follows the decimal point."""
    share = coefficients[:, None, None, None]
    return ((1 - share).float() * images + share.float() * partners).to(torch.uint8)


class StageImages:
    """The images a stage trains on: the originals, with the boundary samples replaced by their mixtures.

    Args:
        originals: uint8 [N, C, H, W]; never changed.
        preset: ``"paper"`` blends originals and forgets the mixtures after their stage; ``"released"`` blends the
            images as they are now and keeps them for good, as the authors' code does.

    Attributes:
        stage: which one is shown, counted from 0.
        current: uint8 [N, C, H, W], what is shown in this stage.
        mixed: bool [N], on the CPU, True where ``current`` differs from the original by a mixture of this preset.
    """

    def __init__(self, originals: Tensor, preset: str = "paper") -> None:
        self.originals = self.current = originals
        self.cumulative = preset == "released"
        self.stage = 0
        self.mixed = torch.zeros(len(originals), dtype=torch.bool)

    def show(self, mixture: Mixture, stage: int) -> None:
        """Switch to the images of a stage, with its mixture; nothing changes if that is the current one."""
        if stage != self.stage:
            self.apply(mixture)
            self.stage = stage

    def apply(self, mixture: Mixture) -> None:
        """Replace the boundary samples by their mixtures with their partners."""
        source = self.current if self.cumulative else self.originals
        mix = blend_as_released if self.cumulative else blend
        if not self.cumulative:
            self.mixed = torch.zeros_like(self.mixed)
        self.current = source
        if len(mixture):
            boundary, partners, share = (
                part.to(source.device) for part in (mixture.boundary, mixture.partners, mixture.coefficients)
            )
            self.current = source.clone()
            self.current[boundary] = mix(source[boundary], source[partners], share)
            self.mixed[mixture.boundary] = True

    def state_dict(self) -> dict[str, Any]:
        """The stage, and the mixed images only: ids int64 [M] and pixels uint8 [M, C, H, W]."""
        ids = torch.nonzero(self.mixed).flatten()
        return {"stage": self.stage, "ids": ids, "pixels": self.current[ids.to(self.current.device)].cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the images of :meth:`state_dict`."""
        self.stage = state["stage"]
        self.mixed = torch.zeros_like(self.mixed)
        self.mixed[state["ids"]] = True
        self.current = self.originals.clone()
        self.current[state["ids"].to(self.originals.device)] = state["pixels"].to(self.originals.device)


class NegativePool:
    """Ids to draw from, arranged so that all ids outside one class are one range of positions.

    Args:
        candidates: int64 [M], distinct ids.
        labels: int64 [N], of all samples.

    Raises:
        ValueError: candidates of a single class, which have no others.
    """

    def __init__(self, candidates: Tensor, labels: Tensor) -> None:
        if not len(candidates):
            raise ValueError("negatives need samples to be drawn from, got none")
        of_candidates = labels.cpu()[candidates]
        order = torch.sort(of_candidates, stable=True).indices
        self._ids, self._labels = candidates[order], labels.cpu()
        counts = torch.bincount(of_candidates, minlength=int(self._labels.max()) + 1)
        if int(counts.max()) == len(candidates):
            raise ValueError("negatives need samples of at least two classes, and those to draw from are all of one")
        self._ends = counts.cumsum(0).tolist()
        self._counts = counts.tolist()

    def contrasts(self, ids: Tensor, negatives: int, generator: torch.Generator) -> Tensor:
        """Draw the contrast list of every sample of a batch.

        Args:
            ids: int64 [B].
            negatives: K.
            generator: of the draw.

        Returns:
            int64 [B, 1 + K]: the sample's own id, then K ids of other classes, uniform; without replacement, or with
            it where there are fewer than K.
        """
        check_at_least("negatives", negatives, 1)
        rows = [self._others(label, negatives, generator) for label in self._labels[ids].tolist()]
        return torch.cat([ids[:, None], torch.stack(rows)], dim=1)

    def _others(self, label: int, negatives: int, generator: torch.Generator) -> Tensor:
        count, end = self._counts[label], self._ends[label]
        others = len(self._ids) - count
        if others >= negatives:
            drawn = torch.randperm(others, generator=generator)[:negatives]
        else:
            drawn = torch.randint(others, (negatives,), generator=generator)
        # Positions from where the own class begins are moved past it.
        return self._ids[torch.where(drawn < end - count, drawn, drawn + count)]


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
    its own, so an epoch can be entered anywhere. Where the active samples are all of one class, which leaves no
    negatives among them, negatives come from all samples.
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
