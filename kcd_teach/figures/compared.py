"""What do methods of distillation compare? One picture per family: teacher and students, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kcd_teach.figures.images import show_image
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, new_figure, new_mosaic, styled

_SIDES = ("teacher", "student")


def _headline(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")


def _heat(
    axes: Axes, values: np.ndarray, caption: str = "", low: float | None = None, high: float | None = None
) -> None:
    """A map of values [h, w], or a vector as stripes, in the colours of scores."""
    axes.imshow(np.atleast_2d(values), cmap=VALUE_MAP, interpolation="nearest", vmin=low, vmax=high,
                aspect="equal" if values.ndim == 2 else "auto")  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=8.5)
    axes.spines[:].set_visible(False)


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
    _headline(figure, title)
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
    return Picture(figure, alt, f"The {top} feature is read by {count[top]} of {len(rows)} methods; {beside} of them add "
                   "a KD term on the logits to a loss of their own. Every network also learns from the labels.")  # fmt: skip


def _draw_reads(
    names: Axes, dots: Axes, rows: Sequence[tuple[str, str]], places: Sequence[str],
    reads: Mapping[str, Mapping[str, tuple[Sequence[str], bool]]],
) -> None:  # fmt: skip
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
            dots.plot(places.index("logits"), row, "o", color=colour("teacher"), markersize=13, fillstyle="none",
                      markeredgewidth=1.5)  # fmt: skip
    dots.plot([], [], "o", color=colour("teacher"), label="read by the method's own loss")
    dots.plot([], [], "o", color=colour("teacher"), markersize=10, fillstyle="none", label="by a KD term beside it")
    dots.legend(loc="upper center", bbox_to_anchor=(0.4, 0.0), ncols=2, fontsize=9)


@styled
def predictions_beside(
    image: np.ndarray, classes: Sequence[str], label: int, said: Mapping[str, np.ndarray], title: str
) -> Picture:
    """What several networks say about one image, softened: name -> probabilities [C], the teacher first."""
    figure, axes = new_figure(8.4, 3.1, 1, len(said) + 1, width_ratios=[1.1, *[1] * len(said)])
    _headline(figure, title)
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
def attention_maps(
    images: np.ndarray, looks: Mapping[str, Sequence[np.ndarray]], reading: str, title: str
) -> Picture:  # fmt: skip
    """Where networks look, layer by layer: name -> maps [n, h, w] of f1, f2, ..; a row per image [n, C, H, W]."""
    layers = len(next(iter(looks.values())))
    columns = 1 + layers * len(looks)
    figure, cells = new_figure(8.8, 0.7 + 0.92 * len(images), len(images), columns)
    _headline(figure, title)
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
    _headline(figure, title)
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
            cells[column].images[0], ax=cells[column :: len(tables)], location="bottom", shrink=0.7, aspect=30,
            ticks=MaxNLocator(3),
        )  # fmt: skip
        below.ax.tick_params(labelsize=8)
    for row, side in enumerate(sides):
        cells[row * len(tables)].set_ylabel(side, fontsize=10.5, color=colour("teacher" if row == 0 else "student"))
    alt = f"Square tables of all pairs of a batch sorted by class, for {', '.join(tables)}, of {' and '.join(sides)}."
    return Picture(figure, alt, reading)


@styled
def contrast_scores(moments: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Picture:
    """Scores of the own sample and of others, at several moments: name -> (own [n], others [n, K]), cosines."""
    figure, panels = new_figure(8.4, 3.2, 1, len(moments), sharex=True)
    _headline(figure, title)
    everything = np.concatenate([values.ravel() for moment in moments.values() for values in moment])
    edges = np.linspace(everything.min(), everything.max(), 41).tolist()
    texts = []
    for (name, (own, others)), axes in zip(moments.items(), panels, strict=True):
        for values, role, label in ((others, "dropped", "other classes"), (own, "kept", "own sample")):
            axes.hist(values.ravel(), edges, density=True, color=colour(role), alpha=0.55, label=label,
                      hatch=ROLES[role].hatch)  # fmt: skip
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
    _headline(figure, title)
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
