import math

import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import KDLoss

from kcd_teach.distillers import KD, LabelsOnly, kd_loss
from kcd_teach.distillers.base import Outputs
from tests import oracles
from tests.distillers.material import batch_of, waves


def say(distiller, labels, student, teacher) -> torch.Tensor:
    """The module's loss of bare logits."""
    return distiller(batch_of(labels), Outputs(student), None if teacher is None else Outputs(teacher))


def logits(rows=8, classes=10, scale=5.0, seed=0, dtype=torch.float64) -> torch.Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_reference_value():
    loss = kd_loss(3 * waves(torch.sin, 2, 4), 3 * waves(torch.cos, 2, 4), temperature=4.0)
    assert loss.item() == pytest.approx(2.5937459969876873, abs=1e-14)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_equals_the_plain_sum(temperature, scale):
    student, teacher = logits(scale=scale, seed=1), logits(scale=scale, seed=2)
    expected = oracles.kd(student.tolist(), teacher.tolist(), temperature)
    assert kd_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-10)


def torchdistill_loss(student, teacher, labels, temperature, alpha, beta):
    theirs = KDLoss("fc", "output", "fc", "output", temperature=temperature, alpha=alpha, beta=beta)
    return theirs({"fc": {"output": student}}, {"fc": {"output": teacher}}, labels)


@pytest.mark.parametrize(("label_weight", "teacher_weight"), [(0.1, 0.9), (0.5, 0.5), (1.0, 2.0)])
@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
def test_module_equals_torchdistill(temperature, label_weight, teacher_weight):
    student, teacher, labels = logits(seed=3), logits(seed=4), torch.arange(8)
    ours = say(KD(temperature, label_weight, teacher_weight), labels, student, teacher)
    theirs = torchdistill_loss(student, teacher, labels, temperature, label_weight, teacher_weight)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_torchdistill_forgets_t_squared_without_labels_and_we_do_not(temperature):
    student, teacher, labels = logits(seed=5), logits(seed=6), torch.arange(8)
    theirs = torchdistill_loss(student, teacher, labels, temperature, alpha=0, beta=1)
    assert kd_loss(student, teacher, temperature).item() == pytest.approx(temperature**2 * theirs.item(), rel=1e-12)


