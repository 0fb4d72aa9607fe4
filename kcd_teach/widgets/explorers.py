"""The instruments of the course: an explorer of the condensation ratio."""

import base64
import html
import io
from typing import Any, Protocol

import ipywidgets
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kcd_teach.condensation import (
    KEPT,
    MIXED,
    ROLES,
    Mixture,
    cost_aware_score,
    paper_counts,
    rank,
    relative_cost,
    roles,
    summarise,
)
from kcd_teach.figures import (
    RankingPlot,
    SchedulePlot,
    TilePlot,
    new_mosaic,
    shrink_png,
)
from kcd_teach.figures.style import styled
from kcd_teach.views import blend


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


class RatioExplorer(Explorer):
    """What a condensation ratio does: the ranking with its cut, the schedule with its cost, samples that change role.

    The plan is that of the last stage, for values as they were recorded by then.

    Args:
        images: uint8 [N, C, H, W].
        value: V, float64 [N], nats.
        frequency: F, int64 [N].
        epochs: E, of the run.
    """

    SHOWN = 12
    EXPONENTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)

    @styled
    def __init__(self, images: Tensor, value: Tensor, frequency: Tensor, epochs: int = 240) -> None:
        self._images, self._value, self._frequency, self._epochs = images, value, frequency, epochs
        self._before: Tensor | None = None
        figure, axes = new_mosaic(8.6, 5.4, [["ranking", "schedule"], ["tiles", "tiles"]], [1.2, 1])
        self._ranking, self._schedule = RankingPlot(axes["ranking"]), SchedulePlot(axes["schedule"])
        rows = ("changed from", "changed to", "mixed now")
        self._tiles = TilePlot(axes["tiles"], rows, self.SHOWN, images.shape[-1])
        controls = {
            "ratio": ipywidgets.IntSlider(70, 5, 100, description="ratio (%)", **_WIDE),
            "stages": ipywidgets.IntSlider(6, 1, 12, description="stages", **_WIDE),
            "strength": ipywidgets.IntSlider(30, 0, 100, description="mixing strength (%)", **_WIDE),
            "alpha": ipywidgets.SelectionSlider(
                options=self.EXPONENTS, value=0.03, description="frequency exponent", **_WIDE
            ),
        }
        alt = "Ranking coloured by kept, mixed and dropped; schedule with cost; samples that change role."
        super().__init__(figure, controls, alt)

    def draw(self) -> str:
        """Show the plan, and how it differs from the one the explorer started with."""
        c = {name: control.value for name, control in self.controls.items()}
        counts = paper_counts(len(self._value), c["ratio"] / 100, c["stages"])
        score = cost_aware_score(self._value, self._frequency, c["alpha"])
        ranking = rank(score)
        active, mixture = summarise(ranking, counts[-2:][0], counts[-1], c["strength"] / 100)
        role = roles(len(score), active, mixture)
        self._before = role if self._before is None else self._before
        cost = relative_cost(counts, self._epochs)
        _show_ranking(self._ranking, score[ranking].numpy(), role)
        self._schedule.update(counts, cost)
        changed = torch.nonzero(role != self._before).flatten()
        self._show_tiles(changed, self._before, role, mixture)
        return f"{_tally(role)}; cost {100 * cost:.1f} % of plain KD; {len(changed):,} samples change role against the start"

    def _show_tiles(self, changed: Tensor, before: Tensor, role: Tensor, mixture: Mixture) -> None:
        few, pairs = _spread(changed, self.SHOWN), _spread(torch.arange(len(mixture)), self.SHOWN)
        mixed, partners = mixture.boundary[pairs], mixture.partners[pairs]
        blended = blend(self._images[mixed], self._images[partners], mixture.coefficients[pairs])
        images = self._images[few].numpy()
        self._tiles.update(
            [images, images, blended.numpy()], [_names(before[few]), _names(role[few]), ["mixed"] * len(mixed)]
        )


def _names(codes: Tensor) -> list[str]:
    return [ROLES[int(code)] for code in codes]


def _spread(ids: Tensor, count: int) -> Tensor:
    """At most ``count`` of the ids, evenly spread, first and last among them."""
    return ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), count)).long()]


def _show_ranking(plot: RankingPlot, ordered: np.ndarray, role: Tensor, top: float | None = None) -> None:
    # A few hundred points draw the same curve as all of them, and much faster.
    few = ordered[np.linspace(0, len(ordered) - 1, 400).astype(int)]
    kept, mixed = (100 * float((role == code).double().mean()) for code in (KEPT, MIXED))
    plot.update(few, kept, mixed, top)


def _tally(role: Tensor) -> str:
    return ", ".join(f"{int((role == code).sum()):,} {name}" for code, name in enumerate(ROLES))
