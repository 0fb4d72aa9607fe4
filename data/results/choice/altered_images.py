"""The bundled images, altered in one respect each: data sets of the studies wrong-labels, rare-class and duplicates.

Load it with ``kcd-teach bench --plan wrong-labels --with data/results/choice/altered_images.py``. They begin
with the first 200 images of every class, as the other studies do; the teacher is the one of the course, which was trained on
all 10,000 unaltered images.
"""

import dataclasses

import torch
from torch import Tensor

from kcd_teach.datasets import Dataset, load_dataset, register_dataset

WRONG = 0.1
"""Share of the training labels that are wrong."""
RARE_CLASS, RARE_SHARE = 3, 0.1
"""The class, dresses, of which few images are left, and the share of the usual 200 that is left."""
PER_CLASS = 200


def chosen(dataset: Dataset, ids: Tensor, labels: Tensor | None = None) -> Dataset:
    """A data set with these training images, in this order."""
    labels = dataset.train_labels if labels is None else labels
    return dataclasses.replace(dataset, train_images=dataset.train_images[ids], train_labels=labels[ids])


def usual_ids(dataset: Dataset) -> Tensor:
    """Ids of the images that are taken before anything is altered, ascending."""
    return torch.cat([first_of(dataset.train_labels, c, PER_CLASS) for c in range(len(dataset.classes))]).sort().values


def first_of(labels: Tensor, label: int, count: int) -> Tensor:
    """Ids of the first images of a class."""
    return torch.nonzero(labels == label).flatten()[:count]


@register_dataset("fashion-wrong-labels")
def wrong_labels(root: object = None) -> Dataset:
    """Bundled images of which one label in ten is another class, drawn at random."""
    dataset = load_dataset("fashion-mnist-mini")
    labels, classes = dataset.train_labels, len(dataset.classes)
    generator = torch.Generator().manual_seed(0)
    ids = usual_ids(dataset)
    wrong = ids[torch.randperm(len(ids), generator=generator)[: round(WRONG * len(ids))]]
    shift = torch.randint(1, classes, (len(wrong),), generator=generator)
    mixed_up = labels.clone()
    mixed_up[wrong] = (labels[wrong] + shift) % classes
    return chosen(dataset, ids, mixed_up)


@register_dataset("fashion-rare-class")
def rare_class(root: object = None) -> Dataset:
    """Bundled images with a tenth of the usual number of dresses."""
    dataset = load_dataset("fashion-mnist-mini")
    counts = [PER_CLASS] * len(dataset.classes)
    counts[RARE_CLASS] = round(RARE_SHARE * PER_CLASS)
    ids = torch.cat([first_of(dataset.train_labels, label, count) for label, count in enumerate(counts)])
    return chosen(dataset, ids.sort().values)


@register_dataset("fashion-duplicates")
def duplicates(root: object = None) -> Dataset:
    """Bundled images, half as many, each of them twice."""
    dataset = load_dataset("fashion-mnist-mini")
    firsts = [first_of(dataset.train_labels, label, PER_CLASS // 2) for label in range(len(dataset.classes))]
    ids = torch.cat(firsts).sort().values
    return chosen(dataset, torch.cat([ids, ids]))
