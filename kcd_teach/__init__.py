"""Learn Knowledge Condensation Distillation by running it (Li et al., ECCV 2022, arXiv 2207.05409).

- :mod:`kcd_teach.condensation`: which samples are distilled, decided stage by stage (this is KCD)
- :mod:`kcd_teach.training`: the loop in which all parts meet
- :mod:`kcd_teach.distillers`: the methods of distillation; :mod:`~kcd_teach.distillers.base` is their common frame
- :mod:`kcd_teach.models`: the networks
- :mod:`kcd_teach.datasets`, :mod:`kcd_teach.views`: the images, their crops, flips and mixtures, and batches of them
- :mod:`kcd_teach.knowledge`: the teacher's outputs, computed or cached
- :mod:`kcd_teach.recipe`: the optimiser, the device and the precision
- :mod:`kcd_teach.checkpoints`: saving and resuming
- :mod:`kcd_teach.figures`, :mod:`kcd_teach.widgets`, :mod:`kcd_teach.lessons`: the pictures, instruments and exercises of
  the course
- :mod:`kcd_teach.benchmark`: many runs, their records and tables
"""

__version__ = "0.1.0"

from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset, load_dataset
from kcd_teach.distillers import create_distiller, kd_loss, list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model, list_models, load_teacher
from kcd_teach.training import Recipe, distill

__all__ = [
    "Condenser",
    "Dataset",
    "Knowledge",
    "Recipe",
    "create_distiller",
    "create_model",
    "distill",
    "kd_loss",
    "list_distillers",
    "list_models",
    "load_dataset",
    "load_teacher",
]
