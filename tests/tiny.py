"""A data set and a pair of networks so small that a whole run takes a fraction of a second."""

import torch
from torch import nn

from kcd_teach.datasets import Dataset
from kcd_teach.models import create_model
from kcd_teach.models.convnet import ConvNet


def tiny_dataset(num_train: int = 48, num_test: int = 12, side: int = 8) -> Dataset:
    """Three classes of noisy bars: rows, columns, both."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % 3
        images = torch.randint(0, 90, (count, 1, side, side), generator=generator)
        images[labels != 1, :, side // 2, :] += 150
        images[labels != 0, :, :, side // 2] += 100
        return images.clamp(max=255).to(torch.uint8), labels

    train, test = split(num_train), split(num_test)
    return Dataset("tiny", *train, *test, ("rows", "columns", "both"), (0.2,), (0.3,), padding=1)


def tiny_networks(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A student and a teacher for :func:`tiny_dataset`, with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = ConvNet((3, 4, 5), num_classes=3, in_channels=1)
    return student, create_model("mini_resnet8", num_classes=3, in_channels=1, seed=seed + 1)