def test_gradient_is_the_derivative():
    student, teacher = logits(3, 4, seed=7).requires_grad_(), logits(3, 4, seed=8)
    assert torch.autograd.gradcheck(lambda z: kd_loss(z, teacher, 4.0), student)
    assert torch.autograd.gradcheck(lambda z: say(KD(), torch.tensor([0, 1, 3]), z, teacher), student)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_is_the_difference_of_the_softened_predictions(temperature):
    student, teacher = logits(seed=9).requires_grad_(), logits(seed=10)
    kd_loss(student, teacher, temperature).backward()
    difference = F.softmax(student / temperature, dim=1) - F.softmax(teacher / temperature, dim=1)
    assert torch.allclose(student.grad, temperature / len(student) * difference.detach(), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_identical_logits_cost_nothing_and_pull_nowhere(dtype):
    student = logits(dtype=dtype).requires_grad_()
    loss = kd_loss(student, student.detach() + 3)  # a shift of all logits changes no prediction
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert student.grad.abs().max().item() == pytest.approx(0.0, abs=1e-6)
    assert kd_loss(student, student).item() == 0.0


def test_is_never_negative_and_positive_for_other_predictions():
    for seed in range(50):
        assert kd_loss(logits(seed=seed), logits(seed=seed + 100)).item() > 0


def test_order_of_the_batch_does_not_matter():
    student, teacher = logits(seed=11), logits(seed=12)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert kd_loss(student[order], teacher[order]).item() == pytest.approx(kd_loss(student, teacher).item(), rel=1e-14)
    assert kd_loss(student[order], teacher).item() != pytest.approx(kd_loss(student, teacher).item(), rel=1e-3)


def test_is_a_mean_over_the_batch():
    student, teacher = logits(seed=13), logits(seed=14)
    rows = [kd_loss(student[i : i + 1], teacher[i : i + 1]).item() for i in range(8)]
    assert kd_loss(student, teacher).item() == pytest.approx(sum(rows) / 8, rel=1e-12)
    assert kd_loss(student.repeat(3, 1), teacher.repeat(3, 1)).item() == pytest.approx(sum(rows) / 8, rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_is_finite_at_huge_logits(temperature):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, -1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [0.0, 1e4, -1e4]])
    loss = kd_loss(student, teacher, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(temperature * 1e4, rel=1e-6)  # T^2 (2e4 / T) / 2 rows
    assert bool(torch.isfinite(student.grad).all())


def test_no_gradient_reaches_the_teacher():
    student, teacher = logits(seed=15).requires_grad_(), logits(seed=16).requires_grad_()
    say(KD(), torch.arange(8), student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_t_squared_keeps_the_size_of_the_gradient():
    def size(temperature: float) -> float:
        student, teacher = logits(64, 10, 2.0, seed=17).requires_grad_(), logits(64, 10, 2.0, seed=18)
        kd_loss(student, teacher, temperature).backward()
        return student.grad.norm().item()

    assert size(100.0) == pytest.approx(size(50.0), rel=0.02)
    assert size(50.0) == pytest.approx(size(20.0), rel=0.05)
    without = [size(temperature) / temperature**2 for temperature in (100.0, 50.0)]
    assert without[0] == pytest.approx(without[1] / 4, rel=0.05)


def test_high_temperature_compares_centred_logits():
    """For T to infinity the loss becomes the squared distance of the centred logits over 2 C (Hinton et al., eq. 4)."""
    student, teacher = logits(6, 5, 1.0, seed=19), logits(6, 5, 1.0, seed=20)
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    assert kd_loss(student, teacher, 1e4).item() == pytest.approx((gap**2).sum().item() / (2 * 5 * 6), rel=1e-3)


def test_module_weighs_labels_and_teacher():
    student, teacher, labels = logits(seed=21), logits(seed=22), torch.arange(8)
    hard, soft = F.cross_entropy(student, labels).item(), kd_loss(student, teacher, 4.0).item()
    assert say(KD(), labels, student, teacher).item() == pytest.approx(0.1 * hard + 0.9 * soft, rel=1e-12)
    assert say(KD(4.0, 1.0, 0.0), labels, student, teacher).item() == pytest.approx(hard, rel=1e-12)
    assert say(KD(4.0, 0.0, 1.0), labels, student, teacher).item() == pytest.approx(soft, rel=1e-12)
    assert say(LabelsOnly(), labels, student, None).item() == pytest.approx(hard, rel=1e-12)


def test_module_has_nothing_to_learn_and_says_its_settings():
    assert list(KD().parameters()) == []
    assert repr(KD(2.0, 0.5, 0.25)) == "KD(temperature=2.0, label_weight=0.5, teacher_weight=0.25, method_weight=0.0)"


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), r"must have one shape, got \[2, 3\] and \[2, 4\]; .* same classes\?"),
        (torch.zeros(2, 3), torch.zeros(1, 3), r"must have one shape, got \[2, 3\] and \[1, 3\]"),
        (
            torch.zeros(3),
            torch.zeros(3),
            r"student_logits must be a floating-point tensor of shape \[B, C\], got .*\[3\]",
        ),
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), r"teacher_logits must be a floating-point .* got torch.int64"),
        (torch.zeros(2, 3), None, r"teacher_logits must be a floating-point .* got NoneType"),
        (torch.full((2, 3), math.nan), torch.zeros(2, 3), "student_logits must be finite, but 2 of 2 rows"),
        (torch.zeros(2, 3), torch.full((2, 3), math.inf), "teacher_logits must be finite, but 2 of 2 rows"),
    ],
    ids=["classes", "rows", "one row", "integers", "no teacher", "nan", "inf"],
)
def test_wrong_logits_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        kd_loss(student, teacher)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_wrong_temperatures_are_refused(temperature):
    message = rf"temperature must be in \(0, inf\), got {temperature}"
    with pytest.raises(ValueError, match=message):
        kd_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature)
    with pytest.raises(ValueError, match=message):
        KD(temperature)


@pytest.mark.parametrize("weight", ["label_weight", "teacher_weight"])
def test_negative_weights_are_refused(weight):
    with pytest.raises(ValueError, match=rf"{weight} must be in \[0, inf\), got -0.1"):
        KD(**{weight: -0.1})
