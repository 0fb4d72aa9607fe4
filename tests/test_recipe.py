import math

import pytest

from kcd_teach.training import Recipe


def test_defaults_are_the_benchmarks():
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (240, 64, 0.9, 5e-4)
    assert not recipe.drop_last
    assert recipe.augment


@pytest.mark.parametrize(
    ("first", "last", "rate"), [(1, 150, 0.05), (151, 180, 0.005), (181, 210, 0.0005), (211, 240, 0.00005)]
)
def test_learning_rate_of_the_benchmark(first, last, rate):
    assert [Recipe().rate(epoch) for epoch in range(first, last + 1)] == pytest.approx([rate] * (last + 1 - first))


@pytest.mark.parametrize("epochs", [8, 24, 40])
def test_a_shorter_run_drops_its_rate_at_the_same_fractions(epochs):
    rates = [Recipe(epochs=epochs).rate(epoch) for epoch in range(1, epochs + 1)]
    drops = [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]]
    assert drops == [epochs * 5 // 8, epochs * 3 // 4, epochs * 7 // 8]


def test_milestones_and_decay_can_be_chosen():
    recipe = Recipe(epochs=4, learning_rate=1.0, milestones=(0.5,), decay=0.5)
    assert [recipe.rate(epoch) for epoch in (1, 2, 3, 4)] == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be a whole number, got 2.0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 0}, ValueError, r"learning_rate must be in \(0, inf\), got 0"),
        ({"learning_rate": math.nan}, ValueError, r"learning_rate must be in \(0, inf\), got nan"),
        ({"learning_rate": "0.1"}, TypeError, "learning_rate must be a number, got '0.1'"),
        ({"momentum": 1.1}, ValueError, r"momentum must be in \[0, 1\], got 1.1"),
        ({"weight_decay": -1}, ValueError, r"weight_decay must be in \[0, inf\), got -1"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Recipe(**settings)
