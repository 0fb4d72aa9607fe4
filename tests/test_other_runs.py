"""A run never goes on from the checkpoint of another one, and leaves that file as it is."""

from dataclasses import replace

import pytest
import torch

from kcd_teach.distillers import KD
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
