"""A run never goes on from the checkpoint of another one, and leaves that file as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kcd_teach import checkpoints
from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import KD, create_distiller, list_distillers
from kcd_teach.fingerprints import fingerprint_of, make_of
from kcd_teach.knowledge import Knowledge
from kcd_teach.models.convnet import ConvNet
from kcd_teach.training import Recipe, distill
from tests.tiny import tiny_dataset, tiny_networks, tiny_run


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "its seed is 0, here it is 1"),
        ({"recipe": {"batch_size": 12}}, "its recipe is .*'batch_size': 10.*, here it is .*12"),
        ({"distiller": KD(2.0)}, r"its distiller is KD\(temperature=4.0.*\), here it is KD\(temperature=2.0"),
        ({"preset": "released"}, "its condenser is .*'preset': 'paper'.*, here it is .*'preset': 'released'"),
        ({"preset": None}, "its condenser is .*'preset': 'paper'.*, here it is .*'preset': 'none'"),
        (
            {"dataset": tiny_dataset(num_train=30), "preset": None},
            "its dataset is tiny, 48 images, here it is tiny, 30 images",
        ),
    ],
    ids=["seed", "recipe", "distiller", "preset", "no condenser", "data set"],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, other, message):
    next(tiny_run("paper", checkpoint=tmp_path / "run.pt"))
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(ValueError, match=f"the checkpoint belongs to another run: {message}"):
        tiny_run(**{"preset": "paper", **other}, checkpoint=tmp_path / "run.pt")
    assert (tmp_path / "run.pt").read_bytes() == before


def test_the_checkpoint_of_other_images_is_refused(tmp_path):
    dataset = tiny_dataset()
    next(tiny_run(checkpoint=tmp_path / "run.pt"))
    before = (tmp_path / "run.pt").read_bytes()
    changed = dataset.train_images.clone()
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(ValueError, match=r"belongs to another run: its hash of the images is [0-9a-f]{64}, here it is"):
        tiny_run(dataset=replace(dataset, train_images=changed), checkpoint=tmp_path / "run.pt")
    assert (tmp_path / "run.pt").read_bytes() == before


def test_the_checkpoint_of_another_teacher_is_refused(tmp_path):
    next(tiny_run(checkpoint=tmp_path / "run.pt"))
    with pytest.raises(
        ValueError, match=r"belongs to another run: its hash of the teacher is [0-9a-f]{64}, here it is"
    ):
        tiny_run(teacher=tiny_networks(seed=1)[1], checkpoint=tmp_path / "run.pt")


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    next(tiny_run(None, checkpoint=tmp_path / "run.pt"))
    _, other = tiny_networks()
    with pytest.raises(ValueError, match="its student is ConvNet, here it is ResNet"):
        distill(
            other, tiny_dataset(), tiny_networks()[1], recipe=Recipe(epochs=4, batch_size=10),
            checkpoint=tmp_path / "run.pt",
        )  # fmt: skip


def test_a_file_of_weights_is_not_taken_for_a_checkpoint(tmp_path):
    torch.save({"model": tiny_networks()[0].state_dict()}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="this is not the checkpoint of a run; it lacks condenser, config"):
        tiny_run(checkpoint=tmp_path / "run.pt")


# What looks the same and is not


def layers(activation: nn.Module) -> nn.Sequential:
    """A network whose weights say nothing about its activation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), activation, nn.Linear(9, 3))


