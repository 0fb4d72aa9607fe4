import pytest
import torch
from torch.nn import functional as F

from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.fitnet import FitNet, fitnet_loss, regressor
from kcd_teach.models import count_parameters
from tests.distillers import oracles
from tests.distillers.material import batch_for, build, noise, outputs_for
from tests.distillers.pairs import PAIRS, each_pair


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 4), (3, 2, 5, 3)], ids=str)
def test_equals_the_plain_mean(shape):
    student, teacher = noise(*shape, seed=1), noise(*shape, seed=2)
    assert fitnet_loss(student, teacher).item() == pytest.approx(
        oracles.fitnet(student.tolist(), teacher.tolist()), rel=1e-12
    )


def test_is_a_mean_over_all_elements_and_not_over_samples():
    student, teacher = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0)
    assert fitnet_loss(student, teacher).item() == 4.0


@each_pair
def test_regressor_has_the_benchmarks_parameters_and_the_teachers_shape(pair):
    student, teacher = pair.taps.student[2], pair.taps.teacher[2]
    built = FitNet(pair.taps)
    assert count_parameters(built) == count_parameters(built.regressor) == pair.regressor
    with torch.no_grad():
        assert built.regressor(torch.zeros(2, *student)).shape == (2, *teacher)


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel", "stride"),
    [
        (8, 8, torch.nn.Conv2d, 1, 1),
        (8, 4, torch.nn.Conv2d, 3, 2),
        (4, 8, torch.nn.ConvTranspose2d, 4, 2),
        (8, 7, torch.nn.Conv2d, 2, 1),
        (8, 3, torch.nn.Conv2d, 6, 1),
        (2, 1, torch.nn.Conv2d, 3, 2),
    ],
)
def test_convolution_is_chosen_by_the_sizes(student, teacher, kind, kernel, stride):
    convolution, norm, activation = regressor((2, student, student), (3, teacher, teacher))
    assert type(convolution) is kind
    assert convolution.kernel_size == (kernel, kernel)
    assert convolution.stride == (stride, stride)
    assert convolution.bias is not None
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert isinstance(activation, torch.nn.ReLU)
    assert activation(norm(convolution(torch.randn(2, 2, student, student)))).shape == (2, 3, teacher, teacher)


@pytest.mark.parametrize(("student", "teacher"), [(8, 12), (7, 8), (2, 8)])
def test_sizes_that_no_convolution_joins_are_refused(student, teacher):
    with pytest.raises(ValueError, match=rf"student's map is {student} pixels high and the teacher's {teacher}"):
        regressor((2, student, student), (3, teacher, teacher))


def test_compares_f2_and_nothing_else():
    distiller = build("fitnet")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    loss = distiller(batch, student, teacher)
    regressed = F.relu(distiller.regressor[1](distiller.regressor[0](student.features[2])))
    hint = 100 * (regressed - teacher.features[2]).pow(2).mean()
    assert loss.item() == pytest.approx((F.cross_entropy(student.logits, batch.labels) + hint).item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False, False, True, False, False]


def test_different_numbers_of_middle_features_are_refused():
    narrow, deep = PAIRS[2].taps.student, PAIRS[4].taps.student
    with pytest.raises(ValueError, match=r"fitnet compares the middle features .* student has 3 and the teacher 4"):
        FitNet(Taps(narrow, deep))


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 4, 4), r"got \[2, 3, 4, 4\] and \[2, 5, 4, 4\]"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2), r"got \[2, 3, 4, 4\] and \[2, 3, 2, 2\]"),
    ],
    ids=["channels", "size"],
)
def test_maps_of_other_shapes_are_refused_and_not_broadcast(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        fitnet_loss(student, teacher)
