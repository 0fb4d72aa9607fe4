"""Lesson 01, plain KD: its exercises, then its pictures of what a teacher knows that labels don't."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
import torch
from torch import Tensor

from kcd_teach.distillers.kd import kd_loss as library_kd_loss
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.runs import Accuracies, dots_and_interval, label_rows
from kcd_teach.figures.samples import draw_prediction, show_image, write_legibly
from kcd_teach.figures.style import ROLES, VALUE_MAP, colour, headline, new_figure, styled
from kcd_teach.lessons.exercise import Exercise
from kcd_teach.statistics import interval


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
    second = classes[int(np.argsort(next(iter(softened.values())))[-2])]
    shares = ", ".join(f"{100 * p[label]:.0f} % at T = {t:g}" for t, p in softened.items())
    alt = f"An image of class {classes[label]} and the teacher's class probabilities, flatter at higher temperature."
    return Picture(
        figure, alt, f"The teacher gives {classes[label]} {shares}; its second choice is {second} at every T."
    )


@styled
def resemblance(table: np.ndarray, classes: Sequence[str], title: str) -> Picture:
    """What the teacher says about the samples of every class: mean probabilities [C, C], a row per label."""
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
    write_legibly(axes)
    axes.set(title=title, xlabel="what the teacher says", ylabel="label")
    axes.tick_params(axis="x", rotation=35, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    others = np.where(np.eye(len(classes), dtype=bool), 0, percent)
    row, column = divmod(int(others.argmax()), len(classes))
    alone = int(np.diag(percent).argmax())
    reading = (
        f"The strongest second meaning: images labelled {classes[row]} get {others[row, column]:.0f} % "
        f"{classes[column]}; {classes[alone]} keeps the most for itself ({percent[alone, alone]:.0f} %)."
    )
    return Picture(
        figure, f"Table of the teacher's mean softened prediction for each of {len(classes)} labels.", reading
    )


@styled
def gradient_sizes(temperatures: Sequence[float], sizes: Mapping[str, Sequence[float]], title: str) -> Picture:
    """Length of a loss's gradient at the logits over the temperature, one line per loss; logarithmic height."""
    figure, (axes,) = new_figure(7.2, 3.6)
    texts: list[str] = []
    for (name, lengths), role in zip(sizes.items(), ("kept", "dropped", "student"), strict=False):
        axes.plot(temperatures, lengths, ROLES[role].line, color=colour(role))
        axes.annotate(f" {name}", (temperatures[-1], lengths[-1]), va="center", color=colour(role), fontsize=10)
        factor = float(f"{max(lengths) / min(lengths):.2g}")
        texts.append(f"{name} by a factor of about {factor:g}")
    axes.set(title=title, xlabel="temperature T", ylabel="mean length of the gradient", yscale="log")
    axes.set_xlim(temperatures[0], temperatures[-1])
    axes.set_xticks([temperatures[0], *(t for t in temperatures if t % 5 == 0)])
    axes.grid(alpha=0.25)
    span = f"T = {temperatures[0]:g} to {temperatures[-1]:g}"
    alt = f"Length of the gradient against temperature on a logarithmic scale, for {' and '.join(sizes)}."
    return Picture(figure, alt, f"From {span} the gradient's length varies: {', '.join(texts)}.")


@styled
def accuracy_by_condition(table: Accuracies, highlight: str, title: str) -> Picture:
    """Accuracy of every run, one row per condition; ``highlight`` is drawn in the student's colour."""
    figure, (axes,) = new_figure(7.2, 0.9 + 0.42 * len(table))
    for row, (name, runs) in enumerate(table.items()):
        dots_and_interval(axes, row, list(runs.values()), colour("student" if name == highlight else "teacher"))
    label_rows(axes, list(table))
    axes.set(title=title, xlabel="test accuracy after the last epoch (%)")
    best = max(table, key=lambda name: interval(list(table[name].values())).mean)
    seeds = sorted({seed for runs in table.values() for seed in runs})
    reading = "; ".join(f"{name} {interval(list(runs.values()))}" for name, runs in table.items())
    alt = f"One row per condition with a dot per run and a 95 % interval; {best} has the highest mean accuracy."
    return Picture(figure, alt, f"{reading}. Seeds {seeds[0]} to {seeds[-1]}, percent, mean ± 95 % interval.")
