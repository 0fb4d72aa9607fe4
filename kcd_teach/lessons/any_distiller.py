"""Lesson 07, any distiller: its questions and exercises, the networks it compares, and its pictures."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.benchmark import curves, negatives_of, open_study
from kcd_teach.benchmark.settings import TITLES
from kcd_teach.condensation import Condenser
from kcd_teach.datasets import Dataset, find_data_file, load_dataset
from kcd_teach.distillers import at, create_distiller, pkt, rkd, sp
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, respond
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.samples import image_rows, show_image
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, headline, new_figure, new_mosaic, styled
from kcd_teach.figures.table import Table
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question
from kcd_teach.models import count_parameters, create_model, load_teacher
from kcd_teach.recipe import Recipe
from kcd_teach.statistics import Interval, interval, paired_differences
from kcd_teach.training import EpochReport, distill
from kcd_teach.views import StageImages, batches
from kcd_teach.widgets import TrainingView
from kcd_teach.zoo import FAMILIES

QUESTIONS = {
    "relations": Question(
        "KD compares the predictions for one image at a time. Measured by the losses of SP, RKD and PKT, are the likenesses "
        "between images closer to the teacher's after a training with KD than in an untrained student?",
        ("all three are closer to the teacher's", "some are closer, some further away", "none is closer"),
    ),
    "slowest": Question(
        "Which method's training step takes longest, for this pair of networks on a CPU?",
        (
            "SSKD: four rotations of every image",
            "ReviewKD: convolutions of its own",
            "WCoRD: 655 negatives and optimal transport",
        ),
    ),
    "clear": Question(
        "You will see eleven differences, condensed minus plain, each with a 95 % interval. How many of the intervals leave out zero?",
        ("none or one", "two to five", "six or more"),
    ),
    "mean": Question(
        "Averaged over all eleven methods, what can be said of the condensed runs against the plain ones?",
        ("ahead by more than the noise", "behind by more than the noise", "not to be told apart"),
    ),
}

_TWO_IMAGES = torch.tensor(
    [
        [[[1.0, 2.0], [0.0, 3.0]], [[-1.0, 2.0], [4.0, 0.0]]],
        [[[0.0, 1.0], [1.0, 0.0]], [[2.0, 0.0], [-1.0, 2.0]]],
    ]
)

attention_map = Exercise(
    name="attention_map",
    task=(
        "Turn feature maps [B, C, H, W] into attention maps [B, H W]: the mean over the channels of the squares, "
        "flattened, each sample's map divided by its length (L2)."
    ),
    minutes=5,
    hints=(
        "Every position of a map has C numbers; their squares say how strongly the network reacts there.",
        "The channels are dimension 1. After the mean over them, flatten(1) makes one row of H W numbers per sample.",
        "F.normalize(rows, dim=1) divides every row by its length.",
    ),
    reference=at.attention,
    cases=((_TWO_IMAGES,), (torch.tensor([[[[3.0, -1.0]], [[1.0, -2.0]], [[0.0, 2.0]]]]),)),
    mistakes={
        "The values were not squared. Positive and negative reactions at one place then cancel, as if "
        "nothing were there.": lambda f: F.normalize(f.mean(dim=1).flatten(1), dim=1),
        "Absolute values were taken, not squares. AT has been written in both ways, but the weight of 1000 belongs to "
        "squares.": lambda f: F.normalize(f.abs().mean(dim=1).flatten(1), dim=1),
        "The mean was squared, not the values: squares come first, or reactions of opposite sign cancel.": lambda f: (
            F.normalize(f.mean(dim=1).pow(2).flatten(1), dim=1)
        ),
        "Each map was divided by its sum (L1), not by its length (L2). The loss compares vectors of unit length, and "
        "its weight of 1000 goes with that.": lambda f: F.normalize(f.pow(2).mean(dim=1).flatten(1), p=1, dim=1),
        "The length was taken over the batch (dim=0): what is said about one image would depend on "
        "the others.": lambda f: F.normalize(f.pow(2).mean(dim=1).flatten(1), dim=0),
        "The maps were not brought to unit length. A wide network would seem to look harder at everything, and "
        "the loss would compare sizes, not places.": lambda f: f.pow(2).mean(dim=1).flatten(1),
        "The mean ran over the places and left the channels. Two networks of different width could then "
        "not be compared.": lambda f: F.normalize(f.pow(2).flatten(2).mean(dim=2), dim=1),
    },
    solution="""
        from torch.nn import functional as F

        def attention_map(feature):
            strength = feature.pow(2).mean(dim=1)
            return F.normalize(strength.flatten(1), dim=1)
    """,
)


def _cosines(feature: Tensor) -> Tensor:
    unit = F.normalize(feature.flatten(1), dim=1)
    return unit @ unit.T


def _gram(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return flat @ flat.T


def _between_entries(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return F.normalize(flat.T @ flat, dim=1)


similarity_rows = Exercise(
    name="similarity_rows",
    task=(
        "Return which samples of a batch [B, ...] resemble each other: the table [B, B] of the inner products of all pairs "
        "of flattened features, then each row of that table divided by its length (L2)."
    ),
    minutes=5,
    hints=(
        "Flatten each sample to one row; the result has a row and a column per sample, whatever the feature's shape.",
        "For a matrix with one sample per row, all inner products at once are flat @ flat.T.",
        "F.normalize(products, dim=1) divides every row by its length; do it after the product.",
    ),
    reference=sp.similarities,
    cases=(
        (torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]]),),
        (torch.tensor([[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 0.0]]]),),
    ),
    mistakes={
        "Each row was divided by its sum (L1), not by its length (L2), as one published implementation does. The "
        "benchmark's weight of 3000 belongs to L2.": lambda f: F.normalize(_gram(f), p=1, dim=1),
        "These are cosines: the samples were brought to unit length before the product, not the rows after it. How "
        "strongly the network reacts to a sample is then lost.": _cosines,
        "The columns have unit length, not the rows. A row says how one sample sees all others.": lambda f: F.normalize(
            _gram(f), dim=0
        ),
        "The rows were not divided by their length. Networks whose features are larger would look more "
        "certain of every likeness.": _gram,
        "The entries of the features were compared, not the samples: the product is flat @ flat.T, one row "
        "per sample.": _between_entries,
    },
    solution="""
        from torch.nn import functional as F

        def similarity_rows(feature):
            flat = feature.flatten(1)
            return F.normalize(flat @ flat.T, dim=1)
    """,
)


two_blue_bars = Judgement(
    name="two_blue_bars",
    task=(
        'A colleague looks at the figure and writes: "Condensation helps SP and PKT, and makes no difference to the other '
        'nine methods." Which objections hold?'
    ),
    minutes=4,
    options={
        "two of eleven intervals can leave out zero by luck": (
            "Eleven looks at 5 % each are not one look, and with the correction for eleven neither of the two is left."
        ),
        "for SP the accuracies at the left overlap, so there is no gain": (
            "The bars at the left hold what both versions share, initial weights above all. The difference per seed is the sharper "
            "comparison, and it is the one at the right."
        ),
        "nine intervals that hold zero do not show that nine differences are zero": (
            "Most of them have room for half a point or more in either direction. What was not found is not thereby absent."
        ),
        "SP ahead and KD not: that alone does not show that SP gains more than KD": (
            "The difference of the two gains is a comparison of its own, with an interval that is wider than either."
        ),
        "with more seeds both gains would vanish": (
            "More seeds would make the intervals narrower. Nobody knows yet where their middles will be."
        ),
    },
    right="acd",
    hints=(
        "Take the sentence apart. It claims something of two methods, something of nine, and a difference between them.",
        "What would the figure look like if condensation did nothing to any of the eleven?",
        "Two of the five statements say more than the figure does.",
    ),
)

last_batch = Judgement(
    name="last_batch",
    task=(
        "Suppose the gains of SP and PKT are real. You suspect that they come from the larger last batches of the condensed runs, and not "
        "from the samples that were chosen. Which new runs could tell?"
    ),
    minutes=4,
    options={
        "plain and condensed runs that leave out the last, incomplete batch": (
            "Then all batches have one size. If the gain is still there, the last batch did not make it."
        ),
        "ten more seeds of the same runs": (
            "They would show more clearly that there is a gain, but both explanations predict one."
        ),
        "runs condensed to random subsets of the same sizes": (
            "They have the same last batches and no choice by value. If they gain as much, the choice is not the reason."
        ),
        "the same runs with a better teacher": "That changes both sides alike and leaves the last batches as they are.",
    },
    right="ac",
    hints=(
        "Two explanations compete. Look for runs in which they predict different results.",
        "Hold one of the two fixed, the batch sizes or the choice of samples, and change the other.",
        "Two of the four do that, each in its own direction.",
    ),
)

_PLACES = ("f0", "f1", "f2", "f3", "pooled", "logits")


COMPARED = {
    "kd": "softened predictions",
    "fitnet": "one feature map, after a learned regressor",
    "at": "where the maps are strong",
    "vid": "maps, as a Gaussian around a learned guess",
    "reviewkd": "maps, each fused with the deeper ones",
    "sp": "inner products between the samples of a batch",
    "rkd": "distances and angles between samples",
    "pkt": "which samples are neighbours",
    "crd": "own sample against others",
    "wcord": "the same, with a transport cost",
    "sskd": "rotated views, and what they are taken for",
}
"""What every method compares, in a few words."""


def _titled(name: str) -> str:
    """A method as the course writes it, with a star for the one whose form is recalled."""
    return TITLES[name] + ("*" if name == "wcord" else "")


FAMILY_ROWS = {family: [_titled(name) for name in names if name in TITLES] for family, names in FAMILIES.items()}
"""What a method compares -> its methods, as the course writes them."""


class Workbench:
    """A teacher, untrained students, 2,000 images and all eleven methods: everything that the notebook compares.

    Attributes:
        dataset: 200 training images of each class.
        teacher: the course's.
        blank: a student that is never trained.
        methods: by name, made for these two networks.
    """

    SHOE = 635
    """Position of the image that is looked at first."""

    def __init__(self) -> None:
        self.dataset = load_dataset("fashion-mnist-mini").first(per_class=200)
        self.teacher, self.blank = load_teacher(self.dataset), self.student()
        self.negatives = negatives_of(len(self.dataset.train_images))
        self.methods: dict[str, Distiller] = {}
        for name in COMPARED:
            settings: dict[str, Any] = {"image_shape": (1, 28, 28), "seed": 0}
            if name in ("crd", "wcord"):
                settings["negatives"] = self.negatives
            self.methods[name] = create_distiller(name, self.blank, self.teacher, **settings)

    def student(self) -> nn.Module:
        """A new student, the same every time."""
        return create_model("mini_resnet8", num_classes=10, in_channels=1, seed=0)

    def train(
        self, student: nn.Module, name: str, epochs: int, dataset: Dataset | None = None, **how: Any
    ) -> list[EpochReport]:
        """Distil to a student while its curve is drawn; ``how`` goes to :func:`kcd_teach.distill`, which needs no method for KD."""
        run = distill(student, dataset or self.dataset, self.teacher, recipe=Recipe(epochs=epochs), **how)
        return list(TrainingView().watch(run, name))

    def outputs(self, network: nn.Module, images: Tensor) -> Outputs:
        """Logits and features of a network for images, without a gradient."""
        with torch.no_grad():
            return respond(network.eval(), self.dataset.normalise(images), features=True)

    def tap_map(self, title: str) -> Picture:
        """Both networks for one image, and what every method compares."""
        shoe = self.dataset.train_images[[self.SHOE]]
        said, sizes = {}, {}
        for side, network in (("teacher", self.teacher), ("student", self.blank)):
            logits, features = self.outputs(network, shoe)
            maps = [feature[0].pow(2).mean(dim=0).numpy() for feature in features[:-1]]
            said[side] = [*maps, features[-1][0].numpy(), torch.softmax(logits[0] / 4, dim=0).numpy()]
            sizes[side] = [" × ".join(map(str, values.shape[1:])) for values in (*features, logits)]
        looks = {
            family: {_titled(name): (self.places(name), self._adds_kd(name)) for name in names if name in TITLES}
            for family, names in FAMILIES.items()
        }
        return tap_map(shoe[0].numpy(), said, sizes, looks, title)

    def _adds_kd(self, name: str) -> bool:
        return name != "kd" and self.methods[name].teacher_weight > 0

    def places(self, name: str) -> list[str]:
        """Names of the student's places at which the gradient of a method's own loss arrives: what it compares.

        The loss is that of the first eight training images, in as many views as the method requests.
        """
        if name == "kd":
            return ["logits"]
        method, samples = self.methods[name], torch.arange(8)
        ids = samples.repeat_interleave(method.needs.views)
        images = self.dataset.normalise(self.dataset.train_images[ids])
        ours = respond(self.blank.eval(), images, features=True)
        leaves = [values.detach().requires_grad_() for values in (*ours.features, ours.logits)]
        with torch.no_grad():
            preact = method.needs.teacher_preact
            taught = respond(network=self.teacher.eval(), images=images, features=True, preact=preact)
        contrasts = torch.stack([samples, 300 + samples, 600 + samples], dim=1)
        unmixed = torch.zeros(8, dtype=torch.bool)
        batch = Batch(samples, ids, self.dataset.train_labels[:8], unmixed, images, contrasts)
        method.begin(len(self.dataset.train_images))
        loss = method.method_loss(batch, Outputs(leaves[-1], leaves[:-1]), taught)
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        return [place for place, gradient in zip(_PLACES, gradients, strict=True) if gradient is not None]

    def predictions(self, networks: Mapping[str, nn.Module], title: str) -> Picture:
        """What networks predict for one image, softened at T = 4."""
        image, label = self.dataset.train_images[[self.SHOE]], int(self.dataset.train_labels[self.SHOE])
        said = {name: (self.outputs(net, image).logits[0] / 4).softmax(0).numpy() for name, net in networks.items()}
        return predictions_beside(image[0].numpy(), self.dataset.classes, label, said, title)

    def attention_maps(self, networks: Mapping[str, nn.Module], title: str) -> Picture:
        """Where networks react to three images, with AT's loss of each over 203 images."""
        labels = self.dataset.train_labels
        some = torch.tensor([self.SHOE, *(int((labels == c).nonzero()[2]) for c in (8, 3))])
        many = torch.cat([some, torch.arange(0, 2_000, 10)])
        taught = self.outputs(self.teacher, self.dataset.train_images[many]).features[1:-1]
        looks, gaps = {}, {}
        for name, network in networks.items():
            maps = self.outputs(network, self.dataset.train_images[many]).features[1:-1]
            looks[name] = [feature[:3].pow(2).mean(dim=1).numpy() for feature in maps]
            gaps[name] = sum(at.at_loss(*pair).item() for pair in zip(maps, taught, strict=True))
        *_, before, after = gaps
        nearer = "nearer to" if gaps[after] < gaps[before] else "no nearer to"
        said = f"The maps of the {after} are {nearer} the teacher's than those of the {before}, although KD never compared them."
        losses = "; ".join(f"{name} {1_000 * gaps[name]:.0f}" for name in (before, after))
        numbers = f"AT's loss over f1 to f3 and {len(many)} images, times 1,000: {losses}."
        return attention_maps(self.dataset.train_images[some].numpy(), looks, said, title, numbers)

    def sorted_batch(self) -> Tensor:
        """Six images of each class, sorted by class."""
        labels = self.dataset.train_labels
        return self.dataset.train_images[torch.cat([(labels == c).nonzero()[:6, 0] for c in range(10)])]

    def relations(self, networks: Mapping[str, nn.Module], title: str) -> Picture:
        """Tables of all pairs of a sorted batch, for three methods."""
        features = {name: self.outputs(network, self.sorted_batch()).features for name, network in networks.items()}
        tables = {
            "SP: inner products": {name: sp.similarities(f[-2]).numpy() for name, f in features.items()},
            "RKD: distances (dark is close)": {n: rkd.relative_distances(f[-1]).numpy() for n, f in features.items()},
            "PKT: neighbours": {name: pkt.neighbour_probabilities(f[-1]).numpy() for name, f in features.items()},
        }
        same = np.kron(np.eye(10), np.ones((6, 6))) > np.eye(60)
        other = np.kron(np.eye(10), np.ones((6, 6))) == 0
        odds = [
            f"{table[same].mean() / table[other].mean():.1f} times as likely for the {name}"
            for name, table in tables["PKT: neighbours"].items()
        ]
        said = f"A neighbour of one's own class is {' and '.join(odds)} as one of another class."
        return relations(tables, self.dataset.classes, said, title)

    def relation_losses(self, network: nn.Module) -> dict[str, float]:
        """How far a network's relations in the sorted batch are from the teacher's, by three methods."""
        ours, theirs = (self.outputs(net, self.sorted_batch()).features for net in (network, self.teacher))
        return {
            "SP": sp.sp_loss(ours[-2], theirs[-2]).item(),
            "RKD": rkd.rkd_loss(ours[-1], theirs[-1]).item(),
            "PKT": pkt.pkt_loss(ours[-1], theirs[-1]).item(),
        }

    def contrasts(self, student: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of CRD for every tenth image: with its own row of the teacher's bank [n], and with others' [n, K]."""
        memory: Any = self.methods["crd"].memory
        labels, ids = self.dataset.train_labels, torch.arange(0, 2_000, 10)
        pooled = self.outputs(student, self.dataset.train_images[ids]).features[-1]
        with torch.no_grad():
            cosines = F.normalize(memory.student_embed(pooled), dim=1) @ memory.teacher_bank.T
        own = cosines[torch.arange(len(ids)), ids].numpy()
        rows = zip(cosines, labels[ids], strict=True)
        return own, np.stack([row[labels != label][: self.negatives] for row, label in rows])

    def rotated(self) -> tuple[Tensor, Tensor]:
        """Images in four rotations [n, 4, C, H, W], and the teacher's embeddings [4 n, D], its head trained for two epochs."""
        few = self.dataset.first(per_class=100)
        method: Any = self.methods["sskd"]
        run = distill(self.student(), few, self.teacher, recipe=Recipe(epochs=8), distiller=method)
        next(run)  # the head is trained before the student's first epoch
        images = few.train_images[::25]
        turned = torch.stack([images.rot90(turns, (2, 3)) for turns in range(4)], dim=1)
        pooled = self.outputs(self.teacher, turned.flatten(0, 1)).features[-1]
        embeddings: Tensor = method.teacher_head(pooled).detach()
        return turned, embeddings

    def condensed_batch(self, title: str) -> Picture:
        """A blended image in a batch of a condensed run, as SSKD gets it, and who else is in that batch."""
        generator = torch.Generator().manual_seed(0)
        condenser = Condenser(2_000, ratio=0.7, stages=2, epochs=2)
        condenser.record(torch.arange(2_000), torch.rand(2_000, generator=generator).double())  # any values will do
        condenser.end_epoch()
        images, labels = StageImages(self.dataset.train_images), self.dataset.train_labels
        images.apply(condenser.mixture)
        needs = Needs(rotations=True, negatives=self.negatives)
        drawn = next(batches(self.dataset, images, condenser.active, Recipe(), generator, needs=needs))
        assert drawn.contrasts is not None
        others = drawn.contrasts[:, 1:]
        assert torch.isin(others, condenser.active).all()
        assert (labels[others] != drawn.labels[:, None]).all()
        place, mixture = int(drawn.mixed.nonzero()[0]), condenser.mixture
        row = int((mixture.boundary == drawn.ids[place]).nonzero())
        pair = self.dataset.train_images[[int(drawn.ids[place]), int(mixture.partners[row])]]
        views = drawn.images.unflatten(0, (-1, 4))[place]
        pixels = (views - views.min()) / (views.max() - views.min()) * 255
        per_class = labels[condenser.active].bincount()
        picture = image_rows(
            {"blended from": pair.numpy(), "shown as": pixels.to(torch.uint8).numpy()},
            {"blended from": ["boundary", "partner"], "shown as": ["0°", "90°", "180°", "270°"]},
            f"The partner's share is {100 * mixture.coefficients[row]:.0f} %, and all four rotations show the same blended image.",
            title,
        )
        picture.numbers = (
            f"{len(condenser.active):,} active samples, {min(per_class)} to {max(per_class)} per class. A batch of "
            f"{len(drawn.ids)} holds {int(drawn.mixed.sum())} mixtures, and brings {self.negatives} negatives for each sample, "
            "all of them active and of another class."
        )
        return picture

    def method_table(self) -> Table:
        """What every method compares, weighs, learns, needs and costs."""
        return method_table(self.blank, self.methods, {name: _titled(name) for name in COMPARED}, COMPARED, costs())


def costs() -> dict[str, Any]:
    """The stored measurement of a training step of every method."""
    found: dict[str, Any] = json.loads(find_data_file("results/method_costs.json").read_text(encoding="utf-8"))
    return found


def stored_zoo() -> tuple[dict[str, tuple["Runs", "Runs"]], float]:
    """Method -> runs of its plain and of its condensed version, and what a condensed run costs relative to a plain one."""
    plan, store = open_study("methods")
    found = curves.accuracies(plan, store)
    zoo: dict[str, tuple[Runs, Runs]] = {_titled(name): (found[name], found[f"kc-{name}"]) for name in COMPARED}
    return zoo, curves.costs(plan)["kc-kd"]


OFFERS = {
    "features": "f0, f1, .., pooled of both networks, in student.features and teacher.features",
    "teacher_preact": "the teacher's features before their activation",
    "rotations": "every image four times; logits, features and images then have 4 B rows",
    "negatives": "batch.contrasts: the own id, and this many ids of other classes",
    "negatives_from": "negatives among the active samples, or among all",
    "smallest_batch": "a refusal before training if a last batch would be smaller",
    "preparation": "a stage before the student's, this share of its epochs: preparation_loss",
}
"""What the training loop brings for every field of :class:`~kcd_teach.distillers.base.Needs`."""


def needs_table() -> Table:
    """All that a method can request from the training loop."""
    rows = [[field.name, repr(getattr(Needs(), field.name)), OFFERS[field.name]] for field in dataclasses.fields(Needs)]
    caption = "Everything that a method can request from the training loop."
    return Table(["Needs(..)", "default", "what the loop then brings"], rows, caption)


def method_table(
    student: nn.Module,
    methods: Mapping[str, Distiller],
    titles: Mapping[str, str],
    compared: Mapping[str, str],
    costs: Mapping[str, Any],
) -> Table:
    """What every method compares, weighs, learns, asks the loop for and costs, family by family.

    Args:
        student: which all methods were made for.
        methods: by name.
        titles: the methods' names as the course writes them.
        compared: what each compares, in a few words.
        costs: the stored measurement ``results/method_costs.json``.
    """
    rows = []
    for family, names in FAMILIES.items():
        for name in names:
            method = methods[name]
            learned = sum(parameter.numel() for parameter in method.parameters())
            step = costs["methods"][name]["step time over KD"]["median"]
            rows.append(
                [
                    family if name == names[0] else "",
                    titles[name],
                    compared[name],
                    _weights(method),
                    f"{learned:,}",
                    _asks_for(method.needs),
                    f"{step:.1f}",
                ]
            )
    own = count_parameters(student)
    extra = costs["methods"]["sskd"]["preparation presentations"]
    return Table(
        ["family", "method", "compares", "r / a / b", "learns", "needs from the loop", "step time"],
        rows,
        f"Learns: parameters beside the {own:,} of the student. Step time: relative to KD, median of "
        f"{costs['setting']['repetitions']} repetitions, teacher evaluated every time. In brackets: weights inside the "
        f"method's own loss. SSKD's preparation shows the teacher {extra:,} more samples before a run of 24 epochs. "
        "* WCoRD: form recalled, constants ours.",
        right=(4, 6),
    )


def _asks_for(needs: Needs) -> str:
    wanted = {
        "features": needs.features,
        "before activation": needs.teacher_preact,
        "four rotations": needs.rotations,
        f"{needs.negatives} negatives": needs.negatives,
        "a stage of preparation": needs.preparation,
    }
    return ", ".join(name for name, want in wanted.items() if want) or "logits only"


def _weights(method: Distiller) -> str:
    """Weights of labels, teacher and the method's own loss, and in brackets those inside that loss."""
    inside = [f"{getattr(method, name):g}" for name in method.constants() if name.endswith("_weight")]
    own = f"{method.method_weight:g}" + (f" ({', '.join(inside)})" if inside else "")
    return f"{method.label_weight:g} / {method.teacher_weight:g} / {own}"


_SIDES = ("teacher", "student")


@styled
def tap_map(
    image: np.ndarray,
    said: Mapping[str, Sequence[np.ndarray]],
    sizes: Mapping[str, Sequence[str]],
    reads: Mapping[str, Mapping[str, tuple[Sequence[str], bool]]],
    title: str,
) -> Picture:
    """Both networks from left to right, and below, which of their places every method reads.

    Args:
        image: uint8 [C, H, W].
        said: of ``"teacher"`` and ``"student"``: a map [h, w] per tap, the pooled feature [D], and probabilities [C].
        sizes: the same places' sizes, as texts.
        reads: family -> method -> (places that its own loss compares, whether a KD term is added).
        title: of the figure.
    """
    places = [*(f"f{i}" for i in range(len(said["teacher"]) - 2)), "pooled", "logits"]
    rows = [(family, method) for family, methods in reads.items() for method in methods]
    mosaic = [[f"{side} image", *(f"{side} {place}" for place in places)] for side in _SIDES]
    ratios = [1.0, 1.0, 0.27 * len(rows)]
    figure, axes = new_mosaic(8.4, 6.6, [*mosaic, ["names", *["dots"] * len(places)]], ratios)
    headline(figure, title)
    for side in _SIDES:
        show_image(axes[f"{side} image"], image)
        axes[f"{side} image"].set_ylabel(side, fontsize=10.5, color=colour(side))
        for place, values, size in zip(places, said[side], sizes[side], strict=True):
            here = axes[f"{side} {place}"]
            if place == "logits":
                here.bar(range(len(values)), values, color=colour(side))
                here.set(xticks=[], yticks=[])
                here.set_xlabel(size, fontsize=8.5)
            else:
                _heat(here, values, size)
    for place in places:
        axes[f"teacher {place}"].set_title(place, loc="center", fontsize=10.5)
    _draw_reads(axes["names"], axes["dots"], rows, places, reads)
    count = {place: sum(place in reads[f][m][0] for f, m in rows) for place in places}
    top = max(places, key=lambda place: count[place])
    beside = sum(reads[f][m][1] for f, m in rows)
    alt = f"Both networks' answers to one image, layer by layer, and a dot for every place that one of {len(rows)} methods compares."
    return Picture(
        figure,
        alt,
        f"The {top} feature is where most methods look: {count[top]} of {len(rows)} compare it.",
        f"{beside} methods add a KD term on the logits to a loss of their own. Every student learns from the labels, too.",
    )


def _draw_reads(
    names: Axes,
    dots: Axes,
    rows: Sequence[tuple[str, str]],
    places: Sequence[str],
    reads: Mapping[str, Mapping[str, tuple[Sequence[str], bool]]],
) -> None:
    """A row per method: a filled dot where its own loss looks, a ring where a KD term does."""
    for axes in (names, dots):
        axes.set(ylim=(len(rows) - 0.5, -0.5), yticks=[])
        axes.spines[:].set_visible(False)
    names.set(xlim=(0, 1), xticks=[])
    dots.set(xlim=(-0.5, len(places) - 0.5), xticks=[])
    for row, (family, method) in enumerate(rows):
        first = row == 0 or rows[row - 1][0] != family
        if first:
            dots.axhline(row - 0.5, color=colour("dropped"), linewidth=0.8)
            names.text(-0.25, row, family.replace("-", "-\n"), fontsize=9.5, fontweight="bold", va="center")
        names.text(1.0, row, method, fontsize=9.5, ha="right", va="center")
        own, beside = reads[family][method]
        dots.plot([places.index(p) for p in own], [row] * len(own), "o", color=colour("teacher"), markersize=8)
        if beside:
            # Wider than a dot, so that both are seen where a method compares the logits, too.
            dots.plot(
                places.index("logits"),
                row,
                "o",
                color=colour("teacher"),
                markersize=13,
                fillstyle="none",
                markeredgewidth=1.5,
            )
    dots.plot([], [], "o", color=colour("teacher"), label="compared by the method's own loss")
    dots.plot([], [], "o", color=colour("teacher"), markersize=10, fillstyle="none", label="by a KD term added to it")
    dots.legend(loc="upper center", bbox_to_anchor=(0.4, 0.0), ncols=2, fontsize=9)


@styled
def predictions_beside(
    image: np.ndarray, classes: Sequence[str], label: int, said: Mapping[str, np.ndarray], title: str
) -> Picture:
    """What several networks say about one image, softened: name -> probabilities [C], the teacher first."""
    figure, axes = new_figure(8.4, 3.1, 1, len(said) + 1, width_ratios=[1.1, *[1] * len(said)])
    headline(figure, title)
    show_image(axes[0], image, f"label: {classes[label]}")
    for (name, probabilities), here in zip(said.items(), axes[1:], strict=True):
        here.barh(range(len(classes)), probabilities, color=colour("teacher" if name == "teacher" else "student"))
        here.set_yticks(range(len(classes)), classes if here is axes[1] else [], fontsize=8.5)
        here.set_title(name, loc="center", fontsize=10.5)
        here.set(xlim=(0, 1.15 * max(float(p.max()) for p in said.values())), xlabel="probability")
        here.invert_yaxis()
    texts = [f"the {name} gives {classes[int(p.argmax())]} {100 * float(p.max()):.0f} %" for name, p in said.items()]
    alt = f"An image of class {classes[label]} and bars of the softened predictions of {', '.join(said)}."
    spoken = f"{'; '.join(texts)}."
    return Picture(figure, alt, f"{spoken[0].upper()}{spoken[1:]}")


@styled
def attention_maps(
    images: np.ndarray, looks: Mapping[str, Sequence[np.ndarray]], reading: str, title: str, numbers: str = ""
) -> Picture:
    """Where networks look, layer by layer: name -> maps [n, h, w] of f1, f2, ..; a row per image [n, C, H, W]."""
    layers = len(next(iter(looks.values())))
    columns = 1 + layers * len(looks)
    figure, cells = new_figure(8.8, 0.7 + 0.92 * len(images), len(images), columns)
    headline(figure, title)
    for row, image in enumerate(images):
        show_image(cells[row * columns], image)
        for group, maps in enumerate(looks.values()):
            for layer, values in enumerate(maps):
                _heat(cells[row * columns + 1 + group * layers + layer], values[row])
    for group, name in enumerate(looks):
        for layer in range(layers):
            middle = layer == (layers - 1) // 2
            cells[1 + group * layers + layer].set_title(
                f"{name}\nf{layer + 1}" if middle else f"f{layer + 1}", loc="center", fontsize=9.5
            )
    alt = f"{len(images)} images, and where {', '.join(looks)} react to them in {layers} layers, brighter for more."
    return Picture(figure, alt, reading, numbers)


@styled
def relations(
    tables: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str], reading: str, title: str
) -> Picture:
    """Tables [B, B] of a batch sorted by class: method -> network -> table; one scale of colours per method."""
    sides = list(next(iter(tables.values())))
    figure, cells = new_figure(8.6, 0.7 + 2.5 * len(sides), len(sides), len(tables))
    headline(figure, title)
    for column, (method, of_side) in enumerate(tables.items()):
        low, high = (float(f([np.percentile(t, q) for t in of_side.values()])) for f, q in ((min, 1), (max, 97)))
        for row, side in enumerate(sides):
            here, table = cells[row * len(tables) + column], of_side[side]
            _heat(here, table, low=low, high=high)
            places = (np.arange(len(classes)) + 0.5) * len(table) / len(classes) - 0.5
            here.set_yticks(places, classes if column == 0 else [], fontsize=7.5)
            here.tick_params(length=0)
            if row == 0:
                here.set_title(method, loc="center", fontsize=10.5)
        below = figure.colorbar(
            cells[column].images[0],
            ax=cells[column :: len(tables)],
            location="bottom",
            shrink=0.7,
            aspect=30,
            ticks=MaxNLocator(3),
        )
        below.ax.tick_params(labelsize=8)
    for row, side in enumerate(sides):
        cells[row * len(tables)].set_ylabel(side, fontsize=10.5, color=colour("teacher" if row == 0 else "student"))
    alt = f"Square tables of all pairs of a batch sorted by class, for {', '.join(tables)}, of {' and '.join(sides)}."
    return Picture(figure, alt, reading)


