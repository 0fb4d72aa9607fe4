"""Two value measures of the studies ranking-2k and ranking-10k, which the library does not know by itself.

Load it with ``kcd-teach --with data/results/choice/ranking_measures.py bench --plan ranking-2k``. It is also an example of
how a measure of one's own enters every table and figure: one file, and a call of ``register_value`` for each.
"""

import torch
from torch import Tensor

from kcd_teach.benchmark.settings import find_scale
from kcd_teach.condensation import prediction_entropy
from kcd_teach.condensation.value import ValueRecord, fixed_values, register_value
from kcd_teach.lessons.measurements import load_trace

COURSE = find_scale("course").but(per_class=1_000).images()
"""All 10,000 images; a study of 2,000 takes the first 200 of every class."""


def first_ids(per_class: int) -> Tensor:
    """Ids of the first images of every class among all images, ascending."""
    by_class = [torch.nonzero(COURSE.train_labels == c).flatten()[:per_class] for c in range(len(COURSE.classes))]
    return torch.cat(by_class).sort().values


def of_another_student(num_samples: int) -> Tensor:
    """Mean entropy of every image over a whole run of another student, mini_convnet with seed 0, on all images."""
    entropy = torch.from_numpy(load_trace("mini_convnet").entropy).double().mean(dim=0)
    return entropy[first_ids(num_samples // len(COURSE.classes))]


def entropy(student_logits: Tensor) -> Tensor:
    """Entropy of the student's prediction, with an equal share of every class."""
    return prediction_entropy(student_logits)


def within_class(record: ValueRecord) -> Tensor:
    """Rank every image by its mean entropy among those of its class: from 1 for the highest down to 0."""
    labels = COURSE.train_labels[first_ids(len(record.mean) // len(COURSE.classes))]
    value = torch.zeros_like(record.mean)
    for c in range(len(COURSE.classes)):
        ids = torch.nonzero(labels == c).flatten()
        # Equal means keep the order of their ids, as in the library's own ranking.
        order = torch.sort(record.mean[ids], descending=True, stable=True).indices
        value[ids[order]] = torch.linspace(1, 0, len(ids), dtype=torch.float64)
    return value


register_value("balanced", entropy, combine=within_class)
register_value("another-student-2k", fixed_values(of_another_student(2_000)))
register_value("another-student-10k", fixed_values(of_another_student(10_000)))
