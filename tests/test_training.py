import copy
import dataclasses

import pytest
import torch
from torch import nn

from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.distillers import KD, Distiller
from kcd_teach.distillers.base import Batch, Outputs
from kcd_teach.knowledge import Knowledge
from kcd_teach.models.convnet import ConvNet
from kcd_teach.training import Recipe, distill
from kcd_teach.views import num_views, render_views
from tests.tiny import outcome, same, tiny_dataset, tiny_networks, tiny_run

PRESETS = pytest.mark.parametrize("preset", [None, "paper", "released"])


@pytest.fixture(scope="module")
def trained():
    """A larger data set of the same three classes, and a network that has learned it from labels alone."""
    dataset, (_, network) = tiny_dataset(300, 90), tiny_networks()
    reports = list(distill(network, dataset, recipe=Recipe(epochs=8, batch_size=20)))
    return dataset, network, reports


def test_learns_from_labels_alone(trained):
    _, _, reports = trained
    assert reports[-1].test_accuracy > 0.9  # chance is 1/3
    assert reports[-1].train_loss < 0.5 * reports[0].train_loss


@PRESETS
def test_learns_from_the_teacher_alone(trained, preset):
    dataset, teacher, _ = trained
    condenser = None if preset is None else Condenser(300, 0.6, 4, 12, preset)
    student, _ = tiny_networks()
    recipe, distiller = Recipe(epochs=12, batch_size=20), KD(4.0, label_weight=0.0, teacher_weight=1.0)
    reports = list(distill(student, dataset, teacher, recipe=recipe, condenser=condenser, distiller=distiller))
    assert reports[-1].test_accuracy > 0.9


def test_student_never_sees_labels_if_their_weight_is_zero(trained):
    dataset, teacher, _ = trained
    permuted = dataclasses.replace(dataset, train_labels=dataset.train_labels.flip(0))
    results = []
    for shown in (dataset, permuted):
        student, _ = tiny_networks()
        list(distill(student, shown, teacher, recipe=Recipe(epochs=1), distiller=KD(4.0, 0.0, 1.0)))
        results.append(student.state_dict())
    assert same(*results)


@PRESETS
def test_same_seed_same_bits_other_seed_other_bits(preset):
    first, again, other = (tiny_run(preset, seed=seed) for seed in (0, 0, 1))
    for run in (first, again, other):
        list(run)
    assert same(outcome(first), outcome(again))
    assert not same(first.student.state_dict(), other.student.state_dict())


def test_every_epoch_has_its_own_order_and_views():
    run, orders = tiny_run(None), []
    while len(run):
        first = next(iter(run._shuffled(run.condenser.active, run.epoch)))
        orders += [tuple(first.ids.tolist()), tuple(first.views.tolist())]
        next(run)
    assert len(set(orders)) == 8


def test_the_global_random_state_is_neither_used_nor_changed():
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        run = tiny_run()
        before = torch.get_rng_state()
        list(run)
        assert torch.equal(torch.get_rng_state(), before)
        results.append(outcome(run))
    assert same(*results)


@PRESETS
def test_reports(preset):
    run = tiny_run(preset)
    assert len(run) == 4
    reports = list(run)
    active = {None: [48] * 4, "paper": [48, 48, 29, 29], "released": [48, 48, 29, 29]}[preset]
    assert [report.active for report in reports] == active
    assert [report.presentations for report in reports] == [sum(active[:e]) for e in (1, 2, 3, 4)]
    assert [report.stage for report in reports] == ([0] * 4 if preset is None else [0, 0, 1, 1])
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert [report.learning_rate for report in reports] == [run.recipe.rate(e) for e in (1, 2, 3, 4)]
    assert [report.seconds for report in reports] == sorted(report.seconds for report in reports)
    assert reports == run.reports
    assert (len(run), run.epoch) == (0, 4)
    with pytest.raises(StopIteration):
        next(run)


def test_drop_last_leaves_out_samples_and_they_keep_their_place():
    run = tiny_run(recipe={"drop_last": True, "augment": False})
    assert next(run).active == 40
    assert (run.condenser.frequency == 0).sum() == 8
    next(run)
    never = (run.condenser.frequency == 0).nonzero().flatten().tolist()
    assert len(never) > 0
    assert set(never) <= set(run.condenser.active.tolist())
    assert [report.active for report in run] == [20, 20]


def test_train_loss_is_the_mean_over_samples_and_not_over_batches():
    class Constant(Distiller):
        """A loss that is 1 in full batches and 5 in the last one, of 8."""

        def forward(self, batch, student, teacher):
            return 0 * student.logits.sum() + (1.0 if len(batch.labels) == 10 else 5.0)

    report = next(tiny_run(None, distiller=Constant()))
    assert report.train_loss == pytest.approx((40 * 1 + 8 * 5) / 48)


