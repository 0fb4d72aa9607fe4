"""What cannot work is refused before the first batch, and what can work is not refused."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, Distiller, create_distiller, list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.models.convnet import ConvNet
from kcd_teach.recipe import Recipe
from kcd_teach.training import distill
from tests.tiny import outcome, same, tiny_dataset, tiny_networks, tiny_run


class Normalised(nn.Module):
    """A student that normalises its pooled feature, which takes two images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(64), nn.Linear(64, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(images.flatten(1)))


class Plain(nn.Sequential):
    """A student that normalises nothing."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 3))


class Answering(nn.Module):
    """A network with weights that answers with whatever it is told to."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.network, self.answer = tiny_networks()[0], answer

    def forward(self, images: torch.Tensor):
        return self.answer(self.network(images))


class Constant(Distiller):
    """A loss that no network can make smaller."""

    uses_taps = False

    def __init__(self, loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch, student, teacher):
        return self.loss


# Batches


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_a_last_batch_of_one_is_refused_at_once_where_it_cannot_be_normalised(preset):
    dataset, condenser = tiny_dataset(128), Condenser(128, 65 / 128, 2, 6, preset, released_steps=1)
    with pytest.raises(ValueError, match=r"student cannot be trained on a batch of 1 images: Expected more than 1 value .*"
                       "batch_size=64 leaves a last batch of one, use drop_last=True or another batch_size"):  # fmt: skip
        distill(Normalised(), dataset, tiny_networks()[1], recipe=Recipe(epochs=6), condenser=condenser)


@pytest.mark.parametrize(("student", "settings"), [(Normalised, {"drop_last": True}), (Plain, {})])
def test_a_last_batch_of_one_is_taken_where_it_can_be_trained_on(student, settings):
    recipe = Recipe(epochs=6, learning_rate=0.01, **settings)
    run = distill(
        student(), tiny_dataset(128), tiny_networks()[1], recipe=recipe, condenser=Condenser(128, 65 / 128, 2, 6)
    )
    assert [report.active for report in run] == 3 * [128] + 3 * [64 if settings else 65]


@pytest.mark.parametrize("method", ["kc-crd", "kc-wcord"])
def test_contrasts_survive_a_stage_that_holds_a_single_class(method):
    dataset = tiny_dataset(40)
    labels = torch.tensor(4 * [0] + 36 * [1])
    dataset = replace(dataset, train_labels=labels)
    student, _ = tiny_networks()
    teacher = ConvNet((4, 5, 6), num_classes=3, in_channels=1)
    distiller = create_distiller(method, student, teacher, image_shape=(1, 8, 8), seed=0, negatives=6, size=4)
    condenser = Condenser(40, 0.1, 2, 6)
    run = distill(student, dataset, teacher, recipe=Recipe(epochs=6, batch_size=8), distiller=distiller,
                  condenser=condenser)  # fmt: skip
    for report in run:
        if report.epoch == 2:  # the few of the second stage are all of the frequent class
            condenser.record(torch.arange(4), torch.zeros(4))
    assert set(labels[condenser.active].tolist()) == {1}
    assert len(run.reports) == 6


def test_contrasts_of_a_data_set_with_a_single_class_are_refused_at_once():
    dataset = replace(tiny_dataset(), train_labels=torch.zeros(48, dtype=torch.int64))
    teacher = ConvNet((4, 5, 6), num_classes=3, in_channels=1)
    with pytest.raises(ValueError, match="negatives need samples of at least two classes"):
        distill(tiny_networks()[0], dataset, teacher, recipe=Recipe(epochs=4, batch_size=10), distiller="crd")


# Images that are not square


