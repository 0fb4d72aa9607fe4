import copy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from kcd_teach.distillers import KD, create_distiller
from kcd_teach.distillers.base import Batch, Outputs, Preparation
from kcd_teach.recipe import Recipe
from tests.tiny import outcome, same, tiny_networks, tiny_run


def step(preparation: Preparation, batch, teacher) -> torch.Tensor:
    """One step on one batch; returns the loss before it."""
    loss = preparation.loss(batch, teacher)
    preparation.step(loss)
    return loss.detach()


def sskd():
    student, teacher = tiny_networks()
    return create_distiller("sskd", student, teacher, image_shape=(1, 8, 8), seed=0)


def four_views(count: int = 3, seed: int = 0) -> tuple[Batch, Outputs]:
    """A batch and what a teacher of 32 pooled features says about its views."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(4 * count, width, generator=generator) for width in (3, 32)]
    ids = torch.arange(count)
    nothing = torch.zeros(count, dtype=torch.bool)
    return Batch(ids, ids, ids % 3, nothing, torch.empty(0)), Outputs(rows[0], [rows[1]])


@pytest.mark.parametrize(("epochs", "expected"), [(240, 60), (24, 6), (4, 1), (3, 1), (2, 1), (1, 1)])
def test_takes_a_quarter_of_the_students_epochs_and_never_none(epochs, expected):
    assert Preparation(sskd(), Recipe(epochs=epochs)).epochs == expected


def test_methods_without_needs_are_prepared_at_once():
    preparation = Preparation(KD(), Recipe())
    assert preparation.done
    assert preparation.epochs == preparation.epoch == 0


def test_is_done_after_its_epochs():
    preparation = Preparation(sskd(), Recipe(epochs=8))
    for epoch in (0, 1):
        preparation.epoch = epoch
        assert not preparation.done
    preparation.epoch = 2
    assert preparation.done


def test_a_step_learns_the_prepared_parts_and_nothing_else():
    distiller = sskd()
    preparation = Preparation(distiller, Recipe(epochs=4))
    head = [p.clone() for p in distiller.teacher_head.parameters()]
    others = [p.clone() for p in distiller.student_parameters()]
    batch, teacher = four_views()
    expected = distiller.preparation_loss(batch, teacher)
    loss = step(preparation, batch, teacher)
    assert loss.item() == expected.item()
    assert not loss.requires_grad
    assert not any(
        torch.equal(before, now) for before, now in zip(head, distiller.teacher_head.parameters(), strict=True)
    )
    assert same(others, [p.detach() for p in distiller.student_parameters()])


def test_steps_equal_sgd_written_out_with_the_authors_rates():
    """0.05, times 0.1 after a half and after three quarters, momentum 0.9 and weight decay 5e-4."""
    distiller, plain = sskd(), sskd()
    preparation = Preparation(distiller, Recipe(epochs=80, learning_rate=1.0))
    momenta = [torch.zeros_like(p) for p in plain.teacher_head.parameters()]
    for epoch in range(20):
        preparation.epoch = epoch
        batch, teacher = four_views(seed=epoch)
        step(preparation, batch, teacher)
        rate = 0.05 * 0.1 ** ((epoch >= 10) + (epoch >= 15))
        gradients = torch.autograd.grad(plain.preparation_loss(batch, teacher), list(plain.teacher_head.parameters()))
        with torch.no_grad():
            for p, momentum, gradient in zip(plain.teacher_head.parameters(), momenta, gradients, strict=True):
                momentum.mul_(0.9).add_(gradient + 5e-4 * p)
                p.sub_(rate * momentum)
    for ours, theirs in zip(distiller.teacher_head.parameters(), plain.teacher_head.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_learns_to_tell_images_apart():
    distiller = sskd()
    preparation = Preparation(distiller, Recipe(epochs=240))
    batch, teacher = four_views(6)
    views = teacher.features[0].reshape(6, 4, 32)
    alike = Outputs(teacher.logits, [(views[:, :1] + 0.3 * views).flatten(0, 1)])
    losses = [step(preparation, batch, alike).item() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_goes_on_from_its_state():
    first, second = sskd(), sskd()
    preparation, resumed = Preparation(first, Recipe(epochs=12)), Preparation(second, Recipe(epochs=12))
    step(preparation, *four_views(seed=1))
    preparation.epoch = 1
    resumed.load_state_dict(copy.deepcopy(preparation.state_dict()))
    second.load_state_dict(first.state_dict())
    assert resumed.epoch == 1
    for one in (preparation, resumed):
        step(one, *four_views(seed=2))
    assert same(first.state_dict(), second.state_dict())


def test_state_of_nothing_to_prepare():
    preparation = Preparation(KD(), Recipe())
    state = preparation.state_dict()
    assert state == {"epoch": 0, "optimizer": None}
    preparation.load_state_dict(state)
    assert preparation.done


def test_loss_is_the_cross_entropy_of_the_own_image():
    distiller = sskd()
    batch, teacher = four_views(2)
    projected = F.normalize(distiller.teacher_head(teacher.features[0]), dim=1)
    rotated, normal = projected[[1, 2, 3, 5, 6, 7]], projected[[0, 4]]
    expected = F.cross_entropy(rotated @ normal.T, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert distiller.preparation_loss(batch, teacher).item() == pytest.approx(expected.item(), rel=1e-6)


def run_with_preparation(checkpoint=None):
    """Two epochs of preparation in five batches each, then six of the student."""
    return tiny_run(None, distiller="sskd", recipe={"epochs": 6}, checkpoint=checkpoint)


KILLED = """
import os, signal, sys
from kcd_teach.distillers.base import Preparation
from tests.test_preparation import run_with_preparation

real, steps = Preparation.step, []

def step(self, loss):
    steps.append(loss)
    if len(steps) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, loss)

Preparation.step = step
list(run_with_preparation(sys.argv[1]))
"""


def test_killed_while_it_prepares_it_goes_on_after_the_last_epoch_of_that(tmp_path, monkeypatch):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run.pt")]
    killed = subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    again, steps, real = run_with_preparation(tmp_path / "run.pt"), [], Preparation.step
    assert (again.epoch, again.preparation.epoch) == (0, 1)
    monkeypatch.setattr(Preparation, "step", lambda self, loss: (steps.append(loss), real(self, loss)))
    list(again)
    assert len(steps) == 5  # the second epoch, from its beginning
    whole = run_with_preparation()
    list(whole)
    assert same(outcome(again), outcome(whole))
