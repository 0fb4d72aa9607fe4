import numpy as np
import pytest
import torch

from kcd_teach.widgets import StageExplorer, TemperatureExplorer

IMAGES = torch.randint(0, 256, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
VALUE = torch.rand(100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def stage_explorer() -> StageExplorer:
    roles_by_stage = np.zeros((3, 100), dtype=np.int8)
    roles_by_stage[1, 90:], roles_by_stage[2, 70:] = 2, 2
    return StageExplorer(IMAGES, np.tile(VALUE.numpy(), (3, 1)), roles_by_stage, [1, 75, 95])


def temperature_explorer() -> TemperatureExplorer:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    return TemperatureExplorer(IMAGES[:4], logits, torch.tensor([0, 1, 2, 0]), ["a", "b", "c"])


EXPLORERS = {"stage": stage_explorer, "temperature": temperature_explorer}
MOVES = [
    ("stage", "stage", 2), ("temperature", "temperature", 12), ("temperature", "sample", 3),
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


def test_stage_explorer_names_the_score_at_the_cut():
    explorer = stage_explorer()
    assert "cut" not in explorer.label.value
    explorer.controls["stage"].value = 2
    assert explorer.label.value.endswith(f"score at the cut: {VALUE[:70].min():.3f} nats")


def test_an_error_in_a_callback_is_shown_and_raised():
    explorer = stage_explorer()
    explorer._roles = None
    with pytest.raises(TypeError):
        explorer.controls["stage"].value = 2
    assert explorer.label.value.startswith("TypeError")