@pytest.mark.parametrize("sides", [(32, 48), (48, 32)])
@pytest.mark.parametrize("method", [name for name in list_distillers() if name != "sskd"])
def test_every_method_but_one_takes_rectangles(method, sides):
    dataset = rectangles(sides)
    student, teacher = (create_model(name, 2, seed=0) for name in ("ShuffleV1", "resnet8x4"))
    settings = {"negatives": 2, "size": 4} if method in ("crd", "wcord") else {}
    if method == "fitnet":  # its regressor wants maps that fit
        student = create_model("resnet8x4", 2, seed=1)
    distiller = create_distiller(method, student, teacher, image_shape=(3, *sides), seed=0, **settings)
    recipe = Recipe(epochs=1, batch_size=4, learning_rate=1e-3)
    (report,) = distill(student, dataset, teacher, recipe=recipe, distiller=distiller)
    assert np.isfinite(report.train_loss)


def test_rectangles_that_cannot_be_rotated_are_refused_at_once():
    student, teacher = (create_model(name, 2, seed=0) for name in ("resnet8", "resnet8x4"))
    recipe = Recipe(epochs=4, batch_size=4)
    with pytest.raises(ValueError, match=r"images must be square to be rotated, got \[32, 48\] pixels"):
        distill(student, rectangles((32, 48)), teacher, recipe=recipe, distiller="kc-sskd")


def rectangles(sides: tuple[int, int]) -> Dataset:
    images = torch.randint(0, 256, (8, 3, *sides), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 2
    return Dataset("rectangles", images, labels, images, labels, ("a", "b"), (0.5,) * 3, (0.5,) * 3, 4)


# Numbers of other libraries

FLOATS = [np.float64, np.float32, lambda value: torch.tensor(value, dtype=torch.float64), np.array]
WHOLE = [np.int64, np.uint8, lambda value: torch.tensor(value), np.array]


@pytest.mark.parametrize("number", FLOATS, ids=["float64", "float32", "tensor", "array"])
@pytest.mark.parametrize("whole", WHOLE, ids=["int64", "uint8", "tensor", "array"])
def test_numbers_of_numpy_and_torch_are_taken_and_the_run_can_be_continued(tmp_path, number, whole):
    def run():
        recipe = {
            "learning_rate": number(0.0625), "momentum": number(0.5), "weight_decay": number(0.25),
            "milestones": np.array([0.5, 0.75]), "decay": number(0.5), "epochs": whole(4), "batch_size": whole(10),
            "drop_last": np.bool_(False),
        }  # fmt: skip
        condenser = Condenser(
            whole(48), number(0.5), whole(2), whole(4), alpha=number(0.25), mixing_strength=number(0.25),
            mixing=np.bool_(True), seed=whole(3),
        )  # fmt: skip
        distiller = KD(number(4.0), number(0.5), number(0.5))
        return distill(
            tiny_networks()[0], tiny_dataset(), tiny_networks()[1], recipe=Recipe(**recipe), condenser=condenser,
            distiller=distiller, seed=whole(1), checkpoint=tmp_path / "run.pt",
        )  # fmt: skip

    next(run())
    continued = run()
    assert continued.epoch == 1
    list(continued)
    plain = distill(
        tiny_networks()[0], tiny_dataset(), tiny_networks()[1],
        recipe=Recipe(4, 10, 0.0625, 0.5, 0.25, (0.5, 0.75), 0.5), distiller=KD(4.0, 0.5, 0.5), seed=1,
        condenser=Condenser(48, 0.5, 2, 4, alpha=0.25, mixing_strength=0.25, seed=3),
    )  # fmt: skip
    list(plain)
    assert same(outcome(continued), outcome(plain))


def test_whole_numbers_that_labels_give_are_taken():
    labels = torch.tensor([0, 1, 2])
    assert create_model("resnet8", labels.max() + 1, np.arange(3)[1]).fc.out_features == 3
    assert len(tiny_dataset().first(np.int32(2)).train_images) == 6


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True), 2.0, np.float64(2), "2", None, torch.ones(2)])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match="epochs must be a whole number, got "):
        Recipe(epochs=value)


