"""What all instruments share: a picture that a browser draws from arrays, and its form for pages without a kernel.

An instrument is one class here and one drawing function in a ``.js`` file beside it. Python prepares the numbers, and
the browser only draws them, so that the picture follows the hand. What needs more than drawing, such as running a
condenser for another ratio, is asked of Python, which answers with the numbers of the new picture.
"""

import base64
import gzip
import hashlib
import html
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kcd_teach.condensation import ROLES
from kcd_teach.figures.picture import to_png
from kcd_teach.figures.style import colour

FOLDER = Path(__file__).parent
PALETTE = {role: colour(role) for role in (*ROLES, "student")}

LOADER = """
const packed = Uint8Array.from(atob("%(content)s"), (letter) => letter.charCodeAt(0));
const unzipped = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const { script, css, state } = await new Response(unzipped).json();
const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
(await import(address)).standalone("%(name)s", css, state);
"""
"""What a page without a kernel runs: it unpacks the module of an instrument with its numbers, and starts it."""


def choice(name: str, label: str, options: Sequence[Any], value: Any, unit: str = "") -> dict[str, Any]:
    """A control with a few values, as the browser wants it described."""
    if value not in options:
        raise ValueError(f"value of {name!r} must be one of {list(options)}, got {value!r}")
    return {"name": name, "label": label, "unit": unit, "options": list(options), "value": value}


def packed(array: np.ndarray | Tensor) -> dict[str, Any]:
    """An array as bytes, with its type and shape; the browser makes a typed array of it without copying."""
    array = np.ascontiguousarray(array)
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise TypeError(f"array must be of type uint8, uint16 or float32, got {array.dtype}")
    return {"type": str(array.dtype), "shape": list(array.shape), "bytes": array.tobytes()}


def levels(share: np.ndarray, coarse: bool = False) -> dict[str, Any]:
    """Shares of 0 to 1, packed in steps of 1 / 65,535; coarse in 256 of them, which take half the room in a page."""
    fine = np.clip(share, 0, 1) * 65535
    return packed((np.round(fine / 257) * 257 if coarse else np.round(fine)).astype(np.uint16))


