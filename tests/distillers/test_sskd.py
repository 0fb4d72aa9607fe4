import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import AuxSSKDLoss, SSKDLoss

from kcd_teach.distillers import kd_loss
from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.sskd import (
    SSKD,
    head_loss,
    keep_lowest,
    own_image,
    select_by_error_level,
    similarity,
    similarity_loss,
    sskd_loss,
    transformed_loss,
)
from kcd_teach.models import count_parameters
from tests.distillers import oracles
from tests.distillers.material import STUDENT_TAPS, TEACHER_TAPS, batch_for, build, noise, outputs_for, waves
from tests.distillers.pairs import each_pair

STUDENT, TEACHER = 2 * waves(torch.sin, 8, 3), 2 * waves(torch.cos, 8, 3)
STUDENT_HEAD, TEACHER_HEAD = waves(torch.sin, 8, 2), waves(torch.cos, 8, 2)
LABELS = torch.tensor([0, 2])
TRUTH, OWN = torch.tensor([0, 0, 0, 2, 2, 2]), torch.tensor([0, 0, 0, 1, 1, 1])
NORMAL, ROTATED = [0, 4], [1, 2, 3, 5, 6, 7]


def test_reference_values():
    cross_entropy = F.cross_entropy(STUDENT[NORMAL], LABELS)
    softened = kd_loss(STUDENT[NORMAL], TEACHER[NORMAL])
    rotated = sskd_loss(STUDENT, TEACHER, STUDENT_HEAD, TEACHER_HEAD, LABELS)
    assert head_loss(TEACHER_HEAD).item() == pytest.approx(0.8319813472427559, abs=1e-14)
    assert cross_entropy.item() == pytest.approx(1.077341008192082, abs=1e-14)
    assert softened.item() == pytest.approx(0.8589016609037234, abs=1e-14)
    assert transformed_loss(STUDENT, TEACHER, LABELS).item() == pytest.approx(1.181057264342576, abs=1e-14)
    assert similarity_loss(STUDENT_HEAD, TEACHER_HEAD).item() == pytest.approx(0.0433544154638179, abs=1e-14)
    assert (0.1 * cross_entropy + 0.9 * softened + rotated).item() == pytest.approx(4.503144363995694, abs=1e-13)


def test_reference_ranks_and_rows_kept():
    assert oracles.levels(TEACHER[ROTATED].tolist(), TRUTH.tolist()) == [2, 0, 2, 0, 2, 0]
    assert oracles.levels(oracles.view_similarity(TEACHER_HEAD.tolist()), OWN.tolist()) == [1, 0, 0, 1, 1, 0]
    assert select_by_error_level(similarity(TEACHER_HEAD), OWN, 0.75).nonzero().flatten().tolist() == [0, 1, 2, 3, 5]
    assert select_by_error_level(TEACHER[ROTATED], TRUTH, 1.0).all()
    assert select_by_error_level(TEACHER[ROTATED], TRUTH, 0.0).nonzero().flatten().tolist() == [1, 3, 5]


def test_reference_selection():
    level = torch.tensor([0, 3, 0, 1, 7, 2, 0, 5, 1])
    assert keep_lowest(level, 0.75).nonzero().flatten().tolist() == [0, 1, 2, 3, 5, 6, 8]


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_selection_equals_the_plain_one_and_ties_go_by_position(seed, ratio):
    level = torch.randint(0, 4, (17,), generator=torch.Generator().manual_seed(seed))
    assert keep_lowest(level, ratio).nonzero().flatten().tolist() == oracles.kept(level.tolist(), ratio)


def test_the_ratio_is_a_share_of_the_wrong_ones_rounded_down():
    for wrong in range(1, 40):
        level = torch.arange(wrong + 2).clamp(max=5)
        assert int(keep_lowest(level, 0.75).sum()) == 1 + int((wrong + 1) * 0.75)


def test_own_image_and_similarities_are_image_by_image():
    assert own_image(TEACHER_HEAD).tolist() == OWN.tolist()
    expected = oracles.view_similarity(TEACHER_HEAD.tolist())
    assert similarity(TEACHER_HEAD).tolist() == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.75, 1.0])
def test_parts_equal_the_plain_sums(images, ratio):
    student, teacher = noise(4 * images, 6, seed=1, scale=3.0), noise(4 * images, 6, seed=2, scale=3.0)
    labels = torch.arange(images) % 6
    plain = student.tolist(), teacher.tolist()
    tf = transformed_loss(student, teacher, labels, 4.0, ratio).item()
    assert tf == pytest.approx(oracles.sskd_transformed(*plain, labels.tolist(), 4.0, ratio), rel=1e-10, abs=1e-14)
    ss = similarity_loss(student, teacher, ratio).item()
    assert ss == pytest.approx(oracles.sskd_similarity(*plain, ratio), rel=1e-10, abs=1e-14)
    assert head_loss(student).item() == pytest.approx(oracles.sskd_head(plain[0]), rel=1e-12, abs=1e-14)


def test_heads_may_have_other_widths():
    student, teacher = noise(8, 3, seed=1), noise(8, 7, seed=2)
    expected = oracles.sskd_similarity(student.tolist(), teacher.tolist())
    assert similarity_loss(student, teacher).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_equals_torchdistill(seed):
    """Given the labels' weight of the authors, 0.1; torchdistill's own example has 1.0."""
    weights = [0.1, 0.9, 10.0, 2.7]
    loss = SSKDLoss("fc", "fc", "ss", "ss", 4.0, 0.5, 4.0, 0.75, 1.0, loss_weights=weights)
    student, teacher = noise(12, 5, seed=seed), noise(12, 5, seed=seed + 10)
    # With at most one wrong row its unstable sort has no ties to break.
    heads = [noise(12, 4, seed=seed + 20), torch.eye(3, dtype=torch.float64).repeat_interleave(4, 0)]
    heads[1][5] = heads[1][0]
    labels = torch.tensor([0, 3, 4])
    expected = loss(
        {"fc": {"output": student}, "ss": {"output": heads[0]}},
        {"fc": {"output": teacher}, "ss": {"output": heads[1]}},
        labels,
    )
    unrotated = 0.1 * F.cross_entropy(student[::4], labels) + 0.9 * kd_loss(student[::4], teacher[::4])
    ours = unrotated + sskd_loss(student, teacher, *heads, labels)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("images", [1, 2, 4])
