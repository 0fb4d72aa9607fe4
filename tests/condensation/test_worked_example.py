"""The worked example: ten samples of one grey pixel, two condensation events, every number checked by hand."""

import pytest
import torch

from kcd_teach.condensation import Condenser
from kcd_teach.views import StageImages

PIXELS = [200, 180, 160, 140, 120, 100, 80, 64, 40, 24]
ENTROPIES = [
    {0: 2.40, 1: 1.24, 2: 3.00, 3: 1.30, 4: 0.50, 5: 2.80, 6: 1.60, 7: 1.40, 8: 2.70, 9: 1.80},
    {0: 2.00, 1: 1.08, 2: 2.60, 3: 1.14, 4: 0.30, 5: 2.20, 6: 1.40, 7: 1.20, 8: 2.40, 9: 1.60},
    {0: 1.40, 2: 2.20, 3: 1.00, 5: 1.80, 6: 0.90, 7: 0.70, 8: 2.10, 9: 0.60},
    {0: 1.00, 2: 2.00, 3: 0.76, 5: 1.60, 6: 0.70, 7: 0.54, 8: 1.90, 9: 0.36},
]


def images() -> torch.Tensor:
    return torch.tensor(PIXELS, dtype=torch.uint8).reshape(10, 1, 1, 1)


def play(shown_epochs: int, **settings) -> tuple[Condenser, StageImages]:
    """Record the example's entropies for the first epochs, applying each new mixture to the images."""
    settings = {"ratio": 0.6, "stages": 3, "epochs": 6, "released_steps": 2, **settings}
    condenser = Condenser(10, **settings)
    shown = StageImages(images(), condenser.config["preset"])
    for epoch in range(shown_epochs):
        entropies = ENTROPIES[epoch]
        condenser.record(torch.tensor(list(entropies)), torch.tensor(list(entropies.values()), dtype=torch.float64))
        stage = condenser.stage
        condenser.end_epoch()
        if condenser.stage != stage:
            shown.apply(condenser.mixture)
    return condenser, shown


def pixels(shown: StageImages, *ids: int) -> list[int]:
    return [int(shown.current[i]) for i in ids]


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_schedule(preset):
    assert Condenser(10, 0.6, 3, 6, preset, released_steps=2).counts == (10, 8, 6)


@pytest.mark.parametrize(("preset", "expected"), [("paper", [81, 134]), ("released", [64, 137])])
def test_event_1(preset, expected):
    condenser, shown = play(2, preset=preset)
    score = [2.246227, 1.184374, 2.858834, 1.245635, 0.408405, 2.552530, 1.531518, 1.327316, 2.603581, 1.735721]
    assert condenser.score.tolist() == pytest.approx(score, abs=1e-6)
    assert condenser.ranking().tolist() == [2, 8, 5, 0, 9, 6, 7, 3, 1, 4]
    assert condenser.active.tolist() == [2, 8, 5, 0, 9, 6, 7, 3]
    assert condenser.mixture.boundary.tolist() == [7, 3]
    assert condenser.mixture.partners.tolist() == [1, 4]
    coefficients = {"paper": [0.15, 0.30], "released": [0.0, 0.15]}[preset]
    assert condenser.mixture.coefficients.tolist() == pytest.approx(coefficients, abs=1e-7)
    assert pixels(shown, 7, 3) == expected


@pytest.mark.parametrize(("preset", "expected"), [("paper", [72, 168]), ("released", [80, 173])])
def test_event_2(preset, expected):
    condenser, shown = play(4, preset=preset)
    assert condenser.frequency.tolist() == [4, 2, 4, 4, 2, 4, 4, 4, 4, 4]
    value = [1.70, 1.16, 2.45, 1.05, 0.40, 2.10, 1.15, 0.96, 2.275, 1.09]
    assert condenser.value.tolist() == pytest.approx(value, abs=1e-12)
    score = [1.772192, 1.184374, 2.554041, 1.094589, 0.408405, 2.189178, 1.198836, 1.000767, 2.371610, 1.136288]
    assert condenser.score.tolist() == pytest.approx(score, abs=1e-6)
    assert condenser.ranking().tolist() == [2, 8, 5, 0, 6, 1, 9, 3, 7, 4]
    assert condenser.active.tolist() == [2, 8, 5, 0, 6, 1]  # 1 was dropped at event 1 and is back
    assert condenser.mixture.boundary.tolist() == [6, 1]
    assert condenser.mixture.partners.tolist() == [9, 3]
    assert pixels(shown, 6, 1) == expected


def test_released_keeps_mixtures_for_good():
    _, shown = play(4, preset="released")
    assert pixels(shown, *range(10)) == [200, 173, 160, 137, 120, 100, 80, 64, 40, 24]


def test_paper_forgets_mixtures_after_their_stage():
    _, shown = play(4)
    assert pixels(shown, *range(10)) == [200, 168, 160, 140, 120, 100, 72, 64, 40, 24]


def test_without_the_frequency_the_pairs_change():
    condenser, shown = play(4, alpha=0.0)
    assert condenser.ranking().tolist() == [2, 8, 5, 0, 1, 6, 9, 3, 7, 4]
    assert pixels(shown, 1, 6) == [157, 98]


def test_complement_as_partners():
    condenser, shown = play(4, partners="complement")
    assert condenser.mixture.boundary.tolist() == [5, 0, 6, 1]
    assert condenser.mixture.partners.tolist() == [9, 3, 7, 4]
    assert condenser.mixture.coefficients.tolist() == pytest.approx([0.075, 0.15, 0.225, 0.30])
    assert pixels(shown, 5, 0, 6, 1) == [94, 191, 76, 162]


def test_pool_of_active_samples():
    condenser, shown = play(4, pool="active")
    assert condenser.ranking().tolist()[:6] == [2, 8, 5, 0, 6, 9]  # 3 and 7 have just left the pool
    assert condenser.active.tolist() == [2, 8, 5, 0, 6, 9]
    assert condenser.mixture.partners.tolist() == [3, 7]
    assert pixels(shown, 6, 9) == [89, 36]


def test_steep_schedule_mixes_every_kept_sample():
    condenser, shown = play(2, ratio=0.3, stages=2, epochs=4)
    assert condenser.counts == (10, 3)
    assert condenser.active.tolist() == condenser.mixture.boundary.tolist() == [2, 8, 5]
    assert condenser.mixture.partners.tolist() == [0, 9, 6]
    assert condenser.mixture.coefficients.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert pixels(shown, 2, 8, 5) == [164, 37, 94]


def test_presentations():
    condenser, shown_per_epoch = Condenser(10, 0.6, 3, 6), []
    for epoch in range(6):
        shown_per_epoch.append(len(condenser.active))
        condenser.record(condenser.active, torch.ones(len(condenser.active)) * (epoch + 1))
        condenser.end_epoch()
    assert sum(shown_per_epoch) == 48
