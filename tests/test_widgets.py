import pytest
import torch

from kcd_teach.condensation import paper_counts, rank, roles, summarise
from kcd_teach.widgets import RatioExplorer

IMAGES = torch.randint(0, 256, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
VALUE = torch.rand(100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
FREQUENCY = torch.randint(12, 25, (100,), generator=torch.Generator().manual_seed(2))


def ratio_explorer() -> RatioExplorer:
    return RatioExplorer(IMAGES, VALUE, FREQUENCY, epochs=24)


EXPLORERS = {"ratio": ratio_explorer}
MOVES = [
    ("ratio", "ratio", 40), ("ratio", "stages", 2), ("ratio", "strength", 90), ("ratio", "alpha", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("explorer", "control", "value"), MOVES)
def test_every_control_changes_the_picture_and_reset_brings_it_back(explorer, control, value):
    shown = EXPLORERS[explorer]()
    before, text = shown.image.value, shown.label.value
    shown.controls[control].value = value
    assert shown.image.value != before
    shown.reset()
    assert shown.label.value == text


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_stored_form_is_a_picture_and_one_line(explorer):
    shown = EXPLORERS[explorer]()
    bundle, _ = shown._repr_mimebundle_()
    assert bundle["text/plain"] == f"{type(shown).__name__}: {shown.label.value}"
    assert "<img alt=" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_ratio_explorer_shows_the_plan_of_the_condenser():
    explorer = ratio_explorer()
    explorer.controls["ratio"].value, explorer.controls["alpha"].value = 40, 0.0
    counts = paper_counts(100, 0.4, 6)
    active, mixture = summarise(rank(VALUE), counts[-2], counts[-1])
    role = roles(100, active, mixture)
    expected = ", ".join(
        f"{int((role == code).sum())} {name}" for code, name in enumerate(("kept", "mixed", "dropped"))
    )
    assert explorer.label.value.startswith(expected + "; cost 70.0 %")


@pytest.mark.parametrize("ratio", [5, 50, 100])
@pytest.mark.parametrize("stages", [1, 2, 12])
def test_ratio_explorer_survives_every_corner(ratio, stages):
    explorer = ratio_explorer()
    explorer.controls["ratio"].value, explorer.controls["stages"].value = ratio, stages
    explorer.controls["strength"].value = 100
    assert f"{ratio} kept" in explorer.label.value or "mixed" in explorer.label.value


def test_an_error_in_a_callback_is_shown_and_raised():
    explorer = ratio_explorer()
    explorer._value = None
    with pytest.raises(TypeError):
        explorer.controls["ratio"].value = 30
    assert explorer.label.value.startswith("TypeError")