@styled
def contrast_scores(moments: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Picture:
    """Scores of the own sample and of others, at several moments: name -> (own [n], others [n, K]), cosines."""
    figure, panels = new_figure(8.4, 3.2, 1, len(moments), sharex=True)
    headline(figure, title)
    everything = np.concatenate([values.ravel() for moment in moments.values() for values in moment])
    edges = np.linspace(everything.min(), everything.max(), 41).tolist()
    texts = []
    for (name, (own, others)), axes in zip(moments.items(), panels, strict=True):
        for values, role, label in ((others, "dropped", "other classes"), (own, "kept", "own sample")):
            axes.hist(
                values.ravel(),
                edges,
                density=True,
                color=colour(role),
                alpha=0.55,
                label=label,
                hatch=ROLES[role].hatch,
            )
        beaten = 100 * float((own[:, None] > others).mean())
        texts.append(f"{name} it beats {beaten:.0f} %")
        axes.set_title(name, loc="center", fontsize=10.5)
        axes.set(xlabel="score (cosine)", yticks=[])
    panels[0].set_ylabel("density")
    panels[0].legend(loc="upper left", fontsize=9)
    alt = f"Histograms of the scores of the own sample and of samples of other classes: {', '.join(moments)}."
    said = f"How many samples of other classes does the own sample beat? {'; '.join(texts).capitalize()}."
    return Picture(figure, alt, said)


@styled
def rotated_views(turned: np.ndarray, cosines: np.ndarray, title: str, shown: int = 6) -> Picture:
    """Rotated views of one image, and the images of the batch they are taken for, best first.

    The image is the first of which some views are recognised and some are not, or else the first.

    Args:
        turned: a batch in four rotations, [n, 4, C, H, W], the unrotated one first.
        cosines: of every rotated view with every unrotated image, [3 n, n].
        title: of the figure.
        shown: candidates per view.
    """
    count = len(turned)
    recognised = cosines.argmax(axis=1).reshape(count, 3) == np.arange(count)[:, None]
    own = int(np.argmax(recognised.any(axis=1) & ~recognised.all(axis=1)))
    views, batch, scored = turned[own, 1:], turned[:, 0], cosines.reshape(count, 3, count)[own]
    figure, cells = new_figure(8.4, 4.2, len(views), shown + 2, width_ratios=[1, 0.25, *[1] * shown])
    headline(figure, title)
    for row, (view, scores) in enumerate(zip(views, scored, strict=True)):
        line = cells[row * (shown + 2) : (row + 1) * (shown + 2)]
        show_image(line[0], view, f"{90 * (row + 1)}°")
        line[1].axis("off")
        for here, candidate in zip(line[2:], np.argsort(-scores, kind="stable")[:shown], strict=True):
            show_image(here, batch[candidate], f"{scores[candidate]:.2f}", "kept" if candidate == own else None)
    cells[0].set_title("view", loc="center", fontsize=10)
    heading = "taken for (the cosine is below, its own image is framed)"
    cells[2].text(0, 1.06, heading, transform=cells[2].transAxes, fontsize=10).set_in_layout(False)
    alt = f"Three rotations of one image, each beside the {shown} images of the batch that it resembles most."
    said = (
        f"The teacher's head recognises {100 * recognised.mean():.0f} % of {recognised.size} rotated views, where guessing "
        f"would give {100 / count:.1f} %."
    )
    return Picture(figure, alt, said)


def _heat(
    axes: Axes, values: np.ndarray, caption: str = "", low: float | None = None, high: float | None = None
) -> None:
    """A map of values [h, w], or a vector as stripes, in the colours of scores."""
    axes.imshow(
        np.atleast_2d(values),
        cmap=VALUE_MAP,
        interpolation="nearest",
        vmin=low,
        vmax=high,
        aspect="equal" if values.ndim == 2 else "auto",
    )
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=8.5)
    axes.spines[:].set_visible(False)


