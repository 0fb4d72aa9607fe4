import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import HierarchicalContextLoss
from torchdistill.models.wrapper import AttentionBasedFusion

from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.reviewkd import Fusion, Review, ReviewKD, as_map, reviewkd_loss
from kcd_teach.models import count_parameters
from tests.distillers import oracles, theirs
from tests.distillers.material import batch_for, build, noise, outputs_for, waves
from tests.distillers.pairs import PAIRS, TAPS, each_pair


@pytest.mark.parametrize(
    ("height", "expected"), [(8, 0.6225696161293907), (4, 0.6102828878182941), (1, 1.0363593914912659)]
)
def test_reference_values_of_one_level(height, expected):
    shape = (2, 3, height, height)
    loss = reviewkd_loss([waves(torch.sin, *shape)], [waves(torch.cos, *shape)])
    assert loss.item() == pytest.approx(expected, abs=1e-14)


def test_reference_values_of_the_fusion():
    review = Review([((3, 4, 4), (5, 8, 8)), ((4,), (6,))]).double()
    for module in review.modules():
        if isinstance(module, torch.nn.Conv2d):
            for parameter in module.parameters():
                parameter.data = 0.3 * waves(torch.sin, *parameter.shape)
    fused = review([waves(torch.sin, 3, 3, 4, 4), waves(torch.sin, 3, 4)], [8, 1])
    targets = [waves(torch.cos, 3, 5, 8, 8), waves(torch.cos, 3, 6, 1, 1)]
    assert [out.norm().item() for out in fused] == pytest.approx([30.98360827, 4.242562933], abs=1e-8)
    assert reviewkd_loss(fused[:1], targets[:1]).item() == pytest.approx(1.055504435, abs=1e-9)
    assert reviewkd_loss(fused[1:], targets[1:]).item() == pytest.approx(1.408362436, abs=1e-9)
    assert reviewkd_loss(fused, targets).item() == pytest.approx(2.463866871, abs=1e-9)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 8])
def test_equals_the_plain_sum(height):
    shapes = [(2, 3, height, height), (2, 4, 1, 1)]
    student, teacher = ([noise(*shape, seed=seed + i) for i, shape in enumerate(shapes)] for seed in (1, 5))
    expected = sum(oracles.hierarchical(s.tolist(), t.tolist()) for s, t in zip(student, teacher, strict=True))
    assert reviewkd_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("height", [1, 4, 8, 16])
def test_one_level_equals_torchdistill(height):
    student, teacher = noise(2, 3, height, height, seed=1), noise(2, 3, height, height, seed=2)
    expected = theirs.ask(HierarchicalContextLoss("at", "output", "at", "output"), (student, None), teacher)
    assert reviewkd_loss([student], [teacher]).item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize("deepest", [False, True])
def test_fusion_equals_torchdistill_where_the_sizes_agree(deepest):
    ours, other = Fusion(3, 5, 4, deepest).double(), AttentionBasedFusion(3, 4, 5, not deepest).double()
    ours.conv1.load_state_dict(other.conv1.state_dict())
    ours.conv2.load_state_dict(other.conv2.state_dict())
    if not deepest:
        ours.attention.load_state_dict(other.attention_conv.state_dict())
    feature, deeper = noise(2, 3, 8, 8, seed=1), noise(2, 4, 4, 4, seed=2)
    expected = other(feature) if deepest else other(feature, deeper, 8)
    for mine, out in zip(ours(feature, None if deepest else deeper, 8), expected, strict=True):
        assert torch.allclose(mine, out, atol=1e-12)


def test_what_is_handed_on_has_the_teachers_size_and_is_resized_to_the_nearest_pixel():
    fusion = Fusion(3, 5, 4, deepest=True)
    feature = noise(2, 3, 2, 2, seed=1).float()
    out, left = fusion(feature, None, 6)
    assert (out.shape, left.shape) == ((2, 5, 6, 6), (2, 4, 6, 6))
    assert torch.allclose(left, fusion.conv1(feature).repeat_interleave(3, -1).repeat_interleave(3, -2), atol=1e-6)


