import pytest
import torch

from kcd_teach.augment import StageImages, middle_view, render_views
from kcd_teach.batches import Batch, batches
from kcd_teach.condensation import Mixture
from kcd_teach.recipe import Recipe
from tests.tiny import same, tiny_dataset

ACTIVE = torch.tensor([40, 3, 17, 22, 8, 31, 5, 0, 46, 12, 13, 29, 33])


def epoch(active=ACTIVE, seed=0, first=0, images=None, **settings) -> list[Batch]:
    dataset = tiny_dataset()
    images = images or StageImages(dataset.train_images)
    recipe = Recipe(batch_size=settings.pop("batch_size", 5), **settings)
    return list(batches(dataset, images, active, recipe, torch.Generator().manual_seed(seed), first))


@pytest.mark.parametrize("batch_size", [1, 4, 5, 13, 64])
def test_every_active_sample_is_shown_exactly_once(batch_size):
    shown = epoch(batch_size=batch_size)
    assert torch.cat([batch.ids for batch in shown]).sort().values.tolist() == sorted(ACTIVE.tolist())
    assert all(len(batch.ids) == batch_size for batch in shown[:-1])
    assert len(shown) == -(-13 // batch_size)


@pytest.mark.parametrize(("batch_size", "expected"), [(5, [5, 5]), (13, [13])])
def test_drop_last_leaves_out_the_incomplete_batch_and_nothing_else(batch_size, expected):
    shown = epoch(batch_size=batch_size, drop_last=True)
    assert [len(batch.ids) for batch in shown] == expected
    assert same(shown, epoch(batch_size=batch_size)[: len(expected)])


@pytest.mark.parametrize("first", range(4))
def test_entering_an_epoch_in_the_middle_gives_the_same_remaining_batches(first):
    assert same(epoch(first=first), epoch()[first:])


def test_the_seed_decides_order_and_views():
    assert same(epoch(seed=3), epoch(seed=3))
    assert epoch(seed=3)[0].ids.tolist() != epoch(seed=4)[0].ids.tolist()
    assert epoch(seed=3)[0].views.tolist() != epoch(seed=4)[0].views.tolist()


def test_batches_do_not_depend_on_the_order_of_the_ranking():
    assert same(epoch(ACTIVE), epoch(ACTIVE.flip(0)))
    assert same(epoch(ACTIVE), epoch(ACTIVE.sort().values))


def test_order_is_shuffled_over_all_positions():
    firsts = [epoch(seed=seed, batch_size=1)[0].ids.item() for seed in range(130)]
    assert set(firsts) == set(ACTIVE.tolist())


def test_images_are_the_drawn_views_normalised_with_their_labels():
    dataset = tiny_dataset()
    for batch in epoch():
        expected = dataset.normalise(render_views(dataset.train_images[batch.ids], batch.views, dataset.padding))
        assert torch.equal(batch.images, expected)
        assert batch.images.dtype == torch.float32
        assert torch.equal(batch.labels, dataset.train_labels[batch.ids])
        assert not batch.mixed.any()


def test_without_augmentation_every_image_is_shown_as_it_is_in_the_same_order():
    dataset = tiny_dataset()
    plain, augmented = epoch(augment=False), epoch()
    for batch, other in zip(plain, augmented, strict=True):
        assert torch.equal(batch.ids, other.ids)
        assert set(batch.views.tolist()) == {middle_view(dataset.padding)}
        assert torch.equal(batch.images, dataset.normalise(dataset.train_images[batch.ids]))


def test_mixtures_are_shown_in_place_of_their_boundary_samples_under_its_label():
    dataset = tiny_dataset()
    images = StageImages(dataset.train_images)
    images.apply(Mixture(torch.tensor([3, 17]), torch.tensor([1, 2]), torch.tensor([0.5, 1.0], dtype=torch.float64)))
    shown = epoch(images=images, augment=False, batch_size=13)[0]
    assert shown.ids[shown.mixed].sort().values.tolist() == [3, 17]
    at_17 = shown.ids.tolist().index(17)
    assert torch.equal(shown.images[at_17], dataset.normalise(dataset.train_images[2]))
    assert shown.labels[at_17] == dataset.train_labels[17] != dataset.train_labels[1]
