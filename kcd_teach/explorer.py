"""How does a picture follow its sliders? The common part of all explorers.

An explorer shows its last picture on pages that cannot run it, and a regression test compares its one-line text.
"""

import base64
import html
import io
from typing import Any, Protocol

import ipywidgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from kcd_teach.figures import shrink_png
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
    """Something with a widget that answers, and a picture for pages that cannot run it."""

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