def test_head_loss_equals_torchdistill(images):
    projections = noise(4 * images, 6, seed=3)
    expected = AuxSSKDLoss("ss")({}, {"ss": {"output": projections}})
    assert head_loss(projections).item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-14)


def test_nothing_worth_teaching_costs_nothing_and_pulls_nowhere():
    student = noise(4, 3, seed=4).requires_grad_()
    teacher = torch.tensor([[0.0, 1.0, 2.0]] * 4, dtype=torch.float64)  # always wrong
    loss = transformed_loss(student, teacher, torch.tensor([0]), ratio=0.0)
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad.abs().max() == 0


def test_rows_that_are_not_kept_get_no_gradient():
    student = noise(8, 3, seed=5).requires_grad_()
    transformed_loss(student, TEACHER, LABELS, ratio=0.0).backward()
    assert (student.grad.abs().sum(dim=1) > 0).nonzero().flatten().tolist() == [2, 5, 7]


def test_module_weighs_its_parts():
    distiller = build("sskd")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    heads = distiller.student_head(student.features[4]), distiller.teacher_head(teacher.features[4])
    expected = (
        0.1 * F.cross_entropy(student.logits[::4], batch.labels)
        + 0.9 * kd_loss(student.logits[::4], teacher.logits[::4])
        + 2.7 * transformed_loss(student.logits, teacher.logits, batch.labels)
        + 10 * similarity_loss(*heads)
    )
    assert distiller(batch, student, teacher).item() == pytest.approx(expected.item(), rel=1e-6)


def test_settings_reach_the_loss():
    weights, ratios = {"transformed_weight": 1.0, "similarity_weight": 3.0}, (0.3, 0.2)
    distiller = build("sskd", temperature=2.0, transformed_ratio=ratios[0], similarity_ratio=ratios[1], **weights)
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    heads = distiller.student_head(student.features[4]), distiller.teacher_head(teacher.features[4])
    tf = transformed_loss(student.logits, teacher.logits, batch.labels, 2.0, ratios[0])
    expected = tf + 3 * similarity_loss(*heads, ratios[1])
    assert distiller.method_loss(batch, student, teacher).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_teachers_head_is_learned_before_and_frozen_afterwards():
    distiller = build("sskd")
    prepared, trained = distiller.preparation_parameters(), distiller.student_parameters()
    assert [p.shape for p in prepared] == [p.shape for p in distiller.teacher_head.parameters()]
    assert {id(p) for p in prepared} == {id(p) for p in distiller.teacher_head.parameters()}
    assert {id(p) for p in trained} == {id(p) for p in distiller.student_head.parameters()}
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
    distiller(batch_for(distiller), *outputs).backward()
    assert all(p.grad is None for p in prepared)
    assert all(p.grad is not None for p in trained)
    distiller.zero_grad()
    distiller.preparation_loss(batch_for(distiller), outputs[1]).backward()
    assert all(p.grad is not None for p in prepared)
    assert all(p.grad is None for p in trained)


@each_pair
def test_heads_have_the_benchmarks_parameters(pair):
    distiller, (student, teacher) = SSKD(pair.taps), pair.taps.widths
    assert count_parameters(distiller.student_head) == 2 * student * (student + 1)
    assert count_parameters(distiller.teacher_head) == 2 * teacher * (teacher + 1)


def test_defaults_are_the_authors():
    distiller = SSKD(Taps(STUDENT_TAPS, TEACHER_TAPS))
    assert (distiller.label_weight, distiller.teacher_weight, distiller.temperature) == (0.1, 0.9, 4.0)
    assert distiller.needs.views == 4
    assert 240 * distiller.needs.preparation == 60


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: head_loss(torch.zeros(6, 3)), "four views of every image are needed, got 6 rows"),
        (lambda: similarity_loss(torch.zeros(6, 3), torch.zeros(6, 3)), "four views of every image are needed, got 6"),
        (lambda: similarity_loss(torch.zeros(8, 3), torch.zeros(4, 3)), "same batch, got 8 and 4 samples"),
        (
            lambda: transformed_loss(torch.full((4, 3), torch.nan), torch.zeros(4, 3), torch.tensor([0])),
            "student_logits must be finite, but 4 of 4 rows",
        ),
        (
            lambda: transformed_loss(torch.zeros(4, 3), torch.full((4, 3), torch.inf), torch.tensor([0])),
            "teacher_logits must be finite, but 4 of 4 rows",
        ),
    ],
    ids=["head", "similarities", "batch", "student", "teacher"],
)
def test_wrong_rows_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transformed_ratio": 1.1}, r"transformed_ratio must be in \[0, 1\], got 1.1"),
        ({"similarity_ratio": -0.1}, r"similarity_ratio must be in \[0, 1\], got -0.1"),
        ({"transformed_weight": -1.0}, r"transformed_weight must be in \[0, inf\), got -1.0"),
        ({"similarity_weight": -1.0}, r"similarity_weight must be in \[0, inf\), got -1.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SSKD(Taps(STUDENT_TAPS, TEACHER_TAPS), **settings)
