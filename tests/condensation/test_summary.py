import pytest
import torch

from kcd_teach.condensation import (
    DROPPED,
    KEPT,
    MIXED,
    Mixture,
    paper_coefficients,
    partition,
    released_coefficients,
    roles,
    summarise,
)

RANKING = torch.tensor([5, 2, 9, 0, 7, 1, 8, 3, 6, 4])


@pytest.mark.parametrize(
    ("previous", "kept", "partners", "high", "boundary", "mates"),
    [
        (10, 8, "slice", [5, 2, 9, 0, 7, 1], [8, 3], [6, 4]),
        (8, 6, "slice", [5, 2, 9, 0], [7, 1], [8, 3]),
        (8, 8, "slice", [5, 2, 9, 0, 7, 1, 8, 3], [], []),
        (10, 10, "complement", [5, 2, 9, 0, 7, 1, 8, 3, 6, 4], [], []),
        (10, 3, "slice", [], [5, 2, 9], [0, 7, 1]),
        (8, 6, "complement", [5, 2], [9, 0, 7, 1], [8, 3, 6, 4]),
        (8, 3, "complement", [], [5, 2, 9], [0, 7, 1]),
    ],
    ids=["first event", "second event", "nothing leaves", "all kept", "steep: cut", "complement", "complement: cut"],
)
def test_partition(previous, kept, partners, high, boundary, mates):
    parts = partition(RANKING, previous, kept, partners)
    assert [part.tolist() for part in parts] == [high, boundary, mates]


@pytest.mark.parametrize("partners", ["slice", "complement"])
def test_partition_keeps_its_promises_for_every_pair_of_counts(partners):
    for previous in range(1, 11):
        for kept in range(1, previous + 1):
            high, boundary, mates = (part.tolist() for part in partition(RANKING, previous, kept, partners))
            assert high + boundary == RANKING[:kept].tolist()
            assert len(boundary) == len(mates)
            assert set(mates).isdisjoint(high + boundary)


@pytest.mark.parametrize("strength", [0.3, 1.0, 1e-3])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 60, 2_500])
def test_paper_coefficients_grow_strictly_and_reach_the_strength_exactly(length, strength):
    coefficients = paper_coefficients(length, strength)
    assert coefficients.dtype == torch.float64
    assert bool((coefficients.diff() > 0).all())
    assert coefficients[0] > 0
    assert coefficients[-1].item() == strength
    assert coefficients.tolist() == pytest.approx([strength * (j + 1) / length for j in range(length)])


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 60, 2_500])
def test_released_coefficients_start_at_zero_and_stay_below_the_strength(length, strength):
    coefficients = released_coefficients(length, strength)
    assert coefficients.dtype == torch.float64
    assert coefficients[0] == pytest.approx(0.0, abs=1e-7)
    assert bool((coefficients.diff() > 0).all())
    assert coefficients[-1] < strength
    assert coefficients.tolist() == pytest.approx([strength * j / length for j in range(length)], abs=1e-6)


def test_presets_differ_by_one_step():
    difference = paper_coefficients(2_500, 0.3) - released_coefficients(2_500, 0.3)
    assert difference.tolist() == pytest.approx([0.3 / 2_500] * 2_500, abs=1e-6)


@pytest.mark.parametrize("coefficients", [paper_coefficients, released_coefficients])
def test_no_samples_no_coefficients(coefficients):
    assert coefficients(0, 0.3).tolist() == []


@pytest.mark.parametrize(("preset", "expected"), [("paper", [0.15, 0.3]), ("released", [0.0, 0.15])])
def test_summarise_names_the_active_samples_and_the_mixture(preset, expected):
    active, mixture = summarise(RANKING, 8, 6, 0.3, preset)
    assert active.tolist() == [5, 2, 9, 0, 7, 1]
    assert mixture.boundary.tolist() == [7, 1]
    assert mixture.partners.tolist() == [8, 3]
    assert mixture.coefficients.tolist() == pytest.approx(expected, abs=1e-7)


def test_summarise_does_not_share_memory_with_the_ranking():
    ranking = RANKING.clone()
    active, mixture = summarise(ranking, 8, 6)
    ranking.zero_()
    assert active.tolist() == [5, 2, 9, 0, 7, 1]
    assert mixture.partners.tolist() == [8, 3]


def test_nothing_dropped_nothing_mixed():
    active, mixture = summarise(RANKING, 7, 7)
    assert (len(active), len(mixture)) == (7, 0)
    assert repr(mixture) == "Mixture(empty)"


def test_mixture_says_what_it_holds():
    _, mixture = summarise(RANKING, 8, 6)
    assert len(mixture) == 2
    assert repr(mixture) == "Mixture(2 pairs, coefficients 0.15 .. 0.3)"


def test_roles():
    active, mixture = summarise(RANKING, 8, 6)
    expected = {5: KEPT, 2: KEPT, 9: KEPT, 0: KEPT, 7: MIXED, 1: MIXED, 8: DROPPED, 3: DROPPED, 6: DROPPED, 4: DROPPED}
    assert roles(10, active, mixture).tolist() == [expected[i] for i in range(10)]
    assert roles(3, torch.arange(3), Mixture()).tolist() == [KEPT] * 3
