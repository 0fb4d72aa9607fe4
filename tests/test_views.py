from fractions import Fraction

import numpy as np
import pytest
import torch

from kcd_teach.condensation import Mixture, paper_coefficients, released_coefficients
from kcd_teach.views import (
    StageImages,
    blend,
    blend_as_released,
    draw_rotated_views,
    draw_views,
    middle_view,
    num_views,
    render_rotated_views,
    render_views,
)
from tests import oracles


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.mark.parametrize(("padding", "expected"), [(0, 2), (1, 18), (2, 50), (4, 162)])
def test_num_views(padding, expected):
    assert num_views(padding) == expected


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 5, 5), (3, 4, 6)], ids=["grey", "colour, not square"])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_every_view_equals_the_plain_crop_and_flip(padding, channels, height, width):
    views = torch.arange(num_views(padding))
    images = noise(len(views), channels, height, width)
    shown = render_views(images, views, padding)
    assert shown.dtype == torch.uint8
    side = 2 * padding + 1
    for view in views.tolist():
        corner, flip = divmod(view, 2)
        expected = oracles.view_of(images[view].numpy(), *divmod(corner, side), flip, padding)
        assert np.array_equal(shown[view].numpy(), expected), f"view {view}"


def test_views_of_the_large_benchmark_images_at_the_corners():
    views = torch.tensor([0, 1, 16, 17, 144, 145, 160, 161, 80, 81])
    images = noise(len(views), 3, 32, 32)
    shown = render_views(images, views, padding=4)
    for image, view, ours in zip(images, views.tolist(), shown, strict=True):
        row, column = divmod(view // 2, 9)
        assert np.array_equal(ours.numpy(), oracles.view_of(image.numpy(), row, column, view % 2, 4))


@pytest.mark.parametrize("padding", [0, 1, 2, 4])
def test_middle_view_shows_the_image_as_it_is(padding):
    images = noise(3, 3, 8, 8)
    assert torch.equal(render_views(images, torch.full((3,), middle_view(padding)), padding), images)


def test_padding_is_black():
    white = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    corner = render_views(white, torch.tensor([0]), padding=2)[0, 0]
    assert corner.tolist() == [[0] * 4, [0] * 4, [0, 0, 255, 255], [0, 0, 255, 255]]


def test_all_views_of_one_image_differ():
    image = noise(1, 1, 8, 8).expand(50, -1, -1, -1)
    assert len(render_views(image, torch.arange(50), 2).flatten(1).unique(dim=0)) == 50


def test_draw_views_repeats_with_its_seed_only():
    first, again, other = (draw_views(100, 2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.int64


@pytest.mark.parametrize("padding", [2, 4])
def test_draw_views_is_uniform(padding):
    views = num_views(padding)
    drawn = draw_views(400 * views, padding, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=views)
    assert len(counts) == views
    # Chi-squared with views - 1 degrees of freedom: mean views - 1, standard deviation sqrt(2 (views - 1)).
    chi_squared = ((counts - 400.0) ** 2 / 400).sum().item()
    assert abs(chi_squared - (views - 1)) < 4 * (2 * (views - 1)) ** 0.5


@pytest.mark.parametrize(
    ("padding", "error", "message"),
    [
        (-1, ValueError, "padding must be at least 0, got -1"),
        (1.5, TypeError, "padding must be a whole number, got 1.5"),
    ],
)
def test_draw_views_refuses_a_wrong_padding(padding, error, message):
    with pytest.raises(error, match=message):
        draw_views(3, padding, torch.Generator())


def turned(image: np.ndarray, turns: int) -> np.ndarray:
    """A square image [C, H, H], turned counter-clockwise by so many quarters, pixel by pixel."""
    side = image.shape[-1]
    for _ in range(turns):
        before, image = image, np.empty_like(image)
        for y in range(side):
            for x in range(side):
                image[:, side - 1 - x, y] = before[:, y, x]  # what was on the right is now on top
    return image


@pytest.mark.parametrize(("channels", "side"), [(1, 5), (3, 4)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_rotated_views_equal_the_plain_flip_turn_and_crop(padding, channels, side):
    images = noise(30, channels, side, side)
    views = draw_rotated_views(30, padding, torch.Generator().manual_seed(1))
    shown = render_rotated_views(images, views, padding)
    assert shown.shape == (120, channels, side, side)
    assert shown.dtype == torch.uint8
    for i, four in enumerate(views.tolist()):
        flipped = images[i].numpy()[:, :, ::-1] if four[0] % 2 else images[i].numpy()
        for turns, view in enumerate(four):
            row, column = divmod(view // 2, 2 * padding + 1)
            expected = oracles.view_of(turned(flipped, turns), row, column, 0, padding)
            assert np.array_equal(shown[4 * i + turns].numpy(), expected), (i, turns)


def test_the_four_rotations_of_a_corner():
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    shown = render_rotated_views(image, torch.zeros(1, 4, dtype=torch.int64), padding=0)
    assert shown[:, 0].tolist() == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    flipped = render_rotated_views(image, torch.ones(1, 4, dtype=torch.int64), padding=0)
    assert flipped[:2, 0].tolist() == [[[2, 1], [4, 3]], [[1, 3], [2, 4]]]


def test_rotated_padding_is_black_and_comes_after_the_rotation():
    white = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    for shown in render_rotated_views(white, torch.zeros(1, 4, dtype=torch.int64), padding=2)[:, 0]:
        assert shown.tolist() == [[0] * 4, [0] * 4, [0, 0, 255, 255], [0, 0, 255, 255]]


def test_unrotated_view_is_the_usual_one():
    images, views = noise(20, 3, 6, 6), draw_rotated_views(20, 2, torch.Generator().manual_seed(2))
    assert {0, 1} == set((views[:, 0] % 2).tolist())
    # Flip, then crop here; crop, then flip there: a flipped view sees the mirrored column.
    row, column = views[:, 0] // 2 // 5, views[:, 0] // 2 % 5
    flip = views[:, 0] % 2
    mirrored = (row * 5 + torch.where(flip == 1, 4 - column, column)) * 2 + flip
    assert torch.equal(render_rotated_views(images, views, 2)[::4], render_views(images, mirrored, 2))


@pytest.mark.parametrize("padding", [1, 2])
def test_rotated_views_share_the_flip_and_have_crops_of_their_own(padding):
    views = draw_rotated_views(20_000, padding, torch.Generator().manual_seed(0))
    assert views.shape == (20_000, 4)
    assert bool((views % 2 == views[:, :1] % 2).all())
    side = (2 * padding + 1) ** 2
    corners = views // 2
    pairs = torch.bincount(corners[:, 1] * side + corners[:, 3], minlength=side**2).double()
    expected, degrees = 20_000 / side**2, side**2 - 1
    chi_squared = ((pairs - expected) ** 2 / expected).sum().item()
    assert abs(chi_squared - degrees) < 4 * (2 * degrees) ** 0.5  # all pairs of corners alike: independent
    assert abs((views[:, 0] % 2).double().mean().item() - 0.5) < 0.02


def test_draw_rotated_views_repeats_with_its_seed_only():
    first, again, other = (draw_rotated_views(50, 2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_images_that_are_not_square_cannot_be_rotated():
    with pytest.raises(ValueError, match=r"images must be square to be rotated, got \[4, 6\] pixels"):
        render_rotated_views(noise(2, 3, 4, 6), torch.zeros(2, 4, dtype=torch.int64), 1)


def test_blend_rounds_exactly_to_the_nearest():
    images, partners = noise(60, 1, 3, 3, seed=1), noise(60, 1, 3, 3, seed=2)
    mixed = blend(images, partners, paper_coefficients(60, 0.3))
    half = Fraction(1, 2)
    for j in range(60):
        share = Fraction(3, 10) * Fraction(j + 1, 60)
        for ours, own, other in zip(
            mixed[j].flatten().tolist(), images[j].flatten().tolist(), partners[j].flatten().tolist(), strict=True
        ):
            exact = (1 - share) * own + share * other
            if (exact + half).denominator != 1:  # no claim about exact halves: the blend is in floating point
                assert ours == int(exact + half)


@pytest.mark.parametrize("mix", [blend, blend_as_released])
def test_blend_at_its_ends(mix):
    images, partners = noise(2, 3, 4, 4, seed=1), noise(2, 3, 4, 4, seed=2)
    assert torch.equal(mix(images, partners, torch.zeros(2, dtype=torch.float64)), images)
    assert torch.equal(mix(images, partners, torch.ones(2, dtype=torch.float64)), partners)


@pytest.mark.parametrize("length", [1, 3, 60, 2_500])
def test_released_blend_equals_float32_arithmetic_byte_for_byte(length):
    images, partners = noise(length, 3, 8, 8, seed=3), noise(length, 3, 8, 8, seed=4)
    ours = blend_as_released(images, partners, released_coefficients(length, 0.3))
    assert np.array_equal(ours.numpy(), oracles.released_mixtures(images.numpy(), partners.numpy()))


def test_released_blend_darkens_where_the_paper_blend_does_not():
    images, partners = noise(60, 3, 16, 16, seed=5), noise(60, 3, 16, 16, seed=6)
    share = released_coefficients(60, 0.3)
    exact = (1 - share)[:, None, None, None] * images + share[:, None, None, None] * partners
    truncated, rounded = (
        (mix(images, partners, share)[1:] - exact[1:]).mean().item() for mix in (blend_as_released, blend)
    )
    assert truncated == pytest.approx(-0.5, abs=0.03)
    assert rounded == pytest.approx(0.0, abs=0.01)


def mixtures(count: int, num_samples: int, length: int, preset: str) -> list[Mixture]:
    grow = released_coefficients if preset == "released" else paper_coefficients
    found = []
    for seed in range(count):
        ids = torch.randperm(num_samples, generator=torch.Generator().manual_seed(seed))
        found.append(Mixture(ids[:length], ids[length : 2 * length], grow(length, 0.3)))
    return found


def test_released_images_accumulate_mixtures_as_a_plain_store_does():
    originals = noise(90, 3, 6, 6)
    stage, store = StageImages(originals, "released"), originals.numpy().copy()
    for mixture in [*mixtures(5, 90, 30, "released"), Mixture(), *mixtures(2, 90, 30, "released")]:
        stage.apply(mixture)
        boundary, partners = mixture.boundary.numpy(), mixture.partners.numpy()
        store[boundary] = oracles.released_mixtures(store[boundary], store[partners])
        assert np.array_equal(stage.current.numpy(), store)
    assert torch.equal(originals, noise(90, 3, 6, 6))


@pytest.mark.parametrize("preset", ["paper", "none"])
def test_paper_images_are_blended_from_originals_for_one_stage(preset):
    originals = noise(20, 1, 4, 4)
    stage = StageImages(originals, preset)
    for mixture in mixtures(3, 20, 6, "paper"):
        stage.apply(mixture)
        expected = originals.clone()
        expected[mixture.boundary] = blend(
            originals[mixture.boundary], originals[mixture.partners], mixture.coefficients
        )
        assert torch.equal(stage.current, expected)
        assert stage.mixed.nonzero().flatten().tolist() == sorted(mixture.boundary.tolist())
    stage.apply(Mixture())
    assert torch.equal(stage.current, originals)
    assert not stage.mixed.any()
    assert torch.equal(originals, noise(20, 1, 4, 4))


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_stage_images_resume_from_their_state(preset):
    before, after = (StageImages(noise(20, 1, 4, 4), preset) for _ in range(2))
    first, second, third = mixtures(3, 20, 6, preset)
    before.apply(first)
    before.apply(second)
    state = before.state_dict()
    assert len(state["ids"]) == (6 if preset == "paper" else len({*first.boundary.tolist(), *second.boundary.tolist()}))
    after.apply(third)  # what was there before is forgotten
    after.load_state_dict(state)
    for _ in range(2):
        assert torch.equal(after.current, before.current)
        assert torch.equal(after.mixed, before.mixed)
        before.apply(third)
        after.apply(third)
