"""Lesson 07, any distiller: its exercises, then its pictures of what methods compare, and of the zoo."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach.datasets import Dataset
from kcd_teach.distillers import at, sp, sskd
from kcd_teach.distillers.base import Batch, Distiller, Needs, Outputs, respond
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.samples import show_image
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, headline, new_figure, new_mosaic, styled
from kcd_teach.figures.table import Table
from kcd_teach.lessons.exercise import Exercise
from kcd_teach.models import count_parameters
from kcd_teach.statistics import Interval, interval, paired_differences
from kcd_teach.zoo import FAMILIES

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


def _keep(level: Tensor, first: Tensor, count: int) -> Tensor:
    """True for all zeros of ``level`` and for the first ``count`` of the ids ``first``."""
    kept = level == 0
    kept[first[:count]] = True
    return kept


def _wrong_ones(level: Tensor, highest: bool = False) -> Tensor:
    order = torch.sort(level, stable=True, descending=highest).indices
    return order[level[order] > 0]


def _rounded_up(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level)
    return _keep(level, wrong, -int(-len(wrong) * ratio // 1))


def _share_of_all(level: Tensor, ratio: float) -> Tensor:
    kept = torch.zeros(len(level), dtype=torch.bool)
    kept[torch.sort(level, stable=True).indices[: int(ratio * len(level))]] = True
    return kept


def _highest(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level, highest=True)
    return _keep(level, wrong, int(ratio * len(wrong)))


def _with_ties(level: Tensor, ratio: float) -> Tensor:
    wrong = _wrong_ones(level)
    count = int(ratio * len(wrong))
    return (level == 0) if count == 0 else level <= level[wrong[count - 1]]


keep_lowest = Exercise(
    name="keep_lowest",
    task=(
        "Mark the answers of the teacher that are worth passing on, bool [n]. level[i] is the number of answers it "
        "ranked above the true one. Keep every 0; of the w others keep the floor(ratio * w) lowest, the earlier of equals."
    ),
    minutes=8,
    hints=(
        "Rows of level 0 are right and always kept; count the others, and take the share of those.",
        "torch.sort(level, stable=True).indices names the rows from lowest to highest level, the earlier of equals "
        "first; the zeros come first by themselves.",
        "In all, (level == 0).sum() + int(ratio * w) rows are kept: the first of that order.",
    ),
    reference=sskd.keep_lowest,
    cases=(
        (torch.tensor([0, 3, 0, 1, 7, 2, 0, 5, 1]), 0.75),
        (torch.tensor([2, 0, 2, 1]), 0.5),
        (torch.tensor([1, 1, 2, 0]), 0.5),
    ),
    mistakes={
        "The share was taken of all rows, right ones included. It belongs to the wrong ones only; right answers "
        "are always worth passing on.": _share_of_all,
        "The highest levels were kept: the answers on which the teacher errs most. A student should learn its "
        "small errors rather than its large ones.": _highest,
        "The number was rounded up. It is rounded down: int() cuts off what follows the decimal point.": _rounded_up,
        "All rows as low as the last one kept were kept too. Among equals only the earlier ones are, so that "
        "the number is exact.": _with_ties,
        "The right answers are missing. They have level 0 and are always kept.": lambda level, ratio: (
            sskd.keep_lowest(level, ratio) & (level > 0)
        ),
    },
    solution="""
        import torch

        def keep_lowest(level, ratio):
            right = int((level == 0).sum())
            count = right + int(ratio * (len(level) - right))
            kept = torch.zeros(len(level), dtype=torch.bool)
            kept[torch.sort(level, stable=True).indices[:count]] = True
            return kept
    """,
)

_PLACES = ("f0", "f1", "f2", "f3", "pooled", "logits")


def places_read(method: Distiller, student: nn.Module, teacher: nn.Module, dataset: Dataset) -> str:
    """Names of the student's places at which the gradient of a method's own loss arrives, as one text.

    The loss is that of the first eight training images, in as many views as the method asks for.
    """
    samples = torch.arange(8)
    ids = samples.repeat_interleave(method.needs.views)
    images = dataset.normalise(dataset.train_images[ids])
    answers = respond(student.eval(), images, features=True)
    leaves = [values.detach().requires_grad_() for values in (*answers.features, answers.logits)]
    with torch.no_grad():
        taught = respond(teacher, images, True, method.needs.teacher_preact)
    contrasts = torch.stack([samples, 300 + samples, 600 + samples], dim=1)
    unmixed = torch.zeros(8, dtype=torch.bool)
    batch = Batch(samples, ids, dataset.train_labels[:8], unmixed, images, contrasts)
    method.begin(len(dataset.train_images))
    loss = method.method_loss(batch, Outputs(leaves[-1], leaves[:-1]), taught)
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return " ".join(place for place, gradient in zip(_PLACES, gradients, strict=True) if gradient is not None)


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
        ["family", "method", "compares", "r / a / b", "learns", "asks the loop for", "step time"],
        rows,
        f"Learns: parameters beside the student's {own:,}. Step time: relative to KD, median of "
        f"{costs['setting']['repetitions']} repetitions, teacher asked every time. In brackets: weights inside the "
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
        reads: family -> method -> (names of the places its own loss reads, whether a KD term stands beside it).
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
    alt = f"Both networks' answers to one image, layer by layer, and a dot for every place that one of {len(rows)} methods reads."
    return Picture(
        figure,
        alt,
        f"The {top} feature is read by {count[top]} of {len(rows)} methods; {beside} of them add "
        "a KD term on the logits to a loss of their own. Every network also learns from the labels.",
    )


def _draw_reads(
    names: Axes,
    dots: Axes,
    rows: Sequence[tuple[str, str]],
    places: Sequence[str],
    reads: Mapping[str, Mapping[str, tuple[Sequence[str], bool]]],
) -> None:
    """A row per method: a filled dot where its own loss reads, a ring where a KD term does."""
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
            # Wider than a dot, so that both are seen where a method reads the logits, too.
            dots.plot(
                places.index("logits"),
                row,
                "o",
                color=colour("teacher"),
                markersize=13,
                fillstyle="none",
                markeredgewidth=1.5,
            )
    dots.plot([], [], "o", color=colour("teacher"), label="read by the method's own loss")
    dots.plot([], [], "o", color=colour("teacher"), markersize=10, fillstyle="none", label="by a KD term beside it")
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
    texts = [f"{name}: {classes[int(p.argmax())]} {100 * float(p.max()):.0f} %" for name, p in said.items()]
    alt = f"An image of class {classes[label]} and bars of the softened predictions of {', '.join(said)}."
    return Picture(figure, alt, f"The favourite of each: {'; '.join(texts)}.")


@styled
def attention_maps(images: np.ndarray, looks: Mapping[str, Sequence[np.ndarray]], reading: str, title: str) -> Picture:
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
    return Picture(figure, alt, reading)


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
        texts.append(f"{name} the own sample scores above {beaten:.0f} % of the others")
        axes.set_title(name, loc="center", fontsize=10.5)
        axes.set(xlabel="score (cosine)", yticks=[])
    panels[0].set_ylabel("density")
    panels[0].legend(loc="upper left", fontsize=9)
    alt = f"Histograms of the scores of the own sample and of samples of other classes: {', '.join(moments)}."
    return Picture(figure, alt, f"{'; '.join(texts)}.")


@styled
def rotated_views(
    views: np.ndarray, batch: np.ndarray, cosines: np.ndarray, own: int, reading: str, title: str, shown: int = 6
) -> Picture:
    """Rotated views of one image [3, C, H, W], and the images of the batch they are taken for, best first.

    Args:
        views: rotated by 90, 180 and 270 degrees.
        batch: unrotated images [B, C, H, W].
        cosines: of every view with every one of them, [3, B].
        own: position of the image in the batch; framed.
        reading, title: of the figure.
        shown: candidates per view.
    """
    figure, cells = new_figure(8.4, 4.2, len(views), shown + 2, width_ratios=[1, 0.25, *[1] * shown])
    headline(figure, title)
    for row, (view, scores) in enumerate(zip(views, cosines, strict=True)):
        line = cells[row * (shown + 2) : (row + 1) * (shown + 2)]
        show_image(line[0], view, f"{90 * (row + 1)}°")
        line[1].axis("off")
        for here, candidate in zip(line[2:], np.argsort(-scores, kind="stable")[:shown], strict=True):
            show_image(here, batch[candidate], f"{scores[candidate]:.2f}", "kept" if candidate == own else None)
    cells[0].set_title("view", loc="center", fontsize=10)
    heading = "taken for (the cosine is below, its own image is framed)"
    cells[2].text(0, 1.06, heading, transform=cells[2].transAxes, fontsize=10).set_in_layout(False)
    alt = f"Three rotations of one image, each beside the {shown} images of the batch that it resembles most."
    return Picture(figure, alt, reading)


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
    return Picture(figure, alt, zoo_reading(differences, cost))


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


def zoo_reading(differences: Mapping[str, Sequence[float]], cost: float) -> str:
    """Who gains, who loses, how many intervals leave out zero, and how many would by chance."""
    found = {name: interval(values) for name, values in differences.items()}
    mean = found.pop(_MEAN)
    groups = {
        "ahead by more than the noise": [name for name, f in found.items() if not f.covers_zero and f.mean > 0],
        "behind by more than the noise": [name for name, f in found.items() if not f.covers_zero and f.mean < 0],
    }
    clear = sum(map(len, groups.values()))
    texts = [
        f"{title}: {', '.join(_with_size(name, found[name]) for name in names) or 'none'}"
        for title, names in groups.items()
    ]
    seeds = sorted({f.n for f in found.values()})
    total = len(found)
    return (
        f"Condensed against plain, in points, {' to '.join(map(str, seeds))} seeds: {'; '.join(texts)}; not to be told "
        f"apart by these runs: {total - clear}. {clear} of {total} intervals leave out zero; without any true "
        f"difference {0.05 * total:.2f} would on average, and {100 * (1 - 0.95**total):.0f} % of such tables would show "
        f"at least one. The mean of all differs by {_size(mean)}. A condensed run costs {100 * cost:.0f} % of the presentations."
    )


def _with_size(name: str, found: Interval) -> str:
    return f"{name} ({_size(found)})"


def _size(found: Interval) -> str:
    return found.text("+")


@styled
def published_gains(
    published: Mapping[str, Sequence[float]], ours: Mapping[str, Sequence[float]], title: str
) -> Picture:
    """Gains of condensed over plain: as published, a mark per pair of networks, and ours, a mark per seed; in points."""
    names = list(published)
    figure, panels = new_figure(9.2, 1.5 + 0.5 * len(names), 1, 2, sharey=True, sharex=True)
    headline(figure, title)
    left, right = panels
    for row, name in enumerate(names):
        gains = list(published[name])
        left.plot(
            gains,
            row + np.resize([-0.1, 0.0, 0.1], len(gains)),
            "D",
            markersize=5,
            color=colour("teacher"),
            alpha=0.45,
            markeredgewidth=0,
        )
        left.plot(np.mean(gains), row, "|", markersize=22, markeredgewidth=3, color=colour("teacher"))
        left.annotate(
            f"{np.mean(gains):+.3f}",
            (np.mean(gains), row),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
        clear = not interval(ours[name]).covers_zero
        _runs_and_mean(right, row, ours[name], colour("kept" if clear else "dropped"), "o")
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.6)
    pairs = len(next(iter(published.values())))
    left.set_title(f"published, full scale\n{pairs} pairs of networks", loc="center", fontsize=10)
    right.set_title(f"here, one small pair\n{interval(next(iter(ours.values()))).n} seeds", loc="center", fontsize=10)
    for axes in panels:
        axes.axvline(0, color=colour("teacher"), linewidth=1)
        axes.grid(axis="x", alpha=0.25)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("condensed minus plain (points)")
    alt = f"Gains of the condensed version for {', '.join(names)}: published ones at the left, ours with intervals at the right."
    texts = [f"{name} {np.mean(published[name]):+.3f}, here {_size(interval(ours[name]))}" for name in names]
    return Picture(figure, alt, f"Mean gain in points, published over {pairs} pairs at full scale: {'; '.join(texts)}.")
