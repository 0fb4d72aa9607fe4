"""A figure with its alternative text and its reading, one sentence computed from the data."""

import base64
import html
import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from kcd_teach._checks import check_choice
from kcd_teach._files import written_whole
from kcd_teach.figures.style import DPI

COLOURS = 128
"""Colours in a stored image; a palette keeps notebooks small."""


ENDINGS = (".png", ".svg", ".pdf")
"""Files that a picture can be saved as: pixels, or lines that stay sharp at any size."""


def check_ending(path: Path) -> None:
    """Raise ValueError for a file whose ending is not in :data:`ENDINGS`."""
    check_choice("the file's ending", path.suffix, ENDINGS)


def to_png(figure: Figure) -> bytes:
    """The figure as a small PNG file."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, facecolor="white")
    return shrink_png(raw.getvalue())


def shrink_png(png: bytes) -> bytes:
    """The same picture with a palette of colours, a fraction of the size."""
    small = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # This method keeps the few strong colours of the roles exact; the default one mixes them with their neighbours.
    picture = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return small.getvalue()


def _drawn(figure: Figure, ending: str) -> bytes:
    """The figure as lines and text."""
    raw = io.BytesIO()
    figure.savefig(raw, format=ending.removeprefix("."), facecolor="white")
    return raw.getvalue()


class Picture:
    """What every function of :mod:`kcd_teach.figures` returns; a notebook shows it as the last line of a cell.

    Args:
        figure: the drawing.
        alt: what is shown, for readers who cannot see it, 10 to 40 words.
        reading: what it says, one sentence that a person would say aloud, computed from the data; compared by the
            regression test.
        numbers: the numbers behind that sentence, shown smaller below it.
    """

    def __init__(self, figure: Figure, alt: str, reading: str, numbers: str = "") -> None:
        self.figure, self.alt, self.reading, self.numbers = figure, alt, reading, numbers
        self._png: bytes | None = None

    @property
    def png(self) -> bytes:
        """The image, drawn once."""
        if self._png is None:
            self._png = to_png(self.figure)
        return self._png

    def save(self, path: Path) -> None:
        """Write the image whole, as the file's ending says; raises ValueError for one that is not in :data:`ENDINGS`."""
        check_ending(path)
        with written_whole(path) as file:
            file.write(self.png if path.suffix == ".png" else _drawn(self.figure, path.suffix))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        data = base64.b64encode(self.png).decode()
        width = round(self.figure.get_figwidth() * 96)
        # JupyterLab ignores alternative text beside an image, but honours it in HTML.
        small = f'<br><span style="font-size:85%;opacity:.8">{html.escape(self.numbers)}</span>' if self.numbers else ""
        page = (
            f'<figure style="margin:0"><img alt="{html.escape(self.alt)}" width="{width}" '
            f'style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'
            f'<figcaption style="max-width:{width}px;margin-top:.4em">{html.escape(self.reading)}{small}'
            "</figcaption></figure>"
        )
        said = f"{self.reading}\n{self.numbers}" if self.numbers else self.reading
        return {"image/png": data, "text/html": page, "text/plain": f"{self.alt}\nReading: {said}"}

    def __repr__(self) -> str:
        return f"Picture: {self.reading}"
