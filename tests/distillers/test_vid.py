import math

import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import VIDLoss
from torchdistill.models.wrapper import Regressor4VID

from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.vid import VID, Gaussian, vid_loss
from kcd_teach.models import count_parameters
from tests.distillers import oracles, theirs
from tests.distillers.material import batch_for, build, noise, outputs_for, waves
from tests.distillers.pairs import TAPS


def test_reference_value():
    gaussian = Gaussian(3, 5).double()
    for convolution in gaussian.mean[::2]:
        torch.nn.init.constant_(convolution.weight, 0.1)
    torch.nn.init.constant_(gaussian.log_scale, math.log(math.exp(5 - 1e-5) - 1))
    loss = gaussian(waves(torch.sin, 2, 3, 4, 4), waves(torch.cos, 2, 5, 2, 2))
    assert loss.item() == pytest.approx(0.853625977607528, abs=1e-14)


def test_variance_starts_at_five():
    gaussian = Gaussian(2, 3)
    assert gaussian.log_scale.tolist() == pytest.approx([4.9932291827] * 3, abs=1e-6)
    assert gaussian.variance.tolist() == pytest.approx([5.0] * 3, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 2, 2), (3, 2, 4, 4)], ids=str)
def test_equals_the_plain_sum(shape):
    mean, teacher, variance = noise(*shape, seed=1), noise(*shape, seed=2), noise(shape[1], seed=3).exp()
    expected = oracles.vid(mean.tolist(), teacher.tolist(), variance.tolist())
    assert vid_loss(mean, teacher, variance).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("student", "teacher"), [((3, 4, 4), (5, 2, 2)), ((2, 2, 2), (3, 4, 4))], ids=str)
def test_learned_gaussian_equals_the_plain_one(student, teacher):
    gaussian = Gaussian(student[0], teacher[0]).double()
    torch.nn.init.constant_(gaussian.log_scale, -0.5)
    s, t = noise(2, *student, seed=4), noise(2, *teacher, seed=5)
    weights = [convolution.weight[:, :, 0, 0].tolist() for convolution in gaussian.mean[::2]]
    small, target = oracles.at_common_size(s.tolist(), t.tolist())
    variance = [math.log1p(math.exp(-0.5)) + 1e-5] * teacher[0]
    expected = oracles.vid([oracles.vid_mean(sample, *weights) for sample in small], target, variance)
    assert gaussian(s, t).item() == pytest.approx(expected, rel=1e-12)


def test_equals_torchdistill():
    their_regressor, gaussian = Regressor4VID(3, 5, 5, 1e-5, 5.0).double(), Gaussian(3, 5).double()
    gaussian.mean.load_state_dict(their_regressor.regressor.state_dict())
    torch.nn.init.normal_(their_regressor.soft_plus_param)
    gaussian.log_scale.data.copy_(their_regressor.soft_plus_param)
    student, teacher = noise(2, 3, 4, 4, seed=6), noise(2, 5, 4, 4, seed=7)
    expected = theirs.ask(VIDLoss(theirs.one_pair()), their_regressor(student), teacher)
    assert gaussian(student, teacher).item() == pytest.approx(expected.item(), rel=1e-12)


def test_is_least_where_the_variance_is_the_squared_error_and_may_be_negative():
    mean, teacher = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)
    best = vid_loss(mean, teacher, torch.tensor([0.01])).item()
    assert best == pytest.approx(0.5 + 0.5 * math.log(0.01), abs=1e-6)
    assert best < min(vid_loss(mean, teacher, torch.tensor([v])).item() for v in (0.005, 0.009, 0.011, 0.02, 1.0))
    assert best < 0


def test_scales_of_the_variance_are_trained_with_the_student():
    distiller = build("vid")
    scales = {id(gaussian.log_scale) for gaussian in distiller.gaussians}
    assert len(scales) == 3
    assert scales <= {id(parameter) for parameter in distiller.student_parameters()}
    distiller(batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))).backward()
    assert all(gaussian.log_scale.grad.abs().sum() > 0 for gaussian in distiller.gaussians)


@pytest.mark.parametrize("scale", [-200.0, -20.0, 200.0])
def test_variance_is_positive_and_finite_at_any_scale(scale):
    gaussian = Gaussian(2, 3)
    torch.nn.init.constant_(gaussian.log_scale, scale)
    assert bool((gaussian.variance >= 1e-5).all())
    assert bool(torch.isfinite(gaussian(torch.randn(2, 2, 2, 2), torch.randn(2, 3, 2, 2))))


def test_module_adds_the_middle_features_and_has_no_biases():
    distiller = build("vid")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    compared = sum(distiller.gaussians[i](student.features[i + 1], teacher.features[i + 1]) for i in range(3))
    expected = F.cross_entropy(student.logits, batch.labels) + compared
    assert distiller(batch, student, teacher).item() == pytest.approx(expected.item(), rel=1e-6)
    assert count_parameters(distiller) == sum(s * t + 2 * t * t + t for s, t in ((3, 5), (4, 7), (6, 8)))


def test_different_numbers_of_middle_features_are_refused():
    with pytest.raises(ValueError, match=r"vid compares the middle features .* student has 3 and the teacher 4"):
        VID(Taps(TAPS["resnet20"], TAPS["ResNet50"]))


@pytest.mark.parametrize(
    ("shape", "channels"), [((2, 3, 2, 2), 3), ((2, 5, 4, 4), 5), ((2, 5, 2, 2), 3)], ids=["width", "size", "variance"]
)
def test_wrong_shapes_are_refused(shape, channels):
    with pytest.raises(ValueError, match=r"predicted_mean and teacher_feature must have one shape .* variance \[C\]"):
        vid_loss(torch.zeros(shape), torch.zeros(2, 5, 2, 2), torch.ones(channels))