def sprites(images: Tensor, ids: Iterable[int], lossy: bool = False) -> dict[str, Any]:
    """Some of the images as one picture, a row each, with the ids in their order.

    Args:
        images: uint8 [N, C, H, W], C = 1 or 3.
        ids: those that are shown; each once in the result.
        lossy: a small file for a page that is stored, instead of one that is quickly written.
    """
    ids = list(dict.fromkeys(int(i) for i in ids))
    channels, height, width = images.shape[1:]
    columns = 32
    rows = max(-(-len(ids) // columns), 1)
    tiles = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    tiles[: len(ids)] = images[ids].permute(0, 2, 3, 1).numpy()
    sheet = tiles.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    file = io.BytesIO()
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    if lossy:
        picture.save(file, "WEBP", quality=45)
    else:
        picture.save(file, "PNG", compress_level=1)
    return {"ids": ids, "columns": columns, "size": [width, height], "file": file.getvalue()}


class Instrument(anywidget.AnyWidget):
    """A picture with controls that a browser draws; a subclass prepares the numbers.

    Attributes:
        data: what does not change: arrays, names, and ``controls``, described by :func:`choice`.
        setting: the value of every control by its name.
        answer: what :meth:`reply` made of the setting, with the state as one line of ``text``.
        pinned: a setting's answer that is kept for comparison, or empty.
        drawing: name of the JavaScript file with the drawing function.
        fixed: the browser holds the answers to all settings, so that it asks Python for none of them.
        page: control -> the values that a page without a kernel offers; for each combination of them the answer is
            stored in the page. Of a fixed instrument it offers all.
        alt: what is shown, for readers who cannot see it.
    """

    drawing: ClassVar[str]
    alt: ClassVar[str]
    fixed: ClassVar[bool] = False
    _css = (FOLDER / "instrument.css").read_text(encoding="utf-8")

    data = traitlets.Dict().tag(sync=True)
    setting = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)
    pinned = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "drawing" in vars(cls):  # not in the classes that traitlets derives when a trait is added
            cls._esm = module(cls.drawing)
        super().__init_subclass__(**kwargs)

    def __init__(self, controls: Sequence[Mapping[str, Any]], **data: Any) -> None:
        self.page: Mapping[str, Sequence[Any]] = getattr(self, "page", {})
        self._start = {control["name"]: control["value"] for control in controls}
        super().__init__(
            data={"controls": list(controls), "palette": PALETTE, "alt": self.alt, **data}, setting=dict(self._start)
        )
        if self.fixed:
            self.page = {control["name"]: control["options"] for control in controls}
            answers = self.stored_answers()
            shown = sprites(*self.tiles(self._start, answers.values()))
            self.data = {**self.data, "answers": answers, "sprites": shown}
        self._answer()
        self.observe(self._ask, "setting")

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers of the picture for a setting, with the state in words as ``text``."""
        raise NotImplementedError

    def tiles(self, setting: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[Tensor, list[int]]:
        """Images of the samples that a setting is about, and the ids of those that some of its answers show."""
        return torch.zeros((0, 1, 1, 1), dtype=torch.uint8), []

    def still(self) -> Figure:
        """The picture as a figure, for pages that run nothing."""
        raise NotImplementedError

    def set(self, **values: Any) -> None:
        """Move controls, as a hand would: ``instrument.set(ratio=30)``; raises ValueError for what they do not offer."""
        for name, value in values.items():
            options = {control["name"]: control["options"] for control in self.data["controls"]}
            if name not in options:
                raise ValueError(f"there is no control {name!r}; known: {', '.join(options)}")
            choice(name, "", options[name], value)
        self.setting = {**self.setting, **values}

    def reset(self) -> None:
        """Put all controls back to where they started."""
        self.setting = dict(self._start)

    @property
    def text(self) -> str:
        """The state in words."""
        return str(self.answer["text"])

    def _ask(self, change: Any) -> None:
        try:
            self._answer()
        except Exception as error:
            # JupyterLab hides what is raised in a callback; say it where the learner looks, and raise it all the same.
            self.answer = {**self.answer, "text": f"{type(error).__name__}: {error}"}
            raise

    def _answer(self) -> None:
        answer = self.reply(self.setting)
        self.answer = answer if self.fixed else {"sprites": sprites(*self.tiles(self.setting, [answer])), **answer}

    def stored_answers(self) -> dict[str, dict[str, Any]]:
        """The answers that a page without a kernel holds, by the values of the controls in their order."""
        values = [self.page.get(name, (value,)) for name, value in self._start.items()]
        answers = {}
        for combination in itertools.product(*values):
            answers[json.dumps(combination, separators=(",", ":"))] = self.reply(
                dict(zip(self._start, combination, strict=True))
            )
        return answers

    def stored_data(self) -> dict[str, Any]:
        """The data that a page without a kernel holds beside the answers."""
        return {name: value for name, value in self.data.items() if name not in ("answers", "sprites")}

    def standalone(self) -> str:
        """HTML in which the instrument works without a kernel; where scripts do not run, it is a picture and a line."""
        answers = self.stored_answers()
        shown = sprites(*self.tiles(self._start, answers.values()), lossy=True)
        state = {"data": self.stored_data(), "setting": self._start, "answers": answers, "sprites": shown}
        whole = {"script": module(self.drawing), "css": self._css, "state": state}
        raw = json.dumps(whole, default=as_text, separators=(",", ":"), allow_nan=False).encode()
        # Without a time in its header the file is the same whenever it is made.
        content = base64.b64encode(gzip.compress(raw, mtime=0)).decode()
        name = f"kcd-{hashlib.sha256(raw).hexdigest()[:12]}"
        still = self.still()
        png, width = base64.b64encode(to_png(still)).decode(), round(still.get_figwidth() * 96)
        return (
            f'<div id="{name}" class="kcd-instrument"><img alt="{html.escape(self.alt)}" width="{width}" '
            f'style="max-width:100%;height:auto" src="data:image/png;base64,{png}"><p>{html.escape(self.text)}</p></div>'
            f'<script type="module">{LOADER % {"name": name, "content": content}}</script>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What JupyterLab shows: the widget, or what works without a kernel; a test compares the text."""
        view = super()._repr_mimebundle_(**kwargs)
        bundle = dict((view[0] if isinstance(view, tuple) else view) or {})
        bundle["text/plain"] = f"{type(self).__name__}: {self.text}"
        bundle["text/html"] = self.standalone()
        return bundle, {}


def module(drawing: str) -> str:
    """The source of the ES module of an instrument: what all share, and its own drawing."""
    return "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("instrument", drawing))


def as_text(value: object) -> str:
    """Bytes as text, for JSON, which knows none."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} cannot be stored in a page")
    return base64.b64encode(value).decode()
