"""Lesson 01, plain KD: its questions, its exercises, then its pictures of what a teacher knows that labels don't."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from kcd_teach._files import reading
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.kd import kd_loss as library_kd_loss
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import Accuracies, dots_and_interval, label_rows
from kcd_teach.figures.samples import draw_prediction, show_image
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, headline, new_figure, styled
from kcd_teach.knowledge import predict
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question
from kcd_teach.statistics import interval

QUESTIONS = {
    "favourite": Question(
        "You divide all logits by T = 20. For how many of the 2,000 images does the teacher's favourite class change?",
        ("none", "a few", "nearly all, as the prediction is almost flat"),
    ),
    "factor": Question(
        "You forget the factor T². How long is the gradient of the loss at T = 20, compared with T = 1?",
        ("about as long", "about 20 times shorter", "hundreds of times shorter"),
    ),
    "gain": Question(
        "The student sees 2,000 images. What does the teacher add to what it learns from labels alone?",
        ("nothing beyond the noise", "a few points", "all that it is short of the teacher"),
    ),
    "more images": Question(
        "Now the student sees all 10,000 images. How large is the teacher's help?",
        ("larger, with five times as many soft labels", "the same", "much smaller"),
    ),
}


def _soften(logits: Tensor, temperature: float) -> Tensor:
    return torch.softmax(logits / temperature, dim=1)


soften = Exercise(
    name="soften",
    task="Turn logits [B, C] into probabilities [B, C] softened at a temperature: softmax(logits / T) for each sample.",
    minutes=3,
    hints=(
        "Each row belongs to one sample; its probabilities must sum to 1.",
        "A high temperature brings the logits closer together before the softmax is taken.",
        "torch.softmax takes the dimension along which the result sums to 1: the classes are dimension 1.",
    ),
    reference=_soften,
    cases=(
        (torch.tensor([[2.0, 0.0, -1.0], [1.0, 1.0, 1.0], [0.0, 3.0, 0.0]]), 2.0),
        (torch.tensor([[4.0, 2.0, 0.0, -2.0], [0.0, 0.0, 1.0, 1.0], [8.0, 0.0, 0.0, 4.0]]), 4.0),
    ),
    mistakes={
        "The softmax ran over the batch, so columns sum to 1 and what is said about one sample depends on the others. "
        "Classes are dimension 1.": lambda z, t: torch.softmax(z / t, dim=0),
        "The logits were multiplied by T. That sharpens the prediction; dividing softens it.": lambda z, t: (
            torch.softmax(z * t, dim=1)
        ),
        "The probabilities were divided by T, not the logits. Rows then sum to 1/T, and the classes keep their "
        "proportions: nothing was softened.": lambda z, t: torch.softmax(z, dim=1) / t,
        "The temperature was not used: this is the prediction at T = 1, where the favourite class "
        "hides the others.": lambda z, t: torch.softmax(z, dim=1),
        "These are logarithms of probabilities. A loss can use them, but here the probabilities themselves "
        "are asked for.": lambda z, t: torch.log_softmax(z / t, dim=1),
    },
    solution="""
        import torch

        def soften(logits, temperature):
            return torch.softmax(logits / temperature, dim=1)
    """,
)


def _teacher_not_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_p_student = torch.log_softmax(student_logits / temperature, dim=1)
    log_p_teacher = torch.log_softmax(teacher_logits, dim=1)
    return temperature**2 * (log_p_teacher.exp() * (log_p_teacher - log_p_student)).sum(dim=1).mean()


kd_loss = Exercise(
    name="kd_loss",
    task=(
        "Compute the distillation loss of a batch, in nats times T squared: the Kullback-Leibler divergence of the "
        "student's softened prediction from the teacher's, summed over classes, averaged over samples, times T squared."
    ),
    minutes=8,
    hints=(
        "Soften both sides with the same T. For one sample: sum over classes of p_T * (ln p_T - ln p_S).",
        "log_softmax(z / T, dim=1) gives the logarithms without ever taking the logarithm of 0.",
        "F.kl_div(log_p_student, log_p_teacher, log_target=True, reduction='batchmean') has the student first "
        "and divides by the number of samples; T squared is still missing.",
    ),
    reference=library_kd_loss,
    cases=(
        (
            torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]]),
            torch.tensor([[3.0, 1.0, -2.0], [0.0, 2.0, 1.0], [2.0, 0.0, 4.0]]),
            4.0,
        ),
        (
            torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]]),
            torch.tensor([[5.0, 0.0, 1.0, 2.0], [0.0, 4.0, 2.0, 0.0], [3.0, 2.0, 1.0, 0.0]]),
            2.0,
        ),
    ),
    mistakes={
        "The factor T squared is missing. Softening shrinks the gradient by about that much; without the factor "
        "distillation fades as T grows.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) / t**2,
        "Student and teacher are swapped. The divergence is not symmetric: the teacher's probabilities are the "
        "weights, so that the student learns wherever "
        "the teacher sees something.": lambda z_s, z_t, t: library_kd_loss(z_t, z_s, t),
        "The mean was taken over all elements, classes too (reduction='mean'). Divide by the number of samples only "
        "(reduction='batchmean'), or more classes make "
        "a smaller loss.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) / z_s.shape[1],
        "The samples were added up, not averaged (reduction='sum'). The loss, and with it every step, would grow "
        "with the batch.": lambda z_s, z_t, t: library_kd_loss(z_s, z_t, t) * len(z_s),
        "This is the cross-entropy with the teacher's prediction. Its gradient is the same, but it is larger by the teacher's "
        "own entropy, so it is not 0 where the two agree.": lambda z_s, z_t, t: (
            -(t**2) * (torch.softmax(z_t / t, dim=1) * torch.log_softmax(z_s / t, dim=1)).sum(dim=1).mean()
        ),
        "Only the student was softened. Both need the same T, or the loss is not 0 "
        "where they agree.": _teacher_not_softened,
    },
    solution="""
        from torch.nn import functional as F

        def kd_loss(student_logits, teacher_logits, temperature):
            log_p_student = F.log_softmax(student_logits / temperature, dim=1)
            log_p_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
            divergence = F.kl_div(log_p_student, log_p_teacher, log_target=True, reduction="batchmean")
            return divergence * temperature**2
    """,
)

tell_apart = Judgement(
    name="tell_apart",
    task=(
        "With 2,000 images the teacher helps, with 10,000 hardly. Three explanations are listed above. Which further runs, "
        "ten seeds each, would rule one of them out?"
    ),
    minutes=4,
    options={
        "KD on 2,000 images from a good teacher that was trained on the same 2,000": (
            "Such a teacher has no other images to pass on. If it helps as much, its 8,000 extra images are not the reason."
        ),
        "labels alone on the 2,000 images, for five times as many epochs": (
            "This student takes as many steps as the one with 10,000 images. If it stays behind KD, then steps were not "
            "what labels alone was short of."
        ),
        "the same two comparisons with 100 seeds": (
            "The two gains would be known more precisely, but each explanation predicts the same two gains."
        ),
        "KD on 10,000 images at T = 8": (
            "The gain with all images may change with T, but none of the explanations says anything about temperature."
        ),
    },
    right="ab",
    hints=(
        "For each run, write down what every explanation predicts. A run is worth its time if two predictions differ.",
        "Between 2,000 and 10,000 images two things change besides their number: the steps, and what the teacher alone saw.",
        "Two of the four runs hold the number of images and change one of these two things.",
    ),
)


BUNDLED = 408
"""The test image that stands in for a picture of one's own."""