def test_one_epoch_equals_the_loop_written_out():
    """Plain KD against the same loop with nothing of the library's training code."""
    run = tiny_run(None)
    student, teacher = copy.deepcopy(run.student), run.knowledge.teacher
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    student.train()
    for batch in run._shuffled(run.condenser.active, run.epoch):
        with torch.no_grad():
            taught = teacher(batch.images)
        loss = KD()(batch, Outputs(student(batch.images)), Outputs(taught))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    next(run)
    assert same(run.student.state_dict(), student.state_dict())


def test_parameters_of_the_distiller_are_trained_with_the_student():
    class Scaled(KD):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, batch, student, teacher):
            return super().forward(batch, Outputs(self.scale * student.logits), teacher)

    run = tiny_run(distiller=Scaled())
    next(run)
    assert run.distiller.scale.item() != 1.0


class Watched(nn.Module):
    """Passes images on to a network and keeps what it was shown while it was asked as teacher or trained as student."""

    def __init__(self, network: nn.Module, keep_if: str) -> None:
        super().__init__()
        self.network, self.keep_if, self.shown = network, keep_if, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training == (self.keep_if == "training"):
            self.shown.append(images)
        return self.network(images)


@PRESETS
def test_teacher_is_asked_about_exactly_what_the_student_sees(preset):
    run = tiny_run(preset, Watched(tiny_networks()[1], "asked"))
    run.student = Watched(run.student, "training")
    run.optimizer.param_groups[0]["params"] = list(run.student.parameters())
    list(run)
    assert len(run.student.shown) == len(run.knowledge.teacher.shown) > 0
    assert same(run.student.shown, run.knowledge.teacher.shown)


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked", "remembered"])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_mixtures_of_a_stage_are_shown_to_the_teacher(preset, store):
    teacher, dataset = Watched(tiny_networks()[1], "asked"), tiny_dataset()
    run = tiny_run(preset, Knowledge(teacher, dataset, store), recipe={"augment": False})
    next(run), next(run)
    teacher.shown.clear()
    next(run)
    seen = {image.numpy().tobytes() for images in teacher.shown for image in images}
    mixtures = dataset.normalise(run.images.current[run.condenser.mixture.boundary])
    assert len(mixtures) == 19
    assert all(image.numpy().tobytes() in seen for image in mixtures)
    # Those that are remembered need not be asked again.
    assert len(seen) == (29 if store == "off" else 19)


@pytest.mark.parametrize(("precision", "digits"), [("float32", 2**-11), ("bfloat16", 2**-6)])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_knowledge_never_stores_what_the_teacher_said_of_a_mixture(preset, precision, digits):
    dataset, (_, teacher) = tiny_dataset(), tiny_networks()
    knowledge = Knowledge(teacher, dataset, store="memory", precision=precision)
    list(tiny_run(preset, knowledge, recipe={"precision": precision}))
    views = num_views(dataset.padding)
    ids, each = torch.arange(48).repeat_interleave(views), torch.arange(views).repeat(48)
    images = dataset.normalise(render_views(dataset.train_images[ids], each, dataset.padding))
    pure = torch.zeros(len(ids), dtype=torch.bool)
    remembered = knowledge(Batch(ids, each, dataset.train_labels[ids], pure, images)).logits
    with torch.no_grad():
        said = teacher(images)
    # As close as the digits allow, which are those of half precision or of bfloat16; a mixture is much further away.
    assert torch.allclose(remembered, said, rtol=2 * digits, atol=digits * said.abs().max().item())


@pytest.mark.parametrize(("precision", "digits"), [("float32", 2e-3), ("bfloat16", 0.03)])
@pytest.mark.parametrize("preset", [None, "paper", "released"])
def test_remembering_changes_nothing_but_the_last_digits(preset, precision, digits):
    weights = []
    for store in ("off", "memory"):
        knowledge = Knowledge(tiny_networks()[1], tiny_dataset(), store, precision=precision)
        run = tiny_run(preset, knowledge, recipe={"precision": precision})
        list(run)
        weights.append(torch.cat([value.flatten() for value in run.student.state_dict().values()]))
    # Not bit-identical: stored answers are rounded to half precision, 2^-11 of their size.
    assert torch.allclose(*weights, atol=digits)


def test_teacher_gets_no_gradient_and_stays_as_it_was_even_after_train():
    _, teacher = tiny_networks()
    before = copy.deepcopy(teacher.state_dict())
    run = tiny_run("paper", teacher)
    teacher.train()
    for _ in run:
        assert not teacher.training
        teacher.train()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert same(teacher.state_dict(), before)  # BatchNorm statistics too


