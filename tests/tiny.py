"""A data set and a pair of networks so small that a whole run takes a fraction of a second."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.models.convnet import ConvNet
from kcd_teach.training import Distillation, Recipe, distill


def tiny_dataset(num_train: int = 48, num_test: int = 12, side: int = 8) -> Dataset:
    """Three classes of noisy bars: rows, columns, both."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % 3
        images = torch.randint(0, 90, (count, 1, side, side), generator=generator)
        images[labels != 1, :, side // 2, :] += 150
        images[labels != 0, :, :, side // 2] += 100
        return images.clamp(max=255).to(torch.uint8), labels

    train, test = split(num_train), split(num_test)
    return Dataset("tiny", *train, *test, ("rows", "columns", "both"), (0.2,), (0.3,), padding=1)


def tiny_networks(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A student and a teacher for :func:`tiny_dataset`, with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = ConvNet((3, 4, 5), num_classes=3, in_channels=1)
    return student, create_model("mini_resnet8", num_classes=3, in_channels=1, seed=seed + 1)


def tiny_run(preset: str | None = "paper", teacher: nn.Module | Knowledge | None = None, **settings) -> Distillation:
    """Four epochs in two stages of 48 and 29 samples, 5 + 5 + 3 + 3 batches of 10; ``preset=None`` condenses nothing."""
    student, _ = tiny_networks(settings.pop("student_seed", 0))
    condenser = None if preset is None else Condenser(48, 0.6, 2, 4, preset, released_steps=1)
    recipe = Recipe(**{"epochs": 4, "batch_size": 10, "precision": "float32", **settings.pop("recipe", {})})
    settings = {"recipe": recipe, "condenser": condenser, **settings}
    return distill(student, settings.pop("dataset", tiny_dataset()), teacher or tiny_networks()[1], **settings)


def replaced_weights() -> pytest.WarningsRecorder:
    """Expect the warning of a run whose student is not the one that its checkpoint began with."""
    return pytest.warns(UserWarning, match=r"this student is not the one that the run in .* began with")


def outcome(run: Distillation) -> dict[str, Any]:
    """Everything a run has become, with the time it took left out."""
    state = run.state_dict()
    state["progress"]["seconds"] = 0.0
    state["progress"]["reports"] = [{**report, "seconds": 0.0} for report in state["progress"]["reports"]]
    return copy.deepcopy(state)


def same(ours: Any, theirs: Any) -> bool:
    """Are two nested states equal, bit for bit?"""
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    return ours == theirs