Runs = Mapping[int, float]
"""Seed -> accuracy in percent."""

_MEAN = "mean"


@styled
def method_zoo(
    table: Mapping[str, tuple[Runs, Runs]], families: Mapping[str, Sequence[str]], cost: float, title: str, note: str
) -> Picture:
    """Every method plain and condensed: accuracies at the left, differences paired by seed at the right.

    Args:
        table: method -> (runs of the plain version, runs of the condensed one).
        families: family -> its methods, in the order of the rows.
        cost: of a condensed run, relative to the same method's plain run.
        title, note: of the figure, above and below it.
    """
    rows = {name: table[name] for members in families.values() for name in members}
    count = len(rows)
    rows[_MEAN] = (_mean_by_seed([plain for plain, _ in rows.values()]), _mean_by_seed([kc for _, kc in rows.values()]))
    families = {**families, "all": [_MEAN]}
    figure, (left, right) = new_figure(9.2, 1.7 + 0.4 * len(rows), 1, 2, sharey=True, width_ratios=[1.15, 1])
    headline(figure, title)
    differences = {name: paired_differences(condensed, plain) for name, (plain, condensed) in rows.items()}
    right.axvline(0, color=colour("teacher"), linewidth=1.5)
    for row, name in enumerate(rows):
        for shift, runs, role, marker in zip((-0.17, 0.17), rows[name], ("teacher", "kept"), "so", strict=True):
            _runs_and_mean(left, row + shift, list(runs.values()), colour(role), marker)
        clear = not interval(differences[name]).covers_zero
        _runs_and_mean(right, row, differences[name], colour("kept" if clear else "dropped"), "o")
    _label_families(left, families)
    for axes in (left, right):
        _lines_between(axes, families)
        axes.axhspan(count - 0.5, count + 0.5, color=colour("dropped"), alpha=0.12, linewidth=0)
    for role, marker, label in (("teacher", "s", "plain"), ("kept", "o", f"condensed, {100 * cost:.0f} % of the cost")):
        left.plot([], [], marker, color=colour(role), label=label)
    right.plot([], [], "o", color=colour("kept"), label="interval leaves out 0")
    right.plot([], [], "o", color=colour("dropped"), label="interval holds 0")
    for axes in (left, right):
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9, handletextpad=0.2)
    left.set_xlabel("test accuracy (%)")
    left.annotate(note, (-0.68, -0.075), xycoords="axes fraction", fontsize=9, va="top")
    right.set_xlabel("condensed minus plain, same seed (points)", fontsize=10)
    alt = (
        f"A row for each of {count} methods in {len(families) - 1} families, and their mean: accuracies plain and condensed at the left, "
        "their paired differences around a zero line at the right, all with 95 % intervals."
    )
    return Picture(figure, alt, *zoo_reading(differences, cost))


