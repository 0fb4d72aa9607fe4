"""What holds for the modules of all methods alike: their names, their parameters, what they refuse."""

import copy

import pytest
import torch
from torch import nn

from kcd_teach.distillers import (
    KD,
    Distiller,
    create_distiller,
    distiller_class,
    is_condensed,
    list_distillers,
    read_taps,
)
from kcd_teach.distillers.base import Needs, Outputs, respond
from kcd_teach.models import create_model
from tests.distillers.material import METHODS, STUDENT_TAPS, TEACHER_TAPS, batch_for, build, noise, outputs_for
from tests.tiny import same, tiny_networks

NAMES = ["kd", "fitnet", "at", "sp", "vid", "rkd", "pkt", "crd", "wcord", "reviewkd", "sskd"]
PAIRED = ["fitnet", "at", "vid", "reviewkd"]
LEARNING = ["fitnet", "vid", "crd", "wcord", "reviewkd", "sskd"]
SHAPE = (1, 8, 8)
each_method = pytest.mark.parametrize("name", NAMES)


class Fake(nn.Module):
    """A network whose features have given shapes."""

    def __init__(self, shapes: tuple[tuple[int, ...], ...], classes: int = 3) -> None:
        super().__init__()
        self.shapes, self.classes, self.modes = shapes, classes, []

    def forward(self, images, return_features=False, preact=False):
        self.modes.append(self.training)
        logits = torch.zeros(len(images), self.classes)
        if not return_features:
            return logits
        return logits, [torch.zeros(len(images), *shape) for shape in self.shapes]


def tiny_pair() -> tuple[nn.Module, nn.Module]:
    """Two small networks with the same number of features."""
    return create_model("mini_resnet8", 3, 1, seed=0), create_model("mini_resnet8x3", 3, 1, seed=1)


def of_pair(name: str, **settings) -> Distiller:
    return create_distiller(name, *tiny_pair(), image_shape=SHAPE, **settings)


def run_once(distiller: Distiller, count: int = 4, *, seed: int = 0, make=noise) -> tuple[torch.Tensor, list[Outputs]]:
    outputs = [outputs_for(distiller, role, count, seed=seed, make=make) for role in ("student", "teacher")]
    return distiller(batch_for(distiller, count), *outputs), outputs


def gradients(distiller: Distiller, outputs: list[Outputs]) -> list[torch.Tensor]:
    """Of what the student says and of all parameters, where there are any."""
    leaves = [outputs[0].logits, *outputs[0].features, *distiller.parameters()]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def test_names():
    assert list_distillers() == NAMES
    assert [distiller_class(name) for name in NAMES] == [distiller_class(f"kc-{name}") for name in NAMES]
    assert len({distiller_class(name) for name in NAMES}) == 11
    assert [is_condensed(name) for name in ("crd", "kc-crd", "kcd")] == [False, True, False]


@each_method
def test_is_found_by_name_with_and_without_condensation(name):
    plain, condensed = (of_pair(full, seed=3) for full in (name, f"kc-{name}"))
    assert type(plain) is type(condensed) is METHODS[name]
    assert repr(plain) == repr(condensed)
    assert same(plain.state_dict(), condensed.state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fitnets", "name='fitnets' is unknown; did you mean 'fitnet'.* Known: kd, fitnet, at, sp, vid, rkd, pkt, crd"),
        ("kc-wcor", "name='wcor' is unknown; did you mean 'wcord'"),
        ("KD", "name='KD' is unknown"),
        ("kc-", r"name='' is unknown\. Known: kd"),
        ("xyz", r"name='xyz' is unknown\. Known: kd"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        create_distiller(name, *tiny_pair(), image_shape=SHAPE)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("kd", (0.1, 0.9, 0.0)), ("fitnet", (1, 0, 100)), ("at", (1, 0, 1000)), ("sp", (1, 0, 3000)),
        ("vid", (1, 0, 1)), ("rkd", (1, 0, 1)), ("pkt", (1, 0, 30000)), ("crd", (1, 1, 0.8)), ("wcord", (1, 1, 1)),
        ("reviewkd", (1, 0, 5)), ("sskd", (0.1, 0.9, 1)),
    ],
)  # fmt: skip
def test_weights_are_the_benchmarks(name, weights):
    distiller = build(name)
    assert (distiller.label_weight, distiller.teacher_weight, distiller.method_weight) == weights
    assert distiller.temperature == 4.0


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("kd", Needs()),
        *((name, Needs(features=True)) for name in ("fitnet", "at", "sp", "vid", "pkt")),
        ("rkd", Needs(features=True, smallest_batch=2)),
        ("crd", Needs(features=True, negatives=3)),
        ("wcord", Needs(features=True, negatives=3)),
        ("reviewkd", Needs(features=True, teacher_preact=True, smallest_batch=2)),
        ("sskd", Needs(features=True, rotations=True, preparation=0.25)),
    ],
)
def test_needs(name, needs):
    assert build(name).needs == needs


