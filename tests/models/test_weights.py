import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from kcd_teach.datasets import find_data_file, load_dataset
from kcd_teach.knowledge import accuracy
from kcd_teach.models import TEACHER, create_model, load_checkpoint, load_teacher, save_weights
from tests.tiny import same


@pytest.fixture
def network():
    model = create_model("mini_convnet", num_classes=4, in_channels=1, seed=0).train()
    model(torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)))  # fills the statistics
    return model


def other(**settings):
    return create_model(**{"name": "mini_convnet", "num_classes": 4, "in_channels": 1, "seed": 9, **settings})


def test_what_is_saved_is_loaded_bit_for_bit(network, tmp_path):
    save_weights(network, tmp_path / "w.npz")
    loaded = other()
    load_checkpoint(loaded, tmp_path / "w.npz")
    assert same(loaded.state_dict(), network.state_dict())
    assert loaded.block1[1].num_batches_tracked == 1


@pytest.mark.parametrize(
    "settings",
    [{"name": "mini_resnet8"}, {"num_classes": 5}, {"in_channels": 3}],
    ids=["network", "classes", "channels"],
)
def test_weights_of_another_network_are_refused(network, tmp_path, settings):
    save_weights(network, tmp_path / "w.npz")
    model = other(**settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"w\.npz holds another network: \d+ entries differ, first (block1|fc)"):
        load_checkpoint(model, tmp_path / "w.npz")
    assert same(dict(model.state_dict()), before)


def test_pickled_weights_are_refused_and_do_not_run(network, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "mark"),)

    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    np.savez(tmp_path / "w.npz", **{**arrays, "fc.bias": np.array([Evil()] * 4, dtype=object)})
    with pytest.raises(ValueError, match=r"w\.npz holds pickled objects, which could run code; refused"):
        load_checkpoint(other(), tmp_path / "w.npz")
    assert not (tmp_path / "mark").exists()


def test_a_truncated_file_is_refused(network, tmp_path):
    save_weights(network, tmp_path / "w.npz")
    whole = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"w\.npz is truncated or not an \.npz file"):
        load_checkpoint(other(), tmp_path / "w.npz")


def test_the_teacher_of_the_course_is_as_good_as_stored():
    dataset = load_dataset("fashion-mnist-mini")
    teacher = load_teacher(dataset)
    assert not teacher.training
    stored = json.loads(find_data_file("results/teacher.jsonl").read_text().splitlines()[0])
    measured = accuracy(teacher, dataset)
    assert measured == pytest.approx(stored["test_accuracy"][-1], abs=0.002)  # another machine may round otherwise
    assert measured > 0.85
    assert find_data_file(f"{TEACHER}.npz") == Path(find_data_file("fashion-mnist-mini.npz")).with_name(
        f"{TEACHER}.npz"
    )
