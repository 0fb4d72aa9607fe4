import torch

from kcd_teach.condensation import Condenser
from kcd_teach.training import Recipe, distill
from tests.tiny import tiny_dataset, tiny_networks


def test_ratio_one_is_bit_identical_to_no_condenser():
    weights = []
    for condenser in (None, Condenser(48, ratio=1.0, stages=3, epochs=3)):
        student, teacher = tiny_networks()
        list(distill(student, tiny_dataset(), teacher, recipe=Recipe(epochs=3, batch_size=10), condenser=condenser))
        weights.append(student.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