@pytest.mark.parametrize("value", [True, np.True_, "0.1", None, 1j, np.array("x"), torch.ones(2)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="alpha must be a number, got "):
        Condenser(10, 0.5, 2, 4, alpha=value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"milestones": (0.5, 1.5)}, r"milestones must be in \[0, 1\], got 1.5"),
        ({"milestones": (150, 180)}, r"milestones must be in \[0, 1\], got 150"),
        ({"decay": 0}, r"decay must be in \(0, inf\), got 0"),
        ({"drop_last": "no"}, "drop_last must be True or False, got 'no'"),
        ({"augment": 1}, "augment must be True or False, got 1"),
    ],
)
def test_settings_of_a_recipe_are_checked(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Recipe(**settings)


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 24, 240])
def test_the_first_epoch_has_the_full_rate_however_short_the_run(epochs):
    recipe = Recipe(epochs=epochs)
    rates = [recipe.rate(epoch) for epoch in range(1, epochs + 1)]
    assert rates[0] == recipe.learning_rate
    assert rates == sorted(rates, reverse=True)


# Data sets


def parts(**changes) -> dict:
    dataset = tiny_dataset()
    return {name: changes.get(name, getattr(dataset, name)) for name in Dataset.__dataclass_fields__}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (127.5,)}, r"mean must be in [0, 1], got 127.5"),
        ({"std": (63.0,)}, r"std must be in (0, 1], got 63.0"),
        ({"std": (0.0,)}, r"std must be in (0, 1], got 0.0"),
        ({"std": (float("nan"),)}, r"std must be in (0, 1], got nan"),
        ({"mean": 0.5}, "mean must be a sequence with an entry for each, got 0.5"),
        ({"classes": "abc"}, "classes must be a sequence with an entry for each, got 'abc'"),
        ({"classes": ("one",)}, "classes must hold at least two names, got 1"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"padding": 1.5}, "padding must be a whole number, got 1.5"),
        ({"train_images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8)}, "train_images must hold at least one image"),
        ({"test_images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8)}, "test_images must hold at least one image"),
        ({"train_images": [[1]]}, "train_images must be a tensor or a NumPy array, got list"),
        ({"train_labels": np.array(["a"] * 48)}, "train_labels must hold whole numbers that torch knows"),
        ({"train_labels": np.arange(48) % 3 * 1.0}, "train_labels must be int64 [48], got torch.float64 [48]"),
    ],
)
def test_a_data_set_that_cannot_work_is_refused_with_the_reason(changes, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        Dataset(**parts(**changes))


def test_a_data_set_takes_arrays_and_lists_and_copies_arrays():
    plain = tiny_dataset()
    arrays = {name: getattr(plain, name).numpy().copy() for name in ("train_images", "train_labels", "test_images",
                                                                     "test_labels")}  # fmt: skip
    dataset = Dataset(**parts(**arrays, mean=[np.float64(0.2)], std=[0.3], classes=["rows", "columns", "both"]))
    arrays["train_images"][:] = 0
    assert torch.equal(dataset.train_images, plain.train_images)
    assert (dataset.mean, dataset.std, dataset.classes) == (plain.mean, plain.std, plain.classes)
    assert next(tiny_run(dataset=dataset)).train_loss == next(tiny_run()).train_loss


# Networks


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_of_another_width_is_refused_at_once(role, classes):
    wrong = ConvNet((3, 4, 5), num_classes=classes, in_channels=1)
    student, teacher = tiny_networks()
    pair = (wrong, teacher) if role == "student" else (student, wrong)
    with pytest.raises(ValueError, match=f"{role} tells apart {classes} classes, but tiny has 3; create it with num_"):
        distill(pair[0], tiny_dataset(), pair[1], recipe=Recipe(epochs=2, batch_size=10))


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda logits: (logits, logits), "a tuple"),
        (lambda logits: {"logits": logits}, "a dict"),
        (lambda logits: logits[0], r"a tensor \[3\]"),
        (lambda logits: None, "a NoneType"),
    ],
    ids=["pair", "dict", "one row", "nothing"],
)
def test_an_answer_that_is_no_logits_is_refused_at_once(role, answer, seen):
    student, teacher = tiny_networks()
    pair = (Answering(answer), teacher) if role == "student" else (student, Answering(answer))
    with pytest.raises(ValueError, match=f"{role} .*(must answer images with logits .* got {seen}|has no attribute)"):
        distill(pair[0], tiny_dataset(), pair[1], recipe=Recipe(epochs=2, batch_size=10))


