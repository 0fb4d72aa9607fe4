"""Learn Knowledge Condensation Distillation by running it (Li et al., ECCV 2022, arXiv 2207.05409).

- :mod:`kcd_teach.datasets`: which images?
- :mod:`kcd_teach.views`, :mod:`kcd_teach.views`: which view of them, and which come next?
- :mod:`kcd_teach.models`: who teaches, who learns?
- :mod:`kcd_teach.knowledge`, :mod:`kcd_teach.knowledge`: what does the teacher say, and where is it kept?
- :mod:`kcd_teach.recipe`: on which device, in which precision?
- :mod:`kcd_teach.distillers`: how is knowledge moved?
- :mod:`kcd_teach.distillers.base`: what do a method and the training loop say to each other?
- :mod:`kcd_teach.condensation`: which knowledge moves? (this is KCD)
- :mod:`kcd_teach.training`: the loop in which they meet
- :mod:`kcd_teach.figures`, :mod:`kcd_teach.widgets`: what does it look like, and what if?
- :mod:`kcd_teach.lessons`: the exercises, predictions and pictures of each notebook, and the measurements it shows
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
