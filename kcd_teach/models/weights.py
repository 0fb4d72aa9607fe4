"""Where do trained weights come from? ``.npz`` files of plain arrays, which cannot hold code."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from kcd_teach.datasets import Dataset, find_data_file, read_npz, write_npz

TEACHER = "mini_resnet8x3"
"""The teacher of the course; ``data/mini_resnet8x3.npz`` holds its weights for the bundled images."""


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's parameters and statistics to one compressed ``.npz``, whole or not at all."""
    write_npz(path, {name: value.cpu().numpy() for name, value in model.state_dict().items()}, compress=True)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_weights` wrote; raises ValueError if it belongs to another network."""
    arrays = read_npz(path, required=())
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: value.shape for name, value in arrays.items()}
    if ours != theirs:
        differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise ValueError(f"{path} holds another network: {len(differ)} entries differ, first {', '.join(differ[:3])}")
    model.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()})


def load_teacher(dataset: Dataset) -> nn.Module:
    """The course's teacher for the bundled images, trained, in eval mode.

    Its weights were made by ``python -m kcd_teach.studies teacher``, which also stored its measured accuracy.
    """
    from kcd_teach.models import create_model

    teacher = create_model(TEACHER, num_classes=len(dataset.classes), in_channels=dataset.in_channels, seed=0)
    load_weights(teacher, find_data_file(f"{TEACHER}.npz"))
    return teacher.eval()
