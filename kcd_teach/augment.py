"""Which view of an image is shown? Whole-batch random crop and flip, and the blending of two images."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach._checks import check_at_least
from kcd_teach.condensation.summary import Mixture


def num_views(padding: int) -> int:
    """Different outcomes of a random crop and flip: 50 for padding 2, 162 for padding 4."""
    return 2 * (2 * padding + 1) ** 2


def draw_views(count: int, padding: int, generator: torch.Generator) -> Tensor:
    """Draw one view for each of ``count`` images, uniformly from all crops and both flips.

    A view is one number, so that what a teacher says about it can be stored: ``(row * (2p + 1) + column) * 2 + flip``
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
        """Show what a stage trains on, with its mixture; nothing changes if it is shown already."""
        if stage != self.stage:
            self.apply(mixture)
            self.stage = stage

    def apply(self, mixture: Mixture) -> None:
        """Start a stage: blend its boundary samples with their partners."""
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
