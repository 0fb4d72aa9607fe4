"""The temperature bench: what softening does to two networks' predictions, and to the gradient of the student."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kcd_teach.condensation import prediction_entropy
from kcd_teach.figures.samples import draw_prediction, show_image
from kcd_teach.figures.style import new_figure, styled
from kcd_teach.widgets.instrument import Instrument, choice


class TemperatureBench(Instrument):
    """Choose a picture and a temperature, and see what both networks say, and what the student would receive from it.

    Args:
        images: uint8 [N, C, H, W], a few of them: each is a button.
        teacher_logits: z_T, [N, K].
        student_logits: z_S, [N, K].
        labels: int64 [N].
        classes: K names.
        temperature: at the start, 1 to 20.

    Raises:
        ValueError: where these do not belong together.
    """

    drawing = "temperature"
    alt = (
        "A picture, and for each class what teacher and student say at a temperature, and the gradient of the student."
    )
    fixed = True
    TEMPERATURES = range(1, 21)

    def __init__(
        self,
        images: Tensor,
        teacher_logits: Tensor,
        student_logits: Tensor,
        labels: Tensor,
        classes: Sequence[str],
        temperature: int = 4,
    ) -> None:
        shape = [len(images), len(classes)]
        for name, logits in (("teacher_logits", teacher_logits), ("student_logits", student_logits)):
            if list(logits.shape) != shape:
                raise ValueError(f"{name} must be [images, classes] = {shape}, got {list(logits.shape)}")
        if len(labels) != len(images):
            raise ValueError(f"there are {len(images)} images and {len(labels)} labels")
        self._images, self._labels, self._classes = images.cpu(), labels.tolist(), list(classes)
        self._teacher, self._student = teacher_logits.detach().cpu().double(), student_logits.detach().cpu().double()
        # One axis for all temperatures of a picture, so that a bar that grows is a gradient that grows.
        most = torch.stack([self.gradient(T) for T in self.TEMPERATURES]).abs().amax(dim=(0, 2))
        controls = [
            choice("picture", "picture", range(len(images)), 0),
            choice("temperature", "temperature T", self.TEMPERATURES, temperature),
        ]
        super().__init__(controls, classes=self._classes, labels=self._labels, most=most.tolist())

    def gradient(self, temperature: float) -> Tensor:
        """Gradient of one picture's KD term at the student's logits, T (p_S - p_T), float64 [N, K].

        The term is T^2 KL(p_T || p_S); one softening divides its gradient by T, so that one factor T is left.
        """
        student, teacher = ((z / temperature).softmax(dim=1) for z in (self._student, self._teacher))
        return temperature * (student - teacher)

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """Both softened predictions, their entropies, and the gradient."""
        i, temperature = setting["picture"], setting["temperature"]
        logits = {"teacher": self._teacher[i] / temperature, "student": self._student[i] / temperature}
        says = {name: z.softmax(dim=0) for name, z in logits.items()}
        entropy = {name: float(prediction_entropy(z[None])) for name, z in logits.items()}
        gradient = self.gradient(temperature)[i]
        length = float(gradient.norm())
        text = (
            f"{self._classes[self._labels[i]]}, T = {temperature}: the teacher's entropy is {entropy['teacher']:.2f} "
            f"nats, the student's {entropy['student']:.2f} nats; the gradient has length {length:.2f}"
        )
        if length >= 0.005:
            up, down = (self._classes[int(c)] for c in (gradient.argmin(), gradient.argmax()))
            text += f" and pushes {up} up most, and {down} down"
        return {
            **{name: [round(value, 5) for value in p.tolist()] for name, p in says.items()},
            "entropy": {name: round(value, 4) for name, value in entropy.items()},
            "gradient": [round(value, 5) for value in gradient.tolist()],
            "length": round(length, 4),
            "text": f"{text}.",
        }

    def tiles(self, setting: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[Tensor, list[int]]:
        """All pictures."""
        return self._images, list(range(len(self._images)))

    @styled
    def still(self) -> Figure:
        """The picture with both predictions."""
        figure, (picture, teacher, student) = new_figure(8.6, 3.0, 1, 3, width_ratios=[1, 1.6, 1.6])
        i, temperature = self.setting["picture"], self.setting["temperature"]
        show_image(picture, self._images[i].numpy(), f"label: {self._classes[self._labels[i]]}")
        for axes, name in ((teacher, "teacher"), (student, "student")):
            title = f"the {name} at T = {temperature}"
            draw_prediction(axes, self._classes, self._labels[i], self.answer[name], title)
        return figure
