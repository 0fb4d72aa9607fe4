import pytest
import torch

from kcd_teach.condensation import Mixture
from kcd_teach.distillers.base import Needs
from kcd_teach.recipe import Recipe
from kcd_teach.views import Batch, StageImages, batches, middle_view, render_rotated_views, render_views
from tests.tiny import same, tiny_dataset

ACTIVE = torch.tensor([40, 3, 17, 22, 8, 31, 5, 0, 46, 12, 13, 29, 33])


def epoch(active=ACTIVE, seed=0, first=0, images=None, needs=None, **settings) -> list[Batch]:
    dataset = tiny_dataset()
    images = images or StageImages(dataset.train_images)
    recipe = Recipe(batch_size=settings.pop("batch_size", 5), **settings)
    return list(batches(dataset, images, active, recipe, torch.Generator().manual_seed(seed), first, needs))


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


def test_without_needs_there_are_no_contrasts_and_one_view():
    for batch in epoch():
        assert batch.contrasts is None
        assert batch.views.shape == batch.ids.shape


CONTRASTED = Needs(negatives=4)


@pytest.mark.parametrize("negatives_from", ["active", "all"])
def test_contrasts_are_the_own_id_and_others_of_other_classes(negatives_from):
    labels, seen = tiny_dataset().train_labels, set()
    for seed in range(20):
        for batch in epoch(seed=seed, needs=Needs(negatives=4, negatives_from=negatives_from)):
            assert torch.equal(batch.contrasts[:, 0], batch.ids)
            assert bool((labels[batch.contrasts[:, 1:]] != batch.labels[:, None]).all())
            seen |= set(batch.contrasts[:, 1:].flatten().tolist())
    assert seen == (set(ACTIVE.tolist()) if negatives_from == "active" else set(range(48)))


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("needs", [CONTRASTED, Needs(rotations=True)], ids=["contrasts", "rotations"])
def test_entering_an_epoch_in_the_middle_gives_the_same_contrasts_and_rotations(needs, first):
    assert same(epoch(first=first, needs=needs), epoch(needs=needs)[first:])


def test_contrasts_change_neither_order_nor_views():
    for with_contrasts, without in zip(epoch(needs=CONTRASTED), epoch(), strict=True):
        assert same(with_contrasts[:-1], without[:-1])


def test_contrasts_differ_between_batches_and_seeds_and_repeat_with_the_seed():
    def drawn(seed: int) -> list[tuple[int, ...]]:
        """Per batch, with everything but the generator fixed: one sample among twelve of other classes."""
        shown = epoch(torch.arange(48), seed=seed, needs=Needs(negatives=8), batch_size=1)
        return [tuple(batch.contrasts[0, 1:].tolist()) for batch in shown]

    assert len(set(drawn(0))) == 48
    assert drawn(0) == drawn(0)
    assert not set(drawn(0)) & set(drawn(1))


@pytest.mark.parametrize("negatives_from", ["active", "all"])
def test_contrasts_come_from_all_samples_where_the_active_ones_are_of_a_single_class(negatives_from):
    needs = Needs(negatives=30, negatives_from=negatives_from)
    (batch,) = epoch(torch.tensor([0, 3, 6]), needs=needs)
    others = batch.contrasts[:, 1:]
    assert bool((tiny_dataset().train_labels[others] != 0).all())
    assert len(others.unique()) > 20


def test_rotations_show_every_image_four_times_image_by_image():
    dataset = tiny_dataset()
    shown = epoch(needs=Needs(rotations=True))
    assert torch.cat([batch.ids for batch in shown]).sort().values.tolist() == sorted(ACTIVE.tolist())
    for batch in shown:
        count = len(batch.ids)
        assert batch.views.shape == (count, 4)
        assert batch.images.shape == (4 * count, 1, 8, 8)
        assert batch.labels.shape == batch.mixed.shape == (count,)
        expected = render_rotated_views(dataset.train_images[batch.ids], batch.views, dataset.padding)
        assert torch.equal(batch.images, dataset.normalise(expected))


def test_rotations_without_augmentation_are_bare():
    dataset = tiny_dataset()
    for batch in epoch(needs=Needs(rotations=True), augment=False):
        images = dataset.normalise(dataset.train_images[batch.ids])
        for turns in range(4):
            assert torch.equal(batch.images[turns::4], images.rot90(turns, (-2, -1)))


def test_all_four_views_of_a_mixture_are_of_the_same_blended_image():
    dataset = tiny_dataset()
    images = StageImages(dataset.train_images)
    images.apply(Mixture(torch.tensor([3]), torch.tensor([1]), torch.tensor([0.5], dtype=torch.float64)))
    shown = epoch(images=images, needs=Needs(rotations=True), augment=False, batch_size=13)[0]
    place = shown.ids.tolist().index(3)
    blended = dataset.normalise(images.current[[3]])
    assert not torch.equal(images.current[3], dataset.train_images[3])
    for turns in range(4):
        assert torch.equal(shown.images[4 * place + turns], blended.rot90(turns, (-2, -1))[0])
