"""Every method on every pair of the benchmark: two epochs, one condensation, images of 16 x 16."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import create_distiller, list_distillers, read_taps
from kcd_teach.models import create_model
from kcd_teach.training import Distillation, Recipe, distill
from tests.distillers.pairs import Pair, each_pair
from tests.tiny import same

SHAPE = (3, 16, 16)
SETTINGS: dict[str, dict[str, Any]] = {name: {"negatives": 3, "size": 8} for name in ("crd", "wcord")}


@cache
def dataset() -> Dataset:
    """Eight noisy images of four colours, and two to test on."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % 4
        noise = torch.randint(0, 120, (count, *SHAPE), generator=generator)
        return (noise + 40 * labels[:, None, None, None] % 130).to(torch.uint8), labels

    return Dataset("thin", *split(8), *split(2), tuple("abcd"), (0.3,) * 3, (0.25,) * 3, padding=1)


@cache
def teacher(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A teacher with fresh weights, and a copy of its state."""
    network = create_model(name, num_classes=4, seed=1)
    return network, copy.deepcopy(network.state_dict())


def run_of(pair: Pair, method: str) -> Distillation:
    student = create_model(pair.student, num_classes=4, seed=2)
    network, _ = teacher(pair.teacher)
    recipe = Recipe(epochs=2, batch_size=4, learning_rate=1e-3)
    distiller = create_distiller(
        method, student, network, image_shape=SHAPE, seed=3, **SETTINGS.get(method.removeprefix("kc-"), {})
    )
    return distill(
        student, dataset(), network, recipe=recipe, distiller=distiller, condenser=Condenser(8, 0.7, 2, 2, seed=0)
    )


@pytest.mark.parametrize("method", list_distillers())
@each_pair
def test_one_epoch_before_and_one_after_a_condensation(pair, method):
    run = run_of(pair, method)
    before = [copy.deepcopy(list(module.state_dict().values())) for module in (run.student, run.distiller)]
    reports = list(run)
    assert [report.active for report in reports] == [8, 6]
    assert [report.presentations for report in reports] == [8, 14]
    assert len(run.condenser.mixture) == 2
    assert all(torch.isfinite(torch.tensor(report.train_loss)) for report in reports)
    assert bool(torch.isfinite(torch.cat([p.flatten() for p in run.student.parameters()])).all())
    assert not same(list(run.student.state_dict().values()), before[0])
    assert not before[1] or not same(list(run.distiller.state_dict().values()), before[1])
    network, state = teacher(pair.teacher)
    assert not network.training
    assert same(dict(network.state_dict()), dict(state))


@each_pair
def test_shapes_written_down_are_those_of_the_networks(pair):
    student, network = create_model(pair.student, seed=0), create_model(pair.teacher, seed=0)
    assert read_taps(student, network, (3, 32, 32), features=True, preact=True) == pair.taps
