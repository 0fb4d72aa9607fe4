import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import RKDLoss

from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.rkd import RKD, angles, relative_distances, rkd_loss
from tests.distillers import oracles, theirs
from tests.distillers.material import STUDENT_TAPS, TEACHER_TAPS, batch_for, build, noise, outputs_for, waves


def test_reference_values():
    student, teacher = waves(torch.sin, 4, 3), waves(torch.cos, 4, 5)
    assert rkd_loss(student, teacher, 25.0, 0.0).item() == pytest.approx(5.270332481021874, abs=1e-12)
    assert rkd_loss(student, teacher, 0.0, 50.0).item() == pytest.approx(6.037980001779718, abs=1e-12)
    assert rkd_loss(student, teacher).item() == pytest.approx(11.308312482801592, abs=1e-12)


def test_reference_gradient():
    student = waves(torch.sin, 4, 3).requires_grad_()
    rkd_loss(student, waves(torch.cos, 4, 5)).backward()
    assert student.grad.norm().item() == pytest.approx(9.602881443, abs=1e-8)


@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (1, 2), (8, 8)])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_equals_the_plain_sum(count, student, teacher):
    s, t = noise(count, student, seed=1), noise(count, teacher, seed=2, scale=5.0)
    assert rkd_loss(s, t).item() == pytest.approx(oracles.rkd(s.tolist(), t.tolist()), rel=1e-9, abs=1e-12)
    weighted = oracles.rkd(s.tolist(), t.tolist(), 2.0, 3.0)
    assert rkd_loss(s, t, 2.0, 3.0).item() == pytest.approx(weighted, rel=1e-9, abs=1e-12)


def test_far_gaps_count_linearly():
    """One pair far apart among many close ones: a relative distance that differs by more than 1."""
    student, teacher = noise(7, 2, seed=3), noise(7, 2, seed=4)
    student[0] += 100
    assert (relative_distances(student) - relative_distances(teacher)).abs().max() > 1
    assert rkd_loss(student, teacher).item() == pytest.approx(oracles.rkd(student.tolist(), teacher.tolist()), rel=1e-9)


@pytest.mark.parametrize("factors", [(25.0, 50.0), (1.0, 2.0)])
def test_equals_torchdistill_and_so_does_the_gradient(factors):
    student, teacher = noise(6, 4, seed=5).requires_grad_(), noise(6, 7, seed=6)
    expected = theirs.ask(RKDLoss("at", "at", *factors, "mean"), student, teacher)
    loss = rkd_loss(student, teacher, *factors)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(value, student)[0] for value in (loss, expected)]
    assert torch.allclose(*gradients, rtol=1e-10)


def test_a_turned_shifted_and_scaled_copy_costs_nothing():
    student = noise(6, 4, seed=7)
    turn = torch.linalg.qr(noise(4, 4, seed=8)).Q
    assert rkd_loss(student, 3 * student @ turn + 5).item() == pytest.approx(0.0, abs=1e-10)
    assert rkd_loss(student, student * torch.tensor([3.0, 1.0, 1.0, 1.0])).item() > 0.1


def test_relative_distances_average_to_one_and_angles_are_cosines():
    embedding = noise(5, 3, seed=9)
    distances = relative_distances(embedding)
    assert distances.diagonal().tolist() == [0.0] * 5
    assert distances.sum().item() == pytest.approx(20.0)
    assert angles(embedding).shape == (5, 5, 5)
    assert angles(embedding).abs().max().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("alike", [2, 3, 4], ids=["two alike", "three alike", "all alike"])
def test_gradient_is_finite_where_samples_coincide(alike):
    student = noise(4, 3, seed=10).float()
    student[:alike] = student[0].clone()
    student.requires_grad_()
    loss = rkd_loss(student, noise(4, 5, seed=11).float())
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(student.grad).all())


def test_gradient_passes_through_the_mean_distance():
    """A loss of relative distances does not change if the student grows as a whole: no pull along itself."""
    student = noise(5, 3, seed=12).requires_grad_()
    rkd_loss(student, noise(5, 3, seed=13)).backward()
    assert (student * student.grad).sum().item() == pytest.approx(0.0, abs=1e-10)


def test_two_samples_are_always_arranged_alike():
    assert rkd_loss(noise(2, 3, seed=14), noise(2, 5, seed=15)).item() == pytest.approx(0.0, abs=1e-12)


def test_one_sample_has_no_relations():
    with pytest.raises(ValueError, match="this loss compares samples with each other and needs at least 2, got 1"):
        rkd_loss(torch.zeros(1, 3), torch.zeros(1, 3))


def test_module_compares_the_pooled_features_with_its_own_weights():
    distiller = build("rkd", distance_weight=3.0, angle_weight=7.0)
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    loss = distiller(batch, student, teacher)
    compared = rkd_loss(student.features[4], teacher.features[4], 3.0, 7.0)
    assert loss.item() == pytest.approx((F.cross_entropy(student.logits, batch.labels) + compared).item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False] * 4 + [True]


@pytest.mark.parametrize("weight", ["distance_weight", "angle_weight"])
def test_negative_weights_are_refused(weight):
    with pytest.raises(ValueError, match=rf"{weight} must be in \[0, inf\), got -1"):
        RKD(Taps(STUDENT_TAPS, TEACHER_TAPS), **{weight: -1.0})