def _label_families(axes: Axes, families: Mapping[str, Sequence[str]]) -> None:
    """Names of the rows, a line between two families, and the family's name at its first row."""
    names = [name for members in families.values() for name in members]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    row = 0
    for family, members in families.items():
        axes.annotate(
            family,
            (-0.32, row),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=10,
            fontweight="bold",
        )
        row += len(members)


def _lines_between(axes: Axes, families: Mapping[str, Sequence[str]]) -> None:
    for edge in np.cumsum([len(members) for members in families.values()])[:-1]:
        axes.axhline(edge - 0.5, color=colour("dropped"), linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)


def _runs_and_mean(axes: Axes, row: float, values: Sequence[float], tint: str, marker: str) -> None:
    """Every value as a small mark, the mean with its 95 % interval as a bar."""
    found = interval(values)
    half = 0.0 if found.n == 1 else found.half_width
    jitter = np.resize([-0.07, 0.0, 0.07, -0.035, 0.035], len(values))
    axes.plot(values, row + jitter, marker, markersize=4.5, color=tint, alpha=0.5, markeredgewidth=0)
    axes.errorbar(
        found.mean,
        row,
        xerr=half,
        fmt="|",
        markersize=11,
        markeredgewidth=2.5,
        capsize=3,
        elinewidth=2,
        color=tint,
        zorder=5,
    )


