import pytest
import torch

from kcd_teach.views import NegativePool

# Ragged classes: 1, 5, 2 and 12 samples, in no order.
LABELS = torch.tensor([3, 1, 3, 2, 3, 3, 1, 3, 0, 3, 1, 3, 3, 2, 1, 3, 3, 1, 3, 3])
ALL = torch.arange(20)


def draw(ids, negatives, candidates=ALL, seed=0, labels=LABELS) -> torch.Tensor:
    pool = NegativePool(candidates, labels)
    return pool.contrasts(torch.tensor(ids), negatives, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("negatives", [1, 4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_own_id_comes_first_then_distinct_ids_of_other_classes(seed, negatives):
    contrasts = draw(ALL.tolist(), negatives, seed=seed)
    assert contrasts.shape == (20, 1 + negatives)
    assert contrasts.dtype == torch.int64
    assert torch.equal(contrasts[:, 0], ALL)
    for own, *others in contrasts.tolist():
        assert len(set(others)) == negatives
        assert all(LABELS[other] != LABELS[own] for other in others)


def test_all_candidates_of_other_classes_come_once_if_that_is_how_many_are_asked_for():
    for own, expected in ((0, LABELS != 3), (1, LABELS != 1), (3, LABELS != 2), (8, LABELS != 0)):
        count = int(expected.sum())
        assert sorted(draw([own], count)[0, 1:].tolist()) == expected.nonzero().flatten().tolist()


@pytest.mark.parametrize("negatives", [9, 15, 100])
def test_with_replacement_where_there_are_too_few(negatives):
    others = draw([0], negatives)[0, 1:].tolist()  # of class 3: eight others
    assert len(others) == negatives
    assert all(LABELS[other] != 3 for other in others)
    assert len(set(others)) < negatives
    row = draw([0, 8], negatives)[1, 1:]  # of class 0: nineteen others
    assert (len(row.unique()) == negatives) == (negatives <= 19)


def test_only_candidates_are_drawn_and_the_own_sample_need_not_be_one():
    candidates = torch.tensor([8, 3, 1, 0, 17, 12])
    contrasts = draw([13, 2], 3, candidates)
    assert contrasts[:, 0].tolist() == [13, 2]
    assert set(contrasts[0, 1:].tolist()) <= {8, 1, 0, 17, 12}
    assert set(contrasts[1, 1:].tolist()) <= {8, 3, 1, 17}


def test_a_class_without_candidates_has_all_of_them_as_others():
    candidates = torch.tensor([0, 2, 1, 6])
    assert sorted(draw([8], 4, candidates)[0, 1:].tolist()) == [0, 1, 2, 6]


def test_candidates_of_one_class_are_refused():
    with pytest.raises(ValueError, match="negatives need samples of at least two classes, and those to draw from are"):
        NegativePool(torch.tensor([0, 2, 4]), LABELS)
    NegativePool(torch.tensor([0, 2, 3]), LABELS)


def test_the_generator_alone_decides():
    torch.manual_seed(1)
    first = draw([0, 1, 2], 5, seed=4)
    torch.manual_seed(2)
    assert torch.equal(draw([0, 1, 2], 5, seed=4), first)
    assert not torch.equal(draw([0, 1, 2], 5, seed=5), first)
    # Samples of one batch are drawn one after the other, not alike.
    twice = draw([0, 2], 5)
    assert twice[0, 1:].tolist() != twice[1, 1:].tolist()


def test_order_of_the_candidates_decides_nothing_but_the_draw():
    shuffled = ALL[torch.randperm(20, generator=torch.Generator().manual_seed(0))]
    assert sorted(draw([8], 19, shuffled)[0, 1:].tolist()) == sorted(draw([8], 19)[0, 1:].tolist())


@pytest.mark.parametrize(("own", "negatives"), [(1, 4), (8, 3), (0, 20)], ids=["some", "few", "with replacement"])
def test_every_other_sample_is_drawn_equally_often(own, negatives):
    pool, generator = NegativePool(ALL, LABELS), torch.Generator().manual_seed(0)
    rounds = 4_000
    drawn = torch.cat([pool.contrasts(torch.tensor([own]), negatives, generator)[0, 1:] for _ in range(rounds)])
    counts = torch.bincount(drawn, minlength=20).double()
    others = LABELS[own] != LABELS
    assert counts[~others].sum() == 0
    degrees = int(others.sum()) - 1
    expected = rounds * negatives / (degrees + 1)
    chi_squared = ((counts[others] - expected) ** 2 / expected).sum().item()
    # Without replacement the counts vary less than chi-squared with n - 1 degrees of freedom.
    assert chi_squared < degrees + 4 * (2 * degrees) ** 0.5


def test_positions_in_the_list_are_drawn_equally_often_too():
    pool, generator = NegativePool(ALL, LABELS), torch.Generator().manual_seed(1)
    firsts = torch.cat([pool.contrasts(torch.tensor([1]), 4, generator)[:, 1] for _ in range(3_000)])
    counts = torch.bincount(firsts, minlength=20)[LABELS != 1].double()
    assert ((counts - 200) ** 2 / 200).sum().item() < 14 + 4 * 28**0.5