def read_picture(path: str | Path) -> Tensor:
    """A drawing or photograph of one garment, made to look like the images that the networks know.

    The bundled images are grey, 28 x 28, with a bright garment on black that touches the edges. So a picture on bright
    ground is inverted, its contrast is stretched, what is darker than a quarter of the brightest counts as ground and is
    cut off around the garment, and the rest is scaled to 28 pixels.

    Args:
        path: of any image file that Pillow can read.

    Returns:
        uint8 [1, 28, 28].
    """
    with reading(Path(path), "a picture", "choose another file"), Image.open(path) as file:
        upright = ImageOps.exif_transpose(file).convert("RGBA")
    grey = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("L")
    pixels = np.asarray(grey)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    bright = ImageOps.autocontrast(ImageOps.invert(grey) if np.median(rim) > 127 else grey)
    garment = bright.point(lambda value: value if value > 64 else 0)
    return torch.from_numpy(np.array(ImageOps.pad(bright.crop(garment.getbbox()), (28, 28), color=0)))[None]


@styled
def soft_labels(
    image: np.ndarray, classes: Sequence[str], label: int, softened: Mapping[float, Sequence[float]], title: str
) -> Picture:
    """An image, its label, and what the teacher says about it at several temperatures (T -> probabilities [C])."""
    figure, axes = new_figure(
        2.1 * (len(softened) + 1) + 1, 3.3, 1, len(softened) + 1, width_ratios=[1.1, *[1] * len(softened)]
    )
    headline(figure, title)
    show_image(axes[0], image, f"label: {classes[label]}")
    for axis, (temperature, probabilities) in zip(axes[1:], softened.items(), strict=True):
        draw_prediction(axis, classes, label, probabilities, f"T = {temperature:g}")
        axis.set_yticklabels(classes if axis is axes[1] else [])
    first, *_, last = softened
    second = int(np.argsort(softened[first])[-2])
    shares = "; ".join(
        f"T = {t:g}: {classes[label]} {100 * p[label]:.0f} %, {classes[second]} {100 * p[second]:.0f} %"
        for t, p in softened.items()
    )
    alt = f"An image of class {classes[label]} and the teacher's class probabilities, flatter at higher temperature."
    said = (
        f"At T = {first:g} the teacher gives {100 * softened[first][label]:.0f} % to {classes[label]}, and at "
        f"T = {last:g} only {100 * softened[last][label]:.0f} %: its other thoughts come to light."
    )
    return Picture(figure, alt, said, f"{shares}.")


