"""Distillation as the public code does it, to be compared with: our own reading of its way, and torchdistill itself.

Both show PIL images through torchvision's transforms and two loader workers, in float32 and batches of 64.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms

from kcd_teach.datasets import Dataset

BATCH = 64


class PILImages(torch.utils.data.Dataset):
    """Training images one by one, each turned into PIL, cropped, flipped, turned into a tensor and normalised."""

    def __init__(self, dataset: Dataset, with_ids: bool) -> None:
        self.images = dataset.train_images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels, self.with_ids = dataset.train_labels.tolist(), with_ids
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(self.images.shape[1], padding=dataset.padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean, dataset.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple:
        image = self.transform(Image.fromarray(np.squeeze(self.images[index])))
        return (image, self.labels[index], index) if self.with_ids else (image, self.labels[index])


class Meter:
    """A running mean."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, value: float, count: int) -> None:
        self.total, self.count = self.total + value * count, self.count + count


def benchmark_style(student: nn.Module, teacher: nn.Module, dataset: Dataset) -> Callable[[], float]:
    """KD in the style of the benchmark's code: call the result for an epoch and its mean loss.

    Loader workers are started once and kept, which favours this loop: the public code starts them anew in every epoch.
    """
    images = PILImages(dataset, with_ids=True)
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    device = dataset.train_images.device
    student, teacher = student.to(device), teacher.to(device)
    return lambda: benchmark_style_epoch(student, teacher, loader, device)


def benchmark_style_epoch(student: nn.Module, teacher: nn.Module, loader: DataLoader, device: torch.device) -> float:
    """One epoch; features are returned although KD ignores them, loss and accuracies are read after every batch."""
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    losses, top1, top5 = Meter(), Meter(), Meter()
    student.train()
    teacher.eval()
    for images, labels, _ in loader:
        images, labels = images.to(device), labels.to(device)
        logits, _ = student(images.float(), return_features=True)
        with torch.no_grad():
            taught, _ = teacher(images, return_features=True)
        softened = F.kl_div(F.log_softmax(logits / 4, dim=1), F.softmax(taught / 4, dim=1), reduction="sum")
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * softened * 16 / len(images)
        ranked = logits.topk(5, dim=1).indices == labels[:, None]
        losses.update(loss.item(), len(images))
        top1.update(ranked[:, :1].sum().item() / len(images), len(images))
        top5.update(ranked.sum().item() / len(images), len(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses.total / losses.count


def torchdistill_style(student: nn.Module, teacher: nn.Module, dataset: Dataset) -> Callable[[], float]:
    """KD by torchdistill's own training box: call the result for an epoch and its last loss."""
    from torchdistill.core.distillation import get_distillation_box

    logging.getLogger("torchdistill").setLevel(logging.ERROR)
    loader = {
        "dataset_id": "train", "sampler": {"class_or_func": RandomSampler},
        "kwargs": {"batch_size": BATCH, "num_workers": 2, "persistent_workers": True},
    }  # fmt: skip
    criterion = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".", "student_module_io": "output", "teacher_module_path": ".",
            "teacher_module_io": "output", "temperature": 4.0, "alpha": 0.1, "beta": 0.9,
        },
    }  # fmt: skip
    weighted = {"criterion": criterion, "weight": 1.0}
    config = {
        "num_epochs": 1, "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False, "sequential": []},
        "student": {"forward_proc": "forward_batch_only", "sequential": []},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": weighted}}},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}},
    }  # fmt: skip
    data = {"train": PILImages(dataset, with_ids=False)}
    device = dataset.train_images.device
    student, teacher = student.to(device), teacher.to(device)
    box = get_distillation_box(teacher, student, data, config, device, None, False, 1)

    def epoch() -> float:
        loss = torch.zeros(())
        box.pre_epoch_process(epoch=0)
        for images, labels, extra in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(images.to(device), labels.to(device), extra)
            box.post_forward_process(loss=loss)
        return loss.item()

    return epoch