@each_method
def test_weights_can_be_chosen_and_zero_leaves_a_part_out(name):
    distiller = of_pair(name, label_weight=0.5, teacher_weight=0.25, temperature=2.0)
    assert (distiller.label_weight, distiller.teacher_weight, distiller.temperature) == (0.5, 0.25, 2.0)
    for weight in ("label_weight", "teacher_weight"):
        with pytest.raises(ValueError, match=rf"{weight} must be in \[0, inf\), got -1"):
            of_pair(name, **{weight: -1.0})
    if name != "kd":
        alone = build(name, method_weight=0.0)
        loss, outputs = run_once(alone)
        loss.backward()
        assert all(feature.grad is None for feature in outputs[0].features)


@each_method
def test_constants_are_part_of_what_is_printed(name):
    shown = repr(build(name))
    assert "label_weight=" in shown
    for constant in build(name).constants():
        assert f"{constant}=" in shown


@each_method
def test_loss_is_a_scalar_with_gradients_for_the_student_and_none_for_the_teacher(name):
    distiller = build(name)
    loss, (student, teacher) = run_once(distiller)
    assert loss.shape == ()
    loss.backward()
    assert student.logits.grad.abs().max() > 0
    assert teacher.logits.grad is None
    reached = [feature.grad is not None for feature in teacher.features]
    # A learned embedding passes its gradient on; in a run the teacher's features come without one.
    assert reached == [False] * 4 + [name in ("crd", "wcord")]


@each_method
def test_parameters_are_the_students_or_the_preparations_and_never_both(name):
    distiller = build(name)
    everything = {id(parameter) for parameter in distiller.parameters()}
    trained = [id(parameter) for parameter in distiller.student_parameters()]
    prepared = [id(parameter) for parameter in distiller.preparation_parameters()]
    assert sorted(trained + prepared) == sorted(everything)
    assert bool(everything) == (name in LEARNING)
    assert bool(prepared) == (name == "sskd") == (distiller.needs.preparation > 0)


@pytest.mark.parametrize("name", LEARNING)
def test_every_parameter_of_the_student_gets_a_gradient(name):
    distiller = build(name)
    run_once(distiller)[0].backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in distiller.student_parameters() if parameter.ndim > 1)


def large(*shape, seed):
    return 1e4 * noise(*shape, seed=seed)


def zeros(*shape, seed):
    return torch.zeros(shape)


def constant(*shape, seed):
    return torch.full(shape, 2.0)


@pytest.mark.parametrize("make", [large, zeros, constant], ids=lambda make: make.__name__)
@each_method
def test_loss_and_gradients_are_finite_at_extreme_outputs(name, make):
    distiller = build(name)
    loss, outputs = run_once(distiller, make=make)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert len(gradients(distiller, outputs)) > 0
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(distiller, outputs))


@pytest.mark.parametrize("count", [1, 2])
@each_method
def test_small_batches(name, count):
    distiller = build(name)
    if count < distiller.needs.smallest_batch:
        with pytest.raises(ValueError, match=r"needs at least 2, got 1|Expected more than 1 value per channel"):
            run_once(distiller, count)
        return
    loss, outputs = run_once(distiller, count)
    loss.backward()
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(distiller, outputs))


@each_method
def test_autocast_gives_nearly_the_same_loss(name):
    plain, _ = run_once(build(name))
    distiller = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        halved, outputs = run_once(distiller)
    halved.backward()
    assert halved.dtype == torch.float32
    assert halved.item() == pytest.approx(plain.item(), rel=0.03)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(distiller, outputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["kd", "at", "sp", "rkd", "pkt"])
def test_half_precision_outputs_of_the_networks_are_widened(name, dtype):
    distiller = build(name)
    batch = batch_for(distiller)
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
    halves = [Outputs(said.logits.to(dtype), [f.to(dtype) for f in said.features]) for said in outputs]
    assert distiller(batch, *halves).item() == pytest.approx(distiller(batch, *outputs).item(), rel=0.05)


