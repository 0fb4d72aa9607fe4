import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import ATLoss

from kcd_teach.distillers.at import AT, at_loss, attention
from kcd_teach.distillers.base import Taps
from tests.distillers import oracles, theirs
from tests.distillers.material import batch_for, build, noise, outputs_for, waves
from tests.distillers.pairs import TAPS


def test_reference_value():
    loss = at_loss(waves(torch.sin, 2, 3, 4, 4), waves(torch.cos, 2, 5, 2, 2))
    assert loss.item() == pytest.approx(0.08174175734091443, abs=1e-15)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((3, 4, 4), (5, 2, 2)), ((3, 2, 2), (1, 4, 4)), ((2, 5, 5), (2, 3, 3)), ((1, 3, 3), (4, 3, 3)), ((2, 1, 1),) * 2],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 3])
def test_equals_the_plain_sum(count, student, teacher):
    s, t = noise(count, *student, seed=1), noise(count, *teacher, seed=2)
    assert at_loss(s, t).item() == pytest.approx(oracles.at(s.tolist(), t.tolist()), rel=1e-12, abs=1e-15)


def test_equals_torchdistill_in_the_mode_of_the_code():
    student, teacher = noise(4, 3, 6, 6, seed=3), noise(4, 5, 6, 6, seed=4)
    expected = theirs.ask(ATLoss(theirs.one_pair(), mode="code"), student, teacher).item()
    assert at_loss(student, teacher).item() == pytest.approx(expected, rel=1e-13)


def test_torchdistills_mode_of_the_paper_is_a_distance_and_not_its_square():
    """There: mean over the batch of the length of the difference; here: mean of its squared entries."""
    student, teacher = noise(1, 3, 6, 6, seed=3), noise(1, 5, 6, 6, seed=4)
    paper = theirs.ask(ATLoss(theirs.one_pair(), mode="paper"), student, teacher).item()
    assert at_loss(student, teacher).item() == pytest.approx(paper**2 / 36, rel=1e-12)
    assert abs(paper - at_loss(student, teacher).item()) > 0.1


def test_attention_has_unit_length_and_ignores_channels_scale_and_sign():
    feature = noise(3, 4, 5, 5, seed=5)
    shown = attention(feature)
    assert shown.shape == (3, 25)
    assert torch.allclose(shown.norm(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(attention(-7 * feature.flip(1)), shown, atol=1e-12)


def test_is_at_most_two_over_the_number_of_positions():
    left, right = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    left[..., 0, 0], right[..., 3, 3] = 1.0, 1.0
    assert at_loss(left, right).item() == pytest.approx(2 / 16)


def test_module_adds_the_middle_features_and_leaves_out_the_first_and_the_pooled():
    distiller = build("at")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    loss = distiller(batch, student, teacher)
    compared = sum(at_loss(student.features[i], teacher.features[i]) for i in (1, 2, 3))
    expected = F.cross_entropy(student.logits, batch.labels) + 1000 * compared
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False, True, True, True, False]


def test_different_numbers_of_middle_features_are_refused():
    with pytest.raises(ValueError, match=r"at compares the middle features .* student has 4 and the teacher 3"):
        AT(Taps(TAPS["vgg8"], TAPS["resnet56"]))