@styled
def own_picture(path: str | Path | None, teacher: nn.Module, dataset: Dataset) -> Picture:
    """What the teacher says about a picture of your own, or about a bundled test image if ``path`` is None."""
    image = dataset.test_images[BUNDLED] if path is None else read_picture(path)
    logits = predict(teacher, dataset, image[None])[0]
    softened = {T: torch.softmax(logits / T, dim=0) for T in (1, 4)}
    first, second = logits.argsort(descending=True)[:2].tolist()
    figure, axes = new_figure(8.4, 3.3, 1, 3, width_ratios=[1.1, 1, 1])
    headline(figure, "What does the teacher make of it?")
    label = dataset.classes[dataset.test_labels[BUNDLED]]
    show_image(axes[0], image.numpy(), f"a test image, label: {label}" if path is None else Path(path).name)
    for axis, (temperature, probabilities) in zip(axes[1:], softened.items(), strict=True):
        draw_prediction(axis, dataset.classes, first, probabilities.tolist(), f"T = {temperature}")
        axis.set_yticklabels(dataset.classes if axis is axes[1] else [])
    shares = [
        f"{dataset.classes[c]} {', '.join(f'{100 * p[c]:.0f} % at T = {T}' for T, p in softened.items())}"
        for c in (first, second)
    ]
    said = f"The teacher takes it for {dataset.classes[first]}, and thinks of {dataset.classes[second]} next."
    return Picture(
        figure, "An image and the teacher's class probabilities at two temperatures.", said, f"{'; '.join(shares)}."
    )


MIDDLE = 0.179
"""Relative luminance on which black and white stand out equally well (WCAG 2.1: contrast 4.6)."""