@each_method
def test_order_of_the_batch_does_not_matter(name):
    order = torch.tensor([2, 0, 3, 1])
    losses = []
    for permuted in (False, True):
        distiller = build(name).eval()
        batch, views = batch_for(distiller), distiller.needs.views
        outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
        if permuted:
            rows = torch.arange(4 * views).reshape(4, views)[order].flatten()
            outputs = [Outputs(said.logits[rows], [feature[rows] for feature in said.features]) for said in outputs]
            batch = type(batch)(*(part if part is None else part[order] for part in batch))
        if name == "sskd":
            distiller.similarity_ratio = 1.0  # which of several rows of one rank are kept depends on the order
        losses.append(distiller(batch, *outputs).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@each_method
def test_seed_gives_the_same_weights_and_leaves_the_random_state_alone(name):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, again, other = (of_pair(name, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first.state_dict(), again.state_dict())
    if name in LEARNING:
        assert not same(first.state_dict(), other.state_dict())
        drawn = of_pair(name), of_pair(name)
        assert not torch.equal(torch.get_rng_state(), before)
        assert not same(drawn[0].state_dict(), drawn[1].state_dict())


@each_method
def test_building_leaves_both_networks_as_they_were(name):
    networks = tiny_pair()
    for training in (True, False):
        for network in networks:
            network.train(training)
        before = [copy.deepcopy(network.state_dict()) for network in networks]
        distiller = create_distiller(name, *networks, image_shape=SHAPE)
        assert [network.training for network in networks] == [training] * 2
        assert same([network.state_dict() for network in networks], before)  # BatchNorm statistics too
        held = {id(module) for module in distiller.modules()}
        assert not held & {id(module) for network in networks for module in network.modules()}


def test_networks_are_looked_at_in_eval_mode_and_wide_ones_before_activation():
    teacher = create_model("wrn_16_1", 3, 1, seed=0)
    teacher.train()
    assert create_distiller("reviewkd", teacher, teacher, image_shape=(1, 16, 16)).needs.teacher_preact
    student, other = Fake(STUDENT_TAPS), Fake(TEACHER_TAPS)
    taps = read_taps(student, other, SHAPE, features=True)
    assert (taps.student, taps.teacher) == (STUDENT_TAPS, TEACHER_TAPS)
    assert student.modes == other.modes == [False]
    assert taps.widths == (6, 9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "kd"])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_network_without_features_is_refused(name, role):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    networks = {"student": tiny_pair()[0], "teacher": tiny_pair()[1], role: plain}
    message = rf"this method compares features, and the {role} \(Sequential\) has none to offer: it must answer {role}"
    with pytest.raises(ValueError, match=message):
        create_distiller(name, **networks, image_shape=SHAPE)


def test_kd_needs_no_features():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert type(create_distiller("kd", plain, plain, image_shape=SHAPE)) is KD


@pytest.mark.parametrize("shapes", [((2, 4, 4), (2,)), ((2, 4, 4),) * 4], ids=["too few", "not pooled"])
def test_features_of_another_form_are_refused(shapes):
    with pytest.raises(ValueError, match=rf"the student \(Fake\) offers {len(shapes)}; at least three are needed"):
        create_distiller("pkt", Fake(shapes), Fake(TEACHER_TAPS), image_shape=SHAPE)


@each_method
def test_networks_of_other_classes_are_refused(name):
    student, teacher = create_model("mini_resnet8", 4, 1), create_model("mini_resnet8", 3, 1)
    with pytest.raises(ValueError, match="the student has 4 and the teacher 3; set num_classes"):
        create_distiller(name, student, teacher, image_shape=SHAPE)


@each_method
def test_a_wrong_image_shape_is_refused(name):
    with pytest.raises(ValueError, match=r"the student does not take images of shape \(3, 8, 8\) .*; set image_shape"):
        create_distiller(name, *tiny_pair(), image_shape=(3, 8, 8))


@pytest.mark.parametrize("name", PAIRED)
def test_different_numbers_of_middle_features_are_refused_where_they_are_paired(name):
    student, teacher = tiny_networks()  # a plain network of three stages, and a residual one
    with pytest.raises(ValueError, match=f"{name} compares the middle .* student has 2 and the teacher 3; choose"):
        create_distiller(name, student, teacher, image_shape=SHAPE)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PAIRED])
def test_different_numbers_of_middle_features_are_accepted_elsewhere(name):
    student, teacher = tiny_networks()
    assert type(create_distiller(name, student, teacher, image_shape=SHAPE)) is METHODS[name]


def test_fitnet_refuses_sizes_that_no_regressor_joins():
    def network(side: int) -> Fake:
        return Fake(((2, 16, 16), (2, 16, 16), (3, side, side), (4, 4, 4), (4,)))

    with pytest.raises(ValueError, match="student's map is 8 pixels high and the teacher's 12"):
        create_distiller("fitnet", network(8), network(12))
    assert create_distiller("fitnet", network(12), network(8)) is not None


def test_a_method_without_a_loss_says_what_is_missing():
    class Empty(Distiller):
        pass

    outputs = Outputs(torch.zeros(2, 3))
    with pytest.raises(NotImplementedError, match="Empty must define method_loss, or have method_weight=0"):
        Empty()(batch_for(Empty(), 2), outputs, outputs)
    with pytest.raises(NotImplementedError, match="Empty asks for a preparation and must define preparation_loss"):
        Empty().preparation_loss(batch_for(Empty(), 2), outputs)


@each_method
def test_without_a_teacher_only_the_labels_count(name):
    distiller = build(name)
    batch, student = batch_for(distiller), outputs_for(distiller, "student")
    hard = nn.functional.cross_entropy(student.logits[:: distiller.needs.views], batch.labels)
    assert distiller(batch, student, None).item() == pytest.approx(distiller.label_weight * hard.item(), rel=1e-6)


@pytest.mark.parametrize("features", [False, True])
def test_respond_asks_for_what_is_needed(features):
    student, _ = tiny_pair()
    said = respond(student.eval(), torch.zeros(2, *SHAPE), features)
    assert said.logits.shape == (2, 3)
    assert len(said.features) == (5 if features else 0)
    if features:
        before = respond(student, torch.randn(2, *SHAPE), True, preact=True).features
        assert all(bool((feature < 0).any()) for feature in before[1:-1])