def test_a_network_that_does_not_take_the_images_is_refused_at_once_with_the_reason():
    student = ConvNet((3, 4, 5), num_classes=3, in_channels=3)
    with pytest.raises(ValueError, match=r"student cannot be trained on a batch of 2 images: .*channels"):
        distill(student, tiny_dataset(), tiny_networks()[1], recipe=Recipe(epochs=2, batch_size=10))


def test_student_and_teacher_are_two_networks():
    student, teacher = tiny_networks()
    with pytest.raises(ValueError, match="student and teacher must be two networks, got the same one twice"):
        distill(student, tiny_dataset(), student)
    with pytest.raises(ValueError, match="student and teacher must be two networks, got the same one twice"):
        distill(student, tiny_dataset(), Knowledge(student, tiny_dataset()))
    student.fc, teacher.fc = nn.Linear(5, 3), nn.Linear(32, 3)
    teacher.fc.bias = student.fc.bias
    with pytest.raises(ValueError, match="student and teacher share 1 parameters"):
        distill(student, tiny_dataset(), teacher)


def test_a_student_that_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"student must be a network, a torch.nn.Module, got str"):
        distill("resnet8", tiny_dataset())


@pytest.mark.parametrize("loss", [torch.tensor(1.0), torch.ones(3, requires_grad=True), 1.0])
def test_a_loss_that_cannot_be_made_smaller_is_refused_at_once(loss):
    with pytest.raises(ValueError, match="Constant must give a scalar loss that depends on the student, got "):
        tiny_run(distiller=Constant(loss))


def test_the_rehearsal_leaves_no_trace():
    student, teacher = tiny_networks()
    before, mode = {name: value.clone() for name, value in student.state_dict().items()}, student.training
    state = torch.get_rng_state()
    distill(student, tiny_dataset(), teacher, recipe=Recipe(epochs=2, batch_size=10))
    assert same(dict(student.state_dict()), before)
    assert student.training == mode
    assert all(parameter.grad is None for parameter in student.parameters())
    assert torch.equal(torch.get_rng_state(), state)


# A condenser in a loop of one's own


def own_loop(observed, epochs: int = 4, **settings) -> list[str]:
    """What a condenser of 40 samples warns about if only some of each batch of ten are observed."""
    condenser = Condenser(40, 0.5, 2, epochs, **settings)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(epochs):
            for ids in condenser.active[torch.randperm(len(condenser.active))].split(10):
                if len(chosen := observed(ids)):
                    condenser.observe(chosen, torch.randn(len(chosen), 3))
            condenser.end_epoch()
    return [str(one.message) for one in said]


@pytest.mark.parametrize(
    ("observed", "seen"),
    [(lambda ids: ids[:0], "all 40 active samples"), (lambda ids: ids[ids < 20], "20 of 40 active samples")],
    ids=["forgotten", "one process of two"],
)
def test_a_condenser_that_did_not_see_its_samples_says_so_at_the_event(observed, seen):
    (said,) = own_loop(observed)
    assert said.startswith(f"{seen} were not observed in stage 0")
    assert own_loop(observed, selection="random") == []  # which does not look at what was observed


@pytest.mark.parametrize("observed", [lambda ids: ids, lambda ids: ids[: len(ids) - 1]], ids=["all", "incomplete"])
def test_a_condenser_that_saw_enough_says_nothing(observed):
    assert own_loop(observed) == []


def test_the_loop_with_incomplete_batches_left_out_says_nothing(recwarn):
    list(tiny_run("paper", recipe={"drop_last": True}))
    assert not recwarn.list


def test_a_condenser_that_has_recorded_values_is_refused():
    condenser = Condenser(48, 0.6, 2, 4)
    condenser.observe(torch.arange(3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="make a new one for every run"):
        tiny_run(condenser=condenser)
