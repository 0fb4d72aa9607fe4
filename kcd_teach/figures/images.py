"""Pictures of samples: rows of images, softened predictions, mixtures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import colour, new_figure, styled

Images = np.ndarray
"""uint8 [n, C, H, W], C = 1 or 3."""


def show_image(axes: Axes, image: np.ndarray, caption: str = "", frame: str | None = None) -> None:
    """Draw one image, uint8 [C, H, W], with a caption below and a frame in the colour of a role."""
    pixels = np.asarray(image)
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=8.5)
    for spine in axes.spines.values():
        spine.set(visible=frame is not None, color=colour(frame) if frame else "white", linewidth=3)


def tile_rows(rows: Sequence[Images], roles: Sequence[Sequence[str]], columns: int, border: int = 2) -> np.ndarray:
    """Rows of images in frames of their roles' colours, as one picture, uint8 [h, w, 3]; missing ones are white."""
    side = rows[0].shape[-1] + 2 * border
    canvas = np.full((len(rows) * (side + border), columns * (side + border), 3), 255, dtype=np.uint8)
    for row, (images, names) in enumerate(zip(rows, roles, strict=True)):
        for column, (image, name) in enumerate(zip(images, names, strict=True)):
            tile = np.empty((side, side, 3), dtype=np.uint8)
            tile[:] = [int(colour(name)[i : i + 2], 16) for i in (1, 3, 5)]
            tile[border:-border, border:-border] = image.transpose(1, 2, 0)
            top, left = row * (side + border), column * (side + border)
            canvas[top : top + side, left : left + side] = tile
    return canvas


class TilePlot:
    """Rows of small images, framed by the role each one has."""

    def __init__(self, axes: Axes, rows: Sequence[str], columns: int, side: int) -> None:
        self._columns = columns
        empty = np.zeros((0, 1, side, side), dtype=np.uint8)
        canvas = tile_rows([empty] * len(rows), [[]] * len(rows), columns)
        self._picture = axes.imshow(canvas, interpolation="nearest")
        axes.set(xticks=[], yticks=(np.arange(len(rows)) + 0.5) * len(canvas) / len(rows), yticklabels=rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        self._nothing = [axes.text(0.01, height, "none", va="center", fontsize=10, color=colour("dropped"),
                                   transform=axes.get_yaxis_transform()) for height in axes.get_yticks()]  # fmt: skip

    def update(self, images: Sequence[Images], roles: Sequence[Sequence[str]]) -> None:
        """Show images uint8 [n, C, H, W] framed by their roles (n names), one of each per row."""
        self._picture.set_data(tile_rows(images, roles, self._columns))
        for nothing, shown in zip(self._nothing, images, strict=True):
            nothing.set_visible(len(shown) == 0)


@styled
def image_rows(
    rows: Mapping[str, Images],
    captions: Mapping[str, Sequence[str]],
    reading: str,
    title: str,
    frames: Mapping[str, str] | None = None,
) -> Picture:
    """Rows of images, one per key, each with its captions; ``frames`` names a role per row."""
    count = max(len(images) for images in rows.values())
    figure, axes = new_figure(max(0.92 * count, 6), 0.3 + 1.28 * len(rows), len(rows), count)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    for row, (name, images) in enumerate(rows.items()):
        for column in range(count):
            cell = axes[row * count + column]
            if column < len(images):
                show_image(cell, images[column], captions[name][column], (frames or {}).get(name))
            else:
                cell.axis("off")
        axes[row * count].set_ylabel(name, fontsize=9.5, rotation=0, ha="right", va="center", labelpad=8)
    alt = f"Rows of {count} small images each: {', '.join(rows)}.".replace("\n", " ")
    return Picture(figure, alt, reading)


@styled
def soft_labels(
    image: np.ndarray, classes: Sequence[str], label: int, softened: Mapping[float, Sequence[float]], title: str
) -> Picture:
    """An image, its label, and what the teacher says about it at several temperatures (T -> probabilities [C])."""
    figure, axes = new_figure(
        2.1 * (len(softened) + 1) + 1, 3.3, 1, len(softened) + 1, width_ratios=[1.1, *[1] * len(softened)]
    )
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    show_image(axes[0], image, f"label: {classes[label]}")
    for axis, (temperature, probabilities) in zip(axes[1:], softened.items(), strict=True):
        draw_prediction(axis, classes, label, probabilities, f"T = {temperature:g}")
        axis.set_yticklabels(classes if axis is axes[1] else [])
    second = classes[int(np.argsort(next(iter(softened.values())))[-2])]
    shares = ", ".join(f"{100 * p[label]:.0f} % at T = {t:g}" for t, p in softened.items())
    alt = f"An image of class {classes[label]} and the teacher's class probabilities, flatter at higher temperature."
    return Picture(
        figure, alt, f"The teacher gives {classes[label]} {shares}; its second choice is {second} at every T."
    )


def draw_prediction(axes: Axes, classes: Sequence[str], label: int, probabilities: Sequence[float], title: str) -> None:
    """Class probabilities as bars; the labelled class in the teacher's colour, the others lighter."""
    tints = [colour("teacher") if c == label else colour("dropped") for c in range(len(classes))]
    axes.barh(range(len(classes)), probabilities, color=tints)
    axes.set(xlim=(0, 1), title=title)
    axes.set_xlabel("probability")
    axes.set_yticks(range(len(classes)), classes, fontsize=8.5)
    axes.invert_yaxis()


@styled
def mixtures(boundary: Images, partners: Images, mixed: Images, coefficients: Sequence[float], title: str) -> Picture:
    """Boundary samples, the dropped samples blended into them, and the result, one column per pair."""
    count = len(boundary)
    figure, axes = new_figure(max(1.05 * count, 6), 3.9, 3, count)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    rows = (
        ("boundary", boundary, "kept", [""] * count),
        ("+ partner", partners, "dropped", [f"{100 * c:.0f} %" for c in coefficients]),
        ("= mixture", mixed, "mixed", [""] * count),
    )
    for row, (name, images, role, captions) in enumerate(rows):
        for column in range(count):
            show_image(axes[row * count + column], images[column], captions[column], role)
        axes[row * count].set_ylabel(name, fontsize=10, rotation=0, ha="right", va="center", labelpad=8)
    alt = "Columns of three images: a boundary sample, the dropped sample blended into it, and their mixture."
    low, high = 100 * min(coefficients), 100 * max(coefficients)
    return Picture(figure, alt, f"Of {count} pairs from strong to weak rank, the partner's share grows "
                   f"from {low:.0f} % to {high:.0f} %; the label stays that of the boundary sample.")  # fmt: skip
