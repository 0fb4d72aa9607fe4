"""The instruments of the course: explorers of temperature, condensation ratio and stages."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, Protocol

import ipywidgets
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kcd_teach.condensation import (
    DROPPED,
    KEPT,
    MIXED,
    ROLES,
)
from kcd_teach.figures import (
    RankingPlot,
    TilePlot,
    draw_prediction,
    new_figure,
    new_mosaic,
    show_image,
    shrink_png,
)
from kcd_teach.figures.style import styled


class Explorer:
    """Sliders above one picture. A subclass draws with :meth:`draw`, which returns a one-line description.

    Attributes:
        controls: the sliders, by name.
        label: the one-line description, as a widget.
        image: the picture, as a widget.
    """

    @styled
    def __init__(self, figure: Figure, controls: dict[str, ipywidgets.Widget], alt: str) -> None:
        self.figure, self.controls, self.alt = figure, controls, alt
        figure.set_dpi(96)
        self._canvas = FigureCanvasAgg(figure)
        self.label = ipywidgets.Label()
        width = f"{round(figure.get_figwidth() * 96)}px"
        # Without a width the picture is stretched and blurred.
        self.image = ipywidgets.Image(format="png", layout={"width": width, "max_width": "100%"})
        reset = ipywidgets.Button(description="reset", layout={"width": "80px"})
        reset.on_click(lambda _: self.reset())
        self._start = {name: control.value for name, control in controls.items()}
        self.box = ipywidgets.VBox([*controls.values(), reset, self.label, self.image])
        self._update()
        self._settle()
        for control in controls.values():
            control.observe(self._update, "value")

    def draw(self) -> str:
        """Bring the figure up to date with the controls and describe it in one line."""
        raise NotImplementedError

    def reset(self) -> None:
        """Put all controls back to where they started."""
        for name, value in self._start.items():
            self.controls[name].value = value

    @styled
    def _update(self, change: Any = None) -> None:
        try:
            self.label.value = self.draw()
        except Exception as error:
            # JupyterLab hides what is raised in a callback; say it where the learner looks, and raise it all the same.
            self.label.value = f"{type(error).__name__}: {error}"
            raise
        # savefig would draw twice.
        self._canvas.draw()
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(buffer, "PNG", compress_level=1)
        self.image.value = buffer.getvalue()

    @styled
    def _settle(self) -> None:
        """Compute the layout once instead of at every move."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return live_bundle(self, self.label.value)


class Live(Protocol):
    """A widget, with a picture for pages that cannot run it."""

    box: ipywidgets.Widget
    image: ipywidgets.Image
    alt: str


def live_bundle(live: Live, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What JupyterLab shows: the widget, or the picture and the text where nothing runs; a test compares the text."""
    view = live.box._repr_mimebundle_()
    bundle = dict(view[0] if isinstance(view, tuple) else view)
    picture = base64.b64encode(shrink_png(live.image.value)).decode()
    bundle["text/plain"] = f"{type(live).__name__}: {text}"
    bundle["image/png"] = picture
    bundle["text/html"] = (
        f'<img alt="{html.escape(live.alt)}" style="max-width:100%" src="data:image/png;base64,{picture}">'
        f"<p>{html.escape(text)}</p>"
    )
    return bundle, {"image/png": {"alt": live.alt}}


_WIDE = {"style": {"description_width": "150px"}, "layout": {"width": "480px"}}


class TemperatureExplorer(Explorer):
    """Soften the teacher's prediction for one of several samples.

    Args:
        images: uint8 [n, C, H, W].
        logits: the teacher's, [n, number of classes].
        labels: int64 [n].
        classes: names in order of label.
    """

    @styled
    def __init__(self, images: Tensor, logits: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        self._images, self._logits, self._labels, self._classes = images, logits, labels, classes
        figure, (self._picture, self._bars) = new_figure(7.5, 3.4, 1, 2, width_ratios=[1, 1.6])
        controls = {
            "sample": ipywidgets.IntSlider(0, 0, len(images) - 1, description="sample", **_WIDE),
            "temperature": ipywidgets.IntSlider(4, 1, 20, description="temperature T", **_WIDE),
        }
        super().__init__(figure, controls, "A sample and the teacher's class probabilities at the chosen temperature.")

    def draw(self) -> str:
        """Show the sample and its softened prediction."""
        i, temperature = self.controls["sample"].value, self.controls["temperature"].value
        probabilities = torch.softmax(self._logits[i] / temperature, dim=0).tolist()
        label = int(self._labels[i])
        self._picture.clear()
        self._bars.clear()
        show_image(self._picture, self._images[i].numpy(), f"label: {self._classes[label]}")
        draw_prediction(self._bars, self._classes, label, probabilities, f"softened with T = {temperature}")
        first, second = np.argsort(probabilities)[::-1][:2]
        return (
            f"T = {temperature}: {self._classes[first]} {probabilities[first]:.2f}, "
            f"{self._classes[second]} {probabilities[second]:.2f}"
        )


class StageExplorer(Explorer):
    """Step through the stages of a run: who is kept, mixed and dropped, and a few samples on their way.

    Args:
        images: uint8 [N, C, H, W].
        scores: float64 [S, N], nats; the score each stage was planned with (any values for stage 0).
        role_by_stage: int8 [S, N].
        followed: ids of samples whose way is shown, at most 12.
    """

    @styled
    def __init__(self, images: Tensor, scores: np.ndarray, role_by_stage: np.ndarray, followed: Sequence[int]) -> None:
        self._scores, self._roles, self._followed = scores, role_by_stage, list(followed)
        self._pictures = images[self._followed].numpy()
        figure, axes = new_mosaic(8.6, 4.8, [["ranking"], ["followed"]], [1.6, 1])
        self._ranking = RankingPlot(axes["ranking"])
        self._tiles = TilePlot(axes["followed"], ("stage before", "this stage"), 12, images.shape[-1])
        stage = ipywidgets.IntSlider(0, 0, len(scores) - 1, description="stage", **_WIDE)
        super().__init__(figure, {"stage": stage}, "Ranking of a stage coloured by role, with samples on their way.")

    def draw(self) -> str:
        """Show the plan of the chosen stage."""
        stage = self.controls["stage"].value
        role = torch.from_numpy(self._roles[stage])
        _show_ranking(self._ranking, np.sort(self._scores[stage])[::-1], role, 1.05 * float(self._scores.max()))
        before = torch.from_numpy(self._roles[max(stage - 1, 0)])[self._followed]
        self._tiles.update([self._pictures, self._pictures], [_names(before), _names(role[self._followed])])
        cut = (
            f"; score at the cut: {self._scores[stage][self._roles[stage] != DROPPED].min():.3f} nats" if stage else ""
        )
        return f"stage {stage}: {_tally(role)}{cut}"


def _names(codes: Tensor) -> list[str]:
    return [ROLES[int(code)] for code in codes]


def _show_ranking(plot: RankingPlot, ordered: np.ndarray, role: Tensor, top: float | None = None) -> None:
    # A few hundred points draw the same curve as all of them, and much faster.
    few = ordered[np.linspace(0, len(ordered) - 1, 400).astype(int)]
    kept, mixed = (100 * float((role == code).double().mean()) for code in (KEPT, MIXED))
    plot.update(few, kept, mixed, top)


def _tally(role: Tensor) -> str:
    return ", ".join(f"{int((role == code).sum()):,} {name}" for code, name in enumerate(ROLES))
