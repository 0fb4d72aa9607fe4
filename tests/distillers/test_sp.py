import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import SPKDLoss

from kcd_teach.distillers.sp import similarities, sp_loss
from tests.distillers import oracles, theirs
from tests.distillers.material import batch_for, build, noise, outputs_for, waves


def test_reference_value():
    loss = sp_loss(waves(torch.sin, 2, 3, 4, 4), waves(torch.cos, 2, 5, 2, 2))
    assert loss.item() == pytest.approx(0.3977035884548921, abs=1e-15)


@pytest.mark.parametrize(
    ("student", "teacher"), [((3, 4, 4), (5, 2, 2)), ((3, 2, 2), (1, 4, 4)), ((6,), (2, 1, 1)), ((2,), (9,))], ids=str
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_equals_the_plain_sum(count, student, teacher):
    s, t = noise(count, *student, seed=1), noise(count, *teacher, seed=2)
    assert sp_loss(s, t).item() == pytest.approx(oracles.sp(s.tolist(), t.tolist()), rel=1e-11, abs=1e-15)


def test_torchdistill_divides_rows_by_the_sum_of_their_absolute_values_and_we_by_their_length():
    student, teacher = noise(5, 3, 4, 4, seed=3), noise(5, 5, 2, 2, seed=4)
    expected = theirs.ask(SPKDLoss("at", "at", "batchmean"), student, teacher).item()
    assert abs(sp_loss(student, teacher).item() - expected) > 0.3 * expected
    rows = [F.normalize(side.flatten(1) @ side.flatten(1).T, p=1.0, dim=1) for side in (student, teacher)]
    assert F.mse_loss(*rows).item() == pytest.approx(expected, rel=1e-12)


def test_similarities_have_rows_of_unit_length():
    alike = similarities(noise(6, 3, 2, 2, seed=5))
    assert alike.shape == (6, 6)
    assert torch.allclose(alike.norm(dim=1), torch.ones(6, dtype=torch.float64), atol=1e-12)


def test_a_batch_of_one_has_nothing_to_compare():
    assert sp_loss(noise(1, 3, 4, 4, seed=6), noise(1, 5, 2, 2, seed=7)).item() == 0.0


@pytest.mark.parametrize("count", [2, 4, 25])
def test_is_divided_by_the_square_of_the_batch(count):
    """Rows of I against rows of 1 / sqrt(B): each of the B rows differs by 2 - 2 / sqrt(B)."""
    apart, alike = torch.eye(count, dtype=torch.float64), torch.ones(count, 3, dtype=torch.float64)
    assert sp_loss(apart, alike).item() == pytest.approx((2 - 2 / count**0.5) / count, rel=1e-12)


def test_module_compares_the_last_map_and_nothing_else():
    distiller = build("sp")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    loss = distiller(batch, student, teacher)
    expected = F.cross_entropy(student.logits, batch.labels) + 3000 * sp_loss(student.features[3], teacher.features[3])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False, False, False, True, False]