@each_pair
def test_fusions_have_the_benchmarks_parameters_weight_and_shapes(pair):
    distiller = ReviewKD(pair.taps)
    assert count_parameters(distiller) == pair.review
    assert distiller.method_weight == pair.review_weight
    assert {fusion.conv1[0].out_channels for fusion in distiller.review.fusions} == {pair.review_width}
    student, teacher = (
        [as_map(torch.zeros(2, *shape)) for shape in side[1:]] for side in (pair.taps.student, pair.taps.teacher)
    )
    with torch.no_grad():
        fused = distiller.review(student, [target.shape[-1] for target in teacher])
    assert [out.shape for out in fused] == [target.shape for target in teacher]


def test_convolutions_start_kaiming_uniform_and_norms_follow_without_activations():
    torch.manual_seed(0)
    fusion = Fusion(64, 32, 128, deepest=False)
    for block, inputs in ((fusion.conv1, 64), (fusion.conv2, 128 * 9)):
        convolution, norm = block
        bound = (3 / inputs) ** 0.5  # gain 1 for a = 1, over the root of the inputs, times root 3
        assert 0.99 * bound < convolution.weight.abs().max().item() <= bound
        assert convolution.bias is None
        assert isinstance(norm, torch.nn.BatchNorm2d)
    assert fusion.attention[0].bias is not None
    assert Fusion(64, 32, 128, deepest=True).attention is None


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (240, {0: 0.0, 1: 1 / 20, 10: 0.5, 19: 0.95, 20: 1.0, 239: 1.0}),
        (24, {0: 0.0, 1: 0.5, 2: 1.0, 23: 1.0}),
        (6, {0: 0.0, 1: 1.0, 5: 1.0}),
    ],
)
def test_weight_grows_from_nothing_over_a_twelfth_of_the_run(epochs, expected):
    distiller = build("reviewkd")
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
    full = distiller.method_loss(batch_for(distiller), *outputs).item()
    for epoch, share in expected.items():
        distiller.start_epoch(epoch, epochs)
        assert distiller.method_loss(batch_for(distiller), *outputs).item() == pytest.approx(share * full, rel=1e-6)


def test_module_compares_all_but_the_first_features_with_the_teachers_before_activation():
    distiller = build("reviewkd")
    assert distiller.needs.teacher_preact
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    targets = [as_map(feature) for feature in teacher.features[1:]]
    compared = reviewkd_loss(distiller.review(student.features[1:], [8, 8, 2, 1]), targets)
    loss = distiller(batch, student, teacher)
    assert loss.item() == pytest.approx((F.cross_entropy(student.logits, batch.labels) + 5 * compared).item(), rel=1e-6)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False, True, True, True, True]


def test_weight_of_a_pair_can_be_overruled_and_belongs_to_teacher_and_student_in_this_order():
    assert ReviewKD(PAIRS[2].taps, method_weight=2.0).method_weight == 2.0
    turned = Taps(TAPS["resnet56"], TAPS["resnet20"], "resnet56", "resnet20")
    assert ReviewKD(turned).method_weight == 5.0


def test_different_numbers_of_features_are_refused():
    with pytest.raises(ValueError, match=r"reviewkd compares the middle features .* student has 4 and the teacher 3"):
        ReviewKD(Taps(TAPS["MobileNetV2"], TAPS["wrn_40_2"]))


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ([torch.zeros(2, 3, 4, 4)], [torch.zeros(2, 3, 8, 8)], r"one shape, got \[2, 3, 4, 4\] and \[2, 3, 8, 8\]"),
        ([torch.zeros(2, 3, 4, 4)], [torch.zeros(2, 1, 4, 4)], r"one shape, got \[2, 3, 4, 4\] and \[2, 1, 4, 4\]"),
        ([torch.zeros(2, 3, 4, 4)], [], "both need the same levels, got 1 and 0"),
        ([torch.zeros(2, 3)], [torch.zeros(2, 3)], r"student's feature must be a floating-point tensor \[B C H W\]"),
    ],
    ids=["size", "channels", "levels", "flat"],
)
def test_levels_that_do_not_fit_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        reviewkd_loss(student, teacher)