class Scaled(nn.Module):
    """A network that depends on a plain attribute, which neither weights nor code nor printing it show."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.network, self.scale = layers(nn.ReLU()), scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * self.network(images)


class Halved(KD):
    def forward(self, batch, student, teacher):
        return super().forward(batch, student, teacher) / 2


class Doubled(KD):
    def forward(self, batch, student, teacher):
        return super().forward(batch, student, teacher) * 2


Doubled.__name__ = Doubled.__qualname__ = "Halved"  # two cells of a notebook that define a class of one name


class Lazy(Condenser):
    def observe(self, indices, student_logits):
        super().observe(indices, student_logits.float().sigmoid())


def run_of(file, student=None, teacher=None, **settings):
    """A run of two epochs, saved to a file."""
    settings = {"recipe": Recipe(epochs=2, batch_size=10, learning_rate=0.01), "seed": 0, **settings}
    dataset = settings.pop("dataset", tiny_dataset())
    return distill(student or layers(nn.ReLU()), dataset, teacher or tiny_networks()[1], checkpoint=file, **settings)


def relabelled() -> Dataset:
    dataset = tiny_dataset()
    return replace(dataset, train_labels=dataset.train_labels.flip(0))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"student": lambda: layers(nn.ReLU())}, {"student": lambda: layers(nn.Tanh())}, "hash of the student's code"),
        ({"student": lambda: Scaled(1.0)}, {"student": lambda: Scaled(2.0)}, "its student has the weights of this one"),
        ({"teacher": lambda: layers(nn.ReLU())}, {"teacher": lambda: layers(nn.Tanh())}, "its teacher has the weights"),
        ({"teacher": lambda: Scaled(1.0)}, {"teacher": lambda: Scaled(1.1)}, "its teacher has the weights of this one"),
        ({"distiller": Halved}, {"distiller": Doubled}, "hash of the distiller's code"),
        (
            {"condenser": lambda: Condenser(48, 0.6, 2, 2)},
            {"condenser": lambda: Lazy(48, 0.6, 2, 2)},
            "hash of the condenser's code",
        ),
        ({}, {"dataset": relabelled}, "hash of the images"),
        ({}, {"dataset": lambda: replace(tiny_dataset(), mean=(0.21,))}, "hash of the images"),
        (
            {"teacher": lambda: Knowledge(tiny_networks()[1], tiny_dataset())},
            {"teacher": lambda: Knowledge(tiny_networks()[1], tiny_dataset(), "memory")},
            "precision of the teacher",
        ),
        ({}, {"recipe": lambda: Recipe(epochs=2, batch_size=10, learning_rate=0.01, precision="bfloat16")}, "its recipe"),
    ],
    ids=["layers", "attribute", "teacher's layers", "teacher's attribute", "loss", "condenser", "labels",
         "normalisation", "rounded answers", "precision"],
)  # fmt: skip
def test_a_checkpoint_goes_on_only_as_what_it_was(tmp_path, one, other, message):
    def run(parts):
        return run_of(tmp_path / "run.pt", **{name: make() for name, make in parts.items()})

    next(run(one))
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(ValueError, match=f"the checkpoint belongs to another run: .*{message}"):
        run({**one, **other})
    assert (tmp_path / "run.pt").read_bytes() == before
    assert run(one).epoch == 1


def test_a_checkpoint_of_other_code_is_refused(tmp_path, monkeypatch):
    next(run_of(tmp_path / "run.pt"))
    monkeypatch.setattr(checkpoints, "code_fingerprint", lambda: "other")
    with pytest.raises(ValueError, match=r"its hash of this package's code is [0-9a-f]{16}, here it is other"):
        run_of(tmp_path / "run.pt")


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset, teacher: replace(dataset, train_images=dataset.train_images.flip(0)),
        lambda dataset, teacher: replace(dataset, mean=(0.21,)),
        lambda dataset, teacher: replace(dataset, padding=2),
        lambda dataset, teacher: dataset.train_images[3].zero_(),
        lambda dataset, teacher: nn.init.zeros_(teacher.fc.bias),
        lambda dataset, teacher: setattr(teacher, "fc", nn.Sequential(teacher.fc, nn.Tanh())),
    ],
    ids=["images", "mean", "padding", "images in place", "weights in place", "another layer"],
)
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_stored_answers_are_used_only_for_what_they_were_given_to(tmp_path, store, change):
    dataset, teacher = tiny_dataset(), tiny_networks()[1]
    nn.init.normal_(teacher.fc.bias)
    knowledge = Knowledge(teacher, dataset, store, folder=tmp_path if store == "disk" else None)
    next(run_of(None, teacher=knowledge, dataset=dataset))
    changed = change(dataset, teacher)
    dataset = changed if isinstance(changed, Dataset) else dataset
    with pytest.raises(
        ValueError, match="teacher holds stored answers of other weights, or to other images or another"
    ):
        run_of(None, teacher=knowledge, dataset=dataset)


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_stored_answers_are_used_for_the_same_images_with_other_labels(tmp_path, store):
    knowledge = Knowledge(tiny_networks()[1], tiny_dataset(), store, folder=tmp_path if store == "disk" else None)
    assert len(list(run_of(None, teacher=knowledge, dataset=relabelled()))) == 2


def test_answers_that_are_not_stored_are_right_for_any_images():
    knowledge = Knowledge(tiny_networks()[1], tiny_dataset())
    other = replace(tiny_dataset(), train_images=tiny_dataset().train_images.flip(0))
    (ours,), (theirs,) = (
        list(run_of(None, teacher=teacher, dataset=other, recipe=Recipe(epochs=1, batch_size=10)))
        for teacher in (knowledge, Knowledge(tiny_networks()[1], other))
    )
    assert ours.train_loss == theirs.train_loss


def test_answers_on_disk_are_found_again_by_their_teacher_alone(tmp_path):
    def answers(teacher: nn.Module) -> Knowledge:
        knowledge = Knowledge(teacher, tiny_dataset(), "disk", folder=tmp_path)
        list(run_of(None, teacher=knowledge))
        return knowledge

    files = [answers(layers(activation))._store.path for activation in (nn.ReLU(), nn.Tanh(), nn.ReLU())]
    assert files[0] == files[2] != files[1]
    answers(Scaled(1.0))
    answers(Scaled(1.0))
    with pytest.raises(ValueError, match=r"\.npy holds answers of another teacher with the same weights and layers"):
        answers(Scaled(1.5))


@pytest.mark.parametrize("method", list_distillers())
def test_a_method_that_has_learned_is_not_used_for_another_run(method):
    student, teacher = tiny_networks()[0], ConvNet((4, 5, 6), num_classes=3, in_channels=1)
    settings = {"negatives": 6, "size": 4} if method in ("crd", "wcord") else {}
    distiller = create_distiller(method, student, teacher, image_shape=(1, 8, 8), seed=0, **settings)
    next(run_of(None, student, teacher, distiller=distiller))
    if distiller.state_dict():
        with pytest.raises(
            ValueError, match=f"distiller {type(distiller).__name__} has learned in another run; make a"
        ):
            run_of(None, tiny_networks()[0], teacher, distiller=distiller)
    else:
        assert len(list(run_of(None, tiny_networks()[0], teacher, distiller=distiller))) == 2


def test_a_state_that_could_not_be_read_again_is_refused_before_the_first_batch(tmp_path):
    class Counting(KD):
        def get_extra_state(self):
            return np.float64(1.0)

        def set_extra_state(self, state):
            pass

    with pytest.raises(ValueError, match="a part of this run keeps in its state_dict what is neither tensor nor plain"):
        run_of(tmp_path / "run.pt", distiller=Counting())


def test_a_data_set_that_was_changed_in_place_has_another_fingerprint():
    dataset = tiny_dataset()
    before = fingerprint_of(dataset)
    dataset.train_labels[0] = 2
    assert fingerprint_of(dataset) != before


def test_a_network_is_known_by_its_code_where_there_is_no_source():
    def made(body: str) -> nn.Module:
        space: dict = {"nn": nn}
        exec(f"class Net(nn.Linear):\n def forward(self, x):\n  return {body}", space)
        return space["Net"](2, 2)

    assert make_of(made("x + 1")) == make_of(made("x + 1"))
    assert make_of(made("x + 1")) != make_of(made("x + 2"))
    assert make_of(made("x.sin()")) != make_of(made("x.cos()"))