@styled
def resemblance(table: np.ndarray, classes: Sequence[str], title: str) -> Picture:
    """What the teacher says about the samples of every class: mean probabilities [C, C], a row per label."""
    import seaborn as sns  # here, as it takes 80 MB, and no other figure needs it

    percent = 100 * table
    figure, (axes,) = new_figure(7.6, 5.0)
    sns.heatmap(
        percent,
        annot=True,
        fmt=".0f",
        cmap=VALUE_MAP,
        vmin=0,
        xticklabels=classes,
        yticklabels=classes,
        cbar_kws={"label": "mean probability (%)"},
        linewidths=1,
        linecolor="white",
        ax=axes,
    )
    cells = axes.collections[0]
    for number, tint in zip(axes.texts, cells.get_facecolor(), strict=True):  # seaborn keeps white far too long
        number.set_color("black" if sns.utils.relative_luminance(tint) > MIDDLE else "white")
    axes.set(title=title, xlabel="what the teacher says", ylabel="label")
    axes.tick_params(axis="x", rotation=35, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    others = np.where(np.eye(len(classes), dtype=bool), 0, percent)
    row, column = divmod(int(others.argmax()), len(classes))
    alone = int(np.diag(percent).argmax())
    said = (
        f"The teacher sees most of another class in what is labelled {classes[row]}: it gives "
        f"{others[row, column]:.0f} % to {classes[column]}."
    )
    numbers = f"{classes[alone]} keeps the most for itself ({percent[alone, alone]:.0f} %)."
    alt = f"Table of the teacher's mean softened prediction for each of {len(classes)} labels."
    return Picture(figure, alt, said, numbers)


@styled
def gradient_sizes(temperatures: Sequence[float], sizes: Mapping[str, Sequence[float]], title: str) -> Picture:
    """Length of a loss's gradient at the logits over the temperature, one line per loss; logarithmic height."""
    figure, (axes,) = new_figure(7.2, 3.6)
    texts: list[str] = []
    for (name, lengths), role in zip(sizes.items(), ("kept", "dropped", "student"), strict=False):
        axes.plot(temperatures, lengths, ROLES[role].line, color=colour(role))
        axes.annotate(f" {name}", (temperatures[-1], lengths[-1]), va="center", color=colour(role), fontsize=10)
        factor = float(f"{max(lengths) / min(lengths):.2g}")
        texts.append(f"about {factor:g} {name}")
    axes.set(title=title, xlabel="temperature T", ylabel="mean length of the gradient", yscale="log")
    axes.set_xlim(temperatures[0], temperatures[-1])
    axes.set_xticks([temperatures[0], *(t for t in temperatures if t % 5 == 0)])
    axes.grid(alpha=0.25)
    alt = f"Length of the gradient against temperature on a logarithmic scale, for {' and '.join(sizes)}."
    span = f"T = {temperatures[0]:g} and {temperatures[-1]:g}"
    said = f"Between {span} the length of the gradient changes by a factor of {' and of '.join(texts)}."
    return Picture(figure, alt, said)


@styled
def accuracy_by_condition(table: Accuracies, highlight: str, title: str) -> Picture:
    """Accuracy of every run, one row per condition; ``highlight`` is drawn in the student's colour."""
    figure, (axes,) = new_figure(7.2, 0.9 + 0.42 * len(table))
    for row, (name, runs) in enumerate(table.items()):
        dots_and_interval(axes, row, list(runs.values()), colour("student" if name == highlight else "teacher"))
    label_rows(axes, list(table))
    axes.set(title=title, xlabel="test accuracy after the last epoch (%)")
    found = {name: interval(list(runs.values())) for name, runs in table.items()}
    best, worst = (choose(found, key=lambda name: found[name].mean) for choose in (max, min))
    alt = f"One row per condition with a dot per run, and a 95 % interval where there are several; {best} reaches most."
    said = f"{best[:1].upper()}{best[1:]} reaches {found[best].mean:.1f} %, and {worst} {found[worst].mean:.1f} %."
    return Picture(figure, alt, said, f"Percent: {'; '.join(f'{name} {one}' for name, one in found.items())}.")