def _mean_by_seed(runs: Sequence[Runs]) -> dict[int, float]:
    """Mean over the methods for every seed that all of them have."""
    seeds = set.intersection(*(set(of_method) for of_method in runs))
    return {seed: float(np.mean([of_method[seed] for of_method in runs])) for seed in sorted(seeds)}


def zoo_reading(differences: Mapping[str, Sequence[float]], cost: float) -> tuple[str, str]:
    """Who gains and who loses, in a sentence; the numbers, and how many intervals would leave out zero by chance."""
    found = {name: interval(values) for name, values in differences.items()}
    mean = found.pop(_MEAN)
    ahead = [name for name, f in found.items() if not f.covers_zero and f.mean > 0]
    behind = [name for name, f in found.items() if not f.covers_zero and f.mean < 0]
    clear, total = len(ahead) + len(behind), len(found)
    seeds = " to ".join(str(n) for n in sorted({f.n for f in found.values()}))
    parts = [
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {word} when condensed"
        for names, word in ((ahead, "ahead"), (behind, "behind"))
        if names
    ]
    others = f"{total - clear} of {total} methods" if parts else f"all {total} methods"
    rest = f"for {others} these runs cannot tell the condensed version from the plain one"
    said = "; ".join([*parts, rest])
    sizes = ", ".join(_with_size(name, found[name]) for name in (*ahead, *behind)) or "none"
    return f"{said[0].upper()}{said[1:]}.", (
        f"Intervals that leave out zero, {seeds} seeds, points: {sizes}; {clear} of {total}. Without any true difference it "
        f"would be {0.05 * total:.2f} on average, and {100 * (1 - 0.95**total):.0f} % of such tables would show at least one. "
        f"The mean of all differs by {_size(mean)}. A condensed run shows {100 * cost:.0f} % of the samples."
    )


def _with_size(name: str, found: Interval) -> str:
    return f"{name} ({_size(found)})"


def _size(found: Interval) -> str:
    return found.text("+")