def test_condenser_records_the_students_entropies_before_the_update():
    run = tiny_run("paper", recipe={"augment": False})
    student = copy.deepcopy(run.student).train()
    first = next(iter(run._shuffled(run.condenser.active, run.epoch)))
    logits = student(first.images)
    next(run)
    p = logits.softmax(dim=1)
    assert run.condenser.value[first.ids].tolist() == pytest.approx((-(p * p.log()).sum(dim=1)).tolist(), abs=1e-6)


def test_a_diverging_loss_stops_the_run():
    student, _ = tiny_networks()
    run = distill(student, tiny_dataset(), recipe=Recipe(epochs=4, batch_size=10, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match="training diverged in epoch 1: the loss is nan; lower the rate"):
        list(run)
    with pytest.raises(RuntimeError, match="this run was stopped inside a step"):
        next(run)


@pytest.mark.parametrize(
    ("preset", "teacher", "message"),
    [
        ("paper", True, "student_logits must be finite, but 10 of 10 rows hold NaN or infinity"),
        ("paper", False, "logits must be finite, but 10 of 10 rows hold NaN or infinity"),
    ],
    ids=["in the distiller", "in the condenser"],
)
def test_bad_logits_of_the_student_stop_the_run(preset, teacher, message):
    student, network = tiny_networks()
    recipe = Recipe(epochs=4, batch_size=10, learning_rate=1e30)
    condenser = Condenser(48, 0.6, 2, 4, preset)
    run = distill(student, tiny_dataset(), network if teacher else None, recipe=recipe, condenser=condenser)
    with pytest.raises(ValueError, match=message):
        list(run)
    with pytest.raises(RuntimeError, match="this run was stopped inside a step and may be inconsistent"):
        next(run)


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked", "remembered"])
def test_bad_logits_of_the_teacher_stop_the_run(store):
    _, teacher = tiny_networks()
    nn.init.constant_(teacher.fc.weight, float("nan"))
    with pytest.raises(ValueError, match="teacher_logits must be finite, but 2 of 2 rows hold NaN or infinity"):
        list(tiny_run("paper", Knowledge(teacher, tiny_dataset(), store)))


def test_student_and_teacher_of_other_classes_do_not_fit():
    wrong = ConvNet((3, 4, 5), num_classes=4, in_channels=1)
    with pytest.raises(ValueError, match="teacher tells apart 4 classes, but tiny has 3; create it with num_classes=3"):
        tiny_run(None, wrong)


def seen_condenser() -> Condenser:
    condenser = Condenser(48, 0.6, 2, 4)
    condenser.end_epoch()
    return condenser


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.0}, TypeError, "seed must be a whole number, got 1.0"),
        (
            {"distiller": nn.Linear(3, 3)},
            TypeError,
            "distiller must be a Distiller, its class, the name of one or None, got Linear",
        ),
        ({"distiller": "kt"}, ValueError, "name='kt' is unknown; did you mean 'pkt'?"),
        ({"teacher": "resnet8"}, TypeError, "teacher must be a network, Knowledge or None, got str"),
        ({"condenser": Condenser(47, 0.6, 2, 4)}, ValueError, "condenser has num_samples=47, but the run has 48"),
        ({"condenser": KeepAll(10)}, ValueError, "condenser has num_samples=10, but the run has 48"),
        ({"condenser": Condenser(48, 0.6, 2, 5)}, ValueError, "condenser has epochs=5, but the run has 4"),
        ({"condenser": seen_condenser()}, ValueError, "condenser has seen 1 epochs already; make a new one"),
        (
            {"recipe": {"drop_last": True, "batch_size": 30}},
            ValueError,
            "batch_size must be at most 29 with drop_last=True, got 30",
        ),
        (
            {"teacher": Knowledge(tiny_networks()[1], tiny_dataset(30))},
            ValueError,
            "teacher holds answers for 30 images, dataset has 48",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_arguments_that_do_not_fit_are_refused_at_once(settings, error, message):
    settings = dict(settings)
    if isinstance(recipe := settings.get("recipe"), dict):
        settings["recipe"] = Recipe(epochs=4, **recipe)
    with pytest.raises(error, match=message):
        distill(
            tiny_networks()[0],
            tiny_dataset(),
            settings.pop("teacher", tiny_networks()[1]),
            **{"recipe": Recipe(epochs=4, batch_size=10), "condenser": Condenser(48, 0.6, 2, 4), **settings},
        )


def test_a_distiller_needs_a_teacher():
    with pytest.raises(ValueError, match="distiller needs a teacher, and teacher is None"):
        distill(tiny_networks()[0], tiny_dataset(), distiller=KD())
