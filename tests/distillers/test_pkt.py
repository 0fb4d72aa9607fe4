import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import PKTLoss

from kcd_teach.distillers.pkt import neighbour_probabilities, pkt_loss
from tests.distillers import oracles, theirs
from tests.distillers.material import batch_for, build, noise, outputs_for, waves


def test_reference_value():
    loss = pkt_loss(waves(torch.sin, 4, 3), waves(torch.cos, 4, 5))
    assert loss.item() == pytest.approx(0.5119669987411637, abs=1e-13)


@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (2, 2), (8, 4)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_equals_the_plain_sum(count, student, teacher):
    s, t = noise(count, student, seed=1), noise(count, teacher, seed=2)
    assert pkt_loss(s, t).item() == pytest.approx(oracles.pkt(s.tolist(), t.tolist()), rel=1e-11, abs=1e-15)


def test_equals_torchdistill_and_so_does_the_gradient():
    student, teacher = noise(6, 4, seed=3).requires_grad_(), noise(6, 7, seed=4)
    expected = theirs.ask(PKTLoss("at", "output", "at", "output"), student.clone(), teacher.clone())
    loss = pkt_loss(student, teacher)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(value, student)[0] for value in (loss, expected)]
    assert torch.allclose(*gradients, rtol=1e-10)


@pytest.mark.parametrize(("count", "expected"), [(64, 6.8e-5), (16, 2.4e-4), (8, 4.1e-4), (4, 6.0e-4)])
def test_size_on_random_features_is_the_measured_one(count, expected):
    losses = [
        pkt_loss(noise(count, 64, seed=i).relu(), noise(count, 64, seed=1000 + i).relu()).item() for i in range(200)
    ]
    assert sum(losses) / len(losses) == pytest.approx(expected, rel=0.1)


def test_rows_of_probabilities_sum_to_one_and_have_the_sample_itself():
    chosen = neighbour_probabilities(noise(5, 3, seed=5))
    assert torch.allclose(chosen.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert bool((chosen.diagonal() == chosen.max(dim=1).values).all())


def test_depends_on_directions_alone():
    student, teacher = noise(5, 3, seed=6), noise(5, 3, seed=7)
    stretched = student * torch.tensor([[1.0], [2.0], [0.5], [10.0], [3.0]])
    assert pkt_loss(stretched, teacher).item() == pytest.approx(pkt_loss(student, teacher).item(), rel=1e-5)


def test_a_batch_of_one_has_nothing_to_compare():
    assert pkt_loss(noise(1, 3, seed=8), noise(1, 5, seed=9)).item() == 0.0


def test_opposite_features_are_finite_in_single_precision():
    """A cosine of -1 that rounding made a little smaller must not become a negative probability."""
    for seed in range(300):
        direction = noise(1, 16, seed=seed).float()
        student = torch.cat([direction, -direction, -3.7 * direction]).requires_grad_()
        loss = pkt_loss(student, noise(3, 16, seed=seed + 1000).float())
        loss.backward()
        assert bool(torch.isfinite(loss)), seed
        assert bool(torch.isfinite(student.grad).all()), seed


def test_module_compares_the_pooled_features_and_nothing_else():
    distiller = build("pkt")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    loss = distiller(batch, student, teacher)
    compared = 30000 * pkt_loss(student.features[4], teacher.features[4])
    assert loss.item() == pytest.approx((F.cross_entropy(student.logits, batch.labels) + compared).item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False] * 4 + [True]
